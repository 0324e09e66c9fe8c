/* SPDX-License-Identifier: MIT */
/*
 * Time, for a thread that the cache serves without ever coming to the heap. Its calls count: frees
 * of objects in an active run by the run's countdown; by `until_tick` realloc, medium blocks, and
 * the cache's slow paths, a refill as often as it puts objects into the free list, since as many
 * calls of malloc follow that do not count. At zero the clock is read; if pages are due to go back
 * to the system, one lock and a step later the next call is asked again if there are more.
 *
 * Each class has a countdown of its own. So that a thread which does little, of many sizes, reads
 * the clock often enough, a countdown is short where calls are rare: by hmm__ticker_next. Refills
 * are short then, too, and free lists while pages are due: what is more is for later refills. So
 * who only requests objects soon comes to one.
 */
#ifndef HMM_CACHE_TICK_H
#define HMM_CACHE_TICK_H

#include "cache/run.h"

#if HMM__CACHE

/* With a busy thread the clock is read every so many calls, and where these are not frees of
 * objects in active runs. */
#define TICK_CALLS 256

/* A call of a slow path counts as so many calls. */
#define TICK_SLOW 8

/* Objects of a free list where the clock is read every so many calls or less; where pages are due.
 */
#define TICK_LIST_RARE 32u
#define TICK_LIST_DUE 4u

/* The countdown of a run that becomes active. */
HMM__ALWAYS_INLINE uint16_t cache_tick_countdown(const struct thread_cache *tc)
{
    return tc->cache->heap->page_source ? tc->ticker.frees : UINT16_MAX;
}

/* A countdown has come to zero. Sets until_tick, and returns what the countdown is from now on.
 * `locked`: the caller has the lock. */
HMM__HIDDEN HMM__COLD uint16_t hmm__cache_tick(struct thread_cache *tc, bool locked);

/* Of the free list refill_max objects stay, and others are for later. Not if some are already, or
 * a link does not lead to a free object. */
HMM__HIDDEN HMM__COLD void hmm__free_list_shorten(struct thread_cache *tc, unsigned c);

/* d's countdown is at most so many. */
HMM__ALWAYS_INLINE void cache_tick_sooner(struct run *d, uint16_t frees)
{
    if (d->countdown > frees)
        run_set_countdown(d, frees);
}

/* The last that a free does, so that it can jump there. */
HMM__HIDDEN HMM__COLD void hmm__cache_tick_after(struct thread_cache *tc);

/* A free that has read the clock: returns some of tc's remote frees to their runs. Whether there
 * are more. */
HMM__HIDDEN HMM__COLD bool hmm__cache_collect_late(struct thread_cache *tc, bool locked);

/* The same; returns `result`. */
HMM__HIDDEN HMM__COLD __attribute__((returns_nonnull)) void *
hmm__cache_tick_then(struct thread_cache *tc, void *result);

HMM__ALWAYS_INLINE bool cache_is_tick_due(const struct thread_cache *tc)
{
    return hmm__unlikely(tc->until_tick <= 0);
}

/* Counts a call. Whether it is to go another way, where the clock is read. */
HMM__ALWAYS_INLINE bool cache_count_is_over(struct thread_cache *tc)
{
    return hmm__unlikely(--tc->until_tick <= 0);
}

HMM__ALWAYS_INLINE void cache_count(struct thread_cache *tc)
{
    if (cache_count_is_over(tc))
        hmm__cache_tick_after(tc);
}

/* A call that returns `result`. */
HMM__ALWAYS_INLINE void *cache_count_then(struct thread_cache *tc, void *result)
{
    return cache_count_is_over(tc) ? hmm__cache_tick_then(tc, result) : result;
}

/* So many calls follow that do not count. */
HMM__ALWAYS_INLINE void cache_count_ahead(struct thread_cache *tc, uint32_t calls)
{
    tc->until_tick -= (int32_t)calls;
}

/* At the beginning or end of a slow path, without the lock. */
HMM__ALWAYS_INLINE void cache_count_slow(struct thread_cache *tc)
{
    tc->until_tick -= TICK_SLOW;
    if (cache_is_tick_due(tc))
        hmm__cache_tick(tc, false);
}

#endif
#endif
