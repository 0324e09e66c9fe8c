/* SPDX-License-Identifier: MIT */
/*
 * Best-fit: the smallest free block that is large enough; of equals, the most recently freed.
 *
 * THEORY
 *
 * Free blocks of fewer than BINS granules stand in bins, one for each size, the newest first
 * (bins.h): the best bin is one bit scan away. The large block that became free last is the victim;
 * the others are in an index by size (size_index.h).
 *
 * An aligned piece, or one that must not cross a boundary: the 16 best blocks for its size are
 * tried, in this order; if it fits in none of them, the best for so large a size that it
 * fits wherever the block begins. Where it may only lie in a part of the heap no size is enough:
 * all blocks are tried in this order, those only that are as large as it.
 *
 * Bound: some bit scans; for large sizes at most one node for each bit of the size, 29. No step
 * depends on the number of free blocks, but of a piece that may only lie in a part of the heap: the
 * same for each free block as large as it.
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
#include "by_size.h"
#include "size_index.h"

#if HMM_WITH_BEST_FIT

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
    floor_to_top(&s->bins);
    hmm__size_start(&s->sizes, hmm_heap_capacity(h));
}

#if !HMM__SMALL

static void best_grow(struct hmm_heap *h, void *state, size_t old, size_t now)
{
    struct best_state *s = state;
    (void)old;
    hmm__size_widen(h, &s->sizes, now);
}

#endif

/* ---- The large ones ---- */

static __attribute__((noinline)) void best_index_push(struct hmm_heap *h, void *state, hmm_ref r,
                                                      uint32_t size)
{
    struct best_state *s = state;
#if !HMM__SMALL
    if (size < s->bins.floor)
        s->bins.floor = size;
#endif
    hmm__size_push(h, &s->sizes, r, size);
}

static void best_index_drop(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size)
{
    struct best_state *s = state;
    hmm__size_unlink(h, &s->sizes, r, size);
    if (hmm__size_is_empty(&s->sizes))
        floor_to_top(&s->bins);
}

#if !HMM__SMALL

HMM__ALWAYS_INLINE bool best_index_empty(const void *state)
{
    return hmm__size_is_empty(&((const struct best_state *)state)->sizes);
}

#endif

/* The best of the large blocks; 0: there is none. */
static hmm_ref best_large_find(struct hmm_heap *h, const void *state, uint32_t n)
{
    const struct best_state *s = state;
#if HMM__SMALL
    return hmm__size_find(h, &s->sizes, n);
#else
    if (victim_is_next(&s->bins, n)) {
        COUNT(h->visited++);
        return s->bins.victim;
    }
    hmm_ref r = hmm__size_find(h, &s->sizes, n);
    return s->bins.victim_size >= n && (r == 0 || s->bins.victim_size <= block_size(h, r))
               ? s->bins.victim
               : r;
#endif
}

#if !HMM__SMALL

/* The victim is not known to be the best block. The reason may be that the floor is lower than
 * necessary: then it is corrected. */
static __attribute__((noinline)) void *best_index_malloc(struct hmm_heap *h, uint32_t n)
{
    struct best_state *s = h->state;
    hmm_ref r = hmm__size_find(h, &s->sizes, n);
    uint32_t size = r ? block_size(h, r) : UINT32_MAX;
    if (n <= s->bins.floor)
        s->bins.floor = size;
    if (s->bins.victim_size >= n && s->bins.victim_size <= size)
        return hmm__victim_serve(h, n);
    if (r == 0)
        return hmm__malloc_else(h, n);
    if (hmm__unlikely(size < n))
        hmm__links_broken(h, r);
    best_index_drop(h, s, r, size);
    if (size - n >= HMM_MIN_GRANULES)
        by_size_put(h, s, sized_block_at(h, r + n, size - n), best_index_push);
    return finish_allocation(h, r, n, size);
}

#endif

/* It defines best_large_drop, best_put, best_drop, best_find, best_insert, best_remove,
 * best_large_move, best_enlarge, best_take, best_resize, best_malloc_else, best_malloc_large,
 * best_malloc, best_large_above, best_large_below, best_large_both_indexed, best_large_both,
 * best_merge_above, best_merge_below, best_merge_both and best_free. */
BY_SIZE(best)

#if HMM__PIECES

/* ---- Pieces ---- */

/* The next older block of the same size as r; 0: r is the oldest. */
static hmm_ref best_older(struct hmm_heap *h, const struct best_state *s, hmm_ref r, uint32_t size)
{
    if (size < BINS)
        return block_links(h, r)[BIN_NEXT];
#if !HMM__SMALL
    if (r == s->bins.victim) {
        hmm_ref next = hmm__size_find(h, &s->sizes, size);
        return next && block_size(h, next) == size ? next : 0;
    }
#endif
    return hmm__size_older(h, &s->sizes, r, size);
}

static hmm_ref best_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    uint32_t size = piece->granules, surely = hmm_piece_surely(piece);
    uint32_t tries = hmm_piece_is_limited(piece) ? UINT32_MAX : 16u;
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

#endif

#if HMM_WITH_STATS

static uint32_t best_largest(struct hmm_heap *h, void *state)
{
    const struct best_state *s = state;
    uint32_t victim = bins_largest(&s->bins), max = hmm__size_largest(h, &s->sizes);
    return max > victim ? max : victim;
}

#endif

#if HMM_WITH_CHECKS

static const char *best_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct best_state *s = state;
    *indexed = 0;
    const char *broken = hmm__bins_check(h, &s->bins, indexed);
    if (broken == NULL)
        broken = hmm__size_check(h, &s->sizes, floor_of(&s->bins), indexed);
    return broken;
}

#endif

static const struct hmm_strategy best_fit = {
    .abi = HMM_STRATEGY_ABI,
    .flags = HMM_STRATEGY_BY_SIZE,
    .name = "best-fit",
    .summary = "the smallest free block that is large enough; of equals, the newest",
    .state_size = best_state_size,
    .find = best_find,
    .insert = best_insert,
    .remove = best_remove,
    .start = best_start,
#if HMM__PIECES
    .find_piece = best_find_piece,
#endif
#if HMM_WITH_STATS
    .largest = best_largest,
#endif
#if HMM_WITH_CHECKS
    .check = best_check,
#endif
#if !HMM__SMALL
    .grow = best_grow,
    .resize = best_resize,
    .take = best_take,
    .malloc_whole = best_malloc,
    .free_whole = best_free,
#endif
};

const struct hmm_strategy *const HMM_BEST_FIT = HMM__STRATEGY_NAMED(best_fit);

#endif
