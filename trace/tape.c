/* SPDX-License-Identifier: MIT */
/*
 * A trace that is read several times.
 */
#include "internal.h"

#include <stdlib.h>

#define CHANGED "the file has changed while it was read"
#define FIRST_ROOM ((size_t)1 << 16)

struct hmm_trace_tape {
    struct hmm_trace_reader *reader;
    struct hmm_trace_summary sum;
    struct hmm_trace_error error, cut;
    struct hmm_trace_op *ops; /* all of them iff kept, else a stretch */
    size_t room;
    uint64_t given; /* in this pass */
    bool kept, failed, unended;
};

/* ---- The first pass ---- */

static bool grow(struct hmm_trace_tape *t, struct hmm_trace_error *error)
{
    const size_t room = t->room == 0 ? FIRST_ROOM : t->room * 2;
    struct hmm_trace_op *ops = realloc(t->ops, room * sizeof *ops);
    if (ops == NULL)
        return hmm_trace_fail(error, "out of memory");
    t->ops = ops;
    t->room = room;
    return true;
}

/* The trace is too long to be kept: from now on there is a stretch of it at a time. */
static bool stop_keeping(struct hmm_trace_tape *t, struct hmm_trace_error *error)
{
    if (!hmm_trace_reader_seekable(t->reader))
        return hmm_trace_fail(error,
                              "is no file, and has more operations than can be kept (%zu): write "
                              "it into one",
                              HMM_TRACE_KEPT);
    t->kept = false;
    t->room = HMM_TRACE_STRETCH;
    struct hmm_trace_op *ops = realloc(t->ops, t->room * sizeof *ops);
    t->ops = ops != NULL ? ops : t->ops;
    return true;
}

/* As hmm_trace_read; where the file is cut, the trace ends, if there was anything of it. */
static ptrdiff_t read_on(struct hmm_trace_tape *t, struct hmm_trace_op *ops, size_t room,
                         struct hmm_trace_error *error)
{
    const ptrdiff_t got = hmm_trace_read(t->reader, ops, room, error);
    if (got >= 0 || !error->is_cut || hmm_trace_reader_summary(t->reader)->op_count == 0)
        return got;
    t->cut = *error;
    return 0;
}

/* How many operations of the trace are in ops. */
static size_t held(const struct hmm_trace_tape *t)
{
    return t->kept ? (size_t)hmm_trace_reader_summary(t->reader)->op_count : 0;
}

static bool read_through(struct hmm_trace_tape *t, const struct hmm_trace_progress *progress,
                         struct hmm_trace_error *error)
{
    ptrdiff_t got = 1;
    t->kept = true;
    while (got > 0) {
        uint64_t done, total;
        if (t->kept && held(t) == HMM_TRACE_KEPT && !stop_keeping(t, error))
            return false;
        if (t->kept && held(t) == t->room && !grow(t, error))
            return false;
        got = read_on(t, t->ops + held(t), t->room - held(t), error);
        hmm_trace_reader_progress(t->reader, &done, &total);
        if (progress != NULL)
            progress->tell(progress->arg, done, total);
    }
    t->sum = *hmm_trace_reader_summary(t->reader);
    t->unended = hmm_trace_reader_unended(t->reader);
    return got == 0 && (t->kept || hmm_trace_seek(t->reader, 0, error));
}

struct hmm_trace_tape *hmm_trace_tape_open(const char *path,
                                           const struct hmm_trace_progress *progress,
                                           struct hmm_trace_error *error)
{
    struct hmm_trace_tape *t = calloc(1, sizeof *t);
    *error = (struct hmm_trace_error){0};
    if (t == NULL) {
        hmm_trace_fail(error, "out of memory");
        return NULL;
    }
    t->reader = hmm_trace_reader_open(path, HMM_TRACE_DENSE, error);
    if (t->reader != NULL && read_through(t, progress, error))
        return t;
    hmm_trace_tape_close(t);
    return NULL;
}

void hmm_trace_tape_close(struct hmm_trace_tape *t)
{
    if (t == NULL)
        return;
    hmm_trace_reader_close(t->reader);
    free(t->ops);
    free(t);
}

/* ---- Later ones ---- */

const struct hmm_trace_summary *hmm_trace_tape_summary(const struct hmm_trace_tape *t)
{
    return &t->sum;
}

const struct hmm_trace_error *hmm_trace_tape_error(const struct hmm_trace_tape *t)
{
    return t->failed ? &t->error : NULL;
}

const struct hmm_trace_error *hmm_trace_tape_cut(const struct hmm_trace_tape *t)
{
    return t->cut.is_cut ? &t->cut : NULL;
}

bool hmm_trace_tape_unended(const struct hmm_trace_tape *t)
{
    return t->unended;
}

const struct hmm_trace_stacks *hmm_trace_tape_stacks(const struct hmm_trace_tape *t)
{
    return hmm_trace_reader_stacks(t->reader);
}

/* Whether the file still is what was read first. If another has taken its place, its IDs may lie
 * beyond tables that were made for the first. */
static bool is_the_same(const struct hmm_trace_tape *t, size_t got)
{
    const struct hmm_trace_summary *now = hmm_trace_reader_summary(t->reader);
    return now->op_count <= t->sum.op_count && now->peak_blocks <= t->sum.peak_blocks &&
           (got != 0 || (now->op_count == t->sum.op_count && now->peak_bytes == t->sum.peak_bytes));
}

void hmm_trace_tape_rest(struct hmm_trace_tape *t)
{
    struct hmm_trace_error error;
    if (!t->kept || !hmm_trace_seek(t->reader, 0, &error))
        return;
    free(t->ops);
    t->ops = NULL;
    t->room = 0;
}

/* Reads the operations that hmm_trace_tape_rest has freed again. */
static bool wake(struct hmm_trace_tape *t)
{
    const size_t room = (size_t)t->sum.op_count + 1;
    t->ops = malloc(room * sizeof *t->ops);
    if (t->ops == NULL)
        return hmm_trace_fail(&t->error, "out of memory");
    t->room = room;
    if (!hmm_trace_seek(t->reader, 0, &t->error) || read_on(t, t->ops, room, &t->error) < 0)
        return false;
    return is_the_same(t, 0) || hmm_trace_fail(&t->error, CHANGED);
}

bool hmm_trace_tape_rewind(struct hmm_trace_tape *t)
{
    t->given = 0;
    if (t->failed)
        return false;
    t->failed = t->kept ? t->ops == NULL && !wake(t) : !hmm_trace_seek(t->reader, 0, &t->error);
    return !t->failed;
}

size_t hmm_trace_tape_next(struct hmm_trace_tape *t, const struct hmm_trace_op **ops)
{
    *ops = t->ops;
    if (t->failed)
        return 0;
    if (t->kept) {
        const size_t count = (size_t)(t->sum.op_count - t->given);
        t->given = t->sum.op_count;
        return count;
    }
    const ptrdiff_t got = read_on(t, t->ops, t->room, &t->error);
    t->failed = got < 0;
    if (!t->failed && !is_the_same(t, (size_t)got)) {
        hmm_trace_fail(&t->error, CHANGED);
        t->failed = true;
    }
    return t->failed ? 0 : (size_t)got;
}

/* The lines are in the file only, so a pipe has none any more. */
bool hmm_trace_tape_find(struct hmm_trace_tape *t, uint64_t index, struct hmm_trace_op *op,
                         uint64_t *line)
{
    struct hmm_trace_error error;
    if (index >= t->sum.op_count || t->failed)
        return false;
    const bool here = t->kept && t->ops != NULL;
    if (here)
        *op = t->ops[index];
    struct hmm_trace_op read;
    const bool found = hmm_trace_seek(t->reader, index, &error) &&
                       hmm_trace_read(t->reader, &read, 1, &error) == 1;
    *line = found ? hmm_trace_reader_line(t->reader) : 0;
    if (!here && found)
        *op = read;
    return here || found;
}
