/* SPDX-License-Identifier: MIT */
/*
 * Where a cache's tables lie: thread caches and descriptors, which grow downward from `table`, and
 * the page map above it. Two places are possible:
 *
 *     in the region      at its high end. The heap gives up as much as the tables need, while
 *                        nothing lies there; it cannot grow.
 *     in own memory      which the opener of the cache provides, for a region that may grow: the
 *                        page map is as long as the largest one needs.
 *
 * Calls the heap and its page source. All is done with the lock.
 */
#include "cache/run.h"

#if HMM__CACHE

#define ALIGN_UP(n, to) (((n) + (to)-1) & ~((size_t)(to)-1))

/* ---- In the region ---- */

static bool claim_in_region(struct cache *cache, const char *low)
{
    if ((uintptr_t)low < cache->base)
        return false;
    size_t at = (size_t)(low - (const char *)cache->heap) / HMM_GRANULE;
    return at >= cache->heap->high_limit || hmm__high_lower(cache->heap, (hmm_ref)at);
}

/* A strategy's state placed below the cache's part would end its growth. So a 32nd of the free top
 * is reserved first: room for a descriptor of 32 bytes for each page of 1 KiB. */
static void reserve_in_region(struct hmm_heap *h)
{
    const struct cache *cache = h->cache;
    uint32_t wanted = (h->high_limit - h->top) / 32;
    uint32_t have =
        (uint32_t)((size_t)(cache->low - (const char *)h) / HMM_GRANULE) - h->high_limit;
    if (have < wanted)
        hmm__high_lower(h, h->high_limit - (wanted - have));
}

static bool release_in_region(struct cache *cache)
{
    struct hmm_heap *h = cache->heap;
    hmm_ref to = (hmm_ref)((size_t)(cache->low - (const char *)h) / HMM_GRANULE);
    if (h->state_place == HMM__STATE_HIGH || to <= h->high_limit)
        return false;
    hmm__high_raise(h, to, to);
    return true;
}

static const struct cache_place tables_in_region = {claim_in_region, reserve_in_region,
                                                    release_in_region};

/* ---- In own memory ---- */

static bool claim_in_memory(struct cache *cache, const char *low)
{
    return low >= cache->lowest;
}

static const struct cache_place tables_in_memory = {claim_in_memory, NULL, NULL};

/* ---- Both ---- */

/* Lays out `no run` and a map of so many pages, which end at `end`. */
static bool lay_out_tables(struct cache *cache, char *end, size_t pages)
{
    size_t bytes = sizeof(struct run) + pages * sizeof(int32_t);
    if (bytes > (uintptr_t)end)
        return false;
    char *table = (char *)(((uintptr_t)end - bytes) & ~(uintptr_t)63);
    cache->end = end;
    cache->map_max = pages;
    cache->low = cache->low_committed = cache->table = table;
    if (!cache->place->claim(cache, table) ||
        (cache->source && !cache->source->commit(table, table + sizeof(struct run)))) {
        cache->table = NULL;
        return false;
    }
    return true;
}

bool hmm__tables_open(struct cache *cache, const struct cache_memory *memory)
{
    struct hmm_heap *h = cache->heap;
    size_t capacity = (size_t)h->high_limit * HMM_GRANULE;
    cache->place = memory ? &tables_in_memory : &tables_in_region;
    cache->source = memory ? memory->source : h->page_source;
    cache->lowest = memory ? memory->from : NULL;
    size_t region = memory ? memory->region_max : capacity, below = cache->base - (uintptr_t)h;
    size_t pages = region > below ? (region - below) >> CACHE_PAGE_LOG : 0;
    return lay_out_tables(cache, memory ? memory->to : (char *)h + capacity, pages);
}

/* Commits [low, low_committed), in steps of at least 4 KiB. */
static bool commit_low(struct cache *cache, char *low)
{
    if (cache->source == NULL || low >= cache->low_committed)
        return true;
    size_t step = ALIGN_UP((size_t)(cache->low_committed - low), 4096);
    if (!cache->source->commit(cache->low_committed - step, cache->low_committed))
        return false;
    cache->low_committed -= step;
    return true;
}

/* An entry of the page map, and the low half of a thread cache's address, reach INT32_MAX bytes
 * from the table. */
void *hmm__cache_extend(struct cache *cache, size_t bytes, size_t align)
{
    HMM_ASSERT(cache_is_locked(cache));
    char *low = cache->low - bytes;
    low -= (uintptr_t)low & (align - 1);
    if (cache->table - low > INT32_MAX || !cache->place->claim(cache, low) ||
        !commit_low(cache, low))
        return NULL;
    cache->low = low;
    return memset(low, 0, bytes);
}

bool hmm__tables_release(struct cache *cache)
{
    if (cache->place->release == NULL || cache->first_low == NULL)
        return false;
    cache->low = hmm__descriptors_give_up(cache->thread_cache, cache->low, cache->first_low);
    if (cache->low_committed < cache->low) /* the heap may unmap what lies below */
        cache->low_committed = cache->low;
    return cache->place->release(cache);
}

bool hmm__tables_cover(struct cache *cache, size_t page)
{
    int32_t *map = cache_page_map(cache);
    if (page > cache->map_max)
        return false;
    if (page > cache->map_committed) {
        size_t to = cache->source ? ALIGN_UP(page, 1024) : ALIGN_UP(page, 16);
        to = to < cache->map_max ? to : cache->map_max;
        if (cache->source &&
            !cache->source->commit((char *)(map + cache->map_committed), (char *)(map + to)))
            return false;
        hmm__clear(cache->heap, (char *)(map + cache->map_committed),
                   (to - cache->map_committed) * sizeof *map);
        cache->map_committed = to;
    }
    if (page > cache->pages)
        __atomic_store_n(&cache->pages, page, __ATOMIC_RELEASE);
    return true;
}

#endif
