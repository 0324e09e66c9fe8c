/* SPDX-License-Identifier: MIT */
/*
 * The figures of a heap. All are kept as the heap works, but for the largest free block, which the
 * strategy knows.
 */
#include "annotate.h"
#include "front_look.h"

static uint32_t largest_by_walk(const struct hmm_heap *h)
{
    uint32_t most = 0;
    for (hmm_ref r = h->first, next; r != h->top; r = next) {
        uint32_t word = block_header(h, r);
        next = block_step(h, r, word);
        if ((word & HMM__FREE) && header_size(word) > most)
            most = header_size(word);
    }
    return most;
}

/* What the free top could serve, were the break at the limit. */
static uint32_t top_room(const struct hmm_heap *h)
{
    uint32_t room = h->limit - h->top;
    return room > HMM_MAX_GRANULES ? HMM_MAX_GRANULES : room;
}

/* A strategy that does not know is not asked in other ways: they would take as long as there are
 * blocks. */
static size_t largest_request(struct hmm_heap *h)
{
    uint32_t most = h->strategy->largest ? h->strategy->largest(h, h->state) : 0;
    if (hmm__unlikely(most > free_granules(h))) /* a header was overwritten: the walk says which */
        most = largest_by_walk(h);
    if (top_room(h) > most)
        most = top_room(h);
    return most >= HMM_MIN_GRANULES ? block_usable(most) : 0;
}

static size_t bytes(const struct hmm_heap *h, uint32_t granules)
{
    return (size_t)granules * HMM_GRANULE + h->skew;
}

/* ---- Control structures ---- */

/* In a sparse heap they are laid out for all of the region, and are touched in proportion to what
 * of it has blocks. What such a part takes, were the break at `to`. */
static size_t state_bytes(const struct hmm_heap *h, hmm_ref to)
{
    size_t whole = h->strategy->state_size(hmm_heap_capacity(h));
    size_t part = whole;
    if (h->sparse)
        part = h->strategy->state_size((size_t)(to - h->first) * HMM_GRANULE);
    return part < whole ? part : whole;
}

/* What of the low end no state has touched. */
static size_t untouched_low(const struct hmm_heap *h, hmm_ref to)
{
    if (!h->sparse)
        return 0;
    return low_bytes(h) - (h->state_place == HMM__STATE_LOW ? state_bytes(h, to) : 0);
}

static size_t high_bytes(const struct hmm_heap *h)
{
    return h->state_place == HMM__STATE_HIGH ? state_bytes(h, h->brk_peak) : 0;
}

/* What the front has of the region's high end. */
static size_t front_bytes(const struct hmm_heap *h)
{
#if HMM__FRONT
    return h->front ? (size_t)(h->front->end - (char *)h) - (size_t)h->high_limit * HMM_GRANULE : 0;
#else
    (void)h;
    return 0;
#endif
}

/* Of its map what leads from no block, and the room for descriptors that are not made yet. */
static size_t untouched_front(const struct hmm_heap *h)
{
#if HMM__FRONT
    if (!h->sparse || h->front == NULL)
        return 0;
    size_t blocks = (size_t)(h->brk_peak - h->first) * HMM_GRANULE;
    size_t used = ((blocks >> FRONT_UNIT_LOG) + 1) * sizeof(int32_t);
    size_t map = (size_t)(h->front->end - (const char *)front_map(h->front));
    size_t claimed = front_bytes(h), taken = (size_t)(h->front->end - h->front->low);
    return (map > used ? map - used : 0) + (claimed > taken ? claimed - taken : 0);
#else
    (void)h;
    return 0;
#endif
}

/* From the region's first byte to the first block, and what lies high. */
static size_t control_bytes(const struct hmm_heap *h)
{
    size_t high = h->state_place == HMM__STATE_HIGH ? h->high_limit - h->limit : 0;
    size_t all = bytes(h, h->first) - HMM_HEADER_BYTES + high * HMM_GRANULE + front_bytes(h);
    if (!h->sparse)
        return all;
    return all - untouched_low(h, h->brk_peak) - untouched_front(h) -
           (high * HMM_GRANULE - high_bytes(h));
}

/* What is used below the break, were it at `brk`. */
static size_t used_bytes(const struct hmm_heap *h, hmm_ref brk)
{
    return bytes(h, brk) - untouched_low(h, brk);
}

size_t hmm__used_peak(const struct hmm_heap *h)
{
    size_t peak = used_bytes(h, h->brk_peak);
    return peak > h->used_peak ? peak : h->used_peak;
}

/* Instead of its runs the objects that are in use. */
static void count_objects(const struct hmm_heap *h, struct hmm_stats *stats)
{
#if HMM__FRONT
    struct front_tally t;
    if (h->front == NULL)
        return;
    hmm__front_tally(h->front, &t);
    stats->live_bytes += t.object_bytes - t.run_bytes;
    stats->live_blocks += t.objects - t.runs;
    stats->free_bytes += t.run_bytes - t.object_bytes;
    stats->free_blocks += t.free_objects + t.kept_blocks;
    stats->live_bytes -= t.kept_bytes - t.kept_blocks * HMM_HEADER_BYTES;
    stats->live_blocks -= t.kept_blocks;
    stats->free_bytes += t.kept_bytes;
    stats->cached = t.run_bytes - t.object_bytes + t.kept_bytes;
#else
    (void)h, (void)stats;
#endif
}

void hmm_heap_stats(const struct hmm_heap *heap, struct hmm_stats *stats)
{
    bool quiet = (heap->watch & HMM__WATCH_VALGRIND) != 0;
    if (quiet)
        annotate_enter();
    size_t largest = largest_request((struct hmm_heap *)(uintptr_t)heap);
    if (quiet)
        annotate_leave();
    *stats = (struct hmm_stats){.capacity = bytes(heap, heap->limit) + front_bytes(heap),
                                .reserved = bytes(heap, heap->capacity),
                                .control = control_bytes(heap),
                                .brk = used_bytes(heap, heap->brk),
                                .brk_peak = hmm__used_peak(heap),
                                .live_bytes = live_bytes(heap),
                                .live_peak = heap->live_peak > heap->live_peak_then
                                                 ? heap->live_peak
                                                 : heap->live_peak_then,
                                .live_blocks = live_blocks(heap),
                                .free_bytes = (size_t)free_granules(heap) * HMM_GRANULE,
                                .free_blocks = free_blocks(heap),
                                .largest_free = largest,
                                .top_bytes = (size_t)(heap->brk - heap->top) * HMM_GRANULE,
                                .splits = heap->splits + heap->bin_splits,
                                .merges = heap->merges,
                                .visited = heap->visited + heap->bin_splits + heap->bin_whole,
                                .failed = heap->failed};
    count_objects(heap, stats);
}
