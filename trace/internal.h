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

/* Goes to a place in the file; of compressed ones only to 0. False and a reason iff it is none. */
bool hmm_trace_source_seek(struct hmm_trace_source *source, uint64_t offset,
                           struct hmm_trace_error *error);

/* Whether it can be read again from its beginning. */
bool hmm_trace_source_seekable(const struct hmm_trace_source *source);

/* The bytes of a file in which any place can be gone to; 0 iff it is none. */
uint64_t hmm_trace_source_length(const struct hmm_trace_source *source);
void hmm_trace_source_tell(const struct hmm_trace_source *source, uint64_t *done, uint64_t *total);
void hmm_trace_source_close(struct hmm_trace_source *source);

/* input.c: a buffer before a source. buffer[at .. filled) is to be read next. */
struct hmm_trace_input {
    struct hmm_trace_source *source;
    char *buffer;
    size_t at, filled, room;
    uint64_t offset; /* of buffer[0], in the bytes of the source */
};

bool hmm_trace_input_open(struct hmm_trace_input *input, const char *path,
                          struct hmm_trace_error *error);
void hmm_trace_input_close(struct hmm_trace_input *input);

/* Reads on until there are `want` bytes at input->at, or fewer and the file ends. False and a
 * reason iff it cannot be read. */
bool hmm_trace_input_need(struct hmm_trace_input *input, size_t want,
                          struct hmm_trace_error *error);

/* As hmm_trace_source_seek. */
bool hmm_trace_input_seek(struct hmm_trace_input *input, uint64_t offset,
                          struct hmm_trace_error *error);

static inline size_t hmm_trace_input_has(const struct hmm_trace_input *input)
{
    return input->filled - input->at;
}

static inline uint64_t hmm_trace_input_offset(const struct hmm_trace_input *input)
{
    return input->offset + input->at;
}

/* parse.c: one line, without its end, as an operation. line[0 .. end) is followed by a byte that
 * is no digit. */
bool hmm_trace_parse(const char *line, const char *end, struct hmm_trace_op *op,
                     struct hmm_trace_error *error);
bool hmm_trace_parse_header(const char *line, const char *end, struct hmm_trace_error *error);

/* reader.c: whether hmm_trace_seek can go back. */
bool hmm_trace_reader_seekable(const struct hmm_trace_reader *reader);

/* text.c: the next line that is an operation: 1 and *op; 0 at the end; -1 and *error. error->line
 * is left at the line. *line counts them, from 0 before the first. */
struct hmm_trace_comments {
    void (*take)(void *arg, uint64_t op, const char *line, size_t length); /* NULL: nobody */
    void *arg;
    uint64_t op; /* of the next operation */
    struct hmm_trace_stacks stacks;
    uint32_t stack; /* of the next operation; 0: none was named */
};

/* stacks.c: a comment has been read. */
void hmm_trace_comment(struct hmm_trace_comments *comments, const char *line, size_t length);
void hmm_trace_stacks_free(struct hmm_trace_stacks *stacks);

int hmm_trace_text_next(struct hmm_trace_input *input, uint64_t *line,
                        struct hmm_trace_comments *comments, struct hmm_trace_op *op,
                        struct hmm_trace_error *error);

#endif
