#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The switches of lib/base/with.h, on the library as one file: each combination compiles, a heap in
# few bytes places as the whole library does, and with one strategy no function calls by a pointer,
# or itself. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${CC:=cc}"

skip_if_essential
skip_under_valgrind

strategies='FIRST_FIT NEXT_FIT BEST_FIT SEGREGATED'
parts='REALLOC ALIGNED REGIONS IMAGES TRACE CALLOC CHECKS MESSAGES STATS WALK PAGES CACHE LOCKS PROCESS PLUGINS'
switches="SPEED $parts $strategies"
call_graph=$top_srcdir/scripts/call-graph

# shellcheck disable=SC2086,SC2154
(cd "$top_srcdir" && sh scripts/single-file . "$dir" $single_file_parts) || exit 99
cp "$top_srcdir/tests/alike.c" "$dir"
cd "$dir" || exit 99

# without SWITCH...: the options that leave these out.
without() {
    for switch in "$@"; do
        printf ' -DHMM_WITH_%s=0' "$switch"
    done
}

# but NAME WORD...: the words without this one.
but() {
    name=$1
    shift
    for word in "$@"; do
        [ "$word" = "$name" ] || printf ' %s' "$word"
    done
}

# compiles SWITCH...: without these, no warning.
compiles() {
    # shellcheck disable=SC2046
    $CC -Wall -Wextra -Wshadow -Wconversion -Werror -DHMM_NO_MAIN $(without "$@") -fsyntax-only \
        heap_memory_manager.c || {
        echo "without $*"
        return 1
    }
}

each() {
    for switch in $switches; do
        # shellcheck disable=SC2086
        compiles "$@" $switch || return 1
    done
}

# Of any two switches each of the four settings: those whose number has a bit set are left out, or
# those whose number has not, for each bit; or all. One strategy stays.
pairs() {
    for bit in 1 2 4 8 16; do
        for value in 0 1; do
            left_out=
            number=0
            for switch in $switches; do
                [ $((number / bit % 2)) -ne "$value" ] || left_out="$left_out $switch"
                number=$((number + 1))
            done
            # shellcheck disable=SC2046,SC2086
            compiles "$@" $(one_stays $left_out) || return 1
        done
    done
    # shellcheck disable=SC2046,SC2086
    compiles "$@" $(one_stays $switches)
}

# one_stays SWITCH...: these, without the last strategy if all are among them.
one_stays() {
    all=yes
    for strategy in $strategies; do
        case " $* " in
        *" $strategy "*) ;;
        *) all=no ;;
        esac
    done
    if [ "$all" = yes ]; then but "$strategy" "$@"; else echo "$@"; fi
}

# only_strategy SWITCH...: no other part than one strategy, and all parts with one strategy; without
# these.
only_strategy() {
    for strategy in $strategies; do
        # shellcheck disable=SC2046,SC2086
        compiles "$@" $parts $(but $strategy $strategies) &&
            compiles "$@" PLUGINS $(but $strategy $strategies) || return 1
    done
}

# library: compiles it with all parts, once for each $CC, and prints the object's name.
library() {
    object=whole-$(echo "$CC" | tr -c 'a-zA-Z0-9\n' _).o
    # shellcheck disable=SC2086
    [ -e "$object" ] || $CC -O1 -DHMM_NO_MAIN -c -o "$object" heap_memory_manager.c || return 1
    echo "$object"
}

# alike STRATEGY PARTS OPTION...: a heap in few bytes with these parts of alike.c places as the
# library does.
alike() {
    whole=$(library) || return 1
    workload="-O1 -DHMM_NO_MAIN -I. -DALIKE_STRATEGY=HMM_$1"
    for part in $2; do
        workload="$workload -DALIKE_$part"
    done
    strategy=$1
    shift 2
    # shellcheck disable=SC2086,SC2046
    $CC $workload -DALIKE_HEADER='"heap_memory_manager.h"' -o whole alike.c "$whole" &&
        $CC $workload -DALIKE_HEADER='"heap_memory_manager.h"' $(without SPEED "$@") -o few alike.c \
            heap_memory_manager.c && ./whole >whole.out && ./few >few.out &&
        diff whole.out few.out && [ "$(wc -l <few.out)" -eq 4 ]
}

# direct COMPILER SWITCH...: without these no call is by a pointer, and none leads back.
direct() {
    compiler=$1
    shift
    # shellcheck disable=SC2086,SC2046
    $compiler -ffreestanding -DHMM_NO_MAIN $(without "$@") -fcallgraph-info=su -c -o graph.o \
        heap_memory_manager.c && sh "$call_graph" graph.ci hmm_heap_malloc hmm_heap_free \
        hmm_heap_create >graph && cat graph && grep -qx 'indirect-calls 0' graph &&
        grep -qx 'recursive 0' graph && ! grep -q unbounded graph &&
        [ "$(awk '$1 == "stack" && $3 > 0' graph | wc -l)" -eq 3 ]
}

# What the graph's reader is for, planted.
planted() {
    cat >planted.c <<'END'
extern int outside(int);
__attribute__((noipa)) static int odd(int n);
__attribute__((noipa)) static int even(int n) { return n ? 1 + odd(n - 1) : 0; }
__attribute__((noipa)) static int odd(int n) { return n ? 1 + even(n - 1) : 1; }
__attribute__((noipa)) static int leaf(int n) { volatile char room[64]; room[n] = 1; return outside(n) + room[n]; }
int calls(int n) { return even(n) + leaf(n); }
int points(int (*f)(int), int n) { return f(n) + 1; }
int bounded(int n) { return leaf(n) + 1; }
END
    $CC -O1 -fcallgraph-info=su -c planted.c && sh "$call_graph" planted.ci calls points bounded \
        >graph && cat graph && grep -qx 'indirect-calls 1' graph && grep -qx 'recursive 2' graph &&
        grep -qx 'cycle odd' graph && grep -qx 'indirect points 1' graph &&
        grep -qx 'stack calls unbounded' graph && grep -qx 'stack points unbounded' graph &&
        [ "$(sed -n 's/^stack bounded //p' graph)" -gt 64 ]
}

check "all parts" compiles
check "each part alone left out" each
check "each part left out of a heap in few bytes" each SPEED
check "one strategy" only_strategy
check "one strategy, in few bytes" only_strategy SPEED
check "each setting of each pair of parts" pairs
check "each setting of each pair of parts, in few bytes" pairs SPEED

for strategy in $strategies; do
    # shellcheck disable=SC2046,SC2086
    check "few bytes place as the library does, by name: $strategy" \
        alike $strategy 'REALLOC CALLOC ALIGNED CHECKS' PLUGINS $(but $strategy $strategies)
    # shellcheck disable=SC2046,SC2086
    check "the same without what is not asked for: $strategy" \
        alike $strategy '' $parts $(but $strategy $strategies)
done
check "the same, four strategies, by pointer" alike BEST_FIT 'REALLOC ALIGNED CHECKS' CACHE
CC_plain=$CC
for strategy in $strategies; do
    CC="$CC_plain -DHMM_GRANULE=8u"
    # shellcheck disable=SC2046,SC2086
    check "the same, a granule of 8 bytes: $strategy" \
        alike $strategy 'REALLOC CALLOC ALIGNED CHECKS' PLUGINS $(but $strategy $strategies)
done
CC=$CC_plain

echo 'int main(void) { return 0; }' >probe.c
if $CC -fcallgraph-info=su -c probe.c 2>/dev/null && [ -s probe.ci ]; then
    check "a cycle, a call by a pointer and a stack are found" planted
    for strategy in $strategies; do
        for level in -Os -O2; do
            # shellcheck disable=SC2046,SC2086
            check "nothing recursive or by a pointer, $level: $strategy" direct "$CC $level" SPEED \
                $parts $(but $strategy $strategies)
        done
        # shellcheck disable=SC2046,SC2086
        check "the same with all that calls nothing of the program's: $strategy" direct "$CC -Os" \
            SPEED PLUGINS CHECKS WALK LOCKS PROCESS $(but $strategy $strategies)
    done
else
    skip "the call graph" "$CC has no -fcallgraph-info"
fi
finish
