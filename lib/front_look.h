/* SPDX-License-Identifier: MIT */
/*
 * Looking into runs, for those who look into the heap. Nothing is locked.
 */
#ifndef HMM_FRONT_LOOK_H
#define HMM_FRONT_LOOK_H

#include "front.h"

struct front_tally {
    size_t runs, run_bytes;       /* as the heap counts them */
    size_t objects, object_bytes; /* in use */
    size_t free_objects;
    size_t kept_blocks, kept_bytes; /* with their headers */
};

#if HMM__FRONT

/* The run that begins at payload; NULL: none does. */
HMM__HIDDEN struct run *hmm__front_run_at(const struct front *f, const void *payload);

/* Its objects, in a block of `bytes`. Returns what the last visit returned. */
HMM__HIDDEN int hmm__front_walk(const struct front *f, const struct run *d, size_t bytes,
                                int (*visit)(void *arg, const struct hmm_block_info *), void *arg);

/* Whether this block, in use as far as the heap knows, is a kept one. */
HMM__HIDDEN bool hmm__front_has_kept(const struct front *f, const void *payload);

/* In proportion to the number of objects. */
HMM__HIDDEN void hmm__front_tally(const struct front *f, struct front_tally *t);

/* NULL, or what is broken. */
HMM__HIDDEN const char *hmm__front_check(const struct front *f);

#endif
#endif
