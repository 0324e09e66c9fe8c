/* SPDX-License-Identifier: MIT */
/*
 * The slow path of the cache: an empty free list, a countdown of 0, and the setting up. The fast
 * path (fast_path.h) calls this; this calls remote_free.c, run.c, medium.c and the heap.
 */
#include "cache/fast_path.h"
#include "cache/medium.h"
#include "cache/tick.h"
#include "base/secret.h"

#if HMM__CACHE

/* Bytes of a run that are carved at once. */
#define CARVE_BYTES 4096u

/* Remote frees that one request returns to their runs, so that it takes less than 100 microseconds,
 * unless it would fail otherwise. */
#define COLLECT_MAX 300u

/* Runs whose objects are all in use stay ACTIVE, up to so many pages a class, and to RUN_PAGES_MAX
 * together with the active run. With 32 the footprint is larger. */
#define JOINED_PAGES 16u

/* Requests of a class that are served from the heap's holes before it is asked again whether there
 * are many. */
#define DIRECT_MAX 63u

/* The smallest region with a cache: of a smaller one a thread cache would take too large a part. */
#define CACHE_REGION_MIN ((size_t)128 << 10)

/* A thread wants fewer runs of a class after so many were FULL and are not, and none was wanted in
 * between. If it has so many pages of the class, then whenever a run has only a quarter in use, or
 * is returned, up to four are looked at: those of which at most a quarter is in use go to the pool,
 * but for one. With an 8th, runs with a few long-lived objects stayed with threads that sleep: ten
 * threads with jobs in turn had four times as much memory as was in use. */
#define SHARE_AFTER 2u
#define SHARE_PAGES 32u
#define SHARE_RUNS 4u
#define SHARE_PART 4u
#define KEEP_RUNS 1u

/* ---- The free list is empty ---- */

/* The object at p, in front of the next one. Returns that. */
HMM__ALWAYS_INLINE char *carve_one(char *p, size_t size, uint64_t key)
{
    struct object *o = (struct object *)(void *)p;
    o->next = (struct object *)(void *)(p + size);
    o->tag = key;
    return p + size;
}

/* Carves more objects out of the run, linked by ascending address, as the free list. */
static void carve_more(struct thread_cache *tc, struct run *d)
{
    struct run_rest *r = run_rest(d);
    size_t size = class_bytes(d->class);
    uint32_t n = (uint32_t)(CARVE_BYTES / size), rest = r->count - run_carved(tc->cache, d);
    n = n < tc->refill_max ? n : tc->refill_max;
    r->all_carved = n >= rest;
    n = n < rest ? n : rest;
    cache_count_ahead(tc, n);
    HMM_ASSERT(d->state == RUN_ACTIVE && n != 0 && tc->free_list[d->class] == NO_OBJECT);
    char *p = (char *)run_start(tc->cache, d) + run_carved_bytes(tc->cache, d);
    const uint64_t key = tc->key; /* read once: the stores below might alias it */
    uint32_t left = n;
    tc->free_list[d->class] = (struct object *)(void *)p;
    for (; left >= 4; left -= 4)
        p = carve_one(carve_one(carve_one(carve_one(p, size, key), size, key), size, key), size,
                      key);
    for (; left != 0; left--)
        p = carve_one(p, size, key);
    ((struct object *)(void *)(p - size))->next = NO_OBJECT;
    CACHE_WRITE(d->last, low_half(p) - (uint32_t)size);
}

/* The free list was empty, and has become a list of which the length is not known. */
HMM__ALWAYS_INLINE void count_refill(struct thread_cache *tc, unsigned c)
{
    if (hmm__unlikely(tc->refill_max != UINT16_MAX))
        hmm__free_list_shorten(tc, c);
    cache_count_ahead(tc, TICK_LIST_RARE);
}

static HMM__COLD void *pop_later(struct thread_cache *tc, unsigned c)
{
    tc->free_list[c] = tc->later[c];
    tc->later[c] = NO_OBJECT;
    count_refill(tc, c);
    return cache_pop(tc, c);
}

static void make_full(struct run *d)
{
    HMM_ASSERT(d->free == NO_OBJECT);
    run_set_countdown(d, 1);
    d->list = &d->free;
    run_set_state(d, RUN_FULL);
}

static void join(struct thread_cache *tc, struct run *d)
{
    struct size_class *s = &tc->classes[d->class];
    run_rest(d)->link = s->joined;
    s->joined = cache_offset(tc->cache, d);
    s->joined_pages += run_pages(d);
}

/* The free list is empty: all objects of the active run are in use. */
static void end_active(struct thread_cache *tc, struct run *d)
{
    HMM_ASSERT(run_state(d) == RUN_ACTIVE && tc->active[d->class] == d);
    HMM_ASSERT(tc->free_list[d->class] == NO_OBJECT);
    HMM_ASSERT(tc->later[d->class] == NO_OBJECT);
    tc->active[d->class] = NULL;
    if (d->list != &d->free && tc->classes[d->class].joined_pages + run_pages(d) <= JOINED_PAGES)
        join(tc, d);
    else
        make_full(d);
}

/* Joined runs become FULL until a run of so many pages may be active beside the rest. From then on
 * they may be reclaimed: each is taken off first. */
static void part_for(struct thread_cache *tc, struct size_class *s, uint32_t pages)
{
    while (s->joined != 0 && s->joined_pages + pages > RUN_PAGES_MAX) {
        struct run *d = run_at(tc->cache, s->joined);
        s->joined = run_rest(d)->link;
        s->joined_pages -= run_pages(d);
        make_full(d);
    }
}

/* d is in no queue. The free list is empty: all objects of joined runs are in use. */
static void make_active(struct thread_cache *tc, struct run *d)
{
    HMM_ASSERT(run_is_of(d, tc) && run_state(d) != RUN_RETIRED);
    HMM_ASSERT(tc->active[d->class] == NULL && tc->free_list[d->class] == NO_OBJECT);
    HMM_ASSERT(tc->later[d->class] == NO_OBJECT);
    part_for(tc, &tc->classes[d->class], run_pages(d));
    run_set_state(d, RUN_ACTIVE);
    tc->active[d->class] = d;
    tc->free_list[d->class] = d->free;
    d->free = NO_OBJECT;
    run_set_countdown(d, cache_tick_countdown(tc));
    d->list = &tc->free_list[d->class];
}

/* The free list is empty: if it has had objects of other threads, those of the active run that were
 * freed meanwhile become it. */
static void end_foreign(struct thread_cache *tc, unsigned c)
{
    struct run *d = tc->active[c];
    HMM_ASSERT(tc->free_list[c] == NO_OBJECT);
    if (d == NULL || d->list != &d->free)
        return;
    tc->free_list[c] = d->free;
    d->free = NO_OBJECT;
    d->list = &tc->free_list[c];
}

/* Fills the free list with what is at hand besides the runs: see the theory. */
static bool reuse_foreign(struct thread_cache *tc, unsigned c)
{
    struct run *d = tc->active[c];
    end_foreign(tc, c);
    if (tc->free_list[c] != NO_OBJECT)
        return true;
    CACHE_WRITE(tc->reuses, tc->reuses | UINT32_C(1) << c);
    if (CACHE_READ(tc->foreign.list[c]) == NULL)
        return false;
    tc->free_list[c] = hmm__foreign_take(tc, c);
    if (tc->free_list[c] == NO_OBJECT)
        return false;
    if (d != NULL)
        d->list = &d->free;
    return true;
}

/* A block of the heap, where the class was served so a short time ago. With the lock. */
static void *direct_block(struct thread_cache *tc, struct run_request request)
{
    struct size_class *s = &tc->classes[request.class];
    void *p = s->direct != 0 ? hmm__try_hole(tc->cache->heap, request.size) : NULL;
    s->direct = p ? s->direct - 1 : 0;
    return p;
}

/* A run that tc does not have yet: of an ended thread, of the pool, or a new one. NULL: there is
 * none; *block, of the heap, may serve the request. */
static struct run *acquire_run(struct thread_cache *tc, struct run_request request, void **block)
{
    struct cache *cache = tc->cache;
    enum lock_hold hold = cache_lock(cache);
    if (hold == LOCK_UNAVAILABLE)
        return NULL;
    struct run *d = hmm__pool_take(tc, request.class);
    if (d == NULL && cache->open && (*block = direct_block(tc, request)) == NULL) {
        d = hmm__run_new(tc, request, block);
        tc->classes[request.class].direct = *block ? DIRECT_MAX : 0;
    }
    cache_unlock(cache, hold);
    return d;
}

/* All remote frees before the request is for the heap: the class has runs, and there is no memory
 * for more. NULL: there are no objects. */
static struct run *run_of_remote_frees(struct thread_cache *tc, unsigned c)
{
    struct run *d = NULL;
    while (d == NULL && tc->free_list[c] == NO_OBJECT && tc->classes[c].pages != 0 &&
           has_remote_frees(tc)) {
        hmm__collect_remote_frees(tc, COLLECT_MAX, false);
        if (tc->free_list[c] == NO_OBJECT)
            d = hmm__run_dequeue(tc, c);
    }
    return d;
}

void *hmm__cache_refill(struct thread_cache *tc, size_t size)
{
    unsigned c = cache_class(tc, size);
    if (hmm__unlikely(tc->free_list[c] != NO_OBJECT))
        hmm__freed_object_broken(tc->free_list[c]);
    cache_count_slow(tc);
    if (hmm__unlikely(tc->later[c] != NO_OBJECT))
        return pop_later(tc, c);
    if (tc->batch.first != NULL)
        hmm__flush_remote(tc, false);
    if (tc->cache->lock != NULL && reuse_foreign(tc, c))
        return cache_pop(tc, c);
    if (hmm__unlikely(has_remote_frees(tc))) {
        hmm__collect_remote_frees(tc, COLLECT_MAX, false);
        if (tc->free_list[c] != NO_OBJECT)
            return cache_pop(tc, c);
    }
    struct run *d = tc->active[c];
    if (d != NULL && !run_rest(d)->all_carved) {
        carve_more(tc, d);
        return cache_pop(tc, c);
    }
    if (d != NULL)
        end_active(tc, d);
    tc->classes[c].declines = 0;
    d = hmm__run_dequeue(tc, c);
    if (d == NULL) {
        void *block = NULL;
        d = acquire_run(tc, (struct run_request){c, size}, &block);
        if (block != NULL)
            return block;
    }
    if (d == NULL && (d = run_of_remote_frees(tc, c)) == NULL)
        return cache_pop(tc, c);
    make_active(tc, d);
    if (tc->free_list[c] == NO_OBJECT)
        carve_more(tc, d);
    else
        count_refill(tc, c);
    return cache_pop(tc, c);
}

/* ---- A countdown is 0 ---- */

/* Whether so many more runs are in the queue, from this one on. */
static bool queue_is_longer(const struct cache *cache, int32_t entry, unsigned than)
{
    while (entry != 0 && than-- != 0)
        entry = run_rest(run_at(cache, entry))->link;
    return entry != 0;
}

/* Whether tc has many runs of the class and wants fewer, and other threads may have them. */
static bool may_share(const struct thread_cache *tc, unsigned c)
{
    const struct size_class *s = &tc->classes[c];
    return s->declines >= SHARE_AFTER && s->pages >= SHARE_PAGES &&
           CACHE_READ(tc->cache->in_use) > 1;
}

static bool is_hardly_used(const struct run *d)
{
    uint32_t used = run_used(d);
    return used != 0 && used <= run_rest(d)->count / SHARE_PART;
}

/* Moves the oldest run of the queue into the pool, with the lock, or makes it the newest. */
static void share_oldest(struct thread_cache *tc, unsigned c, bool give)
{
    struct run *d = hmm__run_dequeue(tc, c);
    if (d == NULL)
        return;
    if (give && is_hardly_used(d)) {
        hmm__pool_give(tc, d, run_used(d));
        return;
    }
    hmm__run_requeue(tc, d);
}

/* Of runs that hardly have an object in use the thread keeps a few of each class; others go to the
 * pool, where all threads find them: this one may be about to sleep. What has more in use becomes
 * the newest of the queue, and is looked at again later. */
static void share_runs(struct thread_cache *tc, unsigned c, bool locked)
{
    struct cache *cache = tc->cache;
    const struct size_class *s = &tc->classes[c];
    if (!may_share(tc, c) || __atomic_load_n(&tc->state, __ATOMIC_RELAXED) != THREAD_CACHE_IN_USE)
        return;
    for (unsigned i = 0; i < SHARE_RUNS; i++) {
        if (!queue_is_longer(cache, s->oldest, KEEP_RUNS))
            return;
        bool give = is_hardly_used(run_at(cache, s->oldest));
        enum lock_hold hold = give && !locked ? cache_lock(cache) : LOCK_NONE;
        if (hold == LOCK_UNAVAILABLE)
            return;
        share_oldest(tc, c, give);
        cache_unlock(cache, hold);
    }
}

static void return_empty_run(struct thread_cache *tc, struct run *d, bool locked)
{
    enum lock_hold hold = locked ? LOCK_NONE : cache_lock(tc->cache);
    if (hold == LOCK_UNAVAILABLE) { /* the run stays in the queue */
        hmm__run_count_empty(tc, d);
        return;
    }
    hmm__run_return(tc, d);
    share_runs(tc, d->class, true);
    if (!locked)
        cache_unlock(tc->cache, hold);
}

/* Whether tc has free objects of the class besides its queue. */
static bool has_free_objects(const struct thread_cache *tc, unsigned c)
{
    const struct run *active = tc->active[c];
    return tc->free_list[c] != NO_OBJECT || tc->later[c] != NO_OBJECT ||
           (active != NULL && !run_rest(active)->all_carved);
}

/* Counts a run that was FULL, where it matters; whether tc is to share runs of the class. */
static bool declines(struct thread_cache *tc, unsigned c)
{
    if (CACHE_READ(tc->cache->in_use) < 2)
        return false;
    tc->classes[c].declines++;
    return may_share(tc, c);
}

/* If the thread cache has no free objects of the class, the run becomes the active one, so that
 * malloc finds the object in the free list. Else it is queued: of an ended thread's always, since
 * others look there, or in the pool. Then the caller has the lock. */
static void first_free_of_full(struct thread_cache *tc, struct run *d)
{
    struct run *active = tc->active[d->class];
    bool abandoned = __atomic_load_n(&tc->state, __ATOMIC_RELAXED) == THREAD_CACHE_ABANDONED;
    if (abandoned && tc->emptied) {
        hmm__pool_give(tc, d, run_rest(d)->count - 1u);
        return;
    }
    if (tc->free_list[d->class] == NO_OBJECT && tc->later[d->class] == NO_OBJECT)
        end_foreign(tc, d->class);
    if (abandoned || has_free_objects(tc, d->class)) {
        uint32_t count = run_rest(d)->count;
        run_set_used(d, count - 1, hmm__unlikely(declines(tc, d->class)) ? count / SHARE_PART : 0);
        hmm__run_enqueue(tc, d);
        return;
    }
    if (active != NULL)
        end_active(tc, active);
    make_active(tc, d);
}

void hmm__countdown_is_zero(struct thread_cache *tc, struct run *d, bool locked)
{
    HMM_ASSERT(run_is_of(d, tc));
    HMM_ASSERT(!locked || cache_is_locked(tc->cache));
    enum run_state state = run_state(d);
    if (state == RUN_FULL) {
        first_free_of_full(tc, d);
    } else if (state == RUN_ACTIVE) {
        run_set_countdown(d, cache_tick_countdown(tc));
        uint16_t countdown = hmm__cache_tick(tc, locked);
        if (run_state(d) == RUN_ACTIVE) /* still: pages may have gone back, and runs */
            run_set_countdown(d, countdown);
    } else if (run_rest(d)->below != 0) {
        run_set_used(d, run_rest(d)->below, 0);
        share_runs(tc, d->class, locked);
    } else if (tc->empty_pages + run_pages(d) <= tc->empty_pages_max) {
        hmm__run_count_empty(tc, d);
    } else {
        return_empty_run(tc, d, locked);
    }
}

void hmm__on_countdown_zero(void *p, struct run *d, struct thread_cache *tc)
{
    (void)p;
    hmm__countdown_is_zero(tc, d, false);
    cache_count_slow(tc);
    if (run_state(d) == RUN_ACTIVE && hmm__unlikely(hmm__cache_collect_late(tc, false)) &&
        run_is_of(d, tc) && run_state(d) == RUN_ACTIVE)
        cache_tick_sooner(d, 1);
}

void *hmm__on_countdown_zero_then(struct thread_cache *tc, struct run *d, void *result)
{
    hmm__countdown_is_zero(tc, d, false);
    cache_count_slow(tc);
    return result;
}

/* ---- The free lists go back to their runs ---- */

/* Takes the active and the joined runs of the class, as a list of entries. Each has its own list
 * from now on. */
static int32_t take_active(struct thread_cache *tc, unsigned c)
{
    struct size_class *s = &tc->classes[c];
    struct run *active = tc->active[c];
    if (active != NULL)
        join(tc, active);
    tc->active[c] = NULL;
    for (int32_t at = s->joined; at != 0; at = run_rest(run_at(tc->cache, at))->link) {
        struct run *d = run_at(tc->cache, at);
        uint32_t used = run_carved(tc->cache, d);
        for (const struct object *o = d->free; o != NO_OBJECT; o = o->next) {
            if (!run_may_list(tc->cache, d, o))
                hmm__links_broken(tc->cache->heap,
                                  block_of(tc->cache->heap, run_start(tc->cache, d)));
            if (used-- == 0)
                hmm__freed_object_broken(o);
        }
        run_set_used(d, used, 0);
        d->list = &d->free;
    }
    int32_t all = s->joined;
    s->joined = 0;
    s->joined_pages = 0;
    return all;
}

/* Each object of the free list, or of the rest of it, goes to its run's list; those that were other
 * threads' stay. */
static void part_list(struct thread_cache *tc, struct object **of)
{
    const struct cache *cache = tc->cache;
    struct object *o = *of, *before = o, *rest = NO_OBJECT, *next;
    for (; o != NO_OBJECT; before = o, o = next) {
        struct run *d = cache_run_of(cache, o);
        if (d == NULL || !run_may_list(cache, d, o))
            hmm__links_broken(cache->heap, block_of(cache->heap, before));
        next = o->next;
        bool mine = run_is_of(d, tc) && run_state(d) == RUN_ACTIVE;
        if (mine && run_used(d) == 0)
            hmm__freed_object_broken(o);
        if (mine)
            run_set_used(d, run_used(d) - 1, 0);
        struct object **list = mine ? &d->free : &rest;
        o->next = *list;
        *list = o;
    }
    *of = rest;
}

static void return_free_list(struct thread_cache *tc, unsigned c)
{
    int32_t at = take_active(tc, c);
    part_list(tc, &tc->free_list[c]);
    if (hmm__unlikely(tc->later[c] != NO_OBJECT))
        part_list(tc, &tc->later[c]);
    while (at != 0) {
        struct run *d = run_at(tc->cache, at);
        at = run_rest(d)->link;
        if (run_used(d) == run_rest(d)->count)
            make_full(d);
        else
            hmm__run_requeue(tc, d);
    }
}

void hmm__return_free_lists(struct thread_cache *tc)
{
    for (unsigned c = 0; c < CACHE_CLASSES; c++)
        if (tc->active[c] != NULL || tc->classes[c].joined != 0)
            return_free_list(tc, c);
}

void hmm__part_joined(struct thread_cache *tc)
{
    for (unsigned c = 0; c < CACHE_CLASSES; c++)
        if (tc->classes[c].joined != 0)
            return_free_list(tc, c);
}

/* Whether p, in one of d's pages, lies behind the last object that was carved. */
static bool is_behind_objects(const struct run *d, const void *p)
{
    return (int32_t)(low_half(p) - CACHE_READ(d->last)) >= (int32_t)class_bytes(d->class);
}

void hmm__run_object_invalid(const void *p, const struct run *d, const char *operation)
{
    if (!run_has_object(d, p) && !is_behind_objects(d, p))
        hmm__panic(operation, p, "not a block: the pointer is inside one");
    hmm__panic(operation, p, "double free, or not a block: it is not in use");
}

void hmm__freed_object_broken(const struct object *o)
{
    hmm__panic("free", o, "double free, or it was written to after it was freed");
}

/* ---- Setting up ---- */

const struct object hmm__no_object;

bool hmm__cache_suits(const struct hmm_heap *h)
{
    return (size_t)h->high_limit * HMM_GRANULE >= CACHE_REGION_MIN;
}

static struct tag_keys new_keys(void)
{
    return (struct tag_keys){hmm__secret_next() | 1, hmm__secret_next() | 1,
                             hmm__secret_next() | 1};
}

bool hmm__cache_open(struct cache *cache, struct hmm_heap *h, struct lock *lock)
{
    return hmm__cache_open_in(cache, h, lock, NULL);
}

/* Another thread may look NULL up in the process heap's cache meanwhile. */
bool hmm__cache_open_in(struct cache *cache, struct hmm_heap *h, struct lock *lock,
                        const struct cache_memory *memory)
{
    size_t below = (size_t)h->first * HMM_GRANULE & ~(CACHE_PAGE - 1);
    CACHE_WRITE(cache->base, (uintptr_t)h + below);
    CACHE_WRITE(cache->pages, 0);
    memset(&cache->table, 0, sizeof *cache - offsetof(struct cache, table));
    cache->heap = h;
    cache->lock = lock;
    cache->keys = new_keys();
    if (!hmm__cache_suits(h) || !hmm__tables_open(cache, memory))
        return false;
    struct run *no_run = run_at(cache, 0);
    memset(no_run, 0, sizeof *no_run);
    no_run->owner = 1; /* no thread cache has an odd address */
    cache->thread_cache = hmm__thread_cache_new(cache);
    cache->open = cache->thread_cache != NULL && (lock == NULL || hmm__pool_open(cache));
    return cache->open;
}

#endif
