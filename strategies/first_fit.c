/* SPDX-License-Identifier: MIT */
/*
 * First-fit: the lowest-addressed free block that is large enough.
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

/*
 * THEORY
 *
 * A search from the root is spared by remembering, for each class of sizes, below which unit no
 * block of that class or larger begins: `low`. Classes are single sizes up to 32 granules, then two
 * to each power of two. A search for n begins there, and what it finds is news for all larger
 * classes: none of them can begin lower. A block that becomes free below `low` brings it down
 * again.
 *
 * INVARIANTS
 * T5  No free block that is as large as the least of class c begins in a unit below low[c].
 * T6  low[c] <= low[c + 1].
 */
#define SINGLES 32u
#define CLASSES (SINGLES + 2 * 24)

struct first_state {
    uint32_t low[CLASSES];
    struct address_index index;
};

HMM__ALWAYS_INLINE uint32_t first_class_of(uint32_t size)
{
    if (size <= SINGLES)
        return size - 1;
    uint32_t log = 31u - (uint32_t)__builtin_clz(size);
    return SINGLES + (log - 5) * 2 + (size >> (log - 1) & 1);
}

static size_t first_state_size(size_t capacity)
{
    return offsetof(struct first_state, index) + hmm__address_size(capacity);
}

static void first_start(struct hmm_heap *h, void *state)
{
    struct first_state *s = state;
    memset(s->low, 0, sizeof s->low);
    hmm__address_start(&s->index, hmm_heap_capacity(h));
}

/* A block of this size begins in this unit. */
HMM__ALWAYS_INLINE void low_falls(struct first_state *s, uint32_t size, uint32_t unit)
{
    uint32_t c = first_class_of(size);
    while (s->low[c] > unit) {
        s->low[c] = unit;
        if (c-- == 0)
            return;
    }
}

/* No block of n granules begins below this unit. */
HMM__ALWAYS_INLINE void low_rises(struct first_state *s, uint32_t c, uint32_t n, uint32_t unit)
{
    if (n > SINGLES)
        c++; /* of its own class there may be smaller ones */
    for (; c < CLASSES && s->low[c] < unit; c++)
        s->low[c] = unit;
}

HMM__ALWAYS_INLINE hmm_ref first_search(struct hmm_heap *h, struct first_state *s, uint32_t n)
{
    struct address_index *x = &s->index;
    uint32_t c = first_class_of(n), unit = s->low[c];
    if (unit >= x->covered)
        return 0;
    hmm_ref r = 0;
    if (hmm__likely(address_units(x)[unit] >= n << 1)) {
        r = address_in_unit(h, unit, x->maps[unit], n);
        if (hmm__likely(r != 0))
            return r;
    }
    r = hmm__address_search(h, x, unit, n);
    low_rises(s, c, n, r ? r >> ADDRESS_UNIT_LOG : x->covered);
    return r;
}

static hmm_ref first_find(struct hmm_heap *h, void *state, uint32_t granules)
{
    return first_search(h, state, granules);
}

static void first_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    struct first_state *s = state;
    uint32_t size = block_size(h, r);
    address_add(&s->index, r, size);
    low_falls(s, size, r >> ADDRESS_UNIT_LOG);
}

static void first_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    struct first_state *s = state;
    address_drop(h, &s->index, r, block_size(h, r));
}

static void first_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                         hmm_ref now)
{
    struct first_state *s = state;
    uint32_t size = block_size(h, now);
    address_move(h, &s->index, was, was_granules, now, size);
    low_falls(s, size, now >> ADDRESS_UNIT_LOG);
}

/* The remainder is smaller and lies higher than what was there: low need not fall. */
static hmm_ref first_take(struct hmm_heap *h, void *state, uint32_t granules)
{
    struct first_state *s = state;
    hmm_ref r = first_search(h, s, granules);
    if (r != 0)
        address_cut(h, &s->index, r, block_size(h, r), granules);
    return r;
}

static uint32_t first_largest(struct hmm_heap *h, void *state)
{
    struct first_state *s = state;
    return hmm__address_largest(h, &s->index);
}

static const char *first_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct first_state *s = state;
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if ((block_header(h, r) & HMM__FREE) &&
            s->low[first_class_of(block_size(h, r))] > r >> ADDRESS_UNIT_LOG)
            return "T5: first-fit: a block begins below its class's lowest unit";
    for (uint32_t c = 0; c + 1 < CLASSES; c++)
        if (s->low[c] > s->low[c + 1])
            return "T6: first-fit: the lowest units do not rise with the class";
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
    .largest = first_largest,
    .check = first_check,
};

const struct hmm_strategy *const HMM_FIRST_FIT = &first_fit;
