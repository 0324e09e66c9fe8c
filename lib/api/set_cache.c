/* SPDX-License-Identifier: MIT */
/*
 * hmm_heap_set_cache: the cache of an own heap, and of the process heap, on or off. Calls the cache
 * and the heap.
 */
#include "api/api.h"
#include "cache/cache.h"
#include "cache/medium.h"

#if !HMM__SMALL

#if HMM__CACHE

/* Makes a cache whose struct lies with its tables. NULL: there is no room; the high end is the
 * heap's again. */
static struct cache *open_own(struct hmm_heap *h)
{
    struct cache first, *cache = NULL;
    hmm_ref limit = h->limit, high_limit = h->high_limit;
    if (hmm__cache_open(&first, h, NULL))
        cache = hmm__cache_extend(&first, sizeof *cache, 64);
    if (cache == NULL) {
        hmm__high_raise(h, limit, high_limit);
        return NULL;
    }
    *cache = first;
    cache->thread_cache->cache = cache;
    cache->first_low = cache->low;
    return cache;
}

/* Once the cache is off, a free does not look for medium blocks: none may be left. */
static void empty_cache(struct cache *cache)
{
    if (cache->lock == NULL)
        hmm__cache_trim(cache->thread_cache);
    else
        hmm__medium_empty_all(cache);
}

/* Under memcheck there is no cache: memcheck tracks blocks, and the region's high end is NOACCESS.
 */
int hmm_heap_set_cache(struct hmm_heap *heap, int on)
{
    bool suits = hmm__cache_suits(heap) && !(heap->check_flags & HMM__CHECK_MEMCHECK);
    if (heap->cache == NULL && on && suits) {
        struct cache *cache = open_own(heap);
        if (cache == NULL) {
            hmm__set_errno(ENOMEM);
            return -1;
        }
        hmm__cache_serve(heap, cache);
    }
    if (heap->cache != NULL) {
        heap->cache->open = on && heap->check_flags == 0;
        if (!on)
            empty_cache(heap->cache);
        hmm__set_entries(heap);
    }
    return 0;
}

#else

int hmm_heap_set_cache(struct hmm_heap *heap, int on)
{
    (void)heap;
    if (!on)
        return 0;
    hmm__set_errno(ENOTSUP);
    return -1;
}

#endif

#endif
