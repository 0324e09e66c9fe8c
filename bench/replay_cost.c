/* SPDX-License-Identifier: MIT */
/*
 * What an operation of a recorded program costs on the bare core.
 *
 *     replay_cost TRACE STRATEGY...
 *
 * The region is twice the peak of the live bytes and 8 MiB; where that does not do, twice as much,
 * and so on. The last pass of a strategy counts.
 */
#include "common.h"
#include "trace.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The heap's functions, or nothing's, without a test at run time. */
static inline __attribute__((always_inline)) void *
operate(struct hmm_heap *heap, const struct hmm_trace_op *op, void *block, bool really)
{
    const size_t size = (size_t)op->size;
    if (!really)
        return bench_nothing(heap, block, size);
    switch (op->kind) {
    case HMM_TRACE_ALLOC:
        return hmm_heap_malloc(heap, size);
    case HMM_TRACE_ALIGNED:
        return hmm_heap_aligned_alloc(heap, (size_t)1 << op->align_log2, size);
    case HMM_TRACE_RESIZE:
        return hmm_heap_realloc(heap, block, size + (size == 0)); /* its ID stays live */
    default:
        hmm_heap_free(heap, block);
        return NULL;
    }
}

static inline __attribute__((always_inline)) size_t
replay(struct hmm_heap *heap, const struct hmm_trace *trace, void **blocks, bool really)
{
    const struct hmm_trace_op *op = trace->ops, *end = op + trace->op_count;
    size_t failed = 0;
    for (; op < end; op++) {
        void **block = &blocks[op->id], *result;
        switch (op->kind) {
        case HMM_TRACE_ALLOC:
        case HMM_TRACE_ALIGNED:
            *block = operate(heap, op, NULL, really);
            failed += *block == NULL;
            break;
        case HMM_TRACE_RESIZE:
            result = operate(heap, op, *block, really);
            failed += result == NULL;
            *block = result != NULL ? result : *block;
            break;
        default:
            operate(heap, op, *block, really);
        }
    }
    return failed;
}

static BENCH_MEASURED size_t measured_nothing(struct hmm_heap *heap, const struct hmm_trace *trace,
                                              void **blocks)
{
    return replay(heap, trace, blocks, false);
}

static BENCH_MEASURED size_t measured_heap(struct hmm_heap *heap, const struct hmm_trace *trace,
                                           void **blocks)
{
    return replay(heap, trace, blocks, true);
}

static void measure(const struct hmm_trace *trace, void **blocks, const char *name)
{
    const struct hmm_strategy *strategy = bench_strategy(name);
    size_t capacity = (size_t)trace->peak_bytes * 2 + ((size_t)8 << 20), failed = 1;
    for (; failed != 0; capacity *= 2) {
        struct hmm_heap *heap = hmm_heap_create(bench_reserve(capacity), capacity, strategy);
        if (heap == NULL)
            bench_die("no heap of %zu bytes for %s", capacity, name);
        memset(blocks, 0, trace->id_limit * sizeof *blocks);
        failed = measured_heap(heap, trace, blocks);
        bench_line(name, trace->op_count, failed);
        hmm_heap_destroy(heap);
    }
}

int main(int argc, char **argv)
{
    struct hmm_trace trace;
    struct hmm_trace_error error;
    if (argc < 3)
        bench_die("usage: replay_cost TRACE STRATEGY...");
    if (!hmm_trace_load(&trace, argv[1], NULL, &error)) {
        hmm_trace_print_error(stderr, argv[1], &error);
        return 2;
    }
    void **blocks = bench_alloc(trace.id_limit, sizeof *blocks);
    measured_nothing((struct hmm_heap *)blocks, &trace, blocks);
    bench_line("nothing", trace.op_count, 0);
    for (int i = 2; i < argc; i++)
        measure(&trace, blocks, argv[i]);
    hmm_trace_free(&trace);
    return 0;
}
