/* SPDX-License-Identifier: MIT */
/*
 * malloc and free for strategies that leave them to the core, and what is rare in all of them: the
 * top, the break, the cache's reclaim, failure. The common paths are in place.h.
 */
#include "heap/place.h"

void *hmm__fail(struct hmm_heap *h)
{
    h->failed++;
    hmm__set_errno(ENOMEM);
    return NULL;
}

/* ---- Where the strategy has no free block ---- */

/* Used block r, of n granules, is the answer. */
static void *answer(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    live_add(h, block_usable(n));
    if (h->placed)
        h->placed(h, h->state, r, n);
    return block_payload(h, r);
}

/* The top as far as it goes up to the break. NULL: not so far. */
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
    if (h->limit - h->top < n || !hmm__brk_raise(h, h->top + n))
        return NULL;
    return try_top(h, n);
}

/* Whatever search the strategy has left. */
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
    return answer(h, r, carve(h, block_payload(h, r), n, size));
}

/* Nothing has so much: the cache gives back all that it can before the request fails. */
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
    return p ? p : hmm__fail(h);
}

/* The top ends at the break. */
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

/* ---- What is rare in freeing ---- */

/*
 * Block r at p ends at the top: it melts into it, and whatever is free below it too. Headers that
 * become part of the top keep FREE, so that a double free is still seen.
 */
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
    while (word & HMM__PREV_FREE) {
        r = low;
        h->strategy->remove(h, h->state, r);
        char *q = block_payload(h, r);
        word = word_load(q);
        h->free_unbinned--;
        h->merges++;
        if (hmm__unlikely((word & HMM__PREV_FREE) && !prev_agrees(h, r, q, footer_load(q), &low)))
            hmm__block_broken(h, r);
    }
    block_make_top(h, r);
    h->top_blocks--;
    if (hmm__unlikely(r < h->trim_below))
        hmm__brk_lower(h);
    if (hmm__unlikely(h->live_below_peak > h->decommit_threshold))
        hmm__decommit(h);
}

void hmm__free_invalid(struct hmm_heap *h, void *payload)
{
    if (payload != NULL && !(h->foreign && h->foreign(h, payload, "free")))
        hmm__misuse(h, payload, "free");
}

/* A block that is ALIGNED, or below one that is; or not sound. Of an ALIGNED one the record goes.
 */
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

static void hook_merge_next(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled, uint32_t above,
                            size_t room)
{
    merge_next_by(h, p, r, scaled, above, room, hook_resize, NULL);
}

static void hook_merge_prev(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled, uint32_t above,
                            size_t room)
{
    (void)above, (void)room;
    merge_prev_by(h, p, r, scaled, hook_resize, NULL);
}

static void hook_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled, size_t next_size,
                           size_t prev_size)
{
    join_both(h, p, r, scaled, next_size, prev_size, hook_drop, hook_resize);
}

static void hook_merge_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled, uint32_t above,
                            size_t room)
{
    merge_both_by(h, p, r, scaled, above, room, hook_join_both, NULL);
}

/* Block r at p becomes free beside one or two free neighbours that cannot all be one with it, being
 * together too large for a header (B3): with one of them, if that can be, or alone. */
static void release_far(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled, size_t next_size,
                        size_t prev_size)
{
    uint32_t prev_bit = prev_size ? HMM__PREV_FREE : 0;
    if (next_size != 0 && scaled + next_size <= UINT32_MAX) {
        join_next(h, p, r, scaled, next_size, prev_bit, hook_resize);
    } else if (prev_size != 0 && prev_size + scaled <= UINT32_MAX) {
        join_prev(h, p, r - (hmm_ref)scaled_granules(prev_size), scaled, prev_size, hook_resize);
    } else {
        word_store(p, (uint32_t)scaled + HMM__FREE + prev_bit);
        footer_store(p + scaled_bytes(scaled), (uint32_t)scaled);
        word_set(p + scaled_bytes(scaled), HMM__PREV_FREE);
        h->free_unbinned++;
        h->strategy->insert(h, h->state, r);
    }
}

/* Much has been freed since the live bytes were at their most; or a block is too large. While the
 * block is released it is not to be asked again whether pages may go. */
void hmm__slow_release(struct hmm_heap *h, char *p, hmm_ref r)
{
    uint32_t word = word_load(p), above = word_load(p + scaled_bytes(header_scaled(word)));
    size_t scaled = header_scaled(word), next_size = above & HMM__FREE ? header_scaled(above) : 0;
    size_t prev_size = word & HMM__PREV_FREE ? footer_load(p) : 0;
    if (prev_size + scaled + next_size > UINT32_MAX) {
        release_far(h, p, r, scaled, next_size, prev_size);
        return;
    }
    h->decommit_threshold = INTPTR_MAX;
    hmm__release(h, r);
    hmm__decommit(h);
}

void *hmm__malloc_by_hooks(struct hmm_heap *h, size_t size)
{
    if (hmm__unlikely(size > HMM_MAX_REQUEST))
        return hmm__fail(h);
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
    uint32_t word = word_load(p), above = word_load(p + scaled_bytes(header_scaled(word)));
    size_t scaled = header_scaled(word), room = (size_t)(h->top - block) << HMM__SIZE_SHIFT;
    bool below = word & HMM__PREV_FREE;
    if (above & HMM__FREE)
        (below ? hook_merge_both : hook_merge_next)(h, p, block, scaled, above, room);
    else if (below)
        hook_merge_prev(h, p, block, scaled, above, room);
    else
        release_alone(h, p, block, scaled, hook_insert);
}
