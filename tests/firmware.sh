#!/bin/sh
# SPDX-License-Identifier: MIT
#
# make firmware: two files that need no other, no system and little memory. They compile for the
# processors and the C libraries there are, hold no more than was asked for, are as small as the
# README says, and place as the library does, on the processor too. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}" "${NM:=nm}"

skip_if_essential
skip_under_valgrind

all='realloc aligned calloc regions images checks messages stats walk locks trace process'
strategies='first-fit next-fit best-fit segregated'
strict='-Wall -Wextra -Wshadow -Wconversion -Werror'
log=$dir/log
levels='-Os -O0 -O2' choices="$strategies first-fit,segregated"
call_graph=$(cd "$top_srcdir" && pwd)/scripts/call-graph
target=$(cd "$top_srcdir" && pwd)/tests/target
top_builddir=$(cd "$top_builddir" && pwd)

# firmware STRATEGIES PARTS: makes the two files in $dir/STRATEGIES.
firmware() {
    # shellcheck disable=SC2086,SC2154
    (cd "$top_srcdir" && sh scripts/firmware . "$dir/$1" "$1" "$2" $firmware_parts)
}

# absent PATTERN FILE: no line of the file matches; an error of grep's fails too.
absent() {
    grep -nE "$1" "$2"
    [ $? -eq 1 ]
}

# needs OBJECT NM: nothing but these three; ARM's own names of them too.
needs() {
    $2 -u "$1" | sed 's/^ *[Uw] //' >undefined
    grep -vxE 'memcpy|memmove|memset|__aeabi_mem(cpy|move|set|clr)[48]?' undefined
    [ $? -eq 1 ]
}

by_make() {
    ${MAKE:-make} -C "$top_builddir" firmware STRATEGY=segregated WITH='checks calloc' \
        OUT="$dir/made" && firmware segregated 'checks calloc' &&
        cmp "$dir/made/hmm.c" "$dir/segregated/hmm.c" &&
        cmp "$dir/made/hmm.h" "$dir/segregated/hmm.h" && [ "$(find "$dir/made" | wc -l)" -eq 3 ]
}

# each_awk: the files are the same, byte for byte, by all kinds of awk that there are.
each_awk() {
    compared=0
    for awk in gawk 'gawk --posix' mawk original-awk 'busybox awk'; do
        command -v "${awk%% *}" >/dev/null || continue
        printf '#!/bin/sh\nexec %s "$@"\n' "$awk" >"$dir/awk" && chmod +x "$dir/awk" || return 1
        for parts in '' "$all plugins"; do
            # shellcheck disable=SC2086
            if ! (cd "$top_srcdir" && AWK=$dir/awk sh scripts/firmware . "$dir/by_awk" \
                next-fit,segregated "$parts" $firmware_parts) ||
                ! cd "$(made next-fit,segregated "$parts")" || ! cmp hmm.c "$dir/by_awk/hmm.c" ||
                ! cmp hmm.h "$dir/by_awk/hmm.h" || ! rm -r "$dir/by_awk"; then
                echo "$awk with $parts"
                return 1
            fi
        done
        compared=$((compared + 1))
    done
    [ $compared -gt 0 ]
}

# refused MESSAGE STRATEGIES PARTS
refused() {
    message=$1
    shift
    if firmware "$@" >"$dir/said" 2>&1; then
        return 1
    fi
    grep -q "$message" "$dir/said" && [ ! -e "$dir/$1/hmm.c" ]
}

# The head of hmm.h has each part as it was chosen, -D overrides it, and what is left out is not
# declared.
switches() {
    firmware best-fit 'calloc stats' && cd "$dir/best-fit" || return 1
    for part in REALLOC ALIGNED CALLOC REGIONS IMAGES CHECKS MESSAGES STATS WALK PLUGINS LOCKS PROCESS; do
        grep -qE "HMM_WITH_$part +[0-9]+  [a-z]" hmm.h || return 1
    done
    cat >chosen.c <<'END'
#include "hmm.h"
#if !HMM_WITH_CALLOC || !HMM_WITH_STATS || HMM_WITH_REALLOC || HMM_WITH_CHECKS || HMM_WITH_PROCESS
#error "not as chosen"
#endif
int (*realloc_is_free)(void) = 0;
#define hmm_heap_realloc realloc_is_free
END
    $CC -c chosen.c && $CC -Os -c hmm.c && $NM hmm.o >defined &&
        grep -q ' T hmm_heap_calloc' defined && absent 'hmm_heap_(realloc|check)|hmm_init' defined &&
        absent ' T (hmm_[^h]|hmm__)' defined &&
        $CC -Os -DHMM_WITH_REALLOC=1 -DHMM_WITH_CALLOC=0 -c hmm.c && $NM hmm.o >defined &&
        grep -q ' T hmm_heap_realloc' defined && absent 'hmm_heap_calloc' defined
}

only_system_headers() {
    cat hmm.c hmm.h | grep '^ *# *include' | sort -u >included
    absent '"' included | grep -v '"hmm.h"'
    grep -vE '"hmm.h"|<(stdbool|stddef|stdint)\.h>' included
    [ $? -eq 1 ]
}

# made STRATEGIES PARTS: prints the folder that has these two files; they are made once.
made() {
    folder=$dir/made-$(echo "$*" | tr ' ,' '__')
    # shellcheck disable=SC2086
    [ -d "$folder" ] || (cd "$top_srcdir" &&
        sh scripts/firmware . "$folder" "$1" "$2" $firmware_parts) || return 1
    echo "$folder"
}

# compiles COMPILER ARGUMENT...: with no part and with all, each strategy, two of them, with
# plug-ins; no warning, and nothing is wanted but three functions. $names: how to list symbols.
compiles() {
    for chosen in $choices; do
        for parts in '' "$all" "$all plugins"; do
            cd "$(made "$chosen" "$parts")" || return 1
            for level in $levels; do
                # shellcheck disable=SC2086
                "$@" $level $strict -std=c11 -c hmm.c || return 1
                needs hmm.o "$names" || {
                    echo "$chosen with $parts, $level"
                    return 1
                }
            done
        done
    done
}

# As compiles: of a C library with what it defines.
has() {
    command -v "$1" >/dev/null && echo 'int main(void) { return 0; }' >"$dir/probe.c" &&
        "$@" -c -o "$dir/probe.o" "$dir/probe.c" >"$log" 2>&1
}

from_cxx() {
    firmware best-fit "$all" && cd "$dir/best-fit" || return 1
    cat >user.cc <<'END'
#include "hmm.h"
static unsigned char memory[8192];
int main()
{
    struct hmm_heap *h = hmm_heap_create(memory, sizeof memory, HMM_BEST_FIT);
    int *p = static_cast<int *>(hmm_heap_malloc(h, 10 * sizeof(int)));
    p[9] = 1;
    hmm_heap_free(h, p);
    p = static_cast<int *>(hmm_malloc(7));
    hmm_free(p);
    return p == nullptr || hmm_heap_check(h) != nullptr;
}
END
    # shellcheck disable=SC2086
    $CC -c hmm.c && g++ -std=c++17 -Wpedantic $strict user.cc hmm.o -o user && ./user
}

# process: hmm_init over the static array, and the lock around it.
process() {
    firmware segregated 'process locks checks' && cd "$dir/segregated" || return 1
    cat >user.c <<'END'
#include "hmm.h"
static int within, operations;
static void enter(void *arg) { *(int *)arg += 1; operations++; }
static void leave(void *arg) { *(int *)arg -= 1; }
int main(void)
{
    size_t got = 0;
    void *p;
    hmm_set_lock(enter, leave, &within);
    if (hmm_init(HMM_SEGREGATED) != 0 || hmm_init(HMM_SEGREGATED) != -1)
        return 1;
    while ((p = hmm_malloc(100)) != NULL)
        got += hmm_usable_size(p);
    if (got < 2500 || got > 4096 || within != 0 || operations < 25)
        return 2;
    return hmm_heap_check(hmm_process_heap()) != NULL;
}
END
    # shellcheck disable=SC2086
    $CC $strict -DHMM_PROCESS_HEAP_SIZE=4096 user.c hmm.c -o user && ./user
}

# A double free, a pointer into a block and an overwritten header reach the handler.
misuse() {
    firmware best-fit 'checks messages' && cd "$dir/best-fit" || return 1
    cat >user.c <<'END'
#include "hmm.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static unsigned char memory[8192];
static void say(const char *line) { puts(line); exit(3); }
int main(int count, char **arguments)
{
    struct hmm_heap *h = hmm_heap_create(memory, sizeof memory, HMM_BEST_FIT);
    char *p = hmm_heap_malloc(h, 100), *q = hmm_heap_malloc(h, 100), *r = hmm_heap_malloc(h, 100);
    hmm_on_panic(say);
    switch (count > 1 ? *arguments[1] : 0) {
    case 'd': hmm_heap_free(h, q); hmm_heap_free(h, q); break;
    case 'i': hmm_heap_free(h, q + 32); break;
    case 'h': memset(p, 255, 140); hmm_heap_free(h, p); break;
    case 'o': hmm_heap_free(h, memory + sizeof memory + 64); break;
    default: hmm_heap_free(h, p); hmm_heap_free(h, r); hmm_heap_free(h, q); return 0;
    }
    return 0;
}
END
    $CC user.c hmm.c -o wordy && $CC -DHMM_WITH_MESSAGES=0 user.c hmm.c -o brief && ./wordy || return 1
    for case in d i h o; do
        ./wordy $case >said
        [ $? -eq 3 ] && grep -qE '^hmm: free 0x[0-9a-f]+: ' said || return 1
        ./brief $case >said
        [ $? -eq 3 ] && grep -qx 'hmm: misuse' said || return 1
    done
}

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

# constant STRATEGY: as the constant is named in C.
constant() {
    echo "HMM_$1" | tr 'a-z-' 'A-Z_'
}

# library OPTION...: compiles the library as one file, once for these options, in a folder, whose
# name it prints.
library() {
    folder=$dir/library$(echo "$*" | tr -c 'a-zA-Z0-9\n' _)
    if [ ! -d "$folder" ]; then
        # shellcheck disable=SC2086,SC2154
        mkdir "$folder" && (cd "$top_srcdir" &&
            sh scripts/single-file . "$folder" $single_file_parts) &&
            $CC -O1 "$@" -DHMM_NO_MAIN -c -o "$folder/whole.o" "$folder/heap_memory_manager.c" ||
            return 1
    fi
    echo "$folder"
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

# plugin FILE: a strategy of the program's own, which places as it does in the library.
plugin() {
    cd "$(made best-fit 'plugins checks realloc aligned')" || return 1
    echo '#include "hmm.h"' >hmm-strategy.h
    library=$(library) || return 1
    workload='-DALIKE_STRATEGY=&hmm_plugin_strategy -DALIKE_REALLOC -DALIKE_ALIGNED -DALIKE_CHECKS'
    workload="$workload -DALIKE_OPERATIONS=4000"
    echo 'extern const struct hmm_strategy hmm_plugin_strategy;' >declared.h
    {
        echo '#include "heap_memory_manager.h"'
        cat declared.h
    } >whole.h
    {
        echo '#include "hmm.h"'
        cat declared.h
    } >few.h
    # shellcheck disable=SC2086
    $CC -O1 $workload -DALIKE_HEADER='"whole.h"' -I. -I"$library" -I"$top_srcdir/lib" \
        -o whole "$target/../alike.c" "$1" "$library/whole.o" &&
        ./whole >expected &&
        $CC -O1 $workload -DALIKE_HEADER='"few.h"' -I. -o few "$target/../alike.c" "$1" hmm.c &&
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

check "make firmware writes two files" by_make
# The tables of doc/firmware.md: a line for each strategy of each processor, and for each part.
report_is_whole() {
    ! TLSF=/nowhere sh "$top_srcdir/scripts/firmware-report" "$top_srcdir" x >table 2>&1 || return 1
    [ "$(cat table)" = 'firmware-report: /nowhere/tlsf.c: cannot be read' ] || return 1
    # shellcheck disable=SC2086
    sh "$top_srcdir/scripts/firmware-report" "$top_srcdir" $firmware_parts >table && cat table &&
        [ "$(grep -c '^| [CR].* | [1-9][0-9]* | 0 | ' table)" -ge 8 ] &&
        [ "$(awk -F'|' 'NF == 4 && $3 > 0' table | wc -l)" -eq 13 ]
}

# with PART...: the options for them. Images take the checks.
with() {
    case "$*" in
    *IMAGES*) printf ' -DHMM_WITH_CHECKS=1' ;;
    esac
    printf ' -DHMM_WITH_%s=1' "$@"
}

# alone_and_in_pairs COMPILER ARGUMENT...: each part, and any two, with each strategy, by -D as the
# head of hmm.h allows, without a warning.
alone_and_in_pairs() {
    words=$(echo "$all plugins" | tr "[:lower:]" "[:upper:]")
    for strategy in $strategies; do
        cd "$(made "$strategy" '')" || return 1
        rest=$words
        for one in $words; do
            for two in $rest; do
                # shellcheck disable=SC2086,SC2046
                "$@" -DHMM_PANIC_HANDLED $(with "$one" "$two") -fsyntax-only $strict \
                    -std=c11 hmm.c || {
                    echo "$strategy with $one $two"
                    return 1
                }
            done
            rest=${rest#*[[:space:]]}
        done
    done
}

# alone COMPILER ARGUMENT...: each part with each strategy.
alone() {
    for strategy in $strategies; do
        cd "$(made "$strategy" '')" || return 1
        for one in $(echo "$all plugins" | tr "[:lower:]" "[:upper:]"); do
            # shellcheck disable=SC2086,SC2046
            if ! "$@" -Os -DHMM_PANIC_HANDLED $(with "$one") $strict -std=c11 -c hmm.c ||
                ! needs hmm.o "$names"; then
                echo "$strategy with $one"
                return 1
            fi
        done
    done
}

# run_with PROGRAM STRATEGIES: tests/target/PROGRAM.c with the files here, the first strategy in it.
run_with() {
    # shellcheck disable=SC2086
    $CC -I. -DHMM_PANIC_HANDLED -DSTRATEGY="$(constant "${2%,*}")" $strict -o "$1" "$target/$1.c" hmm.c &&
        "./$1"
    status=$?
    [ $status -eq 0 ] || echo "$2: $status"
    return $status
}

# Regions with each strategy: the needs of a block, moving, constrained places.
regions() {
    for strategy in $strategies; do
        cd "$(made "$strategy" 'regions realloc locks trace checks')" || return 1
        run_with regions "$strategy" || return 1
    done
}

# Images with each strategy, and with two: used on at another address; what is none is refused.
images() {
    for strategy in $strategies first-fit,segregated; do
        cd "$(made "$strategy" 'images')" || return 1
        run_with images "$strategy" || return 1
    done
}

# What is written out for MISRA changes no instruction.
same_code() {
    for chosen in $strategies; do
        for parts in '' "$all"; do
            cd "$(made "$chosen" "$parts")" || return 1
            # shellcheck disable=SC2086
            (cd "$top_srcdir" && PLAIN=yes sh scripts/firmware . "$dir/plain" "$chosen" "$parts" \
                $firmware_parts) || return 1
            cmp -s hmm.c "$dir/plain/hmm.c" && return 1
            for level in -Os -O2; do
                $CC $level -S -o whole.s hmm.c && $CC $level -S -o plain.s "$dir/plain/hmm.c" &&
                    cmp whole.s plain.s || return 1
            done
        done
    done
}

# cppcheck, once for each text: what it says of hmm.c and hmm.h does not depend on the records.
cat >"$dir/cppcheck" <<END
#!/bin/sh
said=$dir/cppcheck-\$(cat hmm.c hmm.h | cksum | tr " " -)
[ -e "\$said" ] || { cppcheck "\$@" >"\$said.new" 2>&1 && mv "\$said.new" "\$said"; } || exit
cat "\$said"
END
chmod +x "$dir/cppcheck"

# Each rule of MISRA C:2012 that is violated has a record, and one that has none is named.
misra() {
    # shellcheck disable=SC2086
    CPPCHECK=$dir/cppcheck sh "$top_srcdir/scripts/firmware-misra" "$top_srcdir" $firmware_parts
}

misra_without_a_record() {
    mkdir -p "$dir/other/doc" && for folder in lib scripts strategies; do
        ln -s "$(cd "$top_srcdir" && pwd)/$folder" "$dir/other/$folder"
    done
    cp "$top_srcdir/COPYING" "$top_srcdir/doc/firmware.md" "$dir/other/" &&
        mv "$dir/other/firmware.md" "$dir/other/doc/" &&
        sed '/^| 11.4 |/d; s/^| 15.5 | [0-9]*/| 15.5 | 2/' "$top_srcdir/doc/misra.md" \
            >"$dir/other/doc/misra.md" && echo '| 21.6 | 3 | x | y |' >>"$dir/other/doc/misra.md" || return 1
    # shellcheck disable=SC2086
    CPPCHECK=$dir/cppcheck sh "$top_srcdir/scripts/firmware-misra" "$dir/other" $firmware_parts >said
    [ $? -eq 1 ] && cat said && grep -q '^rule 11.4 has hits and no record' said &&
        grep -q '^rule 15.5 has [0-9]* hits; its record .* 2$' said &&
        grep -q '^rule 21.6 has a record in doc/misra.md and no hits' said &&
        [ "$(grep -c '^rule' said)" -eq 3 ]
}

check "no such strategy" refused 'worst-fit: no such strategy' worst-fit ''
check "no such part" refused 'coffee: no such part' best-fit 'coffee'
check "no strategy" refused 'no strategy' '' ''
if command -v gawk >/dev/null || command -v mawk >/dev/null; then
    check "each awk makes the same files" each_awk
else
    skip "each awk makes the same files" "neither gawk nor mawk"
fi
check "the head says what is built, and can be overridden" switches
cd "$dir/best-fit" || exit 99
check "no header but three of the compiler's" only_system_headers
names=$NM
check "this compiler, hosted" compiles "$CC"
check "this compiler, -ffreestanding" compiles "$CC" -ffreestanding
if has musl-gcc; then
    check "musl" compiles musl-gcc
else
    skip "musl" "no musl-gcc: package musl-tools"
fi
if has g++; then
    check "from C++17" from_cxx
else
    skip "from C++17" "no g++"
fi
check "the process heap in a static array, and a lock" process
check "each part alone and in pairs" alone_and_in_pairs "$CC"
check "regions, with each strategy" regions
check "images, with each strategy" images
check "misuse reaches the handler, in words or in brief" misuse
for strategy in $strategies; do
    check "places as the library does: $strategy" alike "$strategy"
done

for file in "$target"/../../examples/strategies/*.c; do
    check "places as in the library, a program's own: ${file##*/}" plugin "$file"
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

check "what is written out for MISRA changes no instruction" same_code
if command -v cppcheck >/dev/null; then
    check "each MISRA rule that is violated has a record" misra
    check "one without a record, or beyond it, is named" misra_without_a_record
else
    skip "MISRA" "no cppcheck"
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
