/* SPDX-License-Identifier: MIT */
/*
 * The live switch of a heap's strategy: the free blocks are inserted into a new index. No block
 * moves. Calls create.c, brk.c, the strategies' hooks and the cache's reserve.
 */
#include "heap/block.h"

#if !HMM__SMALL

/* Apart, for the blocks up to the break. Of the two places the old state has at most one. */
static void *find_apart(struct hmm_heap *h, const struct hmm_strategy *s, uint32_t *capacity)
{
    unsigned which = h->state_place == HMM__STATE_APART ? 1 - h->apart : 0;
    *capacity = hmm__apart_capacity(h, h->brk);
    void *room = hmm__apart_room(h, s, *capacity, which);
    if (room == NULL) {
        *capacity = h->brk;
        room = hmm__apart_room(h, s, *capacity, which);
    }
    if (room == NULL)
        hmm__apart_leave(h, which);
    return room;
}

/* At the high end, below what the cache reserves for itself. NULL: there is no room; nothing was
 * reserved. */
static void *find_high(struct hmm_heap *h, size_t size)
{
    hmm_ref limit = h->limit, high_limit = h->high_limit;
    if (size > (size_t)(h->high_limit - h->top) * HMM_GRANULE)
        return NULL;
    if (h->reserve != NULL)
        h->reserve(h);
    if (size <= (size_t)(h->high_limit - h->top) * HMM_GRANULE) {
        char *high = block_payload(h, h->high_limit - hmm__granules_up(size));
        if (h->page_source == NULL || h->page_source->commit(high, high + size))
            return high;
    }
    hmm__high_raise(h, limit, high_limit);
    return NULL;
}

/* Finds room for a state of this size: at the low end, at the high end, or in a block. NULL: there
 * is none. The old state stays usable. A request for a block may enlarge the cache's tables, also
 * if it fails: the limits are as it leaves them. */
static void *find_room(struct hmm_heap *h, size_t size, enum hmm__state_place *place)
{
    if (size <= low_bytes(h)) {
        *place = HMM__STATE_LOW;
        return h + 1;
    }
    void *high = find_high(h, size);
    *place = high != NULL ? HMM__STATE_HIGH : HMM__STATE_BLOCK;
    return high != NULL ? high : hmm__malloc(h, size);
}

void hmm__index_rebuild(struct hmm_heap *h)
{
    for (hmm_ref r = h->first, next; r != h->top; r = next) {
        uint32_t word = block_header(h, r);
        next = block_step(h, r, word);
        if (word & HMM__FREE)
            h->strategy->insert(h, h->state, r);
    }
}

int hmm__switch(struct hmm_heap *h, const struct hmm_strategy *s)
{
    enum hmm__state_place place = HMM__STATE_APART, was = h->state_place;
    void *old = h->state;
    uint32_t capacity = h->region, lay = h->apart;
    size_t size = s->state_size((size_t)h->region * HMM_GRANULE);
    void *state = hmm__state_goes_apart(h->page_source, s, h->region) ? find_apart(h, s, &capacity)
                                                                      : find_room(h, size, &place);
    if (state == NULL) {
        hmm__set_errno(ENOMEM);
        return -1;
    }
    h->used_peak = hmm__used_peak(h);
    h->limit = place == HMM__STATE_HIGH ? h->high_limit - hmm__granules_up(size) : h->high_limit;
    if (h->brk > h->limit)
        h->brk = h->limit;
    if (h->page_source != NULL && h->committed_end > h->limit)
        h->committed_end = h->limit;
    hmm__brk_settle(h);
    h->state_place = place;
    h->capacity = capacity;
    if (place == HMM__STATE_APART)
        h->apart = was == HMM__STATE_APART ? 1 - lay : 0;
    hmm__adopt_strategy(h, s, state, false);
    hmm__index_rebuild(h);
    if (was == HMM__STATE_BLOCK)
        hmm__free(h, old);
    else if (was == HMM__STATE_APART)
        hmm__apart_leave(h, lay);
    return 0;
}

#endif
