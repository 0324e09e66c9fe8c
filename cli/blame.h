/* SPDX-License-Identifier: MIT */
/*
 * Blame: which call sites hold the waste.
 *
 * The waste of a heap at one moment is the bytes in its holes: free, below the break, and of no use
 * to a request that is larger. A hole is there since the block on either side is: if one of them
 * were elsewhere, the hole would be one with what lies behind. So each side's site bears half of
 * the hole; all of it, if the other side is the end of the heap. The sum of all sites' parts is
 * the waste.
 */
#ifndef HMM_BLAME_H
#define HMM_BLAME_H

#include "sites.h"
#include "view.h"

struct blame_part {
    uint32_t site;
    uint64_t bytes;           /* of the waste */
    uint64_t blocks, holding; /* blocks of the site beside a hole; the bytes that they have */
};

struct blame {
    uint64_t waste, holes;
    struct blame_part *parts; /* the largest first; only sites that have one */
    size_t count;
};

/* Of the heap as it is now. */
void blame_find(struct blame *blame, const struct view *view, const struct cli_sites *sites);
void blame_free(struct blame *blame);

/* "these 3 call sites hold 62 % of the waste, 1.2 MiB in 340 holes:" and a line each; at most so
 * many as are needed for most of it, and not more than `most`. */
void blame_print(FILE *to, const struct blame *blame, const struct cli_sites *sites, size_t most);

/* How many sites that sentence is about. */
size_t blame_few(const struct blame *blame, size_t most, uint64_t *bytes);

#endif
