/* SPDX-License-Identifier: MIT */
/*
 * The plain scan: what each strategy must choose, found by looking at every block. It does not use
 * any index. It reads headers, and keeps what headers do not tell: in what order blocks became
 * free, and where next-fit's cursor stands.
 */
#ifndef HMM_TEST_ORACLE_H
#define HMM_TEST_ORACLE_H

#include "harness.h"

#define ORACLE_GRANULES (UINT32_C(1) << 20)

/*
 * A strategy that does what `rule` does, and fails the test where an answer is not the plain
 * scan's. Each rule has one, so that a heap can be switched from one to the other; all are for one
 * heap at a time, of at most ORACLE_GRANULES.
 */
const struct hmm_strategy *oracle_wrap(const struct hmm_strategy *rule);

/* From now on without malloc_whole and free_whole: the core takes the steps one by one. */
void oracle_in_steps(void);

/* Where heap's rule places a request of n granules: in a free block that it would find at once, and
 * in one that it would find by its last search. 0: in none. */
hmm_ref oracle_choose(const struct hmm_heap *h, uint32_t n);
hmm_ref oracle_choose_last(const struct hmm_heap *h, uint32_t n);

/* Where the payload of a malloc of `size` bytes must be; NULL: it must fail. */
void *oracle_place(const struct hmm_heap *h, size_t size);

/* The same of an aligned_alloc; align and size are such that a heap may have them. */
void *oracle_place_aligned(const struct hmm_heap *h, size_t align, size_t size);

/* The granules of a block for such a request. */
uint32_t oracle_granules(size_t align, size_t size);

/* Whether any free block, or the top, has room for n granules at this alignment. */
bool oracle_fits(const struct hmm_heap *h, uint32_t n, size_t align);

/* How often an answer has been held against the scan. */
uint64_t oracle_asked(void);

#endif
