/* SPDX-License-Identifier: MIT */
/*
 * Reduced traces as the bytes that a page has in it.
 *
 *     "hmm1", the length of a JSON object (4 bytes, the lowest first), the object, sections
 *
 * The object has the figures, and for each section where it begins behind the object and how long
 * it is: [begin, length]. All sections but the maps are varints (buffer.h):
 *
 *   live     by column, changes: live bytes at its end, their most in it, live blocks
 *   lines    by column, changes: break at its end, its most, bytes in holes, holes, the largest
 *   holes    for some columns, evenly spread, changes from the one before: holes by class of size
 *   fill     for some columns, evenly spread, a byte a row, less that of the column before: how
 *            much is in use, 0 to 255
 *   born     likewise: when that was allocated, on the average
 *   who      likewise, if there are call stacks: which site's colour, 0 to 15
 *   blocks   five runs, or six: since, less that of the block before; address in granules, changes;
 * size, changes; since less born; until less since, times 4, and how it ended; which of the names
 *            asked for it, and 1, or 0
 */
#ifndef HMM_REPORT_ENCODE_H
#define HMM_REPORT_ENCODE_H

#include "buffer.h"
#include "reduce.h"

/* How much of a reduction is kept. */
struct report_quality {
    size_t columns, rows; /* of the maps, at most */
    unsigned bits;        /* of fill and born */
    size_t blocks;        /* of a strategy */
    size_t hole_columns;
    size_t line_columns;
};

void report_encode(const struct report_trace *traces, size_t count,
                   const struct report_quality *quality, struct report_buffer *to);

#endif
