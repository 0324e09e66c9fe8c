/* SPDX-License-Identifier: MIT */
/*
 * First-fit in few bytes: the lowest-addressed free block that is large enough, or in which an
 * aligned piece fits; the same rule as first_fit.c's, without an index.
 *
 * THEORY
 *
 * The free blocks are in a list in order of address, linked both ways. A block that becomes free
 * beside another takes its place in the list, or is part of it; of one that stands alone the
 * successor is the next free block above, which the headers lead to.
 *
 * Bound: malloc looks at the free blocks below the one that it takes; free at the blocks in use
 * between this one and the next free one. In a small heap that is less than an index costs; where
 * there are hundreds of free blocks, HMM_FIRST_FIT_INDEX 1 takes the index by address instead.
 *
 * INVARIANTS
 * T2  The list is in rising order of address, and linked both ways.
 */
#include "heap/block.h"

#if HMM_WITH_FIRST_FIT && HMM__FIRST_LIST

struct first_list {
    hmm_ref head, tail; /* 0: it is empty */
};

#define LIST_NEXT 0u
#define LIST_PREV 1u

static size_t list_state_size(size_t capacity)
{
    (void)capacity;
    return sizeof(struct first_list);
}

/* `next` comes behind `prev`; 0 is the list's end. */
static void list_link(struct hmm_heap *h, struct first_list *s, hmm_ref prev, hmm_ref next)
{
    if (prev != 0)
        block_links(h, prev)[LIST_NEXT] = next;
    else
        s->head = next;
    if (next != 0)
        block_links(h, next)[LIST_PREV] = prev;
    else
        s->tail = prev;
}

/* The lowest free block above r; 0: there is none. */
static hmm_ref list_successor(const struct hmm_heap *h, hmm_ref r)
{
    for (hmm_ref next = block_next(h, r); next < h->top; next = block_next(h, next))
        if ((block_header(h, next) & HMM__FREE) != 0)
            return next;
    return 0;
}

static void list_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    struct first_list *s = state;
    hmm_ref next = list_successor(h, r),
            prev = next != 0 ? block_links(h, next)[LIST_PREV] : s->tail;
    list_link(h, s, prev, r);
    list_link(h, s, r, next);
}

static void list_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    list_link(h, state, block_links(h, r)[LIST_PREV], block_links(h, r)[LIST_NEXT]);
}

/* `now` takes the place of `was`. */
static void list_replace(struct hmm_heap *h, void *state, hmm_ref was, hmm_ref now)
{
    hmm_ref prev = block_links(h, was)[LIST_PREV], next = block_links(h, was)[LIST_NEXT];
    list_link(h, state, prev, now);
    list_link(h, state, now, next);
}

static void list_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                        hmm_ref now)
{
    (void)was_granules;
    if (was != now)
        list_replace(h, state, was, now);
}

static hmm_ref list_find(struct hmm_heap *h, void *state, uint32_t n)
{
    const struct first_list *s = state;
    hmm_ref r = s->head;
    for (; r != 0 && block_size(h, r) < n; r = block_links(h, r)[LIST_NEXT])
        COUNT(h->visited++);
    return r;
}

static hmm_ref list_take(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref r = list_find(h, state, n);
    if (r == 0)
        return 0;
    if (block_size(h, r) - n >= HMM_MIN_GRANULES)
        list_replace(h, state, r, r + n);
    else
        list_remove(h, state, r);
    return r;
}

#if HMM__PIECES
static hmm_ref list_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    const struct first_list *s = state;
    hmm_ref r = s->head;
    for (; r != 0 && !hmm_piece_fits(piece, r, block_size(h, r)); r = block_links(h, r)[LIST_NEXT])
        COUNT(h->visited++);
    return r;
}
#endif

#if HMM_WITH_STATS
static uint32_t list_largest(struct hmm_heap *h, void *state)
{
    const struct first_list *s = state;
    uint32_t max = 0;
    for (hmm_ref r = s->head; r != 0; r = block_links(h, r)[LIST_NEXT])
        max = block_size(h, r) > max ? block_size(h, r) : max;
    return max;
}
#endif

#if HMM_WITH_CHECKS
static const char *list_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct first_list *s = state;
    hmm_ref before = 0;
    *indexed = 0;
    for (hmm_ref r = s->head; r != 0; before = r, r = block_links(h, r)[LIST_NEXT], ++*indexed)
        if (r <= before || !block_seems_free(h, r) || block_links(h, r)[LIST_PREV] != before)
            return "T2: first-fit: the list is out of order, or ill linked";
    return s->tail == before ? NULL : "T2: first-fit: the list's end is not its last block";
}
#endif

static const struct hmm_strategy first_fit = {
    .abi = HMM_STRATEGY_ABI,
    .name = "first-fit",
    .summary = "the lowest-addressed free block that is large enough",
    .state_size = list_state_size,
    .find = list_find,
    .insert = list_insert,
    .remove = list_remove,
    .resize = list_resize,
    .take = list_take,
#if HMM__PIECES
    .find_piece = list_find_piece,
#endif
#if HMM_WITH_STATS
    .largest = list_largest,
#endif
#if HMM_WITH_CHECKS
    .check = list_check,
#endif
};

const struct hmm_strategy *const HMM_FIRST_FIT = HMM__STRATEGY_NAMED(first_fit);

#endif
