/* SPDX-License-Identifier: MIT */
/*
 * Holes by size: a list for each small size, with a bitmap of those that are not empty, and one
 * list for all larger ones, which is searched for the smallest.
 */
#include "layout.h"

#include "cli.h"

#include <stdlib.h>
#include <string.h>

#define LARGE (LAYOUT_BINS - 1)

/* How many holes of one size are looked at to find one with a suitable neighbour. */
#define LOOKS 12

void layout_open(struct layout *l)
{
    memset(l, 0, sizeof *l);
}

static uint32_t **arrays_of(struct layout *l, int i)
{
    uint32_t **const all[] = {&l->hole_at,   &l->hole_end, &l->owner_at,
                              &l->owner_end, &l->next,     &l->prev};
    return i < 6 ? all[i] : NULL;
}

void layout_close(struct layout *l)
{
    uint32_t **array;
    for (int i = 0; (array = arrays_of(l, i)) != NULL; i++)
        free(*array);
}

void layout_clear(struct layout *l)
{
    uint32_t **array;
    for (int i = 0; (array = arrays_of(l, i)) != NULL; i++)
        if (*array != NULL)
            memset(*array, 0, l->room * sizeof **array);
    memset(l->bins, 0, sizeof l->bins);
    memset(l->map, 0, sizeof l->map);
    l->top = l->most = 0;
}

/* Enlarges the arrays so that granule `last` has entries. */
static void reach(struct layout *l, uint32_t last)
{
    uint32_t **array;
    if (last < l->room)
        return;
    const uint32_t room = last + last / 2 + 4096;
    for (int i = 0; (array = arrays_of(l, i)) != NULL; i++) {
        uint32_t *grown = cli_alloc(room, sizeof *grown);
        if (*array != NULL)
            memcpy(grown, *array, l->room * sizeof *grown);
        free(*array);
        *array = grown;
    }
    l->room = room;
}

static uint32_t bin_of(uint32_t size)
{
    return size < LARGE ? size : LARGE;
}

static void add_hole(struct layout *l, uint32_t at, uint32_t size)
{
    const uint32_t bin = bin_of(size), head = l->bins[bin];
    l->hole_at[at] = l->hole_end[at + size] = size;
    l->next[at] = head;
    l->prev[at] = 0;
    if (head != 0)
        l->prev[head - 1] = at + 1;
    l->bins[bin] = at + 1;
    l->map[bin / 64] |= UINT64_C(1) << bin % 64;
}

static void drop_hole(struct layout *l, uint32_t at)
{
    const uint32_t size = l->hole_at[at], bin = bin_of(size), next = l->next[at],
                   prev = l->prev[at];
    l->hole_at[at] = l->hole_end[at + size] = 0;
    if (next != 0)
        l->prev[next - 1] = prev;
    if (prev != 0)
        l->next[prev - 1] = next;
    else
        l->bins[bin] = next;
    if (l->bins[bin] == 0)
        l->map[bin / 64] &= ~(UINT64_C(1) << bin % 64);
}

/* The first bin from `bin` on that is not empty; LAYOUT_BINS: none. */
static uint32_t next_bin(const struct layout *l, uint32_t bin)
{
    if (bin >= LAYOUT_BINS)
        return LAYOUT_BINS;
    uint64_t word = l->map[bin / 64] & (~UINT64_C(0) << bin % 64);
    for (uint32_t i = bin / 64; i < LAYOUT_BINS / 64; word = ++i < LAYOUT_BINS / 64 ? l->map[i] : 0)
        if (word != 0)
            return i * 64 + (uint32_t)__builtin_ctzll(word);
    return LAYOUT_BINS;
}

static void own(struct layout *l, uint32_t at, uint32_t size, uint32_t owner)
{
    l->owner_at[at] = l->owner_end[at + size] = owner + 1;
    if (at + size > l->top)
        l->top = at + size;
    if (l->top > l->most)
        l->most = l->top;
}

uint32_t layout_append(struct layout *l, uint32_t owner, uint32_t size)
{
    const uint32_t at = l->top;
    reach(l, at + size);
    own(l, at, size, owner);
    return at;
}

static uint32_t apart(uint32_t owner, uint32_t until, const uint32_t *untils)
{
    if (owner == 0)
        return UINT32_MAX;
    const uint32_t other = untils[owner - 1];
    return other > until ? other - until : until - other;
}

struct choice {
    uint32_t hole, size, offset, apart;
};

/* The block that a place is looked for. until: as layout_place has it. */
struct wanted {
    uint32_t owner, size, align;
    const uint32_t *until;
};

static uint32_t align_up(uint32_t at, uint32_t align)
{
    return (at + align - 1) & ~(align - 1);
}

/* Whether the block can lie in the hole, and at which of its ends. */
static bool fits(const struct layout *l, uint32_t hole, const struct wanted *w, struct choice *c)
{
    const uint32_t size = w->size, align = w->align, owner = w->owner, *until = w->until;
    const uint32_t room = l->hole_at[hole], low = align_up(hole, align) - hole;
    if (room < size || room - size < low)
        return false;
    *c = (struct choice){hole, room, low, 0};
    if (until == NULL)
        return true;
    const uint32_t below = apart(l->owner_end[hole], until[owner], until);
    const uint32_t above = apart(l->owner_at[hole + room], until[owner], until);
    const uint32_t high = ((hole + room - size) & ~(align - 1)) - hole;
    c->apart = below < above ? below : above;
    if (above < below)
        c->offset = high;
    return true;
}

/* The best in one bin: of small sizes any is as small, so the neighbour decides. */
static bool choose(const struct layout *l, uint32_t bin, const struct wanted *w,
                   struct choice *best)
{
    bool found = false;
    uint32_t looks = 0;
    for (uint32_t h = l->bins[bin]; h != 0; h = l->next[h - 1]) {
        struct choice c;
        if (!fits(l, h - 1, w, &c))
            continue;
        if (!found || (bin == LARGE ? c.size < best->size : c.apart < best->apart))
            *best = c;
        found = true;
        if (bin != LARGE && (w->until == NULL || ++looks == LOOKS))
            break;
    }
    return found;
}

static uint32_t take(struct layout *l, const struct choice *c, uint32_t size, uint32_t owner)
{
    const uint32_t at = c->hole + c->offset, end = c->hole + c->size;
    drop_hole(l, c->hole);
    if (at > c->hole)
        add_hole(l, c->hole, at - c->hole);
    if (end > at + size)
        add_hole(l, at + size, end - at - size);
    own(l, at, size, owner);
    return at;
}

uint32_t layout_place(struct layout *l, uint32_t owner, uint32_t size, uint32_t align,
                      const uint32_t *until)
{
    const struct wanted w = {owner, size, align, until};
    struct choice c;
    for (uint32_t bin = next_bin(l, bin_of(size)); bin < LAYOUT_BINS; bin = next_bin(l, bin + 1))
        if (choose(l, bin, &w, &c))
            return take(l, &c, size, owner);
    const uint32_t old = l->top, at = align_up(old, align);
    reach(l, at + size);
    if (at > old)
        add_hole(l, old, at - old);
    own(l, at, size, owner);
    return at;
}

/* The hole merges with its neighbours. One at the end of the line is not kept: the top falls. */
void layout_remove(struct layout *l, uint32_t at, uint32_t size)
{
    uint32_t end = at + size;
    l->owner_at[at] = l->owner_end[end] = 0;
    if (l->hole_end[at] != 0) {
        const uint32_t below = at - l->hole_end[at];
        drop_hole(l, below);
        at = below;
    }
    if (end < l->room && l->hole_at[end] != 0) {
        const uint32_t above = end;
        end += l->hole_at[above];
        drop_hole(l, above);
    }
    if (end == l->top)
        l->top = at;
    else
        add_hole(l, at, end - at);
}
