# SPDX-License-Identifier: MIT
#
# What the scripts about hmm record share, to be sourced: an empty folder to work in, a line a test,
# and whether there can be tests at all.
# HMM: the command (default: hmm in the build folder).
# shellcheck shell=sh

build=${top_builddir:-.}
HMM=${HMM:-$build/hmm}
PROGRAM=$build/tests/recorded
if ! [ -e "$build/.libs/libhmm-record.so" ]; then
    echo '1..0 # SKIP this build cannot record: that needs Linux and glibc'
    exit 0
fi
case " $TEST_CFLAGS " in
*' -fsanitize='*)
    echo '1..0 # SKIP with the sanitizers malloc is theirs: nothing can be preloaded'
    exit 0
    ;;
esac
if [ -n "${VALGRIND:-}" ]; then
    echo '1..0 # SKIP memcheck puts its own allocator in place'
    exit 0
fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/hmm-record-XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
chmod 755 "$dir"
cd "$dir" || exit 99
LC_ALL=C
export LC_ALL

count=0
failures=0

# report STATUS NAME: one test's line, and what there is to see if it failed.
report() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
        return
    fi
    failures=$((failures + 1))
    echo "not ok $count - $2"
    echo "# exit code $code; files: $(echo t*)"
    sed 's/^/#   /; 30q' err
}

skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# record ARGUMENT...: runs it in a clean folder; leaves $code, out and err.
record() {
    rm -f t*
    "$HMM" record "$@" >out 2>err
    code=$?
}

# valid: all traces can be replayed.
valid() {
    "$HMM" replay --check --runs 1 --strategy best-fit t* >replayed 2>>err
}

# lines FILE PATTERN: how many lines are like this.
lines() {
    if [ "${1%.zst}" != "$1" ]; then zstd -dqc "$1"; else cat "$1"; fi | grep -Ec -e "$2"
}

# unreused FILE: the operations between those of the mark, with IDs that count up from 1 and are
# never used twice.
unreused() {
    awk '$1 ~ /[am]/ && $NF == 54321 { on = 1; mark = $2; next }
         $1 == "f" && $2 == mark && on { exit }
         on && $1 ~ /^[am]$/ { name[$2] = ++n }
         on { $2 = name[$2]; print }' "$1"
}

# Whether what is installed can load the module; else a test is skipped.
foreign=no
if LD_PRELOAD=$build/.libs/libhmm-record.so sh -c : 2>&1 | grep -q 'wrong ELF class'; then
    foreign=yes
fi
same() {
    [ "$foreign" = no ] && return
    skip "$1" 'what is installed here is for another architecture'
    return 1
}

# Whether this build has what hmm run preloads.
can_run=no
[ ! -e "$build/.libs/libhmm-preload.so" ] || can_run=yes

# finish: the plan, and the exit status.
finish() {
    echo "1..$count"
    [ "$failures" -eq 0 ]
}
