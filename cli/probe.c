/* SPDX-License-Identifier: MIT */
/*
 * Figures of one strategy on one trace, from passes in regions of chosen sizes.
 */
#include "compare.h"

#include <string.h>

#define PAGE 4096u
#define LARGEST_REGION (sizeof(size_t) > 4 ? UINT64_C(64) << 30 : UINT64_C(1) << 30)

static uint64_t at_most(uint64_t size, uint64_t most)
{
    return size < most ? size : most;
}

static uint64_t step_up(uint64_t size)
{
    return (size + PROBE_STEP - 1) / PROBE_STEP * PROBE_STEP;
}

bool probe_completes(const struct probe *p, uint64_t size, bool *completes)
{
    return replay_completes(p->replay, p->strategy, (size_t)size, completes);
}

/* ---- The smallest heap ---- */

/* From `high`, which completes, downwards by doubled steps to a size that fails. No heap is smaller
 * than what lives in it. */
static bool gallop(const struct probe *p, uint64_t *high, uint64_t *low)
{
    const uint64_t floor = at_most(p->replay->sum->peak_bytes, *high) / PROBE_STEP * PROBE_STEP;
    bool good = true;
    for (uint64_t step = step_up(*high / 256); good; step *= 2) {
        *low = *high > floor + step ? *high - step : floor;
        if (*low == floor) {
            good = false; /* there must be a header at least, and control structures */
            break;
        }
        if (!probe_completes(p, *low, &good))
            return false;
        if (good)
            *high = *low;
    }
    return true;
}

/* The least of doubled sizes that completes; 0: none does. */
static bool raise(const struct probe *p, uint64_t *high)
{
    bool good = false;
    for (uint64_t size = step_up(at_most(*high, LARGEST_REGION));; size *= 2) {
        size = at_most(size, LARGEST_REGION);
        if (!probe_completes(p, size, &good))
            return false;
        *high = good ? size : 0;
        if (good || size == LARGEST_REGION)
            return true;
    }
}

bool probe_smallest(const struct probe *p, uint64_t hint, uint64_t *smallest)
{
    const struct hmm_trace_summary *sum = p->replay->sum;
    uint64_t high = hint != 0 ? hint : sum->peak_bytes + sum->peak_blocks * UINT64_C(64) + PAGE;
    uint64_t low = 0;
    *smallest = 0;
    if (!raise(p, &high))
        return false;
    if (high == 0)
        return true;
    if (!gallop(p, &high, &low))
        return false;
    while (high - low > PROBE_STEP) {
        const uint64_t middle = low + (high - low) / 2 / PROBE_STEP * PROBE_STEP;
        bool good;
        if (!probe_completes(p, middle, &good))
            return false;
        *(good ? &high : &low) = middle;
    }
    *smallest = high;
    return true;
}

/* ---- The heap at the peak of what lives ---- */

struct tally {
    uint64_t blocks, block_bytes, usable;
    uint64_t holes, largest_hole;
};

static int count_block(void *arg, const struct hmm_block_info *b)
{
    struct tally *t = arg;
    if (b->used) {
        t->blocks++;
        t->block_bytes += b->size;
        t->usable += b->usable;
    } else {
        t->holes++;
        t->largest_hole = b->size > t->largest_hole ? b->size : t->largest_hole;
    }
    return 0;
}

struct peak {
    uint64_t live, most, failed;
    bool seen;
    struct tally tally;
};

/* The bytes that live after the operation. */
static void account(struct peak *k, const struct replay *r, const struct hmm_trace_op *op,
                    bool was_dead, bool done)
{
    const bool is_new = op->kind == HMM_TRACE_ALLOC || op->kind == HMM_TRACE_ALIGNED;
    uint64_t *size = &r->sizes[op->id];
    if (!done || (!is_new && was_dead))
        return;
    if (!is_new)
        k->live -= *size;
    if (op->kind != HMM_TRACE_FREE)
        k->live += *size = op->size;
}

/* One pass; at the first operation after which `peak` bytes live the blocks are counted. */
static void look_at_peak(const struct replay *r, struct hmm_heap *heap, uint64_t peak,
                         struct peak *k)
{
    const struct hmm_trace_op *ops;
    hmm_trace_tape_rewind(r->tape);
    for (size_t count; (count = hmm_trace_tape_next(r->tape, &ops)) != 0;)
        for (size_t i = 0; i < count; i++) {
            const bool was_dead = r->blocks[ops[i].id] == NULL;
            const bool done = replay_step(heap, &ops[i], r->blocks);
            k->failed += !done;
            account(k, r, &ops[i], was_dead, done);
            k->most = k->live > k->most ? k->live : k->most;
            if (k->live == peak && !k->seen) {
                k->seen = true;
                hmm_heap_walk(heap, count_block, &k->tally);
            }
        }
}

static void clear_blocks(const struct replay *r)
{
    memset(r->blocks, 0, r->sum->peak_blocks * sizeof *r->blocks);
}

/* What is found in a region of `capacity` bytes, looking at the blocks when `peak` bytes live. */
struct sight {
    struct peak peak;
    struct hmm_stats stats;
    uint64_t cache_bytes;
    bool has_heap;
};

static bool look(const struct probe *p, uint64_t capacity, uint64_t peak, struct sight *s)
{
    struct replay_region region;
    size_t control;
    *s = (struct sight){.has_heap = false};
    if (!replay_reserve(&region, (size_t)capacity))
        return false;
    clear_blocks(p->replay);
    struct hmm_heap *heap = replay_heap(p->replay, &region, p->strategy, &control);
    s->has_heap = heap != NULL;
    if (heap != NULL) {
        look_at_peak(p->replay, heap, peak, &s->peak);
        hmm_heap_stats(heap, &s->stats);
        s->cache_bytes = s->stats.control - control;
        hmm_heap_destroy(heap);
    } else {
        s->peak.failed =
            p->replay->sum->counts[HMM_TRACE_ALLOC] + p->replay->sum->counts[HMM_TRACE_ALIGNED];
    }
    replay_release(&region);
    return true;
}

/*
 * Headers, rounding and control are counted when the most bytes live; what else lies below the
 * highest break is fragmentation, so that the four sum up. In that moment it is the holes and the
 * free top; what the break rose to before or after counts with it.
 */
static void split_waste(const struct sight *s, struct row *r)
{
    const struct tally *t = &s->peak.tally;
    r->headers = (int64_t)(t->block_bytes - t->usable);
    r->rounding = (int64_t)t->usable - r->peak_live;
    r->control = (int64_t)s->stats.control;
    r->fragmentation = r->peak_break - r->peak_live - r->headers - r->rounding - r->control;
    r->holes = (int64_t)t->holes;
    r->largest_hole = (int64_t)t->largest_hole;
}

static void fill(const struct probe *p, const struct sight *s, struct row *r)
{
    r->ops = (int64_t)p->replay->sum->op_count;
    r->failed = (int64_t)s->peak.failed;
    r->peak_live = (int64_t)s->peak.most;
    if (!s->has_heap)
        return;
    r->peak_break = (int64_t)(s->stats.brk_peak + s->cache_bytes);
    split_waste(s, r);
}

/* In a region in which nothing limits the break, and no larger: an index that lies at its low end
 * grows with it. */
static bool look_in_fitting(const struct probe *p, struct sight *s)
{
    const uint64_t peak = p->replay->sum->peak_bytes;
    uint64_t size = at_most(peak * 2 + p->replay->sum->peak_blocks * UINT64_C(128) + 256 * PAGE,
                            LARGEST_REGION);
    for (;; size = at_most(size * 4, LARGEST_REGION)) {
        if (!look(p, size, peak, s))
            return false;
        if (s->peak.failed == 0 || size == LARGEST_REGION)
            break;
    }
    const struct sight generous = *s;
    for (uint64_t slack = PAGE + generous.cache_bytes;; slack *= 2) {
        size = at_most(generous.stats.brk_peak + slack, LARGEST_REGION);
        if (!look(p, size, peak, s))
            return false;
        if (s->peak.failed <= generous.peak.failed || size == LARGEST_REGION)
            return true;
    }
}

/* In a heap that is too small less may live: the pass is made again with the peak that was seen. */
static bool look_in_given(const struct probe *p, struct sight *s)
{
    if (!look(p, p->heap, p->replay->sum->peak_bytes, s))
        return false;
    return s->peak.seen || !s->has_heap || look(p, p->heap, s->peak.most, s);
}

bool probe_figures(const struct probe *p, struct row *r)
{
    struct sight s;
    uint64_t smallest;
    if (!(p->heap != 0 ? look_in_given(p, &s) : look_in_fitting(p, &s)))
        return false;
    fill(p, &s, r);
    if (!probe_smallest(p, p->heap != 0 ? 0 : (uint64_t)r->peak_break, &smallest))
        return false;
    r->smallest_heap = smallest != 0 ? (int64_t)smallest : ROW_UNKNOWN;
    return true;
}

/* ---- Times ---- */

size_t probe_region(const struct probe *p, const struct row *r)
{
    const uint64_t peak = (uint64_t)r->peak_break;
    return p->heap != 0 ? p->heap : (size_t)at_most(peak + peak / 8 + 16 * PAGE, LARGEST_REGION);
}

void probe_used(const struct probe *p, const struct row *r, size_t *first, size_t *last)
{
    const uint64_t peak = (uint64_t)r->peak_break, region = probe_region(p, r);
    *first = (size_t)at_most(peak + peak / 8 + 16 * PAGE, region);
    *last = r->control > 0 ? (size_t)at_most((uint64_t)r->control, region) : 0;
}

bool probe_times(const struct probe *p, double harness, struct row *r)
{
    struct replay_figures f = {.cache_bytes = 0};
    double ns = 0;
    if (r->peak_break < 0)
        return true; /* there is no heap in it */
    size_t first, last;
    probe_used(p, r, &first, &last);
    f.cache_bytes = last;
    clear_blocks(p->replay);
    if (!replay_time(p->replay, p->strategy, probe_region(p, r), first, &ns, &f))
        return false;
    const double net = ns > harness ? (ns - harness) / (double)(r->ops != 0 ? r->ops : 1) : 0;
    if (f.has_heap && (r->ns_per_op < 0 || net < r->ns_per_op))
        r->ns_per_op = net;
    return true;
}
