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
#include "address_serve.h"

#if HMM_WITH_FIRST_FIT && !HMM__FIRST_LIST

static size_t first_state_size(size_t capacity)
{
    return hmm__address_size(capacity);
}

static void first_start(struct hmm_heap *h, void *state)
{
    hmm__address_start(h, state);
}

#if !HMM__SMALL

static void first_grow(struct hmm_heap *h, void *state, size_t old, size_t now)
{
    (void)h, (void)old;
    hmm__address_widen(state, now);
}

#endif

static __attribute__((noinline)) void first_raise(struct address_index *x, uint32_t unit,
                                                  uint32_t size, uint8_t *bound)
{
    address_raise(x, unit, size, bound);
}

static HMM__COLD void first_put_beyond(struct address_index *x, hmm_ref r, uint32_t size)
{
    hmm__address_cover(x, address_unit(r));
    address_add(x, r, size, first_raise);
}

HMM__ALWAYS_INLINE void first_put(struct hmm_heap *h, void *state, struct sized_block b)
{
    (void)h;
    if (address_covers(state, b.r))
        address_add(state, b.r, (uint32_t)b.size, first_raise);
    else
        first_put_beyond(state, b.r, (uint32_t)b.size);
}

HMM__ALWAYS_INLINE void first_drop(struct hmm_heap *h, void *state, struct sized_block b)
{
    (void)h;
    address_drop(state, b.r);
}

#if !HMM__SMALL

HMM__ALWAYS_INLINE void first_move(struct hmm_heap *h, void *state, struct sized_block was,
                                   struct sized_block now)
{
    (void)h;
    address_move(state, was.r, now.r, (uint32_t)now.size, first_raise);
}

#endif

static hmm_ref first_find(struct hmm_heap *h, void *state, uint32_t n)
{
    return hmm__address_lowest(h, state, n);
}

static void first_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    first_put(h, state, sized_block_at(h, r, block_size(h, r)));
}

static void first_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    first_drop(h, state, sized_block_at(h, r, block_size(h, r)));
}

#if !HMM__SMALL

static void first_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                         hmm_ref now)
{
    first_move(h, state, sized_block_at(h, was, was_granules),
               sized_block_at(h, now, block_size(h, now)));
}

static hmm_ref first_take(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref r = first_find(h, state, n);
    if (r != 0 && !address_cut(state, r, block_size(h, r), n))
        first_put(h, state, sized_block_at(h, r + n, block_size(h, r) - n));
    return r;
}

#endif

#if HMM__PIECES

static hmm_ref first_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    hmm_ref from = address_hint(state, piece->granules) << ADDRESS_UNIT_LOG;
    return hmm__address_piece(h, state, from, piece);
}

#endif

#if !HMM__SMALL

/* ---- As a whole ---- */

/* The remainder of block p, which begins in another unit. */
static __attribute__((noinline)) void *first_put_rest(struct hmm_heap *h, char *p, hmm_ref r,
                                                      uint32_t size)
{
    address_drop(h->state, block_of(h, p));
    first_put(h, h->state, sized_block_at(h, r, size));
    return p;
}

static __attribute__((noinline)) void *first_hand_whole(struct hmm_heap *h, char *p, uint32_t word,
                                                        uint32_t n)
{
    (void)n;
    return address_serve_whole(h, p, word);
}

/* From a block that is in the table of large.c. */
static __attribute__((noinline)) void *first_hand_large(struct hmm_heap *h, char *p, uint32_t word,
                                                        uint32_t n)
{
    large_taken(h, p, header_size(word), header_size(word) - n);
    return address_serve(h, (struct address_found){p, word, n}, NULL, first_hand_whole,
                         first_put_rest);
}

static __attribute__((noinline)) void *first_hand(struct hmm_heap *h, char *p, uint32_t word,
                                                  uint32_t n)
{
    if (hmm__unlikely(large_knows_header(h, word)))
        return first_hand_large(h, p, word, n);
    return address_serve(h, (struct address_found){p, word, n}, NULL, first_hand_whole,
                         first_put_rest);
}

static __attribute__((noinline)) void *first_malloc_far(struct hmm_heap *h, uint32_t n, uint32_t k,
                                                        uint32_t i)
{
    hmm_ref r = hmm__address_resume(h, n, k, i);
    address_settle(h->state, r, n);
    return r ? address_hand_ref(h, r, n, first_hand) : hmm__malloc_else(h, n);
}

static __attribute__((noinline)) void *first_malloc_none(struct hmm_heap *h, uint32_t n)
{
    address_settle(h->state, 0, n);
    return hmm__malloc_else(h, n);
}

/* Above the hint's group. */
static __attribute__((noinline)) void *first_malloc_beyond(struct hmm_heap *h, uint32_t n)
{
    const struct address_index *x = h->state;
    return address_serve_up(h, (x->hints[n] >> ADDRESS_FAN_LOG) + 1, n,
                            (struct address_way){.hand = first_hand,
                                                 .none = first_malloc_none,
                                                 .far = first_malloc_far,
                                                 .lowest = true});
}

/* From another unit of the hint's group, most often. */
static __attribute__((noinline)) void *first_malloc_near(struct hmm_heap *h, uint32_t n)
{
    const struct address_index *x = h->state;
    return address_serve_near(h, x->hints[n], n,
                              (struct address_way){.hand = first_hand,
                                                   .beyond = first_malloc_beyond,
                                                   .far = first_malloc_far,
                                                   .lowest = true});
}

/* From the hint's unit, of which the lowest block, at p, is too small. */
static __attribute__((noinline)) void *first_malloc_next(struct hmm_heap *h, char *p, uint32_t word,
                                                         uint32_t n)
{
    struct address_index *x = h->state;
    uint32_t unit = address_unit(block_of(h, p));
    bits_word map = address_maps(x)[unit];
    while ((map &= map - 1) != 0) {
        p = address_first(h, map, unit);
        uint32_t other = word_load(p);
        COUNT(h->visited++);
        if (other >= header_make(n, 0))
            return first_hand(h, p, other, n);
        word = other > word ? other : word;
    }
    address_bounds(x)[unit] = (uint8_t)header_size(word);
    return first_malloc_near(h, n);
}

static __attribute__((noinline)) void *first_malloc_empty(struct hmm_heap *h, uint32_t n)
{
    struct address_index *x = h->state;
    address_bounds(x)[x->hints[n]] = 0;
    return first_malloc_near(h, n);
}

/* From the group of the last hint on. */
static __attribute__((noinline)) void *first_malloc_large(struct hmm_heap *h, size_t size)
{
    const struct address_index *x = h->state;
    if (size > HMM_MAX_REQUEST)
        return hmm__fail(h, size);
    uint32_t n = hmm__granules_for(size);
    return address_serve_up(h, address_hint(x, n) >> ADDRESS_FAN_LOG, n,
                            (struct address_way){.hand = first_hand,
                                                 .none = first_malloc_none,
                                                 .far = first_malloc_far});
}

static void *first_malloc(struct hmm_heap *h, size_t size)
{
    const struct address_index *x = h->state;
    if (hmm__unlikely(size > ADDRESS_HINTS_MAX))
        return first_malloc_large(h, size);
    uint32_t n = address_small(size), unit = x->hints[n];
    if (hmm__unlikely(address_bounds(x)[unit] < (uint8_t)n))
        return unit == x->units ? hmm__malloc_else(h, n) : first_malloc_near(h, n);
    bits_word map = address_maps(x)[unit];
    if (hmm__unlikely(map == 0))
        return first_malloc_empty(h, n);
    return address_serve_lowest(h, address_first(h, map, unit), n, first_hand, first_malloc_next);
}

static __attribute__((noinline)) void first_merge_next(struct hmm_heap *h, char *p, hmm_ref r,
                                                       struct extent e, uint32_t next_header)
{
    merge_next_by(h, (struct merge){{p, r}, e, next_header}, first_move, NULL);
}

static __attribute__((noinline)) void first_merge_prev(struct hmm_heap *h, char *p, hmm_ref r,
                                                       struct extent e, uint32_t next_header)
{
    merge_prev_by(h, (struct merge){{p, r}, e, next_header}, first_move, NULL);
}

/* Of one caller. Not always inline: gcc -Og does not inline calls by pointer through two levels. */
static void first_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                            struct neighbours n)
{
    join_both(h, (struct block){p, r}, (struct sizes){scaled, n.next, n.prev}, first_drop,
              first_move);
}

static __attribute__((noinline)) void first_merge_both(struct hmm_heap *h, char *p, hmm_ref r,
                                                       struct extent e, uint32_t next_header)
{
    merge_both_by(h, (struct merge){{p, r}, e, next_header}, first_join_both, NULL);
}

static void first_free(struct hmm_heap *h, void *block)
{
    free_by(h, block, first_put,
            (struct merges){first_merge_next, first_merge_prev, first_merge_both});
}

#endif

#if HMM_WITH_STATS

static uint32_t first_largest(struct hmm_heap *h, void *state)
{
    return hmm__address_largest(h, state);
}

#endif

#if HMM_WITH_CHECKS

static const char *first_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    return hmm__address_check(h, state, indexed);
}

#endif

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
#if HMM__PIECES
    .find_piece = first_find_piece,
#endif
#if HMM_WITH_STATS
    .largest = first_largest,
#endif
#if HMM_WITH_CHECKS
    .check = first_check,
#endif
#if !HMM__SMALL
    .grow = first_grow,
    .resize = first_resize,
    .take = first_take,
    .malloc_whole = first_malloc,
    .free_whole = first_free,
#endif
};

const struct hmm_strategy *const HMM_FIRST_FIT = HMM__STRATEGY_NAMED(first_fit);

#endif
