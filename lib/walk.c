/* SPDX-License-Identifier: MIT */
/*
 * All blocks, in address order.
 */
#include "annotate.h"
#include "front_look.h"

/* A block as the user sees it: a run is many. */
static int show(const struct hmm_heap *h, struct hmm_block_info *info,
                int (*visit)(void *arg, const struct hmm_block_info *), void *arg)
{
#if HMM__FRONT
    const struct run *d = h->front ? hmm__front_run_at(h->front, info->payload) : NULL;
    if (d != NULL)
        return hmm__front_walk(h->front, d, info->size, visit, arg);
    if (h->front && info->used && info->usable >= sizeof(struct object) &&
        hmm__front_has_kept(h->front, info->payload))
        info->used = 0;
#else
    (void)h;
#endif
    return visit(arg, info);
}

int hmm_heap_walk(const struct hmm_heap *heap,
                  int (*visit)(void *arg, const struct hmm_block_info *), void *arg)
{
    int result = 0;
    bool quiet = (heap->watch & HMM__WATCH_VALGRIND) != 0;
    for (hmm_ref r = heap->first; r != heap->top && result == 0;) {
        if (quiet)
            annotate_enter();
        uint32_t word = block_header(heap, r);
        hmm_ref next = block_step(heap, r, word);
        if (quiet)
            annotate_leave();
        uint32_t n = header_size(word);
        struct hmm_block_info info = {.payload = block_payload(heap, r),
                                      .size = (size_t)n * HMM_GRANULE,
                                      .usable = header_usable(word),
                                      .used = !(word & HMM__FREE)};
        result = show(heap, &info, visit, arg);
        r = next;
    }
    return result;
}
