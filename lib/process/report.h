/* SPDX-License-Identifier: MIT */
#ifndef HMM_REPORT_H
#define HMM_REPORT_H

#include "process/env.h"

/* One line on stderr: what runs, with which strategy and options. `who` is "process heap" or so. */
HMM__HIDDEN void hmm__report_start(const char *who, const struct hmm_heap *h,
                                   const struct options *o);

/*
 * Where the statistics go: "stderr" or "-" is what is stderr now, even if the program closes it;
 * else a file, below what is the working folder now. "%p" in its name becomes the number of the
 * process that writes it. A name that ends in .json gets one JSON object, any other a text.
 */
HMM__HIDDEN void hmm__report_place(const char *where);

/* The statistics, to there. */
HMM__HIDDEN void hmm__report_stats(const struct hmm_heap *h);

#endif
