/* SPDX-License-Identifier: MIT */
/*
 * A heap in few bytes (HMM_WITH_SPEED 0): create, malloc, free by a strategy's find, insert and
 * remove, in place of create.c, allocate.c, brk.c, grow.c, switch.c, pages.c and large.c. It places
 * as they do, address for address. Calls the strategy's hooks.
 *
 * No function here calls itself by way of others, and with one strategy none calls by a pointer.
 * Bound of malloc and free: that of the strategy's find, and one insert and two removes.
 */
#include "heap/block.h"

#if HMM__SMALL

bool hmm__strategy_is_valid(const struct hmm_strategy *s)
{
#if HMM__ONE_STRATEGY
    return s == HMM__THE_STRATEGY;
#else
    return s != NULL && s->abi == HMM_STRATEGY_ABI && s->name != NULL && s->state_size != NULL &&
           s->find != NULL && s->insert != NULL && s->remove != NULL;
#endif
}

#if HMM_WITH_IMAGES

const struct hmm_strategy *hmm__built_in(unsigned index)
{
#if HMM__ONE_STRATEGY
    return index == 0 ? hooks_by(NULL) : NULL;
#else
    const struct hmm_strategy *const all[] = {
#if HMM_WITH_FIRST_FIT
        HMM_FIRST_FIT,
#endif
#if HMM_WITH_NEXT_FIT
        HMM_NEXT_FIT,
#endif
#if HMM_WITH_BEST_FIT
        HMM_BEST_FIT,
#endif
#if HMM_WITH_SEGREGATED
        HMM_SEGREGATED,
#endif
    };
    return index < sizeof all / sizeof all[0] ? all[index] : NULL;
#endif
}

static void identify(struct hmm_heap *h, const struct hmm_strategy *s)
{
    const struct hmm_strategy *known;
    unsigned i = 0;
    while ((known = hmm__built_in(i)) != NULL && known != s)
        i++;
    image_identify(&h->id, sizeof *h, h->limit);
    image_name(&h->id, known != NULL ? known->name : NULL);
}

#endif

/* The bytes of a region up to here can be named by a header, since blocks may merge into one. */
#define SMALL_BYTES_MAX ((uint64_t)HMM_MAX_GRANULES * HMM_GRANULE)

size_t hmm__small_capacity(size_t bytes)
{
    size_t capacity = bytes / HMM_GRANULE * HMM_GRANULE;
    return capacity > SMALL_BYTES_MAX ? (size_t)SMALL_BYTES_MAX : capacity;
}

hmm_ref hmm__small_first(const struct hmm_strategy *s, size_t capacity)
{
    size_t state = s->state_size(capacity);
    size_t first =
        (sizeof(struct hmm_heap) + HMM_HEADER_BYTES + HMM_GRANULE - 1 + state) / HMM_GRANULE;
    bool fits = state <= capacity && first + HMM_MIN_GRANULES <= capacity / HMM_GRANULE;
    return fits ? (hmm_ref)first : 0;
}

/* Makes the heap at h, `gap` bytes above its region. NULL: there is no room for a block. */
static struct hmm_heap *create_at(struct hmm_heap *h, size_t gap, size_t bytes,
                                  const struct hmm_strategy *s)
{
    size_t capacity = hmm__small_capacity(bytes);
    hmm_ref first = hmm__small_first(s, capacity);
    if (first == 0)
        return NULL;
    memset(h, 0, (size_t)first * HMM_GRANULE - HMM_HEADER_BYTES);
#if HMM__COUNTS
    h->skew = (uint32_t)gap;
#else
    (void)gap;
#endif
#if !HMM__ONE_STRATEGY
    h->strategy = s;
#endif
    h->limit = (hmm_ref)(capacity / HMM_GRANULE);
    h->first = first;
#if HMM_WITH_IMAGES
    identify(h, s);
#endif
    block_make_top(h, first);
    if (s->start != NULL)
        s->start(h, state_of(h));
    return h;
}

struct hmm_heap *hmm_heap_create(void *memory, size_t size, const struct hmm_strategy *strategy)
{
    uintptr_t at = (uintptr_t)memory;
    size_t gap = (size_t)(-at & (HMM_GRANULE - 1));
    struct hmm_heap *h = NULL;
    int code = EINVAL;
    if (hmm__strategy_is_valid(strategy)) {
        code = ENOMEM;
        if (memory != NULL && size >= gap && size - gap <= UINTPTR_MAX - at - gap)
            h = create_at((void *)((char *)memory + gap), gap, size - gap, hooks_by(strategy));
    }
    if (h == NULL)
        hmm__set_errno(code);
    return h;
}

void *hmm_heap_break(const struct hmm_heap *heap)
{
    return block_payload(heap, heap->top);
}

void *hmm__fail(struct hmm_heap *h, size_t size)
{
    (void)h, (void)size;
    COUNT(h->failed++);
    hmm__set_errno(ENOMEM);
    return NULL;
}

/* ---- malloc ---- */

/* The free block for the request, else the top, as a free block; 0: none is large enough. *found:
 * by the strategy's take or find. */
static hmm_ref find_room(struct hmm_heap *h, uint32_t n, bool *found)
{
    const struct hmm_strategy *s = hooks_of(h);
    hmm_ref r = s->take != NULL ? s->take(h, state_of(h), n) : s->find(h, state_of(h), n);
    *found = r != 0;
    if (r == 0 && h->limit - h->top >= n)
        r = h->top;
    if (r == 0 && s->find_last != NULL)
        r = s->find_last(h, state_of(h), n);
    return r;
}

/* Whether free block r is out of the index already, and what is left of it in: by take. */
static bool is_taken(const struct hmm_heap *h, bool found)
{
    return hooks_of(h)->take != NULL && (found || hooks_of(h)->find_last == NULL);
}

/* Makes the top's low n granules a used block. */
static void take_top(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = h->top;
    block_make_top(h, r + n);
    block_set_header(h, r, header_make(n, 0));
    COUNT(h->top_blocks++);
}

/* Makes the low n granules of free block r a used block, or all of it. */
static void take_block(struct hmm_heap *h, hmm_ref r, uint32_t n, bool taken)
{
    const struct hmm_strategy *s = hooks_of(h);
    uint32_t size = block_size(h, r);
#if HMM_WITH_CHECKS
    if (hmm__unlikely(size < n || !block_is_valid(h, r, block_header(h, r))))
        hmm__block_broken(h, r);
#endif
    if (!taken)
        s->remove(h, state_of(h), r);
    uint32_t used = n;
    if (size - n >= HMM_MIN_GRANULES) {
        block_make_free(h, r + n, size - n, 0);
        if (!taken)
            s->insert(h, state_of(h), r + n);
        COUNT(h->splits++);
    } else {
        used = size;
        block_clear_prev_free(h, r + used);
        COUNT(h->free_unbinned--);
    }
    block_set_header(h, r, header_make(used, 0));
}

/* Places n granules at r, which find_room has returned. */
static void *place(struct hmm_heap *h, hmm_ref r, uint32_t n, bool found)
{
    if (r == h->top)
        take_top(h, n);
    else
        take_block(h, r, n, is_taken(h, found));
    uint32_t size = block_size(h, r);
    live_add(h, block_usable(size));
    if (hooks_of(h)->take == NULL || !found)
        say_placed(h, r, size);
    return block_payload(h, r);
}

void *hmm__malloc(struct hmm_heap *h, size_t size)
{
    void *p = NULL;
    if (hmm__likely(size <= HMM_MAX_REQUEST)) {
        uint32_t n = hmm__granules_for(size);
        bool found;
        hmm_ref r = find_room(h, n, &found);
        if (r != 0)
            p = place(h, r, n, found);
    }
    return p != NULL ? p : hmm__fail(h, size);
}

/* ---- free ---- */

/* Frees a used block that is not in the live counts any more. Free block `was` of `was_size`
 * becomes part of it, the lower one where there are two. */
void hmm__release(struct hmm_heap *h, hmm_ref r)
{
    const struct hmm_strategy *s = hooks_of(h);
    uint32_t word = block_header(h, r), n = header_size(word), was_size = 0;
    hmm_ref next = r + n, was = 0;
    block_set_header(h, r, word | HMM__FREE); /* so that a double free is still detected */
    if ((word & HMM__PREV_FREE) != 0) {
        was_size = block_footer_below(h, r);
        was = r -= was_size;
        n += was_size;
        COUNT(h->free_unbinned--);
        COUNT(h->merges++);
    }
    if (next == h->top) {
        if (was != 0)
            s->remove(h, state_of(h), was);
        block_make_top(h, r);
        COUNT(h->top_blocks--);
        return;
    }
    if ((block_header(h, next) & HMM__FREE) != 0) {
        uint32_t size = block_size(h, next);
        n += size;
        if (was != 0) {
            s->remove(h, state_of(h), next);
        } else {
            was = next;
            was_size = size;
        }
        COUNT(h->free_unbinned--);
        COUNT(h->merges++);
    }
    if (was != 0 && s->resize == NULL)
        s->remove(h, state_of(h), was);
    block_make_free(h, r, n, 0);
    block_set_header(h, r + n, block_header(h, r + n) | HMM__PREV_FREE);
    COUNT(h->free_unbinned++);
    if (was != 0 && s->resize != NULL)
        s->resize(h, state_of(h), was, was_size, r);
    else
        s->insert(h, state_of(h), r);
}

void hmm__free(struct hmm_heap *h, void *payload)
{
    if (payload == NULL)
        return;
#if HMM_WITH_CHECKS
    if (hmm__unlikely(!hmm__seems_valid(h, payload)))
        hmm__misuse(h, payload, "free");
#endif
    hmm_ref r = block_of(h, payload);
#if HMM_WITH_ALIGNED
    uint32_t word = block_header(h, r);
    live_sub(h, header_usable(word));
    if (word & HMM__ALIGNED) {
#if HMM_WITH_CHECKS
        hmm__alignment_of(h, r, "free");
#endif
        block_set_header(h, r, word & ~(uint32_t)HMM__ALIGNED);
        COUNT(h->aligned_blocks--);
    }
#else
    live_sub(h, block_usable(block_size(h, r)));
#endif
    hmm__release(h, r);
}

#endif
