#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Whether the thread tests notice when the reclaimer does not read a run's countdown again after it
# has claimed the run. Between the two looks there are a few instructions: in this test's builds the
# reclaimer pauses there, so that the owner can dequeue the run, allocate from it and queue it again.
# Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${CC:=cc}"

skip_under_valgrind
skip_with_sanitizers

# shellcheck disable=SC2086,SC2154
(cd "$top_srcdir" && sh scripts/single-file . "$dir" $single_file_parts) || exit 99

first='if (!run_change_state(d, state, RUN_CLAIMED))'
second='if (state == RUN_PARTIAL && run_used(d) != in_hand)'

# once PATTERN: it stands in the source, in one place.
once() {
    [ "$(grep -c "$1" "$dir/heap_memory_manager.c")" -eq 1 ]
    report $? "the source has one place: $1"
}
once "$first"
once "$second"

sed "s/$first/for (volatile int pause = 0; pause < 4000; pause++) {\n    }\n    &/" \
    "$dir/heap_memory_manager.c" > "$dir/paused.c"
sed "s/$second/if (false)/" "$dir/paused.c" > "$dir/one_look.c"

for source in paused one_look; do
    $CC -O1 -DHMM_NO_MAIN -DHMM_OWN_NAMES -DROUNDS=20000 -I"$dir" -o "$dir/$source" \
        "$top_srcdir/tests/preload/thread_reclaim.c" "$dir/$source.c" -pthread -ldl \
        > "$dir/log" 2>&1
    report $? "$CC builds: $source" "$dir/log"
done

case=taken-while-they-turn-over
for i in 1 2 3; do
    timeout 60 "$dir/paused" $case > "$dir/log" 2>&1
    report $? "two looks, with a pause between them, $i" "$dir/log"
done

# A test that cannot fail is none.
for i in 1 2 3 4 5; do
    timeout 60 "$dir/one_look" $case > "$dir/log" 2>&1
    code=$?
    [ $code -eq 0 ] || break
done
[ $code -ne 0 ] && [ $code -ne 124 ]
report $? "one look: it is noticed" "$dir/log"

finish
