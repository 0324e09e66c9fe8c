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
 * keeps its alignment). A used block has nothing else. A free one has two links of the strategy's
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
 * B7  The counts of live blocks and bytes, of free blocks and granules are those of the blocks.
 * T1  The strategy's index holds each free block once, and nothing else. Further T's are each
 *     strategy's own.
 */
#ifndef HMM_HEAP_PRIVATE_H
#define HMM_HEAP_PRIVATE_H

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "hmm-strategy.h"

#include <stdbool.h>

#if defined(__STDC_HOSTED__) && __STDC_HOSTED__ && !defined(HMM_FREESTANDING)
#define HMM_HOSTED 1
#else
#define HMM_HOSTED 0
#endif

/* Firmware has a C library, but no files and processes. */
#if HMM_HOSTED && (defined(__unix__) || defined(__APPLE__))
#define HMM__POSIX 1
#else
#define HMM__POSIX 0
#endif

#if HMM_HOSTED
#include <errno.h>
#include <string.h>
#else
/* All that is wanted of a C library, and compilers call them by themselves. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
#endif

#if defined(__GNUC__)
#define hmm__likely(x) __builtin_expect(!!(x), 1)
#define hmm__unlikely(x) __builtin_expect(!!(x), 0)
#define HMM__COLD __attribute__((cold, noinline))
#define HMM__ALWAYS_INLINE static inline __attribute__((always_inline))
#define HMM__HIDDEN __attribute__((visibility("hidden")))
/* Of what lies in memory that is the program's at other times, as whatever it stored there. */
#define HMM__MAY_ALIAS __attribute__((may_alias))
/* The compiler does not know what is in x any more. Where it would keep what it can make again in
 * one instruction, and save registers for that, or spell out an operation on memory. */
#define hmm__forget(x) __asm__("" : "+r"(x))
#define hmm__forget_memory(x) __asm__("" : "+m"(x))
#else
#define hmm__likely(x) (x)
#define hmm__unlikely(x) (x)
#define HMM__COLD
#define HMM__ALWAYS_INLINE static inline
#define HMM__HIDDEN
#define HMM__MAY_ALIAS
#define hmm__forget(x) ((void)0)
#define hmm__forget_memory(x) ((void)0)
#endif

/* A build for ThreadSanitizer, by either compiler. */
#if defined(__SANITIZE_THREAD__)
#define HMM__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HMM__TSAN 1
#endif
#endif
#if !defined(HMM__TSAN)
#define HMM__TSAN 0
#endif

/* Of a function that looks at what other threads are at work on, and takes it as it finds it. */
#if HMM__TSAN
#define HMM__UNSEEN __attribute__((no_sanitize_thread, noinline))
#else
#define HMM__UNSEEN
#endif

#define HMM_HEADER_BYTES 4u

/* What a ref can name, with room for a strategy to round up. */
#define HMM__MOST_GRANULES (UINT32_MAX - 4095)

/* A header, a footer or a link of a free block. */
typedef uint32_t HMM__MAY_ALIAS hmm__word;

/* What a heap does besides: bits of hmm_heap.watch. The doors of malloc and free need no test for
 * it: malloc_door and free_door lead the long way then. */
enum hmm__watch {
    HMM__WATCH_VALGRIND = 1, /* memcheck runs: tell it of every block */
    HMM__WATCH_CHECK = 2     /* check level 2 and up */
};

/* Where the strategy's state lies. */
enum hmm__state_place { HMM__STATE_LOW, HMM__STATE_HIGH, HMM__STATE_BLOCK };

/* What the system does for a region whose pages come and go. Both keep errno. */
struct hmm__pages {
    /* [from, to) is about to be written: make it so. False iff the system has not got it. */
    bool (*need)(char *from, char *to);
    /* Nothing in [from, to) is needed: its pages may go. It can be written, and is zero then. */
    void (*spare)(char *from, char *to);
    /* Milliseconds since whenever. */
    uint64_t (*clock)(void);
};

struct hmm_heap {
    /* Where the links of ref 0 would be: a strategy that follows a link that was zeroed writes
     * here. What is lost by that keeps no check from saying so. */
    uint64_t failed;
    uint64_t spared_at; /* when pages were spared; the system's clock */
    uint32_t check_count;
    /* Hot: the first two cache lines. */
    const struct hmm_strategy *strategy;
    void *state;
    void *(*malloc_door)(struct hmm_heap *, size_t);
    void (*free_door)(struct hmm_heap *, void *);
    hmm_ref first, top, brk;
    hmm_ref trim_below;       /* the break falls when the top does below this */
    size_t extent;            /* top - first */
    intptr_t live_below_peak; /* live_peak less the live bytes: one subtraction keeps both */
    intptr_t spare_at;        /* pages may go when live_below_peak exceeds this */
    /* Each way through malloc and free adds to one count; the statistics are sums of them. */
    uint64_t splits, merges, visited;
    uint64_t bin_whole, bin_splits; /* served from an exact bin: a block whole, or cut */
    uint64_t top_blocks;            /* made of the top or by a realloc, less those the top took */
    uint32_t free_unbinned;         /* free_blocks and bin_whole */
    hmm_ref limit;
    uint32_t watch; /* of enum hmm__watch; set by hmm__set_watch */

    /* Cold: the strategy's functions, or what stands for them. */
    void *(*malloc_bare)(struct hmm_heap *, size_t);
    void (*free_bare)(struct hmm_heap *, void *);
    hmm_ref (*take)(struct hmm_heap *, void *, uint32_t);
    void (*resize)(struct hmm_heap *, void *, hmm_ref, uint32_t, hmm_ref);
    void (*placed)(struct hmm_heap *, void *, hmm_ref, uint32_t);
    size_t most_align;              /* the largest alignment that was ever asked for */
    size_t live_peak;               /* the most since pages were spared */
    size_t live_peak_then;          /* the most until they were */
    const struct hmm__pages *pages; /* NULL: the whole region is simply there */
    size_t spared_live;             /* the live bytes when pages were spared */
    size_t spare_slack;
    /* Deals with a pointer outside the region that is freed. False: it cannot. NULL: nobody. */
    bool (*stray)(struct hmm_heap *h, void *payload, const char *verb);
    hmm_ref brk_peak;
    hmm_ref ready;       /* pages below it can be written */
    uint32_t skew;       /* bytes of the caller's region below the base */
    size_t low_bytes;    /* room for a state at the low end */
    uint32_t high_limit; /* limit without a state at the high end */
    uint32_t capacity;   /* high_limit without a front; what state_size is asked for */
    uint32_t check_level;
    enum hmm__state_place state_place;
    struct front *front; /* NULL: it is bare */
    bool spare_dear;     /* sparing pages looked at many blocks for each page that could go */
};

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
    size_t used = live_bytes(h) + live_blocks(h) * HMM_HEADER_BYTES;
    return (uint32_t)(h->top - h->first - used / HMM_GRANULE);
}

/* errno where there is one. */
HMM__ALWAYS_INLINE void hmm__set_errno(int code)
{
#if HMM_HOSTED
    errno = code;
#else
    (void)code;
#endif
}

#if !HMM_HOSTED
enum { ENOMEM = 12, EINVAL = 22, ENOENT = 2, EBUSY = 16, ENOTSUP = 95 };
#endif

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

/* create.c: as hmm_heap_create, of a region known to be zero, with or without pages. */
HMM__HIDDEN struct hmm_heap *hmm__heap_create(void *memory, size_t size,
                                              const struct hmm_strategy *strategy, bool zeroed,
                                              const struct hmm__pages *pages);
HMM__HIDDEN bool hmm__strategy_is_sound(const struct hmm_strategy *strategy);

/* Inserts all free blocks into a new state. */
HMM__HIDDEN void hmm__index_rebuild(struct hmm_heap *h);

/* grow.c: the region, as it was given to hmm_heap_create, has `size` bytes now, the new ones at its
 * high end. Returns 0; or -1 with the heap as it was iff they are fewer than before (EINVAL), there
 * is no room for the strategy's state (ENOMEM), or the heap has a cache (EBUSY). */
HMM__HIDDEN int hmm__heap_grow(struct hmm_heap *h, size_t size);

HMM__HIDDEN void hmm__set_watch(struct hmm_heap *h, uint32_t watch);

/* brk.c */
HMM__HIDDEN bool hmm__brk_raise(struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN void hmm__brk_lower(struct hmm_heap *h);
HMM__HIDDEN void hmm__brk_settle(struct hmm_heap *h);
HMM__HIDDEN bool hmm__high_lower(struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN void hmm__high_raise(struct hmm_heap *h, hmm_ref limit, hmm_ref high_limit);

/* pages.c */
HMM__HIDDEN HMM__COLD bool hmm__pages_need(struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN void hmm__pages_clear(struct hmm_heap *h, char *from, size_t bytes);
HMM__HIDDEN HMM__COLD void hmm__pages_spare(struct hmm_heap *h);
HMM__HIDDEN HMM__COLD size_t hmm__pages_spare_all(struct hmm_heap *h);

/* The core's verbs, without watching. */
HMM__ALWAYS_INLINE void *hmm__malloc(struct hmm_heap *h, size_t size)
{
    return h->malloc_bare(h, size);
}

HMM__ALWAYS_INLINE void hmm__free(struct hmm_heap *h, void *payload)
{
    h->free_bare(h, payload);
}

/* heap.c */
HMM__HIDDEN HMM__COLD void *hmm__fail(struct hmm_heap *h);

/* Makes free a used block that the live counts do not count. */
HMM__HIDDEN void hmm__release(struct hmm_heap *h, hmm_ref block);

/* malloc and free of a strategy that has none of its own. */
HMM__HIDDEN void *hmm__malloc_by_hooks(struct hmm_heap *h, size_t size);
HMM__HIDDEN void hmm__free_by_hooks(struct hmm_heap *h, void *payload);

/* aligned.c, realloc.c */
HMM__HIDDEN void *hmm__aligned_alloc(struct hmm_heap *h, size_t align, size_t size);

/* Whether some heap could serve that. */
HMM__HIDDEN bool hmm__aligned_can_be(size_t align, size_t size);

/* A block that begins where the piece may, of a free block or of the top only. NULL: there is none.
 */
enum hmm__piece_from { HMM__PIECE_OF_HOLE, HMM__PIECE_OF_TOP };
HMM__HIDDEN void *hmm__take_piece(struct hmm_heap *h, const struct hmm_piece *piece,
                                  enum hmm__piece_from from);

HMM__HIDDEN void *hmm__realloc(struct hmm_heap *h, void *payload, size_t size);

/* watched.c: the doors while something watches (hmm_heap.watch) */
HMM__HIDDEN void *hmm__watched_malloc(struct hmm_heap *h, size_t size);
HMM__HIDDEN void *hmm__watched_calloc(struct hmm_heap *h, size_t count, size_t size);
HMM__HIDDEN void *hmm__watched_realloc(struct hmm_heap *h, void *payload, size_t size);
HMM__HIDDEN void *hmm__watched_aligned_alloc(struct hmm_heap *h, size_t align, size_t size);
HMM__HIDDEN void hmm__watched_free(struct hmm_heap *h, void *payload);
HMM__HIDDEN size_t hmm__watched_usable_size(const struct hmm_heap *h, const void *payload);

/* block.c: the defaults of the optional hooks */
HMM__HIDDEN hmm_ref hmm__default_take(struct hmm_heap *h, void *state, uint32_t granules);
HMM__HIDDEN hmm_ref hmm__default_find_piece(struct hmm_heap *h, void *state,
                                            const struct hmm_piece *piece);
HMM__HIDDEN void hmm__default_resize(struct hmm_heap *h, void *state, hmm_ref was,
                                     uint32_t was_granules, hmm_ref now);

/* check.c */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__misuse(const struct hmm_heap *h, const void *payload,
                                                 const char *verb);
HMM__HIDDEN bool hmm__is_block(const struct hmm_heap *h, const void *payload);

/* panic.c */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__panic(const char *what, const void *where,
                                                const char *why);

#endif
