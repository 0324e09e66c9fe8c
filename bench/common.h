/* SPDX-License-Identifier: MIT */
/*
 * What the programs of the benchmark share.
 *
 * Each is run under callgrind by bench/run.sh, which has it dump what measured_nothing and
 * measured_heap have cost, each time that one returns. So the n-th line that a program prints
 * belongs to the n-th dump: "STRATEGY COUNT FAILED", where COUNT is what the cost is divided by.
 * The first measured function does everything but to call the heap; its line says "nothing", and
 * its cost is subtracted from the others'.
 */
#ifndef HMM_BENCH_COMMON_H
#define HMM_BENCH_COMMON_H

#include "hmm.h"

#include <stddef.h>
#include <stdint.h>

#define BENCH_MEASURED __attribute__((noinline, noclone))

/* "bench: ..." on stderr, and exit code 2. */
_Noreturn __attribute__((format(printf, 1, 2))) void bench_die(const char *format, ...);

/* Ends the program iff there is no memory. */
void *bench_alloc(size_t count, size_t size);

/* Address space that begins at a multiple of 2 MiB; never given back. */
void *bench_reserve(size_t size);

/* Ends the program iff there is no strategy of that name. */
const struct hmm_strategy *bench_strategy(const char *name);

void bench_line(const char *strategy, size_t count, size_t failed);

/* In place of the heap's functions. Not to be seen through: the calls must be there. */
void *bench_nothing(struct hmm_heap *heap, void *block, size_t size);

/* Random numbers, the same in every run: xorshift64*. */
uint64_t bench_random(uint64_t *state);

#endif
