/* SPDX-License-Identifier: MIT */
/*
 * A trace in memory, whole.
 */
#include "internal.h"

#include <stdlib.h>

#define STRETCH 16384u

struct loader {
    struct hmm_trace trace;
    size_t op_room;
};

static bool make_room(struct loader *l)
{
    struct hmm_trace *t = &l->trace;
    if (l->op_room - t->op_count >= STRETCH)
        return true;
    const size_t room = l->op_room == 0 ? STRETCH : l->op_room * 2;
    struct hmm_trace_op *ops = realloc(t->ops, room * sizeof *ops);
    if (ops == NULL)
        return false;
    t->ops = ops;
    l->op_room = room;
    return true;
}

static bool load_stretches(struct loader *l, struct hmm_trace_reader *r,
                           const struct hmm_trace_progress *progress, struct hmm_trace_error *error)
{
    struct hmm_trace *t = &l->trace;
    ptrdiff_t got = 1;
    while (got > 0) {
        if (!make_room(l))
            return hmm_trace_fail(error, "out of memory");
        got = hmm_trace_read(r, t->ops + t->op_count, STRETCH, error);
        t->op_count += got > 0 ? (size_t)got : 0;
        uint64_t done, total;
        hmm_trace_reader_progress(r, &done, &total);
        if (progress != NULL)
            progress->tell(progress->arg, done, total);
    }
    return got == 0;
}

static void conclude(struct hmm_trace *t, const struct hmm_trace_reader *r)
{
    const struct hmm_trace_summary *sum = hmm_trace_reader_summary(r);
    for (int i = 0; i < HMM_TRACE_KINDS; i++)
        t->counts[i] = (size_t)sum->counts[i];
    t->id_limit = sum->id_limit;
    t->peak_bytes = sum->peak_bytes;
    t->peak_blocks = sum->peak_blocks;
}

bool hmm_trace_load(struct hmm_trace *trace, const char *path,
                    const struct hmm_trace_progress *progress, struct hmm_trace_error *error)
{
    struct loader l = {0};
    *trace = (struct hmm_trace){0};
    struct hmm_trace_reader *r = hmm_trace_reader_open(path, 0, error);
    if (r == NULL)
        return false;
    bool good = load_stretches(&l, r, progress, error);
    l.trace.is_cut = !good && error->is_cut && error->line != 1;
    good = good || l.trace.is_cut;
    if (good) {
        conclude(&l.trace, r);
        *trace = l.trace;
    } else {
        hmm_trace_free(&l.trace);
    }
    hmm_trace_reader_close(r);
    return good;
}

void hmm_trace_free(struct hmm_trace *trace)
{
    free(trace->ops);
    *trace = (struct hmm_trace){0};
}
