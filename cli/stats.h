/* SPDX-License-Identifier: MIT */
/*
 * Between the files of `hmm stats`: what a program asks for.
 */
#ifndef HMM_CLI_STATS_H
#define HMM_CLI_STATS_H

#include "cli.h"
#include "sites.h"
#include "trace.h"

/* Bucket 0 is the value 0; bucket b the values from 2^(b-1) to 2^b - 1. */
#define STATS_BUCKETS 65

static inline unsigned stats_bucket(uint64_t value)
{
    unsigned b = 0;
    for (; value != 0; value >>= 1)
        b++;
    return b;
}

static inline uint64_t stats_bucket_from(unsigned bucket)
{
    return bucket == 0 ? 0 : UINT64_C(1) << (bucket - 1);
}

static inline uint64_t stats_bucket_to(unsigned bucket)
{
    return bucket == 0 ? 0 : (UINT64_C(1) << (bucket - 1)) * 2 - 1;
}

/* Blocks, and the bytes in them. */
struct stats_amount {
    uint64_t blocks, bytes;
};

/* A block is temporary if it is freed at most so many operations after it was allocated. */
#define STATS_TEMPORARY 8

/* Sizes below STATS_SMALL have a count each; of larger ones at most STATS_LARGE different sizes
 * have. */
#define STATS_SMALL 65536u
#define STATS_LARGE 4096u

struct stats_size {
    uint64_t size, blocks;
};

/* What is known of a live block, by its number. */
struct stats_block {
    uint64_t born; /* the index of the operation that allocated it */
    uint64_t size, first_size;
    uint32_t resizes;
    uint32_t stack; /* of the last operation that gave it a size */
};

/* What one call stack asks for. */
struct stats_stack {
    struct stats_amount requested; /* resizes included */
    struct stats_amount live, at_peak, temporary;
    uint32_t peak_seen; /* the value of stats.peaks for which at_peak was taken */
};

enum stats_measure { STATS_BYTES, STATS_COUNT, STATS_PEAK, STATS_TEMPORARY_BLOCKS };

#define STATS_MOST_SITES 10000u /* that JSON has */

struct stats_peak {
    uint64_t bytes, blocks;
    uint64_t op; /* the number of the operation after which it was reached, from 1 */
};

struct stats {
    uint64_t ops, from; /* from: the number of the first */
    uint64_t counts[HMM_TRACE_KINDS];
    struct stats_amount before;          /* lived at the window's start */
    struct stats_amount requested;       /* allocations */
    struct stats_amount live, temporary; /* live: now, so at the end never freed */
    struct stats_peak bytes, blocks;

    struct stats_amount sizes[STATS_BUCKETS];
    struct stats_amount live_sizes[STATS_BUCKETS], peak_sizes[STATS_BUCKETS];
    bool at_peak;    /* live_sizes are those of the peak, and not yet copied to peak_sizes */
    uint64_t *small; /* by size */
    struct stats_size *large; /* a hash table */
    unsigned large_count;

    struct stats_amount lifetimes[STATS_BUCKETS]; /* of freed blocks */
    struct stats_amount alignments[64];           /* by log2 */

    uint64_t grown, shrunk, same; /* resizes */
    struct stats_amount
        chains[STATS_BUCKETS]; /* blocks by how often they were resized; last sizes */
    struct stats_amount chain_firsts[STATS_BUCKETS];
    uint64_t longest_chain, longest_chain_born; /* the number of the operation that allocated it */
    uint64_t longest_chain_first, longest_chain_last;

    struct stats_block *live_blocks; /* by number */
    size_t room;

    struct stats_stack *stacks; /* by number */
    uint32_t stack_room;
    uint32_t peaks; /* how often there was a new one */
};

void stats_open(struct stats *s, uint64_t from);
void stats_close(struct stats *s);

/* A block that lives already. */
void stats_add_living(struct stats *s, const struct hmm_trace_block *block);

/* An operation, its ID a number (HMM_TRACE_DENSE). */
void stats_add(struct stats *s, const struct hmm_trace_op *op);

/* What is known only at the end: the chains of blocks that live on. `numbers`: of those. */
void stats_conclude(struct stats *s, const struct hmm_trace_block *living, size_t count);

/* The most frequent sizes, at most `room`, the most frequent first; how many. */
size_t stats_most_frequent(const struct stats *s, struct stats_size *sizes, size_t room);

/* ---- stats_sites.c: a request of a stack; its blocks become more and less. stats.peaks is raised
 * after a change that makes a peak. ---- */

void stats_stack_requested(struct stats *s, uint32_t stack, uint64_t size);
void stats_stack_more(struct stats *s, uint32_t stack, uint64_t size);
void stats_stack_less(struct stats *s, uint32_t stack, uint64_t size);
void stats_stack_temporary(struct stats *s, uint32_t stack, uint64_t size);
void stats_stacks_conclude(struct stats *s);

void stats_print_sites(const struct stats *s, const struct cli_sites *sites);
void stats_print_json_sites(const struct stats *s, const struct cli_sites *sites, const char *path);
void stats_print_collapsed(const struct stats *s, const struct hmm_trace_stacks *stacks,
                           enum stats_measure measure);

/* ---- stats_print.c ---- */

void stats_print_table(const struct stats *s, const char *path);
void stats_print_json(const struct stats *s, const char *path);

#endif
