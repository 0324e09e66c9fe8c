/* SPDX-License-Identifier: MIT */
/*
 * The process heap's lock: one word. It compiles away where there are no threads (freestanding, or
 * HMM_NO_THREADS), and costs one look while the program has a single thread, where the C library
 * says so. It allocates nothing and may be the first thing a program does.
 *
 * 0 free, 1 taken, 2 taken and waited for (Drepper 2011, "Futexes are tricky", the second mutex).
 */
#ifndef HMM_LOCK_H
#define HMM_LOCK_H

#include "heap.h"

#if !HMM_HOSTED || defined(HMM_NO_THREADS) || !defined(__GNUC__)

struct lock {
    int word;
};

static inline bool lock_take(struct lock *l)
{
    (void)l;
    return false;
}

static inline void lock_give(struct lock *l, bool taken)
{
    (void)l, (void)taken;
}

#else

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
#include <sys/single_threaded.h>
#define HMM__ONE_THREAD (__libc_single_threaded != 0)
#else
#define HMM__ONE_THREAD 0
#endif

struct lock {
    int word;
};

/* lock.c: waits */
HMM__HIDDEN HMM__COLD void hmm__lock_wait(struct lock *l);
HMM__HIDDEN HMM__COLD void hmm__lock_wake(struct lock *l);

/* Returns whether the lock was really taken; to be handed to lock_give. */
static inline bool lock_take(struct lock *l)
{
    int free_word = 0;
    if (HMM__ONE_THREAD)
        return false;
    if (!__atomic_compare_exchange_n(&l->word, &free_word, 1, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        hmm__lock_wait(l);
    return true;
}

static inline void lock_give(struct lock *l, bool taken)
{
    if (taken && __atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) == 2)
        hmm__lock_wake(l);
}

#endif
#endif
