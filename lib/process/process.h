/* SPDX-License-Identifier: MIT */
/*
 * The process heap: one heap, made on first use, behind a lock. This header is for lib/process and
 * for preload/, which gives the process heap the C library's names.
 */
#ifndef HMM_PROCESS_H
#define HMM_PROCESS_H

#include "base/lock.h"
#include "heap/heap.h"

#if !HMM__SMALL

struct process_heap {
    struct hmm_heap *heap; /* NULL: not made yet; atomic */
    struct lock lock;
    uint32_t until_tick; /* calls that have the lock, until the clock is read */
    struct hmm__ticker ticker;
    size_t region_bytes; /* the whole region, blocks or not */
};

/* process.c */
extern HMM__HIDDEN struct process_heap hmm__process;

/* Makes the process heap if there is none. Ends the program if there is no memory for it. */
HMM__HIDDEN HMM__COLD struct hmm_heap *hmm__process_first_use(void);

HMM__ALWAYS_INLINE struct hmm_heap *the_heap(void)
{
    struct hmm_heap *h = __atomic_load_n(&hmm__process.heap, __ATOMIC_ACQUIRE);
    return hmm__likely(h != NULL) ? h : hmm__process_first_use();
}

HMM__ALWAYS_INLINE bool in_region(const struct hmm_heap *h, const void *p)
{
    return (uintptr_t)p - (uintptr_t)h < hmm__process.region_bytes;
}

/* The second step of setting up: the environment, if there was none before, plug-ins, reports.
 * Returns the number of bad values in the environment. */
HMM__HIDDEN int hmm__process_finish(void);

/* As hmm_heap_stats, but in constant time: of small blocks what the cache has of the heap counts as
 * in use, whether it is or not. With the lock. */
HMM__HIDDEN void hmm__process_stats(struct hmm_stats *stats);

/* Returns to the heap what the cache has for this thread. False: nothing. With the lock. */
HMM__HIDDEN bool hmm__process_trim(void);

/* After some frees that take the lock, fewer while there is much to give back or while frees are
 * rare, the clock is read and pages are given back that are not needed. With the lock, and before
 * the free. */
HMM__HIDDEN HMM__COLD void hmm__process_tick(struct hmm_heap *h);

/* The lock, for operations on hmm_process_heap() that have no entry point. */
HMM__HIDDEN enum lock_hold hmm__process_lock(void);
HMM__HIDDEN void hmm__process_unlock(enum lock_hold hold);

/* fork.c: lets every fork acquire the lock. Before a second thread can use the heap. */
HMM__HIDDEN void hmm__process_handle_forks(void);

/* Frees the deferred blocks. */
HMM__HIDDEN void hmm__process_free_deferred(void);

/* foreign.c: pointers outside the region */

/* Whether foreign pointers are ignored; else they end the program. */
HMM__HIDDEN void hmm__foreign_set_ignored(bool ignored);

/* Ends the program, or says that the pointer is ignored. */
HMM__HIDDEN HMM__COLD void hmm__foreign_report(struct hmm_heap *h, const void *p,
                                               const char *operation);

/* hmm_heap.foreign: frees p if it is of the emergency pool, else reports it. False: p is in the
 * heap's region. */
HMM__HIDDEN bool hmm__foreign_free(struct hmm_heap *h, void *p, const char *operation);

/* unlocked.c: the entry points while the lock is unavailable: in a signal handler that interrupted
 * the lock's holder, or while another thread forks. */
HMM__HIDDEN HMM__COLD void *hmm__unlocked_malloc(struct hmm_heap *h, size_t size);
HMM__HIDDEN HMM__COLD void *hmm__unlocked_calloc(struct hmm_heap *h, size_t count, size_t size);
HMM__HIDDEN HMM__COLD void *hmm__unlocked_aligned_alloc(struct hmm_heap *h, size_t align,
                                                        size_t size);
HMM__HIDDEN HMM__COLD void *hmm__unlocked_realloc(struct hmm_heap *h, void *block, size_t size);
/* The alignment that realloc of this block must keep. */
HMM__HIDDEN HMM__COLD size_t hmm__unlocked_alignment(const struct hmm_heap *h, void *block);
HMM__HIDDEN HMM__COLD void hmm__unlocked_free(struct hmm_heap *h, void *block);

/* realloc of a pointer outside the region: a block of the emergency pool goes to the heap if it
 * must grow. */
HMM__HIDDEN HMM__COLD void *hmm__foreign_realloc(struct hmm_heap *h, void *block, size_t size);

#endif
#endif
