/* SPDX-License-Identifier: MIT */
/*
 * malloc and free: find, take, split; merge, give.
 */
#include "block.h"

void *hmm__fail(struct hmm_heap *h)
{
    h->failed++;
    hmm__set_errno(ENOMEM);
    return NULL;
}

/* ---- Allocation ---- */

/*
 * Makes a used block of the low n granules of free block r, which the index has let go:
 *
 *     | r, free, s                  |  ->  | r, used, n | r + n, free, s - n |
 *
 * The remainder, if it is large enough to be a block, is in the index already. Returns the used
 * block's span.
 */
HMM__ALWAYS_INLINE uint32_t carve(struct hmm_heap *h, char *p, uint32_t n)
{
    uint32_t word = word_load(p), span = header_make(n, 0), whole = header_span(word);
    char *above = p + span_bytes(whole);
    uint32_t rest = whole - span;
    if (hmm__likely(rest >= header_make(HMM_MIN_GRANULES, 0))) {
        word_store(p + span_bytes(span), rest | HMM__FREE);
        footer_store(above, rest);
        h->splits++;
    } else {
        span = whole;
        word_store(above, word_load(above) & ~(uint32_t)HMM__PREV_FREE);
        h->free_blocks--;
    }
    word_store(p, span | (word & HMM__PREV_FREE));
    return span;
}

HMM__ALWAYS_INLINE hmm_ref top_take(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = h->top;
    if (hmm__unlikely(h->brk - r < n)) {
        if (h->limit - r < n || !hmm__brk_raise(h, r + n))
            return 0;
    }
    block_set_header(h, r, header_make(n, 0));
    block_make_top(h, r + n);
    return r;
}

/* The strategy had none and the top is too small: whatever search it has left. */
static HMM__COLD hmm_ref find_last(struct hmm_heap *h, uint32_t n)
{
    const struct hmm_strategy *s = h->strategy;
    hmm_ref r = s->find_last ? s->find_last(h, h->state, n) : 0;
    if (r == 0)
        return 0;
    s->remove(h, h->state, r);
    hmm_ref rest = r + n;
    if (block_size(h, r) - n >= HMM_MIN_GRANULES) {
        block_make_free(h, rest, block_size(h, r) - n, 0);
        s->insert(h, h->state, rest);
    }
    return r;
}

/* Where the strategy had none: from the top, else by its last search. */
static __attribute__((noinline)) void *malloc_else(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = top_take(h, n);
    uint32_t span = header_make(n, 0);
    if (hmm__unlikely(r == 0)) {
        r = find_last(h, n);
        if (r == 0)
            return hmm__fail(h);
        span = carve(h, block_payload(h, r), n);
    }
    h->live_blocks++;
    live_add(h, span_bytes(span) - HMM_HEADER_BYTES);
    if (h->placed)
        h->placed(h, h->state, r, header_size(span));
    return block_payload(h, r);
}

/* size <= HMM_MAX_REQUEST. */
HMM__ALWAYS_INLINE void *malloc_bare(struct hmm_heap *h, size_t size)
{
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = h->take(h, h->state, n);
    if (hmm__unlikely(r == 0))
        return malloc_else(h, n);
    char *p = block_payload(h, r);
    uint32_t span = carve(h, p, n);
    h->live_blocks++;
    live_add(h, span_bytes(span) - HMM_HEADER_BYTES);
    return p;
}

/* Under watch, or a request that is too large. */
static HMM__COLD void *malloc_with_ado(struct hmm_heap *h, size_t size)
{
    return h->watch ? hmm__watched_malloc(h, size) : hmm__fail(h);
}

void *hmm__malloc(struct hmm_heap *h, size_t size)
{
    return size <= HMM_MAX_REQUEST ? malloc_bare(h, size) : hmm__fail(h);
}

void *hmm_heap_malloc(struct hmm_heap *heap, size_t size)
{
    if (hmm__unlikely(size >= heap->door_below))
        return malloc_with_ado(heap, size);
    return malloc_bare(heap, size);
}

void *hmm_heap_calloc(struct hmm_heap *heap, size_t count, size_t size)
{
    if (size != 0 && count > (size_t)PTRDIFF_MAX / size)
        return hmm__fail(heap);
    if (hmm__unlikely(heap->watch))
        return hmm__watched_calloc(heap, count, size);
    void *p = hmm__malloc(heap, count * size);
    return p ? memset(p, 0, count * size) : NULL;
}

/* ---- Freeing ---- */

/*
 * Block r, of header `word`, ends at the top: it melts into it, and whatever is free below it too.
 * Headers that become part of the top keep FREE, so that a double free is still seen.
 */
static void melt(struct hmm_heap *h, hmm_ref r, uint32_t word)
{
    block_set_header(h, r, word | HMM__FREE);
    while (word & HMM__PREV_FREE) {
        r -= block_footer_below(h, r);
        h->strategy->remove(h, h->state, r);
        word = block_header(h, r);
        h->free_blocks--;
        h->merges++;
    }
    block_make_top(h, r);
    if (hmm__unlikely(r < h->trim_below))
        hmm__brk_lower(h);
}

static HMM__COLD void free_unsound(struct hmm_heap *h, void *payload)
{
    if (payload != NULL && !(h->stray && h->stray(h, payload, "free")))
        hmm__misuse(h, payload, "free");
}

/* Whether the free block above p's, of header `above`, is there: its footer says the same, below
 * the top. */
HMM__ALWAYS_INLINE bool above_agrees(const struct hmm_heap *h, hmm_ref r, const char *p,
                                     uint32_t span, uint32_t above)
{
    uint32_t nn = header_span(above);
    return header_size(nn) < h->top - r - header_size(span) &&
           footer_load(p + span_bytes(span) + span_bytes(nn)) == nn;
}

HMM__ALWAYS_INLINE bool below_agrees(const struct hmm_heap *h, hmm_ref r, const char *p,
                                     uint32_t below)
{
    return header_size(below) <= r - h->first &&
           (word_load(p - span_bytes(below)) & ~(uint32_t)HMM__PREV_FREE) == (below | HMM__FREE);
}

/* Block r becomes free beside a free neighbour that it cannot melt with: they are together too
 * large for a header (B3). */
static HMM__COLD void release_apart(struct hmm_heap *h, hmm_ref r, char *p, uint32_t span,
                                    uint32_t prev_bit)
{
    char *end = p + span_bytes(span);
    word_store(p, span | HMM__FREE | prev_bit);
    footer_store(end, span);
    word_store(end, word_load(end) | HMM__PREV_FREE);
    h->free_blocks++;
    h->insert(h, h->state, r);
}

/*
 * Block r, with a free one above it, or the top:
 *
 *     | r, n | free, nn |  ->  | free, n + nn |
 */
static __attribute__((noinline)) void merge_above(struct hmm_heap *h, hmm_ref r, char *p,
                                                  uint32_t word, uint32_t above)
{
    uint32_t span = header_span(word), joint;
    if (above == HMM__FREE && r + header_size(span) == h->top) {
        melt(h, r, word);
        return;
    }
    if (hmm__unlikely(!above_agrees(h, r, p, span, above))) {
        free_unsound(h, p);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(span, header_span(above), &joint))) {
        release_apart(h, r, p, span, word & HMM__PREV_FREE);
        return;
    }
    word_store(p, joint | HMM__FREE | (word & HMM__PREV_FREE));
    footer_store(p + span_bytes(joint), joint);
    h->merges++;
    h->resize(h, h->state, r + header_size(span), header_size(above), r);
}

/*
 * Block r, of header `word`, with a free one below it:
 *
 *     | free, pn | r, n |  ->  | free, pn + n |
 */
static __attribute__((noinline)) void merge_below(struct hmm_heap *h, hmm_ref r, char *p,
                                                  uint32_t word, uint32_t above)
{
    uint32_t span = header_span(word), below = footer_load(p), joint;
    char *low = p - span_bytes(below), *end = p + span_bytes(span);
    if (hmm__unlikely(!below_agrees(h, r, p, below))) {
        free_unsound(h, p);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(span, below, &joint))) {
        release_apart(h, r, p, span, HMM__PREV_FREE);
        return;
    }
    word_store(p, word | HMM__FREE);
    word_store(low, joint | HMM__FREE | (word_load(low) & HMM__PREV_FREE));
    footer_store(end, joint);
    word_store(end, above | HMM__PREV_FREE);
    h->merges++;
    h->resize(h, h->state, r - header_size(below), header_size(below), r - header_size(below));
}

/*
 * Block r, of header `word`, with a free one below it and one, or the top, above:
 *
 *     | free, pn | r, n | free, nn |  ->  | free, pn + n + nn |
 */
static __attribute__((noinline)) void merge_both(struct hmm_heap *h, hmm_ref r, char *p,
                                                 uint32_t word, uint32_t above)
{
    uint32_t span = header_span(word), below = footer_load(p), upper, joint;
    if (above == HMM__FREE && r + header_size(span) == h->top) {
        melt(h, r, word);
        return;
    }
    if (hmm__unlikely(!below_agrees(h, r, p, below) || !above_agrees(h, r, p, span, above))) {
        free_unsound(h, p);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(span, header_span(above), &upper))) {
        merge_below(h, r, p, word, above);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(below, upper, &joint))) {
        merge_above(h, r, p, word, above);
        return;
    }
    h->strategy->remove(h, h->state, r + header_size(span));
    char *low = p - span_bytes(below);
    word_store(p, word | HMM__FREE);
    word_store(low, joint | HMM__FREE | (word_load(low) & HMM__PREV_FREE));
    footer_store(low + span_bytes(joint), joint);
    h->merges += 2;
    h->free_blocks--;
    h->resize(h, h->state, r - header_size(below), header_size(below), r - header_size(below));
}

/* Used block r at p, of header `word`, becomes free, whole. `above` is the header above it. */
HMM__ALWAYS_INLINE void release(struct hmm_heap *h, hmm_ref r, char *p, uint32_t word,
                                uint32_t above)
{
    if (word & HMM__PREV_FREE) {
        if (above & HMM__FREE)
            merge_both(h, r, p, word, above);
        else
            merge_below(h, r, p, word, above);
    } else if (above & HMM__FREE) {
        merge_above(h, r, p, word, above);
    } else {
        uint32_t span = header_span(word);
        char *end = p + span_bytes(span);
        word_store(p, span | HMM__FREE);
        footer_store(end, span);
        word_store(end, above | HMM__PREV_FREE);
        h->free_blocks++;
        h->insert(h, h->state, r);
    }
}

/* Makes free a used block that the live counts do not count. */
void hmm__release(struct hmm_heap *h, hmm_ref block)
{
    char *p = block_payload(h, block);
    uint32_t word = word_load(p);
    release(h, block, p, word, word_load(p + span_bytes(header_span(word))));
}

/* Much has been freed since the live bytes were at their most. */
static HMM__COLD void release_and_spare(struct hmm_heap *h, hmm_ref r)
{
    hmm__release(h, r);
    hmm__pages_spare(h);
}

/* The tests, with those of the merges, are the ones of hmm__seems_sound, made in passing. What is
 * not below `top` takes the long way. */
HMM__ALWAYS_INLINE void free_bare(struct hmm_heap *h, char *p, hmm_ref top,
                                  void (*otherwise)(struct hmm_heap *, void *))
{
    size_t at = ref_or_more(h, p);
    hmm_ref r = (hmm_ref)at;
    if (hmm__unlikely(at >= top || at < h->first)) {
        otherwise(h, p);
        return;
    }
    uint32_t word = word_load(p);
    if (hmm__unlikely((word & HMM__FREE) || header_size(word) - 1 >= top - r)) {
        free_unsound(h, p);
        return;
    }
    size_t bytes = span_bytes(header_span(word));
    uint32_t above = word_load(p + bytes);
    if (hmm__unlikely(above & HMM__PREV_FREE)) {
        free_unsound(h, p);
        return;
    }
    live_sub(h, bytes - HMM_HEADER_BYTES);
    h->live_blocks--;
    if (hmm__unlikely(h->live_below_peak > h->spare_at)) {
        release_and_spare(h, r);
        return;
    }
    release(h, r, p, word, above);
}

void hmm__free(struct hmm_heap *h, void *payload)
{
    free_bare(h, payload, h->top, free_unsound);
}

static HMM__COLD void free_with_ado(struct hmm_heap *h, void *payload)
{
    if (h->watch)
        hmm__watched_free(h, payload);
    else
        free_unsound(h, payload);
}

void hmm_heap_free(struct hmm_heap *heap, void *block)
{
    free_bare(heap, block, heap->door_top, free_with_ado);
}

size_t hmm_heap_usable_size(const struct hmm_heap *heap, const void *block)
{
    if (block == NULL)
        return 0;
    if (hmm__unlikely(heap->watch))
        return hmm__watched_usable_size(heap, block);
    return block_usable(block_size(heap, block_of(heap, block)));
}
