/* SPDX-License-Identifier: MIT */
/*
 * The page: what is the same in all of them, and the data.
 */
#ifndef HMM_REPORT_PAGE_H
#define HMM_REPORT_PAGE_H

#include "encode.h"

#define REPORT_PAGE_MOST ((size_t)1 << 20)

/* In as much detail as goes into REPORT_PAGE_MOST bytes. False iff not even the least does. */
bool report_page(const struct report_trace *traces, size_t count, struct report_buffer *page);

/* Made of page.html and what it includes, when hmm is built (scripts/embed-page): what stands
 * before and behind the data. */
extern const unsigned char report_page_head[], report_page_tail[];
extern const unsigned long report_page_head_size, report_page_tail_size;

#endif
