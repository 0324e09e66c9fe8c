#!/bin/sh
# SPDX-License-Identifier: MIT
#
# make firmware: two files that need no other and no system. They compile here with each C library,
# hold no more than was asked for, and do what they say. firmware_targets.sh is about processors,
# firmware_misra.sh about MISRA C. Speaks TAP.
# shellcheck source=tests/firmware_common.sh
. "$(dirname "$0")/firmware_common.sh"

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

# plugin FILE: a strategy of the program's own, which places as it does in the library.
plugin() {
    cd "$(made best-fit 'plugins checks realloc aligned')" || return 1
    echo '#include "hmm.h"' >hmm-strategy.h
    # shellcheck disable=SC2119
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

check "make firmware writes two files" by_make
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
for file in "$target"/../../examples/strategies/*.c; do
    check "places as in the library, a program's own: ${file##*/}" plugin "$file"
done

finish
