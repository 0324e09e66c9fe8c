/* SPDX-License-Identifier: MIT */
/*
 * Reading traces for what goes through them more than once.
 */
#include "playback.h"

#include <stdlib.h>
#include <string.h>

static void tell(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    cli_progress(total != 0 ? (double)done / (double)total : 0);
}

/* Finds the operation that brings the live bytes to their peak. */
static void find_peak(struct playback *f)
{
    uint64_t *sizes = cli_alloc(f->ids, sizeof *sizes), live = 0, peak = 0;
    const struct hmm_trace_op *op;
    for (uint64_t i = 1; (op = playback_next(f)) != NULL; i++) {
        if (op->kind == HMM_TRACE_RESIZE || op->kind == HMM_TRACE_FREE)
            live -= sizes[op->id];
        live += sizes[op->id] = op->size;
        if (live > peak || f->peak_op == 0) {
            peak = live;
            f->peak_op = i;
        }
    }
    free(sizes);
}

bool playback_open(struct playback *f, const char *command, const char *path, int *code)
{
    struct hmm_trace_error error;
    const struct hmm_trace_progress progress = {tell, NULL};
    *f = (struct playback){.command = command, .path = path};
    *code = CLI_USAGE;
    cli_progress_start("reading");
    f->tape = hmm_trace_tape_open(path, &progress, &error);
    cli_progress_hide();
    if (f->tape == NULL) {
        cli_trace_error(path, &error);
        return false;
    }
    const struct hmm_trace_summary *sum = hmm_trace_tape_summary(f->tape);
    f->ops = sum->op_count;
    f->ids = sum->peak_blocks;
    f->peak_blocks = sum->peak_blocks;
    f->peak_bytes = sum->peak_bytes;
    if (hmm_trace_tape_cut(f->tape) != NULL)
        cli_trace_error(path, hmm_trace_tape_cut(f->tape));
    if (hmm_trace_tape_cut(f->tape) != NULL || hmm_trace_tape_unended(f->tape))
        cli_warn_unended(command, path, f->ops);
    if (!playback_rewind(f))
        return false;
    find_peak(f);
    return playback_was_read(f);
}

void playback_close(struct playback *f)
{
    if (f->tape != NULL)
        hmm_trace_tape_close(f->tape);
}

bool playback_rewind(struct playback *f)
{
    f->next = f->end = NULL;
    return hmm_trace_tape_rewind(f->tape) || playback_was_read(f);
}

bool playback_refill(struct playback *f)
{
    const size_t count = hmm_trace_tape_next(f->tape, &f->next);
    f->end = f->next + count;
    return count != 0;
}

bool playback_was_read(const struct playback *f)
{
    const struct hmm_trace_error *error = hmm_trace_tape_error(f->tape);
    if (error != NULL)
        cli_trace_error(f->path, error);
    return error == NULL;
}
