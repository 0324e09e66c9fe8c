/* SPDX-License-Identifier: MIT */
/*
 * The entry points of own heaps: hmm_heap_create, hmm_heap_malloc, hmm_heap_free and the others.
 * Each tries the cache, if the heap has one, then the heap. Calls the checked entry points, the
 * cache and the heap; has no threads.
 */
#include "api/api.h"

#include "base/annotate.h"
#include "cache/fast_path.h"
#include "cache/inspect.h"
#include "cache/medium.h"

/* ---- Create, destroy, switch ---- */

struct hmm_heap *hmm__heap_create(void *memory, size_t size, const struct hmm_strategy *strategy,
                                  bool zeroed, const struct hmm__page_source *page_source)
{
    struct hmm_heap *h = hmm__create(memory, size, strategy, zeroed, page_source);
    if (h == NULL)
        return NULL;
    if (annotate_active()) {
        h->check_flags = HMM__CHECK_MEMCHECK;
        annotate_region(block_header_at(h, h->first),
                        (size_t)(h->limit - h->first) * HMM_GRANULE + HMM_HEADER_BYTES);
    }
    hmm__set_entries(h);
    return h;
}

struct hmm_heap *hmm_heap_create(void *memory, size_t size, const struct hmm_strategy *strategy)
{
    return hmm__heap_create(memory, size, strategy, false, NULL);
}

/* Memcheck forgets the blocks, since the memory may be reused. */
static HMM__COLD void end_memcheck(struct hmm_heap *h)
{
    annotate_enter();
    for (hmm_ref r = h->first; r != h->top; r = block_step(h, r, block_header(h, r)))
        if (!(block_header(h, r) & HMM__FREE) && block_payload(h, r) != h->state)
            annotate_free(block_payload(h, r));
    annotate_leave();
    annotate_region_end(block_header_at(h, h->first),
                        (size_t)(h->high_limit - h->first) * HMM_GRANULE + HMM_HEADER_BYTES);
}

void hmm_heap_destroy(struct hmm_heap *heap)
{
    if (heap != NULL && (heap->check_flags & HMM__CHECK_MEMCHECK))
        end_memcheck(heap);
}

int hmm_heap_set_strategy(struct hmm_heap *heap, const struct hmm_strategy *strategy)
{
    if (!hmm__strategy_is_valid(strategy)) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    if (strategy == heap->strategy)
        return 0;
    if (heap->check_flags & HMM__CHECK_MEMCHECK)
        annotate_enter();
    int result = hmm__switch(heap, strategy);
    if (heap->check_flags & HMM__CHECK_MEMCHECK)
        annotate_leave();
    hmm__set_entries(heap);
    return result;
}

const struct hmm_strategy *hmm_heap_strategy(const struct hmm_heap *heap)
{
    return heap->strategy;
}

/* ---- malloc and free with a cache ---- */

#if HMM__CACHE

static void *malloc_uncached(struct hmm_heap *h, size_t size)
{
    return h->check_flags ? hmm__checked_malloc(h, size) : hmm__malloc(h, size);
}

static void free_uncached(struct hmm_heap *h, void *block)
{
    if (h->check_flags)
        hmm__checked_free(h, block);
    else
        hmm__free(h, block);
}

static __attribute__((noinline)) void *cached_malloc_slow(struct hmm_heap *h, size_t size)
{
    struct cache *cache = h->cache;
    void *p = size <= CACHE_OBJECT_MAX ? hmm__cache_refill(cache->thread_cache, size)
                                       : medium_take(cache->thread_cache, size);
    return p ? p : malloc_uncached(h, size);
}

static void *cached_malloc(struct hmm_heap *h, size_t size)
{
    void *p = cache_malloc_hit(h->cache->thread_cache, size);
    return hmm__likely(p != NULL) ? p : cached_malloc_slow(h, size);
}

static void cached_free(struct hmm_heap *h, void *block)
{
    struct cache *cache = h->cache;
    if (hmm__likely(cache_free_hit(cache, cache->thread_cache, block)) ||
        medium_put(cache, cache->thread_cache, block))
        return;
    free_uncached(h, block);
}

/* Memory for an object that shrinks to less than half; NULL: there is none that costs little. A
 * cache that threads share has no thread cache of its own. */
static void *malloc_to_shrink(struct hmm_heap *h, size_t size)
{
    struct thread_cache *tc = h->cache->lock == NULL ? h->cache->thread_cache : NULL;
    void *p = tc ? cache_malloc_hit(tc, size) : NULL;
    if (p == NULL && tc)
        p = hmm__cache_refill(tc, size);
    return p ? p : hmm__try_malloc(h, size);
}

/* realloc of an object of a run, of `usable` bytes. */
static void *realloc_object(struct hmm_heap *h, void *block, size_t usable, size_t size)
{
    struct cache *cache = h->cache;
    void *p =
        cache->thread_cache ? cache_realloc_hit(cache, cache->thread_cache, block, size) : NULL;
    if (p != NULL)
        return p;
    if (size == 0) {
        hmm_heap_free(h, block);
        return NULL;
    }
    if (size <= usable && h->check_flags == 0)
        p = malloc_to_shrink(h, size);
    else
        p = hmm_heap_malloc(h, size);
    if (p == NULL)
        return size <= usable ? block : NULL;
    memcpy(p, block, size < usable ? size : usable);
    hmm_heap_free(h, block);
    return p;
}

void hmm__set_entries(struct hmm_heap *h)
{
    bool own_cache = h->cache != NULL && h->cache->lock == NULL;
    h->malloc_entry = own_cache        ? cached_malloc
                      : h->check_flags ? hmm__checked_malloc
                                       : h->uncached_malloc;
    h->free_entry = own_cache ? cached_free : h->check_flags ? hmm__checked_free : h->uncached_free;
}

HMM__ALWAYS_INLINE size_t usable_in_cache(const struct hmm_heap *h, const void *block,
                                          const char *operation)
{
    return h->cache ? hmm__cache_usable(h->cache, block, operation) : 0;
}

/* Ends the program if block is a medium block that was freed. */
static void refuse_cached(const struct hmm_heap *h, const void *block, const char *operation)
{
    if (h->cache && hmm__medium_has(h->cache, block))
        hmm__medium_freed_twice(block, operation);
}

#else

static void *realloc_object(struct hmm_heap *h, void *block, size_t usable, size_t size)
{
    (void)h, (void)usable, (void)size;
    return block;
}

void hmm__set_entries(struct hmm_heap *h)
{
    h->malloc_entry = h->check_flags ? hmm__checked_malloc : h->uncached_malloc;
    h->free_entry = h->check_flags ? hmm__checked_free : h->uncached_free;
}

HMM__ALWAYS_INLINE size_t usable_in_cache(const struct hmm_heap *h, const void *block,
                                          const char *operation)
{
    (void)h, (void)block, (void)operation;
    return 0;
}

static void refuse_cached(const struct hmm_heap *h, const void *block, const char *operation)
{
    (void)h, (void)block, (void)operation;
}

#endif

/* ---- The entry points ---- */

void *hmm_heap_malloc(struct hmm_heap *heap, size_t size)
{
    return heap->malloc_entry(heap, size);
}

static __attribute__((noinline)) void *large_calloc(struct hmm_heap *h, size_t size)
{
    hmm_ref zero_top = hmm__zero_begin(h);
    void *p = h->malloc_entry(h, size);
    if (p != NULL)
        hmm__zero_payload(h, p, zero_top);
    return p;
}

void *hmm_heap_calloc(struct hmm_heap *heap, size_t count, size_t size)
{
    if (size != 0 && count > (size_t)PTRDIFF_MAX / size)
        return hmm__fail(heap, SIZE_MAX);
    if (hmm__unlikely(heap->check_flags))
        return hmm__checked_calloc(heap, count, size);
    if (count * size >= HMM__ZERO_MIN)
        return large_calloc(heap, count * size);
    void *p = heap->malloc_entry(heap, count * size);
    return p ? memset(p, 0, hmm_heap_usable_size(heap, p)) : NULL;
}

void hmm_heap_free(struct hmm_heap *heap, void *block)
{
    heap->free_entry(heap, block);
}

static __attribute__((noinline)) void *realloc_slow(struct hmm_heap *h, void *block, size_t size)
{
    size_t usable = usable_in_cache(h, block, "realloc");
    if (usable != 0)
        return realloc_object(h, block, usable, size);
    refuse_cached(h, block, "realloc");
    return h->check_flags ? hmm__checked_realloc(h, block, size) : hmm__realloc(h, block, size);
}

void *hmm_heap_realloc(struct hmm_heap *heap, void *block, size_t size)
{
    if (heap->cache || heap->check_flags)
        return realloc_slow(heap, block, size);
    return hmm__realloc(heap, block, size);
}

void *hmm_heap_aligned_alloc(struct hmm_heap *heap, size_t align, size_t size)
{
    if (hmm__unlikely(heap->check_flags))
        return hmm__checked_aligned_alloc(heap, align, size);
    return hmm__aligned_alloc(heap, align, size);
}

size_t hmm_heap_usable_size(const struct hmm_heap *heap, const void *block)
{
    if (block == NULL)
        return 0;
    size_t usable = usable_in_cache(heap, block, "usable size of");
    if (usable != 0)
        return usable;
    if (hmm__unlikely(heap->check_flags))
        return hmm__checked_usable_size(heap, block);
    return header_usable(block_header(heap, block_of(heap, block)));
}
