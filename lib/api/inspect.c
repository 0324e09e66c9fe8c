/* SPDX-License-Identifier: MIT */
/*
 * Check, walk and statistics of a heap, composed of those of the heap and of the cache: to the heap
 * a run is one block, to the user its objects are blocks. Calls the heap and the cache.
 */
#include "api/api.h"

#include "api/hooks.h"

#include "base/annotate.h"
#include "cache/inspect.h"
#include "heap/block.h"

#if !HMM__SMALL

static bool under_memcheck(const struct hmm_heap *h)
{
    return (h->check_flags & HMM__CHECK_MEMCHECK) != 0;
}

#if HMM_WITH_CHECKS

/* ---- Check ---- */

static const char *verify_cache(const struct hmm_heap *h)
{
#if HMM__CACHE
    return h->cache ? hmm__cache_verify(h->cache) : NULL;
#else
    (void)h;
    return NULL;
#endif
}

/* Writes nothing. The cast is for the strategy's check, which takes a heap that is not const. */
const char *hmm__plain_check(const struct hmm_heap *heap)
{
    if (under_memcheck(heap))
        annotate_enter();
    const char *broken = hmm__verify((struct hmm_heap *)(uintptr_t)heap);
    if (broken == NULL)
        broken = verify_cache(heap);
    if (under_memcheck(heap))
        annotate_leave();
    return broken;
}

const char *hmm_heap_check(const struct hmm_heap *heap)
{
    hmm__hooks_begin();
    const char *broken = hmm__plain_check(heap);
    hmm__hooks_end();
    return broken;
}

#endif

#if HMM_WITH_WALK

/* ---- Walk ---- */

struct visitor {
    const struct hmm_heap *heap;
    int (*visit)(void *arg, const struct hmm_block_info *);
    void *arg;
};

static int visit_objects(const struct visitor *v, struct hmm_block_info *info)
{
#if HMM__CACHE
    const struct cache *cache = v->heap->cache;
    const struct run *d = cache ? hmm__cache_run_at(cache, info->payload) : NULL;
    if (d != NULL)
        return hmm__cache_walk_run(cache, d, info, (struct object_visitor){v->visit, v->arg});
    if (cache && info->used && info->usable >= sizeof(struct object) &&
        hmm__cache_has_medium(cache, info->payload))
        info->used = 0;
#endif
    return v->visit(v->arg, info);
}

/* Error reporting is on while the user's function runs. */
static int visit_block(void *arg, const struct hmm_block_info *block)
{
    const struct visitor *v = arg;
    struct hmm_block_info info = *block;
    bool quiet = under_memcheck(v->heap);
    if (quiet)
        annotate_leave();
    int result = visit_objects(v, &info);
    if (quiet)
        annotate_enter();
    return result;
}

int hmm_heap_walk(const struct hmm_heap *heap,
                  int (*visit)(void *arg, const struct hmm_block_info *), void *arg)
{
    struct visitor v = {.heap = heap, .visit = visit, .arg = arg};
    bool quiet = under_memcheck(heap);
    hmm__hooks_begin();
    if (quiet)
        annotate_enter();
    int result = hmm__walk(heap, visit_block, &v);
#if HMM__PAGES
    if (result == 0 && heap->walk_beyond)
        result = heap->walk_beyond(visit, arg);
#endif
    if (quiet)
        annotate_leave();
    hmm__hooks_end();
    return result;
}

#endif

#if HMM_WITH_STATS

/* ---- Statistics ---- */

#if HMM__CACHE
/* In a sparse heap: the part of the page map above the blocks, and the room for descriptors that
 * are not made yet. Neither is touched. */
static size_t untouched_cache(const struct hmm_heap *h)
{
    const struct cache *cache = h->cache;
    if (!h->sparse || h->reserve == NULL)
        return 0;
    size_t blocks = (size_t)(h->brk_peak - h->first) * HMM_GRANULE;
    size_t used = ((blocks >> CACHE_PAGE_LOG) + 1) * sizeof(int32_t);
    size_t map = (size_t)(cache->end - (const char *)cache_page_map(cache));
    size_t claimed = (size_t)(cache->end - (const char *)block_payload(h, h->high_limit));
    size_t taken = (size_t)(cache->end - cache->low);
    return (map > used ? map - used : 0) + (claimed > taken ? claimed - taken : 0);
}
#endif

/* Counts the objects in use instead of the runs, and medium blocks as free. */
static void count_objects(const struct hmm_heap *h, struct hmm_stats *stats)
{
#if HMM__CACHE
    struct cache_tally t;
    if (h->cache == NULL)
        return;
    hmm__cache_tally(h->cache, &t);
    stats->live_bytes += t.object_bytes - t.run_bytes;
    stats->live_blocks += t.objects - t.runs;
    stats->free_bytes += t.run_bytes - t.object_bytes;
    stats->free_blocks += t.free_objects + t.medium_blocks;
    stats->live_bytes -= t.medium_bytes - t.medium_blocks * HMM_HEADER_BYTES;
    stats->live_blocks -= t.medium_blocks;
    stats->free_bytes += t.medium_bytes;
    stats->cached = t.run_bytes - t.object_bytes + t.medium_bytes;
    stats->control -= untouched_cache(h);
#else
    (void)h, (void)stats;
#endif
}

void hmm_heap_stats(const struct hmm_heap *heap, struct hmm_stats *stats)
{
    hmm__hooks_begin();
    if (under_memcheck(heap))
        annotate_enter();
    hmm__stats((struct hmm_heap *)(uintptr_t)heap, stats);
    if (under_memcheck(heap))
        annotate_leave();
    count_objects(heap, stats);
    hmm__hooks_end();
}

#endif

#endif
