/* SPDX-License-Identifier: MIT */
/*
 * Random traces, for the tests of the reader and the writer.
 */
#ifndef HMM_TEST_TRACE_MADE_H
#define HMM_TEST_TRACE_MADE_H

#include "trace.h"

/* How IDs are given out: the number of the allocation; the one freed last; any that is free. */
enum made_ids { MADE_SEQUENTIAL, MADE_LAST_FREED, MADE_ANY, MADE_POLICIES };

/* count operations of a possible program that seldom holds more than `most` blocks, the same for
 * the same seed. To be given to free(). */
struct hmm_trace_op *made_trace(size_t count, size_t most, enum made_ids policy, uint64_t seed);

/* Writes them to path, in the form that its name asks for, with a comment before every commented-th
 * operation, 0: none. Fails the test iff it cannot. */
void made_file(const char *path, const struct hmm_trace_op *ops, size_t count, size_t commented);

bool made_same(const struct hmm_trace_op *a, const struct hmm_trace_op *b);

#endif
