/* SPDX-License-Identifier: MIT */
/*
 * A strategy's state outside the region, in a place of the page source's where it grows: it is made
 * for the blocks that there are, and some more, and follows the break by the strategy's grow. So a
 * heap that may become large has no large state before it is. Calls the page source and the
 * strategy.
 *
 * What is small for the whole region lies in the region, and so does the state of a strategy that
 * has no grow: made anew each time it would lose what blocks do not tell.
 */
#include "heap/block.h"

#if HMM__PAGES

/* A smaller state is not worth it. */
#define STATE_SMALL ((size_t)64 << 10)

/* What is looked at and given back at once. */
#define STATE_PAGE ((size_t)16 << 10)

/* Capacities are at least 1 MiB, and grow by an eighth. */
#define CAPACITY_MIN ((1u << 20) / HMM_GRANULE)
#define CAPACITY_SHIFT 3

bool hmm__state_goes_apart(const struct hmm__page_source *source, const struct hmm_strategy *s,
                           uint32_t region)
{
    size_t max, bytes = s->state_size((size_t)region * HMM_GRANULE);
    return source != NULL && source->state_place != NULL && s->grow != NULL &&
           bytes > STATE_SMALL && source->state_place(0, &max) != NULL && bytes <= max;
}

uint32_t hmm__apart_capacity(const struct hmm_heap *h, hmm_ref to)
{
    uint32_t more = to >> CAPACITY_SHIFT;
    more = more > CAPACITY_MIN ? more : CAPACITY_MIN;
    return to < h->region && h->region - to > more ? to + more : h->region;
}

void *hmm__apart_room(const struct hmm_heap *h, const struct hmm_strategy *s, uint32_t capacity,
                      unsigned which)
{
    size_t max, bytes = s->state_size((size_t)capacity * HMM_GRANULE);
    char *place = h->page_source->state_place(which, &max);
    return bytes <= max && h->page_source->commit(place, place + bytes) ? place : NULL;
}

void hmm__apart_leave(const struct hmm_heap *h, unsigned which)
{
    size_t max;
    char *place = h->page_source->state_place(which, &max);
    h->page_source->unmap(place, place + max);
}

static bool grow_apart(struct hmm_heap *h, uint32_t capacity)
{
    size_t old = hmm_heap_capacity(h), was = h->strategy->state_size(old);
    if (hmm__apart_room(h, h->strategy, capacity, h->apart) == NULL)
        return false;
    size_t bytes = h->strategy->state_size((size_t)capacity * HMM_GRANULE);
    h->capacity = capacity;
    if (!(h->strategy->flags & HMM_STRATEGY_CLEARS))
        memset((char *)h->state + was, 0, bytes - was);
    h->strategy->grow(h, h->state, old, hmm_heap_capacity(h));
    return true;
}

static bool is_zero(const char *page)
{
    const uint64_t *w = (const uint64_t *)(const void *)page;
    for (size_t i = 0; i < STATE_PAGE / sizeof *w; i++)
        if (w[i] != 0)
            return false;
    return true;
}

/* What it reads of pages that were never written takes no memory. */
bool hmm__apart_give_back(struct hmm_heap *h, size_t bytes)
{
    if (h->state_place != HMM__STATE_APART)
        return false;
    size_t all = h->strategy->state_size(hmm_heap_capacity(h)) & ~(STATE_PAGE - 1);
    size_t left = all > h->state_scanned ? all - h->state_scanned : 0;
    char *page = (char *)h->state + h->state_scanned, *zero = page;
    char *end = page + (left < bytes ? left : bytes);
    for (; page < end; page += STATE_PAGE) {
        if (is_zero(page))
            continue;
        if (zero != page)
            h->page_source->decommit(zero, page);
        zero = page + STATE_PAGE;
    }
    if (zero < end)
        h->page_source->decommit(zero, end);
    h->state_scanned = (size_t)(end - (char *)h->state);
    return h->state_scanned < all;
}

bool hmm__apart_follow(struct hmm_heap *h, hmm_ref to)
{
    HMM_ASSERT(h->state_place == HMM__STATE_APART && to > h->capacity);
    return grow_apart(h, hmm__apart_capacity(h, to)) || grow_apart(h, to);
}

#endif
