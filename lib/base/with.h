/* SPDX-License-Identifier: MIT */
/*
 * What is built into the library: a switch each, 1 or 0. The library that `make` builds has
 * all of them; a build of the library as one file may leave any of them out, by -DHMM_WITH_...=0.
 * Each combination compiles. Includes nothing.
 *
 *     switch              without it
 *     HMM_WITH_SPEED      malloc and free call a strategy's find, insert and remove, where
 *                         otherwise each strategy has a malloc and a free of its own, inlined:
 *                         half as fast, a third of the code. The heap has neither cache nor pages.
 *     HMM_WITH_FIRST_FIT  there is no such strategy. With exactly one, and without
 *     HMM_WITH_NEXT_FIT   HMM_WITH_PLUGINS, heaps have that one whatever they are made with, and
 *     HMM_WITH_BEST_FIT   every call of the strategy is a direct one.
 *     HMM_WITH_SEGREGATED
 *     HMM_WITH_PLUGINS    strategies are the built-in ones: none is loaded
 *     HMM_WITH_CHECKS     misuse is not detected, and a heap cannot be checked
 *     HMM_WITH_MESSAGES   misuse is not described, and nothing is ever printed
 *     HMM_WITH_STATS      no hmm_heap_stats; nothing is counted where checks are left out too
 *     HMM_WITH_REALLOC    no realloc
 *     HMM_WITH_ALIGNED    no aligned_alloc
 *     HMM_WITH_CALLOC     no calloc
 *     HMM_WITH_WALK       no hmm_heap_walk
 *     HMM_WITH_PAGES      pages are not given back to the system
 *     HMM_WITH_CACHE      no cache
 *     HMM_WITH_REGIONS    no several regions, no allocation within bounds
 *     HMM_WITH_TRACE      no hmm_set_trace
 *     HMM_WITH_IMAGES     no hmm_heap_attach; it takes HMM_WITH_CHECKS
 *     HMM_WITH_LOCKS      the process heap is not locked
 *     HMM_WITH_PROCESS    there is no process heap
 */
#ifndef HMM_WITH_H
#define HMM_WITH_H

#ifndef HMM_WITH_SPEED
#define HMM_WITH_SPEED 1
#endif
#ifndef HMM_WITH_FIRST_FIT
#define HMM_WITH_FIRST_FIT 1
#endif
#ifndef HMM_WITH_NEXT_FIT
#define HMM_WITH_NEXT_FIT 1
#endif
#ifndef HMM_WITH_BEST_FIT
#define HMM_WITH_BEST_FIT 1
#endif
#ifndef HMM_WITH_SEGREGATED
#define HMM_WITH_SEGREGATED 1
#endif
#ifndef HMM_WITH_PLUGINS
#define HMM_WITH_PLUGINS 1
#endif
#ifndef HMM_WITH_CHECKS
#define HMM_WITH_CHECKS 1
#endif
#ifndef HMM_WITH_MESSAGES
#define HMM_WITH_MESSAGES 1
#endif
#ifndef HMM_WITH_STATS
#define HMM_WITH_STATS 1
#endif
#ifndef HMM_WITH_REALLOC
#define HMM_WITH_REALLOC 1
#endif
#ifndef HMM_WITH_ALIGNED
#define HMM_WITH_ALIGNED 1
#endif
#ifndef HMM_WITH_CALLOC
#define HMM_WITH_CALLOC 1
#endif
#ifndef HMM_WITH_WALK
#define HMM_WITH_WALK 1
#endif
#ifndef HMM_WITH_PAGES
#define HMM_WITH_PAGES 1
#endif
#ifndef HMM_WITH_CACHE
#define HMM_WITH_CACHE 1
#endif
#ifndef HMM_WITH_REGIONS
#define HMM_WITH_REGIONS 1
#endif
#ifndef HMM_WITH_TRACE
#define HMM_WITH_TRACE HMM_WITH_SPEED
#endif
#ifndef HMM_WITH_IMAGES
#define HMM_WITH_IMAGES HMM_WITH_SPEED
#endif
#ifndef HMM_WITH_LOCKS
#define HMM_WITH_LOCKS 1
#endif
#ifndef HMM_WITH_PROCESS
#define HMM_WITH_PROCESS 1
#endif

/* The heap in few bytes. */
#define HMM__SMALL (!HMM_WITH_SPEED)

/* One strategy, whose functions are called by name. That takes the library as one file. */
#if defined(HMM_SINGLE_FILE) && !HMM_WITH_PLUGINS &&                                               \
    HMM_WITH_FIRST_FIT + HMM_WITH_NEXT_FIT + HMM_WITH_BEST_FIT + HMM_WITH_SEGREGATED == 1
#define HMM__ONE_STRATEGY 1
#else
#define HMM__ONE_STRATEGY 0
#endif

/* That one: its definition, and its name for programs. */
#if HMM__ONE_STRATEGY
#if HMM_WITH_FIRST_FIT
#define HMM__ONLY first_fit
#define HMM__THE_STRATEGY HMM_FIRST_FIT
#elif HMM_WITH_NEXT_FIT
#define HMM__ONLY next_fit
#define HMM__THE_STRATEGY HMM_NEXT_FIT
#elif HMM_WITH_BEST_FIT
#define HMM__ONLY best_fit
#define HMM__THE_STRATEGY HMM_BEST_FIT
#else
#define HMM__ONLY segregated
#define HMM__THE_STRATEGY HMM_SEGREGATED
#endif
#endif

/* The strategy where nobody says which. */
#if HMM_WITH_BEST_FIT
#define HMM__DEFAULT_STRATEGY HMM_BEST_FIT
#elif HMM_WITH_SEGREGATED
#define HMM__DEFAULT_STRATEGY HMM_SEGREGATED
#elif HMM_WITH_FIRST_FIT
#define HMM__DEFAULT_STRATEGY HMM_FIRST_FIT
#elif HMM_WITH_NEXT_FIT
#define HMM__DEFAULT_STRATEGY HMM_NEXT_FIT
#else
#error "no strategy is built in"
#endif

/* Whether the heap counts its blocks and bytes. */
#define HMM__COUNTS (HMM_WITH_STATS || HMM_WITH_CHECKS || !HMM__SMALL)

/* The page source, and what large.c knows. */
#define HMM__PAGES (HMM_WITH_PAGES && !HMM__SMALL)

/* Pieces of blocks: at an alignment, or within bounds. The cache places its runs so. */
#define HMM__PIECES (HMM_WITH_ALIGNED || HMM_WITH_REGIONS || (HMM_WITH_CACHE && !HMM__SMALL))

/* Anything besides create, malloc and free. */
#define HMM__EXTRAS                                                                                \
    (!HMM__SMALL || HMM_WITH_CHECKS || HMM_WITH_STATS || HMM_WITH_REALLOC || HMM_WITH_ALIGNED ||   \
     HMM_WITH_WALK || HMM_WITH_PLUGINS || HMM_WITH_REGIONS || HMM_WITH_IMAGES || HMM_WITH_TRACE)

/* In few bytes first-fit is a list (first_list.c), unless HMM_FIRST_FIT_INDEX is 1. */
#ifndef HMM_FIRST_FIT_INDEX
#define HMM_FIRST_FIT_INDEX 0
#endif
#define HMM__FIRST_LIST (HMM__SMALL && !HMM_FIRST_FIT_INDEX)
#define HMM__ADDRESS_INDEX ((HMM_WITH_FIRST_FIT && !HMM__FIRST_LIST) || HMM_WITH_NEXT_FIT)

#endif
