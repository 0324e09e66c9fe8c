/* SPDX-License-Identifier: MIT */
/*
 * Whether a file may be written over.
 */
#include "packed.h"

#include <string.h>
#include <sys/stat.h>

static bool begins(const char *bytes, size_t size, const void *with, size_t length)
{
    return size >= length && memcmp(bytes, with, length) == 0;
}

bool hmm_trace_may_replace(const char *path, struct hmm_trace_error *error)
{
    static const unsigned char zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    struct stat status;
    char bytes[16];
    *error = (struct hmm_trace_error){0};
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0)
        return true;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return true; /* writing will say why not */
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return begins(bytes, size, hmm_packed_magic, sizeof hmm_packed_magic) ||
           begins(bytes, size, "# hmm-trace ", 12) || begins(bytes, size, zstd, sizeof zstd) ||
           hmm_trace_fail(error, "is there and is no trace: it is not written over");
}
