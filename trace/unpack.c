/* SPDX-License-Identifier: MIT */
/*
 * Reads format 2: block after block, each only once its checksum has been found right, or from a
 * checkpoint on.
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

struct checkpoint {
    uint64_t offset, op;
};

struct hmm_unpacker {
    struct hmm_trace_input *input;
    struct hmm_packed_header header;   /* of the block in payload */
    struct hmm_packed_column payload;  /* decompressed */
    struct hmm_packed_decoder decoder; /* of the payload */
    uint64_t offset;                   /* of that block in the file */
    bool in_block, ended, unended;
    bool searched; /* for checkpoints */
    struct checkpoint *checkpoints;
    size_t checkpoint_count;
#ifdef HAVE_ZSTD
    ZSTD_DCtx *zstd;
#endif
};

/* ---- Blocks ---- */

static bool damaged(const struct hmm_unpacker *u, uint64_t whole, const char *what,
                    struct hmm_trace_error *error)
{
    return hmm_trace_fail(error, "damaged at byte %llu: %s; the first %llu operations are whole",
                          (unsigned long long)u->offset, what, (unsigned long long)whole);
}

static bool truncated(const struct hmm_unpacker *u, uint64_t whole, struct hmm_trace_error *error)
{
    error->is_cut = true;
    return hmm_trace_fail(
        error, "truncated in the block at byte %llu; the first %llu operations are whole",
        (unsigned long long)u->offset, (unsigned long long)whole);
}

#ifdef HAVE_ZSTD
static bool decompress(struct hmm_unpacker *u, const void *stored, unsigned char *to,
                       uint64_t whole, struct hmm_trace_error *error)
{
    const struct hmm_packed_header *h = &u->header;
    const size_t size = ZSTD_decompressDCtx(u->zstd, to, h->plain, stored, h->stored);
    return (!ZSTD_isError(size) && size == h->plain) ||
           damaged(u, whole, "the block's zstd data is none", error);
}
#else
static bool decompress(struct hmm_unpacker *u, const void *stored, unsigned char *to,
                       uint64_t whole, struct hmm_trace_error *error)
{
    (void)u, (void)stored, (void)to, (void)whole;
    return hmm_trace_fail(error, "compressed with zstd, which this build of hmm cannot read: "
                                 "rebuild it with libzstd (Debian package libzstd-dev)");
}
#endif

static bool take_payload(struct hmm_unpacker *u, const unsigned char *stored, uint64_t whole,
                         struct hmm_trace_error *error)
{
    u->payload.used = 0;
    unsigned char *to = hmm_packed_extend(&u->payload, (size_t)u->header.plain + 1);
    if (to == NULL)
        return hmm_trace_fail(error, "out of memory");
    if (u->header.codec == HMM_PACKED_ZSTD)
        return decompress(u, stored, to, whole, error);
    memcpy(to, stored, u->header.stored);
    return true;
}

/* Takes the block that begins here into header and payload. `whole`: operations before it, for
 * complaints. */
static bool take_block(struct hmm_unpacker *u, uint64_t whole, struct hmm_trace_error *error)
{
    struct hmm_trace_input *in = u->input;
    struct hmm_packed_header *h = &u->header;
    u->offset = hmm_trace_input_offset(in);
    if (!hmm_trace_input_need(in, HMM_PACKED_BLOCK_HEADER, error))
        return false;
    if (hmm_trace_input_has(in) < HMM_PACKED_BLOCK_HEADER)
        return truncated(u, whole, error);
    if (!hmm_packed_get_header((const unsigned char *)in->buffer + in->at, h))
        return damaged(u, whole, "no block begins here", error);
    const size_t size = (size_t)HMM_PACKED_BLOCK_HEADER + h->stored;
    if (!hmm_trace_input_need(in, size, error))
        return false;
    if (hmm_trace_input_has(in) < size)
        return truncated(u, whole, error);
    const unsigned char *block = (const unsigned char *)in->buffer + in->at;
    if (!hmm_packed_check_block(block, h))
        return damaged(u, whole, "the checksum of the block is not right", error);
    in->at += size;
    return take_payload(u, block + HMM_PACKED_BLOCK_HEADER, whole, error);
}

/* ---- Reading on ---- */

/* The index is the last block, and behind it are where it begins and the end mark. */
static bool take_end(struct hmm_unpacker *u, const struct hmm_trace_live *live,
                     struct hmm_trace_error *error)
{
    struct hmm_trace_input *in = u->input;
    const uint64_t whole = live->sum.op_count, index = u->offset;
    if (!hmm_packed_live_agrees(&live->sum, u->payload.bytes, u->header.plain))
        return damaged(u, whole, "the index does not agree with the operations", error);
    u->offset = hmm_trace_input_offset(in);
    if (!hmm_trace_input_need(in, HMM_PACKED_TRAILER + 1, error))
        return false;
    if (hmm_trace_input_has(in) < HMM_PACKED_TRAILER)
        return truncated(u, whole, error);
    const unsigned char *trailer = (const unsigned char *)in->buffer + in->at;
    if (hmm_packed_get64(trailer) != index || memcmp(trailer + 8, hmm_packed_end, 8) != 0)
        return damaged(u, whole, "the end mark is not right", error);
    if (hmm_trace_input_has(in) > HMM_PACKED_TRAILER)
        return damaged(u, whole, "the file goes on after its end mark", error);
    in->at += HMM_PACKED_TRAILER;
    return u->ended = true;
}

/* Whether the block that was taken belongs here; of operations, the first can then be decoded. */
static bool open_block(struct hmm_unpacker *u, const struct hmm_trace_live *live,
                       struct hmm_trace_error *error)
{
    const struct hmm_packed_header *h = &u->header;
    const uint64_t whole = live->sum.op_count;
    if (h->first != whole)
        return damaged(u, whole, "operations are missing before this block", error);
    if (hmm_packed_is(h, "INDX"))
        return take_end(u, live, error);
    if (hmm_packed_is(h, "LIVE"))
        return hmm_packed_live_agrees(&live->sum, u->payload.bytes, h->plain) ||
               damaged(u, whole, "the checkpoint does not agree with the operations", error);
    if (!hmm_packed_is(h, "OPS "))
        return true;
    u->in_block = hmm_packed_decoder_start(&u->decoder, u->payload.bytes, h->plain, h->count);
    return u->in_block || damaged(u, whole, "the block's columns are malformed", error);
}

/* 1; 0 at the end of the file; -1. */
static int next_block(struct hmm_unpacker *u, const struct hmm_trace_live *live,
                      struct hmm_trace_error *error)
{
    if (u->ended)
        return 0;
    if (!hmm_trace_input_need(u->input, 1, error))
        return -1;
    u->unended = hmm_trace_input_has(u->input) == 0;
    if (u->unended)
        return 0;
    return take_block(u, live->sum.op_count, error) && open_block(u, live, error) ? 1 : -1;
}

static int malformed(const struct hmm_unpacker *u, const struct hmm_trace_live *live,
                     struct hmm_trace_error *error)
{
    damaged(u, live->sum.op_count, "an operation in the block is malformed", error);
    return -1;
}

int hmm_unpacker_next(struct hmm_unpacker *u, const struct hmm_trace_live *live,
                      struct hmm_trace_comments *comments, struct hmm_trace_op *op,
                      struct hmm_trace_error *error)
{
    struct hmm_packed_decoder *d = &u->decoder;
    for (;;) {
        int code;
        const char *line;
        size_t length;
        while (u->in_block && (code = hmm_packed_decode_comment(d, &line, &length)) != 0) {
            if (code < 0)
                return malformed(u, live, error);
            hmm_trace_comment(comments, line, length);
        }
        if (u->in_block && d->done < d->ops)
            return hmm_packed_decode(d, op) ? 1 : malformed(u, live, error);
        if (u->in_block && !hmm_packed_decoder_finished(d))
            return malformed(u, live, error);
        u->in_block = false;
        code = next_block(u, live, error);
        if (code <= 0)
            return code;
    }
}

/* ---- Checkpoints ---- */

static bool go_to(struct hmm_unpacker *u, uint64_t offset, struct hmm_trace_error *error)
{
    u->in_block = u->ended = u->unended = false;
    return hmm_trace_input_seek(u->input, offset, error);
}

static void note_checkpoint(struct hmm_unpacker *u, uint64_t offset, uint64_t op)
{
    const size_t n = u->checkpoint_count;
    if (n != 0 && u->checkpoints[n - 1].op >= op)
        return;
    struct checkpoint *grown = realloc(u->checkpoints, (n + 1) * sizeof *grown);
    if (grown == NULL)
        return;
    grown[n] = (struct checkpoint){offset, op};
    u->checkpoints = grown;
    u->checkpoint_count = n + 1;
}

/* False iff there is no index that can be used. */
static bool read_index(struct hmm_unpacker *u)
{
    struct hmm_trace_error error;
    struct hmm_trace_input *in = u->input;
    const uint64_t length = hmm_trace_source_length(in->source);
    if (length < HMM_PACKED_TRAILER || !go_to(u, length - HMM_PACKED_TRAILER, &error) ||
        !hmm_trace_input_need(in, HMM_PACKED_TRAILER, &error) ||
        hmm_trace_input_has(in) != HMM_PACKED_TRAILER)
        return false;
    const unsigned char *trailer = (const unsigned char *)in->buffer + in->at;
    const uint64_t offset = hmm_packed_get64(trailer);
    if (memcmp(trailer + 8, hmm_packed_end, 8) != 0 || offset > length || !go_to(u, offset, &error))
        return false;
    if (!take_block(u, 0, &error) || !hmm_packed_is(&u->header, "INDX") ||
        u->header.plain != HMM_PACKED_SUMMARY + 24 * (size_t)u->header.count)
        return false;
    const unsigned char *entry = u->payload.bytes + HMM_PACKED_SUMMARY;
    for (uint32_t i = 0; i < u->header.count; i++, entry += 24)
        if (memcmp(entry + 16, "LIVE", 4) == 0)
            note_checkpoint(u, hmm_packed_get64(entry), hmm_packed_get64(entry + 8));
    return true;
}

/* Finds the checkpoints without an index: reads from header to header, as far as the file goes. */
static void scan_headers(struct hmm_unpacker *u)
{
    struct hmm_trace_error error;
    struct hmm_packed_header h;
    struct hmm_trace_input *in = u->input;
    const uint64_t length = hmm_trace_source_length(in->source);
    uint64_t offset = HMM_PACKED_FILE_HEADER;
    while (offset < length && go_to(u, offset, &error) &&
           hmm_trace_input_need(in, HMM_PACKED_BLOCK_HEADER, &error) &&
           hmm_trace_input_has(in) >= HMM_PACKED_BLOCK_HEADER &&
           hmm_packed_get_header((const unsigned char *)in->buffer + in->at, &h)) {
        if (hmm_packed_is(&h, "LIVE"))
            note_checkpoint(u, offset, h.first);
        offset += HMM_PACKED_BLOCK_HEADER + (uint64_t)h.stored;
    }
}

static const struct checkpoint *nearest(const struct hmm_unpacker *u, uint64_t op)
{
    const struct checkpoint *best = NULL;
    for (size_t i = 0; i < u->checkpoint_count; i++)
        if (u->checkpoints[i].op <= op)
            best = &u->checkpoints[i];
    return best;
}

static bool begin_at(struct hmm_unpacker *u, struct hmm_trace_live *live,
                     const struct checkpoint *c, struct hmm_trace_error *error)
{
    bool complete = false;
    hmm_trace_live_clear(live);
    if (!go_to(u, c->offset, error))
        return false;
    while (!complete) {
        if (!take_block(u, 0, error))
            return false;
        if (!hmm_packed_is(&u->header, "LIVE") || u->header.first != c->op)
            return hmm_trace_fail(error, "damaged at byte %llu: no checkpoint is here",
                                  (unsigned long long)u->offset);
        if (!hmm_packed_get_live(live, &u->header, u->payload.bytes, &complete, error))
            return false;
    }
    return true;
}

/* Goes to the beginning, also in a file that cannot seek to other places. */
static bool begin_anew(struct hmm_unpacker *u, struct hmm_trace_live *live,
                       struct hmm_trace_error *error)
{
    hmm_trace_live_clear(live);
    if (!go_to(u, 0, error) || !hmm_trace_input_need(u->input, HMM_PACKED_FILE_HEADER, error))
        return false;
    u->input->at += HMM_PACKED_FILE_HEADER;
    return true;
}

bool hmm_unpacker_seek(struct hmm_unpacker *u, struct hmm_trace_live *live, uint64_t op,
                       struct hmm_trace_error *error)
{
    const uint64_t now = live->sum.op_count;
    const bool can_jump = hmm_trace_source_length(u->input->source) != 0;
    bool moved = false;
    if (can_jump && !u->searched) {
        u->searched = moved = true;
        if (!read_index(u))
            scan_headers(u);
    }
    const struct checkpoint *c = nearest(u, op);
    if (c != NULL && (moved || op < now || c->op > now))
        return begin_at(u, live, c, error);
    return (op >= now && !moved) || begin_anew(u, live, error);
}

/* ---- Opening and closing ---- */

bool hmm_unpacker_unended(const struct hmm_unpacker *u)
{
    return u->unended;
}

static bool start(struct hmm_unpacker *u, struct hmm_trace_error *error)
{
    struct hmm_trace_input *in = u->input;
    if (!hmm_trace_input_need(in, HMM_PACKED_FILE_HEADER, error))
        return false;
    if (hmm_trace_input_has(in) < HMM_PACKED_FILE_HEADER)
        return truncated(u, 0, error);
    if (!hmm_packed_check_file_header((const unsigned char *)in->buffer + in->at, error))
        return false;
    in->at += HMM_PACKED_FILE_HEADER;
#ifdef HAVE_ZSTD
    u->zstd = ZSTD_createDCtx();
    if (u->zstd == NULL)
        return hmm_trace_fail(error, "out of memory");
#endif
    return true;
}

struct hmm_unpacker *hmm_unpacker_open(struct hmm_trace_input *input, struct hmm_trace_error *error)
{
    struct hmm_unpacker *u = calloc(1, sizeof *u);
    if (u == NULL) {
        hmm_trace_fail(error, "out of memory");
        return NULL;
    }
    u->input = input;
    if (start(u, error))
        return u;
    hmm_unpacker_close(u);
    return NULL;
}

void hmm_unpacker_close(struct hmm_unpacker *u)
{
    free(u->payload.bytes);
    free(u->checkpoints);
    free(u->decoder.ids.freed);
#ifdef HAVE_ZSTD
    ZSTD_freeDCtx(u->zstd);
#endif
    free(u);
}
