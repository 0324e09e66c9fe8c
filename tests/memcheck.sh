#!/bin/sh
# SPDX-License-Identifier: MIT
# What memcheck says of hmm's blocks: of planted faults the same as of malloc's blocks, and nothing
# where there is no fault, on any strategy. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}"

valgrind=${VALGRIND:-valgrind}
planted=$top_builddir/tests/planted

grep -q '^#define HAVE_VALGRIND 1' "$top_builddir/config.h" || skip_all 'not annotated for Valgrind'
skip_with_sanitizers
$valgrind --quiet "$planted" malloc none >"$dir/probe" 2>&1 || skip_all 'valgrind does not run here'

# memcheck ARGUMENT...: runs it; leaves its exit code in $code and what it said in $dir/err.
memcheck() {
    $valgrind --tool=memcheck --quiet --num-callers=3 --leak-check="$leaks" \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=97 "$@" \
        >"$dir/out" 2>"$dir/err"
    code=$?
}

# kinds [-a]: of $dir/err the errors, and without -a of which blocks, but not where.
kinds() {
    sed -nE 's/^==[0-9]+== //
        s/0x[0-9A-Fa-f]+/ADDRESS/
        s/recently re-allocated //
        s/ in loss record .*//
        /^(Invalid|Conditional|Use of|[0-9,]+ bytes in)/p
        '"$([ "${1:-}" = -a ] || echo '/^ (Address|Block was)/p')" "$dir/err"
}

# same NAME: whether $dir/want and $dir/got are.
same() {
    diff "$dir/want" "$dir/got" >"$dir/differences"
    report $? "$1" "$dir/differences"
}

# The last two end the program where it is hmm's heap, with blocks in use.
for fault in all double-free free-inside; do
    leaks=no
    [ "$fault" != all ] || leaks=full
    memcheck "$planted" malloc "$fault"
    [ "$code" -eq 97 ]
    report $? "malloc, $fault: memcheck finds faults"
    kinds >"$dir/want"
    for heap in process array; do
        memcheck "$planted" "$heap" "$fault"
        kinds >"$dir/got"
        same "$heap, $fault: the same is said as of malloc"
    done
    # A block inside a block of malloc's is told by the outer one once it is freed.
    memcheck "$planted" malloc "$fault"
    kinds -a >"$dir/want"
    memcheck "$planted" block "$fault"
    kinds -a >"$dir/got"
    same "block, $fault: the same faults as with malloc"
done

leaks=full
for heap in process array block; do
    memcheck "$planted" "$heap" none
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
    report $? "$heap: nothing is said where there is no fault"
done

# Every kind of operation, on every strategy, the heap looked into as well.
trace() {
    echo '# hmm-trace 1'
    awk 'BEGIN {
        for (i = 0; i < 300; i++) print "a", i, (i * 37) % 640
        for (i = 0; i < 300; i += 5) print "r", i, (i * 53) % 900 + 1
        for (i = 0; i < 300; i += 7) { print "f", i; print "m", i, 2 ^ (i % 9), i }
        for (i = 0; i < 300; i++) if (i % 3) print "f", i
    }'
}

trace >"$dir/some.trace"
"$top_builddir/hmm" strategies --format json >"$dir/strategies"
sed 's/^{"name":"\([^"]*\)".*/\1/' "$dir/strategies" >"$dir/names"
while read -r strategy; do
    memcheck "$top_builddir/hmm" replay --strategy "$strategy" --runs 1 --check "$dir/some.trace"
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ] && grep -q "^$strategy " "$dir/out"
    report $? "$strategy: a replay without a fault"
done <"$dir/names"
finish
