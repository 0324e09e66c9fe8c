/* SPDX-License-Identifier: MIT */
/*
 * The malloc family, as the program calls it: libc's, and a note of it. All of the family is
 * here, also what leaves no note: a program that brings an allocator of its own must not ask that
 * one about a block of libc's. mallinfo and the like, which take no block, stay libc's own.
 *
 * A call that fails leaves no event, nor does freeing NULL. Alignments are noted as the powers of
 * two that libc makes of them.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#define _GNU_SOURCE 1 /* dladdr */

#include "note.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/auxv.h>

#define EXPORT __attribute__((visibility("default")))

/* glibc's own names for its allocator: there from the first instruction on, without a search. */
extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

/* Not from libc's headers: their attributes belong to callers. */
EXPORT void *malloc(size_t);
EXPORT void free(void *);
EXPORT void *calloc(size_t, size_t);
EXPORT void *realloc(void *, size_t);
EXPORT void *reallocarray(void *, size_t, size_t);
EXPORT void *memalign(size_t, size_t);
EXPORT void *aligned_alloc(size_t, size_t);
EXPORT int posix_memalign(void **, size_t, size_t);
EXPORT void *valloc(size_t);
EXPORT void *pvalloc(size_t);
EXPORT void cfree(void *);
EXPORT void free_sized(void *, size_t);
EXPORT size_t malloc_usable_size(void *);
EXPORT void free_aligned_sized(void *, size_t, size_t);

/* ---- Getting ---- */

void *malloc(size_t size)
{
    void *p = __libc_malloc(size);
    if (p != NULL)
        record_note(RECORD_ALLOC, p, size);
    return p;
}

void *calloc(size_t count, size_t size)
{
    void *p = __libc_calloc(count, size);
    if (p != NULL)
        record_note(RECORD_ALLOC, p, (uint64_t)count * size);
    return p;
}

static uint64_t log2_up(size_t align)
{
    uint64_t log2 = 0;
    while (((size_t)1 << log2) < align)
        log2++;
    return log2;
}

void *memalign(size_t align, size_t size)
{
    void *p = __libc_memalign(align, size);
    if (p != NULL)
        record_note(RECORD_ALIGNED, p, log2_up(align) << RECORD_SIZE_BITS | size);
    return p;
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **to, size_t align, size_t size)
{
    if (align % sizeof(void *) != 0 || align == 0 || (align & (align - 1)) != 0)
        return EINVAL;
    int code = errno;
    void *p = memalign(align, size);
    errno = code;
    if (p == NULL)
        return ENOMEM;
    *to = p;
    return 0;
}

static size_t page_size(void)
{
    return (size_t)getauxval(AT_PAGESZ);
}

void *valloc(size_t size)
{
    return memalign(page_size(), size);
}

/* Whole pages, and noted so. */
void *pvalloc(size_t size)
{
    size_t page = page_size(), whole;
    if (__builtin_add_overflow(size, page - 1, &whole)) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(page, whole & ~(page - 1));
}

/* ---- Asking ---- */

typedef size_t size_of_block(void *);

/* That of the allocator which __libc_malloc is: libc's own as a rule, or that of a library which
 * has taken all those names. It has no such name itself, and the next library's may be another's.
 */
static size_of_block *find_usable_size(void)
{
    Dl_info at;
    size_of_block *found = NULL;
    int code = errno;
    if (dladdr((void *)(uintptr_t)&__libc_malloc, &at) != 0) {
        void *library = dlopen(at.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
        if (library != NULL)
            found = (size_of_block *)(uintptr_t)dlsym(library, "malloc_usable_size");
    }
    errno = code;
    return found != malloc_usable_size ? found : NULL;
}

/* 0 where it cannot be had: so much may surely be used. */
size_t malloc_usable_size(void *p)
{
    static _Atomic(size_of_block *) of_libc;
    size_of_block *size = p != NULL ? atomic_load(&of_libc) : NULL;
    if (p != NULL && size == NULL)
        atomic_store(&of_libc, size = find_usable_size());
    return size != NULL ? size(p) : 0;
}

/* ---- Giving back: noted before anybody else can get it. ---- */

void free(void *p)
{
    if (p == NULL)
        return;
    record_note(RECORD_FREE, p, 0);
    __libc_free(p);
}

void cfree(void *p)
{
    free(p);
}

void free_sized(void *p, size_t size)
{
    (void)size;
    free(p);
}

void free_aligned_sized(void *p, size_t align, size_t size)
{
    (void)align, (void)size;
    free(p);
}

/* ---- Resizing ---- */

/* libc's realloc frees where the size is 0. */
void *realloc(void *p, size_t size)
{
    if (p == NULL)
        return malloc(size);
    if (size == 0) {
        record_note(RECORD_FREE, p, 0);
        return __libc_realloc(p, 0);
    }
    uint64_t place = record_note(RECORD_RESIZE, p, 0);
    void *q = __libc_realloc(p, size);
    if (q != NULL)
        record_note_resized(place, q, size);
    else
        record_note_unresized(place);
    return q;
}

void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, bytes);
}
