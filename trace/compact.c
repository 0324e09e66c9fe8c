/* SPDX-License-Identifier: MIT */
/*
 * IDs as few as can be: what a stack of freed numbers hands out.
 */
#include "trace.h"

#include <stdlib.h>

struct numbers {
    uint32_t *of_id; /* the new number of a live old ID */
    uint32_t *freed; /* a stack of the new numbers that are free again */
    uint32_t freed_count, used;
};

static uint32_t renumber(struct numbers *n, const struct hmm_trace_op *op)
{
    uint32_t *number = &n->of_id[op->id];
    if (op->kind == HMM_TRACE_FREE)
        n->freed[n->freed_count++] = *number;
    else if (op->kind != HMM_TRACE_RESIZE)
        *number = n->freed_count != 0 ? n->freed[--n->freed_count] : n->used++;
    return *number;
}

bool hmm_trace_compact(struct hmm_trace *trace)
{
    struct numbers n = {.of_id = calloc((size_t)trace->id_limit + 1, sizeof *n.of_id),
                        .freed = calloc((size_t)trace->peak_blocks + 1, sizeof *n.freed)};
    bool good = n.of_id != NULL && n.freed != NULL;
    for (size_t i = 0; good && i < trace->op_count; i++)
        trace->ops[i].id = renumber(&n, &trace->ops[i]);
    if (good)
        trace->id_limit = n.used;
    free(n.of_id);
    free(n.freed);
    return good;
}
