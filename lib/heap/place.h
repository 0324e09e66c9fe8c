/* SPDX-License-Identifier: MIT */
/*
 * malloc and free, written once and compiled for each strategy: find, take, split; merge, give.
 *
 * A strategy that is built with the library has them made of its own index functions, which are
 * inlined here (struct hmm_strategy's malloc_whole and free_whole); for others the core makes them
 * of the hooks. What is rare is in allocate.c.
 */
#ifndef HMM_VERBS_H
#define HMM_VERBS_H

#include "heap/block.h"

/* As the hooks of struct hmm_strategy, but that payloads and sizes come with the blocks: what is
 * free already has its header and footer, but the strategy need not read them. */
typedef void insert_callback(struct hmm_heap *h, void *state, hmm_ref r, char *p, size_t size);
typedef void resize_callback(struct hmm_heap *h, void *state, hmm_ref was, char *was_p,
                             size_t was_size, hmm_ref now, char *now_p, size_t size);

/* A free on its way: block r at p, of `span`, below a block of header `above`; `room` is how much
 * there is from r to the top, in the scale of a span. */
typedef void merge_callback(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                            uint32_t next_header, size_t to_top);

/* The same where a large block comes of it, and all tests have been made. */
typedef void large_callback(struct hmm_heap *h, char *p, hmm_ref r);

/* allocate.c: what is rare. */
HMM__HIDDEN void *hmm__malloc_else(struct hmm_heap *h, uint32_t n);
HMM__HIDDEN void hmm__merge_into_top(struct hmm_heap *h, char *p, hmm_ref r);
HMM__HIDDEN HMM__COLD void hmm__free_invalid(struct hmm_heap *h, void *payload);
HMM__HIDDEN void hmm__free_else(struct hmm_heap *h, void *payload);
HMM__HIDDEN HMM__COLD void hmm__slow_release(struct hmm_heap *h, char *p, hmm_ref r);

/*
 * Makes a used block of a free one up to `end`, and of the rest, which is a block's at least, a
 * free one:
 *
 *     | p, free                     |  ->  | p, used | end, free, rest |
 */
HMM__ALWAYS_INLINE void carve_low(char *p, char *end, size_t rest)
{
    word_store(end, (uint32_t)rest + HMM__FREE);
    footer_store(end + scaled_bytes(rest), (uint32_t)rest);
    word_lessen(p, (uint32_t)rest + HMM__FREE);
}

/* A free block becomes a used one whole. */
HMM__ALWAYS_INLINE void carve_whole(char *p, size_t scaled)
{
    word_clear(p + scaled_bytes(scaled), HMM__PREV_FREE);
    word_lessen(p, HMM__FREE);
}

/* One or the other, of a free block that the index has let go; the remainder is in the index
 * already. Returns the used block's size. */
HMM__ALWAYS_INLINE uint32_t carve(struct hmm_heap *h, char *p, uint32_t n, uint32_t size)
{
    if (size - n >= HMM_MIN_GRANULES) {
        carve_low(p, p + scaled_bytes(header_make(n, 0)), header_make(size - n, 0));
        h->splits++;
        return n;
    }
    carve_whole(p, header_make(size, 0));
    h->free_unbinned--;
    return size;
}

/* The same, and it is the answer to a request. */
HMM__ALWAYS_INLINE void *finish_allocation(struct hmm_heap *h, hmm_ref r, uint32_t n, uint32_t size)
{
    char *p = block_payload(h, r);
    live_add(h, block_usable(carve(h, p, n, size)));
    return p;
}

/* From the top as far as it goes up to the break. NULL: not so far. */
HMM__ALWAYS_INLINE void *allocate_from_top(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = h->top;
    if (hmm__unlikely(h->brk - r < n))
        return NULL;
    char *p = block_payload(h, r);
    uint32_t scaled = header_make(n, 0);
    word_store(p, scaled);
    word_store(p + scaled_bytes(scaled), HMM__FREE);
    h->top = r + n;
    h->extent += n;
    h->top_blocks++;
    live_add(h, scaled_bytes(scaled) - HMM_HEADER_BYTES);
    return p;
}

/* Whether the free block at `end`, of span nn, is there: its footer says the same, below the top,
 * to which there is `left`. */
HMM__ALWAYS_INLINE bool next_agrees(const char *end, size_t next_size, size_t remaining)
{
    return next_size < remaining && footer_load(end + scaled_bytes(next_size)) == next_size;
}

/* Whether the one below r at p, of span `below`, is there, and which it is. */
HMM__ALWAYS_INLINE bool prev_agrees(const struct hmm_heap *h, hmm_ref r, char *p, uint32_t below,
                                    hmm_ref *low)
{
    char *low_p = p - scaled_bytes(below);
    hmm__forget(low_p);
    return !__builtin_sub_overflow(r, header_size(below), low) && *low >= h->first &&
           (word_load(low_p) & ~(uint32_t)HMM__PREV_FREE) == below + HMM__FREE;
}

/* From this span on a free block is large. */
#define LARGE_SCALED ((size_t)64 << HMM__SIZE_SHIFT)

/* A large block is more than a header can hold; or pages may go back to the system, which is only
 * thought of where a large block becomes free. */
HMM__ALWAYS_INLINE bool needs_slow_release(const struct hmm_heap *h, size_t scaled)
{
    return scaled > UINT32_MAX || h->live_below_peak > h->decommit_threshold;
}

/*
 * A free block above, of span nn; `prev_bit` tells of the block below, which stays apart:
 *
 *     | r, n | free, nn |  ->  | free, n + nn |
 */
HMM__ALWAYS_INLINE void join_next(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                                  size_t next_size, uint32_t prev_bit, resize_callback *resize)
{
    size_t joint = scaled + next_size;
    word_store(p, (uint32_t)joint + HMM__FREE + prev_bit);
    footer_store(p + scaled_bytes(joint), (uint32_t)joint);
    h->merges++;
    resize(h, h->state, r + (hmm_ref)scaled_granules(scaled), p + scaled_bytes(scaled),
           scaled_granules(next_size), r, p, scaled_granules(joint));
}

/*
 * A free block below, of span pn, none above that is to be merged with:
 *
 *     | free, pn | r, n |  ->  | free, pn + n |
 */
HMM__ALWAYS_INLINE void join_prev(struct hmm_heap *h, char *p, hmm_ref low, size_t scaled,
                                  size_t prev_size, resize_callback *resize)
{
    char *low_p = p - scaled_bytes(prev_size), *end = p + scaled_bytes(scaled);
    word_add(p, HMM__FREE);
    word_add(low_p, (uint32_t)scaled);
    footer_store(end, (uint32_t)(prev_size + scaled));
    word_set(end, HMM__PREV_FREE);
    h->merges++;
    resize(h, h->state, low, low_p, scaled_granules(prev_size), low, low_p,
           scaled_granules(prev_size + scaled));
}

/*
 * A free block below and one above:
 *
 *     | free, pn | r, n | free, nn |  ->  | free, pn + n + nn |
 */
HMM__ALWAYS_INLINE void join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                                  size_t next_size, size_t prev_size, insert_callback *drop,
                                  resize_callback *resize)
{
    drop(h, h->state, r + (hmm_ref)scaled_granules(scaled), p + scaled_bytes(scaled),
         scaled_granules(next_size));
    hmm__forget(prev_size);
    hmm__forget(scaled);
    size_t joint = prev_size + scaled + next_size;
    char *low_p = p - scaled_bytes(prev_size);
    hmm_ref low = r - (hmm_ref)scaled_granules(prev_size);
    word_add(p, HMM__FREE);
    word_add(low_p, (uint32_t)(scaled + next_size));
    footer_store(low_p + scaled_bytes(joint), (uint32_t)joint);
    h->merges += 2;
    h->free_unbinned--;
    resize(h, h->state, low, low_p, scaled_granules(prev_size), low, low_p, scaled_granules(joint));
}

/* join_both, made of a strategy's functions. */
typedef void join_callback(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled, size_t next_size,
                           size_t prev_size);

/* These make the tests, with those of is_placed and free_by, that hmm__seems_valid makes. Of what
 * is small nothing else can be in the way; what is large is left to `large`, if there is one. */
HMM__ALWAYS_INLINE void merge_next_by(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                                      uint32_t next_header, size_t to_top, resize_callback *resize,
                                      large_callback *large)
{
    size_t next_size = header_scaled(next_header), remaining = to_top - scaled;
    if (remaining == 0) {
        hmm__merge_into_top(h, p, r);
        return;
    }
    if (hmm__unlikely(!next_agrees(p + scaled_bytes(scaled), next_size, remaining))) {
        hmm__free_invalid(h, p);
        return;
    }
    if (scaled + next_size >= LARGE_SCALED) {
        if (large || needs_slow_release(h, scaled + next_size)) {
            (large ? large : hmm__slow_release)(h, p, r);
            return;
        }
    }
    join_next(h, p, r, scaled, next_size, 0, resize);
}

HMM__ALWAYS_INLINE void merge_prev_by(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                                      resize_callback *resize, large_callback *large)
{
    uint32_t below = footer_load(p);
    size_t prev_size = below;
    hmm_ref low;
    if (hmm__unlikely(!prev_agrees(h, r, p, below, &low))) {
        hmm__free_invalid(h, p);
        return;
    }
    if (prev_size + scaled >= LARGE_SCALED) {
        if (large || needs_slow_release(h, prev_size + scaled)) {
            (large ? large : hmm__slow_release)(h, p, r);
            return;
        }
    }
    join_prev(h, p, low, scaled, prev_size, resize);
}

HMM__ALWAYS_INLINE void merge_both_by(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                                      uint32_t next_header, size_t to_top, join_callback *join,
                                      large_callback *large)
{
    uint32_t below = footer_load(p);
    size_t next_size = header_scaled(next_header), prev_size = below, remaining = to_top - scaled;
    hmm_ref low;
    if (remaining == 0) {
        hmm__merge_into_top(h, p, r);
        return;
    }
    if (hmm__unlikely(!prev_agrees(h, r, p, below, &low) ||
                      !next_agrees(p + scaled_bytes(scaled), next_size, remaining))) {
        hmm__free_invalid(h, p);
        return;
    }
    if (prev_size + scaled + next_size >= LARGE_SCALED) {
        if (large || needs_slow_release(h, prev_size + scaled + next_size)) {
            (large ? large : hmm__slow_release)(h, p, r);
            return;
        }
    }
    join(h, p, r, scaled, next_size, prev_size);
}

/* A large_callback of each. */
HMM__ALWAYS_INLINE void large_next_by(struct hmm_heap *h, char *p, hmm_ref r,
                                      resize_callback *resize)
{
    size_t scaled = header_scaled(word_load(p)),
           next_size = header_scaled(word_load(p + scaled_bytes(scaled)));
    if (hmm__unlikely(needs_slow_release(h, scaled + next_size)))
        hmm__slow_release(h, p, r);
    else
        join_next(h, p, r, scaled, next_size, 0, resize);
}

HMM__ALWAYS_INLINE void large_prev_by(struct hmm_heap *h, char *p, hmm_ref r,
                                      resize_callback *resize)
{
    size_t scaled = header_scaled(word_load(p)), prev_size = footer_load(p);
    if (hmm__unlikely(needs_slow_release(h, prev_size + scaled)))
        hmm__slow_release(h, p, r);
    else
        join_prev(h, p, r - (hmm_ref)scaled_granules(prev_size), scaled, prev_size, resize);
}

HMM__ALWAYS_INLINE void large_both_by(struct hmm_heap *h, char *p, hmm_ref r, insert_callback *drop,
                                      resize_callback *resize)
{
    size_t scaled = header_scaled(word_load(p)),
           next_size = header_scaled(word_load(p + scaled_bytes(scaled)));
    size_t prev_size = footer_load(p);
    if (hmm__unlikely(needs_slow_release(h, prev_size + scaled + next_size)))
        hmm__slow_release(h, p, r);
    else
        join_both(h, p, r, scaled, next_size, prev_size, drop, resize);
}

/* Used block r at p becomes free, whole, and has no free neighbour. */
HMM__ALWAYS_INLINE void release_alone(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                                      insert_callback *insert)
{
    if (scaled >= LARGE_SCALED && hmm__unlikely(needs_slow_release(h, scaled))) {
        hmm__slow_release(h, p, r);
        return;
    }
    size_t size = scaled_granules(scaled);
    hmm__forget(scaled);
    word_store(p, (uint32_t)scaled + HMM__FREE);
    footer_store(p + scaled_bytes(scaled), (uint32_t)scaled);
    word_set(p + scaled_bytes(scaled), HMM__PREV_FREE);
    h->free_unbinned++;
    insert(h, h->state, r, p, size);
}

/* What an address, its header and the next tell of a block. */
struct block_view {
    size_t to_top; /* from it to the top, in the scale of a span */
    size_t scaled;
    size_t at; /* its ref, if it is placed */
    uint32_t word, next_header;
};

enum { HMM__MARKS = HMM__FREE | HMM__PREV_FREE };

/* Whether p could be a block of the heap that ends in it. */
HMM__ALWAYS_INLINE bool is_placed(const struct hmm_heap *h, const char *p, struct block_view *b)
{
    size_t at = ref_or_more(h, p), granules = h->top - at;
    b->at = at;
    if (hmm__unlikely(granules > h->extent))
        return false;
    b->to_top = granules << HMM__SIZE_SHIFT;
    b->word = word_load(p);
    b->scaled = header_scaled(b->word);
    if (hmm__unlikely(b->scaled - header_make(1, 0) >= b->to_top))
        return false;
    b->next_header = word_load(p + scaled_bytes(b->scaled));
    return true;
}

/* Whether it is in use, as far as its header and the next tell. */
HMM__ALWAYS_INLINE bool is_used(const struct block_view *b)
{
    return !(b->word & HMM__FREE) && !(b->next_header & HMM__PREV_FREE);
}

/* The same, and it has no record. */
HMM__ALWAYS_INLINE bool is_used_plainly(const struct block_view *b)
{
    return !(b->word & (HMM__FREE | HMM__ALIGNED)) && !(b->next_header & HMM__PREV_FREE);
}

/* An ALIGNED block, and one below an ALIGNED one, go the long way. */
HMM__ALWAYS_INLINE void free_by(struct hmm_heap *h, char *p, insert_callback *insert,
                                merge_callback *merge_next, merge_callback *merge_prev,
                                merge_callback *merge_both)
{
    struct block_view b;
    if (hmm__unlikely(!is_placed(h, p, &b))) {
        hmm__free_invalid(h, p);
        return;
    }
    hmm__forget(b.scaled);
    uint32_t marks = (b.word | b.next_header) & (HMM__MARKS | HMM__ALIGNED);
    if (marks == 0) {
        live_sub(h, scaled_bytes(b.scaled) - HMM_HEADER_BYTES);
        release_alone(h, p, (hmm_ref)b.at, b.scaled, insert);
        return;
    }
    /* Each of the two is one header's or the other's: it must be the right one's. */
    if (marks == HMM__FREE && !(b.word & HMM__FREE)) {
        live_sub(h, scaled_bytes(b.scaled) - HMM_HEADER_BYTES);
        merge_next(h, p, (hmm_ref)b.at, b.scaled, b.next_header, b.to_top);
    } else if (marks == HMM__PREV_FREE && !(b.next_header & HMM__PREV_FREE)) {
        live_sub(h, scaled_bytes(b.scaled) - HMM_HEADER_BYTES);
        merge_prev(h, p, (hmm_ref)b.at, b.scaled, b.next_header, b.to_top);
    } else if (hmm__likely(!(b.word & (HMM__FREE | HMM__ALIGNED))) &&
               hmm__likely(!(b.next_header & (HMM__PREV_FREE | HMM__ALIGNED)))) {
        live_sub(h, scaled_bytes(b.scaled) - HMM_HEADER_BYTES);
        merge_both(h, p, (hmm_ref)b.at, b.scaled, b.next_header, b.to_top);
    } else {
        hmm__free_else(h, p);
    }
}

#endif
