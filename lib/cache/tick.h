/* SPDX-License-Identifier: MIT */
/*
 * Time, for a thread that the cache serves without ever coming to the heap: at each
 * CACHE_TICK_FREES frees in an active run it is asked whether pages are due to go back to the
 * system, and one lock and a step later the next free is asked again if there are more.
 */
#ifndef HMM_CACHE_TICK_H
#define HMM_CACHE_TICK_H

#include "cache/cache.h"

#if HMM__CACHE

#define CACHE_TICK_FREES 128u

/* The countdown of an active run. */
HMM__ALWAYS_INLINE uint16_t cache_tick_countdown(const struct cache *cache)
{
    return cache->heap->page_source ? CACHE_TICK_FREES : UINT16_MAX;
}

/* It has come to zero. Returns what it is from now on. `locked`: the caller has the lock. */
static inline uint16_t cache_tick(struct cache *cache, bool locked)
{
    if (!hmm__decommit_is_due(cache->heap))
        return cache_tick_countdown(cache);
    enum lock_hold hold = locked ? LOCK_NONE : cache_lock(cache);
    if (hold == LOCK_UNAVAILABLE)
        return CACHE_TICK_FREES;
    hmm__tick(cache->heap);
    if (!locked)
        cache_unlock(cache, hold);
    return hmm__decommit_is_due(cache->heap) ? 1 : CACHE_TICK_FREES;
}

#endif
#endif
