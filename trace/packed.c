/* SPDX-License-Identifier: MIT */
/*
 * Format 2: numbers, checksums, and the headers of file and blocks.
 */
#include "packed.h"

#include <stdlib.h>
#include <string.h>

/* As that of PNG: the first byte is none of a text, and a transfer that converts line ends damages
 * the rest, so that it shows. */
const unsigned char hmm_packed_magic[8] = {0x89, 'H', 'M', 'T', '\r', '\n', 0x1a, '\n'};
const unsigned char hmm_packed_end[8] = {'H', 'M', 'T', ' ', 'e', 'n', 'd', '\n'};

/* ---- Numbers ---- */

void hmm_packed_put32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++, value >>= 8)
        to[i] = (unsigned char)value;
}

void hmm_packed_put64(unsigned char *to, uint64_t value)
{
    hmm_packed_put32(to, (uint32_t)value);
    hmm_packed_put32(to + 4, (uint32_t)(value >> 32));
}

uint32_t hmm_packed_get32(const unsigned char *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

uint64_t hmm_packed_get64(const unsigned char *from)
{
    return hmm_packed_get32(from) | (uint64_t)hmm_packed_get32(from + 4) << 32;
}

/* ---- Checksums ---- */

/* tables[k][b]: what byte b comes to with k bytes of 0 after it. */
static uint32_t tables[8][256];

static void fill_tables(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
        tables[0][b] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int b = 0; b < 256; b++)
            tables[k][b] = tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 0xff];
}

uint32_t hmm_packed_crc(uint32_t crc, const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    if (tables[0][1] == 0)
        fill_tables();
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        const uint32_t low = crc ^ hmm_packed_get32(p), high = hmm_packed_get32(p + 4);
        crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
              tables[4][low >> 24] ^ tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^
              tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
    }
    for (; size != 0; size--, p++)
        crc = crc >> 8 ^ tables[0][(crc ^ *p) & 0xff];
    return ~crc;
}

/* ---- Headers ---- */

/* 8 bytes of magic, 4 of version, 4 of checksum. */
void hmm_packed_put_file_header(unsigned char *to)
{
    memcpy(to, hmm_packed_magic, 8);
    hmm_packed_put32(to + 8, HMM_TRACE_PACKED_VERSION);
    hmm_packed_put32(to + 12, hmm_packed_crc(0, to, 12));
}

bool hmm_packed_check_file_header(const unsigned char *from, struct hmm_trace_error *error)
{
    if (hmm_packed_get32(from + 12) != hmm_packed_crc(0, from, 12))
        return hmm_trace_fail(error, "damaged at byte 0: the checksum of the header is not right");
    const uint32_t version = hmm_packed_get32(from + 8);
    return version == HMM_TRACE_PACKED_VERSION ||
           hmm_trace_fail(error, "binary trace format %lu is not known, only %d",
                          (unsigned long)version, HMM_TRACE_PACKED_VERSION);
}

#define CHECKSUM_AT 28u

static uint32_t checksum_of(const unsigned char *block, uint32_t stored)
{
    uint32_t crc = hmm_packed_crc(0, block, CHECKSUM_AT);
    return hmm_packed_crc(crc, block + HMM_PACKED_BLOCK_HEADER, stored);
}

void hmm_packed_put_header(unsigned char *to, const struct hmm_packed_header *h)
{
    memcpy(to, h->tag, 4);
    hmm_packed_put32(to + 4, h->stored);
    hmm_packed_put32(to + 8, h->plain);
    hmm_packed_put32(to + 12, h->count);
    hmm_packed_put64(to + 16, h->first);
    hmm_packed_put32(to + 24, h->codec);
    hmm_packed_put32(to + CHECKSUM_AT, checksum_of(to, h->stored));
}

static bool known_tag(const struct hmm_packed_header *h)
{
    return hmm_packed_is(h, "OPS ") || hmm_packed_is(h, "LIVE") || hmm_packed_is(h, "INDX") ||
           (h->tag[0] >= 'a' && h->tag[0] <= 'z'); /* what a reader may leave out */
}

bool hmm_packed_get_header(const unsigned char *from, struct hmm_packed_header *h)
{
    const uint32_t codec = hmm_packed_get32(from + 24);
    memcpy(h->tag, from, 4);
    h->stored = hmm_packed_get32(from + 4);
    h->plain = hmm_packed_get32(from + 8);
    h->count = hmm_packed_get32(from + 12);
    h->first = hmm_packed_get64(from + 16);
    h->codec = (uint8_t)codec;
    return known_tag(h) && codec <= HMM_PACKED_ZSTD && h->stored <= HMM_PACKED_MOST_BYTES &&
           h->plain <= HMM_PACKED_MOST_BYTES && h->count <= HMM_PACKED_MOST_OPS &&
           (codec != HMM_PACKED_PLAIN || h->stored == h->plain);
}

bool hmm_packed_check_block(const unsigned char *from, const struct hmm_packed_header *h)
{
    return hmm_packed_get32(from + CHECKSUM_AT) == checksum_of(from, h->stored);
}

/* ---- Columns ---- */

unsigned char *hmm_packed_extend(struct hmm_packed_column *c, size_t bytes)
{
    if (c->room - c->used < bytes) {
        size_t room = c->room == 0 ? 65536 : c->room * 2;
        while (room - c->used < bytes)
            room *= 2;
        unsigned char *grown = realloc(c->bytes, room);
        if (grown == NULL) {
            c->failed = true;
            return NULL;
        }
        c->bytes = grown;
        c->room = room;
    }
    unsigned char *at = c->bytes + c->used;
    c->used += bytes;
    return at;
}

#define LONGEST_VARINT 10u

/* Seven bits a byte, the lowest first; the highest bit: another one follows. */
void hmm_packed_put_varint(struct hmm_packed_column *c, uint64_t value)
{
    unsigned char *at = hmm_packed_extend(c, LONGEST_VARINT), *to = at;
    if (at == NULL)
        return;
    for (; value >= 128; value >>= 7)
        *to++ = (unsigned char)(value | 128);
    *to++ = (unsigned char)value;
    c->used -= LONGEST_VARINT - (size_t)(to - at);
}

bool hmm_packed_get_varint(const unsigned char **at, const unsigned char *end, uint64_t *value)
{
    const unsigned char *p = *at;
    uint64_t v = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        const unsigned char byte = *p++;
        if (shift == 63 && byte > 1)
            return false;
        v |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *at = p;
            *value = v;
            return true;
        }
    }
    return false;
}

/* ---- Summaries ---- */

void hmm_packed_put_summary(unsigned char *to, const struct hmm_trace_summary *s)
{
    const uint64_t figures[] = {s->op_count,    s->counts[0],  s->counts[1],   s->counts[2],
                                s->counts[3],   s->live_bytes, s->live_blocks, s->peak_bytes,
                                s->peak_blocks, s->id_limit};
    for (size_t i = 0; i < HMM_PACKED_SUMMARY / 8; i++)
        hmm_packed_put64(to + 8 * i, figures[i]);
}

bool hmm_packed_get_summary(const unsigned char *from, struct hmm_trace_summary *s)
{
    uint64_t f[HMM_PACKED_SUMMARY / 8];
    for (size_t i = 0; i < HMM_PACKED_SUMMARY / 8; i++)
        f[i] = hmm_packed_get64(from + 8 * i);
    *s = (struct hmm_trace_summary){.op_count = f[0],
                                    .counts = {f[1], f[2], f[3], f[4]},
                                    .live_bytes = f[5],
                                    .live_blocks = (uint32_t)f[6],
                                    .peak_bytes = f[7],
                                    .peak_blocks = (uint32_t)f[8],
                                    .id_limit = (uint32_t)f[9]};
    return f[5] <= f[7] && f[7] <= PTRDIFF_MAX && f[6] <= f[8] && f[8] < UINT32_MAX &&
           f[9] <= UINT32_MAX;
}
