/* SPDX-License-Identifier: MIT */
/*
 * hmm convert: a trace in another form. Operations and comments stay what and where they are.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

enum { OPT_OUTPUT, OPT_PLAIN };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_OUTPUT] = {"output", "FILE", "what to write: .ht2, .zst, else text; - is standard output"},
    [OPT_PLAIN] = {"plain", NULL, "format 2 without zstd, for readers that have none"},
    {NULL, NULL, NULL}};

const struct cli_command cli_convert = {
    .name = "convert",
    .usage = "[--plain] -o FILE TRACE",
    .summary = "write a trace in another form",
    .description =
        "Reads TRACE, text, zstd or format 2 as its first bytes say, - for standard input, and\n"
        "writes it in the form that FILE's name ends in: .ht2 for format 2, which is smaller and\n"
        "opens anywhere at once, .zst for text in zstd, anything else for text. Operations and\n"
        "comments are kept. Of a damaged trace what comes before the damage is written.\n\n"
        "Exit status: 0; 1 if FILE cannot be written; 2 if an argument is bad or TRACE damaged.\n",
    .options = options,
    .letters = "o",
    .run = run,
};

struct request {
    const char *trace, *output;
    bool plain;
};

/* The reader gives a comment before it has handed out the operations above it: until then the
 * comment is kept. */
struct comment {
    uint64_t op;
    size_t length;
    char *line;
};

struct comments {
    struct comment *list;
    size_t count, room;
};

static void keep_comment(void *arg, uint64_t op, const char *line, size_t length)
{
    struct comments *c = arg;
    if (hmm_trace_is_mark(line, length))
        return; /* the operation carries it */
    if (c->count == c->room) {
        const size_t room = c->room == 0 ? 64 : c->room * 2;
        struct comment *list = cli_alloc(room, sizeof *list);
        if (c->count != 0)
            memcpy(list, c->list, c->count * sizeof *list);
        free(c->list);
        c->list = list;
        c->room = room;
    }
    char *copy = memcpy(cli_alloc(length, 1), line, length);
    c->list[c->count++] = (struct comment){op, length, copy};
}

/* Writes the comments above the operation with this index, beginning with comment `next`. Returns
 * the next comment. */
static size_t write_comments(struct hmm_trace_writer *w, const struct comments *c, size_t next,
                             uint64_t op)
{
    for (; next < c->count && c->list[next].op <= op; next++)
        hmm_trace_write_line(w, c->list[next].line, c->list[next].length);
    return next;
}

static void forget_comments(struct comments *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->list[i].line);
    c->count = 0;
}

/* False iff it cannot be written. */
static bool write_stretch(const struct cli_stream *s, struct hmm_trace_writer *w,
                          struct comments *c)
{
    size_t next = 0;
    bool good = true;
    for (size_t i = 0; good && i < s->count; i++) {
        next = write_comments(w, c, next, s->first + i);
        good = hmm_trace_write(w, &s->ops[i]);
    }
    write_comments(w, c, next, UINT64_MAX);
    forget_comments(c);
    return good;
}

static int convert(const struct request *q)
{
    struct cli_stream s;
    struct comments comments = {0};
    if (!cli_stream_open(&s, "convert", q->trace, 0, 1, UINT64_MAX))
        return CLI_USAGE;
    hmm_trace_reader_comments(s.reader, keep_comment, &comments);
    /* If the input is no trace at all, an existing output file stays as it is. */
    bool more = cli_stream_next(&s);
    if (s.failed) {
        cli_stream_close(&s);
        return CLI_USAGE;
    }
    struct hmm_trace_writer *w = cli_stream_output(&s, q->output);
    bool good = w != NULL;
    if (good && q->plain)
        hmm_trace_writer_plain(w);
    while (good && more) {
        good = write_stretch(&s, w, &comments);
        more = good && cli_stream_next(&s);
    }
    if (good)
        write_stretch(&s, w, &comments);
    cli_progress_hide();
    if (w != NULL)
        good = cli_stream_written(&s, w, q->output) && good;
    forget_comments(&comments);
    free(comments.list);
    cli_stream_close(&s);
    return good ? cli_stream_status(&s) : CLI_FAILED;
}

static bool is_complete(const struct request *q)
{
    if (q->trace == NULL)
        cli_complain("convert", "no trace given: hmm convert %s", cli_convert.usage);
    else if (q->output == NULL)
        cli_complain("convert", "no output given: hmm convert %s", cli_convert.usage);
    return q->trace != NULL && q->output != NULL;
}

static int run(int argc, char **argv)
{
    struct cli_args args = {.command = &cli_convert, .argc = argc, .argv = argv, .next = 1};
    struct request q = {0};
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD)
            return CLI_USAGE;
        if (arg == CLI_ARG_HELP) {
            cli_command_help(&cli_convert);
            return CLI_OK;
        }
        if (arg == CLI_ARG_OPERAND && q.trace != NULL) {
            cli_complain("convert", "one trace at a time: '%s' is another", args.value);
            return CLI_USAGE;
        }
        if (arg == CLI_ARG_OPERAND)
            q.trace = args.value;
        else if (arg == OPT_OUTPUT)
            q.output = args.value;
        else
            q.plain = true;
    }
    return is_complete(&q) ? convert(&q) : CLI_USAGE;
}
