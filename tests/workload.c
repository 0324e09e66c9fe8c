/* SPDX-License-Identifier: MIT */
#include "workload.h"

/* ---- Steps ---- */

void workload_start(struct workload *w, struct hmm_heap *heap, const struct mix *mix, uint64_t seed)
{
    mix_restart();
    *w = (struct workload){.heap = heap, .mix = mix, .rng = (seed + 1) * 0x9e3779b97f4a7c15u};
}

/* What comes next for this slot. Now and then most of it is freed: heaps rise and fall. */
static struct op choose(struct workload *w, struct slot *s)
{
    unsigned phase = (unsigned)(w->seed / 2048 % 4), way = (unsigned)rng_below(&w->rng, 100);
    struct op op = {.slot = s, .size = w->mix->size(&w->rng), .was = s->block};
    if (s->block != NULL) {
        op.kind = way < w->mix->realloc * (phase == 3 ? 1 : 2) ? OP_REALLOC : OP_FREE;
        if (op.kind == OP_REALLOC && rng_below(&w->rng, 40) == 0)
            op.size = 0;
    } else if (way < w->mix->aligned) {
        op.kind = OP_ALIGNED;
        op.align = (size_t)1 << rng_below(&w->rng, 11);
    } else {
        op.kind = way >= 90 ? OP_CALLOC : OP_MALLOC;
    }
    return op;
}

static void *perform(struct workload *w, const struct op *op)
{
    switch (op->kind) {
    case OP_MALLOC:
        return hmm_heap_malloc(w->heap, op->size);
    case OP_CALLOC:
        return hmm_heap_calloc(w->heap, op->size % 3 == 0 ? 3 : 1,
                               op->size % 3 == 0 ? op->size / 3 : op->size);
    case OP_ALIGNED:
        return hmm_heap_aligned_alloc(w->heap, op->align, op->size);
    case OP_REALLOC:
        return hmm_heap_realloc(w->heap, op->was, op->size);
    default:
        hmm_heap_free(w->heap, op->was);
        return NULL;
    }
}

static void verify_slot(const struct slot *s)
{
    require(holds(s->block, s->size, s->seed), "block %p of %zu bytes has lost its contents",
            s->block, s->size);
}

static bool is_zero(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != 0)
            return false;
    return true;
}

/* The slot as it is after an operation that succeeded. */
static void settle(struct workload *w, const struct op *op)
{
    struct slot *s = op->slot;
    size_t kept = op->size < s->size ? op->size : s->size;
    if (op->kind == OP_REALLOC)
        require(holds(op->result, kept, s->seed), "realloc has lost %zu bytes", kept);
    else
        s->align = op->kind == OP_ALIGNED && op->align > HMM_GRANULE ? op->align : HMM_GRANULE;
    if (op->kind == OP_CALLOC)
        require(is_zero(op->result, op->size), "calloc has left %zu bytes not 0", op->size);
    require((uintptr_t)op->result % s->align == 0, "%p is not aligned to %zu", op->result,
            s->align);
    require(hmm_heap_usable_size(w->heap, op->result) >= op->size, "%p has no room for %zu bytes",
            op->result, op->size);
    s->block = op->result;
    s->size = op->size;
    s->seed = w->seed;
    fill(s->block, s->size, s->seed);
}

void workload_step(struct workload *w)
{
    struct slot *s = &w->slots[rng_below(&w->rng, w->mix->live)];
    if (w->seed / 2048 % 4 == 3 && s->block == NULL)
        s = &w->slots[rng_below(&w->rng, w->mix->live)];
    struct op op = choose(w, s);
    w->seed++;
    if (s->block != NULL)
        verify_slot(s);
    if (w->before)
        w->before(w, &op);
    op.result = perform(w, &op);
    if (op.kind == OP_FREE || (op.kind == OP_REALLOC && op.size == 0)) {
        require(op.result == NULL, "realloc to no bytes returned a block");
        s->block = NULL;
    } else if (op.result != NULL) {
        settle(w, &op);
    } else {
        w->failed++;
        if (s->block != NULL)
            verify_slot(s);
    }
    if (w->after)
        w->after(w, &op);
}

void workload_verify(const struct workload *w)
{
    for (unsigned i = 0; i < WORKLOAD_SLOTS; i++)
        if (w->slots[i].block != NULL)
            verify_slot(&w->slots[i]);
}

void workload_free_all(struct workload *w)
{
    for (unsigned i = 0; i < WORKLOAD_SLOTS; i++) {
        struct slot *s = &w->slots[i * 77 % WORKLOAD_SLOTS];
        if (s->block != NULL) {
            verify_slot(s);
            hmm_heap_free(w->heap, s->block);
            s->block = NULL;
        }
    }
}
