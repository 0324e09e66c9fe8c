/* SPDX-License-Identifier: MIT */
/*
 * Reading traces for what goes through them more than once.
 */
#include "feed.h"

#include <stdlib.h>
#include <string.h>

static void tell(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    cli_progress(total != 0 ? (double)done / (double)total : 0);
}

/* Which operation brings live bytes to their most. */
static void find_peak(struct feed *f)
{
    uint64_t *sizes = cli_alloc(f->ids, sizeof *sizes), live = 0, peak = 0;
    const struct hmm_trace_op *op;
    for (uint64_t i = 1; (op = feed_next(f)) != NULL; i++) {
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

bool feed_open(struct feed *f, const char *command, const char *path, int *code)
{
    struct hmm_trace_error error;
    const struct hmm_trace_progress progress = {tell, NULL};
    *f = (struct feed){.command = command, .path = path};
    *code = CLI_USAGE;
    cli_progress_start("reading");
    if (!hmm_trace_load(&f->trace, path, &progress, &error)) {
        cli_progress_hide();
        hmm_trace_print_error(stderr, path, &error);
        return false;
    }
    cli_progress_hide();
    if (!hmm_trace_compact(&f->trace)) {
        cli_complain(command, "out of memory");
        *code = CLI_FAILED;
        return false;
    }
    f->ops = f->trace.op_count;
    f->ids = f->trace.id_limit;
    f->peak_bytes = f->trace.peak_bytes;
    f->peak_blocks = f->trace.peak_blocks;
    find_peak(f);
    return true;
}

void feed_close(struct feed *f)
{
    hmm_trace_free(&f->trace);
}

bool feed_rewind(struct feed *f)
{
    f->next = 0;
    return true;
}

const struct hmm_trace_op *feed_next(struct feed *f)
{
    return f->next < f->trace.op_count ? &f->trace.ops[f->next++] : NULL;
}
