/* SPDX-License-Identifier: MIT */
/*
 * Free blocks from BINS granules on, by size: the smallest that is large enough, of equals the one
 * that was pushed last.
 *
 * THEORY
 *
 * Sizes are in groups, which one word of bits maps in rising order: what is larger than all of a
 * group is one bit scan away.
 *
 * Middle sizes, below MIDDLE granules, have exact bins as the small ones have, where the heap is
 * large enough that those do not count. MIDDLE / 64 groups of 64 sizes each have a map of their
 * own.
 *
 * Larger ones stand in tries, two to each power of two, as in Lea's malloc ("treebins"); each is a
 * group. A trie is keyed by the size's bits below the leading two, highest first: every node holds
 * a size of its own, and all sizes below it share the bits that lead there. Blocks of equal size
 * hang in a ring from one of them, the oldest, which is the node; the ring is in order of age, so
 * that the newest is next to it. When a node goes, the second oldest takes its place: the order
 * holds. Heaps without middle bins have tries for these sizes too.
 *
 * Bound: some bit scans; for tries at most one node for each bit of the size, 29.
 *
 * INVARIANTS
 * T5  A group's bit, and that of a middle bin, is set iff it is not empty.
 * T6  Every block in a middle bin is free, of its size, and its back link is the one before.
 * T7  Every node of a trie is free, of a size that belongs there; its children's parent it is.
 * T8  A ring holds blocks of one size, linked both ways, of which one is a node.
 * T9  The middle bins, if there are any, lie where the capacity puts them.
 */
#ifndef HMM_SIZE_INDEX_H
#define HMM_SIZE_INDEX_H

#include "bins.h"

#define MIDDLE 1024u
#if HMM__SMALL
#define MIDDLE_GROUPS 0u /* there are no middle bins */
#else
#define MIDDLE_GROUPS (MIDDLE / 64)
#endif
#if !HMM__SMALL
#define MIDDLE_CAPACITY ((size_t)1 << 20) /* of the smallest heap that has middle bins */
#endif
#define TRIES (2u * (29u - BINS_LOG)) /* two to each power of two up to 2^28 */

#if !HMM__SMALL
struct size_middle {
    struct bits64 maps[MIDDLE_GROUPS];
    hmm_ref heads[MIDDLE];
};
#endif

struct size_index {
    struct bits64 groups; /* the middle ones, then the tries */
#if !HMM__SMALL
    uint32_t middle_to; /* MIDDLE, or 0 where there are no middle bins */
    uint32_t middle;    /* where they are, in bytes from here */
#endif
    /* The roots of the tries follow. */
};

_Static_assert(MIDDLE % 64 == 0 && MIDDLE_GROUPS + TRIES <= sizeof(struct bits64) * 8,
               "each group has a bit");
_Static_assert(sizeof(struct size_index) % sizeof(bits_word) == 0u, "the middle bins are aligned");

HMM__ALWAYS_INLINE hmm_ref *size_tries(const struct size_index *x)
{
    return (hmm_ref *)(uintptr_t)(x + 1);
}

HMM__ALWAYS_INLINE bool hmm__size_is_empty(const struct size_index *x)
{
    return bits64_is_empty(&x->groups);
}

HMM__HIDDEN size_t hmm__size_bytes(size_t capacity);
HMM__HIDDEN void hmm__size_start(struct size_index *x, size_t capacity);

/* For a larger capacity: there is room, of zeros. */
HMM__HIDDEN void hmm__size_widen(struct hmm_heap *h, struct size_index *x, size_t capacity);
HMM__HIDDEN void hmm__size_push(struct hmm_heap *h, struct size_index *x, hmm_ref r, uint32_t size);
HMM__HIDDEN void hmm__size_unlink(struct hmm_heap *h, struct size_index *x, hmm_ref r,
                                  uint32_t size);

/* 0: none is large enough. Adds to `visited`. */
HMM__HIDDEN hmm_ref hmm__size_find(struct hmm_heap *h, const struct size_index *x, uint32_t size);

/* The next of block r's equals in age; 0: it is the oldest. */
HMM__HIDDEN hmm_ref hmm__size_older(struct hmm_heap *h, const struct size_index *x, hmm_ref r,
                                    uint32_t size);
HMM__HIDDEN uint32_t hmm__size_largest(struct hmm_heap *h, const struct size_index *x);

/* Adds the blocks to *count. None is smaller than the floor (T4). */
HMM__HIDDEN const char *hmm__size_check(struct hmm_heap *h, const struct size_index *x,
                                        uint32_t floor, uint32_t *count);

#endif
