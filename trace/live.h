/* SPDX-License-Identifier: MIT */
/*
 * Which blocks are live: what makes a list of operations one that a program can have done.
 *
 * Memory follows the live blocks and not the IDs, which may be the numbers of the allocations: a
 * live block has a number, the least possible one, and a hash table leads from its ID to it.
 */
#ifndef HMM_TRACE_LIVE_H
#define HMM_TRACE_LIVE_H

#include "trace.h"

/* In slots[]: an ID and its block's number. */
struct hmm_trace_slot {
    uint32_t tag; /* the ID and 1; 0: empty */
    uint32_t number;
};

/* Which IDs have been allocated: only to tell what is freed twice from what never was. */
struct hmm_trace_past {
    struct hmm_trace_page **pages; /* by ID / PAGE_IDS; NULL: none of them */
    size_t room, held;             /* held: pages in memory */
    bool unknown;                  /* it was not kept from the beginning, or has become too much */
};

struct hmm_trace_live {
    struct hmm_trace_summary sum; /* of what was applied */
    struct hmm_trace_slot *slots;
    size_t mask;                    /* slots less 1, which is a power of two; 0: there are none */
    struct hmm_trace_block *blocks; /* by number */
    uint32_t *freed;                /* a stack of numbers */
    uint32_t room;                  /* of blocks and freed */
    uint32_t freed_count, used;     /* used: numbers that ever were in use */
    struct hmm_trace_past past;
};

/* Carries the operation out, and says its block's number. False and a reason iff the ones before it
 * forbid it, or there is no memory: live is then unchanged. */
bool hmm_trace_live_apply(struct hmm_trace_live *live, const struct hmm_trace_op *op,
                          uint32_t *number, struct hmm_trace_error *error);

/* A block that is live already; for the blocks of a checkpoint, in the order of their birth. */
bool hmm_trace_live_add(struct hmm_trace_live *live, const struct hmm_trace_block *block,
                        struct hmm_trace_error *error);

/* All live blocks by birth, to be given to free(). Their IDs are numbers iff dense is set. NULL iff
 * there is no memory. */
struct hmm_trace_block *hmm_trace_live_list(const struct hmm_trace_live *live, bool dense);

/* Frees what it has, and makes it as it was at first. */
void hmm_trace_live_clear(struct hmm_trace_live *live);

#endif
