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
# shellcheck disable=SC2094
"$HMM" record -o o.trace -- true >o.trace 2>err
code=$?
[ "$code" -ne 0 ] && grep -q 'goes there$\|cannot record' err && [ ! -s o.trace ]
report $? 'hmm record: not into what the command prints to'
cp t.trace o.trace
hmm report -o o.trace o.trace
[ "$code" -eq 2 ] && cmp -s o.trace t.trace && grep -q 'is a trace that is read$' err
report $? "hmm report: a trace that is read is not written over"
hmm map -o o.trace o.trace
[ "$code" -eq 2 ] && cmp -s o.trace t.trace && grep -q 'is the trace that is read$' err
report $? "hmm map: a trace that is read is not written over"
hmm map -o - t.trace
[ "$code" -eq 0 ] && [ -s out ] && [ ! -e ./- ]
report $? "hmm map: - is standard output"

# ---- Outputs that cannot be written: exit code 1, one line, and no file that is not whole ----

# limited BLOCKS ARGUMENT...: as hmm, where files have at most so many blocks of 512 bytes. Some
# shells count in KiB.
limited() (
    trap '' XFSZ
    ulimit -f "$1" || exit 99
    shift
    exec "$HMM" "$@" >out 2>err
)

made 60000 >long.trace
for command in 'cut --to 50000 -o big.trace' 'convert -o big.txt' 'report -o big.html' 'map --format svg -o big.svg'; do
    rm -f big.*
    case $command in report*) trace=t.trace ;; *) trace=long.trace ;; esac
    # shellcheck disable=SC2086
    limited 1 $command $trace
    code=$?
    [ "$code" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q '^\(hmm [a-z]*: \)\?big\.[a-z0-9]*: cannot write: ' err
    report $? "a full disk: hmm $command"
done
[ ! -e big.html ] && [ ! -e big.svg ]
report $? 'a full disk: no page and no picture that is not whole'
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

# ---- Names with what would steer a terminal ----

escape=$(printf '\033')
bad=$(printf 'a\033[31mb\nc\177\302\233d')
shown='a\x1b[31mb\nc\x7f\xc2\x9bd'
cp t.trace "$bad.trace"

# harmless: what was printed has no control character but the end of a line.
harmless() {
    LC_ALL=C awk '/[\001-\010\013-\037\177]/ || /\302[\200-\237]/ { bad = 1 } END { exit bad }' out err
}

for command in 'check --max-heap 1M' 'compare --runs 1 --allocators best-fit' 'diff t.trace' map replay \
    stats 'map --format svg' 'compare --runs 1 --allocators best-fit --format json' \
    'compare --runs 1 --allocators best-fit --format csv' 'replay --format json' \
    'compare --runs 1 --allocators best-fit --format markdown' 'stats --format json' \
    'report -o -' 'check --max-heap 1K'; do
    # shellcheck disable=SC2086
    hmm $command "$bad.trace"
    [ -s out ] && harmless
    report $? "hmm $command: a name that holds control characters"
done
for command in 'check --max-heap 1M' compare 'convert -o new' 'cut -o new' 'diff t.trace' map replay \
    'report -o new' stats 'import -o new' record run; do
    # shellcheck disable=SC2086
    hmm $command "$bad"
    if grep -q 'cannot record: that needs\|\.so is missing' err; then
        skip "hmm $command: one that is not there" 'this build cannot'
        continue
    fi
    harmless && grep -qF "$shown" err
    report $? "hmm $command: one that is not there"
done
for word in "$bad" "--$bad"; do
    hmm "$word"
    harmless && grep -qF "$shown" err
    report $? "hmm $(printf '%s' "$word" | tr "$escape" '?' | tr -d '\n\177'): no such"
done
for command in 'replay --strategy' 'check --max-heap' 'compare --for' 'compare --allocators' 'run --heap' \
    'check-strategy' 'stats --from'; do
    # shellcheck disable=SC2086
    hmm $command "$bad" t.trace
    [ "$code" -ne 0 ] && harmless
    report $? "hmm $command: a value that holds them"
done

# ---- Widths ----

# narrow WIDTH: no line is wider, unless it is one word or a command to copy.
narrow() {
    awk -v most="$1" '/hmm run|hmm_heap_create/ { next } length > most && / / { print; bad = 1 }
        END { exit bad }' out
}

for width in '' 100; do
    export COLUMNS="$width"
    for command in check check-strategy compare convert cut diff import map record replay report run \
        stats strategies help; do
        hmm $command --help
        narrow "${width:-80}" && grep -q '^Usage: hmm' out
        report $? "hmm $command --help: ${width:-80} columns"
        hmm $command -V
        [ "$code" -eq 0 ] && [ "$(cat out)" = "$("$HMM" --version)" ]
        report $? "hmm $command -V"
    done
    for command in 'compare --runs 1' replay 'replay --smallest --cache' stats map 'diff t.trace'; do
        # shellcheck disable=SC2086
        hmm $command t.trace
        [ "$code" -eq 0 ] && narrow "${width:-80}"
        report $? "hmm $command: ${width:-80} columns"
    done
    hmm strategies
    narrow "${width:-80}"
    report $? "hmm strategies: ${width:-80} columns"
done
unset COLUMNS
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    script -qec "stty cols 100; '$HMM' map t.trace" /dev/null >out 2>err </dev/null
    awk 'length > most { most = length } END { exit most < 100 }' out
    report $? 'the width of the terminal'
    script -qec "NO_COLOR=1 '$HMM' map t.trace" /dev/null >out 2>err </dev/null
    grep -q "$escape" out
    [ $? -eq 1 ]
    report $? 'NO_COLOR: no colour on a terminal'
    script -qec "'$HMM' map t.trace | cat" /dev/null >out 2>err </dev/null
    grep -q "$escape" out
    [ $? -eq 1 ]
    report $? 'no colour in a pipe'
else
    skip 'terminals' 'no script (Debian package bsdutils), or no pseudo-terminal'
fi

# ---- Ctrl-C ----

# interrupted SECONDS ARGUMENT...: as hmm; SIGINT comes after so many seconds. Not by &: what a
# script runs so ignores it.
interrupted() {
    seconds=$1
    shift
    timeout --foreground --preserve-status -s INT "$seconds" "$HMM" "$@" >out 2>err
    code=$?
}

if timeout --foreground --preserve-status 1 true 2>/dev/null; then
    made 1000000 >longer.trace
    interrupted 3 compare --runs 1000 longer.trace
    [ "$code" -eq 130 ] && [ "$(grep -c ': interrupted: ' err)" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ]
    report $? 'Ctrl-C: hmm compare says that it was interrupted, exit code 130'
    for seconds in 3 6 12 24 48; do # until one of the eight and more was measured
        interrupted "$seconds" compare --runs 1000 long.trace
        grep -q '^advice for [a-z]*: [a-z]*-' out && break
    done
    [ "$code" -eq 130 ] && grep -q '^[a-z]*-fit ' out && grep -q '^advice for ' out
    report $? 'Ctrl-C: hmm compare prints what is known'
    for seconds in 0.3 0.5 0.7 1 1.5 2 3 5 8 13 21 34 55 90; do # until the first of the four was replayed
        interrupted "$seconds" replay --strategy all --runs 10 longer.trace
        grep -q '^[a-z]*-fit ' out && break
    done
    [ "$code" -eq 130 ] && grep -q ': interrupted: what is known so far follows$' err &&
        [ "$(wc -l <err)" -eq 1 ] && [ "$(grep -c '^[a-z]*-fit \|^segregated ' out)" -lt 4 ]
    report $? 'Ctrl-C: hmm replay prints the strategies that are done'
    for seconds in 0.1 0.15 0.2 0.25 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1 1.2 1.4 1.7 2 2.4 3 4 5 6 8 10 13 16 20; do # in the replay, after the reading
        interrupted "$seconds" map --at 999000 longer.trace
        grep -q 'this is the heap' err && break
    done
    if grep -q ': cannot reserve .* of address space for ' err; then
        skip 'Ctrl-C: hmm map draws how far it came' 'no address space for four heaps of such a trace'
    else
        [ "$code" -eq 130 ] && [ -s out ] &&
            grep -q ': interrupted: this is the heap after operation [1-9][0-9,]*$' err
        report $? 'Ctrl-C: hmm map draws how far it came'
    fi
else
    skip 'Ctrl-C' 'there is no timeout --preserve-status'
fi
finish
