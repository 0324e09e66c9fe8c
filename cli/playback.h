/* SPDX-License-Identifier: MIT */
/*
 * A trace as a sequence that can be gone through as often as need be.
 */
#ifndef HMM_PLAYBACK_H
#define HMM_PLAYBACK_H

#include "cli.h"
#include "trace.h"

struct playback {
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
 * playback_close in any case. */
bool playback_open(struct playback *playback, const char *command, const char *path, int *code);
void playback_close(struct playback *playback);

/* To the first operation again. False, said on stderr, iff the trace cannot be read any more. */
bool playback_rewind(struct playback *playback);

/* What the tape has next; false: nothing. */
bool playback_refill(struct playback *playback);

/* The next operation; NULL: there is none left. Valid until the next call. */
static inline const struct hmm_trace_op *playback_next(struct playback *playback)
{
    return playback->next < playback->end || playback_refill(playback) ? playback->next++ : NULL;
}

/* Whether all could be read since it was opened. False: said on stderr. */
bool playback_was_read(const struct playback *playback);

#endif
