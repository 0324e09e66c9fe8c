/* SPDX-License-Identifier: MIT */
/*
 * The way of a hit: what malloc, free and realloc do where the thread's own keeper has all that is
 * needed. Here each instruction counts; what is rare is a call, in front.c. front.h has the theory.
 */
#ifndef HMM_FRONT_HIT_H
#define HMM_FRONT_HIT_H

#include "front.h"

#if HMM__FRONT

/* size <= FRONT_MOST */
HMM__ALWAYS_INLINE unsigned front_class(const struct keeper *k, size_t size)
{
    return k->class_of[(size + 15) >> FRONT_STEP_LOG];
}

HMM__ALWAYS_INLINE void *front_pop(struct keeper *k, unsigned c)
{
    struct object *p = k->chain[c];
    if (hmm__unlikely(p == NULL))
        return NULL;
    k->chain[c] = p->next;
    p->tag = 0;
    return p;
}

HMM__ALWAYS_INLINE void *front_malloc_hit(struct keeper *k, size_t size)
{
    return hmm__likely(size <= FRONT_MOST) ? front_pop(k, front_class(k, size)) : NULL;
}

/* front.c: what is rare. The arguments are in the order in which free has them at hand. */
HMM__HIDDEN void hmm__front_event(void *p, struct run *d, struct keeper *k);
/* The same on the way to a result. */
HMM__HIDDEN void *hmm__front_event_then(struct keeper *k, struct run *d, void *result);

/* The run of k's that p points into, as far as the map tells; NULL: none. */
HMM__ALWAYS_INLINE struct run *front_my_run(const struct front *f, const struct keeper *k,
                                            const void *p)
{
    size_t unit = front_unit(f, p);
    if (hmm__unlikely(unit >= FRONT_ACQUIRE(f->units)))
        return NULL;
    struct run *d = run_at(f, front_map(f)[unit]);
    return hmm__likely(run_is_of(d, k)) ? d : NULL;
}

/* Object p, in use, of run d is free; but for the counting. */
HMM__ALWAYS_INLINE void front_tag_free(const struct front *f, struct run *d, void *p)
{
    struct object **list = d->list, *o = p;
    o->tag = object_tag(f->keys.free, p);
    o->next = *list;
    *list = o;
}

/* False: p is not an object of one of k's runs, and nothing was done. */
HMM__ALWAYS_INLINE bool front_free_hit(struct front *f, struct keeper *k, void *p)
{
    struct run *d = front_my_run(f, k, p);
    if (hmm__unlikely(d == NULL))
        return false;
    if (hmm__unlikely(!run_object_is_sound(f, d, p)))
        hmm__front_unsound(p, d, "free");
    front_tag_free(f, d, p);
    if (hmm__unlikely(--d->left == 0))
        hmm__front_event(p, d, k);
    return true;
}

/* Object p of run d, in use, is given up for `to`, which gets its first `bytes`. Returns `to`. */
HMM__ALWAYS_INLINE void *front_exchange(const struct front *f, struct keeper *k, struct run *d,
                                        void *p, void *to, size_t bytes)
{
    const char *from = p;
    for (size_t i = 0; i < bytes; i += 16)
        __builtin_memcpy((char *)to + i, from + i, 16);
    front_tag_free(f, d, p);
    return hmm__likely(--d->left != 0) ? to : hmm__front_event_then(k, d, to);
}

/* An object keeps its place if it would not lose half; else, if it is not large, it changes places
 * with one of the chain. NULL: neither can be done here, and nothing was. */
HMM__ALWAYS_INLINE void *front_realloc_hit(struct front *f, struct keeper *k, void *p, size_t size)
{
    struct run *d = front_my_run(f, k, p);
    if (d == NULL || hmm__unlikely(size - 1 >= FRONT_MOST))
        return NULL;
    if (hmm__unlikely(!run_has_object(d, p) || object_is_free(f, p)))
        hmm__front_unsound(p, d, "realloc");
    unsigned c = front_class(k, size);
    size_t bytes = class_bytes(d->class);
    if (c <= d->class) {
        if (size > bytes / 2)
            return p;
        bytes = size;
    }
    if (hmm__unlikely(bytes > FRONT_COPY))
        return NULL;
    void *to = front_pop(k, c);
    return hmm__likely(to != NULL) ? front_exchange(f, k, d, p, to, bytes) : NULL;
}

#endif
#endif
