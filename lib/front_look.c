/* SPDX-License-Identifier: MIT */
/*
 * Looking into runs: their objects are blocks to the user.
 */
#include "front_look.h"

#include "front_kept.h"

#if HMM__FRONT

HMM__ALWAYS_INLINE char *object_at(const struct front *f, const struct run *d, uint32_t i)
{
    return (char *)run_start(f, d) + i * class_bytes(d->class);
}

struct run *hmm__front_run_at(const struct front *f, const void *payload)
{
    struct run *d = front_run_of(f, payload);
    return d != NULL && run_start(f, d) == payload ? d : NULL;
}

bool hmm__front_has_kept(const struct front *f, const void *payload)
{
    return object_has_tag(f->keys.kept, payload);
}

/* All runs, in the order of their addresses: the one after d, or the first (NULL). Of d's header,
 * which may have been overwritten, nothing is read. */
static HMM__UNSEEN struct run *next_run(const struct front *f, const struct run *d)
{
    const int32_t *map = front_map(f);
    size_t unit = 0;
    if (d != NULL)
        unit = front_unit(f, (char *)run_start(f, d) + run_rest(d)->count * class_bytes(d->class) -
                                 1) +
               1;
    while (unit < f->units && (map[unit] == 0 || run_at(f, map[unit]) == d))
        unit++;
    return unit < f->units ? run_at(f, map[unit]) : NULL;
}

static HMM__UNSEEN void require_whole(const struct front *f, const struct run *d)
{
    if (hmm__unlikely(!hmm__run_is_whole(f, d)))
        hmm__block_broken(f->heap, block_of(f->heap, run_start(f, d)));
}

/* What is not carved yet is one free block; the last one has the rest. */
int hmm__front_walk(const struct front *f, const struct run *d, size_t bytes,
                    int (*visit)(void *, const struct hmm_block_info *), void *arg)
{
    size_t size = class_bytes(d->class), done = 0;
    int result = 0;
    require_whole(f, d);
    const struct run_rest *r = run_rest(d);
    uint32_t shown = r->carved < r->count ? r->carved + 1u : r->count;
    for (uint32_t i = 0; i < shown && result == 0; i++) {
        char *p = object_at(f, d, i);
        bool last = i + 1 == shown;
        struct hmm_block_info info = {.payload = p,
                                      .size = last ? bytes - done : size,
                                      .usable = size,
                                      .used = i < r->carved && !object_is_free(f, p)};
        if (i == r->carved)
            info.usable = (r->count - i) * size;
        done += size;
        result = visit(arg, &info);
    }
    return result;
}

/* With the lock. The objects of a thread that runs meanwhile are counted as they are met. */
static HMM__UNSEEN void tally_run(const struct front *f, const struct run *d, struct front_tally *t)
{
    size_t size = class_bytes(d->class), used = 0;
    for (uint32_t i = 0; i < run_rest(d)->carved; i++)
        used += !object_is_free(f, object_at(f, d, i));
    t->runs++;
    t->run_bytes += block_usable(block_size(f->heap, block_of(f->heap, run_start(f, d))));
    t->objects += used;
    t->object_bytes += used * size;
    t->free_objects += run_rest(d)->count - used;
}

static size_t count_kept(const struct front *f, const struct object *o)
{
    size_t n = 0, most = f->kept_bytes / (KEPT_LEAST_GRANULES * HMM_GRANULE);
    for (const struct object *before = o; o != NULL; before = o, o = o->next)
        if (hmm__unlikely(!hmm__kept_has(f, o) || ++n > most))
            hmm__links_broken(f->heap, block_of(f->heap, before));
    return n;
}

HMM__UNSEEN void hmm__front_tally(const struct front *f, struct front_tally *t)
{
    *t = (struct front_tally){.kept_bytes = f->kept_bytes};
    for (unsigned i = 0; i < FRONT_KEPT; i++)
        t->kept_blocks += count_kept(f, f->kept[i]);
    for (struct run *d = NULL; (d = next_run(f, d)) != NULL;) {
        require_whole(f, d);
        tally_run(f, d, t);
    }
}

/* ---- The check ---- */

static const struct keeper *keeper_of(const struct front *f, const struct run *d)
{
    const struct keeper *k = f->keepers;
    while (k != NULL && !run_is_of(d, k))
        k = k->next;
    return k;
}

static const char *check_map(const struct front *f, const struct run *d)
{
    const char *start = run_start(f, d);
    size_t unit = front_unit(f, start);
    uint32_t units = hmm__run_units(f, d);
    if (!hmm__run_is_whole(f, d))
        return "F1: a run is not a block in use of its size";
    for (uint32_t i = 0; i < units; i++)
        if (front_map(f)[unit + i] != (int32_t)((const char *)d - f->table))
            return "F1: a unit of a run does not lead to its descriptor";
    return NULL;
}

/* How many objects of d are in this list; more than it has where the list is broken. What a list
 * leads to is only read when it is known to be an object. */
static uint32_t list_length(const struct front *f, const struct run *d, const struct object *o)
{
    const char *start = run_start(f, d);
    uint32_t n = 0;
    for (; o != NULL && n <= run_rest(d)->count; o = o->next, n++) {
        size_t at = (size_t)((const char *)o - start), size = class_bytes(d->class);
        if ((const char *)o < start || at % size != 0 || at / size >= run_rest(d)->carved ||
            !object_has_tag(f->keys.free, o))
            return UINT32_MAX;
    }
    return n;
}

/* The same of a list of objects of any run, the first `most` of it. */
static uint32_t length_of(const struct front *f, const struct run *d, const struct object *o,
                          uint32_t most)
{
    uint32_t n = 0, all = (uint32_t)(f->units * (FRONT_UNIT / sizeof(struct object)));
    for (uint32_t i = 0; o != NULL && i < most; o = o->next, i++) {
        const struct run *of = front_run_of(f, o);
        if (i > all || of == NULL || !run_has_object(of, o) || !object_has_tag(f->keys.sent, o))
            return run_rest(d)->count + 1u;
        n += of == d;
    }
    return n;
}

/* Objects of d that are free and have not come back to it. It may have changed hands since. */
static uint32_t on_their_way(const struct front *f, const struct run *d)
{
    uint32_t n = 0;
    for (const struct keeper *k = f->keepers; k != NULL; k = k->next)
        n += length_of(f, d, k->inbox, UINT32_MAX) + length_of(f, d, k->out.first, k->out.count);
    return n;
}

/* Threads of before a fork: what they had in their hands is in no list. */
static bool any_is_lost(const struct front *f)
{
    const struct keeper *k = f->keepers;
    while (k != NULL && k->state != KEEPER_LOST)
        k = k->next;
    return k != NULL;
}

static const char *check_objects(const struct front *f, const struct keeper *k, const struct run *d)
{
    const struct run_rest *r = run_rest(d);
    bool current = k->current[d->class] == d;
    uint32_t own = list_length(f, d, d->free), tagged = 0;
    uint32_t chain = current ? list_length(f, d, k->chain[d->class]) : 0;
    if (r->carved > r->count || own > r->count || chain > r->count)
        return "F2: a list of free objects is broken";
    for (uint32_t i = 0; i < r->carved; i++)
        tagged += object_is_free(f, object_at(f, d, i));
    uint32_t listed = own + chain + on_their_way(f, d);
    if (tagged < listed || (tagged > listed && !any_is_lost(f)))
        return "F2: a free object is in no list, or a used one in one";
    if (current                ? own != 0
        : d->state == RUN_FULL ? d->left != 1 || own != 0
                               : d->left + own != r->carved)
        return "F3: the count of a run's objects is not that of its lists";
    return NULL;
}

static const char *check_queues(const struct front *f, const struct keeper *k)
{
    uint32_t idle = 0;
    for (unsigned c = 0; c < FRONT_CLASSES; c++) {
        const struct size_class *s = &k->classes[c];
        const struct run *current = k->current[c];
        int32_t last = 0;
        if (current != NULL && (current->state != RUN_CURRENT || !run_is_of(current, k)))
            return "F4: the current run is not its keeper's";
        if (k->state == KEEPER_VACANT && (current != NULL || k->chain[c] != NULL))
            return "F4: a keeper that is vacant has a current run";
        struct run *d = s->oldest ? run_at(f, s->oldest) : NULL;
        if (d != NULL && d->state == RUN_GONE)
            return "F4: the oldest run of a queue has gone";
        for (; d != NULL; d = hmm__run_next(f, d)) {
            if (d->state != RUN_GONE && (d->state != RUN_QUEUED || !run_is_of(d, k)))
                return "F4: a queue holds a run that is not its keeper's, or not QUEUED";
            if (d->state == RUN_QUEUED && d->left == 0)
                idle += hmm__run_units(f, d);
            last = front_place(f, d);
        }
        if (last != s->newest)
            return "F4: the newest run is not the last of its queue";
    }
    return idle == k->idle ? NULL : "F4: idle is not the units of the runs that are";
}

/* What the others do is not stopped: in a program with threads this is for when they rest. */
const char *hmm__front_check(const struct front *f)
{
    const char *broken = NULL;
    size_t units = 0;
    for (struct run *d = NULL; broken == NULL && (d = next_run(f, d)) != NULL;) {
        const struct keeper *k = keeper_of(f, d);
        if (k == NULL)
            return "F1: a run's owner is no keeper";
        if (k->state == KEEPER_LOST)
            continue;
        broken = check_map(f, d);
        if (broken == NULL)
            broken = check_objects(f, k, d);
        units += hmm__run_units(f, d);
    }
    for (const struct keeper *k = f->keepers; broken == NULL && k != NULL; k = k->next) {
        if (k->state == KEEPER_LOST)
            continue;
        broken = check_queues(f, k);
        for (unsigned c = 0; c < FRONT_CLASSES; c++)
            units -= k->classes[c].units;
    }
    if (broken == NULL && units != 0)
        broken = "F4: the classes' units are not those of the runs";
    return broken ? broken : hmm__kept_check(f);
}

#endif
