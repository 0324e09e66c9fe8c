/* SPDX-License-Identifier: MIT */
/*
 * Between the files of `hmm import`: what others have recorded, line by line, becomes a trace.
 *
 * A format tells what happened to which block; blocks get IDs here. A block is known by a key, the
 * address that it had in the recorded program, or by its ID where the format has no addresses.
 */
#ifndef HMM_IMPORT_H
#define HMM_IMPORT_H

#include "cli.h"
#include "trace.h"

#define IMPORT_NO_ID UINT32_MAX

struct import_slot {
    uint64_t key;
    uint32_t id; /* IMPORT_NO_ID: empty */
};

/* What a format's log has that a trace cannot, or need not. */
struct import_left_out {
    uint64_t unknown; /* frees of blocks that were allocated before the log began */
    uint64_t nulls;   /* frees of no block */
    uint64_t empty;   /* requests for no bytes, which got no block */
    uint64_t failed;  /* requests that the recorded program's heap did not serve */
    uint64_t lost;    /* events that the log says are missing */
};

struct import {
    const char *path;
    uint64_t line; /* counted from 1; 0: it has bytes, and `byte` is where */
    uint64_t byte;
    struct hmm_trace_writer *writer;
    uint64_t ops;
    struct import_left_out left_out;
    uint64_t unseen; /* frees that are missing from the log: their blocks' addresses were allocated
                        again */
    bool failed;     /* an error has been said */

    struct import_slot *slots; /* a hash table of the live blocks that have keys */
    size_t slot_count, slot_room;
    uint64_t factor; /* of the table's hash */
    unsigned home_shift;
    uint32_t *unused; /* IDs that were freed, a stack */
    size_t unused_count, unused_room;
    uint32_t ids;    /* that were ever used */
    uint64_t *sizes; /* by ID, of the blocks that live */
    size_t size_room;
    uint64_t live; /* bytes, all together at most PTRDIFF_MAX */
    void *state;   /* the format's */
};

struct import_format {
    const char *name, *of; /* of: whose it is, in words */
    /* Whether a file that begins with this line has the format. NULL: the format is not made of
     * lines. */
    bool (*begins)(const char *line);
    size_t state_size; /* zeroed memory */
    /* Takes a line, which may be written to. False, said on stderr, iff it is none. */
    bool (*take)(struct import *import, char *line);
    /* If the format is not made of lines: takes bytes, and returns how many; -1 iff an error has
     * been said. */
    ptrdiff_t (*take_bytes)(struct import *import, const char *bytes, size_t count);
    /* After the last line; may be NULL. */
    bool (*end)(struct import *import);
    void (*free_state)(void *state); /* may be NULL */
};

extern const struct import_format import_rep, import_mtrace, import_heaptrack, import_rmm,
    import_ring;

/* import_ring.c: whether a file begins so, of which the first bytes are given. */
#define IMPORT_RING_HEAD 8u
bool import_ring_begins(const char *bytes, size_t count);

/* ---- import_blocks.c. All return false iff an error has been said. ---- */

/* An allocation, by key. If a block with this key is live, its free is missing from the log. */
bool import_allocate(struct import *import, uint64_t key, uint64_t size);
bool import_allocate_aligned(struct import *import, uint64_t key, uint64_t size, unsigned log2);
bool import_free(struct import *import, uint64_t key);
bool import_free_all(struct import *import); /* that have keys */
/* The block at `was` is at `now`; of a block that is not known it is an allocation. */
bool import_resize(struct import *import, uint64_t was, uint64_t now, uint64_t size);

/* The same by IDs, which the caller keeps. */
bool import_new_block(struct import *import, uint64_t size, uint32_t *id);
bool import_drop_block(struct import *import, uint32_t id);

void import_blocks_free(struct import *import);

/* A longer array of as many items as *room then says, at least `needed`; what is new is zeroed. */
void *import_grown(void *array, size_t *room, size_t needed, size_t item);

/* ---- Words of a line ---- */

/* "PATH:LINE: ..." on stderr. Returns false. */
__attribute__((format(printf, 2, 3))) bool import_fail(struct import *import, const char *format,
                                                       ...);

/* A number in base 10, or 16 with or without "0x", and nothing behind it. */
bool import_number(const char *text, int base, uint64_t *number);

/* Cuts a line at every blank, or every one of `separator`, into at most `most` words; what is more
 * stays in the last. Returns how many. */
size_t import_words(char *line, char separator, char **words, size_t most);

#endif
