/* SPDX-License-Identifier: MIT */
/*
 * Whether a file may be written over.
 */
#include "internal.h"
#include "packed.h"

#include <string.h>
#include <sys/stat.h>

static bool begins(const char *bytes, size_t size, const void *with, size_t length)
{
    return size >= length && memcmp(bytes, with, length) == 0;
}

/* The first bytes, unpacked from zstd; 0 iff they cannot be read. */
static size_t read_head(const char *path, char *bytes, size_t size)
{
    struct hmm_trace_error error;
    size_t have = 0;
    struct hmm_trace_source *source = hmm_trace_source_open(path, &error);
    if (source == NULL)
        return 0;
    for (ptrdiff_t got = 1; got > 0 && have<size; have += got> 0 ? (size_t)got : 0)
        got = hmm_trace_source_read(source, bytes + have, size - have, &error);
    hmm_trace_source_close(source);
    return have;
}

bool hmm_trace_may_replace(const char *path, struct hmm_trace_error *error)
{
    struct stat status;
    char bytes[16];
    *error = (struct hmm_trace_error){0};
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0)
        return true;
    const size_t size = read_head(path, bytes, sizeof bytes);
    return begins(bytes, size, hmm_packed_magic, sizeof hmm_packed_magic) ||
           begins(bytes, size, "# hmm-trace ", 12) ||
           hmm_trace_fail(error, "is there and is no trace: it is not written over");
}
