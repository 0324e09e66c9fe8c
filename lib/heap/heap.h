/* SPDX-License-Identifier: MIT */
/*
 * The heap: its theory, struct and invariants, and what the files of lib/heap offer each other and
 * the layers above. They call lib/base, the strategy, and a cache by two pointers that it sets.
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
 * FREE, PREV_FREE (the block below is free) and ALIGNED (it came from aligned_alloc: realloc
 * keeps the alignment that was requested). An ALIGNED block has a record of that alignment in its
 * last 4 bytes; other used blocks have nothing else. A free block has two links of the strategy's
 * at its low end and a footer at its high end: n again, in its last 4 bytes, from which the block
 * above computes where it begins (the boundary tags of Knuth and dlmalloc).
 *
 * The free top (dlmalloc: top, or wilderness) is not a block: it is in no index, and serves a
 * request only if the strategy finds no free block. It begins with a header of size 0 with FREE, so
 * that one test of the next header tells whether there is something to merge with.
 *
 * INVARIANTS (hmm_heap_check tests each)
 *
 * B1  The blocks follow one another from first to top without a gap, each of at least
 *     HMM_MIN_GRANULES, none beyond the top.
 * B2  A block's PREV_FREE is set iff the block below is free.
 * B3  No two free blocks are neighbours, and none touches the top. There is one exception, in heaps
 *     whose break was once more than HMM_MAX_GRANULES above first: two free blocks stay neighbours
 *     if their sum was too large for one header when the second of them became free.
 * B4  A free block's footer equals its size.
 * B5  The header at the top is size 0, FREE, not PREV_FREE.
 * B6  first <= top <= brk <= limit; extent is top - first.
 * B7  The counts of live, free and aligned blocks, of live bytes and free granules are those of the
 *     blocks.
 * B8  An ALIGNED block is in use and lies at the alignment that its record has.
 * B9  A gap (gap.c, absent.c) is a used block that is in no count; their sum is known.
 * T1  The strategy's index holds each free block once, and nothing else. Further T's are each
 *     strategy's own.
 */
#ifndef HMM_HEAP_PRIVATE_H
#define HMM_HEAP_PRIVATE_H

#include "base/assert.h"
#include "base/compiler.h"
#include "base/panic.h"
#include "hmm-strategy.h"

#define HMM_HEADER_BYTES 4u

/* The bytes of an ALIGNED block's record, which are not usable. */
#define HMM__RECORD_BYTES 4u

/* A header, a footer or a link of a free block. */
typedef uint32_t HMM__MAY_ALIAS hmm__word;

_Static_assert(sizeof(hmm__word) == HMM_HEADER_BYTES, "a header is a word");
_Static_assert(HMM_LINK_BYTES <= HMM_LINKS_KEPT, "a block's links stay when its pages go");
_Static_assert(HMM_MIN_GRANULES *HMM_GRANULE >= 2 * HMM_HEADER_BYTES + HMM_LINK_BYTES,
               "the smallest free block has a header, two links and a footer");

struct hmm__page_source;
struct hmm__ticker;

#if !HMM__SMALL || HMM_WITH_REGIONS
/* What a ref can name, with room for a strategy to round up. */
#define HMM__REF_GRANULES_MAX (UINT32_MAX - 4095)
#endif

#if !HMM__SMALL

/* What is checked at each call: bits of hmm_heap.check_flags. malloc and free do not test them:
 * malloc_entry and free_entry are the checked functions while one is set. */
enum hmm__check_flag {
    HMM__CHECK_MEMCHECK = 1, /* memcheck runs: annotate every block */
    HMM__CHECK_POINTERS = 2  /* check level 2 and up */
};

/* Where the strategy's state lies. */
enum hmm__state_place {
    HMM__STATE_LOW,
    HMM__STATE_HIGH,
    HMM__STATE_BLOCK,
    HMM__STATE_APART /* outside the region, where it grows: apart.c */
};

#endif

/* What a cache is to return to the heap: UNUSED, now and then, is a step of what has not been
 * needed for a while; IDLE, before malloc raises the break, is empty runs and medium blocks; ALL,
 * before a request fails, is all that the calling thread does not use. */
enum hmm__reclaim { HMM__RECLAIM_UNUSED, HMM__RECLAIM_IDLE, HMM__RECLAIM_ALL };

/* For what is only looked at. */
#if HMM__COUNTS
#define COUNT(statement) statement
#else
#define COUNT(statement) ((void)0)
#endif

#if HMM_WITH_IMAGES || !HMM__SMALL
#include "heap/image.h"
#endif
#if !HMM__SMALL
#include "heap/page_source.h"
#endif

#if HMM__SMALL
#include "heap/small.h"
#else

/*
 * Two parts. The image says what is in the region, without an address: with the blocks and the
 * strategy's state it could be saved and used at another address, a multiple of the alignments of
 * ALIGNED blocks away, if the heap has no cache and its state lies in the region. The handle is
 * this process's: pointers, hooks, what is resident, what is checked; hmm__derive_handle makes it
 * from the image. The hot members are the last of the image and the first of the handle, in three
 * cache lines.
 */
struct hmm_heap {
    struct { /* the image */
        /* The first 8 bytes are where the links of ref 0 would be: a strategy that follows an
         * overwritten link of 0 writes here. No check needs what is lost by that. */
        uint64_t failed;
        struct hmm__image_id id;
        size_t aligned_blocks; /* live blocks that are ALIGNED */
        size_t live_peak;      /* the most that the live bytes have been */
        size_t used_peak; /* in a sparse heap the highest break of the strategies before this one */
        size_t state_at;  /* bytes from the base to the strategy's state */
        enum hmm__state_place state_place;
        hmm_ref brk_peak;
        uint32_t skew;         /* bytes of the caller's region below the base */
        uint32_t high_limit;   /* limit without a state at the high end */
        uint32_t region;       /* high_limit without a cache */
        uint32_t capacity;     /* what state_size is asked for: region, unless the state is apart */
        uint32_t gap_granules; /* gap.c; they are in no other count */
        uint32_t apart;        /* which of the places for a state it lies in, if it does */
        hmm_ref limit;

        /* Hot. */
        hmm_ref first, top, brk;
        hmm_ref trim_below;       /* the break falls when the top does below this */
        size_t extent;            /* top - first */
        intptr_t live_below_peak; /* live_peak minus the live bytes: one subtraction updates both */
        /* Each path through malloc and free adds to one count; the statistics are sums of them. */
        uint64_t splits, merges, visited;
        uint64_t bin_whole, bin_splits; /* requests served from an exact bin: by a whole block, or
                                         * split */
        uint64_t top_blocks;    /* made from the top or by a realloc, minus those merged into it */
        uint32_t free_unbinned; /* the number of free blocks plus bin_whole */
    };
    struct {                  /* the handle */
        uint32_t check_flags; /* of enum hmm__check_flag */
        const struct hmm_strategy *strategy;
        void *state;
        void *(*malloc_entry)(struct hmm_heap *, size_t);
        void (*free_entry)(struct hmm_heap *, void *);
        size_t large_above; /* scaled; a larger free block is known to large.c */

        /* Cold: the strategy's functions, or the heap's defaults for them. */
        void *(*uncached_malloc)(struct hmm_heap *, size_t);
        void (*uncached_free)(struct hmm_heap *, void *);
        hmm_ref (*take)(struct hmm_heap *, void *, uint32_t);
        void (*resize)(struct hmm_heap *, void *, hmm_ref, uint32_t, hmm_ref);
        void (*placed)(struct hmm_heap *, void *, hmm_ref, uint32_t);
        uint32_t check_level, check_count;
        bool trying; /* a request that fails now has another way to be served: not counted */
        const struct hmm__page_source *page_source; /* NULL: the whole region is committed */
        /* large.c's table, of large_bytes, above the limit; NULL without a page source. */
        struct hmm__large *large;
        size_t large_bytes, large_committed;
        uint32_t large_count;
        hmm_ref committed_end; /* pages below it are committed */
        uint64_t large_dirty;  /* granules of them that may be resident and are not needed */
        uint64_t released;     /* bytes that were given back to the system, each time anew */
        /* What is known to be zero: from zero_top, or from the top if that is higher, to
         * zero_limit; and of the block that was allocated last. */
        hmm_ref zero_top, zero_limit;
        hmm_ref taken_zero_from, taken_zero_to;
        /* Milliseconds that pages stay resident which are not needed; the page source's clock when
         * some are to be given back next, read without the lock; the top, when it was there, and
         * when it last fell far. */
        uint32_t release_after;
        bool stepped;    /* pages were given back since too many were looked for */
        bool frees_many; /* these are not looked for while a call frees many blocks */
        hmm_ref top_seen;
        uint64_t release_due, top_seen_at, top_fell_at;
        size_t state_scanned; /* apart.c; the state's bytes from here on may have pages of zeros */
        uint64_t released_then; /* released, when the cache was last asked for what is idle */
        /* Frees a pointer outside the region, or reports it. False: it is inside. NULL: all such
         * pointers are misuse. */
        bool (*foreign)(struct hmm_heap *h, void *payload, const char *operation);
        /* Told of a request of `size` bytes that is not served. NULL: nobody. */
        void (*refused)(const struct hmm_heap *h, size_t size);
        /* The next three are set by this heap's cache; NULL: there is none. */
        struct cache *cache;
        /* Returns memory of the cache to the heap. False: there was none. */
        bool (*reclaim)(struct hmm_heap *h, enum hmm__reclaim what);
        /* Before a state is placed at the region's high end: lowers high_limit by what the cache
         * will need there. NULL: its tables do not lie in the region. */
        void (*reserve)(struct hmm_heap *h);
        /* Blocks outside the region, which are live: their bytes are in the live bytes, too. Visits
         * them; NULL: there are none. */
        size_t huge_bytes, huge_blocks;
        int (*walk_beyond)(int (*visit)(void *arg, const struct hmm_block_info *), void *arg);
        uint32_t absent, absent_count; /* absent.c: the first of the list, and how many there are */
        bool keeps_pages; /* an operation relies on free blocks: of none pages go back meanwhile */
        bool scarce;      /* the system refused memory: what the break leaves is unmapped at once */
        bool sparse;      /* bytes of the region that are not touched cost nothing: address space */
    };
};

/* Bytes of the image. */
#define HMM__IMAGE_BYTES offsetof(struct hmm_heap, check_flags)

_Static_assert(offsetof(struct hmm_heap, failed) == 0, "the links of ref 0");
_Static_assert(offsetof(struct hmm_heap, large_above) / 64 - offsetof(struct hmm_heap, first) / 64 <
                   3,
               "the hot part is three cache lines");

/* ---- What a heap in few bytes has otherwise (small.h) ---- */

HMM__ALWAYS_INLINE void *state_of(const struct hmm_heap *h)
{
    return h->state;
}

HMM__ALWAYS_INLINE hmm_ref heap_brk(const struct hmm_heap *h)
{
    return h->brk;
}

/* No block ends above it, and the strategy's state has room for all below. */
HMM__ALWAYS_INLINE hmm_ref end_of(const struct hmm_heap *h)
{
    return h->capacity;
}

/* Whether large.c knows a free block of this scaled size. Without pages: whether it is too large
 * for a header. */
HMM__ALWAYS_INLINE bool large_knows(const struct hmm_heap *h, size_t scaled)
{
#if HMM__PAGES
    return scaled > h->large_above;
#else
    (void)h;
    return scaled > UINT32_MAX;
#endif
}

/* The same of a block, by its header: 32 bits that are compared where they are. */
HMM__ALWAYS_INLINE bool large_knows_header(const struct hmm_heap *h, uint32_t word)
{
#if HMM__PAGES
    HMM_ASSERT(h->large_above <= UINT32_MAX);
    return word > (uint32_t)h->large_above;
#else
    (void)h, (void)word;
    return false;
#endif
}

HMM__ALWAYS_INLINE void set_state(struct hmm_heap *h, void *state)
{
    h->state = state;
    h->state_at = (size_t)((char *)state - (char *)h);
}

/* Bytes at the low end for a state. */
HMM__ALWAYS_INLINE size_t low_bytes(const struct hmm_heap *h)
{
    return (size_t)h->first * HMM_GRANULE - HMM_HEADER_BYTES - sizeof *h;
}

/* The region that the heap is in, as far as it uses it. */
HMM__ALWAYS_INLINE size_t region_bytes(const struct hmm_heap *h)
{
    return (size_t)h->region * HMM_GRANULE + h->large_bytes;
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
    HMM_ASSERT((size_t)h->live_below_peak <= h->live_peak);
}

HMM__ALWAYS_INLINE size_t live_bytes(const struct hmm_heap *h)
{
    return h->live_peak - (size_t)h->live_below_peak;
}

HMM__ALWAYS_INLINE uint32_t free_blocks(const struct hmm_heap *h)
{
    return h->free_unbinned - (uint32_t)h->bin_whole;
}

/* A split adds a block and a merge removes one; so do allocation from the top and merging into it.
 */
HMM__ALWAYS_INLINE size_t live_blocks(const struct hmm_heap *h)
{
    return (size_t)(h->top_blocks + h->splits + h->bin_splits - h->merges) - free_blocks(h);
}

#endif

_Static_assert(_Alignof(struct hmm_heap) <= HMM_GRANULE, "a region is aligned to the granule only");

/* ---- The strategy ---- */

/*
 * With one strategy its functions are called by name: struct hmm_strategy is then a constant that
 * compilers look into, of which nothing is left. Its file defines it, behind this one.
 */
#if HMM__ONE_STRATEGY
static const struct hmm_strategy HMM__ONLY;
#define hooks_by(s) ((void)(s), &HMM__ONLY)
#define hooks_of(h) ((void)(h), &HMM__ONLY)
#else
#define hooks_by(s) (s)
#define hooks_of(h) ((h)->strategy)
#endif

/* What a program names a strategy by. In few bytes with one strategy it is only a name. */
#if HMM__ONE_STRATEGY && HMM__SMALL
static const char strategy_name[] = "";
#define HMM__STRATEGY_NAMED(table) ((const struct hmm_strategy *)(const void *)strategy_name)
#else
#define HMM__STRATEGY_NAMED(table) (&(table))
#endif

/* Tells the strategy what was placed otherwise than by its take. */
HMM__ALWAYS_INLINE void say_placed(struct hmm_heap *h, hmm_ref r, uint32_t granules)
{
#if HMM__SMALL
    if (hooks_of(h)->placed != NULL)
        hooks_of(h)->placed(h, state_of(h), r, granules);
#else
    if (h->placed)
        h->placed(h, h->state, r, granules);
#endif
}

/* The bytes of blocks outside the region. */
HMM__ALWAYS_INLINE size_t huge_bytes(const struct hmm_heap *h)
{
#if HMM__PAGES
    return h->huge_bytes;
#else
    (void)h;
    return 0;
#endif
}

/* gap.c: the granules of all gaps. */
HMM__ALWAYS_INLINE uint32_t gap_granules(const struct hmm_heap *h)
{
#if HMM__PAGES
    return h->gap_granules;
#else
    (void)h;
    return 0;
#endif
}

#if HMM__COUNTS
/* The granules of [first, top) that are not in use. */
HMM__ALWAYS_INLINE uint32_t free_granules(const struct hmm_heap *h)
{
    size_t used = live_bytes(h) - huge_bytes(h) + live_blocks(h) * HMM_HEADER_BYTES +
                  h->aligned_blocks * HMM__RECORD_BYTES;
    return (uint32_t)(h->top - h->first - gap_granules(h) - used / HMM_GRANULE);
}
#endif

/* The largest request in bytes: a larger size does not fit in a header, or is above PTRDIFF_MAX. */
#define HMM_MAX_REQUEST                                                                            \
    ((size_t)((uint64_t)HMM_MAX_GRANULES * HMM_GRANULE - HMM_HEADER_BYTES < (uint64_t)PTRDIFF_MAX  \
                  ? (uint64_t)HMM_MAX_GRANULES * HMM_GRANULE - HMM_HEADER_BYTES                    \
                  : (uint64_t)PTRDIFF_MAX - 2u * HMM_GRANULE))

/* Granules of the smallest block with `bytes` usable; rounds up. bytes <= HMM_MAX_REQUEST. */
HMM__ALWAYS_INLINE uint32_t hmm__granules_for(size_t bytes)
{
    uint32_t n = (uint32_t)((bytes + HMM_HEADER_BYTES + HMM_GRANULE - 1) / HMM_GRANULE);
#if HMM_GRANULE < 16u
    n = n < HMM_MIN_GRANULES ? HMM_MIN_GRANULES : n;
#endif
    return n;
}

/* create.c: as hmm_heap_create, except that malloc_entry and free_entry are not set. `zeroed`: the
 * region is known to be zero. page_source: NULL, or what commits its pages. */
HMM__HIDDEN struct hmm_heap *hmm__create(void *memory, size_t size,
                                         const struct hmm_strategy *strategy, bool zeroed,
                                         const struct hmm__page_source *page_source);
HMM__HIDDEN bool hmm__strategy_is_valid(const struct hmm_strategy *strategy);

#if HMM__SMALL
/* small.c: of a region of so many bytes, those that a heap has; and the ref of its first block. 0:
 * there is no room for one. */
HMM__HIDDEN size_t hmm__small_capacity(size_t bytes);
HMM__HIDDEN hmm_ref hmm__small_first(const struct hmm_strategy *strategy, size_t capacity);

#if HMM_WITH_IMAGES
/* small.c: as hmm_strategy_at. */
HMM__HIDDEN const struct hmm_strategy *hmm__built_in(unsigned index);
#endif
#endif

/* switch.c: as hmm_heap_set_strategy, of a strategy that is valid and not the present one. */
HMM__HIDDEN int hmm__switch(struct hmm_heap *h, const struct hmm_strategy *strategy);

/* create.c: makes the handle of a heap without a cache whose image is at h and whose state is that
 * of this strategy. malloc_entry and free_entry are not set. */
HMM__HIDDEN void hmm__derive_handle(struct hmm_heap *h, const struct hmm_strategy *strategy);

/* create.c: sets the heap's strategy, and initialises its state at `state`. */
HMM__HIDDEN void hmm__adopt_strategy(struct hmm_heap *h, const struct hmm_strategy *strategy,
                                     void *state, bool is_zero);
HMM__HIDDEN uint32_t hmm__granules_up(size_t bytes);

/* Inserts all free blocks into a new state. */
HMM__HIDDEN void hmm__index_rebuild(struct hmm_heap *h);

/* grow.c: the region, as it was given to hmm_heap_create, has `size` bytes now, the new ones at its
 * high end. Returns 0; or -1 with the heap as it was iff they are fewer than before (EINVAL), there
 * is no room for the strategy's state (ENOMEM), or a cache has its tables in the region (EBUSY). */
HMM__HIDDEN int hmm__heap_grow(struct hmm_heap *h, size_t size);

#include "heap/pages.h"

/* brk.c */
#if HMM__SMALL
HMM__ALWAYS_INLINE bool hmm__brk_raise(struct hmm_heap *h, hmm_ref to)
{
    (void)h, (void)to;
    return false; /* it is at the limit */
}
#else
HMM__HIDDEN bool hmm__brk_raise(struct hmm_heap *h, hmm_ref to);
/* The granules by which it rises above what is needed. */
HMM__HIDDEN uint32_t hmm__brk_step(const struct hmm_heap *h);
#endif
HMM__HIDDEN void hmm__brk_lower(struct hmm_heap *h);
HMM__HIDDEN void hmm__brk_settle(struct hmm_heap *h);
HMM__HIDDEN bool hmm__high_lower(struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN void hmm__high_raise(struct hmm_heap *h, hmm_ref limit, hmm_ref high_limit);

/* Zeroes a payload that was allocated just now; what is known to be zero is not written. Before the
 * allocation begin is to be called; what it returns is the third argument. */
HMM__HIDDEN hmm_ref hmm__zero_begin(struct hmm_heap *h);
HMM__HIDDEN void hmm__zero_payload(struct hmm_heap *h, void *payload, hmm_ref zero_top);

#if !HMM__SMALL
/* Blocks of at least so many bytes are zeroed so. */
#define HMM__ZERO_MIN ((size_t)64 << 10)
#endif

/* malloc and free without the cache, without checks of the whole heap, and without the hooks. */
#if HMM__SMALL
HMM__HIDDEN void *hmm__malloc(struct hmm_heap *h, size_t size);
HMM__HIDDEN void hmm__free(struct hmm_heap *h, void *payload);
#else
HMM__ALWAYS_INLINE void *hmm__malloc(struct hmm_heap *h, size_t size)
{
    return h->uncached_malloc(h, size);
}

HMM__ALWAYS_INLINE void hmm__free(struct hmm_heap *h, void *payload)
{
    h->uncached_free(h, payload);
}
#endif

/* allocate.c */
HMM__HIDDEN HMM__COLD void *hmm__fail(struct hmm_heap *h, size_t size);

/* One attempt: from a free block, else from the top below the break. NULL, which is not counted as
 * a failure: neither is large enough. */
HMM__HIDDEN void *hmm__try_malloc(struct hmm_heap *h, size_t size);

/* The same from a free block only. */
HMM__HIDDEN void *hmm__try_hole(struct hmm_heap *h, size_t size);

/* Cuts the used block at `payload`, which is not ALIGNED, in two: the second begins at `at`, a
 * multiple of granules above, and each has HMM_MIN_GRANULES. */
HMM__HIDDEN void hmm__cut_used(struct hmm_heap *h, void *payload, void *at);

/* True: the cache has returned something. */
HMM__ALWAYS_INLINE bool hmm__reclaim(struct hmm_heap *h, enum hmm__reclaim what)
{
#if HMM__CACHE
    HMM_ASSERT((h->reclaim != NULL) == (h->cache != NULL));
    const bool many = h->frees_many;
    h->frees_many = true;
    const bool any = h->reclaim != NULL && h->reclaim(h, what);
    h->frees_many = many;
    return any;
#else
    (void)h, (void)what;
    return false;
#endif
}

#if !HMM__SMALL
/* Whether memory for n granules above the top was below it, and was not given back since: the break
 * may rise over it at no cost, so that the cache need not return anything before. */
HMM__ALWAYS_INLINE bool hmm__was_below_top(const struct hmm_heap *h, uint32_t n)
{
    return h->zero_top > h->top && h->zero_top - h->top >= n;
}
#endif

/* Frees a used block that is not in the live counts any more. */
HMM__HIDDEN void hmm__release(struct hmm_heap *h, hmm_ref block);

/* malloc and free by the hooks of a strategy without malloc_whole and free_whole. */
HMM__HIDDEN void *hmm__malloc_by_hooks(struct hmm_heap *h, size_t size);
HMM__HIDDEN void hmm__free_by_hooks(struct hmm_heap *h, void *payload);

/* aligned.c, realloc.c */
HMM__HIDDEN void *hmm__aligned_alloc(struct hmm_heap *h, size_t align, size_t size);

/* A block in which the piece lies, exactly; NULL, counted as a failure: there is no room. */
HMM__HIDDEN void *hmm__malloc_piece(struct hmm_heap *h, const struct hmm_piece *piece);

/* The alignment in granules that was requested for ALIGNED block r. Ends the program if the record
 * was overwritten. */
HMM__HIDDEN uint32_t hmm__alignment_of(const struct hmm_heap *h, hmm_ref r, const char *operation);

/* A piece of n granules at an alignment above the granule's, a power of two up to
 * HMM_MAX_REQUEST. */
HMM__HIDDEN struct hmm_piece hmm__piece_at(const struct hmm_heap *h, size_t align, uint32_t n);

/* Whether a large enough heap could serve the request. */
HMM__HIDDEN bool hmm__aligned_can_be(size_t align, size_t size);

/* Allocates the piece, from a free block or from the top only. NULL: there is no room. */
enum hmm__piece_from { HMM__PIECE_OF_HOLE, HMM__PIECE_OF_TOP };
HMM__HIDDEN void *hmm__take_piece(struct hmm_heap *h, const struct hmm_piece *piece,
                                  enum hmm__piece_from from);

/* In a heap without a cache; and in any heap. */
HMM__HIDDEN void *hmm__realloc(struct hmm_heap *h, void *payload, size_t size);
HMM__HIDDEN void *hmm__realloc_exactly(struct hmm_heap *h, void *payload, size_t size);

/* block.c: the defaults of the optional hooks */
HMM__HIDDEN hmm_ref hmm__default_take(struct hmm_heap *h, void *state, uint32_t granules);
HMM__HIDDEN hmm_ref hmm__default_find_piece(struct hmm_heap *h, void *state,
                                            const struct hmm_piece *piece);
HMM__HIDDEN void hmm__default_resize(struct hmm_heap *h, void *state, hmm_ref was,
                                     uint32_t was_granules, hmm_ref now);

/* verify.c */
#if HMM_WITH_CHECKS || !HMM__SMALL
HMM__HIDDEN HMM__COLD _Noreturn void hmm__misuse(const struct hmm_heap *h, const void *payload,
                                                 const char *operation);
#endif
HMM__HIDDEN bool hmm__is_block(const struct hmm_heap *h, const void *payload);

/* As hmm_heap_check, without the cache. */
HMM__HIDDEN const char *hmm__verify(struct hmm_heap *h);

struct hmm_block_info;
struct hmm_stats;

/* walk.c, stats.c: as hmm_heap_walk and hmm_heap_stats, without the cache: a run is one block. */
HMM__HIDDEN int hmm__walk(const struct hmm_heap *h,
                          int (*visit)(void *arg, const struct hmm_block_info *), void *arg);
HMM__HIDDEN void hmm__stats(struct hmm_heap *h, struct hmm_stats *stats);

/* As hmm_heap_smallest_free; for heaps in few bytes. */
HMM__HIDDEN size_t hmm__smallest_free(struct hmm_heap *h);

/* The largest value that hmm_stats.brk has had. */
HMM__HIDDEN size_t hmm__used_peak(const struct hmm_heap *h);

#endif
