/* SPDX-License-Identifier: MIT */
/*
 * malloc and free, written once and compiled for each strategy: find, take, split; merge, give.
 *
 * A strategy that is built with the library has them made of its own index functions, which are
 * inlined here (struct hmm_strategy's malloc_whole and free_whole); for others the core makes them
 * of the hooks. What is rare is in heap.c.
 */
#ifndef HMM_VERBS_H
#define HMM_VERBS_H

#include "block.h"

/* As the hooks of struct hmm_strategy, but that payloads and sizes come with the blocks: what is
 * free already has its header and footer, but the strategy need not read them. */
typedef void insert_verb(struct hmm_heap *h, void *state, hmm_ref r, char *p, uint32_t size);
typedef void resize_verb(struct hmm_heap *h, void *state, hmm_ref was, char *was_p,
                         uint32_t was_size, hmm_ref now, char *now_p, uint32_t size);

/* A free on its way: block r at p, of header `word`, below a block of header `above`; `room`
 * is how many granules there are from r to the top, in the scale of a span. */
typedef void merge_verb(struct hmm_heap *h, char *p, hmm_ref r, uint32_t word, uint32_t above,
                        size_t room);

/* heap.c: what is rare. */
HMM__HIDDEN void *hmm__malloc_else(struct hmm_heap *h, uint32_t n);
HMM__HIDDEN void hmm__melt(struct hmm_heap *h, char *p, hmm_ref r, uint32_t word, uint32_t above);
HMM__HIDDEN HMM__COLD void hmm__free_unsound(struct hmm_heap *h, void *payload);
HMM__HIDDEN HMM__COLD void hmm__release_and_spare(struct hmm_heap *h, hmm_ref r);
HMM__HIDDEN HMM__COLD void hmm__release_far(struct hmm_heap *h, char *p, hmm_ref r, uint32_t word,
                                            uint32_t above, size_t room);

/*
 * Makes a used block of the low n granules of a free block, and of the others, which are a block's
 * at least, a free one:
 *
 *     | p, free, n + rest           |  ->  | p, used, n | free, rest |
 */
HMM__ALWAYS_INLINE void carve_low(char *p, uint32_t n, uint32_t rest)
{
    uint32_t span = header_make(n, 0), above = header_make(rest, HMM__FREE);
    word_store(p + span_bytes(span), above);
    footer_store(p + span_bytes(header_make(n + rest, 0)), above - HMM__FREE);
    word_lessen(p, above);
}

/* A free block becomes a used one whole. */
HMM__ALWAYS_INLINE void carve_whole(char *p, uint32_t size)
{
    char *end = p + span_bytes(header_make(size, 0));
    word_clear(end, HMM__PREV_FREE);
    word_lessen(p, HMM__FREE);
}

/* One or the other, of a free block that the index has let go; the remainder is in the index
 * already. Returns the used block's size. */
HMM__ALWAYS_INLINE uint32_t carve(struct hmm_heap *h, char *p, uint32_t n, uint32_t size)
{
    if (size - n >= HMM_MIN_GRANULES) {
        carve_low(p, n, size - n);
        h->splits++;
        return n;
    }
    carve_whole(p, size);
    h->free_unbinned--;
    return size;
}

/* The same, and it is the answer to a request. */
HMM__ALWAYS_INLINE void *serve(struct hmm_heap *h, hmm_ref r, uint32_t n, uint32_t size)
{
    char *p = block_payload(h, r);
    live_add(h, block_usable(carve(h, p, n, size)));
    return p;
}

/* From the top as far as it goes up to the break. NULL: not so far. */
HMM__ALWAYS_INLINE void *serve_top(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = h->top;
    if (hmm__unlikely(h->brk - r < n))
        return NULL;
    char *p = block_payload(h, r);
    uint32_t span = header_make(n, 0);
    word_store(p, span);
    word_store(p + span_bytes(span), HMM__FREE);
    h->top = r + n;
    h->extent += n;
    h->top_blocks++;
    live_add(h, span_bytes(span) - HMM_HEADER_BYTES);
    return p;
}

/* Whether the free block above p's, of span nn, is there: its footer says the same, below the top,
 * to which there are `left` granules, times eight. */
HMM__ALWAYS_INLINE bool above_agrees(const char *end, uint32_t nn, size_t left)
{
    return nn < left && footer_load(end + span_bytes(nn)) == nn;
}

HMM__ALWAYS_INLINE bool below_agrees(const struct hmm_heap *h, hmm_ref r, const char *p,
                                     uint32_t below)
{
    return header_size(below) <= r - h->first &&
           (word_load(p - span_bytes(below)) & ~(uint32_t)HMM__PREV_FREE) == (below | HMM__FREE);
}

/* Pages go back to the system only where a large block becomes free. */
#define SPARE_GRANULES 64u

HMM__ALWAYS_INLINE bool spare_is_due(const struct hmm_heap *h, uint32_t span)
{
    return span >= header_make(SPARE_GRANULES, 0) && h->live_below_peak > h->spare_at;
}

/*
 * A free block above, or the top; `prev_bit` tells of the block below, which stays apart:
 *
 *     | r, n | free, nn |  ->  | free, n + nn |
 */
HMM__ALWAYS_INLINE void merge_above_by(struct hmm_heap *h, char *p, hmm_ref r, uint32_t word,
                                       uint32_t above, size_t room, uint32_t prev_bit,
                                       resize_verb *resize)
{
    uint32_t span = header_span(word), nn = header_span(above), joint;
    size_t left = room - span;
    char *end = p + span_bytes(span);
    if (left == 0) {
        hmm__melt(h, p, r, word, above);
        return;
    }
    if (hmm__unlikely(!above_agrees(end, nn, left))) {
        hmm__free_unsound(h, p);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(span, nn, &joint))) {
        hmm__release_far(h, p, r, word, above, room);
        return;
    }
    if (hmm__unlikely(spare_is_due(h, joint))) {
        hmm__release_and_spare(h, r);
        return;
    }
    word_store(p, joint | HMM__FREE | prev_bit);
    footer_store(p + span_bytes(joint), joint);
    h->merges++;
    resize(h, h->state, r + header_size(span), end, header_size(nn), r, p, header_size(joint));
}

/*
 * A free block below, none above:
 *
 *     | free, pn | r, n |  ->  | free, pn + n |
 */
HMM__ALWAYS_INLINE void merge_below_by(struct hmm_heap *h, char *p, hmm_ref r, uint32_t word,
                                       uint32_t above, size_t room, resize_verb *resize)
{
    uint32_t span = header_span(word), below = footer_load(p), joint;
    char *low = p - span_bytes(below), *end = p + span_bytes(span);
    if (hmm__unlikely(!below_agrees(h, r, p, below))) {
        hmm__free_unsound(h, p);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(span, below, &joint))) {
        hmm__release_far(h, p, r, word, above, room);
        return;
    }
    if (hmm__unlikely(spare_is_due(h, joint))) {
        hmm__release_and_spare(h, r);
        return;
    }
    word_store(p, word | HMM__FREE);
    word_add(low, span);
    footer_store(end, joint);
    word_store(end, above | HMM__PREV_FREE);
    h->merges++;
    hmm_ref now = r - header_size(below);
    resize(h, h->state, now, low, header_size(below), now, low, header_size(joint));
}

/*
 * A free block below, and one, or the top, above:
 *
 *     | free, pn | r, n | free, nn |  ->  | free, pn + n + nn |
 */
HMM__ALWAYS_INLINE void merge_both_by(struct hmm_heap *h, char *p, hmm_ref r, uint32_t word,
                                      uint32_t above, size_t room, insert_verb *drop,
                                      resize_verb *resize)
{
    uint32_t span = header_span(word), nn = header_span(above), below = footer_load(p);
    uint32_t upper, joint;
    size_t left = room - span;
    char *low = p - span_bytes(below), *end = p + span_bytes(span);
    if (left == 0) {
        hmm__melt(h, p, r, word, above);
        return;
    }
    if (hmm__unlikely(!below_agrees(h, r, p, below) || !above_agrees(end, nn, left))) {
        hmm__free_unsound(h, p);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(span, nn, &upper) ||
                      __builtin_add_overflow(below, upper, &joint))) {
        hmm__release_far(h, p, r, word, above, room);
        return;
    }
    if (hmm__unlikely(spare_is_due(h, joint))) {
        hmm__release_and_spare(h, r);
        return;
    }
    drop(h, h->state, r + header_size(span), end, header_size(nn));
    word_store(p, word | HMM__FREE);
    word_add(low, upper);
    footer_store(low + span_bytes(joint), joint);
    h->merges += 2;
    h->free_unbinned--;
    hmm_ref now = r - header_size(below);
    resize(h, h->state, now, low, header_size(below), now, low, header_size(joint));
}

/* Used block r at p becomes free, whole, and has no free neighbour. */
HMM__ALWAYS_INLINE void release_alone(struct hmm_heap *h, char *p, hmm_ref r, uint32_t span,
                                      uint32_t above, insert_verb *insert)
{
    char *end = p + span_bytes(span);
    if (hmm__unlikely(spare_is_due(h, span))) {
        hmm__release_and_spare(h, r);
        return;
    }
    word_store(p, span | HMM__FREE);
    footer_store(end, span);
    word_store(end, above | HMM__PREV_FREE);
    h->free_unbinned++;
    insert(h, h->state, r, p, header_size(span));
}

/* Used block r at p, of header `word`, becomes free, whole. `above` is the header above it. */
HMM__ALWAYS_INLINE void release_beside(struct hmm_heap *h, char *p, hmm_ref r, uint32_t word,
                                       uint32_t above, size_t room, merge_verb *merge_above,
                                       merge_verb *merge_below, merge_verb *merge_both)
{
    if (!(above & HMM__FREE))
        merge_below(h, p, r, word, above, room);
    else if (word & HMM__PREV_FREE)
        merge_both(h, p, r, word, above, room);
    else
        merge_above(h, p, r, word, above, room);
}

/* What an address, its header and the next tell of a block. */
struct seen {
    size_t room; /* from it to the top, in the scale of a span */
    hmm_ref r;
    uint32_t word, span, above;
};

enum { HMM__MARKS = HMM__FREE | HMM__PREV_FREE };

/* Whether p could be a block of the heap that ends in it. */
HMM__ALWAYS_INLINE bool is_placed(const struct hmm_heap *h, const char *p, struct seen *b)
{
    size_t at = ref_or_more(h, p);
    b->r = (hmm_ref)at;
    size_t granules = h->top - at;
    if (hmm__unlikely(granules > h->extent))
        return false;
    b->room = granules << HMM__SIZE_SHIFT;
    b->word = word_load(p);
    b->span = header_span(b->word);
    if (hmm__unlikely((size_t)b->span - header_make(1, 0) >= b->room))
        return false;
    b->above = word_load(p + span_bytes(b->span));
    return true;
}

/* Whether it is in use, as far as its header and the next tell. */
HMM__ALWAYS_INLINE bool is_used(const struct seen *b)
{
    return !(b->word & HMM__FREE) && !(b->above & HMM__PREV_FREE);
}

/* The tests, with those of the merges, are the ones of hmm__seems_sound, made in passing. */
HMM__ALWAYS_INLINE void free_by(struct hmm_heap *h, char *p, insert_verb *insert,
                                merge_verb *merge_above, merge_verb *merge_below,
                                merge_verb *merge_both)
{
    struct seen b;
    if (hmm__unlikely(!is_placed(h, p, &b))) {
        hmm__free_unsound(h, p);
        return;
    }
    hmm__forget(b.span);
    if (((b.word | b.above) & HMM__MARKS) == 0) {
        live_sub(h, span_bytes(b.span) - HMM_HEADER_BYTES);
        release_alone(h, p, b.r, b.span, b.above, insert);
        return;
    }
    if (hmm__unlikely(!is_used(&b))) {
        hmm__free_unsound(h, p);
        return;
    }
    live_sub(h, span_bytes(b.span) - HMM_HEADER_BYTES);
    release_beside(h, p, b.r, b.word, b.above, b.room, merge_above, merge_below, merge_both);
}

#endif
