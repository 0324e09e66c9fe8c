#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A device from its first event to the size of its heap: a program's trace replayed on a Cortex-M4
# and an RV32 under QEMU, each address held against a plain scan there; its events, drained from a
# ring, imported as a trace; the smallest heap for that trace, by scripts/target-heap; and that size
# tried on the device. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}"

skip_if_essential
skip_under_valgrind
skip_with_sanitizers

top=$(cd "$top_srcdir" && pwd)
hmm=$(cd "$top_builddir" && pwd)/hmm
device=$top/examples/device target=$top/tests/target
operations=2500 room=262144
strategies='best-fit first-fit next-fit segregated'
parts='realloc trace checks stats'

constant() {
    echo "$1" | tr 'a-z-' 'A-Z_'
}

# made STRATEGY: prints the folder of hmm.c and hmm.h; they are made once.
made() {
    # shellcheck disable=SC2086,SC2154
    [ -d "$dir/$1" ] || (cd "$top" && sh scripts/firmware . "$dir/$1" "$1" "$parts" \
        $firmware_parts) || return 1
    echo "$dir/$1"
}

# build STRATEGY HEAP OUTPUT COMPILER ARGUMENT...: the device's program, with data.h.
build() {
    strategy=$1 heap=$2 output=$3
    folder=$(made "$strategy") || return 1
    shift 3
    set -- "$@" -Os -Wall -Wextra -Wshadow -Wconversion -Werror -DHMM_PANIC_HANDLED \
        -DHMM_GRANULE=8u -DTRACE_DATA='"data.h"' -DDEVICE_HEAP="$heap" \
        -DDEVICE_STRATEGY="HMM_$(constant "$strategy")" \
        -DDEVICE_RULE="MODEL_$(constant "$strategy")" -I"$dir" -I"$folder"
    "$@" -Wno-error -w -c -o hmm.o "$folder/hmm.c" &&
        "$@" -c -o model.o "$device/model.c" &&
        "$@" -c -o replay.o "$device/replay.c" || return 1
    case $* in
    *DEVICE_TARGET*) "$@" -o "$output" replay.o model.o hmm.o "$target/start.c" ;;
    *) "$@" -o "$output" replay.o model.o hmm.o ;;
    esac
}

has() {
    command -v "$1" >/dev/null && echo 'int main(void) { return 0; }' >"$dir/probe.c" &&
        "$@" -o "$dir/probe" "$dir/probe.c" >"$dir/log" 2>&1
}

bare='-ffreestanding -nostdlib -DDEVICE_TARGET'
arm="arm-none-eabi-gcc -mthumb -mcpu=cortex-m4 $bare -T $target/arm.ld"
riscv="riscv64-unknown-elf-gcc -march=rv32imac_zicsr -mabi=ilp32 $bare -T $target/riscv.ld"
compiler() {
    case $1 in
    Cortex-M4) echo "$arm" ;;
    *) echo "$riscv" ;;
    esac
}
emulator() {
    case $1 in
    Cortex-M4) echo "timeout 60 qemu-system-arm -M mps2-an386 -nographic -semihosting -kernel" ;;
    *) echo "timeout 60 qemu-system-riscv32 -M virt -bios none -nographic -semihosting -kernel" ;;
    esac
}

# on PROCESSOR STRATEGY HEAP [ARGUMENT...]: what the device prints goes to got; its exit code.
on() {
    processor=$1 strategy=$2 heap=$3
    shift 3
    # shellcheck disable=SC2046
    build "$strategy" "$heap" device.elf $(compiler "$processor") "$@" || return 99
    # shellcheck disable=SC2046
    $(emulator "$processor") device.elf >said 2>&1
    code=$?
    tr -d '\r' <said >got
    cat got
    return "$code"
}

# ---- The tests ----

prefix() {
    cd "$dir" && "$hmm" cut --from 1 --to "$operations" -o prefix.trace \
        "$top/examples/traces/sqlite3-shell.trace.zst" &&
        sh "$top/scripts/trace-array" prefix.trace >data.h &&
        grep -x "#define TRACE_OPERATIONS $operations" data.h &&
        grep '#define TRACE_RESIZED [1-9]' data.h
}

# What has no form of a trace is refused, with the line.
refused() {
    printf '%s\n' '# hmm-trace 1' 'a 0 8' 'f 1' >"$dir/odd.trace"
    ! sh "$top/scripts/trace-array" "$dir/odd.trace" >"$dir/out" 2>&1 &&
        grep 'line 3: no block has the number 1' "$dir/out" &&
        ! sh "$top/scripts/target-heap" "$dir" "$dir/odd.trace" >"$dir/out" 2>&1 &&
        grep 'hmm.c: cannot be read' "$dir/out"
}

# says LINE SCRIPT ARGUMENT...: exit code 2, and this line alone.
says() {
    line=$1 script=$2 code=0
    shift 2
    sh "$top/scripts/$script" "$@" >"$dir/out" 2>&1 || code=$?
    cat "$dir/out"
    [ "$code" -eq 2 ] && [ "$(cat "$dir/out")" = "$line" ]
}

mistyped() {
    says 'trace-array: nothere: cannot be read' trace-array nothere &&
        says "trace-array: unknown option '-o'; allowed: -n" trace-array -o x &&
        says 'trace-array: -n x: not a number of operations' trace-array -n x "$dir/odd.trace" &&
        says "target-heap: unknown option '--strategi'; allowed: --max, --strategy, --granule, --memory, --cc, --run" \
            target-heap --strategi best-fit x y &&
        says "target-heap: --max: an option's value, FOLDER or TRACE is missing" target-heap --max x
}

# here STRATEGY: on this machine, for 32 bits; what the devices must print.
here() {
    cd "$dir" && build "$1" "$room" ./here "$CC" -m32 && ./here >"expected-$1" &&
        cat "expected-$1" && grep -qx "operations served: $operations of $operations" "expected-$1"
}

# places PROCESSOR STRATEGY: each address on the device.
places() {
    cd "$dir" && on "$1" "$2" "$room" && diff "expected-$2" got
}

# The model would say so: with another rule it is at odds at once.
other_rule() {
    cd "$dir" && made best-fit || return 1
    sed 's/DEVICE_RULE/MODEL_FIRST_FIT/' "$device/replay.c" >other.c
    $CC -m32 -w -DHMM_PANIC_HANDLED -DHMM_GRANULE=8u -DTRACE_DATA='"data.h"' -DDEVICE_HEAP="$room" \
        -DDEVICE_STRATEGY=HMM_BEST_FIT -I. -Ibest-fit -I"$device" -o other other.c \
        "$device/model.c" best-fit/hmm.c || return 1
    ! ./other >out && grep ', and the model has another' out
}

# events PROCESSOR: the trace that the device's events make is the one that it replays.
events() {
    cd "$dir" && rm -f events.bin && on "$1" best-fit "$room" '-DDEVICE_RING="events.bin"' &&
        "$hmm" import --from ring -o "$1.trace" events.bin &&
        sh "$top/scripts/trace-array" "$1.trace" >again.h &&
        diff data.h again.h
}

# heap_size ARGUMENT...: what scripts/target-heap says goes to said, and the bytes to $size.
heap_size() {
    sh "$top/scripts/target-heap" "$@" >said
    code=$?
    cat said
    size=$(sed -n '1s/.* KiB will do: \([0-9]*\) bytes, .*/\1/p' said)
    return "$code"
}

# verdict PROCESSOR STRATEGY: the same from this machine as from the device's own code.
verdict() {
    cd "$dir" && made "$2" && heap_size "$2" Cortex-M4.trace && sizes=$size &&
        heap_size --cc "$(compiler "$1") $target/start.c" --run "$(emulator "$1")" "$2" \
            Cortex-M4.trace && [ "$size" -gt 10000 ] && [ "$size" -eq "$sizes" ]
}

# tried PROCESSOR STRATEGY: on the device that size completes, and a granule less does not.
tried() {
    cd "$dir" && heap_size "$2" Cortex-M4.trace && on "$1" "$2" "$size" &&
        grep -q ', as the model has them' got || return 1
    on "$1" "$2" $((size - 8))
    [ $? -eq 1 ] && grep '^operations served: ' got && ! grep "served: $operations of" got &&
        grep -q ', as the model has them' got
}

# For a build: exit 1 when it no longer fits.
gate() {
    cd "$dir" && heap_size best-fit Cortex-M4.trace || return 1
    heap_size --max "$size" best-fit Cortex-M4.trace || return 1
    heap_size --max $((size - 1)) best-fit Cortex-M4.trace
    [ $? -eq 1 ] && grep 'that is 1 bytes more than' said || return 1
    heap_size --memory 8K best-fit Cortex-M4.trace
    [ $? -eq 1 ] && grep '8192 bytes will not do' said
}

# another_strategy: one that hmm.c was not made with is named, before it is compiled.
another_strategy() {
    cd "$dir" && sh "$top/scripts/target-heap" --strategy next-fit best-fit Cortex-M4.trace 2>said
    [ $? -eq 2 ] && grep 'has no next-fit, but best-fit$' said && [ "$(wc -l <said)" -eq 1 ]
}

check "a trace's first operations as an array" prefix
check "what is no trace is refused" refused
check "what is mistyped is named in one line" mistyped
if ! has "$CC" -m32; then
    skip "the devices" "$CC -m32 makes no programs: package gcc-multilib"
    finish
    exit
fi
for strategy in $strategies; do
    check "each address as a plain scan has it: here, $strategy" here "$strategy"
done
check "another rule's addresses are other ones" other_rule

there=
if ! has arm-none-eabi-gcc -nostdlib -mthumb -mcpu=cortex-m4; then
    skip "on a Cortex-M4" "no arm-none-eabi-gcc: package gcc-arm-none-eabi"
elif ! command -v qemu-system-arm >"$dir/log"; then
    skip "on a Cortex-M4" "no qemu-system-arm"
else
    there=Cortex-M4
fi
if ! has riscv64-unknown-elf-gcc -nostdlib; then
    skip "on rv32" "no riscv64-unknown-elf-gcc: package gcc-riscv64-unknown-elf"
elif ! command -v qemu-system-riscv32 >"$dir/log"; then
    skip "on rv32" "no qemu-system-riscv32: package qemu-system-misc"
else
    there="$there rv32"
fi
for processor in $there; do
    for strategy in $strategies; do
        check "each address as a plain scan has it: $processor, $strategy" places "$processor" \
            "$strategy"
    done
    check "its events, imported, are the trace: $processor" events "$processor"
done
[ -s "$dir/Cortex-M4.trace" ] || cp "$dir/prefix.trace" "$dir/Cortex-M4.trace"
for processor in $there; do
    for strategy in best-fit segregated; do
        check "the smallest heap is the device's: $processor, $strategy" verdict "$processor" \
            "$strategy"
        check "that size does, a granule less does not: $processor, $strategy" tried "$processor" \
            "$strategy"
    done
done
check "scripts/target-heap --max" gate
check "scripts/target-heap, of a strategy that is not there" another_strategy
finish
