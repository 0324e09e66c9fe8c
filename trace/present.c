/* SPDX-License-Identifier: MIT */
/*
 * Whether a file may be replaced by a trace: one that is a program's source, say, must not be.
 */
#include "internal.h"

#include <string.h>
#include <sys/stat.h>

/* Text has the name in its first bytes; the compact form begins with bytes that are no text. */
#define HEAD 16
static const char compact[] = "\x89HMT";

static bool has_name(const char *head, size_t bytes)
{
    static const char name[] = "hmm-trace";
    if (bytes >= 4 && memcmp(head, compact, 4) == 0)
        return true;
    for (size_t i = 0; i + sizeof name - 1 <= bytes; i++)
        if (memcmp(head + i, name, sizeof name - 1) == 0)
            return true;
    return false;
}

static bool is_trace(const char *path)
{
    struct hmm_trace_error error;
    char head[HEAD];
    size_t bytes = 0;
    struct hmm_trace_source *source = hmm_trace_source_open(path, &error);
    if (source == NULL)
        return false;
    for (ptrdiff_t got = 1; got > 0 && bytes<HEAD; bytes += got> 0 ? (size_t)got : 0)
        got = hmm_trace_source_read(source, head + bytes, HEAD - bytes, &error);
    hmm_trace_source_close(source);
    return has_name(head, bytes);
}

bool hmm_trace_may_replace(const char *path)
{
    struct stat status;
    return stat(path, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0 ||
           is_trace(path);
}
