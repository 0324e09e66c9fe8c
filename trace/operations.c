/* SPDX-License-Identifier: MIT */
/*
 * Format 2: a block's operations as columns. Each block can be read without the ones before it.
 *
 * Most programs allocate IDs in order, or the one freed last, and touch what they touched a moment
 * ago: the first two cost no byte in the column of IDs, and the rest is a small difference to the
 * ID of the operation before.
 */
#include "packed.h"

#include <stdlib.h>
#include <string.h>

#define LENGTHS (4u * HMM_COLUMNS)
#define NONE UINT32_MAX /* no ID; NONE + 1 is 0, the first ID */

/* ---- IDs ---- */

static void start_ids(struct hmm_packed_ids *ids)
{
    ids->previous = 0;
    ids->allocated = NONE;
    ids->freed_count = 0;
}

/* Makes room for the IDs of a block of so many operations. */
static bool make_room(struct hmm_packed_ids *ids, uint32_t ops)
{
    if (ops <= ids->room)
        return true;
    uint32_t *freed = realloc(ids->freed, ops * sizeof *freed);
    if (freed == NULL)
        return false;
    ids->freed = freed;
    ids->room = ops;
    return true;
}

static bool allocates(uint8_t kind)
{
    return kind == HMM_TRACE_ALLOC || kind == HMM_TRACE_ALIGNED;
}

static unsigned how_given(const struct hmm_packed_ids *ids, const struct hmm_trace_op *op)
{
    if (!allocates(op->kind))
        return HMM_PACKED_ID_GIVEN;
    if (ids->freed_count != 0 && ids->freed[ids->freed_count - 1] == op->id)
        return HMM_PACKED_ID_FREED;
    return op->id == ids->allocated + 1 ? HMM_PACKED_ID_NEXT : HMM_PACKED_ID_GIVEN;
}

static void follow_ids(struct hmm_packed_ids *ids, const struct hmm_trace_op *op, unsigned how)
{
    ids->previous = op->id;
    ids->freed_count -= how == HMM_PACKED_ID_FREED;
    if (allocates(op->kind))
        ids->allocated = op->id;
    else if (op->kind == HMM_TRACE_FREE)
        ids->freed[ids->freed_count++] = op->id;
}

/* ---- Encoding ---- */

bool hmm_packed_encoder_open(struct hmm_packed_encoder *e)
{
    *e = (struct hmm_packed_encoder){0};
    start_ids(&e->ids);
    return make_room(&e->ids, HMM_PACKED_OPS);
}

void hmm_packed_encoder_close(struct hmm_packed_encoder *e)
{
    for (int i = 0; i < HMM_COLUMNS; i++)
        free(e->columns[i].bytes);
    free(e->ids.freed);
}

static void put_byte(struct hmm_packed_column *c, unsigned value)
{
    unsigned char *at = hmm_packed_extend(c, 1);
    if (at != NULL)
        *at = (unsigned char)value;
}

void hmm_packed_encode(struct hmm_packed_encoder *e, const struct hmm_trace_op *op)
{
    const unsigned how = how_given(&e->ids, op);
    put_byte(&e->columns[HMM_COLUMN_KINDS], op->kind | how << 2);
    if (how == HMM_PACKED_ID_GIVEN)
        hmm_packed_put_varint(&e->columns[HMM_COLUMN_IDS],
                              hmm_packed_zigzag((int64_t)op->id - (int64_t)e->ids.previous));
    if (op->kind == HMM_TRACE_ALIGNED)
        put_byte(&e->columns[HMM_COLUMN_ALIGNS], op->align_log2);
    if (op->kind != HMM_TRACE_FREE)
        hmm_packed_put_varint(&e->columns[HMM_COLUMN_SIZES], op->size);
    follow_ids(&e->ids, op, how);
    e->ops++;
}

void hmm_packed_encode_comment(struct hmm_packed_encoder *e, const char *line, size_t length)
{
    struct hmm_packed_column *c = &e->columns[HMM_COLUMN_COMMENTS];
    hmm_packed_put_varint(c, e->ops - e->comment_at);
    hmm_packed_put_varint(c, length);
    unsigned char *at = hmm_packed_extend(c, length);
    if (at != NULL)
        memcpy(at, line, length);
    e->comment_at = e->ops;
}

size_t hmm_packed_encoder_size(const struct hmm_packed_encoder *e)
{
    size_t size = LENGTHS;
    for (int i = 0; i < HMM_COLUMNS; i++)
        size += e->columns[i].used;
    return size;
}

bool hmm_packed_encoder_take(struct hmm_packed_encoder *e, struct hmm_packed_column *to)
{
    unsigned char *at = hmm_packed_extend(to, hmm_packed_encoder_size(e));
    bool good = at != NULL;
    unsigned char *column = good ? at + LENGTHS : NULL;
    for (int i = 0; i < HMM_COLUMNS; i++) {
        struct hmm_packed_column *c = &e->columns[i];
        good = good && !c->failed;
        if (good) {
            hmm_packed_put32(at + 4 * i, (uint32_t)c->used);
            if (c->used != 0)
                memcpy(column, c->bytes, c->used);
            column += c->used;
        }
        c->used = 0;
    }
    e->ops = e->comment_at = 0;
    start_ids(&e->ids);
    return good;
}

/* ---- Decoding ---- */

/* Reads how many operations go by until the next comment. */
static bool read_gap(struct hmm_packed_decoder *d)
{
    const unsigned char **at = &d->at[HMM_COLUMN_COMMENTS], *end = d->end[HMM_COLUMN_COMMENTS];
    uint64_t gap = 0;
    d->comments_to_come = *at != end;
    if (!d->comments_to_come)
        return true;
    if (!hmm_packed_get_varint(at, end, &gap) || gap > d->ops - d->done)
        return false;
    d->comment_gap = (uint32_t)gap;
    return true;
}

bool hmm_packed_decoder_start(struct hmm_packed_decoder *d, const unsigned char *payload,
                              size_t size, uint32_t ops)
{
    const unsigned char *at = payload + LENGTHS;
    size_t left = size - LENGTHS;
    if (size < LENGTHS)
        return false;
    for (int i = 0; i < HMM_COLUMNS; i++) {
        const uint32_t length = hmm_packed_get32(payload + 4 * i);
        if (length > left)
            return false;
        d->at[i] = at;
        d->end[i] = at += length;
        left -= length;
    }
    d->ops = ops;
    d->done = 0;
    start_ids(&d->ids);
    return left == 0 && d->end[HMM_COLUMN_KINDS] - d->at[HMM_COLUMN_KINDS] == (ptrdiff_t)ops &&
           make_room(&d->ids, ops) && read_gap(d);
}

static bool given_id(struct hmm_packed_decoder *d, uint64_t *id)
{
    uint64_t difference;
    if (!hmm_packed_get_varint(&d->at[HMM_COLUMN_IDS], d->end[HMM_COLUMN_IDS], &difference))
        return false;
    *id = d->ids.previous + (uint64_t)hmm_packed_unzigzag(difference);
    return true;
}

static bool decode_id(struct hmm_packed_decoder *d, struct hmm_trace_op *op, unsigned how)
{
    uint64_t id = 0;
    if (how == HMM_PACKED_ID_GIVEN) {
        if (!given_id(d, &id))
            return false;
    } else if (!allocates(op->kind)) {
        return false;
    } else if (how == HMM_PACKED_ID_NEXT) {
        id = d->ids.allocated == NONE ? 0 : (uint64_t)d->ids.allocated + 1;
    } else {
        if (how != HMM_PACKED_ID_FREED || d->ids.freed_count == 0)
            return false;
        id = d->ids.freed[d->ids.freed_count - 1];
    }
    op->id = (uint32_t)id;
    return id < UINT32_MAX;
}

static bool decode_align(struct hmm_packed_decoder *d, struct hmm_trace_op *op)
{
    const unsigned char **at = &d->at[HMM_COLUMN_ALIGNS];
    if (*at == d->end[HMM_COLUMN_ALIGNS] || **at > sizeof(size_t) * 8 - 2)
        return false;
    op->align_log2 = *(*at)++ & 63u;
    return true;
}

bool hmm_packed_decode(struct hmm_packed_decoder *d, struct hmm_trace_op *op)
{
    const unsigned char kind = *d->at[HMM_COLUMN_KINDS]++;
    const unsigned how = kind >> 2;
    *op = (struct hmm_trace_op){.kind = kind & 3};
    if (!decode_id(d, op, how) || (op->kind == HMM_TRACE_ALIGNED && !decode_align(d, op)))
        return false;
    if (op->kind != HMM_TRACE_FREE &&
        (!hmm_packed_get_varint(&d->at[HMM_COLUMN_SIZES], d->end[HMM_COLUMN_SIZES], &op->size) ||
         op->size > PTRDIFF_MAX))
        return false;
    follow_ids(&d->ids, op, how);
    d->done++;
    d->comment_gap -= d->comments_to_come;
    return true;
}

int hmm_packed_decode_comment(struct hmm_packed_decoder *d, const char **line, size_t *length)
{
    const unsigned char **at = &d->at[HMM_COLUMN_COMMENTS], *end = d->end[HMM_COLUMN_COMMENTS];
    uint64_t size;
    if (!d->comments_to_come || d->comment_gap != 0)
        return 0;
    if (!hmm_packed_get_varint(at, end, &size) || size > (uint64_t)(end - *at) || size == 0 ||
        **at != '#' || memchr(*at, '\n', (size_t)size) != NULL)
        return -1;
    *line = (const char *)*at;
    *length = (size_t)size;
    *at += size;
    return read_gap(d) ? 1 : -1;
}

bool hmm_packed_decoder_finished(const struct hmm_packed_decoder *d)
{
    for (int i = 0; i < HMM_COLUMNS; i++)
        if (d->at[i] != d->end[i])
            return false;
    return d->done == d->ops && !d->comments_to_come;
}
