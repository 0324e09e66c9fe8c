/* SPDX-License-Identifier: MIT */
#include "cache/medium.h"

#if HMM__CACHE

#define MEDIUM_SHIFT 7
#define MEDIUM_BYTES_MIN ((size_t)4096)

void hmm__medium_freed_twice(const void *p, const char *operation)
{
    hmm__panic(operation, p, "double free, or not a block: it is not in use");
}

static void give_back_one(struct cache *cache, struct object **place)
{
    struct object *o = *place;
    if (o->next != NULL && hmm__unlikely(!hmm__medium_has(cache, o->next)))
        hmm__links_broken(cache->heap, block_of(cache->heap, o));
    *place = o->next;
    cache->medium_bytes -= (size_t)medium_granules(o) * HMM_GRANULE;
    o->tag = 0;
    if (*place == NULL)
        cache->medium_map &= ~(UINT64_C(1) << (place - cache->medium));
    hmm__free(cache->heap, o);
}

static void displace(struct cache *cache, struct object **place)
{
    while (*place != NULL)
        give_back_one(cache, place);
}

/* The next place, from the hand on, that is not empty; there is one. */
static struct object **next_place(struct cache *cache)
{
    uint64_t above = cache->medium_map & UINT64_MAX << cache->clock_hand;
    unsigned i = (unsigned)__builtin_ctzll(above ? above : cache->medium_map);
    cache->clock_hand = (i + 1) % MEDIUM_SLOTS;
    return &cache->medium[i];
}

/* One block of each place in turn, until an eighth of what may be kept is free. */
static void medium_shrink(struct cache *cache)
{
    const struct hmm_heap *h = cache->heap;
    size_t max = ((size_t)(h->brk - h->first) * HMM_GRANULE) >> MEDIUM_SHIFT;
    cache->medium_bytes_max = max > MEDIUM_BYTES_MIN ? max : MEDIUM_BYTES_MIN;
    while (cache->medium_bytes > cache->medium_bytes_max - cache->medium_bytes_max / 8)
        give_back_one(cache, next_place(cache));
}

bool hmm__medium_put(struct cache *cache, void *p, uint32_t granules)
{
    struct object **place = medium_slot(cache, granules);
    if (*place != NULL && medium_granules(*place) != granules)
        displace(cache, place);
    medium_add(cache, place, p, granules);
    if (cache->medium_bytes > cache->medium_bytes_max)
        medium_shrink(cache);
    return true;
}

bool hmm__medium_empty(struct cache *cache)
{
    if (cache->medium_map == 0)
        return false;
    while (cache->medium_map != 0)
        displace(cache, next_place(cache));
    return true;
}

bool hmm__medium_has(const struct cache *cache, const void *p)
{
    struct block_view b;
    return is_placed(cache->heap, p, &b) && is_used(&b) && is_medium_size(header_size(b.word)) &&
           object_has_tag(cache->keys.medium, p);
}

const char *hmm__medium_verify(const struct cache *cache)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < MEDIUM_SLOTS; i++) {
        for (const struct object *o = cache->medium[i]; o != NULL; o = o->next) {
            if (!hmm__medium_has(cache, o)) /* any pointer may stand here */
                return "F5: a kept block is not tagged, or free";
            uint32_t n = medium_granules(o);
            if (n % MEDIUM_SLOTS != i || n != medium_granules(cache->medium[i]))
                return "F5: a kept block is in the wrong place";
            bytes += (size_t)n * HMM_GRANULE;
            if (bytes > cache->medium_bytes)
                break;
        }
    }
    for (unsigned i = 0; i < MEDIUM_SLOTS; i++)
        if ((cache->medium[i] != NULL) != (cache->medium_map >> i & 1))
            return "F5: kept_map does not tell the places that are not empty";
    return bytes == cache->medium_bytes ? NULL : "F5: kept_bytes is not the sum of the kept blocks";
}

#endif
