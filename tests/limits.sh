#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What a program under the preload library has within the system's limits, beside what it has of the
# C library's malloc; mappings in the way; blocks beyond what a header can say. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}"

use_preload_library

for program in limits huge; do
    # shellcheck disable=SC2086
    $CC -O1 -fno-builtin $TEST_CFLAGS -o "$dir/$program" "$top_srcdir/tests/preload/$program.c" \
        -pthread -ldl > "$dir/out" 2> "$dir/err"
    code=$?
    report $code "compiles: $program"
done
bits=64
case $(od -An -tx1 -j4 -N1 "$dir/limits") in *01*) bits=32 ;; esac

# near LIBC OURS PERMILLE [KIB]: blocks of so many KiB, 1 MiB if not said, may be fewer than the C
# library's by 8 MiB, and what index and page map of the heap need, 0.9 and 0.4 of a hundred.
near() {
    [ -n "$1" ] && [ -n "$2" ] &&
        [ "$2" -ge $(($1 - 8192 / ${4:-1024} - $1 * ${3:-0} / 1000)) ]
}

# served CASE KIB LIMIT: how many blocks of so many KiB there are within an address space of LIMIT.
served() {
    # shellcheck disable=SC3045  # Linux shells have it
    (ulimit -v "$3" && "$dir/limits" "$1") > "$dir/libc"
    # shellcheck disable=SC3045
    (ulimit -v "$3" && with HMM_STRATEGY="$s" "$dir/limits" "$1" && exit "$code")
    code=$?
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ] &&
        near "$(cat "$dir/libc")" "$(cat "$dir/out")" $index "$2"
    report $? "$s: ulimit -v $3: $(cat "$dir/out") blocks of $2 KiB, the C library $(cat "$dir/libc")"
}

# with COMMAND...: as it is, and under the preload library; leaves $dir/libc and $dir/out.
with() {
    timeout 100 env LD_PRELOAD="$PRELOAD" "$@" > "$dir/out" 2> "$dir/err"
    code=$?
}

strategies=$("$HMM" strategies --format json | sed 's/^{"name":"\([^"]*\)".*/\1/')
for s in $strategies; do
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
        served count 1024 4000000
        for l in 200000 1000000; do
            served count-of-64-kib 64 $l
            served count-of-100-mib 102400 $l
        done
        "$dir/limits" charged > "$dir/libc"
        with HMM_STRATEGY="$s" "$dir/limits" charged
        [ "$code" -eq 0 ] && [ ! -s "$dir/err" ] &&
            near "$(cut -d ' ' -f 1 "$dir/out")" "$(cut -d ' ' -f 1 "$dir/libc")" $index &&
            [ "$(cut -d ' ' -f 2 "$dir/out")" -le 48 ]
        report $? "$s: strict overcommit would charge $(cat "$dir/out") MiB, the C library $(cat "$dir/libc")"
        for c in in-the-way many-in-the-way always-in-the-way in-holes; do
            with HMM_STRATEGY="$s" "$dir/limits" $c
            [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
            report $? "$s: $c"
            with HMM_STRATEGY="$s" HMM_CACHE=0 "$dir/limits" $c
            [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
            report $? "$s: HMM_CACHE=0: $c"
        done
        for c in huge huge-from-small many-huge beyond-the-region; do
            with HMM_STRATEGY="$s" "$dir/huge" $c
            [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
            report $? "$s: beyond 8 GiB: $c"
        done
        with HMM_STRATEGY="$s" HMM_HEAP_SIZE=24G "$dir/huge" bounded
        [ "$code" -eq 0 ] && ! grep -v "^hmm: the heap's limit of 24G is reached" "$dir/err"
        report $? "$s: beyond 8 GiB: HMM_HEAP_SIZE bounds them"
    fi
done

# dies NAME PATTERN PROGRAM CASE [NAME=VALUE]...
dies() {
    name=$1 pattern=$2 program=$3 c=$4
    shift 4
    with "$@" "$dir/$program" "$c"
    [ "$code" -eq 134 ] && [ "$(wc -l < "$dir/err")" -eq 1 ] && grep -Eq -e "$pattern" "$dir/err"
    report $? "$name"
}

echo 'void *malloc(unsigned long); void *made(void) { return malloc(100); }' > "$dir/deep.c"
# shellcheck disable=SC2086
$CC -fno-builtin $TEST_CFLAGS -shared -fPIC -o "$dir/deep.so" "$dir/deep.c" || exit 99
dies "a library opened with RTLD_DEEPBIND: what it allocates is freed" \
    '^hmm: free 0x[0-9a-f]+: pointer outside the heap: .*RTLD_DEEPBIND.*HMM_FOREIGN=ignore' \
    limits deepbind DEEPBIND="$dir/deep.so"
with HMM_FOREIGN=ignore DEEPBIND="$dir/deep.so" "$dir/limits" deepbind
[ "$code" -eq 0 ] && grep -q '^hmm: free 0x[0-9a-f]*: pointer outside the heap, ignored$' "$dir/err"
report $? "a library opened with RTLD_DEEPBIND: HMM_FOREIGN=ignore"

if [ $bits = 64 ]; then
    dies "a block whose address space is gone, freed twice" '^hmm: free 0x[0-9a-f]+: double free' \
        limits absent-twice
    for level in 1 2 4; do
        dies "beyond 8 GiB: freed twice, HMM_CHECK=$level" '^hmm: free 0x[0-9a-f]+: double free' \
            huge huge-twice HMM_CHECK=$level
        dies "beyond 8 GiB: a pointer inside, HMM_CHECK=$level" \
            '^hmm: free 0x[0-9a-f]+: not a block: the pointer is inside' \
            huge huge-inside HMM_CHECK=$level
    done
    dies "beyond 8 GiB: realloc of a pointer inside" \
        '^hmm: realloc 0x[0-9a-f]+: not a block: the pointer is inside' huge huge-inside-realloc
    with HMM_CHECK=4 "$dir/huge" huge
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
    report $? "beyond 8 GiB: HMM_CHECK=4"
fi

finish
