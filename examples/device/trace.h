/* SPDX-License-Identifier: MIT */
/*
 * A trace that is compiled into the program: TRACE_DATA is the header that scripts/trace-array has
 * written. An operation is a word, slot << 2 | kind, and what its kind has besides: a size, and for
 * an aligned allocation then the alignment. A slot is where the program keeps the block.
 */
#ifndef TRACE_H
#define TRACE_H

#include <stddef.h>
#include <stdint.h>

#include TRACE_DATA

#include "hmm.h"

#if TRACE_RESIZED && !HMM_WITH_REALLOC
#error "the trace resizes blocks: make firmware WITH=realloc"
#endif
#if TRACE_ALIGNED && !HMM_WITH_ALIGNED
#error "the trace has aligned blocks: make firmware WITH=aligned"
#endif

enum trace_kind { TRACE_ALLOC, TRACE_ALIGNED_ALLOC, TRACE_RESIZE, TRACE_FREE };

struct trace_op {
    enum trace_kind kind;
    uint32_t slot, size, align;
};

/* Takes an operation out; returns where the next one is. */
static inline const uint32_t *trace_next(const uint32_t *at, struct trace_op *op)
{
    op->kind = (enum trace_kind)(*at & 3);
    op->slot = *at++ >> 2;
    op->size = op->kind != TRACE_FREE ? *at++ : 0;
    op->align = op->kind == TRACE_ALIGNED_ALLOC ? *at++ : 0;
    return at;
}

/* Does it. 0: the heap did not serve it, and the block, if there was one, is as it was. */
static inline int trace_do(struct hmm_heap *heap, void **slots, const struct trace_op *op)
{
    void *block = NULL;
    switch (op->kind) {
    case TRACE_FREE:
        hmm_heap_free(heap, slots[op->slot]);
        slots[op->slot] = NULL;
        return 1;
    case TRACE_RESIZE:
#if HMM_WITH_REALLOC
        block = hmm_heap_realloc(heap, slots[op->slot], op->size);
        if (op->size == 0) {
            slots[op->slot] = block;
            return 1;
        }
#endif
        break;
    case TRACE_ALIGNED_ALLOC:
#if HMM_WITH_ALIGNED
        block = hmm_heap_aligned_alloc(heap, op->align, op->size);
#endif
        break;
    case TRACE_ALLOC:
        block = hmm_heap_malloc(heap, op->size);
        break;
    }
    if (block != NULL)
        slots[op->slot] = block;
    return block != NULL;
}

#endif
