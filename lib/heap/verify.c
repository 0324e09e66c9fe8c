/* SPDX-License-Identifier: MIT */
/*
 * Verification: the invariants of heap.h, whether a pointer is a block, and the messages for
 * misuse. Calls the strategy's check and lib/base.
 */
#include "heap/block.h"

#if HMM_WITH_CHECKS || !HMM__SMALL

#if HMM_WITH_CHECKS

struct tally {
    uint32_t free_blocks;
    uint64_t free_granules;
    size_t live_blocks, live_bytes, aligned_blocks;
    uint32_t gap_granules;
};

/* Whether one header could always tell of all that two neighbours are (B3). */
static bool headers_reach(const struct hmm_heap *h)
{
#if HMM__SMALL
    (void)h;
    return true;
#else
    return h->brk_peak - h->first <= HMM_MAX_GRANULES;
#endif
}

static bool bounds_are_valid(const struct hmm_heap *h)
{
#if !HMM__SMALL
    if (h->extent != h->top - h->first)
        return false;
#endif
    return h->first <= h->top && h->top <= heap_brk(h) && heap_brk(h) <= h->limit;
}

static const char *check_free_block(const struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    if (block_footer_scaled(h, r + n) != header_make(n, 0))
        return "B4: a free block's footer differs from its size";
    if (r + n == h->top)
        return "B3: a free block touches the top";
    if ((block_header(h, r + n) & HMM__FREE) && headers_reach(h))
        return "B3: two free blocks are neighbours";
    return NULL;
}

static const char *check_blocks(const struct hmm_heap *h, struct tally *t)
{
    uint32_t below = 0;
    for (hmm_ref r = h->first; r != h->top;) {
        uint32_t word = block_header(h, r), n = header_size(word);
        if (n < HMM_MIN_GRANULES || n > h->top - r)
            return "B1: a block's size leads outside the heap";
        if (!(word & HMM__PREV_FREE) != !(below & HMM__FREE))
            return "B2: PREV_FREE contradicts the block below";
        bool gap = block_is_gap(h, r, word);
        if (!gap && (word & HMM__ALIGNED) && ((word & HMM__FREE) || block_alignment(h, r) == 0))
            return "B8: an aligned block is free, or its record does not tell its alignment";
        if (word & HMM__FREE) {
            const char *broken = check_free_block(h, r, n);
            if (broken != NULL)
                return broken;
            t->free_blocks++;
            t->free_granules += n;
        } else if (gap) {
            t->gap_granules += n;
        } else {
            t->live_blocks++;
            t->live_bytes += header_usable(word);
            t->aligned_blocks += (word & HMM__ALIGNED) != 0;
        }
        below = word;
        r += n;
    }
    return NULL;
}

static const char *check_index(struct hmm_heap *h)
{
    uint32_t indexed = free_blocks(h);
    const char *broken = hooks_of(h)->check ? hooks_of(h)->check(h, state_of(h), &indexed) : NULL;
    if (broken == NULL && indexed != free_blocks(h))
        broken = "T1: the index does not hold each free block once";
    return broken;
}

const char *hmm__verify(struct hmm_heap *h)
{
    struct tally t = {0};
    if (!bounds_are_valid(h))
        return "B6: first, top, brk and limit are out of order";
    if (block_header(h, h->top) != HMM__FREE)
        return "B5: the header at the top is not the top's";
    const char *broken = check_blocks(h, &t);
    if (broken != NULL)
        return broken;
    if (t.gap_granules != gap_granules(h))
        return "B9: a gap's header or end was overwritten";
    if (t.free_blocks != free_blocks(h) || t.free_granules != free_granules(h) ||
        t.live_blocks != live_blocks(h) || t.live_bytes + huge_bytes(h) != live_bytes(h) ||
        t.aligned_blocks != h->aligned_blocks)
        return "B7: the counts are not those of the blocks";
#if HMM__PAGES
    broken = hmm__large_verify(h);
    if (broken == NULL)
        broken = hmm__absent_verify(h);
    if (broken != NULL)
        return broken;
#endif
    return check_index(h);
}

#endif

bool hmm__seems_valid(const struct hmm_heap *h, const void *payload)
{
    size_t at = ref_or_more(h, payload);
    if (at < h->first || at >= h->top)
        return false;
    hmm_ref r = (hmm_ref)at;
    uint32_t word = block_header(h, r), n = header_size(word);
    if ((word & HMM__FREE) || n < HMM_MIN_GRANULES || n > h->top - r)
        return false;
    uint32_t above = block_header(h, r + n);
    if (above & HMM__PREV_FREE)
        return false;
    if (word & HMM__PREV_FREE) {
        uint32_t scaled = block_footer_scaled(h, r), prev_size = header_size(scaled);
        if (prev_size - 1 >= r - h->first ||
            (block_header(h, r - prev_size) & ~(uint32_t)HMM__PREV_FREE) != (scaled | HMM__FREE))
            return false;
    }
    if (!(above & HMM__FREE) || r + n == h->top)
        return true;
    uint32_t next_size = header_size(above);
    return next_size >= HMM_MIN_GRANULES && next_size <= h->top - r - n &&
           block_footer_scaled(h, r + n + next_size) == header_scaled(above);
}

void hmm__block_broken(const struct hmm_heap *h, hmm_ref r)
{
    uint32_t n = block_size(h, r);
    if (n < HMM_MIN_GRANULES || n > h->top - r)
        hmm__panic("block", block_payload(h, r),
                   "its header was overwritten: its size leads outside the heap");
    hmm__panic("block", block_payload(h, r),
               "its header or its end was overwritten: they contradict each other");
}

void hmm__links_broken(const struct hmm_heap *h, hmm_ref r)
{
    hmm__panic("free block", block_payload(h, r), "its links were overwritten");
}

/* Whether payload is the start of a block in use, by a linear walk. If a broken header ends the
 * walk before payload, and payload seems valid, the broken block ends the program; if it does not
 * seem valid, the caller reports payload. */
bool hmm__is_block(const struct hmm_heap *h, const void *payload)
{
    hmm_ref r = h->first;
    while (r != h->top && block_payload(h, r) < payload) {
        uint32_t n = block_size(h, r);
        if (n < HMM_MIN_GRANULES || n > h->top - r) {
            if (hmm__seems_valid(h, payload))
                hmm__block_broken(h, r);
            return false;
        }
        r += n;
    }
    return r != h->top && block_payload(h, r) == payload && !(block_header(h, r) & HMM__FREE);
}

/* Ends the program with a message that says why payload is not a valid block in use. */
void hmm__misuse(const struct hmm_heap *h, const void *payload, const char *operation)
{
    uintptr_t at = (uintptr_t)payload;
    if (at < (uintptr_t)block_payload(h, h->first) ||
        at >= (uintptr_t)block_payload(h, heap_brk(h)))
        hmm__panic(operation, payload, "pointer outside the heap");
    if ((at - (uintptr_t)h) % HMM_GRANULE != 0)
        hmm__panic(operation, payload, "not a block: the pointer is misaligned");
    hmm_ref r = block_of(h, payload);
    uint32_t word = block_header(h, r), n = header_size(word);
    if (word & HMM__FREE)
        hmm__panic(operation, payload, "double free, or not a block: it is not in use");
    if (r >= h->top)
        hmm__panic(operation, payload, "not a block: the pointer is above the last one");
    if (n < HMM_MIN_GRANULES || n > h->top - r)
        hmm__panic(operation, payload,
                   "not a block, or its header was overwritten: its size leads outside the heap");
    if (!hmm__seems_valid(h, payload))
        hmm__panic(operation, payload,
                   "not a block, or a header was overwritten: it contradicts its neighbours");
    hmm__panic(operation, payload, "not a block: the pointer is inside one");
}

#endif
