#!/bin/sh
# SPDX-License-Identifier: MIT
# ThreadSanitizer on the process heap, as one file. Speaks TAP.

# Whatever else the build varies, this need not run again.
if [ "${HMM_TESTS:-all}" = essential ]; then
    echo '1..0 # SKIP left out by HMM_TESTS=essential'
    exit 0
fi
: "${top_srcdir:?run it by make check}" "${CC:=cc}"

skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

[ -z "${VALGRIND:-}" ] || skip_all "ThreadSanitizer does not run under Valgrind"
case ${TEST_CFLAGS-} in
*-fsanitize=*) skip_all "another sanitizer is in this build" ;;
esac

dir=$(mktemp -d "${TMPDIR:-/tmp}/hmm-tsan-XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
TSAN_OPTIONS="exitcode=66 halt_on_error=1"
export TSAN_OPTIONS
count=0
failures=0

# report STATUS NAME: one test's line, and $dir/log if it failed.
report() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
    else
        failures=$((failures + 1))
        echo "not ok $count - $2"
        sed 's/^/#   /; 40q' "$dir/log"
    fi
}

# build PROGRAM SOURCE FLAG...
build() {
    program=$1 source=$2
    shift 2
    $CC -g -O1 -fsanitize=thread -DHMM_NO_MAIN -DHMM_DOORS -DROUNDS=2000 -I"$dir" "$@" \
        -o "$dir/$program" "$top_srcdir/tests/preload/$source.c" "$dir/heap_memory_manager.c" \
        -pthread > "$dir/log" 2>&1
}

echo 'int main(void) { return 0; }' > "$dir/try.c"
if ! $CC -fsanitize=thread -o "$dir/try" "$dir/try.c" > "$dir/log" 2>&1 || ! "$dir/try"; then
    skip_all "$CC has no ThreadSanitizer that runs here"
fi

# shellcheck disable=SC2046
(cd "$top_srcdir" && sh scripts/single-file . "$dir" $(ls lib/*.c strategies/*.c)) || exit 99

for program in threads keepers; do
    build $program $program
    report $? "builds: $program"
    for c in $("$dir/$program"); do
        timeout 60 "$dir/$program" "$c" > "$dir/log" 2>&1
        report $? "$program: $c"
    done
done

# A test that cannot fail is none.
build without threads -DHMM_NO_THREADS
report $? "builds without the lock"
timeout 60 "$dir/without" hands > "$dir/log" 2>&1
[ $? -eq 66 ] && grep -q 'WARNING: ThreadSanitizer: data race' "$dir/log"
report $? "without the lock there are races"

echo "1..$count"
[ "$failures" -eq 0 ]
