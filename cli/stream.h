/* SPDX-License-Identifier: MIT */
/*
 * A window of a trace, stretch by stretch, with a bar, and with an end at Ctrl-C.
 */
#ifndef HMM_CLI_STREAM_H
#define HMM_CLI_STREAM_H

#include "cli.h"
#include "trace.h"

struct cli_stream {
    const char *command, *path;
    struct hmm_trace_reader *reader;
    struct hmm_trace_op *ops; /* the stretch: ops[0 .. count) */
    size_t count;
    uint64_t first;    /* the index of ops[0] in the trace, from 0 */
    uint64_t from, to; /* the window: indices from .. to - 1 */
    bool failed;       /* it cannot be read on, which has been said */
    bool interrupted;  /* by Ctrl-C */
};

/* from: the first operation, counted from 1; to: the last. False, said on stderr, iff the trace
 * cannot be read up to the window. The reader then stands at its beginning. */
bool cli_stream_open(struct cli_stream *stream, const char *command, const char *path,
                     unsigned flags, uint64_t from, uint64_t to);

/* The next stretch. False at the window's end, or iff failed or interrupted is set. */
bool cli_stream_next(struct cli_stream *stream);

/* What the trace says of call stacks behind the window: definitions come last. Nothing else can be
 * read after it. */
void cli_stream_read_stacks(struct cli_stream *stream);

void cli_stream_close(struct cli_stream *stream);

/* Returns the command's exit status; after Ctrl-C it ends the process by SIGINT instead. To be
 * called when all has been printed. */
int cli_stream_status(const struct cli_stream *stream);

/* ---- Writing (of which there is one at a time) ---- */

/* A writer for the trace that `from` is read into. NULL, said on stderr, iff it is the same file,
 * or one that is no trace, or cannot be written. */
struct hmm_trace_writer *cli_stream_output(const struct cli_stream *from, const char *path);

/* False, said on stderr, iff not all could be written. */
bool cli_stream_written(const struct cli_stream *from, struct hmm_trace_writer *writer,
                        const char *path);

#endif
