/* SPDX-License-Identifier: MIT */
/*
 * The longest single operation of a trace.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "compare.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What it takes to read the clock twice. */
static uint64_t clock_cost(void)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 1000; i++) {
        const uint64_t start = clock_ns(CLOCK_MONOTONIC), took = clock_ns(CLOCK_MONOTONIC) - start;
        best = took < best ? took : best;
    }
    return best;
}

struct worst *worst_open(void)
{
    void *memory =
        mmap(NULL, sizeof(struct worst), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        cli_complain(NULL, "out of memory");
        exit(CLI_FAILED);
    }
    return memory;
}

void worst_close(struct worst *w)
{
    if (w != NULL)
        munmap(w, sizeof *w);
}

static int by_index(const void *a, const void *b)
{
    const uint64_t i = ((const struct worst_op *)a)->index, j = ((const struct worst_op *)b)->index;
    return (i > j) - (i < j);
}

void worst_begin_pass(struct worst *w)
{
    if (w->pass++ == 1)
        qsort(w->ops, w->count, sizeof *w->ops, by_index);
    w->next = 0;
    w->index = 0;
}

bool worst_wants(const struct worst *w)
{
    return w->pass == 1 || (w->next < w->count && w->ops[w->next].index == w->index);
}

/* Moves ops[at] down to its place in the binary heap. */
static void sift(struct worst *w, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < w->count && w->ops[child].ns < w->ops[least].ns)
                least = child;
        if (least == at)
            return;
        const struct worst_op swapped = w->ops[at];
        w->ops[at] = w->ops[least];
        w->ops[least] = swapped;
        at = least;
    }
}

static void add(struct worst *w, struct worst_op op)
{
    if (w->count < WORST_CANDIDATES) {
        w->ops[w->count++] = op;
        if (w->count == WORST_CANDIDATES)
            for (size_t i = WORST_CANDIDATES / 2; i-- > 0;)
                sift(w, i);
    } else if (op.ns > w->ops[0].ns) {
        w->ops[0] = op;
        sift(w, 0);
    }
}

void worst_take(struct worst *w, uint64_t ns)
{
    const uint64_t index = w->index++;
    if (w->pass == 1)
        add(w, (struct worst_op){index, ns});
    else if (ns < w->ops[w->next++].ns)
        w->ops[w->next - 1].ns = ns;
}

uint64_t worst_longest(const struct worst *w)
{
    const uint64_t clock = clock_cost();
    uint64_t most = 0;
    for (size_t i = 0; i < w->count; i++)
        most = w->ops[i].ns > most ? w->ops[i].ns : most;
    return most > clock ? most - clock : 0;
}

static int by_time(const void *a, const void *b)
{
    const uint64_t i = ((const struct worst_op *)a)->ns, j = ((const struct worst_op *)b)->ns;
    return (i < j) - (i > j);
}

size_t worst_slowest(const struct worst *w, uint64_t indices[WORST_STEPPED])
{
    struct worst_op *ops = cli_alloc(w->count, sizeof *ops);
    const size_t most = worst_longest(w) < WORST_IS_LONG ? WORST_STEPPED : WORST_STEPPED_LONG;
    const size_t count = w->count < most ? w->count : most;
    memcpy(ops, w->ops, w->count * sizeof *ops);
    qsort(ops, w->count, sizeof *ops, by_time);
    qsort(ops, count, sizeof *ops, by_index);
    for (size_t i = 0; i < count; i++)
        indices[i] = ops[i].index;
    free(ops);
    return count;
}
