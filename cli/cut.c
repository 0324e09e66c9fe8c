/* SPDX-License-Identifier: MIT */
/*
 * hmm cut: a window of a trace as a trace of its own.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

enum { OPT_OUTPUT, OPT_FROM, OPT_TO };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_OUTPUT] = {"output", "FILE", "what to write: .ht2, .zst, else text; - is standard output"},
    [OPT_FROM] = {"from", "OP", "the first operation, counted from 1 (default: the first)"},
    [OPT_TO] = {"to", "OP", "the last operation (default: the last)"},
    {NULL, NULL, NULL}};

const struct cli_command cli_cut = {
    .name = "cut",
    .usage = "[--from OP] [--to OP] -o FILE TRACE",
    .summary = "write a window of a trace as a trace of its own",
    .description =
        "Writes the operations from --from to --to, both included. Blocks that live at the "
        "window's\n"
        "start are allocated first, in the order of their birth and with the sizes that they have\n"
        "there. IDs become dense. Comments are dropped, but for call stacks; one that says where "
        "the\n"
        "window lay is put first. In format 2 a window is opened at the checkpoint before it.\n\n"
        "Exit status: 0; 1 if FILE cannot be written; 2 if an argument is bad, TRACE is damaged, "
        "or\n"
        "has no operation --from.\n",
    .options = options,
    .letters = "o",
    .run = run,
};

struct request {
    const char *trace, *output;
    uint64_t from, to;
};

/* The IDs of the new trace, as few as possible: freed ones are used again, from a stack. */
struct numbers {
    uint32_t *of_id; /* of a live block's ID in the trace */
    uint32_t *freed;
    size_t room; /* of both: IDs in the trace are dense themselves */
    uint32_t freed_count, used;
};

static void grow(struct numbers *n, uint32_t id)
{
    size_t room = n->room == 0 ? 4096 : n->room;
    while (room <= id)
        room *= 2;
    uint32_t *of_id = cli_alloc(room, sizeof *of_id), *freed = cli_alloc(room, sizeof *freed);
    if (n->room != 0) {
        memcpy(of_id, n->of_id, n->room * sizeof *of_id);
        memcpy(freed, n->freed, n->freed_count * sizeof *freed);
    }
    free(n->of_id);
    free(n->freed);
    n->of_id = of_id;
    n->freed = freed;
    n->room = room;
}

static void renumber(struct numbers *n, struct hmm_trace_op *op)
{
    if (op->id >= n->room)
        grow(n, op->id);
    uint32_t *number = &n->of_id[op->id];
    if (op->kind == HMM_TRACE_FREE)
        n->freed[n->freed_count++] = *number;
    else if (op->kind != HMM_TRACE_RESIZE)
        *number = n->freed_count != 0 ? n->freed[--n->freed_count] : n->used++;
    op->id = *number;
}

/* The blocks that live at the window's start. */
struct living {
    struct hmm_trace_block *blocks;
    size_t count;
};

static bool write_living(const struct living *living, struct numbers *n, struct hmm_trace_writer *w)
{
    bool good = true;
    for (size_t i = 0; good && i < living->count; i++) {
        const struct hmm_trace_block *b = &living->blocks[i];
        struct hmm_trace_op op = {.size = b->size,
                                  .id = b->id,
                                  .kind = b->align_log2 != 0 ? HMM_TRACE_ALIGNED : HMM_TRACE_ALLOC,
                                  .align_log2 = b->align_log2 & 63u,
                                  .stack = b->stack};
        renumber(n, &op);
        good = hmm_trace_write(w, &op);
    }
    return good;
}

static void write_place(const struct cli_stream *s, const struct living *living,
                        struct hmm_trace_writer *w)
{
    char to[32] = "the last", text[160];
    if (s->to != UINT64_MAX)
        snprintf(to, sizeof to, "%llu", (unsigned long long)s->to);
    snprintf(text, sizeof text,
             "operations %llu to %s of another trace, after %zu blocks that lived before",
             (unsigned long long)s->from + 1, to, living->count);
    hmm_trace_write_comment(w, text);
}

/* The stretch that has been read, if `more`, and those after it. */
static bool write_window(struct cli_stream *s, bool more, const struct living *living,
                         struct hmm_trace_writer *w)
{
    struct numbers n = {0};
    write_place(s, living, w);
    if (hmm_trace_reader_stacks(s->reader)->any)
        hmm_trace_write_line(w, "#@ stacks", strlen("#@ stacks"));
    bool good = write_living(living, &n, w);
    for (; good && more; more = good && cli_stream_next(s))
        for (size_t i = 0; good && i < s->count; i++) {
            renumber(&n, &s->ops[i]);
            good = hmm_trace_write(w, &s->ops[i]);
        }
    free(n.of_id);
    free(n.freed);
    return good;
}

/* Says that the trace ends before the window does. */
static void tell_short(const struct request *q, const struct cli_stream *s)
{
    if (q->to != UINT64_MAX && !s->failed && !s->interrupted && s->first + s->count < q->to)
        cli_complain("cut", "%s: ends before the window does, at operation %llu", s->path,
                     (unsigned long long)(s->first + s->count));
}

static bool cut_window(const struct request *q, struct cli_stream *s, const struct living *living)
{
    /* If the input is no trace at all, an existing output file stays as it is. */
    const bool more = cli_stream_next(s);
    if (s->failed && !more)
        return true;
    struct hmm_trace_writer *w = cli_stream_output(s, q->output);
    if (w == NULL)
        return false;
    bool good = write_window(s, more, living, w);
    cli_stream_read_stacks(s);
    good = good && hmm_trace_write_stacks(w, hmm_trace_reader_stacks(s->reader));
    cli_progress_hide();
    good = cli_stream_written(s, w, q->output) && good;
    if (good)
        tell_short(q, s);
    return good;
}

static int cut(const struct request *q)
{
    struct cli_stream s;
    struct living living;
    if (!cli_stream_open(&s, "cut", q->trace, HMM_TRACE_DENSE, q->from, q->to))
        return CLI_USAGE;
    living.blocks = hmm_trace_reader_live(s.reader, &living.count);
    bool good = living.blocks != NULL;
    if (good)
        good = cut_window(q, &s, &living);
    else
        cli_complain("cut", "out of memory");
    free(living.blocks);
    cli_stream_close(&s);
    return good ? cli_stream_status(&s) : CLI_FAILED;
}

static bool take(struct request *q, int arg, const char *value)
{
    switch (arg) {
    case OPT_FROM:
        return cli_parse_op("cut", "from", value, &q->from);
    case OPT_TO:
        return cli_parse_op("cut", "to", value, &q->to);
    case OPT_OUTPUT:
        q->output = value;
        return true;
    default:
        if (q->trace != NULL)
            cli_complain("cut", "one trace at a time: '%s' is another", value);
        else
            q->trace = value;
        return q->trace == value;
    }
}

static bool is_complete(const struct request *q)
{
    if (q->trace == NULL)
        cli_complain("cut", "no trace given: hmm cut %s", cli_cut.usage);
    else if (q->output == NULL)
        cli_complain("cut", "no output given: hmm cut %s", cli_cut.usage);
    else if (q->to < q->from)
        cli_complain("cut", "--to %llu lies before --from %llu", (unsigned long long)q->to,
                     (unsigned long long)q->from);
    else
        return true;
    return false;
}

static int run(int argc, char **argv)
{
    struct cli_args args = {.command = &cli_cut, .argc = argc, .argv = argv, .next = 1};
    struct request q = {.from = 1, .to = UINT64_MAX};
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_HELP) {
            cli_command_help(&cli_cut);
            return CLI_OK;
        }
        if (arg == CLI_ARG_BAD || !take(&q, arg, args.value))
            return CLI_USAGE;
    }
    return is_complete(&q) ? cut(&q) : CLI_USAGE;
}
