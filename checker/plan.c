/* SPDX-License-Identifier: MIT */
/*
 * What is done to a strategy under test: random operations of every kind, in the mixes of sizes,
 * and how they are written down.
 */
#include "checker.h"
#include "mix.h"

#include <stdlib.h>

#define MOST_SLOTS 256

/* Of a thousand operations. */
enum { GROWS = 3, PIECES = 12, DRAINS = 12, SWITCHES = 1 };

static struct checker_op choose(uint64_t *rng, const struct mix *mix, bool *used, bool is_rising)
{
    unsigned special = (unsigned)rng_below(rng, 1000), way = (unsigned)rng_below(rng, 100);
    struct checker_op op = {.id = (uint32_t)rng_below(rng, mix->live), .size = mix->size(rng)};
    if (special < GROWS) {
        op.kind = CHECKER_GROW;
        op.size = 16 + rng_below(rng, mix->region / 8);
    } else if (special < GROWS + PIECES) {
        op.kind = CHECKER_PIECE;
        op.size = rng_below(rng, 100000);
    } else if (special < GROWS + PIECES + DRAINS) {
        op.kind = CHECKER_DRAIN;
    } else if (special < GROWS + PIECES + DRAINS + SWITCHES) {
        op.kind = CHECKER_SWITCH;
    } else if (used[op.id]) {
        op.kind = way < mix->realloc * (is_rising ? 1 : 2) ? CHECKER_REALLOC : CHECKER_FREE;
        used[op.id] = op.kind == CHECKER_REALLOC;
        op.size += op.kind == CHECKER_REALLOC && op.size == 0;
    } else {
        op.kind = way < mix->aligned ? CHECKER_ALIGNED : CHECKER_MALLOC;
        op.align = op.kind == CHECKER_ALIGNED ? (size_t)1 << rng_below(rng, 11) : 0;
        used[op.id] = true;
    }
    return op;
}

bool checker_plan(struct checker_plan *plan, unsigned n, size_t operations)
{
    bool used[MOST_SLOTS] = {false};
    uint64_t rng = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    if (n >= (unsigned)mix_count())
        return false;
    const struct mix *mix = &mixes[n];
    mix_restart();
    plan->region = mix->region;
    plan->count = operations;
    plan->ops = calloc(operations + 1, sizeof *plan->ops);
    if (plan->ops == NULL)
        abort();
    for (size_t i = 0; i < operations; i++)
        plan->ops[i] = choose(&rng, mix, used, i / 512 % 4 == 3);
    plan->ops[operations - 1].kind = CHECKER_DRAIN;
    return true;
}

void checker_plan_free(struct checker_plan *plan)
{
    free(plan->ops);
    *plan = (struct checker_plan){0};
}

/* ---- As a trace ---- */

void checker_op_print(FILE *to, const struct checker_op *op)
{
    switch (op->kind) {
    case CHECKER_MALLOC:
        fprintf(to, "a %u %zu", op->id, op->size);
        break;
    case CHECKER_ALIGNED:
        fprintf(to, "m %u %zu %zu", op->id, op->align, op->size);
        break;
    case CHECKER_REALLOC:
        fprintf(to, "r %u %zu", op->id, op->size);
        break;
    case CHECKER_FREE:
        fprintf(to, "f %u", op->id);
        break;
    case CHECKER_GROW:
        fprintf(to, "# the heap grows by %zu bytes", op->size);
        break;
    case CHECKER_PIECE:
        fprintf(to, "# find_piece is asked, random numbers from %zu on", op->size);
        break;
    case CHECKER_SWITCH:
        fputs("# another strategy, and this one again", to);
        break;
    default:
        fputs("# every free block is asked for", to);
    }
}

/* A trace has no operation of a block that is not there, and none that makes it twice. */
void checker_plan_print(FILE *to, const struct checker_plan *plan)
{
    bool used[MOST_SLOTS] = {false};
    fprintf(to, "# hmm-trace 1\n# a heap of %zu bytes\n", plan->region);
    for (size_t i = 0; i < plan->count; i++) {
        struct checker_op op = plan->ops[i];
        if (op.kind <= CHECKER_FREE) {
            if (op.kind == CHECKER_REALLOC && !used[op.id])
                op.kind = CHECKER_MALLOC;
            if (op.kind != CHECKER_REALLOC && used[op.id] != (op.kind == CHECKER_FREE))
                continue;
            used[op.id] = op.kind != CHECKER_FREE;
        }
        checker_op_print(to, &op);
        fputc('\n', to);
    }
}
