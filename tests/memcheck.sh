#!/bin/sh
# SPDX-License-Identifier: MIT
# What memcheck says of hmm's blocks: of planted faults the same as of malloc's blocks, and nothing
# where there is no fault, on any strategy. Speaks TAP.
: "${top_srcdir:?run it by make check}" "${top_builddir:?}"

valgrind=${VALGRIND:-valgrind}
planted=$top_builddir/tests/planted
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
count=0

skip() {
    echo "1..0 # SKIP $1"
    exit 0
}

grep -q '^#define HAVE_VALGRIND 1' "$top_builddir/config.h" || skip 'not annotated for Valgrind'
case $TEST_CFLAGS in *-fsanitize=*) skip 'not together with the sanitizers' ;; esac
$valgrind --quiet "$planted" malloc none >"$dir/probe" 2>&1 || skip 'valgrind does not run here'

# memcheck ARGUMENT...: runs it; leaves its exit code in $code and what it said in $dir/said.
memcheck() {
    $valgrind --tool=memcheck --quiet --num-callers=3 --leak-check="$leaks" \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=97 "$@" \
        >"$dir/out" 2>"$dir/said"
    code=$?
}

# kinds [-a]: of $dir/said the errors, and without -a of which blocks, but not where.
kinds() {
    sed -nE 's/^==[0-9]+== //
        s/0x[0-9A-Fa-f]+/ADDRESS/
        s/recently re-allocated //
        s/ in loss record .*//
        /^(Invalid|Conditional|Use of|[0-9,]+ bytes in)/p
        '"$([ "${1:-}" = -a ] || echo '/^ (Address|Block was)/p')" "$dir/said"
}

# report STATUS NAME [FILE]: one test's line, and the file if it failed.
report() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        sed 's/^/#   /; 40q' "${3:-$dir/said}"
    fi
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
    [ "$code" -eq 0 ] && [ ! -s "$dir/said" ]
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
    [ "$code" -eq 0 ] && [ ! -s "$dir/said" ] && grep -q "^$strategy " "$dir/out"
    report $? "$strategy: a replay without a fault"
done <"$dir/names"
echo "1..$count"
