#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm check-strategy: plug-ins with a fault each are found, by the rule that they break, and none
# hangs; the examples are sound, and replay a trace. Speaks TAP.

. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}"

skip_under_valgrind

HMM=${HMM:-$top_builddir/hmm}
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=97 UBSAN_OPTIONS=exitcode=97
export ASAN_OPTIONS UBSAN_OPTIONS
limit=
! command -v timeout >/dev/null 2>&1 || limit='timeout 100'

# hmm ARGUMENT...: leaves $code, $dir/out and $dir/err.
hmm() {
    # shellcheck disable=SC2086
    $limit "$HMM" "$@" >"$dir/out" 2>"$dir/err"
    code=$?
}

# build NAME SOURCE [FLAG]...: $dir/NAME.so.
# The compiler may come with options.
# shellcheck disable=SC2086
build() {
    so=$dir/$1.so source=$2
    shift 2
    $CC -std=c11 ${TEST_CPPFLAGS:-} -D_DEFAULT_SOURCE -O1 -shared -fPIC "-I$top_srcdir/lib" "$@" -o "$so" \
        "$source" >"$dir/log" 2>&1
}

hmm check-strategy "$dir/none.so"
if grep -q 'has no plug-ins' "$dir/err"; then
    skip_all 'this build has no plug-ins'
fi

# ---- What cannot be loaded ----

[ "$code" -eq 2 ] && grep -q "none.so' cannot be loaded: there is no such plug-in" "$dir/err"
report $? 'a plug-in that is not there: exit code 2'
echo 'no object' >"$dir/text.so"
hmm check-strategy "$dir/text.so"
[ "$code" -eq 2 ] && grep -q "text.so' cannot be loaded: " "$dir/err"
report $? 'a file that is no shared object: exit code 2'
if [ "$(id -u)" -eq 0 ] && setpriv --reuid 65534 --clear-groups "$HMM" --version >/dev/null 2>&1; then
    mkdir "$dir/shut"
    cp "$dir/text.so" "$dir/shut"
    chmod 0 "$dir/shut" "$dir/text.so"
    chmod 755 "$dir"
    for unread in text.so shut/text.so; do
        code=0
        setpriv --reuid 65534 --clear-groups "$HMM" check-strategy "$dir/$unread" >"$dir/out" 2>"$dir/err" ||
            code=$?
        printf '%s\n' "hmm check-strategy: '$dir/$unread' cannot be loaded: it may not be read" >"$dir/want"
        [ "$code" -eq 2 ] && cmp -s "$dir/want" "$dir/err"
        report $? "$unread may not be read: exit code 2"
        setpriv --reuid 65534 --clear-groups "$HMM" run --strategy "$dir/$unread" true >"$dir/out" 2>"$dir/err"
        printf '%s\n' "hmm run: strategy '$dir/$unread' cannot be loaded: it may not be read" >"$dir/want"
        cmp -s "$dir/want" "$dir/err"
        report $? "and hmm run says the same"
    done
    chmod 700 "$dir/shut" "$dir/text.so"
else
    skip 'a file that may not be read' 'needs root, setpriv and a build that others may enter'
fi
hmm check-strategy
[ "$code" -eq 2 ] && grep -q 'no plug-in given' "$dir/err"
report $? 'no plug-in: exit code 2'
hmm check-strategy --operations 0 x.so
[ "$code" -eq 2 ] && grep -q "'0' is not a number" "$dir/err"
report $? '--operations 0: exit code 2'
echo 'void begin(void) __attribute__((constructor));
void begin(void) { __builtin_trap(); }' >"$dir/trap.c"
build trap "$dir/trap.c"
hmm check-strategy "$dir/trap.so"
[ "$code" -eq 1 ] && grep -q ': crash: loading it is ended by signal' "$dir/err"
report $? 'a plug-in that crashes when it is loaded: exit code 1'

# ---- Faults: the rule that they break, and in which function ----

faulty=$top_srcdir/tests/strategies/faulty.c

# fault NAME RULE [FLAG]...: the fault's name in faulty.c.
fault() {
    name=$1 pattern=$2
    shift 2
    build faulty "$faulty" "-DFAULT=$name" "$@"
    hmm check-strategy -o "$dir/short.trace" "$dir/faulty.so"
    [ "$code" -eq 1 ] && [ "$(wc -l <"$dir/err")" -eq 1 ] && grep -Eq ": $pattern" "$dir/err" &&
        grep -q '(operation [0-9]* of [0-9]*: ' "$dir/err"
    report $? "$name is $pattern" "$dir/log" "$dir/err" "$dir/out"
    [ -s "$dir/short.trace" ] && [ "$(wc -l <"$dir/short.trace")" -le 25 ]
    report $? "$name: the trace is short" "$dir/short.trace"
    rm -f "$dir/short.trace"
}

fault TOO_SMALL 'find-too-small: .* find names block'
fault ONE_OFF '(find-no-block|find-in-use): '
fault ALWAYS_NONE 'find-none: .* find names none, though free block'
fault NOT_UNLINKED '(find-in-use|find-no-block|writes-outside|endless|crash): '
fault LINKS_OUT_OF_RANGE 'writes-outside: insert has written byte .* of the heap'
fault FAR_LINK 'crash: '
fault CRASHES 'crash: find is ended by signal'
fault EXITS 'crash: find ends the program with exit code 0'
fault ENDLESS 'endless: find does not come back'
fault STATE_TOO_LARGE 'state-too-large: state_size '
fault STATE_FALLS 'state-falls: state_size '
fault WRITES_BEHIND_STATE 'writes-outside: insert has written byte 16 of a state|writes-outside: insert has written byte 12 of a state'
fault WRITES_HEADER 'writes-outside: insert .*: a header'
fault WRITES_LIVE_BLOCK 'writes-outside: insert '
fault RESIZE_LOSES 'find-none: '
fault GROW_FORGETS 'find-none: '
fault HOLDS_POINTER 'holds-pointer: insert '
fault TAKE_DIFFERS 'take-is-not-find: '
fault TAKE_FORGETS 'find-none: '
fault PIECE_DOES_NOT_FIT 'piece-does-not-fit: find_piece '
fault LARGEST_IS_WRONG 'largest: '
fault FIND_CHANGES 'find-changes: '
fault NOT_THE_RULE 'scan: .* hmm_plugin_scan block' -DSCAN
[ "${HMM_TESTS:-all}" = essential ] || fault SLEEPS 'endless: find does not come back'

# ---- The trace ----

build faulty "$faulty" -DFAULT=TOO_SMALL
hmm check-strategy "$dir/faulty.so"
cp "$dir/out" "$dir/short.trace"
sed -n 1p "$dir/out" | grep -qx '# hmm-trace 1'
report $? 'without -o the trace goes to stdout'
hmm replay --runs 1 "$dir/short.trace"
report "$code" 'the trace can be replayed'
hmm check-strategy -o - "$dir/faulty.so"
cmp -s "$dir/out" "$dir/short.trace"
report $? '-o - is stdout, and the same again'
hmm check-strategy -o "$dir/no/where" "$dir/faulty.so"
[ "$code" -eq 1 ] && grep -q "cannot write '.*/no/where'" "$dir/err"
report $? 'a trace that cannot be written is said'
cp "$faulty" "$dir/mine.c"
hmm check-strategy -o "$dir/mine.c" "$dir/faulty.so"
[ "$code" -eq 2 ] && grep -q 'mine.c: is there and is no trace: it is not written over' "$dir/err" &&
    cmp -s "$faulty" "$dir/mine.c"
report $? 'what is no trace is not written over'
(cd "$dir" && "$HMM" check-strategy faulty.so >/dev/null 2>err)
grep -q ' faulty.so: find-too-small' "$dir/err"
report $? 'a plug-in of this folder needs no slash'

# ---- What is sound ----

build sound "$faulty" -DFAULT=SOUND -DSCAN
hmm check-strategy "$dir/sound.so"
[ "$code" -eq 0 ] && grep -q '^faulty: sound: ' "$dir/out" && [ ! -s "$dir/err" ]
report $? 'without a fault it is sound'

awk 'BEGIN {
    print "# hmm-trace 1"
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 60; i++) print "a", i, 20 + i * (round + 37) % 300
        for (i = 0; i < 60; i += 2) print "f", i
        for (i = 1; i < 60; i += 6) print "f", i
        for (i = 0; i < 60; i += 4) print "a", i, 10 + i * 7 % 250
        for (i = 3; i < 60; i += 6) print "r", i, 400 - i
        for (i = 59; i >= 0; i--) if (i % 4 == 0 || i % 2 && i % 6 != 1) print "f", i
    }
}' >"$dir/t.trace"
for example in worst_fit address_best_fit newest_fit; do
    build "$example" "$top_srcdir/examples/strategies/$example.c" -Wall -Wextra -Werror
    report $? "examples/strategies/$example.c compiles" "$dir/log"
    hmm check-strategy "$dir/$example.so"
    [ "$code" -eq 0 ] && grep -q ': sound: .* each choice that of hmm_plugin_scan$' "$dir/out"
    report $? "$example is sound"
    hmm replay --check --runs 1 --format json --strategy "$dir/$example.so" "$dir/t.trace"
    [ "$code" -eq 0 ] && grep -q '"failed":0' "$dir/out"
    report $? "$example replays a trace"
done

finish
