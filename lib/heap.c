/* SPDX-License-Identifier: MIT */
/*
 * malloc and free for strategies that leave them to the core, what is rare in all of them, and the
 * doors. The common ways are in verbs.h.
 */
#include "front.h"
#include "verbs.h"

void *hmm__fail(struct hmm_heap *h)
{
    h->failed++;
    hmm__set_errno(ENOMEM);
    return NULL;
}

/* ---- Where the strategy had none ---- */

/* Used block r, of n granules, is the answer. */
static void *hand_over(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    live_add(h, block_usable(n));
    if (h->placed)
        h->placed(h, h->state, r, n);
    return block_payload(h, r);
}

/* The top is too small as well: whatever search the strategy has left. */
static HMM__COLD void *malloc_last(struct hmm_heap *h, uint32_t n)
{
    const struct hmm_strategy *s = h->strategy;
    hmm_ref r = s->find_last ? s->find_last(h, h->state, n) : 0;
    if (r == 0)
        return hmm__fail(h);
    uint32_t size = block_size(h, r);
    if (hmm__unlikely(!block_is_sound(h, r, block_header(h, r))))
        hmm__block_broken(h, r);
    s->remove(h, h->state, r);
    if (size - n >= HMM_MIN_GRANULES) {
        block_make_free(h, r + n, size - n, 0);
        s->insert(h, h->state, r + n);
    }
    return hand_over(h, r, carve(h, block_payload(h, r), n, size));
}

static __attribute__((noinline)) void *raise_and_malloc(struct hmm_heap *h, uint32_t n)
{
#if HMM__FRONT
    if (h->front != NULL && hmm__front_spare(h->front))
        return hmm__malloc(h, block_usable(n));
#endif
    if (h->limit - h->top < n || !hmm__brk_raise(h, h->top + n))
        return malloc_last(h, n);
    return hmm__malloc_else(h, n);
}

static __attribute__((noinline)) void *tell_placed(struct hmm_heap *h, void *payload, uint32_t n)
{
    h->placed(h, h->state, block_of(h, payload), n);
    return payload;
}

void *hmm__malloc_else(struct hmm_heap *h, uint32_t n)
{
    void *p = serve_top(h, n);
    if (hmm__unlikely(p == NULL))
        return raise_and_malloc(h, n);
    return h->placed ? tell_placed(h, p, n) : p;
}

/* ---- What is rare in freeing ---- */

/*
 * Block r at p ends at the top: it melts into it, and whatever is free below it too. Headers that
 * become part of the top keep FREE, so that a double free is still seen.
 */
void hmm__melt(struct hmm_heap *h, char *p, hmm_ref r)
{
    uint32_t word = word_load(p);
    hmm_ref low = r;
    if (hmm__unlikely(block_header(h, h->top) != HMM__FREE ||
                      ((word & HMM__PREV_FREE) && !below_agrees(h, r, p, footer_load(p), &low)))) {
        hmm__free_unsound(h, p);
        return;
    }
    word_store(p, word | HMM__FREE);
    while (word & HMM__PREV_FREE) {
        r = low;
        h->strategy->remove(h, h->state, r);
        char *q = block_payload(h, r);
        word = word_load(q);
        h->free_unbinned--;
        h->merges++;
        if (hmm__unlikely((word & HMM__PREV_FREE) && !below_agrees(h, r, q, footer_load(q), &low)))
            hmm__block_broken(h, r);
    }
    block_make_top(h, r);
    h->top_blocks--;
    if (hmm__unlikely(r < h->trim_below))
        hmm__brk_lower(h);
    if (hmm__unlikely(h->live_below_peak > h->spare_at))
        hmm__pages_spare(h);
}

void hmm__free_unsound(struct hmm_heap *h, void *payload)
{
    if (payload != NULL && !(h->stray && h->stray(h, payload, "free")))
        hmm__misuse(h, payload, "free");
}

/* A block that is ALIGNED, or below one that is; or not sound. Of an ALIGNED one the record goes.
 */
void hmm__free_else(struct hmm_heap *h, void *payload)
{
    hmm_ref r = block_of(h, payload);
    if (hmm__unlikely(!hmm__seems_sound(h, payload))) {
        hmm__free_unsound(h, payload);
        return;
    }
    uint32_t word = word_load(payload);
    if (word & HMM__ALIGNED) {
        hmm__alignment_of(h, r, "free");
        word_clear(payload, HMM__ALIGNED);
        h->aligned_blocks--;
    }
    live_sub(h, header_usable(word));
    hmm__release(h, r);
}

/* ---- By the hooks ---- */

static void hook_insert(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    (void)p, (void)size;
    h->strategy->insert(h, state, r);
}

static void hook_drop(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size)
{
    (void)p, (void)size;
    h->strategy->remove(h, state, r);
}

static void hook_resize(struct hmm_heap *h, void *state, hmm_ref was, char *was_p, size_t was_size,
                        hmm_ref now, char *now_p, size_t size)
{
    (void)was_p, (void)now_p, (void)size;
    h->resize(h, state, was, (uint32_t)was_size, now);
}

static void hook_merge_above(struct hmm_heap *h, char *p, hmm_ref r, size_t span, uint32_t above,
                             size_t room)
{
    merge_above_by(h, p, r, span, above, room, hook_resize, NULL);
}

static void hook_merge_below(struct hmm_heap *h, char *p, hmm_ref r, size_t span, uint32_t above,
                             size_t room)
{
    (void)above, (void)room;
    merge_below_by(h, p, r, span, hook_resize, NULL);
}

static void hook_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t span, size_t nn,
                           size_t pn)
{
    join_both(h, p, r, span, nn, pn, hook_drop, hook_resize);
}

static void hook_merge_both(struct hmm_heap *h, char *p, hmm_ref r, size_t span, uint32_t above,
                            size_t room)
{
    merge_both_by(h, p, r, span, above, room, hook_join_both, NULL);
}

/* Block r at p becomes free beside one or two free neighbours that cannot all be one with it, being
 * together too large for a header (B3): with one of them, if that can be, or alone. */
static void release_far(struct hmm_heap *h, char *p, hmm_ref r, size_t span, size_t nn, size_t pn)
{
    uint32_t prev_bit = pn ? HMM__PREV_FREE : 0;
    if (nn != 0 && span + nn <= UINT32_MAX) {
        join_above(h, p, r, span, nn, prev_bit, hook_resize);
    } else if (pn != 0 && pn + span <= UINT32_MAX) {
        join_below(h, p, r - (hmm_ref)span_granules(pn), span, pn, hook_resize);
    } else {
        word_store(p, (uint32_t)span + HMM__FREE + prev_bit);
        footer_store(p + span_bytes(span), (uint32_t)span);
        word_set(p + span_bytes(span), HMM__PREV_FREE);
        h->free_unbinned++;
        h->strategy->insert(h, h->state, r);
    }
}

/* Much has been freed since the live bytes were at their most; or a block is too large. While the
 * block is released it is not to be asked again whether pages may go. */
void hmm__release_special(struct hmm_heap *h, char *p, hmm_ref r)
{
    uint32_t word = word_load(p), above = word_load(p + span_bytes(header_span(word)));
    size_t span = header_span(word), nn = above & HMM__FREE ? header_span(above) : 0;
    size_t pn = word & HMM__PREV_FREE ? footer_load(p) : 0;
    if (pn + span + nn > UINT32_MAX) {
        release_far(h, p, r, span, nn, pn);
        return;
    }
    h->spare_at = INTPTR_MAX;
    hmm__release(h, r);
    hmm__pages_spare(h);
}

void *hmm__malloc_by_hooks(struct hmm_heap *h, size_t size)
{
    if (hmm__unlikely(size > HMM_MAX_REQUEST))
        return hmm__fail(h);
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = h->take(h, h->state, n);
    return r ? serve(h, r, n, block_size(h, r)) : hmm__malloc_else(h, n);
}

void hmm__free_by_hooks(struct hmm_heap *h, void *payload)
{
    free_by(h, payload, hook_insert, hook_merge_above, hook_merge_below, hook_merge_both);
}

void hmm__release(struct hmm_heap *h, hmm_ref block)
{
    char *p = block_payload(h, block);
    uint32_t word = word_load(p), above = word_load(p + span_bytes(header_span(word)));
    size_t span = header_span(word), room = (size_t)(h->top - block) << HMM__SIZE_SHIFT;
    bool below = word & HMM__PREV_FREE;
    if (above & HMM__FREE)
        (below ? hook_merge_both : hook_merge_above)(h, p, block, span, above, room);
    else if (below)
        hook_merge_below(h, p, block, span, above, room);
    else
        release_alone(h, p, block, span, hook_insert);
}

/* ---- The doors ---- */

#if HMM__FRONT
HMM__ALWAYS_INLINE size_t front_usable(const struct hmm_heap *h, const void *block)
{
    return h->front ? hmm__front_usable(h->front, block, "usable size of") : 0;
}
#else
HMM__ALWAYS_INLINE size_t front_usable(const struct hmm_heap *h, const void *block)
{
    (void)h, (void)block;
    return 0;
}
#endif

void *hmm_heap_malloc(struct hmm_heap *heap, size_t size)
{
    return heap->malloc_door(heap, size);
}

void *hmm_heap_calloc(struct hmm_heap *heap, size_t count, size_t size)
{
    if (size != 0 && count > (size_t)PTRDIFF_MAX / size)
        return hmm__fail(heap);
    if (hmm__unlikely(heap->watch))
        return hmm__watched_calloc(heap, count, size);
    void *p = heap->malloc_door(heap, count * size);
    return p ? memset(p, 0, hmm_heap_usable_size(heap, p)) : NULL;
}

void hmm_heap_free(struct hmm_heap *heap, void *block)
{
    heap->free_door(heap, block);
}

size_t hmm_heap_usable_size(const struct hmm_heap *heap, const void *block)
{
    if (block == NULL)
        return 0;
    size_t usable = front_usable(heap, block);
    if (usable != 0)
        return usable;
    if (hmm__unlikely(heap->watch))
        return hmm__watched_usable_size(heap, block);
    return header_usable(block_header(heap, block_of(heap, block)));
}
