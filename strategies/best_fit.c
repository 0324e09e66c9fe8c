/* SPDX-License-Identifier: MIT */
/*
 * Best-fit: the smallest free block that is large enough; of equals, the most recently freed.
 *
 * THEORY
 *
 * Free blocks of fewer than BINS granules stand in bins, one for each size, the newest first
 * (bins.h): the best bin is one bit scan away.
 *
 * Larger ones stand in tries, two to each power of two, as in Lea's malloc ("treebins"). A trie
 * is keyed by the size's bits below the leading two, highest first: every node holds a
 * size of its own, and all sizes below it share the bits that lead there. Blocks of equal size hang
 * in a ring from one of them, the oldest, which is the node; the ring is in order of age, so that
 * the newest is next to it. When a node goes, the second oldest takes its place: the order holds.
 *
 * An aligned piece: the BEST_PIECE_TRIES best blocks for its size are tried, in this order; if it
 * fits in none of them, the best for so large a size that it fits wherever the block begins.
 *
 * Bound: a bit scan for small sizes; else at most one node for each bit of the size, 29. No step
 * depends on the number of free blocks.
 *
 * Good for: the least memory of the four on most programs. Its worst case is the worst, too: about
 * M(n - 2) for M bytes live and n the ratio of the largest request to the smallest (Robson 1977).
 *
 * Sources: Knuth, TAOCP 1, 2.5; Wilson et al. 1995, "Dynamic Storage Allocation"; Lea's malloc.
 *
 * INVARIANTS
 * T2, T3  Those of the bins; bit i of `tries_map` is set iff trie i is not empty.
 * T4  Every node of a trie is free, of a size that belongs there; its children's parent it is.
 * T5  A ring holds blocks of one size, linked both ways, of which one is a node.
 */
#include "bins.h"

#define TRIES 46u /* two to each power of two from 2^6 to 2^28 */
#define IS_ROOT UINT32_MAX
#define BEST_PIECE_TRIES 16u

struct best_state {
    struct bins bins;
    uint64_t tries_map;
    hmm_ref tries[];
};

/* Link words of a free block. The first two are in every one, the others in those of a trie. */
enum { BEST_NEXT = BIN_NEXT, BEST_PREV = BIN_PREV, BEST_CHILD, BEST_CHILD1, BEST_PARENT };

static unsigned best_trie_of(uint32_t size)
{
    unsigned log = 31u - (unsigned)__builtin_clz(size);
    return (log - 6) * 2 + (size >> (log - 1) & 1);
}

/* The size's bits that tell the paths in its trie apart, moved to the word's top. */
static uint32_t best_path(uint32_t size)
{
    unsigned log = 31u - (unsigned)__builtin_clz(size);
    return size << (32 - (log - 1));
}

static size_t best_state_size(size_t capacity)
{
    size_t granules = capacity / HMM_GRANULE;
    uint32_t most = granules > HMM_MAX_GRANULES ? HMM_MAX_GRANULES : (uint32_t)granules;
    size_t tries = most < BINS ? 0 : best_trie_of(most) + 1;
    return sizeof(struct best_state) + tries * sizeof(hmm_ref);
}

static void best_start(struct hmm_heap *h, void *state)
{
    (void)h;
    ((struct best_state *)state)->bins.floor = UINT32_MAX;
}

/* ---- Tries ---- */

static void trie_push(struct hmm_heap *h, struct best_state *s, hmm_ref r, uint32_t size)
{
    uint32_t *links = block_links(h, r);
    unsigned t = best_trie_of(size);
    uint32_t path = best_path(size);
    hmm_ref *slot = &s->tries[t], parent = IS_ROOT;
    if (size < s->bins.floor)
        s->bins.floor = size;
    s->tries_map |= UINT64_C(1) << t;
    while (*slot != 0) {
        hmm_ref node = *slot;
        uint32_t *at = block_links(h, node);
        if (block_size(h, node) == size) { /* newest: next to the node */
            links[BEST_PARENT] = 0;
            links[BEST_NEXT] = at[BEST_NEXT];
            links[BEST_PREV] = node;
            block_links(h, at[BEST_NEXT])[BEST_PREV] = r;
            at[BEST_NEXT] = r;
            return;
        }
        parent = node;
        slot = &at[BEST_CHILD + (path >> 31)];
        path <<= 1;
    }
    *slot = r;
    links[BEST_NEXT] = links[BEST_PREV] = r;
    links[BEST_CHILD] = links[BEST_CHILD1] = 0;
    links[BEST_PARENT] = parent;
}

/* Any leaf below a node can take its place: it shares the bits that lead there. */
static hmm_ref trie_take_leaf(struct hmm_heap *h, hmm_ref node)
{
    uint32_t *at = block_links(h, node);
    hmm_ref *slot = at[BEST_CHILD1] ? &at[BEST_CHILD1] : &at[BEST_CHILD];
    if (*slot == 0)
        return 0;
    for (;;) {
        at = block_links(h, *slot);
        hmm_ref *down = at[BEST_CHILD1] ? &at[BEST_CHILD1] : &at[BEST_CHILD];
        if (*down == 0)
            break;
        slot = down;
    }
    hmm_ref leaf = *slot;
    *slot = 0;
    return leaf;
}

/* Puts `heir` (0: nothing) where `node` of this trie stands. */
static void trie_replace(struct hmm_heap *h, struct best_state *s, hmm_ref node, hmm_ref heir,
                         unsigned t)
{
    const uint32_t *was = block_links(h, node);
    if (was[BEST_PARENT] == IS_ROOT) {
        s->tries[t] = heir;
        if (heir == 0 && (s->tries_map &= ~(UINT64_C(1) << t)) == 0)
            s->bins.floor = UINT32_MAX;
    } else {
        uint32_t *parent = block_links(h, was[BEST_PARENT]);
        parent[parent[BEST_CHILD] == node ? BEST_CHILD : BEST_CHILD1] = heir;
    }
    if (heir == 0)
        return;
    uint32_t *now = block_links(h, heir);
    now[BEST_PARENT] = was[BEST_PARENT];
    now[BEST_CHILD] = was[BEST_CHILD];
    now[BEST_CHILD1] = was[BEST_CHILD1];
    if (now[BEST_CHILD])
        block_links(h, now[BEST_CHILD])[BEST_PARENT] = heir;
    if (now[BEST_CHILD1])
        block_links(h, now[BEST_CHILD1])[BEST_PARENT] = heir;
}

static void trie_unlink(struct hmm_heap *h, struct best_state *s, hmm_ref r, uint32_t size)
{
    const uint32_t *links = block_links(h, r);
    hmm_ref next = links[BEST_NEXT], prev = links[BEST_PREV];
    if (next != r) {
        block_links(h, next)[BEST_PREV] = prev;
        block_links(h, prev)[BEST_NEXT] = next;
        if (links[BEST_PARENT] != 0) /* the node: the second oldest takes over */
            trie_replace(h, s, r, prev, best_trie_of(size));
    } else {
        trie_replace(h, s, r, trie_take_leaf(h, r), best_trie_of(size));
    }
}

/* The smallest in the subtree below and at `node`. */
static hmm_ref trie_least(struct hmm_heap *h, hmm_ref node, uint32_t *steps)
{
    hmm_ref best = node;
    uint32_t least = UINT32_MAX;
    while (node != 0) {
        const uint32_t *at = block_links(h, node);
        uint32_t size = block_size(h, node);
        if (size < least) {
            least = size;
            best = node;
        }
        node = at[BEST_CHILD] ? at[BEST_CHILD] : at[BEST_CHILD1];
        ++*steps;
    }
    return best;
}

/* The smallest of at least `size` in the trie that sizes like it belong to; 0: none. */
static hmm_ref trie_best(struct hmm_heap *h, const struct best_state *s, uint32_t size,
                         uint32_t *steps)
{
    uint32_t path = best_path(size), least = UINT32_MAX;
    hmm_ref best = 0, larger = 0;
    hmm_ref node = s->tries[best_trie_of(size)];
    while (node != 0) {
        const uint32_t *at = block_links(h, node);
        uint32_t here = block_size(h, node);
        ++*steps;
        if (here >= size && here < least) {
            least = here;
            best = node;
            if (here == size)
                return best;
        }
        if (!(path >> 31) && at[BEST_CHILD1])
            larger = at[BEST_CHILD1];
        node = at[BEST_CHILD + (path >> 31)];
        path <<= 1;
    }
    if (larger != 0) {
        hmm_ref other = trie_least(h, larger, steps);
        if (block_size(h, other) < least)
            best = other;
    }
    return best;
}

static hmm_ref trie_find(struct hmm_heap *h, const struct best_state *s, uint32_t size)
{
    uint32_t steps = 0;
    hmm_ref node = 0;
    uint64_t above = s->tries_map;
    if (above != 0 && size >= BINS) {
        unsigned t = best_trie_of(size);
        if (above >> t & 1)
            node = trie_best(h, s, size, &steps);
        above &= ~UINT64_C(1) << t;
    }
    if (node == 0 && above != 0)
        node = trie_least(h, s->tries[__builtin_ctzll(above)], &steps);
    h->visited += steps;
    return node ? block_links(h, node)[BEST_NEXT] : 0;
}

/* ---- The large ones ---- */

/* A block that has become free just now, or has changed. It is held: the next request may well be
 * for it, and what is released beside it. */
HMM__ALWAYS_INLINE void large_put(struct hmm_heap *h, struct best_state *s, hmm_ref r,
                                  uint32_t size)
{
    hmm_ref other = s->bins.held;
    uint32_t other_size = s->bins.held_size;
    hold(&s->bins, r, size);
    if (other != 0)
        trie_push(h, s, other, other_size);
}

static __attribute__((noinline)) void large_drop(struct hmm_heap *h, struct best_state *s,
                                                 hmm_ref r, uint32_t size)
{
    if (s->bins.held == r)
        hold(&s->bins, 0, 0);
    else
        trie_unlink(h, s, r, size);
}

/* ---- The strategy ---- */

HMM__ALWAYS_INLINE void best_put(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    if (hmm__likely(size < BINS))
        bin_push(h, state, r, p, size);
    else
        large_put(h, state, r, (uint32_t)size);
}

HMM__ALWAYS_INLINE void best_drop(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    if (hmm__likely(size < BINS))
        bin_unlink(h, state, r, p, size);
    else
        large_drop(h, state, r, (uint32_t)size);
}

static __attribute__((noinline)) void best_move_large(struct hmm_heap *h, struct best_state *s,
                                                      hmm_ref was, uint32_t was_size, hmm_ref now,
                                                      uint32_t size)
{
    best_drop(h, s, was, block_payload(h, was), was_size);
    large_put(h, s, now, size);
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
static hmm_ref large_find(struct hmm_heap *h, const struct best_state *s, uint32_t n)
{
    if (held_is_next(&s->bins, n)) {
        h->visited++;
        return s->bins.held;
    }
    hmm_ref r = trie_find(h, s, n);
    return s->bins.held_size >= n && (r == 0 || s->bins.held_size <= block_size(h, r))
               ? s->bins.held
               : r;
}

/* Takes r, a large one, and leaves what is beyond n granules of it. The remainder goes back by its
 * size: what was a trie's may be a bin's. */
static void large_cut(struct hmm_heap *h, struct best_state *s, hmm_ref r, uint32_t size,
                      uint32_t n)
{
    uint32_t rest = size - n;
    large_drop(h, s, r, size);
    if (rest >= HMM_MIN_GRANULES)
        best_put(h, s, r + n, block_payload(h, r + n), rest);
}

static hmm_ref best_find(struct hmm_heap *h, void *state, uint32_t granules)
{
    const struct best_state *s = state;
    uint64_t fits = bins_from(&s->bins, granules);
    if (fits == 0)
        return large_find(h, s, granules);
    h->visited++;
    return s->bins.heads[granules + (uint32_t)__builtin_ctzll(fits)];
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
    large_cut(h, s, r, size, granules);
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
    const uint32_t *at = block_links(h, r);
    if (r == s->bins.held) {
        hmm_ref next = trie_find(h, s, size);
        return next && block_size(h, next) == size ? next : 0;
    }
    return size < BINS || at[BEST_PARENT] == 0 ? at[BEST_NEXT] : 0;
}

static hmm_ref best_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    uint32_t size = piece->granules, surely = hmm_piece_surely(piece), tries = BEST_PIECE_TRIES;
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
static __attribute__((noinline)) void *large_malloc(struct hmm_heap *h, uint32_t n)
{
    struct best_state *s = h->state;
    hmm_ref r = trie_find(h, s, n);
    uint32_t size = r ? block_size(h, r) : UINT32_MAX;
    if (n <= s->bins.floor)
        s->bins.floor = size;
    if (s->bins.held_size >= n && s->bins.held_size <= size)
        return held_serve(h, &s->bins, n);
    if (r == 0)
        return hmm__malloc_else(h, n);
    trie_unlink(h, s, r, size);
    if (size - n >= HMM_MIN_GRANULES)
        best_put(h, s, r + n, block_payload(h, r + n), size - n);
    return serve(h, r, n, size);
}

/* No bin has any: the large ones, then the top. */
static __attribute__((noinline)) void *best_malloc_else(struct hmm_heap *h, size_t n)
{
    struct best_state *s = h->state;
    if (held_is_next(&s->bins, n))
        return held_serve(h, &s->bins, n);
    if (s->tries_map)
        return large_malloc(h, (uint32_t)n);
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

static __attribute__((noinline)) void best_large_both(struct hmm_heap *h, char *p, hmm_ref r)
{
    large_both_by(h, p, r, best_drop, best_move_to_large);
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
    uint32_t most = bins_largest(&s->bins);
    if (s->tries_map == 0)
        return most;
    hmm_ref node = s->tries[63 - __builtin_clzll(s->tries_map)];
    while (node != 0) {
        const uint32_t *at = block_links(h, node);
        if (block_size(h, node) > most)
            most = block_size(h, node);
        node = at[BEST_CHILD1] ? at[BEST_CHILD1] : at[BEST_CHILD];
    }
    return most;
}

/* ---- Checking ---- */

static const char *check_ring(struct hmm_heap *h, hmm_ref node, uint32_t *count)
{
    hmm_ref r = node;
    do {
        const uint32_t *at = block_links(h, r);
        if (++*count > free_blocks(h))
            return "T1: best-fit: more blocks in the tries than are free";
        if (block_size(h, r) != block_size(h, node) || !(block_header(h, r) & HMM__FREE) ||
            block_links(h, at[BEST_NEXT])[BEST_PREV] != r || (r != node && at[BEST_PARENT] != 0))
            return "T5: best-fit: a ring of equals is ill linked";
        r = at[BEST_NEXT];
    } while (r != node);
    return NULL;
}

/* Depth-first without recursion: back up by the parents. */
static const char *check_trie(struct hmm_heap *h, const struct best_state *s, unsigned t,
                              uint32_t *count)
{
    hmm_ref from = IS_ROOT, node = s->tries[t];
    if (!(s->tries_map >> t & 1) != (node == 0))
        return "T2: best-fit: a trie's bit contradicts the trie";
    while (node != 0 && node != IS_ROOT) {
        const uint32_t *at = block_links(h, node);
        hmm_ref next = at[BEST_PARENT];
        if (from == at[BEST_PARENT]) { /* from above: look at it */
            const char *broken = check_ring(h, node, count);
            if (broken != NULL)
                return broken;
            if (block_size(h, node) < BINS || block_size(h, node) < s->bins.floor ||
                best_trie_of(block_size(h, node)) != t ||
                (at[BEST_CHILD] && block_links(h, at[BEST_CHILD])[BEST_PARENT] != node) ||
                (at[BEST_CHILD1] && block_links(h, at[BEST_CHILD1])[BEST_PARENT] != node))
                return "T4: best-fit: a node is in the wrong trie or ill linked";
        }
        if (from == at[BEST_PARENT] && at[BEST_CHILD])
            next = at[BEST_CHILD];
        else if ((from == at[BEST_PARENT] || (from == at[BEST_CHILD] && from)) && at[BEST_CHILD1])
            next = at[BEST_CHILD1];
        from = node;
        node = next;
    }
    return NULL;
}

static const char *best_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct best_state *s = state;
    size_t tries = (best_state_size(hmm_heap_capacity(h)) - sizeof *s) / sizeof(hmm_ref);
    *indexed = 0;
    const char *broken = hmm__bins_check(h, &s->bins, indexed);
    for (unsigned t = 0; broken == NULL && t < tries; t++)
        broken = check_trie(h, s, t, indexed);
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
    .resize = best_resize,
    .take = best_take,
    .find_piece = best_find_piece,
    .largest = best_largest,
    .check = best_check,
    .malloc_whole = best_malloc,
    .free_whole = best_free,
};

const struct hmm_strategy *const HMM_BEST_FIT = &best_fit;
