/* SPDX-License-Identifier: MIT */
/*
 * How small a heap could be at all.
 *
 * Placing blocks of known lifetimes in the least room is dynamic storage allocation (Garey and
 * Johnson, problem SR2), which is NP-hard; Buchsbaum, Karloff, Kenyon, Reingold and Thorup, "OPT
 * versus LOAD in dynamic storage allocation" (2003), show that the least room comes near to the
 * load, the most that lives at once, when blocks are small beside it. That is so in most programs,
 * and a simple layout then does:
 *
 *   - All blocks that live at a moment of the highest load are stacked without a gap.
 *   - All others live before that moment or after it. Those after it are placed going forward in
 *     time, each when it is born, in the smallest hole; those before it going backward in time,
 *     each when it dies, so that to the layout it is the same thing. When a block is placed its end
 *     is known: of the two ends of a hole it takes the one whose neighbour ends nearest in time
 *     (Robson's and others' observation that what dies together should lie together; compilers for
 *     tensors place by lifetime in the same way).
 *   - How the stack is ordered decides how holes join. Several orders are tried, and the smallest
 *     layout counts.
 *   - Where there are few blocks, each is also put at the lowest place that is free for as long as
 *     it lives, the largest first, or the longest-lived, or the largest by their product.
 *
 * A layout is verified, bit by bit, before it counts.
 */
#include "compare.h"
#include "hmm-strategy.h"
#include "layout.h"

#include <stdlib.h>
#include <string.h>

#define NEVER UINT32_MAX
#define GRANULE HMM_GRANULE

/* Granules, 2 GiB, with the gaps before aligned blocks: nothing is laid out for more. A layout
 * takes 24 bytes of memory or more for each granule. */
#define LARGEST_LAYOUT (UINT64_C(1) << 27)

/* A block between two resizes that move it. */
struct span {
    uint32_t born, dies;  /* operations: lives after the one and until the other; NEVER */
    uint32_t size, align; /* granules */
    uint32_t at;
};

struct lifetimes {
    struct span *spans;
    uint32_t count, room;
    uint32_t *born_at, *dies_at; /* by operation: a span, or LAYOUT_NOBODY */
    uint32_t *until, *since;     /* by span: dies, and reversed, born */
    uint32_t op_count;
    uint64_t load;    /* the most granules that live at once */
    uint32_t busiest; /* the operation after which they do first */
};

static uint32_t granules_of(uint64_t size)
{
    return size != 0 ? (uint32_t)((size + GRANULE - 1) / GRANULE) : 1;
}

static uint32_t align_of(const struct hmm_trace_op *op)
{
    const unsigned log2 = op->align_log2 < 30 ? op->align_log2 : 30;
    const uint32_t align = UINT32_C(1) << log2;
    return op->kind == HMM_TRACE_ALIGNED && align > GRANULE ? align / GRANULE : 1;
}

/* ---- Lifetimes ---- */

static uint32_t add_span(struct lifetimes *t, struct span span)
{
    if (t->count == t->room) {
        t->room = t->room == 0 ? 4096 : t->room * 2;
        struct span *grown = cli_alloc(t->room, sizeof *grown);
        if (t->count != 0)
            memcpy(grown, t->spans, t->count * sizeof *grown);
        free(t->spans);
        t->spans = grown;
    }
    t->spans[t->count] = span;
    return t->count++;
}

static void begin_span(struct lifetimes *t, uint32_t *current, uint32_t op, uint32_t size,
                       uint32_t align)
{
    *current = add_span(t, (struct span){op, NEVER, size, align, 0});
    t->born_at[op] = *current;
}

static void end_span(struct lifetimes *t, uint32_t span, uint32_t op)
{
    t->spans[span].dies = op;
    t->dies_at[op] = span;
}

static void note_op(struct lifetimes *t, uint32_t *current, uint32_t index,
                    const struct hmm_trace_op *op, uint64_t *live)
{
    const uint32_t size = granules_of(op->size), was = current[op->id];
    if (op->kind == HMM_TRACE_FREE) {
        *live -= t->spans[was].size;
        end_span(t, was, index);
        return;
    }
    if (op->kind == HMM_TRACE_RESIZE) {
        if (t->spans[was].size == size)
            return;
        *live -= t->spans[was].size;
        end_span(t, was, index);
    }
    begin_span(t, &current[op->id], index, size, align_of(op));
    *live += size;
    if (*live > t->load) {
        t->load = *live;
        t->busiest = index;
    }
}

static uint32_t *filled(size_t count)
{
    uint32_t *array = cli_alloc(count, sizeof *array);
    memset(array, 0xff, count * sizeof *array);
    return array;
}

static void lifetimes_close(struct lifetimes *t)
{
    free(t->spans);
    free(t->born_at);
    free(t->dies_at);
    free(t->until);
    free(t->since);
}

static bool lifetimes_open(struct lifetimes *t, struct hmm_trace_tape *tape)
{
    const struct hmm_trace_summary *sum = hmm_trace_tape_summary(tape);
    const struct hmm_trace_op *ops;
    uint64_t live = 0;
    uint32_t index = 0, *current = cli_alloc(sum->peak_blocks, sizeof *current);
    *t = (struct lifetimes){.op_count = (uint32_t)sum->op_count};
    t->born_at = filled(t->op_count);
    t->dies_at = filled(t->op_count);
    hmm_trace_tape_rewind(tape);
    for (size_t count; (count = hmm_trace_tape_next(tape, &ops)) != 0;)
        for (size_t i = 0; i < count; i++)
            note_op(t, current, index++, &ops[i], &live);
    free(current);
    t->until = cli_alloc(t->count, sizeof *t->until);
    t->since = cli_alloc(t->count, sizeof *t->since);
    for (uint32_t i = 0; i < t->count; i++) {
        t->until[i] = t->spans[i].dies;
        t->since[i] = t->spans[i].born;
    }
    return hmm_trace_tape_error(tape) == NULL;
}

/* ---- The stack ---- */

enum order { BY_BIRTH, BY_DEATH, BY_DEATH_THEN_BIRTH, BY_BIRTH_THEN_DEATH, ORDERS };

struct stacked {
    uint64_t key, second;
    uint32_t span;
};

static int compare_stacked(const void *a, const void *b)
{
    const struct stacked *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->second != y->second ? (x->second < y->second ? -1 : 1) : 0;
}

/* The keys by which the stack is sorted: the blocks with the lowest keys, which were born first or
 * die last, lie lowest. The coarse orders form groups by one of the two, and order within a group
 * by the other. */
static struct stacked keys_of(const struct lifetimes *t, uint32_t i, enum order order)
{
    const struct span *s = &t->spans[i];
    const uint64_t groups = 64, left = s->dies == NEVER ? 0 : (uint64_t)t->op_count - s->dies + 1;
    const uint64_t group = (uint64_t)t->op_count / groups + 1;
    switch (order) {
    case BY_BIRTH:
        return (struct stacked){s->born, left, i};
    case BY_DEATH:
        return (struct stacked){left, s->born, i};
    case BY_DEATH_THEN_BIRTH:
        return (struct stacked){(left + group - 1) / group, s->born, i};
    default:
        return (struct stacked){s->born / group, left, i};
    }
}

static bool lives_at(const struct span *s, uint32_t op)
{
    return s->born <= op && s->dies > op;
}

/* An aligned block goes where it may; the gap before it is a hole. */
static void stack_up(struct lifetimes *t, struct layout *l, const struct stacked *stack,
                     uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct span *s = &t->spans[stack[i].span];
        s->at = s->align == 1 ? layout_append(l, stack[i].span, s->size)
                              : layout_place(l, stack[i].span, s->size, s->align, NULL);
    }
}

static uint32_t find_stack(const struct lifetimes *t, enum order order, struct stacked *stack)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (lives_at(&t->spans[i], t->busiest))
            stack[count++] = keys_of(t, i, order);
    qsort(stack, count, sizeof *stack, compare_stacked);
    return count;
}

/* ---- The sweeps ---- */

static void remove_span(struct lifetimes *t, struct layout *l, uint32_t i)
{
    if (i != LAYOUT_NOBODY)
        layout_remove(l, t->spans[i].at, t->spans[i].size);
}

static void place_span(struct lifetimes *t, struct layout *l, uint32_t i, const uint32_t *until)
{
    if (i != LAYOUT_NOBODY)
        t->spans[i].at = layout_place(l, i, t->spans[i].size, t->spans[i].align, until);
}

static void sweep_forward(struct lifetimes *t, struct layout *l, uint32_t from, bool by_until)
{
    for (uint32_t op = from; op < t->op_count; op++) {
        remove_span(t, l, t->dies_at[op]);
        place_span(t, l, t->born_at[op], by_until ? t->until : NULL);
    }
}

static void sweep_backward(struct lifetimes *t, struct layout *l, bool by_until)
{
    for (uint32_t op = t->busiest + 1; op-- > 0;) {
        remove_span(t, l, t->born_at[op]);
        place_span(t, l, t->dies_at[op], by_until ? t->since : NULL);
    }
}

/* Granules of the layout. */
static uint64_t lay_out(struct lifetimes *t, struct layout *l, struct stacked *stack,
                        enum order order, bool by_until)
{
    const uint32_t count = find_stack(t, order, stack);
    layout_clear(l);
    stack_up(t, l, stack, count);
    sweep_forward(t, l, t->busiest + 1, by_until);
    const uint32_t forward = l->most;
    layout_clear(l);
    stack_up(t, l, stack, count);
    sweep_backward(t, l, by_until);
    return forward > l->most ? forward : l->most;
}

/* ---- Few blocks: each at the lowest place, in an order of all ---- */

/* Of at most so many blocks each is compared with all others. */
#define FEW 6000

enum greed { BY_SIZE, BY_AREA, BY_SPAN, GREEDS };

static struct stacked greed_of(const struct lifetimes *t, uint32_t i, enum greed greed)
{
    const struct span *s = &t->spans[i];
    const uint64_t lasts = (s->dies == NEVER ? t->op_count : s->dies) - s->born;
    const uint64_t key = greed == BY_SIZE ? s->size : greed == BY_AREA ? s->size * lasts : lasts;
    return (struct stacked){UINT64_MAX - key, UINT64_MAX - (greed == BY_SIZE ? lasts : s->size), i};
}

struct taken {
    uint32_t at, end;
};

static int compare_taken(const void *a, const void *b)
{
    const uint32_t x = ((const struct taken *)a)->at, y = ((const struct taken *)b)->at;
    return (x > y) - (x < y);
}

/* The lowest place at which the block overlaps none that lives at the same time. */
static uint32_t lowest(const struct lifetimes *t, const struct span *s, const struct stacked *order,
                       uint32_t placed, struct taken *taken)
{
    uint32_t count = 0, at = 0;
    for (uint32_t k = 0; k < placed; k++) {
        const struct span *o = &t->spans[order[k].span];
        if (o->born < s->dies && s->born < o->dies)
            taken[count++] = (struct taken){o->at, o->at + o->size};
    }
    qsort(taken, count, sizeof *taken, compare_taken);
    for (uint32_t k = 0; k < count && taken[k].at < at + s->size; k++)
        if (taken[k].end > at)
            at = (taken[k].end + s->align - 1) & ~(s->align - 1);
    return at;
}

static uint64_t lay_out_greedily(struct lifetimes *t, struct stacked *order, enum greed greed)
{
    struct taken *taken = cli_alloc(t->count, sizeof *taken);
    uint64_t most = 0;
    for (uint32_t i = 0; i < t->count; i++)
        order[i] = greed_of(t, i, greed);
    qsort(order, t->count, sizeof *order, compare_stacked);
    for (uint32_t i = 0; i < t->count; i++) {
        struct span *s = &t->spans[order[i].span];
        s->at = lowest(t, s, order, i, taken);
        most = s->at + (uint64_t)s->size > most ? s->at + (uint64_t)s->size : most;
    }
    free(taken);
    return most;
}

/* ---- Verification ---- */

/* Sets or clears bits [at .. at + size). False iff one of them already had that value. */
static bool flip(uint64_t *bits, uint64_t at, uint64_t size, bool on)
{
    while (size != 0) {
        const unsigned shift = at % 64;
        const uint64_t count = size < 64 - shift ? size : 64 - shift;
        const uint64_t mask = (count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1) << shift;
        if ((bits[at / 64] & mask) != (on ? 0 : mask))
            return false;
        bits[at / 64] ^= mask;
        at += count;
        size -= count;
    }
    return true;
}

/* No two that live at the same time overlap, and none ends beyond `size`. */
static bool is_valid(const struct lifetimes *t, uint64_t size)
{
    uint64_t *bits = cli_alloc((size_t)(size / 64 + 1), sizeof *bits);
    bool good = true;
    for (uint32_t op = 0; good && op < t->op_count; op++) {
        const uint32_t dies = t->dies_at[op], born = t->born_at[op];
        if (dies != LAYOUT_NOBODY)
            good = flip(bits, t->spans[dies].at, t->spans[dies].size, false);
        if (good && born != LAYOUT_NOBODY) {
            const struct span *s = &t->spans[born];
            good = (uint64_t)s->at + s->size <= size && s->at % s->align == 0 &&
                   flip(bits, s->at, s->size, true);
        }
    }
    free(bits);
    return good;
}

static uint64_t best_layout(struct lifetimes *t)
{
    struct layout l;
    struct stacked *stack = cli_alloc(t->count, sizeof *stack);
    uint64_t best = UINT64_MAX;
    layout_open(&l);
    for (int order = 0; order < ORDERS && best > t->load; order++)
        for (int by_until = 1; by_until >= 0 && best > t->load; by_until--) {
            const uint64_t size = lay_out(t, &l, stack, (enum order)order, by_until != 0);
            if (size < best && is_valid(t, size))
                best = size;
        }
    for (int greed = 0; t->count <= FEW && greed < GREEDS && best > t->load; greed++) {
        const uint64_t size = lay_out_greedily(t, stack, (enum greed)greed);
        if (size < best && is_valid(t, size))
            best = size;
    }
    layout_close(&l);
    free(stack);
    return best;
}

/* ---- A trace that is too long to be known as a whole ---- */

/* Places each block when it is allocated, in the smallest hole, without headers: another upper
 * bound. */
static bool place_as_it_comes(struct hmm_trace_tape *tape, uint64_t *size)
{
    const struct hmm_trace_summary *sum = hmm_trace_tape_summary(tape);
    struct span *spans = cli_alloc(sum->peak_blocks, sizeof *spans);
    const struct hmm_trace_op *ops;
    struct layout l;
    layout_open(&l);
    hmm_trace_tape_rewind(tape);
    for (size_t count; (count = hmm_trace_tape_next(tape, &ops)) != 0;)
        for (size_t i = 0; i < count; i++) {
            struct span *s = &spans[ops[i].id];
            if (ops[i].kind == HMM_TRACE_FREE || ops[i].kind == HMM_TRACE_RESIZE)
                layout_remove(&l, s->at, s->size);
            if (ops[i].kind != HMM_TRACE_FREE) {
                s->size = granules_of(ops[i].size);
                s->at = layout_place(&l, ops[i].id, s->size, align_of(&ops[i]), NULL);
            }
        }
    *size = l.most;
    layout_close(&l);
    free(spans);
    return hmm_trace_tape_error(tape) == NULL;
}

/* ---- What lives ---- */

struct extent {
    uint64_t size, gap; /* granules; gap: at most, before an aligned block */
};

/* The most granules that live at once; and at most where they end. */
static bool find_load(struct hmm_trace_tape *tape, uint64_t *load, uint64_t *end)
{
    const struct hmm_trace_summary *sum = hmm_trace_tape_summary(tape);
    struct extent *blocks = cli_alloc(sum->peak_blocks, sizeof *blocks);
    uint64_t live = 0, gaps = 0;
    const struct hmm_trace_op *ops;
    hmm_trace_tape_rewind(tape);
    for (size_t count; (count = hmm_trace_tape_next(tape, &ops)) != 0;)
        for (size_t i = 0; i < count; i++) {
            const uint64_t size = ops[i].size;
            struct extent *block = &blocks[ops[i].id];
            if (ops[i].kind == HMM_TRACE_FREE || ops[i].kind == HMM_TRACE_RESIZE) {
                live -= block->size;
                gaps -= block->gap;
            }
            if (ops[i].kind != HMM_TRACE_FREE) {
                live += block->size = size != 0 ? (size - 1) / GRANULE + 1 : 1;
                gaps += block->gap = align_of(&ops[i]) - 1;
            }
            *load = live > *load ? live : *load;
            *end = live + gaps > *end ? live + gaps : *end;
        }
    free(blocks);
    return hmm_trace_tape_error(tape) == NULL;
}

bool optimum_find(struct hmm_trace_tape *tape, struct optimum *o)
{
    struct lifetimes t;
    uint64_t load = 0, end = 0, size = UINT64_MAX;
    bool good = find_load(tape, &load, &end);
    if (good && end <= LARGEST_LAYOUT && hmm_trace_tape_summary(tape)->op_count > HMM_TRACE_KEPT) {
        good = place_as_it_comes(tape, &size);
    } else if (good && end <= LARGEST_LAYOUT) {
        good = lifetimes_open(&t, tape);
        size = good && t.count != 0 ? best_layout(&t) : 0;
        lifetimes_close(&t);
    }
    o->lower = load < INT64_MAX / GRANULE ? (int64_t)(load * GRANULE) : INT64_MAX;
    o->upper = size != UINT64_MAX ? (int64_t)(size * GRANULE) : -1;
    return good;
}
