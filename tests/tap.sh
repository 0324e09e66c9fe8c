# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# What the shell tests share: they source it before anything else, and end with `finish`. It makes
# $dir, an empty folder that is removed at the end. $code is the exit code that was seen last.

dir=$(mktemp -d "${TMPDIR:-/tmp}/hmm-test-XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
count=0 failures=0 code=0

# excerpt FILE: its beginning and its end. A sanitizer says first what it has found, and last why it
# gave up.
excerpt() {
    awk '{ line[NR] = $0 }
        END {
            for (i = 1; i <= NR; i++) {
                if (i <= 40 || i > NR - 20) print "#   " line[i]
                else if (i == 41) print "#   [" NR - 60 " lines]"
            }
        }' "$1"
}

# report STATUS NAME [FILE]...: one test's line, and what the files hold if it failed; if none is
# given, $dir/out and $dir/err.
report() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
        return
    fi
    failures=$((failures + 1))
    echo "not ok $count - $2"
    shift 2
    if [ $# -eq 0 ]; then
        echo "# exit code $code; files: $(cd "$dir" && echo *)"
        set -- "$dir/out" "$dir/err"
    fi
    for file in "$@"; do
        [ -s "$file" ] || continue
        echo "# ${file##*/}:"
        excerpt "$file"
    done
}

# check NAME COMMAND [ARGUMENT]...: one test, which passes if the command does.
check() {
    name=$1
    shift
    "$@" >"$dir/log" 2>&1
    report $? "$name" "$dir/log"
}

# skip NAME REASON: a test that cannot be made here.
skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# skip_all REASON: ends the script. So do the next three where they apply.
skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

# HMM_LEAVE_OUT: names of scripts, without .sh, whose result is known from another build.
name_of_script=${0##*/}
case " ${HMM_LEAVE_OUT:-} " in
*" ${name_of_script%.sh} "*) skip_all "left out by HMM_LEAVE_OUT" ;;
esac

# For what need not run again, whatever else the build varies.
skip_if_essential() {
    [ "${HMM_TESTS:-all}" != essential ] || skip_all "left out by HMM_TESTS=essential"
}

skip_under_valgrind() {
    [ -z "${VALGRIND:-}" ] || skip_all "nothing in here is for memcheck"
}

skip_with_sanitizers() {
    case ${TEST_CFLAGS:-} in
    *-fsanitize=*) skip_all "the sanitizers put their own allocator in place" ;;
    esac
}

# Sets $PRELOAD and $HMM, unless they are given. Skips the script where programs cannot be run so.
use_preload_library() {
    PRELOAD=${PRELOAD:-${top_builddir:-.}/.libs/libhmm-preload.so}
    HMM=${HMM:-${top_builddir:-.}/hmm}
    skip_under_valgrind
    skip_with_sanitizers
    [ -e "$PRELOAD" ] || skip_all "there is no preload library in this build"
}

# The script's last command.
finish() {
    echo "1..$count"
    [ "$failures" -eq 0 ]
}
