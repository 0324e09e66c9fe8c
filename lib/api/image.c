/* SPDX-License-Identifier: MIT */
/*
 * hmm_heap_attach: a heap that lies in memory already, as another process has left it or as it was
 * read from a file. Everything in it is doubted: first the numbers, then the blocks, then the
 * index; nothing is read outside the memory, whatever it holds. Calls the heap and the strategies'
 * names.
 */
#include "api/api.h"

#include "heap/block.h"

#if HMM_WITH_IMAGES

static struct hmm_heap *refuse_image(int code)
{
    hmm__set_errno(code);
    return NULL;
}

/* 0, or why the image is none of this build's. An image of another byte order has no magic. */
static int id_error(const struct hmm__image_id *id)
{
    if (id->magic != HMM__IMAGE_MAGIC)
        return EINVAL;
    if (id->version != HMM__IMAGE_VERSION)
        return EPROTO;
    if (id->granule != HMM_GRANULE || id->header_bytes != HMM_HEADER_BYTES ||
        id->word_bytes != sizeof(size_t))
        return EINVAL;
    return id->heap_bytes != sizeof(struct hmm_heap) ? EPROTO : 0;
}

static const struct hmm_strategy *built_in(unsigned index)
{
#if HMM__SMALL
    return hmm__built_in(index);
#else
    return hmm_strategy_at(index);
#endif
}

/* A built-in strategy: a plug-in is not loaded because an image says so. */
static const struct hmm_strategy *strategy_named(const char *name, size_t room)
{
    const struct hmm_strategy *s;
    for (unsigned i = 0; (s = built_in(i)) != NULL; i++) {
        size_t n = 0;
        while (n < room && name[n] == s->name[n] && name[n] != '\0')
            n++;
        if (n < room && name[n] == '\0' && s->name[n] == '\0')
            return s;
    }
    return NULL;
}

/* Whether each header leads to the next, up to the top, which has its header (B1, B5). */
static bool blocks_lead_to_top(const struct hmm_heap *h)
{
    hmm_ref r = h->first;
    while (r != h->top) {
        uint32_t n = block_size(h, r);
        if (n < HMM_MIN_GRANULES || n > h->top - r)
            return false;
        r += n;
    }
    return block_header(h, r) == HMM__FREE;
}

#if HMM__SMALL

/* Whether the region's parts are in order, in a region of so many bytes. */
static bool small_is_valid(const struct hmm_heap *h, const struct hmm_strategy *s, size_t bytes,
                           uint32_t skew)
{
    size_t capacity = hmm__small_capacity(bytes);
    return h->id.granules == capacity / HMM_GRANULE && h->limit == h->id.granules &&
           h->skew == skew && h->first != 0 && h->first == hmm__small_first(s, capacity) &&
           h->first <= h->top && h->top <= h->limit && h->top <= h->top_peak &&
           h->top_peak <= h->limit && blocks_lead_to_top(h);
}

struct hmm_heap *hmm_heap_attach(void *memory, size_t size)
{
    uint32_t skew = (uint32_t)(-(uintptr_t)memory & (HMM_GRANULE - 1));
    if (memory == NULL || size < skew + sizeof(struct hmm_heap))
        return refuse_image(EINVAL);
    struct hmm_heap *h = (struct hmm_heap *)(void *)((char *)memory + skew);
    int code = id_error(&h->id);
    if (code != 0)
        return refuse_image(code);
    const struct hmm_strategy *s = strategy_named(h->id.strategy, sizeof h->id.strategy);
    if (s == NULL)
        return refuse_image(ENOENT);
    if (!small_is_valid(h, s, size - skew, skew))
        return refuse_image(EINVAL);
#if !HMM__ONE_STRATEGY
    h->strategy = s;
#endif
    return hmm__verify(h) == NULL ? h : refuse_image(EINVAL);
}

#else

/* Whether the region's parts are in order (B6), in a region of so many granules. */
static bool parts_are_valid(const struct hmm_heap *h, uint32_t granules, uint32_t skew)
{
    return h->id.granules == granules && h->capacity <= granules && h->region == h->capacity &&
           h->high_limit == h->capacity && h->skew == skew && h->limit <= h->high_limit &&
           h->first <= h->top && h->top <= h->brk && h->brk <= h->limit && h->brk <= h->brk_peak &&
           h->brk_peak <= h->capacity &&
           (size_t)h->first * HMM_GRANULE >= sizeof *h + HMM_HEADER_BYTES &&
           h->extent == h->top - h->first;
}

static bool is_used_block(const struct hmm_heap *h, size_t at, size_t bytes)
{
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if ((size_t)r * HMM_GRANULE == at)
            return !(block_header(h, r) & HMM__FREE) && header_usable(block_header(h, r)) >= bytes;
    return false;
}

/* Whether a state of so many bytes is where its place says. */
static bool state_is_placed(const struct hmm_heap *h, size_t bytes)
{
    switch ((int)h->state_place) {
    case HMM__STATE_LOW:
        return h->limit == h->high_limit && h->state_at == sizeof *h && bytes <= low_bytes(h);
    case HMM__STATE_HIGH:
        return hmm__granules_up(bytes) <= h->high_limit &&
               h->limit == h->high_limit - hmm__granules_up(bytes) &&
               h->state_at == (size_t)h->limit * HMM_GRANULE;
    case HMM__STATE_BLOCK:
        return h->limit == h->high_limit && is_used_block(h, h->state_at, bytes);
    default:
        return false;
    }
}

/* A cache has pointers; and what commits pages may have gaps, and a state elsewhere. */
static bool has_parts_elsewhere(const struct hmm_heap *h)
{
    return h->cache != NULL || h->page_source != NULL || h->gap_granules != 0;
}

struct hmm_heap *hmm_heap_attach(void *memory, size_t size)
{
    uint32_t skew = (uint32_t)(-(uintptr_t)memory & (HMM_GRANULE - 1));
    if (memory == NULL || size < skew + sizeof(struct hmm_heap))
        return refuse_image(EINVAL);
    struct hmm_heap *h = (struct hmm_heap *)(void *)((char *)memory + skew);
    size_t granules = (size - skew) / HMM_GRANULE;
    uint32_t whole =
        (uint32_t)(granules < HMM__REF_GRANULES_MAX ? granules : HMM__REF_GRANULES_MAX);
    int code = id_error(&h->id);
    if (code != 0)
        return refuse_image(code);
    const struct hmm_strategy *s = strategy_named(h->id.strategy, sizeof h->id.strategy);
    if (s == NULL)
        return refuse_image(ENOENT);
    if (has_parts_elsewhere(h) || !parts_are_valid(h, whole, skew) || !blocks_lead_to_top(h) ||
        !state_is_placed(h, s->state_size(hmm_heap_capacity(h))))
        return refuse_image(EINVAL);
    hmm__derive_handle(h, s);
    if (hmm__verify(h) != NULL)
        return refuse_image(EINVAL);
    hmm__set_entries(h);
    return h;
}

#endif

#endif
