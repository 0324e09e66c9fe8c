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

/* Addresses are multiples of this. */
#define RECORD_GRANULE 16u

struct record_leaf; /* the IDs at the addresses of 4 KiB */

struct record_blocks {
    /* A hash table of leaves. They stay: a heap comes back to its pages. */
    struct record_leaf **leaves;
    size_t leaf_count, leaf_room; /* room: 0, or a power of two */
    struct record_leaf *last;
    /* By ID: the size; or of one that is not in use the next such, a stack. */
    uint64_t *sizes;
    uint32_t ids, id_room, unused;
    uint64_t live_bytes, peak_bytes;
};

/* Zeroed memory is an empty set; but for this. */
void record_blocks_start(struct record_blocks *blocks);
void record_blocks_end(struct record_blocks *blocks);

/* The place for the ID at this address, holding RECORD_NO_ID if there is none. NULL iff there is no
 * memory; with `create` false, also iff there is none. Valid until the next call. */
uint32_t *record_blocks_at(struct record_blocks *blocks, uint64_t address, bool create);

/* An ID for a block of so many bytes, the one that was given back last; or RECORD_NO_ID. */
uint32_t record_blocks_new_id(struct record_blocks *blocks, uint64_t size);
void record_blocks_drop_id(struct record_blocks *blocks, uint32_t id);
void record_blocks_resize_id(struct record_blocks *blocks, uint32_t id, uint64_t size);

#endif
