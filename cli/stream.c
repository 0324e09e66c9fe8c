/* SPDX-License-Identifier: MIT */
/*
 * A window of a trace, stretch by stretch: see stream.h.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "stream.h"

#include <stdlib.h>
#include <string.h>

#define STRETCH 65536u

/* ---- Reading ---- */

static void complain(struct cli_stream *s, const struct hmm_trace_error *error)
{
    cli_progress_hide();
    cli_trace_error(s->path, error);
    s->failed = true;
}

static void tell(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    if (total != 0)
        cli_progress((double)done / (double)total);
}

static void tell_on_the_way(void *arg, uint64_t done, uint64_t total)
{
    if (cli_interrupted()) /* nothing is known yet */
        cli_end_interrupted();
    tell(arg, done, total);
}

/* Whether the trace has call stacks: its beginning says so. */
static bool has_stacks(struct cli_stream *s)
{
    struct hmm_trace_error error;
    return s->from != 0 && hmm_trace_read(s->reader, s->ops, 1, &error) == 1 &&
           hmm_trace_reader_stacks(s->reader)->any;
}

/* Reads all operations before the window: a checkpoint does not have the call stacks of the blocks
 * that live at the window's start. */
static void read_to_window(struct cli_stream *s)
{
    struct hmm_trace_error error;
    ptrdiff_t got = 1;
    for (uint64_t at; got > 0;) {
        at = hmm_trace_reader_summary(s->reader)->op_count;
        uint64_t done, total;
        if (at >= s->from)
            return;
        got = hmm_trace_read(s->reader, s->ops,
                             s->from - at < STRETCH ? (size_t)(s->from - at) : STRETCH, &error);
        hmm_trace_reader_progress(s->reader, &done, &total);
        tell_on_the_way(s, done, total);
    }
}

static bool go_to_window(struct cli_stream *s)
{
    struct hmm_trace_error error;
    if (has_stacks(s))
        read_to_window(s);
    const struct hmm_trace_progress progress = {tell_on_the_way, s};
    hmm_trace_reader_watch(s->reader, &progress);
    if (s->from != 0 && !hmm_trace_seek(s->reader, s->from, &error)) {
        complain(s, &error);
        return false;
    }
    const uint64_t there = hmm_trace_reader_summary(s->reader)->op_count;
    if (there == s->from)
        return true;
    cli_complain(s->command, "%s: has %llu operations: none is number %llu", s->path,
                 (unsigned long long)there, (unsigned long long)s->from + 1);
    return false;
}

bool cli_stream_open(struct cli_stream *s, const char *command, const char *path, unsigned flags,
                     uint64_t from, uint64_t to)
{
    struct hmm_trace_error error;
    *s = (struct cli_stream){.command = command, .path = path, .from = from - 1, .to = to};
    s->ops = cli_alloc(STRETCH, sizeof *s->ops);
    s->reader = hmm_trace_reader_open(path, flags, &error);
    cli_heed_interrupts();
    cli_progress_start("reading");
    if (s->reader == NULL)
        complain(s, &error);
    else if (go_to_window(s))
        return true;
    cli_progress_hide();
    cli_stream_close(s);
    return false;
}

/* Of a window that ends, how much of the operations; else, how much of the file. */
static void show(const struct cli_stream *s)
{
    uint64_t done, total;
    const uint64_t seen = s->first + s->count - s->from;
    hmm_trace_reader_progress(s->reader, &done, &total);
    if (s->to != UINT64_MAX)
        cli_progress_ops((double)seen / (double)(s->to - s->from), seen);
    else
        cli_progress_ops(total != 0 ? (double)done / (double)total : 0, seen);
}

bool cli_stream_next(struct cli_stream *s)
{
    struct hmm_trace_error error;
    s->first = hmm_trace_reader_summary(s->reader)->op_count;
    const uint64_t left = s->to > s->first ? s->to - s->first : 0;
    s->count = 0;
    s->interrupted = cli_interrupted();
    if (s->failed || s->interrupted || left == 0)
        return false;
    const ptrdiff_t got =
        hmm_trace_read(s->reader, s->ops, left < STRETCH ? (size_t)left : STRETCH, &error);
    if (got < 0)
        complain(s, &error);
    s->count = got > 0 ? (size_t)got : 0;
    if (got > 0)
        show(s);
    else
        cli_progress_hide();
    if (got == 0 && hmm_trace_reader_unended(s->reader))
        cli_warn_unended(s->command, s->path, s->first);
    return got > 0;
}

/* Format 2 is opened at its last checkpoint. Text has none: it is read through, until Ctrl-C. */
void cli_stream_read_stacks(struct cli_stream *s)
{
    struct hmm_trace_error error;
    const struct hmm_trace_progress progress = {tell, NULL};
    if (s->to == UINT64_MAX || s->interrupted || !hmm_trace_reader_stacks(s->reader)->any)
        return;
    hmm_trace_reader_watch(s->reader, &progress);
    const bool is_text = hmm_trace_reader_line(s->reader) != 0;
    while (!cli_interrupted()) {
        const uint64_t at = hmm_trace_reader_summary(s->reader)->op_count;
        const uint64_t to = is_text ? at + STRETCH : UINT64_MAX;
        if (!hmm_trace_seek(s->reader, to, &error) ||
            hmm_trace_reader_summary(s->reader)->op_count < to)
            break;
    }
    s->interrupted = cli_interrupted();
}

void cli_stream_close(struct cli_stream *s)
{
    cli_progress_hide();
    hmm_trace_reader_close(s->reader);
    free(s->ops);
    s->reader = NULL;
    s->ops = NULL;
}

int cli_stream_status(const struct cli_stream *s)
{
    if (s->interrupted)
        cli_end_interrupted();
    return s->failed ? CLI_USAGE : CLI_OK;
}

/* ---- Writing ---- */

struct hmm_trace_writer *cli_stream_output(const struct cli_stream *from, const char *path)
{
    struct hmm_trace_error error;
    struct hmm_trace_writer *writer = NULL;
    if (cli_is_same_file(from->path, path))
        cli_complain(from->command, "--output: %s is the trace that is read", path);
    else if (!hmm_trace_may_replace(path, &error) ||
             (writer = hmm_trace_writer_open(path, &error)) == NULL)
        cli_trace_error(path, &error);
    return writer;
}

bool cli_stream_written(const struct cli_stream *from, struct hmm_trace_writer *writer,
                        const char *path)
{
    struct hmm_trace_error error;
    if (!hmm_trace_writer_close(writer, &error)) {
        cli_trace_error(path, &error);
        return false;
    }
    if (from->failed || from->interrupted)
        cli_complain(from->command, "%s: has the first %llu operations, which are whole", path,
                     (unsigned long long)error.held);
    return true;
}
