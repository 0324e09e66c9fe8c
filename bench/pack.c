/* SPDX-License-Identifier: MIT */
/*
 * Makes a packed trace of a trace.
 *
 *     pack TRACE FILE
 *
 * Prints "OPERATIONS PEAK-LIVE-BYTES IDS".
 */
#include "packed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool write_packed(const struct hmm_trace *t, const char *path)
{
    const struct packed_trace head = {PACKED_MAGIC, t->op_count, t->id_limit, t->peak_bytes};
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return false;
    bool good = fwrite(&head, sizeof head, 1, file) == 1 &&
                fwrite(t->ops, sizeof *t->ops, t->op_count, file) == t->op_count;
    return fclose(file) == 0 && good;
}

int main(int argc, char **argv)
{
    struct hmm_trace trace;
    struct hmm_trace_error error;
    if (argc != 3) {
        fputs("usage: pack TRACE FILE\n", stderr);
        return 2;
    }
    if (!hmm_trace_load(&trace, argv[1], NULL, &error) || trace.is_cut) {
        fputs("bench: ", stderr);
        hmm_trace_print_error(stderr, argv[1], &error);
        return 2;
    }
    if (!hmm_trace_compact(&trace) || !write_packed(&trace, argv[2])) {
        fprintf(stderr, "bench: cannot write %s: %s\n", argv[2], strerror(errno));
        return 2;
    }
    printf("%zu %llu %lu\n", trace.op_count, (unsigned long long)trace.peak_bytes,
           (unsigned long)trace.id_limit);
    hmm_trace_free(&trace);
    return 0;
}
