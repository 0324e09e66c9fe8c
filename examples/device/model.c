/* SPDX-License-Identifier: MIT */
/*
 * The blocks are an array in order of address, from the first to the last in use; what is above is
 * the top, which serves what no free block can. `since` is when a block became free or changed its
 * size.
 */
#include "model.h"

#ifndef MODEL_BLOCKS
#define MODEL_BLOCKS 8192
#endif

enum { GRANULE = 8, HEADER = 4, MIN = 2, HEADS = 4 };

static struct block {
    uint32_t place, size, since;
    int used;
} blocks[MODEL_BLOCKS];

static uint32_t count, top, end, now;
static uint32_t cursor; /* next-fit's: where the last request ended */
static enum model_rule by;

void model_start(enum model_rule rule, uint32_t first, uint32_t limit)
{
    by = rule;
    top = first;
    end = limit;
    count = now = cursor = 0;
}

static uint32_t granules_for(size_t size)
{
    const size_t n = (size + HEADER + GRANULE - 1) / GRANULE;
    return n < MIN ? MIN : (uint32_t)n;
}

/* ---- The array ---- */

static void open_gap(uint32_t i)
{
    for (uint32_t k = count++; k > i; k--)
        blocks[k] = blocks[k - 1];
}

static void close_gap(uint32_t i)
{
    for (count--; i < count; i++)
        blocks[i] = blocks[i + 1];
}

static uint32_t index_of(uint32_t place)
{
    uint32_t i = 0;
    while (blocks[i].place != place)
        i++;
    return i;
}

/* ---- The rules ---- */

static int fits(uint32_t i, uint32_t n)
{
    return !blocks[i].used && blocks[i].size >= n;
}

static uint32_t first_fit(uint32_t n)
{
    uint32_t i = 0;
    while (i < count && !fits(i, n))
        i++;
    return i;
}

/* The first that begins at the cursor or above; else the first. */
static uint32_t next_fit(uint32_t n)
{
    uint32_t i = 0;
    while (i < count && !(fits(i, n) && blocks[i].place >= cursor))
        i++;
    return i < count ? i : first_fit(n);
}

/* The smallest; of equals, the newest. */
static uint32_t best_fit(uint32_t n)
{
    uint32_t best = count;
    for (uint32_t i = 0; i < count; i++)
        if (fits(i, n) &&
            (best == count || blocks[i].size < blocks[best].size ||
             (blocks[i].size == blocks[best].size && blocks[i].since > blocks[best].since)))
            best = i;
    return best;
}

/* Each power of two of the size less one in 32 classes; below 64 each size is one. */
static uint32_t class_of(uint32_t size)
{
    uint32_t m = size - 1, lost = 0;
    while (m >> lost >= 64)
        lost++;
    return m >> lost << lost;
}

/* The newest free block of the class that is older than `before`. */
static uint32_t newest_of(uint32_t class, uint32_t before)
{
    uint32_t newest = count;
    for (uint32_t i = 0; i < count; i++)
        if (!blocks[i].used && class_of(blocks[i].size) == class && blocks[i].since < before &&
            (newest == count || blocks[i].since > blocks[newest].since))
            newest = i;
    return newest;
}

/* The newest that fits of the class's newest `heads`. */
static uint32_t own_class(uint32_t n, uint32_t heads)
{
    uint32_t before = UINT32_MAX;
    while (heads-- != 0) {
        const uint32_t i = newest_of(class_of(n), before);
        if (i == count || blocks[i].size >= n)
            return i;
        before = blocks[i].since;
    }
    return count;
}

/* Else the newest of the lowest class above. */
static uint32_t segregated(uint32_t n)
{
    uint32_t i = own_class(n, HEADS), lowest = UINT32_MAX;
    if (i != count)
        return i;
    for (i = 0; i < count; i++) {
        const uint32_t class = class_of(blocks[i].size);
        if (!blocks[i].used && class > class_of(n) && class < lowest)
            lowest = class;
    }
    return lowest == UINT32_MAX ? count : newest_of(lowest, UINT32_MAX);
}

static uint32_t choose(uint32_t n)
{
    switch (by) {
    case MODEL_FIRST_FIT:
        return first_fit(n);
    case MODEL_NEXT_FIT:
        return next_fit(n);
    case MODEL_BEST_FIT:
        return best_fit(n);
    default:
        return segregated(n);
    }
}

/* ---- Blocks ---- */

/* Block i is free now: it becomes one with those beside it, or with the top. */
static void release(uint32_t i)
{
    blocks[i].used = 0;
    if (i + 1 < count && !blocks[i + 1].used) {
        blocks[i].size += blocks[i + 1].size;
        close_gap(i + 1);
    }
    if (i > 0 && !blocks[i - 1].used) {
        blocks[i - 1].size += blocks[i].size;
        close_gap(i--);
    }
    blocks[i].since = ++now;
    if (i + 1 == count) {
        top = blocks[i].place;
        count--;
    } else if (blocks[i].place < cursor && cursor < blocks[i].place + blocks[i].size) {
        cursor = blocks[i].place;
    }
}

/* Used block i keeps its low n granules, if the rest is enough for a block. */
static void cut(uint32_t i, uint32_t n)
{
    if (blocks[i].size < n + MIN)
        return;
    open_gap(i + 1);
    blocks[i + 1] = (struct block){
        .place = blocks[i].place + n, .size = blocks[i].size - n, .since = 0, .used = 1};
    blocks[i].size = n;
    release(i + 1);
}

static uint32_t from_top(uint32_t n)
{
    if (end - top < n || count == MODEL_BLOCKS)
        return 0;
    const uint32_t place = top;
    blocks[count++] = (struct block){.place = place, .size = n, .since = 0, .used = 1};
    top += n;
    return place;
}

static uint32_t place_block(uint32_t n)
{
    uint32_t i = choose(n), place;
    if (i == count) {
        place = from_top(n);
        if (place != 0 || by != MODEL_SEGREGATED)
            return place;
        i = own_class(n, UINT32_MAX);
        if (i == count)
            return 0;
    }
    blocks[i].used = 1;
    cut(i, n);
    return blocks[i].place;
}

static uint32_t take(uint32_t n)
{
    const uint32_t place = place_block(n);
    if (place != 0)
        cursor = place + blocks[index_of(place)].size;
    return place;
}

uint32_t model_malloc(size_t size)
{
    return take(granules_for(size));
}

void model_free(uint32_t place)
{
    if (place != 0)
        release(index_of(place));
}

/* ---- realloc: up, then down, then elsewhere ---- */

/* What is free directly above block i: in the top as well. */
static uint32_t room_above(uint32_t i)
{
    if (i + 1 == count)
        return end - top;
    return blocks[i + 1].used ? 0 : blocks[i + 1].size;
}

/* Block i of fewer than n granules takes all of the free block above, or of the top what it needs.
 */
static void grow_up(uint32_t i, uint32_t n)
{
    if (i + 1 == count) {
        top = blocks[i].place + n;
        blocks[i].size = n;
        return;
    }
    blocks[i].size += blocks[i + 1].size;
    close_gap(i + 1);
    cut(i, n);
}

static uint32_t grow_down(uint32_t i, uint32_t n)
{
    blocks[i - 1].size += blocks[i].size;
    blocks[i - 1].used = 1;
    close_gap(i--);
    if (blocks[i].size < n)
        grow_up(i, n);
    else
        cut(i, n);
    return blocks[i].place;
}

uint32_t model_realloc(uint32_t place, size_t size)
{
    const uint32_t n = granules_for(size);
    if (place == 0)
        return take(n);
    if (size == 0) {
        model_free(place);
        return 0;
    }
    const uint32_t i = index_of(place);
    const uint32_t below = i > 0 && !blocks[i - 1].used ? blocks[i - 1].size : 0;
    if (n <= blocks[i].size) {
        cut(i, n);
        return place;
    }
    if (blocks[i].size + room_above(i) >= n) {
        grow_up(i, n);
        return place;
    }
    if (below != 0 && below + blocks[i].size + room_above(i) >= n)
        return grow_down(i, n);
    const uint32_t to = take(n);
    if (to != 0)
        model_free(place);
    return to;
}
