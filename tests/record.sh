#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm record: programs whose operations are known, programs that die, fork and become others, and
# real ones. Every trace must be one that `hmm replay --check` takes. Speaks TAP.

# shellcheck source=tests/record_common.sh
. "${top_srcdir:-.}/tests/record_common.sh"

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
printf 'print(1)\n' >app.py
record -o app.py -- touch ran
[ "$code" -eq 2 ] && [ ! -e ran ] && [ "$(cat app.py)" = 'print(1)' ] &&
    grep -qx "hmm record: 'app.py' is not overwritten: it is neither empty nor a trace" err
report $? 'a file that is no trace is not overwritten, and nothing is run'
: >app.py
record -o app.py -- "$PROGRAM" get 1
[ "$code" -eq 0 ] && record -o app.py -- "$PROGRAM" get 2 && [ "$code" -eq 0 ]
report $? 'an empty file and a trace are'
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

if mkdir -p disk && mount -t tmpfs -o size=64k none disk 2>err; then
    # shellcheck disable=SC2016
    "$HMM" record -o disk/t.trace -- sh -c 'for i in 1 2 3 4 5; do "$1" listed want 20000; done' sh \
        "$PROGRAM" >out 2>err
    code=$?
    if grep -q "'sh' was not recorded, since it is for another architecture" err; then
        skip 'a full disk, and many processes' 'sh is for another architecture'
    else
        [ "$code" -eq 1 ] && [ "$(grep -c 'No space left on device' err)" -eq 1 ] &&
            grep -Eqx 'hmm record: not written, or not to their end: [5-9] traces' err
        report $? 'a full disk, and many processes: said once, and how many traces there were'
    fi
    umount disk
else
    skip 'a full disk, and many processes' 'cannot mount one'
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

finish
