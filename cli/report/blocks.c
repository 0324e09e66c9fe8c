/* SPDX-License-Identifier: MIT */
/*
 * Keeps the blocks with the largest rectangles: in a binary heap with the smallest on top, which a
 * larger one replaces.
 */
#include "reduce.h"

#include <stdlib.h>
#include <string.h>

/* Bytes by operations. */
static double area(const struct report_block *b)
{
    return (double)(b->size != 0 ? b->size : 1) * (double)(b->until - b->since + 1);
}

static void sift_down(struct report_block *heap, size_t count, size_t at)
{
    const struct report_block moved = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && area(&heap[child + 1]) < area(&heap[child]))
            child++;
        if (area(&moved) <= area(&heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void sift_up(struct report_block *heap, size_t at)
{
    const struct report_block moved = heap[at];
    for (; at > 0 && area(&moved) < area(&heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = moved;
}

/* Of time and addresses. */
static size_t tile_of(const struct report_trace *t, const struct report_block *b)
{
    const double time = ((double)b->since + (double)b->until) / 2 / ((double)t->ops + 1);
    const double place = (double)b->address / ((double)t->row_bytes * (double)t->rows + 1);
    return (size_t)(time * REPORT_TILES) * REPORT_TILES + (size_t)(place * REPORT_TILES);
}

static void keep_example(const struct report_trace *t, struct report_strategy *s,
                         const struct report_block *block)
{
    struct report_block *example = &s->examples[tile_of(t, block)];
    if (example->until == 0 || area(block) > area(example))
        *example = *block;
}

void report_keep_block(const struct report_trace *t, struct report_strategy *s,
                       const struct report_block *block)
{
    if (s->block_count < REPORT_BLOCKS) {
        s->blocks[s->block_count] = *block;
        sift_up(s->blocks, s->block_count++);
        return;
    }
    s->all_blocks = false;
    if (area(block) <= area(&s->blocks[0])) {
        keep_example(t, s, block);
        return;
    }
    keep_example(t, s, &s->blocks[0]);
    s->blocks[0] = *block;
    sift_down(s->blocks, s->block_count, 0);
}

static int by_start(const void *a, const void *b)
{
    const struct report_block *x = a, *y = b;
    if (x->since != y->since)
        return x->since < y->since ? -1 : 1;
    return x->address < y->address ? -1 : x->address > y->address;
}

static int by_area(const void *a, const void *b)
{
    const double x = area(a), y = area(b);
    return x != y ? (x > y ? -1 : 1) : by_start(a, b);
}

void report_sort_blocks(struct report_strategy *s)
{
    for (size_t i = 0; i < REPORT_TILES * REPORT_TILES; i++)
        if (s->examples[i].until != 0)
            s->blocks[s->block_count++] = s->examples[i];
    qsort(s->blocks, s->block_count, sizeof *s->blocks, by_start);
}

void report_thin_blocks(const struct report_strategy *s, size_t count, struct report_block *kept)
{
    struct report_block *all = cli_alloc(s->block_count, sizeof *all);
    memcpy(all, s->blocks, s->block_count * sizeof *all);
    qsort(all, s->block_count, sizeof *all, by_area);
    memcpy(kept, all, count * sizeof *all);
    qsort(kept, count, sizeof *kept, by_start);
    free(all);
}
