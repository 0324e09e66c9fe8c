/* SPDX-License-Identifier: MIT */
/*
 * The entry points of own heaps: hmm_heap_create, hmm_heap_malloc, hmm_heap_free and the others.
 * Each tries the cache, if the heap has one, then the heap. Calls the checked entry points, the
 * cache and the heap; has no threads.
 */
#include "api/api.h"

#include "api/hooks.h"

#include "base/annotate.h"
#include "cache/fast_path.h"
#include "cache/inspect.h"
#include "cache/medium.h"

#if !HMM__SMALL

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

static int switch_to(struct hmm_heap *h, const struct hmm_strategy *strategy)
{
    if (strategy == h->strategy)
        return 0;
    if (h->check_flags & HMM__CHECK_MEMCHECK)
        annotate_enter();
    int result = hmm__switch(h, strategy);
    if (h->check_flags & HMM__CHECK_MEMCHECK)
        annotate_leave();
    hmm__set_entries(h);
    return result;
}

int hmm_heap_set_strategy(struct hmm_heap *heap, const struct hmm_strategy *strategy)
{
    if (!hmm__strategy_is_valid(strategy)) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    hmm__hooks_begin();
    int result = switch_to(heap, strategy);
    hmm__hooks_end();
    return result;
}

const struct hmm_strategy *hmm_heap_strategy(const struct hmm_heap *heap)
{
    return heap->strategy;
}

/* ---- malloc and free with a cache ---- */

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

#if HMM__CACHE

/* A cache that threads share has no thread cache of its own: the process heap's entry points try it
 * before they come here. */
HMM__ALWAYS_INLINE bool has_own_cache(const struct hmm_heap *h)
{
    return h->cache != NULL && h->cache->lock == NULL;
}

static __attribute__((noinline)) void *cached_malloc_missed(struct hmm_heap *h, size_t size)
{
    struct cache *cache = h->cache;
    void *p = size <= CACHE_OBJECT_MAX ? hmm__cache_refill(cache->thread_cache, size)
                                       : medium_take(cache->thread_cache, size);
    return p ? p : malloc_uncached(h, size);
}

static void *cached_malloc(struct hmm_heap *h, size_t size)
{
    void *p = cache_malloc_hit(h->cache->thread_cache, size);
    return hmm__likely(p != NULL) ? p : cached_malloc_missed(h, size);
}

/* False: block is no object of a SPLIT run. */
static bool split_free(struct cache *cache, struct run *d, void *block)
{
    if (d == NULL || run_state(d) != RUN_SPLIT)
        return false;
    enum run_holds holds = hmm__split_holds(cache, d, block);
    if (hmm__unlikely(holds == HOLDS_INVALID))
        hmm__run_object_invalid(block, d, "free");
    if (holds == HOLDS_OBJECT)
        hmm__split_free(cache, d, block);
    return holds == HOLDS_OBJECT;
}

static __attribute__((noinline)) void cached_free_missed(struct hmm_heap *h, struct run *d,
                                                         void *block)
{
    if (!split_free(h->cache, d, block) && !medium_put(h->cache, h->cache->thread_cache, block))
        free_uncached(h, block);
}

/* Frees a block for which d was looked up. */
HMM__ALWAYS_INLINE void cached_free_of(struct hmm_heap *h, struct run *d, void *block)
{
    struct cache *cache = h->cache;
    if (hmm__unlikely(!cache_free_hit(cache, cache->thread_cache, d, block)))
        cached_free_missed(h, d, block);
}

static void cached_free(struct hmm_heap *h, void *block)
{
    cached_free_of(h, cache_look_up(h->cache, block), block);
}

void *hmm__plain_malloc(struct hmm_heap *h, size_t size)
{
    return has_own_cache(h) ? cached_malloc(h, size) : malloc_uncached(h, size);
}

void hmm__plain_free(struct hmm_heap *h, void *block)
{
    if (has_own_cache(h))
        cached_free(h, block);
    else
        free_uncached(h, block);
}

#if HMM_WITH_REALLOC

/* ---- realloc with a cache ---- */

HMM__ALWAYS_INLINE struct thread_cache *own_thread_cache(const struct hmm_heap *h)
{
    return has_own_cache(h) ? h->cache->thread_cache : NULL;
}

static void *move_down(const struct moving_block *b, size_t size)
{
    struct hmm_heap *h = b->heap;
    struct thread_cache *tc = own_thread_cache(h);
    if (h->check_flags)
        return hmm__plain_malloc(h, size);
    void *p = tc ? cache_malloc_hit(tc, size) : NULL;
    if (p == NULL && tc)
        p = hmm__cache_refill(tc, size);
    return p ? p : hmm__try_malloc(h, size);
}

static void *move_up(const struct moving_block *b, size_t size)
{
    size_t more = cache_with_slack(b->heap->cache, b->usable, size);
    void *p = more != size ? move_down(b, more) : NULL;
    return p != NULL ? p : hmm__plain_malloc(b->heap, size);
}

static void release_moved(const struct moving_block *b)
{
    if (own_thread_cache(b->heap))
        cached_free_of(b->heap, b->run, b->block);
    else
        hmm__plain_free(b->heap, b->block);
}

/* Ends the program if it is a medium block that was freed. */
void *hmm__realloc_block(struct hmm_heap *h, void *block, size_t size)
{
    struct block_view b;
    bool placed = is_placed(h, block, &b);
    if (placed && medium_is_at(h->cache, block, &b))
        hmm__medium_freed_twice(block, "realloc");
    if (h->check_flags)
        return hmm__checked_realloc(h, block, size);
    return placed && h->cache->open ? hmm__realloc_with_slack(h, block, size, b)
                                    : hmm__realloc_exactly(h, block, size);
}

/* The block is looked up once in the page map, and once in the heap. */
static __attribute__((noinline)) void *cached_realloc(struct hmm_heap *h, void *block, size_t size)
{
    static const struct mover mover = {move_up, move_down, release_moved};
    struct thread_cache *tc = own_thread_cache(h);
    struct run *d = cache_look_up(h->cache, block);
    void *p = tc ? cache_realloc_hit(h->cache, tc, d, block, size) : NULL;
    if (p != NULL)
        return p;
    const struct moving_block b = {h, block, hmm__cache_usable(h->cache, d, block, "realloc"), d};
    return b.usable != 0 ? realloc_by_moving(&mover, &b, size) : hmm__realloc_block(h, block, size);
}

#endif

HMM__ALWAYS_INLINE size_t usable_in_cache(const struct hmm_heap *h, const void *block,
                                          const char *operation)
{
    return h->cache ? hmm__cache_usable(h->cache, cache_look_up(h->cache, block), block, operation)
                    : 0;
}

#else

#if HMM_WITH_REALLOC

static void *cached_realloc(struct hmm_heap *h, void *block, size_t size)
{
    return hmm__realloc(h, block, size);
}

#endif

void *hmm__plain_malloc(struct hmm_heap *h, size_t size)
{
    return malloc_uncached(h, size);
}

void hmm__plain_free(struct hmm_heap *h, void *block)
{
    free_uncached(h, block);
}

HMM__ALWAYS_INLINE size_t usable_in_cache(const struct hmm_heap *h, const void *block,
                                          const char *operation)
{
    (void)h, (void)block, (void)operation;
    return 0;
}

#endif

/* ---- The entry points ---- */

void hmm__set_entries(struct hmm_heap *h)
{
    h->malloc_entry = h->check_flags ? hmm__checked_malloc : h->uncached_malloc;
    h->free_entry = h->check_flags ? hmm__checked_free : h->uncached_free;
#if HMM__CACHE
    if (has_own_cache(h)) {
        h->malloc_entry = cached_malloc;
        h->free_entry = cached_free;
    }
#endif
}

void *hmm__entry_malloc(struct hmm_heap *h, size_t size)
{
    return h->malloc_entry(h, size);
}

void hmm__entry_free(struct hmm_heap *h, void *block)
{
    h->free_entry(h, block);
}

void *hmm_heap_malloc(struct hmm_heap *heap, size_t size)
{
    return HMM__ENTRY(malloc)(heap, size);
}

#if HMM_WITH_CALLOC

#if HMM__PAGES

static __attribute__((noinline)) void *large_calloc(struct hmm_heap *h, size_t size)
{
    hmm_ref zero_top = hmm__zero_begin(h);
    void *p = hmm__plain_malloc(h, size);
    if (p != NULL)
        hmm__zero_payload(h, p, zero_top);
    return p;
}

#endif

HMM__ALWAYS_INLINE void *zero(struct hmm_heap *heap, void *p)
{
    return p ? memset(p, 0, hmm_heap_usable_size(heap, p)) : NULL;
}

void *hmm__plain_calloc(struct hmm_heap *heap, size_t count, size_t size)
{
    size_t bytes;
    if (hmm__unlikely(__builtin_mul_overflow(count, size, &bytes)))
        return hmm__fail(heap, SIZE_MAX);
    if (hmm__unlikely(heap->check_flags))
        return hmm__checked_calloc(heap, count, size);
#if HMM__PAGES
    if (bytes >= HMM__ZERO_MIN)
        return large_calloc(heap, bytes);
#endif
    return zero(heap, heap->malloc_entry(heap, bytes));
}

void *hmm_heap_calloc(struct hmm_heap *heap, size_t count, size_t size)
{
    if (hooks_are_set())
        return hmm__hooked_calloc(heap, count, size);
    return hmm__plain_calloc(heap, count, size);
}

#endif

void hmm_heap_free(struct hmm_heap *heap, void *block)
{
    HMM__ENTRY(free)(heap, block);
}

#if HMM_WITH_REALLOC

void *hmm__plain_realloc(struct hmm_heap *heap, void *block, size_t size)
{
    if (heap->cache)
        return cached_realloc(heap, block, size);
    if (heap->check_flags)
        return hmm__checked_realloc(heap, block, size);
    return hmm__realloc(heap, block, size);
}

void *hmm_heap_realloc(struct hmm_heap *heap, void *block, size_t size)
{
    if (hooks_are_set())
        return hmm__hooked_realloc(heap, block, size);
    return hmm__plain_realloc(heap, block, size);
}

#endif

#if HMM_WITH_ALIGNED

void *hmm__plain_aligned_alloc(struct hmm_heap *heap, size_t align, size_t size)
{
    if (hmm__unlikely(heap->check_flags))
        return hmm__checked_aligned_alloc(heap, align, size);
    return hmm__aligned_alloc(heap, align, size);
}

void *hmm_heap_aligned_alloc(struct hmm_heap *heap, size_t align, size_t size)
{
    if (hooks_are_set())
        return hmm__hooked_aligned_alloc(heap, align, size);
    return hmm__plain_aligned_alloc(heap, align, size);
}

#endif

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

#endif
