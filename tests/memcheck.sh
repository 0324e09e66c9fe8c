#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Memcheck sees hmm's blocks as it sees malloc's: planted faults are reported, for every strategy,
# in the process heap and in a heap of one's own; and a program without one is clean. Speaks TAP.

build=${top_builddir:-.}
faults=$build/tests/faults
valgrind=$(command -v valgrind)
if [ -z "$valgrind" ]; then
    echo '1..0 # SKIP valgrind is not installed (Debian package: valgrind)'
    exit 0
fi
if ! grep -q '^#define HAVE_VALGRIND 1' "$build/config.h"; then
    echo "1..0 # SKIP built without Valgrind's headers"
    exit 0
fi
if nm "$faults" 2>/dev/null | grep -q __asan_init; then
    echo '1..0 # SKIP the sanitizers do not run under Valgrind'
    exit 0
fi
if ! "$valgrind" -q "$faults" own none best-fit 2>/dev/null; then
    echo '1..0 # SKIP valgrind does not run programs of this kind here'
    exit 0
fi
log=$(mktemp) || exit 99
trap 'rm -f "$log"' EXIT
count=0
failures=0

# expect HEAP FAULT STRATEGY PATTERN: memcheck's report has a line like this.
expect() {
    "$valgrind" --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=9 \
        "$faults" "$1" "$2" "$3" >"$log" 2>&1
    code=$?
    count=$((count + 1))
    case $2 in
    none) [ "$code" -eq 0 ] ;;
    *) [ "$code" -ne 0 ] ;;
    esac && grep -q "$4" "$log"
    # shellcheck disable=SC2181
    if [ $? -eq 0 ]; then
        echo "ok $count - $3, $1: $2"
    else
        echo "not ok $count - $3, $1: $2"
        sed 's/^/# /; 30q' "$log"
        failures=$((failures + 1))
    fi
}

strategies=$("$build/hmm" strategies --format json | sed 's/^{"name":"\([^"]*\)".*/\1/')
for strategy in $strategies; do
    for heap in own process; do
        expect $heap none "$strategy" 'ERROR SUMMARY: 0 errors'
        expect $heap overrun "$strategy" 'is 0 bytes after a block of size 100 alloc'
        expect $heap underrun "$strategy" 'is 1 bytes before a block of size 100 alloc'
        expect $heap use-after-free "$strategy" "is 50 bytes inside a block of size 100 free'd"
        expect $heap double-free "$strategy" 'Invalid free() / delete'
        expect $heap leak "$strategy" '123 bytes in 1 blocks are definitely lost'
        expect $heap uninitialised "$strategy" 'Conditional jump or move depends on uninit'
    done
done
echo "1..$count"
[ "$failures" -eq 0 ]
