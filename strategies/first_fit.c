/* SPDX-License-Identifier: MIT */
/*
 * First-fit: the lowest-addressed free block that is large enough, or in which an aligned piece
 * fits.
 *
 * Structure and bound: the index by address (address_index.h). Small blocks gather at the low end,
 * large free ones at the high end, and the break stays low.
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

static hmm_ref first_find(struct hmm_heap *h, void *state, uint32_t granules)
{
    return hmm__address_lowest(h, state, granules);
}

static void first_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    (void)h;
    address_add(state, r, block_size(h, r));
}

static void first_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    address_drop(h, state, r, block_size(h, r));
}

static void first_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                         hmm_ref now)
{
    address_move(h, state, was, was_granules, now, block_size(h, now));
}

static hmm_ref first_take(struct hmm_heap *h, void *state, uint32_t granules)
{
    hmm_ref r = hmm__address_lowest(h, state, granules);
    if (r != 0)
        address_cut(h, state, r, block_size(h, r), granules);
    return r;
}

static hmm_ref first_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    return hmm__address_piece(h, state, 0, piece);
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
};

const struct hmm_strategy *const HMM_FIRST_FIT = &first_fit;
