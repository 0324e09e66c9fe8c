/* SPDX-License-Identifier: MIT */
/*
 * Pages of IDs, not a hash table of blocks: what a program allocates together is together here too,
 * and an operation is one or two cache misses fewer.
 */
#include "blocks.h"

#include <stdlib.h>
#include <string.h>

#define LEAF_BYTES 4096u
#define LEAF_IDS (LEAF_BYTES / RECORD_GRANULE)

struct record_leaf {
    uint64_t page;
    uint32_t ids[LEAF_IDS];
};

void record_blocks_start(struct record_blocks *b)
{
    *b = (struct record_blocks){.unused = RECORD_NO_ID};
}

void record_blocks_end(struct record_blocks *b)
{
    for (size_t i = 0; i < b->leaf_room; i++)
        free(b->leaves[i]);
    free(b->leaves);
    free(b->sizes);
    record_blocks_start(b);
}

/* ---- Addresses ---- */

/* Where the page's leaf is, or belongs. */
static struct record_leaf **slot(struct record_leaf **leaves, size_t room, uint64_t page)
{
    size_t i = (size_t)((page * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (room - 1);
    while (leaves[i] != NULL && leaves[i]->page != page)
        i = (i + 1) & (room - 1);
    return &leaves[i];
}

static bool grow_leaves(struct record_blocks *b)
{
    size_t room = b->leaf_room != 0 ? 2 * b->leaf_room : 256;
    struct record_leaf **grown = calloc(room, sizeof *grown);
    if (grown == NULL)
        return false;
    for (size_t i = 0; i < b->leaf_room; i++)
        if (b->leaves[i] != NULL)
            *slot(grown, room, b->leaves[i]->page) = b->leaves[i];
    free(b->leaves);
    b->leaves = grown;
    b->leaf_room = room;
    return true;
}

static struct record_leaf *add_leaf(struct record_blocks *b, uint64_t page)
{
    if (2 * (b->leaf_count + 1) > b->leaf_room && !grow_leaves(b))
        return NULL;
    struct record_leaf *leaf = malloc(sizeof *leaf);
    if (leaf == NULL)
        return NULL;
    leaf->page = page;
    memset(leaf->ids, 0xff, sizeof leaf->ids); /* RECORD_NO_ID */
    *slot(b->leaves, b->leaf_room, page) = leaf;
    b->leaf_count++;
    return leaf;
}

uint32_t *record_blocks_at(struct record_blocks *b, uint64_t address, bool create)
{
    const uint64_t page = address / LEAF_BYTES;
    struct record_leaf *leaf = b->last;
    if (leaf == NULL || leaf->page != page) {
        leaf = b->leaf_room != 0 ? *slot(b->leaves, b->leaf_room, page) : NULL;
        if (leaf == NULL && create)
            leaf = add_leaf(b, page);
        if (leaf == NULL)
            return NULL;
        b->last = leaf;
    }
    return &leaf->ids[address / RECORD_GRANULE % LEAF_IDS];
}

/* ---- IDs ---- */

static void count_in(struct record_blocks *b, uint64_t size)
{
    b->live_bytes += size;
    if (b->live_bytes > b->peak_bytes)
        b->peak_bytes = b->live_bytes;
}

static bool grow_ids(struct record_blocks *b)
{
    uint32_t room = b->id_room != 0 ? b->id_room : 512;
    if (room >= RECORD_NO_ID / 2)
        return false;
    room *= 2;
    uint64_t *grown = realloc(b->sizes, room * sizeof *grown);
    if (grown == NULL)
        return false;
    b->sizes = grown;
    b->id_room = room;
    return true;
}

uint32_t record_blocks_new_id(struct record_blocks *b, uint64_t size)
{
    uint32_t id = b->unused;
    if (id != RECORD_NO_ID)
        b->unused = (uint32_t)b->sizes[id];
    else if (b->ids < b->id_room || grow_ids(b))
        id = b->ids++;
    else
        return RECORD_NO_ID;
    b->sizes[id] = size;
    count_in(b, size);
    return id;
}

void record_blocks_drop_id(struct record_blocks *b, uint32_t id)
{
    b->live_bytes -= b->sizes[id];
    b->sizes[id] = b->unused;
    b->unused = id;
}

void record_blocks_resize_id(struct record_blocks *b, uint32_t id, uint64_t size)
{
    b->live_bytes -= b->sizes[id];
    b->sizes[id] = size;
    count_in(b, size);
}
