/* SPDX-License-Identifier: MIT */
/*
 * Reads a trace of either form as a stream, and checks each operation against the live blocks.
 */
#include "packed.h"

#include <stdlib.h>
#include <string.h>

/* Operations between two reports of progress. */
#define SEEN_OPS 65536u

struct hmm_trace_reader {
    struct hmm_trace_input input;
    struct hmm_unpacker *unpacker; /* NULL: it is text */
    struct hmm_trace_live live;
    struct hmm_trace_comments comments;
    struct hmm_trace_progress progress;
    struct hmm_trace_error error;
    uint64_t line;
    bool dense, failed;
};

/* ---- Opening ---- */

static bool is_packed(const struct hmm_trace_input *in)
{
    return hmm_trace_input_has(in) >= sizeof hmm_packed_magic &&
           memcmp(in->buffer + in->at, hmm_packed_magic, sizeof hmm_packed_magic) == 0;
}

static bool start(struct hmm_trace_reader *r, const char *path, struct hmm_trace_error *error)
{
    if (!hmm_trace_input_open(&r->input, path, error))
        return false;
    error->line = 1; /* until it proves to be format 2, which has no lines */
    if (!hmm_trace_input_need(&r->input, HMM_PACKED_FILE_HEADER, error))
        return false;
    error->line = 0;
    if (!is_packed(&r->input))
        return true;
    r->unpacker = hmm_unpacker_open(&r->input, error);
    return r->unpacker != NULL;
}

struct hmm_trace_reader *hmm_trace_reader_open(const char *path, unsigned flags,
                                               struct hmm_trace_error *error)
{
    struct hmm_trace_reader *r = calloc(1, sizeof *r);
    *error = (struct hmm_trace_error){0};
    if (r == NULL) {
        hmm_trace_fail(error, "out of memory");
        return NULL;
    }
    r->dense = (flags & HMM_TRACE_DENSE) != 0;
    if (start(r, path, error))
        return r;
    hmm_trace_reader_close(r);
    return NULL;
}

void hmm_trace_reader_close(struct hmm_trace_reader *r)
{
    if (r == NULL)
        return;
    if (r->unpacker != NULL)
        hmm_unpacker_close(r->unpacker);
    hmm_trace_input_close(&r->input);
    hmm_trace_live_clear(&r->live);
    hmm_trace_stacks_free(&r->comments.stacks);
    free(r);
}

/* ---- Reading ---- */

static int next(struct hmm_trace_reader *r, struct hmm_trace_op *op)
{
    if (r->unpacker == NULL)
        return hmm_trace_text_next(&r->input, &r->line, &r->comments, op, &r->error);
    return hmm_unpacker_next(r->unpacker, &r->live, &r->comments, op, &r->error);
}

/* Adds to the error the number of the operation that those before it forbid; where there are lines,
 * the error has the line already. */
static void name_operation(struct hmm_trace_reader *r)
{
    char reason[sizeof r->error.reason];
    if (r->unpacker == NULL)
        return;
    memcpy(reason, r->error.reason, sizeof reason);
    hmm_trace_fail(&r->error, "operation %llu: %.150s",
                   (unsigned long long)r->live.sum.op_count + 1, reason);
}

/* 1; 0 at the end; -1, and failed is set. */
static int step(struct hmm_trace_reader *r, struct hmm_trace_op *op)
{
    uint32_t number = 0;
    r->comments.op = r->live.sum.op_count;
    r->comments.stack = 0;
    const int code = r->failed ? -1 : next(r, op);
    if (code == 0)
        return 0;
    if (code > 0)
        op->stack = op->kind != HMM_TRACE_FREE ? r->comments.stack & HMM_TRACE_MOST_STACKS : 0;
    if (code > 0 && hmm_trace_live_apply(&r->live, op, &number, &r->error)) {
        if (r->dense)
            op->id = number;
        return 1;
    }
    if (code > 0)
        name_operation(r);
    r->failed = true;
    return -1;
}

ptrdiff_t hmm_trace_read(struct hmm_trace_reader *r, struct hmm_trace_op *ops, size_t room,
                         struct hmm_trace_error *error)
{
    size_t count = 0;
    int code = 1;
    while (count < room && (code = step(r, &ops[count])) > 0)
        count++;
    if (count != 0 || code >= 0)
        return (ptrdiff_t)count;
    *error = r->error;
    return -1;
}

/* ---- Going to a place ---- */

/* Goes to the operation or to a place before it. Behind a fault it can go only to a checkpoint. */
static bool go_near(struct hmm_trace_reader *r, uint64_t op)
{
    const uint64_t now = r->live.sum.op_count;
    if (r->unpacker != NULL) {
        const bool good = hmm_unpacker_seek(r->unpacker, &r->live, op, &r->error);
        return good && !(r->failed && op >= now && r->live.sum.op_count == now);
    }
    if (op >= now)
        return !r->failed;
    hmm_trace_live_clear(&r->live);
    r->line = 0;
    return hmm_trace_input_seek(&r->input, 0, &r->error);
}

static void tell(const struct hmm_trace_reader *r)
{
    uint64_t done, total;
    hmm_trace_reader_progress(r, &done, &total);
    r->progress.tell(r->progress.arg, done, total);
}

bool hmm_trace_seek(struct hmm_trace_reader *r, uint64_t op, struct hmm_trace_error *error)
{
    struct hmm_trace_op passed;
    void (*const take)(void *, uint64_t, const char *, size_t) = r->comments.take;
    r->comments.take = NULL;
    r->failed = !go_near(r, op);
    for (uint64_t i = 1; r->live.sum.op_count < op && step(r, &passed) > 0; i++)
        if (i % SEEN_OPS == 0 && r->progress.tell != NULL)
            tell(r);
    r->comments.take = take;
    if (!r->failed)
        return true;
    *error = r->error;
    return false;
}

/* ---- What is known ---- */

const struct hmm_trace_summary *hmm_trace_reader_summary(const struct hmm_trace_reader *r)
{
    return &r->live.sum;
}

struct hmm_trace_block *hmm_trace_reader_live(const struct hmm_trace_reader *r, size_t *count)
{
    *count = r->live.sum.live_blocks;
    return hmm_trace_live_list(&r->live, r->dense);
}

uint64_t hmm_trace_reader_line(const struct hmm_trace_reader *r)
{
    return r->line;
}

const struct hmm_trace_stacks *hmm_trace_reader_stacks(const struct hmm_trace_reader *r)
{
    return &r->comments.stacks;
}

bool hmm_trace_reader_seekable(const struct hmm_trace_reader *r)
{
    return hmm_trace_source_seekable(r->input.source);
}

bool hmm_trace_reader_unended(const struct hmm_trace_reader *r)
{
    return r->unpacker != NULL && hmm_unpacker_unended(r->unpacker);
}

void hmm_trace_reader_progress(const struct hmm_trace_reader *r, uint64_t *done, uint64_t *total)
{
    hmm_trace_source_tell(r->input.source, done, total);
}

void hmm_trace_reader_watch(struct hmm_trace_reader *r, const struct hmm_trace_progress *progress)
{
    r->progress = *progress;
}

void hmm_trace_reader_comments(struct hmm_trace_reader *r,
                               void (*take)(void *arg, uint64_t op, const char *line,
                                            size_t length),
                               void *arg)
{
    r->comments.take = take;
    r->comments.arg = arg;
}

void hmm_trace_print_error(FILE *to, const char *path, const struct hmm_trace_error *error)
{
    if (error->line == 0)
        fprintf(to, "%s: %s\n", path, error->reason);
    else
        fprintf(to, "%s:%llu: %s\n", path, (unsigned long long)error->line, error->reason);
}
