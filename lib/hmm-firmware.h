/* SPDX-License-Identifier: MIT */
/*
 * The interface of what `make firmware` writes: heaps in the caller's memory, without an operating
 * system. It is hmm.h of that build. A line "hmm.h: NAME" stands for what the library's hmm.h
 * declares by that name, which the script puts there.
 *
 *     static _Alignas(16) unsigned char memory[16384];
 *     struct hmm_heap *h = hmm_heap_create(memory, sizeof memory, HMM_BEST_FIT);
 *     void *p = hmm_heap_malloc(h, 100);
 *     hmm_heap_free(h, p);
 *
 * All sizes are in bytes. Every payload is aligned to 8 bytes on processors of 32 bits, to 16 on
 * others. A block has 4 bytes besides its payload. Nothing here sets errno.
 */
#ifndef HMM_H
#define HMM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HMM_MALLOC_LIKE __attribute__((malloc, warn_unused_result))
#define HMM_USE_RESULT __attribute__((warn_unused_result))
#else
#define HMM_MALLOC_LIKE
#define HMM_USE_RESULT
#endif

struct hmm_heap;
struct hmm_strategy;

/* ---- The strategies ---- */

#if HMM_WITH_FIRST_FIT
/* The lowest-addressed free block that is large enough. */
extern const struct hmm_strategy *const HMM_FIRST_FIT;
#endif
#if HMM_WITH_NEXT_FIT
/* The first at or after the last placement. */
extern const struct hmm_strategy *const HMM_NEXT_FIT;
#endif
#if HMM_WITH_BEST_FIT
/* The smallest; of equals, the newest. */
extern const struct hmm_strategy *const HMM_BEST_FIT;
#endif
#if HMM_WITH_SEGREGATED
/* By size class, in constant time (TLSF). */
extern const struct hmm_strategy *const HMM_SEGREGATED;
#endif

/* ---- Heaps ---- */

/* Makes a heap in memory[0 .. size), which may be odd and misaligned. NULL iff memory is NULL or
 * too small for the control structures and one block, or the strategy is none that is built in. */
struct hmm_heap *hmm_heap_create(void *memory, size_t size,
                                 const struct hmm_strategy *strategy) HMM_USE_RESULT;

/* NULL iff no free block and not the rest of the memory is large enough. Of size 0 it is a block
 * of its own. */
/* hmm.h: hmm_heap_malloc */

/* NULL is ignored. */
/* hmm.h: hmm_heap_free */

/* Bytes that may be used at block: at least what was asked for. 0 for NULL. */
/* hmm.h: hmm_heap_usable_size */

/* The first byte above all blocks. */
/* hmm.h: hmm_heap_break */

#if HMM_WITH_CALLOC
/* All usable bytes are zero. */
/* hmm.h: hmm_heap_calloc */
#endif

#if HMM_WITH_REALLOC
/* In place where there is room. Of size 0 it frees the block and returns NULL; of block NULL it is
 * malloc. On failure the block stays as it is. */
/* hmm.h: hmm_heap_realloc */
#endif

#if HMM_WITH_ALIGNED
/* NULL also iff align is not a power of two. realloc keeps the alignment. */
/* hmm.h: hmm_heap_aligned_alloc */
#endif

/* ---- Where a block may lie, and several regions ---- */

#if HMM_WITH_REGIONS
/* The block's address is `phase` above a multiple of `align`; its bytes lie in [low, high) and do
 * not cross a multiple of `boundary`. align and boundary are powers of two. 0 and NULL: none. */
/* hmm.h: hmm_constraint */

/* NULL: no address at all meets the constraint, or nothing that is free has room so. The block is
 * freed as any other; realloc does not know of the constraint. */
/* hmm.h: hmm_heap_malloc_within */

/* Memories that are not alike, a heap each, with a set of capabilities: a bit each, whose meaning
 * is the program's. The struct is the caller's; one that is zero has no regions. */
/* hmm.h: hmm_regions */

/* hmm.h: HMM_CAPABILITIES */

/* Adds memory[0 .. size). Returns 0; or -1 iff a capability is none of HMM_CAPABILITIES, the memory
 * is part of a region already, or hmm_heap_create returns NULL. */
/* hmm.h: hmm_regions_add */

/* A block in a region that has all of the required capabilities: those with most of the preferred
 * ones first, of equals the one that was added first. NULL: none of these has room. */
/* hmm.h: hmm_regions_malloc */

/* NULL is ignored. */
/* hmm.h: hmm_regions_free */

/* The heap of the region that address is in. NULL: it is in none. */
/* hmm.h: hmm_regions_heap */

#if HMM_WITH_REALLOC
/* Stays in its region if that has room, else moves to another that meets what it was asked for
 * with. Of size 0 it frees the block; on failure it stays as it is. */
/* hmm.h: hmm_regions_realloc */
#endif
#endif

/* ---- Images ---- */

#if HMM_WITH_IMAGES
/* The heap that lies in memory[0 .. size) already, as this build has made it, at this address or
 * another that is equal modulo 16; those of aligned_alloc must still be aligned. All of it is
 * checked first: NULL iff it is none, of another version, build, size or strategy, or damaged. */
/* hmm.h: hmm_heap_attach */
#endif

/* ---- The process heap: in a static array of HMM_PROCESS_HEAP_SIZE bytes ---- */

#if HMM_WITH_PROCESS
/* Makes it, at the first call, with this strategy; NULL is the one that is built in. Without it the
 * first allocation does. Returns 0; or -1 iff it is made already, or the array is too small. */
/* hmm.h: hmm_init */
/* hmm.h: hmm_process_heap */
/* hmm.h: hmm_malloc */
/* hmm.h: hmm_free */
/* hmm.h: hmm_usable_size */
#if HMM_WITH_CALLOC
/* hmm.h: hmm_calloc */
#endif
#if HMM_WITH_REALLOC
/* hmm.h: hmm_realloc */
#endif
#if HMM_WITH_ALIGNED
/* hmm.h: hmm_aligned_alloc */
#endif
#endif

/* ---- Locks ---- */

#if HMM_WITH_LOCKS
/* enter(arg) is called before each operation on any heap and leave(arg) after it: a mutex of an
 * RTOS, or interrupts off and on. To be set before the first heap is used; NULL: nothing is called.
 * An operation calls them once, or twice one after the other; never one within the other. */
/* hmm.h: hmm_set_lock */
#endif

/* ---- A trace ---- */

#if HMM_WITH_TRACE
/*
 * event(arg, bytes, n) is called after each malloc, calloc, realloc and aligned_alloc, and before
 * each free, of any heap: n bytes, 8 or 12, aligned to 4, in the format of events below. The first
 * is given at once and says how to read the others. The lock is held; event must not use a heap.
 * NULL: none. To be called before the heaps are used.
 *
 * hmm_ring_event with a ring as its argument is such a function; the main loop takes the events
 * out of the ring and sends them, and `hmm import --from ring` makes a trace of them.
 */
/* hmm.h: hmm_set_trace */
#endif

/* ---- Checks ---- */

#if HMM_WITH_CHECKS
/*
 * Each free and realloc looks at the pointer and the headers beside it: a double free, a pointer
 * that is no block's, a header that was overwritten. `handler` receives a line that describes it,
 * or "hmm: misuse" without HMM_WITH_MESSAGES. It should not return: the program then loops for
 * ever, as it does without a handler. The lock is held.
 */
/* hmm.h: hmm_on_panic */

/* Looks at the whole heap. NULL, or a line that names what is broken. */
/* hmm.h: hmm_heap_check */
#endif

/* ---- Looking in ---- */

#if HMM_WITH_STATS
struct hmm_stats {
    size_t capacity;     /* bytes of the region that can be used, the control structures in it */
    size_t reserved;     /* the same here */
    size_t control;      /* bytes of the control structures */
    size_t brk;          /* bytes from the region's first byte to the end of the highest block */
    size_t brk_peak;     /* the most they have been: capacity less this is the minimum ever free */
    size_t live_bytes;   /* usable bytes of the blocks in use */
    size_t live_peak;    /* the most there have been */
    size_t live_blocks;  /* blocks in use */
    size_t free_bytes;   /* bytes of the free blocks, headers and all; above the highest is more */
    size_t free_blocks;  /* free blocks below the highest in use */
    size_t cached;       /* 0 here */
    uint64_t released;   /* 0 here */
    size_t largest_free; /* the largest request that would be served now */
    size_t top_bytes;    /* 0 here */
    uint64_t splits;     /* free blocks cut in two, as the next two modulo 2^32 */
    uint64_t merges;     /* blocks merged with a free neighbour */
    uint64_t visited;    /* nodes the strategy's searches looked at */
    uint64_t failed;     /* requests that were not served */
};

/* hmm.h: hmm_heap_stats */

/*
 * Bytes of the smallest free block below the highest in use, header and all; 0: there is none.
 * With best-fit exact, in the time of a malloc. With segregated likewise up to 64 granules, and of
 * larger ones a block of the smallest class, which is at most 1/32 larger. With first-fit and
 * next-fit exact, by a look at each block.
 */
size_t hmm_heap_smallest_free(const struct hmm_heap *heap);
#endif

#if HMM_WITH_WALK
/* hmm.h: hmm_block_info */

/* Visits all blocks, in address order. Ends early when visit returns non-zero. Returns what the
 * last visit returned, 0 where there was none. visit must not use the heap. */
/* hmm.h: hmm_heap_walk */
#endif

#ifdef __cplusplus
}
#endif
#endif
