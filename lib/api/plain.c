/* SPDX-License-Identifier: MIT */
/*
 * The entry points of own heaps that are heaps in few bytes: without a cache, memcheck or check
 * levels, in place of heap.c, checked.c, inspect.c and set_cache.c. hmm_heap_create stands in
 * heap/small.c. Calls the heap.
 */
#include "api/api.h"

#include "heap/block.h"

#if HMM__SMALL

void *hmm_heap_malloc(struct hmm_heap *heap, size_t size)
{
    return hmm__malloc(heap, size);
}

void hmm_heap_free(struct hmm_heap *heap, void *block)
{
    hmm__free(heap, block);
}

size_t hmm_heap_usable_size(const struct hmm_heap *heap, const void *block)
{
    return block == NULL ? 0 : header_usable(block_header(heap, block_of(heap, block)));
}

#if HMM_WITH_CALLOC
void *hmm_heap_calloc(struct hmm_heap *heap, size_t count, size_t size)
{
    if (size != 0 && count > (size_t)PTRDIFF_MAX / size)
        return hmm__fail(heap, SIZE_MAX);
    void *p = hmm__malloc(heap, count * size);
    return p ? memset(p, 0, hmm_heap_usable_size(heap, p)) : NULL;
}
#endif

#if HMM_WITH_REALLOC
void *hmm_heap_realloc(struct hmm_heap *heap, void *block, size_t size)
{
    return hmm__realloc(heap, block, size);
}
#endif

#if HMM_WITH_ALIGNED
void *hmm_heap_aligned_alloc(struct hmm_heap *heap, size_t align, size_t size)
{
    return hmm__aligned_alloc(heap, align, size);
}
#endif

#if HMM_WITH_CHECKS
/* The cast is for the strategy's check, which takes a heap that is not const. */
const char *hmm_heap_check(const struct hmm_heap *heap)
{
    return hmm__verify((struct hmm_heap *)(uintptr_t)heap);
}
#endif

#if HMM_WITH_STATS
void hmm_heap_stats(const struct hmm_heap *heap, struct hmm_stats *stats)
{
    hmm__stats((struct hmm_heap *)(uintptr_t)heap, stats);
}
#endif

#if HMM_WITH_WALK
int hmm_heap_walk(const struct hmm_heap *heap,
                  int (*visit)(void *arg, const struct hmm_block_info *), void *arg)
{
    return hmm__walk(heap, visit, arg);
}
#endif

#endif
