#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The kits of examples/freertos and examples/zephyr, over stand-ins of these systems' headers that
# stand in tests/kits: compiled without a warning, and run here and under QEMU. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}"

skip_if_essential
skip_under_valgrind
skip_with_sanitizers

strict='-std=c11 -Wall -Wextra -Wshadow -Wconversion -Werror'
top=$(cd "$top_srcdir" && pwd)
kits=$top/tests/kits target=$top/tests/target
log=$dir/compiler

constant() {
    echo "HMM_$1" | tr 'a-z-' 'A-Z_'
}

# made STRATEGY: prints the folder of hmm.c and hmm.h; they are made once.
made() {
    # shellcheck disable=SC2086,SC2154
    [ -d "$dir/$1" ] || (cd "$top" && sh scripts/firmware . "$dir/$1" "$1" \
        'stats realloc aligned calloc checks walk trace' $firmware_parts) || return 1
    echo "$dir/$1"
}

# build KIT STRATEGY OUTPUT COMPILER ARGUMENT...: the kit's test.
build() {
    kit=$1 strategy=$2 output=$3
    folder=$(made "$strategy") || return 1
    shift 3
    case $kit in
    freertos) source=$top/examples/freertos/heap_hmm.c ;;
    zephyr) source=$top/examples/zephyr/hmm_zephyr.c ;;
    esac
    set -- "$@" -Os -DHMM_PANIC_HANDLED -DHMM_GRANULE="${granule:=8u}" -I"$folder" -I"$kits" -I"$kits/$kit" \
        -I"${source%/*}"
    case $kit in
    freertos) set -- "$@" -DconfigHMM_STRATEGY="$(constant "$strategy")" ;;
    zephyr) set -- "$@" -DCONFIG_HMM_STRATEGY="$(constant "$strategy")" \
        -DCONFIG_HMM_HEAP_SIZE=16384 ;;
    esac
    [ "$strategy" != segregated ] || set -- "$@" -DKIT_BY_CLASS
    "$@" -c -o hmm.o "$folder/hmm.c" || return 1
    for file in "$kits/${kit}_test.c" "$source"; do
        # shellcheck disable=SC2086
        "$@" $strict -c -o "$(basename "$file" .c).o" "$file" || return 1
    done
    case $* in
    *KIT_TARGET*) "$@" -o "$output" "${kit}_test.o" "$(basename "$source" .c).o" hmm.o \
        "$target/start.c" ;;
    *) "$@" -o "$output" "${kit}_test.o" "$(basename "$source" .c).o" hmm.o ;;
    esac
}

# well FILE: the last line.
well() {
    cat "$1"
    [ "$(tail -n 1 "$1" | tr -d '\r')" = "all is well" ]
}

# here KIT STRATEGY [ARGUMENT...]: on this machine.
here() {
    kit=$1 strategy=$2
    shift 2
    cd "$dir" && build "$kit" "$strategy" ./here "$CC" "$@" && ./here >out && well out
}

# there KIT STRATEGY SCRIPT MACHINE COMPILER ARGUMENT...: under QEMU.
there() {
    kit=$1 strategy=$2 script=$3 machine=$4
    shift 4
    cd "$dir" && build "$kit" "$strategy" there.elf "$@" -ffreestanding -nostdlib -DKIT_TARGET \
        -I"$kits/bare" -T "$target/$script" || return 1
    # shellcheck disable=SC2086
    timeout 60 $machine -nographic -semihosting -kernel there.elf >out 2>&1
    well out
}

# has COMPILER ARGUMENT...: it makes programs.
has() {
    command -v "$1" >/dev/null && echo 'int main(void) { return 0; }' >"$dir/probe.c" &&
        "$@" -o "$dir/probe" "$dir/probe.c" >"$log" 2>&1
}

# alone: with no part but stats, and the application's own array.
alone() {
    # shellcheck disable=SC2086
    (cd "$top" && sh scripts/firmware . "$dir/alone" best-fit stats $firmware_parts) || return 1
    # shellcheck disable=SC2086
    $CC $strict -I"$dir/alone" -I"$kits/freertos" -DconfigAPPLICATION_ALLOCATED_HEAP=1 -c \
        -o "$dir/alone.o" "$top/examples/freertos/heap_hmm.c"
}

# misaligned: payloads at multiples of 8 bytes, where the kernel asserts multiples of 16.
misaligned() {
    folder=$(made best-fit) || return 1
    # shellcheck disable=SC2086
    ! $CC -DHMM_PANIC_HANDLED -DHMM_GRANULE=8u -DportBYTE_ALIGNMENT=16 -I"$folder" \
        -I"$kits/freertos" -c -o "$dir/misaligned.o" "$top/examples/freertos/heap_hmm.c" \
        2>"$dir/said" || return 1
    grep -q 'need -DHMM_GRANULE=16u' "$dir/said"
}

# from_tlsf: the header that doc/moving.md has compiles, and a program with TLSF's calls runs on it.
from_tlsf() {
    cd "$dir" || return 1
    # shellcheck disable=SC2016  # no command
    sed -n '/^```c/,/^```$/p' "$top/doc/moving.md" | sed '/^```/d' >tlsf.h
    cat >tlsf.c <<'END'
#include "tlsf.h"
static unsigned char memory[16384];
int main(void)
{
    tlsf_t tlsf = tlsf_create_with_pool(memory, sizeof memory);
    char *p = tlsf_malloc(tlsf, 100), *q = tlsf_memalign(tlsf, 64, 10);
    p = tlsf_realloc(tlsf, p, 1000);
    if (p == NULL || q == NULL || ((uintptr_t)q & 63) != 0 || tlsf_malloc(tlsf, 0) != NULL)
        return 1;
    tlsf_free(tlsf, p);
    tlsf_free(tlsf, q);
    const int broken = tlsf_check(tlsf);
    tlsf_destroy(tlsf);
    return broken;
}
END
    folder=$(made segregated) || return 1
    # shellcheck disable=SC2086
    $CC $strict -DHMM_PANIC_HANDLED -I. -I"$folder" -c -o tlsf.o tlsf.c &&
        $CC -DHMM_PANIC_HANDLED -o tlsf tlsf.o "$folder/hmm.c" && ./tlsf
}

arm='arm-none-eabi-gcc -mthumb -mcpu=cortex-m4'
riscv='riscv64-unknown-elf-gcc -march=rv32imac_zicsr -mabi=ilp32'
for kit in freertos zephyr; do
    # The figures of FreeRTOS are the strategy's; its instructions are counted on rv32.
    case $kit in
    freertos) here_too='first-fit next-fit segregated' there_too=segregated ;;
    *) here_too='' there_too='' ;;
    esac
    for strategy in best-fit $here_too; do
        check "$kit: 64 bits, $strategy" here "$kit" "$strategy"
    done
    if has "$CC" -m32; then
        check "$kit: 32 bits, best-fit" here "$kit" best-fit -m32
    else
        skip "$kit: 32 bits" "$CC -m32 makes no programs: package gcc-multilib"
    fi
    if ! has arm-none-eabi-gcc -nostdlib -mthumb -mcpu=cortex-m4; then
        skip "$kit: on a Cortex-M4" "no arm-none-eabi-gcc: package gcc-arm-none-eabi"
    elif ! command -v qemu-system-arm >"$log"; then
        skip "$kit: on a Cortex-M4" "no qemu-system-arm"
    else
        # shellcheck disable=SC2086
        check "$kit: on a Cortex-M4, best-fit" there "$kit" best-fit arm.ld \
            'qemu-system-arm -M mps2-an386' $arm
    fi
    if ! has riscv64-unknown-elf-gcc -nostdlib; then
        skip "$kit: on rv32" "no riscv64-unknown-elf-gcc: package gcc-riscv64-unknown-elf"
    elif ! command -v qemu-system-riscv32 >"$log"; then
        skip "$kit: on rv32" "no qemu-system-riscv32: package qemu-system-misc"
    else
        for strategy in best-fit $there_too; do
            # shellcheck disable=SC2086
            check "$kit: on rv32, $strategy" there "$kit" "$strategy" riscv.ld \
                'qemu-system-riscv32 -M virt -bios none -icount shift=0' $riscv
        done
    fi
done
granule=16u
for strategy in best-fit segregated; do
    check "freertos: of a port that aligns to 16 bytes, $strategy" here freertos "$strategy" \
        -DportBYTE_ALIGNMENT=16
done
granule=8u
check "freertos: a port's alignment that hmm.c does not have is refused" misaligned
check "freertos: in the application's array" here freertos best-fit -DconfigAPPLICATION_ALLOCATED_HEAP=1
check "freertos: with no part but stats" alone
check "moving from TLSF: the header of doc/moving.md" from_tlsf
finish
