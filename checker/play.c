/* SPDX-License-Identifier: MIT */
/*
 * A plan, done to a heap whose strategy is watched.
 */
#include "play.h"

#include "heap/heap.h"
#include "watch.h"

#include <string.h>

#define MOST_IDS 256

static void *blocks[MOST_IDS];
static size_t sizes[MOST_IDS];

/* Every free block is asked for, the largest first: one that the index has lost is not found. */
static void drain(struct hmm_heap *h)
{
    struct watch_image *before = watch_save();
    for (uint32_t n; (n = watch_largest()) != 0;)
        hmm__try_malloc(h, (size_t)n * HMM_GRANULE - HMM_HEADER_BYTES);
    watch_restore(before);
}

static void grow(struct hmm_heap *h, size_t bytes)
{
    size_t to = watch.region_bytes + bytes;
    if (to > watch.room)
        return;
    size_t was = watch.region_bytes;
    watch.region_bytes = to;
    if (hmm__heap_grow(h, to) != 0)
        watch.region_bytes = was;
}

static void put(uint32_t id, void *block, size_t size)
{
    blocks[id] = block;
    sizes[id] = size;
    if (block != NULL)
        memset(block, (int)id + 1, size);
}

static void resize(struct hmm_heap *h, uint32_t id, size_t size)
{
    void *block = blocks[id] ? hmm_heap_realloc(h, blocks[id], size) : hmm_heap_malloc(h, size);
    if (block != NULL)
        put(id, block, size);
}

static void to_another_and_back(struct hmm_heap *h)
{
    if (hmm_heap_set_strategy(h, HMM_FIRST_FIT) == 0)
        hmm_heap_set_strategy(h, &watch.face);
}

static void step(struct hmm_heap *h, const struct checker_op *op)
{
    switch (op->kind) {
    case CHECKER_MALLOC:
        if (blocks[op->id] == NULL)
            put(op->id, hmm_heap_malloc(h, op->size), op->size);
        break;
    case CHECKER_ALIGNED:
        if (blocks[op->id] == NULL)
            put(op->id, hmm_heap_aligned_alloc(h, op->align, op->size), op->size);
        break;
    case CHECKER_REALLOC:
        resize(h, op->id, op->size);
        break;
    case CHECKER_FREE:
        hmm_heap_free(h, blocks[op->id]);
        blocks[op->id] = NULL;
        break;
    case CHECKER_GROW:
        grow(h, op->size);
        break;
    case CHECKER_PIECE:
        watch_ask_piece(op->size);
        break;
    case CHECKER_SWITCH:
        to_another_and_back(h);
        break;
    default:
        drain(h);
    }
}

void checker_play(const struct checker_plan *plan)
{
    watch.region_bytes = plan->region;
    watch_state_size();
    struct hmm_heap *h = hmm_heap_create(watch.region, plan->region, &watch.face);
    if (h == NULL) /* the state is of no size that is wrong, but too large for so small a heap */
        return;
    for (size_t i = 0; i < plan->count; i++) {
        watch.verdict->op = (uint32_t)i;
        step(h, &plan->ops[i]);
        const char *why = h->strategy == &watch.face ? hmm__verify(h) : NULL;
        if (why != NULL)
            watch_broken("heap", "the heap is broken: %.150s", why);
        if (watch.rule->largest != NULL && h->strategy == &watch.face)
            watch.face.largest(h, NULL);
    }
}
