/* SPDX-License-Identifier: MIT */
/*
 * The C library's names for the process heap. All of its allocation functions are here: one of the
 * C library's own would return blocks of another heap. malloc, calloc, realloc, aligned_alloc, free
 * and cfree are in process/entry.c, which this library compiles with HMM_LIBC_NAMES. Calls
 * lib/process.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* reallocarray and others */
#endif
#include "process/process.h"

#include <malloc.h>
#include <stdio.h>
#include <sys/auxv.h>

#define EXPORTED __attribute__((visibility("default")))

/* The environment and other libraries are ready: the second step of setting up (region.h). */
static __attribute__((constructor)) void start(void)
{
    hmm_process_heap();
    hmm__process_finish();
}

/* ---- Other names of the entry points ---- */

size_t malloc_usable_size(void *block) EXPORTED;
void free_sized(void *block, size_t size) EXPORTED;
void free_aligned_sized(void *block, size_t align, size_t size) EXPORTED;

size_t malloc_usable_size(void *block)
{
    return hmm_usable_size(block);
}

/* The size is a hint for speed, of which hmm makes no use. */
void free_sized(void *block, size_t size)
{
    (void)size;
    hmm_free(block);
}

void free_aligned_sized(void *block, size_t align, size_t size)
{
    (void)align, (void)size;
    hmm_free(block);
}

EXPORTED void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return hmm_realloc(block, bytes);
}

/* ---- With an alignment ---- */

/* Rounds any alignment up to a power of two, as glibc does. */
EXPORTED void *memalign(size_t align, size_t size)
{
    size_t power = HMM_GRANULE;
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    while (power < align)
        power <<= 1;
    return hmm_aligned_alloc(power, size);
}

/* Leaves errno, and *block if it fails. */
EXPORTED int posix_memalign(void **block, size_t align, size_t size)
{
    int code = errno;
    if (align < sizeof(void *) || (align & (align - 1)) != 0)
        return EINVAL;
    void *p = hmm_aligned_alloc(align, size);
    errno = code;
    if (p == NULL)
        return ENOMEM;
    *block = p;
    return 0;
}

static size_t page_size(void)
{
    return getauxval(AT_PAGESZ);
}

EXPORTED void *valloc(size_t size)
{
    return hmm_aligned_alloc(page_size(), size);
}

EXPORTED void *pvalloc(size_t size)
{
    size_t page = page_size();
    if (size > PTRDIFF_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return hmm_aligned_alloc(page, (size + page - 1) & ~(page - 1));
}
