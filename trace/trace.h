/* SPDX-License-Identifier: MIT */
/*
 * Traces: what a program asked of its heap, operation by operation.
 *
 * Format 1 is text. The first line is `# hmm-trace 1`; every other line is one operation
 *
 *     a ID SIZE           allocate
 *     m ID ALIGN SIZE     allocate at a multiple of ALIGN, a power of two
 *     r ID SIZE           resize; the block keeps its ID
 *     f ID                free
 *
 * or a comment, which begins with `#`. Fields are decimal numbers, one space before each. A line
 * ends with a newline, the last one too: without it the file counts as cut short. A carriage return
 * before the newline is let pass. The whole may be compressed with zstd, which is seen from the
 * first bytes and not from the name.
 *
 * IDs are dense: after n operations the largest that may be used is HMM_TRACE_ID_BASE +
 * HMM_TRACE_ID_STEP * n. An ID may be used again once it is freed.
 */
#ifndef HMM_TRACE_H
#define HMM_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HMM_TRACE_VERSION 1
#define HMM_TRACE_ID_BASE 1048576u
#define HMM_TRACE_ID_STEP 16u

enum hmm_trace_kind {
    HMM_TRACE_ALLOC,
    HMM_TRACE_ALIGNED,
    HMM_TRACE_RESIZE,
    HMM_TRACE_FREE,
    HMM_TRACE_KINDS
};

struct hmm_trace_op {
    uint64_t size; /* at most PTRDIFF_MAX; 0 in HMM_TRACE_FREE */
    uint32_t id;
    uint8_t kind;       /* enum hmm_trace_kind */
    uint8_t align_log2; /* of HMM_TRACE_ALIGNED, else 0 */
};

struct hmm_trace {
    struct hmm_trace_op *ops;
    size_t op_count;
    size_t counts[HMM_TRACE_KINDS];
    uint32_t id_limit;    /* one past the largest ID; 0 iff there is no operation */
    uint64_t peak_bytes;  /* the most bytes requested and not freed, at most PTRDIFF_MAX */
    uint32_t peak_blocks; /* the most blocks live; not necessarily at the same time */
    size_t *comments;     /* of each comment, how many operations are above it */
    size_t comment_count;
    bool is_cut; /* the file ends too early, and this is what it holds */
};

/* Why a trace cannot be loaded. */
struct hmm_trace_error {
    uint64_t line; /* 0: not about a line */
    char reason[200];
    bool is_cut;   /* the file ends in the middle of a zstd frame */
    uint64_t held; /* of a writer that was closed: operations that the file has */
};

/* Told now and then how much of the file has been read; of 0 where that is not known. */
struct hmm_trace_progress {
    void (*tell)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

/*
 * Loads and validates the trace at path. progress may be NULL. Returns true and fills in *trace,
 * to be given to hmm_trace_free; or false, with *trace empty and *error filled in, iff the file
 * cannot be read, is not a trace of format 1, is cut short or damaged, has a line that is no
 * operation, or an operation that the ones before it forbid (allocating an ID that is live,
 * resizing or freeing one that is not).
 *
 * Of a zstd file that ends in the middle of a frame, as a kill or a lost disk leaves it, all whole
 * lines are the trace: true, with is_cut set, and *error says where it ends. There must be one.
 */
bool hmm_trace_load(struct hmm_trace *trace, const char *path,
                    const struct hmm_trace_progress *progress, struct hmm_trace_error *error);

void hmm_trace_free(struct hmm_trace *trace);

/* The line of the file, counted from 1, that the operation ops[index] stood on. */
uint64_t hmm_trace_line(const struct hmm_trace *trace, size_t index);

/* "PATH:LINE: reason" and a newline; "PATH: reason" where it is not about a line. */
void hmm_trace_print_error(FILE *to, const char *path, const struct hmm_trace_error *error);

/*
 * Renumbers the IDs so that the least possible number of them, peak_blocks, is used, the most
 * recently freed first. A table by ID is then small and warm, and a replay's figures are the
 * heap's and not the table's. Returns false, the trace unchanged, iff there is no memory for it.
 */
bool hmm_trace_compact(struct hmm_trace *trace);

/* ---- Writing ---- */

struct hmm_trace_writer;

/*
 * Creates the file, or empties it; zstd iff the name ends in ".zst". NULL and a reason iff it
 * cannot be written, this build has no zstd for it, or there is no memory.
 */
struct hmm_trace_writer *hmm_trace_writer_open(const char *path, struct hmm_trace_error *error);

/* Whether hmm_trace_writer_open would succeed. Leaves a file that is there as it is, and an empty
 * one where there was none. False and a reason iff not, or iff it is no regular file. */
bool hmm_trace_writer_check(const char *path, struct hmm_trace_error *error);

/* False iff the path is a regular file that is neither empty nor a trace, of any form. */
bool hmm_trace_may_replace(const char *path);

/* Add an operation, or a comment of one line. That the operation is one that the trace allows is
 * the caller's duty. False iff an error has come up, now or earlier: nothing is written any more.
 */
bool hmm_trace_write(struct hmm_trace_writer *writer, const struct hmm_trace_op *op);
bool hmm_trace_write_comment(struct hmm_trace_writer *writer, const char *text);

/* How many operations the file surely holds now. */
uint64_t hmm_trace_writer_held(const struct hmm_trace_writer *writer);

/* Whether time matters more than the size of the file. */
void hmm_trace_writer_hurry(struct hmm_trace_writer *writer, bool hurry);

/* Ends the file and frees the writer. False and a reason, which says how many operations the file
 * holds, iff not all could be written; it is a whole trace even then. */
bool hmm_trace_writer_close(struct hmm_trace_writer *writer, struct hmm_trace_error *error);

#endif
