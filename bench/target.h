/* SPDX-License-Identifier: MIT */
/*
 * What is measured: the malloc that the dynamic linker has found, or an adapter.
 *
 * A loop that is measured is written once, inline, on the four functions at the end, and compiled
 * for each `enum via`, so that which it is costs nothing in the loop. Nothing's functions are
 * called in the same way and do nothing; what a loop costs with them is what it costs by itself.
 */
#ifndef HMM_BENCH_TARGET_H
#define HMM_BENCH_TARGET_H

#include "adapter.h"
#include "common.h"

#include <stdlib.h>

enum via { VIA_NOTHING, VIA_MALLOC, VIA_ADAPTER };

struct target {
    enum via via;
    const struct bench_adapter *adapter; /* VIA_ADAPTER */
    void *heap, *region;
    size_t capacity;
};

/*
 * `what` is "malloc", "nothing" or an adapter's path; there must be a '/' in it. Ends the program
 * iff the adapter cannot be used.
 */
void target_open(struct target *target, const char *what);

/* An empty heap in a region of so many bytes; false iff the adapter makes none. One that is there
 * already ends. Does nothing for others than adapters. */
bool target_create(struct target *target, size_t capacity);
void target_destroy(struct target *target);

/* Nothing: returns a pointer that is not NULL. */
void *nothing_malloc(size_t size);
void *nothing_realloc(void *block, size_t size);
void *nothing_aligned(size_t align, size_t size);
void nothing_free(void *block);
extern const struct bench_adapter nothing_adapter;

/* aligned_alloc of some libraries refuses a size that is no multiple of align; this one never. */
static BENCH_ALWAYS_INLINE void *aligned_by_libc(size_t align, size_t size)
{
    void *block;
    align = align < sizeof(void *) ? sizeof(void *) : align;
    return posix_memalign(&block, align, size) == 0 ? block : NULL;
}

static BENCH_ALWAYS_INLINE void *do_malloc(enum via via, const struct target *t, size_t size)
{
    return via == VIA_ADAPTER  ? t->adapter->malloc(t->heap, size)
           : via == VIA_MALLOC ? malloc(size)
                               : nothing_malloc(size);
}

static BENCH_ALWAYS_INLINE void do_free(enum via via, const struct target *t, void *block)
{
    if (via == VIA_ADAPTER)
        t->adapter->free(t->heap, block);
    else if (via == VIA_MALLOC)
        free(block);
    else
        nothing_free(block);
}

static BENCH_ALWAYS_INLINE void *do_realloc(enum via via, const struct target *t, void *block,
                                            size_t size)
{
    return via == VIA_ADAPTER  ? t->adapter->realloc(t->heap, block, size)
           : via == VIA_MALLOC ? realloc(block, size)
                               : nothing_realloc(block, size);
}

static BENCH_ALWAYS_INLINE void *do_aligned(enum via via, const struct target *t, size_t align,
                                            size_t size)
{
    return via == VIA_ADAPTER  ? t->adapter->aligned_alloc(t->heap, align, size)
           : via == VIA_MALLOC ? aligned_by_libc(align, size)
                               : nothing_aligned(align, size);
}

#endif
