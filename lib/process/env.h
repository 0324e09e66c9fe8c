/* SPDX-License-Identifier: MIT */
/*
 * What the environment asks for. Read once; never in a program with raised privileges.
 */
#ifndef HMM_ENV_H
#define HMM_ENV_H

#include "heap/heap.h"

/* Of the preload library's heap. */
#define HMM__LARGEST_HEAP (sizeof(size_t) > 4 ? (size_t)(UINT64_C(64) << 30) : (size_t)1 << 30)

struct options {
    const struct hmm_strategy *strategy;
    size_t heap_size; /* 0: not said */
    int check;        /* level */
    bool cache;       /* a cache before the core, where there is one */
    bool verbose;
    bool foreign;      /* pointers that are not ours may be freed: they leak */
    bool block_view;   /* there was an environment */
    const char *stats; /* where to; NULL: nowhere */
    const char
        *plugin; /* the strategy's path, where it is a plug-in; hmm__options_plugin loads it */
};

/*
 * Fills in the defaults and what HMM_STRATEGY, HMM_HEAP_SIZE, HMM_CACHE, HMM_CHECK, HMM_STATS and
 * HMM_FOREIGN and HMM_VERBOSE say. For each value that cannot be used one line goes to stderr, and
 * the default stays. Returns how many there were. The strategy's variable is left out where
 * with_strategy is false. fallback is the default strategy.
 */
HMM__HIDDEN int hmm__options_read(struct options *o, const struct hmm_strategy *fallback,
                                  size_t largest_heap, bool with_strategy);

/* Loads o->plugin, if there is one, into o->strategy; its index must fit into a heap of `capacity`
 * bytes. Allocates: not to be called by an allocation.
 * Returns the number of values that cannot be used, which is said. */
HMM__HIDDEN int hmm__options_plugin(struct options *o, size_t capacity);

/* Each variable that begins with HMM_ and is none of hmm's, in a line on stderr. */
HMM__HIDDEN void hmm__options_unknown(void);

/* "4096", "64K", "1M", "2G": bytes; 0 iff it is none of these, or 0. */
HMM__HIDDEN size_t hmm__parse_size(const char *s);

#endif
