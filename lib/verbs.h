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

/* As the hooks of struct hmm_strategy, but that sizes come with the blocks: what is free already
 * has its header and footer, but the strategy need not read them. */
typedef void insert_verb(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size);
typedef void resize_verb(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_size,
                         hmm_ref now, uint32_t size);

/* A free on its way: block r at p, of header `word`, below a block of header `above`. */
typedef void merge_verb(struct hmm_heap *h, hmm_ref r, char *p, uint32_t word, uint32_t above);

/* heap.c: what is rare. */
HMM__HIDDEN void *hmm__malloc_else(struct hmm_heap *h, uint32_t n);
HMM__HIDDEN void hmm__melt(struct hmm_heap *h, hmm_ref r, uint32_t word);
HMM__HIDDEN HMM__COLD void hmm__free_unsound(struct hmm_heap *h, void *payload);
HMM__HIDDEN HMM__COLD void hmm__release_and_spare(struct hmm_heap *h, hmm_ref r);
HMM__HIDDEN HMM__COLD void hmm__release_apart(struct hmm_heap *h, hmm_ref r, char *p, uint32_t word,
                                              uint32_t above);

/*
 * Makes a used block of the low n granules of a free block of `size`, which the index has let go:
 *
 *     | p, free, size               |  ->  | p, used, n | free, size - n |
 *
 * The remainder, if it is large enough to be a block, is in the index already. Returns the used
 * block's span.
 */
HMM__ALWAYS_INLINE uint32_t carve(struct hmm_heap *h, char *p, uint32_t n, uint32_t size)
{
    uint32_t span = header_make(n, 0), above = header_make(size - n, HMM__FREE);
    if (size - n >= HMM_MIN_GRANULES) {
        word_store(p + span_bytes(span), above);
        footer_store(p + span_bytes(header_make(size, 0)), above - HMM__FREE);
        word_store(p, word_load(p) - above);
        h->splits++;
    } else {
        span = header_make(size, 0);
        above = word_load(p + span_bytes(span));
        word_store(p + span_bytes(span), above & ~(uint32_t)HMM__PREV_FREE);
        word_store(p, word_load(p) - HMM__FREE);
        h->free_blocks--;
    }
    return span;
}

/* The same, and it is the answer to a request. */
HMM__ALWAYS_INLINE void *serve(struct hmm_heap *h, hmm_ref r, uint32_t n, uint32_t size)
{
    char *p = block_payload(h, r);
    uint32_t span = carve(h, p, n, size);
    h->live_blocks++;
    live_add(h, span_bytes(span) - HMM_HEADER_BYTES);
    return p;
}

/* From the top as far as it goes up to the break. NULL: not so far. */
HMM__ALWAYS_INLINE void *serve_top(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = h->top;
    if (hmm__unlikely(h->brk - r < n))
        return NULL;
    block_set_header(h, r, header_make(n, 0));
    block_make_top(h, r + n);
    h->live_blocks++;
    live_add(h, block_usable(n));
    return block_payload(h, r);
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

/*
 * A free block above, or the top:
 *
 *     | r, n | free, nn |  ->  | free, n + nn |
 */
HMM__ALWAYS_INLINE void merge_above_by(struct hmm_heap *h, hmm_ref r, char *p, uint32_t word,
                                       uint32_t above, resize_verb *resize)
{
    uint32_t span = header_span(word), n = header_size(span), joint;
    if (above == HMM__FREE && r + n == h->top) {
        hmm__melt(h, r, word);
        return;
    }
    if (hmm__unlikely(!above_agrees(h, r, p, span, above))) {
        hmm__free_unsound(h, p);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(span, header_span(above), &joint))) {
        hmm__release_apart(h, r, p, word, above);
        return;
    }
    word_store(p, joint | HMM__FREE | (word & HMM__PREV_FREE));
    footer_store(p + span_bytes(joint), joint);
    h->merges++;
    resize(h, h->state, r + n, header_size(above), r, header_size(joint));
}

/*
 * A free block below, none above:
 *
 *     | free, pn | r, n |  ->  | free, pn + n |
 */
HMM__ALWAYS_INLINE void merge_below_by(struct hmm_heap *h, hmm_ref r, char *p, uint32_t word,
                                       uint32_t above, resize_verb *resize)
{
    uint32_t span = header_span(word), below = footer_load(p), joint;
    char *low = p - span_bytes(below), *end = p + span_bytes(span);
    if (hmm__unlikely(!below_agrees(h, r, p, below))) {
        hmm__free_unsound(h, p);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(span, below, &joint))) {
        hmm__release_apart(h, r, p, word, above);
        return;
    }
    word_store(p, word | HMM__FREE);
    word_store(low, joint | HMM__FREE | (word_load(low) & HMM__PREV_FREE));
    footer_store(end, joint);
    word_store(end, above | HMM__PREV_FREE);
    h->merges++;
    hmm_ref now = r - header_size(below);
    resize(h, h->state, now, header_size(below), now, header_size(joint));
}

/*
 * A free block below, and one, or the top, above:
 *
 *     | free, pn | r, n | free, nn |  ->  | free, pn + n + nn |
 */
HMM__ALWAYS_INLINE void merge_both_by(struct hmm_heap *h, hmm_ref r, char *p, uint32_t word,
                                      uint32_t above, insert_verb *drop, resize_verb *resize)
{
    uint32_t span = header_span(word), below = footer_load(p), upper, joint;
    if (above == HMM__FREE && r + header_size(span) == h->top) {
        hmm__melt(h, r, word);
        return;
    }
    if (hmm__unlikely(!below_agrees(h, r, p, below) || !above_agrees(h, r, p, span, above))) {
        hmm__free_unsound(h, p);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(span, header_span(above), &upper))) {
        merge_below_by(h, r, p, word, above, resize);
        return;
    }
    if (hmm__unlikely(__builtin_add_overflow(below, upper, &joint))) {
        merge_above_by(h, r, p, word, above, resize);
        return;
    }
    drop(h, h->state, r + header_size(span), header_size(above));
    char *low = p - span_bytes(below);
    word_store(p, word | HMM__FREE);
    word_store(low, joint | HMM__FREE | (word_load(low) & HMM__PREV_FREE));
    footer_store(low + span_bytes(joint), joint);
    h->merges += 2;
    h->free_blocks--;
    hmm_ref now = r - header_size(below);
    resize(h, h->state, now, header_size(below), now, header_size(joint));
}

/* Used block r at p, of header `word`, becomes free, whole. `above` is the header above it. */
HMM__ALWAYS_INLINE void release_by(struct hmm_heap *h, hmm_ref r, char *p, uint32_t word,
                                   uint32_t above, insert_verb *insert, merge_verb *merge_above,
                                   merge_verb *merge_below, merge_verb *merge_both)
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
        insert(h, h->state, r, header_size(span));
    }
}

/* Whether p is a used block, as far as its header and the next tell; and these. */
HMM__ALWAYS_INLINE bool is_used(const struct hmm_heap *h, const char *p, hmm_ref *r, uint32_t *word,
                                uint32_t *above)
{
    size_t at = ref_or_more(h, p);
    *r = (hmm_ref)at;
    if (hmm__unlikely(at >= h->top || at < h->first))
        return false;
    *word = word_load(p);
    if (hmm__unlikely((*word & HMM__FREE) || header_size(*word) - 1 >= h->top - *r))
        return false;
    *above = word_load(p + span_bytes(header_span(*word)));
    return hmm__likely(!(*above & HMM__PREV_FREE));
}

/* The tests, with those of the merges, are the ones of hmm__seems_sound, made in passing. */
HMM__ALWAYS_INLINE void free_by(struct hmm_heap *h, char *p, insert_verb *insert,
                                merge_verb *merge_above, merge_verb *merge_below,
                                merge_verb *merge_both)
{
    hmm_ref r;
    uint32_t word, above;
    if (hmm__unlikely(!is_used(h, p, &r, &word, &above))) {
        hmm__free_unsound(h, p);
        return;
    }
    live_sub(h, span_bytes(header_span(word)) - HMM_HEADER_BYTES);
    h->live_blocks--;
    if (hmm__unlikely(h->live_below_peak > h->spare_at)) {
        hmm__release_and_spare(h, r);
        return;
    }
    release_by(h, r, p, word, above, insert, merge_above, merge_below, merge_both);
}

#endif
