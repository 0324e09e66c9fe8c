/* SPDX-License-Identifier: MIT */
/*
 * hmm import: what others have recorded becomes a trace.
 */
#include "import.h"

#include "internal.h"
#include "packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MOST ((size_t)1 << 24)

enum { OPT_OUTPUT, OPT_FROM };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_OUTPUT] = {"output", "OUT", "the trace; zstd if the name ends in .zst"},
    [OPT_FROM] = {"from", "rep|mtrace|heaptrack|rmm|ring",
                  "what FILE is, if its first line does not tell"},
    {NULL, NULL, NULL}};

const struct cli_command cli_import = {
    .name = "import",
    .usage = "[--from FORMAT] -o OUT FILE",
    .summary = "make a trace of what another tool has recorded",
    .description =
        "Reads, plain or compressed with zstd: rep, the traces of CS:APP's malloc lab; mtrace, "
        "the\n"
        "logs of glibc's mtrace(); heaptrack's files, raw or interpreted; rmm, the CSV logs of "
        "the\n"
        "RAPIDS Memory Manager; ring, the events of a device. Says how many operations there are "
        "and what had to be left out. Ctrl-C ends it, and the trace has what was read up to "
        "there.\n\n"
        "Exit status: 0 if the trace is written; 1 if that fails or memory runs out; 2 if an\n"
        "argument or FILE is bad, and then there is no trace.\n",
    .options = options,
    .letters = "o",
    .run = run,
};

static const struct import_format *const formats[] = {&import_rep, &import_mtrace,
                                                      &import_heaptrack, &import_rmm, &import_ring};
#define FORMATS (sizeof formats / sizeof formats[0])

struct request {
    const char *path, *output;
    const struct import_format *format; /* NULL: to be guessed */
};

/* ---- The command line ---- */

static bool parse_from(struct request *q, const char *name)
{
    const char *allowed[FORMATS + 1] = {NULL};
    for (size_t i = 0; i < FORMATS; i++) {
        allowed[i] = formats[i]->name;
        if (strcmp(name, formats[i]->name) == 0)
            q->format = formats[i];
    }
    if (q->format == NULL)
        cli_complain_unknown("import", "format", name, allowed, NULL);
    return q->format != NULL;
}

static bool take_argument(struct request *q, int arg, const char *value)
{
    if (arg == OPT_FROM)
        return parse_from(q, value);
    if (arg == OPT_OUTPUT)
        q->output = value;
    else if (q->path == NULL)
        q->path = value;
    else
        cli_complain("import", "one file at a time: '%s'", value);
    return arg == OPT_OUTPUT || q->path == value;
}

/* Returns CLI_ARG_END: go on; CLI_ARG_HELP; or CLI_ARG_BAD, which has been said. */
static int parse(struct request *q, int argc, char **argv)
{
    struct cli_args args = {.command = &cli_import, .argc = argc, .argv = argv, .next = 1};
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD || arg == CLI_ARG_HELP)
            return arg;
        if (!take_argument(q, arg, args.value))
            return CLI_ARG_BAD;
    }
    if (q->path == NULL)
        cli_complain("import", "no file given: hmm import %s", cli_import.usage);
    else if (q->output == NULL)
        cli_complain("import", "no file given for the trace: -o OUT");
    return q->path != NULL && q->output != NULL ? CLI_ARG_END : CLI_ARG_BAD;
}

/* ---- Lines ---- */

struct lines {
    struct hmm_trace_source *source;
    char *text;
    size_t begin, end, room; /* text[begin .. end) has been read and not taken */
    bool ended;
};

static void show(const struct import *m, const struct lines *l)
{
    uint64_t done, total;
    hmm_trace_source_tell(l->source, &done, &total);
    cli_progress_ops(total != 0 ? (double)done / (double)total : 0, m->ops);
}

/* Reads more of the file, behind what is in the buffer. False, said on stderr, iff it cannot be
 * read. */
static bool read_more(struct import *m, struct lines *l)
{
    struct hmm_trace_error error;
    if (l->begin != 0)
        memmove(l->text, l->text + l->begin, l->end - l->begin);
    l->end -= l->begin;
    l->begin = 0;
    if (l->room - l->end < 2) {
        if (l->room >= LINE_MOST)
            return import_fail(m, "a line of more than %zu bytes", LINE_MOST);
        char *text = cli_alloc(l->room * 2, 1);
        memcpy(text, l->text, l->end);
        free(l->text);
        l->text = text;
        l->room *= 2;
    }
    const ptrdiff_t got =
        hmm_trace_source_read(l->source, l->text + l->end, l->room - l->end - 1, &error);
    if (got < 0)
        return import_fail(m, "%s", error.reason);
    l->ended = got == 0;
    l->end += (size_t)got;
    show(m, l);
    return true;
}

/* The next line without its end, a string; NULL at the end, or if m->failed. */
static char *next_line(struct import *m, struct lines *l)
{
    for (;;) {
        char *line = l->text + l->begin, *end = memchr(line, '\n', l->end - l->begin);
        if (end == NULL && l->ended) {
            if (l->begin == l->end)
                return NULL;
            end = l->text + l->end;
        }
        if (end != NULL) {
            l->begin = (size_t)(end - l->text) + (end < l->text + l->end);
            if (end > line && end[-1] == '\r')
                end--;
            *end = '\0';
            m->line++;
            return line;
        }
        if (!read_more(m, l))
            return NULL;
    }
}

/* ---- Importing ---- */

static const struct import_format *guess(struct import *m, const char *line)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (formats[i]->begins != NULL && formats[i]->begins(line))
            return formats[i];
    if (strncmp(line, "# hmm-trace", 11) == 0 ||
        strncmp(line, (const char *)hmm_packed_magic, 4) == 0) /* the magic up to its "\r\n" */
        import_fail(m, "this is a trace already");
    else
        import_fail(m, "the first line does not tell what this is: name it with --from");
    return NULL;
}

static bool take_lines(struct import *m, struct lines *l, const struct import_format *format,
                       char *line)
{
    for (; line != NULL; line = next_line(m, l)) {
        if (cli_interrupted())
            return true;
        if (!format->take(m, line))
            return false;
    }
    return !m->failed && (format->end == NULL || format->end(m));
}

/* False iff an error has been said. Ctrl-C ends the input, as in take_lines. */
static bool take_bytes(struct import *m, struct lines *l, const struct import_format *format)
{
    for (;;) {
        const ptrdiff_t got = format->take_bytes(m, l->text + l->begin, l->end - l->begin);
        if (got < 0)
            return false;
        l->begin += (size_t)got;
        if (cli_interrupted())
            return true;
        if (l->ended)
            break;
        if (!read_more(m, l))
            return false;
    }
    m->byte = 0;
    if (l->begin != l->end)
        return import_fail(m, "truncated: the last event is not whole");
    return format->end(m);
}

static void say_number(FILE *to, const char *did, uint64_t number, const char *noun,
                       const char *which)
{
    if (number != 0)
        fprintf(to, "%s: %s %s%s %s\n", did, cli_count(number).chars, noun, number == 1 ? "" : "s",
                which);
}

static bool is_standard_output(const struct request *q)
{
    return strcmp(q->output, "-") == 0;
}

static void summarize(const struct import *m, const struct request *q)
{
    /* Not to where the trace goes. */
    FILE *to = is_standard_output(q) ? stderr : stdout;
    cli_progress_hide();
    if (cli_interrupted())
        cli_complain("import", "%s: interrupted: the trace has what was read up to there", q->path);
    fprintf(to, "%s: %s operation%s, of %s\n", cli_visible(q->output), cli_count(m->ops).chars,
            m->ops == 1 ? "" : "s", q->format->of);
    say_number(to, "left out", m->left_out.unknown, "free",
               "of a block that is older than the log");
    say_number(to, "left out", m->left_out.nulls, "free", "of no block");
    say_number(to, "left out", m->left_out.empty, "request", "for no bytes, which got no block");
    say_number(to, "left out", m->left_out.failed, "request", "that had failed");
    say_number(to, "missing", m->left_out.lost, "event", "that the device had no room for");
    say_number(to, "added", m->unseen, "free", "that the log had missed");
}

/* Closes the trace. If the imported file is wrong, the trace is removed; if the disk is full, what
 * was written is a valid trace, and stays. */
static int conclude(struct import *m, const struct request *q, bool good)
{
    struct hmm_trace_error error;
    int code = good || !m->failed ? CLI_OK : CLI_USAGE;
    if (!hmm_trace_writer_close(m->writer, &error)) {
        if (code == CLI_OK)
            cli_complain("import", "%s: %s", q->output, error.reason);
        code = code == CLI_OK ? CLI_FAILED : code;
    }
    if (code == CLI_USAGE && !is_standard_output(q))
        cli_discard(q->output);
    return code;
}

/* Opens the output. False, said on stderr, iff it cannot be. */
static bool open_output(const struct request *q, struct import *m)
{
    struct hmm_trace_error error;
    if (cli_is_same_file(q->path, q->output))
        cli_complain("import", "--output: %s is the file that is read", q->output);
    else if (!hmm_trace_may_replace(q->output, &error) ||
             (m->writer = hmm_trace_writer_open(q->output, &error)) == NULL)
        cli_complain("import", "%s: %s", q->output, error.reason);
    return m->writer != NULL;
}

/* Formats that are not made of lines are told by their first bytes. False iff an error has been
 * said. */
static bool look_at_bytes(struct request *q, struct import *m, struct lines *l)
{
    while (l->end < IMPORT_RING_HEAD && !l->ended)
        if (!read_more(m, l))
            return false;
    if (q->format == NULL && import_ring_begins(l->text, l->end))
        q->format = &import_ring;
    return q->format != &import_ring || import_ring_begins(l->text, l->end) ||
           import_fail(m, "no ring, and no stream of events: its first words are neither's");
}

/* If the first line of the file is wrong, an existing output file stays as it is. */
static int import_lines(struct request *q, struct import *m, struct lines *l)
{
    if (!look_at_bytes(q, m, l))
        return CLI_USAGE;
    const bool in_bytes = q->format != NULL && q->format->take_bytes != NULL;
    char *line = in_bytes ? NULL : next_line(m, l);
    if (line == NULL && !in_bytes && !m->failed)
        import_fail(m, "nothing in it");
    if ((line == NULL && !in_bytes) || (q->format == NULL && (q->format = guess(m, line)) == NULL))
        return CLI_USAGE;
    if (!open_output(q, m))
        return CLI_FAILED;
    m->state = cli_alloc(1, q->format->state_size);
    cli_heed_interrupts(); /* from here on there is a trace */
    const int code =
        conclude(m, q, in_bytes ? take_bytes(m, l, q->format) : take_lines(m, l, q->format, line));
    if (code == CLI_OK)
        summarize(m, q);
    if (q->format->free_state != NULL)
        q->format->free_state(m->state);
    free(m->state);
    import_blocks_free(m);
    if (code == CLI_OK && cli_interrupted())
        cli_end_interrupted();
    return code;
}

static int import_file(struct request *q)
{
    struct hmm_trace_error error = {0};
    struct import m = {.path = q->path};
    struct lines l = {.room = (size_t)1 << 16};
    l.source = hmm_trace_source_open(q->path, &error);
    if (l.source == NULL) {
        cli_trace_error(q->path, &error);
        return CLI_USAGE;
    }
    l.text = cli_alloc(l.room, 1);
    cli_progress_start("importing");
    const int code = import_lines(q, &m, &l);
    cli_progress_hide();
    free(l.text);
    hmm_trace_source_close(l.source);
    return code;
}

static int run(int argc, char **argv)
{
    struct request q = {.path = NULL};
    switch (parse(&q, argc, argv)) {
    case CLI_ARG_END:
        return import_file(&q);
    case CLI_ARG_HELP:
        cli_command_help(&cli_import);
        return CLI_OK;
    default:
        return CLI_USAGE;
    }
}
