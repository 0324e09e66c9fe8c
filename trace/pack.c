/* SPDX-License-Identifier: MIT */
/*
 * Writes format 2: blocks of operations, now and then a checkpoint, and at the end the index.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "packed.h"

#include <stdlib.h>
#include <string.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

/* Bytes: a block that has more, by its comments, is closed early. */
#define LARGE_BLOCK (2u << 20)

/* A checkpoint comes after at least so many operations, and so many for each live block. So
 * checkpoints take little of the file, and few operations lie between one and the window that is
 * looked for. */
#define CHECKPOINT_OPS 4000000u
#define CHECKPOINT_OPS_A_BLOCK 16u
#define LIVE_A_BLOCK 65536u

#define LEVEL 3
#define HURRIED_LEVEL 1

struct hmm_packer {
    void (*put)(void *arg, const void *bytes, size_t size, uint64_t ops);
    void *arg;
    struct hmm_packed_encoder encoder;
    struct hmm_trace_live live;
    uint64_t offset, checkpoint; /* checkpoint: operations before the last one */
    struct hmm_packed_column block, plain, index;
    uint32_t entries;
    bool compress, hurry, good;
#ifdef HAVE_ZSTD
    ZSTD_CCtx *zstd;
#endif
};

static void put(struct hmm_packer *p, const void *bytes, size_t size)
{
    p->put(p->arg, bytes, size, p->live.sum.op_count);
    p->offset += size;
}

/* ---- Blocks ---- */

#ifdef HAVE_ZSTD
/* The payload behind the header, compressed if that makes it smaller; its size, 0 iff it does not.
 */
static size_t compress(struct hmm_packer *p)
{
    if (!p->compress)
        return 0;
    const size_t room = ZSTD_compressBound(p->plain.used);
    unsigned char *to = hmm_packed_extend(&p->block, room);
    if (to == NULL)
        return 0;
    size_t size = ZSTD_compressCCtx(p->zstd, to, room, p->plain.bytes, p->plain.used,
                                    p->hurry ? HURRIED_LEVEL : LEVEL);
    const bool smaller = !ZSTD_isError(size) && size < p->plain.used;
    p->block.used -= room - (smaller ? size : 0);
    return smaller ? size : 0;
}
#else
static size_t compress(struct hmm_packer *p)
{
    (void)p;
    return 0;
}
#endif

static void note_entry(struct hmm_packer *p, const struct hmm_packed_header *h)
{
    unsigned char *entry = hmm_packed_extend(&p->index, 24);
    if (entry == NULL)
        return;
    hmm_packed_put64(entry, p->offset);
    hmm_packed_put64(entry + 8, h->first);
    memcpy(entry + 16, h->tag, 4);
    hmm_packed_put32(entry + 20, h->count);
    p->entries++;
}

/* A block with the payload that plain has. */
static void put_block(struct hmm_packer *p, const char *tag, uint32_t count, uint64_t first)
{
    struct hmm_packed_header h = {.plain = (uint32_t)p->plain.used, .count = count, .first = first};
    memcpy(h.tag, tag, 4);
    p->block.used = 0;
    p->good = p->good && hmm_packed_extend(&p->block, HMM_PACKED_BLOCK_HEADER) != NULL;
    if (!p->good)
        return;
    h.stored = (uint32_t)compress(p);
    h.codec = h.stored != 0 ? HMM_PACKED_ZSTD : HMM_PACKED_PLAIN;
    if (h.codec == HMM_PACKED_PLAIN) {
        unsigned char *to = hmm_packed_extend(&p->block, p->plain.used);
        if (to != NULL)
            memcpy(to, p->plain.bytes, p->plain.used);
        h.stored = h.plain;
    }
    p->good = !p->block.failed;
    if (!p->good)
        return;
    hmm_packed_put_header(p->block.bytes, &h);
    note_entry(p, &h);
    put(p, p->block.bytes, p->block.used);
}

static void put_operations(struct hmm_packer *p)
{
    const uint32_t ops = p->encoder.ops;
    if (ops == 0 && p->encoder.columns[HMM_COLUMN_COMMENTS].used == 0)
        return;
    p->plain.used = 0;
    p->good = hmm_packed_encoder_take(&p->encoder, &p->plain) && p->good;
    if (p->good)
        put_block(p, "OPS ", ops, p->live.sum.op_count - ops);
}

static void put_checkpoint(struct hmm_packer *p)
{
    const struct hmm_trace_summary *sum = &p->live.sum;
    struct hmm_trace_block *list = hmm_trace_live_list(&p->live, false);
    uint32_t first = 0;
    p->good = p->good && list != NULL;
    do {
        const uint32_t left = sum->live_blocks - first,
                       count = left < LIVE_A_BLOCK ? left : LIVE_A_BLOCK;
        p->plain.used = 0;
        p->good = p->good && hmm_packed_put_live(&p->plain, sum, list, first, count);
        put_block(p, "LIVE", count, sum->op_count);
        first += count;
    } while (p->good && first < sum->live_blocks);
    free(list);
    p->checkpoint = sum->op_count;
}

static void flush(struct hmm_packer *p)
{
    put_operations(p);
    const uint64_t since = p->live.sum.op_count - p->checkpoint;
    if (since >= CHECKPOINT_OPS &&
        since >= (uint64_t)p->live.sum.live_blocks * CHECKPOINT_OPS_A_BLOCK)
        put_checkpoint(p);
}

/* ---- The file ---- */

struct hmm_packer *hmm_packer_open(void (*put_bytes)(void *arg, const void *bytes, size_t size,
                                                     uint64_t ops),
                                   void *arg)
{
    unsigned char header[HMM_PACKED_FILE_HEADER];
    struct hmm_packer *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    *p = (struct hmm_packer){.put = put_bytes, .arg = arg, .compress = true};
    p->good = hmm_packed_encoder_open(&p->encoder);
#ifdef HAVE_ZSTD
    p->zstd = ZSTD_createCCtx();
    p->good = p->good && p->zstd != NULL;
#endif
    if (!p->good) {
        hmm_packer_close(p);
        return NULL;
    }
    hmm_packed_put_file_header(header);
    put(p, header, sizeof header);
    return p;
}

void hmm_packer_hurry(struct hmm_packer *p, bool hurry)
{
    p->hurry = hurry;
}

void hmm_packer_plain(struct hmm_packer *p)
{
    p->compress = false;
}

bool hmm_packer_add(struct hmm_packer *p, const struct hmm_trace_op *op)
{
    struct hmm_trace_error error;
    uint32_t number;
    if (!p->good || !hmm_trace_live_apply(&p->live, op, &number, &error))
        return p->good = false;
    hmm_packed_encode(&p->encoder, op);
    if (p->encoder.ops == HMM_PACKED_OPS)
        flush(p);
    return p->good;
}

bool hmm_packer_comment(struct hmm_packer *p, const char *line, size_t length)
{
    hmm_packed_encode_comment(&p->encoder, line, length);
    if (hmm_packed_encoder_size(&p->encoder) > LARGE_BLOCK)
        flush(p);
    return p->good;
}

/* The index is a summary and an entry for each block; then come its offset and the end mark. */
bool hmm_packer_end(struct hmm_packer *p)
{
    unsigned char trailer[HMM_PACKED_TRAILER];
    put_operations(p);
    const uint32_t entries = p->entries;
    p->plain.used = 0;
    unsigned char *at = hmm_packed_extend(&p->plain, HMM_PACKED_SUMMARY + p->index.used);
    p->good = p->good && at != NULL && !p->index.failed;
    if (!p->good)
        return false;
    hmm_packed_put_summary(at, &p->live.sum);
    if (p->index.used != 0)
        memcpy(at + HMM_PACKED_SUMMARY, p->index.bytes, p->index.used);
    hmm_packed_put64(trailer, p->offset);
    memcpy(trailer + 8, hmm_packed_end, 8);
    put_block(p, "INDX", entries, p->live.sum.op_count);
    if (p->good)
        put(p, trailer, sizeof trailer);
    return p->good;
}

void hmm_packer_close(struct hmm_packer *p)
{
    hmm_packed_encoder_close(&p->encoder);
    hmm_trace_live_clear(&p->live);
    free(p->block.bytes);
    free(p->plain.bytes);
    free(p->index.bytes);
#ifdef HAVE_ZSTD
    ZSTD_freeCCtx(p->zstd);
#endif
    free(p);
}
