/* SPDX-License-Identifier: MIT */
/*
 * struct hmm_heap of a heap in few bytes (HMM_WITH_SPEED 0), and what heap.h otherwise says of the
 * larger one. It has no cache, no pages that come and go, and no break of its own: the break is
 * where the top is. Its strategy's state follows it at once. For heap.h only.
 */
#ifndef HMM_HEAP_SMALL_H
#define HMM_HEAP_SMALL_H

_Static_assert(!HMM_WITH_IMAGES || HMM_WITH_CHECKS,
               "HMM_WITH_IMAGES needs HMM_WITH_CHECKS: what is attached is checked");

struct hmm_heap {
#if HMM__COUNTS
    /* The first 8 bytes are where the links of ref 0 would be. */
    uint32_t failed, visited;
    size_t live_bytes, live_peak;
    uint32_t splits, merges, top_blocks, free_unbinned, aligned_blocks;
    hmm_ref top_peak; /* the highest that the top has been */
    uint32_t skew;    /* bytes of the caller's region below the base */
#endif
#if HMM_WITH_IMAGES
    struct hmm__image_id id;
#endif
#if !HMM__ONE_STRATEGY
    const struct hmm_strategy *strategy;
#endif
    hmm_ref first, top, limit;
};

HMM__ALWAYS_INLINE void *state_of(const struct hmm_heap *h)
{
    return (void *)(uintptr_t)(h + 1);
}

HMM__ALWAYS_INLINE hmm_ref heap_brk(const struct hmm_heap *h)
{
    return h->limit;
}

HMM__ALWAYS_INLINE hmm_ref end_of(const struct hmm_heap *h)
{
    return h->limit;
}

HMM__ALWAYS_INLINE bool large_knows(const struct hmm_heap *h, size_t scaled)
{
    (void)h, (void)scaled;
    return false;
}

#if HMM__COUNTS

HMM__ALWAYS_INLINE void live_add(struct hmm_heap *h, size_t bytes)
{
    h->live_bytes += bytes;
    if (h->live_peak < h->live_bytes)
        h->live_peak = h->live_bytes;
}

HMM__ALWAYS_INLINE void live_sub(struct hmm_heap *h, size_t bytes)
{
    h->live_bytes -= bytes;
}

HMM__ALWAYS_INLINE size_t live_bytes(const struct hmm_heap *h)
{
    return h->live_bytes;
}

HMM__ALWAYS_INLINE uint32_t free_blocks(const struct hmm_heap *h)
{
    return h->free_unbinned;
}

HMM__ALWAYS_INLINE size_t live_blocks(const struct hmm_heap *h)
{
    return h->top_blocks + h->splits - h->merges - h->free_unbinned;
}

#else

HMM__ALWAYS_INLINE void live_add(struct hmm_heap *h, size_t bytes)
{
    (void)h, (void)bytes;
}

HMM__ALWAYS_INLINE void live_sub(struct hmm_heap *h, size_t bytes)
{
    (void)h, (void)bytes;
}

#endif
#endif
