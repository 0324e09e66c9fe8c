/* SPDX-License-Identifier: MIT */
/*
 * Format 1: lines from the input, operations from the lines.
 */
#include "internal.h"

#include <string.h>

/* Bytes; only a comment can come near. */
#define LONGEST_LINE 262144u

/* The line that begins at input->at: 1 and its end, the newline; 0 where there is no newline up to
 * the end of the file; -1. */
static int take_line(struct hmm_trace_input *in, const char **end, struct hmm_trace_error *error)
{
    size_t seen = 0, has;
    while ((has = hmm_trace_input_has(in)) < LONGEST_LINE) {
        *end = memchr(in->buffer + in->at + seen, '\n', has - seen);
        if (*end != NULL)
            return 1;
        seen = has;
        if (!hmm_trace_input_need(in, has + 1, error))
            return -1;
        if (hmm_trace_input_has(in) == has)
            return 0;
    }
    *end = memchr(in->buffer + in->at + seen, '\n', LONGEST_LINE - seen);
    if (*end != NULL)
        return 1;
    const char *line = in->buffer + in->at;
    if (error->line != 1 || hmm_trace_parse_header(line, line + LONGEST_LINE, error))
        hmm_trace_fail(error, "the line is longer than %u bytes", LONGEST_LINE);
    return -1;
}

/* Whether the file may end here. */
static bool ends_well(const struct hmm_trace_input *in, struct hmm_trace_error *error)
{
    const char *rest = in->buffer + in->at;
    const size_t size = hmm_trace_input_has(in);
    if (error->line == 1 && size == 0)
        return hmm_trace_fail(error, "not a trace: the file is empty");
    if (error->line == 1 && !hmm_trace_parse_header(rest, rest + size, error))
        return false;
    return size == 0 ||
           hmm_trace_fail(error, "truncated: the last line does not end with a newline");
}

int hmm_trace_text_next(struct hmm_trace_input *in, uint64_t *line,
                        struct hmm_trace_comments *comments, struct hmm_trace_op *op,
                        struct hmm_trace_error *error)
{
    for (;;) {
        const char *end;
        error->line = *line + 1;
        int code = take_line(in, &end, error);
        if (code <= 0)
            return code == 0 && ends_well(in, error) ? 0 : -1;
        const char *start = in->buffer + in->at;
        in->at += (size_t)(end - start) + 1;
        ++*line;
        if (end > start && end[-1] == '\r')
            end--;
        if (*line == 1) {
            if (!hmm_trace_parse_header(start, end, error))
                return -1;
        } else if (*start != '#') {
            return hmm_trace_parse(start, end, op, error) ? 1 : -1;
        } else {
            hmm_trace_comment(comments, start, (size_t)(end - start));
        }
    }
}
