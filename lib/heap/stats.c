/* SPDX-License-Identifier: MIT */
/*
 * The statistics of a heap. All come from counts that malloc and free update, except the largest
 * free block, which the strategy knows. Calls the strategy's `largest`.
 */
#include "heap/block.h"

#if HMM_WITH_STATS || !HMM__SMALL

#if HMM_WITH_STATS

static uint32_t largest_by_walk(const struct hmm_heap *h)
{
    uint32_t max = 0;
    for (hmm_ref r = h->first, next; r != h->top; r = next) {
        uint32_t word = block_header(h, r);
        next = block_step(h, r, word);
        if ((word & HMM__FREE) && header_size(word) > max)
            max = header_size(word);
    }
    return max;
}

/* The largest request that the free top could serve with the break at the limit. */
static uint32_t top_room(const struct hmm_heap *h)
{
    uint32_t room = h->limit - h->top;
    return room > HMM_MAX_GRANULES ? HMM_MAX_GRANULES : room;
}

/* Without the strategy's `largest` only the top counts: a walk would take time in proportion to the
 * blocks. */
static size_t largest_request(struct hmm_heap *h)
{
    uint32_t max = hooks_of(h)->largest ? hooks_of(h)->largest(h, state_of(h)) : 0;
    if (hmm__unlikely(max > free_granules(h))) /* a header was overwritten: the walk says which */
        max = largest_by_walk(h);
    if (top_room(h) > max)
        max = top_room(h);
    return max >= HMM_MIN_GRANULES ? block_usable(max) : 0;
}

#endif

static size_t bytes(const struct hmm_heap *h, uint32_t granules)
{
    return (size_t)granules * HMM_GRANULE + h->skew;
}

#if HMM__SMALL

void hmm__stats(struct hmm_heap *heap, struct hmm_stats *stats)
{
    *stats = (struct hmm_stats){.capacity = bytes(heap, heap->limit),
                                .reserved = bytes(heap, heap->limit),
                                .control = bytes(heap, heap->first) - HMM_HEADER_BYTES,
                                .brk = bytes(heap, heap->top),
                                .brk_peak = bytes(heap, heap->top_peak),
                                .live_bytes = live_bytes(heap),
                                .live_peak = heap->live_peak,
                                .live_blocks = live_blocks(heap),
                                .free_bytes = (size_t)free_granules(heap) * HMM_GRANULE,
                                .free_blocks = free_blocks(heap),
                                .largest_free = largest_request(heap),
                                .splits = heap->splits,
                                .merges = heap->merges,
                                .visited = heap->visited,
                                .failed = heap->failed};
}

static uint32_t smallest_by_walk(const struct hmm_heap *h)
{
    uint32_t min = 0;
    for (hmm_ref r = h->first, next; r != h->top; r = next) {
        uint32_t word = block_header(h, r);
        next = block_step(h, r, word);
        if ((word & HMM__FREE) && (min == 0 || header_size(word) < min))
            min = header_size(word);
    }
    return min;
}

size_t hmm__smallest_free(struct hmm_heap *h)
{
    if (!(hooks_of(h)->flags & HMM_STRATEGY_BY_SIZE))
        return (size_t)smallest_by_walk(h) * HMM_GRANULE;
    hmm_ref r = hooks_of(h)->find(h, state_of(h), HMM_MIN_GRANULES);
    return r != 0 ? (size_t)block_size(h, r) * HMM_GRANULE : 0;
}

#else

/* ---- Control structures ---- */

/* The bytes of the state that are touched. In a sparse heap the state is laid out for the whole
 * region, and touched as if the region ended at the break `to`. */
static size_t state_bytes(const struct hmm_heap *h, hmm_ref to)
{
    size_t whole = hooks_of(h)->state_size(hmm_heap_capacity(h));
    size_t part = whole;
    if (h->sparse)
        part = hooks_of(h)->state_size((size_t)(to - h->first) * HMM_GRANULE);
    return part < whole ? part : whole;
}

/* It counts as if it lay at the low end. */
static size_t apart_bytes(const struct hmm_heap *h, hmm_ref to)
{
    return h->state_place == HMM__STATE_APART ? state_bytes(h, to) : 0;
}

/* Bytes for a state at the low end that no state has touched. */
static size_t untouched_low(const struct hmm_heap *h, hmm_ref to)
{
    if (!h->sparse)
        return 0;
    return low_bytes(h) - (h->state_place == HMM__STATE_LOW ? state_bytes(h, to) : 0);
}

#if HMM_WITH_STATS

static size_t high_bytes(const struct hmm_heap *h)
{
    return h->state_place == HMM__STATE_HIGH ? state_bytes(h, h->brk_peak) : 0;
}

/* The cache's part of the region's high end. */
static size_t cache_bytes(const struct hmm_heap *h)
{
    return h->cache ? (size_t)(h->region - h->high_limit) * HMM_GRANULE : 0;
}

/* From the region's first byte to the first block, and what is at the high end. */
static size_t control_bytes(const struct hmm_heap *h)
{
    size_t high = h->state_place == HMM__STATE_HIGH ? h->high_limit - h->limit : 0;
    size_t all = bytes(h, h->first) - HMM_HEADER_BYTES + high * HMM_GRANULE + cache_bytes(h);
    if (!h->sparse)
        return all;
    return all - untouched_low(h, h->brk_peak) - (high * HMM_GRANULE - high_bytes(h)) +
           apart_bytes(h, h->brk_peak);
}

#endif

/* The bytes below the break that are in use, if the break is at `brk`. */
static size_t used_bytes(const struct hmm_heap *h, hmm_ref brk)
{
    return bytes(h, brk - gap_granules(h)) - untouched_low(h, brk) + apart_bytes(h, brk);
}

size_t hmm__used_peak(const struct hmm_heap *h)
{
    size_t peak = used_bytes(h, h->brk_peak);
    return peak > h->used_peak ? peak : h->used_peak;
}

#if HMM_WITH_STATS

/* Of the table of large free blocks what may be touched. */
static size_t large_bytes(const struct hmm_heap *h)
{
    size_t bytes =
        h->large ? hmm__large_table_bytes((size_t)(h->brk_peak - h->first) * HMM_GRANULE) : 0;
    return bytes < h->large_bytes ? bytes : h->large_bytes;
}

static size_t reserved_bytes(const struct hmm_heap *h)
{
    const struct hmm__page_source *source = h->page_source;
    return source && source->mapped ? source->mapped() + h->huge_bytes
                                    : bytes(h, h->region) + h->large_bytes;
}

void hmm__stats(struct hmm_heap *heap, struct hmm_stats *stats)
{
    *stats = (struct hmm_stats){.capacity = bytes(heap, heap->limit) + cache_bytes(heap) +
                                            heap->large_bytes,
                                .reserved = reserved_bytes(heap),
                                .control = control_bytes(heap) + large_bytes(heap),
                                .brk = used_bytes(heap, heap_brk(heap)),
                                .brk_peak = hmm__used_peak(heap),
                                .live_bytes = live_bytes(heap),
                                .live_peak = heap->live_peak,
                                .live_blocks = live_blocks(heap) + heap->huge_blocks,
                                .free_bytes = (size_t)free_granules(heap) * HMM_GRANULE,
                                .free_blocks = free_blocks(heap),
                                .largest_free = largest_request(heap),
                                .released = heap->released,
                                .top_bytes = (size_t)(heap_brk(heap) - heap->top) * HMM_GRANULE,
                                .splits = heap->splits + heap->bin_splits,
                                .merges = heap->merges,
                                .visited = heap->visited + heap->bin_splits + heap->bin_whole,
                                .failed = heap->failed};
}

#endif

#endif
#endif
