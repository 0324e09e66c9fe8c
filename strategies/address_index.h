/* SPDX-License-Identifier: MIT */
/*
 * An index of free blocks by address: what first-fit and next-fit share.
 *
 * THEORY
 *
 * The heap is cut into units of 128 granules. For each unit there is a map of the granules at which
 * a free block begins, and a bound: no block that begins there is larger. Over the bounds stands a
 * tree: each entry of level k + 1 is the largest of 16 entries of level k. The lowest free block of
 * at least n granules from some unit on begins in the lowest unit from there whose bound is n or
 * more, if the bound is exact: up from that unit until an entry says so, down to it, then the
 * blocks of that one unit in order.
 *
 * A bound that is exact to begin with may come to doubt when the unit's largest block goes. It is
 * left so, since most often a block as large comes back: a search that finds nothing in the unit
 * makes it exact and goes on, and so does the change that would be the DOUBTS-th after.
 *
 * Bound: the height of the tree twice, at most 14 groups for 64 GiB and 8 for 64 MiB, and 64
 * blocks; for each bound in doubt, of which there are at most ADDRESS_DOUBTS, the same again.
 * Nothing depends on the number of free blocks. For an aligned piece the search is repeated for
 * each block below the right one that is as large as the piece but ill placed.
 *
 * Memory: 20.3 bytes a unit, 0.99 % of a heap with granules of 16 bytes. Only what lies below the
 * highest free block yet seen is written: `covered` units.
 *
 * Source: the tree of maxima over segments is Brent's (1989, "Efficient implementation of the
 * first-fit strategy for dynamic storage allocation").
 *
 * INVARIANTS
 * T2  Bit i of word w of the maps is set iff a free block begins at granule 64 w + i.
 * T3  A unit's bound is the size of the largest free block that begins in it; or it is larger, and
 *     in doubt, and the unit stands among the doubts.
 * T4  An entry of an upper level is the largest of the 16 below it.
 */
#ifndef HMM_ADDRESS_INDEX_H
#define HMM_ADDRESS_INDEX_H

#include "block.h"

#define ADDRESS_LEVELS 7u
#define ADDRESS_FAN 16u
#define ADDRESS_FAN_LOG 4u
#define ADDRESS_UNIT_LOG 7u
#define ADDRESS_WORDS 2u /* of map in a unit */
#define ADDRESS_DOUBTS 64u

/*
 * Entries hold twice a size, so that a unit's can say with its lowest bit that it is in doubt.
 * Levels are named by their offset from the index, in words: a heap's image moves as a whole.
 */
struct address_index {
    uint32_t units;   /* that the heap can have */
    uint32_t covered; /* that the tree counts, a multiple of ADDRESS_FAN */
    uint32_t height;  /* levels in use; the highest has at most ADDRESS_FAN entries */
    uint32_t level[ADDRESS_LEVELS];
    uint32_t wide; /* whether the machine has wide vectors */
    uint32_t turn; /* of the doubts, the next to be settled */
    uint32_t doubts[ADDRESS_DOUBTS];
    uint64_t maps[]; /* then the levels */
};

HMM__HIDDEN size_t hmm__address_size(size_t capacity);
HMM__HIDDEN void hmm__address_start(struct address_index *x, size_t capacity);
HMM__HIDDEN void hmm__address_cover(struct address_index *x, uint32_t unit);

/* The size of the largest block that begins in `unit`; 0: none does. */
HMM__HIDDEN uint32_t hmm__address_most(const struct hmm_heap *h, const struct address_index *x,
                                       uint32_t unit);

/* The bound of `unit` has risen: so may those above it. */
HMM__HIDDEN void hmm__address_raise(struct address_index *x, uint32_t unit, uint32_t entry);

/* The bound of `unit` is this exactly. */
HMM__HIDDEN void hmm__address_settle(struct address_index *x, uint32_t unit, uint32_t most);

/* The lowest free block of at least n granules; 0: none. */
HMM__HIDDEN hmm_ref hmm__address_lowest(struct hmm_heap *h, struct address_index *x, uint32_t n);

/* The lowest free block of at least n granules that begins in `unit` or above; 0: none. */
HMM__HIDDEN hmm_ref hmm__address_search(struct hmm_heap *h, struct address_index *x, uint32_t unit,
                                        uint32_t n);

/* The lowest free block, of those that begin at `from` or above, in which the piece fits; 0: none.
 * Looks at those only that are as large as the piece. */
HMM__HIDDEN hmm_ref hmm__address_piece(struct hmm_heap *h, struct address_index *x, hmm_ref from,
                                       const struct hmm_piece *piece);
HMM__HIDDEN uint32_t hmm__address_largest(struct hmm_heap *h, struct address_index *x);
HMM__HIDDEN const char *hmm__address_check(struct hmm_heap *h, const struct address_index *x,
                                           uint32_t *indexed);

HMM__ALWAYS_INLINE uint32_t *address_level(const struct address_index *x, uint32_t k)
{
    return (uint32_t *)(uintptr_t)x + x->level[k];
}

HMM__ALWAYS_INLINE uint64_t address_bit(hmm_ref r)
{
    return UINT64_C(1) << (r & 63);
}

HMM__ALWAYS_INLINE uint32_t *address_units(const struct address_index *x)
{
    return address_level(x, 0);
}

HMM__ALWAYS_INLINE uint64_t *address_word(struct address_index *x, hmm_ref r)
{
    return &x->maps[r >> 6];
}

HMM__ALWAYS_INLINE void address_add(struct address_index *x, hmm_ref r, uint32_t size)
{
    uint32_t unit = r >> ADDRESS_UNIT_LOG;
    if (hmm__unlikely(unit >= x->covered))
        hmm__address_cover(x, unit);
    *address_word(x, r) |= address_bit(r);
    uint32_t *bound = address_units(x) + unit, was = *bound, now = size << 1;
    if (now + 1 < was)
        return;
    *bound = now;
    if (now > was)
        hmm__address_raise(x, unit, now);
}

/* A block of `size` granules begins in `unit` no more. */
HMM__ALWAYS_INLINE void address_lost(const struct hmm_heap *h, struct address_index *x,
                                     uint32_t unit, uint32_t size)
{
    uint32_t *bounds = address_units(x);
    if (bounds[unit] != size << 1)
        return;
    bounds[unit] |= 1;
    uint32_t turn = x->turn % ADDRESS_DOUBTS, other = x->doubts[turn];
    x->turn = turn + 1;
    x->doubts[turn] = unit;
    if (hmm__unlikely((bounds[other] & 1) && other != unit))
        hmm__address_settle(x, other, hmm__address_most(h, x, other));
}

HMM__ALWAYS_INLINE void address_drop(const struct hmm_heap *h, struct address_index *x, hmm_ref r,
                                     uint32_t size)
{
    *address_word(x, r) &= ~address_bit(r);
    address_lost(h, x, r >> ADDRESS_UNIT_LOG, size);
}

/* Of the blocks that begin in `unit` at `from` or above it, the lowest of at least n granules; 0:
 * none. */
HMM__ALWAYS_INLINE hmm_ref address_in_unit(struct hmm_heap *h, const struct address_index *x,
                                           uint32_t unit, hmm_ref from, uint32_t n)
{
    uint32_t word = from >> 6;
    uint64_t map = x->maps[word] & (UINT64_MAX << (from & 63));
    for (;;) {
        for (; map != 0; map &= map - 1) {
            hmm_ref r = word << 6 | (uint32_t)__builtin_ctzll(map);
            h->visited++;
            if (block_size(h, r) >= n)
                return r;
        }
        if (++word == (unit + 1) * ADDRESS_WORDS)
            return 0;
        map = x->maps[word];
    }
}

/* Takes the low n of block r's `size` granules out of the index; the remainder, whose header is not
 * written yet, stays in. */
HMM__ALWAYS_INLINE void address_cut(const struct hmm_heap *h, struct address_index *x, hmm_ref r,
                                    uint32_t size, uint32_t n)
{
    hmm_ref rest = r + n;
    uint32_t unit = r >> ADDRESS_UNIT_LOG;
    if (size - n < HMM_MIN_GRANULES) {
        address_drop(h, x, r, size);
    } else if (rest >> ADDRESS_UNIT_LOG == unit) {
        *address_word(x, r) &= ~address_bit(r);
        *address_word(x, rest) |= address_bit(rest);
        address_lost(h, x, unit, size);
    } else {
        address_drop(h, x, r, size);
        address_add(x, rest, size - n);
    }
}

/* Block `was` has melted into `now`, at or below it, of `size` granules. */
HMM__ALWAYS_INLINE void address_move(const struct hmm_heap *h, struct address_index *x, hmm_ref was,
                                     uint32_t was_size, hmm_ref now, uint32_t size)
{
    if (was >> ADDRESS_UNIT_LOG == now >> ADDRESS_UNIT_LOG)
        *address_word(x, was) &= ~address_bit(was);
    else
        address_drop(h, x, was, was_size);
    address_add(x, now, size);
}

#endif
