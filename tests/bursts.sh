#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What a program under the preload library gives back when a burst is over, at once and in time.
# Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}"

use_preload_library

# shellcheck disable=SC2086
$CC -O1 -fno-builtin $TEST_CFLAGS -o "$dir/bursts" "$top_srcdir/tests/preload/bursts.c" \
    -pthread > "$dir/out" 2> "$dir/err"
code=$?
report $code "compiles: bursts"
case $(od -An -tx1 -j4 -N1 "$dir/bursts") in *01*) finish; exit ;; esac # of 32 bits

# bursts CASE STRATEGY [NAME=VALUE]...: leaves $dir/out.STRATEGY and $dir/err.STRATEGY.
bursts() {
    c=$1 s=$2
    shift 2
    timeout 100 env LD_PRELOAD="$PRELOAD" HMM_STRATEGY="$s" "$@" "$dir/bursts" "$c" \
        > "$dir/out.$s" 2> "$dir/err.$s"
}

# passed CODE NAME: the case ended with this exit code, on strategy $s.
passed() {
    code=$1
    [ "$code" -eq 0 ] && [ ! -s "$dir/err.$s" ]
    report $? "$s: $2" "$dir/err.$s"
}

# Where the process waits for a second, again and again: on all strategies side by side, each in
# files of its own. What one is to give back does not depend on the others. Where it did not, it is
# tried twice more, alone: on a busy machine a second has not as many calls.
waiting() {
    for s in $strategies; do
        (
            bursts "$1" "$s"
            echo $? > "$dir/code.$s"
        ) &
    done
    wait
    for s in $strategies; do
        code=$(cat "$dir/code.$s")
        for _ in 1 2; do
            [ "$code" -eq 0 ] && break
            bursts "$1" "$s"
            code=$?
        done
        passed "$code" "$2"
    done
}

strategies=$("$HMM" strategies --format json | sed 's/^{"name":"\([^"]*\)".*/\1/')
for s in $strategies; do
    for c in comes-back comes-back-at-once; do
        bursts "$c" "$s"
        passed $? "$c"
        bursts "$c" "$s" HMM_CACHE=0
        passed $? "HMM_CACHE=0: $c"
    done
    bursts index-goes "$s"
    passed $? "the index goes with the heap"
done

waiting after-a-burst "after a burst"
waiting after-a-burst-any-calls "after a burst, calls of any kind"
waiting after-others-have-freed "after others have freed"

finish
