/* SPDX-License-Identifier: MIT */
/*
 * Places on a line, for the offline layouts of optimum.c: which granules are free, as holes by
 * size, and who sits beside a hole. No headers, no index of its own within the line.
 */
#ifndef HMM_LAYOUT_H
#define HMM_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAYOUT_BINS                                                                                \
    4096u /* holes of 1 to LAYOUT_BINS - 2 granules by exact size; the last: larger */
#define LAYOUT_NOBODY UINT32_MAX

struct layout {
    uint32_t *hole_at, *hole_end;   /* by granule: the length of the hole that begins, ends here */
    uint32_t *owner_at, *owner_end; /* by granule: who begins, ends here, plus 1 */
    uint32_t *next, *prev;          /* by a hole's first granule, plus 1; 0 ends a list */
    uint32_t room;                  /* of these arrays, in granules */
    uint32_t bins[LAYOUT_BINS];
    uint64_t map[LAYOUT_BINS / 64];
    uint32_t top, most; /* where the last block ends now, and at most */
};

void layout_open(struct layout *layout);
void layout_close(struct layout *layout);

/* Empties it; keeps its memory. */
void layout_clear(struct layout *layout);

/* Puts a block behind all others. */
uint32_t layout_append(struct layout *layout, uint32_t owner, uint32_t size);

/*
 * Places a block in the smallest hole that is large enough, else behind the last block. `align` in
 * granules, a power of two. Of a hole that is larger it takes the end beside which the neighbour
 * has an `until` nearer to its own; without `until` (NULL) the low end.
 */
uint32_t layout_place(struct layout *layout, uint32_t owner, uint32_t size, uint32_t align,
                      const uint32_t *until);

void layout_remove(struct layout *layout, uint32_t at, uint32_t size);

#endif
