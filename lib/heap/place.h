/* SPDX-License-Identifier: MIT */
/*
 * malloc and free as templates: written once, compiled for each strategy. malloc finds a free block
 * and splits it; free merges a block with its free neighbours and inserts it.
 *
 * A built-in strategy instantiates them with its own index functions, which are inlined
 * (malloc_whole and free_whole of struct hmm_strategy). For other strategies allocate.c
 * instantiates them with the hooks, and it has the slow path of both. Includes block.h only.
 */
#ifndef HMM_PLACE_H
#define HMM_PLACE_H

#include "heap/block.h"

/* A block: its payload, and its ref, which says the same; to make one of the other takes
 * instructions. Two words, so that a function that is not inlined has it in registers. */
struct block {
    char *p;
    hmm_ref r;
};

/* A free block and its size in granules, as an index has it. */
struct sized_block {
    char *p;
    hmm_ref r;
    size_t size;
};

HMM__ALWAYS_INLINE struct sized_block sized_block_at(const struct hmm_heap *h, hmm_ref r,
                                                     size_t size)
{
    return (struct sized_block){block_payload(h, r), r, size};
}

#if !HMM__SMALL

/* Scaled sizes of a block and of its free neighbours; 0: there is none, or it stays apart. */
struct sizes {
    size_t self, next, prev;
};

/* Of a block that is to be merged the scaled size, and that from it to the top; and what its free
 * neighbours have. Two words each, as struct block. */
struct extent {
    size_t scaled, to_top;
};

struct neighbours {
    size_t prev, next; /* in the order in which a merge_callback has them in registers */
};

/* As the hooks of struct hmm_strategy, with the payloads and sizes of the blocks, so that a
 * strategy need not read the headers, which are already written. */
typedef void insert_callback(struct hmm_heap *h, void *state, struct sized_block b);
typedef void resize_callback(struct hmm_heap *h, void *state, struct sized_block was,
                             struct sized_block now);

/* Frees block r at p by merging it. next_header is the header above it. */
typedef void merge_callback(struct hmm_heap *h, char *p, hmm_ref r, struct extent e,
                            uint32_t next_header);

/* The same where the merged block is large, after all tests. */
typedef void large_callback(struct hmm_heap *h, char *p, hmm_ref r);

/* What a merge_callback has been given. */
struct merge {
    struct block b;
    struct extent e;
    uint32_t next_header;
};

/* Those of free: where the block above is free, the one below, or both. */
struct merges {
    merge_callback *next, *prev, *both;
};

/* ---- allocate.c: the slow path ---- */

/* malloc of n granules where the strategy has no free block. */
HMM__HIDDEN void *hmm__malloc_else(struct hmm_heap *h, uint32_t n);
/* Frees block r at p, above which is the top. */
HMM__HIDDEN void hmm__merge_into_top(struct hmm_heap *h, char *p, hmm_ref r);
/* free of a block above which is a header that a program has written. */
HMM__HIDDEN HMM__COLD void hmm__free_below_written(struct hmm_heap *h, void *payload);
/* free of what is not placed. Ends the program, unless payload is NULL or outside the region and
 * `foreign` deals with it. */
HMM__HIDDEN HMM__COLD void hmm__free_invalid(struct hmm_heap *h, void *payload);
/* free of a block that is ALIGNED, or below one that is, or not valid. */
HMM__HIDDEN void hmm__free_else(struct hmm_heap *h, void *payload);
/* Frees block r at p where needs_slow_release. */
HMM__HIDDEN HMM__COLD void hmm__slow_release(struct hmm_heap *h, char *p, hmm_ref r);

/*
 * Splits free block p at `end` into a used block and a free one, of scaled size `rest`, which is at
 * least that of the smallest block:
 *
 *     | p, free                     |  ->  | p, used | end, free, rest |
 */
HMM__ALWAYS_INLINE void carve_low(char *p, char *end, size_t rest)
{
    word_store(end, (uint32_t)rest + HMM__FREE);
    footer_store(end + scaled_bytes(rest), (uint32_t)rest);
    word_lessen(p, (uint32_t)rest + HMM__FREE);
}

/* Makes a whole free block used. */
HMM__ALWAYS_INLINE void carve_whole(char *p, size_t scaled)
{
    word_clear(p + scaled_bytes(scaled), HMM__PREV_FREE);
    word_lessen(p, HMM__FREE);
}

/* The low end of the free block at p, of `size` granules, is allocated; `rest` granules are left.
 */
HMM__ALWAYS_INLINE void large_taken(struct hmm_heap *h, const char *p, size_t size, size_t rest)
{
    if (hmm__unlikely(large_knows(h, size << HMM__SIZE_SHIFT)) && rest < HMM__LARGE_GRANULES)
        hmm__large_allocated(h, block_of(h, p) + (hmm_ref)size);
}

/* One or the other, of a free block of `size` granules that is no longer in the index; the
 * remainder is in the index already. Returns the used block's size. */
HMM__ALWAYS_INLINE uint32_t carve(struct hmm_heap *h, char *p, uint32_t n, uint32_t size)
{
    HMM_ASSERT(size >= n && n >= HMM_MIN_GRANULES);
    HMM_ASSERT(word_load(p) & HMM__FREE);
    large_taken(h, p, size, size - n);
    if (size - n >= HMM_MIN_GRANULES) {
        carve_low(p, p + scaled_bytes(header_make(n, 0)), header_make(size - n, 0));
        COUNT(h->splits++);
        return n;
    }
    carve_whole(p, header_make(size, 0));
    COUNT(h->free_unbinned--);
    return size;
}

/* The same, and counts the block as live. Returns its payload. */
HMM__ALWAYS_INLINE void *finish_allocation(struct hmm_heap *h, hmm_ref r, uint32_t n, uint32_t size)
{
    char *p = block_payload(h, r);
    live_add(h, block_usable(carve(h, p, n, size)));
    return p;
}

/* Allocates n granules from the top, below the break. NULL: there are fewer. */
HMM__ALWAYS_INLINE void *allocate_from_top(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = h->top;
    if (hmm__unlikely(heap_brk(h) - r < n))
        return NULL;
    char *p = block_payload(h, r);
    uint32_t scaled = header_make(n, 0);
    word_store(p, scaled);
    word_store(p + scaled_bytes(scaled), HMM__FREE);
    heap_set_top(h, r + n);
    h->extent += n;
    COUNT(h->top_blocks++);
    live_add(h, scaled_bytes(scaled) - HMM_HEADER_BYTES);
    return p;
}

/* Whether the footer of the free block at `end` agrees with its header, whose scaled size is
 * next_size, it is a block's size, and it lies below the top, which is `remaining` above its start.
 * Only the top's header has size 0: elsewhere a program has written it. */
HMM__ALWAYS_INLINE bool next_agrees(const char *end, size_t next_size, size_t remaining)
{
    bool is_size =
        HMM_MIN_GRANULES == 1 ? next_size != 0 : next_size >= header_make(HMM_MIN_GRANULES, 0);
    return is_size && next_size < remaining &&
           footer_load(end + scaled_bytes(next_size)) == next_size;
}

/* Whether the header of the free block below r at p agrees with its footer `below`. Sets *low to
 * the block. */
HMM__ALWAYS_INLINE bool prev_agrees(const struct hmm_heap *h, hmm_ref r, char *p, uint32_t below,
                                    hmm_ref *low)
{
    char *low_p = p - scaled_bytes(below);
    hmm__forget(low_p);
    return !__builtin_sub_overflow(r, header_size(below), low) && *low >= h->first &&
           (word_load(low_p) & ~(uint32_t)HMM__PREV_FREE) == below + HMM__FREE;
}

/* The smallest scaled size of a large free block. */
#define LARGE_SCALED ((size_t)64 << HMM__SIZE_SHIFT)

/* Whether the size does not fit in a header, or large.c is to know of the block. */
HMM__ALWAYS_INLINE bool needs_slow_release(const struct hmm_heap *h, size_t scaled)
{
    return large_knows(h, scaled);
}

/* The free block above b. */
HMM__ALWAYS_INLINE struct sized_block above(struct block b, struct sizes s)
{
    return (struct sized_block){b.p + scaled_bytes(s.self), b.r + (hmm_ref)scaled_granules(s.self),
                                scaled_granules(s.next)};
}

/*
 * Merges b with the free block above; prev_bit is the PREV_FREE of b, whose free block below, if
 * any, stays apart:
 *
 *     | b, self | free, next |  ->  | free, self + next |
 */
HMM__ALWAYS_INLINE void join_next(struct hmm_heap *h, struct block b, struct sizes s,
                                  uint32_t prev_bit, resize_callback *resize)
{
    size_t joint = s.self + s.next;
    word_store(b.p, (uint32_t)joint + HMM__FREE + prev_bit);
    footer_store(b.p + scaled_bytes(joint), (uint32_t)joint);
    COUNT(h->merges++);
    resize(h, state_of(h), above(b, s), (struct sized_block){b.p, b.r, scaled_granules(joint)});
}

/*
 * Merges the block at p with the free block below, low:
 *
 *     | low, free, prev | p, self |  ->  | low, free, prev + self |
 */
HMM__ALWAYS_INLINE void join_prev(struct hmm_heap *h, char *p, hmm_ref low, struct sizes s,
                                  resize_callback *resize)
{
    char *low_p = p - scaled_bytes(s.prev), *end = p + scaled_bytes(s.self);
    word_add(p, HMM__FREE);
    word_add(low_p, (uint32_t)s.self);
    footer_store(end, (uint32_t)(s.prev + s.self));
    word_set(end, HMM__PREV_FREE);
    COUNT(h->merges++);
    resize(h, state_of(h), (struct sized_block){low_p, low, scaled_granules(s.prev)},
           (struct sized_block){low_p, low, scaled_granules(s.prev + s.self)});
}

/*
 * Merges b with both neighbours:
 *
 *     | free, prev | b, self | free, next |  ->  | free, the sum |
 */
HMM__ALWAYS_INLINE void join_both(struct hmm_heap *h, struct block b, struct sizes s,
                                  insert_callback *drop, resize_callback *resize)
{
    drop(h, state_of(h), above(b, s));
    hmm__forget(s.prev);
    hmm__forget(s.self);
    size_t joint = s.prev + s.self + s.next;
    char *low_p = b.p - scaled_bytes(s.prev);
    hmm_ref low = b.r - (hmm_ref)scaled_granules(s.prev);
    word_add(b.p, HMM__FREE);
    word_add(low_p, (uint32_t)(s.self + s.next));
    footer_store(low_p + scaled_bytes(joint), (uint32_t)joint);
    COUNT(h->merges += 2);
    COUNT(h->free_unbinned--);
    resize(h, state_of(h), (struct sized_block){low_p, low, scaled_granules(s.prev)},
           (struct sized_block){low_p, low, scaled_granules(joint)});
}

/* join_both with a strategy's functions. */
typedef void join_callback(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                           struct neighbours n);

/* The header above b has no size: it is the top's, unless a program has written it. */
HMM__ALWAYS_INLINE void top_or_written(struct hmm_heap *h, struct block b, size_t remaining)
{
    if (hmm__likely(remaining == 0))
        hmm__merge_into_top(h, b.p, b.r);
    else
        hmm__free_below_written(h, b.p);
}

/* Together with is_placed and free_by, these make the tests of hmm__seems_valid. A small block is
 * then merged; a large one is passed to `large`, or without it released here or slowly. */
HMM__ALWAYS_INLINE void merge_next_by(struct hmm_heap *h, struct merge m, resize_callback *resize,
                                      large_callback *large)
{
    size_t scaled = m.e.scaled, next_size = header_scaled(m.next_header);
    size_t remaining = m.e.to_top - scaled;
    if (next_size == 0) {
        top_or_written(h, m.b, remaining);
        return;
    }
    if (hmm__unlikely(!next_agrees(m.b.p + scaled_bytes(scaled), next_size, remaining))) {
        hmm__free_invalid(h, m.b.p);
        return;
    }
    if (scaled + next_size >= LARGE_SCALED) {
        if (large || needs_slow_release(h, scaled + next_size)) {
            (large ? large : hmm__slow_release)(h, m.b.p, m.b.r);
            return;
        }
    }
    join_next(h, m.b, (struct sizes){scaled, next_size, 0}, 0, resize);
}

HMM__ALWAYS_INLINE void merge_prev_by(struct hmm_heap *h, struct merge m, resize_callback *resize,
                                      large_callback *large)
{
    uint32_t below = footer_load(m.b.p);
    size_t scaled = m.e.scaled, prev_size = below;
    hmm_ref low;
    if (hmm__unlikely(!prev_agrees(h, m.b.r, m.b.p, below, &low))) {
        hmm__free_invalid(h, m.b.p);
        return;
    }
    if (prev_size + scaled >= LARGE_SCALED) {
        if (large || needs_slow_release(h, prev_size + scaled)) {
            (large ? large : hmm__slow_release)(h, m.b.p, m.b.r);
            return;
        }
    }
    join_prev(h, m.b.p, low, (struct sizes){scaled, 0, prev_size}, resize);
}

HMM__ALWAYS_INLINE void merge_both_by(struct hmm_heap *h, struct merge m, join_callback *join,
                                      large_callback *large)
{
    uint32_t below = footer_load(m.b.p);
    size_t scaled = m.e.scaled, next_size = header_scaled(m.next_header), prev_size = below;
    size_t remaining = m.e.to_top - scaled;
    hmm_ref low;
    if (next_size == 0) {
        top_or_written(h, m.b, remaining);
        return;
    }
    if (hmm__unlikely(!prev_agrees(h, m.b.r, m.b.p, below, &low) ||
                      !next_agrees(m.b.p + scaled_bytes(scaled), next_size, remaining))) {
        hmm__free_invalid(h, m.b.p);
        return;
    }
    if (prev_size + scaled + next_size >= LARGE_SCALED) {
        if (large || needs_slow_release(h, prev_size + scaled + next_size)) {
            (large ? large : hmm__slow_release)(h, m.b.p, m.b.r);
            return;
        }
    }
    join(h, m.b.p, m.b.r, scaled, (struct neighbours){prev_size, next_size});
}

/* The large_callback of each. */
HMM__ALWAYS_INLINE void large_next_by(struct hmm_heap *h, struct block b, resize_callback *resize)
{
    size_t scaled = header_scaled(word_load(b.p)),
           next_size = header_scaled(word_load(b.p + scaled_bytes(scaled)));
    if (hmm__unlikely(needs_slow_release(h, scaled + next_size)))
        hmm__slow_release(h, b.p, b.r);
    else
        join_next(h, b, (struct sizes){scaled, next_size, 0}, 0, resize);
}

HMM__ALWAYS_INLINE void large_prev_by(struct hmm_heap *h, struct block b, resize_callback *resize)
{
    size_t scaled = header_scaled(word_load(b.p)), prev_size = footer_load(b.p);
    if (hmm__unlikely(needs_slow_release(h, prev_size + scaled)))
        hmm__slow_release(h, b.p, b.r);
    else
        join_prev(h, b.p, b.r - (hmm_ref)scaled_granules(prev_size),
                  (struct sizes){scaled, 0, prev_size}, resize);
}

HMM__ALWAYS_INLINE void large_both_by(struct hmm_heap *h, struct block b, insert_callback *drop,
                                      resize_callback *resize)
{
    size_t scaled = header_scaled(word_load(b.p)),
           next_size = header_scaled(word_load(b.p + scaled_bytes(scaled)));
    size_t prev_size = footer_load(b.p);
    if (hmm__unlikely(needs_slow_release(h, prev_size + scaled + next_size)))
        hmm__slow_release(h, b.p, b.r);
    else
        join_both(h, b, (struct sizes){scaled, next_size, prev_size}, drop, resize);
}

/* Frees used block r at p, which has no free neighbour. */
HMM__ALWAYS_INLINE void release_alone(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                                      insert_callback *insert)
{
    if (scaled >= LARGE_SCALED && hmm__unlikely(needs_slow_release(h, scaled))) {
        hmm__slow_release(h, p, r);
        return;
    }
    HMM_ASSERT(r >= h->first && r < h->top);
    HMM_ASSERT(!(word_load(p) & (HMM__FREE | HMM__ALIGNED)));
    size_t size = scaled_granules(scaled);
    hmm__forget(scaled);
    word_store(p, (uint32_t)scaled + HMM__FREE);
    footer_store(p + scaled_bytes(scaled), (uint32_t)scaled);
    word_set(p + scaled_bytes(scaled), HMM__PREV_FREE);
    COUNT(h->free_unbinned++);
    insert(h, state_of(h), (struct sized_block){p, r, size});
}

/* A block as its address, its header and the next one describe it. */
struct block_view {
    size_t to_top; /* the scaled size from the block to the top */
    size_t scaled; /* of the block */
    size_t at;     /* its ref, if is_placed */
    uint32_t word, next_header;
};

/* Flags of headers: those of the block and of the next, with which a free is not a simple one; and
 * of each, with which it is no merge. */
enum {
    HMM__NEIGHBOUR_FLAGS = HMM__FREE | HMM__PREV_FREE,
    HMM__FREE_ANY = HMM__NEIGHBOUR_FLAGS | HMM__ALIGNED,
    HMM__FREE_SELF = HMM__FREE | HMM__ALIGNED,
    HMM__FREE_NEXT = HMM__PREV_FREE | HMM__ALIGNED
};

/* Whether p, any pointer, has a ref and a header with which it lies between first and top. */
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

/* Whether the block is in use by its header and the next. */
HMM__ALWAYS_INLINE bool is_used(const struct block_view *b)
{
    return !(b->word & HMM__FREE) && !(b->next_header & HMM__PREV_FREE);
}

/* The same, and it has no record. */
HMM__ALWAYS_INLINE bool is_used_plainly(const struct block_view *b)
{
    return !(b->word & (HMM__FREE | HMM__ALIGNED)) && !(b->next_header & HMM__PREV_FREE);
}

/* A block that realloc lets grow by little may have this part of its size more. */
#define HMM__SLACK_SHIFT 3

/* Whether a block that is to have n granules and has `more` besides keeps them. */
HMM__ALWAYS_INLINE bool keeps_slack(uint32_t n, uint32_t more)
{
    return more < HMM_MIN_GRANULES || more <= n >> HMM__SLACK_SHIFT;
}

/* realloc.c: hmm__realloc of a block that is_placed so, with slack. */
HMM__HIDDEN void *hmm__realloc_with_slack(struct hmm_heap *h, void *payload, size_t size,
                                          struct block_view b);

/* The template of free. An ALIGNED block, or one with an ALIGNED block above, is freed by
 * hmm__free_else. */
HMM__ALWAYS_INLINE void free_by(struct hmm_heap *h, char *p, insert_callback *insert,
                                struct merges merge)
{
    struct block_view v;
    if (hmm__unlikely(!is_placed(h, p, &v))) {
        hmm__free_invalid(h, p);
        return;
    }
    hmm__forget(v.scaled);
    const struct extent e = {v.scaled, v.to_top};
    uint32_t flags = (v.word | v.next_header) & HMM__FREE_ANY;
    if (flags == 0) {
        live_sub(h, scaled_bytes(v.scaled) - HMM_HEADER_BYTES);
        release_alone(h, p, (hmm_ref)v.at, v.scaled, insert);
        return;
    }
    /* Which of the two headers has the flag: FREE must be the next one's, PREV_FREE this one's. */
    if (flags == HMM__FREE && !(v.word & HMM__FREE)) {
        live_sub(h, scaled_bytes(v.scaled) - HMM_HEADER_BYTES);
        merge.next(h, p, (hmm_ref)v.at, e, v.next_header);
    } else if (flags == HMM__PREV_FREE && !(v.next_header & HMM__PREV_FREE)) {
        live_sub(h, scaled_bytes(v.scaled) - HMM_HEADER_BYTES);
        merge.prev(h, p, (hmm_ref)v.at, e, v.next_header);
    } else if (hmm__likely(
                   ((v.word & HMM__FREE_SELF) | (v.next_header & (uint32_t)HMM__FREE_NEXT)) == 0)) {
        live_sub(h, scaled_bytes(v.scaled) - HMM_HEADER_BYTES);
        merge.both(h, p, (hmm_ref)v.at, e, v.next_header);
    } else {
        hmm__free_else(h, p);
    }
}

#endif
#endif
