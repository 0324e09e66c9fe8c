/* SPDX-License-Identifier: MIT */
/*
 * Bytes that grow at their end.
 */
#ifndef HMM_REPORT_BUFFER_H
#define HMM_REPORT_BUFFER_H

#include "cli.h"

/* Zeroed memory is an empty one. */
struct report_buffer {
    unsigned char *bytes;
    size_t count, room;
};

void report_put(struct report_buffer *buffer, const void *bytes, size_t count);
void report_put_byte(struct report_buffer *buffer, unsigned byte);
void report_put_text(struct report_buffer *buffer, const char *text);
__attribute__((format(printf, 2, 3))) void report_print(struct report_buffer *buffer,
                                                        const char *format, ...);

/* As a JSON string, quotes and all. */
void report_put_json(struct report_buffer *buffer, const char *text);

/* Seven bits a byte, the lowest first; all but the last byte have the eighth set. */
void report_put_varint(struct report_buffer *buffer, uint64_t number);

/* How far `now` is from *was, which becomes it: 0, -1, 1, -2... as 0, 1, 2, 3... */
void report_put_change(struct report_buffer *buffer, uint64_t *was, uint64_t now);

/* Compressed with gzip, or as they are where this build has no zlib. */
void report_put_packed(struct report_buffer *buffer, const struct report_buffer *from);

void report_put_base64(struct report_buffer *buffer, const struct report_buffer *from);

void report_buffer_free(struct report_buffer *buffer);

#endif
