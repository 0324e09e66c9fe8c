/* SPDX-License-Identifier: MIT */
/*
 * Runs, their descriptors and the page map: how one is found from an address, its state and
 * countdown, its objects and their tags, and what run.c offers. Includes cache.h, which has the
 * theory.
 */
#ifndef HMM_CACHE_RUN_H
#define HMM_CACHE_RUN_H

#include "cache/cache.h"

#if HMM__CACHE

/* The pages of a run, and of all ACTIVE runs of a class: 32 KiB. */
#define RUN_PAGES_MAX 32u

/* ---- From an address to its run ---- */

HMM__ALWAYS_INLINE size_t class_bytes(unsigned c)
{
    HMM_ASSERT(c < CACHE_CLASSES);
    if (c < 16)
        return ((size_t)c + 1) * 16;
    return (size_t)(8 + (c & 7) + 1) << (c / 8 + 3);
}

HMM__ALWAYS_INLINE size_t cache_page_of(const struct cache *cache, const void *p)
{
    return ((uintptr_t)p - CACHE_READ(cache->base)) >> CACHE_PAGE_LOG;
}

/* Its entries are read without the lock, and not atomically. A page's entry is written, with the
 * lock, only while no object in use begins in the page; so the write is ordered before or after all
 * that a thread does with a valid pointer to one. It is cleared while a block of the heap may be in
 * use there: who has read it for such a block, or for an invalid pointer, may have either value,
 * and run_holds reads it again (split.c). */
HMM__ALWAYS_INLINE int32_t *cache_page_map(const struct cache *cache)
{
    return (int32_t *)(void *)(cache->table + sizeof(struct run));
}

HMM__ALWAYS_INLINE struct run *run_at(const struct cache *cache, int32_t entry)
{
    return (struct run *)(void *)(cache->table + entry);
}

HMM__ALWAYS_INLINE uint32_t low_half(const void *p)
{
    return (uint32_t)(uintptr_t)p;
}

HMM__ALWAYS_INLINE bool run_is_of(const struct run *d, const struct thread_cache *tc)
{
    return CACHE_READ(d->owner) == low_half(tc);
}

/* Whether the object or medium block at p is in the state that has this key. */
HMM__ALWAYS_INLINE bool object_has_tag(uint64_t key, const void *p)
{
    return ((const struct object *)p)->tag == key;
}

/* Whether the object at p is free in its run, or sent. */
HMM__ALWAYS_INLINE bool object_is_free(const struct cache *cache, const void *p)
{
    return object_has_tag(cache->keys.free, p) || object_has_tag(cache->keys.sent, p);
}

/*
 * Whether p, in one of d's pages, is the start of an object that was carved. It is iff the distance
 * from p to the last one times the inverse, modulo 2^32, is less than RUN_FRACTION. Size times
 * inverse is e modulo 2^32, where e is more than 0 and at most the size:
 *
 *     p is k objects below the last:       k e, which is less than 2^15, the bytes of a run
 *     and r more, 0 < r < size:            k e + r inverses, from 2^22 to 2^32 - 2^22 + 2^15
 *     k objects above it, 0 < k:           2^32 - k e
 *     and r more:                          2^32 - k e - r inverses, at least 2^22 - 2^15 - size
 *
 * since an inverse is at least 2^32 / CACHE_OBJECT_MAX, which is 2^22.
 */
#define RUN_FRACTION (UINT32_MAX / CACHE_OBJECT_MAX / 2)

HMM__ALWAYS_INLINE uint32_t run_inverse(size_t size)
{
    return (UINT32_MAX - ((uint32_t)size - 1)) / (uint32_t)size + 2;
}

HMM__ALWAYS_INLINE bool run_has_object(const struct run *d, const void *p)
{
    return (CACHE_READ(d->last) - low_half(p)) * CACHE_READ(d->inverse) < RUN_FRACTION;
}

/* The descriptor that p's page leads to, which may be `no run`; NULL: p is in no page of the map.
 */
HMM__ALWAYS_INLINE struct run *cache_look_up(const struct cache *cache, const void *p)
{
    size_t page = cache_page_of(cache, p);
    if (hmm__unlikely(page >= CACHE_READ_ACQUIRE(cache->pages)))
        return NULL;
    struct run *d = run_at(cache, CACHE_READ(cache_page_map(cache)[page]));
    if (d == NULL)
        __builtin_unreachable(); /* saves free the test */
    return d;
}

/* Whether d, as it was looked up, is a run. */
HMM__ALWAYS_INLINE bool is_run(const struct cache *cache, const struct run *d)
{
    return d != NULL && (const char *)d != cache->table;
}

/* The run that p points into; NULL: none. */
HMM__ALWAYS_INLINE struct run *cache_run_of(const struct cache *cache, const void *p)
{
    struct run *d = cache_look_up(cache, p);
    return is_run(cache, d) ? d : NULL;
}

/* The address `at` as an entry of the page map. */
HMM__ALWAYS_INLINE int32_t cache_offset(const struct cache *cache, const void *at)
{
    return (int32_t)((const char *)at - cache->table);
}

HMM__ALWAYS_INLINE struct run_rest *run_rest(const struct run *d)
{
    uintptr_t batch = (uintptr_t)d & ~(uintptr_t)(RUN_BATCH_BYTES - 1);
    HMM_ASSERT((uintptr_t)d - batch < RUN_BATCH * sizeof *d);
    return (struct run_rest *)(batch + RUN_BATCH * sizeof *d) + ((uintptr_t)d - batch) / sizeof *d;
}

/* ---- A run's state and countdown: another thread may read them, with the lock (reclaim.c) ---- */

HMM__ALWAYS_INLINE enum run_state run_state(const struct run *d)
{
    return (enum run_state)__atomic_load_n(&d->state, __ATOMIC_ACQUIRE);
}

HMM__ALWAYS_INLINE void run_set_state(struct run *d, enum run_state state)
{
    __atomic_store_n(&d->state, (uint8_t)state, __ATOMIC_RELEASE);
}

/* False: the state is another than `from`. */
HMM__ALWAYS_INLINE bool run_change_state(struct run *d, enum run_state from, enum run_state to)
{
#if defined(HMM__THREADS)
    uint8_t was = (uint8_t)from;
    return __atomic_compare_exchange_n(&d->state, &was, (uint8_t)to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
#else
    if (d->state != from)
        return false;
    d->state = (uint8_t)to;
    return true;
#endif
}

HMM__ALWAYS_INLINE void run_set_countdown(struct run *d, uint32_t n)
{
    __atomic_store_n(&d->countdown, (uint16_t)n, __ATOMIC_RELEASE);
}

/* Objects in use of a run that is PARTIAL, as its owner counts them. Another thread may find too
 * many, but never too few: the owner raises the countdown before it lowers `below`. */
HMM__ALWAYS_INLINE uint32_t run_used(const struct run *d)
{
    uint32_t below = __atomic_load_n(&run_rest(d)->below, __ATOMIC_ACQUIRE);
    return below + __atomic_load_n(&d->countdown, __ATOMIC_ACQUIRE);
}

/* So many objects are in use; the next event is when `below` are. */
HMM__ALWAYS_INLINE void run_set_used(struct run *d, uint32_t used, uint32_t below)
{
    run_set_countdown(d, used - below);
    __atomic_store_n(&run_rest(d)->below, (uint16_t)below, __ATOMIC_RELEASE);
}

/* Whether it comes to 0. Release order, so that who reads the countdown sees the object in its
 * list; every store of an x86 has it, and there the decrement and its test are one instruction. */
HMM__ALWAYS_INLINE bool run_count_down(struct run *d)
{
#if HMM__TSAN || !(defined(__x86_64__) || defined(__i386__))
    uint16_t n = (uint16_t)(d->countdown - 1);
    __atomic_store_n(&d->countdown, n, __ATOMIC_RELEASE);
    return n == 0;
#else
    __atomic_signal_fence(__ATOMIC_RELEASE);
    return --d->countdown == 0;
#endif
}

HMM__ALWAYS_INLINE uint32_t run_pages(const struct run *d)
{
    return run_rest(d)->where % RUN_WHERE_PAGES;
}

HMM__ALWAYS_INLINE void set_run_pages(struct run *d, uint32_t pages)
{
    uint32_t where = run_rest(d)->where;
    CACHE_WRITE(run_rest(d)->where, where - where % RUN_WHERE_PAGES + pages);
}

/* Another thread may read it of a run that is gone, and finds out so by the page map. */
HMM__ALWAYS_INLINE void *run_start(const struct cache *cache, const struct run *d)
{
    size_t page = CACHE_READ(run_rest(d)->where) / RUN_WHERE_PAGES;
    return (char *)cache->base + (page << CACHE_PAGE_LOG);
}

/* The bytes of the objects that were carved, and their number. */
HMM__ALWAYS_INLINE uint32_t run_carved_bytes(const struct cache *cache, const struct run *d)
{
    return CACHE_READ(d->last) + (uint32_t)class_bytes(d->class) - low_half(run_start(cache, d));
}

HMM__ALWAYS_INLINE uint32_t run_carved(const struct cache *cache, const struct run *d)
{
    return (uint32_t)((uint64_t)run_carved_bytes(cache, d) * d->inverse >> 32);
}

/* Whether o, any pointer, is a free object of d, and so may stand in a free list of d's objects. */
HMM__ALWAYS_INLINE bool run_may_list(const struct cache *cache, const struct run *d,
                                     const struct object *o)
{
    size_t at = (uintptr_t)o - (uintptr_t)run_start(cache, d);
    return at < run_carved_bytes(cache, d) && run_has_object(d, o) &&
           object_has_tag(cache->keys.free, o);
}

/* What p is, in whose page run d was looked up: an object in use of d; or a block of the heap, in
 * the pages of a SPLIT run; or nothing that may be freed. */
enum run_holds { HOLDS_NOT, HOLDS_OBJECT, HOLDS_INVALID };

/* split.c: the same of a run that is SPLIT. What points into an object in use may not be freed,
 * even if there is what looks like a header. If d may have ceased to be, the caller looks p up
 * again after it. */
HMM__HIDDEN enum run_holds hmm__split_holds(const struct cache *cache, const struct run *d,
                                            const void *p);

/* By any thread. d may be SPLIT, and have ceased to be a run since it was looked up, if p is no
 * object of it. *split: it is SPLIT. */
HMM__ALWAYS_INLINE enum run_holds run_holds(const struct cache *cache, const struct run *d,
                                            const void *p, bool *split)
{
    *split = hmm__unlikely(run_state(d) == RUN_SPLIT);
    enum run_holds holds = *split                 ? hmm__split_holds(cache, d, p)
                           : run_has_object(d, p) ? HOLDS_OBJECT
                                                  : HOLDS_INVALID;
    cache_fence_acquire();
    if (hmm__unlikely(cache_look_up(cache, p) != d))
        return HOLDS_NOT;
    return holds == HOLDS_OBJECT && object_is_free(cache, p) ? HOLDS_INVALID : holds;
}

/* Requests are served from holes instead of a new run if these are more than so large a part of
 * what runs have. */
#define HOLES_SHIFT 4

/* Whether so much is in holes, since runs were split, that these are to be filled first. */
HMM__ALWAYS_INLINE bool has_many_holes(const struct cache *cache)
{
    return cache->splits &&
           (size_t)free_granules(cache->heap) * HMM_GRANULE > cache->run_bytes >> HOLES_SHIFT;
}

/* ---- run.c: the life of a run. What changes the heap needs the lock. ---- */

/* What a run is wanted for. */
struct run_request {
    unsigned class;
    size_t size;
};

/* A new run of tc. NULL: there is no memory, or the class is not worth a run yet; or *block, of the
 * heap, serves the request in its place. */
HMM__HIDDEN struct run *hmm__run_new(struct thread_cache *tc, struct run_request request,
                                     void **block);
/* A descriptor of tc's, not in use. NULL: there is no room. */
HMM__HIDDEN struct run *hmm__descriptor_new(struct thread_cache *tc);
/* Gives up the lowest batches of which no descriptor is in use, and returns where the lowest that
 * stays begins, at most `end`. Takes time in proportion to the unused descriptors. */
HMM__HIDDEN char *hmm__descriptors_give_up(struct thread_cache *tc, char *low, char *end);
/* The descriptors of this list, by their entries, are tc's, and not in use. */
HMM__HIDDEN void hmm__descriptors_retire(struct thread_cache *tc, int32_t list);
/* d's pages do not count for its class any more. */
HMM__HIDDEN void hmm__run_forget_pages(struct thread_cache *tc, struct run *d);
/* Returns a queued run to the heap. */
HMM__HIDDEN void hmm__run_return(struct thread_cache *tc, struct run *d);
/* The same for the reclaimer: of a run that it has claimed, of any thread cache. */
HMM__HIDDEN void hmm__run_return_claimed(struct cache *cache, struct run *d);
/* Returns the empty runs of the queue, and unlinks all RETIRED descriptors. False: none was empty.
 */
HMM__HIDDEN bool hmm__run_trim_queue(struct thread_cache *tc, struct size_class *s,
                                     uint32_t *steps);
/* Counts a run of the queue as empty. */
HMM__HIDDEN void hmm__run_count_empty(struct thread_cache *tc, struct run *d);
/* Takes back the descriptors of tc's runs that were reclaimed while FULL. With the lock. */
HMM__HIDDEN void hmm__run_collect_descriptors(struct thread_cache *tc);
HMM__HIDDEN void hmm__run_enqueue(struct thread_cache *tc, struct run *d);
/* The same of a run that may be empty, and is counted as that. */
HMM__HIDDEN void hmm__run_requeue(struct thread_cache *tc, struct run *d);
/* The next run in the queue, PARTIAL or RETIRED. */
HMM__HIDDEN struct run *hmm__run_next(const struct cache *cache, struct run *d);
/* The oldest run of the queue. NULL: the queue is empty. */
HMM__HIDDEN struct run *hmm__run_dequeue(struct thread_cache *tc, unsigned c);
/* Whether the header of the run's block agrees with the descriptor. */
HMM__HIDDEN bool hmm__run_is_whole(const struct cache *cache, const struct run *d);

#endif
#endif
