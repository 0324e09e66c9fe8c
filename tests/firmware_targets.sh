#!/bin/sh
# SPDX-License-Identifier: MIT
#
# make firmware, for the processors and the C libraries there are: the two files compile, are as
# small as the README says, need little stack, and place as the library does, here and on the
# processor. Speaks TAP.
# shellcheck source=tests/firmware_common.sh
. "$(dirname "$0")/firmware_common.sh"

# small BYTES STRATEGY: create, malloc and free on a Cortex-M4.
small() {
    firmware "$2" '' && cd "$dir/$2" && arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -Os -c hmm.c &&
        arm-none-eabi-size hmm.o && [ "$(arm-none-eabi-size hmm.o | awk 'NR == 2 { print $1 }')" -le "$1" ]
}

# bounded STRATEGY: no call by a pointer, no recursion, and no entry point needs much stack.
bounded() {
    firmware "$1" 'realloc aligned calloc stats' && cd "$dir/$1" &&
        arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -Os -fcallgraph-info=su -c hmm.c &&
        sh "$call_graph" hmm.ci hmm_heap_malloc hmm_heap_free hmm_heap_create hmm_heap_realloc \
            hmm_heap_aligned_alloc hmm_heap_calloc >graph && cat graph &&
        grep -qx 'indirect-calls 0' graph && grep -qx 'recursive 0' graph &&
        awk '/^stack/ {
            max = $2 ~ /(malloc|free|create|calloc)$/ ? 176 : 384
            if ($3 == "unbounded" || $3 > max)
                exit 1
        }' graph
}

# alike STRATEGY: on this machine, of the same granule as the targets have.
alike() {
    firmware "$1" 'realloc aligned calloc checks' && cd "$dir/$1" || return 1
    workload="-DALIKE_STRATEGY=$(constant "$1") -DALIKE_REALLOC -DALIKE_CALLOC -DALIKE_ALIGNED"
    workload="$workload -DALIKE_CHECKS -DHMM_GRANULE=8u"
    library=$(library -DHMM_GRANULE=8u) || return 1
    # shellcheck disable=SC2086
    $CC -O1 $workload -DALIKE_HEADER='"heap_memory_manager.h"' -I"$library" -o whole \
        "$target/../alike.c" "$library/whole.o" && ./whole >expected &&
        $CC -O1 $workload -DALIKE_HEADER='"hmm.h"' -I. -o few "$target/../alike.c" hmm.c &&
        ./few >got && diff expected got && [ "$(wc -l <got)" -eq 4 ]
}

# on_target STRATEGY SCRIPT MACHINE COMPILER ARGUMENT...: the same under QEMU, after alike.
on_target() {
    cd "$(made "$1" 'realloc aligned calloc checks')" || return 1
    strategy=$1 script=$2 machine=$3
    shift 3
    # shellcheck disable=SC2086
    "$@" -Os -ffreestanding -nostdlib -I. -DALIKE_TARGET -DALIKE_HEADER='"hmm.h"' \
        -DALIKE_STRATEGY="$(constant "$strategy")" -DALIKE_REALLOC -DALIKE_CALLOC -DALIKE_ALIGNED \
        -DALIKE_CHECKS -DHMM_GRANULE=8u -T "$target/$script" -o target.elf \
        "$target/../alike.c" "$target/start.c" hmm.c &&
        timeout 120 $machine -nographic -semihosting -kernel target.elf >got 2>&1 && diff "$dir/$strategy/expected" got
}

# The tables of doc/firmware.md: a line for each strategy of each processor, and for each part.
report_is_whole() {
    ! TLSF=/nowhere sh "$top_srcdir/scripts/firmware-report" "$top_srcdir" x >table 2>&1 || return 1
    [ "$(cat table)" = 'firmware-report: /nowhere/tlsf.c: cannot be read' ] || return 1
    # shellcheck disable=SC2086
    sh "$top_srcdir/scripts/firmware-report" "$top_srcdir" $firmware_parts >table && cat table &&
        [ "$(grep -c '^| [CR].* | [1-9][0-9]* | 0 | ' table)" -ge 8 ] &&
        [ "$(awk -F'|' 'NF == 4 && $3 > 0' table | wc -l)" -eq 13 ]
}

for strategy in $strategies; do
    check "places as the library does: $strategy" alike "$strategy"
done

names='arm-none-eabi-nm'
arm='arm-none-eabi-gcc -mthumb'
m4="$arm -mcpu=cortex-m4"
if has arm-none-eabi-gcc -ffreestanding; then
    # shellcheck disable=SC2086
    check "Cortex-M4, -ffreestanding" compiles $m4 -ffreestanding
    # shellcheck disable=SC2086
    check "Cortex-M4, each part alone" alone $m4 -ffreestanding
    # shellcheck disable=SC2086
    check "Cortex-M0+, each part alone" alone $arm -mcpu=cortex-m0plus -ffreestanding
    check "its size: segregated" small 1450 segregated
    check "its size: best-fit" small 1750 best-fit
    check "its size: first-fit" small 900 first-fit
    for strategy in $strategies; do
        check "no call by a pointer, no recursion, the stack: $strategy" bounded "$strategy"
    done
    echo '#include <string.h>' >"$dir/probe.c"
    if arm-none-eabi-gcc -E "$dir/probe.c" >"$log" 2>&1; then
        # shellcheck disable=SC2086
        check "Cortex-M4, newlib" compiles $m4
        # shellcheck disable=SC2086
        check "Cortex-M4, newlib-nano" compiles $m4 --specs=nano.specs
    else
        skip "newlib" "arm-none-eabi-gcc has no C library: package libnewlib-arm-none-eabi"
    fi
    if arm-none-eabi-gcc --specs=picolibc.specs -E "$dir/probe.c" >"$log" 2>&1; then
        # shellcheck disable=SC2086
        check "Cortex-M4, picolibc" compiles $m4 --specs=picolibc.specs
    else
        skip "Cortex-M4, picolibc" "no picolibc.specs: package picolibc-arm-none-eabi"
    fi
    # Divisions are by constants that are powers of two, or of numbers in messages.
    if command -v qemu-system-arm >/dev/null; then
        for strategy in $strategies; do
            # shellcheck disable=SC2086
            check "on a Cortex-M4: $strategy" on_target "$strategy" arm.ld \
                'qemu-system-arm -M mps2-an386' $m4
        done
    else
        skip "on a Cortex-M4" "no qemu-system-arm"
    fi
else
    skip "Cortex-M" "no arm-none-eabi-gcc: package gcc-arm-none-eabi"
fi

if has arm-none-eabi-gcc -ffreestanding; then
    check "make firmware-report" report_is_whole
else
    skip "make firmware-report" "no arm-none-eabi-gcc: package gcc-arm-none-eabi"
fi

names='riscv64-unknown-elf-nm'
for bits in 32 64; do
    case $bits in
    32) riscv='riscv64-unknown-elf-gcc -march=rv32imac -mabi=ilp32' ;;
    *) riscv='riscv64-unknown-elf-gcc -march=rv64imac -mabi=lp64 -mcmodel=medany' ;;
    esac
    if ! has riscv64-unknown-elf-gcc -ffreestanding; then
        skip "rv$bits" "no riscv64-unknown-elf-gcc: package gcc-riscv64-unknown-elf"
        continue
    fi
    # shellcheck disable=SC2086
    check "rv$bits, -ffreestanding" compiles $riscv -ffreestanding
    # shellcheck disable=SC2086
    check "rv$bits, each part alone" alone $riscv -ffreestanding
    if riscv64-unknown-elf-gcc --specs=picolibc.specs -E "$dir/probe.c" >"$log" 2>&1; then
        # shellcheck disable=SC2086
        check "rv$bits, picolibc" compiles $riscv --specs=picolibc.specs
    else
        skip "rv$bits, picolibc" "no picolibc.specs: package picolibc-riscv64-unknown-elf"
    fi
    if command -v qemu-system-riscv$bits >/dev/null; then
        for strategy in best-fit first-fit; do
            # shellcheck disable=SC2086
            check "on rv$bits: $strategy" on_target "$strategy" riscv.ld \
                "qemu-system-riscv$bits -M virt -bios none" $riscv
        done
    else
        skip "on rv$bits" "no qemu-system-riscv$bits: package qemu-system-misc"
    fi
done
finish
