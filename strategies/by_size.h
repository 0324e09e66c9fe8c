/* SPDX-License-Identifier: MIT */
/*
 * What best-fit and segregated have in common: everything but the index of the large blocks.
 *
 * THEORY
 *
 * A strategy whose state begins with bins (bins.h) has an index of its own for the large blocks
 * except the victim. The strategy defines five functions of this index, and BY_SIZE defines all
 * others by them:
 *
 *     X_index_push    puts a large block into the index, the newest of its equals
 *     X_index_drop    takes one out
 *     X_index_empty   whether there is none
 *     X_index_malloc  malloc, where the bins have no block, the victim is not known to be the right
 *                     one and the index is not empty
 *     X_large_find    find, in the victim and the index
 *
 * The functions here are inlined, and their callbacks are constants: each strategy has machine code
 * of its own, without an indirect call. The functions that BY_SIZE defines call one of them each;
 * those that are marked BY_SIZE_ALONE are not inlined, so that the common path needs few registers.
 */
#ifndef HMM_BY_SIZE_H
#define HMM_BY_SIZE_H

#include "bins.h"

typedef void by_size_verb(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size);
typedef hmm_ref by_size_find(struct hmm_heap *h, const void *state, uint32_t n);

#if !HMM__SMALL

/* A large block and its size in granules: one word. */
struct large_block {
    hmm_ref r;
    uint32_t size;
};

typedef void by_size_move(struct hmm_heap *h, void *state, struct large_block was,
                          struct large_block now);

/* For assertions: whether what lies at r is a free block of so many granules. */
HMM__ALWAYS_INLINE bool block_is_free_of(const struct hmm_heap *h, hmm_ref r, uint32_t size)
{
    return r >= h->first && r < h->top && (block_header(h, r) & HMM__FREE) &&
           block_size(h, r) == size;
}

#endif

/* ---- The large ones ---- */

#if HMM__SMALL

HMM__ALWAYS_INLINE void large_put(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size,
                                  by_size_verb *push)
{
    push(h, state, r, size);
}

HMM__ALWAYS_INLINE void large_drop(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size,
                                   by_size_verb *drop)
{
    drop(h, state, r, size);
}

#else

/* A block has become free, or has changed: it becomes the victim. The next request is often served
 * from it, and the next block that is freed often merges with it. */
HMM__ALWAYS_INLINE void large_put(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size,
                                  by_size_verb *push)
{
    struct bins *s = state;
    hmm_ref other = s->victim;
    uint32_t other_size = s->victim_size;
    HMM_ASSERT(other == 0 || (other != r && block_is_free_of(h, other, other_size)));
    set_victim(s, r, size);
    if (other != 0)
        push(h, s, other, other_size);
}

HMM__ALWAYS_INLINE void large_drop(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size,
                                   by_size_verb *drop)
{
    struct bins *s = state;
    if (s->victim == r)
        set_victim(s, 0, 0);
    else
        drop(h, s, r, size);
}

#endif

#if !HMM__SMALL

/* A block that is not the victim becomes a larger one, which is large; it may have been small
 * before. */
HMM__ALWAYS_INLINE void large_move(struct hmm_heap *h, struct large_block was,
                                   struct large_block now, by_size_verb *drop, by_size_verb *push)
{
    void *state = state_of(h);
    if (was.size >= BINS)
        drop(h, state, was.r, was.size);
    else
        bin_unlink(h, state, was.r, block_payload(h, was.r), was.size);
    large_put(h, state, now.r, now.size, push);
}

/* Takes large block b out of the index and adds what remains beyond n granules: to the large blocks
 * or, if it is small, to a bin. */
HMM__ALWAYS_INLINE void large_cut(struct hmm_heap *h, struct large_block b, uint32_t n,
                                  by_size_verb *drop, insert_callback *give)
{
    void *state = state_of(h);
    drop(h, state, b.r, b.size);
    if (b.size - n >= HMM_MIN_GRANULES)
        give(h, state, sized_block_at(h, b.r + n, b.size - n));
}

#endif

/* ---- Of any size ---- */

HMM__ALWAYS_INLINE void by_size_put(struct hmm_heap *h, void *state, struct sized_block b,
                                    by_size_verb *push)
{
    if (hmm__likely(b.size < BINS))
        bin_push(h, state, b.r, b.p, b.size);
    else
        large_put(h, state, b.r, (uint32_t)b.size, push);
}

HMM__ALWAYS_INLINE void by_size_drop(struct hmm_heap *h, void *state, struct sized_block b,
                                     by_size_verb *drop)
{
    if (hmm__likely(b.size < BINS))
        bin_unlink(h, state, b.r, b.p, b.size);
    else
        drop(h, state, b.r, (uint32_t)b.size);
}

#if !HMM__SMALL

/* Merges a block into one that is large. */
HMM__ALWAYS_INLINE void by_size_enlarge(struct hmm_heap *h, void *state, struct sized_block was,
                                        struct sized_block now, by_size_move *move)
{
    struct bins *s = state;
    if (was.r == s->victim)
        set_victim(s, now.r, now.size);
    else
        move(h, s, (struct large_block){was.r, (uint32_t)was.size},
             (struct large_block){now.r, (uint32_t)now.size});
}

HMM__ALWAYS_INLINE void by_size_resize(struct hmm_heap *h, void *state, struct sized_block was,
                                       hmm_ref r, by_size_move *move)
{
    const struct sized_block now = sized_block_at(h, r, block_size(h, r));
    if (now.size >= BINS)
        by_size_enlarge(h, state, was, now, move);
    else
        bins_move(h, state, was, now);
}

#endif

/* The smallest block in a bin that is large enough, else the one that `large` finds. */
HMM__ALWAYS_INLINE hmm_ref by_size_of(struct hmm_heap *h, const void *state, uint32_t n,
                                      by_size_find *large)
{
    const struct bins *s = state;
    uint32_t size = bins_least(s, n);
    if (size == 0)
        return large(h, s, n);
    COUNT(h->visited++);
    return s->heads[size];
}

#if !HMM__SMALL

HMM__ALWAYS_INLINE hmm_ref by_size_take(struct hmm_heap *h, hmm_ref r, uint32_t n,
                                        by_size_verb *drop, insert_callback *give)
{
    if (r == 0)
        return 0;
    uint32_t size = block_size(h, r);
    if (size < BINS)
        return bin_cut(h, state_of(h), size, n);
    large_cut(h, (struct large_block){r, size}, n, drop, give);
    return r;
}

/* ---- As a whole ---- */

/* No bin has a block: the large blocks, then the top. */
HMM__ALWAYS_INLINE void *by_size_malloc_else(struct hmm_heap *h, size_t n,
                                             bool (*empty)(const void *state),
                                             void *(*index_malloc)(struct hmm_heap *, uint32_t))
{
    if (victim_is_next(h->state, n))
        return hmm__victim_serve(h, n);
    if (!empty(h->state))
        return index_malloc(h, (uint32_t)n);
    void *p = allocate_from_top(h, (uint32_t)n);
    return p ? p : hmm__malloc_else(h, (uint32_t)n);
}

/* The index has found r, a large one. */
HMM__ALWAYS_INLINE void *large_serve(struct hmm_heap *h, hmm_ref r, uint32_t n, by_size_verb *drop,
                                     insert_callback *give)
{
    uint32_t size = block_size(h, r);
    if (hmm__unlikely(size < n))
        hmm__links_broken(h, r);
    large_cut(h, (struct large_block){r, size}, n, drop, give);
    return finish_allocation(h, r, n, size);
}

/* Whether the free block above r at p is in the index of large blocks. Most often it is small, or
 * the victim. */
HMM__ALWAYS_INLINE bool above_is_indexed(const struct hmm_heap *h, const char *p, hmm_ref r)
{
    const struct bins *s = h->state;
    size_t scaled = header_scaled(word_load(p)),
           next_size = header_scaled(word_load(p + scaled_bytes(scaled)));
    return next_size >= LARGE_SCALED && s->victim != r + (hmm_ref)scaled_granules(scaled);
}

/* Takes out a block that is not in the index. */
HMM__ALWAYS_INLINE void unindexed_drop(struct hmm_heap *h, void *state, struct sized_block b)
{
    if (b.size < BINS)
        bin_unlink(h, state, b.r, b.p, b.size);
    else
        set_victim(state, 0, 0);
}

/* bins.c: three free blocks become one that is a bin's. */
HMM__HIDDEN void hmm__bins_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled,
                                     struct neighbours n);

#endif

#define BY_SIZE_ALONE static __attribute__((noinline))

/* The hooks of strategy X. */
#define BY_SIZE_HOOKS(X)                                                                           \
    BY_SIZE_ALONE void X##_large_drop(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size)   \
    {                                                                                              \
        large_drop(h, state, r, size, X##_index_drop);                                             \
    }                                                                                              \
    HMM__ALWAYS_INLINE void X##_put(struct hmm_heap *h, void *state, struct sized_block b)         \
    {                                                                                              \
        by_size_put(h, state, b, X##_index_push);                                                  \
    }                                                                                              \
    HMM__ALWAYS_INLINE void X##_drop(struct hmm_heap *h, void *state, struct sized_block b)        \
    {                                                                                              \
        by_size_drop(h, state, b, X##_large_drop);                                                 \
    }                                                                                              \
    static hmm_ref X##_find(struct hmm_heap *h, void *state, uint32_t granules)                    \
    {                                                                                              \
        return by_size_of(h, state, granules, X##_large_find);                                     \
    }                                                                                              \
    static void X##_insert(struct hmm_heap *h, void *state, hmm_ref r)                             \
    {                                                                                              \
        X##_put(h, state, sized_block_at(h, r, block_size(h, r)));                                 \
    }                                                                                              \
    static void X##_remove(struct hmm_heap *h, void *state, hmm_ref r)                             \
    {                                                                                              \
        X##_drop(h, state, sized_block_at(h, r, block_size(h, r)));                                \
    }

#if HMM__SMALL
#define BY_SIZE(X) BY_SIZE_HOOKS(X)
#else
#define BY_SIZE(X) BY_SIZE_HOOKS(X) BY_SIZE_WHOLE(X)

/* What is faster than the hooks. */
#define BY_SIZE_WHOLE(X)                                                                           \
    BY_SIZE_ALONE void X##_large_move(struct hmm_heap *h, void *state, struct large_block was,     \
                                      struct large_block now)                                      \
    {                                                                                              \
        (void)state;                                                                               \
        large_move(h, was, now, X##_large_drop, X##_index_push);                                   \
    }                                                                                              \
    HMM__ALWAYS_INLINE void X##_enlarge(struct hmm_heap *h, void *state, struct sized_block was,   \
                                        struct sized_block now)                                    \
    {                                                                                              \
        by_size_enlarge(h, state, was, now, X##_large_move);                                       \
    }                                                                                              \
    static hmm_ref X##_take(struct hmm_heap *h, void *state, uint32_t granules)                    \
    {                                                                                              \
        return by_size_take(h, X##_find(h, state, granules), granules, X##_large_drop, X##_put);   \
    }                                                                                              \
    static void X##_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,    \
                           hmm_ref now)                                                            \
    {                                                                                              \
        by_size_resize(h, state, sized_block_at(h, was, was_granules), now, X##_large_move);       \
    }                                                                                              \
    BY_SIZE_ALONE void *X##_malloc_else(struct hmm_heap *h, size_t n)                              \
    {                                                                                              \
        return by_size_malloc_else(h, n, X##_index_empty, X##_index_malloc);                       \
    }                                                                                              \
    BY_SIZE_ALONE void *X##_malloc_large(struct hmm_heap *h, size_t size)                          \
    {                                                                                              \
        return size > HMM_MAX_REQUEST ? hmm__fail(h, size)                                         \
                                      : X##_malloc_else(h, hmm__granules_for(size));               \
    }                                                                                              \
    static void *X##_malloc(struct hmm_heap *h, size_t size)                                       \
    {                                                                                              \
        return bins_malloc(h, size, X##_malloc_else, X##_malloc_large);                            \
    }                                                                                              \
    BY_SIZE_ALONE void X##_large_above(struct hmm_heap *h, char *p, hmm_ref r)                     \
    {                                                                                              \
        large_next_by(h, (struct block){p, r}, X##_enlarge);                                       \
    }                                                                                              \
    BY_SIZE_ALONE void X##_large_below(struct hmm_heap *h, char *p, hmm_ref r)                     \
    {                                                                                              \
        large_prev_by(h, (struct block){p, r}, X##_enlarge);                                       \
    }                                                                                              \
    BY_SIZE_ALONE void X##_large_both_indexed(struct hmm_heap *h, char *p, hmm_ref r)              \
    {                                                                                              \
        large_both_by(h, (struct block){p, r}, X##_drop, X##_enlarge);                             \
    }                                                                                              \
    BY_SIZE_ALONE void X##_large_both(struct hmm_heap *h, char *p, hmm_ref r)                      \
    {                                                                                              \
        if (above_is_indexed(h, p, r))                                                             \
            X##_large_both_indexed(h, p, r);                                                       \
        else                                                                                       \
            large_both_by(h, (struct block){p, r}, unindexed_drop, X##_enlarge);                   \
    }                                                                                              \
    BY_SIZE_ALONE void X##_merge_above(struct hmm_heap *h, char *p, hmm_ref r, struct extent e,    \
                                       uint32_t next_header)                                       \
    {                                                                                              \
        merge_next_by(h, (struct merge){{p, r}, e, next_header}, bins_move, X##_large_above);      \
    }                                                                                              \
    BY_SIZE_ALONE void X##_merge_below(struct hmm_heap *h, char *p, hmm_ref r, struct extent e,    \
                                       uint32_t next_header)                                       \
    {                                                                                              \
        merge_prev_by(h, (struct merge){{p, r}, e, next_header}, bins_move, X##_large_below);      \
    }                                                                                              \
    BY_SIZE_ALONE void X##_merge_both(struct hmm_heap *h, char *p, hmm_ref r, struct extent e,     \
                                      uint32_t next_header)                                        \
    {                                                                                              \
        merge_both_by(h, (struct merge){{p, r}, e, next_header}, hmm__bins_join_both,              \
                      X##_large_both);                                                             \
    }                                                                                              \
    static void X##_free(struct hmm_heap *h, void *block)                                          \
    {                                                                                              \
        free_by(h, block, X##_put,                                                                 \
                (struct merges){X##_merge_above, X##_merge_below, X##_merge_both});                \
    }
#endif

#endif
