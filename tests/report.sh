#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm report: the page's size, what it has in it, what it refuses; and, in a headless Chromium, what
# it shows and does. Speaks TAP.
# HMM: the command (default: hmm in the build folder).

. "$(dirname "$0")/tap.sh"
skip_under_valgrind

HMM=${HMM:-${top_builddir:-.}/hmm}
top=${top_srcdir:-${srcdir:-.}}
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=97 UBSAN_OPTIONS=exitcode=97
export ASAN_OPTIONS UBSAN_OPTIONS
: >"$dir/out"
: >"$dir/err"

page() {
    "$HMM" report "$@" >"$dir/out" 2>"$dir/err"
    code=$?
}

# refuses LINE ARGUMENT...: exit code 2, nothing on stdout, exactly this line on stderr.
refuses() {
    line=$1
    shift
    page "$@"
    printf '%s\n' "$line" >"$dir/want"
    [ "$code" -eq 2 ] && [ ! -s "$dir/out" ] && cmp -s "$dir/want" "$dir/err"
    report $? "refused: $line"
}

# is_page FILE: one that fetches nothing, of at most 1 MiB.
is_page() {
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ] && [ "$(wc -c <"$1")" -le 1048576 ] &&
        grep -q "default-src 'none'" "$1" && ! grep -Eq '(src|href)="?[a-z]+:?//' "$1" &&
        ! grep -Eq '@import|@(include|data)' "$1"
}

# ---- Traces ----

cat >"$dir/hole.trace" <<'END'
# hmm-trace 1
a 0 100000
a 1 200000
a 2 100000
a 3 100000
f 1
a 4 10
r 4 20
f 0
f 2
END

# churn NAME OPERATIONS SEED: blocks of all sizes come and go; a huge one for one operation only.
churn() {
    awk -v ops="$2" -v seed="$3" 'BEGIN {
        srand(seed)
        print "# hmm-trace 1"
        for (i = 0; i < ops - 2; i++) {
            if (i == int(ops / 2) + 10) print "a 999 5000000\nf 999"
            id = int(rand() * 700)
            size = int(exp(rand() * 9))
            if (!(id in live)) { print "a", id, size; live[id] = 1 }
            else if (rand() < 0.15) print "r", id, size
            else { print "f", id; delete live[id] }
        }
    }' >"$dir/$1"
}

# Small blocks of one site keep large ones of another apart.
awk 'BEGIN {
    print "# hmm-trace 1\n#@ stacks 2"
    for (i = 0; i < 900; i++) print "#@1\na", 2 * i, "4000\n#@2\na", 2 * i + 1, 48
    for (i = 0; i < 900; i++) print "f", 2 * i
    for (i = 0; i < 400; i++) print "#@1\na", 2 * i, 8000
    print "#@ stack 1 1 3\n#@ stack 2 2 3"
    print "#@ frame 1\t/a/frag\t10\tpassing\t/a/frag.c\t7"
    print "#@ frame 2\t/a/frag\t20\tpinned\t/a/frag.c\t9"
    print "#@ frame 3\t/a/frag\t30\tmain\t\t"
}' >"$dir/frag.trace"

churn churn.trace 30000 7
churn other.trace 5000 8

# ---- The file ----

page -o "$dir/churn.html" "$dir/churn.trace"
is_page "$dir/churn.html"
report $? 'a page, of at most 1 MiB, that fetches nothing'
[ ! -s "$dir/out" ]
report $? 'nothing is printed'

page "$dir/churn.trace" "$dir/other.trace" "$dir/hole.trace" --output="$dir/three.html"
is_page "$dir/three.html"
report $? 'three traces in one page'

# Noise does not pack: so many of it need less detail each.
set --
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
    set -- "$@" "$dir/churn.trace"
done
page -o "$dir/twelve.html" "$@"
is_page "$dir/twelve.html"
report $? 'twelve traces, still at most 1 MiB'

printf '# hmm-trace 1\n' >"$dir/empty.trace"
page -o "$dir/empty.html" "$dir/empty.trace"
is_page "$dir/empty.html"
report $? 'a trace without operations has a page'

page --strategy best-fit,first-fit -o "$dir/two.html" "$dir/hole.trace"
is_page "$dir/two.html"
report $? '--strategy chooses'

page -o "$dir/hole.html" "$dir/hole.trace"
is_page "$dir/hole.html"
report $? 'a trace of nine operations has a page'

page -o "$dir/frag.html" "$dir/frag.trace"
is_page "$dir/frag.html"
report $? 'a trace with call stacks has a page'

page --compare=memory --strategy best-fit -o "$dir/compared.html" "$dir/hole.trace"
is_page "$dir/compared.html"
report $? '--compare has a page'
"$HMM" compare --for memory --format json "$dir/hole.trace" >"$dir/compared.json" 2>>"$dir/err"

# ---- What it refuses ----

refuses "hmm report: unknown goal 'sped'; did you mean 'speed'? Allowed: memory, speed, bounded, balanced" \
    --compare=sped -o "$dir/not.html" "$dir/hole.trace"
refuses 'hmm report: no trace given: hmm report [OPTION]... -o FILE.html TRACE...'
refuses 'hmm report: no file given for the page: -o FILE.html' a
rm -f "$dir/not.html"
refuses "$dir/none: cannot open: No such file or directory" -o "$dir/not.html" "$dir/none"
[ ! -e "$dir/not.html" ]
report $? 'and then nothing is written'
page -o "$dir/no/such" "$dir/hole.trace"
[ "$code" -eq 1 ] && grep -q '^hmm report: .*/no/such: cannot write: No such file' "$dir/err"
report $? 'a file that cannot be written: exit code 1'

# ---- Ctrl-C: the page has what was seen ----

if [ "${HMM_TESTS:-all}" = essential ]; then
    skip 'an interrupt: the page has what was seen' 'left out: it takes long'
else
    awk 'BEGIN { print "# hmm-trace 1"
        for (i = 0; i < 3000; i++) print "a", i, 1000 + i % 77
        for (i = 0; i < 2000000; i++) { id = i * 7919 % 3000; print "f", id "\na", id, 1000 + i % 91 }
    }' >"$dir/long.trace"
    # Until it replays what it draws, an interrupt ends it without a page.
    for wait in 0.4 0.5 0.6 0.8 1 1.2 1.4 1.7 2 2.4 2.9 3.5 4.2 5 6 7 8.5 10 12 15 18 22; do
        rm -f "$dir/cut.html"
        timeout -s INT "$wait" "$HMM" report -o "$dir/cut.html" "$dir/long.trace" >"$dir/out" 2>"$dir/err"
        code=$?
        grep -q 'the page has the first' "$dir/err" && break
    done
    if [ "$code" -eq 0 ]; then
        skip 'an interrupt: the page has what was seen' 'it was too fast for that'
    else
        [ "$code" -eq 124 ] && [ "$(wc -c <"$dir/cut.html")" -gt 100000 ] && grep -Eq \
            ': interrupted: the page has the first [0-9,]+ operations of 4,003,000$' "$dir/err"
        report $? 'an interrupt: the page has what was seen'
    fi
fi

# ---- In a browser ----

why=
if [ "${HMM_TESTS:-all}" = essential ]; then
    why='left out by HMM_TESTS=essential'
elif ! command -v python3 >/dev/null 2>&1; then
    why='there is no python3 to drive a browser'
else
    why=$(python3 -c 'import sys
sys.path.insert(0, sys.argv[1])
import browser
print(browser.missing() or "")' "$top/tests/report" 2>&1 | tail -n 1)
fi
if [ -n "$why" ]; then
    skip 'what the page shows and does' "$why"
else
    for trace in churn other hole; do
        "$HMM" replay --runs 1 --format json "$dir/$trace.trace" >"$dir/$trace.json" 2>>"$dir/err"
    done
    python3 -B "$top/tests/report/page_test.py" "$dir" >"$dir/page.tap" 2>"$dir/err"
    code=$?
    while read -r line; do
        case $line in
        'ok '*)
            count=$((count + 1))
            echo "ok $count - ${line#ok }"
            ;;
        'not ok '*)
            count=$((count + 1))
            failures=$((failures + 1))
            echo "not ok $count - ${line#not ok }"
            ;;
        *) echo "$line" ;;
        esac
    done <"$dir/page.tap"
    report $code 'the browser came to the end'
fi

finish
