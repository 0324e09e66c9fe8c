/* SPDX-License-Identifier: MIT */
/*
 * Where the process heap's memory comes from. One of two files is linked: lib/process/region.c has
 * a static array, preload/region.c has memory of the system's.
 */
#ifndef HMM_REGION_H
#define HMM_REGION_H

#include "heap/heap.h"

#if !HMM__SMALL

/* The name of the heap in messages. */
extern HMM__HIDDEN const char hmm__region_user[];

/* The largest size that hmm__region_get accepts. */
HMM__HIDDEN size_t hmm__region_max(void);

/*
 * The first request may come before the program is ready: in the loader, where no plug-in can be
 * loaded, and before there is an environment. True: the heap is then set up as far as possible, and
 * the rest follows when the program's constructors run. False: all is set up at the first use.
 */
extern HMM__HIDDEN const bool hmm__region_in_two_steps;

/* Commits and decommits the region's pages; NULL: all of it is always committed. */
extern HMM__HIDDEN const struct hmm__page_source *const hmm__region_page_source;

/* Commits the emergency pool's pages, from its low end up, without the heap's lock. */
extern HMM__HIDDEN const struct hmm__page_source *const hmm__region_pool_source;

/* Mappings of their own, of a multiple of 64 KiB; NULL: there are none. All keep errno. */
struct hmm__mapper {
    /* Zeros, at this alignment. NULL: the system has no memory or no room. */
    char *(*map)(size_t bytes, size_t align);
    void (*unmap)(char *p, size_t bytes);
    /* The same bytes, at the same alignment, perhaps elsewhere. NULL: it stays. */
    char *(*remap)(char *p, size_t was, size_t now, size_t align);
};
extern HMM__HIDDEN const struct hmm__mapper *const hmm__region_mapper;

/* The memory of the emergency pool; NULL: there is none. */
HMM__HIDDEN char *hmm__region_emergency(size_t *size);

/*
 * The region, of zeros. *size is the size requested, 0 for the largest possible, and becomes the
 * size of the region. Every call returns the same memory, so only one heap can be in it. NULL iff
 * there is none.
 */
HMM__HIDDEN void *hmm__region_get(size_t *size);

#endif
#endif
