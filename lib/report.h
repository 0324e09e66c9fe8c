/* SPDX-License-Identifier: MIT */
#ifndef HMM_REPORT_H
#define HMM_REPORT_H

#include "env.h"

/* One line on stderr: what runs, with which strategy and options. `who` is "process heap" or so. */
HMM__HIDDEN void hmm__report_start(const char *who, const struct hmm_heap *h,
                                   const struct options *o);

/* The statistics to o->stats: "stderr" or "-" is stderr, else a file; one whose name ends in .json
 * gets one JSON object, any other a text. */
HMM__HIDDEN void hmm__report_stats(const struct hmm_heap *h, const char *where);

#endif
