#!/bin/sh
# SPDX-License-Identifier: MIT
# ThreadSanitizer on the process heap, as one file. Speaks TAP.

. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${CC:=cc}"

skip_if_essential
skip_under_valgrind
skip_with_sanitizers

TSAN_OPTIONS="exitcode=66 halt_on_error=1"
export TSAN_OPTIONS

# library FLAG...: compiles the library, once for each $CC and these flags, and prints the object's
# name.
library() {
    object=$dir/$(echo "$CC$*" | tr -c 'a-zA-Z0-9\n' _).o
    [ -e "$object" ] || $CC -g -O1 -fsanitize=thread -DHMM_NO_MAIN "$@" -pthread -c -o "$object" \
        "$dir/heap_memory_manager.c" || return 1
    echo "$object"
}

# build PROGRAM SOURCE FLAG...
build() {
    program=$1 source=$2
    shift 2
    whole=$(library "$@" 2> "$dir/log") &&
        $CC -g -O1 -fsanitize=thread -DHMM_OWN_NAMES -DROUNDS=2000 -I"$dir" "$@" \
            -o "$dir/$program" "$top_srcdir/tests/preload/$source.c" "$whole" -pthread \
            > "$dir/log" 2>&1
}

# has_tsan: $CC has it, and what it makes runs.
has_tsan() {
    echo 'int main(void) { return 0; }' > "$dir/try.c"
    $CC -fsanitize=thread -o "$dir/try" "$dir/try.c" > "$dir/log" 2>&1 && "$dir/try"
}

has_tsan || skip_all "$CC has no ThreadSanitizer that runs here"

# shellcheck disable=SC2086,SC2154
(cd "$top_srcdir" && sh scripts/single-file . "$dir" $single_file_parts) || exit 99

# The first use by several at once, who set it up, change the strategy and free each other's blocks.
cat > "$dir/first.c" <<'END'
#include "heap_memory_manager.h"
#include <pthread.h>
#include <stdlib.h>
enum { THREADS = 6, SLOTS = 64 };
static pthread_barrier_t start;
static void *slots[SLOTS];
static void *use(void *which)
{
    const struct hmm_strategy *const strategies[] = {HMM_FIRST_FIT, HMM_NEXT_FIT, HMM_BEST_FIT,
                                                     HMM_SEGREGATED};
    unsigned n = *(unsigned *)which, seed = n * 7919 + 1;
    pthread_barrier_wait(&start);
    if (n % 3 == 1)
        hmm_free(n % 2 ? NULL : hmm_realloc(NULL, 100));
    if (n % 3 == 0 && hmm_init(n % 2 ? NULL : strategies[n % 4]) != 0)
        abort();
    for (int i = 0; i < 4000; i++) {
        seed = seed * 1664525 + 1013904223;
        size_t size = (seed >> 12) % (i % 50 == 0 ? 20000 : 700);
        void *p = i % 7 == 1   ? hmm_calloc(3, size)
                  : i % 7 == 2 ? hmm_aligned_alloc((size_t)16 << (seed >> 20) % 5, size)
                               : hmm_malloc(size);
        if (hmm_usable_size(p) < size)
            abort();
        p = __atomic_exchange_n(&slots[(seed >> 8) % SLOTS], p, __ATOMIC_ACQ_REL);
        if (i % 5 == 0)
            p = hmm_realloc(p, (seed >> 10) % 3000 + 1);
        else if (p != NULL)
            *(char *)p = (char)hmm_usable_size(p);
        hmm_free(p);
        if (n == 3 && i % 500 == 0)
            hmm_init(strategies[i / 500 % 4]);
    }
    return NULL;
}
/* With an argument it ends while threads are at work. */
int main(int argc, char **argv)
{
    (void)argv;
    for (int round = 0; round < 3; round++) {
        pthread_t thread[THREADS];
        static unsigned number[THREADS];
        pthread_barrier_init(&start, NULL, THREADS);
        for (unsigned i = 0; i < THREADS; i++) {
            number[i] = i;
            pthread_create(&thread[i], NULL, use, &number[i]);
        }
        for (int i = 0; i < THREADS; i++)
            if (argc == 1 || round < 2 || i == 0)
                pthread_join(thread[i], NULL);
            else
                pthread_detach(thread[i]);
    }
    return 0;
}
END

# all_cases: by $CC
# shellcheck disable=SC2086  # words
all_cases() {
    for program in threads thread_caches thread_reclaim thread_phases; do
        build $program $program
        report $? "$CC builds: $program" "$dir/log"
        for c in $("$dir/$program"); do
            timeout 240 "$dir/$program" "$c" > "$dir/log" 2>&1
            report $? "$program: $c" "$dir/log"
        done
    done

    $CC -g -O1 -fsanitize=thread -I"$dir" -o "$dir/first" "$dir/first.c" "$(library)" -pthread \
        > "$dir/log" 2>&1
    report $? "$CC builds: first use" "$dir/log"
    for how in '' HMM_VERBOSE=1 HMM_CACHE=0 HMM_CHECK=2 HMM_STRATEGY=next-fit HMM_STATS=/dev/null; do
        env $how timeout 240 "$dir/first" > "$dir/log" 2>&1
        report $? "first use together${how:+, $how}" "$dir/log"
    done
    for i in 1 2 3 4 5 6; do
        HMM_STATS=/dev/null timeout 240 "$dir/first" ends-early > "$dir/log" 2>&1
        report $? "an end with threads at work, $i" "$dir/log"
    done

    # A test that cannot fail is none.
    build without threads -DHMM_NO_THREADS
    report $? "$CC builds without the lock" "$dir/log"
    timeout 240 "$dir/without" hands > "$dir/log" 2>&1
    [ $? -eq 66 ] && grep -q 'WARNING: ThreadSanitizer: data race' "$dir/log"
    report $? "without the lock there are races" "$dir/log"
}

all_cases
# The other compiler's is another, with a macro of its own.
if echo | $CC -dM -E - | grep -q __clang__; then
    CC=gcc
else
    CC=clang
fi
if command -v $CC > "$dir/log" && has_tsan; then
    all_cases
fi

finish
