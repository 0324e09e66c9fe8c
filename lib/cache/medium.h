/* SPDX-License-Identifier: MIT */
/*
 * Kept blocks: those of medium size that were freed last, kept for the next request of their size.
 *
 * THEORY
 *
 * Programs want buffers of the same few sizes again and again. Between the front's largest object
 * and MEDIUM_MAX bytes a freed block is not given back to the heap but kept, in a table of lists by
 * its size in granules; a request of exactly that size takes it. Two sizes that meet in a place of
 * the table displace each other. All together are at most a 128th of the heap, or 4 KiB: beyond
 * that the places are emptied in turn.
 *
 * A kept block is in use as far as the heap knows, and free to the user: it is tagged like an
 * object of a run, with a key of its own. Everything here is done with the lock.
 *
 * INVARIANT
 * F5  The lists hold tagged blocks of their place's sizes, each list of one, which are in use as
 *     far as the heap knows; medium_bytes is the sum of theirs.
 */
#ifndef HMM_FRONT_KEPT_H
#define HMM_FRONT_KEPT_H

#include "cache/cache.h"
#include "heap/place.h"

#if HMM__CACHE

#define MEDIUM_MAX 8192u /* bytes of the largest that is kept */
#define MEDIUM_MIN_GRANULES ((CACHE_OBJECT_MAX + HMM_HEADER_BYTES) / HMM_GRANULE + 1)
#define MEDIUM_MAX_GRANULES ((MEDIUM_MAX + HMM_HEADER_BYTES + HMM_GRANULE - 1) / HMM_GRANULE)

HMM__ALWAYS_INLINE bool is_medium_size(uint32_t granules)
{
    return granules - MEDIUM_MIN_GRANULES <= MEDIUM_MAX_GRANULES - MEDIUM_MIN_GRANULES;
}

HMM__ALWAYS_INLINE struct object **medium_slot(struct cache *cache, uint32_t granules)
{
    return &cache->medium[granules % MEDIUM_SLOTS];
}

HMM__ALWAYS_INLINE uint32_t medium_granules(const struct object *o)
{
    return header_size(word_load((const char *)o));
}

HMM__HIDDEN HMM__COLD _Noreturn void hmm__medium_freed_twice(const void *p, const char *operation);

/* Gives all back. False: there was nothing. */
HMM__HIDDEN bool hmm__medium_empty(struct cache *cache);

/* Whether p is a kept block. Of any pointer. */
HMM__HIDDEN bool hmm__medium_has(const struct cache *cache, const void *p);

/* NULL, or what is broken. */
HMM__HIDDEN const char *hmm__medium_verify(const struct cache *cache);

HMM__ALWAYS_INLINE void medium_add(struct cache *cache, struct object **place, struct object *o,
                                   uint32_t n)
{
    o->tag = object_tag(cache->keys.medium, o);
    o->next = *place;
    *place = o;
    cache->medium_map |= UINT64_C(1) << n % MEDIUM_SLOTS;
    cache->medium_bytes += (size_t)n * HMM_GRANULE;
}

/* A kept block of just this size; NULL: there is none. */
HMM__ALWAYS_INLINE void *medium_take(struct cache *cache, size_t size)
{
    if (size > MEDIUM_MAX)
        return NULL;
    uint32_t n = hmm__granules_for(size);
    struct object **place = medium_slot(cache, n), *o = *place;
    if (o == NULL || medium_granules(o) != n)
        return NULL;
    *place = o->next;
    if (o->next == NULL)
        cache->medium_map &= ~(UINT64_C(1) << n % MEDIUM_SLOTS);
    o->tag = 0;
    cache->medium_bytes -= (size_t)n * HMM_GRANULE;
    return o;
}

/* The same where the place is another size's, or there is too much in all. True. */
HMM__HIDDEN bool hmm__medium_put(struct cache *cache, void *p, uint32_t granules);

/* Keeps block p, if it is of such a size. False: it is not, or ALIGNED, or not sound: it is for the
 * heap. */
HMM__ALWAYS_INLINE bool medium_put(struct cache *cache, void *p)
{
    struct block_view b;
    if (hmm__unlikely(!is_placed(cache->heap, p, &b) || !is_used_plainly(&b)))
        return false;
    uint32_t n = header_size(b.word);
    if (!is_medium_size(n))
        return false;
    struct object **place = medium_slot(cache, n), *o = p;
    if (hmm__unlikely(object_has_tag(cache->keys.medium, p)))
        hmm__medium_freed_twice(p, "free");
    size_t bytes = cache->medium_bytes + (size_t)n * HMM_GRANULE;
    if (hmm__unlikely(bytes > cache->medium_bytes_max ||
                      (*place != NULL && medium_granules(*place) != n)))
        return hmm__medium_put(cache, p, n);
    medium_add(cache, place, o, n);
    return true;
}

#endif
#endif
