/* SPDX-License-Identifier: MIT */
/* Between the files of the trace reader. */
#ifndef HMM_TRACE_INTERNAL_H
#define HMM_TRACE_INTERNAL_H

#include "trace.h"

/* Writes the reason; the line stays as it is. Returns false, for `return hmm_trace_fail(...)`. */
__attribute__((format(printf, 2, 3))) bool hmm_trace_fail(struct hmm_trace_error *error,
                                                          const char *format, ...);

/*
 * source.c: the bytes of a file, decompressed where they need be. read returns the number of
 * bytes it put at `to`, 0 at the end, or -1 and error's reason.
 */
struct hmm_trace_source;

struct hmm_trace_source *hmm_trace_source_open(const char *path, struct hmm_trace_error *error);
ptrdiff_t hmm_trace_source_read(struct hmm_trace_source *source, char *to, size_t room,
                                struct hmm_trace_error *error);
void hmm_trace_source_tell(const struct hmm_trace_source *source,
                           const struct hmm_trace_progress *progress);
void hmm_trace_source_close(struct hmm_trace_source *source);

/* parse.c: one line, without its end, as an operation. line[0 .. end) is followed by a byte that
 * is no digit. */
bool hmm_trace_parse(const char *line, const char *end, struct hmm_trace_op *op,
                     struct hmm_trace_error *error);
bool hmm_trace_parse_header(const char *line, const char *end, struct hmm_trace_error *error);

/* ids.c: which IDs are live, and how much they hold. */
struct hmm_trace_ids {
    uint64_t *states; /* 0: never allocated; 1: freed; else live, and 2 more than its bytes */
    size_t room;
    uint64_t live_bytes, peak_bytes;
    uint32_t live_blocks, peak_blocks;
};

/* Carries the operation out on ids; op_count operations came before it. False and a reason iff
 * they forbid it. */
bool hmm_trace_ids_apply(struct hmm_trace_ids *ids, const struct hmm_trace_op *op, size_t op_count,
                         struct hmm_trace_error *error);

#endif
