/* SPDX-License-Identifier: MIT */
/*
 * The lock's slow path: waiting, forks, and holders that are gone. lock.h has the theory. Calls the
 * operating system only.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* syscall */
#endif
#include "base/lock.h"

#if defined(HMM__THREADS)

#include <limits.h>
#include <sched.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#include <unistd.h>

/* Attempts before sleeping: the heap's work is short. */
#define SPINS 100

/* How many times a waiting thread yields to the holder of a brief lock before it assumes that the
 * holder does not run. */
#define BRIEF_TURNS 1000

/* After so many waits of FORK_PATIENCE with the same holder, the holder is assumed not to exist any
 * more. There are many
 * because of vfork: its child has a number of its own but its parent's memory, where the holder
 * exists. */
#define GONE_TURNS 1000

/* Nanoseconds to wait for the end of a fork before the emergency pool is used. Most forks are
 * shorter, and the pool is for the few threads that the fork itself waits for. */
#define FORK_PATIENCE 1000000

__thread uint32_t hmm__thread_mark __attribute__((tls_model("initial-exec")));

/* The kernel's interface without the kernel's headers, which not every C library comes with. The
 * time has the layout of this system call, not of the C library's struct timespec: on 32 bits that
 * may be the one of SYS_futex_time64. The newest 32-bit systems have this call only. */
#if defined(__linux__) && defined(SYS_futex)
#define LOCK_SYS_FUTEX SYS_futex
#if defined(__x86_64__)
typedef int64_t lock_time;
#else
typedef long lock_time;
#endif
#elif defined(__linux__) && defined(SYS_futex_time64)
#define LOCK_SYS_FUTEX SYS_futex_time64
typedef int64_t lock_time;
#endif

#if defined(LOCK_SYS_FUTEX)
enum { LOCK_FUTEX_WAIT = 0 | 128, LOCK_FUTEX_WAKE = 1 | 128 }; /* 128: private to the process */

/* The half of the word that has WAITED and FORK. */
static uint32_t *futex_of(struct lock *l)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (uint32_t *)(void *)&l->word + (sizeof l->word / sizeof(uint32_t) - 1);
#else
    return (uint32_t *)(void *)&l->word;
#endif
}
#endif

/* Sleeps while the word is `word`; without `patiently` at most FORK_PATIENCE. */
static void sleep_while(struct lock *l, uintptr_t word, bool patiently)
{
#if defined(LOCK_SYS_FUTEX)
    static const lock_time patience[2] = {0, FORK_PATIENCE}; /* seconds, nanoseconds */
    int code = errno;
    syscall(LOCK_SYS_FUTEX, futex_of(l), LOCK_FUTEX_WAIT, (uint32_t)word,
            patiently ? NULL : patience, NULL, 0);
    errno = code;
#else
    (void)l, (void)word, (void)patiently;
    sched_yield();
#endif
}

static void wake(struct lock *l, int max)
{
#if defined(LOCK_SYS_FUTEX)
    int code = errno;
    syscall(LOCK_SYS_FUTEX, futex_of(l), LOCK_FUTEX_WAKE, max, NULL, NULL, 0);
    errno = code;
#else
    (void)l, (void)max;
#endif
}

static bool change(struct lock *l, uintptr_t *from, uintptr_t to)
{
    return __atomic_compare_exchange_n(&l->word, from, to, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

enum standing {
    STANDING_OTHERS, /* another thread holds the lock */
    STANDING_FORK,   /* another thread, over a fork, and there is an emergency pool */
    STANDING_MINE,   /* this thread, over a fork, in another fork handler */
    STANDING_WITHIN  /* this thread, before a signal handler or a panic's interrupted it */
};

static enum standing standing(struct lock *l, uintptr_t word)
{
    bool mine = (word & ~(uintptr_t)3) == lock_self();
    if (mine && (word & LOCK_FORK) && !l->within)
        return STANDING_MINE;
    if (mine)
        return STANDING_WITHIN;
    bool has_emergency_pool = __atomic_load_n(&l->has_emergency_pool, __ATOMIC_RELAXED);
    return has_emergency_pool && (word & LOCK_FORK) ? STANDING_FORK : STANDING_OTHERS;
}

static void sleep_for(struct lock *l, uintptr_t word, bool patiently)
{
    if ((word & LOCK_WAITED) || change(l, &word, word | LOCK_WAITED))
        sleep_while(l, word | LOCK_WAITED, patiently);
}

/* Whether this process is a copy of another one, whose thread may be the holder. */
static bool is_copy(const struct lock *l)
{
    long process = __atomic_load_n(&l->process, __ATOMIC_RELAXED);
    return process != 0 && process != (long)getpid();
}

static bool take_over(struct lock *l, uintptr_t word)
{
    if (!change(l, &word, lock_self() | LOCK_WAITED))
        return false;
    hmm__lock_set_process(l);
    l->forks = 0;
    l->within = false;
    return true;
}

void hmm__lock_set_process(struct lock *l)
{
    __atomic_store_n(&l->process, (long)getpid(), __ATOMIC_RELAXED);
}

/* If another thread holds the lock, hmm__lock_before_fork did not run before the fork. */
void hmm__lock_in_child(struct lock *l)
{
    uintptr_t word = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
    hmm__lock_set_process(l);
    if (word == 0 || (word & ~(uintptr_t)3) == lock_self())
        return;
    l->forks = 0;
    l->within = false;
    __atomic_store_n(&l->word, 0, __ATOMIC_RELEASE);
}

/* `blocking`: waits for the end of another thread's fork too. */
static enum lock_hold wait_for(struct lock *l, bool blocking)
{
    bool tired = false, copy = false;
    uintptr_t holder = 0;
    for (int i = 0, turns = 0;; i++) {
        uintptr_t word = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
        if (word == 0) {
            if (change(l, &word, lock_self() | (i < SPINS ? 0 : LOCK_WAITED)))
                return LOCK_ACQUIRED;
            continue;
        }
        enum standing now = standing(l, word);
        if (now == STANDING_MINE)
            return LOCK_NONE;
        if (now == STANDING_WITHIN) { /* the release is to free what will be deferred */
            __atomic_fetch_or(&l->word, LOCK_WAITED, __ATOMIC_RELAXED);
            return LOCK_UNAVAILABLE;
        }
        if (now == STANDING_FORK && tired && !blocking)
            return LOCK_UNAVAILABLE;
        if (i >= SPINS) {
            copy = copy || is_copy(l);
            turns = copy && (word | LOCK_WAITED) == holder ? turns + 1 : 0;
            holder = word | LOCK_WAITED;
            if (turns >= GONE_TURNS && take_over(l, word))
                return LOCK_ACQUIRED;
            sleep_for(l, word, !copy && (blocking || now != STANDING_FORK));
            tired = now == STANDING_FORK;
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

enum lock_hold hmm__lock_acquire_blocking(struct lock *l)
{
    return wait_for(l, true);
}

bool hmm__brief_lock(uint32_t *word)
{
    for (int i = 0; i < SPINS * BRIEF_TURNS; i++) {
        if (brief_lock_try(word))
            return true;
        if (i % SPINS == SPINS - 1)
            sched_yield();
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
    return false;
}

void hmm__lock_wake(struct lock *l)
{
    wake(l, 1);
    if (l->released)
        l->released();
}

/*
 * A fork by a fork handler is counted. A fork by a signal handler that interrupted the holder keeps
 * the lock, and the heap in the middle of an operation: this thread finishes the operation, in the
 * child too.
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
