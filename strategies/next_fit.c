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
 * Structure and bound: the index by address (address_index.h), searched upward from the cursor,
 * then from the bottom. What a search upward did not find is remembered (T7): a heap that grows has
 * the cursor at its end most of the time, and nothing above.
 *
 * Good for: spreading placements over the heap. It uses more memory than the others by nature: it
 * cuts up the large blocks that first-fit would leave alone.
 *
 * Sources: Knuth, TAOCP 1, 2.5, exercise 6; Wilson et al. 1995.
 *
 * INVARIANTS, besides those of the index
 * T6  No free block contains the cursor strictly.
 * T7  No free block of `bare_of` granules or more begins at `bare` or above.
 */
#include "address_index.h"

struct next_state {
    hmm_ref cursor;
    hmm_ref bare; /* no block of bare_of granules or more begins here or above */
    uint32_t bare_of, unused;
    struct address_index index;
};

static size_t next_state_size(size_t capacity)
{
    return offsetof(struct next_state, index) + hmm__address_size(capacity);
}

static void next_start(struct hmm_heap *h, void *state)
{
    struct next_state *s = state;
    s->cursor = s->bare = 0;
    s->bare_of = 1;
    hmm__address_start(&s->index, hmm_heap_capacity(h));
}

HMM__ALWAYS_INLINE hmm_ref next_hit(struct hmm_heap *h, const struct next_state *s, uint32_t n)
{
    if (address_unit(s->cursor) >= s->index.covered)
        return 0;
    return address_in_unit(h, &s->index, s->cursor, n);
}

/* Where the cursor's own unit has none. Below the cursor all is found only on the second way round.
 */
HMM__ALWAYS_INLINE hmm_ref next_search(struct hmm_heap *h, struct next_state *s, uint32_t n)
{
    hmm_ref r;
    if (s->cursor < s->bare || n < s->bare_of) {
        r = hmm__address_search(h, &s->index, address_unit(s->cursor) + 1, n);
        if (r != 0)
            return r;
        s->bare = s->cursor;
        s->bare_of = n;
    }
    r = address_in_unit(h, &s->index, address_hint(&s->index, n), n);
    return r ? r : hmm__address_lowest(h, &s->index, n);
}

static hmm_ref next_find(struct hmm_heap *h, void *state, uint32_t n)
{
    struct next_state *s = state;
    hmm_ref r = next_hit(h, s, n);
    return r ? r : next_search(h, s, n);
}

/* A block of `size` granules begins at r. */
HMM__ALWAYS_INLINE void next_note(struct next_state *s, hmm_ref r, uint32_t size)
{
    if (r < s->cursor && s->cursor - r < size)
        s->cursor = r;
    if (r >= s->bare && size >= s->bare_of)
        s->bare_of = size + 1;
}

HMM__ALWAYS_INLINE void next_put(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    struct next_state *s = state;
    (void)h, (void)p;
    next_note(s, r, (uint32_t)size);
    address_add(&s->index, r, (uint32_t)size);
}

HMM__ALWAYS_INLINE void next_drop(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    struct next_state *s = state;
    (void)h, (void)p, (void)size;
    address_drop(&s->index, r);
}

HMM__ALWAYS_INLINE void next_move(struct hmm_heap *h, void *state, hmm_ref was, char *was_p,
                                  size_t was_size, hmm_ref now, char *now_p, size_t size)
{
    struct next_state *s = state;
    (void)h, (void)was_p, (void)was_size, (void)now_p;
    next_note(s, now, (uint32_t)size);
    address_move(&s->index, was, now, (uint32_t)size);
}

HMM__ALWAYS_INLINE void *next_cut(struct next_state *s, hmm_ref r, uint32_t size, uint32_t n,
                                  void *p)
{
    s->cursor = size - n >= HMM_MIN_GRANULES ? r + n : r + size;
    if (s->cursor >= s->bare && size - n >= s->bare_of)
        s->bare_of = size - n + 1;
    return address_cut(&s->index, r, size, n, p);
}

static void next_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    next_put(h, state, r, block_payload(h, r), block_size(h, r));
}

static void next_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    next_drop(h, state, r, block_payload(h, r), block_size(h, r));
}

static void next_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                        hmm_ref now)
{
    next_move(h, state, was, block_payload(h, was), was_granules, now, block_payload(h, now),
              block_size(h, now));
}

static hmm_ref next_take(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref r = next_find(h, state, n);
    if (r != 0)
        next_cut(state, r, block_size(h, r), n, NULL);
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

/* ---- As a whole ---- */

static __attribute__((noinline)) void *next_serve(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    uint32_t size = block_size(h, r);
    return next_cut(h->state, r, size, n, serve(h, r, n, size));
}

static __attribute__((noinline)) void *next_malloc_top(struct hmm_heap *h, uint32_t n)
{
    struct next_state *s = h->state;
    void *p = serve_top(h, n);
    if (hmm__unlikely(p == NULL))
        return hmm__malloc_else(h, n);
    s->cursor = h->top;
    return p;
}

static __attribute__((noinline)) void *next_malloc_far(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = next_search(h, h->state, n);
    return r ? next_serve(h, r, n) : next_malloc_top(h, n);
}

static __attribute__((noinline)) void *next_malloc_large(struct hmm_heap *h, size_t size)
{
    if (size > HMM_MAX_REQUEST)
        return hmm__fail(h);
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = next_find(h, h->state, n);
    return r ? next_serve(h, r, n) : next_malloc_top(h, n);
}

static void *next_malloc(struct hmm_heap *h, size_t size)
{
    const struct next_state *s = h->state;
    if (hmm__unlikely(size > (ADDRESS_HINTS - 1) * HMM_GRANULE - HMM_HEADER_BYTES))
        return next_malloc_large(h, size);
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = next_hit(h, s, n);
    if (hmm__likely(r != 0))
        return next_serve(h, r, n);
    return s->index.hints[n] == s->index.nowhere ? next_malloc_top(h, n) : next_malloc_far(h, n);
}

static __attribute__((noinline)) void next_merge_above(struct hmm_heap *h, char *p, hmm_ref r,
                                                       size_t span, uint32_t above, size_t room)
{
    merge_above_by(h, p, r, span, above, room, next_move, NULL);
}

static __attribute__((noinline)) void next_merge_below(struct hmm_heap *h, char *p, hmm_ref r,
                                                       size_t span, uint32_t above, size_t room)
{
    (void)above, (void)room;
    merge_below_by(h, p, r, span, next_move, NULL);
}

HMM__ALWAYS_INLINE void next_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t span,
                                       size_t nn, size_t pn)
{
    join_both(h, p, r, span, nn, pn, next_drop, next_move);
}

static __attribute__((noinline)) void next_merge_both(struct hmm_heap *h, char *p, hmm_ref r,
                                                      size_t span, uint32_t above, size_t room)
{
    merge_both_by(h, p, r, span, above, room, next_join_both, NULL);
}

static void next_free(struct hmm_heap *h, void *block)
{
    free_by(h, block, next_put, next_merge_above, next_merge_below, next_merge_both);
}

static uint32_t next_largest(struct hmm_heap *h, void *state)
{
    struct next_state *s = state;
    return hmm__address_largest(h, &s->index);
}

static const char *next_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct next_state *s = state;
    for (hmm_ref r = h->first; r < h->top; r = block_next(h, r)) {
        if (!(block_header(h, r) & HMM__FREE))
            continue;
        if (r < s->cursor && s->cursor - r < block_size(h, r))
            return "T6: next-fit: a free block contains the cursor strictly";
        if (r >= s->bare && block_size(h, r) >= s->bare_of)
            return "T7: next-fit: a free block is where none as large should be";
    }
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
    .malloc_whole = next_malloc,
    .free_whole = next_free,
};

const struct hmm_strategy *const HMM_NEXT_FIT = &next_fit;
