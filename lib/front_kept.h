/* SPDX-License-Identifier: MIT */
/*
 * Kept blocks: those of medium size that were freed last, kept for the next request of their size.
 *
 * THEORY
 *
 * Programs want buffers of the same few sizes again and again. Between the front's largest object
 * and KEPT_MOST bytes a freed block is not given back to the heap but kept, in a table of lists by
 * its size in granules; a request of exactly that size takes it. Two sizes that meet in a place of
 * the table displace each other. All together are at most a 128th of the heap, or 4 KiB: beyond
 * that the places are emptied in turn.
 *
 * A kept block is in use as far as the heap knows, and free to the user: it is tagged like an
 * object of a run, with a key of its own. Everything here is done with the lock.
 *
 * INVARIANT
 * F5  The lists hold tagged blocks of their place's sizes, each list of one, which are in use as
 *     far as the heap knows; kept_bytes is the sum of theirs.
 */
#ifndef HMM_FRONT_KEPT_H
#define HMM_FRONT_KEPT_H

#include "front.h"
#include "verbs.h"

#if HMM__FRONT

#define KEPT_MOST 8192u /* bytes of the largest that is kept */
#define KEPT_LEAST_GRANULES ((FRONT_MOST + HMM_HEADER_BYTES) / HMM_GRANULE + 1)
#define KEPT_MOST_GRANULES ((KEPT_MOST + HMM_HEADER_BYTES + HMM_GRANULE - 1) / HMM_GRANULE)

HMM__ALWAYS_INLINE bool kept_size(uint32_t granules)
{
    return granules - KEPT_LEAST_GRANULES <= KEPT_MOST_GRANULES - KEPT_LEAST_GRANULES;
}

HMM__ALWAYS_INLINE struct object **kept_place(struct front *f, uint32_t granules)
{
    return &f->kept[granules % FRONT_KEPT];
}

HMM__ALWAYS_INLINE uint32_t kept_granules(const struct object *o)
{
    return header_size(word_load((const char *)o));
}

HMM__HIDDEN HMM__COLD _Noreturn void hmm__kept_twice(const void *p, const char *verb);

/* Gives all back. False: there was nothing. */
HMM__HIDDEN bool hmm__kept_empty(struct front *f);

/* Whether p is a kept block. Of any pointer. */
HMM__HIDDEN bool hmm__kept_has(const struct front *f, const void *p);

/* NULL, or what is broken. */
HMM__HIDDEN const char *hmm__kept_check(const struct front *f);

HMM__ALWAYS_INLINE void kept_add(struct front *f, struct object **place, struct object *o,
                                 uint32_t n)
{
    o->tag = object_tag(f->keys.kept, o);
    o->next = *place;
    *place = o;
    f->kept_map |= UINT64_C(1) << n % FRONT_KEPT;
    f->kept_bytes += (size_t)n * HMM_GRANULE;
}

/* A kept block of just this size; NULL: there is none. */
HMM__ALWAYS_INLINE void *kept_take(struct front *f, size_t size)
{
    if (size > KEPT_MOST)
        return NULL;
    uint32_t n = hmm__granules_for(size);
    struct object **place = kept_place(f, n), *o = *place;
    if (o == NULL || kept_granules(o) != n)
        return NULL;
    *place = o->next;
    if (o->next == NULL)
        f->kept_map &= ~(UINT64_C(1) << n % FRONT_KEPT);
    o->tag = 0;
    f->kept_bytes -= (size_t)n * HMM_GRANULE;
    return o;
}

/* The same where the place is another size's, or there is too much in all. True. */
HMM__HIDDEN bool hmm__kept_put(struct front *f, void *p, uint32_t granules);

/* Keeps block p, if it is of such a size. False: it is not, or ALIGNED, or not sound: it is for the
 * heap. */
HMM__ALWAYS_INLINE bool kept_put(struct front *f, void *p)
{
    struct seen b;
    if (hmm__unlikely(!is_placed(f->heap, p, &b) || !is_used_plainly(&b)))
        return false;
    uint32_t n = header_size(b.word);
    if (!kept_size(n))
        return false;
    struct object **place = kept_place(f, n), *o = p;
    if (hmm__unlikely(object_has_tag(f->keys.kept, p)))
        hmm__kept_twice(p, "free");
    size_t bytes = f->kept_bytes + (size_t)n * HMM_GRANULE;
    if (hmm__unlikely(bytes > f->kept_most || (*place != NULL && kept_granules(*place) != n)))
        return hmm__kept_put(f, p, n);
    kept_add(f, place, o, n);
    return true;
}

#endif
#endif
