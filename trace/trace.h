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
 * or a comment, which begins with `#`. Comments that begin with `#@` say where operations are asked
 * for (see "Call stacks" below). Fields are decimal numbers, one space before each. A line
 * ends with a newline, the last one too: without it the file counts as cut short. A carriage return
 * before the newline is let pass. The whole may be compressed with zstd.
 *
 * Format 2 is binary and holds the same: operations and comments, in blocks with checksums and an
 * index. hmm-trace(5) has it byte for byte. Which form a file has is seen from its first bytes and
 * not from its name.
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
#define HMM_TRACE_PACKED_VERSION 2
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
    uint8_t kind;            /* enum hmm_trace_kind */
    uint32_t align_log2 : 6; /* of HMM_TRACE_ALIGNED, else 0 */
    uint32_t stack : 18;     /* the call stack that asks for it; 0: not known */
};
_Static_assert(sizeof(struct hmm_trace_op) == 16, "a long trace is read in stretches of these");

/* What a number of operations, counted from the first of the trace, come to. */
struct hmm_trace_summary {
    uint64_t op_count;
    uint64_t counts[HMM_TRACE_KINDS];
    uint64_t live_bytes, peak_bytes; /* requested and not freed: after them; at most */
    uint32_t live_blocks, peak_blocks;
    uint32_t id_limit; /* one past the largest ID of the file; 0 iff there is no operation */
};

/* A block that is live. */
struct hmm_trace_block {
    uint64_t size;
    uint64_t born; /* the index of the operation that allocated it */
    uint32_t id;
    uint8_t align_log2;  /* of HMM_TRACE_ALIGNED; 0 once it was resized */
    uint32_t stack : 18; /* of the operation that gave it its size; 0: not known */
};

/* A trace in memory, whole. */
struct hmm_trace {
    struct hmm_trace_op *ops;
    size_t op_count;
    size_t counts[HMM_TRACE_KINDS];
    uint32_t id_limit;    /* one past the largest ID; 0 iff there is no operation */
    uint64_t peak_bytes;  /* the most bytes requested and not freed, at most PTRDIFF_MAX */
    uint32_t peak_blocks; /* the most blocks live; not necessarily at the same time */
    bool is_cut;          /* the file ends too early, and this is what it holds */
};

/* Why a trace cannot be loaded. */
struct hmm_trace_error {
    uint64_t line; /* 0: not about a line */
    char reason[200];
    bool is_cut;   /* the file ends in the middle of a zstd frame, or of a block of format 2 */
    uint64_t held; /* of a writer that was closed: operations that the file has */
};

/* "PATH:LINE: reason" and a newline; "PATH: reason" where it is not about a line. */
void hmm_trace_print_error(FILE *to, const char *path, const struct hmm_trace_error *error);

/* Told now and then how much of the file has been read; of 0 where that is not known. */
struct hmm_trace_progress {
    void (*tell)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

/* ---- Reading as a stream ----
 *
 * In memory that the live blocks bound, however long the trace is. Every operation is validated
 * before it is handed out: it is refused iff the ones before it forbid it (allocating an ID that is
 * live, resizing or freeing one that is not).
 */

struct hmm_trace_reader;

/*
 * IDs are renumbered so that the least possible number of them, peak_blocks, is used, the most
 * recently freed first. A table by ID is then small and warm. Without it they are the file's.
 */
#define HMM_TRACE_DENSE 1u

/* path "-" is standard input. flags: 0 or HMM_TRACE_DENSE. NULL and *error iff the file cannot be
 * read. That it is no trace may come out at the first hmm_trace_read. */
struct hmm_trace_reader *hmm_trace_reader_open(const char *path, unsigned flags,
                                               struct hmm_trace_error *error);
void hmm_trace_reader_close(struct hmm_trace_reader *reader);

/*
 * The next operations: how many have been put at ops, at most room; 0 at the end of the trace; -1
 * and *error iff the trace goes on but is cut short, damaged, or no trace from here on. What comes
 * before the fault is handed out first; after it every call answers the same.
 */
ptrdiff_t hmm_trace_read(struct hmm_trace_reader *reader, struct hmm_trace_op *ops, size_t room,
                         struct hmm_trace_error *error);

/*
 * Goes to an operation, so that hmm_trace_read begins with it; to the end iff there are fewer.
 * Format 2 is opened at its nearest checkpoint, text is read through. With HMM_TRACE_DENSE the
 * numbers begin anew. False and *error iff what lies before cannot be read, or a pipe would have to
 * be read again.
 */
bool hmm_trace_seek(struct hmm_trace_reader *reader, uint64_t op, struct hmm_trace_error *error);

/* Of the operations handed out and all before them. Valid until the reader is closed. */
const struct hmm_trace_summary *hmm_trace_reader_summary(const struct hmm_trace_reader *reader);

/* The blocks that live now, in the order in which they were allocated, to be given to free(); NULL
 * iff there is no memory. Their IDs are what hmm_trace_read hands out. */
struct hmm_trace_block *hmm_trace_reader_live(const struct hmm_trace_reader *reader, size_t *count);

/* The line that the operation handed out last stood on; 0: the file has no lines. */
uint64_t hmm_trace_reader_line(const struct hmm_trace_reader *reader);

/* Whether the file ended, at the end of a block, without what ends a file of format 2: its writer
 * was interrupted, or it was cut. Known once hmm_trace_read has answered 0. */
bool hmm_trace_reader_unended(const struct hmm_trace_reader *reader);

/* How much of the file has been read; of 0 where that is not known. */
void hmm_trace_reader_progress(const struct hmm_trace_reader *reader, uint64_t *done,
                               uint64_t *total);

/* Told now and then while hmm_trace_seek reads through. */
void hmm_trace_reader_watch(struct hmm_trace_reader *reader,
                            const struct hmm_trace_progress *progress);

/* Comments are given to take as they are passed: the whole line, and how many operations are above
 * it. */
void hmm_trace_reader_comments(struct hmm_trace_reader *reader,
                               void (*take)(void *arg, uint64_t op, const char *line,
                                            size_t length),
                               void *arg);

/* ---- Call stacks ----
 *
 * The comment `#@N` says that stack N asks for the operation below it. `#@ stack N F F ...` names
 * the stack's frames, the innermost first, and `#@ frame F` a frame: fields with a tab before each.
 * hmm-trace(5) has them. Definitions may stand anywhere; `hmm record` puts them at the end.
 */

#define HMM_TRACE_MOST_STACKS ((1u << 18) - 1)
#define HMM_TRACE_MOST_FRAMES (1u << 22)
#define HMM_TRACE_DEEPEST 64u

struct hmm_trace_frame {
    char *module;          /* the file's name; NULL: the frame is not defined */
    char *function, *file; /* "": not known */
    uint64_t offset;       /* in the module */
    uint32_t line;         /* 0: not known */
};

struct hmm_trace_stack {
    uint32_t *frames; /* numbers, the innermost first; NULL: the stack is not defined */
    uint32_t depth;
};

struct hmm_trace_stacks {
    struct hmm_trace_stack *stacks; /* by number, below stack_room; number 0 is none */
    struct hmm_trace_frame *frames; /* by number, below frame_room */
    uint32_t stack_room, frame_room;
    bool any; /* the trace has call stacks */
};

/* What has been read of them. Valid until the reader is closed; the reader adds to it. */
const struct hmm_trace_stacks *hmm_trace_reader_stacks(const struct hmm_trace_reader *reader);

/* For a stack that the trace names: its frames. False iff it is not defined. */
bool hmm_trace_stack_at(const struct hmm_trace_stacks *stacks, uint32_t number,
                        struct hmm_trace_stack *stack);

/* NULL iff it is not defined. */
const struct hmm_trace_frame *hmm_trace_frame_at(const struct hmm_trace_stacks *stacks,
                                                 uint32_t number);

/* Whether a comment is a mark, `#@N`, which belongs to the operation below it. */
bool hmm_trace_is_mark(const char *line, size_t length);

/* ---- Reading several times ----
 *
 * A trace that is carried out again and again, its IDs renumbered (HMM_TRACE_DENSE). A short one is
 * kept in memory; a longer one is read anew in each pass, a stretch at a time.
 *
 *     hmm_trace_tape_rewind(tape);
 *     while ((count = hmm_trace_tape_next(tape, &ops)) != 0)
 *         ... ops[0 .. count) ...
 *     if (hmm_trace_tape_error(tape) != NULL) ...
 *
 * A tape may be used on both sides of a fork at the same time.
 */

#define HMM_TRACE_STRETCH ((size_t)1 << 21) /* operations at a time, of one that is not kept */
#define HMM_TRACE_KEPT ((size_t)1 << 22)    /* the longest that is kept */

struct hmm_trace_tape;

/* Reads and validates the whole. progress may be NULL. NULL and *error as for hmm_trace_load; also
 * for a pipe with more than HMM_TRACE_KEPT operations. */
struct hmm_trace_tape *hmm_trace_tape_open(const char *path,
                                           const struct hmm_trace_progress *progress,
                                           struct hmm_trace_error *error);
void hmm_trace_tape_close(struct hmm_trace_tape *tape);

/* Of the whole trace. IDs are below peak_blocks. */
const struct hmm_trace_summary *hmm_trace_tape_summary(const struct hmm_trace_tape *tape);

bool hmm_trace_tape_rewind(struct hmm_trace_tape *tape);

/* The next operations, valid until the next call; 0 after the last, or iff the file cannot be read
 * any more or has changed. */
size_t hmm_trace_tape_next(struct hmm_trace_tape *tape, const struct hmm_trace_op **ops);

/* What has gone wrong since the tape was opened; NULL: nothing. */
const struct hmm_trace_error *hmm_trace_tape_error(const struct hmm_trace_tape *tape);

/* The operation with this index, its ID aside, and its line, 0 where there is none. The tape must
 * be rewound then. False iff there is no such operation, or it cannot be read. */
bool hmm_trace_tape_find(struct hmm_trace_tape *tape, uint64_t index, struct hmm_trace_op *op,
                         uint64_t *line);

bool hmm_trace_tape_unended(const struct hmm_trace_tape *tape);

/* All of the trace. Valid until the tape is closed. */
const struct hmm_trace_stacks *hmm_trace_tape_stacks(const struct hmm_trace_tape *tape);

/* Where the file ends too early (is_cut), if what it holds is the tape; else NULL. */
const struct hmm_trace_error *hmm_trace_tape_cut(const struct hmm_trace_tape *tape);

/* Frees what is kept of a file; the next pass reads it anew. */
void hmm_trace_tape_rest(struct hmm_trace_tape *tape);

/* ---- Reading into memory, whole ---- */

/*
 * Loads and validates the trace at path. progress may be NULL. Returns true and fills in *trace,
 * to be given to hmm_trace_free; or false, with *trace empty and *error filled in, iff the file
 * cannot be read, is not a trace, is cut short or damaged, has a line that is no
 * operation, or an operation that the ones before it forbid (allocating an ID that is live,
 * resizing or freeing one that is not).
 *
 * Of a file that ends in the middle of a zstd frame or of a block, as a kill or a lost disk leaves
 * it, all whole operations are the trace: true, with is_cut set, and *error says where it ends.
 * There must be one line.
 */
bool hmm_trace_load(struct hmm_trace *trace, const char *path,
                    const struct hmm_trace_progress *progress, struct hmm_trace_error *error);

void hmm_trace_free(struct hmm_trace *trace);

/* ---- Writing ---- */

struct hmm_trace_writer;

/*
 * Creates the file, or empties it. What is written follows from how the name ends: format 2 for
 * ".ht2", text in zstd for ".zst", else text; text to standard output for "-". NULL and a reason
 * iff it cannot be written, this build has no zstd for it, or there is no memory.
 */
struct hmm_trace_writer *hmm_trace_writer_open(const char *path, struct hmm_trace_error *error);

/* Whether there is nothing at path that would be a loss: no file, an empty one, or a trace; or what
 * is no regular file. False and a reason iff not. */
bool hmm_trace_may_replace(const char *path, struct hmm_trace_error *error);

/* Whether hmm_trace_writer_open would succeed. Leaves a file that is there as it is, and an empty
 * one where there was none. False and a reason iff not, or iff it is no regular file. */
bool hmm_trace_writer_check(const char *path, struct hmm_trace_error *error);

/* Add an operation, or a comment of one line. That the operation is one that the trace allows is
 * the caller's duty. False iff an error has come up, now or earlier: nothing is written any more.
 */
bool hmm_trace_write(struct hmm_trace_writer *writer, const struct hmm_trace_op *op);
bool hmm_trace_write_comment(struct hmm_trace_writer *writer, const char *text);

/* Add the definition of a stack, or of a frame; and all of them. False as above. */
bool hmm_trace_write_stack(struct hmm_trace_writer *writer, uint32_t number,
                           const struct hmm_trace_stack *stack);
bool hmm_trace_write_frame(struct hmm_trace_writer *writer, uint32_t number,
                           const struct hmm_trace_frame *frame);
bool hmm_trace_write_stacks(struct hmm_trace_writer *writer, const struct hmm_trace_stacks *stacks);

/* A comment as hmm_trace_reader_comments gives it: begins with "#" and holds no newline. */
bool hmm_trace_write_line(struct hmm_trace_writer *writer, const char *line, size_t length);

/* Format 2 without zstd from here on, for readers that have none. */
void hmm_trace_writer_plain(struct hmm_trace_writer *writer);

/* How many operations the file surely holds now. */
uint64_t hmm_trace_writer_held(const struct hmm_trace_writer *writer);

/* Whether time matters more than the size of the file. */
void hmm_trace_writer_hurry(struct hmm_trace_writer *writer, bool hurry);

/* Ends the file and frees the writer. False and a reason, which says how many operations the file
 * holds, iff not all could be written; it is a whole trace even then. */
bool hmm_trace_writer_close(struct hmm_trace_writer *writer, struct hmm_trace_error *error);

#endif
