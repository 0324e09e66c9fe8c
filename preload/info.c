/* SPDX-License-Identifier: MIT */
/*
 * glibc's functions for statistics and settings of its allocator, as far as they have a meaning for
 * the process heap: mallinfo, malloc_stats, malloc_info, mallopt, malloc_trim. Calls lib/process
 * and the public functions.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* mallinfo2 */
#endif
#include "process/process.h"
#include "base/text.h"

#include <limits.h>
#include <malloc.h>
#include <stdio.h>

#define EXPORTED __attribute__((visibility("default")))

struct info {
    struct hmm_stats stats; /* without the huge blocks, which are separate mappings */
    size_t huge_bytes, huge_blocks;
    const char *strategy;
};

/* All 0 in a signal handler that interrupted an operation on the heap. */
static struct info info_now(void)
{
    struct info i = {.strategy = ""};
    const struct hmm_heap *h = hmm_process_heap();
    enum lock_hold hold = hmm__process_lock();
    if (hold != LOCK_UNAVAILABLE) {
        hmm__process_stats(&i.stats);
        i.huge_bytes = h->huge_bytes;
        i.huge_blocks = h->huge_blocks;
        i.stats.live_bytes -= i.huge_bytes;
        i.stats.live_blocks -= i.huge_blocks;
        i.strategy = hmm_strategy_name(hmm_heap_strategy(h));
    }
    hmm__process_unlock(hold);
    return i;
}

/* The arena is what is used up to the break. */
EXPORTED struct mallinfo2 mallinfo2(void)
{
    struct info i = info_now();
    const struct hmm_stats *s = &i.stats;
    return (struct mallinfo2){.arena = s->brk,
                              .ordblks = s->free_blocks + 1,
                              .hblks = i.huge_blocks,
                              .hblkhd = i.huge_bytes,
                              .uordblks = s->live_bytes + s->live_blocks * HMM_HEADER_BYTES,
                              .fordblks = s->free_bytes + s->top_bytes,
                              .keepcost = s->top_bytes};
}

static int as_int(size_t n)
{
    return n < INT_MAX ? (int)n : INT_MAX;
}

EXPORTED struct mallinfo mallinfo(void)
{
    struct mallinfo2 m = mallinfo2();
    return (struct mallinfo){.arena = as_int(m.arena),
                             .ordblks = as_int(m.ordblks),
                             .hblks = as_int(m.hblks),
                             .hblkhd = as_int(m.hblkhd),
                             .uordblks = as_int(m.uordblks),
                             .fordblks = as_int(m.fordblks),
                             .keepcost = as_int(m.keepcost)};
}

static void line(const char *name, size_t value)
{
    struct text t = {0};
    hmm__text_add(&t, name);
    hmm__text_decimal(&t, value);
    hmm__text_to_stderr(&t);
}

EXPORTED void malloc_stats(void)
{
    struct mallinfo2 m = mallinfo2();
    line("system bytes     = ", m.arena + m.hblkhd);
    line("in use bytes     = ", m.uordblks + m.hblkhd);
    line("mmap regions     = ", m.hblks);
    line("mmap bytes       = ", m.hblkhd);
}

EXPORTED int malloc_info(int options, FILE *to)
{
    if (options != 0)
        return EINVAL;
    struct info i = info_now();
    const struct hmm_stats *s = &i.stats;
    fprintf(to,
            "<malloc version=\"hmm-1\">\n<heap strategy=\"%s\">\n"
            "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
            "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
            "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
            "<aspace type=\"total\" size=\"%zu\"/>\n</heap>\n</malloc>\n",
            i.strategy, s->free_blocks, s->free_bytes, i.huge_blocks, i.huge_bytes, s->brk,
            s->brk_peak, s->reserved);
    return 0;
}

/* Accepts all parameters, and ignores them: hmm has nothing that they tune. */
EXPORTED int mallopt(int parameter, int value)
{
    (void)parameter, (void)value;
    return 1;
}

/* Returns what the cache has for this thread to the heap, and decommits all free pages. `pad` bytes
 * of the top should stay committed; they are committed again at need. */
EXPORTED int malloc_trim(size_t pad)
{
    (void)pad;
    struct hmm_heap *h = hmm_process_heap();
    enum lock_hold hold = hmm__process_lock();
    bool any = false;
    if (hold != LOCK_UNAVAILABLE) {
        any = hmm__process_trim();
        any |= hmm__decommit_all(h) != 0;
    }
    hmm__process_unlock(hold);
    return any;
}
