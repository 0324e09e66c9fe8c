#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The preload library: libc's names, threads, forks, limits and what it says. Speaks TAP.
# shellcheck disable=SC2016  # what is in single quotes is for other shells
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}" "${NM:=nm}"

use_preload_library

strategies=$("$HMM" strategies --format json | sed 's/^{"name":"\([^"]*\)".*/\1/')

# with [NAME=VALUE]... COMMAND...: under the preload library; leaves $code, $dir/out and $dir/err.
with() {
    timeout 240 env LD_PRELOAD="$PRELOAD" "$@" > "$dir/out" 2> "$dir/err"
    code=$?
}

# passes NAME [NAME=VALUE]... COMMAND...: it exits 0 and says nothing on stderr, unless once that a
# limited heap is full: some use one up.
passes() {
    name=$1
    shift
    with "$@"
    [ "$code" -eq 0 ] && [ "$(wc -l < "$dir/err")" -le 1 ] &&
        ! grep -v "^hmm: the heap's limit of [0-9]*[KM] is reached: " "$dir/err"
    report $? "$name"
}

# says NAME PATTERN [NAME=VALUE]... COMMAND...: it exits 0; stderr is one line, like this.
says() {
    name=$1 pattern=$2
    shift 2
    with "$@"
    [ "$code" -eq 0 ] && [ "$(wc -l < "$dir/err")" -eq 1 ] && grep -Eq -e "$pattern" "$dir/err"
    report $? "$name"
}

# dies NAME PATTERN COMMAND...: by abort, with one line like this.
dies() {
    name=$1 pattern=$2
    shift 2
    with "$@"
    [ "$code" -eq 134 ] && grep -Eq -e "$pattern" "$dir/err"
    report $? "$name"
}

# compile PROGRAM FLAG...
compile() {
    program=$1
    shift
    # shellcheck disable=SC2086
    $CC -O2 -fno-builtin $TEST_CFLAGS -o "$dir/$program" \
        "$top_srcdir/tests/preload/${program%.so}.c" "$@" > "$dir/out" 2> "$dir/err"
    code=$?
    report $code "compiles: $program"
}

compile libc
compile threads -pthread
compile forks -pthread
for program in caches reclaim phases misuse; do
    compile thread_$program -pthread -ldl -I"$top_srcdir/lib"
done
compile odd -ldl
compile dlopened -pthread -ldl
compile placed -ldl -I"$top_srcdir/lib"
compile library.so -shared -fPIC
compile early.so -shared -fPIC -pthread

# ---- The names ----

sort > "$dir/want" << 'LIST'
malloc
free
calloc
realloc
reallocarray
memalign
posix_memalign
aligned_alloc
valloc
pvalloc
cfree
free_sized
free_aligned_sized
malloc_usable_size
malloc_trim
mallopt
mallinfo
mallinfo2
malloc_stats
malloc_info
LIST
$NM -D --defined-only "$PRELOAD" | sed 's/.* //; s/@.*//' | sort > "$dir/names"
: > "$dir/out"
grep -vE '^(hmm_[a-z]|HMM_|Hmm)' "$dir/names" | diff - "$dir/want" > "$dir/err"
code=$?
report $code "exports libc's names, all of them and no others"
$NM -D --defined-only "$top_builddir/.libs/libhmm.so" | sed 's/.* //; s/@.*//' | sort > "$dir/want"
grep -E '^(hmm_[a-z]|HMM_|Hmm)' "$dir/names" | diff - "$dir/want" > "$dir/err"
code=$?
report $code "exports hmm's own interface, as the library does"
for pair in malloc:hmm_malloc free:hmm_free; do
    [ "$($NM -D "$PRELOAD" | awk -v n="${pair%:*}" '$3 == n { print $1 }')" = \
        "$($NM -D "$PRELOAD" | awk -v n="${pair#*:}" '$3 == n { print $1 }')" ]
    code=$?
    report $code "${pair%:*} is ${pair#*:} itself"
done
# Nothing that allocates or needs a program that runs.
$NM -D --undefined-only "$PRELOAD" | sed 's/.* //; s/@.*//' |
    grep -E '^(getenv|printf|fopen|fputs|pthread_mutex_.*|strdup|__tls_get_addr)$' > "$dir/err"
code=$?
[ "$code" -eq 1 ]
report $? "calls nothing that may allocate"

# ---- On every strategy ----

for s in $strategies; do
    for c in $("$dir/libc"); do
        passes "$s: $c" HMM_STRATEGY="$s" "$dir/libc" "$c"
    done
    passes "$s: the smallest heap that may be asked for" HMM_STRATEGY="$s" HMM_HEAP_SIZE=4K \
        "$dir/libc" nothing
    passes "$s: 8 MiB used up" HMM_STRATEGY="$s" HMM_HEAP_SIZE=8M "$dir/libc" exhaustion
    # shellcheck disable=SC3045  # Linux shells have it
    (ulimit -v 200000 && with HMM_STRATEGY="$s" "$dir/libc" exhaustion && exit "$code")
    code=$?
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
    report $? "$s: a limited address space"
    for c in $("$dir/threads"); do
        passes "$s: threads: $c" HMM_STRATEGY="$s" "$dir/threads" "$c"
    done
    passes "$s: threads, the whole heap checked" HMM_STRATEGY="$s" HMM_CHECK=3 "$dir/threads" \
        come-and-go
    for program in caches reclaim phases; do
        for c in $("$dir/thread_$program"); do
            passes "$s: threads with caches: $c" HMM_STRATEGY="$s" "$dir/thread_$program" "$c"
        done
    done
    for c in $("$dir/forks"); do
        passes "$s: forks: $c" HMM_STRATEGY="$s" "$dir/forks" "$c" 100
    done
    passes "$s: a library that comes and goes, and memory at exit" HMM_STRATEGY="$s" \
        "$dir/odd" malloc "$dir/library.so"
done

passes "a thousand forks among threads" "$dir/forks" among-threads 1000
for cache in 0 1; do
    for s in $strategies; do
        passes "$s: forks among threads of a constructor, HMM_CACHE=$cache" HMM_CACHE=$cache \
            HMM_STRATEGY="$s" LD_PRELOAD="$PRELOAD:$dir/early.so" "$dir/libc" nothing
    done
done

# ---- The cache ----

for s in $strategies; do
    passes "$s: HMM_CACHE=0: placed as in a heap of one's own" HMM_CACHE=0 HMM_STRATEGY="$s" \
        "$dir/placed" 4000
    passes "$s: a small heap is placed so by itself" HMM_HEAP_SIZE=127K HMM_STRATEGY="$s" \
        "$dir/placed" 20
    with HMM_VERBOSE=1 "$dir/libc" nothing
    if grep -q ', with a cache' "$dir/err"; then
        with HMM_STRATEGY="$s" "$dir/placed" 4000 # a test that cannot fail is none
        [ "$code" -eq 3 ]
        report $? "$s: with the cache it is not"
        with HMM_STRATEGY="$s" "$dir/libc" no-slack
        [ "$code" -eq 1 ]
        report $? "$s: with the cache a buffer that grows by little has slack"
        passes "$s: a cache where blocks have been" HMM_CACHE=0 HMM_HEAP_SIZE=600K \
            HMM_STRATEGY="$s" "$dir/thread_caches" over-used-memory
    fi
    passes "$s: HMM_CACHE=0: a buffer that grows by little has no slack" HMM_CACHE=0 \
        HMM_STRATEGY="$s" "$dir/libc" no-slack
    passes "$s: HMM_CACHE=0: threads" HMM_CACHE=0 HMM_STRATEGY="$s" "$dir/thread_caches" orphans
done
passes "more medium blocks than 16 bits count" HMM_RELEASE=-1 "$dir/thread_caches" \
    many-medium-blocks
dies "a double free by another thread" '^hmm: free 0x[0-9a-f]+: double free' \
    "$dir/thread_misuse" twice-by-others
dies "a double free of a block of a thread that is gone" '^hmm: free 0x[0-9a-f]+: double free' \
    "$dir/thread_misuse" twice-of-the-gone
dies "a double free of an object that another thread keeps" \
    '^hmm: free 0x[0-9a-f]+: double free' "$dir/thread_misuse" kept-twice
dies "a double free of an object that another thread is to send home" \
    '^hmm: free 0x[0-9a-f]+: double free' "$dir/thread_misuse" sent-twice
dies "a double free of a medium block" '^hmm: free 0x[0-9a-f]+: double free' \
    "$dir/thread_misuse" medium-twice
dies "a realloc of a medium block that was freed" '^hmm: realloc 0x[0-9a-f]+: double free' \
    "$dir/thread_misuse" medium-resized
dies "a double free of a medium block by another thread" '^hmm: free 0x[0-9a-f]+: double free' \
    "$dir/thread_misuse" medium-twice-by-others
dies "a pointer into another thread's block" '^hmm: free 0x[0-9a-f]+: .*not a block' \
    "$dir/thread_misuse" inside-of-others

for size in 256K 3M 64M 1G; do
    passes "a page below the region that nobody can write, HMM_HEAP_SIZE=$size" \
        HMM_HEAP_SIZE=$size "$dir/thread_caches" guarded
done

# ---- The library, loaded late; and little room for static TLS ----

pieces=
for size in 1024 512 256 128 64 64 64 64 64 64 64 64 64 64 64 64 64 64 64 64 32; do
    piece=$dir/piece$(($(echo "$pieces" | wc -w) + 1)).so
    # shellcheck disable=SC2086
    $CC $TEST_CFLAGS -shared -fPIC -DPIECE="$size" -o "$piece" \
        "$top_srcdir/tests/preload/tls_piece.c" || exit 99
    pieces="$pieces $piece"
done
LATE=$top_builddir/.libs/libhmm.so
for way in close "tls"; do
    # shellcheck disable=SC2086  # many words
    timeout 240 "$dir/dlopened" $way "$LATE" $pieces > "$dir/out" 2> "$dir/err"
    code=$?
    report $code "the library loaded late: $way"
    # shellcheck disable=SC2086
    passes "the library beside the preload library: $way" "$dir/dlopened" $way "$LATE" $pieces
done

for c in malloc calloc realloc reallocarray memalign aligned_alloc posix_memalign valloc pvalloc \
    free malloc_usable_size malloc_trim mallopt mallinfo2; do
    passes "before all constructors: $c" "$dir/odd" $c
done

# ---- Pointers that are not ours ----

outside='0x[0-9a-f]+: pointer outside the heap'
dies "free of a foreign pointer" "^hmm: free $outside: .*RTLD_DEEPBIND" "$dir/libc" foreign
dies "realloc of a foreign pointer" "^hmm: realloc $outside: .*RTLD_DEEPBIND" "$dir/libc" foreign-realloc
dies "the size of a foreign pointer" "^hmm: usable size of $outside: .*RTLD_DEEPBIND" "$dir/libc" foreign-size
dies "a double free" "^hmm: free 0x[0-9a-f]+: double free" "$dir/libc" twice
for level in 0 1 2; do
    says "HMM_FOREIGN=ignore, HMM_CHECK=$level: free" "^hmm: free $outside, ignored\$" \
        HMM_FOREIGN=ignore HMM_CHECK=$level "$dir/libc" foreign
done
says "HMM_FOREIGN=ignore: realloc" "^hmm: realloc $outside, ignored\$" \
    HMM_FOREIGN=ignore "$dir/libc" foreign-realloc
says "HMM_FOREIGN=ignore: malloc_usable_size" "^hmm: usable size of $outside, ignored\$" \
    HMM_FOREIGN=ignore "$dir/libc" foreign-size

# ---- What it says ----

says "HMM_VERBOSE" \
    '^hmm: preload library: strategy next-fit, region 0x[0-9a-f]+00000 of [0-9]+[KMG]?, check' \
    HMM_VERBOSE=1 HMM_STRATEGY=next-fit "$dir/libc" nothing
says "HMM_HEAP_SIZE" ' of 64M,' HMM_VERBOSE=1 HMM_HEAP_SIZE=64M "$dir/libc" nothing
says "an unknown strategy" '^hmm: HMM_STRATEGY=bestfit: no such strategy; allowed are first-fit, ' \
    HMM_STRATEGY=bestfit "$dir/libc" nothing
says "a plug-in that is not there" '^hmm: HMM_STRATEGY=\./no\.so: no such strategy; allowed' \
    HMM_STRATEGY=./no.so "$dir/libc" nothing
says "a plug-in that is none" '^hmm: HMM_STRATEGY=.*library.so: it exports no hmm_plugin_strategy' \
    HMM_STRATEGY="$dir/library.so" "$dir/libc" nothing
says "a bad size" '^hmm: HMM_HEAP_SIZE=1T: allowed are 4K to ' HMM_HEAP_SIZE=1T "$dir/libc" nothing
says "HMM_ARENAS: there is one" ', one arena for the 64 that HMM_ARENAS allows$' \
    HMM_VERBOSE=1 HMM_ARENAS=64 "$dir/libc" nothing
passes "HMM_ARENAS: several are allowed" HMM_ARENAS=2 "$dir/libc" nothing
says "HMM_ARENAS=1 needs no word" ', with(out)? a cache$' HMM_VERBOSE=1 HMM_ARENAS=1 "$dir/libc" nothing
says "a bad number of arenas" '^hmm: HMM_ARENAS=many: allowed are 1 to 64$' \
    HMM_ARENAS=many "$dir/libc" nothing
says "a bad policy" '^hmm: HMM_FOREIGN=no: allowed are abort and ignore$' \
    HMM_FOREIGN=no "$dir/libc" nothing
with "$dir/libc" stats
[ "$code" -eq 0 ] && grep -q '^in use bytes     = [1-9]' "$dir/err"
report $? "malloc_stats"

with HMM_STATS=stderr HMM_STRATEGY=first-fit "$dir/libc" nothing
[ "$code" -eq 0 ] && grep -q '^hmm: statistics, strategy first-fit$' "$dir/err" &&
    grep -q '^  failed  *0$' "$dir/err"
report $? "HMM_STATS=stderr"
with HMM_STATS="stderr" "$dir/libc" elsewhere
[ "$code" -eq 0 ] && grep -q '^hmm: statistics' "$dir/err"
report $? "HMM_STATS=stderr, of a program that closes it"
(cd "$dir" && LD_PRELOAD=$PRELOAD HMM_STATS=stats.json ./libc elsewhere > out 2> err)
code=$?
[ "$code" -eq 0 ] && grep -Eq '^\{"strategy":"best-fit",.*"failed":0,"pid":[0-9]+\}$' \
    "$dir/stats.json"
report $? "HMM_STATS: a relative file, of a program that goes elsewhere"
with HMM_STATS="$dir/of-%p.txt" "$dir/libc" children
cat "$dir"/of-[0-9]*.txt > "$dir/out"
[ "$code" -eq 0 ] && [ "$(grep -c '^hmm: statistics' "$dir/out")" -eq 3 ]
report $? "HMM_STATS: %p is the process"
with HMM_STATS=/nowhere/at/all "$dir/libc" nothing
[ "$code" -eq 0 ] && grep -q '^hmm: HMM_STATS=/nowhere/at/all: cannot be opened' "$dir/err" &&
    grep -q '^hmm: statistics' "$dir/err"
report $? "HMM_STATS: a file that cannot be opened"

if [ -c /dev/full ]; then
    for name in /dev/full "$dir/full.json"; do
        ln -sf /dev/full "$dir/full.json"
        with HMM_STATS="$name" "$dir/libc" nothing
        [ "$code" -eq 0 ] && grep -q "^hmm: HMM_STATS=$name: cannot be written: no space left" \
            "$dir/err" && grep -q 'brk_peak' "$dir/err"
        report $? "HMM_STATS: a disk that is full: ${name##*/}"
    done
fi
# Paths of 1,000 bytes and more, and then more than a system has.
deep=$dir
while [ ${#deep} -lt 1100 ]; do
    deep=$deep/a-folder-whose-name-is-rather-long-a-folder-whose-name-is-rather-long
    mkdir "$deep"
done
with HMM_STATS="$deep/stats" "$dir/libc" nothing
[ "$code" -eq 0 ] && [ ! -s "$dir/err" ] && grep -q brk_peak "$deep/stats"
report $? "HMM_STATS: a path of 1,100 bytes"
(cd "$deep" && LD_PRELOAD=$PRELOAD HMM_STATS=%p%p.json "$dir/libc" elsewhere) > "$dir/out" 2> "$dir/err"
code=$?
[ "$code" -eq 0 ] && [ ! -s "$dir/err" ] && grep -q '"brk_peak":' "$deep"/*.json
report $? "HMM_STATS: a relative one in a deep folder"
long=$(printf '%5000s' '' | tr ' ' x)
with HMM_STATS="$dir/$long" "$dir/libc" nothing
[ "$code" -eq 0 ] && grep -q '^hmm: HMM_STATS=/.*: the path is too long: at most 4095 bytes' \
    "$dir/err" && grep -q brk_peak "$dir/err" && ! ls "$dir"/xxx* > "$dir/out" 2>&1
report $? "HMM_STATS: a path that is too long"

# ---- A strategy from a plug-in ----

awk '/^#include <hmm-strategy.h>/ { on = 1 } /^```/ { on = 0 } on' "$top_srcdir/README.md" \
    > "$dir/newest.c"
# shellcheck disable=SC2086
$CC $TEST_CFLAGS -I"$top_srcdir/lib" -shared -fPIC -o "$dir/newest.so" "$dir/newest.c" \
    > "$dir/out" 2> "$dir/err"
code=$?
report $code "compiles: the README's plug-in"
says "a plug-in" '^hmm: preload library: strategy newest-fit, ' \
    HMM_VERBOSE=1 HMM_STRATEGY="$dir/newest.so" "$dir/libc" resizing
passes "a plug-in: threads" HMM_STRATEGY="$dir/newest.so" HMM_CHECK=3 "$dir/threads" come-and-go

# refuses LINE: hmm run and replay refuse plug.so so.
refuses() {
    timeout 20 "$HMM" run --strategy "$dir/plug.so" true > "$dir/out" 2> "$dir/err"
    code=$?
    { [ "$code" -eq 2 ] || [ "$code" -eq 125 ]; } &&
        grep -Eq "$1" "$dir/err" && [ "$(wc -l < "$dir/err")" -eq 1 ]
    report $? "run refuses a plug-in: $1"
    says "the library does: $1" "$1" HMM_STRATEGY="$dir/plug.so" "$dir/libc" nothing
}
printf 'not an object' > "$dir/plug.so"
refuses 'plug.so: .*(too short|invalid ELF|not valid|Exec format)'
rm "$dir/plug.so"
mkfifo "$dir/plug.so"
refuses 'is no regular file'
rm "$dir/plug.so"
printf 'extern int nobody_has_this(void); int f(void); int f(void) { return nobody_has_this(); }\n' \
    > "$dir/plug.c"
$CC -shared -fPIC -o "$dir/plug.so" "$dir/plug.c"
refuses 'nobody_has_this'
for field in find insert remove state_size name; do
    printf '#include <hmm-strategy.h>\nstatic size_t s(size_t c) { return c; }
static hmm_ref f(struct hmm_heap *h, void *s, uint32_t g) { (void)h, (void)s, (void)g; return 0; }
static void i(struct hmm_heap *h, void *s, hmm_ref r) { (void)h, (void)s, (void)r; }
const struct hmm_strategy hmm_plugin_strategy = {.abi = HMM_STRATEGY_ABI, .name = "own",
.state_size = s, .find = f, .insert = i, .remove = i };\n' > "$dir/whole.c"
    sed "s/\.$field = [a-z\"]*/.$field = 0/" "$dir/whole.c" > "$dir/plug.c"
    $CC -I"$top_srcdir/lib" -shared -fPIC -o "$dir/plug.so" "$dir/plug.c"
    refuses "the field $field of its hmm_plugin_strategy is NULL"
done
$CC -I"$top_srcdir/lib" -shared -fPIC -o "$dir/plug.so" "$dir/whole.c"
refuses 'its index of [0-9]* bytes does not fit into a heap of [0-9]+$'

# ---- hmm run ----

# runs ARGUMENT...: hmm run with them.
runs() {
    "$HMM" run "$@" > "$dir/out" 2> "$dir/err"
    code=$?
}

# named VARIABLE MEANT: hmm run says that the variable was probably meant to be this one, and no more.
named() {
    env "$1=1" "$HMM" run -- "$dir/libc" nothing > "$dir/out" 2> "$dir/err" &&
        printf "hmm: %s is no variable of hmm's; did you mean %s?\n" "$1" "$2" |
        cmp -s - "$dir/err"
}

for name in STRATGY:STRATEGY STARTEGY:STRATEGY STRATEGYS:STRATEGY STR:STRATEGY HEAP:HEAP_SIZE \
    HEAPSIZE:HEAP_SIZE CACHES:CACHE ARENA:ARENAS RELEASED:RELEASE REL:RELEASE VERB:VERBOSE; do
    named "HMM_${name%:*}" "HMM_${name#*:}"
    report $? "hmm run: HMM_${name%:*}, a misspelt variable, is named"
done
(HMM_STRATGY=first-fit HMM_VERBOSE=1 runs "$dir/libc" nothing
    [ "$(grep -c '^hmm: HMM_STRATGY is no variable of hmm' "$dir/err")" -eq 1 ])
report $? "HMM_VERBOSE: a misspelt variable is named once"
(export HMM_MODEL=1 HMM_TESTS=all HMM_ST=1 HMM_=1 HMM_STRATEGIC_RESERVES=1 HMM_RELEASE=-1 HMM_ARENAS=1 \
    "HMM_STRATEGY_OF_A_NAME_THAT_IS_LONGER=1"
    runs "$dir/libc" nothing
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ])
report $? "hmm run: variables that are a program's own are not named"

for s in $strategies; do
    export HMM_VERBOSE=1 # no env before the command, which may have another word size
    runs --strategy "$s" "$dir/libc" nothing
    unset HMM_VERBOSE
    [ "$code" -eq 0 ] && [ "$(wc -l < "$dir/err")" -eq 1 ] &&
        grep -q "^hmm: preload library: strategy $s," "$dir/err"
    report $? "hmm run --strategy $s"
done
(cd "$dir" && HMM_VERBOSE=1 "$HMM" run --strategy ./newest.so ./odd elsewhere "$dir/libc" nothing \
    > out 2> err)
code=$?
[ "$code" -eq 0 ] && [ "$(grep -c 'strategy newest-fit,' "$dir/err")" -eq 2 ]
report $? "hmm run --strategy PLUG-IN: for programs that look from elsewhere too"
runs --heap 8M --stats -- "$dir/libc" exhaustion
[ "$code" -eq 0 ] && grep -q '^  capacity  *8388608$' "$dir/err" &&
    grep -q '^  failed  *[1-9]' "$dir/err"
report $? "hmm run --heap 8M --stats"
[ "$(grep -c "^hmm: the heap's limit of 8M is reached: a request of [0-9]* bytes is refused; " \
    "$dir/err")" -eq 1 ]
report $? "hmm run --heap 8M: that the limit is reached is said once"
runs --heap 8M -- "$dir/libc" too-large
[ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
report $? "hmm run --heap 8M: what no heap can serve is no limit's doing"
# On 32 bits the region is reserved.
most_reserved=10000000
case $(od -An -tx1 -j4 -N1 "$dir/libc") in *01*) most_reserved=4294967296 ;; esac
for s in first-fit next-fit best-fit segregated; do
    runs --strategy $s --stats -- "$dir/libc" nothing
    [ "$code" -eq 0 ] && awk '{ f[$1] = $2 } END {
        exit !(f["brk_peak"] >= f["brk"] && f["brk"] >= f["live_bytes"] && f["brk"] > 0 &&
            f["brk_peak"] < 1000000 && f["control"] > 0 && f["control"] < 200000 &&
            f["reserved"] >= f["brk"] && f["reserved"] < most &&
            f["cached"] <= f["free_bytes"]) }' most="$most_reserved" "$dir/err"
    report $? "hmm run --stats --strategy $s: address space is not use"
done
for bad in HMM_STRATEGY=bets-fit HMM_STRATEGY=./nowhere.so HMM_CHECK=5 HMM_CACHE=2 HMM_HEAP_SIZE=1 \
    HMM_ARENAS=0 HMM_ARENAS=65 HMM_ARENAS=two HMM_RELEASE=-2 HMM_RELEASE=1s HMM_RELEASE=3600001; do
    env "$bad" "$HMM" run -- "$dir/odd" say something > "$dir/out" 2> "$dir/err"
    code=$?
    [ "$code" -eq 125 ] && [ ! -s "$dir/out" ] && [ "$(wc -l < "$dir/err")" -eq 1 ] &&
        grep -q "^hmm: $bad: .*allowed are" "$dir/err"
    report $? "hmm run: $bad is refused"
done
runs "$dir/odd" say --stats --heap
[ "$code" -eq 7 ] && [ "$(tr '\n' ' ' < "$dir/out")" = "--stats --heap " ] && [ ! -s "$dir/err" ]
report $? "hmm run: the command's arguments and exit status are its own"
runs sh -c 'kill -9 $$'
[ "$code" -eq 137 ]
report $? "hmm run: a command that dies by a signal"
LD_PRELOAD=libm.so.6 runs sh -c 'echo "$LD_PRELOAD"'
grep -q 'libhmm-preload\.so:libm\.so\.6$' "$dir/out"
report $? "hmm run: first in LD_PRELOAD, before what is there"

# ---- With raised privileges the environment does not count. ----

# The loader lets no preload library in there; the library's own heap can be.
cat > "$dir/own.c" << 'END'
#include "hmm.h"
int main(void) { hmm_free(hmm_malloc(1)); return 0; }
END
archive=$top_builddir/.libs/libhmm.a
if [ "$(id -u)" -eq 0 ] && command -v setpriv > /dev/null 2>&1 && [ -e "$archive" ]; then
    # shellcheck disable=SC2086
    $CC $TEST_CFLAGS -I"$top_srcdir/lib" -o "$dir/own" "$dir/own.c" "$archive" \
        > "$dir/out" 2> "$dir/err" && chmod 755 "$dir" "$dir/own"
    code=$?
    report $code "compiles: a program with the library in it"
    export HMM_VERBOSE=1
    setpriv --reuid 65534 "$dir/own" > "$dir/out" 2> "$dir/err"
    code=$?
    [ "$code" -eq 0 ] && grep -q '^hmm: process heap: ' "$dir/err"
    report $? "HMM_VERBOSE in a program like others"
    chmod u+s "$dir/own"
    setpriv --reuid 65534 "$dir/own" > "$dir/out" 2> "$dir/err"
    code=$?
    [ "$code" -eq 0 ] && [ ! -s "$dir/err" ]
    report $? "HMM_VERBOSE in a set-user-id program"
    unset HMM_VERBOSE
fi

finish
