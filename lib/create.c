/* SPDX-License-Identifier: MIT */
/*
 * A heap's beginning and end, and the live switch of its strategy.
 */
#include "annotate.h"
#include "front.h"

bool hmm__strategy_is_sound(const struct hmm_strategy *s)
{
    return s != NULL && s->abi == HMM_STRATEGY_ABI && s->name != NULL && s->state_size != NULL &&
           s->find != NULL && s->insert != NULL && s->remove != NULL;
}

/* bytes <= those of the region. */
static uint32_t granules_up(size_t bytes)
{
    return (uint32_t)(((uint64_t)bytes + HMM_GRANULE - 1) / HMM_GRANULE);
}

/* The strategy's functions into the heap, its state made ready. */
static void adopt(struct hmm_heap *h, const struct hmm_strategy *s, void *state, bool is_zero)
{
    h->strategy = s;
    h->state = state;
    h->malloc_bare = s->malloc_whole ? s->malloc_whole : hmm__malloc_by_hooks;
    h->free_bare = s->free_whole ? s->free_whole : hmm__free_by_hooks;
    h->take = s->take ? s->take : hmm__default_take;
    h->resize = s->resize ? s->resize : hmm__default_resize;
    h->placed = s->placed;
    if (!is_zero && !(s->flags & HMM_STRATEGY_CLEARS))
        hmm__pages_clear(h, state, s->state_size(hmm_heap_capacity(h)));
    if (s->start)
        s->start(h, state);
}

static struct hmm_heap *refuse(int code)
{
    hmm__set_errno(code);
    return NULL;
}

/* Where the control structures end: room for the header of the first block included. */
static uint64_t control_granules(size_t state_bytes)
{
    uint64_t bytes = (uint64_t)sizeof(struct hmm_heap) + state_bytes + HMM_HEADER_BYTES;
    return (bytes + HMM_GRANULE - 1) / HMM_GRANULE;
}

/* Aligns the region and counts its granules, at most HMM__MOST_GRANULES. 0 where it would end beyond
 * all addresses. */
static uint32_t region_granules(void **memory, size_t size, uint32_t *skew)
{
    size_t gap = (size_t)(-(uintptr_t)*memory & (HMM_GRANULE - 1));
    if (size < gap || (uint64_t)size - gap > (uint64_t)UINTPTR_MAX - (uintptr_t)*memory - gap + 1)
        return 0;
    *memory = (char *)*memory + gap;
    *skew = (uint32_t)gap;
    size_t granules = (size - gap) / HMM_GRANULE;
    return granules < HMM__MOST_GRANULES ? (uint32_t)granules : HMM__MOST_GRANULES;
}

/* For the control structures and a block, in a region of so many granules. */
static bool has_room(const struct hmm_strategy *s, uint32_t limit)
{
    size_t bytes = (size_t)limit * HMM_GRANULE, state_bytes = s->state_size(bytes);
    return state_bytes <= bytes && control_granules(state_bytes) + HMM_MIN_GRANULES <= limit;
}

/* A state may grow by leaps, most often at a power of two: of a tiny region that a leap fills less
 * is used, and not none. */
static uint32_t power_of_two_below(uint32_t limit)
{
    uint32_t power = 1;
    while (power <= limit / 2)
        power *= 2;
    return limit == 0 ? 0 : power;
}

struct hmm_heap *hmm__heap_create(void *memory, size_t size, const struct hmm_strategy *strategy,
                                  bool zeroed, const struct hmm__pages *pages)
{
    uint32_t skew = 0;
    if (!hmm__strategy_is_sound(strategy))
        return refuse(EINVAL);
    if (memory == NULL)
        return refuse(ENOMEM);
    uint32_t limit = region_granules(&memory, size, &skew);
    if (!has_room(strategy, limit)) {
        limit = power_of_two_below(limit);
        if (!has_room(strategy, limit))
            return refuse(ENOMEM);
    }
    size_t state_bytes = strategy->state_size((size_t)limit * HMM_GRANULE);
    struct hmm_heap *h = memory;
    hmm_ref first = (uint32_t)control_granules(state_bytes);
    if (pages && !pages->need(memory, (char *)memory + (size_t)first * HMM_GRANULE))
        return refuse(ENOMEM);
    memset(h, 0, sizeof *h);
    h->pages = pages;
    h->skew = skew;
    h->limit = h->high_limit = h->capacity = limit;
    h->first = h->brk = first;
    h->ready = pages ? first : UINT32_MAX;
    h->spare_at = pages ? 0 : INTPTR_MAX;
    h->low_bytes = (size_t)h->first * HMM_GRANULE - HMM_HEADER_BYTES - sizeof *h;
    h->check_level = 1;
    adopt(h, strategy, h + 1, zeroed);
    block_make_top(h, h->first);
    hmm__set_watch(h, annotate_active() ? HMM__WATCH_VALGRIND : 0);
    hmm__brk_settle(h);
    if (h->watch)
        annotate_region(block_header_at(h, h->first),
                        (size_t)(limit - h->first) * HMM_GRANULE + HMM_HEADER_BYTES);
    return h;
}

struct hmm_heap *hmm_heap_create(void *memory, size_t size, const struct hmm_strategy *strategy)
{
    return hmm__heap_create(memory, size, strategy, false, NULL);
}

/* Memcheck must not go on taking the blocks for live: the memory may be used for others. */
static HMM__COLD void end_watch(struct hmm_heap *h)
{
    annotate_enter();
    for (hmm_ref r = h->first; r != h->top; r = block_step(h, r, block_header(h, r)))
        if (!(block_header(h, r) & HMM__FREE) && block_payload(h, r) != h->state)
            annotate_free(block_payload(h, r));
    annotate_leave();
    annotate_region_end(block_header_at(h, h->first),
                        (size_t)(h->high_limit - h->first) * HMM_GRANULE + HMM_HEADER_BYTES);
}

void hmm_heap_destroy(struct hmm_heap *heap)
{
    if (heap != NULL && (heap->watch & HMM__WATCH_VALGRIND))
        end_watch(heap);
}

/* ---- The live switch ---- */

/* Room for a state of this size, somewhere; NULL: there is none. Leaves the old state whole. */
static void *find_room(struct hmm_heap *h, size_t size, enum hmm__state_place *place)
{
    if (size <= h->low_bytes) {
        *place = HMM__STATE_LOW;
        return h + 1;
    }
#if HMM__FRONT
    if (h->front != NULL && size <= (size_t)(h->high_limit - h->top) * HMM_GRANULE)
        hmm__front_reserve(h->front);
#endif
    if (size <= (size_t)(h->high_limit - h->top) * HMM_GRANULE) {
        char *high = block_payload(h, h->high_limit - granules_up(size));
        if (h->pages == NULL || h->pages->need(high, high + size)) {
            *place = HMM__STATE_HIGH;
            return high;
        }
    }
    *place = HMM__STATE_BLOCK;
    return hmm__malloc(h, size);
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

static int switch_to(struct hmm_heap *h, const struct hmm_strategy *s)
{
    enum hmm__state_place place, was = h->state_place;
    void *old = h->state;
    size_t size = s->state_size(hmm_heap_capacity(h));
    hmm_ref limit = h->limit, high_limit = h->high_limit;
    void *state = find_room(h, size, &place);
    if (state == NULL) {
        hmm__high_raise(h, limit, high_limit); /* of which a cache was to have a part */
        hmm__set_errno(ENOMEM);
        return -1;
    }
    h->limit = place == HMM__STATE_HIGH ? h->high_limit - granules_up(size) : h->high_limit;
    if (h->brk > h->limit)
        h->brk = h->limit;
    if (h->pages != NULL && h->ready > h->limit)
        h->ready = h->limit;
    hmm__brk_settle(h);
    h->state_place = place;
    adopt(h, s, state, false);
    hmm__set_watch(h, h->watch);
    hmm__index_rebuild(h);
    if (was == HMM__STATE_BLOCK)
        hmm__free(h, old);
    return 0;
}

int hmm_heap_set_strategy(struct hmm_heap *heap, const struct hmm_strategy *strategy)
{
    if (!hmm__strategy_is_sound(strategy)) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    if (strategy == heap->strategy)
        return 0;
    if (heap->watch & HMM__WATCH_VALGRIND)
        annotate_enter();
    int result = switch_to(heap, strategy);
    if (heap->watch & HMM__WATCH_VALGRIND)
        annotate_leave();
    return result;
}

const struct hmm_strategy *hmm_heap_strategy(const struct hmm_heap *heap)
{
    return heap->strategy;
}
