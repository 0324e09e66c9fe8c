/* SPDX-License-Identifier: MIT */
/*
 * From addresses to IDs by pages of IDs instead of a hash table: blocks that a program allocates
 * together lie together here too, which saves one or two cache misses an operation.
 */
#include "blocks.h"

#include <stdlib.h>
#include <string.h>

void record_blocks_start(struct record_blocks *b)
{
    *b = (struct record_blocks){.unused = RECORD_NO_ID};
}

void record_blocks_end(struct record_blocks *b)
{
    for (size_t i = 0; i < b->leaf_room; i++)
        free(b->leaves[i].ids);
    free(b->leaves);
    free(b->sizes);
    record_blocks_start(b);
}

/* ---- Addresses ---- */

static bool grow_leaves(struct record_blocks *b)
{
    size_t room = b->leaf_room != 0 ? 2 * b->leaf_room : 256;
    struct record_leaf *grown = calloc(room, sizeof *grown);
    if (grown == NULL)
        return false;
    for (size_t i = 0; i < b->leaf_room; i++)
        if (b->leaves[i].ids != NULL)
            *record_blocks_slot(grown, room, b->leaves[i].page) = b->leaves[i];
    free(b->leaves);
    b->leaves = grown;
    b->leaf_room = room;
    return true;
}

static struct record_leaf *add_leaf(struct record_blocks *b, uint64_t page)
{
    if (2 * (b->leaf_count + 1) > b->leaf_room && !grow_leaves(b))
        return NULL;
    uint32_t *ids = malloc(RECORD_LEAF_IDS * sizeof *ids);
    if (ids == NULL)
        return NULL;
    memset(ids, 0xff, RECORD_LEAF_IDS * sizeof *ids); /* RECORD_NO_ID */
    struct record_leaf *leaf = record_blocks_slot(b->leaves, b->leaf_room, page);
    *leaf = (struct record_leaf){page, ids};
    b->leaf_count++;
    return leaf;
}

uint32_t *record_blocks_leaf(struct record_blocks *b, uint64_t page, bool create)
{
    struct record_leaf *leaf =
        b->leaf_room != 0 ? record_blocks_slot(b->leaves, b->leaf_room, page) : NULL;
    if ((leaf == NULL || leaf->ids == NULL) && create)
        leaf = add_leaf(b, page);
    if (leaf == NULL || leaf->ids == NULL)
        return NULL;
    b->last = *leaf;
    return leaf->ids;
}

/* ---- IDs ---- */

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

uint32_t record_blocks_fresh_id(struct record_blocks *b)
{
    return b->ids < b->id_room || grow_ids(b) ? b->ids++ : RECORD_NO_ID;
}
