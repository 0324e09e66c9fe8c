#!/bin/sh
# SPDX-License-Identifier: MIT
# The strategy that the README shows compiles as it stands, and its index is sound. Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}"

skip_under_valgrind
grep -q '^#define HAVE_DLOPEN 1' "$top_builddir/config.h" || skip_all "no plug-ins on this system"
log=$dir/log

# The C block of the README that defines a plug-in's strategy.
extract() {
    awk '/^```c$/ { on = 1; text = ""; next }
        /^```$/ { if (on && text ~ /hmm_plugin_strategy = /) printf "%s", text; on = 0 }
        on { text = text $0 "\n" }' "$top_srcdir/README.md" >"$dir/newest-fit.c" &&
        grep -q '"newest-fit"' "$dir/newest-fit.c"
}

compile() {
    # shellcheck disable=SC2086
    $CC $TEST_CFLAGS ${TEST_CPPFLAGS:-} -Wall -Wextra -shared -fPIC -I"$top_srcdir/lib" \
        -o "$dir/newest-fit.so" "$dir/newest-fit.c" && [ ! -s "$log" ]
}

# Blocks of 40 sizes; two of three are freed, some resized, and all comes once more.
trace() {
    echo '# hmm-trace 1'
    awk 'BEGIN {
        for (round = 0; round < 20; round++) {
            for (i = 0; i < 400; i++) print "a", i, (i * 37 + round * 11) % 640
            for (i = 0; i < 400; i += 5) print "r", i, (i * 53) % 900 + 1
            for (i = 0; i < 400; i += 7) { print "f", i; print "m", i, 2 ^ (i % 9), i }
            for (i = 0; i < 400; i++) if (i % 3) print "f", i
            for (i = 0; i < 400; i += 3) print "f", i
        }
    }'
}

replay() {
    trace >"$dir/some.trace" &&
        "$top_builddir/hmm" replay --strategy "best-fit,$dir/newest-fit.so" --check --runs 1 \
            --format json "$dir/some.trace" &&
        grep -q '"strategy":"newest-fit".*"failed":0' "$log"
}

check "the README's strategy is found" extract
check "it compiles without a warning" compile
check "hmm replays a trace with it, and finds its heap sound" replay
finish
