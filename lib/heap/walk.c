/* SPDX-License-Identifier: MIT */
/*
 * The walk over all blocks of a heap, in address order. Calls the visitor.
 */
#include "heap/block.h"

#if HMM_WITH_WALK || HMM__CACHE

int hmm__walk(const struct hmm_heap *h, int (*visit)(void *arg, const struct hmm_block_info *),
              void *arg)
{
    int result = 0;
    for (hmm_ref r = h->first; r != h->top && result == 0;) {
        uint32_t word = block_header(h, r), n = header_size(word);
        hmm_ref next = block_step(h, r, word);
        struct hmm_block_info info = {.payload = block_payload(h, r),
                                      .size = (size_t)n * HMM_GRANULE,
                                      .usable = header_usable(word),
                                      .used = !(word & HMM__FREE)};
        if (!block_is_gap(h, r, word))
            result = visit(arg, &info);
        r = next;
    }
    return result;
}

#endif
