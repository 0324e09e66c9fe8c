/* SPDX-License-Identifier: MIT */
/*
 * malloc and free by a strategy's hooks, and the slow path of all: the top, the break, the cache's
 * reclaim, failure. place.h has the common path. Calls brk.c, pages.c, the strategy's hooks and the
 * cache's reclaim.
 */
#include "heap/place.h"

void *hmm__fail(struct hmm_heap *h, size_t size)
{
    h->failed++;
    if (h->refused)
        h->refused(h, size, false);
    hmm__set_errno(ENOMEM);
    return NULL;
}

void hmm__take_back_failure(struct hmm_heap *h)
{
    h->failed--;
    if (h->refused)
        h->refused(h, 0, true);
}

/* ---- Where the strategy has no free block ---- */

/* Counts used block r, of n granules, as live. */
static void *count_and_return(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    live_add(h, block_usable(n));
    if (h->placed)
        h->placed(h, h->state, r, n);
    return block_payload(h, r);
}

/* From the top, below the break. NULL: there is less. */
static void *try_top(struct hmm_heap *h, uint32_t n)
{
    void *p = allocate_from_top(h, n);
    if (p != NULL && h->placed)
        h->placed(h, h->state, block_of(h, p), n);
    return p;
}

static void *try_granules(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = h->take(h, h->state, n);
    return r ? finish_allocation(h, r, n, block_size(h, r)) : try_top(h, n);
}

void *hmm__try_malloc(struct hmm_heap *h, size_t size)
{
    return size <= HMM_MAX_REQUEST ? try_granules(h, hmm__granules_for(size)) : NULL;
}

static void *raise_and_try(struct hmm_heap *h, uint32_t n)
{
    if (h->limit - h->top < n)
        return NULL;
    return hmm__brk_raise(h, h->top + n) || hmm__bridge(h, n) ? try_top(h, n) : NULL;
}

/* By the strategy's last search, if it has one. */
static HMM__COLD void *search_last(struct hmm_heap *h, uint32_t n)
{
    const struct hmm_strategy *s = h->strategy;
    hmm_ref r = s->find_last ? s->find_last(h, h->state, n) : 0;
    if (r == 0)
        return NULL;
    uint32_t size = block_size(h, r);
    if (hmm__unlikely(!block_is_valid(h, r, block_header(h, r))))
        hmm__block_broken(h, r);
    s->remove(h, h->state, r);
    if (size - n >= HMM_MIN_GRANULES) {
        block_make_free(h, r + n, size - n, 0);
        s->insert(h, h->state, r + n);
    }
    return count_and_return(h, r, carve(h, block_payload(h, r), n, size));
}

/* The cache returns all that it can before the request fails. */
static HMM__COLD void *malloc_or_fail(struct hmm_heap *h, uint32_t n)
{
    void *p = search_last(h, n);
    if (p == NULL && h->limit - h->first >= n && hmm__reclaim(h, HMM__RECLAIM_ALL)) {
        p = try_granules(h, n);
        if (p == NULL)
            p = raise_and_try(h, n);
        if (p == NULL)
            p = search_last(h, n);
    }
    return p ? p : hmm__fail(h, block_usable(n));
}

/* The top below the break is too small: the cache returns what is idle, else the break rises. */
static __attribute__((noinline)) void *raise_and_malloc(struct hmm_heap *h, uint32_t n)
{
    void *p = hmm__reclaim(h, HMM__RECLAIM_IDLE) ? try_granules(h, n) : NULL;
    if (p == NULL)
        p = raise_and_try(h, n);
    return p ? p : malloc_or_fail(h, n);
}

static __attribute__((noinline)) void *tell_placed(struct hmm_heap *h, void *payload, uint32_t n)
{
    h->placed(h, h->state, block_of(h, payload), n);
    return payload;
}

void *hmm__malloc_else(struct hmm_heap *h, uint32_t n)
{
    void *p = allocate_from_top(h, n);
    if (hmm__unlikely(p == NULL))
        return raise_and_malloc(h, n);
    return h->placed ? tell_placed(h, p, n) : p;
}

/* ---- The slow path of free ---- */

/* The free blocks below it merge into the top too. Headers that become part of the top keep FREE,
 * so that a double free is still detected. */
void hmm__merge_into_top(struct hmm_heap *h, char *p, hmm_ref r)
{
    uint32_t word = word_load(p);
    hmm_ref low = r;
    if (hmm__unlikely(block_header(h, h->top) != HMM__FREE ||
                      ((word & HMM__PREV_FREE) && !prev_agrees(h, r, p, footer_load(p), &low)))) {
        hmm__free_invalid(h, p);
        return;
    }
    word_store(p, word | HMM__FREE);
    hmm_ref was = h->top;
    if (was > h->zero_top)
        h->zero_top = was;
    while (word & HMM__PREV_FREE) {
        hmm_ref end = r;
        r = low;
        h->strategy->remove(h, h->state, r);
        char *q = block_payload(h, r);
        word = word_load(q);
        if (header_scaled(word) > h->large_above)
            hmm__large_drop(h, end);
        h->free_unbinned--;
        h->merges++;
        if (hmm__unlikely((word & HMM__PREV_FREE) && !prev_agrees(h, r, q, footer_load(q), &low)))
            hmm__block_broken(h, r);
    }
    block_make_top(h, r);
    h->top_blocks--;
    if (hmm__unlikely(r < h->trim_below)) {
        hmm__brk_lower(h);
        if (was > h->top_seen)
            h->top_seen = was;
        hmm__decommit_due(h);
        hmm__decommit_excess(h, was - r);
        if (hmm__unlikely(h->scarce))
            hmm__decommit_scarce(h);
    }
}

void hmm__free_invalid(struct hmm_heap *h, void *payload)
{
    if (payload != NULL && !(h->foreign && h->foreign(h, payload, "free")))
        hmm__misuse(h, payload, "free");
}

/* Freeing an ALIGNED block removes its record. */
void hmm__free_else(struct hmm_heap *h, void *payload)
{
    hmm_ref r = block_of(h, payload);
    if (hmm__unlikely(!hmm__seems_valid(h, payload))) {
        hmm__free_invalid(h, payload);
        return;
    }
    uint32_t word = word_load(payload);
    if (word & HMM__ALIGNED) {
        hmm__alignment_of(h, r, "free");
        word_clear(payload, HMM__ALIGNED);
        h->aligned_blocks--;
    }
    live_sub(h, header_usable(word));
    hmm__release(h, r);
}

/* ---- By the hooks ---- */

static void hook_insert(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    (void)p, (void)size;
    h->strategy->insert(h, state, r);
}

static void hook_drop(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    (void)p, (void)size;
    h->strategy->remove(h, state, r);
}

static void hook_resize(struct hmm_heap *h, void *state, hmm_ref was, char *was_p, size_t was_size,
                        hmm_ref now, char *now_p, size_t size)
{
    (void)was_p, (void)now_p, (void)size;
    h->resize(h, state, was, (uint32_t)was_size, now);
}

static void hook_merge_next(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                            uint32_t next_header, size_t to_top)
{
    merge_next_by(h, p, r, scaled, next_header, to_top, hook_resize, NULL);
}

static void hook_merge_prev(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                            uint32_t next_header, size_t to_top)
{
    (void)next_header, (void)to_top;
    merge_prev_by(h, p, r, scaled, hook_resize, NULL);
}

static void hook_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled, size_t next_size,
                           size_t prev_size)
{
    join_both(h, p, r, scaled, next_size, prev_size, hook_drop, hook_resize);
}

static void hook_merge_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                            uint32_t next_header, size_t to_top)
{
    merge_both_by(h, p, r, scaled, next_header, to_top, hook_join_both, NULL);
}

/* Frees block r at p and merges it with the neighbours whose sizes are given, 0 if there is none or
 * it stays apart; prev_bit is set if the block below is free and stays apart. */
static void release_with(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled, size_t next_size,
                         size_t prev_size, uint32_t prev_bit)
{
    hmm_ref low = r - (hmm_ref)scaled_granules(prev_size);
    if (next_size != 0 && prev_size != 0) {
        hook_join_both(h, p, r, scaled, next_size, prev_size);
    } else if (next_size != 0) {
        join_next(h, p, r, scaled, next_size, prev_bit, hook_resize);
    } else if (prev_size != 0) {
        join_prev(h, p, low, scaled, prev_size, hook_resize);
    } else {
        word_store(p, (uint32_t)scaled + HMM__FREE + prev_bit);
        footer_store(p + scaled_bytes(scaled), (uint32_t)scaled);
        word_set(p + scaled_bytes(scaled), HMM__PREV_FREE);
        h->free_unbinned++;
        h->strategy->insert(h, h->state, r);
    }
    if (h->large != NULL && prev_size + scaled + next_size > h->large_above)
        hmm__large_joined(h, low, prev_size, scaled, next_size);
}

/* Frees block r at p, which together with its free neighbours is too large for a header (B3):
 * merges it with one of them, if that fits, or with none. */
static void release_too_large(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                              size_t next_size, size_t prev_size)
{
    uint32_t prev_bit = prev_size ? HMM__PREV_FREE : 0;
    hmm_ref next = r + (hmm_ref)scaled_granules(scaled);
    if (h->large != NULL && next_size > h->large_above) /* no join will do it */
        hmm__large_clip(hmm__large_at(h, next + (hmm_ref)scaled_granules(next_size)), next);
    if (next_size != 0 && scaled + next_size <= UINT32_MAX)
        release_with(h, p, r, scaled, next_size, 0, prev_bit);
    else if (prev_size != 0 && prev_size + scaled <= UINT32_MAX)
        release_with(h, p, r, scaled, 0, prev_size, 0);
    else
        release_with(h, p, r, scaled, 0, 0, prev_bit);
}

void hmm__slow_release(struct hmm_heap *h, char *p, hmm_ref r)
{
    uint32_t word = word_load(p), next_header = word_load(p + scaled_bytes(header_scaled(word)));
    size_t scaled = header_scaled(word);
    size_t next_size = next_header & HMM__FREE ? header_scaled(next_header) : 0;
    size_t prev_size = word & HMM__PREV_FREE ? footer_load(p) : 0;
    if (prev_size + scaled + next_size > UINT32_MAX)
        release_too_large(h, p, r, scaled, next_size, prev_size);
    else
        release_with(h, p, r, scaled, next_size, prev_size, 0);
}

void *hmm__malloc_by_hooks(struct hmm_heap *h, size_t size)
{
    if (hmm__unlikely(size > HMM_MAX_REQUEST))
        return hmm__fail(h, size);
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = h->take(h, h->state, n);
    return r ? finish_allocation(h, r, n, block_size(h, r)) : hmm__malloc_else(h, n);
}

void hmm__free_by_hooks(struct hmm_heap *h, void *payload)
{
    free_by(h, payload, hook_insert, hook_merge_next, hook_merge_prev, hook_merge_both);
}

void hmm__release(struct hmm_heap *h, hmm_ref block)
{
    char *p = block_payload(h, block);
    HMM_ASSERT(block >= h->first && block < h->top);
    uint32_t word = word_load(p), next_header = word_load(p + scaled_bytes(header_scaled(word)));
    size_t scaled = header_scaled(word), to_top = (size_t)(h->top - block) << HMM__SIZE_SHIFT;
    bool prev_is_free = word & HMM__PREV_FREE;
    if (next_header & HMM__FREE)
        (prev_is_free ? hook_merge_both : hook_merge_next)(h, p, block, scaled, next_header,
                                                           to_top);
    else if (prev_is_free)
        hook_merge_prev(h, p, block, scaled, next_header, to_top);
    else
        release_alone(h, p, block, scaled, hook_insert);
}
