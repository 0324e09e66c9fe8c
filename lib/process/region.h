/* SPDX-License-Identifier: MIT */
/*
 * Where the process heap's memory comes from. There are two answers, of which one is linked:
 * lib/region.c has a static array, preload/region.c asks the system.
 */
#ifndef HMM_REGION_H
#define HMM_REGION_H

#include "heap/heap.h"

/* Who uses it: for the line that HMM_VERBOSE asks for. */
extern HMM__HIDDEN const char hmm__region_user[];

/* The largest size that can be asked for. */
HMM__HIDDEN size_t hmm__region_max(void);

/*
 * A heap can be wanted before a program is ready: inside the loader, where nothing may be loaded,
 * and before the environment is there. It is then made as far as can be, and the rest when the
 * program's constructors run. False: everything at the first use.
 */
extern HMM__HIDDEN const bool hmm__region_in_two_steps;

/* How its pages come and go; NULL: they are there. */
extern HMM__HIDDEN const struct hmm__page_source *const hmm__region_page_source;

/* A piece of memory beside the region (emergency.h); NULL: there is none. */
HMM__HIDDEN char *hmm__region_emergency(size_t *size);

/*
 * The region, of zeros. `size` is what is wanted, 0 for as much as there is; afterwards what there
 * is. The same memory at every call: only one heap can be in it. NULL iff there is none.
 */
HMM__HIDDEN void *hmm__region_get(size_t *size);

#endif
