/* SPDX-License-Identifier: MIT */
/*
 * What is rare before the core: a chain that is empty, a run whose count has come to 0, objects of
 * other threads. The common way is in front_hit.h.
 */
#include "front_hit.h"
#include "front_kept.h"
#include "secret.h"

#if HMM__FRONT

/* So much of a run is carved at once. */
#define CARVE_BYTES 4096u

/* The smallest region with a front: in a smaller one its keeper would take too large a part. */
#define FRONT_LEAST ((size_t)128 << 10)

/* ---- The chain is empty ---- */

/* A further piece of the run into objects, linked in the order of their addresses: the chain. */
static void carve_more(struct keeper *k, struct run *d)
{
    struct run_rest *r = run_rest(d);
    size_t size = class_bytes(d->class);
    uint32_t n = (uint32_t)(CARVE_BYTES / size), rest = (uint32_t)r->count - r->carved;
    n = n < rest ? n : rest;
    char *p = (char *)run_start(k->front, d) + r->carved * size;
    struct object *o = NULL;
    const uint64_t key = k->front->keys.free; /* what is stored might alias it */
    k->chain[d->class] = (struct object *)(void *)p;
    for (uint32_t i = 0; i < n; i++, p += size) {
        o = (struct object *)(void *)p;
        o->next = (struct object *)(void *)(p + size);
        o->tag = object_tag(key, p);
    }
    o->next = NULL;
    r->carved = (uint16_t)(r->carved + n);
}

/* The chain is empty: all of the current run's objects are in use. */
static void end_current(struct keeper *k, struct run *d)
{
    d->state = RUN_FULL;
    d->left = 1;
    d->list = &d->free;
    k->current[d->class] = NULL;
}

static void make_current(struct keeper *k, struct run *d)
{
    k->current[d->class] = d;
    k->chain[d->class] = d->free;
    d->free = NULL;
    d->state = RUN_CURRENT;
    d->left = UINT16_MAX;
    d->list = &k->chain[d->class];
}

static struct run *run_of_others(struct keeper *k, unsigned c)
{
    struct front *f = k->front;
    enum lock_hold hold = front_lock(f);
    struct run *d = NULL;
    if (hold == LOCK_ASIDE)
        return NULL;
    if (f->vacant != 0)
        d = hmm__keeper_adopt(k, c);
    if (d == NULL && f->open)
        d = hmm__run_new(k, c);
    front_unlock(f, hold);
    return d;
}

void *hmm__front_refill(struct keeper *k, size_t size)
{
    unsigned c = front_class(k, size);
    hmm__front_post(k, false);
    if (hmm__unlikely(__atomic_load_n(&k->inbox, __ATOMIC_RELAXED) != NULL)) {
        hmm__front_drain(k, false);
        if (k->chain[c] != NULL)
            return front_pop(k, c);
    }
    struct run *d = k->current[c];
    if (d != NULL && !run_is_carved(d)) {
        carve_more(k, d);
        return front_pop(k, c);
    }
    if (d != NULL)
        end_current(k, d);
    d = hmm__run_dequeue(k, c);
    if (d == NULL && (d = run_of_others(k, c)) == NULL)
        return NULL;
    make_current(k, d);
    if (k->chain[c] == NULL)
        carve_more(k, d);
    return front_pop(k, c);
}

/* ---- A count has come to 0 ---- */

static void take_back(struct keeper *k, struct run *d, bool locked)
{
    enum lock_hold hold = locked ? LOCK_NONE : front_lock(k->front);
    if (hold == LOCK_ASIDE) { /* it stays in the queue */
        k->idle += hmm__run_units(k->front, d);
        return;
    }
    hmm__run_return(k, d);
    if (!locked)
        front_unlock(k->front, hold);
}

/* Whether more objects of the class are at hand. Nobody takes those of a vacant keeper: its runs
 * are for the others, who look in its queues. */
static bool has_chain(const struct keeper *k, unsigned c)
{
    const struct run *current = k->current[c];
    return k->chain[c] != NULL || (current != NULL && !run_is_carved(current)) ||
           __atomic_load_n(&k->state, __ATOMIC_RELAXED) == KEEPER_VACANT;
}

/* Of a run that was full. If the chain is empty it is the current run from now on: what is freed of
 * it is taken at once, without more ado. */
static void first_freed(struct keeper *k, struct run *d)
{
    struct run *current = k->current[d->class];
    if (has_chain(k, d->class)) {
        d->left = (uint16_t)(run_rest(d)->count - 1);
        hmm__run_enqueue(k, d);
        return;
    }
    if (current != NULL)
        end_current(k, current);
    make_current(k, d);
}

static void happen(struct keeper *k, struct run *d, bool locked)
{
    if (d->state == RUN_FULL) {
        first_freed(k, d);
    } else if (d->state == RUN_QUEUED) {
        uint32_t units = hmm__run_units(k->front, d);
        if (k->idle + units <= k->idle_most)
            k->idle += units;
        else
            take_back(k, d, locked);
    } else {
        d->left = UINT16_MAX;
    }
}

void hmm__front_event(void *p, struct run *d, struct keeper *k)
{
    (void)p;
    happen(k, d, false);
}

void *hmm__front_event_then(struct keeper *k, struct run *d, void *result)
{
    happen(k, d, false);
    return result;
}

/* The chains go back to the runs that they were taken from, which are current no more. */
static void unchain(struct keeper *k)
{
    for (unsigned c = 0; c < FRONT_CLASSES; c++) {
        struct run *d = k->current[c];
        if (d == NULL)
            continue;
        if (k->chain[c] == NULL && run_is_carved(d)) {
            end_current(k, d);
            continue;
        }
        d->left = run_rest(d)->carved;
        const struct object *before = k->chain[c];
        for (const struct object *o = before; o != NULL; before = o, o = o->next) {
            if (d->left == 0 || !run_may_list(k->front, d, o))
                hmm__links_broken(k->front->heap, block_of(k->front->heap, before));
            d->left--;
        }
        d->free = k->chain[c];
        d->list = &d->free;
        k->chain[c] = NULL;
        k->current[c] = NULL;
        hmm__run_enqueue(k, d);
        if (d->left == 0)
            k->idle += hmm__run_units(k->front, d);
    }
}

static bool trim_queue(struct keeper *k, struct size_class *s)
{
    struct front *f = k->front;
    struct run *d = s->oldest ? run_at(f, s->oldest) : NULL;
    bool any = false;
    while (d != NULL) {
        bool oldest = front_place(f, d) == s->oldest;
        struct run *next = hmm__run_next(f, d);
        if (d->state == RUN_QUEUED && d->left == 0) {
            k->idle -= hmm__run_units(f, d);
            hmm__run_return(k, d);
            any = true;
            if (oldest) /* and what was next to it may have gone too */
                next = s->oldest ? run_at(f, s->oldest) : NULL;
        }
        d = next;
    }
    return any;
}

/* Only the empty runs, and what is kept: chains and current runs are in use. */
bool hmm__front_spare(struct front *f)
{
    struct keeper *k = hmm__keeper_here(f);
    bool any = hmm__kept_empty(f);
    for (unsigned c = 0; k != NULL && k->idle != 0 && c < FRONT_CLASSES; c++)
        any |= trim_queue(k, &k->classes[c]);
    return any;
}

bool hmm__front_trim(struct keeper *k)
{
    bool any = hmm__kept_empty(k->front);
    hmm__front_post(k, true);
    unchain(k);
    hmm__front_drain(k, true);
    for (struct size_class *s = k->classes; s < k->classes + FRONT_CLASSES; s++)
        any |= trim_queue(k, s);
    return any;
}

bool hmm__front_try_again(struct front *f, struct keeper *k)
{
    bool any = k ? hmm__front_trim(k) : hmm__kept_empty(f);
    if (any)
        f->heap->failed--;
    return any;
}

/* ---- Objects of others ---- */

static void take_in(struct keeper *k, struct run *d, struct object *o, bool locked)
{
    front_tag_free(k->front, d, o);
    if (--d->left == 0)
        happen(k, d, locked);
}

static struct keeper *owner_of(const struct front *f, const struct run *d)
{
    uint32_t owner = __atomic_load_n(&d->owner, __ATOMIC_ACQUIRE);
    return (struct keeper *)(void *)(f->table + (int32_t)(owner - low_half(f->table)));
}

/* A list, from first to last. */
static void put_into_inbox(struct keeper *k, struct object *first, struct object *last)
{
    last->next = __atomic_load_n(&k->inbox, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&k->inbox, &last->next, first, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED)) {
    }
}

/* Into k's inbox; if nobody is there to empty it, it is done here. */
static void send_objects(struct keeper *k, struct object *first, struct object *last, bool locked)
{
    struct front *f = k->front;
    put_into_inbox(k, first, last);
    if (__atomic_load_n(&k->state, __ATOMIC_SEQ_CST) != KEEPER_VACANT)
        return;
    enum lock_hold hold = locked ? LOCK_NONE : front_lock(f);
    if (hold == LOCK_ASIDE)
        return;
    if (__atomic_load_n(&k->state, __ATOMIC_RELAXED) == KEEPER_VACANT)
        hmm__front_drain(k, true);
    if (!locked)
        front_unlock(f, hold);
}

/* Its owner has freed it too, and others perhaps, or somebody has written to it since. */
static HMM__COLD _Noreturn void freed_on_its_way(const struct object *o)
{
    hmm__panic("free", o, "double free, or it was written to after it was freed");
}

/* Runs may have changed hands since their objects were sent here. */
void hmm__front_drain(struct keeper *k, bool locked)
{
    struct object *o = __atomic_exchange_n(&k->inbox, NULL, __ATOMIC_SEQ_CST), *before = o;
    while (o != NULL) {
        struct run *d = front_run_of(k->front, o);
        if (hmm__unlikely(d == NULL || !run_has_object(d, o)))
            freed_on_its_way(before); /* where its link leads is no object */
        if (hmm__unlikely(!object_has_tag(k->front->keys.sent, o)))
            freed_on_its_way(o);
        struct object *next = o->next;
        if (run_is_of(d, k))
            take_in(k, d, o, locked);
        else
            send_objects(owner_of(k->front, d), o, o, locked);
        before = o;
        o = next;
    }
}

void hmm__front_post(struct keeper *k, bool locked)
{
    struct outbox *out = &k->out;
    if (out->count == 0)
        return;
    out->count = 0;
    send_objects(out->to, out->first, out->last, locked);
}

/* Frees of the same other thread's objects are sent together. */
static void post(struct keeper *k, struct keeper *to, struct object *o)
{
    struct outbox *out = &k->out;
    if (out->to != to)
        hmm__front_post(k, false);
    if (out->count == 0) {
        out->to = to;
        out->last = o;
        o->next = NULL;
    } else {
        o->next = out->first;
    }
    out->first = o;
    if (++out->count == FRONT_POST || __atomic_load_n(&to->state, __ATOMIC_RELAXED) != KEEPER_BUSY)
        hmm__front_post(k, false);
}

void hmm__front_free_foreign(struct front *f, struct keeper *k, struct run *d, void *p)
{
    struct object *o = p;
    if (!run_has_object(d, p) || object_is_free(f, p))
        hmm__front_unsound(p, d, "free");
    o->tag = object_tag(f->keys.sent, p);
    if (k->front != NULL)
        post(k, owner_of(f, d), o);
    else
        send_objects(owner_of(f, d), o, o, false);
}

void hmm__front_unsound(const void *p, const struct run *d, const char *verb)
{
    if (!run_has_object(d, p))
        hmm__panic(verb, p, "not a block: the pointer is inside one");
    hmm__panic(verb, p, "double free, or not a block: it is not in use");
}

/* ---- The beginning ---- */

bool hmm__front_suits(const struct hmm_heap *h)
{
    return (size_t)h->high_limit * HMM_GRANULE >= FRONT_LEAST;
}

static struct tag_keys new_keys(void)
{
    return (struct tag_keys){hmm__secret_next() | 1, hmm__secret_next() | 1,
                             hmm__secret_next() | 1};
}

bool hmm__front_open(struct front *f, struct hmm_heap *h, struct lock *lock)
{
    size_t capacity = (size_t)h->high_limit * HMM_GRANULE;
    size_t bytes = sizeof(struct run) + (capacity >> FRONT_UNIT_LOG) * sizeof(int32_t);
    *f = (struct front){.base = (uintptr_t)h, .heap = h, .lock = lock};
    f->end = (char *)h + capacity;
    f->keys = new_keys();
    if (!hmm__front_suits(h))
        return false;
    f->low = f->low_ready = f->table = (char *)(((uintptr_t)f->end - bytes) & ~(uintptr_t)63);
    if (h->pages && !h->pages->need(f->table, f->table + sizeof(struct run)))
        return false;
    if (!hmm__high_lower(h, (hmm_ref)((size_t)(f->table - (char *)h) / HMM_GRANULE)))
        return false;
    struct run *nobody = run_at(f, 0);
    memset(nobody, 0, sizeof *nobody);
    nobody->owner = 1; /* no keeper's */
    f->keeper = hmm__keeper_new(f);
    f->open = f->keeper != NULL;
    return f->open;
}

#endif
