/* SPDX-License-Identifier: MIT */
/*
 * The process heap over a fork. The forking thread holds the lock meanwhile, so that the child
 * finds the heap between two operations. Calls lib/base, emergency.c and the cache.
 */
#include "process/process.h"

#include "process/emergency.h"
#include "process/process_cache.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

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
 * Called before there is a heap, so that no thread uses a heap whose lock a fork does not acquire.
 * Handlers of fork cannot be removed. pthread_atfork may allocate by a malloc that is hmm's: that
 * inner call sees MARK_REGISTERS, goes on, and sets the heap up. Threads do not wait for each other
 * here, since in the child of a fork the other thread may not exist; handlers that are registered
 * twice do no harm, since lock.c counts.
 */
void hmm__process_handle_forks(void)
{
#if defined(HMM__FORKS) && defined(HMM__THREADS)
    static bool registered;
    if (__atomic_load_n(&registered, __ATOMIC_ACQUIRE) || (hmm__thread_mark & MARK_REGISTERS))
        return;
    hmm__thread_mark |= MARK_REGISTERS;
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
    hmm__thread_mark &= ~(uint32_t)MARK_REGISTERS;
    __atomic_store_n(&registered, true, __ATOMIC_RELEASE);
#endif
}

#if defined(HMM__FORKS)
/* Preferably before there are threads: a C library in the middle of a fork may already have found
 * that there are no handlers when the first use registers them. */
static __attribute__((constructor)) void handle_forks_early(void)
{
    hmm__process_handle_forks();
}
#endif

#endif
