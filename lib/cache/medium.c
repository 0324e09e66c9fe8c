/* SPDX-License-Identifier: MIT */
/*
 * Medium blocks: displacing, shrinking and checking. medium.h has the theory. Calls the heap.
 */
#include "cache/medium.h"

#if HMM__CACHE

#define MEDIUM_SHIFT 7
#define MEDIUM_BYTES_MIN ((size_t)4096)

void hmm__medium_freed_twice(const void *p, const char *operation)
{
    hmm__panic(operation, p, "double free, or not a block: it is not in use");
}

static void return_one(struct cache *cache, struct object **slot)
{
    struct object *o = *slot;
    if (o->next != NULL && hmm__unlikely(!hmm__medium_has(cache, o->next)))
        hmm__links_broken(cache->heap, block_of(cache->heap, o));
    HMM_ASSERT(cache_is_locked(cache));
    *slot = o->next;
    cache->medium_bytes -= (size_t)medium_granules(o) * HMM_GRANULE;
    o->tag = 0;
    if (*slot == NULL)
        cache->medium_map &= ~(UINT64_C(1) << (slot - cache->medium));
    hmm__free(cache->heap, o);
}

static void empty_slot(struct cache *cache, struct object **slot)
{
    while (*slot != NULL)
        return_one(cache, slot);
}

/* The first slot from clock_hand on that is not empty; there is one. */
static struct object **next_slot(struct cache *cache)
{
    uint64_t above = cache->medium_map & UINT64_MAX << cache->clock_hand;
    unsigned i = (unsigned)__builtin_ctzll(above ? above : cache->medium_map);
    HMM_ASSERT(i < MEDIUM_SLOTS && cache->medium[i] != NULL);
    cache->clock_hand = (i + 1) % MEDIUM_SLOTS;
    return &cache->medium[i];
}

/* Returns one block of each slot in turn, until the sum is an eighth below its limit, which follows
 * the size of the heap. */
static void medium_shrink(struct cache *cache)
{
    const struct hmm_heap *h = cache->heap;
    size_t max = ((size_t)(h->brk - h->first) * HMM_GRANULE) >> MEDIUM_SHIFT;
    cache->medium_bytes_max = max > MEDIUM_BYTES_MIN ? max : MEDIUM_BYTES_MIN;
    while (cache->medium_bytes > cache->medium_bytes_max - cache->medium_bytes_max / 8)
        return_one(cache, next_slot(cache));
}

bool hmm__medium_put(struct cache *cache, void *p, uint32_t granules)
{
    struct object **slot = medium_slot(cache, granules);
    if (*slot != NULL && medium_granules(*slot) != granules)
        empty_slot(cache, slot);
    medium_push(cache, slot, p, granules);
    if (cache->medium_bytes > cache->medium_bytes_max)
        medium_shrink(cache);
    return true;
}

bool hmm__medium_empty(struct cache *cache)
{
    if (cache->medium_map == 0)
        return false;
    while (cache->medium_map != 0)
        empty_slot(cache, next_slot(cache));
    return true;
}

bool hmm__medium_has(const struct cache *cache, const void *p)
{
    struct block_view b;
    return is_placed(cache->heap, p, &b) && medium_is_at(cache, p, &b);
}

const char *hmm__medium_verify(const struct cache *cache)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < MEDIUM_SLOTS; i++) {
        for (const struct object *o = cache->medium[i]; o != NULL; o = o->next) {
            if (!hmm__medium_has(cache, o)) /* o may be any pointer */
                return "F5: a medium block is not tagged, or free";
            uint32_t n = medium_granules(o);
            if (n % MEDIUM_SLOTS != i || n != medium_granules(cache->medium[i]))
                return "F5: a medium block is in the wrong slot";
            bytes += (size_t)n * HMM_GRANULE;
            if (bytes > cache->medium_bytes)
                break;
        }
    }
    for (unsigned i = 0; i < MEDIUM_SLOTS; i++)
        if ((cache->medium[i] != NULL) != (cache->medium_map >> i & 1))
            return "F5: medium_map does not tell the slots that are not empty";
    return bytes == cache->medium_bytes ? NULL
                                        : "F5: medium_bytes is not the sum of the medium blocks";
}

#endif
