/* SPDX-License-Identifier: MIT */
/*
 * The passes of a replay.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "replay.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION_ALIGN ((size_t)2 << 20)

/* No operation makes more free blocks than this: a resize that moves frees its old block, and an
 * aligned placement may leave one below itself. */
#define MOST_NEW_FREE_BLOCKS 2

/* With a cache free blocks are counted by a walk, so that is done only this many times in a pass,
 * at even intervals. */
#define LOOKS 256

bool replay_reserve(struct replay_region *region, size_t size)
{
    const size_t mapped = size + REGION_ALIGN;
    void *mapping = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        return false;
    size_t gap = (size_t)(-(uintptr_t)mapping & (REGION_ALIGN - 1));
    *region = (struct replay_region){(char *)mapping + gap, size, mapping, mapped};
    return true;
}

void replay_release(struct replay_region *region)
{
    munmap(region->mapping, region->mapped);
}

static size_t control_of(const struct hmm_heap *heap)
{
    struct hmm_stats stats;
    hmm_heap_stats(heap, &stats);
    return stats.control;
}

struct hmm_heap *replay_heap(const struct replay *replay, const struct replay_region *region,
                             const struct hmm_strategy *strategy, size_t *control)
{
    struct hmm_heap *heap = hmm_heap_create(region->memory, region->size, strategy);
    *control = heap != NULL ? control_of(heap) : 0;
    if (heap != NULL && replay->cache && hmm_heap_set_cache(heap, 1) != 0)
        return NULL;
    return heap;
}

void replay_open(struct replay *replay, struct hmm_trace_tape *tape, bool cache)
{
    *replay = (struct replay){.tape = tape};
    replay->sum = hmm_trace_tape_summary(tape);
    replay->cache = cache;
    replay->blocks = cli_alloc(replay->sum->peak_blocks, sizeof *replay->blocks);
    replay->sizes = cli_alloc(replay->sum->peak_blocks, sizeof *replay->sizes);
}

void replay_close(struct replay *replay)
{
    free(replay->blocks);
    free(replay->sizes);
}

/* The next stretch of a pass; *done: operations before it, 0 at first. */
static size_t next_stretch(const struct replay *replay, const struct hmm_trace_op **ops,
                           uint64_t *done)
{
    if (replay->tell != NULL && *done != 0)
        replay->tell(replay->tell_arg, *done);
    const size_t count = hmm_trace_tape_next(replay->tape, ops);
    *done += count;
    return count;
}

/* The figures where the region is too small for any heap. */
static struct replay_figures all_failed(const struct hmm_trace_summary *sum)
{
    return (struct replay_figures){.failed = sum->counts[HMM_TRACE_ALLOC] +
                                             sum->counts[HMM_TRACE_ALIGNED]};
}

/* ---- The observed pass ---- */

struct observer {
    uint64_t live, live_peak;
    uint64_t free_blocks_max;
    uint64_t unseen; /* so many operations go by until free blocks are counted again */
};

/* An operation on a block of *size requested bytes has been done. */
static void account(struct observer *o, uint64_t *size, const struct hmm_trace_op *op)
{
    if (op->kind == HMM_TRACE_RESIZE || op->kind == HMM_TRACE_FREE)
        o->live -= *size;
    if (op->kind != HMM_TRACE_FREE)
        o->live += *size = op->size;
    if (o->live > o->live_peak)
        o->live_peak = o->live;
}

/* Without a cache the largest number of free blocks, exactly, without asking after every operation:
 * some strategies take long to answer. */
static void count_free_blocks(struct observer *o, const struct replay *replay,
                              const struct hmm_heap *heap)
{
    struct hmm_stats stats;
    if (o->unseen != 0) {
        o->unseen--;
        return;
    }
    hmm_heap_stats(heap, &stats);
    if (stats.free_blocks > o->free_blocks_max)
        o->free_blocks_max = stats.free_blocks;
    o->unseen = replay->cache ? replay->sum->op_count / LOOKS
                              : (o->free_blocks_max - stats.free_blocks) / MOST_NEW_FREE_BLOCKS;
}

/* op is the index-th of the trace. */
static void observe_op(struct observer *o, const struct replay *replay, struct hmm_heap *heap,
                       const struct hmm_trace_op *op, uint64_t index,
                       struct replay_figures *figures)
{
    bool is_new = op->kind == HMM_TRACE_ALLOC || op->kind == HMM_TRACE_ALIGNED;
    bool is_dead = !is_new && replay->blocks[op->id] == NULL;
    bool done = replay_step(heap, op, replay->blocks);
    if (!done && figures->failed++ == 0)
        figures->first_failed = index;
    if (done && !is_dead)
        account(o, &replay->sizes[op->id], op);
    count_free_blocks(o, replay, heap);
}

static void observe(const struct replay *replay, struct hmm_heap *heap,
                    struct replay_figures *figures)
{
    struct observer o = {0};
    const struct hmm_trace_op *ops;
    uint64_t done = 0, index = 0;
    hmm_trace_tape_rewind(replay->tape);
    for (size_t count; (count = next_stretch(replay, &ops, &done)) != 0;)
        for (size_t i = 0; i < count; i++)
            observe_op(&o, replay, heap, &ops[i], index++, figures);
    figures->live_peak = o.live_peak;
    figures->free_blocks_max = o.free_blocks_max;
}

/* What is known at the end of a pass. */
static void conclude(struct hmm_heap *heap, size_t control, struct replay_figures *figures)
{
    hmm_heap_stats(heap, &figures->stats);
    figures->cache_bytes = figures->stats.control - control;
    hmm_heap_destroy(heap);
}

bool replay_observe(const struct replay *replay, const struct hmm_strategy *strategy,
                    size_t capacity, struct replay_figures *figures)
{
    struct replay_region region;
    if (!replay_reserve(&region, capacity))
        return false;
    size_t control;
    struct hmm_heap *heap = replay_heap(replay, &region, strategy, &control);
    *figures = all_failed(replay->sum);
    if (heap != NULL) {
        *figures = (struct replay_figures){.has_heap = true};
        observe(replay, heap, figures);
        conclude(heap, control, figures);
    }
    replay_release(&region);
    return true;
}

/* ---- The timed pass ---- */

/* Touches the pages before the pass, so that page faults, which are the same for all, are not
 * timed. */
static void touch(const struct replay_region *region, size_t low, size_t high)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    volatile char *memory = region->memory;
    for (size_t i = 0; i < low && i < region->size; i += page)
        memory[i] = 0;
    for (size_t i = 1; i <= high && i <= region->size; i += page)
        memory[region->size - i] = 0;
}

static __attribute__((noinline)) uint64_t run(const struct hmm_trace_op *op, size_t count,
                                              struct hmm_heap *heap, void **blocks)
{
    const struct hmm_trace_op *end = op + count;
    uint64_t failed = 0;
    for (; op < end; op++)
        failed += !replay_step(heap, op, blocks);
    return failed;
}

/* Stretch by stretch: reading the next one is not timed. A stretch is so long that it does not
 * matter that reading has driven the heap out of the processor's caches. */
static double time_run(const struct replay *replay, struct hmm_heap *heap, uint64_t *failed)
{
    const struct hmm_trace_op *ops;
    uint64_t done = 0;
    double nanoseconds = 0;
    *failed = 0;
    hmm_trace_tape_rewind(replay->tape);
    for (size_t count; (count = next_stretch(replay, &ops, &done)) != 0;) {
        double start = clock_thread_ns();
        *failed += run(ops, count, heap, replay->blocks);
        nanoseconds += clock_thread_ns() - start;
    }
    return nanoseconds;
}

bool replay_time(const struct replay *replay, const struct hmm_strategy *strategy, size_t capacity,
                 size_t warm, double *nanoseconds, struct replay_figures *figures)
{
    struct replay_region region;
    if (!replay_reserve(&region, capacity))
        return false;
    touch(&region, warm, figures->cache_bytes);
    size_t control;
    struct hmm_heap *heap = replay_heap(replay, &region, strategy, &control);
    if (heap != NULL) {
        *nanoseconds = time_run(replay, heap, &figures->failed);
        conclude(heap, control, figures);
    }
    figures->has_heap = heap != NULL;
    replay_release(&region);
    return true;
}

/* ---- The loop alone ---- */

/* Stands for the heap's functions. It is not a call, whose cost counts as the heap's; the assembler
 * statement keeps the compiler from removing it. */
static inline void *stand_in(void *block, size_t size)
{
    __asm__ volatile("" : "+r"(block), "+r"(size) : : "memory");
    return block;
}

/* As replay_step, with the call to the heap replaced by one that does nothing. */
static inline bool step_nowhere(const struct hmm_trace_op *op, void **blocks)
{
    void **block = &blocks[op->id];
    const size_t size = (size_t)op->size;
    switch (op->kind) {
    case HMM_TRACE_ALLOC:
        *block = stand_in(blocks, size);
        return *block != NULL;
    case HMM_TRACE_ALIGNED:
        *block = stand_in(blocks, size + ((size_t)1 << op->align_log2));
        return *block != NULL;
    case HMM_TRACE_RESIZE:
        if (*block != NULL)
            *block = stand_in(*block, size != 0 ? size : 1);
        return *block != NULL;
    default:
        if (*block != NULL)
            stand_in(*block, 0);
        return true;
    }
}

static __attribute__((noinline)) uint64_t run_nowhere(const struct hmm_trace_op *op, size_t count,
                                                      void **blocks)
{
    const struct hmm_trace_op *end = op + count;
    uint64_t failed = 0;
    for (; op < end; op++)
        failed += !step_nowhere(op, blocks);
    return failed;
}

double replay_time_harness(const struct replay *replay)
{
    const struct hmm_trace_op *ops;
    uint64_t done = 0;
    double nanoseconds = 0;
    hmm_trace_tape_rewind(replay->tape);
    for (size_t count; (count = next_stretch(replay, &ops, &done)) != 0;) {
        double start = clock_thread_ns();
        stand_in(replay->blocks, (size_t)run_nowhere(ops, count, replay->blocks));
        nanoseconds += clock_thread_ns() - start;
    }
    return nanoseconds;
}

/* ---- Whether it fits ---- */

static bool completes_on(const struct replay *replay, struct hmm_heap *heap)
{
    const struct hmm_trace_op *ops;
    uint64_t done = 0;
    hmm_trace_tape_rewind(replay->tape);
    for (size_t count; (count = next_stretch(replay, &ops, &done)) != 0;)
        for (size_t i = 0; i < count; i++)
            if (!replay_step(heap, &ops[i], replay->blocks))
                return false;
    return true;
}

bool replay_completes(const struct replay *replay, const struct hmm_strategy *strategy,
                      size_t capacity, bool *completes)
{
    struct replay_region region;
    if (!replay_reserve(&region, capacity))
        return false;
    size_t control;
    struct hmm_heap *heap = replay_heap(replay, &region, strategy, &control);
    *completes = heap != NULL && completes_on(replay, heap);
    hmm_heap_destroy(heap);
    replay_release(&region);
    return true;
}
