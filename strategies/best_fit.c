/* SPDX-License-Identifier: MIT */
/*
 * Best-fit: the smallest free block that is large enough; of equals, the most recently freed.
 *
 * THEORY
 *
 * Free blocks of fewer than BINS granules stand in bins, one for each size, the newest first
 * (bins.h): the best bin is one bit scan away. The large one that became free last is held; the
 * others are in an index by size (size_index.h).
 *
 * An aligned piece, or one that must not cross a boundary: the BEST_PIECE_TRIES best blocks for its
 * size are tried, in this order; if it fits in none of them, the best for so large a size that it
 * fits wherever the block begins. Where it may only lie in a part of the heap no size is enough:
 * all blocks are tried in this order, those only that are as large as it.
 *
 * Bound: some bit scans; for large sizes at most one node for each bit of the size, 29. No step
 * depends on the number of free blocks.
 *
 * Good for: the least memory of the four on most programs. Its worst case is the worst, too: about
 * M(n - 2) for M bytes live and n the ratio of the largest request to the smallest (Robson 1977).
 *
 * Sources: Knuth, TAOCP 1, 2.5; Wilson et al. 1995, "Dynamic Storage Allocation"; Lea's malloc.
 *
 * INVARIANTS
 * T2, T3, T4  Those of the bins.
 * T5 to T8    Those of the index by size, in which no block is smaller than the floor.
 */
#include "size_index.h"

#define BEST_PIECE_TRIES 16u

struct best_state {
    struct bins bins;
    struct size_index sizes;
};

static size_t best_state_size(size_t capacity)
{
    return offsetof(struct best_state, sizes) + hmm__size_bytes(capacity);
}

static void best_start(struct hmm_heap *h, void *state)
{
    struct best_state *s = state;
    s->bins.floor = UINT32_MAX;
    hmm__size_start(&s->sizes, hmm_heap_capacity(h));
}

static void best_grow(struct hmm_heap *h, void *state, size_t old, size_t now)
{
    struct best_state *s = state;
    (void)old;
    hmm__size_widen(h, &s->sizes, now);
}

/* ---- The large ones ---- */

static __attribute__((noinline)) void best_index_put(struct hmm_heap *h, struct best_state *s,
                                                     hmm_ref r, uint32_t size)
{
    if (size < s->bins.floor)
        s->bins.floor = size;
    hmm__size_push(h, &s->sizes, r, size);
}

static void best_index_drop(struct hmm_heap *h, struct best_state *s, hmm_ref r, uint32_t size)
{
    hmm__size_unlink(h, &s->sizes, r, size);
    if (hmm__size_is_empty(&s->sizes))
        s->bins.floor = UINT32_MAX;
}

/* A block that has become free just now, or has changed. It is held: the next request may well be
 * for it, and what is released beside it. */
HMM__ALWAYS_INLINE void best_large_put(struct hmm_heap *h, struct best_state *s, hmm_ref r,
                                       uint32_t size)
{
    hmm_ref other = s->bins.held;
    uint32_t other_size = s->bins.held_size;
    hold(&s->bins, r, size);
    if (other != 0)
        best_index_put(h, s, other, other_size);
}

static __attribute__((noinline)) void best_large_drop(struct hmm_heap *h, struct best_state *s,
                                                      hmm_ref r, uint32_t size)
{
    if (s->bins.held == r)
        hold(&s->bins, 0, 0);
    else
        best_index_drop(h, s, r, size);
}

/* ---- The strategy ---- */

HMM__ALWAYS_INLINE void best_put(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    if (hmm__likely(size < BINS))
        bin_push(h, state, r, p, size);
    else
        best_large_put(h, state, r, (uint32_t)size);
}

HMM__ALWAYS_INLINE void best_drop(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    if (hmm__likely(size < BINS))
        bin_unlink(h, state, r, p, size);
    else
        best_large_drop(h, state, r, (uint32_t)size);
}

static __attribute__((noinline)) void best_move_indexed(struct hmm_heap *h, struct best_state *s,
                                                        hmm_ref was, uint32_t was_size, hmm_ref now,
                                                        uint32_t size)
{
    best_large_drop(h, s, was, was_size);
    best_large_put(h, s, now, size);
}

static __attribute__((noinline)) void best_move_large(struct hmm_heap *h, struct best_state *s,
                                                      hmm_ref was, uint32_t was_size, hmm_ref now,
                                                      uint32_t size)
{
    if (was_size >= BINS) {
        best_move_indexed(h, s, was, was_size, now, size);
        return;
    }
    bin_unlink(h, &s->bins, was, block_payload(h, was), was_size);
    best_large_put(h, s, now, size);
}

HMM__ALWAYS_INLINE void best_move(struct hmm_heap *h, void *state, hmm_ref was, char *was_p,
                                  size_t was_size, hmm_ref now, char *now_p, size_t size)
{
    struct best_state *s = state;
    if (size >= BINS && was == s->bins.held) {
        hold(&s->bins, now, (uint32_t)size);
        return;
    }
    if (size >= BINS) {
        best_move_large(h, state, was, (uint32_t)was_size, now, (uint32_t)size);
        return;
    }
    bins_move(h, state, was, was_p, was_size, now, now_p, size);
}

/* The best of the large ones; 0: none. */
static hmm_ref best_large_find(struct hmm_heap *h, const struct best_state *s, uint32_t n)
{
    if (held_is_next(&s->bins, n)) {
        h->visited++;
        return s->bins.held;
    }
    hmm_ref r = hmm__size_find(h, &s->sizes, n);
    return s->bins.held_size >= n && (r == 0 || s->bins.held_size <= block_size(h, r))
               ? s->bins.held
               : r;
}

/* Takes r, a large one, and leaves what is beyond n granules of it. The remainder goes back by its
 * size: what was a trie's may be a bin's. */
static void best_large_cut(struct hmm_heap *h, struct best_state *s, hmm_ref r, uint32_t size,
                           uint32_t n)
{
    uint32_t rest = size - n;
    best_large_drop(h, s, r, size);
    if (rest >= HMM_MIN_GRANULES)
        best_put(h, s, r + n, block_payload(h, r + n), rest);
}

static hmm_ref best_find(struct hmm_heap *h, void *state, uint32_t granules)
{
    const struct best_state *s = state;
    uint32_t size = bins_least(&s->bins, granules);
    if (size == 0)
        return best_large_find(h, s, granules);
    h->visited++;
    return s->bins.heads[size];
}

static hmm_ref best_take(struct hmm_heap *h, void *state, uint32_t granules)
{
    struct best_state *s = state;
    hmm_ref r = best_find(h, s, granules);
    if (r == 0)
        return 0;
    uint32_t size = block_size(h, r);
    if (size < BINS)
        return bin_cut(h, &s->bins, size, granules);
    best_large_cut(h, s, r, size, granules);
    return r;
}

static void best_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    best_put(h, state, r, block_payload(h, r), block_size(h, r));
}

static void best_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    best_drop(h, state, r, block_payload(h, r), block_size(h, r));
}

static void best_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                        hmm_ref now)
{
    best_move(h, state, was, block_payload(h, was), was_granules, now, block_payload(h, now),
              block_size(h, now));
}

/* After r, of `size`, the next of its equals in age; 0: it is the oldest. */
static hmm_ref best_older(struct hmm_heap *h, const struct best_state *s, hmm_ref r, uint32_t size)
{
    if (size < BINS)
        return block_links(h, r)[BIN_NEXT];
    if (r != s->bins.held)
        return hmm__size_older(h, &s->sizes, r, size);
    hmm_ref next = hmm__size_find(h, &s->sizes, size);
    return next && block_size(h, next) == size ? next : 0;
}

static hmm_ref best_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    uint32_t size = piece->granules, surely = hmm_piece_surely(piece);
    uint32_t tries = hmm_piece_is_limited(piece) ? UINT32_MAX : BEST_PIECE_TRIES;
    while (size < surely && size <= HMM_MAX_GRANULES) {
        hmm_ref r = best_find(h, state, size);
        if (r == 0)
            return 0;
        size = block_size(h, r);
        for (; r != 0; r = best_older(h, state, r, size)) {
            if (hmm_piece_fits(piece, r, size))
                return r;
            if (--tries == 0)
                return surely <= HMM_MAX_GRANULES ? best_find(h, state, surely) : 0;
        }
        size++;
    }
    return size <= HMM_MAX_GRANULES ? best_find(h, state, size) : 0;
}

/* ---- As a whole ---- */

/* The held block is not known to be the best. That the floor is too low may be all that was in its
 * way. */
static __attribute__((noinline)) void *best_large_malloc(struct hmm_heap *h, uint32_t n)
{
    struct best_state *s = h->state;
    hmm_ref r = hmm__size_find(h, &s->sizes, n);
    uint32_t size = r ? block_size(h, r) : UINT32_MAX;
    if (n <= s->bins.floor)
        s->bins.floor = size;
    if (s->bins.held_size >= n && s->bins.held_size <= size)
        return hmm__held_serve(h, n);
    if (r == 0)
        return hmm__malloc_else(h, n);
    if (hmm__unlikely(size < n))
        hmm__links_broken(h, r);
    best_index_drop(h, s, r, size);
    if (size - n >= HMM_MIN_GRANULES)
        best_put(h, s, r + n, block_payload(h, r + n), size - n);
    return serve(h, r, n, size);
}

/* No bin has any: the large ones, then the top. */
static __attribute__((noinline)) void *best_malloc_else(struct hmm_heap *h, size_t n)
{
    struct best_state *s = h->state;
    if (held_is_next(&s->bins, n))
        return hmm__held_serve(h, n);
    if (!hmm__size_is_empty(&s->sizes))
        return best_large_malloc(h, (uint32_t)n);
    void *p = serve_top(h, (uint32_t)n);
    return p ? p : hmm__malloc_else(h, (uint32_t)n);
}

static __attribute__((noinline)) void *best_malloc_large(struct hmm_heap *h, size_t size)
{
    if (size > HMM_MAX_REQUEST)
        return hmm__fail(h);
    return best_malloc_else(h, hmm__granules_for(size));
}

static void *best_malloc(struct hmm_heap *h, size_t size)
{
    return bins_malloc(h, size, best_malloc_else, best_malloc_large);
}

/* Where a large block comes of it. */
HMM__ALWAYS_INLINE void best_move_to_large(struct hmm_heap *h, void *state, hmm_ref was,
                                           char *was_p, size_t was_size, hmm_ref now, char *now_p,
                                           size_t size)
{
    struct best_state *s = state;
    (void)was_p, (void)now_p;
    if (was == s->bins.held)
        hold(&s->bins, now, size);
    else
        best_move_large(h, s, was, (uint32_t)was_size, now, (uint32_t)size);
}

static __attribute__((noinline)) void best_large_above(struct hmm_heap *h, char *p, hmm_ref r)
{
    large_above_by(h, p, r, best_move_to_large);
}

static __attribute__((noinline)) void best_large_below(struct hmm_heap *h, char *p, hmm_ref r)
{
    large_below_by(h, p, r, best_move_to_large);
}

static __attribute__((noinline)) void best_large_both_indexed(struct hmm_heap *h, char *p,
                                                              hmm_ref r)
{
    large_both_by(h, p, r, best_drop, best_move_to_large);
}

/* As best_drop, of a block that is not in the index. */
HMM__ALWAYS_INLINE void best_drop_lightly(struct hmm_heap *h, void *state, hmm_ref r, char *p,
                                          size_t size)
{
    struct best_state *s = state;
    if (size < BINS)
        bin_unlink(h, state, r, p, size);
    else
        hold(&s->bins, 0, 0);
}

/* Most often the upper one is small, or held. */
static __attribute__((noinline)) void best_large_both(struct hmm_heap *h, char *p, hmm_ref r)
{
    const struct best_state *s = h->state;
    size_t span = header_span(word_load(p)), nn = header_span(word_load(p + span_bytes(span)));
    if (nn >= LARGE_SPAN && s->bins.held != r + (hmm_ref)span_granules(span))
        best_large_both_indexed(h, p, r);
    else
        large_both_by(h, p, r, best_drop_lightly, best_move_to_large);
}

static __attribute__((noinline)) void best_merge_above(struct hmm_heap *h, char *p, hmm_ref r,
                                                       size_t span, uint32_t above, size_t room)
{
    merge_above_by(h, p, r, span, above, room, bins_move, best_large_above);
}

static __attribute__((noinline)) void best_merge_below(struct hmm_heap *h, char *p, hmm_ref r,
                                                       size_t span, uint32_t above, size_t room)
{
    (void)above, (void)room;
    merge_below_by(h, p, r, span, bins_move, best_large_below);
}

static __attribute__((noinline)) void best_join_both(struct hmm_heap *h, char *p, hmm_ref r,
                                                     size_t span, size_t nn, size_t pn)
{
    join_both(h, p, r, span, nn, pn, bins_drop, bins_move);
}

static __attribute__((noinline)) void best_merge_both(struct hmm_heap *h, char *p, hmm_ref r,
                                                      size_t span, uint32_t above, size_t room)
{
    merge_both_by(h, p, r, span, above, room, best_join_both, best_large_both);
}

static void best_free(struct hmm_heap *h, void *block)
{
    free_by(h, block, best_put, best_merge_above, best_merge_below, best_merge_both);
}

static uint32_t best_largest(struct hmm_heap *h, void *state)
{
    const struct best_state *s = state;
    uint32_t held = bins_largest(&s->bins), most = hmm__size_largest(h, &s->sizes);
    return most > held ? most : held;
}

static const char *best_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct best_state *s = state;
    *indexed = 0;
    const char *broken = hmm__bins_check(h, &s->bins, indexed);
    if (broken == NULL)
        broken = hmm__size_check(h, &s->sizes, s->bins.floor, indexed);
    return broken;
}

static const struct hmm_strategy best_fit = {
    .abi = HMM_STRATEGY_ABI,
    .name = "best-fit",
    .summary = "the smallest free block that is large enough; of equals, the newest",
    .state_size = best_state_size,
    .find = best_find,
    .insert = best_insert,
    .remove = best_remove,
    .start = best_start,
    .grow = best_grow,
    .resize = best_resize,
    .take = best_take,
    .find_piece = best_find_piece,
    .largest = best_largest,
    .check = best_check,
    .malloc_whole = best_malloc,
    .free_whole = best_free,
};

const struct hmm_strategy *const HMM_BEST_FIT = &best_fit;
