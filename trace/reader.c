/* SPDX-License-Identifier: MIT */
/*
 * Loads a trace: chunks from the source, lines from the chunks, operations from the lines.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Also the longest line, which only a comment can come near. */
#define CHUNK_BYTES 262144

struct reader {
    struct hmm_trace trace;
    struct hmm_trace_ids ids;
    struct hmm_trace_error *error; /* its line is the one being read */
    size_t op_room, comment_room;
    size_t kept; /* chunk[0 .. kept) is a line whose end is yet to come */
    char chunk[CHUNK_BYTES];
};

static bool add_op(struct reader *r, const struct hmm_trace_op *op)
{
    struct hmm_trace *t = &r->trace;
    if (t->op_count == r->op_room) {
        size_t room = r->op_room == 0 ? 4096 : r->op_room * 2;
        struct hmm_trace_op *ops = realloc(t->ops, room * sizeof *ops);
        if (ops == NULL)
            return hmm_trace_fail(r->error, "out of memory");
        t->ops = ops;
        r->op_room = room;
    }
    t->ops[t->op_count++] = *op;
    t->counts[op->kind]++;
    if (op->id >= t->id_limit)
        t->id_limit = op->id + 1;
    return true;
}

static bool add_comment(struct reader *r)
{
    struct hmm_trace *t = &r->trace;
    if (t->comment_count == r->comment_room) {
        size_t room = r->comment_room == 0 ? 16 : r->comment_room * 2;
        size_t *comments = realloc(t->comments, room * sizeof *comments);
        if (comments == NULL)
            return hmm_trace_fail(r->error, "out of memory");
        t->comments = comments;
        r->comment_room = room;
    }
    t->comments[t->comment_count++] = t->op_count;
    return true;
}

static bool read_line(struct reader *r, const char *line, const char *end)
{
    struct hmm_trace_op op;
    if (end > line && end[-1] == '\r')
        end--;
    if (r->error->line == 1)
        return hmm_trace_parse_header(line, end, r->error);
    if (*line == '#')
        return add_comment(r);
    return hmm_trace_parse(line, end, &op, r->error) &&
           hmm_trace_ids_apply(&r->ids, &op, r->trace.op_count, r->error) && add_op(r, &op);
}

/* All whole lines of chunk[0 .. filled); the rest is kept. */
static bool read_lines(struct reader *r, size_t filled)
{
    const char *line = r->chunk, *const stop = r->chunk + filled;
    const char *end;
    while (line < stop && (end = memchr(line, '\n', (size_t)(stop - line))) != NULL) {
        if (!read_line(r, line, end))
            return false;
        r->error->line++;
        line = end + 1;
    }
    r->kept = (size_t)(stop - line);
    memmove(r->chunk, line, r->kept);
    if (r->kept < sizeof r->chunk)
        return true;
    if (r->error->line == 1) /* no newline far and wide: another kind of file */
        return hmm_trace_parse_header(r->chunk, r->chunk + r->kept, r->error);
    return hmm_trace_fail(r->error, "the line is longer than %d bytes", CHUNK_BYTES);
}

static bool at_end(struct reader *r)
{
    if (r->error->line == 1 && r->kept == 0)
        return hmm_trace_fail(r->error, "not a trace: the file is empty");
    if (r->error->line == 1 && !hmm_trace_parse_header(r->chunk, r->chunk + r->kept, r->error))
        return false;
    return r->kept == 0 ||
           hmm_trace_fail(r->error, "truncated: the last line does not end with a newline");
}

static bool read_all(struct reader *r, struct hmm_trace_source *source,
                     const struct hmm_trace_progress *progress)
{
    for (;;) {
        ptrdiff_t got =
            hmm_trace_source_read(source, r->chunk + r->kept, sizeof r->chunk - r->kept, r->error);
        if (got < 0)
            return false;
        if (got == 0)
            return at_end(r);
        if (!read_lines(r, r->kept + (size_t)got))
            return false;
        hmm_trace_source_tell(source, progress);
    }
}

/* What the reader has gathered, as the caller's trace. */
static void hand_over(struct reader *r, struct hmm_trace *trace)
{
    *trace = r->trace;
    trace->peak_bytes = r->ids.peak_bytes;
    trace->peak_blocks = r->ids.peak_blocks;
}

static bool read_source(struct hmm_trace *trace, struct hmm_trace_source *source,
                        const struct hmm_trace_progress *progress, struct hmm_trace_error *error)
{
    struct reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return hmm_trace_fail(error, "out of memory");
    r->error = error;
    error->line = 1;
    bool good = read_all(r, source, progress);
    r->trace.is_cut = !good && error->is_cut && error->line > 1;
    good = good || r->trace.is_cut;
    if (good)
        hand_over(r, trace);
    else
        hmm_trace_free(&r->trace);
    free(r->ids.states);
    free(r);
    return good;
}

bool hmm_trace_load(struct hmm_trace *trace, const char *path,
                    const struct hmm_trace_progress *progress, struct hmm_trace_error *error)
{
    *trace = (struct hmm_trace){0};
    *error = (struct hmm_trace_error){0};
    struct hmm_trace_source *source = hmm_trace_source_open(path, error);
    if (source == NULL)
        return false;
    bool good = read_source(trace, source, progress, error);
    hmm_trace_source_close(source);
    return good;
}

void hmm_trace_free(struct hmm_trace *trace)
{
    free(trace->ops);
    free(trace->comments);
    *trace = (struct hmm_trace){0};
}

uint64_t hmm_trace_line(const struct hmm_trace *trace, size_t index)
{
    size_t above = 0; /* comments above the operation */
    while (above < trace->comment_count && trace->comments[above] <= index)
        above++;
    return 2 + (uint64_t)index + above; /* the first line is the header */
}

void hmm_trace_print_error(FILE *to, const char *path, const struct hmm_trace_error *error)
{
    if (error->line == 0)
        fprintf(to, "%s: %s\n", path, error->reason);
    else
        fprintf(to, "%s:%llu: %s\n", path, (unsigned long long)error->line, error->reason);
}
