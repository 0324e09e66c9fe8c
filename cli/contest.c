/* SPDX-License-Identifier: MIT */
/*
 * Finds the strategy whose longest operation is the shortest.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "compare.h"
#include "base/clock.h"

#include <string.h>
#include <sys/mman.h>

/* The most additional passes that the contestant with the fewest instructions gets. */
#define MORE_PASSES 60

/* After PASSES_FOR_ALL passes only those go on whose longest operation is within STAYS_IN times the
 * shortest. */
#define PASSES_FOR_ALL 10
#define STAYS_IN 1.4

/* ---- A pass ---- */

/* The operations that are counted. */
struct counted {
    uint64_t indices[WORST_STEPPED];
    size_t count, next;
    uint64_t most;
};

/* A program has usually just written to the block that it resizes; a replay has not. So the block
 * is read before: the copy then begins with it in the processor's cache, as in the program. */
static void warm(const struct hmm_trace_op *op, const struct hmm_heap *heap, void *const *blocks)
{
    const volatile char *block = blocks[op->id];
    if (op->kind != HMM_TRACE_RESIZE || block == NULL)
        return;
    const size_t size = hmm_heap_usable_size(heap, (const void *)block);
    for (size_t i = 0; i < size; i += 64)
        (void)block[i];
}

static void time_stretch(struct worst *w, const struct hmm_trace_op *ops, size_t count,
                         struct hmm_heap *heap, void **blocks)
{
    for (size_t i = 0; i < count; i++)
        if (worst_wants(w)) {
            if (w->pass > 1)
                warm(&ops[i], heap, blocks);
            const uint64_t start = clock_ns(CLOCK_MONOTONIC);
            replay_step(heap, &ops[i], blocks);
            worst_take(w, clock_ns(CLOCK_MONOTONIC) - start);
        } else {
            replay_step(heap, &ops[i], blocks);
            worst_skip(w);
        }
}

/* first: of the trace's operations, ops[0]. */
static void count_stretch(struct counted *c, uint64_t first, const struct hmm_trace_op *ops,
                          size_t count, struct hmm_heap *heap, void **blocks)
{
    for (size_t i = 0; i < count; i++)
        if (c->next < c->count && c->indices[c->next] == first + i) {
            steps_begin();
            replay_step(heap, &ops[i], blocks);
            const uint64_t steps = steps_end();
            c->most = steps > c->most ? steps : c->most;
            c->next++;
        } else {
            replay_step(heap, &ops[i], blocks);
        }
}

/* On a new heap at the beginning of `memory`. counted NULL: times, to the contestant's table. */
static void make_pass(const struct contestant *c, const struct replay_region *memory,
                      struct counted *counted)
{
    const struct replay *r = c->probe.replay;
    const struct replay_region region = {memory->memory, c->region, NULL, 0};
    const struct hmm_trace_op *ops;
    size_t control;
    memset(r->blocks, 0, r->sum->peak_blocks * sizeof *r->blocks);
    struct hmm_heap *heap = replay_heap(r, &region, c->probe.strategy, &control);
    if (heap == NULL)
        return;
    uint64_t done = 0;
    hmm_trace_tape_rewind(r->tape);
    for (size_t count; (count = hmm_trace_tape_next(r->tape, &ops)) != 0; done += count)
        if (counted != NULL)
            count_stretch(counted, done, ops, count, heap, r->blocks);
        else
            time_stretch(c->worst, ops, count, heap, r->blocks);
    hmm_heap_destroy(heap);
}

static void time_once(const struct contestant *c, const struct replay_region *memory)
{
    worst_begin_pass(c->worst);
    make_pass(c, memory, NULL);
}

static void count_once(const struct contestant *c, const struct replay_region *memory)
{
    struct counted counted = {.most = 0};
    counted.count = worst_slowest(c->worst, counted.indices);
    make_pass(c, memory, &counted);
    c->worst->steps = counted.most;
}

/* ---- The contest ---- */

static uint64_t least_of(const struct contestant *list, size_t count)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const uint64_t ns = worst_longest(list[i].worst);
        least = ns < least ? ns : least;
    }
    return least;
}

/* Whether it could still be the shortest. Noise is a small part of a long time, and most of a short
 * one. */
static bool is_in(const struct contestant *c, uint64_t least, double times)
{
    return (double)worst_longest(c->worst) <= (double)least * times + CONTEST_NOISE_NS;
}

/* Among those that times do not tell apart, the one with the fewest instructions; NULL: there is
 * none. */
static const struct contestant *fewest_of(const struct contestant *list, size_t count,
                                          const struct replay_region *memory)
{
    const struct contestant *fewest = NULL;
    const uint64_t least = least_of(list, count);
    for (size_t i = 0; i < count; i++) {
        if (!is_in(&list[i], least, CONTEST_ALIKE))
            continue;
        count_once(&list[i], memory);
        if (fewest == NULL || list[i].worst->steps < fewest->worst->steps)
            fewest = &list[i];
    }
    return fewest;
}

struct contestant contestant_of(const struct probe *probe, const struct row *row,
                                struct worst *worst)
{
    struct contestant c = {.probe = *probe, .region = probe_region(probe, row), .worst = worst};
    probe_used(probe, row, &c.first, &c.last);
    return c;
}

/* What is used of it touched, and in huge pages, where there are any: in small ones it differs from
 * process to process, by half as long again, which of a large block's pages contend for the same
 * places of the processor's cache. */
static bool reserve(const struct contestant *list, size_t count, struct replay_region *memory)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size = list[i].region > size ? list[i].region : size;
    if (!replay_reserve(memory, size))
        return false;
#ifdef MADV_HUGEPAGE
    madvise(memory->mapping, memory->mapped, MADV_HUGEPAGE);
#endif
    for (size_t i = 0; i < count; i++) {
        memset(memory->memory, 0, list[i].first);
        memset((char *)memory->memory + list[i].region - list[i].last, 0, list[i].last);
    }
    return true;
}

bool contest(const struct contestant *list, size_t count, unsigned passes, bool tell_apart)
{
    struct replay_region memory;
    if (!reserve(list, count, &memory))
        return false;
    for (unsigned pass = 0; pass < passes; pass++) {
        const uint64_t least = pass < PASSES_FOR_ALL ? UINT64_MAX / 2 : least_of(list, count);
        for (size_t i = 0; i < count; i++)
            if (is_in(&list[i], least, STAYS_IN))
                time_once(&list[i], &memory);
    }
    const struct contestant *fewest =
        tell_apart && steps_are_possible() ? fewest_of(list, count, &memory) : NULL;
    for (unsigned pass = 0; pass < MORE_PASSES && fewest != NULL; pass++)
        if (worst_longest(fewest->worst) > least_of(list, count))
            time_once(fewest, &memory);
    replay_release(&memory);
    return true;
}

void contest_result(const struct worst *worst, struct row *row)
{
    row->worst_ns = (int64_t)worst_longest(worst);
    if (worst->steps != 0)
        row->worst_instructions = (int64_t)worst->steps;
}
