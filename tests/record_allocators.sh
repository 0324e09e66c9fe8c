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
    library=$(ldd "./operators-$name" | sed -n "s/.*lib$name[.]so.* => \([^ ]*\) .*/\1/p")
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

finish
