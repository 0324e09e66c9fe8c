/* SPDX-License-Identifier: MIT */
/*
 * Random operations on a heap: every way to allocate, resize and free, in several mixes of sizes.
 * Each block's bytes, alignment and room are held against what they must be.
 */
#ifndef HMM_TEST_WORKLOAD_H
#define HMM_TEST_WORKLOAD_H

#include "harness.h"

#define WORKLOAD_SLOTS 256u

enum op_kind { OP_MALLOC, OP_CALLOC, OP_ALIGNED, OP_REALLOC, OP_FREE };

struct op {
    enum op_kind kind;
    struct slot *slot;
    size_t size, align;
    void *was;    /* of OP_REALLOC and OP_FREE: the block */
    void *result; /* NULL after OP_FREE */
};

struct slot {
    void *block;
    size_t size, align;
    uint64_t seed;
};

struct workload {
    struct hmm_heap *heap;
    const struct mix *mix;
    uint64_t rng, seed;
    unsigned failed;
    /* Called before and after each operation, with arg; may be NULL. */
    void (*before)(struct workload *w, const struct op *op);
    void (*after)(struct workload *w, const struct op *op);
    void *arg;
    struct slot slots[WORKLOAD_SLOTS];
};

void workload_start(struct workload *w, struct hmm_heap *heap, const struct mix *mix,
                    uint64_t seed);
void workload_step(struct workload *w);

/* Every block holds what it must. */
void workload_verify(const struct workload *w);

/* Frees all blocks, in no order. */
void workload_free_all(struct workload *w);

#endif
