/* SPDX-License-Identifier: MIT */
/*
 * What a strategy is: all that a plug-in needs. The distribution's examples/strategies/ has whole
 * ones to copy, hmm-strategy(7) one more, and hmm-check-strategy(1) says whether one is right.
 *
 * The core calls the strategy. The core manages the blocks (headers, splitting, merging, the
 * break). The strategy manages an index of the free blocks, in memory that the core gives it (its
 * state) and in the link bytes of the free blocks. A plug-in never writes a header and never
 * allocates. It is told of every free block; the free top is not a block and not in the index.
 *
 * A block is named by its ref: the distance of its payload from the heap's first byte, in
 * granules. 0 is no block. Sizes are in granules too and include the block's header.
 */
#ifndef HMM_STRATEGY_H
#define HMM_STRATEGY_H

#include "hmm.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef uint32_t hmm_ref;

/* Bytes in a granule. Fixed when the library is built; a plug-in must agree with it. */
#if defined(__BIGGEST_ALIGNMENT__) && defined(__SIZEOF_POINTER__) && __SIZEOF_POINTER__ == 4 &&    \
    !defined(__i386__)
#define HMM_GRANULE_USUAL 8u
#else
#define HMM_GRANULE_USUAL 16u
#endif
#ifndef HMM_GRANULE
#define HMM_GRANULE HMM_GRANULE_USUAL
#endif

/* The version of this interface, in the low 16 bits; above them the granule, where it is not the
 * usual one: what was built for another is refused. The first four members of struct hmm_strategy
 * are the same in every version, so that a message can name a strategy of another version. */
#define HMM_STRATEGY_VERSION 2u
#define HMM_STRATEGY_ABI                                                                           \
    (HMM_STRATEGY_VERSION | (HMM_GRANULE == HMM_GRANULE_USUAL ? 0u : (HMM_GRANULE << 16)))

/* The smallest block: header, two links, footer. */
#define HMM_MIN_GRANULES (16u / HMM_GRANULE)

/* The largest block: what the header's 29 bits can hold. */
#define HMM_MAX_GRANULES ((UINT32_C(1) << 29) - 1)

/* Bytes a strategy may use in every free block, from its payload on: two links. A block of n
 * granules has n * HMM_GRANULE - 8 of them, but no more than HMM_LINKS_KEPT: the bytes above those
 * are lost when their pages go back to the system. */
#define HMM_LINK_BYTES 8u
#define HMM_LINKS_KEPT 1024u

/*
 * A piece of a free block. It begins at a ref that is `phase` modulo `align`, does not reach across
 * one that is `phase + shift` modulo `boundary`, but for its last `slack` granules, and lies in
 * [low, high). What is left below it must be nothing or a whole block. align and boundary are
 * powers of two, phase and shift are any numbers, slack is less than granules; boundary 0 and high
 * 0 are none.
 */
struct hmm_piece {
    uint32_t granules, align, phase, boundary;
    hmm_ref low, high;
    uint32_t shift, slack;
};

#if !defined(HMM__PIECES) || HMM__PIECES || HMM_WITH_PLUGINS /* or it is a plug-in */

/* Whether the piece has a boundary, or an end to where it may lie: most have none. */
static inline int hmm_piece_is_bounded(const struct hmm_piece *piece)
{
    return (piece->boundary | piece->low | piece->high) != 0;
}

/* As hmm_piece_gap and hmm_piece_fits, of pieces that are bounded; those call them. */
uint32_t hmm_piece_gap_bounded(const struct hmm_piece *piece, hmm_ref block);
int hmm_piece_fits_bounded(const struct hmm_piece *piece, hmm_ref block, uint32_t granules);

/* The granules of a block at `block` that must be left below the piece; UINT32_MAX: so many that
 * none is large enough, or the piece is larger than its boundary allows. */
static inline uint32_t hmm_piece_gap(const struct hmm_piece *piece, hmm_ref block)
{
    uint32_t gap = (piece->phase - block) & (piece->align - 1);
    if (hmm_piece_is_bounded(piece))
        return hmm_piece_gap_bounded(piece, block);
    return gap == 0 || gap >= HMM_MIN_GRANULES ? gap : gap + piece->align;
}

/* Of a piece that is not bounded: for loops, which so have no call. */
static inline int hmm_piece_fits_plain(const struct hmm_piece *piece, hmm_ref block,
                                       uint32_t granules)
{
    uint32_t gap = (piece->phase - block) & (piece->align - 1);
    if (gap != 0 && gap < HMM_MIN_GRANULES)
        gap += piece->align;
    return granules >= gap && granules - gap >= piece->granules;
}

/* Whether a block of so many granules at `block` has room for the piece. */
static inline int hmm_piece_fits(const struct hmm_piece *piece, hmm_ref block, uint32_t granules)
{
    return hmm_piece_is_bounded(piece) ? hmm_piece_fits_bounded(piece, block, granules)
                                       : hmm_piece_fits_plain(piece, block, granules);
}

/* Whether where it may lie has an end, low or high: then no size is enough everywhere. */
static inline int hmm_piece_is_limited(const struct hmm_piece *piece)
{
    return piece->low != 0 || piece->high != 0;
}

/* A block of so many granules holds the piece wherever it begins. May exceed HMM_MAX_GRANULES;
 * UINT32_MAX: there is no such size. */
static inline uint32_t hmm_piece_surely(const struct hmm_piece *piece)
{
    uint32_t n = piece->granules, boundary = piece->boundary, align = piece->align;
    uint32_t first = (0u - piece->shift) & ((align < boundary ? align : boundary) - 1);
    uint64_t aligned = (uint64_t)n + align - 1 + 2 * (HMM_MIN_GRANULES - 1);
    if (hmm_piece_is_limited(piece))
        return UINT32_MAX;
    if (boundary == 0)
        return aligned < UINT32_MAX ? (uint32_t)aligned : UINT32_MAX;
    /* Between two boundaries the lowest aligned ref is `first` above the lower one. */
    if ((uint64_t)first + n - piece->slack > boundary)
        return UINT32_MAX;
    if (aligned + n > UINT32_MAX / 3)
        return UINT32_MAX;
    return (uint32_t)(aligned + n) * (first == 0 ? 1u : 3u);
}

#endif

enum hmm_strategy_flags {
    HMM_STRATEGY_CLEARS = 1u, /* clears its state itself; else the core hands it over zeroed */
    HMM_STRATEGY_BY_SIZE = 2u /* of the free blocks, find has the smallest for the least request, or
                               * one of the smallest class */
};

struct hmm_strategy {
    unsigned abi;   /* HMM_STRATEGY_ABI */
    unsigned flags; /* of enum hmm_strategy_flags */
    const char *name, *summary;

    /* Required. */

    /* Bytes of state for a heap of `capacity` bytes. Monotone in capacity. */
    size_t (*state_size)(size_t capacity);

    /* The free block to serve a request of `granules` from, its low end; 0 iff none fits.
     * Changes nothing that can be seen. */
    hmm_ref (*find)(struct hmm_heap *heap, void *state, uint32_t granules);

    /* This block is now free, its size final. */
    void (*insert)(struct hmm_heap *heap, void *state, hmm_ref block);

    /* This block is about to be no longer free, or not as it is. Its header still is. */
    void (*remove)(struct hmm_heap *heap, void *state, hmm_ref block);

    /* Optional: NULL takes the core's default. */

    /* Once, on a new state, before anything else. */
    void (*start)(struct hmm_heap *heap, void *state);

    /* The heap has grown at its high end, from a capacity of `old` bytes to `now`; no block has
     * been made there yet. The state is where there is room for state_size(now), perhaps not where
     * it was before; what it had for `old` is as it was, what is behind that is zero, or anything
     * with HMM_STRATEGY_CLEARS. The index must go on as if it had been for `now` from the
     * beginning. Default: a new state, start, and insert for each free block, the lowest first. */
    void (*grow)(struct hmm_heap *heap, void *state, size_t old, size_t now);

    /* Free block `was` of `was_granules` has been merged into the larger free block `now`, which
     * begins at it or below it and whose header is written; was's links are as they were. Default:
     * remove and insert. */
    void (*resize)(struct hmm_heap *heap, void *state, hmm_ref was, uint32_t was_granules,
                   hmm_ref now);

    /* find, and at once the index as it will be after the core has cut `granules` off the low end:
     * the remainder, if it has at least HMM_MIN_GRANULES, stays free at block + granules; no header
     * is written yet. Must choose what find would. Default: find, remove, insert. */
    hmm_ref (*take)(struct hmm_heap *heap, void *state, uint32_t granules);

    /* Asked when find found none and the free top is too small as well: search everything.
     * For strategies whose find may miss a block that fits. */
    hmm_ref (*find_last)(struct hmm_heap *heap, void *state, uint32_t granules);

    /* find, of a free block in which the piece fits (hmm_piece_fits). May miss one. Changes nothing
     * that can be seen. Default: what find says of the piece's own size, if the piece fits there;
     * else what it says of hmm_piece_surely, if there is such a size. */
    hmm_ref (*find_piece)(struct hmm_heap *heap, void *state, const struct hmm_piece *piece);

    /* A request was placed in [block, block + granules): from the top, at an alignment, or by
     * find_last. Not called after take, which knows what it placed: the whole block, where the
     * remainder is too small. */
    void (*placed)(struct hmm_heap *heap, void *state, hmm_ref block, uint32_t granules);

    /* Size of the largest free block in granules, 0 for none. Without it hmm_stats.largest_free
     * counts the free top only. */
    uint32_t (*largest)(struct hmm_heap *heap, void *state);

    /* Holds the index against the blocks. NULL, or a line that names what broke. Changes
     * nothing. It need not look for blocks that are missing: the core compares `*indexed`, the
     * number of free blocks in the index, with its own count. */
    const char *(*check)(struct hmm_heap *heap, void *state, uint32_t *indexed);

    /* malloc and free as a whole, for strategies that are built with the library: place.h makes
     * them. They do what the core otherwise does by the hooks, and go before them. */
    void *(*malloc_whole)(struct hmm_heap *heap, size_t size);
    void (*free_whole)(struct hmm_heap *heap, void *block);
};

/* ---- What a plug-in may export besides its strategy, for hmm check-strategy only ---- */

/* What a plain scan may know that headers do not tell. */
struct hmm_scan {
    uint32_t granules; /* of the request */
    hmm_ref last_end;  /* one past where the last request was placed; 0: none has been */
    /* A number that is higher for a block that became free later, or last changed its size. */
    uint64_t (*freed_at)(const struct hmm_scan *scan, hmm_ref block);
};

/* The strategy's rule, by a look at every block and without an index: the block that find must
 * choose, 0 for none. */
hmm_ref hmm_plugin_scan(struct hmm_heap *heap, const struct hmm_scan *scan);

/* ---- What the core tells a strategy about blocks ---- */

uint32_t hmm_block_granules(const struct hmm_heap *heap, hmm_ref block);
int hmm_block_is_free(const struct hmm_heap *heap, hmm_ref block);

/* The payload; for a free block the strategy's link bytes. */
void *hmm_block_payload(const struct hmm_heap *heap, hmm_ref block);

/* The block above; 0 iff the free top is. */
hmm_ref hmm_block_next(const struct hmm_heap *heap, hmm_ref block);

/* The block below if it is free; 0 iff it is in use or there is none. */
hmm_ref hmm_block_prev_free(const struct hmm_heap *heap, hmm_ref block);

/* The lowest block, 0 iff there is none; and one past the last: where the free top begins. */
hmm_ref hmm_block_first(const struct hmm_heap *heap);
hmm_ref hmm_block_end(const struct hmm_heap *heap);

/* The capacity that state_size was asked for; every ref is below this many bytes in granules. */
size_t hmm_heap_capacity(const struct hmm_heap *heap);

/* Adds to the statistics' `visited`. */
void hmm_visited(struct hmm_heap *heap, unsigned nodes);

#ifdef __cplusplus
}
#endif
#endif
