/* SPDX-License-Identifier: MIT */
/*
 * The emergency pool: a small piece of memory beside the heap, for threads that must not wait for
 * the heap's lock (base/lock.h). Every function may be called by any thread at any time, from a
 * signal handler and during a fork too.
 *
 * The pool is used from its low end up. A block has a power of two of bytes; one atomic operation
 * allocates it. Freed blocks stay in lists for the next requests. A block of the heap that is freed
 * while the lock is unavailable is deferred: it stays in a list until a thread with the lock frees
 * it.
 */
#ifndef HMM_EMERGENCY_H
#define HMM_EMERGENCY_H

#include "heap/heap.h"

/* Once, before all others. The memory is of zeros; NULL: there is no pool. */
HMM__HIDDEN void hmm__emergency_set_up(char *memory, size_t size,
                                       const struct hmm__page_source *pages);

HMM__HIDDEN bool hmm__emergency_has(const void *block);

/* NULL with ENOMEM: the pool is used up. align is a power of two. */
HMM__HIDDEN HMM__COLD void *hmm__emergency_alloc(size_t align, size_t size);
HMM__HIDDEN HMM__COLD size_t hmm__emergency_usable(const void *block);

/* Frees a block of the pool. */
HMM__HIDDEN HMM__COLD void hmm__emergency_free(void *block);

/* In the child. */
HMM__HIDDEN HMM__COLD void hmm__emergency_after_fork(void);

/* Defers the free of a block of the heap; frees all deferred blocks, with the lock available. */
HMM__HIDDEN HMM__COLD void hmm__emergency_defer_free(void *block);
HMM__HIDDEN HMM__COLD void hmm__emergency_free_deferred(void (*free_one)(void *block));

#endif
