/* SPDX-License-Identifier: MIT */
/*
 * A buffer before a source, from which lines and blocks are taken.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 262144u

bool hmm_trace_input_open(struct hmm_trace_input *in, const char *path,
                          struct hmm_trace_error *error)
{
    *in = (struct hmm_trace_input){.room = FIRST_ROOM};
    in->source = hmm_trace_source_open(path, error);
    if (in->source == NULL)
        return false;
    in->buffer = malloc(in->room);
    if (in->buffer != NULL)
        return true;
    hmm_trace_input_close(in);
    return hmm_trace_fail(error, "out of memory");
}

void hmm_trace_input_close(struct hmm_trace_input *in)
{
    if (in->source != NULL)
        hmm_trace_source_close(in->source);
    free(in->buffer);
    *in = (struct hmm_trace_input){0};
}

/* Moves what is left to the front of the buffer, and makes room in it for `want` bytes. */
static bool make_room(struct hmm_trace_input *in, size_t want, struct hmm_trace_error *error)
{
    memmove(in->buffer, in->buffer + in->at, hmm_trace_input_has(in));
    in->offset += in->at;
    in->filled -= in->at;
    in->at = 0;
    if (want <= in->room)
        return true;
    char *buffer = realloc(in->buffer, want);
    if (buffer == NULL)
        return hmm_trace_fail(error, "out of memory");
    in->buffer = buffer;
    in->room = want;
    return true;
}

bool hmm_trace_input_need(struct hmm_trace_input *in, size_t want, struct hmm_trace_error *error)
{
    if (hmm_trace_input_has(in) >= want)
        return true;
    if (in->room - in->at < want && !make_room(in, want, error))
        return false;
    while (hmm_trace_input_has(in) < want) {
        ptrdiff_t got = hmm_trace_source_read(in->source, in->buffer + in->filled,
                                              in->room - in->filled, error);
        if (got <= 0)
            return got == 0;
        in->filled += (size_t)got;
    }
    return true;
}

bool hmm_trace_input_seek(struct hmm_trace_input *in, uint64_t offset,
                          struct hmm_trace_error *error)
{
    in->at = in->filled = 0;
    in->offset = offset;
    return hmm_trace_source_seek(in->source, offset, error);
}
