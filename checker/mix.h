/* SPDX-License-Identifier: MIT */
/*
 * Random numbers, and mixes of request sizes that are hard for one index or another.
 */
#ifndef HMM_CHECKER_MIX_H
#define HMM_CHECKER_MIX_H

#include <stddef.h>
#include <stdint.h>

/* The next of a sequence of numbers that look random; one below an end. */
uint64_t rng_next(uint64_t *state);
size_t rng_below(uint64_t *state, size_t end);

struct mix {
    const char *name;
    size_t (*size)(uint64_t *rng);
    size_t region;
    unsigned live;             /* slots in use; the rest of the time fewer */
    unsigned realloc, aligned; /* percent of the operations that do not free */
};

extern const struct mix mixes[];
int mix_count(void);

/* Before a workload: the mixes whose sizes depend on the last one begin anew. */
void mix_restart(void);

#endif
