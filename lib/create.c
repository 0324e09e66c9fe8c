/* SPDX-License-Identifier: MIT */
/*
 * A heap's beginning and end, and the live switch of its strategy.
 */
#include "annotate.h"
#include "block.h"

bool hmm__strategy_is_sound(const struct hmm_strategy *s)
{
    return s != NULL && s->abi == HMM_STRATEGY_ABI && s->name != NULL && s->state_size != NULL &&
           s->find != NULL && s->insert != NULL && s->remove != NULL;
}

static uint32_t granules_up(size_t bytes)
{
    return (uint32_t)((bytes + HMM_GRANULE - 1) / HMM_GRANULE);
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
        memset(state, 0, s->state_size(hmm_heap_capacity(h)));
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

/* Aligns the region and counts its granules; at most what a ref can name. */
static uint32_t region_granules(void **memory, size_t size, uint32_t *skew)
{
    size_t gap = (size_t)(-(uintptr_t)*memory & (HMM_GRANULE - 1));
    if (size < gap)
        return 0;
    *memory = (char *)*memory + gap;
    *skew = (uint32_t)gap;
    size_t granules = (size - gap) / HMM_GRANULE;
    return granules < UINT32_MAX ? (uint32_t)granules : UINT32_MAX;
}

struct hmm_heap *hmm__heap_create(void *memory, size_t size, const struct hmm_strategy *strategy,
                                  bool zeroed)
{
    uint32_t skew = 0;
    if (!hmm__strategy_is_sound(strategy))
        return refuse(EINVAL);
    if (memory == NULL)
        return refuse(ENOMEM);
    uint32_t limit = region_granules(&memory, size, &skew);
    size_t state_bytes = strategy->state_size((size_t)limit * HMM_GRANULE);
    if (state_bytes > (size_t)limit * HMM_GRANULE ||
        control_granules(state_bytes) + HMM_MIN_GRANULES > limit)
        return refuse(ENOMEM);
    struct hmm_heap *h = memory;
    memset(h, 0, sizeof *h);
    h->skew = skew;
    h->limit = h->high_limit = limit;
    h->first = h->brk = (uint32_t)control_granules(state_bytes);
    h->low_bytes = h->first * HMM_GRANULE - HMM_HEADER_BYTES - (uint32_t)sizeof *h;
    h->zeroed = zeroed;
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
    return hmm__heap_create(memory, size, strategy, false);
}

void hmm_heap_destroy(struct hmm_heap *heap)
{
    if (heap != NULL && (heap->watch & HMM__WATCH_VALGRIND))
        annotate_region_end(block_header_at(heap, heap->first),
                            (size_t)(heap->high_limit - heap->first) * HMM_GRANULE +
                                HMM_HEADER_BYTES);
}

/* ---- The live switch ---- */

/* Room for a state of this size, somewhere; NULL: there is none. Leaves the old state whole. */
static void *find_room(struct hmm_heap *h, size_t size, enum hmm__state_place *place)
{
    uint32_t n = granules_up(size);
    if (size <= h->low_bytes) {
        *place = HMM__STATE_LOW;
        return h + 1;
    }
    if (size <= (size_t)(h->high_limit - h->top) * HMM_GRANULE) {
        *place = HMM__STATE_HIGH;
        return block_payload(h, h->high_limit - n);
    }
    *place = HMM__STATE_BLOCK;
    return hmm__malloc(h, size);
}

static void rebuild(struct hmm_heap *h)
{
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if (block_header(h, r) & HMM__FREE)
            h->strategy->insert(h, h->state, r);
}

static int switch_to(struct hmm_heap *h, const struct hmm_strategy *s)
{
    enum hmm__state_place place, was = h->state_place;
    void *old = h->state;
    size_t size = s->state_size(hmm_heap_capacity(h));
    void *state = find_room(h, size, &place);
    if (state == NULL) {
        hmm__set_errno(ENOMEM);
        return -1;
    }
    h->limit = place == HMM__STATE_HIGH ? h->high_limit - granules_up(size) : h->high_limit;
    if (h->brk > h->limit)
        h->brk = h->limit;
    hmm__brk_settle(h);
    h->state_place = place;
    adopt(h, s, state, false);
    hmm__set_watch(h, h->watch);
    rebuild(h);
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
