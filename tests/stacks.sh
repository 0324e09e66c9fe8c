#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm record --stacks, and what is made of it: a program whose lines are known. Speaks TAP.

# shellcheck source=tests/record_common.sh
. "${top_srcdir:-.}/tests/record_common.sh"

case $top_srcdir in /*) here=$top_srcdir ;; *) here=$OLDPWD/$top_srcdir ;; esac
source=$here/tests/stacks
case $(${CC:-cc} -dumpmachine) in
x86_64-* | i?86-*) ;;
*) skip_all 'call stacks are found on x86 only' ;;
esac
# Functions that are alike stay apart.
apart=
if ${CC:-cc} -Werror -fno-ipa-icf -E -x c /dev/null >/dev/null 2>&1; then
    apart=-fno-ipa-icf
fi
# shellcheck disable=SC2086  # words
build_it() {
    ${CC:-cc} $TEST_CFLAGS -O2 -g -fomit-frame-pointer -fno-optimize-sibling-calls $apart "$@"
}
if ! build_it -pthread -o stacked "$source/stacked.c" -ldl 2>err; then
    cat err >&2
    exit 99
fi

# line NAME: of the program's source.
line() {
    grep -n "line: $1 \*/" "$source/stacked.c" | cut -d: -f1
}

# plain FILE: as text.
plain() {
    "$HMM" convert -o - "$1" 2>>err
}

# site SIZE FILE: function and line that asked for the first block of this size, a frame a line.
site() {
    plain "$2" | awk -F '\t' -v size="$1" '
        /^#@[0-9]/ { stack = substr($0, 3); next }
        /^#@ frame / { split($1, w, " "); name[w[3]] = $4 ":" $6; next }
        /^#@ stack / { split($0, w, " "); frames[w[3]] = $0; next }
        /^[amr] / { n = split($0, w, " "); if (w[n] == size && !(wanted)) wanted = stack }
        END {
            n = split(frames[wanted], w, " ")
            for (i = 4; i <= n; i++) print name[w[i]]
        }'
}

# ---- What is noted ----

record --stacks -o t.trace -- ./stacked frames
{
    for f in inner middle grown aligned main; do echo "$f:$(line $f)"; done
} >want
site 123 t.trace | head -n 5 >got
[ "$code" -eq 0 ] && diff want got >>err && valid
report $? 'a stack: each frame by function and line, without frame pointers'
grep -qx '#@ stacks 8' t.trace && ! grep -q 'left out' err
report $? 'the trace says that it has call stacks'

record --stacks=2 -o t.trace -- ./stacked frames
site 123 t.trace >got
head -n 2 want | diff - got >>err
report $? 'as many frames as were asked for'

record --stacks=40 -o t.trace -- ./stacked frames
site 123 t.trace | sed -n '6,$p' >got
grep -q '^_start:' got
report $? 'up to the first frame of all'

record --stacks -o t.trace -- ./stacked wrapped
for size in 333:xmalloc 334:calloc 3350:realloc 3360:aligned_alloc; do
    site "${size%:*}" t.trace | sed -n 1p | grep -qx ".*:$(line "${size#*:}")"
    report $? "who asks by ${size#*:}"
done

record --stacks -o t.trace -- ./stacked threads
[ "$code" -eq 0 ] && valid && [ "$(lines t.trace '^a [0-9]* 555$')" -eq 8000 ]
report $? 'four threads: every operation is there'
[ "$("$HMM" stats --format json t.trace | grep -c '"site":"inner .*"requested_blocks":8000,')" -eq 1 ]
report $? 'four threads: they have one stack'

record --stacks -o t.trace -- ./stacked signals
[ "$code" -eq 0 ] && valid &&
    [ "$("$HMM" stats --collapsed=count t.trace |
        grep -c ';main;signals;grown;middle;inner 60000$')" -eq 1 ]
report $? 'signals come in between'

record --stacks -o t.trace -- ./stacked forks
set -- t.*.trace
[ $# -eq 1 ] && site 777 t.trace >got && sed -n 1p got | grep -qx "forked:$(line forked)" &&
    site 777 "$1" | sed -n 1p | grep -qx "forked:$(line forked)" && valid
report $? 'a child by fork has its own definitions'

for n in one other; do
    build_it -shared -fPIC -DNAME=get_$n -DSIZE=$((1000 + ${#n})) -o lib$n.so "$source/loaded.c"
done
record --stacks -o t.trace -- ./stacked loads "$PWD/libone.so" "$PWD/libother.so"
"$HMM" stats --format json t.trace >found
[ "$code" -eq 0 ] && valid &&
    grep -q '"site":"get_one (.*"requested":20060,"requested_blocks":20,' found &&
    grep -q '"site":"get_other (.*"requested":20100,"requested_blocks":20,' found
report $? 'a library that comes where another was'

# Another program's names, and what it allocates, are its own.
if same 'real programs'; then
    record --stacks -o t.trace -- sh -c 'ls / | sort'
    [ "$code" -eq 0 ] && valid && "$HMM" stats --collapsed t.*.trace >got &&
        [ "$(grep -c 'ls+0x.*;' got)" -ge 1 ] && ! grep -q 'not known' got
    report $? 'real programs'
fi

if command -v "${CXX:-c++}" >/dev/null && command -v c++filt >/dev/null &&
    build_it -o new "$source/operators.cc" -lstdc++ 2>>err; then
    record --stacks=16 -o t.trace -- ./new
    "$HMM" stats --format json t.trace >found
    at=$(grep -n 'line: new$' "$source/operators.cc" | cut -d: -f1)
    grep -q "\"site\":\"one() (operators.cc:$at)\".*\"requested\":4000," found
    report $? 'C++: who writes new, not the library'
    grep -Eq '"site":"many(\(\))? \([a-z_.]*:[0-9]*\)".*"requested_blocks":[1-9][0-9]*,' found &&
        ! grep -q '"site":"std::' found
    report $? 'C++: who uses a container, not the library'
else
    skip 'C++' 'no C++ compiler, or no c++filt'
fi

# ---- Names ----

record --stacks --strip-paths -o t.trace -- ./stacked frames
[ "$code" -eq 0 ] && [ "$(lines t.trace '^#@ frame .*/')" -eq 0 ] &&
    [ "$(lines t.trace '^#@ frame .*stacked.c')" -ge 5 ]
report $? '--strip-paths leaves base names only'
record --stacks -o t.trace -- ./stacked frames
[ "$(lines t.trace '^#@ frame .*/stacked	')" -ge 5 ]
report $? 'without it there are paths'
strip -o bare stacked && record --stacks -o t.trace -- ./bare frames
"$HMM" stats t.trace | grep -q '^bare+0x[0-9a-f]* '
report $? 'a program without names: module and offset'

# ---- Kept ----

record --stacks -o t.trace -- ./stacked fragments
plain t.trace | cmp - t.trace 2>>err
report $? 'hmm convert keeps them'
"$HMM" convert -o t.ht2 t.trace 2>>err && plain t.ht2 | cmp - t.trace
report $? 'and so does format 2'
grep -v '^#@' t.trace >t0.trace
for file in t0.trace t.trace t.ht2; do
    "$HMM" replay --check --runs 1 --format json "$file" 2>>err |
        grep -Eo '"(strategy|ops|peak_live|peak_break)":[^,]*' >"$file.figures"
done
[ -s t0.trace.figures ] && cmp t0.trace.figures t.trace.figures 2>>err &&
    cmp t0.trace.figures t.ht2.figures 2>>err
report $? 'hmm replay finds the same with and without them'
"$HMM" cut --from 3000 --to 7000 -o t-cut.ht2 t.ht2 2>>err
"$HMM" stats --format json t-cut.ht2 >found
grep -q '"site":"pinned (stacked.c:[0-9]*)".*"at_peak_blocks":3000,' found
report $? 'hmm cut keeps who asked, for what lived before too'
"$HMM" stats --format json --from 3000 --to 7000 t.ht2 >got
grep '"site"' found | sed 's/.*"site"/"site"/; s/"requested.*"at_peak"/"at_peak"/' | sort >want
grep '"site"' got | sed 's/.*"site"/"site"/; s/"requested.*"at_peak"/"at_peak"/' | sort | cmp - want
report $? 'hmm stats of the window says the same as of the cut'

if env --default-signal=INT true 2>/dev/null; then
    # The window ends soon, and what it says of stacks never. A pipe for each: the one before may
    # still have its writer.
    for seconds in 1 3 9; do
        rm -f pipe && mkfifo pipe
        { printf '%s\n' '# hmm-trace 1' '#@ stack 1 0' '#@ frame 0	m	10	main	x.c	3' '#@1' 'a 0 10'
            yes 'r 0 20'; } >pipe 2>/dev/null &
        env --default-signal=INT "$HMM" stats --format json --to 3 pipe >out 2>err &
        sleep $seconds
        kill -INT $!
        wait $!
        code=$?
        [ ! -s out ] || break
    done
    [ "$code" -eq 130 ] && grep -q '"ops":3,' out && grep -q '"site":"main (x.c:3)"' out
    report $? 'Ctrl-C while stacks are looked for behind the window: what is known'
    for seconds in 1 3 9; do
        rm -f pipe && mkfifo pipe
        { printf '%s\n' '# hmm-trace 1' '#@ stack 1 0' '#@ frame 0	m	10	main	x.c	3' '#@1' 'a 0 10'
            yes 'r 0 20'; } >pipe 2>/dev/null &
        env --default-signal=INT "$HMM" cut --to 3 -o cut.ht2 pipe >out 2>err &
        sleep $seconds
        kill -INT $!
        wait $!
        code=$?
        [ ! -s err ] || break
    done
    [ "$code" -eq 130 ] && "$HMM" stats --format json cut.ht2 2>err >out && [ ! -s err ] &&
        grep -q '"ops":3,' out && grep -q '"site":"main (x.c:3)"' out
    report $? 'and the cut is whole'
else
    skip 'Ctrl-C while stacks are looked for' 'env does not know --default-signal'
fi

# ---- Who asks ----

"$HMM" stats --format json t.trace >found
grep '"kind":"site"' found | sed -n 1p | grep -q "\"site\":\"passing (stacked.c:$(line passing))\"" &&
    grep -q '"site":"passing .*"requested":24000000,"requested_blocks":4500,"at_peak":12000000,"at_peak_blocks":3000,.*"never_freed":0,' found &&
    grep -q '"site":"pinned .*"requested":144000,"requested_blocks":3000,"at_peak":144000,"at_peak_blocks":3000,.*"never_freed":144000,' found
report $? 'hmm stats counts by site'
"$HMM" stats t.trace >found
sed -n '/^Who asks/,/^$/p' found | sed -n 3p | grep -Eq '^passing \(stacked.c:[0-9]+\) +22.89 MiB +4,500 +9[0-9.]+ %$'
report $? 'and prints it'
awk 'BEGIN { print "# hmm-trace 1\n#@1\na 0 10\n#@ stack 1 0"
    printf "#@ frame 0\tm\t10\tw"; for (i = 0; i < 99; i++) printf "\303\244"; print "\t/a/long.cc\t7" }' >long.trace
COLUMNS=80 "$HMM" stats long.trace | sed -n '/^Who asks/,$p' >out
LC_ALL=C awk '{ gsub(/[\200-\277]/, ""); if (length > 80) exit 1 }' out && [ "$(grep -c '^site ' out)" -eq 2 ] &&
    LC_ALL=C grep -q '^w[^ ]*[^.]\.\.\.[^. ][^ ]* (long.cc:7)  ' out
report $? 'of a name that is too long the middle is left out'
for way in bytes:24000000 count:4500 peak:12000000; do
    "$HMM" stats --collapsed="${way%:*}" t.trace >got 2>>err
    [ "$(awk '/;main;fragments;passing [0-9]*$/ { n += $NF } END { printf "%d", n }' got)" -eq \
        "${way#*:}" ] && ! grep -qvE '^[^ ]+( [^ ]+)* [0-9]+$' got
    report $? "stacks for flame graphs, by ${way%:*}"
done
"$HMM" stats --collapsed t0.trace >got 2>err
[ ! -s got ] && grep -q 'has no call stacks' err
report $? 'a trace without call stacks: said'

# ---- Blame: the one line that holds all holes open comes first, on every strategy. ----

"$HMM" map --at break t.ht2 >out 2>err
[ "$(grep -c 'this call site holds 100 % of the waste, 11.[0-9]* MiB in 3,000 holes:$' out)" -eq \
    "$("$HMM" strategies --format json | wc -l)" ] &&
    ! grep '100.0 %' out | grep -vq "^pinned (stacked.c:$(line pinned)) .* 3,000\$"
report $? 'blame: a program made to fragment at one line: that line is first'
printf '%s\n' '# hmm-trace 1' '#@ stack 1 0' '#@ frame 0	m	10	main	x.c	3' \
    '#@1' 'a 0 10' '#@1' 'a 1 10' '#@1' 'a 2 10' 'f 1' >small.trace
"$HMM" map --at 4 --strategy best-fit small.trace >out 2>err
grep -qx 'best-fit: this call site holds 100 % of the waste, 16 B in 1 hole:' out &&
    grep -q '^main (x.c:3) .* 2$' out
report $? 'blame: of a few bytes of waste, too'
"$HMM" map --at break t0.trace >out 2>err
! grep -q 'waste' out
report $? 'no blame without call stacks'

# ---- What is refused ----

for bad in --stacks=0 --stacks=65 --stacks= --stacks=x --stacks=8x; do
    record "$bad" -o t.trace -- ./stacked
    [ "$code" -eq 2 ] && grep -q -- '--stacks' err && [ ! -e t.trace ]
    report $? "refused: $bad"
done
"$HMM" stats --collapsed=size t0.trace >out 2>err
[ $? -eq 2 ] && [ ! -s out ]
report $? 'refused: --collapsed=size'

finish
