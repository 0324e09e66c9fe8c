/* SPDX-License-Identifier: MIT */
/*
 * Gaps: where a mapping of somebody else's is in the way of the break, in a region that is mapped
 * in place. Calls the page source, apart.c, brk.c, large.c and the strategy's insert.
 *
 * The heap goes on above it. What lies between is made a used block that nobody has:
 *
 *     | blocks ... | free | header | the other's mapping ...   record | top
 *                         ^ committed                    ^ committed from here on
 *
 * Its header and its end are in memory of the heap, what is between is never read. It is ALIGNED
 * with a record that is no alignment: whoever frees it is told that it is no block. No count has it
 * in it, and walks pass over it.
 */
#include "heap/block.h"

#if HMM__PAGES

/* The memory above is not used after all. */
static bool leave_gap(struct hmm_heap *h, char *at, size_t bytes)
{
    h->page_source->unmap(at, at + bytes);
    return false;
}

/* What is left of the top becomes a free block. */
static void free_rest(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    block_make_free(h, r, n, 0);
    h->strategy->insert(h, h->state, r);
    h->free_unbinned++;
    h->top_blocks++;
    if (header_make(n, 0) > h->large_above)
        hmm__large_joined(h, r, 0, header_make(n, 0), 0);
}

/* Makes [from, to) the gap; `to` is the top then. */
static void make_gap(struct hmm_heap *h, hmm_ref from, hmm_ref to)
{
    hmm_ref was = h->top;
    block_make_top(h, to);
    block_set_header(h, from, header_make(to - from, HMM__ALIGNED));
    block_set_gap_record(h, from, to);
    h->gap_granules += to - from;
    if (from == was)
        return;
    block_set_header(h, from, block_header(h, from) | HMM__PREV_FREE);
    free_rest(h, was, from - was);
}

bool hmm__bridge(struct hmm_heap *h, uint32_t n)
{
    const struct hmm__page_source *source = h->page_source;
    hmm_ref from = h->committed_end;
    if (source == NULL || source->past == NULL)
        return false;
    from = from - h->top < HMM_MIN_GRANULES ? h->top : from;
    size_t bytes = ((size_t)n + 2) * HMM_GRANULE;
    size_t max = (size_t)(HMM_MAX_GRANULES - 2) * HMM_GRANULE;
    if (from - h->top > HMM_MAX_GRANULES)
        return false;
    char *at = source->past(block_payload(h, h->committed_end), bytes, max);
    if (at == NULL)
        return false;
    hmm_ref to = block_of(h, at) + 1, brk = to + n;
    if (to >= h->limit || h->limit - to < n || to - from > HMM_MAX_GRANULES ||
        (brk > h->capacity && !hmm__apart_follow(h, brk)) || !hmm__commit_table(h, brk))
        return leave_gap(h, at, bytes);
    h->committed_end = brk + 1;
    h->brk = brk;
    make_gap(h, from, to);
    hmm__brk_settle(h);
    return true;
}

#endif
