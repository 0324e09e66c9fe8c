#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hmm record and other allocators: those that a program brings or is given, and what is said of
# programs that the recorder does not get into. Speaks TAP.
# shellcheck source=tests/record_common.sh
. "${top_srcdir:-.}/tests/record_common.sh"

# ---- An allocator that is not whole: libc's answers for all of the family ----

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

# ---- Allocators with names of their own, and C++ ----

source=${top_srcdir:-.}
case $source in /*) ;; *) source=$OLDPWD/$source ;; esac

# whole: in each trace all that was got by new is there, and nothing was left out.
whole() {
    valid && ! grep -q 'left out' err || return
    [ "$(lines t.trace '^m .* 128 256$')" -eq 6000 ] && [ "$(lines t.trace '^a .* 5$')" -ge 3000 ] &&
        [ "$(lines t.trace '^m .* 128 768$')" -eq 3000 ] || return
    for file in t.*.trace; do
        [ "$(lines "$file" '^[am]')" -eq 8000 ] && [ "$(lines "$file" '^f')" -eq 8000 ] &&
            [ "$(lines "$file" '^r ')" -eq 1000 ] || return
    done
}

CXX=${CXX:-$(echo "$CC" | sed 's/gcc/g++/; s/clang$/clang++/; s/clang-/clang++-/')}
cxx() {
    # shellcheck disable=SC2086  # words
    $CXX -std=c++17 -fno-builtin -pthread -o "$1" "$source/tests/record/operators.cc" $2 >err 2>&1
}
if cxx operators ''; then
    record -o t.trace -- ./operators
    [ "$code" -eq 0 ] && whole
    report $? 'C++ on libc: each operation once'
else
    skip 'C++ on libc: each operation once' 'no C++ compiler'
fi
for name in jemalloc mimalloc tcmalloc tcmalloc_debug; do
    # mimalloc, built as C, cannot throw.
    argument=
    [ "$name" = mimalloc ] && argument=no-failure
    if ! cxx "operators-$name" "-Wl,--no-as-needed -l$name"; then
        skip "C++ linked with $name" "no C++ compiler, or no $name"
        continue
    fi
    record -o t.trace -- "./operators-$name" $argument
    [ "$code" -eq 0 ] && whole
    report $? "C++ linked with $name: each operation once"
    library=$(ldd "./operators-$name" | sed -n "s/.*lib${name}[.]so.* => \([^ ]*\) .*/\1/p")
    code=0
    rm -f t*
    LD_PRELOAD=$library "$HMM" record -o t.trace -- ./operators $argument >out 2>err || code=$?
    [ "$code" -eq 0 ] && whole
    report $? "C++, $name preloaded behind the recorder: each operation once"
done

cat >mixed.c <<'END'
#include <malloc.h>
#include <stdlib.h>
#include ALLOCATOR
int main(void)
{
    for (size_t i = 1; i < 3000; i++) {
        void *p = GET(i), *q = malloc(i), *r = aligned_alloc(64, 640);
        if (malloc_usable_size(p) < i || malloc_usable_size(q) < i)
            return 5;
        p = realloc(p, 2 * i);
        free(p);
        q = RESIZE(q, 2 * i);
        if (malloc_usable_size(q) < 2 * i)
            return 6;
        free(q);
        RELEASE(r);
    }
    return 0;
}
END
# mixed LIBRARY HEADER GET RESIZE RELEASE
mixed() {
    if ! $CC -fno-builtin -DALLOCATOR="$2" "-DGET(n)=$3" "-DRESIZE(p,n)=$4" "-DRELEASE(p)=$5" \
        -o mixed mixed.c -Wl,--no-as-needed "-l$1" >err 2>&1; then
        skip "functions of $1 and of libc, mixed" "no $1"
        return
    fi
    record -o t.trace -- ./mixed
    [ "$code" -eq 0 ] && [ "$(lines t.trace '^m ')" -ge 2999 ] && valid
    report $? "functions of $1 and of libc, mixed"
}
mixed jemalloc '<jemalloc/jemalloc.h>' 'mallocx(n,0)' 'rallocx(p,n,0)' 'sdallocx(p,640,0)'
mixed mimalloc '<mimalloc.h>' 'mi_malloc(n)' 'mi_realloc(p,n)' 'mi_free(p)'
mixed tcmalloc '<gperftools/tcmalloc.h>' 'tc_malloc(n)' 'tc_realloc(p,n)' 'tc_free(p)'

cat >calls.c <<'END'
#define _GNU_SOURCE
#include <stddef.h>
#include <string.h>
/* calloc and realloc of this allocator are made of malloc and free, by their public names. */
void *malloc(size_t);
void free(void *);
static _Alignas(16) char room[1 << 26];
static size_t used;
void *malloc(size_t size)
{
    char *p = room + used;
    used += 16 + ((size + 15) & ~(size_t)15);
    memcpy(p, &size, sizeof size);
    return p + 16;
}
void free(void *p) { (void)p; }
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void *realloc(void *p, size_t size)
{
    size_t old = 0;
    if (p != NULL)
        memcpy(&old, (char *)p - 16, sizeof old);
    void *q = malloc(size);
    if (p != NULL)
        memcpy(q, p, old < size ? old : size);
    free(p);
    return q;
}
END
cat >grows.c <<'END'
#include <stdlib.h>
int main(void)
{
    for (int i = 0; i < 1000; i++) {
        void *volatile p = calloc(7, 11);
        p = realloc(p, 770);
        free(p);
    }
    return 0;
}
END
if $CC -shared -fPIC -fno-builtin -o libcalls.so calls.c >err 2>&1 &&
    $CC -fno-builtin -o grows grows.c -Wl,--no-as-needed ./libcalls.so >>err 2>&1; then
    record -o t.trace -- ./grows
    [ "$code" -eq 0 ] && valid && ! grep -q 'left out' err &&
        [ "$(lines t.trace '^a .* 77$')" -eq 1000 ] && [ "$(lines t.trace '^a .* 770$')" -eq 0 ] &&
        [ "$(lines t.trace '^r .* 770$')" -eq 1000 ]
    report $? 'an allocator that calls its own public names: what the program asked is recorded'
else
    code=0
    report 1 'an allocator that calls its own public names is built'
fi

# ---- Programs that load no recorder, or do not call it ----

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

# ---- Programs that are started and get no recorder: each is counted, with its reason ----

# missing REASON...: the lines about what was not recorded are these.
missing() {
    sed -n 's/^hmm record: not recorded: //p' err >told
    printf '%s\n' "$@" | diff - told >>err
}
cleared='its environment was cleared of LD_PRELOAD or HMM_RECORD'
own='it has a malloc of its own, which comes before any library'\''s'

if same 'a program whose environment was cleared'; then
    record -o t.trace -- env -i "$PROGRAM" get 20
    [ "$code" -eq 1 ] && valid && [ "$(echo t*)" = t.trace ] &&
        grep -Eq "^hmm record: not recorded: 1 process, .*recorded: $cleared\$" err
    report $? 'a program whose environment was cleared: said, and exit status 1'
    record -o t.trace -- sh -c "env -i '$PROGRAM' get 20; env -u LD_PRELOAD '$PROGRAM' get 20; '$PROGRAM' get 30; :"
    [ "$code" -eq 0 ] && valid && [ "$(cat t.*.trace | grep -c ' 77$')" -eq 30 ] &&
        grep -Eq "^hmm record: not recorded: 2 processes, the first .*: $cleared\$" err
    report $? 'children whose environment was cleared: counted'
fi
cat >starts.c <<'END'
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static char *none[] = {NULL};
/* Ways to become argv[1], each by another function, in an environment that is whole or empty. */
static void become(int way, char *name, char **envp)
{
    char *argv[] = {name, NULL};
    if (way == 0) execve(name, argv, envp);
    if (way == 1) environ = envp, execv(name, argv);
    if (way == 2) environ = envp, execvp(name, argv);
    if (way == 3) execvpe(name, argv, envp);
    if (way == 4) environ = envp, execl(name, name, (char *)0);
    if (way == 5) environ = envp, execlp(name, name, (char *)0);
    if (way == 6) execle(name, name, (char *)0, envp);
    if (way == 7) fexecve(open(name, O_RDONLY), argv, envp);
    _exit(9);
}
int main(int argc, char **argv)
{
    char **whole = environ, *words[] = {argv[1], NULL}, *nothing[] = {"./nothing", NULL};
    int status, bad = argc != 2;
    pid_t pid;
    for (int way = 0; way < 8; way++)
        for (int i = 0; i < 2; i++) {
            if ((pid = fork()) == 0)
                become(way, argv[1], i == 0 ? whole : none);
            bad |= waitpid(pid, &status, 0) != pid || status != 0;
        }
    if ((pid = vfork()) == 0) {
        execve(argv[1], words, none);
        _exit(9);
    }
    bad |= waitpid(pid, &status, 0) != pid || status != 0;
    for (int i = 0; i < 2; i++) {
        bad |= posix_spawn(&pid, argv[1], NULL, NULL, words, i == 0 ? whole : none) != 0;
        bad |= waitpid(pid, &status, 0) != pid || status != 0;
        bad |= posix_spawnp(&pid, argv[1], NULL, NULL, words, i == 0 ? whole : none) != 0;
        bad |= waitpid(pid, &status, 0) != pid || status != 0;
    }
    /* What cannot be started is not missing. */
    bad |= execve("./nothing", nothing, none) == 0 || execvp("./nothing", nothing) == 0;
    bad |= posix_spawn(&pid, "./nothing", NULL, NULL, nothing, none) == 0;
    return bad;
}
END
if $CC -o starts starts.c >err 2>&1 && printf 'int main(void) { return 0; }\n' >ends.c &&
    $CC -o ends ends.c >>err 2>&1; then
    record -o t.trace -- ./starts ./ends
    [ "$code" -eq 0 ] && valid &&
        grep -q '^hmm record: 1[0-9] processes' err &&
        missing "11 processes, the first $dir/./ends: $cleared"
    report $? 'all functions that start a program: 11 of 21 in an empty environment are counted'
else
    code=0
    report 1 'a program that starts others is built'
fi
if same 'a shell in a cleared environment' && printf '#include <stdlib.h>\nint main(void) { clearenv(); return system(":"); }\n' >shell.c &&
    $CC -o shell shell.c >err 2>&1; then
    record -o t.trace -- ./shell
    [ "$code" -eq 0 ] && missing '1 process: a shell whose environment was cleared of LD_PRELOAD'
    report $? 'a shell by system() in a cleared environment: counted'
fi

cat >own_whole.c <<'END'
#include <stddef.h>
static _Alignas(16) char room[1 << 20];
static size_t used;
void *malloc(size_t size)
{
    void *p = room + used;
    used += (size + 15) & ~(size_t)15;
    return p;
}
void free(void *p) { (void)p; }
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void *realloc(void *p, size_t size) { return p ? NULL : malloc(size); }
int main(void)
{
    void *volatile p = malloc(3);
    return p != NULL ? 6 : 0;
}
END
if $CC -fno-builtin -o own_whole own_whole.c >err 2>&1; then
    record -o t.trace -- ./own_whole
    [ "$code" -eq 6 ] && [ ! -e t.trace ] &&
        grep -qx "hmm record: './own_whole' was not recorded, since $own" err
    report $? 'a malloc in the program itself: said, no empty trace'
    if same 'a malloc in a child itself'; then
        record -o t.trace -- sh -c './own_whole; ./own_whole; :'
        [ "$code" -eq 0 ] && missing "2 processes, the first $dir/./own_whole: $own"
        report $? 'a malloc in a child itself: counted, with the reason'
        record -o t.trace -- sh -c 'exec ./own_whole'
        [ "$code" -eq 6 ] && missing "1 process, $dir/./own_whole: $own"
        report $? 'a malloc in what the command becomes: said'
    fi
    if [ "$can_run" = yes ]; then
        "$HMM" run -- ./own_whole 2>err
        [ $? -eq 6 ] && grep -qx "hmm run: './own_whole' does not use hmm's heap, since $own" err
        report $? 'a malloc in the program itself, by hmm run: said'
    fi
else
    code=0
    report 1 'a program with its own malloc is built'
fi
cat >address.c <<'END'
#include <stdlib.h>
int main(void)
{
    void *(*volatile get)(size_t) = malloc;
    void (*volatile release)(void *) = free;
    for (int i = 0; i < 20; i++)
        release(get(77));
    return get == NULL;
}
END
if $CC -fno-builtin -fno-pie -no-pie -o address address.c >err 2>&1; then
    record -o t.trace -- ./address
    [ "$code" -eq 0 ] && valid && [ "$(lines t.trace '^a [0-9]* 77$')" -eq 20 ]
    report $? "a program with a fixed address that takes malloc's: recorded"
else
    skip "a program with a fixed address that takes malloc's" 'cannot link one'
fi
cat >early.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
/* Before the recorder's own constructors, in a library that the program is linked with. */
static __attribute__((constructor)) void early(void)
{
    char line[8] = "";
    FILE *f = popen("echo ab", "r");
    if (f == NULL || fgets(line, sizeof line, f) == NULL || line[1] != 'b' || pclose(f) != 0)
        _exit(4);
    if (system("exit 3") != 3 << 8)
        _exit(5);
    pid_t child = fork();
    if (child == 0) {
        execlp("sh", "sh", "-c", "exit 6", (char *)NULL);
        _exit(7);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 6 << 8)
        _exit(8);
}
int early_is_here;
END
printf 'extern int early_is_here;\nint main(void) { return early_is_here; }\n' >late.c
if $CC -shared -fPIC -o libearly.so early.c >err 2>&1 &&
    $CC -o late late.c -Wl,--no-as-needed ./libearly.so >>err 2>&1; then
    record -o t.trace -- ./late
    [ "$code" -eq 0 ]
    report $? "a library's constructor starts programs"
else
    code=0
    report 1 "a library's constructor starts programs: is built"
fi
if [ -e s ] && same 'a static child'; then
    printf 'int main(void) { return 3; }\n' >s.c && $CC -static -o s s.c >/dev/null 2>&1
    record -o t.trace -- sh -c './s; ./s; :'
    [ "$code" -eq 0 ] && missing "2 processes, the first $dir/./s: it is a static program, which loads no libraries"
    report $? 'static children: counted, with the reason'
fi
if printf 'int main(void) { return 0; }\n' >s.c && $CC -fsanitize=address -static-libasan -o sa s.c >err 2>&1; then
    record -o t.trace -- ./sa
    grep -qx "hmm record: './sa' was not recorded, since it is built with AddressSanitizer, which has a malloc of its own" err
    report $? 'AddressSanitizer, linked in statically: said'
else
    skip 'AddressSanitizer, linked in statically' 'cannot build one'
fi
if library=$($CC -print-file-name=libjemalloc.so.2) && [ -e "$library" ] && same 'a malloc that was preloaded before'; then
    # shellcheck disable=SC2016  # for the other shell
    record -o t.trace -- sh -c 'LD_PRELOAD='"$library"':$LD_PRELOAD ./ends; :'
    [ "$code" -eq 0 ] &&
        missing "1 process, $dir/./ends: a library before the recorder's has another malloc"
    report $? 'a malloc that a child preloads before the recorder: said'
else
    skip 'a malloc that a child preloads before the recorder' 'no jemalloc'
fi

finish
