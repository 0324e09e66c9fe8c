/* SPDX-License-Identifier: MIT */
/*
 * Runs come and go: how large one is made, where it is placed, its descriptor, the queue.
 */
#include "cache/cache.h"

#if HMM__CACHE

/* A run is at most half of what its class holds, 32 KiB, and a 32nd of the heap. */
#define HELD_SHIFT 1
#define HEAP_SHIFT 5
#define RUN_PAGES_MAX 32u

/* The first run of a class has room for two objects. Each later one has room for more, and is of
 * 4 KiB at least, as far as a 32nd of the heap allows: a free list that is empty every few calls
 * costs more than a larger run can waste. */
#define FIRST_OBJECTS 2u
#define LATER_OBJECTS 4u
#define LATER_PAGES 4u

/* What may be idle of the heap, in all: a keeper's share is one part of as many as are busy. Were
 * it the whole, what each leaves idle would let the next leave more. */
#define EMPTY_SHIFT 5

/* Of a run that is small no more than one part in so many is to be lost at its end. */
#define REST_PART 8u

/* A class must have been wanted for so many bytes before it gets a run. */
#define TRIAL_BYTES 512u

#define ALIGN_UP(n, to) (((n) + (to)-1) & ~((size_t)(to)-1))

/* ---- The high end ---- */

/* The region's high end, from `low` on, is the front's. An entry of the map, and the low half of a
 * keeper's address, reach so far from the table. */
static bool claim(struct cache *cache, const char *low)
{
    if ((uintptr_t)low < cache->base || cache->table - low > INT32_MAX)
        return false;
    size_t at = ((uintptr_t)low - cache->base) / HMM_GRANULE;
    return at >= cache->heap->high_limit || hmm__high_lower(cache->heap, (hmm_ref)at);
}

/* Makes [low, low_committed) writable, in steps that grow. */
static bool commit_low(struct cache *cache, char *low)
{
    const struct hmm__page_source *source = cache->heap->page_source;
    if (source == NULL || low >= cache->low_committed)
        return true;
    size_t step = ALIGN_UP((size_t)(cache->low_committed - low), 4096);
    if (!source->commit(cache->low_committed - step, cache->low_committed))
        return false;
    cache->low_committed -= step;
    return true;
}

void *hmm__cache_extend(struct cache *cache, size_t bytes, size_t align)
{
    char *low = cache->low - bytes;
    low -= (uintptr_t)low & (align - 1);
    if (!claim(cache, low) || !commit_low(cache, low))
        return NULL;
    cache->low = low;
    return memset(low, 0, bytes);
}

/* What lies below it may soon be a strategy's state, and not to be had: a 32nd of the room that
 * there is, which is a descriptor for each unit, is set aside. */
void hmm__cache_reserve(struct cache *cache)
{
    struct hmm_heap *h = cache->heap;
    uint32_t wanted = (h->high_limit - h->top) / 32;
    uint32_t have = (uint32_t)(((uintptr_t)cache->low - cache->base) / HMM_GRANULE) - h->high_limit;
    if (have < wanted)
        hmm__high_lower(h, h->high_limit - (wanted - have));
}

/* So that the map can be read below `unit`. */
static bool map_to(struct cache *cache, size_t page)
{
    size_t max = (size_t)cache->heap->high_limit * HMM_GRANULE >> CACHE_PAGE_LOG;
    const struct hmm__page_source *source = cache->heap->page_source;
    int32_t *map = cache_page_map(cache);
    if (page > cache->map_committed) {
        size_t to = source ? ALIGN_UP(page, 1024) : ALIGN_UP(page, 16);
        to = to < max ? to : max;
        if (source && !source->commit((char *)(map + cache->map_committed), (char *)(map + to)))
            return false;
        hmm__clear(cache->heap, (char *)(map + cache->map_committed),
                   (to - cache->map_committed) * sizeof *map);
        cache->map_committed = to;
    }
    if (page > cache->pages)
        __atomic_store_n(&cache->pages, page, __ATOMIC_RELEASE);
    return true;
}

/* ---- Descriptors ---- */

static void discard(struct thread_cache *tc, struct run *d)
{
    d->state = RUN_RETIRED;
    run_rest(d)->link = tc->unused;
    tc->unused = cache_offset(tc->cache, d);
}

static struct run *descriptor(struct thread_cache *tc)
{
    if (tc->unused == 0) {
        struct run *batch = hmm__cache_extend(tc->cache, RUN_BATCH_BYTES, RUN_BATCH_BYTES);
        for (unsigned i = 0; batch != NULL && i < RUN_BATCH; i++)
            discard(tc, &batch[i]);
    }
    struct run *d = tc->unused ? run_at(tc->cache, tc->unused) : NULL;
    if (d != NULL)
        tc->unused = run_rest(d)->link;
    return d;
}

/* ---- The queue ---- */

void hmm__run_enqueue(struct thread_cache *tc, struct run *d)
{
    struct size_class *s = &tc->classes[d->class];
    int32_t entry = cache_offset(tc->cache, d);
    d->state = RUN_PARTIAL;
    run_rest(d)->link = 0;
    *(s->newest ? &run_rest(run_at(tc->cache, s->newest))->link : &s->oldest) = entry;
    s->newest = entry;
}

static struct run *unlink_oldest(struct cache *cache, struct size_class *s)
{
    struct run *d = run_at(cache, s->oldest);
    s->oldest = run_rest(d)->link;
    if (s->oldest == 0)
        s->newest = 0;
    return d;
}

/* Descriptors at its old end whose runs have gone go as well: the oldest run is there. */
static void shorten(struct thread_cache *tc, struct size_class *s)
{
    while (s->oldest != 0 && run_at(tc->cache, s->oldest)->state == RUN_RETIRED)
        discard(tc, unlink_oldest(tc->cache, s));
}

struct run *hmm__run_next(const struct cache *cache, struct run *d)
{
    int32_t next = run_rest(d)->link;
    return next ? run_at(cache, next) : NULL;
}

struct run *hmm__run_dequeue(struct thread_cache *tc, unsigned c)
{
    struct size_class *s = &tc->classes[c];
    if (s->oldest == 0)
        return NULL;
    struct run *d = unlink_oldest(tc->cache, s);
    if (hmm__unlikely(d->countdown == 0))
        tc->empty_pages -= hmm__run_pages(tc->cache, d);
    shorten(tc, s);
    return d;
}

/* ---- How large ---- */

static bool loses_little(uint32_t pages, size_t size)
{
    size_t bytes = pages * CACHE_PAGE - HMM_HEADER_BYTES;
    return bytes % size * REST_PART <= bytes;
}

static size_t heap_bytes(const struct hmm_heap *h)
{
    return (size_t)(h->brk - h->first) * HMM_GRANULE;
}

/* Pages that so many objects take. */
static uint32_t pages_of(uint32_t objects, size_t size)
{
    return (uint32_t)((objects * size + HMM_HEADER_BYTES + CACHE_PAGE - 1) >> CACHE_PAGE_LOG);
}

static uint32_t min_pages(size_t size)
{
    return pages_of(FIRST_OBJECTS, size);
}

static uint32_t wanted_pages(const struct cache *cache, const struct size_class *s, size_t size)
{
    size_t heap = heap_bytes(cache->heap) >> HEAP_SHIFT >> CACHE_PAGE_LOG;
    uint32_t max = heap < RUN_PAGES_MAX ? (uint32_t)heap : RUN_PAGES_MAX;
    uint32_t pages = s->pages >> HELD_SHIFT, later = pages_of(LATER_OBJECTS, size);
    later = later > LATER_PAGES ? later : LATER_PAGES;
    if (s->pages != 0 && pages < later)
        pages = later;
    pages = pages < max ? pages : max;
    pages = pages > min_pages(size) ? pages : min_pages(size);
    while (pages < RUN_PAGES_MAX && !loses_little(pages, size))
        pages++;
    return pages;
}

/* ---- Where ---- */

static void *take_pages(struct cache *cache, uint32_t pages, enum hmm__piece_from from)
{
    struct hmm_piece piece = {.granules = pages * (uint32_t)(CACHE_PAGE / HMM_GRANULE),
                              .align = CACHE_PAGE / HMM_GRANULE,
                              .phase = 0};
    return hmm__take_piece(cache->heap, &piece, from);
}

/* In a hole; if there is none so large, in a smaller one. */
static void *place_in_hole(struct cache *cache, uint32_t *pages, size_t size)
{
    uint32_t wanted = *pages, min = min_pages(size);
    void *p = take_pages(cache, wanted, HMM__PIECE_OF_HOLE);
    for (uint32_t m = wanted / 2; p == NULL && m >= min; m /= 2) {
        p = take_pages(cache, m, HMM__PIECE_OF_HOLE);
        *pages = m;
    }
    if (p == NULL)
        *pages = wanted;
    return p;
}

/* Before the break moves what is idle is given back. */
static void *place_run(struct cache *cache, uint32_t *pages, size_t size)
{
    const struct hmm_heap *h = cache->heap;
    void *p = place_in_hole(cache, pages, size);
    if (p == NULL && h->brk - h->top < (*pages + 1) * (CACHE_PAGE / HMM_GRANULE) &&
        hmm__cache_reclaim_idle(cache))
        p = place_in_hole(cache, pages, size);
    return p ? p : take_pages(cache, *pages, HMM__PIECE_OF_TOP);
}

/* ---- A run ---- */

static void set_map(struct cache *cache, const struct run *d, uint32_t pages, int32_t entry)
{
    int32_t *map = cache_page_map(cache) + cache_page_of(cache, run_start(cache, d));
    for (uint32_t i = 0; i < pages; i++)
        map[i] = entry;
}

HMM__UNSEEN uint32_t hmm__run_pages(const struct cache *cache, const struct run *d)
{
    const char *start = run_start(cache, d);
    return block_size(cache->heap, block_of(cache->heap, start)) / (CACHE_PAGE / HMM_GRANULE);
}

static uint32_t objects_in(uint32_t pages, size_t size)
{
    return (uint32_t)((pages * CACHE_PAGE - HMM_HEADER_BYTES) / size);
}

HMM__UNSEEN bool hmm__run_is_whole(const struct cache *cache, const struct run *d)
{
    const struct hmm_heap *h = cache->heap;
    hmm_ref r = block_of(h, run_start(cache, d));
    uint32_t word = block_header(h, r), pages = hmm__run_pages(cache, d);
    return !(word & HMM__FREE) && header_size(word) <= h->top - r && pages != 0 &&
           objects_in(pages, class_bytes(d->class)) == run_rest(d)->count;
}

static void describe(struct cache *cache, struct run *d, unsigned c, const char *start,
                     uint32_t pages)
{
    size_t size = class_bytes(c);
    d->free = NULL;
    d->countdown = run_rest(d)->carved = 0;
    run_rest(d)->count = (uint16_t)objects_in(pages, size);
    d->class = (uint8_t)c;
    d->state = RUN_ACTIVE;
    d->list = &d->free;
    d->high = (uint8_t)(((uint64_t)((uintptr_t)start - cache->base) >> 32) & 15);
    d->start = low_half(start);
    d->inverse = UINT32_MAX / (uint32_t)size + 1;
}

/* Is one wanted, after so few requests? */
static bool is_worth_it(struct size_class *s, size_t size)
{
    return s->pages != 0 || ++s->tries * size >= TRIAL_BYTES;
}

struct run *hmm__run_new(struct thread_cache *tc, unsigned c)
{
    struct cache *cache = tc->cache;
    struct size_class *s = &tc->classes[c];
    size_t size = class_bytes(c);
    uint32_t pages = is_worth_it(s, size) ? wanted_pages(cache, s, size) : 0;
    struct run *d = pages ? descriptor(tc) : NULL;
    char *start = d ? place_run(cache, &pages, size) : NULL;
    if (start == NULL || !map_to(cache, cache_page_of(cache, start) + pages)) {
        if (start != NULL)
            hmm__free(cache->heap, start);
        if (d != NULL)
            discard(tc, d);
        return NULL;
    }
    describe(cache, d, c, start, pages);
    __atomic_store_n(&d->owner, low_half(tc), __ATOMIC_RELAXED);
    set_map(cache, d, pages, cache_offset(cache, d));
    s->pages += pages;
    tc->empty_pages_max =
        (uint32_t)(heap_bytes(cache->heap) >> EMPTY_SHIFT >> CACHE_PAGE_LOG) / cache->in_use;
    return d;
}

static void wipe_tag(char *p)
{
    ((struct object *)(void *)p)->tag = 0;
}

/* What the run's bytes become next, a program may leave unwritten: no tag is to be in them. */
static void wipe_tags(const struct cache *cache, const struct run *d)
{
    size_t size = class_bytes(d->class), n = run_rest(d)->carved;
    char *p = run_start(cache, d);
    for (; n >= 4; n -= 4, p += 4 * size) {
        wipe_tag(p);
        wipe_tag(p + size);
        wipe_tag(p + 2 * size);
        wipe_tag(p + 3 * size);
    }
    for (; n != 0; n--, p += size)
        wipe_tag(p);
}

/* It is in the queue. */
void hmm__run_return(struct thread_cache *tc, struct run *d)
{
    struct cache *cache = tc->cache;
    struct size_class *s = &tc->classes[d->class];
    void *start = run_start(cache, d);
    uint32_t pages = hmm__run_pages(cache, d);
    if (hmm__unlikely(!hmm__run_is_whole(cache, d)))
        hmm__block_broken(cache->heap, block_of(cache->heap, start));
    set_map(cache, d, pages, 0);
    s->pages -= pages;
    d->state = RUN_RETIRED;
    wipe_tags(cache, d);
    hmm__free(cache->heap, start);
    shorten(tc, s);
}

#endif
