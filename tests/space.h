/* SPDX-License-Identifier: MIT */
/*
 * A heap whose address space is limited, over a page source of the test's. That knows of each page
 * what it is, and what is not mapped cannot be touched. The system refuses what the test says, and
 * other mappings lie in holes. One heap at a time.
 */
#ifndef HMM_TEST_SPACE_H
#define HMM_TEST_SPACE_H

#include "harness.h"

#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)
#define PAGES (64 * MIB / PAGE)

/* What the system has, what a test may set, and how often the source was asked. */
struct space {
    size_t mapped_pages, max_pages; /* of more than these, none is mapped */
    size_t vacated, forgotten, occupied, refused;
    uint64_t now;
    bool is_limited;
    unsigned char foreign[PAGES]; /* another mapping's, as soon as the heap has it no more */
};
extern struct space space;

/* A heap in a new space, in which nothing is refused yet. */
struct hmm_heap *limited_heap(const struct hmm_strategy *s);

size_t page_of(const char *p);
size_t pages_vacated(void);

/* Another mapping comes into what is vacated of n pages. */
void map_foreign(size_t at, size_t n);

/* None of these has changed. They go, if `gone`. */
void verify_foreign(bool gone);

#endif
