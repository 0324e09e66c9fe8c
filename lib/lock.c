/* SPDX-License-Identifier: MIT */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* syscall */
#endif
#include "lock.h"

#if defined(HMM__THREADS)

#include <limits.h>
#include <sched.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Turns of looking before sleeping: the heap's work is short. */
#define SPINS 100

__thread uint32_t hmm__thread_mark __attribute__((tls_model("initial-exec")));

#if defined(__linux__) && defined(SYS_futex)
/* The half of the word that has the bits. */
static uint32_t *futex_of(struct lock *l)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (uint32_t *)(void *)&l->word + (sizeof l->word / sizeof(uint32_t) - 1);
#else
    return (uint32_t *)(void *)&l->word;
#endif
}
#endif

static void sleep_while(struct lock *l, uintptr_t word)
{
#if defined(__linux__) && defined(SYS_futex)
    int code = errno;
    syscall(SYS_futex, futex_of(l), FUTEX_WAIT_PRIVATE, (uint32_t)word, NULL, NULL, 0);
    errno = code;
#else
    (void)l, (void)word;
    sched_yield();
#endif
}

static void wake(struct lock *l, int most)
{
#if defined(__linux__) && defined(SYS_futex)
    int code = errno;
    syscall(SYS_futex, futex_of(l), FUTEX_WAKE_PRIVATE, most, NULL, NULL, 0);
    errno = code;
#else
    (void)l, (void)most;
#endif
}

static bool change(struct lock *l, uintptr_t *from, uintptr_t to)
{
    return __atomic_compare_exchange_n(&l->word, from, to, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

/* Held, as word says. True: *hold is the answer. False: wait. */
static bool need_not_wait(struct lock *l, uintptr_t word, enum lock_hold *hold, bool even_fork)
{
    bool mine = (word & ~(uintptr_t)3) == lock_self();
    if (mine && (word & LOCK_FORK) && !l->within) {
        *hold = LOCK_NONE; /* another handler of the fork */
        return true;
    }
    *hold = LOCK_ASIDE;
    if (!__atomic_load_n(&l->aside, __ATOMIC_RELAXED))
        return false;
    if (mine) /* so that lock_give comes to look at what was left aside */
        __atomic_fetch_or(&l->word, LOCK_WAITED, __ATOMIC_RELAXED);
    return mine || ((word & LOCK_FORK) && !even_fork);
}

/* `even_fork`: waits for the end of another thread's fork too. */
static enum lock_hold wait_for(struct lock *l, bool even_fork)
{
    enum lock_hold hold;
    for (int i = 0;; i++) {
        uintptr_t word = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
        if (word == 0) {
            if (change(l, &word, lock_self() | (i < SPINS ? 0 : LOCK_WAITED)))
                return LOCK_TAKEN;
        } else if (need_not_wait(l, word, &hold, even_fork)) {
            return hold;
        } else if (i >= SPINS) {
            if ((word & LOCK_WAITED) || change(l, &word, word | LOCK_WAITED))
                sleep_while(l, word | LOCK_WAITED);
        }
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
}

enum lock_hold hmm__lock_wait(struct lock *l)
{
    return wait_for(l, false);
}

enum lock_hold hmm__lock_insist(struct lock *l)
{
    return wait_for(l, true);
}

void hmm__lock_wake(struct lock *l)
{
    wake(l, 1);
    if (l->given)
        l->given();
}

/*
 * A fork of a fork's handler is counted. One of a signal handler that interrupted the holder keeps
 * the lock, and the heap as it stands: it is this thread that will finish the work, in the child
 * too.
 */
void hmm__lock_before_fork(struct lock *l)
{
    uintptr_t word = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
    bool mine = (word & ~(uintptr_t)3) == lock_self();
    if (!mine && HMM__ONE_THREAD)
        return;
    if (!mine || l->forks == 0) {
        if (!mine)
            wait_for(l, true);
        l->within = mine;
        __atomic_store_n(&l->word, lock_self() | LOCK_FORK, __ATOMIC_RELEASE);
        wake(l, INT_MAX);
    }
    l->forks++;
}

bool hmm__lock_after_fork(struct lock *l)
{
    uintptr_t word = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
    if ((word & ~(uintptr_t)3) != lock_self() || !(word & LOCK_FORK) || --l->forks != 0)
        return false;
    bool within = l->within;
    l->within = false;
    __atomic_store_n(&l->word, within ? lock_self() | LOCK_WAITED : 0, __ATOMIC_RELEASE);
    wake(l, INT_MAX);
    return !within;
}

#endif
