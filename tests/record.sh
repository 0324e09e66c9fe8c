#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm record: programs whose operations are known, programs that die, fork and become others, and
# real ones. Every trace must be one that `hmm replay --check` takes. Speaks TAP.
# HMM: the command (default: hmm in the build folder).

build=${top_builddir:-.}
HMM=${HMM:-$build/hmm}
PROGRAM=$build/tests/recorded
if ! [ -e "$build/.libs/libhmm-record.so" ]; then
    echo '1..0 # SKIP this build cannot record: that needs Linux and glibc'
    exit 0
fi
case " $TEST_CFLAGS " in
*' -fsanitize='*)
    echo '1..0 # SKIP with the sanitizers malloc is theirs: nothing can be preloaded'
    exit 0
    ;;
esac
if [ -n "${VALGRIND:-}" ]; then
    echo '1..0 # SKIP memcheck puts its own allocator in place'
    exit 0
fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/hmm-record-XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
chmod 755 "$dir"
cd "$dir" || exit 99
LC_ALL=C
export LC_ALL

count=0
failures=0

# report STATUS NAME: one test's line, and what there is to see if it failed.
report() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
        return
    fi
    failures=$((failures + 1))
    echo "not ok $count - $2"
    echo "# exit code $code; files: $(echo t*)"
    sed 's/^/#   /; 30q' err
}

skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# record ARGUMENT...: runs it in a clean folder; leaves $code, out and err.
record() {
    rm -f t*
    "$HMM" record "$@" >out 2>err
    code=$?
}

# valid: all traces can be replayed.
valid() {
    "$HMM" replay --check --runs 1 --strategy best-fit t* >replayed 2>>err
}

# lines FILE PATTERN: how many lines are like this.
lines() {
    if [ "${1%.zst}" != "$1" ]; then zstd -dqc "$1"; else cat "$1"; fi | grep -Ec -e "$2"
}

# unreused FILE: the operations between those of the mark, with IDs that count up from 1 and are
# never used twice.
unreused() {
    awk '$1 ~ /[am]/ && $NF == 54321 { on = 1; mark = $2; next }
         $1 == "f" && $2 == mark && on { exit }
         on && $1 ~ /^[am]$/ { name[$2] = ++n }
         on { $2 = name[$2]; print }' "$1"
}

# Whether what is installed can load the module; else a test is skipped.
foreign=no
if LD_PRELOAD=$build/.libs/libhmm-record.so sh -c : 2>&1 | grep -q 'wrong ELF class'; then
    foreign=yes
fi
same() {
    [ "$foreign" = no ] && return
    skip "$1" 'what is installed here is for another architecture'
    return 1
}

# Whether this build has what hmm run preloads.
can_run=no
[ ! -e "$build/.libs/libhmm-preload.so" ] || can_run=yes

# ---- Operation for operation ----

record -o t.trace -- "$PROGRAM" family
page=$(getconf PAGESIZE)
cat >want <<END
a 1 10
a 2 0
a 3 21
a 4 5
r 4 500000
r 4 100
f 4
m 5 64 100
m 6 4096 1
m 7 32 64
m 8 $page 10
m 9 $page $page
f 1
f 2
f 3
f 5
f 6
f 7
f 8
f 9
END
unreused t.trace >got
[ "$code" -eq 0 ] && diff want got >>err && valid
report $? 'the malloc family: each call that succeeds is a line, in order'
head -n 1 t.trace | grep -qx '# hmm-trace 1' &&
    grep -Eqx '# program recorded, process [0-9]+' t.trace
report $? 'the trace says what it is'
grep -Eq '^hmm record: 1 process, 2[0-9] operations, peak live [0-9.]+ KiB, 1 file$' err &&
    grep -Eq '^t.trace  recorded  +[0-9]+  +2[0-9] ' err
report $? 'the summary'

record -o t.trace "$PROGRAM" listed want 300000
unreused t.trace >got
[ "$code" -eq 0 ] && cmp want got 2>>err && valid
report $? '300,000 operations, compared one by one'

# ---- Threads ----

record -o t.trace -- "$PROGRAM" threads 60000
[ "$code" -eq 0 ] && valid && [ "$(lines t.trace '^a')" -ge 240001 ] &&
    [ "$(lines t.trace '^r')" -eq 60000 ] && ! grep -q 'left out' err
report $? 'four threads hand blocks to each other'
allocated=$(lines t.trace '^[am]')
freed=$(lines t.trace '^f')
[ $((allocated - freed)) -le 20 ]
report $? 'four threads: what was freed in another one is freed'

# ---- Ends ----

for how in kill:137 abort:134 segv:139 exit:9; do
    record -o t.trace -- "$PROGRAM" get 70000 "${how%:*}"
    [ "$code" -eq "${how#*:}" ] && valid && [ "$(lines t.trace '^a [0-9]* 77$')" -eq 70000 ]
    report $? "a program that ends by ${how%:*}: all it did, exit status ${how#*:}"
done
if same 'the exit status is passed on'; then
    record -o t.trace -- sh -c 'exit 7'
    [ "$code" -eq 7 ] && valid
    report $? 'the exit status is passed on'
fi

# ---- Processes ----

record -o t.trace -- "$PROGRAM" forked
set -- t.*.trace
[ "$code" -eq 0 ] && valid && [ $# -eq 1 ] && [ "$(lines "$1" '^a [0-9]* 33$')" -eq 5 ] &&
    [ "$(lines "$1" '^a [0-9]* 44$')" -eq 1 ] && [ "$(lines "$1" '^[rf]')" -eq 0 ] &&
    [ "$(lines t.trace '^a [0-9]* 22$')" -eq 10 ] && [ "$(lines t.trace ' 33$')" -eq 0 ] &&
    grep -q '^hmm record: 2 processes, .* 2 files$' err &&
    grep -q '^hmm record: left out: 10 free or realloc ' err
report $? 'fork: a trace of its own, without what was inherited'

record --no-follow -o t.trace -- "$PROGRAM" forked
[ "$code" -eq 0 ] && valid && [ "$(echo t*)" = t.trace ] && [ "$(lines t.trace ' 22$')" -eq 10 ]
report $? '--no-follow: only the command'

record -o t.trace -- "$PROGRAM" get 30 exec get 20
set -- t.*-1.trace
[ "$code" -eq 0 ] && valid && [ $# -eq 1 ] && [ "$(lines t.trace ' 77$')" -eq 20 ] &&
    [ "$(lines "$1" ' 77$')" -eq 30 ] && grep -q '^hmm record: 1 process, .* 2 files$' err
report $? 'exec: the name is for the last program, the one before has a -1'

if same '--no-follow: the command may become another program'; then
    record --no-follow -o t.trace -- sh -c "exec '$PROGRAM' get 20"
    [ "$code" -eq 0 ] && valid && [ "$(lines t.trace ' 77$')" -eq 20 ]
    report $? '--no-follow: the command may become another program'
fi

if same 'processes that a shell starts'; then
    record -o t.trace -- sh -c "'$PROGRAM' get 20; '$PROGRAM' get 30; :"
    valid && [ "$(cat t.*.trace | grep -c ' 77$')" -eq 50 ] && grep -q '^hmm record: 3 processes, ' err
    report $? 'processes that a shell starts'
fi

record -o t.trace -- "$PROGRAM" forks 100
set -- t.*.trace
[ "$code" -eq 0 ] && valid && [ $# -eq 100 ] && [ "$(cat "$@" | grep -c ' 33$')" -eq 300 ] &&
    [ "$(cat "$@" | grep -c '^f')" -eq 100 ]
report $? 'a hundred forks while threads allocate'

record -o t.trace -- "$PROGRAM" hardened
set -- t.*.trace
[ "$code" -eq 0 ] && valid && [ $# -eq 1 ] && [ "$(lines t.trace ' 11$')" -eq 40000 ] &&
    [ "$(lines "$1" ' 33$')" -eq 7 ]
report $? 'no files, no limits, no environment, another root folder and user: all is recorded'

if same 'a program that allocates next to nothing'; then
    record -o t.trace -- true
    [ "$code" -eq 0 ] && valid && [ "$(wc -l <t.trace)" -lt 9 ] && [ "$(wc -l <err)" -le 3 ]
    report $? 'a program that allocates next to nothing'
fi

if same 'a program without an environment is left out, quietly'; then
    record -o t.trace -- env -i "$PROGRAM" get 20
    [ "$code" -eq 0 ] && valid && [ "$(echo t*)" = t.trace ] && [ "$(wc -l <err)" -eq 3 ]
    report $? 'a program without an environment is left out, quietly'
fi

if same 'LD_PRELOAD: what was there stays'; then
    # shellcheck disable=SC2016  # for the other shell
    LD_PRELOAD=$build/.libs/libhmm-record.so record -o t.trace -- sh -c 'echo "$LD_PRELOAD"'
    [ "$code" -eq 0 ] && grep -q ".*libhmm-record.so:$build/.libs/libhmm-record.so" out
    report $? 'LD_PRELOAD: what was there stays'
fi
LD_PRELOAD=$build/.libs/libhmm-record.so "$PROGRAM" get 20
report $? 'the module does nothing without a recorder'

record -o t.trace -- "$PROGRAM" left-behind 2
set -- t.*.trace
[ "$code" -eq 0 ] && valid && [ $# -eq 1 ] && [ "$(lines "$1" ' 33$')" -eq 4 ] &&
    grep -q '^hmm record: the command has ended; waiting for the processes that it left' err
report $? 'a process that outlives the command is recorded to its end'

rm -f t* err
"$HMM" record -o t.trace -- "$PROGRAM" left-behind 5 >out 2>err &
recorder=$!
i=0
while ! grep -qs waiting err && [ $((i += 1)) -lt 100 ]; do sleep 0.1; done
kill -TERM "$recorder"
wait "$recorder"
code=$?
set -- t.*.trace
[ "$code" -eq 0 ] && valid && [ $# -eq 1 ] && [ "$(lines "$1" ' 33$')" -eq 4 ] && kill -0 "$(
    echo "$1" | sed 's/^t.//; s/.trace$//')" 2>>err
report $? 'a signal ends the recording of a process that was left behind, not the process'

if same 'a signal to the recorder is passed on to the command'; then
    rm -f t*
    "$HMM" record -o t.trace -- sleep 20 >out 2>err &
    recorder=$!
    i=0
    while ! [ -s "/proc/$recorder/task/$recorder/children" ] && [ $((i += 1)) -lt 50 ]; do
        sleep 0.1
    done
    sleep 0.3
    kill -TERM "$recorder"
    wait "$recorder"
    code=$?
    [ "$code" -eq 143 ] && valid
    report $? 'a signal to the recorder is passed on to the command'
fi

rm -f t* "done"
"$HMM" record -o t.trace -- sh -c "echo >begun; '$PROGRAM' threads 500000; echo >done" >out 2>err &
recorder=$!
i=0
while ! [ -e begun ] && [ $((i += 1)) -lt 100 ]; do sleep 0.05; done
kill -KILL "$recorder"
wait "$recorder" 2>>err
code=$?
i=0
while ! [ -e "done" ] && [ $((i += 1)) -lt 300 ]; do sleep 0.1; done
[ -e "done" ]
report $? 'the program goes on if the recorder is killed'

if "$HMM" record -o t.zst -- "$PROGRAM" get 1 >out 2>err; then
    rm -f t* begun
    "$HMM" record -o t.trace.zst -- sh -c "echo >begun; exec '$PROGRAM' threads 3000000" >out 2>err &
    recorder=$!
    i=0
    until [ "$(wc -c 2>/dev/null <t.trace.zst || echo 0)" -gt 300000 ] || [ $((i += 1)) -gt 200 ]; do
        sleep 0.05
    done
    kill -KILL "$recorder"
    wait "$recorder" 2>>err
    "$HMM" replay --runs 1 --strategy best-fit t.trace.zst >replayed 2>>err
    code=$?
    [ "$code" -le 1 ] && grep -q best-fit replayed
    report $? 'the recorder is killed: of a zstd trace all that was written can be replayed'
else
    skip 'the recorder is killed: zstd' 'this build has no zstd'
fi

# ---- What cannot be ----

record -o t.trace -- ./nothing-here
[ "$code" -eq 127 ] && [ ! -e t.trace ] &&
    grep -qx "hmm record: cannot run './nothing-here': No such file or directory" err
report $? 'no such command: exit status 127, no file'
: >t-script
"$HMM" record -o t.trace -- ./t-script >out 2>err
code=$?
[ "$code" -eq 126 ] && [ ! -e t.trace ]
report $? 'not a program: exit status 126, no file'
record -o "$dir/none/t.trace" -- true
[ "$code" -eq 2 ] && grep -qx "$dir/none/t.trace: cannot write: No such file or directory" err
report $? 'a trace that cannot be written: nothing is run'
record -o "$dir" -- touch ran
[ "$code" -eq 2 ] && [ ! -e ran ]
report $? 'a folder for a trace: nothing is run'

# shellcheck disable=SC3045  # dash and bash have it
(ulimit -v 120000 && record -o t.trace -- "$PROGRAM" get 20 && exit "$code")
code=$?
[ "$code" -eq 1 ] && grep -Eq '^hmm record: (not recorded: 1 process: no address space for it|cannot get shared memory: Cannot allocate memory)' err
report $? 'too little address space is said'

# full NAME: a disk that is too small for the trace.
full() {
    if ! { mkdir -p disk && mount -t tmpfs -o size=64k none disk; } 2>/dev/null; then
        skip "$1: a full disk" 'cannot mount one'
        return
    fi
    rm -f t*
    "$HMM" record -o "disk/$1" -- "$PROGRAM" listed want 300000 >out 2>err
    code=$?
    "$HMM" replay --check --runs 1 --strategy best-fit "disk/$1" >replayed 2>>err &&
        [ "$code" -eq 1 ] && [ "$(wc -l <want)" -eq 300000 ] &&
        grep -q "^hmm record: disk/$1: cannot write: No space left on device; the file has " err
    report $? "$1: a full disk: said, the program is not disturbed, the trace is cut to what is valid"
    umount disk
}
full t.trace

if printf 'int main(void) { return 3; }\n' >s.c && $CC -static -o s s.c >/dev/null 2>&1; then
    record -o t.trace -- ./s
    [ "$code" -eq 3 ] && [ ! -e t.trace ] && grep -q "^hmm record: './s' was not recorded, since it is a static program" err
    report $? 'a static program: said, no file'
    if [ "$can_run" = yes ]; then
        "$HMM" run -- ./s 2>err
        [ $? -eq 3 ] &&
            grep -q "^hmm run: './s' does not use hmm's heap, since it is a static program" err
        report $? 'a static program, by hmm run: said'
    fi
else
    skip 'a static program' 'cannot link one'
fi

if printf 'int main(void) { return 4; }\n' >s.c && $CC -fsanitize=address -o s s.c >/dev/null 2>&1; then
    record -o t.trace -- ./s
    grep -q "^hmm record: './s' was not recorded, since it is built with AddressSanitizer" err
    report $? 'a program with AddressSanitizer: said'
else
    skip 'a program with AddressSanitizer' 'cannot build one'
fi

# ---- A disk that is full ----

cat >churn.c <<'END'
#include <stdlib.h>
int main(int argc, char **argv)
{
    unsigned seed = 1;
    for (int i = 0; i < 400000; i++) {
        seed = seed * 1664525 + 1013904223;
        char *volatile p = malloc(seed >> 12);
        free(p);
    }
    free(argc > 1 ? malloc((size_t)atol(argv[1])) : NULL);
    return 0;
}
END
mkdir small
if ! mount -t tmpfs -o size=256k tmpfs small 2>err; then
    skip 'a full disk' 'cannot mount a small one here'
elif $CC -fno-builtin -o churn churn.c >err 2>&1; then
    trap 'umount "$dir/small"; rm -rf "$dir"' EXIT
    for name in t.trace t.trace.zst; do
        if [ "$name" = t.trace.zst ] && ! "$HMM" record -o try.zst -- "$PROGRAM" family >out 2>err; then
            skip "a full disk: $name" 'this build has no zstd'
            continue
        fi
        if [ "$name" = t.trace.zst ] && ! command -v zstd >out; then
            skip "a full disk: $name" 'no zstd command'
            continue
        fi
        name=small/$name
        rm -f small/t*
        code=0
        "$HMM" record -o "$name" -- ./churn >out 2>err || code=$?
        told=$(sed -n 's/.*; the file has the first \([0-9]*\) operations$/\1/p' err)
        held=0
        [ ! -e "$name" ] || held=$(lines "$name" '^[amrf] ')
        counted=$(sed -n 's/^hmm record: 1 process, \([0-9,]*\) operations.*/\1/p' err | tr -d ,)
        [ "$code" -eq 1 ] && [ "${told:-0}" -gt 5000 ] && [ "$told" = "$held" ] &&
            [ "$counted" = "$held" ] && "$HMM" replay --runs 1 "$name" >out 2>>err
        report $? "a full disk: $name is whole, and what is counted is in it"
    done
    # A large block after the disk is full: it is not in the file, nor in what is said of it.
    rm -f small/t*
    code=0
    "$HMM" record -o small/t.trace -- ./churn 200000000 >out 2>err || code=$?
    [ "$code" -eq 1 ] && grep -Eq '^hmm record: 1 process, [0-9,]+ operations, peak live [0-9.]+ KiB, 1 file$' err && ! grep -q MiB err &&
        grep -Eq '^hmm record: not in any file: [0-9,]+ operations and their peak$' err
    report $? 'a full disk: the peak is that of what the file holds, the rest is counted'
    cat /dev/zero >small/filler 2>>err
    rm -f small/t*
    cat /dev/zero >>small/filler 2>>err
    code=0
    "$HMM" record -o small/t.trace -- ./churn >out 2>err || code=$?
    [ "$code" -eq 1 ] && [ ! -e small/t.trace ] &&
        grep -q '^hmm record: small/t.trace: cannot write: No space left on device$' err &&
        grep -q '^hmm record: 1 process, 0 operations, peak live 0 B, 0 files$' err
    report $? 'a disk that is full already: said, no empty file, exit status 1'
    umount small
    trap 'rm -rf "$dir"' EXIT
fi
record -o /dev/full -- touch ran
[ "$code" -eq 2 ] && [ ! -e ran ] && grep -q '^/dev/full: cannot write: ' err
report $? '/dev/full: said, nothing is run'

# ---- An allocator that the program brings; how a program ended ----

cat >own.c <<'END'
#include <stddef.h>
/* Every block of this allocator has its size before it, and none is ever freed. */
static _Alignas(16) char room[1 << 26];
static size_t used;
void *malloc(size_t size)
{
    size_t *p = (size_t *)(void *)(room + used);
    used += 16 + ((size + 15) & ~(size_t)15);
    *p = size + 1000000;
    return (char *)p + 16;
}
void free(void *p) { (void)p; }
size_t malloc_usable_size(void *p) { return ((size_t *)p)[-2] - 1000000; }
END
cat >uses.c <<'END'
#include <malloc.h>
#include <stdlib.h>
int main(void)
{
    for (size_t size = 1; size < 300000; size = size * 3 + 1) {
        char *p = malloc(size), *q = calloc(size, 1), *r = aligned_alloc(64, size);
        size_t n = malloc_usable_size(p);
        if (n < size || n > size + 4200 || malloc_usable_size(q) < size)
            return 5;
        if (malloc_usable_size(r) < size || malloc_usable_size(NULL) != 0)
            return 6;
        q = realloc(q, 2 * size);
        if (malloc_usable_size(q) < 2 * size)
            return 7;
        free(p), free(q), free(r);
    }
    return 0;
}
END
if $CC -shared -fPIC -fno-builtin -o libown.so own.c >err 2>&1 &&
    $CC -fno-builtin -o uses uses.c -Wl,--no-as-needed ./libown.so >>err 2>&1 &&
    $CC -fno-builtin -o plain uses.c >>err 2>&1; then
    record -o t.trace -- ./uses
    [ "$code" -eq 0 ] && [ "$(lines t.trace '^[am] ')" -gt 20 ] && valid
    report $? 'a program that brings an allocator of its own: all of the family is one'
    code=0
    LD_PRELOAD=$PWD/libown.so "$HMM" record -o t.trace -- ./plain >out 2>err || code=$?
    [ "$code" -eq 0 ] && valid
    report $? 'another allocator is preloaded behind the recorder'
    if [ "$can_run" = yes ]; then
        "$HMM" run -- "$HMM" record -o t.trace -- ./plain >out 2>err
        code=$?
        [ "$code" -eq 0 ] && valid
        report $? 'hmm run -- hmm record -- program'
    else
        skip 'hmm run -- hmm record -- program' 'this build has no preload library'
    fi
else
    code=0
    report 1 'programs with an allocator of their own are built'
fi

if same 'a command that a signal ends: said, and its status'; then
    record -o t.trace -- sh -c 'kill -SEGV $$'
    [ "$code" -eq 139 ] &&
        grep -q '^hmm record: the command was ended by signal 11 (Segmentation fault)' err
    report $? 'a command that a signal ends: said, and its status'
fi

# ---- A limit on files is the program's own ----

if same 'limits: the command has those that it would have'; then
    rm -f t*
    # shellcheck disable=SC2016  # both by the same shell: they count in different units
    sh -c 'ulimit -S -f 100 && exec "$0" record -o t.trace -- sh -c "ulimit -S -f"' "$HMM" >limit 2>err
    code=$?
    [ "$code" -eq 0 ] && valid && [ "$(cat limit)" -eq 100 ]
    report $? 'limits: the command has those that it would have'
fi

# ---- Compression ----

if "$HMM" record -o t.zst -- "$PROGRAM" get 1 >out 2>err; then
    record -o t.trace.zst -- "$PROGRAM" listed want 300000
    if command -v zstd >/dev/null 2>&1; then
        zstd -dqc t.trace.zst >plain && unreused plain >got && cmp want got 2>>err
        report $? 'zstd: the same operations'
    else
        skip 'zstd: the same operations' 'no zstd command'
    fi
    [ "$code" -eq 0 ] && valid && [ "$(wc -c <t.trace.zst)" -lt 2000000 ]
    report $? 'zstd: replayed'
    record -o t.trace.zst -- "$PROGRAM" forked
    [ "$(echo t.*.trace.zst | wc -w)" -eq 1 ] && valid
    report $? 'zstd: names of children'
    full t.trace.zst
else
    record -o t.zst -- "$PROGRAM" get 1
    [ "$code" -eq 2 ] && grep -q 'cannot compress: give a name that does not end in .zst' err
    report $? 'without zstd: said'
fi
rm -f -- *.trace*
record -- "$PROGRAM" get 20
[ "$code" -eq 0 ] && ls recorded.trace* >/dev/null 2>&1
report $? 'the default name is the command'

# ---- Real programs: output and exit status as without recording, traces valid. ----

# real NAME COMMAND...: skipped where there is no such command.
real() {
    name=$1
    shift
    same "$name" || return
    if ! command -v "$1" >/dev/null 2>&1; then
        skip "$name" "$1 is not installed"
        return
    fi
    "$@" >want 2>/dev/null
    status=$?
    record -o t.trace -- "$@"
    [ "$code" -eq "$status" ] && cmp want out 2>>err && valid &&
        [ "$(cat t*.trace | grep -c '^[amrf]')" -gt 100 ]
    report $? "$name"
}

seq 200000 | sed 's/^\(.*\)\(..\)$/\2\1/' >numbers
real 'sort, with threads' sort --parallel=4 -S 1M numbers
# shellcheck disable=SC2016
real 'awk' awk '{ n[$1 % 1000] = n[$1 % 1000] $1 } END { print length(n[7]) }' numbers
# shellcheck disable=SC2016
real 'perl' perl -e 'my %h; $h{$_ % 977} .= "x$_" for 1 .. 50000; print length $h{5}, "\n"; exit 4'
real 'python3' python3 -c '
import json, subprocess, threading
def work(): json.loads(json.dumps([{str(i): [i] * 3} for i in range(5000)]))
threads = [threading.Thread(target=work) for _ in range(3)]
for t in threads: t.start()
for t in threads: t.join()
print(subprocess.run(["sh", "-c", "echo hello"], capture_output=True).stdout)'
printf 'int f(int a) { return a * 2; }\n' >c.c
real 'a compiler' sh -c "$CC -O2 -S -o - c.c"
if ! command -v git >/dev/null 2>&1; then
    skip git 'git is not installed'
else
    (git init -q repository && cd repository && cp ../numbers . && git add . &&
        git -c user.name=n -c user.email=e@example.com commit -qm one) >/dev/null 2>&1
    real 'git' git -C repository log --stat
    real 'git, repacking' git -C repository repack -adq
fi

echo "1..$count"
[ "$failures" -eq 0 ]
