/* SPDX-License-Identifier: MIT */
/*
 * pages.c and large.c where they are not built in (HMM_WITH_PAGES 0): the whole region is there
 * from the start, and stays. For pages.h only.
 */
#ifndef HMM_NO_PAGES_H
#define HMM_NO_PAGES_H

HMM__ALWAYS_INLINE bool hmm__commit(struct hmm_heap *h, hmm_ref to)
{
    (void)h, (void)to;
    return true;
}

HMM__ALWAYS_INLINE bool hmm__commit_table(struct hmm_heap *h, hmm_ref to)
{
    return hmm__commit(h, to);
}

HMM__ALWAYS_INLINE void hmm__clear(struct hmm_heap *h, char *from, size_t bytes)
{
    (void)h;
    memset(from, 0, bytes);
}

HMM__ALWAYS_INLINE void hmm__decommit_due(struct hmm_heap *h)
{
    (void)h;
}

HMM__ALWAYS_INLINE void hmm__decommit_fallen(struct hmm_heap *h, hmm_ref was)
{
    (void)h, (void)was;
}

HMM__ALWAYS_INLINE bool hmm__decommit_is_due(const struct hmm_heap *h)
{
    (void)h;
    return false;
}

HMM__ALWAYS_INLINE bool hmm__decommit_is_due_at(const struct hmm_heap *h, uint64_t now)
{
    (void)h, (void)now;
    return false;
}

#define HMM__TICK_FREES 128u

HMM__ALWAYS_INLINE uint16_t hmm__ticker_next(struct hmm__ticker *t, const struct hmm_heap *h)
{
    (void)t, (void)h;
    return UINT16_MAX;
}

HMM__ALWAYS_INLINE void hmm__tick(struct hmm_heap *h)
{
    (void)h;
}

HMM__ALWAYS_INLINE void hmm__decommit_excess(struct hmm_heap *h, uint32_t freed)
{
    (void)h, (void)freed;
}

HMM__ALWAYS_INLINE void hmm__decommit_instead(struct hmm_heap *h, uint32_t granules)
{
    (void)h, (void)granules;
}

HMM__ALWAYS_INLINE size_t hmm__large_table_bytes(size_t region)
{
    (void)region;
    return 0;
}

HMM__ALWAYS_INLINE void hmm__large_joined(struct hmm_heap *h, hmm_ref low, size_t prev_size,
                                          size_t scaled, size_t next_size)
{
    (void)h, (void)low, (void)prev_size, (void)scaled, (void)next_size;
}

HMM__ALWAYS_INLINE void hmm__large_drop(struct hmm_heap *h, hmm_ref end)
{
    (void)h, (void)end;
}

HMM__ALWAYS_INLINE void hmm__large_allocated(struct hmm_heap *h, hmm_ref end)
{
    (void)h, (void)end;
}

HMM__ALWAYS_INLINE void hmm__large_cut(struct hmm_heap *h, hmm_ref r, uint32_t size, uint32_t gap,
                                       uint32_t rest)
{
    (void)h, (void)r, (void)size, (void)gap, (void)rest;
}

HMM__ALWAYS_INLINE struct hmm__large *hmm__large_at(const struct hmm_heap *h, hmm_ref end)
{
    (void)h, (void)end;
    return NULL;
}

HMM__ALWAYS_INLINE void hmm__large_clip(struct hmm__large *b, hmm_ref start)
{
    (void)b, (void)start;
}

#endif
