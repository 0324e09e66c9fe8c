/* SPDX-License-Identifier: MIT */
/*
 * Which keeper is this thread's: what the process heap has to know of threads to have a front.
 */
#ifndef HMM_FRONT_THREAD_H
#define HMM_FRONT_THREAD_H

#include "cache/cache.h"

#if HMM__CACHE

/* For threads that have none: its chains are empty, and it owns no run. */
extern HMM__HIDDEN struct thread_cache hmm__thread_cache_none;

/* Initial-exec: no other model is sure not to allocate. 8 bytes are all that it takes. */
#if defined(HMM__THREADS)
extern HMM__HIDDEN __thread struct thread_cache *hmm__thread_cache_mine
    __attribute__((tls_model("initial-exec")));

/* For threads that have ended, but for what other destructors do. */
extern HMM__HIDDEN struct thread_cache hmm__thread_cache_ended;
#else
extern HMM__HIDDEN struct thread_cache *hmm__thread_cache_mine;
#endif

HMM__ALWAYS_INLINE struct thread_cache *thread_cache_mine(void)
{
    return hmm__thread_cache_mine;
}

/* A keeper for this thread. NULL: not now, or not any more. */
HMM__HIDDEN HMM__COLD struct thread_cache *hmm__thread_cache_attach(struct cache *cache);

/* From now on the end of a thread is seen. Before the heap is there for all. */
HMM__HIDDEN HMM__COLD void hmm__thread_caches_watch_ends(void);

/* In the child, with the lock. */
HMM__HIDDEN HMM__COLD void hmm__thread_caches_after_fork(struct cache *cache);

#endif
#endif
