/* SPDX-License-Identifier: MIT */
/*
 * Thread caches: made when a thread first requests memory, abandoned when it ends, taken over by
 * the next new thread. Called by the process heap and lib/cache.
 */
#include "cache/thread.h"

#include "cache/run.h"
#include "cache/tick.h"

#if HMM__CACHE

/* So many thread caches wait for new threads with all their runs. */
#define ABANDONED_MAX 8u

/* Its class of all sizes is the first, whose list is empty. Any key but 0 will do. */
#define OWNS_NO_RUN                                                                                \
    {                                                                                              \
        .free_list = {NO_OBJECT}, .key = 1                                                         \
    }

#if defined(HMM__THREADS)
#include <pthread.h>

struct thread_cache hmm__thread_cache_none = OWNS_NO_RUN, hmm__thread_cache_ended = OWNS_NO_RUN;

__thread struct thread_cache *hmm__thread_cache_mine __attribute__((tls_model("initial-exec"))) =
    &hmm__thread_cache_none;
#else
struct thread_cache hmm__thread_cache_none = OWNS_NO_RUN;
struct thread_cache *hmm__thread_cache_mine = &hmm__thread_cache_none;
#endif

/* Whether the low half of tc's address differs from those of the two that own no run, and from the
 * owner of `no run`. Those of other thread caches differ since they lie within 2 GiB (run.c). */
static bool has_unique_low_half(const struct thread_cache *tc)
{
#if defined(HMM__THREADS)
    if (low_half(tc) == low_half(&hmm__thread_cache_ended))
        return false;
#endif
    return low_half(tc) > 1 && low_half(tc) != low_half(&hmm__thread_cache_none);
}

static void set_classes(struct thread_cache *tc)
{
    unsigned c = 0;
    for (size_t i = 0; i < sizeof tc->class_of; i++) {
        if (i > class_bytes(c))
            c++;
        tc->class_of[i] = (uint8_t)c;
    }
    HMM_ASSERT(c == CACHE_CLASSES - 1);
}

/* Written with the lock, and read without. */
static void count_in_use(struct cache *cache, int by)
{
    __atomic_store_n(&cache->in_use, cache->in_use + (uint32_t)by, __ATOMIC_RELAXED);
}

struct thread_cache *hmm__thread_cache_new(struct cache *cache)
{
    struct thread_cache *tc;
    do {
        tc = hmm__cache_extend(cache, sizeof *tc, 64);
        if (tc == NULL)
            return NULL;
    } while (!has_unique_low_half(tc));
    set_classes(tc);
    for (unsigned c = 0; c < CACHE_CLASSES; c++)
        tc->free_list[c] = tc->later[c] = NO_OBJECT;
    tc->key = cache->keys.free;
    tc->cache = cache;
    tc->until_tick = cache->heap->page_source ? 1 : INT32_MAX;
    tc->refill_max = UINT16_MAX;
    tc->ticker.frees = 1;
    tc->next = cache->thread_caches;
    cache->thread_caches = tc;
    count_in_use(cache, 1);
    return tc;
}

/* With the lock, by tc's own thread. */
void hmm__thread_cache_abandon(struct thread_cache *tc)
{
    HMM_ASSERT(cache_is_locked(tc->cache) && tc->state == THREAD_CACHE_IN_USE);
    tc->empty_pages_max = 0;
    struct cache *cache = tc->cache;
    tc->emptied = cache->abandoned_count == ABANDONED_MAX;
    struct thread_cache **list = tc->emptied ? &cache->emptied : &cache->abandoned;
    tc->next_abandoned = *list;
    *list = tc;
    cache->abandoned_count += !tc->emptied;
    count_in_use(cache, -1);
    __atomic_store_n(&tc->state, THREAD_CACHE_ABANDONED, __ATOMIC_SEQ_CST);
    hmm__cache_trim(tc);
    for (unsigned c = 0; tc->emptied && c < CACHE_CLASSES; c++)
        for (struct run *d; (d = hmm__run_dequeue(tc, c)) != NULL;)
            hmm__pool_give(tc, d, run_used(d));
}

struct thread_cache *hmm__thread_cache_here(struct cache *cache)
{
    struct thread_cache *tc = cache->lock ? thread_cache_mine() : cache->thread_cache;
    return tc != NULL && tc->cache == cache ? tc : NULL;
}

/* ---- The pool: with the lock ---- */

static void change_owner(struct thread_cache *from, struct thread_cache *to, struct run *d)
{
    from->classes[d->class].pages -= run_pages(d);
    to->classes[d->class].pages += run_pages(d);
    __atomic_store_n(&d->owner, low_half(to), __ATOMIC_RELEASE); /* after it was set up */
}

void hmm__pool_give(struct thread_cache *tc, struct run *d, uint32_t used)
{
    run_set_used(d, used, 0);
    change_owner(tc, tc->cache->pool, d);
    hmm__run_enqueue(tc->cache->pool, d);
}

struct run *hmm__pool_take(struct thread_cache *tc, unsigned c)
{
    struct thread_cache *from = tc->cache->abandoned;
    struct run *d = NULL;
    for (; from != NULL && (d = hmm__run_dequeue(from, c)) == NULL; from = from->next_abandoned) {
    }
    if (d == NULL && (from = tc->cache->pool) != NULL)
        d = hmm__run_dequeue(from, c);
    if (d != NULL)
        change_owner(from, tc, d);
    return d;
}

bool hmm__pool_open(struct cache *cache)
{
    struct thread_cache *pool = hmm__thread_cache_new(cache);
    if (pool == NULL)
        return false;
    pool->state = THREAD_CACHE_ABANDONED;
    pool->emptied = true;
    count_in_use(cache, -1);
    cache->pool = pool;
    return true;
}

#if defined(HMM__THREADS)

static struct {
    pthread_key_t key;
    bool has_key; /* atomic: threads may still run at the program's end, when the key is deleted */
} thread_end;

/* The thread ends. What it still allocates and frees is done by the heap. Not if it has left its
 * thread cache before. */
static void abandon_mine(void *mine)
{
    struct thread_cache *tc = mine;
    if (hmm__thread_cache_mine != tc)
        return;
    struct cache *cache = tc->cache;
    hmm__thread_cache_mine = &hmm__thread_cache_ended;
    enum lock_hold hold = hmm__lock_acquire_blocking(cache->lock);
    if (hold != LOCK_UNAVAILABLE)
        hmm__thread_cache_abandon(tc);
    lock_release(cache->lock, hold);
}

void hmm__thread_cache_leave(void)
{
    struct thread_cache *tc = hmm__thread_cache_mine;
    if (tc != &hmm__thread_cache_none && tc != &hmm__thread_cache_ended)
        abandon_mine(tc);
}

/* The library is unloaded, or the program ends: no thread may call abandon_mine any more. */
static __attribute__((destructor)) void delete_key(void)
{
    if (__atomic_exchange_n(&thread_end.has_key, false, __ATOMIC_RELAXED))
        pthread_key_delete(thread_end.key);
}

static struct thread_cache *reclaim_thread_cache(struct cache *cache)
{
    struct thread_cache **list = cache->abandoned ? &cache->abandoned : &cache->emptied,
                        *tc = *list;
    if (tc != NULL) {
        *list = tc->next_abandoned;
        cache->abandoned_count -= !tc->emptied;
        count_in_use(cache, 1);
        __atomic_store_n(&tc->state, THREAD_CACHE_IN_USE, __ATOMIC_RELAXED);
    }
    return tc;
}

/* The first thread's, an abandoned one, or a new one. */
static struct thread_cache *find_thread_cache(struct cache *cache)
{
    struct thread_cache *tc = cache->thread_cache;
    cache->thread_cache = NULL;
    if (tc == NULL)
        tc = reclaim_thread_cache(cache);
    return tc ? tc : hmm__thread_cache_new(cache);
}

/* A function of glibc's, for where the process has no key left. It keeps this library loaded until
 * the thread has ended. */
#if defined(__GLIBC__)
extern int __cxa_thread_atexit_impl(void (*at_end)(void *), void *arg, void *library)
    __attribute__((weak));
extern void *__dso_handle __attribute__((visibility("hidden")));

static bool notice_end_without_key(struct thread_cache *tc)
{
    return __cxa_thread_atexit_impl != NULL &&
           __cxa_thread_atexit_impl(abandon_mine, tc, &__dso_handle) == 0;
}
#else
static bool notice_end_without_key(struct thread_cache *tc)
{
    (void)tc;
    return false;
}
#endif

/* False: the thread's end would not be noticed. Both functions may allocate: tc is attached
 * before. */
static bool notice_end(struct thread_cache *tc)
{
    int code = errno;
    bool noticed = __atomic_load_n(&thread_end.has_key, __ATOMIC_RELAXED) &&
                   pthread_setspecific(thread_end.key, tc) == 0;
    noticed = noticed || notice_end_without_key(tc);
    errno = code;
    return noticed;
}

struct thread_cache *hmm__thread_cache_attach(struct cache *cache)
{
    enum lock_hold hold;
    if (hmm__thread_cache_mine != &hmm__thread_cache_none || !cache->open)
        return NULL;
    hold = cache_lock(cache);
    if (hold == LOCK_UNAVAILABLE)
        return NULL;
    struct thread_cache *tc = find_thread_cache(cache);
    cache_unlock(cache, hold);
    if (tc == NULL)
        return NULL;
    hmm__thread_cache_mine = tc;
    if (notice_end(tc))
        return tc;
    abandon_mine(tc); /* else its memory would be lost at the thread's end */
    return NULL;
}

/* With the lock. */
void hmm__thread_caches_notice_ends(void)
{
    if (!thread_end.has_key)
        thread_end.has_key = pthread_key_create(&thread_end.key, abandon_mine) == 0;
}

/* Nobody will unlock what a thread that is gone had locked. */
void hmm__thread_caches_after_fork(struct cache *cache)
{
    for (struct thread_cache *tc = cache->thread_caches; tc != NULL; tc = tc->next)
        if (tc != hmm__thread_cache_mine && tc != cache->thread_cache &&
            tc->state == THREAD_CACHE_IN_USE) {
            tc->state = THREAD_CACHE_ORPHANED;
            brief_unlock(&tc->lock);
            count_in_use(cache, -1);
        }
}

#else

struct thread_cache *hmm__thread_cache_attach(struct cache *cache)
{
    if (hmm__thread_cache_mine != &hmm__thread_cache_none || !cache->open)
        return NULL;
    return hmm__thread_cache_mine = cache->thread_cache;
}

void hmm__thread_cache_leave(void)
{
    hmm__thread_cache_mine = &hmm__thread_cache_none;
}

void hmm__thread_caches_notice_ends(void)
{
}

void hmm__thread_caches_after_fork(struct cache *cache)
{
    (void)cache;
}

#endif
#endif
