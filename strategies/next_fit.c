/* SPDX-License-Identifier: MIT */
/*
 * Next-fit: the first free block that is large enough at or after the cursor, then from the bottom.
 *
 * THEORY
 *
 * The cursor is an address: the end of the last placement. Where a free block comes to contain it
 * strictly, because its neighbours melted over it, the cursor moves down to that block's start:
 * the roving pointer of the textbook points at a block, not into one. An aligned piece comes from
 * the first block from the cursor in which it fits.
 *
 * Structure and bound: the index by address (address_index.h), searched upward from the cursor's
 * unit; at worst twice the height of the tree.
 *
 * Good for: spreading placements over the heap. It uses more memory than the others by nature: it
 * cuts up the large blocks that first-fit would leave alone.
 *
 * Sources: Knuth, TAOCP 1, 2.5, exercise 6; Wilson et al. 1995.
 *
 * INVARIANT
 * T5  No free block contains the cursor strictly.
 */
#include "address_index.h"

struct next_state {
    hmm_ref cursor;
    uint32_t unused;
    struct address_index index;
};

static size_t next_state_size(size_t capacity)
{
    return offsetof(struct next_state, index) + hmm__address_size(capacity);
}

static void next_start(struct hmm_heap *h, void *state)
{
    struct next_state *s = state;
    s->cursor = 0;
    hmm__address_start(&s->index, hmm_heap_capacity(h));
}

/* Below the cursor's unit all is found only on the second way round. */
HMM__ALWAYS_INLINE hmm_ref next_search(struct hmm_heap *h, struct next_state *s, uint32_t n)
{
    struct address_index *x = &s->index;
    uint32_t unit = s->cursor >> ADDRESS_UNIT_LOG;
    hmm_ref r = 0;
    if (unit < x->covered && address_units(x)[unit] >= n << 1) {
        r = address_in_unit(h, x, unit, s->cursor, n);
        if (r != 0)
            return r;
    }
    r = hmm__address_search(h, x, unit + 1, n);
    return r ? r : hmm__address_lowest(h, x, n);
}

static hmm_ref next_find(struct hmm_heap *h, void *state, uint32_t granules)
{
    return next_search(h, state, granules);
}

HMM__ALWAYS_INLINE void cursor_leave(struct next_state *s, hmm_ref r, uint32_t size)
{
    if (r < s->cursor && s->cursor - r < size)
        s->cursor = r;
}

static void next_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    struct next_state *s = state;
    uint32_t size = block_size(h, r);
    address_add(&s->index, r, size);
    cursor_leave(s, r, size);
}

static void next_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    struct next_state *s = state;
    address_drop(h, &s->index, r, block_size(h, r));
}

static void next_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                        hmm_ref now)
{
    struct next_state *s = state;
    uint32_t size = block_size(h, now);
    address_move(h, &s->index, was, was_granules, now, size);
    cursor_leave(s, now, size);
}

static hmm_ref next_take(struct hmm_heap *h, void *state, uint32_t granules)
{
    struct next_state *s = state;
    hmm_ref r = next_search(h, s, granules);
    if (r == 0)
        return 0;
    uint32_t size = block_size(h, r);
    address_cut(h, &s->index, r, size, granules);
    s->cursor = size - granules >= HMM_MIN_GRANULES ? r + granules : r + size;
    return r;
}

static void next_placed(struct hmm_heap *h, void *state, hmm_ref r, uint32_t granules)
{
    struct next_state *s = state;
    (void)h;
    s->cursor = r + granules;
}

static hmm_ref next_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    struct next_state *s = state;
    hmm_ref r = hmm__address_piece(h, &s->index, s->cursor, piece);
    return r ? r : hmm__address_piece(h, &s->index, 0, piece);
}

static uint32_t next_largest(struct hmm_heap *h, void *state)
{
    struct next_state *s = state;
    return hmm__address_largest(h, &s->index);
}

static const char *next_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct next_state *s = state;
    for (hmm_ref r = h->first; r < h->top && r < s->cursor; r = block_next(h, r))
        if ((block_header(h, r) & HMM__FREE) && s->cursor - r < block_size(h, r))
            return "T5: next-fit: a free block contains the cursor strictly";
    return hmm__address_check(h, &s->index, indexed);
}

static const struct hmm_strategy next_fit = {
    .abi = HMM_STRATEGY_ABI,
    .flags = HMM_STRATEGY_CLEARS,
    .name = "next-fit",
    .summary =
        "the first that is large enough at or after the last placement, then from the bottom",
    .state_size = next_state_size,
    .find = next_find,
    .insert = next_insert,
    .remove = next_remove,
    .start = next_start,
    .resize = next_resize,
    .take = next_take,
    .find_piece = next_find_piece,
    .placed = next_placed,
    .largest = next_largest,
    .check = next_check,
};

const struct hmm_strategy *const HMM_NEXT_FIT = &next_fit;
