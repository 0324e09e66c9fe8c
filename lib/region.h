/* SPDX-License-Identifier: MIT */
/*
 * Where the process heap's memory comes from. There are two answers, of which one is linked:
 * lib/region.c has a static array, preload/region.c asks the system.
 */
#ifndef HMM_REGION_H
#define HMM_REGION_H

#include "heap.h"

/* Who uses it: for the line that HMM_VERBOSE asks for. */
extern HMM__HIDDEN const char hmm__region_user[];

/* The largest size that can be asked for. */
HMM__HIDDEN size_t hmm__region_most(void);

/* How its pages come and go; NULL: they are there. */
extern HMM__HIDDEN const struct hmm__pages *const hmm__region_pages;

/* A piece of memory beside the region (side.h); NULL: there is none. */
HMM__HIDDEN char *hmm__region_side(size_t *size);

/*
 * The region, of zeros. `size` is what is wanted, 0 for as much as there is; afterwards what there
 * is. The same memory at every call: only one heap can be in it. NULL iff there is none.
 */
HMM__HIDDEN void *hmm__region_get(size_t *size);

#endif
