/* SPDX-License-Identifier: MIT */
/*
 * Format 2: operations in blocks, each with a checksum, and an index. hmm-trace(5) describes it.
 */
#ifndef HMM_TRACE_PACKED_H
#define HMM_TRACE_PACKED_H

#include "internal.h"
#include "live.h"

/* ---- The file ---- */

#define HMM_PACKED_FILE_HEADER 16u
#define HMM_PACKED_BLOCK_HEADER 32u
#define HMM_PACKED_TRAILER 16u

/* The operations that a writer puts into a block; and the limits that a reader accepts. */
#define HMM_PACKED_OPS 65536u
#define HMM_PACKED_MOST_OPS 1048576u
#define HMM_PACKED_MOST_BYTES (16u << 20)

extern const unsigned char hmm_packed_magic[8], hmm_packed_end[8];

enum { HMM_PACKED_PLAIN, HMM_PACKED_ZSTD };

/* A block's header but for its checksum. */
struct hmm_packed_header {
    char tag[4]; /* "OPS ", "LIVE", "INDX" */
    uint32_t stored, plain;
    uint32_t count; /* operations, live blocks or entries */
    uint64_t first; /* operations before it */
    uint8_t codec;
};

static inline bool hmm_packed_is(const struct hmm_packed_header *h, const char *tag)
{
    return h->tag[0] == tag[0] && h->tag[1] == tag[1] && h->tag[2] == tag[2] && h->tag[3] == tag[3];
}

void hmm_packed_put32(unsigned char *to, uint32_t value);
void hmm_packed_put64(unsigned char *to, uint64_t value);
uint32_t hmm_packed_get32(const unsigned char *from);
uint64_t hmm_packed_get64(const unsigned char *from);

/* CRC-32 as in zip and gzip; `crc` is of what comes before, 0 at first. */
uint32_t hmm_packed_crc(uint32_t crc, const void *bytes, size_t size);

void hmm_packed_put_file_header(unsigned char *to);
bool hmm_packed_check_file_header(const unsigned char *from, struct hmm_trace_error *error);

/* Writes the header, with the checksum of it and the payload behind it. */
void hmm_packed_put_header(unsigned char *to, const struct hmm_packed_header *h);

/* Whether the header can be one; its checksum is that of header and payload. */
bool hmm_packed_get_header(const unsigned char *from, struct hmm_packed_header *h);
bool hmm_packed_check_block(const unsigned char *from, const struct hmm_packed_header *h);

/* ---- Columns ---- */

struct hmm_packed_column {
    unsigned char *bytes;
    size_t used, room;
    bool failed; /* for memory */
};

/* At `used` so many bytes, to be written; NULL, and failed set, iff there is no memory. */
unsigned char *hmm_packed_extend(struct hmm_packed_column *column, size_t bytes);
void hmm_packed_put_varint(struct hmm_packed_column *column, uint64_t value);

/* Reads on at *at; false iff it does not end before `end`, or is above 64 bits. */
bool hmm_packed_get_varint(const unsigned char **at, const unsigned char *end, uint64_t *value);

static inline uint64_t hmm_packed_zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
}

static inline int64_t hmm_packed_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ ((value & 1) != 0 ? UINT64_MAX : 0));
}

/* ---- Operations (operations.c) ---- */

enum {
    HMM_COLUMN_KINDS,
    HMM_COLUMN_IDS,
    HMM_COLUMN_SIZES,
    HMM_COLUMN_ALIGNS,
    HMM_COLUMN_COMMENTS,
    HMM_COLUMNS
};

/* How the ID of an allocation is encoded. The kinds in the column of kinds are those of operations
 * and, above them, one for each way. */
enum { HMM_PACKED_ID_GIVEN, HMM_PACKED_ID_NEXT, HMM_PACKED_ID_FREED };

/* The state from which IDs are predicted: writer and reader keep the same, empty at the beginning
 * of a block. */
struct hmm_packed_ids {
    uint32_t previous;  /* of the operation before */
    uint32_t allocated; /* the last that was */
    uint32_t freed_count;
    uint32_t *freed; /* a stack: freed in this block, and not used again by HMM_PACKED_ID_FREED */
    uint32_t room;   /* of freed: operations in a block */
};

struct hmm_packed_encoder {
    struct hmm_packed_column columns[HMM_COLUMNS];
    struct hmm_packed_ids ids;
    uint32_t ops, comment_at;
};

bool hmm_packed_encoder_open(struct hmm_packed_encoder *e);
void hmm_packed_encoder_close(struct hmm_packed_encoder *e);
void hmm_packed_encode(struct hmm_packed_encoder *e, const struct hmm_trace_op *op);
void hmm_packed_encode_comment(struct hmm_packed_encoder *e, const char *line, size_t length);
size_t hmm_packed_encoder_size(const struct hmm_packed_encoder *e);

/* Adds the payload to `to` and begins a new block. False iff there was no memory for all of it. */
bool hmm_packed_encoder_take(struct hmm_packed_encoder *e, struct hmm_packed_column *to);

struct hmm_packed_decoder {
    const unsigned char *at[HMM_COLUMNS], *end[HMM_COLUMNS];
    struct hmm_packed_ids ids;
    uint32_t ops, done;    /* of the block */
    uint32_t comment_gap;  /* operations until the next comment */
    bool comments_to_come; /* the gap has been read */
};

/* The payload must stay. False iff it is malformed. */
bool hmm_packed_decoder_start(struct hmm_packed_decoder *d, const unsigned char *payload,
                              size_t size, uint32_t ops);

/* The next operation; false iff it is malformed. done < ops. */
bool hmm_packed_decode(struct hmm_packed_decoder *d, struct hmm_trace_op *op);

/* The comment that comes before the next operation: 1; there is none: 0; malformed: -1. */
int hmm_packed_decode_comment(struct hmm_packed_decoder *d, const char **line, size_t *length);

/* After the last operation and comment: whether nothing is left over. */
bool hmm_packed_decoder_finished(const struct hmm_packed_decoder *d);

/* ---- Checkpoints (checkpoint.c) ---- */

/* Adds the payload of a block of `count` live blocks, of which the first is list[first]. */
bool hmm_packed_put_live(struct hmm_packed_column *to, const struct hmm_trace_summary *sum,
                         const struct hmm_trace_block *list, uint32_t first, uint32_t count);

/* Adds the block's live blocks to live, which has all up to there. False and a reason iff it is
 * malformed. *complete: it was the last. */
bool hmm_packed_get_live(struct hmm_trace_live *live, const struct hmm_packed_header *h,
                         const unsigned char *payload, bool *complete,
                         struct hmm_trace_error *error);

/* Whether the summary that the payload begins with is sum. */
bool hmm_packed_live_agrees(const struct hmm_trace_summary *sum, const unsigned char *payload,
                            size_t size);

#define HMM_PACKED_SUMMARY 80u
void hmm_packed_put_summary(unsigned char *to, const struct hmm_trace_summary *sum);
bool hmm_packed_get_summary(const unsigned char *from, struct hmm_trace_summary *sum);

/* ---- Reading (unpack.c) and writing (pack.c) ---- */

struct hmm_unpacker;

struct hmm_unpacker *hmm_unpacker_open(struct hmm_trace_input *input,
                                       struct hmm_trace_error *error);
void hmm_unpacker_close(struct hmm_unpacker *u);

/* As hmm_trace_text_next. live is what the operations before have left. */
int hmm_unpacker_next(struct hmm_unpacker *u, const struct hmm_trace_live *live,
                      struct hmm_trace_comments *comments, struct hmm_trace_op *op,
                      struct hmm_trace_error *error);

/* Goes to the last checkpoint before the operation, if that is of use, and makes live what it was
 * there; or to the beginning, if the operation lies behind. */
bool hmm_unpacker_seek(struct hmm_unpacker *u, struct hmm_trace_live *live, uint64_t op,
                       struct hmm_trace_error *error);
bool hmm_unpacker_unended(const struct hmm_unpacker *u);

struct hmm_packer;

/* put is given whole blocks, and how many operations are in all up to their end. */
struct hmm_packer *
hmm_packer_open(void (*put)(void *arg, const void *bytes, size_t size, uint64_t ops), void *arg);

/* False iff there is no memory, or the operation is none that may come here. */
bool hmm_packer_add(struct hmm_packer *p, const struct hmm_trace_op *op);
bool hmm_packer_comment(struct hmm_packer *p, const char *line, size_t length);
void hmm_packer_hurry(struct hmm_packer *p, bool hurry);
void hmm_packer_plain(struct hmm_packer *p); /* no zstd */
bool hmm_packer_end(struct hmm_packer *p);
void hmm_packer_close(struct hmm_packer *p);

#endif
