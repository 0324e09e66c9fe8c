/* SPDX-License-Identifier: MIT */
/*
 * The process heap's lock: one word. It compiles away where there are no threads (freestanding, or
 * HMM_NO_THREADS), and costs one look while the program has a single thread, where the C library
 * says so. It allocates nothing and may be the first thing a program does.
 *
 * The word is 0, or says who holds it: the address of a variable of the thread's own, and two bits.
 * WAITED: somebody sleeps until it is given. FORK: it is held over a fork, at whose end the child
 * finds the heap whole.
 *
 * Who holds it over a fork then waits for locks of the C library's (stdio's, the name service's),
 * whose holders may want memory: they must not wait in their turn. So nobody waits for a lock held
 * over a fork, but is sent aside (emergency.h), if there is a side. The same is done with a
 * handler, of a signal or of a panic, that interrupted the holder itself, and would wait for ever:
 * where there is no side its requests are refused.
 */
#ifndef HMM_LOCK_H
#define HMM_LOCK_H

#include "base/compiler.h"

struct lock {
    uintptr_t word;
    bool has_emergency_pool; /* there is a side to be sent to; atomic */
    void (*released)(void);  /* called without the lock, when it was waited for; NULL: nothing */
    bool within;             /* the fork is one of a signal handler that interrupted the holder */
    long process;            /* the process's number, once it is known; atomic */
    unsigned forks;
};

enum lock_hold {
    LOCK_NONE,       /* nothing to give back: a single thread, or held already */
    LOCK_ACQUIRED,   /* to be given back */
    LOCK_UNAVAILABLE /* not held: go aside */
};

#if !HMM_HOSTED || defined(HMM_NO_THREADS) || !defined(__GNUC__) ||                                \
    !(defined(__unix__) || defined(__APPLE__))

static inline bool lock_is_idle(void)
{
    return true;
}

static inline enum lock_hold lock_acquire(struct lock *l)
{
    (void)l;
    return LOCK_NONE;
}

static inline void lock_release(struct lock *l, enum lock_hold hold)
{
    (void)l, (void)hold;
}

static inline enum lock_hold hmm__lock_acquire_blocking(struct lock *l)
{
    return lock_acquire(l);
}

static inline void hmm__lock_set_process(struct lock *l)
{
    (void)l;
}

static inline void hmm__lock_in_child(struct lock *l)
{
    (void)l;
}

#else

#define HMM__THREADS 1

/* Nested: another C library need not know the second macro. */
#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 32)
#include <sys/single_threaded.h>
#define HMM__ONE_THREAD (__libc_single_threaded != 0)
#endif
#endif
#if !defined(HMM__ONE_THREAD)
#define HMM__ONE_THREAD 0
#endif

enum { LOCK_WAITED = 1, LOCK_FORK = 2 };

enum { MARK_REGISTERS = 1, MARK_PANICS = 2 };

/* Its address tells the thread; its bits what the thread is at: registering handlers (entry.c),
 * ending the program (panic.c). Initial-exec: no other model is sure not to allocate. */
extern HMM__HIDDEN __thread uint32_t hmm__thread_mark __attribute__((tls_model("initial-exec")));

HMM__ALWAYS_INLINE uintptr_t lock_self(void)
{
    return (uintptr_t)&hmm__thread_mark;
}

/* lock.c */
HMM__HIDDEN HMM__COLD enum lock_hold hmm__lock_wait(struct lock *l);
HMM__HIDDEN HMM__COLD void hmm__lock_wake(struct lock *l);

/* For who was sent aside and cannot do with it: waits all the same. LOCK_UNAVAILABLE again iff that
 * would be for ever. */
HMM__HIDDEN HMM__COLD enum lock_hold hmm__lock_acquire_blocking(struct lock *l);

/* Before and after a fork, by the thread that forks. */
HMM__HIDDEN HMM__COLD void hmm__lock_before_fork(struct lock *l);
/* False: the heap is still in somebody's work, of this thread's. */
HMM__HIDDEN HMM__COLD bool hmm__lock_after_fork(struct lock *l);

/* By whoever begins with the lock in this process. In a child without such a beginning, since the
 * fork ran no handlers, the holder may not be there: then a thread that has waited long takes the
 * lock from it. */
HMM__HIDDEN HMM__COLD void hmm__lock_set_process(struct lock *l);

/* The same in a child of fork's, before it has other threads. */
HMM__HIDDEN HMM__COLD void hmm__lock_in_child(struct lock *l);

/* lock_acquire would return LOCK_NONE at once. */
HMM__ALWAYS_INLINE bool lock_is_idle(void)
{
    return HMM__ONE_THREAD;
}

HMM__ALWAYS_INLINE enum lock_hold lock_acquire(struct lock *l)
{
    uintptr_t free_word = 0;
    if (HMM__ONE_THREAD)
        return LOCK_NONE;
    if (hmm__likely(__atomic_compare_exchange_n(&l->word, &free_word, lock_self(), false,
                                                __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
        return LOCK_ACQUIRED;
    return hmm__lock_wait(l);
}

HMM__ALWAYS_INLINE void lock_release(struct lock *l, enum lock_hold hold)
{
    if (hold == LOCK_ACQUIRED &&
        hmm__unlikely(__atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) & LOCK_WAITED))
        hmm__lock_wake(l);
}

#endif
#endif
