/* SPDX-License-Identifier: MIT */
/*
 * Medium blocks: the cache of freed blocks between the largest object and MEDIUM_MAX bytes
 * (dlmalloc and glibc: fast bins). Calls the heap.
 *
 * THEORY
 *
 * Programs request buffers of the same few sizes again and again. A freed block of medium size does
 * not go back to the heap. It goes to a table of free lists, at its size in granules modulo the
 * number of slots; a request of exactly that size takes it. A list has blocks of one size: a block
 * of another size that has the same slot displaces them. The sum of all is at most a 128th of the
 * heap, or 4 KiB: beyond that, the slots lose a block each in turn (clock_hand).
 *
 * To the heap a medium block is in use; to the user it is free. It has a tag, like an object of a
 * run, with a key of its own. Everything here needs the lock.
 *
 * INVARIANT
 * F5  The lists hold tagged blocks that the heap has as in use, each list of one size, which its
 *     slot is for. medium_bytes is the sum of their sizes, and a bit of medium_map is set iff its
 *     slot is not empty.
 */
#ifndef HMM_CACHE_MEDIUM_H
#define HMM_CACHE_MEDIUM_H

#include "cache/cache.h"
#include "heap/place.h"

#if HMM__CACHE

#define MEDIUM_MAX 8192u /* bytes of the largest */
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

/* Returns all medium blocks to the heap. False: there were none. */
HMM__HIDDEN bool hmm__medium_empty(struct cache *cache);

/* Whether p, any pointer, is a medium block. */
HMM__HIDDEN bool hmm__medium_has(const struct cache *cache, const void *p);

/* NULL, or the invariant that does not hold. */
HMM__HIDDEN const char *hmm__medium_verify(const struct cache *cache);

/* The same of one that is_placed so. */
HMM__ALWAYS_INLINE bool medium_is_at(const struct cache *cache, const void *p,
                                     const struct block_view *b)
{
    return is_used(b) && is_medium_size(header_size(b->word)) &&
           object_has_tag(cache->keys.medium, p);
}

HMM__ALWAYS_INLINE void medium_push(struct cache *cache, struct object **slot, struct object *o,
                                    uint32_t n)
{
    HMM_ASSERT(cache_is_locked(cache) && is_medium_size(n));
    HMM_ASSERT(slot == medium_slot(cache, n) && (*slot == NULL || medium_granules(*slot) == n));
    o->tag = object_tag(cache->keys.medium, o);
    o->next = *slot;
    *slot = o;
    cache->medium_map |= UINT64_C(1) << n % MEDIUM_SLOTS;
    cache->medium_bytes += (size_t)n * HMM_GRANULE;
}

/* A medium block of exactly this size; NULL: there is none. */
HMM__ALWAYS_INLINE void *medium_take(struct cache *cache, size_t size)
{
    if (size > MEDIUM_MAX)
        return NULL;
    uint32_t n = hmm__granules_for(size);
    struct object **slot = medium_slot(cache, n), *o = *slot;
    if (o == NULL || medium_granules(o) != n)
        return NULL;
    HMM_ASSERT(cache_is_locked(cache));
    *slot = o->next;
    if (o->next == NULL)
        cache->medium_map &= ~(UINT64_C(1) << n % MEDIUM_SLOTS);
    o->tag = 0;
    cache->medium_bytes -= (size_t)n * HMM_GRANULE;
    return o;
}

/* Puts block p where its slot has another size, or the sum becomes too large. Returns true. */
HMM__HIDDEN bool hmm__medium_put(struct cache *cache, void *p, uint32_t granules);

/* Frees block p to its slot. False: the block is not of medium size, or ALIGNED, or not valid: the
 * free is for the heap. */
HMM__ALWAYS_INLINE bool medium_put(struct cache *cache, void *p)
{
    struct block_view b;
    if (hmm__unlikely(!is_placed(cache->heap, p, &b) || !is_used_plainly(&b)))
        return false;
    uint32_t n = header_size(b.word);
    if (!is_medium_size(n))
        return false;
    struct object **slot = medium_slot(cache, n), *o = p;
    if (hmm__unlikely(object_has_tag(cache->keys.medium, p)))
        hmm__medium_freed_twice(p, "free");
    size_t bytes = cache->medium_bytes + (size_t)n * HMM_GRANULE;
    if (hmm__unlikely(bytes > cache->medium_bytes_max ||
                      (*slot != NULL && medium_granules(*slot) != n)))
        return hmm__medium_put(cache, p, n);
    medium_push(cache, slot, o, n);
    return true;
}

#endif
#endif
