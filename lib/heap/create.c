/* SPDX-License-Identifier: MIT */
/*
 * Creating a heap: the layout of its control structures in the region. Calls brk.c, pages.c and the
 * strategy's start.
 */
#include "heap/block.h"

#if !HMM__SMALL

bool hmm__strategy_is_valid(const struct hmm_strategy *s)
{
    return s != NULL && s->abi == HMM_STRATEGY_ABI && s->name != NULL && s->state_size != NULL &&
           s->find != NULL && s->insert != NULL && s->remove != NULL;
}

/* bytes <= those of the region. */
uint32_t hmm__granules_up(size_t bytes)
{
    return (uint32_t)(((uint64_t)bytes + HMM_GRANULE - 1) / HMM_GRANULE);
}

static void identify_image(struct hmm_heap *h, uint32_t granules)
{
    _Static_assert(sizeof *h <= UINT16_MAX, "heap_bytes has room");
    image_identify(&h->id, sizeof *h, granules);
}

/* Copies the strategy's functions, or their defaults, into the heap. */
static void set_strategy(struct hmm_heap *h, const struct hmm_strategy *s)
{
    HMM_ASSERT(hmm__strategy_is_valid(s));
    h->strategy = s;
    image_name(&h->id, s->malloc_whole != NULL ? s->name : NULL);
    h->uncached_malloc = s->malloc_whole ? s->malloc_whole : hmm__malloc_by_hooks;
    h->uncached_free = s->free_whole ? s->free_whole : hmm__free_by_hooks;
    h->take = s->take ? s->take : hmm__default_take;
    h->resize = s->resize ? s->resize : hmm__default_resize;
    h->placed = s->placed;
}

void hmm__adopt_strategy(struct hmm_heap *h, const struct hmm_strategy *s, void *state,
                         bool is_zero)
{
    set_strategy(h, s);
    set_state(h, state);
    if (!is_zero && !(s->flags & HMM_STRATEGY_CLEARS))
        hmm__clear(h, state, s->state_size(hmm_heap_capacity(h)));
    if (s->start)
        s->start(h, state);
}

/* Where nothing is known of the region's pages and of what is zero in them. */
static void begin_handle(struct hmm_heap *h)
{
    memset((char *)h + HMM__IMAGE_BYTES, 0, sizeof *h - HMM__IMAGE_BYTES);
    h->large_above = UINT32_MAX;
    h->committed_end = UINT32_MAX;
    h->zero_top = h->top;
    h->check_level = 1;
}

void hmm__derive_handle(struct hmm_heap *h, const struct hmm_strategy *strategy)
{
    HMM_ASSERT(h->state_place != HMM__STATE_APART);
    begin_handle(h);
    set_strategy(h, strategy);
    h->state = (char *)h + h->state_at;
    hmm__brk_settle(h);
}

static struct hmm_heap *refuse(int code)
{
    hmm__set_errno(code);
    return NULL;
}

/* Granules of the control structures and of the first block's header. */
static uint64_t control_granules(size_t state_bytes)
{
    uint64_t bytes = (uint64_t)sizeof(struct hmm_heap) + state_bytes + HMM_HEADER_BYTES;
    return (bytes + HMM_GRANULE - 1) / HMM_GRANULE;
}

/* Aligns the region and counts its granules, at most HMM__REF_GRANULES_MAX. 0 where it would end
 * beyond all addresses. */
static uint32_t region_granules(void **memory, size_t size, uint32_t *skew)
{
    size_t gap = (size_t)(-(uintptr_t)*memory & (HMM_GRANULE - 1));
    if (size < gap || (uint64_t)size - gap > (uint64_t)UINTPTR_MAX - (uintptr_t)*memory - gap + 1)
        return 0;
    *memory = (char *)*memory + gap;
    *skew = (uint32_t)gap;
    size_t granules = (size - gap) / HMM_GRANULE;
    return granules < HMM__REF_GRANULES_MAX ? (uint32_t)granules : HMM__REF_GRANULES_MAX;
}

/* Whether a region of `limit` granules has room for the control structures and a block. */
static bool has_room(const struct hmm_strategy *s, uint32_t limit)
{
    size_t bytes = (size_t)limit * HMM_GRANULE, state_bytes = s->state_size(bytes);
    return state_bytes <= bytes && control_granules(state_bytes) + HMM_MIN_GRANULES <= limit;
}

/* The size of a state may double, mostly at a power of two of the capacity. A tiny region may have
 * room for the smaller state only: then less of the region is used. */
static uint32_t power_of_two_below(uint32_t limit)
{
    uint32_t power = 1;
    while (power <= limit / 2)
        power *= 2;
    return limit == 0 ? 0 : power;
}

/* Where the table of large free blocks begins, at a page, in a region that ends at `whole`. */
static uint32_t below_table(const void *memory, uint32_t whole)
{
    size_t bytes = hmm__large_table_bytes((size_t)whole * HMM_GRANULE) + 4096;
    if (bytes >= (size_t)whole * HMM_GRANULE)
        return 0;
    uintptr_t end = (uintptr_t)memory + (size_t)whole * HMM_GRANULE - bytes + 4095;
    return (uint32_t)(((end & ~(uintptr_t)4095) - (uintptr_t)memory) / HMM_GRANULE);
}

static bool add_table(struct hmm_heap *h, uint32_t whole)
{
    h->large = block_payload(h, h->limit);
    h->large_bytes = (size_t)(whole - h->limit) * HMM_GRANULE;
    h->large_above = header_make(HMM__LARGE_GRANULES, 0) - 1;
    h->release_after = HMM__RELEASE_AFTER;
    return hmm__commit_table(h, h->first);
}

struct hmm_heap *hmm__create(void *memory, size_t size, const struct hmm_strategy *strategy,
                             bool zeroed, const struct hmm__page_source *page_source)
{
    uint32_t skew = 0;
    if (!hmm__strategy_is_valid(strategy))
        return refuse(EINVAL);
    if (memory == NULL)
        return refuse(ENOMEM);
    uint32_t limit = region_granules(&memory, size, &skew), whole = limit;
    if (page_source)
        limit = below_table(memory, limit);
    if (!has_room(strategy, limit)) {
        limit = power_of_two_below(limit);
        if (!has_room(strategy, limit))
            return refuse(ENOMEM);
    }
    bool apart = hmm__state_goes_apart(page_source, strategy, limit);
    size_t state_bytes = apart ? 0 : strategy->state_size((size_t)limit * HMM_GRANULE);
    struct hmm_heap *h = memory;
    hmm_ref first = (uint32_t)control_granules(state_bytes);
    if (page_source && !page_source->commit(memory, (char *)memory + (size_t)first * HMM_GRANULE))
        return refuse(ENOMEM);
    memset(h, 0, HMM__IMAGE_BYTES);
    identify_image(h, whole);
    h->skew = skew;
    h->limit = h->high_limit = h->region = h->capacity = limit;
    h->first = h->top = h->brk = first;
    begin_handle(h);
    h->page_source = page_source;
    h->sparse = zeroed;
    h->committed_end = page_source ? first : UINT32_MAX;
    h->zero_limit = zeroed || page_source ? limit : 0;
    if (page_source && !add_table(h, whole))
        return refuse(ENOMEM);
    void *state = h + 1;
    if (apart) {
        h->capacity = hmm__apart_capacity(h, first);
        h->state_place = HMM__STATE_APART;
        state = hmm__apart_room(h, strategy, h->capacity, 0);
        if (state == NULL)
            return refuse(ENOMEM);
    }
    hmm__adopt_strategy(h, strategy, state, zeroed);
    block_make_top(h, h->first);
    hmm__brk_settle(h);
    return h;
}

#endif
