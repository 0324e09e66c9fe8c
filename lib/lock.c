/* SPDX-License-Identifier: MIT */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* syscall */
#endif
#include "lock.h"

#if HMM_HOSTED && !defined(HMM_NO_THREADS) && defined(__GNUC__)

#include <sched.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Turns of looking before sleeping: the heap's work is short. */
#define SPINS 100

static void sleep_while_waited_for(struct lock *l)
{
#if defined(__linux__) && defined(SYS_futex)
    int code = errno;
    syscall(SYS_futex, &l->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
    errno = code;
#else
    (void)l;
    sched_yield();
#endif
}

void hmm__lock_wait(struct lock *l)
{
    for (int i = 0; i < SPINS; i++) {
        int free_word = 0;
        if (__atomic_load_n(&l->word, __ATOMIC_RELAXED) == 0 &&
            __atomic_compare_exchange_n(&l->word, &free_word, 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return;
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
    while (__atomic_exchange_n(&l->word, 2, __ATOMIC_ACQUIRE) != 0)
        sleep_while_waited_for(l);
}

void hmm__lock_wake(struct lock *l)
{
#if defined(__linux__) && defined(SYS_futex)
    int code = errno;
    syscall(SYS_futex, &l->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = code;
#else
    (void)l;
#endif
}

#endif
