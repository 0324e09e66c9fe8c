/* SPDX-License-Identifier: MIT */
/*
 * Looking into runs, for those who look into the heap. Nothing is locked.
 */
#ifndef HMM_FRONT_LOOK_H
#define HMM_FRONT_LOOK_H

#include "cache/cache.h"

struct cache_tally {
    size_t runs, run_bytes;       /* as the heap counts them */
    size_t objects, object_bytes; /* in use */
    size_t free_objects;
    size_t medium_blocks, medium_bytes; /* with their headers */
};

#if HMM__CACHE

/* The run that begins at payload; NULL: none does. */
HMM__HIDDEN struct run *hmm__cache_run_at(const struct cache *cache, const void *payload);

/* Its objects, in a block of `bytes`. Returns what the last visit returned. */
HMM__HIDDEN int hmm__cache_walk_run(const struct cache *cache, const struct run *d, size_t bytes,
                                    int (*visit)(void *arg, const struct hmm_block_info *),
                                    void *arg);

/* Whether this block, in use as far as the heap knows, is a kept one. */
HMM__HIDDEN bool hmm__cache_has_medium(const struct cache *cache, const void *payload);

/* In proportion to the number of objects. */
HMM__HIDDEN void hmm__cache_tally(const struct cache *cache, struct cache_tally *t);

/* NULL, or what is broken. */
HMM__HIDDEN const char *hmm__cache_verify(const struct cache *cache);

#endif
#endif
