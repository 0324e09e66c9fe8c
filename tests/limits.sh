#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What a program under the preload library has within the system's limits, beside what it has of the
# C library's malloc; mappings in the way; blocks beyond what a header can say. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}"

PRELOAD=${PRELOAD:-$top_builddir/.libs/libhmm-preload.so}
HMM=${HMM:-$top_builddir/hmm}

skip_under_valgrind
skip_with_sanitizers
[ -e "$PRELOAD" ] || skip_all "there is no preload library in this build"

# shellcheck disable=SC2086
$CC -O1 -fno-builtin $TEST_CFLAGS -o "$dir/limits" "$top_srcdir/tests/preload/limits.c" \
    -pthread -ldl > "$dir/out" 2> "$dir/err"
code=$?
report $code "compiles: limits"
bits=64
case $(od -An -tx1 -j4 -N1 "$dir/limits") in *01*) bits=32 ;; esac

# Blocks of 1 MiB that may be fewer than the C library's: 8, and what index and page map of the heap
# need, 0.9 and 0.4 of a hundred.
near() {
    [ -n "$1" ] && [ -n "$2" ] && [ "$2" -ge $(($1 - 8 - $1 * ${3:-0} / 1000)) ]
}

# with COMMAND...: as it is, and under the preload library; leaves $dir/libc and $dir/out.
with() {
    timeout 100 env LD_PRELOAD="$PRELOAD" "$@" > "$dir/out" 2> "$dir/err"
    code=$?
}

for s in $("$HMM" strategies --format json | sed 's/^{"name":"\([^"]*\)".*/\1/'); do
    case $s in first-fit | next-fit) index=13 ;; *) index=4 ;; esac
    if [ $bits = 64 ]; then
        for c in address-space data locked holes; do
            for _ in 1 2 3 4 5; do # under a limit its threads may find no room for an arena
                "$dir/limits" $c > "$dir/libc" 2> "$dir/err.libc" && break
            done
            with HMM_STRATEGY="$s" "$dir/limits" $c
            [ "$code" -eq 0 ] && [ ! -s "$dir/err" ] &&
                near "$(cat "$dir/libc")" "$(cat "$dir/out")" $index
            report $? "$s: $c: $(cat "$dir/out") blocks of 1 MiB, the C library $(cat "$dir/libc")"
        done
        # shellcheck disable=SC3045  # Linux shells have it
        (ulimit -v 4000000 && "$dir/limits" count) > "$dir/libc"
        # shellcheck disable=SC3045
        (ulimit -v 4000000 && with HMM_STRATEGY="$s" "$dir/limits" count && exit "$code")
        code=$?
        [ "$code" -eq 0 ] && [ ! -s "$dir/err" ] &&
            near "$(cat "$dir/libc")" "$(cat "$dir/out")" $index
        report $? "$s: ulimit -v: $(cat "$dir/out") blocks, the C library $(cat "$dir/libc")"
        for c in comes-back comes-back-at-once in-the-way many-in-the-way in-holes; do
            with HMM_STRATEGY="$s" "$dir/limits" $c
            [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
            report $? "$s: $c"
            with HMM_STRATEGY="$s" HMM_CACHE=0 "$dir/limits" $c
            [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
            report $? "$s: HMM_CACHE=0: $c"
        done
        with HMM_STRATEGY="$s" "$dir/limits" after-a-burst
        [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
        report $? "$s: after a burst" "$dir/err"
        with HMM_STRATEGY="$s" "$dir/limits" after-others-have-freed
        [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
        report $? "$s: after others have freed" "$dir/err"
        with HMM_STRATEGY="$s" "$dir/limits" index-goes
        [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
        report $? "$s: the index goes with the heap" "$dir/err"
        for c in huge huge-from-small many-huge beyond-the-region; do
            with HMM_STRATEGY="$s" "$dir/limits" $c
            [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
            report $? "$s: beyond 8 GiB: $c"
        done
        with HMM_STRATEGY="$s" HMM_HEAP_SIZE=24G "$dir/limits" bounded
        [ "$code" -eq 0 ] && ! grep -v "^hmm: the heap's limit of 24G is reached" "$dir/err"
        report $? "$s: beyond 8 GiB: HMM_HEAP_SIZE bounds them"
    fi
done

# dies NAME PATTERN CASE [NAME=VALUE]...
dies() {
    name=$1 pattern=$2 c=$3
    shift 3
    with "$@" "$dir/limits" "$c"
    [ "$code" -eq 134 ] && [ "$(wc -l < "$dir/err")" -eq 1 ] && grep -Eq -e "$pattern" "$dir/err"
    report $? "$name"
}

echo 'void *malloc(unsigned long); void *made(void) { return malloc(100); }' > "$dir/deep.c"
# shellcheck disable=SC2086
$CC -fno-builtin $TEST_CFLAGS -shared -fPIC -o "$dir/deep.so" "$dir/deep.c" || exit 99
dies "a library opened with RTLD_DEEPBIND: what it allocates is freed" \
    '^hmm: free 0x[0-9a-f]+: pointer outside the heap: .*RTLD_DEEPBIND.*HMM_FOREIGN=ignore' \
    deepbind DEEPBIND="$dir/deep.so"
with HMM_FOREIGN=ignore DEEPBIND="$dir/deep.so" "$dir/limits" deepbind
[ "$code" -eq 0 ] && grep -q '^hmm: free 0x[0-9a-f]*: pointer outside the heap, ignored$' "$dir/err"
report $? "a library opened with RTLD_DEEPBIND: HMM_FOREIGN=ignore"

if [ $bits = 64 ]; then
    for level in 1 2 4; do
        dies "beyond 8 GiB: freed twice, HMM_CHECK=$level" '^hmm: free 0x[0-9a-f]+: double free' \
            huge-twice HMM_CHECK=$level
        dies "beyond 8 GiB: a pointer inside, HMM_CHECK=$level" \
            '^hmm: free 0x[0-9a-f]+: not a block: the pointer is inside' huge-inside HMM_CHECK=$level
    done
    dies "beyond 8 GiB: realloc of a pointer inside" \
        '^hmm: realloc 0x[0-9a-f]+: not a block: the pointer is inside' huge-inside-realloc
    with HMM_CHECK=4 "$dir/limits" huge
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
    report $? "beyond 8 GiB: HMM_CHECK=4"
fi

finish
