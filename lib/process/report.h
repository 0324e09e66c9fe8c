/* SPDX-License-Identifier: MIT */
/*
 * The lines and statistics that HMM_VERBOSE and HMM_STATS ask for.
 */
#ifndef HMM_REPORT_H
#define HMM_REPORT_H

#include "process/env.h"

/* Prints one line on stderr: the heap, its strategy and options. `who` names the heap. */
HMM__HIDDEN void hmm__report_start(const char *who, const struct hmm_heap *h,
                                   const struct options *o);

/*
 * Sets where the statistics go. "stderr" and "-" are the present stderr, even if the program closes
 * it later. Anything else is a file, below the present working folder; "%p" in its name is replaced
 * by the number of the process that writes it. A name that ends in .json gets one JSON object, any
 * other a text.
 */
HMM__HIDDEN void hmm__report_place(const char *where);

/* Writes the statistics there. */
HMM__HIDDEN void hmm__report_stats(const struct hmm_heap *h);

#endif
