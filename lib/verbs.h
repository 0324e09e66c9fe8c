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
typedef void insert_verb(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size);
typedef void resize_verb(struct hmm_heap *h, void *state, hmm_ref was, char *was_p, size_t was_size,
                         hmm_ref now, char *now_p, size_t size);

/* A free on its way: block r at p, of `span`, below a block of header `above`; `room` is how much
 * there is from r to the top, in the scale of a span. */
typedef void merge_verb(struct hmm_heap *h, char *p, hmm_ref r, size_t span, uint32_t above,
                        size_t room);

/* The same where a large block comes of it, and all tests have been made. */
typedef void large_verb(struct hmm_heap *h, char *p, hmm_ref r);

/* heap.c: what is rare. */
HMM__HIDDEN void *hmm__malloc_else(struct hmm_heap *h, uint32_t n);
HMM__HIDDEN void hmm__melt(struct hmm_heap *h, char *p, hmm_ref r);
HMM__HIDDEN HMM__COLD void hmm__free_unsound(struct hmm_heap *h, void *payload);
HMM__HIDDEN void hmm__free_else(struct hmm_heap *h, void *payload);
HMM__HIDDEN HMM__COLD void hmm__release_special(struct hmm_heap *h, char *p, hmm_ref r);

/*
 * Makes a used block of a free one up to `end`, and of the rest, which is a block's at least, a
 * free one:
 *
 *     | p, free                     |  ->  | p, used | end, free, rest |
 */
HMM__ALWAYS_INLINE void carve_low(char *p, char *end, size_t rest)
{
    word_store(end, (uint32_t)rest + HMM__FREE);
    footer_store(end + span_bytes(rest), (uint32_t)rest);
    word_lessen(p, (uint32_t)rest + HMM__FREE);
}

/* A free block becomes a used one whole. */
HMM__ALWAYS_INLINE void carve_whole(char *p, size_t span)
{
    word_clear(p + span_bytes(span), HMM__PREV_FREE);
    word_lessen(p, HMM__FREE);
}

/* One or the other, of a free block that the index has let go; the remainder is in the index
 * already. Returns the used block's size. */
HMM__ALWAYS_INLINE uint32_t carve(struct hmm_heap *h, char *p, uint32_t n, uint32_t size)
{
    if (size - n >= HMM_MIN_GRANULES) {
        carve_low(p, p + span_bytes(header_make(n, 0)), header_make(size - n, 0));
        h->splits++;
        return n;
    }
    carve_whole(p, header_make(size, 0));
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

/* Whether the free block at `end`, of span nn, is there: its footer says the same, below the top,
 * to which there is `left`. */
HMM__ALWAYS_INLINE bool above_agrees(const char *end, size_t nn, size_t left)
{
    return nn < left && footer_load(end + span_bytes(nn)) == nn;
}

/* Whether the one below r at p, of span `below`, is there, and which it is. */
HMM__ALWAYS_INLINE bool below_agrees(const struct hmm_heap *h, hmm_ref r, char *p, uint32_t below,
                                     hmm_ref *low)
{
    char *low_p = p - span_bytes(below);
    hmm__forget(low_p);
    return !__builtin_sub_overflow(r, header_size(below), low) && *low >= h->first &&
           (word_load(low_p) & ~(uint32_t)HMM__PREV_FREE) == below + HMM__FREE;
}

/* From this span on a free block is large. */
#define LARGE_SPAN ((size_t)64 << HMM__SIZE_SHIFT)

/* A large block is more than a header can hold; or pages may go back to the system, which is only
 * thought of where a large block becomes free. */
HMM__ALWAYS_INLINE bool is_special(const struct hmm_heap *h, size_t span)
{
    return span > UINT32_MAX || h->live_below_peak > h->spare_at;
}

/*
 * A free block above, of span nn; `prev_bit` tells of the block below, which stays apart:
 *
 *     | r, n | free, nn |  ->  | free, n + nn |
 */
HMM__ALWAYS_INLINE void join_above(struct hmm_heap *h, char *p, hmm_ref r, size_t span, size_t nn,
                                   uint32_t prev_bit, resize_verb *resize)
{
    size_t joint = span + nn;
    word_store(p, (uint32_t)joint + HMM__FREE + prev_bit);
    footer_store(p + span_bytes(joint), (uint32_t)joint);
    h->merges++;
    resize(h, h->state, r + (hmm_ref)span_granules(span), p + span_bytes(span), span_granules(nn),
           r, p, span_granules(joint));
}

/*
 * A free block below, of span pn, none above that is to be merged with:
 *
 *     | free, pn | r, n |  ->  | free, pn + n |
 */
HMM__ALWAYS_INLINE void join_below(struct hmm_heap *h, char *p, hmm_ref low, size_t span, size_t pn,
                                   resize_verb *resize)
{
    char *low_p = p - span_bytes(pn), *end = p + span_bytes(span);
    word_add(p, HMM__FREE);
    word_add(low_p, (uint32_t)span);
    footer_store(end, (uint32_t)(pn + span));
    word_set(end, HMM__PREV_FREE);
    h->merges++;
    resize(h, h->state, low, low_p, span_granules(pn), low, low_p, span_granules(pn + span));
}

/*
 * A free block below and one above:
 *
 *     | free, pn | r, n | free, nn |  ->  | free, pn + n + nn |
 */
HMM__ALWAYS_INLINE void join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t span, size_t nn,
                                  size_t pn, insert_verb *drop, resize_verb *resize)
{
    drop(h, h->state, r + (hmm_ref)span_granules(span), p + span_bytes(span), span_granules(nn));
    hmm__forget(pn);
    hmm__forget(span);
    size_t joint = pn + span + nn;
    char *low_p = p - span_bytes(pn);
    hmm_ref low = r - (hmm_ref)span_granules(pn);
    word_add(p, HMM__FREE);
    word_add(low_p, (uint32_t)(span + nn));
    footer_store(low_p + span_bytes(joint), (uint32_t)joint);
    h->merges += 2;
    h->free_unbinned--;
    resize(h, h->state, low, low_p, span_granules(pn), low, low_p, span_granules(joint));
}

/* join_both, made of a strategy's functions. */
typedef void join_verb(struct hmm_heap *h, char *p, hmm_ref r, size_t span, size_t nn, size_t pn);

/* These make the tests, with those of is_placed and free_by, that hmm__seems_sound makes. Of what
 * is small nothing else can be in the way; what is large is left to `large`, if there is one. */
HMM__ALWAYS_INLINE void merge_above_by(struct hmm_heap *h, char *p, hmm_ref r, size_t span,
                                       uint32_t above, size_t room, resize_verb *resize,
                                       large_verb *large)
{
    size_t nn = header_span(above), left = room - span;
    if (left == 0) {
        hmm__melt(h, p, r);
        return;
    }
    if (hmm__unlikely(!above_agrees(p + span_bytes(span), nn, left))) {
        hmm__free_unsound(h, p);
        return;
    }
    if (span + nn >= LARGE_SPAN) {
        if (large || is_special(h, span + nn)) {
            (large ? large : hmm__release_special)(h, p, r);
            return;
        }
    }
    join_above(h, p, r, span, nn, 0, resize);
}

HMM__ALWAYS_INLINE void merge_below_by(struct hmm_heap *h, char *p, hmm_ref r, size_t span,
                                       resize_verb *resize, large_verb *large)
{
    uint32_t below = footer_load(p);
    size_t pn = below;
    hmm_ref low;
    if (hmm__unlikely(!below_agrees(h, r, p, below, &low))) {
        hmm__free_unsound(h, p);
        return;
    }
    if (pn + span >= LARGE_SPAN) {
        if (large || is_special(h, pn + span)) {
            (large ? large : hmm__release_special)(h, p, r);
            return;
        }
    }
    join_below(h, p, low, span, pn, resize);
}

HMM__ALWAYS_INLINE void merge_both_by(struct hmm_heap *h, char *p, hmm_ref r, size_t span,
                                      uint32_t above, size_t room, join_verb *join,
                                      large_verb *large)
{
    uint32_t below = footer_load(p);
    size_t nn = header_span(above), pn = below, left = room - span;
    hmm_ref low;
    if (left == 0) {
        hmm__melt(h, p, r);
        return;
    }
    if (hmm__unlikely(!below_agrees(h, r, p, below, &low) ||
                      !above_agrees(p + span_bytes(span), nn, left))) {
        hmm__free_unsound(h, p);
        return;
    }
    if (pn + span + nn >= LARGE_SPAN) {
        if (large || is_special(h, pn + span + nn)) {
            (large ? large : hmm__release_special)(h, p, r);
            return;
        }
    }
    join(h, p, r, span, nn, pn);
}

/* A large_verb of each. */
HMM__ALWAYS_INLINE void large_above_by(struct hmm_heap *h, char *p, hmm_ref r, resize_verb *resize)
{
    size_t span = header_span(word_load(p)), nn = header_span(word_load(p + span_bytes(span)));
    if (hmm__unlikely(is_special(h, span + nn)))
        hmm__release_special(h, p, r);
    else
        join_above(h, p, r, span, nn, 0, resize);
}

HMM__ALWAYS_INLINE void large_below_by(struct hmm_heap *h, char *p, hmm_ref r, resize_verb *resize)
{
    size_t span = header_span(word_load(p)), pn = footer_load(p);
    if (hmm__unlikely(is_special(h, pn + span)))
        hmm__release_special(h, p, r);
    else
        join_below(h, p, r - (hmm_ref)span_granules(pn), span, pn, resize);
}

HMM__ALWAYS_INLINE void large_both_by(struct hmm_heap *h, char *p, hmm_ref r, insert_verb *drop,
                                      resize_verb *resize)
{
    size_t span = header_span(word_load(p)), nn = header_span(word_load(p + span_bytes(span)));
    size_t pn = footer_load(p);
    if (hmm__unlikely(is_special(h, pn + span + nn)))
        hmm__release_special(h, p, r);
    else
        join_both(h, p, r, span, nn, pn, drop, resize);
}

/* Used block r at p becomes free, whole, and has no free neighbour. */
HMM__ALWAYS_INLINE void release_alone(struct hmm_heap *h, char *p, hmm_ref r, size_t span,
                                      insert_verb *insert)
{
    if (span >= LARGE_SPAN && hmm__unlikely(is_special(h, span))) {
        hmm__release_special(h, p, r);
        return;
    }
    size_t size = span_granules(span);
    hmm__forget(span);
    word_store(p, (uint32_t)span + HMM__FREE);
    footer_store(p + span_bytes(span), (uint32_t)span);
    word_set(p + span_bytes(span), HMM__PREV_FREE);
    h->free_unbinned++;
    insert(h, h->state, r, p, size);
}

/* What an address, its header and the next tell of a block. */
struct seen {
    size_t room; /* from it to the top, in the scale of a span */
    size_t span;
    size_t at; /* its ref, if it is placed */
    uint32_t word, above;
};

enum { HMM__MARKS = HMM__FREE | HMM__PREV_FREE };

/* Whether p could be a block of the heap that ends in it. */
HMM__ALWAYS_INLINE bool is_placed(const struct hmm_heap *h, const char *p, struct seen *b)
{
    size_t at = ref_or_more(h, p), granules = h->top - at;
    b->at = at;
    if (hmm__unlikely(granules > h->extent))
        return false;
    b->room = granules << HMM__SIZE_SHIFT;
    b->word = word_load(p);
    b->span = header_span(b->word);
    if (hmm__unlikely(b->span - header_make(1, 0) >= b->room))
        return false;
    b->above = word_load(p + span_bytes(b->span));
    return true;
}

/* Whether it is in use, as far as its header and the next tell. */
HMM__ALWAYS_INLINE bool is_used(const struct seen *b)
{
    return !(b->word & HMM__FREE) && !(b->above & HMM__PREV_FREE);
}

/* The same, and it has no record. */
HMM__ALWAYS_INLINE bool is_used_plainly(const struct seen *b)
{
    return !(b->word & (HMM__FREE | HMM__ALIGNED)) && !(b->above & HMM__PREV_FREE);
}

/* An ALIGNED block, and one below an ALIGNED one, go the long way. */
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
    uint32_t marks = (b.word | b.above) & (HMM__MARKS | HMM__ALIGNED);
    if (marks == 0) {
        live_sub(h, span_bytes(b.span) - HMM_HEADER_BYTES);
        release_alone(h, p, (hmm_ref)b.at, b.span, insert);
        return;
    }
    /* Each of the two is one header's or the other's: it must be the right one's. */
    if (marks == HMM__FREE && !(b.word & HMM__FREE)) {
        live_sub(h, span_bytes(b.span) - HMM_HEADER_BYTES);
        merge_above(h, p, (hmm_ref)b.at, b.span, b.above, b.room);
    } else if (marks == HMM__PREV_FREE && !(b.above & HMM__PREV_FREE)) {
        live_sub(h, span_bytes(b.span) - HMM_HEADER_BYTES);
        merge_below(h, p, (hmm_ref)b.at, b.span, b.above, b.room);
    } else if (hmm__likely(!(b.word & (HMM__FREE | HMM__ALIGNED))) &&
               hmm__likely(!(b.above & (HMM__PREV_FREE | HMM__ALIGNED)))) {
        live_sub(h, span_bytes(b.span) - HMM_HEADER_BYTES);
        merge_both(h, p, (hmm_ref)b.at, b.span, b.above, b.room);
    } else {
        hmm__free_else(h, p);
    }
}

#endif
