/* SPDX-License-Identifier: MIT */
/*
 * First-fit: the lowest-addressed free block that is large enough, or in which an aligned piece
 * fits.
 *
 * THEORY
 *
 * The index by address (address_index.h) answers. A search for n granules need not begin at the
 * bottom: for each small n there is a hint, an address below which no block as large begins. A
 * search that ends higher raises it, and a block that becomes free lower lowers it; in between,
 * requests of one size find theirs where the hint is.
 *
 * Bound: that of the index, and HINTS steps.
 *
 * Good for: a low break, and a worst case that can be named: M(1 + log2 n) bytes for M live and n
 * the ratio of the largest request to the smallest (Robson 1977), the best of any simple policy.
 * Small blocks gather at the low end, large free ones at the high end.
 *
 * Sources: Knuth, TAOCP 1, 2.5, algorithm A; Brent 1989, "Efficient implementation of the first-fit
 * strategy for dynamic storage allocation", for the tree over address-ordered segments.
 *
 * INVARIANTS, besides those of the index
 * T5  No free block of n granules or more begins below hint n, the last hint standing for
 *     all larger n. Hints do not fall with n.
 */
#include "address_index.h"

#define HINTS 16u

struct first_state {
    hmm_ref nowhere;      /* as a hint: there is no such block. Its unit is none */
    hmm_ref hints[HINTS]; /* the first is 0 always: it ends loops */
    uint32_t unused;
    struct address_index index;
};

static size_t first_state_size(size_t capacity)
{
    return offsetof(struct first_state, index) + hmm__address_size(capacity);
}

static void first_start(struct hmm_heap *h, void *state)
{
    struct first_state *s = state;
    hmm__address_start(&s->index, hmm_heap_capacity(h));
    s->nowhere = s->index.units << ADDRESS_UNIT_LOG;
    s->hints[0] = 0;
    for (uint32_t n = 1; n < HINTS; n++)
        s->hints[n] = s->nowhere;
}

HMM__ALWAYS_INLINE hmm_ref hint_of(const struct first_state *s, uint32_t n)
{
    return s->hints[n < HINTS ? n : HINTS - 1];
}

/* A block of `size` granules begins at r. */
HMM__ALWAYS_INLINE void hints_lower(struct first_state *s, hmm_ref r, uint32_t size)
{
    for (uint32_t n = size < HINTS ? size : HINTS - 1; s->hints[n] > r; n--)
        s->hints[n] = r;
}

/* None of n granules or more begins below r. */
static void hints_raise(struct first_state *s, hmm_ref r, uint32_t n)
{
    for (; n < HINTS && s->hints[n] < r; n++)
        s->hints[n] = r;
}

/* Where the hint's own unit has none. */
HMM__ALWAYS_INLINE hmm_ref first_search(struct hmm_heap *h, struct first_state *s, uint32_t n)
{
    hmm_ref r = hmm__address_search(h, &s->index, address_unit(hint_of(s, n)) + 1, n);
    hints_raise(s, r ? r : s->nowhere, n);
    return r;
}

static hmm_ref first_find(struct hmm_heap *h, void *state, uint32_t n)
{
    struct first_state *s = state;
    hmm_ref r = address_in_unit(h, &s->index, hint_of(s, n), n);
    return r ? r : first_search(h, s, n);
}

HMM__ALWAYS_INLINE void first_put(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size)
{
    struct first_state *s = state;
    (void)h;
    hints_lower(s, r, size);
    address_add(&s->index, r, size);
}

HMM__ALWAYS_INLINE void first_drop(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size)
{
    struct first_state *s = state;
    (void)h, (void)size;
    address_drop(&s->index, r);
}

HMM__ALWAYS_INLINE void first_move(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_size,
                                   hmm_ref now, uint32_t size)
{
    struct first_state *s = state;
    (void)h, (void)was_size;
    hints_lower(s, now, size);
    address_move(&s->index, was, now, size);
}

static void first_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    first_put(h, state, r, block_size(h, r));
}

static void first_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    first_drop(h, state, r, block_size(h, r));
}

static void first_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                         hmm_ref now)
{
    first_move(h, state, was, was_granules, now, block_size(h, now));
}

static hmm_ref first_take(struct hmm_heap *h, void *state, uint32_t n)
{
    struct first_state *s = state;
    hmm_ref r = first_find(h, state, n);
    if (r != 0)
        address_cut(&s->index, r, block_size(h, r), n);
    return r;
}

static hmm_ref first_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    struct first_state *s = state;
    return hmm__address_piece(h, &s->index, hint_of(s, piece->granules), piece);
}

/* ---- As a whole ---- */

static __attribute__((noinline)) void *first_serve(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    struct first_state *s = h->state;
    uint32_t size = block_size(h, r);
    address_cut(&s->index, r, size, n);
    return serve(h, r, n, size);
}

static __attribute__((noinline)) void *first_malloc_far(struct hmm_heap *h, uint32_t n)
{
    struct first_state *s = h->state;
    hmm_ref r = first_search(h, s, n);
    return r ? first_serve(h, r, n) : hmm__malloc_else(h, n);
}

static void *first_malloc(struct hmm_heap *h, size_t size)
{
    const struct first_state *s = h->state;
    if (hmm__unlikely(size > HMM_MAX_REQUEST))
        return hmm__fail(h);
    uint32_t n = hmm__granules_for(size);
    hmm_ref from = hint_of(s, n), r = address_in_unit(h, &s->index, from, n);
    if (hmm__likely(r != 0))
        return first_serve(h, r, n);
    return from == s->nowhere ? hmm__malloc_else(h, n) : first_malloc_far(h, n);
}

static __attribute__((noinline)) void first_merge_above(struct hmm_heap *h, hmm_ref r, char *p,
                                                        uint32_t word, uint32_t above)
{
    merge_above_by(h, r, p, word, above, first_move);
}

static __attribute__((noinline)) void first_merge_below(struct hmm_heap *h, hmm_ref r, char *p,
                                                        uint32_t word, uint32_t above)
{
    merge_below_by(h, r, p, word, above, first_move);
}

static __attribute__((noinline)) void first_merge_both(struct hmm_heap *h, hmm_ref r, char *p,
                                                       uint32_t word, uint32_t above)
{
    merge_both_by(h, r, p, word, above, first_drop, first_move);
}

static void first_free(struct hmm_heap *h, void *block)
{
    free_by(h, block, first_put, first_merge_above, first_merge_below, first_merge_both);
}

static uint32_t first_largest(struct hmm_heap *h, void *state)
{
    struct first_state *s = state;
    return hmm__address_largest(h, &s->index);
}

static const char *first_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct first_state *s = state;
    for (hmm_ref r = h->first; r < h->top; r = block_next(h, r))
        if ((block_header(h, r) & HMM__FREE) && r < hint_of(s, block_size(h, r)))
            return "T5: first-fit: a free block lies below the hint for its size";
    for (uint32_t n = 1; n < HINTS; n++)
        if (s->hints[n] < s->hints[n - 1])
            return "T5: first-fit: a hint is lower than the one before";
    return hmm__address_check(h, &s->index, indexed);
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
