/* SPDX-License-Identifier: MIT */
/*
 * Which keeper is this thread's: what the process heap has to know of threads to have a front.
 */
#ifndef HMM_FRONT_THREAD_H
#define HMM_FRONT_THREAD_H

#include "front.h"

#if HMM__FRONT

/* For threads that have none: its chains are empty, and it owns no run. */
extern HMM__HIDDEN struct keeper hmm__keeper_none;

/* Initial-exec: no other model is sure not to allocate. 8 bytes are all that it takes. */
#if defined(HMM__THREADS)
extern HMM__HIDDEN __thread struct keeper *hmm__keeper_mine
    __attribute__((tls_model("initial-exec")));

/* For threads that have ended, but for what other destructors do. */
extern HMM__HIDDEN struct keeper hmm__keeper_gone;
#else
extern HMM__HIDDEN struct keeper *hmm__keeper_mine;
#endif

HMM__ALWAYS_INLINE struct keeper *keeper_mine(void)
{
    return hmm__keeper_mine;
}

/* A keeper for this thread. NULL: not now, or not any more. */
HMM__HIDDEN HMM__COLD struct keeper *hmm__keeper_attach(struct front *f);

/* From now on the end of a thread is seen. Before the heap is there for all. */
HMM__HIDDEN HMM__COLD void hmm__keepers_watch_threads(void);

/* In the child, with the lock. */
HMM__HIDDEN HMM__COLD void hmm__keepers_after_fork(struct front *f);

#endif
#endif
