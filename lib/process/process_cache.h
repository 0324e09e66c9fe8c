/* SPDX-License-Identifier: MIT */
/*
 * The cache of the process heap, as its entry points call it before the heap. Without HMM__CACHE
 * the same functions do nothing. Calls lib/cache and lib/api.
 */
#ifndef HMM_PROCESS_CACHE_H
#define HMM_PROCESS_CACHE_H

#include "api/api.h"
#include "api/hooks.h"
#include "cache/fast_path.h"
#include "cache/medium.h"
#include "cache/thread.h"

#if HMM__CACHE

/* process.c */
extern HMM__HIDDEN struct cache hmm__process_cache;

/* ---- Without the lock ---- */

HMM__ALWAYS_INLINE void *malloc_hit(size_t size)
{
    return cache_malloc_hit(thread_cache_mine(), size);
}

/* NULL: there is none, and will be none. */
HMM__ALWAYS_INLINE struct thread_cache *thread_cache_to_use(void)
{
    struct thread_cache *tc = thread_cache_mine();
    if (hmm__process_cache.table == NULL)
        return NULL;
    return hmm__likely(tc->cache != NULL) ? tc : hmm__thread_cache_attach(&hmm__process_cache);
}

/* Refills the free list. size <= CACHE_OBJECT_MAX. */
HMM__ALWAYS_INLINE void *malloc_from_run(size_t size)
{
    struct thread_cache *tc = thread_cache_to_use();
    return tc ? hmm__cache_refill(tc, size) : NULL;
}

/* A medium block. size > CACHE_OBJECT_MAX. */
HMM__ALWAYS_INLINE void *take_medium(size_t size)
{
    return medium_take(thread_cache_mine(), size);
}

/* The same where there was none. */
HMM__ALWAYS_INLINE void *refill_medium(size_t size)
{
    struct thread_cache *tc = size <= MEDIUM_MAX ? thread_cache_to_use() : NULL;
    return tc ? medium_refill(tc, size) : NULL;
}

HMM__ALWAYS_INLINE enum medium_put put_medium(void *block)
{
    return hmm__process_cache.table != NULL
               ? medium_put_hit(&hmm__process_cache, thread_cache_mine(), block)
               : MEDIUM_NOT;
}

/* The same after MEDIUM_ELSE. False: the block is for the heap. */
HMM__ALWAYS_INLINE bool put_medium_else(void *block)
{
    return hmm__process_cache.table != NULL &&
           hmm__medium_put(&hmm__process_cache, thread_cache_mine(), block);
}

/* What the functions below ask for as d. An operation looks a block up once. */
HMM__ALWAYS_INLINE struct run *look_up(const void *block)
{
    return cache_look_up(&hmm__process_cache, block);
}

HMM__ALWAYS_INLINE void *realloc_hit(struct run *d, void *block, size_t size)
{
    return cache_realloc_hit(&hmm__process_cache, thread_cache_mine(), d, block, size);
}

#if HMM_WITH_REALLOC
/* The block is in no run. With the lock. */
HMM__ALWAYS_INLINE void *realloc_block(struct hmm_heap *h, void *block, size_t size)
{
    return h->cache == NULL || hooks_are_set() ? hmm_heap_realloc(h, block, size)
                                               : hmm__realloc_block(h, block, size);
}
#endif

/* What to request, if it costs little, for an object that is to grow to `size`. */
HMM__ALWAYS_INLINE size_t with_slack(size_t usable, size_t size)
{
    return cache_with_slack(&hmm__process_cache, usable, size);
}

HMM__ALWAYS_INLINE bool free_hit(struct run *d, void *block)
{
    return cache_free_hit(&hmm__process_cache, thread_cache_mine(), d, block);
}

HMM__ALWAYS_INLINE bool in_run(const struct run *d)
{
    return is_run(&hmm__process_cache, d);
}

/* Frees another thread's object, or one of a SPLIT run. False: the block is in no run. */
HMM__ALWAYS_INLINE bool free_in_run(struct run *d, void *block)
{
    return in_run(d) && hmm__remote_free(&hmm__process_cache, thread_cache_mine(), d, block);
}

/* The size of the object; 0: the block is in no run. */
HMM__ALWAYS_INLINE size_t usable_in_run(const struct run *d, const void *block,
                                        const char *operation)
{
    return hmm__cache_usable(&hmm__process_cache, d, block, operation);
}

/* Whether realloc has nothing to do: the block, which is in no run, is in use, and large enough but
 * not too large. */
HMM__ALWAYS_INLINE bool suits_as_it_is(const void *block, size_t size)
{
    const struct cache *cache = &hmm__process_cache;
    if (!cache->open || size - 1 >= HMM_MAX_REQUEST)
        return false;
    uint32_t has = used_granules(cache->heap, block), n = hmm__granules_for(size);
    return n <= has && keeps_slack(n, has - n) &&
           !(is_medium_size(has) && object_has_tag(cache->keys.medium, block));
}

/* Counts a call that is done without the lock. False: the thread has nothing to count by. */
HMM__ALWAYS_INLINE bool thread_cache_has_counted(void)
{
    struct thread_cache *tc = thread_cache_mine();
    if (hmm__unlikely(tc->cache == NULL))
        return false;
    cache_count(tc);
    return true;
}

HMM__ALWAYS_INLINE void notice_thread_ends(void)
{
    hmm__thread_caches_notice_ends();
}

HMM__ALWAYS_INLINE void leave_thread_cache(void)
{
    hmm__thread_cache_leave();
}

/* ---- With the lock ---- */

HMM__ALWAYS_INLINE void open_cache(struct hmm_heap *h, struct lock *lock)
{
    hmm_ref limit = h->limit, high_limit = h->high_limit;
    if (hmm__cache_open(&hmm__process_cache, h, lock))
        hmm__cache_serve(h, &hmm__process_cache);
    else
        hmm__high_raise(h, limit, high_limit);
}

/* Returns objects of this thread's that others have freed to their runs. Whether there are more. */
HMM__ALWAYS_INLINE bool collect_late(void)
{
    return hmm__cache_collect_late(thread_cache_mine(), true);
}

/* Bytes of the medium blocks that the cache holds. */
HMM__ALWAYS_INLINE size_t medium_bytes(void)
{
    return hmm__medium_bytes(&hmm__process_cache, hmm__thread_cache_here(&hmm__process_cache));
}

/* Returns to the heap what the cache has for this thread. False: nothing. */
HMM__ALWAYS_INLINE bool trim_cache(void)
{
    struct thread_cache *tc = thread_cache_mine();
    return hmm__cache_reclaim_all(&hmm__process_cache, tc->cache ? tc : NULL);
}

HMM__ALWAYS_INLINE void thread_caches_after_fork(void)
{
    hmm__thread_caches_after_fork(&hmm__process_cache);
}

#else

#define CACHE_OBJECT_MAX 0u

HMM__ALWAYS_INLINE void *malloc_hit(size_t size)
{
    (void)size;
    return NULL;
}

HMM__ALWAYS_INLINE void *malloc_from_run(size_t size)
{
    return malloc_hit(size);
}

struct run;

HMM__ALWAYS_INLINE struct run *look_up(const void *block)
{
    (void)block;
    return NULL;
}

HMM__ALWAYS_INLINE void *realloc_hit(struct run *d, void *block, size_t size)
{
    (void)d, (void)block;
    return malloc_hit(size);
}

#if HMM_WITH_REALLOC
HMM__ALWAYS_INLINE void *realloc_block(struct hmm_heap *h, void *block, size_t size)
{
    return hmm_heap_realloc(h, block, size);
}
#endif

HMM__ALWAYS_INLINE size_t with_slack(size_t usable, size_t size)
{
    (void)usable;
    return size;
}

HMM__ALWAYS_INLINE void *take_medium(size_t size)
{
    return malloc_hit(size);
}

HMM__ALWAYS_INLINE bool free_hit(struct run *d, void *block)
{
    (void)d, (void)block;
    return false;
}

HMM__ALWAYS_INLINE void *refill_medium(size_t size)
{
    return malloc_hit(size);
}

enum medium_put { MEDIUM_NOT, MEDIUM_PUT, MEDIUM_ELSE };

HMM__ALWAYS_INLINE enum medium_put put_medium(void *block)
{
    (void)block;
    return MEDIUM_NOT;
}

HMM__ALWAYS_INLINE bool put_medium_else(void *block)
{
    (void)block;
    return false;
}

HMM__ALWAYS_INLINE bool in_run(const struct run *d)
{
    (void)d;
    return false;
}

HMM__ALWAYS_INLINE bool free_in_run(struct run *d, void *block)
{
    return free_hit(d, block);
}

HMM__ALWAYS_INLINE size_t usable_in_run(const struct run *d, const void *block,
                                        const char *operation)
{
    (void)d, (void)block, (void)operation;
    return 0;
}

HMM__ALWAYS_INLINE bool suits_as_it_is(const void *block, size_t size)
{
    (void)block, (void)size;
    return false;
}

HMM__ALWAYS_INLINE bool thread_cache_has_counted(void)
{
    return false;
}

HMM__ALWAYS_INLINE void notice_thread_ends(void)
{
}

HMM__ALWAYS_INLINE void leave_thread_cache(void)
{
}

HMM__ALWAYS_INLINE void open_cache(struct hmm_heap *h, struct lock *lock)
{
    (void)h, (void)lock;
}

HMM__ALWAYS_INLINE bool collect_late(void)
{
    return false;
}

HMM__ALWAYS_INLINE size_t medium_bytes(void)
{
    return 0;
}

HMM__ALWAYS_INLINE bool trim_cache(void)
{
    return false;
}

HMM__ALWAYS_INLINE void thread_caches_after_fork(void)
{
}

#endif
#endif
