/* SPDX-License-Identifier: MIT */
/*
 * The process heap as a heap in few bytes: in a static array of HMM_PROCESS_HEAP_SIZE bytes,
 * without an environment, reports and an emergency pool, in place of the rest of this folder.
 * Calls lib/api.
 */
#include "base/hooks.h"
#include "heap/heap.h"

#if HMM__SMALL && HMM_WITH_PROCESS

#ifndef HMM_PROCESS_HEAP_SIZE
#define HMM_PROCESS_HEAP_SIZE (16u << 10)
#endif

static _Alignas(HMM_GRANULE) unsigned char small_region[HMM_PROCESS_HEAP_SIZE];
static struct hmm_heap *small_heap;

/* Makes the heap if there is none. NULL: the array is too small for one. */
static struct hmm_heap *small_heap_of(const struct hmm_strategy *strategy)
{
    hmm__enter();
    if (small_heap == NULL)
        small_heap = hmm_heap_create(small_region, sizeof small_region, strategy);
    hmm__leave();
    return small_heap;
}

int hmm_init(const struct hmm_strategy *strategy)
{
    bool made = small_heap == NULL &&
                small_heap_of(strategy != NULL ? strategy : HMM__DEFAULT_STRATEGY) != NULL;
    return made ? 0 : -1;
}

struct hmm_heap *hmm_process_heap(void)
{
    return small_heap ? small_heap : small_heap_of(HMM__DEFAULT_STRATEGY);
}

void *hmm_malloc(size_t size)
{
    struct hmm_heap *h = hmm_process_heap();
    return h ? hmm_heap_malloc(h, size) : NULL;
}

void hmm_free(void *block)
{
    if (block != NULL)
        hmm_heap_free(small_heap, block);
}

size_t hmm_usable_size(const void *block)
{
    return hmm_heap_usable_size(small_heap, block);
}

#if HMM_WITH_CALLOC
void *hmm_calloc(size_t count, size_t size)
{
    struct hmm_heap *h = hmm_process_heap();
    return h ? hmm_heap_calloc(h, count, size) : NULL;
}
#endif

#if HMM_WITH_REALLOC
void *hmm_realloc(void *block, size_t size)
{
    struct hmm_heap *h = hmm_process_heap();
    return h ? hmm_heap_realloc(h, block, size) : NULL;
}
#endif

#if HMM_WITH_ALIGNED
void *hmm_aligned_alloc(size_t align, size_t size)
{
    struct hmm_heap *h = hmm_process_heap();
    return h ? hmm_heap_aligned_alloc(h, align, size) : NULL;
}
#endif

#endif
