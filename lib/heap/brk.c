/* SPDX-License-Identifier: MIT */
/*
 * The simulated break: where it stands, how it rises and falls.
 *
 * It rises by what is needed and a 256th of what the blocks have, so that a heap that grows n-fold
 * moves it about 180 times a doubling and never stands more than 0.4 % too high. It falls when the
 * free top exceeds sixteen such steps, and then leaves two: a program that frees and allocates at
 * the top does not move it each time.
 */
#include "heap/block.h"

#define STEP_SHIFT 8
#define STEP_MIN (4096u / HMM_GRANULE)

/* The least step is a page, less in a small region. */
static uint32_t brk_step(const struct hmm_heap *h)
{
    uint32_t min = h->limit / 64 < STEP_MIN ? h->limit / 64 : STEP_MIN;
    uint32_t step = (h->brk - h->first) >> STEP_SHIFT;
    return step > min ? step : min;
}

/* To be called whenever the break or the limit has changed. */
void hmm__brk_settle(struct hmm_heap *h)
{
    uint64_t slack = (uint64_t)brk_step(h) * 16;
    h->trim_below = h->brk > slack ? h->brk - (uint32_t)slack : 0;
    if (h->brk > h->brk_peak)
        h->brk_peak = h->brk;
}

/* So that [.., to) is below the break. False iff that is above the limit, or the
 * system has no pages for it. */
bool hmm__brk_raise(struct hmm_heap *h, hmm_ref to)
{
    if (to > h->limit)
        return false;
    uint32_t step = brk_step(h);
    hmm_ref brk = h->limit - to < step ? h->limit : to + step;
    if (brk > h->committed_end && !hmm__commit(h, brk)) {
        if (!hmm__commit(h, to))
            return false;
        brk = to;
    }
    h->brk = brk;
    hmm__brk_settle(h);
    return true;
}

/* The top has fallen below trim_below. */
void hmm__brk_lower(struct hmm_heap *h)
{
    uint32_t put_medium = 2 * brk_step(h);
    if (h->brk - h->top > put_medium) {
        h->brk = h->top + put_medium;
        hmm__brk_settle(h);
    }
}

void *hmm_heap_break(const struct hmm_heap *heap)
{
    return block_payload(heap, heap->brk);
}

/* What lies above `to` is no longer the heap's. False iff it cannot be spared. */
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

/* What hmm__high_lower took is the heap's again. */
void hmm__high_raise(struct hmm_heap *h, hmm_ref limit, hmm_ref high_limit)
{
    h->limit = limit;
    h->high_limit = high_limit;
    hmm__brk_settle(h);
}
