/* SPDX-License-Identifier: MIT */
/*
 * Which IDs are live: what makes a list of operations one that a program can have done.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define NEVER 0u
#define FREED 1u
#define LIVE 2u /* and the block's bytes on top */

static bool make_room(struct hmm_trace_ids *ids, uint32_t id, size_t op_count,
                      struct hmm_trace_error *error)
{
    uint64_t most = HMM_TRACE_ID_BASE + (uint64_t)HMM_TRACE_ID_STEP * op_count;
    if (id > most)
        return hmm_trace_fail(error,
                              "ID %lu is out of proportion: after %zu operations at most %llu",
                              (unsigned long)id, op_count, (unsigned long long)most);
    size_t room = ids->room < 4096 ? 4096 : ids->room;
    while (room <= id)
        room *= 2;
    uint64_t *states = realloc(ids->states, room * sizeof *states);
    if (states == NULL)
        return hmm_trace_fail(error, "out of memory");
    memset(states + ids->room, 0, (room - ids->room) * sizeof *states);
    ids->states = states;
    ids->room = room;
    return true;
}

/* True iff the block can hold that much, all live blocks together being a possible program's. */
static bool hold(struct hmm_trace_ids *ids, uint64_t *state, uint64_t size,
                 struct hmm_trace_error *error)
{
    if (size > PTRDIFF_MAX - ids->live_bytes)
        return hmm_trace_fail(error, "SIZE is too large: all live blocks would be above %lld bytes",
                              (long long)PTRDIFF_MAX);
    *state = LIVE + size;
    ids->live_bytes += size;
    if (ids->live_bytes > ids->peak_bytes)
        ids->peak_bytes = ids->live_bytes;
    return true;
}

static bool allocate(struct hmm_trace_ids *ids, uint64_t *state, const struct hmm_trace_op *op,
                     struct hmm_trace_error *error)
{
    if (*state >= LIVE)
        return hmm_trace_fail(error, "ID %lu is allocated while it is live", (unsigned long)op->id);
    if (++ids->live_blocks > ids->peak_blocks)
        ids->peak_blocks = ids->live_blocks;
    return hold(ids, state, op->size, error);
}

static bool not_live(const struct hmm_trace_op *op, uint64_t state, struct hmm_trace_error *error)
{
    const unsigned long id = op->id;
    const char *verb = op->kind == HMM_TRACE_FREE ? "freed" : "resized";
    if (state == NEVER)
        return hmm_trace_fail(error, "ID %lu is %s but was never allocated", id, verb);
    if (op->kind == HMM_TRACE_FREE)
        return hmm_trace_fail(error, "ID %lu is freed twice", id);
    return hmm_trace_fail(error, "ID %lu is resized after it was freed", id);
}

bool hmm_trace_ids_apply(struct hmm_trace_ids *ids, const struct hmm_trace_op *op, size_t op_count,
                         struct hmm_trace_error *error)
{
    bool allocates = op->kind == HMM_TRACE_ALLOC || op->kind == HMM_TRACE_ALIGNED;
    if (op->id >= ids->room) {
        if (!allocates)
            return not_live(op, NEVER, error);
        if (!make_room(ids, op->id, op_count, error))
            return false;
    }
    uint64_t *state = &ids->states[op->id];
    if (allocates)
        return allocate(ids, state, op, error);
    if (*state < LIVE)
        return not_live(op, *state, error);
    ids->live_bytes -= *state - LIVE;
    if (op->kind == HMM_TRACE_RESIZE)
        return hold(ids, state, op->size, error);
    ids->live_blocks--;
    *state = FREED;
    return true;
}
