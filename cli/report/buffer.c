/* SPDX-License-Identifier: MIT */
/*
 * A growing array of bytes, and the encodings that a page uses.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "buffer.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

static void make_room(struct report_buffer *b, size_t more)
{
    if (b->room - b->count >= more)
        return;
    size_t room = b->room == 0 ? 4096 : b->room;
    while (room - b->count < more)
        room *= 2;
    unsigned char *bytes = cli_alloc(room, 1);
    if (b->count != 0)
        memcpy(bytes, b->bytes, b->count);
    free(b->bytes);
    b->bytes = bytes;
    b->room = room;
}

void report_put(struct report_buffer *b, const void *bytes, size_t count)
{
    make_room(b, count);
    if (count != 0)
        memcpy(b->bytes + b->count, bytes, count);
    b->count += count;
}

void report_put_byte(struct report_buffer *b, unsigned byte)
{
    make_room(b, 1);
    b->bytes[b->count++] = (unsigned char)byte;
}

void report_put_text(struct report_buffer *b, const char *text)
{
    report_put(b, text, strlen(text));
}

void report_print(struct report_buffer *b, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    report_put(b, text,
               length < 0                     ? 0
               : (size_t)length < sizeof text ? (size_t)length
                                              : sizeof text - 1);
}

void report_put_json(struct report_buffer *b, const char *text)
{
    char *line = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&line, &length);
    if (to != NULL) {
        cli_print_json_string(to, text);
        fclose(to);
    }
    report_put(b, line, length);
    free(line);
}

void report_put_varint(struct report_buffer *b, uint64_t number)
{
    for (; number >= 0x80; number >>= 7)
        report_put_byte(b, (unsigned)(number & 0x7f) | 0x80);
    report_put_byte(b, (unsigned)number);
}

void report_put_change(struct report_buffer *b, uint64_t *was, uint64_t now)
{
    report_put_varint(b, now >= *was ? (now - *was) << 1 : ((*was - now) << 1) - 1);
    *was = now;
}

#ifdef HAVE_ZLIB
static void gzip(struct report_buffer *b, const struct report_buffer *from)
{
    z_stream z;
    memset(&z, 0, sizeof z);
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK) {
        report_put(b, from->bytes, from->count);
        return;
    }
    const size_t most = deflateBound(&z, (uLong)from->count);
    make_room(b, most);
    z.next_in = from->bytes;
    z.avail_in = (uInt)from->count;
    z.next_out = b->bytes + b->count;
    z.avail_out = (uInt)most;
    deflate(&z, Z_FINISH);
    b->count += most - z.avail_out;
    deflateEnd(&z);
}
#endif

void report_put_packed(struct report_buffer *b, const struct report_buffer *from)
{
#ifdef HAVE_ZLIB
    gzip(b, from);
#else
    report_put(b, from->bytes, from->count);
#endif
}

void report_put_base64(struct report_buffer *b, const struct report_buffer *from)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = from->bytes;
    make_room(b, from->count / 3 * 4 + 4);
    for (size_t i = 0; i < from->count; i += 3) {
        const size_t left = from->count - i;
        const unsigned bits = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) |
                              (left > 2 ? p[i + 2] : 0);
        report_put_byte(b, (unsigned char)digits[bits >> 18]);
        report_put_byte(b, (unsigned char)digits[bits >> 12 & 63]);
        report_put_byte(b, left > 1 ? (unsigned char)digits[bits >> 6 & 63] : '=');
        report_put_byte(b, left > 2 ? (unsigned char)digits[bits & 63] : '=');
    }
}

void report_buffer_free(struct report_buffer *b)
{
    free(b->bytes);
    *b = (struct report_buffer){NULL, 0, 0};
}
