/* SPDX-License-Identifier: MIT */
/*
 * The fast path: malloc, free and realloc as far as the thread's own thread cache can do them. Each
 * instruction counts here. What is rare is a call of refill.c. cache.h has the theory.
 */
#ifndef HMM_CACHE_FAST_PATH_H
#define HMM_CACHE_FAST_PATH_H

#include "cache/run.h"
#include "cache/tick.h"

#if HMM__CACHE

/* size <= CACHE_OBJECT_MAX */
HMM__ALWAYS_INLINE unsigned cache_class(const struct thread_cache *tc, size_t size)
{
    HMM_ASSERT(size <= CACHE_OBJECT_MAX);
    return tc->class_of[size];
}

/* NULL: the free list is empty, or what it leads to is no free object, which a refill reports. */
HMM__ALWAYS_INLINE void *cache_pop(struct thread_cache *tc, unsigned c)
{
    struct object *p = tc->free_list[c];
    hmm__forget(p); /* else gcc copies it once more */
    if (hmm__unlikely(!object_has_tag(tc->key, p)))
        return NULL;
    tc->free_list[c] = p->next;
    p->tag = 0;
    return p;
}

HMM__ALWAYS_INLINE void *cache_malloc_hit(struct thread_cache *tc, size_t size)
{
    return hmm__likely(size <= CACHE_OBJECT_MAX) ? cache_pop(tc, cache_class(tc, size)) : NULL;
}

/* refill.c: the event of a run's countdown. The arguments are in the registers where free has them,
 * so that it can jump there. */
HMM__HIDDEN void hmm__on_countdown_zero(void *p, struct run *d, struct thread_cache *tc);
/* The same; returns `result`. */
HMM__HIDDEN __attribute__((returns_nonnull)) void *
hmm__on_countdown_zero_then(struct thread_cache *tc, struct run *d, void *result);

/* Whether d, as it was looked up, is a run of tc. */
HMM__ALWAYS_INLINE bool is_my_run(const struct thread_cache *tc, const struct run *d)
{
    return hmm__likely(d != NULL) && hmm__likely(run_is_of(d, tc));
}

/* Tags object p of run d as free and pushes it to the list, in front of `first`. The caller counts
 * down. */
HMM__ALWAYS_INLINE void cache_push(const struct cache *cache, struct object **list,
                                   struct object *first, void *p)
{
    struct object *o = p;
    o->tag = cache->keys.free;
    o->next = first;
    *list = o;
}

HMM__ALWAYS_INLINE void cache_push_free(const struct cache *cache, struct run *d, void *p)
{
    cache_push(cache, d->list, *d->list, p);
}

/* Frees p, an object of d, which is a run of tc. `first` is the first of d's free list. */
HMM__ALWAYS_INLINE void cache_free_valid(const struct cache *cache, struct thread_cache *tc,
                                         struct run *d, struct object *first, void *p)
{
    cache_push(cache, d->list, first, p);
    if (hmm__unlikely(run_count_down(d)))
        hmm__on_countdown_zero(p, d, tc);
}

/* Frees p, for which d was looked up. False: it is not in a run of tc, and nothing was done.
 * Whether p is free already is told without reading it if it is the last that was freed; else
 * malloc finds it (see the theory). */
HMM__ALWAYS_INLINE bool cache_free_hit(struct cache *cache, struct thread_cache *tc, struct run *d,
                                       void *p)
{
    if (hmm__unlikely(!is_my_run(tc, d)))
        return false;
    struct object *first = *d->list;
    if (hmm__unlikely(!run_has_object(d, p) || first == p))
        hmm__run_object_invalid(p, d, "free");
    cache_free_valid(cache, tc, d, first, p);
    return true;
}

/* Copies few bytes, a multiple of 16, without a call. */
HMM__ALWAYS_INLINE void copy_object(char *to, const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 16)
        __builtin_memcpy(to + i, from + i, 16);
}

/* Where an object of `usable` bytes is to grow to `size`: what to request, if that costs little.
 * One that grows by less than a quarter gets a quarter more, since it may be a string that grows by
 * little again and again. Objects of which few bytes are copied get none: cache_realloc_hit moves
 * them at less cost. */
HMM__ALWAYS_INLINE size_t cache_with_slack(const struct cache *cache, size_t usable, size_t size)
{
    const size_t slack = size / 4;
    if (!cache->open || usable <= CACHE_COPY_MAX || size > CACHE_OBJECT_MAX ||
        size - usable > slack)
        return size;
    return size + slack < CACHE_OBJECT_MAX ? size + slack : CACHE_OBJECT_MAX;
}

/* Object p, for which d was looked up, stays where it is if the new size fits and is more than half
 * of its size. Else, if few bytes are to be copied, it moves to an object of the free list. NULL:
 * neither; nothing was done. */
HMM__ALWAYS_INLINE void *cache_realloc_hit(const struct cache *cache, struct thread_cache *tc,
                                           struct run *d, void *p, size_t size)
{
    if (!is_my_run(tc, d) || hmm__unlikely(size - 1 >= CACHE_OBJECT_MAX))
        return NULL;
    if (hmm__unlikely(!run_has_object(d, p) || object_is_free(cache, p)))
        hmm__run_object_invalid(p, d, "realloc");
    unsigned was = d->class, c = cache_class(tc, size);
    if (c == was || (c < was && size > class_bytes(was) / 2))
        return cache_count_then(tc, p);
    size_t bytes = c < was ? size : ((size_t)was + 1) * 16; /* class_bytes, as far as it matters */
    if (hmm__unlikely(bytes > CACHE_COPY_MAX))
        return NULL;
    void *to = cache_pop(tc, c);
    if (hmm__unlikely(to == NULL))
        return NULL;
    copy_object(to, p, bytes);
    cache_push_free(cache, d, p);
    return hmm__likely(!run_count_down(d)) ? to : hmm__on_countdown_zero_then(tc, d, to);
}

#endif
#endif
