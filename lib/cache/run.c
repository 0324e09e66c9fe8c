/* SPDX-License-Identifier: MIT */
/*
 * The life of a run: its size, its place, its descriptor, the queue, its return. Called by the rest
 * of lib/cache; calls the heap. All that changes the heap or the tables is done with the lock.
 */
#include "cache/run.h"

#if HMM__CACHE

/* A run has at most half of its class's pages, RUN_PAGES_MAX, and its thread's share of a 32nd of
 * the heap: threads that sleep keep the runs from which they allocate. */
#define CLASS_SHIFT 1
#define HEAP_SHIFT 5

/* The first run of a class has room for two objects. Each later one has room for more, and is of
 * 4 KiB at least, as far as that share allows: a free list that is empty every few calls
 * costs more than a larger run can waste. */
#define FIRST_OBJECTS 2u
#define LATER_OBJECTS 4u
#define LATER_PAGES 4u

/* Empty runs that stay have at most a 32nd of the heap, all threads together: each thread cache may
 * have an equal share. Without shares, empty runs of each thread would enlarge the heap, and with
 * it what the next may have. */
#define EMPTY_SHIFT 5

/* At the end of a small run at most an 8th is lost. */
#define REST_PART 8u

/* A class gets a run when requests for so many bytes were made; where there are more threads, of up
 * to so many times as many: most of a large number of threads sleep. */
#define TRIAL_BYTES 512u
#define TRIAL_THREADS 8u

_Static_assert(RUN_PAGES_MAX *CACHE_PAGE <= 1u << 15 && 1u << 15 < RUN_FRACTION &&
                   RUN_FRACTION < (1u << 22) - (1u << 15) - CACHE_OBJECT_MAX,
               "run_has_object is exact for 2^15 bytes");
_Static_assert(RUN_PAGES_MAX < 1u << 6, "run_rest.pages has 6 bits");

/* ---- Descriptors ---- */

static void retire_descriptor(struct thread_cache *tc, struct run *d)
{
    run_set_state(d, RUN_RETIRED);
    run_rest(d)->link = tc->unused;
    tc->unused = cache_offset(tc->cache, d);
}

/* What SPLIT runs had is the pool's. */
static void take_descriptor_of_pool(struct thread_cache *tc)
{
    struct thread_cache *pool = tc->cache->pool;
    if (tc->unused == 0 && pool != NULL && pool->unused != 0) {
        tc->unused = pool->unused;
        pool->unused = run_rest(run_at(tc->cache, tc->unused))->link;
        run_rest(run_at(tc->cache, tc->unused))->link = 0;
    }
}

struct run *hmm__descriptor_new(struct thread_cache *tc)
{
    HMM_ASSERT(cache_is_locked(tc->cache));
    take_descriptor_of_pool(tc);
    if (tc->unused == 0) {
        struct run *batch = hmm__cache_extend(tc->cache, RUN_BATCH_BYTES, RUN_BATCH_BYTES);
        for (unsigned i = 0; batch != NULL && i < RUN_BATCH; i++)
            retire_descriptor(tc, &batch[i]);
    }
    struct run *d = tc->unused ? run_at(tc->cache, tc->unused) : NULL;
    if (d != NULL)
        tc->unused = run_rest(d)->link;
    return d;
}

/* In run_rest.in_hand, which is 0 otherwise, of descriptors in the list of unused ones: others are
 * RETIRED too, and in a queue yet. */
#define IS_UNUSED UINT16_MAX

static bool batch_is_unused(struct run *batch)
{
    for (unsigned i = 0; i < RUN_BATCH; i++)
        if (run_rest(&batch[i])->in_hand != IS_UNUSED)
            return false;
    return true;
}

char *hmm__descriptors_give_up(struct thread_cache *tc, char *low, char *end)
{
    int32_t list = tc->unused;
    for (int32_t at = list; at != 0; at = run_rest(run_at(tc->cache, at))->link)
        run_rest(run_at(tc->cache, at))->in_hand = IS_UNUSED;
    while ((size_t)(end - low) >= RUN_BATCH_BYTES && batch_is_unused((struct run *)(void *)low))
        low += RUN_BATCH_BYTES;
    int32_t *last = &tc->unused;
    for (int32_t at = list, next; at != 0; at = next) {
        struct run *d = run_at(tc->cache, at);
        next = run_rest(d)->link;
        run_rest(d)->in_hand = 0;
        if ((char *)d < low)
            continue;
        *last = at;
        last = &run_rest(d)->link;
    }
    *last = 0;
    return (size_t)(end - low) >= RUN_BATCH_BYTES ? low : end;
}

void hmm__descriptors_retire(struct thread_cache *tc, int32_t list)
{
    while (list != 0) {
        struct run *d = run_at(tc->cache, list);
        list = run_rest(d)->link;
        retire_descriptor(tc, d);
    }
}

void hmm__run_forget_pages(struct thread_cache *tc, struct run *d)
{
    tc->classes[d->class].pages -= run_pages(d);
    set_run_pages(d, 0);
}

void hmm__run_collect_descriptors(struct thread_cache *tc)
{
    while (tc->reclaimed != 0) {
        struct run *d = run_at(tc->cache, tc->reclaimed);
        tc->reclaimed = run_rest(d)->link;
        hmm__run_forget_pages(tc, d);
        retire_descriptor(tc, d);
    }
}

/* ---- The queue ---- */

void hmm__run_enqueue(struct thread_cache *tc, struct run *d)
{
    struct size_class *s = &tc->classes[d->class];
    int32_t entry = cache_offset(tc->cache, d);
    HMM_ASSERT(run_is_of(d, tc) && run_state(d) != RUN_RETIRED);
    run_rest(d)->link = 0;
    *(s->newest ? &run_rest(run_at(tc->cache, s->newest))->link : &s->oldest) = entry;
    s->newest = entry;
    run_set_state(d, RUN_PARTIAL);
}

struct run *hmm__run_next(const struct cache *cache, struct run *d)
{
    int32_t next = run_rest(d)->link;
    return next ? run_at(cache, next) : NULL;
}

void hmm__run_count_empty(struct thread_cache *tc, struct run *d)
{
    run_rest(d)->counted_empty = true;
    tc->empty_pages += run_pages(d);
}

void hmm__run_requeue(struct thread_cache *tc, struct run *d)
{
    hmm__run_enqueue(tc, d);
    if (run_used(d) == 0)
        hmm__run_count_empty(tc, d);
}

/* Takes d, which is behind `before`, out of the queue. before == NULL: d is the oldest. */
static void unlink_run(struct thread_cache *tc, struct size_class *s, struct run *before,
                       struct run *d)
{
    struct run_rest *r = run_rest(d);
    *(before ? &run_rest(before)->link : &s->oldest) = r->link;
    if (r->link == 0)
        s->newest = before ? cache_offset(tc->cache, before) : 0;
    if (hmm__unlikely(r->counted_empty)) {
        r->counted_empty = false;
        tc->empty_pages -= run_pages(d);
    }
}

static void unlink_retired(struct thread_cache *tc, struct size_class *s, struct run *before,
                           struct run *d)
{
    unlink_run(tc, s, before, d);
    hmm__run_forget_pages(tc, d);
    retire_descriptor(tc, d);
}

/* The oldest descriptor is not PARTIAL. A CLAIMED run is passed over: the reclaimer returns it to
 * the heap or makes it PARTIAL again. */
static HMM__COLD struct run *dequeue_next(struct thread_cache *tc, struct size_class *s)
{
    struct run *d = s->oldest ? run_at(tc->cache, s->oldest) : NULL, *before = NULL, *next;
    for (; d != NULL; d = next) {
        next = hmm__run_next(tc->cache, d);
        if (run_change_state(d, RUN_PARTIAL, RUN_ACTIVE)) {
            unlink_run(tc, s, before, d);
            return d;
        }
        if (run_state(d) == RUN_RETIRED)
            unlink_retired(tc, s, before, d);
        else
            before = d;
    }
    return NULL;
}

struct run *hmm__run_dequeue(struct thread_cache *tc, unsigned c)
{
    struct size_class *s = &tc->classes[c];
    if (s->oldest == 0)
        return NULL;
    struct run *d = run_at(tc->cache, s->oldest);
    if (hmm__unlikely(!run_change_state(d, RUN_PARTIAL, RUN_ACTIVE)))
        return dequeue_next(tc, s);
    unlink_run(tc, s, NULL, d);
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
    size_t share = (heap_bytes(cache->heap) >> HEAP_SHIFT >> CACHE_PAGE_LOG) / cache->in_use;
    uint32_t max = share < RUN_PAGES_MAX ? (uint32_t)share : RUN_PAGES_MAX;
    uint32_t pages = s->pages >> CLASS_SHIFT, later = pages_of(LATER_OBJECTS, size);
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

static void *allocate_pages(struct cache *cache, uint32_t pages, enum hmm__piece_from from)
{
    struct hmm_piece piece = {.granules = pages * (uint32_t)(CACHE_PAGE / HMM_GRANULE),
                              .align = CACHE_PAGE / HMM_GRANULE,
                              .phase = 0};
    return hmm__take_piece(cache->heap, &piece, from);
}

/* Places a run of *pages, or of fewer if no hole is so large, unless smaller holes are filled
 * without a run. */
static void *place_in_hole(struct cache *cache, uint32_t *pages, size_t size)
{
    uint32_t wanted = *pages, min = cache->splits ? wanted : min_pages(size);
    void *p = allocate_pages(cache, wanted, HMM__PIECE_OF_HOLE);
    for (uint32_t m = wanted / 2; p == NULL && m >= min; m /= 2) {
        p = allocate_pages(cache, m, HMM__PIECE_OF_HOLE);
        *pages = m;
    }
    if (p == NULL)
        *pages = wanted;
    return p;
}

/* Returns empty runs and medium blocks to the heap, and splits runs, before the break would rise.
 * Where many holes are too small for a run, one of them may be large enough for the request: *block
 * is it, and the result NULL. */
static void *place_run(struct cache *cache, uint32_t *pages, struct run_request request,
                       void **block)
{
    struct hmm_heap *h = cache->heap;
    size_t size = class_bytes(request.class);
    void *p = place_in_hole(cache, pages, size);
    uint32_t n = (*pages + 1) * (uint32_t)(CACHE_PAGE / HMM_GRANULE);
    bool rises = h->brk - h->top < n && !hmm__was_below_top(h, n), any = rises;
    while (p == NULL && any && (any = hmm__cache_reclaim_idle(cache)))
        p = place_in_hole(cache, pages, size);
    if (p == NULL && rises && (has_many_holes(cache) || hmm__split_is_unused(cache)))
        *block = hmm__try_hole(h, request.size);
    return p || *block ? p : allocate_pages(cache, *pages, HMM__PIECE_OF_TOP);
}

/* ---- A run ---- */

static void set_map(struct cache *cache, const struct run *d, uint32_t pages, int32_t entry)
{
    int32_t *map = cache_page_map(cache) + cache_page_of(cache, run_start(cache, d));
    HMM_ASSERT(cache_is_locked(cache) &&
               cache_page_of(cache, run_start(cache, d)) + pages <= cache->map_committed);
    for (uint32_t i = 0; i < pages; i++)
        map[i] = entry;
}

static uint32_t objects_in(uint32_t pages, size_t size)
{
    return (uint32_t)((pages * CACHE_PAGE - HMM_HEADER_BYTES) / size);
}

HMM__UNSEEN bool hmm__run_is_whole(const struct cache *cache, const struct run *d)
{
    const struct hmm_heap *h = cache->heap;
    hmm_ref r = block_of(h, run_start(cache, d));
    uint32_t word = block_header(h, r);
    uint32_t pages = header_size(word) / (CACHE_PAGE / HMM_GRANULE);
    return !(word & HMM__FREE) && header_size(word) <= h->top - r && pages != 0 &&
           pages == run_pages(d);
}

/* Another thread that has looked up what the descriptor described before may read it yet. */
static void describe(struct cache *cache, struct run *d, unsigned c, const char *start,
                     uint32_t pages)
{
    size_t size = class_bytes(c);
    CACHE_WRITE(d->free, NO_OBJECT);
    CACHE_WRITE(d->class, (uint8_t)c);
    CACHE_WRITE(d->list, &d->free);
    CACHE_WRITE(run_rest(d)->link, 0);
    CACHE_WRITE(run_rest(d)->where,
                (uint32_t)cache_page_of(cache, start) * RUN_WHERE_PAGES + pages);
    CACHE_WRITE(run_rest(d)->count, (uint16_t)objects_in(pages, size));
    __atomic_store_n(&run_rest(d)->below, 0, __ATOMIC_RELAXED);
    run_rest(d)->in_hand = 0;
    run_rest(d)->counted_empty = run_rest(d)->all_carved = false;
    run_set_countdown(d, 0);
    run_set_state(d, RUN_ACTIVE);
    CACHE_WRITE(d->last, low_half(start) - (uint32_t)size);
    CACHE_WRITE(d->inverse, run_inverse(size));
}

/* Counts the request; whether there were enough of them for a run. */
static bool is_worth_a_run(const struct cache *cache, struct size_class *s, size_t size)
{
    uint32_t threads = cache->in_use < TRIAL_THREADS ? cache->in_use : TRIAL_THREADS;
    return s->pages != 0 || ++s->tries * size >= threads * TRIAL_BYTES;
}

struct run *hmm__run_new(struct thread_cache *tc, struct run_request request, void **block)
{
    struct cache *cache = tc->cache;
    unsigned c = request.class;
    struct size_class *s = &tc->classes[c];
    size_t size = class_bytes(c);
    hmm__run_collect_descriptors(tc);
    uint32_t pages = is_worth_a_run(cache, s, size) ? wanted_pages(cache, s, size) : 0;
    struct run *d = pages ? hmm__descriptor_new(tc) : NULL;
    if (hmm__unlikely(cache->split_rest != 0))
        hmm__split_rest(tc);
    char *start = d ? place_run(cache, &pages, request, block) : NULL;
    if (start == NULL || !hmm__tables_cover(cache, cache_page_of(cache, start) + pages)) {
        if (start != NULL)
            hmm__free(cache->heap, start);
        if (d != NULL)
            retire_descriptor(tc, d);
        return NULL;
    }
    describe(cache, d, c, start, pages);
    __atomic_store_n(&d->owner, low_half(tc), __ATOMIC_RELAXED);
    set_map(cache, d, pages, cache_offset(cache, d));
    s->pages += pages;
    cache->run_bytes += pages * CACHE_PAGE;
    tc->empty_pages_max =
        (uint32_t)(heap_bytes(cache->heap) >> EMPTY_SHIFT >> CACHE_PAGE_LOG) / cache->in_use;
    return d;
}

static void clear_tag(char *p, uint64_t key, bool claimed)
{
    struct object *o = (struct object *)(void *)p;
    if (hmm__unlikely(!claimed && !object_has_tag(key, o)))
        hmm__freed_object_broken(o);
    o->tag = 0;
}

/* The program may not write all of the memory that it gets next: no tag may be left in it. The
 * countdown says that no object is in use, and here is the proof; the reclaimer has had its own. */
HMM__ALWAYS_INLINE void clear_tags(const struct cache *cache, const struct run *d, bool claimed)
{
    size_t size = class_bytes(d->class), n = run_carved(cache, d);
    const uint64_t key = cache->keys.free;
    char *p = run_start(cache, d);
    for (; n >= 4; n -= 4, p += 4 * size) {
        clear_tag(p, key, claimed);
        clear_tag(p + size, key, claimed);
        clear_tag(p + 2 * size, key, claimed);
        clear_tag(p + 3 * size, key, claimed);
    }
    for (; n != 0; n--, p += size)
        clear_tag(p, key, claimed);
}

/* Takes the run's memory back. It is nobody's else: RETIRED, or claimed by the reclaimer. */
static void free_pages(struct cache *cache, const struct run *d, bool claimed)
{
    void *start = run_start(cache, d);
    if (hmm__unlikely(!hmm__run_is_whole(cache, d)))
        hmm__block_broken(cache->heap, block_of(cache->heap, start));
    set_map(cache, d, run_pages(d), 0);
    cache->run_bytes -= run_pages(d) * CACHE_PAGE;
    if (claimed)
        clear_tags(cache, d, true);
    else
        clear_tags(cache, d, false);
    hmm__free(cache->heap, start);
}

/* The descriptor stays in the queue. */
void hmm__run_return(struct thread_cache *tc, struct run *d)
{
    if (!run_change_state(d, RUN_PARTIAL, RUN_RETIRED))
        return; /* it was reclaimed meanwhile */
    free_pages(tc->cache, d, false);
    if (run_rest(d)->counted_empty)
        tc->empty_pages -= run_pages(d);
    run_rest(d)->counted_empty = false;
    hmm__run_forget_pages(tc, d);
}

void hmm__run_return_claimed(struct cache *cache, struct run *d)
{
    free_pages(cache, d, true);
    run_set_state(d, RUN_RETIRED); /* from here on the descriptor is its owner's */
}

/* From the oldest run on up to `before` all were looked at: they become the newest, and the rest
 * the oldest, so that a next call goes on there. */
static void turn_queue(const struct cache *cache, struct size_class *s, struct run *before)
{
    int32_t first = s->oldest;
    s->oldest = run_rest(before)->link;
    run_rest(run_at(cache, s->newest))->link = first;
    s->newest = cache_offset(cache, before);
    run_rest(before)->link = 0;
}

bool hmm__run_trim_queue(struct thread_cache *tc, struct size_class *s, uint32_t *steps)
{
    struct run *d = s->oldest ? run_at(tc->cache, s->oldest) : NULL, *before = NULL, *next;
    bool any = false;
    for (; d != NULL && *steps != 0; d = next, --*steps) {
        uint32_t pages = run_pages(d);
        next = hmm__run_next(tc->cache, d);
        if (run_state(d) == RUN_PARTIAL && run_used(d) == 0) {
            hmm__run_return(tc, d);
            any = true;
            *steps -= *steps > pages ? pages : *steps - 1;
        }
        if (run_state(d) == RUN_RETIRED)
            unlink_retired(tc, s, before, d);
        else
            before = d;
    }
    if (d != NULL && before != NULL)
        turn_queue(tc->cache, s, before);
    return any;
}

#endif
