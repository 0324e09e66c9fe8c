/* SPDX-License-Identifier: MIT */
/*
 * Objects that are freed by another thread than their run's owner: kept for the next requests of
 * that thread, or sent home in batches; and what the owner does with those. Called by the fast
 * path, refill.c and reclaim.c; calls refill.c.
 */
#include "cache/fast_path.h"

#if HMM__CACHE

/* ---- To the owner, and from its list to the runs ---- */

static void collect_object(struct thread_cache *tc, struct run *d, struct object *o, bool locked)
{
    if (hmm__unlikely(run_state(d) == RUN_SPLIT)) { /* tc is the pool, and the lock is held */
        if (!hmm__split_has(tc->cache, d, o))
            hmm__freed_object_broken(o);
        hmm__split_free(tc->cache, d, o);
        return;
    }
    cache_push_free(tc->cache, d, o);
    if (run_count_down(d))
        hmm__countdown_is_zero(tc, d, locked);
}

struct thread_cache *hmm__run_owner(const struct cache *cache, const struct run *d)
{
    uint32_t owner = __atomic_load_n(&d->owner, __ATOMIC_ACQUIRE);
    return (struct thread_cache *)(void *)(cache->table +
                                           (int32_t)(owner - low_half(cache->table)));
}

/* Pushes the list from first to last. */
static void push_remote_frees(struct thread_cache *tc, struct object *first, struct object *last)
{
    last->next = __atomic_load_n(&tc->remote_frees, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&tc->remote_frees, &last->next, first, true,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
}

/* Pushes to tc's remote frees; if tc is abandoned, collects them in its thread's place. The push
 * and the read of the state are in one order with hmm__thread_cache_abandon's store of the state
 * and collection (all are sequentially consistent), so that one of the two threads collects. */
void hmm__send_remote(struct thread_cache *tc, struct object *first, struct object *last,
                      bool locked)
{
    struct cache *cache = tc->cache;
    push_remote_frees(tc, first, last);
    if (__atomic_load_n(&tc->state, __ATOMIC_SEQ_CST) != THREAD_CACHE_ABANDONED)
        return;
    enum lock_hold hold = locked ? LOCK_NONE : cache_lock(cache);
    if (hold == LOCK_UNAVAILABLE)
        return;
    if (__atomic_load_n(&tc->state, __ATOMIC_RELAXED) == THREAD_CACHE_ABANDONED)
        hmm__collect_remote_frees(tc, SIZE_MAX, true);
    if (!locked)
        cache_unlock(cache, hold);
}

/* What was taken off first, or what is there now. Nobody but the owner makes `pending` other than
 * NULL. */
static struct object *take_off(struct thread_cache *tc)
{
    struct object *o = NULL;
    if (__atomic_load_n(&tc->pending, __ATOMIC_RELAXED) != NULL)
        o = __atomic_exchange_n(&tc->pending, NULL, __ATOMIC_ACQ_REL);
    return o ? o : __atomic_exchange_n(&tc->remote_frees, NULL, __ATOMIC_SEQ_CST);
}

/* The run of o, to which the link of `before` leads, and which must have been sent. */
static struct run *run_by_link(const struct cache *cache, const struct object *o,
                               const struct object *before)
{
    struct run *d = cache_run_of(cache, o);
    if (hmm__unlikely(d == NULL || !run_has_object(d, o)))
        hmm__freed_object_broken(before); /* its link does not lead to an object */
    if (hmm__unlikely(!object_has_tag(cache->keys.sent, o)))
        hmm__freed_object_broken(o);
    return d;
}

/* An object's run may have another owner since the object was sent. */
static void collect_list(struct thread_cache *tc, struct object *o, size_t max, bool locked)
{
    struct object *before = o;
    for (; o != NULL && max != 0; max--) {
        struct run *d = run_by_link(tc->cache, o, before);
        struct object *next = o->next;
        if (run_is_of(d, tc))
            collect_object(tc, d, o, locked);
        else
            hmm__send_remote(hmm__run_owner(tc->cache, d), o, o, locked);
        before = o;
        o = next;
    }
    if (o != NULL)
        __atomic_store_n(&tc->pending, o, __ATOMIC_RELEASE);
}

void hmm__collect_remote_frees(struct thread_cache *tc, size_t max, bool locked)
{
    collect_list(tc, take_off(tc), max, locked);
    if (max == SIZE_MAX) /* if that was pending */
        collect_list(tc, take_off(tc), max, locked);
}

/* Sends the list to the owners; what is tc's own by now it collects. */
static void send_home(struct thread_cache *tc, struct object *o, bool locked)
{
    struct cache *cache = tc->cache;
    struct object *last = o;
    while (o != NULL) {
        struct run *d = run_by_link(cache, o, last);
        struct thread_cache *owner = hmm__run_owner(cache, d);
        struct object *first = o;
        if (owner == tc) {
            last = first;
            o = o->next;
            collect_object(tc, d, first, locked);
            continue;
        }
        do {
            last = o;
            o = o->next;
        } while (o != NULL && hmm__run_owner(cache, run_by_link(cache, o, last)) == owner);
        hmm__send_remote(owner, first, last, locked);
    }
}

/* ---- Objects of other threads that are kept ---- */

/* So many bytes of a class, of at least four objects and at most 64. */
#define FOREIGN_BYTES 8192u
#define FOREIGN_MAX 64u

static bool foreign_is_full(const struct foreign_lists *f, unsigned c)
{
    return f->count[c] >= FOREIGN_MAX || f->count[c] * class_bytes(c) >= FOREIGN_BYTES;
}

/* Takes the list of the class off, in front of `rest`. */
static struct object *foreign_take_off(struct thread_cache *tc, unsigned c, struct object *rest)
{
    struct foreign_lists *f = &tc->foreign;
    struct object *o = f->list[c], *last = o;
    if (o == NULL)
        return rest;
    while (last->next != NULL) {
        last = last->next;
        if (hmm__unlikely(!object_has_tag(tc->cache->keys.sent, last)))
            hmm__freed_object_broken(last);
    }
    last->next = rest;
    CACHE_WRITE(f->list[c], NULL);
    f->count[c] = 0;
    return o;
}

/* Keeps o, of class c, if the thread requests such objects. If there are too many, it has not
 * requested any for a while: all go home with the batch. */
HMM__ALWAYS_INLINE bool keep_foreign(struct thread_cache *tc, unsigned c, struct object *o)
{
    struct foreign_lists *f = &tc->foreign;
    if (!(tc->reuses >> c & 1) || !own_lock(tc))
        return false;
    bool keep = !foreign_is_full(f, c);
    if (hmm__likely(keep)) {
        o->next = f->list[c];
        CACHE_WRITE(f->list[c], o);
        f->count[c]++;
    } else {
        tc->batch.count += f->count[c];
        tc->batch.first = foreign_take_off(tc, c, tc->batch.first);
        CACHE_WRITE(tc->reuses, tc->reuses & ~(UINT32_C(1) << c));
    }
    own_unlock(tc);
    return keep;
}

struct object *hmm__foreign_take(struct thread_cache *tc, unsigned c)
{
    struct foreign_lists *f = &tc->foreign;
    if (!own_lock(tc))
        return NO_OBJECT;
    struct object *all = f->list[c], *next;
    CACHE_WRITE(f->list[c], NULL);
    f->count[c] = 0;
    own_unlock(tc);
    for (struct object *o = all; o != NULL; o = next) {
        if (hmm__unlikely(!object_has_tag(tc->cache->keys.sent, o)))
            hmm__freed_object_broken(o);
        o->tag = tc->cache->keys.free;
        next = o->next;
        if (next == NULL)
            o->next = NO_OBJECT;
    }
    return all ? all : NO_OBJECT;
}

/* Tags these objects of other threads as sent. Returns them in front of `rest`. */
static struct object *send_all(const struct cache *cache, struct object *o, struct object *rest)
{
    for (struct object *next; o != NO_OBJECT; o = next) {
        const struct run *of = cache_run_of(cache, o);
        if (hmm__unlikely(of == NULL || !run_may_list(cache, of, o)))
            hmm__freed_object_broken(o);
        next = o->next;
        o->tag = cache->keys.sent;
        o->next = rest;
        rest = o;
    }
    return rest;
}

/* Takes the objects of other threads out of the free list, in front of `rest`. */
static struct object *foreign_of_free_list(struct thread_cache *tc, unsigned c, struct object *rest)
{
    struct run *d = tc->active[c];
    if (d != NULL && d->list != &d->free)
        return rest;
    rest = send_all(tc->cache, tc->free_list[c], rest);
    rest = send_all(tc->cache, tc->later[c], rest);
    tc->later[c] = NO_OBJECT;
    tc->free_list[c] = d ? d->free : NO_OBJECT;
    if (d != NULL) {
        d->free = NO_OBJECT;
        d->list = &tc->free_list[c];
    }
    return rest;
}

void hmm__foreign_return(struct thread_cache *tc)
{
    struct object *home = NULL;
    if (tc->cache->lock == NULL || !own_lock_any(tc))
        return;
    for (unsigned c = 0; c < CACHE_CLASSES; c++) {
        home = foreign_take_off(tc, c, home);
        home = foreign_of_free_list(tc, c, home);
    }
    own_unlock(tc);
    CACHE_WRITE(tc->reuses, 0);
    send_home(tc, home, true);
}

/* ---- Freeing an object of another thread ---- */

void hmm__flush_remote(struct thread_cache *tc, bool locked)
{
    struct object *all = tc->batch.first;
    if (all == NULL)
        return;
    tc->batch = (struct remote_batch){NULL, 0};
    send_home(tc, all, locked);
}

static void add_to_batch(struct thread_cache *tc, struct thread_cache *to, struct object *o)
{
    struct remote_batch *batch = &tc->batch;
    HMM_ASSERT(to != tc);
    o->next = batch->first;
    batch->first = o;
    if (++batch->count >= REMOTE_BATCH ||
        __atomic_load_n(&to->state, __ATOMIC_RELAXED) != THREAD_CACHE_IN_USE)
        hmm__flush_remote(tc, false);
}

bool hmm__remote_free(struct cache *cache, struct thread_cache *tc, struct run *d, void *p)
{
    struct object *o = p;
    bool split;
    switch (run_holds(cache, d, p, &split)) {
    case HOLDS_NOT:
        return false;
    case HOLDS_INVALID:
        hmm__run_object_invalid(p, d, "free");
    default:
        break;
    }
    o->tag = cache->keys.sent;
    if (tc->cache == NULL || split)
        hmm__send_remote(hmm__run_owner(cache, d), o, o, false);
    else if (!keep_foreign(tc, d->class, o))
        add_to_batch(tc, hmm__run_owner(cache, d), o);
    return true;
}

#endif
