/* SPDX-License-Identifier: MIT */
/*
 * Aside: a small supply beside the heap, for those who may not wait for its lock (lock.h). Every
 * function may be called by any thread at any time, also from a signal handler and while the
 * process is forking.
 *
 * The supply is taken from its low end up, in powers of two, by one atomic step each; what is freed
 * is kept in lists for the next. A block of the heap that is freed aside is kept in a
 * list until somebody frees it who may have the lock.
 */
#ifndef HMM_SIDE_H
#define HMM_SIDE_H

#include "heap/heap.h"

/* Once, before anything else: the memory, of zeros, and how to get at it. */
HMM__HIDDEN void hmm__emergency_set_up(char *memory, size_t size,
                                       const struct hmm__page_source *pages);

HMM__HIDDEN bool hmm__emergency_has(const void *block);

/* NULL and ENOMEM: it is used up. align is a power of two. */
HMM__HIDDEN HMM__COLD void *hmm__emergency_alloc(size_t align, size_t size);
HMM__HIDDEN HMM__COLD size_t hmm__emergency_usable(const void *block);

/* A block of here. */
HMM__HIDDEN HMM__COLD void hmm__emergency_free(void *block);

/* In the child. */
HMM__HIDDEN HMM__COLD void hmm__emergency_after_fork(void);

/* A block of the heap's, to be freed later; and, not aside, all those. */
HMM__HIDDEN HMM__COLD void hmm__emergency_defer_free(void *block);
HMM__HIDDEN HMM__COLD void hmm__emergency_free_deferred(void (*free_one)(void *block));

#endif
