/* SPDX-License-Identifier: MIT */
/*
 * Walk, statistics, usable size and verification of runs, whose objects are blocks to the user.
 * Reads the cache and the heap's headers; changes nothing.
 */
#include "cache/inspect.h"

#include "cache/medium.h"

#if HMM__CACHE

HMM__ALWAYS_INLINE char *object_at(const struct cache *cache, const struct run *d, uint32_t i)
{
    return (char *)run_start(cache, d) + i * class_bytes(d->class);
}

size_t hmm__cache_usable(const struct cache *cache, const struct run *d, const void *block,
                         const char *operation)
{
    bool split;
    if (!is_run(cache, d))
        return 0;
    enum run_holds holds = run_holds(cache, d, block, &split);
    if (holds == HOLDS_INVALID)
        hmm__run_object_invalid(block, d, operation);
    return holds == HOLDS_OBJECT ? class_bytes(d->class) : 0;
}

struct run *hmm__cache_run_at(const struct cache *cache, const void *payload)
{
    struct run *d = cache_run_of(cache, payload);
    if (d != NULL && run_state(d) == RUN_SPLIT)
        return hmm__split_has(cache, d, payload) ? d : NULL;
    return d != NULL && run_start(cache, d) == payload ? d : NULL;
}

bool hmm__cache_has_medium(const struct cache *cache, const void *payload)
{
    return object_has_tag(cache->keys.medium, payload);
}

/* The first run that begins in *page or above; of a SPLIT one, whose first object in use does.
 * NULL: there is none. *page becomes the next one to look at. Does not read the run's header, which
 * may have been overwritten. */
static HMM__UNSEEN struct run *next_run(const struct cache *cache, size_t *page)
{
    const int32_t *map = cache_page_map(cache);
    while (*page < cache->pages) {
        size_t at = (*page)++;
        struct run *d = map[at] ? run_at(cache, map[at]) : NULL;
        uint32_t first = 0;
        if (d == NULL)
            continue;
        if (d->state == RUN_SPLIT)
            hmm__split_island(cache, d, &first);
        if (cache_page_of(cache, object_at(cache, d, first)) == at)
            return d;
    }
    return NULL;
}

static HMM__UNSEEN void require_whole(const struct cache *cache, const struct run *d)
{
    if (hmm__unlikely(!hmm__run_is_whole(cache, d)))
        hmm__block_broken(cache->heap, block_of(cache->heap, run_start(cache, d)));
}

/* What is not carved yet is shown as one free block; the last block includes the rest of the run.
 */
static int walk_objects(const struct cache *cache, const struct run *d, size_t bytes,
                        struct object_visitor v)
{
    size_t size = class_bytes(d->class), done = 0;
    int result = 0;
    const uint32_t count = run_rest(d)->count, carved = run_carved(cache, d);
    uint32_t shown = carved < count ? carved + 1 : count;
    require_whole(cache, d);
    for (uint32_t i = 0; i < shown && result == 0; i++) {
        char *p = object_at(cache, d, i);
        bool last = i + 1 == shown;
        struct hmm_block_info info = {.payload = p,
                                      .size = last ? bytes - done : size,
                                      .usable = size,
                                      .used = i < carved && !object_is_free(cache, p)};
        if (i == carved)
            info.usable = (count - i) * size;
        done += size;
        result = v.visit(v.arg, &info);
    }
    return result;
}

/* The island at `payload` of a SPLIT run; the last block includes the rest of the island. */
static int walk_island(const struct cache *cache, const struct run *d,
                       const struct hmm_block_info *island, struct object_visitor v)
{
    size_t size = class_bytes(d->class), done = 0;
    uint32_t i = (uint32_t)((size_t)((char *)island->payload - object_at(cache, d, 0)) / size);
    uint32_t n = hmm__split_island(cache, d, &i);
    int result = 0;
    for (; n != 0 && result == 0; i++, n--) {
        char *p = object_at(cache, d, i);
        struct hmm_block_info info = {.payload = p,
                                      .size = n == 1 ? island->size - done : size,
                                      .usable = size,
                                      .used = !object_is_free(cache, p)};
        done += size;
        result = v.visit(v.arg, &info);
    }
    return result;
}

int hmm__cache_walk_run(const struct cache *cache, const struct run *d,
                        const struct hmm_block_info *block, struct object_visitor v)
{
    return d->state == RUN_SPLIT ? walk_island(cache, d, block, v)
                                 : walk_objects(cache, d, block->size, v);
}

/* With the lock. Other threads may change their objects meanwhile: each counts as it is when it is
 * read. */
static HMM__UNSEEN void tally_run(const struct cache *cache, const struct run *d,
                                  struct cache_tally *t)
{
    size_t size = class_bytes(d->class), used = 0;
    require_whole(cache, d);
    for (uint32_t i = 0, carved = run_carved(cache, d); i < carved; i++)
        used += !object_is_free(cache, object_at(cache, d, i));
    t->runs++;
    t->run_bytes +=
        block_usable(block_size(cache->heap, block_of(cache->heap, run_start(cache, d))));
    t->objects += used;
    t->object_bytes += used * size;
    t->free_objects += run_rest(d)->count - used;
}

/* The same of a SPLIT run. */
static HMM__UNSEEN void tally_split(const struct cache *cache, const struct run *d,
                                    struct cache_tally *t)
{
    size_t size = class_bytes(d->class), used = 0, all = 0;
    for (uint32_t i = 0, n; (n = hmm__split_island(cache, d, &i)) != 0; i += n) {
        t->runs++;
        t->run_bytes +=
            block_usable(block_size(cache->heap, block_of(cache->heap, object_at(cache, d, i))));
        all += n;
        for (uint32_t k = 0; k < n; k++)
            used += !object_is_free(cache, object_at(cache, d, i + k));
    }
    t->objects += used;
    t->object_bytes += used * size;
    t->free_objects += all - used;
}

HMM__UNSEEN void hmm__cache_tally(const struct cache *cache, struct cache_tally *t)
{
    *t = (struct cache_tally){0};
    for (const struct thread_cache *tc = cache->thread_caches; tc != NULL; tc = tc->next) {
        size_t bytes;
        t->medium_blocks += hmm__medium_count(tc, &bytes);
        t->medium_bytes += bytes;
    }
    size_t page = 0;
    for (const struct run *d; (d = next_run(cache, &page)) != NULL;)
        (d->state == RUN_SPLIT ? tally_split : tally_run)(cache, d, t);
}

/* ---- Verification ---- */

static const struct thread_cache *thread_cache_of(const struct cache *cache, const struct run *d)
{
    const struct thread_cache *tc = cache->thread_caches;
    while (tc != NULL && !run_is_of(d, tc))
        tc = tc->next;
    return tc;
}

static const char *check_map(const struct cache *cache, const struct run *d)
{
    const char *start = run_start(cache, d);
    size_t page = cache_page_of(cache, start);
    uint32_t pages = run_pages(d);
    if (!hmm__run_is_whole(cache, d))
        return "F1: a run is not a block in use of its size";
    for (uint32_t i = 0; i < pages; i++)
        if (cache_page_map(cache)[page + i] != (int32_t)((const char *)d - cache->table))
            return "F1: a page of a run does not lead to its descriptor";
    return NULL;
}

/* The number of objects of d in this free list; UINT32_MAX where the list is broken. A link is
 * followed only if it leads to an object. */
static uint32_t list_length(const struct cache *cache, const struct run *d, const struct object *o)
{
    const char *start = run_start(cache, d);
    uint32_t n = 0;
    for (; o != NO_OBJECT && n <= run_rest(d)->count; o = o->next, n++) {
        size_t at = (size_t)((const char *)o - start), size = class_bytes(d->class);
        if ((const char *)o < start || at % size != 0 || at >= run_carved_bytes(cache, d) ||
            !object_has_tag(cache->keys.free, o))
            return UINT32_MAX;
    }
    return n;
}

static uint32_t most_objects(const struct cache *cache)
{
    return (uint32_t)(cache->pages * (CACHE_PAGE / sizeof(struct object)));
}

/* The number of objects of d among the first `max` of a list of sent objects of any run; more than
 * d has where the list is broken. */
static uint32_t sent_length(const struct cache *cache, const struct run *d, const struct object *o,
                            uint32_t max)
{
    uint32_t n = 0, all = most_objects(cache);
    for (uint32_t i = 0; o != NULL && i < max; o = o->next, i++) {
        const struct run *of = cache_run_of(cache, o);
        if (i > all || of == NULL || !run_has_object(of, o) || !object_has_tag(cache->keys.sent, o))
            return run_rest(d)->count + 1u;
        n += of == d;
    }
    return n;
}

/* The number of objects of d in a free list that begins with o; more than d has where it is broken.
 */
static uint32_t free_list_length(const struct cache *cache, const struct run *d,
                                 const struct object *o)
{
    uint32_t n = 0, all = most_objects(cache);
    for (uint32_t i = 0; o != NO_OBJECT; o = o->next, i++) {
        const struct run *of = cache_run_of(cache, o);
        if (i > all || of == NULL || !run_may_list(cache, of, o))
            return run_rest(d)->count + 1u;
        n += of == d;
    }
    return n;
}

/* The number of objects of d that are sent, or in a thread's free list. They may be in the lists of
 * an earlier owner. Those of an orphan, which a fork may have met in the midst of a change, do not
 * count. */
static uint32_t count_elsewhere(const struct cache *cache, const struct run *d)
{
    uint32_t n = 0;
    for (const struct thread_cache *tc = cache->thread_caches; tc != NULL; tc = tc->next)
        if (tc->state != THREAD_CACHE_ORPHANED)
            n += sent_length(cache, d, tc->remote_frees, UINT32_MAX) +
                 sent_length(cache, d, tc->pending, UINT32_MAX) +
                 sent_length(cache, d, tc->batch.first, tc->batch.count) +
                 sent_length(cache, d, tc->foreign.list[d->class], UINT32_MAX) +
                 free_list_length(cache, d, tc->free_list[d->class]) +
                 free_list_length(cache, d, tc->later[d->class]);
    return n;
}

/* Whether there was a fork with other threads: objects that they were moving are in no list. */
static bool any_is_orphaned(const struct cache *cache)
{
    const struct thread_cache *tc = cache->thread_caches;
    while (tc != NULL && tc->state != THREAD_CACHE_ORPHANED)
        tc = tc->next;
    return tc != NULL;
}

static const char *check_objects(const struct cache *cache, const struct run *d)
{
    const uint32_t count = run_rest(d)->count, carved = run_carved(cache, d);
    uint32_t own = list_length(cache, d, d->free), tagged = 0;
    if (carved > count || own > count)
        return "F2: a list of free objects is broken";
    for (uint32_t i = 0; i < carved; i++)
        tagged += object_is_free(cache, object_at(cache, d, i));
    uint32_t listed = own + count_elsewhere(cache, d);
    if (tagged < listed || (tagged > listed && !any_is_orphaned(cache)))
        return "F2: a free object is in no list, or a used one in one";
    if (d->state == RUN_ACTIVE ? own != 0 && d->list != &d->free
        : d->state == RUN_FULL ? d->countdown != 1 || own != 0
                               : run_used(d) + own != carved)
        return "F3: the countdown of a run is not the number of its objects in use";
    return NULL;
}

static const char *check_active(const struct cache *cache, const struct thread_cache *tc,
                                unsigned c)
{
    const struct run *active = tc->active[c];
    int32_t joined = tc->classes[c].joined;
    if (active != NULL && (active->state != RUN_ACTIVE || !run_is_of(active, tc)))
        return "F4: the active run is not its thread cache's";
    if (tc->state == THREAD_CACHE_ABANDONED &&
        (active != NULL || joined != 0 || tc->free_list[c] != NO_OBJECT ||
         tc->later[c] != NO_OBJECT))
        return "F4: an abandoned thread cache has an active run";
    for (; joined != 0; joined = run_rest(run_at(cache, joined))->link)
        if (run_at(cache, joined)->state != RUN_ACTIVE || !run_is_of(run_at(cache, joined), tc))
            return "F4: a joined run is not its thread cache's, or not ACTIVE";
    return NULL;
}

static const char *check_queues(const struct cache *cache, const struct thread_cache *tc)
{
    uint32_t empty_pages = 0;
    for (int32_t at = tc->reclaimed; at != 0; at = run_rest(run_at(cache, at))->link)
        if (run_at(cache, at)->state != RUN_RETIRED)
            return "F4: a run that was reclaimed is not RETIRED";
    for (unsigned c = 0; c < CACHE_CLASSES; c++) {
        const struct size_class *s = &tc->classes[c];
        int32_t last = 0;
        const char *broken = check_active(cache, tc, c);
        if (broken != NULL)
            return broken;
        struct run *d = s->oldest ? run_at(cache, s->oldest) : NULL;
        if (d != NULL && tc->state == THREAD_CACHE_ABANDONED && tc->emptied && tc != cache->pool)
            return "F4: an emptied thread cache has queued runs";
        for (; d != NULL; d = hmm__run_next(cache, d)) {
            if (d->state != RUN_RETIRED && (d->state != RUN_PARTIAL || !run_is_of(d, tc)))
                return "F4: a queue holds a run that is not its thread cache's, or not PARTIAL";
            if (d->state == RUN_PARTIAL && run_used(d) == 0 && !run_rest(d)->counted_empty)
                return "F4: an empty run is not counted as empty";
            empty_pages += run_rest(d)->counted_empty ? run_pages(d) : 0;
            last = cache_offset(cache, d);
        }
        if (last != s->newest)
            return "F4: the newest run is not the last of its queue";
    }
    return empty_pages == tc->empty_pages ? NULL
                                          : "F4: empty_pages is not the pages of the empty runs";
}

/* Pages of runs that were reclaimed, and whose thread cache does not know it yet. */
static size_t reclaimed_pages(const struct cache *cache, const struct thread_cache *tc)
{
    size_t pages = 0;
    for (int32_t at = tc->reclaimed; at != 0; at = run_rest(run_at(cache, at))->link)
        pages += run_pages(run_at(cache, at));
    for (unsigned c = 0; c < CACHE_CLASSES; c++) {
        int32_t oldest = tc->classes[c].oldest;
        struct run *d = oldest ? run_at(cache, oldest) : NULL;
        for (; d != NULL; d = hmm__run_next(cache, d))
            pages += d->state == RUN_RETIRED ? run_pages(d) : 0;
    }
    return pages;
}

/* Whether the block at o, the first of n objects that abut, holds them and no other. */
static bool island_is_whole(const struct cache *cache, const struct run *d, uint32_t i, uint32_t n)
{
    const struct hmm_heap *h = cache->heap;
    uint32_t next = i + n;
    const char *p = object_at(cache, d, i), *end;
    bool last = hmm__split_island(cache, d, &next) == 0;
    uint32_t word = block_header(h, block_of(h, p));
    if ((word & HMM__FREE) || header_size(word) > h->top - block_of(h, p))
        return false;
    end = p + (size_t)header_size(word) * HMM_GRANULE;
    return end >= object_at(cache, d, i + n) + HMM_GRANULE &&
           (last || end <= object_at(cache, d, next));
}

static const char *check_split(const struct cache *cache, const struct run *d)
{
    uint32_t tagged = 0, used = 0;
    size_t page = cache_page_of(cache, object_at(cache, d, 0));
    size_t end = cache_page_of(cache, object_at(cache, d, run_rest(d)->count));
    for (; page <= end && page < cache->pages; page++)
        if ((run_at(cache, cache_page_map(cache)[page]) == d) != hmm__split_is_in(cache, d, page))
            return "F6: the page map leads to a split run from other pages than its objects'";
    for (uint32_t i = 0, n; (n = hmm__split_island(cache, d, &i)) != 0; i += n) {
        if (!island_is_whole(cache, d, i, n))
            return "F6: objects of a split run are not a used block";
        used += n;
        for (uint32_t k = 0; k < n; k++)
            tagged += object_is_free(cache, object_at(cache, d, i + k));
    }
    if (used != run_rest(d)->below)
        return "F6: a split run has not so many objects in use as it counts";
    uint32_t listed = count_elsewhere(cache, d);
    if (tagged < listed || (tagged > listed && !any_is_orphaned(cache)))
        return "F2: a free object is in no list, or a used one in one";
    return NULL;
}

static const char *check_run(const struct cache *cache, const struct run *d)
{
    if (d->state == RUN_SPLIT)
        return check_split(cache, d);
    const struct thread_cache *tc = thread_cache_of(cache, d);
    if (tc == NULL)
        return "F1: a run's owner is no thread cache";
    if (tc->state == THREAD_CACHE_ORPHANED)
        return NULL;
    const char *broken = check_map(cache, d);
    return broken ? broken : check_objects(cache, d);
}

/* Whether d's pages count for a class of a thread cache that is verified. */
static bool is_counted(const struct cache *cache, const struct run *d)
{
    const struct thread_cache *tc = d->state == RUN_SPLIT ? NULL : thread_cache_of(cache, d);
    return tc != NULL && tc->state != THREAD_CACHE_ORPHANED;
}

/* Other threads are not stopped: this is exact only while they do not use the heap. */
const char *hmm__cache_verify(const struct cache *cache)
{
    const char *broken = NULL;
    size_t pages = 0;
    size_t page = 0;
    for (const struct run *d; broken == NULL && (d = next_run(cache, &page)) != NULL;) {
        broken = check_run(cache, d);
        pages += is_counted(cache, d) ? run_pages(d) : 0;
    }
    for (const struct thread_cache *tc = cache->thread_caches; broken == NULL && tc != NULL;
         tc = tc->next) {
        if (tc->state == THREAD_CACHE_ORPHANED)
            continue;
        broken = check_queues(cache, tc);
        if (broken == NULL)
            broken = hmm__medium_verify(tc);
        pages += reclaimed_pages(cache, tc);
        for (unsigned c = 0; c < CACHE_CLASSES; c++)
            pages -= tc->classes[c].pages;
    }
    if (broken == NULL && pages != 0)
        broken = "F4: the pages of the classes are not those of the runs";
    return broken;
}

#endif
