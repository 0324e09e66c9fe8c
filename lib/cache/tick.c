/* SPDX-License-Identifier: MIT */
/*
 * The clock is read. tick.h has the theory, and when. Calls remote_free.c and the heap.
 */
#include "cache/tick.h"

#if HMM__CACHE

/* Remote frees that a call which reads the clock returns to their runs: a thread that requests no
 * objects does not look for what others have freed of its own. Less than half a millisecond. */
#define COLLECT_LATE 2048u

/* Whether o, any pointer, is a free object, whose link may be followed. */
static bool is_listed(const struct thread_cache *tc, const struct object *o)
{
    const struct run *d = o != NO_OBJECT ? cache_run_of(tc->cache, o) : NULL;
    return d != NULL && run_may_list(tc->cache, d, o);
}

void hmm__free_list_shorten(struct thread_cache *tc, unsigned c)
{
    struct object *o = tc->free_list[c];
    bool listed = tc->later[c] == NO_OBJECT && is_listed(tc, o);
    for (unsigned n = 1; n < tc->refill_max && listed; n++) {
        o = o->next;
        listed = is_listed(tc, o);
    }
    if (listed) {
        tc->later[c] = o->next;
        o->next = NO_OBJECT;
    }
}

/* The countdowns of tc's active runs are at most so many. */
static void tick_sooner(struct thread_cache *tc, uint16_t frees)
{
    for (unsigned c = 0; c < CACHE_CLASSES; c++) {
        if (tc->active[c] != NULL)
            cache_tick_sooner(tc->active[c], frees);
        for (int32_t at = tc->classes[c].joined; at != 0;
             at = run_rest(run_at(tc->cache, at))->link)
            cache_tick_sooner(run_at(tc->cache, at), frees);
    }
}

uint16_t hmm__cache_tick(struct thread_cache *tc, bool locked)
{
    struct cache *cache = tc->cache;
    if (cache->heap->page_source == NULL) {
        tc->until_tick = INT32_MAX;
        return UINT16_MAX;
    }
    uint16_t before = tc->ticker.frees, next = hmm__ticker_next(&tc->ticker, cache->heap);
    if (next < before)
        tick_sooner(tc, next);
    tc->until_tick = next < HMM__TICK_FREES ? next : TICK_CALLS;
    tc->refill_max = next <= TICK_LIST_RARE ? TICK_LIST_RARE : UINT16_MAX;
    if (!hmm__decommit_is_due_at(cache->heap, tc->ticker.at))
        return next;
    enum lock_hold hold = locked ? LOCK_NONE : cache_lock(cache);
    if (hold == LOCK_UNAVAILABLE)
        return next;
    hmm__tick(cache->heap);
    if (!locked)
        cache_unlock(cache, hold);
    if (!hmm__decommit_is_due(cache->heap))
        return next;
    tc->refill_max = TICK_LIST_DUE;
    for (unsigned c = 0; c < CACHE_CLASSES; c++)
        hmm__free_list_shorten(tc, c);
    tc->until_tick = 1;
    return 1;
}

bool hmm__cache_collect_late(struct thread_cache *tc, bool locked)
{
    if (tc->cache == NULL || tc->cache->lock == NULL || !has_remote_frees(tc))
        return false;
    hmm__collect_remote_frees(tc, COLLECT_LATE, locked);
    return has_remote_frees(tc);
}

void hmm__cache_tick_after(struct thread_cache *tc)
{
    hmm__cache_tick(tc, false);
    if (hmm__cache_collect_late(tc, false))
        tc->until_tick = 1;
}

void *hmm__cache_tick_then(struct thread_cache *tc, void *result)
{
    hmm__cache_tick_after(tc);
    return result;
}

#endif
