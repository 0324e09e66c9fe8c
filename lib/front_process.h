/* SPDX-License-Identifier: MIT */
/*
 * The process heap's front: its doors find here what there is to try before the heap itself, and
 * nothing where it was left out of the build.
 */
#ifndef HMM_FRONT_PROCESS_H
#define HMM_FRONT_PROCESS_H

#include "front_hit.h"
#include "front_kept.h"
#include "front_thread.h"

#if HMM__FRONT

/* front_thread.c */
extern HMM__HIDDEN struct front hmm__process_front;

/* ---- Without the lock ---- */

HMM__ALWAYS_INLINE void *malloc_hit(size_t size)
{
    return front_malloc_hit(keeper_mine(), size);
}

/* The chain is empty. size <= FRONT_MOST. */
HMM__ALWAYS_INLINE void *malloc_from_run(size_t size)
{
    struct keeper *k = keeper_mine();
    if (hmm__process_front.table == NULL)
        return NULL;
    if (hmm__unlikely(k->front == NULL))
        k = hmm__keeper_attach(&hmm__process_front);
    return k ? hmm__front_refill(k, size) : NULL;
}

HMM__ALWAYS_INLINE void *realloc_hit(void *block, size_t size)
{
    return front_realloc_hit(&hmm__process_front, keeper_mine(), block, size);
}

HMM__ALWAYS_INLINE bool free_hit(void *block)
{
    return front_free_hit(&hmm__process_front, keeper_mine(), block);
}

/* False: it is in no run. */
HMM__ALWAYS_INLINE bool free_in_run(void *block)
{
    struct run *d = front_run_of(&hmm__process_front, block);
    if (d != NULL)
        hmm__front_free_foreign(&hmm__process_front, keeper_mine(), d, block);
    return d != NULL;
}

/* Bytes of the object; 0: it is none. */
HMM__ALWAYS_INLINE size_t usable_in_run(const void *block, const char *verb)
{
    return hmm__front_usable(&hmm__process_front, block, verb);
}

HMM__ALWAYS_INLINE void watch_threads(void)
{
    hmm__keepers_watch_threads();
}

/* ---- With the lock ---- */

HMM__ALWAYS_INLINE void open_front(struct hmm_heap *h, struct lock *lock)
{
    hmm_ref limit = h->limit, high_limit = h->high_limit;
    if (hmm__front_open(&hmm__process_front, h, lock))
        h->front = &hmm__process_front;
    else
        hmm__high_raise(h, limit, high_limit);
}

HMM__ALWAYS_INLINE void *take_kept(size_t size)
{
    return kept_take(&hmm__process_front, size);
}

HMM__ALWAYS_INLINE bool keep(void *block)
{
    return hmm__process_front.open && kept_put(&hmm__process_front, block);
}

/* What is kept for this thread is given back. False: it is nothing. */
HMM__ALWAYS_INLINE bool trim_front(void)
{
    struct keeper *k = keeper_mine();
    return k->front ? hmm__front_trim(k) : hmm__kept_empty(&hmm__process_front);
}

/* The same when a request has failed: whether it is to be made again. */
HMM__ALWAYS_INLINE bool front_try_again(void)
{
    struct keeper *k = keeper_mine();
    return hmm__front_try_again(&hmm__process_front, k->front ? k : NULL);
}

HMM__ALWAYS_INLINE void keepers_after_fork(void)
{
    hmm__keepers_after_fork(&hmm__process_front);
}

#else

#define FRONT_MOST 0u

HMM__ALWAYS_INLINE void *malloc_hit(size_t size)
{
    (void)size;
    return NULL;
}

HMM__ALWAYS_INLINE void *malloc_from_run(size_t size)
{
    return malloc_hit(size);
}

HMM__ALWAYS_INLINE void *realloc_hit(void *block, size_t size)
{
    (void)block;
    return malloc_hit(size);
}

HMM__ALWAYS_INLINE bool free_hit(void *block)
{
    (void)block;
    return false;
}

HMM__ALWAYS_INLINE bool free_in_run(void *block)
{
    return free_hit(block);
}

HMM__ALWAYS_INLINE size_t usable_in_run(const void *block, const char *verb)
{
    (void)block, (void)verb;
    return 0;
}

HMM__ALWAYS_INLINE void watch_threads(void)
{
}

HMM__ALWAYS_INLINE void open_front(struct hmm_heap *h, struct lock *lock)
{
    (void)h, (void)lock;
}

HMM__ALWAYS_INLINE void *take_kept(size_t size)
{
    return malloc_hit(size);
}

HMM__ALWAYS_INLINE bool keep(void *block)
{
    return free_hit(block);
}

HMM__ALWAYS_INLINE bool trim_front(void)
{
    return false;
}

HMM__ALWAYS_INLINE bool front_try_again(void)
{
    return false;
}

HMM__ALWAYS_INLINE void keepers_after_fork(void)
{
}

#endif
#endif
