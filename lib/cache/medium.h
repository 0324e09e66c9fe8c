/* SPDX-License-Identifier: MIT */
/*
 * Medium blocks: each thread's cache of freed blocks between the largest object and MEDIUM_MAX
 * bytes (tcmalloc: the larger size classes of a thread cache; dlmalloc and glibc: fast bins). Calls
 * the heap.
 *
 * THEORY
 *
 * Programs request buffers of similar sizes again and again. A block of medium size that a thread
 * frees does not go back to the heap. It goes to one of the thread's lists, of which there are
 * eight for each doubling of the size; a request takes the first block of its size's list, if that
 * is large enough, else of the next list, where each is. So a block has at most a quarter more than
 * was requested; usually it has exactly that.
 *
 * A thread's blocks are at most its share of a part of the heap. Beyond that the lists lose a block
 * each in turn, until a quarter of the share is free again: one acquisition of the heap's lock for
 * all of them. Before the break rises half of them go back, again and again until the request is
 * served or few are left; before a request fails, those of all threads. And what a thread has not
 * needed for a while, the least that its blocks were in that time, goes back with the pages that
 * were not needed.
 *
 * The lists are behind the lock of the thread's own, since others take blocks from them that are to
 * go back.
 *
 * To the heap a medium block is in use; to the user it is free. It has a tag, like an object of a
 * run, with a key of its own.
 *
 * INVARIANT
 * F5  The lists hold tagged blocks that the heap has as in use, each list of the sizes of its
 *     class. count is the length of each, and bytes the sum of their sizes. `listed` has a bit for
 *     each that is not empty.
 */
#ifndef HMM_CACHE_MEDIUM_H
#define HMM_CACHE_MEDIUM_H

#include "cache/run.h"
#include "cache/tick.h"
#include "heap/place.h"

#if HMM__CACHE

#define MEDIUM_LOG (HMM_GRANULE == 16 ? 6u : 7u) /* of CACHE_OBJECT_MAX in granules */
#define MEDIUM_MIN_GRANULES ((1u << MEDIUM_LOG) + 1)
#define MEDIUM_MAX_GRANULES ((1u << (MEDIUM_LOG + MEDIUM_CLASSES / 8)) - 1)
#define MEDIUM_MAX ((size_t)MEDIUM_MAX_GRANULES * HMM_GRANULE - HMM_HEADER_BYTES)

_Static_assert(1u << MEDIUM_LOG == CACHE_OBJECT_MAX / HMM_GRANULE, "classes begin above objects");

HMM__ALWAYS_INLINE bool is_medium_size(uint32_t granules)
{
    return granules - MEDIUM_MIN_GRANULES <= MEDIUM_MAX_GRANULES - MEDIUM_MIN_GRANULES;
}

/* The class whose blocks have this size: 8 * 2^i to 15 * 2^i granules begin the eight of one i. */
HMM__ALWAYS_INLINE unsigned medium_class(uint32_t granules)
{
    unsigned log2 = 31u ^ (unsigned)__builtin_clz(granules);
    return log2 * 8 + (granules >> (log2 - 3)) - (MEDIUM_LOG * 8 + 8);
}

HMM__ALWAYS_INLINE uint32_t medium_granules(const struct object *o)
{
    return header_size(word_load((const char *)o));
}

HMM__HIDDEN HMM__COLD _Noreturn void hmm__medium_freed_twice(const void *p, const char *operation);

/* Returns all of tc's medium blocks to the heap. False: there were none. With the heap's lock. */
HMM__HIDDEN bool hmm__medium_empty(struct thread_cache *tc);

/* Before the break rises: the same of a half of them, or of all, or of none if they are few; a step
 * of it. */
HMM__HIDDEN bool hmm__medium_halve(struct thread_cache *tc);

/* A step of the same of other threads than tc, from cache->idle_thread on. */
HMM__HIDDEN bool hmm__medium_empty_others(struct cache *cache, const struct thread_cache *tc);

/* Returns the medium blocks of all thread caches. */
HMM__HIDDEN bool hmm__medium_empty_all(struct cache *cache);

/* What no thread has needed since the last call is to go back; and a step of that goes. False:
 * nothing is left of it. With the heap's lock. */
HMM__HIDDEN void hmm__medium_age(struct cache *cache);
HMM__HIDDEN bool hmm__medium_return_unused(struct cache *cache);

/* The sum of all medium blocks, with their headers: exact for tc, and for others as of when they
 * last had the heap's lock. With the heap's lock. */
HMM__HIDDEN size_t hmm__medium_bytes(struct cache *cache, struct thread_cache *tc);

/* Whether p, any pointer, is a medium block. */
HMM__HIDDEN bool hmm__medium_has(const struct cache *cache, const void *p);

/* The number of tc's blocks, and the bytes. With the heap's lock. */
HMM__HIDDEN size_t hmm__medium_count(const struct thread_cache *tc, size_t *bytes);

/* NULL, or the invariant that does not hold. */
HMM__HIDDEN const char *hmm__medium_verify(const struct thread_cache *tc);

/* Whether p is a medium block, of one that is_placed so. */
HMM__ALWAYS_INLINE bool medium_is_at(const struct cache *cache, const void *p,
                                     const struct block_view *b)
{
    return is_used(b) && is_medium_size(header_size(b->word)) &&
           object_has_tag(cache->keys.medium, p);
}

/* ---- Malloc ---- */

/* The first block of class k. */
HMM__ALWAYS_INLINE void *medium_pop(struct thread_cache *tc, unsigned k)
{
    struct medium_cache *m = &tc->medium;
    struct object *o = m->list[k];
    if (hmm__unlikely(!object_has_tag(tc->cache->keys.medium, o)))
        hmm__links_broken(tc->cache->heap, block_of(tc->cache->heap, o));
    CACHE_WRITE(m->list[k], o->next);
    m->count[k]--;
    CACHE_WRITE(m->bytes, m->bytes - (size_t)medium_granules(o) * HMM_GRANULE);
    if (m->bytes < m->bytes_min)
        m->bytes_min = m->bytes;
    o->tag = 0;
    return o;
}

/* A medium block for a request above the largest object. NULL: there is none, or it is time to read
 * the clock. */
HMM__ALWAYS_INLINE void *medium_take(struct thread_cache *tc, size_t size)
{
    struct medium_cache *m = &tc->medium;
    if (size > MEDIUM_MAX)
        return NULL;
    uint32_t n = hmm__granules_for(size);
    unsigned k = medium_class(n);
    HMM_ASSERT(size > CACHE_OBJECT_MAX);
    if ((CACHE_READ(m->list[k]) == NULL && CACHE_READ(m->list[k + 1]) == NULL) ||
        cache_count_is_over(tc) || !own_lock(tc))
        return NULL;
    if (m->list[k] == NULL) {
        k++;
    } else if (medium_granules(m->list[k]) < n) {
        m->varied |= UINT64_C(1) << k;
        k++;
    }
    void *p = m->list[k] != NULL ? medium_pop(tc, k) : NULL;
    own_unlock(tc);
    return p;
}

/* From the heap, if the thread may have more than it requests. NULL: the request is for the heap as
 * it is. */
HMM__HIDDEN void *hmm__medium_refill(struct thread_cache *tc, size_t size);

HMM__ALWAYS_INLINE void *medium_refill(struct thread_cache *tc, size_t size)
{
    if (cache_is_tick_due(tc))
        hmm__cache_tick_after(tc);
    return CACHE_READ(tc->cache->in_use) < 2 ? NULL : hmm__medium_refill(tc, size);
}

/* ---- Free ---- */

/* The granules of a block in use that is not ALIGNED, by p's header and the next; 0: p, any
 * pointer, is none. Without the heap's lock: what it reads of a block that is the caller's nobody
 * writes but for PREV_FREE. */
HMM__ALWAYS_INLINE uint32_t used_granules(const struct hmm_heap *h, const char *p)
{
    size_t at = ref_or_more(h, p), top = heap_top(h);
    if (hmm__unlikely(at < h->first || at >= top))
        return 0;
    uint32_t word = word_load(p), n = header_size(word);
    return !(word & (HMM__FREE | HMM__ALIGNED)) && n <= top - at &&
                   !(word_load(p + (size_t)n * HMM_GRANULE) & HMM__PREV_FREE)
               ? n
               : 0;
}

HMM__ALWAYS_INLINE bool is_medium(const struct cache *cache, const char *p, uint32_t *granules)
{
    *granules = used_granules(cache->heap, p);
    return is_medium_size(*granules);
}

/* The caller has tc's lock. */
HMM__ALWAYS_INLINE void medium_push(struct thread_cache *tc, struct object *o, uint32_t n)
{
    struct medium_cache *m = &tc->medium;
    unsigned k = medium_class(n);
    o->tag = tc->cache->keys.medium;
    o->next = m->list[k];
    CACHE_WRITE(m->list[k], o);
    m->listed |= UINT64_C(1) << k;
    m->count[k]++;
    CACHE_WRITE(m->bytes, m->bytes + (size_t)n * HMM_GRANULE);
}

/* A single thread has blocks of so many classes: of up to 8 KiB. */
#define MEDIUM_SINGLE_CLASSES 24u

HMM__ALWAYS_INLINE bool medium_is_too_large(const struct cache *cache, uint32_t n)
{
    return medium_class(n) >= MEDIUM_SINGLE_CLASSES && CACHE_READ(cache->in_use) == 1;
}

/* As the limits stand. Of a thread without a thread cache they are 0. */
HMM__ALWAYS_INLINE bool medium_fits(const struct medium_cache *m, uint32_t n)
{
    return CACHE_READ(m->bytes) + (size_t)n * HMM_GRANULE <= m->bytes_max &&
           medium_class(n) < m->classes;
}

/* What became of a free: it is for the heap, since the block is not of medium size, or ALIGNED, or
 * not valid; it is done; or it is for hmm__medium_put. */
enum medium_put { MEDIUM_NOT, MEDIUM_PUT, MEDIUM_ELSE };

/* Frees block p to its list. `tc`: the calling thread's, or one that is not in use. */
HMM__ALWAYS_INLINE enum medium_put medium_put_hit(struct cache *cache, struct thread_cache *tc,
                                                  void *p)
{
    uint32_t n;
    if (!is_medium(cache, p, &n))
        return MEDIUM_NOT;
    if (hmm__unlikely(object_has_tag(cache->keys.medium, p) || !cache->open))
        return MEDIUM_ELSE;
    if (hmm__unlikely(!medium_fits(&tc->medium, n)))
        return medium_is_too_large(cache, n) ? MEDIUM_NOT : MEDIUM_ELSE;
    if (hmm__unlikely(!own_lock(tc)))
        return MEDIUM_ELSE;
    medium_push(tc, p, n);
    own_unlock(tc);
    cache_count(tc);
    return MEDIUM_PUT;
}

/* The same where it may be freed already, or too much as the limits stand. False: the free is for
 * the heap. */
HMM__HIDDEN bool hmm__medium_put(struct cache *cache, struct thread_cache *tc, void *p);

HMM__ALWAYS_INLINE bool medium_put(struct cache *cache, struct thread_cache *tc, void *p)
{
    enum medium_put put = medium_put_hit(cache, tc, p);
    return put == MEDIUM_ELSE ? hmm__medium_put(cache, tc, p) : put == MEDIUM_PUT;
}

#endif
#endif
