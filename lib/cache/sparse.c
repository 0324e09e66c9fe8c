/* SPDX-License-Identifier: MIT */
/*
 * Which runs are split (split.c), when, and how many at a time. Called by reclaim.c and run.c;
 * calls split.c and run.c. All is done with the lock.
 */
#include "cache/run.h"

#if HMM__CACHE

/* In a step as much is to become free as a 128th of what runs have, and as the break would rise by:
 * with less than the latter the break rises beside runs that are to be split. A look is at so many
 * runs, and objects in use of those that are split; the next new runs do the rest of the step. */
#define SPLIT_SHIFT 7
#define SPLIT_LOOK 4096u

/* What a step has made free is as good as unused as long as less than this part of a step is used:
 * to look for more at each request would take long where there are few. */
#define UNUSED_PART 64u

/* A run is split if at most half of it is in use, or, where none such was found, three quarters;
 * and only while the former, or the holes that were left by splitting, are at least a 32nd of what
 * runs have. Whether they are is asked each time that the heap has grown by a 64th of that. */
#define SPLIT_QUARTERS 2u
#define SPLIT_QUARTERS_MAX 3u
#define WORTH_SHIFT 5
#define WORTH_MIN ((size_t)256 << 10)
#define SURVEY_SHIFT 6
#define SURVEY_LOOK 64u

/* Whether d, which is queued, is to be split. */
static bool is_sparse(const struct run *d, uint32_t quarters)
{
    uint32_t used = run_used(d);
    return used != 0 && used != run_rest(d)->count && used * 4 <= run_rest(d)->count * quarters;
}

/* An estimate of the bytes that are free in the runs of a queue that are to be split. Of a long
 * queue the first runs tell, and half of the class's other pages count as queued. */
static size_t sparse_bytes_of(const struct thread_cache *tc, const struct size_class *s)
{
    size_t bytes = 0, pages = 0;
    int32_t at = s->oldest;
    for (unsigned look = SURVEY_LOOK; at != 0 && look != 0; look--) {
        const struct run *d = run_at(tc->cache, at);
        pages += run_pages(d);
        if (run_state(d) == RUN_PARTIAL && is_sparse(d, SPLIT_QUARTERS))
            bytes += (run_rest(d)->count - run_used(d)) * class_bytes(d->class);
        at = run_rest(d)->link;
    }
    if (at != 0 && s->pages > pages && pages != 0)
        bytes += bytes / pages * ((s->pages - pages) / 2);
    return bytes;
}

static size_t sparse_bytes(const struct thread_cache *tc)
{
    size_t bytes = 0;
    for (unsigned c = 0; c < CACHE_CLASSES; c++)
        bytes += sparse_bytes_of(tc, &tc->classes[c]);
    return bytes;
}

/* Splits d, which was dequeued, or queues it as the newest. Returns the bytes that are free now. */
static size_t split_or_requeue(struct thread_cache *tc, struct run *d, uint32_t quarters)
{
    size_t bytes = (run_rest(d)->count - run_used(d)) * class_bytes(d->class);
    if (is_sparse(d, quarters) && hmm__split_run(tc, d))
        return bytes;
    hmm__run_requeue(tc, d);
    return 0;
}

/* Runs of which at most so many quarters are in use are split until so many bytes became free, or
 * so many runs were looked at, and objects in use of those that were split. */
struct split_plan {
    size_t wanted, look; /* what is left of them */
    uint32_t quarters;
    bool any; /* some were */
};

/* Of a queue of tc's. The first run that stays tells when all were looked at: it is met again. */
static void split_queue(struct thread_cache *tc, unsigned c, struct split_plan *p)
{
    const struct size_class *s = &tc->classes[c];
    int32_t stays = 0; /* as an entry of the page map */
    while (p->wanted != 0 && p->look != 0 && s->oldest != stays) {
        struct run *d = hmm__run_dequeue(tc, c);
        if (d == NULL)
            return;
        if (cache_offset(tc->cache, d) == stays) { /* it was behind RETIRED descriptors */
            hmm__run_requeue(tc, d);
            return;
        }
        size_t bytes = split_or_requeue(tc, d, p->quarters);
        if (bytes == 0 && stays == 0)
            stays = cache_offset(tc->cache, d);
        p->wanted -= bytes < p->wanted ? bytes : p->wanted;
        p->any |= bytes != 0;
        size_t cost = 1 + (bytes != 0 ? run_rest(d)->below : 0);
        p->look -= cost < p->look ? cost : p->look;
    }
}

/* Of all of tc's. */
static void split_queues(struct thread_cache *tc, struct split_plan *p)
{
    for (unsigned i = 0; i < CACHE_CLASSES && p->wanted != 0 && p->look != 0; i++) {
        unsigned c = tc->cache->split_class;
        split_queue(tc, c, p);
        if (p->wanted != 0)
            tc->cache->split_class = (c + 1) % CACHE_CLASSES;
    }
}

/* Whether so much is in the queues' runs that are to be split, or, if some were ever split, in
 * holes, that it is worth the work. */
static bool is_worth_splitting(const struct cache *cache, const struct thread_cache *tc)
{
    size_t wanted = cache->run_bytes >> WORTH_SHIFT;
    size_t bytes = cache->was_split ? (size_t)free_granules(cache->heap) * HMM_GRANULE : 0;
    if (wanted < WORTH_MIN)
        wanted = WORTH_MIN;
    if (tc != NULL)
        bytes += sparse_bytes(tc);
    if (cache->pool != NULL)
        bytes += sparse_bytes(cache->pool);
    for (const struct thread_cache *t = cache->abandoned; t != NULL; t = t->next_abandoned)
        bytes += sparse_bytes(t);
    return bytes >= wanted;
}

/* Decides anew whether runs are split, each time that the heap has grown by a part of what runs
 * have, or is smaller by more. */
static void survey(struct cache *cache, const struct thread_cache *tc)
{
    const struct hmm_heap *h = cache->heap;
    uint32_t part = (uint32_t)((cache->run_bytes >> SURVEY_SHIFT) / HMM_GRANULE);
    if ((h->brk < cache->survey_brk && h->brk + 4 * part >= cache->survey_brk) ||
        cache->run_bytes < WORTH_MIN)
        return;
    cache->survey_brk = h->brk + part;
    cache->splits = is_worth_splitting(cache, tc);
    if (!cache->splits)
        cache->split_rest = 0;
}

/* Of tc, which may be NULL, of the pool, and of ended threads, which are few. Where one has nothing
 * to be split, the next is looked through as well. */
static bool carry_out(struct cache *cache, struct thread_cache *tc, struct split_plan *plan)
{
    const size_t look = plan->look;
    if (tc != NULL)
        split_queues(tc, plan);
    plan->look = plan->any ? plan->look : look;
    if (cache->pool != NULL)
        split_queues(cache->pool, plan);
    for (struct thread_cache *t = cache->abandoned; t != NULL; t = t->next_abandoned) {
        plan->look = plan->any ? plan->look : look;
        split_queues(t, plan);
    }
    return plan->any;
}

bool hmm__split_all(struct cache *cache, struct thread_cache *tc)
{
    return cache->open && carry_out(cache, tc, &(struct split_plan){SIZE_MAX, SIZE_MAX, 4, false});
}

/* A part of a step that is to free so many bytes yet. Where nothing is found, it is not looked
 * again before the break has risen. */
static bool split_part(struct cache *cache, struct thread_cache *tc, size_t wanted)
{
    struct split_plan plan = {wanted, SPLIT_LOOK, SPLIT_QUARTERS, false};
    if (!carry_out(cache, tc, &plan)) {
        plan = (struct split_plan){wanted, SPLIT_LOOK, SPLIT_QUARTERS_MAX, false};
        carry_out(cache, tc, &plan);
    }
    cache->split_rest = plan.any ? plan.wanted : 0;
    cache->split_brk = cache->heap->brk;
    cache->split_holes = plan.any ? free_granules(cache->heap) : 0;
    return plan.any;
}

/* In granules. */
static uint32_t step_of(const struct cache *cache)
{
    uint32_t part = (uint32_t)((cache->run_bytes >> SPLIT_SHIFT) / HMM_GRANULE);
    uint32_t step = hmm__brk_step(cache->heap);
    return step > part ? step : part;
}

/* Whether what was free after the last step is free yet but for so much. */
static bool is_unused(const struct cache *cache, uint32_t but)
{
    const struct hmm_heap *h = cache->heap;
    return h->brk == cache->split_brk && free_granules(h) + but >= cache->split_holes;
}

bool hmm__split_is_unused(const struct cache *cache)
{
    return cache->splits && cache->split_holes != 0 &&
           is_unused(cache, step_of(cache) / UNUSED_PART);
}

bool hmm__split_some(struct cache *cache, struct thread_cache *tc)
{
    const uint32_t step = step_of(cache);
    survey(cache, tc);
    if (!cache->open || !cache->splits ||
        is_unused(cache, has_many_holes(cache) ? step / 2 : step / UNUSED_PART))
        return false;
    return split_part(cache, tc, (size_t)step * HMM_GRANULE);
}

void hmm__split_rest(struct thread_cache *tc)
{
    split_part(tc->cache, tc, tc->cache->split_rest);
}

#endif
