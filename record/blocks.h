/* SPDX-License-Identifier: MIT */
/*
 * The live blocks of a recorded process: which ID is at an address, and how large it is.
 */
#ifndef HMM_RECORD_BLOCKS_H
#define HMM_RECORD_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_NO_ID UINT32_MAX

/* Addresses are multiples of this: libc's of 16, others' of 8 for the smallest blocks. */
#define RECORD_GRANULE 8u

#define RECORD_LEAF_BYTES 4096u
#define RECORD_LEAF_IDS (RECORD_LEAF_BYTES / RECORD_GRANULE)

struct record_leaf { /* the IDs at the addresses of a page */
    uint64_t page;
    uint32_t *ids; /* RECORD_LEAF_IDS of them; NULL: this place of the table is empty */
};

struct record_blocks {
    /* A hash table of leaves. They stay: a heap comes back to its pages. */
    struct record_leaf *leaves;
    size_t leaf_count, leaf_room; /* room: 0, or a power of two */
    struct record_leaf last;      /* a copy of the one that was looked for last */
    /* By ID: the size; or of one that is not in use the next such, a stack. */
    uint64_t *sizes;
    uint32_t ids, id_room, unused;
    uint64_t live_bytes, peak_bytes;
};

/* Zeroed memory is an empty set; but for this. */
void record_blocks_start(struct record_blocks *blocks);
void record_blocks_end(struct record_blocks *blocks);

/* The IDs of this page. NULL iff there is no memory, or no leaf and it need not be made. */
uint32_t *record_blocks_leaf(struct record_blocks *blocks, uint64_t page, bool create);

/* An ID that was never in use, or RECORD_NO_ID. */
uint32_t record_blocks_fresh_id(struct record_blocks *blocks);

/* The place for the ID at this address, holding RECORD_NO_ID if there is none. NULL iff there is no
 * leaf for it. Valid until record_blocks_end. */
static inline uint32_t *record_blocks_at(struct record_blocks *b, uint64_t address, bool create)
{
    uint32_t *ids = b->last.ids;
    if (ids == NULL || b->last.page != address / RECORD_LEAF_BYTES)
        ids = record_blocks_leaf(b, address / RECORD_LEAF_BYTES, create);
    return ids != NULL ? &ids[address / RECORD_GRANULE % RECORD_LEAF_IDS] : NULL;
}

/* Where the page's leaf is, or belongs, in a table that has room. */
static inline struct record_leaf *record_blocks_slot(struct record_leaf *leaves, size_t room,
                                                     uint64_t page)
{
    size_t i = (size_t)((page * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (room - 1);
    while (leaves[i].ids != NULL && leaves[i].page != page)
        i = (i + 1) & (room - 1);
    return &leaves[i];
}

/* Leaves that the processor's caches hold are not worth it. */
#define RECORD_FEW_LEAVES 256

/* So that record_blocks_at, a little later, need not wait for memory. */
static inline void record_blocks_prefetch(const struct record_blocks *b, uint64_t address)
{
    if (b->leaf_count < RECORD_FEW_LEAVES)
        return;
    const uint32_t *ids =
        record_blocks_slot(b->leaves, b->leaf_room, address / RECORD_LEAF_BYTES)->ids;
    if (ids != NULL)
        __builtin_prefetch(&ids[address / RECORD_GRANULE % RECORD_LEAF_IDS], 1);
}

static inline void record_blocks_hold(struct record_blocks *b, uint32_t id, uint64_t size)
{
    b->sizes[id] = size;
    b->live_bytes += size;
    if (b->live_bytes > b->peak_bytes)
        b->peak_bytes = b->live_bytes;
}

/* An ID for a block of so many bytes, the one that was given back last; or RECORD_NO_ID. */
static inline uint32_t record_blocks_new_id(struct record_blocks *b, uint64_t size)
{
    uint32_t id = b->unused;
    if (id != RECORD_NO_ID)
        b->unused = (uint32_t)b->sizes[id];
    else if ((id = record_blocks_fresh_id(b)) == RECORD_NO_ID)
        return id;
    record_blocks_hold(b, id, size);
    return id;
}

static inline void record_blocks_drop_id(struct record_blocks *b, uint32_t id)
{
    b->live_bytes -= b->sizes[id];
    b->sizes[id] = b->unused;
    b->unused = id;
}

static inline void record_blocks_resize_id(struct record_blocks *b, uint32_t id, uint64_t size)
{
    b->live_bytes -= b->sizes[id];
    record_blocks_hold(b, id, size);
}

#endif
