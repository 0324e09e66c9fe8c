/* SPDX-License-Identifier: MIT */
/*
 * Memory that caches hold goes back to the heap: of the calling thread, and of all others, whether
 * they sleep or run. Everything here is done with the heap's lock. Calls run.c, medium.c, refill.c
 * and the heap.
 *
 * THEORY
 *
 * A thread works on its runs without a lock, an atomic read-modify-write or a fence; the reclaimer,
 * which is any thread that holds the lock, must all the same take whole runs from it. It takes only
 * runs of which no object is in use, and it knows that by counting: the objects in lists of remote
 * frees, which it takes away whole and so has in hand, and the run's countdown.
 *
 *     FULL     to the owner all objects are in use. If all are in hand the owner can free none,
 *              and nothing changes the state: the run is the reclaimer's.
 *     PARTIAL  to the owner as many objects are in use as the countdown and `below` say. If so
 *              many are in hand, all others are in the run's free list: no object is in use.
 *     ACTIVE   the owner allocates from it: it is never taken.
 *
 * The owner of a PARTIAL run may dequeue it at any moment, allocate from it, and queue it again
 * with another countdown. So the reclaimer claims the run first, by a compare-and-swap of PARTIAL
 * to CLAIMED; the owner dequeues by one of PARTIAL to ACTIVE, and passes over what is CLAIMED. Then
 * the reclaimer reads the countdown again: from now on it can only fall, by frees of objects in
 * use. If it still is the number in hand, the run is the reclaimer's. If not, it is PARTIAL again.
 *
 * The owner stores the countdown with release order after it has put the object into its list, and
 * the state after all that belongs to it; the reclaimer reads both with acquire order.
 *
 * A run that is taken becomes RETIRED. The descriptor of one that was PARTIAL stays in the queue,
 * where its owner finds it; that of one that was FULL is put into a list of the owner's,
 * `reclaimed`, that the owner empties when it has the lock. Objects whose runs are not taken go
 * back to their owners as remote frees.
 *
 * Before a run goes to the heap each of its objects must have a tag: that of a free object, or the
 * one that the reclaimer gives what it has in hand. An object that was freed twice is found here at
 * the latest, and no run goes while one of its objects is in use.
 *
 * After a fork the child takes the runs of orphaned thread caches in the same way. What their
 * threads were in the middle of does not add up, or has no tag, and stays.
 *
 * Not reclaimed of another living thread: its ACTIVE runs, up to 32 KiB a class, its remote batch,
 * and objects of others that are in its free lists, 8 KiB a class.
 */
#include "cache/medium.h"

#if HMM__CACHE

/* ---- Of the calling thread ---- */

bool hmm__cache_trim(struct thread_cache *tc)
{
    bool any = hmm__medium_empty(tc);
    hmm__flush_remote(tc, true);
    hmm__foreign_return(tc);
    hmm__collect_remote_frees(tc, SIZE_MAX, true); /* may make a FULL run the active one */
    hmm__return_free_lists(tc);
    hmm__run_collect_descriptors(tc);
    for (struct size_class *s = tc->classes; s < tc->classes + CACHE_CLASSES; s++) {
        uint32_t all = UINT32_MAX;
        any |= hmm__run_trim_queue(tc, s, &all);
    }
    return any;
}

/* ---- Objects in hand ---- */

static uint64_t tag_in_hand(const struct cache *cache)
{
    return ~cache->keys.sent;
}

static bool is_orphaned(const struct thread_cache *tc)
{
    return __atomic_load_n(&tc->state, __ATOMIC_RELAXED) == THREAD_CACHE_ORPHANED;
}

/* The object's run, if it has just been freed remotely, as it must have been. */
static struct run *run_of_sent(const struct cache *cache, const struct object *o)
{
    struct run *d = cache_run_of(cache, o);
    return d != NULL && run_has_object(d, o) && object_has_tag(cache->keys.sent, o) ? d : NULL;
}

/* Takes tc's list in hand, in front of `rest`. That of an orphan, of which a part may have been
 * copied before another was written, is believed as far as its objects have tags. */
static struct object *take_list(struct thread_cache *tc, struct object **list, struct object *rest)
{
    const struct cache *cache = tc->cache;
    struct object *o = __atomic_exchange_n(list, NULL, __ATOMIC_ACQ_REL), *next;
    for (; o != NULL; o = next) {
        struct run *d = run_of_sent(cache, o);
        if (hmm__unlikely(d == NULL)) {
            if (is_orphaned(tc))
                break;
            hmm__freed_object_broken(o);
        }
        next = o->next;
        o->tag = tag_in_hand(cache);
        run_rest(d)->in_hand++;
        o->next = rest;
        rest = o;
    }
    return rest;
}

static struct object *take_foreign(struct thread_cache *tc, struct object *rest)
{
    if (!own_lock_any(tc))
        return rest;
    for (unsigned c = 0; c < CACHE_CLASSES; c++) {
        rest = take_list(tc, &tc->foreign.list[c], rest);
        tc->foreign.count[c] = 0;
    }
    own_unlock(tc);
    return rest;
}

/* What was in hand goes back, to the owners that it has now. */
static void put_back(struct cache *cache, struct object *o)
{
    while (o != NULL) {
        struct thread_cache *owner = hmm__run_owner(cache, cache_run_of(cache, o));
        struct object *first = o, *last;
        do {
            o->tag = cache->keys.sent;
            last = o;
            o = o->next;
        } while (o != NULL && hmm__run_owner(cache, cache_run_of(cache, o)) == owner);
        hmm__send_remote(owner, first, last, true);
    }
}

/* ---- Whole runs ---- */

static bool all_are_free(const struct cache *cache, const struct run *d)
{
    size_t size = class_bytes(d->class);
    const char *p = run_start(cache, d);
    for (uint32_t n = run_carved(cache, d); n != 0; n--, p += size)
        if (!object_has_tag(cache->keys.free, p) &&
            ((const struct object *)(const void *)p)->tag != tag_in_hand(cache))
            return false;
    return true;
}

/* Whether d, of which so many objects are in hand, is the reclaimer's. */
static bool claim(struct cache *cache, struct run *d, uint32_t in_hand)
{
    enum run_state state = run_state(d);
    struct thread_cache *owner = hmm__run_owner(cache, d);
    if (state == RUN_FULL ? in_hand != run_rest(d)->count
                          : state != RUN_PARTIAL || run_used(d) != in_hand)
        return false;
    if (!run_change_state(d, state, RUN_CLAIMED))
        return false;
    if (state == RUN_PARTIAL && run_used(d) != in_hand) {
        run_set_state(d, RUN_PARTIAL);
        return false;
    }
    if (hmm__unlikely(!all_are_free(cache, d))) {
        if (!is_orphaned(owner))
            hmm__freed_object_broken(run_start(cache, d));
        run_set_state(d, state);
        return false;
    }
    if (state == RUN_FULL) {
        run_rest(d)->link = owner->reclaimed;
        owner->reclaimed = cache_offset(cache, d);
    }
    return true;
}

/* Returns the runs of which all objects that are in use are in hand. */
static bool reclaim_in_hand(struct cache *cache, struct object *o)
{
    struct object *rest = NULL, *claimed = NULL, *next; /* claimed: one object of each run */
    for (; o != NULL; o = next) {
        struct run *d = cache_run_of(cache, o);
        uint32_t in_hand = run_rest(d)->in_hand;
        next = o->next;
        run_rest(d)->in_hand = 0;
        if (in_hand != 0 && claim(cache, d, in_hand)) {
            o->next = claimed;
            claimed = o;
        } else if (run_state(d) != RUN_CLAIMED) {
            o->next = rest;
            rest = o;
        }
    }
    bool any = claimed != NULL;
    for (; claimed != NULL; claimed = next) {
        next = claimed->next;
        hmm__run_return_claimed(cache, cache_run_of(cache, claimed));
    }
    put_back(cache, rest);
    return any;
}

/* Returns the empty runs of all thread caches that begin in pages from *page on, below `end`, with
 * so many steps. *page: where to go on. */
static bool reclaim_empty(struct cache *cache, size_t *page, size_t end, size_t steps)
{
    const int32_t *map = cache_page_map(cache);
    bool any = false;
    end = end < cache->pages ? end : cache->pages;
    for (; *page < end && steps != 0; ++*page) {
        if (map[*page] == 0)
            continue;
        struct run *d = run_at(cache, map[*page]);
        uint32_t pages = run_pages(d);
        if (run_state(d) == RUN_SPLIT || cache_page_of(cache, run_start(cache, d)) != *page)
            continue;
        steps--;
        if (claim(cache, d, 0)) {
            hmm__run_return_claimed(cache, d);
            any = true;
            steps -= steps > pages ? pages : steps;
        }
        *page += pages - 1;
    }
    return any;
}

/* ---- Of all threads ---- */

/* What others have idle is looked for in so many parts of the heap, one each time that the break is
 * to rise, which it does by a 256th of the heap. */
#define IDLE_PARTS 8u

/* A call looks at so many runs, or returns as many pages of runs; both take less than half a
 * millisecond. The parts have at most so many pages. */
#define IDLE_STEPS 768u
#define IDLE_PAGES ((size_t)1 << 16)

/* As much was allocated, or freed, since the last look that found nothing as the break rises by at
 * a time: requests that are served from holes, since the break would rise, make it no higher. */
static bool is_look_due(const struct cache *cache)
{
    const struct hmm_heap *h = cache->heap;
    uint32_t holes = free_granules(h), then = cache->idle_holes;
    return h->brk != cache->idle_brk ||
           (holes > then ? holes - then : then - holes) >= hmm__brk_step(h);
}

/* Returns the empty runs of a part of the pages, and a step of the medium blocks of others, before
 * the break rises: of all of them each time that it has risen by a 32nd of the heap, or more where
 * there is much. */
static bool reclaim_idle_of_others(struct cache *cache, const struct thread_cache *tc)
{
    if ((cache->in_use < 2 && cache->abandoned == NULL) || !is_look_due(cache))
        return false;
    if (cache->idle_page >= cache->pages) {
        cache->idle_page = 0;
        if (cache->idle_thread == NULL)
            cache->idle_thread = cache->thread_caches;
    }
    size_t part = cache->pages / IDLE_PARTS + 1;
    part = part < IDLE_PAGES ? part : IDLE_PAGES;
    bool any = hmm__medium_empty_others(cache, tc);
    any |= reclaim_empty(cache, &cache->idle_page, cache->idle_page + part, IDLE_STEPS);
    if (!any) {
        cache->idle_brk = cache->heap->brk;
        cache->idle_holes = free_granules(cache->heap);
    }
    return any;
}

bool hmm__cache_reclaim_idle(struct cache *cache)
{
    struct thread_cache *tc = hmm__thread_cache_here(cache);
    uint32_t steps = IDLE_STEPS;
    bool any = tc != NULL && hmm__medium_halve(tc);
    if (tc != NULL)
        hmm__part_joined(tc); /* some may be empty */
    for (unsigned c = 0; tc != NULL && tc->empty_pages != 0 && c < CACHE_CLASSES; c++)
        any |= hmm__run_trim_queue(tc, &tc->classes[c], &steps);
    return any || reclaim_idle_of_others(cache, tc) || hmm__split_some(cache, tc);
}

static bool reclaim_of_others(struct cache *cache, const struct thread_cache *tc)
{
    struct object *in_hand = NULL;
    for (struct thread_cache *t = cache->thread_caches; t != NULL; t = t->next) {
        if (t != tc && has_remote_frees(t)) {
            in_hand = take_list(t, &t->pending, in_hand);
            in_hand = take_list(t, &t->remote_frees, in_hand);
        }
        if (t != tc && CACHE_READ(t->reuses) != 0)
            in_hand = take_foreign(t, in_hand);
    }
    bool any = reclaim_in_hand(cache, in_hand);
    size_t page = 0;
    return reclaim_empty(cache, &page, cache->pages, SIZE_MAX) || any;
}

bool hmm__cache_reclaim_all(struct cache *cache, struct thread_cache *tc)
{
    bool any = tc != NULL && hmm__cache_trim(tc);
    any |= hmm__medium_empty_all(cache);
    bool others = cache->lock != NULL && cache->thread_caches != NULL &&
                  (cache->thread_caches != tc || tc->next != NULL);
    return (others && reclaim_of_others(cache, tc)) || any;
}

/* ---- What the heap asks for ---- */

/* Medium blocks that were not needed for a while: a step. It is asked at times that other things
 * determine: an eighth too early is early enough. */
static bool reclaim_unused(struct cache *cache)
{
    const struct hmm_heap *h = cache->heap;
    uint64_t now = h->page_source->clock();
    if (now - cache->aged_at >= HMM__UNUSED_AFTER(h) / 8 * 7) {
        cache->aged_at = now;
        hmm__medium_age(cache);
    }
    return hmm__medium_return_unused(cache);
}

/* Runs are split only for a request that would fail: who only trims is to have them as they are.
 * The tables are last: what they give up is between the top and the break. */
static bool reclaim_to_the_last(struct cache *cache)
{
    struct thread_cache *tc = hmm__thread_cache_here(cache);
    bool any = hmm__cache_reclaim_all(cache, tc);
    any |= hmm__split_all(cache, tc);
    return hmm__tables_release(cache) || any;
}

/* hmm_heap.reclaim */
static bool reclaim_for_heap(struct hmm_heap *h, enum hmm__reclaim what)
{
    struct cache *cache = h->cache;
    switch (what) {
    case HMM__RECLAIM_UNUSED:
        return reclaim_unused(cache);
    case HMM__RECLAIM_IDLE:
        return hmm__cache_reclaim_idle(cache);
    default:
        return reclaim_to_the_last(cache);
    }
}

void hmm__cache_serve(struct hmm_heap *h, struct cache *cache)
{
    h->cache = cache;
    h->reclaim = reclaim_for_heap;
    h->reserve = cache->place->reserve;
}

#endif
