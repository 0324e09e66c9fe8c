/* SPDX-License-Identifier: MIT */
/*
 * The options that the environment sets. Read once. With glibc, the environment of a program with
 * raised privileges is ignored.
 */
#ifndef HMM_ENV_H
#define HMM_ENV_H

#include "heap/heap.h"

/* The largest heap of the preload library. */
#define HMM__LARGEST_HEAP (sizeof(size_t) > 4 ? (size_t)(UINT64_C(64) << 30) : (size_t)1 << 30)

struct options {
    const struct hmm_strategy *strategy;
    size_t heap_size; /* 0: not set */
    int check;        /* level */
    uint32_t release; /* hmm_heap.release_after */
    uint32_t arenas;  /* the most that there may be; there is one */
    bool cache;
    bool verbose;
    bool foreign;         /* frees of foreign pointers are ignored */
    bool had_environment; /* else the options are to be read once more, later */
    const char *stats;    /* where to write statistics; NULL: nowhere */
    const char *plugin;   /* the path of a strategy that hmm__options_plugin loads; or NULL */
};

/*
 * Sets the options to their defaults, then to the values of HMM_STRATEGY, HMM_HEAP_SIZE, HMM_CACHE,
 * HMM_CHECK, HMM_STATS, HMM_FOREIGN, HMM_RELEASE, HMM_ARENAS and HMM_VERBOSE. For each bad value it
 * prints one line on stderr and leaves the default. Returns the number of bad values. HMM_STRATEGY
 * is not read if with_strategy is false. fallback is the default strategy.
 */
HMM__HIDDEN int hmm__options_read(struct options *o, const struct hmm_strategy *fallback,
                                  size_t largest_heap, bool with_strategy);

/* Loads o->plugin, if there is one, as o->strategy. Its index must fit into a heap of `capacity`
 * bytes. Must not be called within an allocation, since it allocates. Returns the number of bad
 * values, after a line on stderr for each. */
HMM__HIDDEN int hmm__options_plugin(struct options *o, size_t capacity);

/* Each variable whose name is nearly one of hmm's or abbreviates one, in a line on stderr. */
HMM__HIDDEN void hmm__options_misspelt(void);

/* The bytes of "4096", "64K", "1M", "2G"; 0 iff s is not a size, or is 0. */
HMM__HIDDEN size_t hmm__parse_size(const char *s);

#endif
