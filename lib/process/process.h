/* SPDX-License-Identifier: MIT */
/*
 * The process heap, for the two that make it one: entry.c, which it is, and preload/, which gives
 * it the C library's names.
 */
#ifndef HMM_PROCESS_H
#define HMM_PROCESS_H

#include "process/env.h"
#include "base/lock.h"

/*
 * A heap can be wanted before a program is ready: inside the loader, where nothing may be loaded,
 * and before the environment is there. It is then made as far as can be, and the rest when the
 * program's constructors run. False: everything at the first use.
 */
extern HMM__HIDDEN const bool hmm__region_in_two_steps;

/* The second step: the environment if it was not there, plug-ins, reports. Returns how many values
 * of the environment were bad. */
HMM__HIDDEN int hmm__process_finish(void);

/* Gives back what the cache keeps for this thread. False: that is nothing. With the lock. */
HMM__HIDDEN bool hmm__process_trim(void);

/* The heap's lock, for work on hmm_process_heap() that has no door. */
HMM__HIDDEN enum lock_hold hmm__process_lock(void);
HMM__HIDDEN void hmm__process_unlock(enum lock_hold hold);

#endif
