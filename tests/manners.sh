#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What every command has in common: inputs that are none, outputs that cannot be written, - for
# standard input and output, names that hold control characters, widths. Speaks TAP.

. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}"

skip_under_valgrind

HMM=${HMM:-$top_builddir/hmm}
case $HMM in /*) ;; *) HMM=$PWD/$HMM ;; esac
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=97 UBSAN_OPTIONS=exitcode=97
export ASAN_OPTIONS UBSAN_OPTIONS
unset COLUMNS NO_COLOR
cd "$dir" || exit 99

# hmm ARGUMENT...: leaves $code, out and err.
hmm() {
    "$HMM" "$@" >out 2>err
    code=$?
}

# A trace of so many operations.
made() {
    awk -v n="$1" 'BEGIN {
        print "# hmm-trace 1"
        for (i = 0; i < n; i++) print i % 3 < 2 ? "a " i " " 16 + i * 37 % 900 : "f " i - 1
    }'
}
made 3000 >t.trace
"$HMM" convert -o t.ht2 t.trace || exit 99
{
    head -n 100 t.trace
    echo 'what is this?'
} >damaged.trace
head -c 60 t.ht2 >cut.ht2
tail -c +20 t.ht2 >junk
: >empty
mkdir folder

# ---- Inputs that are none: one line on stderr, exit code 2, and no output file ----

for input in nowhere folder empty junk cut.ht2 damaged.trace; do
    for command in 'check --max-heap 1M' compare 'convert -o new' 'cut -o new' 'cut --from 9 -o new' \
        'diff t.trace' map replay 'report -o new' stats 'import -o new' \
        'import --from heaptrack -o new' 'import --from rep -o new'; do
        rm -f new
        # shellcheck disable=SC2086
        hmm $command "$input" </dev/null
        case $input:$command in
        damaged.trace:c[ou]* | damaged.trace:stats) lines=2 ;; # what comes before is whole
        *) lines=1 ;;
        esac
        case $input:$command in damaged.trace:co[mn]*) [ "$command" != compare ] || lines=1 ;; esac
        [ "$code" -eq 2 ] && [ "$(wc -l <err)" -eq "$lines" ] && grep -q "^${input}[: ]" err &&
            { [ "$lines" -eq 2 ] || [ ! -e new ]; }
        report $? "hmm $command: $input"
    done
done
echo 'kept' >page
cp page kept
for command in convert cut 'import --from rep'; do
    # shellcheck disable=SC2086
    hmm $command -o page t.trace
    [ "$code" -ne 0 ] && cmp -s page kept
    report $? "hmm $command: what is no trace is not written over"
    cp t.trace o.trace
    # shellcheck disable=SC2086
    hmm $command -o o.trace junk
    [ "$code" -eq 2 ] && { cmp -s o.trace t.trace || [ "$command" != "${command#import}" ]; }
    report $? "hmm $command: of what is no trace nothing is written"
done
cp t.trace o.trace
hmm report -o o.trace o.trace
[ "$code" -eq 2 ] && cmp -s o.trace t.trace && grep -q 'is a trace that is read$' err
report $? "hmm report: a trace that is read is not written over"

# ---- Outputs that cannot be written: exit code 1, one line, and no file that is not whole ----

# limited BLOCKS ARGUMENT...: as hmm, where files have at most so many blocks of 512 bytes. Some
# shells count in KiB.
limited() (
    trap '' XFSZ
    ulimit -f "$1" || exit 99
    shift
    exec "$HMM" "$@" >out 2>err
)

made 300000 >long.trace
for command in 'cut --to 250000 -o big.trace' 'convert -o big.ht2' 'report -o big.html'; do
    rm -f big.*
    # shellcheck disable=SC2086
    limited 4 $command long.trace
    code=$?
    [ "$code" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q '^\(hmm report: \)\?big\.[a-z0-9]*: cannot write: ' err
    report $? "a full disk: hmm $command"
done
[ ! -e big.html ]
report $? 'a full disk: no page that is not whole'
if [ -w /dev/full ]; then
    for command in 'check --max-heap 1M' 'compare --runs 1 --allocators best-fit' 'convert -o -' \
        'cut -o -' 'diff t.trace' map replay 'report -o -' stats; do
        # shellcheck disable=SC2086
        "$HMM" $command t.trace >/dev/full 2>err
        code=$?
        [ "$code" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q 'cannot write' err
        report $? "nothing can be printed: hmm $command"
        # shellcheck disable=SC2086
        "$HMM" $command t.trace >&- 2>err
        code=$?
        [ "$code" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q 'cannot write' err
        report $? "no standard output: hmm $command"
    done
fi
finish
