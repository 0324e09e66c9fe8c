# SPDX-License-Identifier: MIT
#
# What the scripts about hmm record share, to be sourced: whether there can be tests at all, and how
# a program is recorded.
# HMM: the command (default: hmm in the build folder).
# shellcheck shell=sh disable=SC2034

. "$(dirname "$0")/tap.sh"

build=${top_builddir:-.}
HMM=${HMM:-$build/hmm}
PROGRAM=$build/tests/recorded
[ -e "$build/.libs/libhmm-record.so" ] ||
    skip_all 'this build cannot record: that needs Linux and glibc'
skip_with_sanitizers
skip_under_valgrind
chmod 755 "$dir"
cd "$dir" || exit 99
LC_ALL=C
export LC_ALL

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
