/* SPDX-License-Identifier: MIT */
/*
 * What a program asks for, gathered from the operations one by one.
 */
#include "stats.h"

#include <stdlib.h>
#include <string.h>

void stats_open(struct stats *s, uint64_t from)
{
    *s = (struct stats){.from = from};
    s->small = cli_alloc(STATS_SMALL, sizeof *s->small);
    s->large = cli_alloc(2 * STATS_LARGE, sizeof *s->large);
}

void stats_close(struct stats *s)
{
    free(s->small);
    free(s->large);
    free(s->live_blocks);
    free(s->stacks);
}

/* ---- Amounts ---- */

static void add(struct stats_amount *a, uint64_t bytes)
{
    a->blocks++;
    a->bytes += bytes;
}

static void take(struct stats_amount *a, uint64_t bytes)
{
    a->blocks--;
    a->bytes -= bytes;
}

/* Called before the live bytes become fewer: if they are at their peak, keeps their sizes as those
 * of the peak. */
static void note_peak(struct stats *s)
{
    if (s->at_peak)
        memcpy(s->peak_sizes, s->live_sizes, sizeof s->peak_sizes);
    s->at_peak = false;
}

static void live_more(struct stats *s, uint64_t size, uint32_t stack)
{
    const uint64_t now = s->from + s->ops;
    add(&s->live, size);
    add(&s->live_sizes[stats_bucket(size)], size);
    stats_stack_more(s, stack, size);
    if (s->live.bytes > s->bytes.bytes) {
        s->peaks++;
        s->bytes = (struct stats_peak){s->live.bytes, s->live.blocks, now};
        s->at_peak = true;
    }
    if (s->live.blocks > s->blocks.blocks)
        s->blocks = (struct stats_peak){s->live.bytes, s->live.blocks, now};
}

static void live_less(struct stats *s, uint64_t size, uint32_t stack)
{
    note_peak(s);
    stats_stack_less(s, stack, size);
    take(&s->live, size);
    take(&s->live_sizes[stats_bucket(size)], size);
}

/* ---- Sizes ---- */

/* Sizes that come when the table is full are not counted one by one. */
static void count_large(struct stats *s, uint64_t size)
{
    const unsigned mask = 2 * STATS_LARGE - 1;
    unsigned i = (unsigned)(size * UINT64_C(0x9e3779b97f4a7c15) >> 40) & mask;
    while (s->large[i].blocks != 0 && s->large[i].size != size)
        i = (i + 1) & mask;
    if (s->large[i].blocks == 0 && s->large_count++ >= STATS_LARGE)
        return;
    s->large[i].size = size;
    s->large[i].blocks++;
}

static void count_size(struct stats *s, uint64_t size)
{
    add(&s->requested, size);
    add(&s->sizes[stats_bucket(size)], size);
    if (size < STATS_SMALL)
        s->small[size]++;
    else
        count_large(s, size);
}

static bool is_more(const struct stats_size *a, const struct stats_size *b)
{
    return a->blocks != b->blocks ? a->blocks > b->blocks : a->size < b->size;
}

static void rank(struct stats_size *sizes, size_t *count, size_t room, struct stats_size one)
{
    if (one.blocks == 0 || (*count == room && !is_more(&one, &sizes[room - 1])))
        return;
    size_t i = *count < room ? (*count)++ : room - 1;
    for (; i > 0 && is_more(&one, &sizes[i - 1]); i--)
        sizes[i] = sizes[i - 1];
    sizes[i] = one;
}

size_t stats_most_frequent(const struct stats *s, struct stats_size *sizes, size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < STATS_SMALL; i++)
        rank(sizes, &count, room, (struct stats_size){i, s->small[i]});
    for (size_t i = 0; i < 2 * STATS_LARGE; i++)
        rank(sizes, &count, room, s->large[i]);
    return count;
}

/* ---- Resizes ---- */

static void count_resize(struct stats *s, struct stats_block *b, uint64_t size)
{
    s->grown += size > b->size;
    s->shrunk += size < b->size;
    s->same += size == b->size;
    b->resizes++;
}

/* A block has come to its end, or the trace has. */
static void count_chain(struct stats *s, const struct stats_block *b)
{
    if (b->resizes == 0)
        return;
    add(&s->chains[stats_bucket(b->resizes)], b->size);
    add(&s->chain_firsts[stats_bucket(b->resizes)], b->first_size);
    if (b->resizes <= s->longest_chain)
        return;
    s->longest_chain = b->resizes;
    s->longest_chain_born = b->born + 1;
    s->longest_chain_first = b->first_size;
    s->longest_chain_last = b->size;
}

/* ---- Operations ---- */

static struct stats_block *block_of(struct stats *s, uint32_t number)
{
    if (number >= s->room) {
        size_t room = s->room == 0 ? 4096 : s->room;
        while (room <= number)
            room *= 2;
        struct stats_block *blocks = cli_alloc(room, sizeof *blocks);
        if (s->room != 0)
            memcpy(blocks, s->live_blocks, s->room * sizeof *blocks);
        free(s->live_blocks);
        s->live_blocks = blocks;
        s->room = room;
    }
    return &s->live_blocks[number];
}

void stats_add_living(struct stats *s, const struct hmm_trace_block *block)
{
    *block_of(s, block->id) = (struct stats_block){
        .born = block->born, .size = block->size, .first_size = block->size, .stack = block->stack};
    add(&s->before, block->size);
    live_more(s, block->size, block->stack);
    s->bytes.op = s->blocks.op = s->from - 1;
}

static void end_block(struct stats *s, const struct stats_block *b)
{
    const uint64_t lifetime = s->from - 1 + s->ops - b->born;
    add(&s->lifetimes[stats_bucket(lifetime)], b->size);
    if (lifetime <= STATS_TEMPORARY) {
        add(&s->temporary, b->size);
        stats_stack_temporary(s, b->stack, b->size);
    }
    count_chain(s, b);
    live_less(s, b->size, b->stack);
}

void stats_add(struct stats *s, const struct hmm_trace_op *op)
{
    struct stats_block *b = block_of(s, op->id);
    switch (op->kind) {
    case HMM_TRACE_FREE:
        end_block(s, b);
        break;
    case HMM_TRACE_RESIZE:
        count_resize(s, b, op->size);
        live_less(s, b->size, b->stack);
        b->size = op->size;
        b->stack = op->stack;
        stats_stack_requested(s, b->stack, op->size);
        live_more(s, op->size, b->stack);
        break;
    default:
        if (op->kind == HMM_TRACE_ALIGNED)
            add(&s->alignments[op->align_log2], op->size);
        count_size(s, op->size);
        *b = (struct stats_block){.born = s->from - 1 + s->ops,
                                  .size = op->size,
                                  .first_size = op->size,
                                  .stack = op->stack};
        stats_stack_requested(s, op->stack, op->size);
        live_more(s, op->size, op->stack);
    }
    s->counts[op->kind]++;
    s->ops++;
}

void stats_conclude(struct stats *s, const struct hmm_trace_block *living, size_t count)
{
    note_peak(s);
    stats_stacks_conclude(s);
    for (size_t i = 0; i < count; i++)
        count_chain(s, block_of(s, living[i].id));
}
