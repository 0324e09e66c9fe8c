/* SPDX-License-Identifier: MIT */
/*
 * Random traces: see trace_made.h.
 */
#include "trace_made.h"

#include "harness.h"

#include <stdlib.h>

struct maker {
    uint64_t rng;
    enum made_ids policy;
    size_t most;
    uint32_t *live, *freed; /* IDs */
    size_t live_count, freed_count;
    uint32_t next;
};

static uint32_t new_id(struct maker *m)
{
    if (m->policy == MADE_SEQUENTIAL || m->freed_count == 0)
        return m->next++;
    size_t at = m->policy == MADE_ANY ? rng_below(&m->rng, m->freed_count) : m->freed_count - 1;
    uint32_t id = m->freed[at];
    m->freed[at] = m->freed[--m->freed_count];
    return id;
}

/* Mostly small, now and then large; all that live fit into the address space. */
static uint64_t new_size(struct maker *m)
{
    const uint64_t most = sizeof(size_t) > 4 ? UINT64_MAX : 4095;
    return most &
           rng_next(&m->rng) >> (rng_below(&m->rng, 20) == 0 ? 30 + rng_below(&m->rng, 34) : 56);
}

static struct hmm_trace_op next_op(struct maker *m)
{
    struct hmm_trace_op op = {.size = new_size(m)};
    const size_t choice = rng_below(&m->rng, 16);
    if (m->live_count == 0 || (choice < 8 && m->live_count < m->most)) {
        op.kind = choice == 0 ? HMM_TRACE_ALIGNED : HMM_TRACE_ALLOC;
        op.align_log2 = choice == 0 ? rng_below(&m->rng, 20) & 63u : 0;
        op.id = m->live[m->live_count++] = new_id(m);
        return op;
    }
    size_t at = rng_below(&m->rng, 2) == 0 ? m->live_count - 1 : rng_below(&m->rng, m->live_count);
    op.id = m->live[at];
    op.kind = HMM_TRACE_RESIZE;
    if (choice == 8)
        return op;
    op.kind = HMM_TRACE_FREE;
    op.size = 0;
    m->live[at] = m->live[--m->live_count];
    m->freed[m->freed_count++] = op.id;
    return op;
}

struct hmm_trace_op *made_trace(size_t count, size_t most, enum made_ids policy, uint64_t seed)
{
    struct maker m = {.rng = seed + 1, .policy = policy, .most = most};
    struct hmm_trace_op *ops = malloc((count + 1) * sizeof *ops);
    m.live = malloc((most + 1) * sizeof *m.live);
    m.freed = malloc((count + 1) * sizeof *m.freed);
    ck_assert(ops != NULL && m.live != NULL && m.freed != NULL);
    for (size_t i = 0; i < count; i++)
        ops[i] = next_op(&m);
    free(m.live);
    free(m.freed);
    return ops;
}

void made_file(const char *path, const struct hmm_trace_op *ops, size_t count, size_t commented)
{
    struct hmm_trace_error error;
    struct hmm_trace_writer *w = hmm_trace_writer_open(path, &error);
    ck_assert_msg(w != NULL, "%s", error.reason);
    for (size_t i = 0; i < count; i++) {
        char text[40];
        snprintf(text, sizeof text, "above operation %zu", i);
        if (commented != 0 && i % commented == 0)
            require(hmm_trace_write_comment(w, text), "comment %zu", i);
        require(hmm_trace_write(w, &ops[i]), "operation %zu", i);
    }
    ck_assert_msg(hmm_trace_writer_close(w, &error), "%s", error.reason);
}

bool made_same(const struct hmm_trace_op *a, const struct hmm_trace_op *b)
{
    return a->kind == b->kind && a->id == b->id && a->size == b->size &&
           a->align_log2 == b->align_log2;
}
