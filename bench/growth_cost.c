/* SPDX-License-Identifier: MIT */
/*
 * What a malloc and a free cost with so many free blocks about.
 *
 *     growth_cost FREE-BLOCKS STRATEGY...
 *
 * Twice as many blocks of random sizes are allocated, and every second one freed: between two free
 * blocks lies a live one, so that none merges. Then pairs are measured: a malloc of a random size,
 * and a free of what was allocated RING pairs before. (A free of the same block at once would just
 * undo the malloc, to which some indexes are kind.)
 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>

#define PAIRS 10000u
#define RING 16u
#define SMALLEST 16u
#define LARGEST 2000u

static size_t sizes[PAIRS];
static void *ring[RING];

static size_t random_size(uint64_t *state)
{
    return SMALLEST + (size_t)(bench_random(state) % (LARGEST - SMALLEST + 1));
}

static BENCH_MEASURED size_t measured_nothing(struct hmm_heap *heap)
{
    size_t failed = 0;
    for (size_t i = 0; i < PAIRS; i++) {
        void **block = &ring[i % RING];
        bench_nothing(heap, *block, 0);
        *block = bench_nothing(heap, NULL, sizes[i]);
        failed += *block == NULL;
    }
    return failed;
}

static BENCH_MEASURED size_t measured_heap(struct hmm_heap *heap)
{
    size_t failed = 0;
    for (size_t i = 0; i < PAIRS; i++) {
        void **block = &ring[i % RING];
        hmm_heap_free(heap, *block);
        *block = hmm_heap_malloc(heap, sizes[i]);
        failed += *block == NULL;
    }
    return failed;
}

static void *allocate(struct hmm_heap *heap, size_t size)
{
    void *block = hmm_heap_malloc(heap, size);
    if (block == NULL)
        bench_die("the heap is too small for its blocks");
    return block;
}

/* blocks: room for 2 * count. */
static void scatter(struct hmm_heap *heap, size_t count, void **blocks)
{
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < 2 * count; i++)
        blocks[i] = allocate(heap, random_size(&state));
    for (size_t i = 0; i < 2 * count; i += 2)
        hmm_heap_free(heap, blocks[i]);
    for (size_t i = 0; i < PAIRS; i++)
        sizes[i] = random_size(&state);
    for (size_t i = 0; i < RING; i++)
        ring[i] = allocate(heap, sizes[i]);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        bench_die("usage: growth_cost FREE-BLOCKS STRATEGY...");
    size_t count = strtoul(argv[1], NULL, 10);
    if (count == 0 || count > 10000000)
        bench_die("FREE-BLOCKS: '%s' is not a number from 1 to 10000000", argv[1]);
    size_t capacity = 2 * count * 1280 + ((size_t)1 << 20);
    void *memory = bench_reserve(capacity), **blocks = bench_alloc(2 * count, sizeof *blocks);
    measured_nothing((struct hmm_heap *)memory);
    bench_line("nothing", PAIRS, 0);
    for (int i = 2; i < argc; i++) {
        struct hmm_heap *heap = hmm_heap_create(memory, capacity, bench_strategy(argv[i]));
        if (heap == NULL)
            bench_die("no heap of %zu bytes for %s", capacity, argv[i]);
        scatter(heap, count, blocks);
        bench_line(argv[i], PAIRS, measured_heap(heap));
        hmm_heap_destroy(heap);
    }
    free(blocks);
    return 0;
}
