#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/shared_memory.c compiles without a warning, on the library as one file, and its two
# processes share a heap at two addresses. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${CC:=cc}"

skip_under_valgrind

# shellcheck disable=SC2086,SC2154
(cd "$top_srcdir" && sh scripts/single-file . "$dir" $single_file_parts) || exit 99
cp "$top_srcdir/examples/shared_memory.c" "$dir"
cd "$dir" || exit 99
echo '#include "heap_memory_manager.h"' >hmm.h

compiles() {
    $CC -O1 -DHMM_NO_MAIN -c heap_memory_manager.c &&
        $CC -O1 -Wall -Wextra -Wshadow -Wconversion -Werror -I. -c shared_memory.c &&
        $CC -o shared_memory shared_memory.o heap_memory_manager.o -pthread
}

runs() {
    limit=
    ! command -v timeout >/dev/null 2>&1 || limit='timeout 60'
    $limit ./shared_memory >out
    status=$?
    cat out
    [ $status -eq 0 ] && grep -qx 'mapped at another address' out &&
        grep -qx 'the heap is empty' out && [ "$(grep -c '^line ' out)" -eq 10 ]
}

check "the example compiles" compiles
for round in 1 2 3; do
    check "two processes at two addresses, round $round" runs
done
finish
