/* SPDX-License-Identifier: MIT */
/*
 * What best-fit and segregated share: exact bins, and the designated victim.
 *
 * THEORY
 *
 * The bins are lists of the free blocks of fewer than BINS granules, one for each size, the newest
 * first, with a map of those that are not empty. For small sizes both rules are the same.
 *
 * The larger block that became free or changed last is the victim (dlmalloc: designated victim). It
 * is in no list or trie yet. Programs often allocate from one large block again and again, and free
 * blocks beside it; while it is the victim, its size and place change without an index operation.
 * When another block becomes the victim, this one is pushed into the strategy's index, where it is
 * the newest block of its size: the order of age is kept. A victim of at
 * most `floor` granules is chosen before every block of the index. The floor may be lower than
 * necessary, never higher.
 *
 * INVARIANTS
 * T2  Bit i of the map is set iff bin i is not empty.
 * T3  Every block in bin i is free and has i granules, and its back link is the one before.
 * T4  The victim, if there is one, is free and has victim_size granules, at least BINS; else
 *     victim_size is 0. No block in the index would be chosen before one of `floor` granules that
 *     became free later.
 */
#ifndef HMM_BINS_H
#define HMM_BINS_H

#include "bits.h"
#include "heap/place.h"

/*
 * In few bytes the bins of best-fit may be fewer, since its index takes all larger sizes; those of
 * segregated are its rule. There is no victim: what it saves is time only.
 */
#if HMM__SMALL && !HMM_WITH_SEGREGATED
#ifndef HMM_BINS_LOG
#define HMM_BINS_LOG 4
#endif
#define BINS_LOG ((unsigned)HMM_BINS_LOG)
_Static_assert(HMM_BINS_LOG >= 3 && HMM_BINS_LOG <= 6, "8 to 64 bins");
#else
#define BINS_LOG 6u
#endif
#define BINS (1u << BINS_LOG)

struct bins {
    struct bits64 map;
    hmm_ref heads[BINS];
#if !HMM__SMALL
    hmm_ref victim; /* 0: none */
    uint32_t victim_size;
    uint32_t floor;
#endif
};

/* The first link words of a free block, in a bin and elsewhere. */
#define BIN_NEXT 0u
#define BIN_PREV 1u

_Static_assert(BINS <= sizeof(struct bits64) * 8u, "the map has a bit for each bin");
#if !HMM__SMALL
_Static_assert(LARGE_SCALED == (size_t)BINS << HMM__SIZE_SHIFT, "what is large is no bin's");
#endif
_Static_assert((BIN_PREV + 1u) * sizeof(hmm__word) <= HMM_LINK_BYTES,
               "every block has these links");

#if !HMM__SMALL
/* The largest request that a bin may serve, in bytes. */
#define BINS_MAX ((size_t)(BINS - 1) * HMM_GRANULE - HMM_HEADER_BYTES)
#endif

HMM__ALWAYS_INLINE hmm__word *bin_links(char *p)
{
    return words_at(p);
}

HMM__ALWAYS_INLINE void bins_mark(struct bins *s, size_t size)
{
    bits_word *word = &s->map.words[bits64_word(size)], map = *word;
    hmm__forget(map);
    *word = map | BIT(size % BITS);
}

HMM__ALWAYS_INLINE void bins_unmark(struct bins *s, size_t size)
{
    bits_word *word = &s->map.words[bits64_word(size)], map = *word;
    hmm__forget(map);
    *word = map & ~BIT(size % BITS);
}

/* The head of a bin has no valid back link: the bin itself tells which block is its head. */
HMM__ALWAYS_INLINE void bin_push(struct hmm_heap *h, struct bins *s, hmm_ref r, char *p,
                                 size_t size)
{
    HMM_ASSERT(r >= h->first && r < h->top && size >= HMM_MIN_GRANULES && size < BINS);
    hmm_ref head = s->heads[size];
    HMM_ASSERT(head != r && !head == !bits64_has(&s->map, size));
    s->heads[size] = r;
    bin_links(p)[BIN_NEXT] = head;
    if (head != 0)
        block_links(h, head)[BIN_PREV] = r;
    else
        bins_mark(s, size);
}

HMM__ALWAYS_INLINE void bin_pop(struct bins *s, char *p, size_t size)
{
    HMM_ASSERT(size < BINS && s->heads[size] != 0 && bits64_has(&s->map, size));
    hmm_ref next = bin_links(p)[BIN_NEXT];
    s->heads[size] = next;
    if (next == 0)
        bins_unmark(s, size);
}

HMM__ALWAYS_INLINE void bin_unlink(struct hmm_heap *h, struct bins *s, hmm_ref r, char *p,
                                   size_t size)
{
    HMM_ASSERT(size < BINS && s->heads[size] != 0);
    if (s->heads[size] == r) {
        bin_pop(s, p, size);
        return;
    }
    hmm_ref next = bin_links(p)[BIN_NEXT], prev = bin_links(p)[BIN_PREV];
    block_links(h, prev)[BIN_NEXT] = next;
    if (next != 0)
        block_links(h, next)[BIN_PREV] = prev;
}

/* Where all sizes are the bins'. */
HMM__ALWAYS_INLINE void bins_drop(struct hmm_heap *h, void *state, struct sized_block b)
{
    bin_unlink(h, state, b.r, b.p, b.size);
}

HMM__ALWAYS_INLINE void bins_move(struct hmm_heap *h, void *state, struct sized_block was,
                                  struct sized_block now)
{
    bin_unlink(h, state, was.r, was.p, was.size);
    bin_push(h, state, now.r, now.p, now.size);
}

/* Takes the head of a bin out, and pushes what remains beyond n granules. */
HMM__ALWAYS_INLINE hmm_ref bin_cut(struct hmm_heap *h, struct bins *s, uint32_t size, uint32_t n)
{
    hmm_ref r = s->heads[size];
    bin_pop(s, block_payload(h, r), size);
    if (size - n >= HMM_MIN_GRANULES)
        bin_push(h, s, r + n, block_payload(h, r + n), size - n);
    return r;
}

/* The size of the smallest block in a bin that has at least n granules; 0: there is none. */
HMM__ALWAYS_INLINE uint32_t bins_least(const struct bins *s, uint32_t n)
{
    uint32_t size = 0;
    if (n < BINS && bits64_next(&s->map, n, &size))
        size += n;
    return size;
}

#if !HMM__SMALL

/* Serves a request from the head of a bin of its size. */
HMM__ALWAYS_INLINE void *bin_serve(struct hmm_heap *h, struct bins *s, size_t n)
{
    char *p = block_payload(h, s->heads[n]);
    bin_pop(s, p, n);
    carve_whole(p, n << HMM__SIZE_SHIFT);
    COUNT(h->bin_whole++);
    live_add(h, scaled_bytes(n << HMM__SIZE_SHIFT) - HMM_HEADER_BYTES);
    return p;
}

/* From one that is larger by `rest`. */
HMM__ALWAYS_INLINE void *bin_serve_low(struct hmm_heap *h, struct bins *s, size_t n, size_t rest)
{
    hmm__forget(rest);
    hmm_ref r = s->heads[n + rest];
    char *p = block_payload(h, r);
    bin_pop(s, p, n + rest);
    hmm__forget(n);
    size_t bytes = n * HMM_GRANULE;
    if (HMM_MIN_GRANULES > 1 && rest < HMM_MIN_GRANULES) {
        bytes += rest * HMM_GRANULE;
        carve_whole(p, header_make((uint32_t)(n + rest), 0));
        COUNT(h->bin_whole++);
    } else {
        carve_low(p, p + bytes, rest << HMM__SIZE_SHIFT);
        bin_push(h, s, r + (hmm_ref)n, p + bytes, rest);
        COUNT(h->bin_splits++);
    }
    live_add(h, bytes - HMM_HEADER_BYTES);
    return p;
}

#endif

/* ---- The victim ---- */

#if !HMM__SMALL

HMM__ALWAYS_INLINE void set_victim(struct bins *s, hmm_ref r, size_t size)
{
    HMM_ASSERT(r == 0 ? size == 0 : size >= BINS);
    s->victim = r;
    s->victim_size = (uint32_t)size;
}

/* Whether the victim certainly serves this request, for which the bins have no block. If false, it
 * may still be the right block. */
HMM__ALWAYS_INLINE bool victim_is_next(const struct bins *s, size_t n)
{
    return s->victim_size >= n && s->victim_size <= s->floor;
}

HMM__HIDDEN void *hmm__victim_serve(struct hmm_heap *h, size_t n);

/* malloc of a strategy whose state begins with bins. `none` serves the request when the bins have
 * no block, `large` when the size is none of theirs. */
HMM__ALWAYS_INLINE void *bins_malloc(struct hmm_heap *h, size_t bytes,
                                     void *(*none)(struct hmm_heap *h, size_t n),
                                     void *(*large)(struct hmm_heap *h, size_t bytes))
{
    struct bins *s = h->state;
    if (hmm__unlikely(bytes > BINS_MAX))
        return large(h, bytes);
    size_t n = hmm__granules_for(bytes);
    struct bits64 map = s->map;
    uint32_t rest;
    if (bits64_has(&map, n))
        return bin_serve(h, s, n);
    hmm__forget(map.words[0]);
    if (!bits64_next(&map, n, &rest))
        return none(h, n);
    return bin_serve_low(h, s, n, rest);
}

#endif

/* The index is empty. */
HMM__ALWAYS_INLINE void floor_to_top(struct bins *s)
{
#if HMM__SMALL
    (void)s;
#else
    s->floor = UINT32_MAX;
#endif
}

/* No block in the index is smaller. */
HMM__ALWAYS_INLINE uint32_t floor_of(const struct bins *s)
{
#if HMM__SMALL
    (void)s;
    return 0;
#else
    return s->floor;
#endif
}

HMM__HIDDEN const char *hmm__bins_check(struct hmm_heap *h, const struct bins *s, uint32_t *count);

/* Size of the largest block in a bin, or of the victim; 0: there is none. */
HMM__ALWAYS_INLINE uint32_t bins_largest(const struct bins *s)
{
#if !HMM__SMALL
    if (s->victim)
        return s->victim_size;
#endif
    return bits64_is_empty(&s->map) ? 0 : bits64_greatest(&s->map);
}

#endif
