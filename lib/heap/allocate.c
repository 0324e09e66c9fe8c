/* SPDX-License-Identifier: MIT */
/*
 * malloc and free by a strategy's hooks, and the slow path of all: the top, the break, the cache's
 * reclaim, failure. place.h has the common path. Calls brk.c, pages.c, the strategy's hooks and the
 * cache's reclaim.
 */
#include "heap/place.h"

#if !HMM__SMALL

void *hmm__fail(struct hmm_heap *h, size_t size)
{
    if (h->trying)
        return NULL;
    COUNT(h->failed++);
    if (h->refused)
        h->refused(h, size);
    hmm__set_errno(ENOMEM);
    return NULL;
}

/* ---- Where the strategy has no free block ---- */

/* Counts used block r, of n granules, as live. */
static void *count_and_return(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    live_add(h, block_usable(n));
    say_placed(h, r, n);
    return block_payload(h, r);
}

static __attribute__((noinline)) void *tell_placed(struct hmm_heap *h, void *payload, uint32_t n)
{
    say_placed(h, block_of(h, payload), n);
    return payload;
}

/* From the top, below the break. NULL: there is less. */
static void *try_top(struct hmm_heap *h, uint32_t n)
{
    void *p = allocate_from_top(h, n);
    return p != NULL && h->placed ? tell_placed(h, p, n) : p;
}

static void *try_granules(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = h->take(h, state_of(h), n);
    return r ? finish_allocation(h, r, n, block_size(h, r)) : try_top(h, n);
}

void *hmm__try_malloc(struct hmm_heap *h, size_t size)
{
    return size <= HMM_MAX_REQUEST ? try_granules(h, hmm__granules_for(size)) : NULL;
}

void *hmm__try_hole(struct hmm_heap *h, size_t size)
{
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = size <= HMM_MAX_REQUEST ? h->take(h, state_of(h), n) : 0;
    return r ? finish_allocation(h, r, n, block_size(h, r)) : NULL;
}

/* The break cannot rise. */
static HMM__COLD void *try_absent(struct hmm_heap *h, uint32_t n)
{
    bool spared = absent_spares(h);
    if (spared && h->limit - h->top >= n && hmm__brk_raise(h, h->top + n))
        return try_top(h, n);
    return absent_returns(h, n, HMM__ABSENT_JOINED) ? try_granules(h, n) : NULL;
}

static void *raise_and_try(struct hmm_heap *h, uint32_t n)
{
    if (h->limit - h->top >= n && (hmm__brk_raise(h, h->top + n) || hmm__bridge(h, n)))
        return try_top(h, n);
    return try_absent(h, n);
}

/* By the strategy's last search, if it has one. */
static HMM__COLD void *search_last(struct hmm_heap *h, uint32_t n)
{
    const struct hmm_strategy *s = hooks_of(h);
    hmm_ref r = s->find_last ? s->find_last(h, state_of(h), n) : 0;
    if (r == 0)
        return NULL;
    uint32_t size = block_size(h, r);
    if (hmm__unlikely(!block_is_valid(h, r, block_header(h, r))))
        hmm__block_broken(h, r);
    s->remove(h, state_of(h), r);
    if (size - n >= HMM_MIN_GRANULES) {
        block_make_free(h, r + n, size - n, 0);
        s->insert(h, state_of(h), r + n);
    }
    return count_and_return(h, r, carve(h, block_payload(h, r), n, size));
}

/* The limit may be as high, when what lies above it has been given to the heap. */
static hmm_ref highest_limit(const struct hmm_heap *h)
{
    return h->limit > h->capacity ? h->limit : h->capacity;
}

/* The cache returns all that it can before the request fails. */
static HMM__COLD void *malloc_or_fail(struct hmm_heap *h, uint32_t n)
{
    void *p = search_last(h, n);
    if (p == NULL && highest_limit(h) - h->first >= n && hmm__reclaim(h, HMM__RECLAIM_ALL)) {
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
    void *p = NULL;
    bool any = !hmm__was_below_top(h, n);
    while (p == NULL && any && (any = hmm__reclaim(h, HMM__RECLAIM_IDLE)))
        p = try_granules(h, n);
    if (p == NULL && absent_returns(h, n, HMM__ABSENT_WHOLE))
        p = try_granules(h, n);
    if (p == NULL)
        p = raise_and_try(h, n);
    return p ? p : malloc_or_fail(h, n);
}

void *hmm__malloc_else(struct hmm_heap *h, uint32_t n)
{
    void *p = allocate_from_top(h, n);
    if (hmm__unlikely(p == NULL))
        return raise_and_malloc(h, n);
    return h->placed ? tell_placed(h, p, n) : p;
}

/* ---- The slow path of free ---- */

/* The top has become lower, from `was` on: so many granules were in use until now. */
static __attribute__((noinline)) void top_fell(struct hmm_heap *h, hmm_ref was, uint32_t freed)
{
    hmm__brk_lower(h);
    hmm__decommit_fallen(h, was);
    hmm__decommit_excess(h, freed);
}

/* What lies from r on becomes part of the top: a used block of so many granules, and below it what
 * is free. */
HMM__ALWAYS_INLINE void lower_top(struct hmm_heap *h, hmm_ref r, uint32_t freed)
{
    hmm_ref was = h->top;
    if (was > h->zero_top)
        h->zero_top = was;
    block_make_top(h, r);
    COUNT(h->top_blocks--);
    if (hmm__unlikely(r < h->trim_below))
        top_fell(h, was, freed);
}

/* The free blocks below r, at p, merge into the top too. Headers that become part of the top keep
 * FREE, so that a double free is still detected. */
static __attribute__((noinline)) void merge_prev_into_top(struct hmm_heap *h, char *p, hmm_ref r)
{
    const uint32_t freed = h->top - r;
    if (hmm__unlikely(!prev_agrees(h, r, p, footer_load(p), &r))) {
        hmm__free_invalid(h, p);
        return;
    }
    word_set(p, HMM__FREE);
    for (;;) {
        hooks_of(h)->remove(h, state_of(h), r);
        char *low = block_payload(h, r);
        uint32_t word = word_load(low);
        if (large_knows(h, header_scaled(word)))
            hmm__large_drop(h, r + header_size(word));
        COUNT(h->free_unbinned--);
        COUNT(h->merges++);
        if (hmm__likely(!(word & HMM__PREV_FREE)))
            break;
        if (hmm__unlikely(!prev_agrees(h, r, low, footer_load(low), &r)))
            hmm__block_broken(h, block_of(h, low));
    }
    lower_top(h, r, freed);
}

void hmm__merge_into_top(struct hmm_heap *h, char *p, hmm_ref r)
{
    if (word_load(p) & HMM__PREV_FREE) {
        merge_prev_into_top(h, p, r);
    } else {
        word_set(p, HMM__FREE);
        lower_top(h, r, h->top - r);
    }
}

void hmm__free_invalid(struct hmm_heap *h, void *payload)
{
    if (payload != NULL && !(h->foreign && h->foreign(h, payload, "free")))
        hmm__misuse(h, payload, "free");
}

void hmm__free_below_written(struct hmm_heap *h, void *payload)
{
    hmm__free_invalid(h, payload);
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
#if HMM_WITH_ALIGNED
    if (word & HMM__ALIGNED) {
        hmm__alignment_of(h, r, "free");
        word_clear(payload, HMM__ALIGNED);
        COUNT(h->aligned_blocks--);
    }
#endif
    live_sub(h, header_usable(word));
    hmm__release(h, r);
}

/* ---- By the hooks ---- */

static void hook_insert(struct hmm_heap *h, void *state, struct sized_block b)
{
    hooks_of(h)->insert(h, state, b.r);
}

static void hook_drop(struct hmm_heap *h, void *state, struct sized_block b)
{
    hooks_of(h)->remove(h, state, b.r);
}

static void hook_resize(struct hmm_heap *h, void *state, struct sized_block was,
                        struct sized_block now)
{
    h->resize(h, state, was.r, (uint32_t)was.size, now.r);
}

static void hook_merge_next(struct hmm_heap *h, char *p, hmm_ref r, struct extent e,
                            uint32_t next_header)
{
    merge_next_by(h, (struct merge){{p, r}, e, next_header}, hook_resize, NULL);
}

static void hook_merge_prev(struct hmm_heap *h, char *p, hmm_ref r, struct extent e,
                            uint32_t next_header)
{
    merge_prev_by(h, (struct merge){{p, r}, e, next_header}, hook_resize, NULL);
}

static void hook_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                           struct neighbours n)
{
    join_both(h, (struct block){p, r}, (struct sizes){scaled, n.next, n.prev}, hook_drop,
              hook_resize);
}

static void hook_merge_both(struct hmm_heap *h, char *p, hmm_ref r, struct extent e,
                            uint32_t next_header)
{
    merge_both_by(h, (struct merge){{p, r}, e, next_header}, hook_join_both, NULL);
}

/* Frees block b and merges it with the neighbours that have a size; prev_bit is set if the block
 * below is free and stays apart. */
static void release_with(struct hmm_heap *h, struct block b, struct sizes s, uint32_t prev_bit)
{
    hmm_ref low = b.r - (hmm_ref)scaled_granules(s.prev);
    if (s.next != 0 && s.prev != 0) {
        join_both(h, b, s, hook_drop, hook_resize);
    } else if (s.next != 0) {
        join_next(h, b, s, prev_bit, hook_resize);
    } else if (s.prev != 0) {
        join_prev(h, b.p, low, s, hook_resize);
    } else {
        word_store(b.p, (uint32_t)s.self + HMM__FREE + prev_bit);
        footer_store(b.p + scaled_bytes(s.self), (uint32_t)s.self);
        word_set(b.p + scaled_bytes(s.self), HMM__PREV_FREE);
        COUNT(h->free_unbinned++);
        hooks_of(h)->insert(h, state_of(h), b.r);
    }
    if (h->large != NULL && s.prev + s.self + s.next > h->large_above)
        hmm__large_joined(h, low, s.prev, s.self, s.next);
}

/* Frees block b, which together with its free neighbours is too large for a header (B3): merges it
 * with one of them, if that fits, or with none. */
static void release_too_large(struct hmm_heap *h, struct block b, struct sizes s)
{
    uint32_t prev_bit = s.prev ? HMM__PREV_FREE : 0;
    hmm_ref next = b.r + (hmm_ref)scaled_granules(s.self);
    if (h->large != NULL && s.next > h->large_above) /* no join will do it */
        hmm__large_clip(hmm__large_at(h, next + (hmm_ref)scaled_granules(s.next)), next);
    if (s.next != 0 && s.self + s.next <= UINT32_MAX)
        release_with(h, b, (struct sizes){s.self, s.next, 0}, prev_bit);
    else if (s.prev != 0 && s.prev + s.self <= UINT32_MAX)
        release_with(h, b, (struct sizes){s.self, 0, s.prev}, 0);
    else
        release_with(h, b, (struct sizes){s.self, 0, 0}, prev_bit);
}

void hmm__slow_release(struct hmm_heap *h, char *p, hmm_ref r)
{
    const struct block b = {p, r};
    uint32_t word = word_load(b.p);
    uint32_t next_header = word_load(b.p + scaled_bytes(header_scaled(word)));
    const struct sizes s = {.self = header_scaled(word),
                            .next = next_header & HMM__FREE ? header_scaled(next_header) : 0,
                            .prev = word & HMM__PREV_FREE ? footer_load(b.p) : 0};
    if (s.prev + s.self + s.next > UINT32_MAX)
        release_too_large(h, b, s);
    else
        release_with(h, b, s, 0);
}

void *hmm__malloc_by_hooks(struct hmm_heap *h, size_t size)
{
    if (hmm__unlikely(size > HMM_MAX_REQUEST))
        return hmm__fail(h, size);
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = h->take(h, state_of(h), n);
    return r ? finish_allocation(h, r, n, block_size(h, r)) : hmm__malloc_else(h, n);
}

static const struct merges hook_merges = {hook_merge_next, hook_merge_prev, hook_merge_both};

void hmm__free_by_hooks(struct hmm_heap *h, void *payload)
{
    free_by(h, payload, hook_insert, hook_merges);
}

void hmm__release(struct hmm_heap *h, hmm_ref block)
{
    char *p = block_payload(h, block);
    HMM_ASSERT(block >= h->first && block < h->top);
    uint32_t word = word_load(p);
    uint32_t next_header = word_load(p + scaled_bytes(header_scaled(word)));
    const struct extent e = {header_scaled(word), (size_t)(h->top - block) << HMM__SIZE_SHIFT};
    bool prev_is_free = word & HMM__PREV_FREE;
    if (next_header & HMM__FREE)
        (prev_is_free ? hook_merge_both : hook_merge_next)(h, p, block, e, next_header);
    else if (prev_is_free)
        hook_merge_prev(h, p, block, e, next_header);
    else
        release_alone(h, p, block, e.scaled, hook_insert);
}

#endif
