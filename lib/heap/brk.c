/* SPDX-License-Identifier: MIT */
/*
 * The simulated break: when it rises and falls. Calls pages.c.
 *
 * It rises to what is needed plus a step, a 256th of the bytes below it. So a growing heap moves it
 * about 180 times for each doubling, and it is at most 0.4 % too high. It falls when the free top
 * exceeds sixteen steps, and then leaves two: a program that frees and allocates at the top does
 * not move it each time.
 */
#include "heap/block.h"

#if !HMM__SMALL

#define STEP_SHIFT 8
#define STEP_MIN (4096u / HMM_GRANULE)

/* At least 4 KiB, or a 64th of a smaller region. */
uint32_t hmm__brk_step(const struct hmm_heap *h)
{
    uint32_t min = h->limit / 64 < STEP_MIN ? h->limit / 64 : STEP_MIN;
    uint32_t step = (h->brk - h->first) >> STEP_SHIFT;
    return step > min ? step : min;
}

/* Called after each change of the break or the limit. */
void hmm__brk_settle(struct hmm_heap *h)
{
    HMM_ASSERT(h->first <= h->top && h->top <= h->brk && h->brk <= h->limit);
    uint64_t slack = (uint64_t)hmm__brk_step(h) * 16;
    h->trim_below = h->brk > slack ? h->brk - (uint32_t)slack : 0;
    if (h->brk > h->brk_peak)
        h->brk_peak = h->brk;
    if (h->limit < h->zero_limit)
        h->zero_limit = h->limit;
}

/* Raises the break to at least `to`. False iff that is above the limit, or the system has no pages
 * for it. */
bool hmm__brk_raise(struct hmm_heap *h, hmm_ref to)
{
    if (to > h->limit)
        return false;
    uint32_t step = hmm__brk_step(h);
    hmm_ref brk = h->limit - to < step ? h->limit : to + step;
    if (hmm__unlikely(brk > h->capacity) && !hmm__apart_follow(h, brk)) {
        if (to > h->capacity && !hmm__apart_follow(h, to))
            return false;
        brk = h->capacity < brk ? h->capacity : brk;
    }
    if (brk > h->committed_end && !hmm__commit(h, brk)) {
        if (!hmm__commit(h, to))
            return false;
        brk = to;
    }
    hmm_ref resident = h->brk > h->zero_top ? h->brk : h->zero_top;
    if (brk > resident && brk - resident >= HMM__LARGE_GRANULES)
        hmm__decommit_instead(h, brk - resident);
    h->brk = brk;
    hmm__brk_settle(h);
    return true;
}

/* The top is below trim_below. */
void hmm__brk_lower(struct hmm_heap *h)
{
    uint32_t slack = 2 * hmm__brk_step(h);
    if (h->brk - h->top > slack) {
        h->brk = h->top + slack;
        hmm__brk_settle(h);
    }
}

void *hmm_heap_break(const struct hmm_heap *heap)
{
    return block_payload(heap, heap->brk);
}

/* Ends the heap at `to`; the region above it is the caller's. False iff that is in use. */
bool hmm__high_lower(struct hmm_heap *h, hmm_ref to)
{
    if (to < h->top || h->state_place == HMM__STATE_HIGH)
        return false;
    h->high_limit = h->limit = to;
    if (h->committed_end > to && h->committed_end != UINT32_MAX)
        h->committed_end = to;
    if (h->brk > to)
        h->brk = to;
    hmm__brk_settle(h);
    return true;
}

/* Undoes hmm__high_lower: the heap ends at the earlier limits again. */
void hmm__high_raise(struct hmm_heap *h, hmm_ref limit, hmm_ref high_limit)
{
    h->limit = limit;
    h->high_limit = high_limit;
    hmm__brk_settle(h);
}

#endif
