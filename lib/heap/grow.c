/* SPDX-License-Identifier: MIT */
/*
 * A heap that grows: its region has become larger at the high end. Blocks stay where they are; the
 * new memory joins the free top. Calls brk.c, pages.c, switch.c and the strategy's hooks.
 *
 * The strategy's state depends on the capacity, and may have to be larger too. It stays where it is
 * if there is room: at the low end, what the first state's size was rounded up to; in a block, the
 * block's usable bytes. Else it moves to the new high end. Its old memory is freed, except at the
 * low end, where a smaller state may lie later. A state at the high end always moves, since blocks
 * will lie there. A state has refs and no pointers, so its bytes can be moved.
 *
 * A heap whose cache has its tables at the region's high end does not grow: other threads read them
 * where they are. If they lie in memory of their own (lib/cache/tables.c), the heap grows.
 */
#include "base/annotate.h"
#include "base/assert.h"
#include "heap/block.h"

#if !HMM__SMALL

/* How the state is to be moved, for a larger capacity. */
struct moving {
    char *to;
    enum hmm__state_place place;
    hmm_ref limit; /* of the blocks */
    size_t bytes, bytes_then;
};

/* The granules of the region if it has `size` bytes now; 0: it cannot have so many. */
static uint32_t granules_in(const struct hmm_heap *h, size_t size)
{
    if (size < h->skew || size - h->skew > UINTPTR_MAX - (uintptr_t)h)
        return 0;
    size_t granules = (size - h->skew) / HMM_GRANULE;
    return granules < HMM__REF_GRANULES_MAX ? (uint32_t)granules : HMM__REF_GRANULES_MAX;
}

/* The bytes that the state may have where it is. */
static size_t room_in_place(const struct hmm_heap *h)
{
    if (h->state_place == HMM__STATE_LOW)
        return low_bytes(h);
    return h->state_place == HMM__STATE_BLOCK ? block_usable(block_size(h, block_of(h, h->state)))
                                              : 0;
}

/* Sets *m for a region of `end` granules. False: there is no room for the state. */
static bool find_place(struct hmm_heap *h, hmm_ref end, struct moving *m)
{
    m->bytes_then = h->strategy->state_size(hmm_heap_capacity(h));
    m->bytes = h->strategy->state_size((size_t)end * HMM_GRANULE);
    m->to = h->state;
    m->place = h->state_place;
    m->limit = end;
    if (m->bytes <= room_in_place(h))
        return true;
    size_t granules = m->bytes / HMM_GRANULE + 1;
    if (granules > end - h->top)
        return false;
    m->limit = end - (uint32_t)granules;
    m->to = block_payload(h, m->limit);
    m->place = HMM__STATE_HIGH;
    return h->page_source == NULL || h->page_source->commit(m->to, m->to + m->bytes);
}

static void set_limits(struct hmm_heap *h, hmm_ref limit, hmm_ref end)
{
    h->limit = limit;
    h->high_limit = h->region = h->capacity = h->id.granules = end;
    if (h->brk > limit)
        h->brk = limit;
    if (h->page_source != NULL && h->committed_end > limit)
        h->committed_end = limit;
    hmm__brk_settle(h);
}

/* Moves the state, and clears what it has more. */
static void move_state(struct hmm_heap *h, const struct moving *m)
{
    if (m->to != (char *)h->state)
        memmove(m->to, h->state, m->bytes_then);
    if (!(h->strategy->flags & HMM_STRATEGY_CLEARS))
        hmm__clear(h, m->to + m->bytes_then, m->bytes - m->bytes_then);
    set_state(h, m->to);
    h->state_place = m->place;
}

static void rebuild_state(struct hmm_heap *h, size_t bytes)
{
    if (!(h->strategy->flags & HMM_STRATEGY_CLEARS))
        hmm__clear(h, h->state, bytes);
    if (h->strategy->start)
        h->strategy->start(h, h->state);
    hmm__index_rebuild(h);
}

static void grow_to(struct hmm_heap *h, hmm_ref end, const struct moving *m)
{
    size_t old = hmm_heap_capacity(h);
    HMM_ASSERT(m->bytes >= m->bytes_then && m->limit >= h->top && m->limit <= end);
    void *old_block =
        h->state_place == HMM__STATE_BLOCK && m->place != HMM__STATE_BLOCK ? h->state : NULL;
    move_state(h, m);
    set_limits(h, m->limit, end);
    if (h->strategy->grow)
        h->strategy->grow(h, h->state, old, hmm_heap_capacity(h));
    else
        rebuild_state(h, m->bytes);
    if (old_block != NULL)
        hmm__free(h, old_block);
}

static int refuse_to_grow(int code)
{
    hmm__set_errno(code);
    return -1;
}

int hmm__heap_grow(struct hmm_heap *h, size_t size)
{
    hmm_ref was = h->high_limit, end = granules_in(h, size);
    struct moving m;
    if (h->reserve != NULL)
        return refuse_to_grow(EBUSY);
    if (end < was)
        return refuse_to_grow(EINVAL);
    if (end == was)
        return 0;
    bool quiet = (h->check_flags & HMM__CHECK_MEMCHECK) != 0;
    if (quiet)
        annotate_enter();
    bool fits = find_place(h, end, &m);
    if (fits)
        grow_to(h, end, &m);
    if (quiet)
        annotate_leave();
    if (quiet && fits)
        annotate_region(block_payload(h, was), (size_t)(end - was) * HMM_GRANULE);
    return fits ? 0 : refuse_to_grow(ENOMEM);
}

#endif
