/* SPDX-License-Identifier: MIT */
/*
 * The interface of what `make firmware` writes: heaps in the caller's memory, without an operating
 * system. It is hmm.h of that build, and declares what both have as the library's hmm.h does.
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
struct hmm_heap *hmm_heap_create(void *memory, size_t size, const struct hmm_strategy *strategy);

/* NULL iff no free block and not the rest of the memory is large enough. Of size 0 it is a block
 * of its own. */
void *hmm_heap_malloc(struct hmm_heap *heap, size_t size) HMM_MALLOC_LIKE;

/* NULL is ignored. */
void hmm_heap_free(struct hmm_heap *heap, void *block);

/* Bytes that may be used at block: at least what was asked for. 0 for NULL. */
size_t hmm_heap_usable_size(const struct hmm_heap *heap, const void *block);

/* The first byte above all blocks. */
void *hmm_heap_break(const struct hmm_heap *heap);

#if HMM_WITH_CALLOC
/* All usable bytes are zero. */
void *hmm_heap_calloc(struct hmm_heap *heap, size_t count, size_t size) HMM_MALLOC_LIKE;
#endif

#if HMM_WITH_REALLOC
/* In place where there is room. Of size 0 it frees the block and returns NULL; of block NULL it is
 * malloc. On failure the block stays as it is. */
void *hmm_heap_realloc(struct hmm_heap *heap, void *block, size_t size) HMM_USE_RESULT;
#endif

#if HMM_WITH_ALIGNED
/* NULL also iff align is not a power of two. realloc keeps the alignment. */
void *hmm_heap_aligned_alloc(struct hmm_heap *heap, size_t align, size_t size) HMM_MALLOC_LIKE;
#endif

/* ---- The process heap: in a static array of HMM_PROCESS_HEAP_SIZE bytes ---- */

#if HMM_WITH_PROCESS
/* Makes it, at the first call, with this strategy; NULL is the one that is built in. Without it the
 * first allocation does. Returns 0; or -1 iff it is made already, or the array is too small. */
int hmm_init(const struct hmm_strategy *strategy);
struct hmm_heap *hmm_process_heap(void);
void *hmm_malloc(size_t size) HMM_MALLOC_LIKE;
void hmm_free(void *block);
size_t hmm_usable_size(const void *block);
#if HMM_WITH_CALLOC
void *hmm_calloc(size_t count, size_t size) HMM_MALLOC_LIKE;
#endif
#if HMM_WITH_REALLOC
void *hmm_realloc(void *block, size_t size) HMM_USE_RESULT;
#endif
#if HMM_WITH_ALIGNED
void *hmm_aligned_alloc(size_t align, size_t size) HMM_MALLOC_LIKE;
#endif
#endif

/* ---- Locks ---- */

#if HMM_WITH_LOCKS
/* enter(arg) is called before each operation on any heap and leave(arg) after it: a mutex of an
 * RTOS, or interrupts off and on. To be set before the first heap is used; NULL: nothing is called.
 * An operation calls them once, or twice one after the other; never one within the other. */
void hmm_set_lock(void (*enter)(void *arg), void (*leave)(void *arg), void *arg);
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
void hmm_set_trace(void (*event)(void *arg, const void *bytes, unsigned n), void *arg);
#endif

/* ---- Checks ---- */

#if HMM_WITH_CHECKS
/*
 * Each free and realloc looks at the pointer and the headers beside it: a double free, a pointer
 * that is no block's, a header that was overwritten. `handler` receives a line that describes it,
 * or "hmm: misuse" without HMM_WITH_MESSAGES. It should not return: the program then loops for
 * ever, as it does without a handler. The lock is held.
 */
void hmm_on_panic(void (*handler)(const char *line));

/* Looks at the whole heap. NULL, or a line that names what is broken. */
const char *hmm_heap_check(const struct hmm_heap *heap);
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

void hmm_heap_stats(const struct hmm_heap *heap, struct hmm_stats *stats);

/*
 * Bytes of the smallest free block below the highest in use, header and all; 0: there is none.
 * With best-fit exact, in the time of a malloc. With segregated likewise up to 64 granules, and of
 * larger ones a block of the smallest class, which is at most 1/32 larger. With first-fit and
 * next-fit exact, by a look at each block.
 */
size_t hmm_heap_smallest_free(const struct hmm_heap *heap);
#endif

#if HMM_WITH_WALK
struct hmm_block_info {
    void *payload;
    size_t size; /* whole block, its header in it: the next payload lies this far on */
    size_t usable;
    int used;
};

/* Visits all blocks, in address order. Ends early when visit returns non-zero. Returns what the
 * last visit returned, 0 where there was none. visit must not use the heap. */
int hmm_heap_walk(const struct hmm_heap *heap,
                  int (*visit)(void *arg, const struct hmm_block_info *), void *arg);
#endif

#ifdef __cplusplus
}
#endif
#endif
