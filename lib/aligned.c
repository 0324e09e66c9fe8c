/* SPDX-License-Identifier: MIT */
/*
 * Allocation at an alignment above the granule's.
 *
 * The strategy is asked for a block so large that an aligned one lies in it wherever it begins;
 * what is left before and behind goes back. The top needs no such slack. Before a request fails,
 * every free block is looked at: one may hold it by where it happens to lie. That walk is linear,
 * and done only instead of failing.
 */
#include "block.h"

/* Granules from r to the first place at which a payload is aligned and a block fits before it. */
static uint32_t front_gap(const struct hmm_heap *h, hmm_ref r, size_t align)
{
    uintptr_t at = (uintptr_t)block_payload(h, r);
    size_t gap = (size_t)(-at & (align - 1)) / HMM_GRANULE;
    if (gap != 0 && gap < HMM_MIN_GRANULES)
        gap += align / HMM_GRANULE;
    return (uint32_t)gap;
}

/* The worst front_gap. */
static size_t most_gap(size_t align)
{
    return align / HMM_GRANULE - 1 + 2 * (HMM_MIN_GRANULES - 1);
}

/* Free block r, still in the index: makes its granules [gap, gap + n) a used block. */
static hmm_ref cut_out(struct hmm_heap *h, hmm_ref r, uint32_t gap, uint32_t n)
{
    uint32_t s = block_size(h, r), rest = s - gap - n;
    uint32_t prev_bit = block_header(h, r) & HMM__PREV_FREE;
    hmm_ref at = r + gap;
    h->strategy->remove(h, h->state, r);
    h->free_blocks--;
    if (rest >= HMM_MIN_GRANULES) {
        block_make_free(h, at + n, rest, 0);
        h->strategy->insert(h, h->state, at + n);
        h->free_blocks++;
        h->splits++;
    } else {
        n = s - gap;
        block_clear_prev_free(h, at + n);
    }
    if (gap != 0) {
        block_make_free(h, r, gap, prev_bit);
        h->strategy->insert(h, h->state, r);
        h->free_blocks++;
        h->splits++;
        prev_bit = HMM__PREV_FREE;
    }
    block_set_header(h, at, header_make(n, prev_bit | HMM__ALIGNED));
    return at;
}

static hmm_ref from_top(struct hmm_heap *h, size_t align, uint32_t n)
{
    hmm_ref r = h->top;
    uint32_t gap = front_gap(h, r, align), room = h->limit - r;
    if (room < gap || room - gap < n || (h->brk - r < gap + n && !hmm__brk_raise(h, r + gap + n)))
        return 0;
    hmm_ref at = r + gap;
    block_make_top(h, at + n);
    block_set_header(h, at, header_make(n, (gap ? HMM__PREV_FREE : 0u) | HMM__ALIGNED));
    if (gap != 0) {
        block_make_free(h, r, gap, 0);
        h->strategy->insert(h, h->state, r);
        h->free_blocks++;
    }
    return at;
}

static hmm_ref by_walk(struct hmm_heap *h, size_t align, uint32_t n)
{
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r)) {
        uint32_t word = block_header(h, r), gap = front_gap(h, r, align);
        h->visited++;
        if ((word & HMM__FREE) && header_size(word) >= gap && header_size(word) - gap >= n)
            return cut_out(h, r, gap, n);
    }
    return 0;
}

void *hmm__aligned_alloc(struct hmm_heap *h, size_t align, size_t size)
{
    if (align == 0 || (align & (align - 1)) != 0) {
        h->failed++;
        hmm__set_errno(EINVAL);
        return NULL;
    }
    if (align <= HMM_GRANULE)
        return hmm__malloc(h, size);
    if (size > HMM_MAX_REQUEST || align > HMM_MAX_REQUEST)
        return hmm__fail(h);
    if (align > h->most_align)
        h->most_align = align;
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = 0;
    if (n + most_gap(align) <= HMM_MAX_GRANULES)
        r = h->strategy->find(h, h->state, (uint32_t)(n + most_gap(align)));
    if (r != 0)
        r = cut_out(h, r, front_gap(h, r, align), n);
    else if ((r = from_top(h, align, n)) == 0)
        r = by_walk(h, align, n);
    if (r == 0)
        return hmm__fail(h);
    n = block_size(h, r);
    h->live_blocks++;
    live_add(h, block_usable(n));
    if (h->placed)
        h->placed(h, h->state, r, n);
    return block_payload(h, r);
}

void *hmm_heap_aligned_alloc(struct hmm_heap *heap, size_t align, size_t size)
{
    if (hmm__unlikely(heap->watch))
        return hmm__watched_aligned_alloc(heap, align, size);
    return hmm__aligned_alloc(heap, align, size);
}
