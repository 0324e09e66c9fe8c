/* SPDX-License-Identifier: MIT */
/*
 * Where the pages of a region come from, and what large.c notes of a free block whose pages may go
 * back. heap.h has the rest. Includes the public header of strategies only.
 */
#ifndef HMM_HEAP_PAGE_SOURCE_H
#define HMM_HEAP_PAGE_SOURCE_H

#include "hmm-strategy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages that were unmapped are mapped again; the system has no memory for them; another mapping
 * lies there. */
enum hmm__occupied { HMM__OCCUPIED, HMM__OCCUPY_REFUSED, HMM__OCCUPY_BLOCKED };

/* How the system commits and decommits the pages of a region. All keep errno. */
struct hmm__page_source {
    /* Makes [from, to) writable. False iff the system has no memory for it. */
    bool (*commit)(char *from, char *to);
    /* Gives the pages of [from, to) back to the system. It stays writable, and reads as zero. */
    void (*decommit)(char *from, char *to);
    /* Milliseconds since some fixed time. */
    uint64_t (*clock)(void);
    /* The rest is of a source that maps in place; NULL: it does not. */
    /* The opposite of commit, of whole pages. */
    void (*unmap)(char *from, char *to);
    /* After commit has failed from `from` on: commits `bytes` that lie above the mapping in the
     * way, at most so far. NULL: there is none in the way, or no room above it. */
    char *(*past)(char *from, size_t bytes, size_t distance_max);
    /* One of two places for a state, outside the region. NULL: it is to lie in the region. */
    char *(*state_place)(unsigned which, size_t *max);
    /* The bytes of address space that are mapped. */
    size_t (*mapped)(void);
    /* Whether address space is limited, so that what is given back is to be unmapped (absent.c). */
    bool (*limited)(void);
    /* Unmaps whole pages between others. False: the system does not. */
    bool (*vacate)(char *from, char *to);
    /* Maps them again. */
    enum hmm__occupied (*occupy)(char *from, char *to);
    /* They are not to be mapped again, and of [to, end) the whole pages, which are mapped, are
     * unmapped. False: the system does not, and nothing was done. */
    bool (*forget)(char *from, char *to, char *end);
};

/* When who does not come to the heap reads the clock: after so many frees, 1 at first. */
struct hmm__ticker {
    uint64_t at;
    uint16_t frees;
};

/* large.c: an entry of the table of large free blocks. */
struct hmm__large {
    hmm_ref end;                /* of the block; 0: the entry is not in use */
    uint32_t next, prev;        /* in the list, by index; UINT32_MAX: it is in none */
    uint32_t since;             /* the clock, in milliseconds */
    uint32_t counted;           /* granules of it that may be resident */
    hmm_ref zero_from, zero_to; /* of one that is absent (absent.c) zero_from is its start */
};

/* The smallest free block whose pages are worth a call: 64 KiB. */
#define HMM__LARGE_LOG 16u
#define HMM__LARGE_GRANULES ((1u << HMM__LARGE_LOG) / HMM_GRANULE)

/* hmm_heap.release_after: pages are given back only when asked for; and what is usual. */
#define HMM__RELEASE_NEVER UINT32_MAX
#define HMM__RELEASE_AFTER 250u

/* What a cache has not needed for so long goes back to the heap, where its pages then grow old.
 * Half of it: what a burst has left is to be gone within a second. */
#define HMM__UNUSED_AFTER(heap) ((heap)->release_after / 2)

#endif
