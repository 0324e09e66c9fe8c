/* SPDX-License-Identifier: MIT */
/*
 * Looks up the next allocator, which the recorded calls are passed to. dlsym itself may allocate:
 * old versions do at their first use, and all versions for an error message. Such requests, which
 * come before the next allocator is known, are served from a small reserve in this file.
 *
 * A library is taken as the allocator only if it defines malloc, free, calloc and realloc, all
 * four. Otherwise blocks of one allocator would be freed by another, and libc's allocator is used
 * for all four.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#define _GNU_SOURCE 1 /* dladdr, RTLD_NEXT */

#include "next.h"
#include "stack.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

/* glibc's own names for its allocator. */
extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

struct record_next record_next = {.special = true};

/* Initial-exec: with other models the first access may allocate. */
static _Thread_local int inside __attribute__((tls_model("initial-exec")));
static _Atomic int is_ready;

/* ---- The reserve: blocks with their size before them, never given back ---- */

#define RESERVE_BYTES 8192u
#define RESERVE_STEP 16u

static _Alignas(RESERVE_STEP) char reserve[RESERVE_BYTES];
static _Atomic size_t reserve_used;

static bool is_reserved(const void *block)
{
    return (uintptr_t)block - (uintptr_t)reserve < sizeof reserve;
}

static size_t reserved_size(const void *block)
{
    size_t size;
    memcpy(&size, (const char *)block - RESERVE_STEP, sizeof size);
    return size;
}

/* Zeroed, since it is used once. */
static void *reserve_malloc(size_t size)
{
    if (size > RESERVE_BYTES - 2 * RESERVE_STEP)
        return NULL;
    size_t bytes = RESERVE_STEP + (size + RESERVE_STEP - 1) / RESERVE_STEP * RESERVE_STEP;
    size_t at = atomic_fetch_add(&reserve_used, bytes);
    if (at > RESERVE_BYTES - bytes)
        return NULL;
    memcpy(reserve + at, &size, sizeof size);
    return reserve + at + RESERVE_STEP;
}

/* ---- Looking up ---- */

const void *record_object_of(const void *address)
{
    Dl_info at;
    return address != NULL && dladdr(address, &at) != 0 ? at.dli_fbase : NULL;
}

/* The next function of this name, if it is this object's. */
static void *of_object(const void *object, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    return found != NULL && record_object_of(found) == object ? found : NULL;
}

static int (*next_posix_memalign)(void **, size_t, size_t);

static void *memalign_by_posix(size_t align, size_t size)
{
    void *block = NULL;
    int code = next_posix_memalign(&block, align < sizeof(void *) ? sizeof(void *) : align, size);
    if (code != 0)
        errno = code;
    return code == 0 ? block : NULL;
}

static void *no_memalign(size_t align, size_t size)
{
    (void)align, (void)size;
    errno = ENOMEM;
    return NULL;
}

/* A function's address as dlsym has it. */
#define FUNCTION(field, address) ((field) = (__typeof__(field))(uintptr_t)(address))

static void find_memalign(struct record_next *next)
{
    void *found = of_object(next->object, "memalign");
    if (found == NULL)
        found = of_object(next->object, "aligned_alloc");
    FUNCTION(next_posix_memalign, of_object(next->object, "posix_memalign"));
    if (found != NULL)
        FUNCTION(next->memalign, found);
    else
        next->memalign = next_posix_memalign != NULL ? memalign_by_posix : no_memalign;
}

/* False iff that object does not have all that there must be. */
static bool find_in(struct record_next *next, const void *object)
{
    next->object = object;
    FUNCTION(next->malloc, of_object(object, "malloc"));
    FUNCTION(next->free, of_object(object, "free"));
    FUNCTION(next->calloc, of_object(object, "calloc"));
    FUNCTION(next->realloc, of_object(object, "realloc"));
    FUNCTION(next->usable_size, of_object(object, "malloc_usable_size"));
    if (next->malloc == NULL || next->free == NULL || next->calloc == NULL || next->realloc == NULL)
        return false;
    find_memalign(next);
    return true;
}

/* The next function called malloc_usable_size may belong to another library. */
static void find_in_libc(struct record_next *next)
{
    const void *address = (const void *)(uintptr_t)&__libc_malloc;
    Dl_info at;
    *next = (struct record_next){__libc_malloc,   __libc_free, __libc_calloc, __libc_realloc,
                                 __libc_memalign, NULL,        NULL,          false};
    next->object = record_object_of(address);
    void *size = of_object(next->object, "malloc_usable_size");
    if (size == NULL && dladdr(address, &at) != 0) {
        void *library = dlopen(at.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
        size = library != NULL ? dlsym(library, "malloc_usable_size") : NULL;
        if (record_object_of(size) != next->object)
            size = NULL;
    }
    FUNCTION(next->usable_size, size);
}

static void look_up(void)
{
    struct record_next found = {0};
    int code = errno;
    const void *libc = record_object_of((const void *)(uintptr_t)&gnu_get_libc_version);
    const void *object = record_object_of(dlsym(RTLD_NEXT, "malloc"));
    if (object == NULL || object == libc || !find_in(&found, object))
        find_in_libc(&found);
    found.special = found.object != libc || atomic_load(&reserve_used) != 0 || record_depth != 0;
    record_next = found;
    atomic_store(&is_ready, 1);
    errno = code;
}

/* Before there is a second thread. */
__attribute__((constructor)) static void look_up_at_start(void)
{
    if (record_next_enter())
        record_next_leave();
}

bool record_next_enter(void)
{
    if (inside != 0)
        return false;
    inside = 1;
    if (!atomic_load(&is_ready))
        look_up();
    return true;
}

void record_next_leave(void)
{
    inside = 0;
}

/* If a program takes the address of malloc, the loader may make the address of a stub in the
 * program the function's address everywhere: the symbol is found in the program, but is not defined
 * there. */
static bool is_defined(const void *address)
{
    Dl_info at;
    const ElfW(Sym) *symbol = NULL;
    return dladdr1(address, &at, (void **)(uintptr_t)&symbol, RTLD_DL_SYMENT) != 0 &&
           (symbol == NULL || symbol->st_shndx != SHN_UNDEF);
}

/* What is looked up before this library: the program, and what was preloaded. */
bool record_is_bypassed(void)
{
    const void *self = record_object_of(&record_next);
    const void *used = dlsym(RTLD_DEFAULT, "malloc");
    if (used == NULL || record_object_of(used) == self)
        return false;
    if (is_defined(used))
        return true;
    const struct link_map *program = dlopen(NULL, RTLD_LAZY | RTLD_NOLOAD);
    for (struct link_map *m = program != NULL ? program->l_next : NULL; m != NULL; m = m->l_next) {
        const void *object = record_object_of(m->l_ld);
        if (object == self)
            return false;
        if (strchr(m->l_name, '/') != NULL && record_object_of(dlsym(m, "malloc")) == object)
            return true;
    }
    return false;
}

/* ---- Its functions ---- */

void *record_next_malloc(size_t size)
{
    return atomic_load(&is_ready) ? record_next.malloc(size) : reserve_malloc(size);
}

void *record_next_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (atomic_load(&is_ready))
        return record_next.calloc(count, size);
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : reserve_malloc(bytes);
}

void *record_next_memalign(size_t align, size_t size)
{
    return atomic_load(&is_ready) ? record_next.memalign(align, size) : NULL;
}

void *record_next_realloc(void *block, size_t size)
{
    if (!is_reserved(block))
        return atomic_load(&is_ready) ? record_next.realloc(block, size) : NULL;
    size_t old = reserved_size(block);
    void *moved = record_next_malloc(size);
    if (moved != NULL)
        memcpy(moved, block, old < size ? old : size);
    return moved;
}

void record_next_free(void *block)
{
    if (!is_reserved(block) && atomic_load(&is_ready))
        record_next.free(block);
}

size_t record_next_usable_size(void *block)
{
    if (is_reserved(block))
        return reserved_size(block);
    return atomic_load(&is_ready) && record_next.usable_size != NULL
               ? record_next.usable_size(block)
               : 0;
}
