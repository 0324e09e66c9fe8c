#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Traces in every form: hmm convert, stats and cut, and what the others make of format 2. Speaks TAP.
# HMM: the command (default: hmm in the build folder).

. "$(dirname "$0")/tap.sh"
skip_under_valgrind

HMM=${HMM:-${top_builddir:-.}/hmm}
top=${top_srcdir:-${srcdir:-.}}
case $HMM in /*) ;; *) HMM=$(pwd)/$HMM ;; esac
case $top in /*) ;; *) top=$(pwd)/$top ;; esac
cd "$dir" || exit 99
# Where the sanitizers are in: they must not pass for one of our exit codes.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=97 UBSAN_OPTIONS=exitcode=97
export ASAN_OPTIONS UBSAN_OPTIONS

hmm() {
    "$HMM" "$@" >out 2>err
    code=$?
}

# works NAME ARGUMENT...: exit code 0 and silence on stderr.
works() {
    name=$1
    shift
    hmm "$@"
    [ "$code" -eq 0 ] && [ ! -s err ]
    report $? "$name"
}

# refuses LINE ARGUMENT...: exit code 2, nothing on stdout, exactly this line on stderr.
refuses() {
    line=$1
    shift
    hmm "$@"
    printf '%s\n' "$line" >want
    [ "$code" -eq 2 ] && [ ! -s out ] && cmp -s want err
    report $? "refused: $line"
}

same() {
    cmp "$1" "$2" >>err 2>&1
    report $? "$3"
}

# A program of some length that grows, shrinks and grows again, with comments. All sizes are below
# what 32 bits can hold.
awk 'BEGIN {
    print "# hmm-trace 1"
    print "# the first"
    for (i = 0; i < 30000; i++) {
        if (i % 5000 == 0) print "# now at", i
        if (i % 97 == 0) print "m", i, 64 * (1 + i % 2), i
        else print "a", i, i * 7919 % 5000
        if (i % 3 == 0) print "r", i, i * 31 % 9000
        if (i >= 100 && i % 10 != 0) print "f", i - 100
        if (i % 1000 == 999) { print "a", 30000 + i, 1000000; print "f", 30000 + i }
    }
    print "# the last"
}' >t.trace

zstd=yes
if ! "$HMM" convert -o try.zst t.trace >out 2>err; then
    zstd=no
    grep -q 'cannot compress' err
    report $? 'no zstd: said'
fi

# ---- convert ----

works 'convert: to format 2' convert -o t.ht2 t.trace
works 'convert: to format 2 without zstd' convert --plain -o plain.ht2 t.trace
works 'convert: back' convert -o back.trace t.ht2
same t.trace back.trace 'convert: there and back again nothing has changed, comments neither'
works 'convert: back from the plain one' convert --output=back.trace plain.ht2
same t.trace back.trace 'convert: the plain one is the same'
works 'convert: format 2 of format 2' convert -o again.ht2 plain.ht2
same t.ht2 again.ht2 'convert: is the same file'
if [ "$zstd" = yes ]; then
    works 'convert: to zstd' convert -o t.zst t.ht2
    works 'convert: from zstd' convert -o back.trace t.zst
    same t.trace back.trace 'convert: zstd is the same'
    [ "$(wc -c <t.ht2)" -le "$(wc -c <t.zst)" ]
    report $? 'format 2 is no larger than zstd'
    [ "$(wc -c <t.ht2)" -lt "$(wc -c <plain.ht2)" ]
    report $? 'convert: --plain is larger'
fi
"$HMM" convert -o - - <t.ht2 >back.trace 2>err
code=$?
same t.trace back.trace 'convert: standard input to standard output'
# shellcheck disable=SC2002  # a pipe
cat t.ht2 | "$HMM" convert -o piped.trace - 2>err
same t.trace piped.trace 'convert: from a pipe'
printf '# hmm-trace 1\r\na 0 5\r\n#x\r\nf 0\r\n' >returns.trace
printf '# hmm-trace 1\na 0 5\n#x\nf 0\n' >want
works 'convert: carriage returns' convert -o got.trace returns.trace
same want got.trace 'convert: carriage returns are dropped'
printf '# hmm-trace 1\n' >empty.trace
works 'convert: a trace without operations' convert -o empty.ht2 empty.trace
works 'convert: and back' convert -o got.trace empty.ht2
same empty.trace got.trace 'convert: is still without'
awk 'BEGIN { print "# hmm-trace 1"; printf "#"; for (i = 0; i < 200000; i++) printf "x"; print ""
    print "a 0 5" }' >long.trace
works 'convert: a long comment' convert -o long.ht2 long.trace
works 'convert: a long comment back' convert -o got.trace long.ht2
same long.trace got.trace 'convert: a long comment is kept'
works 'convert: the name does not count' convert -o odd.name t.ht2
mv odd.name odd.ht2
works 'convert: text with another name' convert -o got.trace odd.ht2
same t.trace got.trace 'convert: is read by its content'

if command -v python3 >/dev/null 2>&1; then
    python3 "$top/tests/read_ht2.py" plain.ht2 >read.trace 2>err
    same t.trace read.trace 'a reader written from the manual reads the same'
    if [ "$zstd" = no ] || command -v zstd >/dev/null 2>&1; then
        python3 "$top/tests/read_ht2.py" t.ht2 >read.trace 2>err
        same t.trace read.trace 'and zstd'
    fi
else
    skip 'a reader written from the manual reads the same' 'no python3'
fi

usage='hmm convert [--plain] -o FILE TRACE'
refuses "hmm convert: no trace given: $usage" convert -o x.ht2
refuses "hmm convert: no output given: $usage" convert t.trace
refuses "hmm convert: one trace at a time: 't.ht2' is another" convert -o x.ht2 t.trace t.ht2
refuses 'missing: cannot open: No such file or directory' convert -o x.ht2 missing
hmm convert -o t.ht2 t.ht2
[ "$code" -eq 1 ] && grep -qx 'hmm convert: --output: t.ht2 is the trace that is read' err &&
    cmp -s t.ht2 again.ht2
report $? 'convert: not onto itself'
echo 'import sys' >app.py
hmm convert -o app.py t.trace
[ "$code" -eq 1 ] && grep -qx 'import sys' app.py &&
    grep -qx 'app.py: is there and is no trace: it is not written over' err
report $? 'convert: not over what is no trace'
echo hello >no.trace
hmm convert -o kept.ht2 no.trace
[ "$code" -eq 2 ] && [ ! -e kept.ht2 ]
report $? 'convert: what is no trace leaves nothing behind'
hmm convert -o /nowhere/x.ht2 t.trace
[ "$code" -eq 1 ] && grep -qx '/nowhere/x.ht2: cannot write: No such file or directory' err
report $? 'convert: where it cannot be written'
if [ -c /dev/full ]; then
    hmm convert -o /dev/full t.trace
    [ "$code" -eq 1 ] && grep -q '^/dev/full: cannot write: ' err
    report $? 'convert: on a full disk'
fi

# ---- Cut and damaged files ----

# Two blocks and more.
awk 'BEGIN { print "# hmm-trace 1"; for (i = 0; i < 75000; i++) { print "a", i, i; print "f", i } }' \
    >two.trace
hmm convert --plain -o two.ht2 two.trace
size=$(wc -c <two.ht2)
head -c $((size - 3)) two.ht2 >end.ht2
hmm convert -o got.trace end.ht2
[ "$code" -eq 2 ] && cmp -s two.trace got.trace && grep -Eqx \
    'end.ht2: truncated in the block at byte [0-9]+; the first 150000 operations are whole' err
report $? 'a file without its last bytes: said, and all operations kept'
head -c $((size * 9 / 10)) two.ht2 >cut.ht2
hmm convert -o got.trace cut.ht2
head -n 131073 two.trace >want
[ "$code" -eq 2 ] && cmp -s want got.trace && grep -Eq \
    '^cut.ht2: truncated in the block at byte [0-9]+; the first 131072 operations are whole$' err &&
    grep -qx 'hmm convert: got.trace: has the first 131072 operations, which are whole' err
report $? 'a cut file: what is whole is kept'
hmm replay cut.ht2
[ "$code" -eq 1 ] && grep -q '^cut.ht2: 131,072 operations, ' out &&
    grep -qx 'hmm replay: cut.ht2: of this trace only the first 131,072 operations are replayed' err
report $? 'a cut file: what is whole is replayed, and exit status 1'
hmm stats --format json cut.ht2
[ "$code" -eq 2 ] && grep -q '"ops":131072,' out &&
    grep -qx 'hmm stats: cut.ht2: what follows is of the first 131072 operations' err
report $? 'a cut file: stats of what is whole'
{ head -c 3000 two.ht2; printf '\1'; tail -c +3002 two.ht2; } >damaged.ht2
hmm convert -o got.ht2 damaged.ht2
[ "$code" -eq 2 ] && [ ! -e got.ht2 ] && grep -qx \
    'damaged.ht2: damaged at byte 16: the checksum of the block is not right; the first 0 operations are whole' err
report $? 'a damaged file: said where'
hmm replay damaged.ht2
[ "$code" -eq 2 ] && [ ! -s out ] && [ "$(wc -l <err)" -eq 1 ]
report $? 'a damaged file is not replayed'
# The index begins where the trailer says; up to there all is whole.
index=$(tail -c 16 two.ht2 | od -An -tu4 -N4 | tr -d ' ')
head -c "$index" two.ht2 >unended.ht2
unended='unended.ht2: its end is missing: it was cut, or its writing was; it has 150000 operations'
if [ "$(printf '\1\0\0\0' | od -An -tu4 | tr -d ' ')" = 1 ]; then
    for command in 'replay --runs 1' stats; do
        # shellcheck disable=SC2086
        hmm $command unended.ht2
        [ "$code" -eq 0 ] && [ -s out ] && grep -qx "hmm ${command%% *}: $unended" err
        report $? "a file without its end: ${command%% *} says so and takes it"
    done
fi
head -c 300 t.trace >short.trace
hmm convert -o got.trace short.trace
[ "$code" -eq 2 ] && grep -q '^short.trace:[0-9]*: truncated: the last line' err &&
    sed '$d' short.trace | cmp -s - got.trace
report $? 'a cut text: what is whole is kept'

# ---- All commands take every form ----

hmm replay --strategy best-fit --runs 1 --format json t.trace
sed 's/"ns_per_op":[^,]*,//; s/"trace":"[^"]*",//' out >want
for form in t.ht2 plain.ht2 t.zst; do
    [ -e "$form" ] || continue
    hmm replay --strategy best-fit --runs 1 --format json "$form"
    sed 's/"ns_per_op":[^,]*,//; s/"trace":"[^"]*",//' out >got
    same want got "replay: $form gives the same figures"
done
"$HMM" replay --strategy best-fit --runs 1 --format json - <t.ht2 >out 2>err
sed 's/"ns_per_op":[^,]*,//; s/"trace":"[^"]*",//' out >got
same want got 'replay: so does standard input'
# shellcheck disable=SC2002  # a pipe
cat t.ht2 | "$HMM" replay --strategy best-fit --runs 1 --format json - >out 2>err
sed 's/"ns_per_op":[^,]*,//; s/"trace":"[^"]*",//' out >got
same want got 'replay: so does a pipe'
hmm replay --strategy best-fit --heap 64K --runs 1 two.ht2 t.ht2
[ "$code" -eq 1 ] && grep -Eq '^hmm replay: two.ht2: operation [0-9]+: best-fit: no room for' err
report $? 'replay: what is not served is named by its number'

# A program that never ends.
endless() {
    awk 'BEGIN { print "# hmm-trace 1"; for (i = 0; ; i++) { print "a", i, 40; print "f", i } }'
}
endless 2>/dev/null | "$HMM" replay --runs 1 - >out 2>err
code=$?
[ "$code" -eq 2 ] && grep -qxe '-: is no file, and has more operations than can be kept (4194304): write it into one' err
report $? 'replay: a pipe that is too long is said to be'

# ---- stats ----

cat >s.trace <<'END'
# hmm-trace 1
a 0 10
a 1 100
m 2 64 30
r 0 20
f 1
a 1 100
r 0 5
r 0 5
a 3 0
f 3
f 2
a 2 70000
END
# Lifetimes: ID 1 from operation 2 to 5, ID 3 from 9 to 10, ID 2 from 3 to 11.
works 'stats' stats --format json s.trace
has() {
    grep -qF -- "$1" out
    report $? "stats: $1"
}
has '"kind":"summary","from":1,"ops":12,"allocations":6,"aligned":1,"resizes":3,"frees":3'
has '"requested":70240,"size_zero":1,"live_before":0,"live_before_blocks":0'
has '"peak_live":70105,"peak_live_blocks":3,"peak_live_op":12'
has '"peak_blocks":4,"peak_blocks_live":135,"peak_blocks_op":9'
has '"never_freed":70105,"never_freed_blocks":3,"temporary":130,"temporary_blocks":3'
has '"kind":"size","from":0,"to":0,"allocations":1,"bytes":0,"at_peak":0'
has '"from":4,"to":7,"allocations":0,"bytes":0,"at_peak":1,"at_peak_bytes":5,"never_freed":1,"never_freed_bytes":5'
has '"from":64,"to":127,"allocations":2,"bytes":200,"at_peak":1,"at_peak_bytes":100,"never_freed":1'
has '"from":65536,"to":131071,"allocations":1,"bytes":70000'
has '"kind":"frequent","size":100,"allocations":2'
has '"kind":"frequent","size":70000,"allocations":1'
has '"kind":"lifetime","from":1,"to":1,"blocks":1,"bytes":0'
has '"kind":"lifetime","from":2,"to":3,"blocks":1,"bytes":100'
has '"kind":"lifetime","from":8,"to":15,"blocks":1,"bytes":30'
has '"kind":"alignment","align":64,"allocations":1,"bytes":30'
has '"kind":"resizes","larger":1,"smaller":1,"same":1,"blocks":1,"longest":3,"longest_op":1,"longest_first":10,"longest_last":5'
has '"kind":"chain","from":2,"to":3,"blocks":1,"first_bytes":10,"last_bytes":5'
if command -v python3 >/dev/null 2>&1; then
    python3 -c 'import json, sys
for line in sys.stdin: assert json.loads(line)["trace"] == "s.trace"' <out 2>>err
    report $? 'stats: every line is a JSON object'
fi
works 'stats: a window' stats --format json --from 5 --to 8 s.trace
has '"from":5,"ops":4,"allocations":1,"aligned":0,"resizes":2,"frees":1'
has '"live_before":150,"live_before_blocks":3,"peak_live":150,"peak_live_blocks":3,"peak_live_op":4'
has '"kind":"lifetime","from":2,"to":3,"blocks":1,"bytes":100'
works 'stats: tables' stats s.trace t.trace
grep -qx 's.trace: 12 operations' out && grep -qx 'Lifetimes, in operations' out &&
    grep -Eq '^never freed +3 +50.0 % +68.46 KiB$' out && awk 'length > 80 { exit 1 }' out
report $? 'stats: tables of 80 columns'
works 'stats: a trace without operations' stats empty.trace
hmm convert -o s.ht2 s.trace
for form in s.ht2 -; do
    "$HMM" stats --format json s.trace | sed 's/"s.trace"//' >want
    "$HMM" stats --format json "$form" <s.ht2 2>err | sed "s/\"$form\"//" >got
    same want got "stats: of $form"
done
refuses "hmm stats: no trace given: hmm stats [OPTION]... TRACE..." stats --format json
refuses "hmm stats: --from: '0' is not an operation: they are counted from 1" stats --from 0 s.trace
refuses "hmm stats: --to 3 lies before --from 4" stats --from 4 --to 3 s.trace
refuses "hmm stats: s.trace: has 12 operations: none is number 14" stats --from 14 s.trace

hmm convert -o - t.trace
cat out s.trace >twice.trace
hmm stats twice.trace
[ "$code" -eq 2 ] && grep -qx 'twice.trace: 66,970 operations' out &&
    grep -qx 'twice.trace:66981: ID 0 is allocated while it is live' err
report $? 'stats: what is known before a fault is printed'

mkfifo pipe
if env --default-signal=INT true 2>/dev/null; then
    # interrupted ARGUMENT...: hmm with an endless trace, after a second; on a busy machine later,
    # since it is to have read something.
    interrupted() {
        for seconds in 1 3 9 27; do
            endless >pipe 2>/dev/null &
            env --default-signal=INT "$HMM" "$@" pipe >out 2>err &
            sleep $seconds
            kill -INT $!
            wait $!
            code=$?
            ! grep -Eq ' first [1-9][0-9]* operations' err || return
        done
    }
    interrupted stats
    [ "$code" -eq 130 ] && grep -Eqx 'hmm stats: pipe: what follows is of the first [1-9][0-9]* operations' err &&
        grep -Eq '^ *32 +[1-9][0-9,]* +100.0 %' out
    report $? 'stats: Ctrl-C prints what is known'
    interrupted convert -o ended.ht2
    held=$(sed -n 's/^hmm convert: ended.ht2: has the first \([0-9]*\) operations.*/\1/p' err)
    hmm stats --format json ended.ht2
    [ "$code" -eq 0 ] && [ ! -s err ] && [ -n "$held" ] && grep -q "\"ops\":$held," out
    report $? 'convert: Ctrl-C leaves a whole trace'
else
    skip 'stats: Ctrl-C prints what is known' 'env does not know --default-signal'
fi

# ---- record ----

if "$HMM" record -o r.ht2 -- sh -c 'true; /bin/true; ls >ls; exit' >out 2>err; then
    code=0
    "$HMM" convert -o r.trace r.ht2 2>>err
    sed -n 2p r.trace | grep -q '^# program ' && [ "$(wc -l <r.trace)" -gt 10 ]
    report $? 'record: format 2'
    hmm record -o - -- true
    [ "$code" -eq 2 ] && [ ! -e - ] &&
        grep -qx -e "-: cannot write: standard output is the command's own" err
    report $? 'record: not to standard output'
    set -- r.*.ht2
    works 'record: the processes too' stats "$@"
fi

# ---- cut ----

works 'cut' cut --from 5 --to 11 -o c.trace s.trace
cat >want <<'END'
# hmm-trace 1
# operations 5 to 11 of another trace, after 3 blocks that lived before
a 0 20
a 1 100
m 2 64 30
f 1
a 1 100
r 0 5
r 0 5
a 3 0
f 3
f 2
END
same want c.trace 'cut: what lived comes first'
works 'cut: IDs become dense' cut --from 20001 --to 25000 -o c.ht2 t.ht2
"$HMM" convert -o c.trace c.ht2
[ "$(grep -vc '^#' c.trace)" -gt 5000 ] && awk '
    /^#/ { next }
    /^[am]/ { if (++live > most) most = live; if ($2 > largest) largest = $2 }
    /^f/ { live-- }
    END { exit largest >= most }' c.trace
report $? 'cut: IDs are as few as can be'
grep -v '^#' t.trace | sed -n '20001,25000p' | awk '{ print $1, (NF > 2 ? $NF : "") }' >want
grep -v '^#' c.trace | tail -n 5000 | awk '{ print $1, (NF > 2 ? $NF : "") }' >got
same want got 'cut: the requests are those of the window'
works 'cut: of text' cut --from 20001 --to 25000 -o d.ht2 t.trace
same c.ht2 d.ht2 'cut: of text it is the same'
works 'cut: and can be replayed' replay --check --runs 1 c.ht2
works 'cut: all of it' cut -o all.trace t.trace
"$HMM" stats --format json t.trace | sed 's/"trace":"[^"]*"//' >want
"$HMM" stats --format json all.trace | sed 's/"trace":"[^"]*"//' >got
same want got 'cut: all of it has the same statistics'
refuses "hmm cut: no trace given: hmm cut [--from OP] [--to OP] -o FILE TRACE" cut -o x.trace
refuses "hmm cut: no output given: hmm cut [--from OP] [--to OP] -o FILE TRACE" cut t.trace
refuses "hmm cut: --from: 'x' is not an operation: they are counted from 1" \
    cut --from x -o x.trace t.trace
refuses "hmm cut: --to 4 lies before --from 5" cut --from 5 --to 4 -o x.trace t.trace
refuses "hmm cut: s.trace: has 12 operations: none is number 20" cut --from 20 -o x.trace s.trace
[ ! -e x.trace ]
report $? 'cut: what is refused leaves nothing behind'
hmm cut --from 10 --to 20 -o c.trace s.trace
[ "$code" -eq 0 ] &&
    grep -qx 'hmm cut: s.trace: ends before the window does, at operation 12' err
report $? 'cut: beyond the end'

finish
