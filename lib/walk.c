/* SPDX-License-Identifier: MIT */
/*
 * All blocks, in address order.
 */
#include "annotate.h"
#include "block.h"

int hmm_heap_walk(const struct hmm_heap *heap,
                  int (*visit)(void *arg, const struct hmm_block_info *), void *arg)
{
    int result = 0;
    bool quiet = (heap->watch & HMM__WATCH_VALGRIND) != 0;
    for (hmm_ref r = heap->first; r != heap->top && result == 0;) {
        if (quiet)
            annotate_enter();
        uint32_t word = block_header(heap, r);
        if (quiet)
            annotate_leave();
        uint32_t n = header_size(word);
        struct hmm_block_info info = {.payload = block_payload(heap, r),
                                      .size = (size_t)n * HMM_GRANULE,
                                      .usable = block_usable(n),
                                      .used = !(word & HMM__FREE)};
        result = visit(arg, &info);
        r += n;
    }
    return result;
}
