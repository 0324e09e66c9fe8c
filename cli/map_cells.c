/* SPDX-License-Identifier: MIT */
/*
 * Heaps at one moment, cut into cells: the figures that map_text.c and map_svg.c draw.
 */
#include "map.h"

#include <stdlib.h>

enum map_shade map_shade(const struct map_cell *c)
{
    const uint64_t all = c->used + c->free + c->control;
    if (all == 0)
        return MAP_BEYOND;
    if (c->control > all / 2)
        return MAP_CONTROL;
    const uint64_t used = c->used + c->control;
    if (used == 0)
        return MAP_FREE;
    if (used >= all - all / 32)
        return MAP_FULL;
    return used < all / 3 ? MAP_LITTLE : used < all / 3 * 2 ? MAP_HALF : MAP_MOST;
}

struct cli_text map_footprint(const struct map_heap *h)
{
    struct cli_text t = {"-"};
    if (h->view->live != 0)
        snprintf(t.chars, sizeof t.chars, "%.3f",
                 (double)view_break(h->view) / (double)h->view->live);
    return t;
}

struct cutter {
    struct map_heap *heap;
    uint64_t cell_bytes;
    size_t cells;
};

static void add(struct cutter *c, size_t member, uint64_t from, uint64_t to)
{
    while (from < to) {
        const uint64_t cell = from / c->cell_bytes, end = (cell + 1) * c->cell_bytes;
        const uint64_t until = to < end ? to : end;
        if (cell >= c->cells)
            return;
        *(uint64_t *)((char *)&c->heap->cells[cell] + member) += until - from;
        from = until;
    }
}

static void add_piece(void *arg, const struct view_piece *p)
{
    add(arg,
        p->kind == VIEW_USED ? offsetof(struct map_cell, used) : offsetof(struct map_cell, free),
        p->address, p->address + p->size);
}

/* Between the control structures and the break all that is in no block in use is free. */
static void cut_heap(struct map *map, struct map_heap *h)
{
    struct cutter c = {h, map->cell_bytes, map->cells};
    const uint64_t brk = view_break(h->view);
    free(h->cells);
    h->cells = cli_alloc(map->cells, sizeof *h->cells);
    h->holes = view_walk(h->view, add_piece, &c);
    add(&c, offsetof(struct map_cell, control), 0, h->view->control);
    for (size_t i = 0; i < map->cells; i++) {
        struct map_cell *cell = &h->cells[i];
        const uint64_t begin = i * c.cell_bytes, end = begin + c.cell_bytes;
        const uint64_t inside = begin >= brk ? 0 : (end < brk ? end : brk) - begin;
        const uint64_t taken = cell->used + cell->control;
        cell->free = inside > taken ? inside - taken : 0;
    }
}

void map_cut(struct map *map, size_t cells)
{
    uint64_t most = 1;
    for (size_t i = 0; i < map->count; i++)
        if (view_break(map->heaps[i].view) > most)
            most = view_break(map->heaps[i].view);
    map->cell_bytes = ((most + cells - 1) / cells + 15) / 16 * 16;
    map->cells = (size_t)((most + map->cell_bytes - 1) / map->cell_bytes);
    for (size_t i = 0; i < map->count; i++)
        cut_heap(map, &map->heaps[i]);
}
