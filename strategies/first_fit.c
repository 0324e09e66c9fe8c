/* SPDX-License-Identifier: MIT */
/*
 * First-fit: the lowest-addressed free block that is large enough, or in which an aligned piece
 * fits.
 *
 * Structure and bound: the index by address (address_index.h), searched from the hint on. Small
 * blocks gather at the low end, large free ones at the high end, and the break stays low.
 *
 * Good for: a low break, and a worst case that can be named: M(1 + log2 n) bytes for M live and n
 * the ratio of the largest request to the smallest (Robson 1977), the best of any simple policy.
 *
 * Sources: Knuth, TAOCP 1, 2.5, algorithm A; Brent 1989, "Efficient implementation of the first-fit
 * strategy for dynamic storage allocation", for the tree over address-ordered segments.
 */
#include "address_index.h"

static size_t first_state_size(size_t capacity)
{
    return hmm__address_size(capacity);
}

static void first_start(struct hmm_heap *h, void *state)
{
    hmm__address_start(state, hmm_heap_capacity(h));
}

static hmm_ref first_find(struct hmm_heap *h, void *state, uint32_t n)
{
    struct address_index *x = state;
    hmm_ref r = address_in_unit(h, x, address_hint(x, n), n);
    return r ? r : hmm__address_lowest(h, x, n);
}

HMM__ALWAYS_INLINE void first_put(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    (void)h, (void)p;
    address_add(state, r, (uint32_t)size);
}

HMM__ALWAYS_INLINE void first_drop(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    (void)h, (void)p, (void)size;
    address_drop(state, r);
}

HMM__ALWAYS_INLINE void first_move(struct hmm_heap *h, void *state, hmm_ref was, char *was_p,
                                   size_t was_size, hmm_ref now, char *now_p, size_t size)
{
    (void)h, (void)was_p, (void)was_size, (void)now_p;
    address_move(state, was, now, (uint32_t)size);
}

static void first_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    first_put(h, state, r, block_payload(h, r), block_size(h, r));
}

static void first_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    first_drop(h, state, r, block_payload(h, r), block_size(h, r));
}

static void first_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                         hmm_ref now)
{
    first_move(h, state, was, block_payload(h, was), was_granules, now, block_payload(h, now),
               block_size(h, now));
}

static hmm_ref first_take(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref r = first_find(h, state, n);
    if (r != 0)
        address_cut(state, r, block_size(h, r), n, NULL);
    return r;
}

static hmm_ref first_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    return hmm__address_piece(h, state, address_hint(state, piece->granules), piece);
}

/* ---- As a whole ---- */

static __attribute__((noinline)) void *first_serve(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    uint32_t size = block_size(h, r);
    return address_cut(h->state, r, size, n, serve(h, r, n, size));
}

static __attribute__((noinline)) void *first_malloc_far(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = hmm__address_lowest(h, h->state, n);
    return r ? first_serve(h, r, n) : hmm__malloc_else(h, n);
}

static __attribute__((noinline)) void *first_malloc_large(struct hmm_heap *h, size_t size)
{
    if (size > HMM_MAX_REQUEST)
        return hmm__fail(h);
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = first_find(h, h->state, n);
    return r ? first_serve(h, r, n) : hmm__malloc_else(h, n);
}

static void *first_malloc(struct hmm_heap *h, size_t size)
{
    const struct address_index *x = h->state;
    if (hmm__unlikely(size > (ADDRESS_HINTS - 1) * HMM_GRANULE - HMM_HEADER_BYTES))
        return first_malloc_large(h, size);
    uint32_t n = hmm__granules_for(size);
    hmm_ref from = x->hints[n], r = address_in_unit(h, x, from, n);
    if (hmm__likely(r != 0))
        return first_serve(h, r, n);
    return from == x->nowhere ? hmm__malloc_else(h, n) : first_malloc_far(h, n);
}

static __attribute__((noinline)) void first_merge_above(struct hmm_heap *h, char *p, hmm_ref r,
                                                        size_t span, uint32_t above, size_t room)
{
    merge_above_by(h, p, r, span, above, room, first_move, NULL);
}

static __attribute__((noinline)) void first_merge_below(struct hmm_heap *h, char *p, hmm_ref r,
                                                        size_t span, uint32_t above, size_t room)
{
    (void)above, (void)room;
    merge_below_by(h, p, r, span, first_move, NULL);
}

HMM__ALWAYS_INLINE void first_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t span,
                                        size_t nn, size_t pn)
{
    join_both(h, p, r, span, nn, pn, first_drop, first_move);
}

static __attribute__((noinline)) void first_merge_both(struct hmm_heap *h, char *p, hmm_ref r,
                                                       size_t span, uint32_t above, size_t room)
{
    merge_both_by(h, p, r, span, above, room, first_join_both, NULL);
}

static void first_free(struct hmm_heap *h, void *block)
{
    free_by(h, block, first_put, first_merge_above, first_merge_below, first_merge_both);
}

static uint32_t first_largest(struct hmm_heap *h, void *state)
{
    return hmm__address_largest(h, state);
}

static const char *first_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    return hmm__address_check(h, state, indexed);
}

static const struct hmm_strategy first_fit = {
    .abi = HMM_STRATEGY_ABI,
    .flags = HMM_STRATEGY_CLEARS,
    .name = "first-fit",
    .summary = "the lowest-addressed free block that is large enough",
    .state_size = first_state_size,
    .find = first_find,
    .insert = first_insert,
    .remove = first_remove,
    .start = first_start,
    .resize = first_resize,
    .take = first_take,
    .find_piece = first_find_piece,
    .largest = first_largest,
    .check = first_check,
    .malloc_whole = first_malloc,
    .free_whole = first_free,
};

const struct hmm_strategy *const HMM_FIRST_FIT = &first_fit;
