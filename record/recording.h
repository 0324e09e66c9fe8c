/* SPDX-License-Identifier: MIT */
/*
 * A recording: what a process did with the heap of one program, from its start, or from the fork,
 * until it ended or became another program by exec. Its events become a trace.
 */
#ifndef HMM_RECORD_RECORDING_H
#define HMM_RECORD_RECORDING_H

#include "blocks.h"
#include "pool.h"
#include "sites.h"
#include "trace.h"

struct record_resize { /* one that has begun and not ended; id: RECORD_NO_ID where not known */
    uint64_t place, address;
    uint32_t id;
};

struct recording {
    struct record_process *slot; /* NULL: the recording is over, and what is below is its result */
    int32_t pid;
    int pidfd; /* -1: none */
    uint64_t number;
    char program[sizeof((struct record_process *)0)->program];
    bool is_first;    /* the command's process */
    unsigned earlier; /* recordings of the process */

    char *path; /* of the trace */
    bool has_file;
    bool failed;           /* said; the rest is left out */
    uint64_t ops, unknown; /* unknown: of blocks that were not got while recording */
    uint64_t peak_bytes;   /* of what the file holds */
    uint64_t lost;         /* operations that came after the file had failed */

    struct hmm_trace_writer *writer;
    struct record_blocks blocks;
    uint64_t held, peak_before; /* as the writer has it; the peak before the last operation */
    uint64_t head;              /* the place to be read next */
    bool retired;               /* the segment at head must not be used again */
    double stuck;               /* since when a hole has held up the process; 0: none does */
    struct record_resize *resizes;
    size_t resize_count, resize_room;
    uint64_t resized_place, resized_from, resized_size; /* the last RECORD_RESIZED */
    uint32_t depth;                                     /* of call stacks; 0: there are none */
    struct record_sites sites;
};

/* How much to read. A hole is a place that was taken and is not yet written. */
enum record_reading {
    RECORD_READ_WHOLE, /* a segment, if the process has begun another; to the first hole */
    RECORD_READ_ALL,   /* to the first hole */
    RECORD_READ_STUCK, /* the first segment, without its holes */
    RECORD_READ_DEAD   /* all without the holes: nobody is there to fill them */
};

/* Reads events and gives their segments back. True iff there were any. */
bool recording_read(struct recording *l, struct record_pool *pool, enum record_reading how);

/* Ends the trace, and frees all but the result. */
void recording_end(struct recording *l);

#endif
