/* SPDX-License-Identifier: MIT */
/*
 * The process heap's lock: one word. It compiles away where there are no threads (freestanding, or
 * HMM_NO_THREADS). While the program has a single thread it costs one test, where the C library
 * tells. It allocates nothing, and needs nothing to be set up. Includes lib/base only.
 *
 * The word is 0, or identifies the holder: the address of a thread-local variable, and two bits.
 * WAITED: a thread sleeps until the lock is released. FORK: the lock is held over a fork, so that
 * the child finds the heap between two operations.
 *
 * A thread that forks holds the lock until the fork is over, and meanwhile waits for locks of the C
 * library (stdio's, the name service's). The threads that hold those may request memory: if they
 * waited for this lock, there would be a deadlock. So no thread waits for a lock that is held over
 * a fork: it gets LOCK_UNAVAILABLE and uses the emergency pool (process/emergency.h), if there is
 * one. The same holds for a handler of a signal or of a panic that has interrupted the holder
 * itself: it would wait for ever. Without an emergency pool its requests fail.
 */
#ifndef HMM_LOCK_H
#define HMM_LOCK_H

#include "base/assert.h"
#include "base/compiler.h"

struct lock {
    uintptr_t word;
    bool has_emergency_pool; /* atomic */
    void (*released)(void);  /* called after a release for which a thread waited; NULL: none */
    bool within;             /* the fork is one of a signal handler that interrupted the holder */
    long process;            /* the number of the process, once it is known; atomic */
    unsigned forks;          /* how deep forks are nested */
};

enum lock_hold {
    LOCK_NONE,       /* not needed: a single thread, or this thread holds it already */
    LOCK_ACQUIRED,   /* to be released */
    LOCK_UNAVAILABLE /* not held, and not to be waited for */
};

#if !HMM_HOSTED || defined(HMM_NO_THREADS) || !HMM_WITH_LOCKS || HMM__SMALL ||                     \
    !defined(__GNUC__) || !(defined(__unix__) || defined(__APPLE__))

static inline bool lock_is_idle(void)
{
    return true;
}

static inline bool lock_is_held(const struct lock *l)
{
    (void)l;
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

static inline bool brief_lock_try(uint32_t *word)
{
    (void)word;
    return true;
}

static inline bool hmm__brief_lock(uint32_t *word)
{
    (void)word;
    return true;
}

static inline void brief_unlock(uint32_t *word)
{
    (void)word;
}

#else

#define HMM__THREADS 1

/* Nested, since other C libraries may not have the second macro. */
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

/* Its address identifies the thread. Its bits say what the thread is doing: registering fork
 * handlers (process/fork.c), ending the program (panic.c). Initial-exec: with other models the
 * first access may allocate. */
extern HMM__HIDDEN __thread uint32_t hmm__thread_mark __attribute__((tls_model("initial-exec")));

HMM__ALWAYS_INLINE uintptr_t lock_self(void)
{
    return (uintptr_t)&hmm__thread_mark;
}

/* lock.c */
HMM__HIDDEN HMM__COLD enum lock_hold hmm__lock_wait(struct lock *l);
HMM__HIDDEN HMM__COLD void hmm__lock_wake(struct lock *l);

/* Waits for a lock that is held over a fork too. LOCK_UNAVAILABLE iff that would be for ever. */
HMM__HIDDEN HMM__COLD enum lock_hold hmm__lock_acquire_blocking(struct lock *l);

/* Before and after a fork, by the thread that forks. */
HMM__HIDDEN HMM__COLD void hmm__lock_before_fork(struct lock *l);
/* False: this thread still holds the lock, or never did. */
HMM__HIDDEN HMM__COLD bool hmm__lock_after_fork(struct lock *l);

/* Records this process's number when the lock is first used. In a child of a fork that ran no
 * handlers the number differs, and the holder may not exist: there a thread that has waited long
 * takes the lock over. */
HMM__HIDDEN HMM__COLD void hmm__lock_set_process(struct lock *l);

/* In the child of a fork, while it has one thread: releases what another thread of the parent
 * held. */
HMM__HIDDEN HMM__COLD void hmm__lock_in_child(struct lock *l);

/* Whether there is one thread, which needs no lock. */
HMM__ALWAYS_INLINE bool lock_is_idle(void)
{
    return HMM__ONE_THREAD;
}

/* Whether the calling thread holds the lock, or needs none since it is the only one. For
 * assertions. */
HMM__ALWAYS_INLINE bool lock_is_held(const struct lock *l)
{
    return HMM__ONE_THREAD ||
           (__atomic_load_n(&l->word, __ATOMIC_RELAXED) & ~(uintptr_t)3) == lock_self();
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
    HMM_ASSERT(hold != LOCK_ACQUIRED || lock_is_held(l));
    if (hold == LOCK_ACQUIRED &&
        hmm__unlikely(__atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) & LOCK_WAITED))
        hmm__lock_wake(l);
}

/*
 * A lock of one word for what takes a few instructions: mostly of one thread, which tries to get
 * it and does without where it cannot; others wait a little. Who holds it calls nothing that may
 * wait.
 */
HMM__ALWAYS_INLINE bool brief_lock_try(uint32_t *word)
{
    uint32_t free_word = 0;
    if (HMM__ONE_THREAD) { /* a handler may have interrupted the holder */
        if (hmm__unlikely(*word != 0))
            return false;
        __atomic_store_n(word, 1, __ATOMIC_RELAXED);
        return true;
    }
    return __atomic_compare_exchange_n(word, &free_word, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

HMM__ALWAYS_INLINE void brief_unlock(uint32_t *word)
{
    __atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

/* False: it is held for longer than a thread can take that runs, or that waits its turn. */
HMM__HIDDEN HMM__COLD bool hmm__brief_lock(uint32_t *word);

#endif
#endif
