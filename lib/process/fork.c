/* SPDX-License-Identifier: MIT */
/*
 * The process heap over a fork: the lock is held while it happens, so that the child finds the heap
 * whole.
 */
#include "process/process.h"

#include "process/emergency.h"
#include "process/process_cache.h"

#if defined(HMM__THREADS) && (defined(__unix__) || defined(__APPLE__))
#include <pthread.h>
#include <unistd.h>
#define HMM__FORKS 1
#endif

#if defined(HMM__FORKS)
static void before_fork(void)
{
    hmm__lock_before_fork(&hmm__process.lock);
}

static void after_fork(void)
{
    if (hmm__lock_after_fork(&hmm__process.lock))
        hmm__process_free_deferred();
}

static void after_fork_in_child(void)
{
    hmm__lock_in_child(&hmm__process.lock);
    hmm__emergency_after_fork();
    thread_caches_after_fork();
    after_fork();
}
#endif

/*
 * Before there is a heap: no other thread is to see one whose lock a fork does not take. For ever:
 * fork has no handler for less. pthread_atfork may allocate, and the program's malloc may be ours:
 * that call goes on, sets the heap up and is served. Threads do not wait for each other here, since
 * in the child of a fork the other may not be there any more; handlers that are registered twice do
 * no harm (lock.c counts).
 */
void hmm__process_watch_forks(void)
{
#if defined(HMM__FORKS) && defined(HMM__THREADS)
    static bool watched;
    if (__atomic_load_n(&watched, __ATOMIC_ACQUIRE) || (hmm__thread_mark & MARK_REGISTERS))
        return;
    hmm__thread_mark |= MARK_REGISTERS;
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
    hmm__thread_mark &= ~(uint32_t)MARK_REGISTERS;
    __atomic_store_n(&watched, true, __ATOMIC_RELEASE);
#endif
}

#if defined(HMM__FORKS)
/* At best before there are threads: a C library may find that there are no handlers, and be about
 * to fork, while the first use registers them. */
static __attribute__((constructor)) void watch_forks_early(void)
{
    hmm__process_watch_forks();
}
#endif
