/* SPDX-License-Identifier: MIT */
#include "bins.h"

static const char *check_bin(struct hmm_heap *h, const struct bins *s, uint32_t size,
                             uint32_t *count)
{
    hmm_ref before = 0;
    if (!(s->map >> size & 1) != (s->heads[size] == 0))
        return "T2: bins: a bin's bit contradicts the bin";
    for (hmm_ref r = s->heads[size]; r != 0; r = block_links(h, r)[BIN_NEXT]) {
        if (++*count > free_blocks(h))
            return "T1: bins: more blocks in the bins than are free";
        if (block_size(h, r) != size || !(block_header(h, r) & HMM__FREE) ||
            (before && block_links(h, r)[BIN_PREV] != before))
            return "T3: bins: a block in a bin is in use, of another size or ill linked";
        before = r;
    }
    return NULL;
}

static bool held_is_sound(const struct hmm_heap *h, const struct bins *s)
{
    return (block_header(h, s->held) & HMM__FREE) && s->held_size >= BINS &&
           block_size(h, s->held) == s->held_size;
}

/* Adds the blocks to *count. */
const char *hmm__bins_check(struct hmm_heap *h, const struct bins *s, uint32_t *count)
{
    if (!s->held != !s->held_size || (s->held && !held_is_sound(h, s)))
        return "T4: bins: the held block is in use, or not of the size that is kept";
    *count += s->held != 0;
    for (uint32_t size = 0; size < BINS; size++) {
        const char *broken = check_bin(h, s, size, count);
        if (broken != NULL)
            return broken;
    }
    return NULL;
}
