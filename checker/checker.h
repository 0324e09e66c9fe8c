/* SPDX-License-Identifier: MIT */
/*
 * Whether a strategy does what hmm-strategy(7) says: a plug-in is loaded in a child process, serves
 * operations there, and each of its answers is held against the blocks as it goes. What breaks a
 * rule ends the child, which says by which operation; the operations are then made fewer.
 */
#ifndef HMM_CHECKER_H
#define HMM_CHECKER_H

#include "hmm-strategy.h"

#include <stdbool.h>
#include <stdio.h>

/* Memory for operations ends the program iff there is none. */

enum checker_kind {
    CHECKER_MALLOC,
    CHECKER_ALIGNED,
    CHECKER_REALLOC,
    CHECKER_FREE,
    CHECKER_GROW,   /* the region becomes larger by `size` */
    CHECKER_PIECE,  /* find_piece is asked; `size` is where its random numbers begin */
    CHECKER_DRAIN,  /* every free block is asked for; then all is as it was */
    CHECKER_SWITCH, /* to another strategy and back */
    CHECKER_KINDS
};

struct checker_op {
    enum checker_kind kind;
    uint32_t id;
    size_t size, align;
};

/* What is done to one heap. */
struct checker_plan {
    size_t region; /* bytes at the beginning */
    size_t count;
    struct checker_op *ops;
};

enum checker_outcome { CHECKER_SOUND, CHECKER_UNSOUND, CHECKER_NOT_LOADABLE, CHECKER_FAILED };

/* What came of it: in memory that the child shares. */
struct checker_verdict {
    volatile int outcome;
    volatile uint32_t op;      /* the one that is being done, or broke a rule */
    volatile uint64_t calls;   /* of the strategy's functions so far */
    const char *volatile hook; /* the function that is running; NULL: none */
    volatile hmm_ref block;
    volatile bool has_scan;
    char rule[32], name[64], text[240];
};

/* How long a function of the strategy may run. */
struct checker_limits {
    unsigned cpu_ms;  /* processor time */
    unsigned wall_ms; /* for one that sleeps */
};

/* plan.c: the plan of number `n`, from 0 on, at random but always the same; false: there are no
 * more. Operations that cannot be done where others are left out are nothing. */
bool checker_plan(struct checker_plan *plan, unsigned n, size_t operations);
void checker_plan_free(struct checker_plan *plan);

/* One operation as a line of a trace, or as its comment where a trace has no such; no newline. */
void checker_op_print(FILE *to, const struct checker_op *op);

/* The plan as a trace. */
void checker_plan_print(FILE *to, const struct checker_plan *plan);

/* child.c: does what is planned in a process of its own. */
void checker_run(const char *path, const struct checker_plan *plan,
                 const struct checker_limits *limits, struct checker_verdict *verdict);

/* shrink.c: leaves out of the plan what is not needed for the verdict's rule to break. Ends at
 * `most` runs, or when the time is over. */
void checker_shrink(const char *path, struct checker_plan *plan,
                    const struct checker_limits *limits, struct checker_verdict *verdict,
                    unsigned most, double seconds);

#endif
