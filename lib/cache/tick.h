/* SPDX-License-Identifier: MIT */
/*
 * Time, for a thread that the cache serves without ever coming to the heap. Its frees count: those
 * of objects in an active run by the run's countdown, those of medium blocks by `until_tick`, which
 * the cache's slow paths count down as well. At zero the clock is read; if pages are due to go back
 * to the system, one lock and a step later the next free is asked again if there are more.
 *
 * Each class has a countdown of its own. So that a thread which does little, of many sizes, reads
 * the clock often enough, a countdown is short where frees are rare: by hmm__ticker_next.
 */
#ifndef HMM_CACHE_TICK_H
#define HMM_CACHE_TICK_H

#include "cache/run.h"

#if HMM__CACHE

/* A call of a slow path counts as so many frees. */
#define TICK_SLOW 8u

/* The countdown of a run that becomes active. */
HMM__ALWAYS_INLINE uint16_t cache_tick_countdown(const struct thread_cache *tc)
{
    return tc->cache->heap->page_source ? tc->ticker.frees : UINT16_MAX;
}

/* A countdown has come to zero. Returns what it is from now on. `locked`: the caller has the lock.
 */
HMM__HIDDEN HMM__COLD uint16_t hmm__cache_tick(struct thread_cache *tc, bool locked);

/* The last that a free does, so that it can jump there. */
HMM__HIDDEN HMM__COLD void hmm__cache_tick_free(struct thread_cache *tc);

/* A free that has read the clock: returns some of tc's remote frees to their runs. Whether there
 * are more. */
HMM__HIDDEN HMM__COLD bool hmm__cache_collect_late(struct thread_cache *tc, bool locked);

HMM__ALWAYS_INLINE void cache_count_free(struct thread_cache *tc)
{
    if (hmm__unlikely(--tc->until_tick == 0))
        hmm__cache_tick_free(tc);
}

/* At the beginning or end of a slow path, without the lock. */
HMM__ALWAYS_INLINE void cache_count_slow(struct thread_cache *tc)
{
    tc->until_tick = tc->until_tick > TICK_SLOW ? (uint16_t)(tc->until_tick - TICK_SLOW)
                                                : hmm__cache_tick(tc, false);
}

#endif
#endif
