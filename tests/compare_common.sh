# SPDX-License-Identifier: MIT
#
# What the scripts about hmm compare, check and diff share, to be sourced: how the command is called,
# and two traces.
# HMM: the command (default: hmm in the build folder).
# shellcheck shell=sh disable=SC2034

. "$(dirname "$0")/tap.sh"
skip_under_valgrind

HMM=${HMM:-${top_builddir:-.}/hmm}
top=${top_srcdir:-${srcdir:-.}}
build=${top_builddir:-.}
case $HMM in /*) ;; *) HMM=$(pwd)/$HMM ;; esac
case $top in /*) ;; *) top=$(pwd)/$top ;; esac
case $build in /*) ;; *) build=$(pwd)/$build ;; esac
cd "$dir" || exit 99
# Where the sanitizers are in: they must not pass for one of our exit codes.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=97 UBSAN_OPTIONS=exitcode=97
export ASAN_OPTIONS UBSAN_OPTIONS
case ${TEST_CFLAGS:-} in *-fsanitize=*) sanitized=yes ;; *) sanitized=no ;; esac
LC_ALL=C PATH=$(dirname "$HMM"):$PATH
export LC_ALL PATH

hmm() {
    "$HMM" "$@" >out 2>err
    code=$?
}

# refuses LINE ARGUMENT...: exit code 2, nothing on stdout, a first line like this on stderr.
refuses() {
    line=$1
    shift
    hmm "$@"
    [ "$code" -eq 2 ] && [ ! -s out ] && [ "$(head -n 1 err)" = "$line" ]
    report $? "refused: $line"
}

# field KEY LINE: the number behind it.
field() {
    printf '%s\n' "$2" | sed -n "s/.*\"$1\":\([0-9.][0-9.]*\).*/\1/p"
}

# ---- Traces ----

cat >small.trace <<'END'
# hmm-trace 1
a 0 1000
a 1 20
a 2 300
f 0
a 3 2000
r 1 40
END

# Three phases whose blocks are of three sizes, so that holes remain; with resizes and alignments.
awk 'BEGIN {
    print "# hmm-trace 1"
    for (i = 0; i < 400; i++) print "a", i, 24 + i % 7 * 40
    for (i = 0; i < 400; i += 2) print "f", i
    for (i = 0; i < 400; i += 4) print "a", i, 200 + i % 11 * 16
    for (i = 1; i < 400; i += 6) print "r", i, 500 + i
    for (i = 2; i < 400; i += 8) print "m", i, 64, 100 + i
    for (i = 1; i < 400; i += 2) print "f", i
    for (i = 1; i < 400; i += 2) print "a", i, 90 + i % 5 * 100
    for (i = 0; i < 400; i += 4) print "f", i
}' >made.trace
