/* SPDX-License-Identifier: MIT */
/*
 * Walk, statistics, usable size and verification of what is in runs. Nothing here locks: the caller
 * has the lock where threads share the cache.
 */
#ifndef HMM_CACHE_INSPECT_H
#define HMM_CACHE_INSPECT_H

#include "cache/run.h"

struct cache_tally {
    size_t runs, run_bytes;       /* used blocks of the heap */
    size_t objects, object_bytes; /* in use */
    size_t free_objects;
    size_t medium_blocks, medium_bytes; /* with their headers */
};

#if HMM__CACHE

/* The run that begins at payload, or of which an island does (split.c); NULL: there is none. */
HMM__HIDDEN struct run *hmm__cache_run_at(const struct cache *cache, const void *payload);

/* Who visits objects. */
struct object_visitor {
    int (*visit)(void *arg, const struct hmm_block_info *);
    void *arg;
};

/* Visits the objects of d that are in this block. Returns what the last visit returned. */
HMM__HIDDEN int hmm__cache_walk_run(const struct cache *cache, const struct run *d,
                                    const struct hmm_block_info *block, struct object_visitor v);

/* Whether this block, which the heap has as in use, is a medium block. */
HMM__HIDDEN bool hmm__cache_has_medium(const struct cache *cache, const void *payload);

/* Takes time in proportion to the number of objects. */
HMM__HIDDEN void hmm__cache_tally(const struct cache *cache, struct cache_tally *t);

/* NULL, or the invariant that does not hold. */
HMM__HIDDEN const char *hmm__cache_verify(const struct cache *cache);

#endif
#endif
