/* SPDX-License-Identifier: MIT */
/*
 * A trace reduced to what a page can hold, whatever its length.
 *
 * Time, counted in operations, is cut into columns of equal length, the address space of all
 * strategies into rows of equal height. At the end of each column the heaps are walked: how much of
 * each row is in use and how old that is, the holes, the break. Between columns only the extremes
 * of the break and of the live bytes are kept. So what the page shows of a moment is exact, but the
 * moments are only the ends of the columns.
 *
 * Of single blocks those are kept whose rectangle, bytes by operations, is largest: those that can
 * be seen. Of the others, examples: time by addresses is cut into tiles, and of each that one is
 * kept which is the largest of those with their middle in it.
 *
 * If the trace has call stacks, a few sites have colours: those that have most bytes and most
 * blocks when most is live. Of each row is known which of them has most of it.
 */
#ifndef HMM_REPORT_REDUCE_H
#define HMM_REPORT_REDUCE_H

#include "blame.h"
#include "view.h"

#define REPORT_COLUMNS 1024u
#define REPORT_ROWS 512u
#define REPORT_BLOCKS 6144u
#define REPORT_TILES 64u         /* in each direction; each tile has an example */
#define REPORT_HOLE_CLASSES 37u  /* by the power of two that is not above their size */
#define REPORT_SIZE_CLASSES 160u /* four a doubling */
#define REPORT_LIFE_CLASSES 64u  /* by the power of two that is not above it */
#define REPORT_COLOURS 16u       /* 0 is all other sites */

enum report_end { REPORT_FREED, REPORT_RESIZED, REPORT_LASTS };

/* A block as long as its place and size stay the same. */
struct report_block {
    uint64_t address, size;      /* size: requested */
    uint64_t born, since, until; /* operations; until: the one that ended it, or the last one */
    enum report_end end;
    uint32_t site;
};

/* What is known at the end of a column. */
struct report_sample {
    uint64_t brk, brk_most; /* then, and the highest since the column before */
    uint64_t hole_bytes, hole_count, hole_largest;
    uint32_t holes[REPORT_HOLE_CLASSES];
};

struct report_strategy {
    const struct hmm_strategy *strategy;
    uint64_t control, failed;
    uint64_t brk_peak;
    struct report_sample *samples; /* by column */
    /* By column, then row. fill: 0 nothing in use, 255 all. born: when what is in use was
     * allocated, on the average of its bytes, in 255ths of the trace. */
    uint8_t *fill, *born;
    uint8_t *who;       /* colours of sites, likewise; NULL: there are no call stacks */
    struct blame blame; /* when the break is first at its highest */
    uint64_t blame_op;
    struct report_block *blocks; /* a heap by area, the smallest first, until they are sorted */
    size_t block_count;
    struct report_block *examples; /* by tile, as long as the trace is carried out */
    bool all_blocks;               /* whether none was left out */
};

struct report_trace {
    const char *path;
    uint64_t ops, counts[HMM_TRACE_KINDS];
    uint64_t cut_from; /* operations that there were, of which only `ops` were waited for; 0: all */
    uint64_t peak_bytes, peak_op, peak_blocks;
    size_t columns, rows;
    uint64_t row_bytes;
    uint64_t *live, *live_most, *live_blocks; /* by column */
    uint64_t size_counts[REPORT_SIZE_CLASSES], size_bytes[REPORT_SIZE_CLASSES];
    uint64_t life_counts[REPORT_LIFE_CLASSES], never_freed;
    struct report_strategy *strategies;
    size_t strategy_count;
    char *compared;         /* members of a JSON object, from compare.h; NULL: none */
    struct cli_sites sites; /* without any: there are no call stacks */
    uint8_t *colours;       /* by site */
    uint32_t coloured[REPORT_COLOURS];
};

/* Reads the trace at path and carries it out. False, said on stderr, iff that cannot be done; *code
 * is then the exit code. To be given to report_trace_free in any case. */
bool report_reduce(struct report_trace *trace, const char *path,
                   const struct hmm_strategy *const *strategies, size_t count, int *code);
void report_trace_free(struct report_trace *trace);

/* The operation after which a column's samples were taken. */
uint64_t report_column_end(uint64_t ops, size_t columns, size_t column);

/* The lowest size of a class. */
uint64_t report_size_class_start(unsigned size_class);

/* blocks.c: keeps a block iff it is among the largest, or as an example. Then puts both together,
 * sorted by when they begin. */
void report_keep_block(const struct report_trace *trace, struct report_strategy *strategy,
                       const struct report_block *block);
void report_sort_blocks(struct report_strategy *strategy);

/* Of the blocks the `count` largest, sorted by when they begin. */
void report_thin_blocks(const struct report_strategy *strategy, size_t count,
                        struct report_block *kept);

#endif
