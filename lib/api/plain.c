/* SPDX-License-Identifier: MIT */
/*
 * The entry points of own heaps that are heaps in few bytes: without a cache, memcheck or check
 * levels, in place of heap.c, checked.c, inspect.c and set_cache.c. hmm_heap_create stands in
 * heap/small.c. Calls the heap, the program's lock around it, and its trace (trace.c).
 */
#include "api/api.h"

#include "api/hooks.h"
#include "base/hooks.h"
#include "heap/block.h"

#if HMM__SMALL

void *hmm_heap_malloc(struct hmm_heap *heap, size_t size)
{
    hmm__enter();
    void *p = hmm__malloc(heap, size);
    hmm__trace_alloc(p, size);
    hmm__leave();
    return p;
}

void hmm_heap_free(struct hmm_heap *heap, void *block)
{
    hmm__enter();
    hmm__trace_free(block);
    hmm__free(heap, block);
    hmm__leave();
}

/* Without the lock: what others change of a header is not the size. */
size_t hmm_heap_usable_size(const struct hmm_heap *heap, const void *block)
{
    return block == NULL ? 0 : header_usable(block_header(heap, block_of(heap, block)));
}

#if HMM_WITH_CALLOC
/* The bytes are cleared without the lock: the block is the caller's already. */
void *hmm_heap_calloc(struct hmm_heap *heap, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = SIZE_MAX;
    void *p = hmm_heap_malloc(heap, bytes);
    return p ? memset(p, 0, hmm_heap_usable_size(heap, p)) : NULL;
}
#endif

#if HMM_WITH_REALLOC
void *hmm_heap_realloc(struct hmm_heap *heap, void *block, size_t size)
{
    uintptr_t was = (uintptr_t)block;
    hmm__enter();
    void *p = hmm__realloc(heap, block, size);
    hmm__trace_resize(was, p, size);
    hmm__leave();
    return p;
}
#endif

#if HMM_WITH_ALIGNED
void *hmm_heap_aligned_alloc(struct hmm_heap *heap, size_t align, size_t size)
{
    hmm__enter();
    void *p = hmm__aligned_alloc(heap, align, size);
    hmm__trace_aligned(p, size, align);
    hmm__leave();
    return p;
}
#endif

#if HMM_WITH_CHECKS
/* The cast is for the strategy's check, which takes a heap that is not const. */
const char *hmm_heap_check(const struct hmm_heap *heap)
{
    hmm__enter();
    const char *broken = hmm__verify((struct hmm_heap *)(uintptr_t)heap);
    hmm__leave();
    return broken;
}
#endif

#if HMM_WITH_STATS
void hmm_heap_stats(const struct hmm_heap *heap, struct hmm_stats *stats)
{
    hmm__enter();
    hmm__stats((struct hmm_heap *)(uintptr_t)heap, stats);
    hmm__leave();
}

/* hmm-firmware.h has it; hmm.h, whose heaps may have a cache, has not. */
size_t hmm_heap_smallest_free(const struct hmm_heap *heap);

size_t hmm_heap_smallest_free(const struct hmm_heap *heap)
{
    hmm__enter();
    size_t size = hmm__smallest_free((struct hmm_heap *)(uintptr_t)heap);
    hmm__leave();
    return size;
}
#endif

#if HMM_WITH_WALK
int hmm_heap_walk(const struct hmm_heap *heap,
                  int (*visit)(void *arg, const struct hmm_block_info *), void *arg)
{
    hmm__enter();
    int result = hmm__walk(heap, visit, arg);
    hmm__leave();
    return result;
}
#endif

#endif
