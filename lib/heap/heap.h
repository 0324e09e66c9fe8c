/* SPDX-License-Identifier: MIT */
/*
 * The heap, for those who are inside it.
 *
 * THEORY
 *
 * A heap is one region of memory, counted in granules from its first byte, the base. Its parts, low
 * to high:
 *
 *     base        first          top            brk           limit
 *     | control   | blocks ...   | free top     | never used  |
 *
 * The control structures are struct hmm_heap, which is the base, and the strategy's state. A ref is
 * a distance from the base in granules; refs of blocks are those of their payloads.
 *
 * A block is a header of 4 bytes and a payload. The header lies just below the payload, so block r
 * of n granules covers the bytes [r * G - 4, (r + n) * G - 4). The header holds n and three bits:
 * FREE, PREV_FREE (the block below is free) and ALIGNED (came from aligned_alloc: realloc
 * keeps the alignment that was asked for). An ALIGNED block has a record of that alignment in its
 * last 4 bytes; any other used block has nothing else. A free one has two links of the strategy's
 * at its low end and a footer at its high end: n again, in its last 4 bytes, by which the
 * block above finds it.
 *
 * The free top is no block: it is in no index and is asked only when the strategy has none. It
 * begins with a header of size 0 that says FREE, so that one test of the next header tells whether
 * there is something to merge with.
 *
 * INVARIANTS (hmm_heap_check tests each)
 *
 * B1  The blocks follow one another from first to top without a gap, each of at least
 *     HMM_MIN_GRANULES, none beyond the top.
 * B2  A block's PREV_FREE is set iff the block below is free.
 * B3  No two free blocks are neighbours, and none touches the top. Only where the break has stood
 *     more than HMM_MAX_GRANULES above first may two be neighbours: they were too large for one
 *     header when the second of them became free.
 * B4  A free block's footer equals its size.
 * B5  The header at the top is size 0, FREE, not PREV_FREE.
 * B6  first <= top <= brk <= limit; extent is top - first.
 * B7  The counts of live, free and aligned blocks, of live bytes and free granules are those of the
 *     blocks.
 * B8  An ALIGNED block is in use and lies at the alignment that its record tells.
 * T1  The strategy's index holds each free block once, and nothing else. Further T's are each
 *     strategy's own.
 */
#ifndef HMM_HEAP_PRIVATE_H
#define HMM_HEAP_PRIVATE_H

#include "base/compiler.h"
#include "base/panic.h"
#include "hmm-strategy.h"

#define HMM_HEADER_BYTES 4u

/* What an ALIGNED block has less of usable bytes. */
#define HMM__RECORD_BYTES 4u
/* What a ref can name, with room for a strategy to round up. */
#define HMM__REF_GRANULES_MAX (UINT32_MAX - 4095)

/* A header, a footer or a link of a free block. */
typedef uint32_t HMM__MAY_ALIAS hmm__word;

/* What is checked at each call: bits of hmm_heap.check_flags. malloc and free need no test for it:
 * malloc_entry and free_entry are the checked functions then. */
enum hmm__check_flag {
    HMM__CHECK_MEMCHECK = 1, /* memcheck runs: tell it of every block */
    HMM__CHECK_POINTERS = 2  /* check level 2 and up */
};

/* What is asked of a cache: before the break rises, what nobody has used for a while; before a
 * request fails, all that it can give back. */
enum hmm__reclaim { HMM__RECLAIM_IDLE, HMM__RECLAIM_ALL };

/* Where the strategy's state lies. */
enum hmm__state_place { HMM__STATE_LOW, HMM__STATE_HIGH, HMM__STATE_BLOCK };

/* What the system does for a region whose pages come and go. Both keep errno. */
struct hmm__page_source {
    /* [from, to) is about to be written: make it so. False iff the system has not got it. */
    bool (*commit)(char *from, char *to);
    /* Nothing in [from, to) is needed: its pages may go. It can be written, and is zero then. */
    void (*decommit)(char *from, char *to);
    /* Milliseconds since whenever. */
    uint64_t (*clock)(void);
};

struct hmm_heap {
    /* Where the links of ref 0 would be: a strategy that follows a link that was zeroed writes
     * here. What is lost by that keeps no check from saying so. */
    uint64_t failed;
    uint64_t decommitted_at; /* when pages were spared; the system's clock */
    uint32_t check_count;
    /* Hot: the first two cache lines. */
    const struct hmm_strategy *strategy;
    void *state;
    void *(*malloc_entry)(struct hmm_heap *, size_t);
    void (*free_entry)(struct hmm_heap *, void *);
    hmm_ref first, top, brk;
    hmm_ref trim_below;          /* the break falls when the top does below this */
    size_t extent;               /* top - first */
    intptr_t live_below_peak;    /* live_peak less the live bytes: one subtraction keeps both */
    intptr_t decommit_threshold; /* pages may go when live_below_peak exceeds this */
    /* Each way through malloc and free adds to one count; the statistics are sums of them. */
    uint64_t splits, merges, visited;
    uint64_t bin_whole, bin_splits; /* served from an exact bin: a block whole, or cut */
    uint64_t top_blocks;            /* made of the top or by a realloc, less those the top took */
    uint32_t free_unbinned;         /* free_blocks and bin_whole */
    hmm_ref limit;
    uint32_t check_flags; /* of enum hmm__check_flag */

    /* Cold: the strategy's functions, or what stands for them. */
    void *(*uncached_malloc)(struct hmm_heap *, size_t);
    void (*uncached_free)(struct hmm_heap *, void *);
    hmm_ref (*take)(struct hmm_heap *, void *, uint32_t);
    void (*resize)(struct hmm_heap *, void *, hmm_ref, uint32_t, hmm_ref);
    void (*placed)(struct hmm_heap *, void *, hmm_ref, uint32_t);
    size_t aligned_blocks;                      /* those of the live blocks that are ALIGNED */
    size_t live_peak;                           /* the most since pages were spared */
    size_t live_peak_then;                      /* the most until they were */
    const struct hmm__page_source *page_source; /* NULL: the whole region is simply there */
    size_t decommitted_live;                    /* the live bytes when pages were spared */
    size_t decommit_slack;
    /* Deals with a pointer outside the region that is freed. False: it cannot. NULL: nobody. */
    bool (*foreign)(struct hmm_heap *h, void *payload, const char *operation);
    hmm_ref brk_peak;
    hmm_ref committed_end; /* pages below it can be written */
    uint32_t skew;         /* bytes of the caller's region below the base */
    size_t used_peak;    /* in a sparse heap the highest break of the strategies before this one */
    uint32_t high_limit; /* limit without a state at the high end */
    uint32_t capacity;   /* high_limit without a cache; what state_size is asked for */
    uint32_t check_level;
    enum hmm__state_place state_place;
    /* Set by a cache that stands before this heap; NULL: there is none. */
    struct cache *cache;
    /* Gives back to the heap what the cache holds. False: there was nothing. */
    bool (*reclaim)(struct hmm_heap *h, enum hmm__reclaim what);
    /* A state is to be placed at the region's high end: the cache sets aside below high_limit what
     * it will need there. */
    void (*reserve)(struct hmm_heap *h);
    bool sparse;         /* what is not touched of the region costs nothing: it is address space */
    bool scan_is_costly; /* sparing pages looked at many blocks for each page that could go */
};

/* Room for a state at the low end. */
HMM__ALWAYS_INLINE size_t low_bytes(const struct hmm_heap *h)
{
    return (size_t)h->first * HMM_GRANULE - HMM_HEADER_BYTES - sizeof *h;
}

HMM__ALWAYS_INLINE void live_add(struct hmm_heap *h, size_t bytes)
{
    h->live_below_peak -= (intptr_t)bytes;
    if (h->live_below_peak < 0) {
        hmm__forget_memory(h->live_below_peak);
        h->live_peak += (size_t)-h->live_below_peak;
        h->live_below_peak = 0;
    }
}

HMM__ALWAYS_INLINE void live_sub(struct hmm_heap *h, size_t bytes)
{
    h->live_below_peak += (intptr_t)bytes;
    hmm__forget_memory(h->live_below_peak);
}

HMM__ALWAYS_INLINE size_t live_bytes(const struct hmm_heap *h)
{
    return h->live_peak - (size_t)h->live_below_peak;
}

HMM__ALWAYS_INLINE uint32_t free_blocks(const struct hmm_heap *h)
{
    return h->free_unbinned - (uint32_t)h->bin_whole;
}

/* A split makes a block more, a merge one less; so does the top, when it gives or takes one. */
HMM__ALWAYS_INLINE size_t live_blocks(const struct hmm_heap *h)
{
    return (size_t)(h->top_blocks + h->splits + h->bin_splits - h->merges) - free_blocks(h);
}

/* What of [first, top) is not in use. */
HMM__ALWAYS_INLINE uint32_t free_granules(const struct hmm_heap *h)
{
    size_t used =
        live_bytes(h) + live_blocks(h) * HMM_HEADER_BYTES + h->aligned_blocks * HMM__RECORD_BYTES;
    return (uint32_t)(h->top - h->first - used / HMM_GRANULE);
}

/* The largest request in bytes: above it no size can be counted in a header. */
#define HMM_MAX_REQUEST                                                                            \
    ((size_t)((uint64_t)HMM_MAX_GRANULES * HMM_GRANULE - HMM_HEADER_BYTES < (uint64_t)PTRDIFF_MAX  \
                  ? (uint64_t)HMM_MAX_GRANULES * HMM_GRANULE - HMM_HEADER_BYTES                    \
                  : (uint64_t)PTRDIFF_MAX - 2 * HMM_GRANULE))

/* Granules of the smallest block with `bytes` usable; rounds up. bytes <= HMM_MAX_REQUEST. */
HMM__ALWAYS_INLINE uint32_t hmm__granules_for(size_t bytes)
{
    uint32_t n = (uint32_t)((bytes + HMM_HEADER_BYTES + HMM_GRANULE - 1) / HMM_GRANULE);
    return HMM_MIN_GRANULES > 1 && n < HMM_MIN_GRANULES ? HMM_MIN_GRANULES : n;
}

/* create.c: as hmm_heap_create, but that the entry points are not set; `zeroed`: the region is
 * known to be zero; page_source: NULL, or where its pages come from. */
HMM__HIDDEN struct hmm_heap *hmm__create(void *memory, size_t size,
                                         const struct hmm_strategy *strategy, bool zeroed,
                                         const struct hmm__page_source *page_source);
HMM__HIDDEN bool hmm__strategy_is_valid(const struct hmm_strategy *strategy);

/* switch.c: as hmm_heap_set_strategy, of a strategy that is valid and not the present one. */
HMM__HIDDEN int hmm__switch(struct hmm_heap *h, const struct hmm_strategy *strategy);

/* create.c: makes the strategy the heap's, and its state ready at `state`. */
HMM__HIDDEN void hmm__adopt_strategy(struct hmm_heap *h, const struct hmm_strategy *strategy,
                                     void *state, bool is_zero);
HMM__HIDDEN uint32_t hmm__granules_up(size_t bytes);

/* Inserts all free blocks into a new state. */
HMM__HIDDEN void hmm__index_rebuild(struct hmm_heap *h);

/* grow.c: the region, as it was given to hmm_heap_create, has `size` bytes now, the new ones at its
 * high end. Returns 0; or -1 with the heap as it was iff they are fewer than before (EINVAL), there
 * is no room for the strategy's state (ENOMEM), or the heap has a cache (EBUSY). */
HMM__HIDDEN int hmm__heap_grow(struct hmm_heap *h, size_t size);

/* brk.c */
HMM__HIDDEN bool hmm__brk_raise(struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN void hmm__brk_lower(struct hmm_heap *h);
HMM__HIDDEN void hmm__brk_settle(struct hmm_heap *h);
HMM__HIDDEN bool hmm__high_lower(struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN void hmm__high_raise(struct hmm_heap *h, hmm_ref limit, hmm_ref high_limit);

/* pages.c */
HMM__HIDDEN HMM__COLD bool hmm__commit(struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN void hmm__clear(struct hmm_heap *h, char *from, size_t bytes);
HMM__HIDDEN HMM__COLD void hmm__decommit(struct hmm_heap *h);
HMM__HIDDEN HMM__COLD size_t hmm__decommit_all(struct hmm_heap *h);

/* malloc and free of the strategy: no cache, no checks of the whole heap. */
HMM__ALWAYS_INLINE void *hmm__malloc(struct hmm_heap *h, size_t size)
{
    return h->uncached_malloc(h, size);
}

HMM__ALWAYS_INLINE void hmm__free(struct hmm_heap *h, void *payload)
{
    h->uncached_free(h, payload);
}

/* allocate.c */
HMM__HIDDEN HMM__COLD void *hmm__fail(struct hmm_heap *h);

/* One attempt: of a free block, else of the top below the break. NULL: neither has so much; that is
 * not counted as a failure. */
HMM__HIDDEN void *hmm__try_malloc(struct hmm_heap *h, size_t size);

/* True: the cache has given something back. */
HMM__ALWAYS_INLINE bool hmm__reclaim(struct hmm_heap *h, enum hmm__reclaim what)
{
    return h->reclaim != NULL && h->reclaim(h, what);
}

/* Makes free a used block that the live counts do not count. */
HMM__HIDDEN void hmm__release(struct hmm_heap *h, hmm_ref block);

/* malloc and free of a strategy that has none of its own. */
HMM__HIDDEN void *hmm__malloc_by_hooks(struct hmm_heap *h, size_t size);
HMM__HIDDEN void hmm__free_by_hooks(struct hmm_heap *h, void *payload);

/* aligned.c, realloc.c */
HMM__HIDDEN void *hmm__aligned_alloc(struct hmm_heap *h, size_t align, size_t size);

/* The alignment in granules that ALIGNED block r was asked for at. Ends the program where its
 * record was overwritten. */
HMM__HIDDEN uint32_t hmm__alignment_of(const struct hmm_heap *h, hmm_ref r, const char *operation);

/* What is to lie at an alignment above the granule's; a power of two up to HMM_MAX_REQUEST. */
HMM__HIDDEN struct hmm_piece hmm__piece_at(const struct hmm_heap *h, size_t align, uint32_t n);

/* Whether some heap could serve that. */
HMM__HIDDEN bool hmm__aligned_can_be(size_t align, size_t size);

/* A block that begins where the piece may, of a free block or of the top only. NULL: there is none.
 */
enum hmm__piece_from { HMM__PIECE_OF_HOLE, HMM__PIECE_OF_TOP };
HMM__HIDDEN void *hmm__take_piece(struct hmm_heap *h, const struct hmm_piece *piece,
                                  enum hmm__piece_from from);

HMM__HIDDEN void *hmm__realloc(struct hmm_heap *h, void *payload, size_t size);

/* block.c: the defaults of the optional hooks */
HMM__HIDDEN hmm_ref hmm__default_take(struct hmm_heap *h, void *state, uint32_t granules);
HMM__HIDDEN hmm_ref hmm__default_find_piece(struct hmm_heap *h, void *state,
                                            const struct hmm_piece *piece);
HMM__HIDDEN void hmm__default_resize(struct hmm_heap *h, void *state, hmm_ref was,
                                     uint32_t was_granules, hmm_ref now);

/* verify.c */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__misuse(const struct hmm_heap *h, const void *payload,
                                                 const char *operation);
HMM__HIDDEN bool hmm__is_block(const struct hmm_heap *h, const void *payload);

/* As hmm_heap_check, without what a cache holds. */
HMM__HIDDEN const char *hmm__verify(struct hmm_heap *h);

/* walk.c, stats.c: as hmm_heap_walk and hmm_heap_stats, of the blocks as the heap knows them: a run
 * of a cache is one. */
HMM__HIDDEN int hmm__walk(const struct hmm_heap *h,
                          int (*visit)(void *arg, const struct hmm_block_info *), void *arg);
HMM__HIDDEN void hmm__stats(struct hmm_heap *h, struct hmm_stats *stats);

/* The most that hmm_stats.brk has been. */
HMM__HIDDEN size_t hmm__used_peak(const struct hmm_heap *h);

#endif
