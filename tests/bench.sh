#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The benchmark on a tiny trace: what it writes is well-formed and right, and what cannot be used is
# refused in one line. Speaks TAP.
# shellcheck disable=SC2016  # awk's $1

. "$(dirname "$0")/tap.sh"

: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}" "${AWK:=awk}"

skip_if_essential
skip_under_valgrind
skip_with_sanitizers
PYTHON=${PYTHON:-python3}
command -v "$PYTHON" >"$dir/out" || skip_all "no $PYTHON: package python3"
[ -r /proc/self/smaps_rollup ] || skip_all "resident memory is read from /proc/self/smaps_rollup"

bench=$top_srcdir/bench
export top_builddir AWK PYTHON

run() {
    sh "$bench/run.sh" --output "$dir/results" "$@" >"$dir/out" 2>"$dir/err"
    code=$?
}

# refuses PATTERN ARGUMENT...: exit code 2, nothing on stdout, one line on stderr, like this.
refuses() {
    pattern=$1
    shift
    run "$@" "$dir/tiny.trace"
    [ "$code" -eq 2 ] && [ ! -s "$dir/out" ] && [ "$(wc -l <"$dir/err")" -eq 1 ] &&
        grep -Eq -e "^bench: $pattern\$" "$dir/err"
    report $? "refused: $pattern"
}

# Sizes from 1 to 3,000, a resize, an aligned block; some are never freed.
"$AWK" 'BEGIN {
    print "# hmm-trace 1"
    for (i = 0; i < 2000; i++) print "a", i, i * 7919 % 3000 + 1
    for (i = 0; i < 2000; i += 2) print "f", i
    print "m 0 256 100"
    print "r 1 5000"
    for (i = 3; i < 1500; i += 2) print "f", i
}' >"$dir/tiny.trace"

# ---- Whole runs ----

# value MEASURE ALLOCATOR ON
value() {
    sed -n "s|^{\"measure\":\"$1\",\"allocator\":\"$2\",.*\"on\":\"$3\",\"value\":\([-0-9.]*\).*|\1|p" \
        "$dir/results/results.json"
}
# between LEAST MOST VALUE
between() {
    "$AWK" -v least="$1" -v most="$2" -v v="$3" \
        'BEGIN { exit !(v != "" && v + 0 >= least && v + 0 <= most) }'
}

if command -v valgrind >"$dir/out"; then
    run --only instructions,growth,worst --hmm cached,bare --strategies best-fit --peers none --growth 100 \
        --heaps 64K --worst 1000 "$dir/tiny.trace"
    [ "$code" -eq 0 ] && between 20 1000 "$(value instructions_per_op bare/best-fit tiny)"
    report $? 'instructions: of an operation'
    between 20 1000 "$(value instructions_per_pair bare/best-fit 100)" &&
        between 20 1000 "$(value instructions_per_pair_by_heap bare/best-fit 64K)" &&
        between 20 5000 "$(value worst_instructions bare/best-fit comb/1000)"
    report $? 'growth: by free blocks, by the size of the heap, and the worst'
    between 10 500 "$(value instructions_per_pair cached/best-fit 100)" &&
        between 20 100000 "$(value worst_instructions cached/best-fit burst/1000)"
    report $? 'growth: with the cache'
fi

run --only time,memory,footprint,threads --rounds 2 --strategies best-fit --peers glibc --threads 2 \
    "$dir/tiny.trace"
[ "$code" -eq 0 ] && grep -q '^bare/best-fit  *[0-9.]* ' "$dir/out" &&
    grep -q '^glibc  *-*[0-9.]* ' "$dir/out"
report $? 'a table with the strategy and glibc in it'

! grep -Evq '^\{"measure":"[a-z_]+","allocator":"[^"]+","kind":"[a-z]+","on":"[^"]+","value":-?[0-9.]+(,"median":-?[0-9.]+,"samples":[0-9]+)?\}$' \
    "$dir/results/results.json"
report $? 'json: each line an object'

grep -q '"measure":"ns_per_op".*"allocator":"bare/best-fit".*"on":"tiny".*"samples":6}' \
    "$dir/results/results.json"
report $? 'time: three warm passes in each of two rounds'

between 0 10000 "$(value ns_per_op cached/best-fit tiny)"
report $? 'time: of a heap with its cache, pass after pass in the same memory'

between 1 1.1 "$(value footprint bare/best-fit tiny)"
report $? 'footprint: not less than what is live, and not much more'

between 1 1.2 "$(value footprint cached/best-fit tiny)" &&
    [ "$(value footprint cached/best-fit tiny)" != "$(value footprint bare/best-fit tiny)" ]
report $? 'footprint: with the cache'

between 1 1.2 "$(value resident bare/best-fit tiny)" && between 1 1.3 "$(value resident glibc tiny)"
report $? 'resident memory: not less than what is live, and not much more'

between 0.1 10000 "$(value threads_ns_per_op glibc pipeline/2)" &&
    between 0.1 10000 "$(value threads_ns_per_op loop-alone larson/2)" &&
    between 0.1 10000 "$(value threads_ns_per_op glibc scratch/2)" &&
    between 0.1 100000 "$(value threads_ns_per_op glibc large/2)" &&
    [ -z "$(value threads_ns_per_op bare/best-fit larson/2)" ]
report $? 'threads: malloc libraries and the loop, not heaps without a lock'

if [ -e "$top_builddir/.libs/libhmm-preload.so" ]; then
    between 1 20 "$(value resident front/best-fit tiny)" &&
        between 0.1 10000 "$(value threads_ns_per_op plain/best-fit exchange/2)"
    report $? 'hmm as a malloc library, with its cache and without'
fi

# Every element that is opened is closed, in order.
well_formed() {
    "$AWK" 'BEGIN { RS = "<" }
        NR == 1 { next }
        {
            tag = $1
            sub(/[ >\/].*/, "", tag)
            if (substr($0, 1, 1) == "/") {
                name = substr($0, 2)
                sub(/>.*/, "", name)
                if (open[depth--] != name) bad = 1
            } else if ($0 !~ /\/>/)
                open[++depth] = tag
            if ($0 !~ />/) bad = 1
        }
        END { exit bad || depth != 0 }' "$1"
}
svg=$dir/results/results.svg
well_formed "$svg" && grep -q '<circle class="bare".*<title>bare/best-fit: ' "$svg" &&
    grep -q '<circle class="peer".*<title>glibc: ' "$svg" && grep -q '>glibc</text>' "$svg"
report $? 'svg: well-formed, with a point for each'

grep -q '^| bare/best-fit | ' "$dir/results/RESULTS.md" &&
    grep -q '^- machine: .* processors' "$dir/results/RESULTS.md"
report $? 'RESULTS.md: tables, and where they come from'

# ---- From samples to what is shown ----

t=$(printf '\t')
cat >"$dir/allocators" <<END
a${t}malloc${t}-${t}-${t}-${t}peer
b${t}malloc${t}-${t}-${t}-${t}peer
END
cat >"$dir/samples" <<END
ns_per_op${t}b${t}x${t}9
ns_per_op${t}b${t}x${t}10
ns_per_op${t}a${t}x${t}8
ns_per_op${t}b${t}x${t}5
ns_per_op${t}b${t}x${t}40
ns_per_op${t}a${t}y${t}2
END
"$PYTHON" "$bench/report.py" cells "$dir/allocators" "$dir/samples" >"$dir/out" 2>"$dir/err"
cat >"$dir/want" <<END
ns_per_op${t}a${t}peer${t}x${t}8${t}8${t}1
ns_per_op${t}b${t}peer${t}x${t}5${t}9.5${t}4
ns_per_op${t}a${t}peer${t}y${t}2${t}2${t}1
END
cmp -s "$dir/want" "$dir/out"
report $? 'the least and the median of samples'

cp "$dir/out" "$dir/cells"
"$PYTHON" "$bench/report.py" table "$dir/cells" >"$dir/out" 2>"$dir/err"
grep -Eq "^a +4\.0 +4\.0$" "$dir/out" && ! grep -q "^b" "$dir/out"
report $? 'a geometric mean, and none where a figure is missing'

# shows FILE HOW [ARGUMENT]...: the same as is kept in tests/bench_report, byte for byte.
kept=$top_srcdir/tests/bench_report
shows() {
    want=$kept/$1
    shift
    "$PYTHON" "$bench/report.py" "$@" >"$dir/out" 2>"$dir/err"
    code=$?
    [ "$code" -eq 0 ] && diff "$want" "$dir/out" >"$dir/differences"
    report $? "shown as it was: ${want##*/}" "$dir/differences" "$dir/err"
}
shows cells cells "$kept/allocators" "$kept/samples"
shows results.json json "$kept/cells"
shows results.svg svg "$kept/cells"
shows results.txt table "$kept/cells"
shows RESULTS.md markdown "$kept/cells" "$kept/machine" "$kept/notes"

"$PYTHON" "$bench/report.py" cells "$dir/absent" "$dir/samples" >"$dir/out" 2>"$dir/err"
code=$?
[ "$code" -eq 1 ] && [ ! -s "$dir/out" ] && grep -q "^bench: .*absent" "$dir/err"
report $? 'a file that cannot be read is said'

# Labels of points that lie together do not overlap.
"$AWK" -v t="$t" 'BEGIN {
    for (i = 0; i < 14; i++) {
        print "ns_per_op" t "allocator-" i t "peer" t "x" t 4 + i / 100 t 5 t 1
        print "resident" t "allocator-" i t "peer" t "x" t 1.2 + i % 3 / 100 t 5 t 1
    }
}' >"$dir/cells"
"$PYTHON" "$bench/report.py" svg "$dir/cells" >"$dir/out" 2>"$dir/err"
sed -n 's|.*<text x="\([0-9.]*\)" y="\([0-9.]*\)">\(allocator[^<]*\)</text>|\1 \2 \3|p' "$dir/out" |
    "$AWK" '{ x[NR] = $1; y[NR] = $2; w[NR] = length($3) * 7 }
        END {
            for (i = 1; i <= NR; i++)
                for (j = 1; j < i; j++)
                    if (x[i] < x[j] + w[j] && x[j] < x[i] + w[i] &&
                        y[i] < y[j] + 13 && y[j] < y[i] + 13) bad = 1
            exit bad || NR != 14
        }'
report $? 'svg: no label lies on another'

# ---- Adapters ----

# adapter NAME FLAG...: the example of bench/adapter.h, small, and wrong as the flags say.
cat >"$dir/adapter.c" <<'END'
#include "adapter.h"
#include <string.h>
struct heap { char *next, *end; };
static void *create(void *region, size_t size)
{
    struct heap *h = region;
    h->next = (char *)region + 64, h->end = (char *)region + size;
    return h;
}
static void destroy(void *heap) { (void)heap; }
static void *aligned(void *heap, size_t align, size_t size)
{
    struct heap *h = heap;
    char *p = h->next + (-(size_t)h->next & (align - 1)) + SKEW;
    if ((size_t)(h->end - p) < size) return NULL;
    h->next = p + size;
    return p;
}
static void *allocate(void *heap, size_t size) { return aligned(heap, 16, size); }
static void release(void *heap, void *block) { (void)heap, (void)block; }
static void *resize(void *heap, void *block, size_t size)
{
    void *p = allocate(heap, size);
    return p != NULL ? memcpy(p, block, COPIED < size ? COPIED : size) : NULL;
}
const struct bench_adapter SYMBOL = {ABI, NAME, create, destroy, allocate, RELEASE, resize,
                                     aligned};
END
adapter() {
    name=$1
    shift
    for flag in SKEW=0 COPIED=40 SYMBOL=bench_adapter ABI=BENCH_ADAPTER_ABI \
        "NAME=\"$name\"" RELEASE=release; do
        case " $* " in
        *" -D${flag%%=*}="*) ;;
        *) set -- "$@" "-D$flag" ;;
        esac
    done
    # shellcheck disable=SC2086
    $CC $TEST_CFLAGS -shared -fPIC -I"$bench" "$@" -o "$dir/$name.so" "$dir/adapter.c" \
        2>"$dir/err"
    code=$?
}

adapter bump
run --only footprint,time --rounds 1 --strategies best-fit --peers none --adapter "$dir/bump.so" \
    "$dir/tiny.trace"
[ "$code" -eq 0 ] && between 1 1.1 "$(value footprint bump tiny)" && grep -q '^bump ' "$dir/out"
report $? 'an adapter of one'"'"'s own'

cd "$dir" || exit 99
case $top_builddir in /*) ;; *) skip_all "top_builddir must be absolute" ;; esac
run --only footprint --strategies best-fit --peers none --adapter ./bump.so tiny.trace
[ "$code" -eq 0 ] && grep -q '^bump ' "$dir/out"
report $? 'an adapter by a path without a folder'

echo nonsense >"$dir/nonsense.so"
refuses "adapter $dir/nonsense.so: cannot be loaded: .*" --adapter "$dir/nonsense.so"
refuses "--adapter: cannot read $dir/absent.so" --adapter "$dir/absent.so"
adapter nameless -DSYMBOL=another_name
refuses "adapter $dir/nameless.so: exports no bench_adapter" --adapter "$dir/nameless.so"
adapter newer -DABI=99
refuses "adapter $dir/newer.so: is of version 99 of the interface, not 1" --adapter "$dir/newer.so"
adapter lacking -DRELEASE=NULL
refuses "adapter $dir/lacking.so: has no function free" --adapter "$dir/lacking.so"
adapter forgetful -DCOPIED=8
refuses "adapter $dir/forgetful.so: realloc loses what is in the block" \
    --adapter "$dir/forgetful.so"
adapter skewed -DSKEW=8
refuses "adapter $dir/skewed.so: aligned_alloc\(256, 40\) returns 0x.*8" --adapter "$dir/skewed.so"
adapter crashing -DSKEW=4096UL*1024*1024
refuses "adapter $dir/crashing.so: crashes when it is tried out" --adapter "$dir/crashing.so"
refuses "there are two allocators called bump" --adapter "$dir/bump.so" --adapter "$dir/bump.so"

# ---- What was typed ----

refuses "unknown option '--round'; --help names all" --round 3
run --rounds
[ "$code" -eq 2 ] && grep -qx "bench: option '--rounds' needs a value" "$dir/err"
report $? "refused: an option without its value"
refuses "--rounds: 'many' is not a number from 1 to 1000" --rounds many
refuses "--rounds: '0' is not a number from 1 to 1000" --rounds 0
refuses "--only: 'tmie' is none of time, memory, footprint, .*" --only time,tmie
refuses "--strategies: 'worst-fit' is none of first-fit, .*" --strategies worst-fit
refuses "--hmm: 'back' is none of front, plain, cached, bare, none" --hmm back
refuses "--peers: 'hoard' is none of glibc, .*" --peers glibc,hoard
refuses "--threads: '3' is not 1 or an even number" --threads 1,3
refuses "--heaps: '1T' is not a size" --heaps 1T
there=$PYTHON PYTHON=no-such-python
refuses "no-such-python is needed .*: python3"
PYTHON=$there
refuses "--preload: cannot read $dir/absent.so" --preload "$dir/absent.so"
refuses "--preload: $dir/bump.so brings no malloc" --preload "$dir/bump.so"
echo '# hmm-trace 2' >"$dir/other.trace"
refuses ".*other\.trace:1: .*" "$dir/other.trace"

finish
