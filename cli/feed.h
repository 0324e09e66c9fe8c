/* SPDX-License-Identifier: MIT */
/*
 * A trace as a sequence that can be gone through as often as need be.
 */
#ifndef HMM_FEED_H
#define HMM_FEED_H

#include "cli.h"
#include "trace.h"

struct feed {
    const char *command, *path;
    struct hmm_trace_tape *tape;
    const struct hmm_trace_op *next, *end; /* what the tape gave last, as far as not handed out */
    uint64_t ops;                          /* in all */
    uint32_t ids;                          /* all are below */
    uint64_t peak_bytes;                   /* the most bytes requested and not freed, */
    uint64_t peak_op;     /* first reached by this operation, counted from 1; 0: no operation */
    uint64_t peak_blocks; /* the most blocks live, not necessarily then */
};

/* False, said on stderr, iff the trace cannot be read; *code is then the exit code. To be given to
 * feed_close in any case. */
bool feed_open(struct feed *feed, const char *command, const char *path, int *code);
void feed_close(struct feed *feed);

/* To the first operation again. False, said on stderr, iff the trace cannot be read any more. */
bool feed_rewind(struct feed *feed);

/* What the tape has next; false: nothing. */
bool feed_refill(struct feed *feed);

/* The next operation; NULL: there is none left. Valid until the next call. */
static inline const struct hmm_trace_op *feed_next(struct feed *feed)
{
    return feed->next < feed->end || feed_refill(feed) ? feed->next++ : NULL;
}

/* Whether all could be read since it was opened. False: said on stderr. */
bool feed_was_read(const struct feed *feed);

#endif
