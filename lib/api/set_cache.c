/* SPDX-License-Identifier: MIT */
/*
 * hmm_heap_set_cache: a cache for a heap of one's own, on or off.
 */
#include "api/api.h"
#include "cache/cache.h"
#include "cache/medium.h"

#if HMM__CACHE

/* The cache's structure lies where its thread caches do. Where there is no room the high end is the
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
    return cache;
}

/* Medium blocks are not looked for any more when they are freed: none may be left. */
static void give_back(struct cache *cache)
{
    if (cache->lock == NULL)
        hmm__cache_trim(cache->thread_cache);
    else
        hmm__medium_empty(cache);
}

/* Memcheck is to see each block, and would not let the cache have the high end. */
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
            give_back(heap->cache);
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
