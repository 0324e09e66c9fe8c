/* SPDX-License-Identifier: MIT */
/*
 * The thread cache of the calling thread, and what becomes of it when the thread ends or forks. Of
 * the process heap: the cache of an own heap has one thread cache. Includes lib/cache only.
 */
#ifndef HMM_CACHE_THREAD_H
#define HMM_CACHE_THREAD_H

#include "cache/cache.h"

#if HMM__CACHE

/* Of threads that have no thread cache yet: its free lists are empty, and it owns no run. */
extern HMM__HIDDEN struct thread_cache hmm__thread_cache_none;

/* Initial-exec: with other models the first access may allocate. It takes 8 bytes. */
#if defined(HMM__THREADS)
extern HMM__HIDDEN __thread struct thread_cache *hmm__thread_cache_mine
    __attribute__((tls_model("initial-exec")));

/* Of threads that have ended, while their other destructors still run. */
extern HMM__HIDDEN struct thread_cache hmm__thread_cache_ended;
#else
extern HMM__HIDDEN struct thread_cache *hmm__thread_cache_mine;
#endif

HMM__ALWAYS_INLINE struct thread_cache *thread_cache_mine(void)
{
    return hmm__thread_cache_mine;
}

/* Attaches a thread cache to this thread. NULL: the thread has ended, or there is no memory, or the
 * lock is not available. */
HMM__HIDDEN HMM__COLD struct thread_cache *hmm__thread_cache_attach(struct cache *cache);

/* The calling thread abandons its thread cache, and gets no other. */
HMM__HIDDEN HMM__COLD void hmm__thread_cache_leave(void);

/* Lets hmm notice the ends of threads. Before any thread has a thread cache. */
HMM__HIDDEN HMM__COLD void hmm__thread_caches_notice_ends(void);

/* Orphans the thread caches of the other threads. In the child of a fork, with the lock. */
HMM__HIDDEN HMM__COLD void hmm__thread_caches_after_fork(struct cache *cache);

#endif
#endif
