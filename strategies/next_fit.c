/* SPDX-License-Identifier: MIT */
/*
 * Next-fit: the first free block that is large enough at or after the cursor, then from the bottom.
 *
 * THEORY
 *
 * The cursor is an address: the end of the last placement. If neighbours merge into a free block
 * that contains the cursor strictly, the cursor moves down to the start of that block: the roving
 * pointer of the textbook points to a block, not into one. An aligned piece comes from
 * the first block from the cursor in which it fits.
 *
 * Structure and bound: the index by address (address_index.h), searched upward from the cursor,
 * then from the bottom. If a search upward finds nothing, that is remembered (T7): in a heap that
 * grows the cursor is at the end most of the time, with no free block above it.
 *
 * Good for: spreading placements over the heap. It uses more memory than the others by nature: it
 * cuts up the large blocks that first-fit would leave alone.
 *
 * Sources: Knuth, TAOCP 1, 2.5, exercise 6; Wilson et al. 1995.
 *
 * INVARIANTS, besides those of the index
 * T6  No free block contains the cursor strictly.
 * T7  No free block of `bare_of` granules or more begins above unit `bare`, nor is a bound there as
 *     much.
 */
#include "address_serve.h"

#if HMM_WITH_NEXT_FIT

/* What stands between the index and its maps. */
struct next_own {
    hmm_ref cursor;
    uint32_t bare, bare_of;
};

_Static_assert(sizeof(struct next_own) <= ADDRESS_OWN, "the index leaves room for it");

HMM__ALWAYS_INLINE struct next_own *next_own(const struct address_index *x)
{
    return (struct next_own *)(uintptr_t)(x + 1);
}

#if !HMM__SMALL

HMM__ALWAYS_INLINE void next_end(struct address_index *x, hmm_ref end)
{
    next_own(x)->cursor = end;
}

#endif

static size_t next_state_size(size_t capacity)
{
    return hmm__address_size(capacity);
}

static void next_start(struct hmm_heap *h, void *state)
{
    struct address_index *x = state;
    hmm__address_start(h, x);
    *next_own(x) = (struct next_own){.cursor = h->first, .bare = x->floor, .bare_of = 1};
}

#if !HMM__SMALL

static void next_grow(struct hmm_heap *h, void *state, size_t old, size_t now)
{
    (void)h, (void)old;
    hmm__address_widen(state, now);
}

#endif

static __attribute__((noinline)) void next_raise(struct address_index *x, uint32_t unit,
                                                 uint32_t size, uint8_t *bound)
{
    if (unit > next_own(x)->bare && size >= next_own(x)->bare_of)
        next_own(x)->bare_of = size + 1;
    address_raise(x, unit, size, bound);
}

/* A free block of `size` granules begins at r. */
HMM__ALWAYS_INLINE void next_note(struct address_index *x, hmm_ref r, uint32_t size)
{
    HMM_ASSERT(size >= HMM_MIN_GRANULES);
    if (next_own(x)->cursor - r < size)
        next_own(x)->cursor = r;
}

static HMM__COLD void next_put_beyond(struct address_index *x, hmm_ref r, uint32_t size)
{
    hmm__address_cover(x, address_unit(r));
    address_add(x, r, size, next_raise);
}

HMM__ALWAYS_INLINE void next_put(struct hmm_heap *h, void *state, struct sized_block b)
{
    (void)h;
    next_note(state, b.r, (uint32_t)b.size);
    if (address_covers(state, b.r))
        address_add(state, b.r, (uint32_t)b.size, next_raise);
    else
        next_put_beyond(state, b.r, (uint32_t)b.size);
}

HMM__ALWAYS_INLINE void next_drop(struct hmm_heap *h, void *state, struct sized_block b)
{
    (void)h;
    address_clear(state, b.r);
}

#if !HMM__SMALL

HMM__ALWAYS_INLINE void next_move(struct hmm_heap *h, void *state, struct sized_block was,
                                  struct sized_block now)
{
    (void)h;
    next_note(state, now.r, (uint32_t)now.size);
    address_move(state, was.r, now.r, (uint32_t)now.size, next_raise);
}

#endif

static void next_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    next_put(h, state, sized_block_at(h, r, block_size(h, r)));
}

static void next_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    next_drop(h, state, sized_block_at(h, r, block_size(h, r)));
}

#if !HMM__SMALL

static void next_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                        hmm_ref now)
{
    next_move(h, state, sized_block_at(h, was, was_granules),
              sized_block_at(h, now, block_size(h, now)));
}

#endif

HMM__ALWAYS_INLINE hmm_ref next_hit(struct hmm_heap *h, const struct address_index *x, uint32_t n)
{
    return address_covers(x, next_own(x)->cursor) ? address_in_unit(h, x, next_own(x)->cursor, n)
                                                  : 0;
}

HMM__ALWAYS_INLINE bool next_bare(const struct address_index *x, uint32_t n)
{
    return address_unit(next_own(x)->cursor) >= next_own(x)->bare && n >= next_own(x)->bare_of;
}

/* Where the search upward found none. */
HMM__ALWAYS_INLINE void next_learn(struct address_index *x, uint32_t n)
{
    next_own(x)->bare = address_unit(next_own(x)->cursor);
    next_own(x)->bare_of = n;
}

/* A block below the cursor is found only when the search has started again from the bottom. */
static hmm_ref next_find(struct hmm_heap *h, void *state, uint32_t n)
{
    struct address_index *x = state;
    hmm_ref r = next_hit(h, x, n);
    if (r == 0 && !next_bare(x, n)) {
        r = hmm__address_search(h, x, address_unit(next_own(x)->cursor) + 1, n);
        if (r == 0)
            next_learn(x, n);
    }
    return r ? r : hmm__address_lowest(h, x, n);
}

#if !HMM__SMALL

/* The low n of block r's `size` granules are placed, as address_cut takes them. */
HMM__ALWAYS_INLINE bool next_cut(struct address_index *x, hmm_ref r, uint32_t size, uint32_t n)
{
    next_own(x)->cursor = size - n >= HMM_MIN_GRANULES ? r + n : r + size;
    return address_cut(x, r, size, n);
}

static hmm_ref next_take(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref r = next_find(h, state, n);
    if (r != 0 && !next_cut(state, r, block_size(h, r), n))
        next_put(h, state, sized_block_at(h, r + n, block_size(h, r) - n));
    return r;
}

#endif

static void next_placed(struct hmm_heap *h, void *state, hmm_ref r, uint32_t granules)
{
    struct address_index *x = state;
    (void)h;
    next_own(x)->cursor = r + granules;
}

#if HMM__PIECES

static hmm_ref next_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    struct address_index *x = state;
    hmm_ref r = hmm__address_piece(h, x, next_own(x)->cursor, piece);
    return r ? r : hmm__address_piece(h, x, h->first, piece);
}

#endif

#if !HMM__SMALL

/* ---- As a whole ---- */

/* The remainder of block p, which begins in another unit. */
static __attribute__((noinline)) void *next_put_rest(struct hmm_heap *h, char *p, hmm_ref r,
                                                     uint32_t size)
{
    struct address_index *x = h->state;
    address_clear(x, block_of(h, p));
    next_put(h, x, sized_block_at(h, r, size));
    return p;
}

static __attribute__((noinline)) void *next_hand_whole(struct hmm_heap *h, char *p, uint32_t word,
                                                       uint32_t n)
{
    struct address_index *x = h->state;
    (void)n;
    next_own(x)->cursor = block_of(h, p) + header_size(word);
    return address_serve_whole(h, p, word);
}

/* From a block that is in the table of large.c. */
static __attribute__((noinline)) void *next_hand_large(struct hmm_heap *h, char *p, uint32_t word,
                                                       uint32_t n)
{
    large_taken(h, p, header_size(word), header_size(word) - n);
    return address_serve(h, (struct address_found){p, word, n}, next_end, next_hand_whole,
                         next_put_rest);
}

static __attribute__((noinline)) void *next_hand(struct hmm_heap *h, char *p, uint32_t word,
                                                 uint32_t n)
{
    if (hmm__unlikely(large_knows_header(h, word)))
        return next_hand_large(h, p, word, n);
    return address_serve(h, (struct address_found){p, word, n}, next_end, next_hand_whole,
                         next_put_rest);
}

static __attribute__((noinline)) void *next_malloc_top(struct hmm_heap *h, uint32_t n)
{
    struct address_index *x = h->state;
    void *p = allocate_from_top(h, n);
    if (hmm__unlikely(p == NULL))
        return hmm__malloc_else(h, n);
    next_own(x)->cursor = h->top;
    return p;
}

/* From the first unit at or after the cursor that has a block of this size. */
static __attribute__((noinline)) void *next_malloc_any(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = next_find(h, h->state, n);
    return r ? address_hand_ref(h, r, n, next_hand) : next_malloc_top(h, n);
}

static __attribute__((noinline)) void *next_malloc_far(struct hmm_heap *h, uint32_t n, uint32_t k,
                                                       uint32_t i)
{
    hmm_ref r = hmm__address_resume(h, n, k, i);
    address_settle(h->state, r, n);
    return r ? address_hand_ref(h, r, n, next_hand) : next_malloc_top(h, n);
}

static __attribute__((noinline)) void *next_malloc_none(struct hmm_heap *h, uint32_t n)
{
    address_settle(h->state, 0, n);
    return next_malloc_top(h, n);
}

static __attribute__((noinline)) void *next_malloc_beyond(struct hmm_heap *h, uint32_t n)
{
    const struct address_index *x = h->state;
    return address_serve_up(
        h, (x->hints[n] >> ADDRESS_FAN_LOG) + 1, n,
        (struct address_way){
            .hand = next_hand, .none = next_malloc_none, .far = next_malloc_far, .lowest = true});
}

/* From the bottom. */
static __attribute__((noinline)) void *next_malloc_low(struct hmm_heap *h, uint32_t n)
{
    const struct address_index *x = h->state;
    if (n >= ADDRESS_HINTS)
        return address_serve_up(h, address_hint(x, n) >> ADDRESS_FAN_LOG, n,
                                (struct address_way){.hand = next_hand,
                                                     .none = next_malloc_none,
                                                     .far = next_malloc_far});
    return address_serve_near(h, x->hints[n], n,
                              (struct address_way){.hand = next_hand,
                                                   .beyond = next_malloc_beyond,
                                                   .far = next_malloc_far,
                                                   .lowest = true});
}

static __attribute__((noinline)) void *next_malloc_bare(struct hmm_heap *h, uint32_t n)
{
    next_learn(h->state, n);
    return next_malloc_low(h, n);
}

static __attribute__((noinline)) void *next_malloc_far_above(struct hmm_heap *h, uint32_t n,
                                                             uint32_t k, uint32_t i)
{
    hmm_ref r = hmm__address_resume(h, n, k, i);
    return r ? address_hand_ref(h, r, n, next_hand) : next_malloc_bare(h, n);
}

/* Above the group of the unit above the cursor's. */
static __attribute__((noinline)) void *next_malloc_above(struct hmm_heap *h, uint32_t n)
{
    const struct address_index *x = h->state;
    uint32_t unit = address_unit(next_own(x)->cursor) + 1;
    return address_serve_up(h, (unit >> ADDRESS_FAN_LOG) + 1, n,
                            (struct address_way){.hand = next_hand,
                                                 .none = next_malloc_bare,
                                                 .far = next_malloc_far_above});
}

/* Above the cursor's unit, and then from the bottom. */
static __attribute__((noinline)) void *next_malloc_near(struct hmm_heap *h, uint32_t n)
{
    const struct address_index *x = h->state;
    uint32_t unit = address_unit(next_own(x)->cursor) + 1;
    if (next_bare(x, n) || unit > x->covered)
        return next_malloc_low(h, n);
    return address_serve_near(h, unit, n,
                              (struct address_way){.hand = next_hand,
                                                   .beyond = next_malloc_above,
                                                   .far = next_malloc_far_above});
}

/* From the cursor's unit, of which the lowest block from there on is too small. */
static __attribute__((noinline)) void *next_malloc_next(struct hmm_heap *h, char *p, uint32_t word,
                                                        uint32_t n)
{
    const struct address_index *x = h->state;
    uint32_t unit = address_unit(next_own(x)->cursor);
    bits_word map = address_maps(x)[unit] & BITS_FROM(next_own(x)->cursor % BITS);
    while ((map &= map - 1) != 0) {
        p = address_first(h, map, unit);
        word = word_load(p);
        COUNT(h->visited++);
        if (word >= header_make(n, 0))
            return next_hand(h, p, word, n);
    }
    return next_malloc_near(h, n);
}

static __attribute__((noinline)) void *next_malloc_large(struct hmm_heap *h, size_t size)
{
    const struct address_index *x = h->state;
    if (size > HMM_MAX_REQUEST)
        return hmm__fail(h, size);
    uint32_t n = hmm__granules_for(size);
    if (address_covers(x, next_own(x)->cursor) &&
        address_bounds(x)[address_unit(next_own(x)->cursor)] >= address_byte(n))
        return next_malloc_any(h, n);
    return next_malloc_near(h, n);
}

static void *next_malloc(struct hmm_heap *h, size_t size)
{
    const struct address_index *x = h->state;
    if (hmm__unlikely(size > ADDRESS_HINTS_MAX))
        return next_malloc_large(h, size);
    uint32_t n = address_small(size), unit = address_unit(next_own(x)->cursor);
    if (hmm__likely(unit < x->covered && address_bounds(x)[unit] >= (uint8_t)n)) {
        bits_word map = address_maps(x)[unit] & BITS_FROM(next_own(x)->cursor % BITS);
        if (hmm__likely(map != 0))
            return address_serve_lowest(h, address_first(h, map, unit), n, next_hand,
                                        next_malloc_next);
    }
    return x->hints[n] == x->units ? next_malloc_top(h, n) : next_malloc_near(h, n);
}

static __attribute__((noinline)) void next_merge_next(struct hmm_heap *h, char *p, hmm_ref r,
                                                      struct extent e, uint32_t next_header)
{
    merge_next_by(h, (struct merge){{p, r}, e, next_header}, next_move, NULL);
}

static __attribute__((noinline)) void next_merge_prev(struct hmm_heap *h, char *p, hmm_ref r,
                                                      struct extent e, uint32_t next_header)
{
    merge_prev_by(h, (struct merge){{p, r}, e, next_header}, next_move, NULL);
}

/* Of one caller. Not always inline: gcc -Og does not inline calls by pointer through two levels. */
static void next_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                           struct neighbours n)
{
    join_both(h, (struct block){p, r}, (struct sizes){scaled, n.next, n.prev}, next_drop,
              next_move);
}

static __attribute__((noinline)) void next_merge_both(struct hmm_heap *h, char *p, hmm_ref r,
                                                      struct extent e, uint32_t next_header)
{
    merge_both_by(h, (struct merge){{p, r}, e, next_header}, next_join_both, NULL);
}

static void next_free(struct hmm_heap *h, void *block)
{
    free_by(h, block, next_put, (struct merges){next_merge_next, next_merge_prev, next_merge_both});
}

#endif

#if HMM_WITH_STATS

static uint32_t next_largest(struct hmm_heap *h, void *state)
{
    return hmm__address_largest(h, state);
}

#endif

#if HMM_WITH_CHECKS

static const char *next_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct address_index *x = state;
    const char *broken = hmm__address_check(h, x, indexed);
    if (broken != NULL)
        return broken;
    for (hmm_ref r = h->first; r < h->top; r = block_next(h, r)) {
        if (!(block_header(h, r) & HMM__FREE))
            continue;
        if (r < next_own(x)->cursor && next_own(x)->cursor - r < block_size(h, r))
            return "T6: next-fit: a free block contains the cursor strictly";
        if (address_unit(r) > next_own(x)->bare && block_size(h, r) >= next_own(x)->bare_of)
            return "T7: next-fit: a free block is where none as large should be";
    }
    for (uint32_t unit = next_own(x)->bare + 1; unit < x->covered; unit++)
        if (address_bounds(x)[unit] >= next_own(x)->bare_of)
            return "T7: next-fit: a bound is more than it should be";
    return NULL;
}

#endif

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
    .placed = next_placed,
#if HMM__PIECES
    .find_piece = next_find_piece,
#endif
#if HMM_WITH_STATS
    .largest = next_largest,
#endif
#if HMM_WITH_CHECKS
    .check = next_check,
#endif
#if !HMM__SMALL
    .grow = next_grow,
    .resize = next_resize,
    .take = next_take,
    .malloc_whole = next_malloc,
    .free_whole = next_free,
#endif
};

const struct hmm_strategy *const HMM_NEXT_FIT = HMM__STRATEGY_NAMED(next_fit);

#endif
