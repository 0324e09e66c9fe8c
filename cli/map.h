/* SPDX-License-Identifier: MIT */
/*
 * Between the files of `hmm map`: heaps at one moment, cut into cells of equal size.
 */
#ifndef HMM_MAP_H
#define HMM_MAP_H

#include "blame.h"
#include "view.h"

/* A cell's bytes by what they are; those above the break are in none. */
struct map_cell {
    uint64_t used, free, control;
};

enum map_shade {
    MAP_BEYOND,  /* above the break */
    MAP_CONTROL, /* mostly control structures */
    MAP_FREE,    /* nothing in use */
    MAP_LITTLE,
    MAP_HALF,
    MAP_MOST,
    MAP_FULL, /* all but a sliver in use */
    MAP_SHADES
};

struct map_heap {
    const struct view *view;
    struct view_holes holes;
    struct map_cell *cells;
};

struct map {
    const struct playback *playback;
    uint64_t op; /* the heaps are as after this operation */
    struct map_heap *heaps;
    size_t count;
    uint64_t cell_bytes;
    size_t cells;                  /* in each heap */
    const struct cli_sites *sites; /* NULL: the trace has no call stacks */
};

/* map_cells.c: cuts all heaps into at most so many cells, of a size that is the same for all. */
void map_cut(struct map *map, size_t cells);

enum map_shade map_shade(const struct map_cell *cell);

/* "1.173" times the live bytes; "-" where nothing lives. */
struct cli_text map_footprint(const struct map_heap *heap);

/* map_text.c: in shades; as wide as the terminal, where it is one. */
void map_print_text(struct map *map, FILE *to);

/* map_svg.c */
void map_print_svg(struct map *map, FILE *to);

#endif
