#!/bin/sh
# SPDX-License-Identifier: MIT
# The one-file build stands alone, and the historic names work from it. Depends on $CC only.
# Speaks TAP.
. "$(dirname "$0")/tap.sh"
: "${top_srcdir:?run it by make check}" "${top_builddir:?}" "${CC:=cc}" "${NM:=nm}"

skip_under_valgrind

mkdir "$dir/alone"
log=$dir/log

# absent PATTERN FILE: no line of the file matches; an error of grep's fails too.
absent() {
    grep -nE "$1" "$2"
    [ $? -eq 1 ]
}

generate() {
    # shellcheck disable=SC2086,SC2154
    (cd "$top_srcdir" && sh scripts/single-file . "$dir/alone" \
        $single_file_parts) && [ "$(find . -type f | wc -l)" -eq 2 ]
}

only_system_headers() {
    sed '/#include "heap_memory_manager.h"/d' heap_memory_manager.c heap_memory_manager.h > joined
    absent '#[[:space:]]*include[[:space:]]*"' joined
}

demo() {
    $CC -o heap_memory_manager heap_memory_manager.c && ./heap_memory_manager > out
}

# strict COMPILER ARGUMENT...: the library, without a warning.
strict() {
    compiler=$1
    shift
    $compiler -Wall -Wextra -Wshadow -Wconversion -Werror -DHMM_NO_MAIN "$@" -c \
        heap_memory_manager.c
}

# library STANDARD: no warnings from what is part of somebody else's build.
library() {
    strict "$CC" -std="$1" -pedantic -O2
}

# bare FLAGS: without a C library, nothing is wanted but what compilers call by themselves; where
# words have 32 bits, and on other processors, their own helpers besides.
bare() {
    helpers='|_GLOBAL_OFFSET_TABLE_|__[a-z0-9_]+'
    if echo "__x86_64__ __SIZEOF_POINTER__" | $CC -E -P - | grep -qx '1 8'; then helpers=; fi
    # shellcheck disable=SC2086,SC2154
    strict "$CC" $1 -ffreestanding -nostdinc -isystem "$($CC -print-file-name=include)" -o bare.o &&
        $NM -u bare.o > undefined && absent_but "memcpy|memmove|memset$helpers" undefined
}

# absent_but NAMES FILE: nm lists no others, and none of libatomic, which few firmware has.
absent_but() {
    sed 's/^ *[Uw] //; s/@.*//' "$2" > names
    absent '^(__atomic_|__sync_)' names && ! grep -vxE "$1" names
}

# The processor has no compare-and-swap, or has; the C library has no system below it.
newlib() {
    system='memcpy|memmove|memset|abort|atexit|getenv|write|_?_?errno|__[a-z0-9_]+'
    for flags in "$@"; do
        # shellcheck disable=SC2086,SC2154
        strict arm-none-eabi-gcc $flags -mthumb -o arm.o &&
            arm-none-eabi-nm -u arm.o > undefined && absent_but "$system" undefined || return 1
    done
}

# firmware CPU [HELPER]: 32 bits without a C library, and nothing of the compiler's run-time library
# but this, at any optimisation: no shift, scan or division of 64 bits is a call.
firmware() {
    for level in -O0 -Os -O2; do
        strict arm-none-eabi-gcc -mcpu="$1" -mthumb $level -ffreestanding -o arm.o &&
            arm-none-eabi-nm -u arm.o > undefined &&
            absent_but "memcpy|memmove|memset|__aeabi_mem(cpy|move|set|clr)[48]?${2:+|$2}" \
                undefined || return 1
    done
}

lto() {
    $CC -O2 -flto -DHMM_NO_MAIN -o lto user.c heap_memory_manager.c && ./lto
}

musl() {
    musl-gcc -O2 -static -o musl heap_memory_manager.c && ./musl > out &&
        grep -q 'heap says: sound' out
}

# runs COMPILER ARGUMENT...: whether it makes programs.
runs() {
    echo 'int main(void) { return 0; }' > probe.c
    "$@" -o probe probe.c > "$log" 2>&1 && ./probe
}

own_memory_only() {
    $NM -u heap_memory_manager.o > undefined || return 1
    system='s?brk|mmap(64)?|malloc|calloc|realloc|free|(posix_)?memalign|aligned_alloc|strdup'
    absent " ($system|dlopen|dlsym)(@|\$)" undefined
}

symbols() {
    $NM heap_memory_manager.o > defined && grep -q ' T HmmAlloc$' defined && absent ' T main$' defined
}

user_of_files() {
    $CC -DHMM_NO_MAIN -o user user.c heap_memory_manager.c && ./user
}

# Threads on it, each with a cache, all of whose cases must pass; and without caches.
threads() {
    for program in caches reclaim; do
        $CC -O2 -DHMM_NO_MAIN -DHMM_OWN_NAMES -DROUNDS=9000 "$@" -I. -o threads \
            "$top_srcdir/tests/preload/thread_$program.c" heap_memory_manager.c -pthread || return 1
        for case in $(./threads); do
            timeout 60 ./threads "$case" || return 1
        done
    done
}

# Forks while other threads make the first use: the child's heap is whole, and it does not wait.
forks_at_first_use() {
    cat > forks.c <<'END'
#include "heap_memory_manager.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
enum { USERS = 3, TRIALS = 3000, PATIENCE = 20 };
static pthread_barrier_t start;
static void *use(void *unused)
{
    pthread_barrier_wait(&start);
    for (size_t i = 0; i < 60; i++)
        hmm_free(hmm_malloc(i * 900));
    return unused;
}
static int use_in_child(void)
{
    alarm(PATIENCE);
    void *p = hmm_malloc(100), *q = hmm_malloc(90000);
    hmm_free(p);
    hmm_free(q);
    return p && q && !hmm_heap_check(hmm_process_heap()) ? 0 : 5;
}
static int ended(pid_t child)
{
    int status = 1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}
static int trial(int turns)
{
    pthread_t user[USERS];
    pthread_barrier_init(&start, NULL, USERS + 1);
    for (int i = 0; i < USERS; i++)
        pthread_create(&user[i], NULL, use, NULL);
    pthread_barrier_wait(&start);
    for (volatile int i = 0; i < turns; i++)
        ;
    pid_t child = fork();
    if (child == 0)
        _exit(use_in_child());
    int failed = ended(child);
    for (int i = 0; i < USERS; i++)
        pthread_join(user[i], NULL);
    return failed;
}
int main(void)
{
    for (int i = 0; i < TRIALS; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(trial(i * 37 % 9000));
        if (ended(child))
            return 1;
    }
    return 0;
}
END
    $CC -O2 -DHMM_NO_MAIN -o forks forks.c heap_memory_manager.c -pthread && timeout 120 ./forks
}

without_cache() {
    cat > without.c <<'END'
#include <errno.h>
#include "heap_memory_manager.h"
static char memory[1 << 20];
int main(void)
{
    struct hmm_heap *h = hmm_heap_create(memory, sizeof memory, HMM_FIRST_FIT);
    if (hmm_heap_set_cache(h, 0) != 0)
        return 1;
    errno = 0;
    if (hmm_heap_set_cache(h, 1) != -1 || errno != ENOTSUP || hmm_heap_check(h))
        return 2;
    return hmm_heap_malloc(h, 100) == 0;
}
END
    $CC -O2 -Wall -Wextra -Wshadow -Wconversion -Werror -DHMM_NO_MAIN -DHMM_NO_CACHE \
        -o without without.c heap_memory_manager.c && ./without
}

# The lock's macros are evaluated around each operation, never one within the other.
lock_macros() {
    cat > lock.h <<'END'
void my_enter(void);
void my_leave(void);
END
    cat > locked.c <<'END'
#include "heap_memory_manager.h"
static char memory[8192];
static int entered, depth, nested;
void my_enter(void) { entered++; nested |= depth++; }
void my_leave(void) { depth--; }
int main(void)
{
    struct hmm_heap *h = hmm_heap_create(memory, sizeof memory, HMM_FIRST_FIT);
    hmm_heap_free(h, hmm_heap_malloc(h, 100));
    if (entered != 2)
        return 1;
    void *p = hmm_realloc(hmm_malloc(10), 1000); /* and the first use */
    hmm_free(p);
    return entered != 6 || depth != 0 || nested != 0;
}
END
    $CC -O2 -DHMM_NO_MAIN '-DHMM_LOCK_HEADER="lock.h"' '-DHMM_LOCK_ENTER=my_enter()' \
        '-DHMM_LOCK_LEAVE=my_leave()' -I. -o locked locked.c heap_memory_manager.c && ./locked
}

# A build without standard error says that it needs a handler for misuse, and can be told that there
# is one.
handler_is_said() {
    $CC -ffreestanding -DHMM_NO_MAIN -fsyntax-only heap_memory_manager.c > said 2>&1 &&
        grep -q 'hmm: no standard error' said &&
        $CC -ffreestanding -DHMM_NO_MAIN -DHMM_PANIC_HANDLED -fsyntax-only heap_memory_manager.c \
            > said 2>&1 && absent 'hmm: no standard error' said
}

# An array that cannot hold the heap is said, and the program ends. The program exits 0 if so.
too_small() {
    cat > small.c <<'END'
#include "heap_memory_manager.h"
int main(void) { return HmmAlloc(1) != 0; }
END
    $CC -DHMM_NO_MAIN -DHMM_PROCESS_HEAP_SIZE=64 -o small small.c heap_memory_manager.c
    (./small) > said 2>&1 && return 1
    cat said
    grep -Eq '^hmm: process heap 0x[0-9a-f]+: there is no memory for it$' said
}

cat > "$dir/alone.c" <<'END'
#include "heap_memory_manager.h"
int main() { int *array = (int *)HmmAlloc(10 * sizeof(int)); HmmFree(array); return 0; }
END

cd "$dir/alone" || exit 99
check "two files are made" generate
check "no header of our own is included" only_system_headers
check "the program builds and exits 0" demo
check "the program shows the break" grep -q 'break at [1-9]' out
check "the program finds its heap sound" grep -q 'heap says: sound' out
for std in gnu17 gnu11 c11; do
    check "the library builds without a warning, -std=$std" library $std
done
check "the library builds without a warning, -Og" strict "$CC" -Og
strict "$CC" -std=c11 -O2 > "$log" 2>&1
check "the library calls no other allocator and no loader" own_memory_only
# Aliases are no calls, and not compiled here.
grep -v ' ALIAS_OF(' heap_memory_manager.c > calls
check "no call of another allocator is in the source" \
    absent '(^|[^_[:alnum:]])(sbrk|brk|mmap|malloc)\(' calls
check "HMM_NO_MAIN leaves the library, without main" symbols
check "an array that is too small is said" too_small
mv ../alone.c user.c
check "a user's program with the two files" user_of_files
for flags in -O0 -O2 -Os; do
    check "without a C library, $flags: memcpy, memmove, memset" bare $flags
done
# shellcheck disable=SC2086
if runs $CC -O2 -flto; then
    check "a user's program, -flto" lto
else
    skip "a user's program, -flto" "$CC cannot do that"
fi
if runs musl-gcc -static; then
    check "the program, with musl" musl
else
    skip "the program, with musl" "no musl-gcc that makes programs: package musl-tools"
fi
if command -v arm-none-eabi-gcc > /dev/null && echo '#include <errno.h>' |
    arm-none-eabi-gcc -E - > "$log" 2>&1; then
    check "newlib, a processor without compare-and-swap" newlib \
        "-mcpu=cortex-m0 -O0" "-mcpu=cortex-m0 -Os"
    check "newlib, one with it" newlib "-mcpu=cortex-m4 -O0" "-mcpu=cortex-m4 -Os"
else
    skip "newlib" "no arm-none-eabi-gcc with a C library: package libnewlib-arm-none-eabi"
fi
if command -v arm-none-eabi-gcc > /dev/null; then
    check "firmware, a processor that divides: no run-time library" firmware cortex-m4
    check "firmware, one that neither divides nor scans: only its division" \
        firmware cortex-m0 __aeabi_uidiv
else
    skip "firmware" "no arm-none-eabi-gcc: package gcc-arm-none-eabi"
fi
check "the lock's macros" lock_macros
check "without standard error: the build asks for a handler" handler_is_said
check "threads with caches" threads
check "threads, built without caches" threads -DHMM_NO_CACHE
check "forks while other threads make the first use" forks_at_first_use
check "HMM_NO_CACHE: no warning, and a cache is refused" without_cache
finish
