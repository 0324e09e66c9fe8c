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

static bool write_ops(struct hmm_trace_tape *tape, FILE *file)
{
    const struct hmm_trace_op *ops;
    if (!hmm_trace_tape_rewind(tape))
        return false;
    for (size_t count; (count = hmm_trace_tape_next(tape, &ops)) != 0;)
        if (fwrite(ops, sizeof *ops, count, file) != count)
            return false;
    return hmm_trace_tape_error(tape) == NULL;
}

static bool write_packed(struct hmm_trace_tape *tape, const char *path)
{
    const struct hmm_trace_summary *sum = hmm_trace_tape_summary(tape);
    const struct packed_trace head = {PACKED_MAGIC, (size_t)sum->op_count, sum->peak_blocks,
                                      sum->peak_bytes};
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return false;
    bool good = fwrite(&head, sizeof head, 1, file) == 1 && write_ops(tape, file);
    return fclose(file) == 0 && good;
}

int main(int argc, char **argv)
{
    struct hmm_trace_error error;
    if (argc != 3) {
        fputs("usage: pack TRACE FILE\n", stderr);
        return 2;
    }
    struct hmm_trace_tape *tape = hmm_trace_tape_open(argv[1], NULL, &error);
    const struct hmm_trace_error *bad = tape != NULL ? hmm_trace_tape_cut(tape) : &error;
    if (bad != NULL) {
        fputs("bench: ", stderr);
        hmm_trace_print_error(stderr, argv[1], bad);
        return 2;
    }
    if (!write_packed(tape, argv[2])) {
        fprintf(stderr, "bench: cannot write %s: %s\n", argv[2], strerror(errno));
        return 2;
    }
    const struct hmm_trace_summary *sum = hmm_trace_tape_summary(tape);
    printf("%llu %llu %lu\n", (unsigned long long)sum->op_count,
           (unsigned long long)sum->peak_bytes, (unsigned long)sum->peak_blocks);
    hmm_trace_tape_close(tape);
    return 0;
}
