#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm compare: are its figures true, and does it answer as it says? Speaks TAP.

. "$(dirname "$0")/compare_common.sh"

cp "$top"/examples/traces/sqlite3-shell.trace.zst real.zst 2>/dev/null
if "$HMM" stats real.zst >/dev/null 2>&1; then real=real.zst; else real=made.trace; fi

# ---- JSON, as it is promised ----

hmm compare --format json --runs 1 --for memory $real
cp out rows
if command -v python3 >/dev/null 2>&1; then
    python3 - rows >why 2>&1 <<'END'
import json, sys
strategy = ("trace allocator kind cache ops ns_per_op peak_live peak_break smallest_heap worst_ns "
            "holes largest_hole waste failed").split()
malloc = [k.replace("break", "resident") for k in strategy if k != "smallest_heap"]
rows = [json.loads(l) for l in open(sys.argv[1])]
kinds = set()
for r in rows[:-2]:
    assert list(r) == (malloc if r["kind"] == "malloc" else strategy), list(r)
    assert list(r["waste"]) == ["headers", "rounding", "fragmentation", "control"]
    kinds.add(r["kind"])
assert "strategy" in kinds and "malloc" in kinds, kinds
optimum, advice = rows[-2], rows[-1]
assert list(optimum) == ["trace", "optimum"] and list(optimum["optimum"]) == ["lower", "upper"]
assert list(advice) == ["trace", "advice"]
a = advice["advice"]
assert list(a) == "for allocator cache heap reason command c".split(), list(a)
ours = [r for r in rows[:-2] if r["kind"] == "strategy"]
assert len(ours) == 8, len(ours)
least = min(r["smallest_heap"] for r in ours)
assert a["for"] == "memory" and a["heap"] == least
assert [r for r in ours if r["smallest_heap"] == least and r["allocator"] == a["allocator"]
        and r["cache"] == a["cache"]]
assert "hmm run --strategy %s --heap " % a["allocator"] in a["command"]
assert ("HMM_CACHE=0" in a["command"]) == (not a["cache"])
assert "hmm_heap_create(arena, %d, HMM_" % least in a["c"]
run = int(a["command"].split("--heap ")[1].split("K")[0]) * 1024
assert least < run <= least * 1.1 + 1024, (least, run)
END
    report $? 'JSON has the fields that are promised, and the advice for memory is the smallest'
else
    skip 'JSON has the fields that are promised' 'there is no python3'
fi

# ---- Goals ----

# Times differ from run to run, but not from the advice of the same run.
hmm compare --format json --runs 1 --for bounded --allocators first-fit,next-fit,best-fit,segregated \
    $real
cp out bounded
chosen=$(sed -n 's/.*"advice":{"for":"bounded","allocator":"\([^"]*\)","cache":\([a-z]*\).*/\1 \2/p' bounded)
least=$(sed -n 's/.*"worst_ns":\([0-9]*\).*/\1/p' bounded | sort -n | head -n 1)
worst=$(sed -n "s/.*\"allocator\":\"${chosen% *}\",\"kind\":\"strategy\",\"cache\":${chosen#* },.*\"worst_ns\":\([0-9]*\).*/\1/p" bounded)
[ "$code" -eq 0 ] && [ "$worst" -le $((least * 105 / 100 + 20)) ]
report $? 'the advice for bounded has the least worst_ns of the rows, or what time does not tell from it'
if grep -q worst_instructions bounded; then
    instructions() {
        sed -n 's/.*"allocator":"\([^"]*\)".*"cache":\([a-z]*\).*"worst_instructions":\([0-9]*\).*/\1 \2 \3/p' "$1"
    }
    # One operation is far longer than all others.
    printf '# hmm-trace 1\na 0 300000\na 1 20\na 2 20\nf 1\nr 0 900000\na 3 40\n' >copy.trace
    hmm compare --format json --runs 1 --for bounded --allocators first-fit,best-fit copy.trace
    instructions out | sort >together
    hmm compare --list --for bounded --runs 1 --allocators first-fit,best-fit copy.trace
    sh out | instructions /dev/stdin | sort >alone
    [ "$(wc -l <alone)" -eq 4 ] && [ -s together ] && [ -z "$(comm -23 together alone)" ]
    report $? 'instructions of the worst operation are the same in every run'
    if command -v python3 >/dev/null 2>&1; then
        cat >blocked.py <<'END'
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTRAP])
os.execv(sys.argv[1], sys.argv[1:])
END
        python3 blocked.py "$HMM" compare --runs 1 --for bounded --cell best-fit copy.trace >out 2>err
        grep -q worst_instructions out
        report $? 'they are counted in a process that began with the signal blocked'
    fi
    if command -v valgrind >/dev/null 2>&1 && [ "$sanitized" = no ]; then
        valgrind -q "$HMM" compare --runs 1 --for bounded --cell best-fit copy.trace >out 2>err
        ! grep -q worst_instructions out
        report $? 'an emulator that cannot count them gives no number'
    fi
else
    skip 'instructions of the worst operation' 'they cannot be counted here'
fi

# ---- Figures ----

"$HMM" compare --format json --runs 1 --allocators first-fit,next-fit,best-fit,segregated \
    made.trace >made-rows 2>err
cat rows made-rows | grep '"kind":"strategy"' >ours
: >why
while read -r row; do
    waste=$(($(field headers "$row") + $(field rounding "$row") + $(field fragmentation "$row") + \
        $(field control "$row")))
    [ "$waste" -eq $(($(field peak_break "$row") - $(field peak_live "$row"))) ] ||
        echo "$waste: $row" >>why
done <ours
[ -s ours ] && [ ! -s why ]
report $? 'the waste sums up to the peak break less the peak live bytes'

# The same by another way: hmm replay in a heap of that size, and of 16 bytes less.
: >why
while read -r row; do
    trace=$(printf '%s\n' "$row" | sed 's/.*"trace":"\([^"]*\)".*/\1/')
    name=$(printf '%s\n' "$row" | sed 's/.*"allocator":"\([^"]*\)".*/\1/')
    smallest=$(field smallest_heap "$row")
    cache=
    case $row in *'"cache":true'*) cache=--cache ;; esac
    # A heap too small for a cache has none, and replay says so.
    [ "$smallest" -gt 131072 ] || cache=
    "$HMM" replay --runs 1 --strategy "$name" $cache --heap "$smallest" "$trace" >/dev/null 2>&1 ||
        echo "fails at $smallest: $row" >>why
    ! "$HMM" replay --runs 1 --strategy "$name" $cache --heap $((smallest - 16)) "$trace" \
        >/dev/null 2>&1 || echo "completes at $smallest - 16: $row" >>why
done <ours
[ "$(wc -l <ours)" -eq 16 ] && [ ! -s why ]
report $? 'a trace completes in the smallest heap, and not in 16 bytes less'

# The lower bound, counted again from the text. A build may have another granule.
printf '# hmm-trace 1\na 0 1\n' >one.trace
hmm compare --cell optimum one.trace
granule=$(field lower "$(cat out)")
[ "$granule" -eq 16 ] || [ "$granule" -eq 8 ]
report $? 'a byte takes a granule'
lower=$(awk -v g="$granule" '
    function rounded(n) { return n == 0 ? g : int((n + g - 1) / g) * g }
    $1 == "a" { live += size[$2] = rounded($3) }
    $1 == "m" { live += size[$2] = rounded($4) }
    $1 == "r" { live -= size[$2]; live += size[$2] = rounded($3) }
    $1 == "f" { live -= size[$2] }
    live > most { most = live }
    END { print most }' made.trace)
hmm compare --cell optimum made.trace
[ "$(field lower "$(cat out)")" -eq "$lower" ]
report $? 'the lower bound is the most that lives, each request rounded up'

: >why
for trace in made.trace $real; do
    hmm compare --cell optimum "$trace"
    low=$(field lower "$(cat out)") high=$(field upper "$(cat out)")
    [ "$low" -le "$high" ] && [ $((high * 100)) -le $((low * 101)) ] ||
        echo "$trace: $low to $high" >>why
    grep "\"trace\":\"$trace\"" ours | while read -r row; do
        [ "$(field smallest_heap "$row")" -gt "$low" ] || echo "below $low: $row" >>why
    done
done
[ ! -s why ]
report $? 'the upper bound is within 1 % of the lower, and no heap is below that'

# 16 bytes that live at the first peak, and block 2 of 48 after it: the rest of 32 is split by the
# 16 in the middle in any layout in which 1 lies between 0 and 2; a layout that knows puts it aside.
cat >aside.trace <<'END'
# hmm-trace 1
a 0 32
a 1 16
a 2 32
f 0
f 2
a 3 64
END
hmm compare --cell optimum aside.trace
grep -q '"optimum":{"lower":80,"upper":80}' out
report $? 'the layout knows what is to come'

for size in 9000000000 9223372036854775807; do
    printf '# hmm-trace 1\na 0 20\nr 0 %s\nf 0\n' "$size" >giant.trace
    hmm compare --cell optimum giant.trace
    if grep -q 'SIZE is too large' err; then
        skip "a block of $size bytes is not laid out" 'more than this build can name'
        continue
    fi
    [ "$code" -eq 0 ] && grep -q '"optimum":{"lower":9[0-9]*,"upper":null}' out
    report $? "a block of $size bytes is not laid out"
done

printf '# hmm-trace 1\nm 0 1073741824 16\nm 1 1073741824 16\nm 2 1073741824 16\n' >giant.trace
hmm compare --cell optimum giant.trace
[ "$code" -eq 0 ] && grep -q '"optimum":{"lower":[0-9]*,"upper":null}' out
report $? 'nor are a few blocks that are aligned to a GiB'

# ---- Which allocators ----

hmm compare --format json --runs 1 --allocators best-fit,first-fit+cache,best-fit,first-fit made.trace
[ "$code" -eq 0 ] && [ "$(grep -c '"allocator":.*"kind"' out)" -eq 4 ]
report $? 'an allocator that is named twice is measured once'
for list in '' ',,'; do
    hmm compare --allocators "$list" made.trace
    [ "$code" -eq 2 ] && [ ! -s out ] && grep -qx "hmm compare: --allocators: '$list' names none" err
    report $? "a list of no allocators is refused: '$list'"
done

# ---- Formats ----

hmm compare --format csv --runs 1 --allocators best-fit made.trace
[ "$code" -eq 0 ] && [ "$(wc -l <out)" -eq 2 ] || [ "$(wc -l <out)" -eq 3 ] &&
    awk -F, 'NR == 1 { n = NF } NF != n { bad = 1 } END { exit bad }' out
report $? 'CSV has a heading, and as many fields in every line'
"$HMM" compare --format csv --runs 1 --allocators best-fit none.trace made.trace 2>err |
    head -n 1 | grep -q '^trace,allocator,kind,'
report $? 'CSV has its heading where the first trace cannot be read'
hmm compare --format markdown --runs 1 --allocators best-fit,libc made.trace
[ "$code" -eq 0 ] && grep -q '^| best-fit | no | ' out && grep -q '^| --- ' out
report $? 'Markdown has a table'
[ "$(grep -c '^```$' out)" -eq 2 ] && [ "$(tail -n 1 out)" = '```' ]
report $? 'Markdown has the lines of the advice as they are'
hmm compare --runs 1 --allocators best-fit+cache small.trace
[ "$code" -eq 0 ] && grep -q '^advice: none, since so small a heap has no cache' out
report $? 'the table says that so small a heap has no cache'
hmm compare --runs 1 --allocators best-fit made.trace
[ "$code" -eq 0 ] && grep -q '^advice for balanced: best-fit' out && grep -q '^optimum: ' out &&
    grep -q 'to confirm: *hmm run --stats' out
report $? 'the table ends with bounds, advice, and how to confirm it'

# ---- Does it fit? ----

smallest=$(field smallest_heap "$(grep best-fit made-rows | grep '"cache":false')")
hmm compare --runs 1 --allocators best-fit --heap "$smallest" made.trace
[ "$code" -eq 0 ] && [ ! -s err ]
report $? 'compare --heap: fits'
hmm compare --runs 1 --allocators best-fit --heap $((smallest - 16)) made.trace
[ "$code" -eq 1 ] && grep -q 'hmm compare: best-fit: operation .* is not served in' err &&
    grep -q 'would help: 16 bytes more' err
report $? 'compare --heap: does not fit, and 16 bytes more would help'
awk '/^allocator .*of live/ { on = 1; next } /^$/ { on = 0 }
    on && $1 == "best-fit" { rows++; known += $(NF - 1) != "-" }
    END { exit rows == 0 || known != 0 }' out
report $? 'compare --heap: of live is not said where not all was served'

hmm compare --runs 1 --allocators best-fit,libc --heap $((smallest - 16)) made.trace
[ "$code" -eq 1 ] && ! grep -q -e 'is faster' -e 'to confirm' out
report $? 'compare --heap: what was measured in a heap that is too small is no reason'
hmm compare --runs 1 --allocators best-fit --heap 64 made.trace
[ "$code" -eq 1 ] && grep -q '^made.trace: [0-9,]* operations$' out && ! grep -q 18,446 out
report $? 'compare --heap: in 64 bytes there is no heap, and no figure of one'
if command -v python3 >/dev/null 2>&1; then
    cat >resident.py <<'END'
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
sys.exit(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 512 << 10)
END
    python3 resident.py "$HMM" compare --runs 1 --for bounded --allocators best-fit --heap 1G small.trace
    report $? 'compare --heap: a heap of which little is used takes little memory'
else
    skip 'compare --heap: how much memory it takes' 'there is no python3'
fi

# Of a part of a trace there is no verdict.
if "$HMM" convert -o whole.ht2 made.trace 2>err; then
    head -c $(($(wc -c <whole.ht2) / 2)) whole.ht2 >cut.ht2
    hmm check --max-heap 1G cut.ht2
    [ "$code" -eq 2 ] && [ ! -s out ] && [ -s err ]
    report $? 'check: a trace that is cut is not one that fits'
    hmm compare --allocators best-fit cut.ht2
    [ "$code" -eq 2 ] && [ ! -s out ] && [ -s err ]
    report $? 'compare: nor is there a verdict on it'
fi

# ---- Sweeps ----

hmm compare --list --runs 1 --allocators best-fit,segregated,libc made.trace small.trace
cp out commands
[ "$code" -eq 0 ] && [ "$(wc -l <commands)" -eq 12 ]
report $? 'compare --list: a command for each cell'
sh commands >swept 2>err
hmm compare --collect --format json --for memory swept
[ "$code" -eq 0 ] && [ "$(grep -c '"kind"' out)" -eq 10 ] && [ "$(grep -c '"advice"' out)" -eq 2 ] &&
    [ "$(grep -c '"optimum"' out)" -eq 2 ]
report $? 'compare --collect: a verdict for each trace on what they printed'
sed 's/"ns_per_op":[0-9.]*//; s/"worst_ns":[0-9]*//' made-rows | grep -e best-fit -e segregated |
    grep '"kind"' | sort >want
grep made.trace out | sed 's/"ns_per_op":[0-9.]*//; s/"worst_ns":[0-9]*//' |
    grep '"kind":"strategy"' | sort | cmp -s - want
report $? 'cells by themselves find what compare finds'
hmm compare --collect <swept
[ "$code" -eq 0 ] && grep -q '^advice for balanced: ' out
report $? 'compare --collect: from standard input'
if command -v parallel >/dev/null 2>&1; then
    parallel -j 2 <commands >swept2 2>err
    [ "$(sed 's/"ns_per_op":[0-9.]*//; s/"worst_ns":[0-9]*//; s/"peak_resident":[0-9]*//' swept | sort)" = \
        "$(sed 's/"ns_per_op":[0-9.]*//; s/"worst_ns":[0-9]*//; s/"peak_resident":[0-9]*//' swept2 | sort)" ]
    report $? 'GNU parallel runs a sweep'
else
    skip 'GNU parallel runs a sweep' 'it is not installed'
fi
hmm compare --jobs 3 --runs 1 --format json --allocators best-fit,segregated made.trace
grep '"kind"' out | sed 's/"ns_per_op":[0-9.]*//; s/"worst_ns":[0-9]*//' | sort | cmp -s - want
report $? 'compare --jobs finds the same'
# With its name as a shell must have it.
cp small.trace "it's one.trace"
hmm compare --list --allocators best-fit "it's one.trace"
sed -n 1p out | sh >one 2>err
grep -q "\"trace\":\"it's one.trace\"" one
report $? 'a name with a quote in it'

# ---- Others' allocators ----

plugin() {
    # shellcheck disable=SC2086
    ${CC:-cc} ${TEST_CFLAGS:-} -shared -fPIC -I"$top/lib" -o "$1.so" "$1.c" 2>err
}
sed 's/^    for (hmm_ref r/    if (granules > 30) CRASH\n&/' "$top/tests/plugin_worst_fit.c" >worst.c
sed 's/if (granules > 30) CRASH/if (granules > 30) *(volatile int *)0 = 1;/' worst.c >crash.c
sed 's/if (granules > 30) CRASH/while (granules > 30) hmm_visited(heap, 1);/' worst.c >loop.c
cp "$top/tests/plugin_worst_fit.c" worst.c
if plugin worst && "$HMM" replay --strategy ./worst.so small.trace >/dev/null 2>&1; then
    hmm compare --runs 1 --format json --allocators best-fit --strategy ./worst.so made.trace
    [ "$code" -eq 0 ] && grep -q '"allocator":"worst-fit","kind":"plugin","cache":false' out &&
        grep -q '"allocator":"best-fit"' out
    report $? 'a plug-in beside a built-in'
    long=$(printf '%060d' 0)
    mkdir "$long" "$long/it's"
    cp worst.so "$long/it's/"
    hmm compare --runs 1 --format json --allocators "$long/it's/worst.so" small.trace
    grep -qF "hmm run --strategy '$long/it'\\\\''s/worst.so' --heap" out &&
        grep -qF "hmm_strategy_find(\\\"$long/it's/worst.so\\\")" out
    report $? 'the advice has the whole path of a plug-in, as a shell and C must have it'
    hmm compare --runs 1 --format json --allocators ./worst.so made.trace
    grep -q '"command":"HMM_CACHE=0 hmm run --strategy ./worst.so --heap' out ||
        grep -q '"command":"hmm run --strategy ./worst.so --heap' out
    report $? 'the advice names a plug-in by its path'
    plugin crash
    hmm compare --runs 1 --format json --allocators best-fit,./crash.so made.trace
    [ "$code" -eq 1 ] && grep -Eq 'made.trace: ./crash.so: (crashes: |ends its process with)' err &&
        grep -q '"allocator":"best-fit"' out && grep -q '"advice"' out
    report $? 'a plug-in that crashes is a line, and the others are judged'
    plugin loop
    hmm compare --runs 1 --limit 1 --format json --allocators best-fit,./loop.so small.trace
    [ "$code" -eq 1 ] && grep -q 'small.trace: ./loop.so: does not return within 1 second' err &&
        grep -q '"allocator":"best-fit"' out
    report $? 'a plug-in that does not return is a line'
else
    skip 'plug-ins' 'this build has none'
fi
adapter=$build/bench/.libs/adapter_hmm.so
if [ -e "$adapter" ]; then
    # The command and the adapter each have the library: AddressSanitizer is not to mind.
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_odr_violation=0
    export ASAN_OPTIONS
    hmm compare --runs 1 --format json --allocators "best-fit,$adapter" made.trace
    if grep -q 'initial-exec TLS' err; then
        skip 'an adapter of best-fit' 'this C library loads no library with such thread-local storage late'
    else
        bare=$(field smallest_heap "$(grep '"kind":"strategy"' out | grep '"cache":false')")
        [ "$code" -eq 0 ] && [ "$(field smallest_heap "$(grep '"kind":"adapter"' out)")" = "$bare" ]
        report $? 'an adapter of best-fit needs what best-fit needs'
        hmm compare --runs 1 --heap $((bare - 16)) --format json --allocators "$adapter" made.trace
        [ "$code" -eq 1 ]
        report $? 'compare --heap: an adapter that needs more does not fit'
        hmm compare --runs 1 --heap "$bare" --format json --allocators "$adapter" made.trace
        [ "$code" -eq 0 ]
        report $? 'compare --heap: one that needs no more does'
    fi
else
    skip 'an adapter' 'the benchmark is not built'
fi

# ---- The advice holds for a program ----

if [ "${HMM_TESTS:-all}" = essential ]; then
    skip 'perl runs in the heap that is advised' 'left out by HMM_TESTS=essential'
elif command -v perl >/dev/null 2>&1 && "$HMM" run -- true >/dev/null 2>&1 &&
    "$HMM" record -o p.trace -- perl -e 1 >/dev/null 2>&1; then
    # shellcheck disable=SC2016
    script='my %h; for my $i (1..20000) { $h{"key$i"} = "value $i" x 3 } print scalar(keys %h), "\n"'
    "$HMM" record -o p.trace -- perl -e "$script" >/dev/null 2>&1
    hmm compare --runs 1 --format json --for memory --allocators best-fit+cache,segregated+cache p.trace
    heap=$(sed -n 's/.*"command":"hmm run --strategy [a-z-]* --heap \([0-9]*K\).*/\1/p' out)
    strategy=$(sed -n 's/.*"command":"hmm run --strategy \([a-z-]*\) .*/\1/p' out)
    hmm run --strategy "$strategy" --heap "$heap" -- perl -e "$script"
    [ "$code" -eq 0 ] && [ "$(cat out)" = 20000 ]
    report $? "perl runs in the heap that is advised, $heap"
else
    skip 'perl runs in the heap that is advised' 'it cannot be recorded and run here'
fi

# ---- A program that does not fit ----

cat >full.c <<'END'
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    char *last = NULL, *p;
    while ((p = malloc(20000)) != NULL)
        last = p;
    free(malloc(100000));
    printf("%d\n", last != NULL);
    return 0;
}
END
# shellcheck disable=SC2086
if "$HMM" run -- true >/dev/null 2>&1 && ${CC:-cc} -fno-builtin -o full full.c 2>err &&
    HMM_STATS=stats.json "$HMM" run --heap 1M -- ./full >out 2>err && [ -s stats.json ]; then
    code=0
    stats=$(cat stats.json)
    [ "$(field failed "$stats")" -eq 2 ] && [ "$(field refused_size "$stats")" -ge 20000 ] &&
        [ "$(field refused_size "$stats")" -lt 20016 ] &&
        [ "$(field refused_hole "$stats")" -lt 20000 ] &&
        [ "$(field refused_free "$stats")" -ge "$(field refused_hole "$stats")" ] &&
        [ "$(field refused_below "$stats")" -gt 0 ]
    report $? 'statistics have the first request that a program was refused, and what was free'
    # shellcheck disable=SC2086
    echo 'int main(void) { return 0; }' >none.c && ${CC:-cc} $TEST_CFLAGS -o none none.c
    HMM_STATS=stats.json "$HMM" run --heap 64M -- ./none >out 2>err
    code=$?
    [ "$code" -eq 0 ] && ! grep -q refused stats.json
    report $? 'and nothing of it where all were served'
else
    skip 'statistics have the first request that was refused' 'no program can be run on hmm here'
fi

# ---- A trace of nothing ----

printf '# hmm-trace 1\n' >nothing.trace
hmm compare --runs 1 --allocators best-fit,segregated --format json nothing.trace
[ "$code" -eq 0 ] && [ ! -s err ] && grep -q '"optimum":{"lower":0,"upper":0}' out
report $? 'a trace without operations has a verdict'

# ---- Signals ----

if command -v python3 >/dev/null 2>&1; then
    cat >ignores.py <<'END'
import os, signal, subprocess, sys, time

def ignore():
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

p = subprocess.Popen(sys.argv[1:], preexec_fn=ignore)
while p.poll() is None:
    os.killpg(p.pid, signal.SIGINT)
    time.sleep(0.005)
sys.exit(p.returncode)
END
    python3 ignores.py "$HMM" compare --runs 3 --format csv --allocators best-fit,segregated made.trace >out 2>err
    code=$?
    [ "$code" -eq 0 ] && [ ! -s err ]
    report $? 'what ignores Ctrl-C, its processes ignore it too'
else
    skip 'what ignores Ctrl-C' 'there is no python3'
fi

# ---- Where there is no process to be had ----

(
    # Of what is not in POSIX dash, bash and busybox have it.
    # shellcheck disable=SC3045
    ulimit -n 4 && exec "$HMM" compare --allocators best-fit small.trace
) >out 2>err
code=$?
[ "$code" -ne 0 ] && [ -s err ] && [ ! -s out ]
report $? 'a pipe that cannot be had is said'

# ---- What is refused ----

usage='[OPTION]... TRACE...'
refuses "hmm compare: no trace given: hmm compare $usage" compare
refuses "hmm compare: unknown goal 'sped'; did you mean 'speed'? Allowed: memory, speed, bounded, balanced" \
    compare --for sped made.trace
refuses "hmm compare: --jobs: '0' is not a number from 1 to 1024" compare --jobs 0 made.trace
refuses 'none.trace: cannot open: No such file or directory' compare --allocators best-fit none.trace
refuses 'hmm compare: libc+cache: only a strategy has the cache' compare --allocators libc+cache made.trace
hmm compare --allocators jemaloc made.trace
[ "$code" -eq 2 ] && grep -q "unknown strategy 'jemaloc'; did you mean 'jemalloc'?" err
report $? 'a malloc library that is misspelt is named'
refuses 'hmm compare: --cell: one trace at a time' compare --cell best-fit made.trace small.trace
refuses 'hmm compare: made.trace has no line of a cell' compare --collect made.trace

finish
