/* SPDX-License-Identifier: MIT */
/*
 * How much memory a heap has, and which of it is there: what gap.c, apart.c, pages.c and large.c
 * offer; and the same as nothing where they are not built in (HMM_WITH_PAGES 0). For heap.h only.
 */
#ifndef HMM_PAGES_H
#define HMM_PAGES_H

/* Before the break rises, and before a request fails. */
enum hmm__absent_from { HMM__ABSENT_WHOLE, HMM__ABSENT_JOINED };

#if HMM__PAGES

/* apart.c: whether this strategy's state is to lie apart, in a region of so many granules. */
HMM__HIDDEN bool hmm__state_goes_apart(const struct hmm__page_source *source,
                                       const struct hmm_strategy *strategy, uint32_t region);

/* The capacity that such a state has for blocks up to `to`; and the state's room, with memory for
 * so much. NULL: the system has none. */
HMM__HIDDEN uint32_t hmm__apart_capacity(const struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN void *hmm__apart_room(const struct hmm_heap *h, const struct hmm_strategy *strategy,
                                  uint32_t capacity, unsigned which);

/* Gives back a state that lay there. */
HMM__HIDDEN void hmm__apart_leave(const struct hmm_heap *h, unsigned which);

/* Before the break rises to `to`, above the capacity. False: there is no memory for the state. */
HMM__HIDDEN HMM__COLD bool hmm__apart_follow(struct hmm_heap *h, hmm_ref to);

/* Gives back pages of such a state that hold zeros only, since the break has fallen: looks at so
 * many bytes of it, from where it was left. False: all of it was looked at. */
HMM__HIDDEN bool hmm__apart_give_back(struct hmm_heap *h, size_t bytes);

/* gap.c: the break cannot rise: if another mapping is in its way, the heap goes on above it, with
 * at least n granules of top below the break. False: there is none, or no memory. */
HMM__HIDDEN HMM__COLD bool hmm__bridge(struct hmm_heap *h, uint32_t n);

#elif !HMM__SMALL

HMM__ALWAYS_INLINE bool hmm__state_goes_apart(const struct hmm__page_source *source,
                                              const struct hmm_strategy *strategy, uint32_t region)
{
    (void)source, (void)strategy, (void)region;
    return false;
}

HMM__ALWAYS_INLINE uint32_t hmm__apart_capacity(const struct hmm_heap *h, hmm_ref to)
{
    (void)to;
    return h->capacity;
}

HMM__ALWAYS_INLINE void *hmm__apart_room(const struct hmm_heap *h,
                                         const struct hmm_strategy *strategy, uint32_t capacity,
                                         unsigned which)
{
    (void)h, (void)strategy, (void)capacity, (void)which;
    return NULL;
}

HMM__ALWAYS_INLINE void hmm__apart_leave(const struct hmm_heap *h, unsigned which)
{
    (void)h, (void)which;
}

HMM__ALWAYS_INLINE bool hmm__apart_follow(struct hmm_heap *h, hmm_ref to)
{
    (void)h, (void)to;
    return true;
}

#endif

#if !HMM__PAGES
HMM__ALWAYS_INLINE bool hmm__bridge(struct hmm_heap *h, uint32_t n)
{
    (void)h, (void)n;
    return false;
}
#endif

#if HMM__PAGES

/* pages.c */
HMM__HIDDEN HMM__COLD bool hmm__commit(struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN bool hmm__commit_table(struct hmm_heap *h, hmm_ref to);
HMM__HIDDEN void hmm__clear(struct hmm_heap *h, char *from, size_t bytes);
/* Gives back a step of what has not been needed for a while, if there is any. */
HMM__HIDDEN HMM__COLD void hmm__decommit_due(struct hmm_heap *h);
/* The same when the top has fallen far, from `was` on. */
HMM__HIDDEN HMM__COLD void hmm__decommit_fallen(struct hmm_heap *h, hmm_ref was);
/* Whether there may be, by the clock or as of `now`; without the lock. */
HMM__HIDDEN HMM__COLD bool hmm__decommit_is_due(const struct hmm_heap *h);
HMM__HIDDEN bool hmm__decommit_is_due_at(const struct hmm_heap *h, uint64_t now);
/* Reads the clock, into t->at. Returns the number of frees until it is to be read next: as many as
 * took a few hundredths of a second, within TICK_FREES_MIN and HMM__TICK_FREES. */
#define HMM__TICK_FREES 128u
HMM__HIDDEN HMM__COLD uint16_t hmm__ticker_next(struct hmm__ticker *t, const struct hmm_heap *h);
/* The same as hmm__decommit_due at times when no operation on the heap is under way: the cache
 * gives back what is idle too, after much else was not needed. */
HMM__HIDDEN HMM__COLD void hmm__tick(struct hmm_heap *h);
/* So many granules have been freed. If too much is resident that is not needed, some goes. */
HMM__HIDDEN void hmm__decommit_excess(struct hmm_heap *h, uint32_t freed);
HMM__HIDDEN HMM__COLD void hmm__decommit_instead(struct hmm_heap *h, uint32_t granules);
HMM__HIDDEN HMM__COLD size_t hmm__decommit_all(struct hmm_heap *h);

/* The first ref at a page from r on; the last one up to r. */
HMM__HIDDEN hmm_ref hmm__page_above(const struct hmm_heap *h, hmm_ref r);
HMM__HIDDEN hmm_ref hmm__page_below(const struct hmm_heap *h, hmm_ref r);

/* Where what is committed ends, if it is to be unmapped. The page in which the limit lies stays
 * mapped, and is not known to be zero any more. */
HMM__HIDDEN HMM__COLD char *hmm__unmap_end(struct hmm_heap *h);

/* The start of the large free block that ends at `end`. */
HMM__HIDDEN hmm_ref hmm__large_start(const struct hmm_heap *h, hmm_ref end);

/* large.c */
HMM__HIDDEN size_t hmm__large_table_bytes(size_t region);

/* The entry for a block that ends here, whether it is in use or not. */
HMM__ALWAYS_INLINE struct hmm__large *large_entry(const struct hmm_heap *h, hmm_ref end)
{
    return &h->large[(size_t)end * HMM_GRANULE >> HMM__LARGE_LOG];
}

/* [from, to) is zero, of the free block at `start`. */
HMM__HIDDEN HMM__COLD void hmm__large_known(struct hmm_heap *h, hmm_ref start, hmm_ref from,
                                            hmm_ref to);

/* Free block [low, ...) has come of a used one, of `scaled`, and its free neighbours, 0 where there
 * is none. It is large. */
HMM__HIDDEN void hmm__large_joined(struct hmm_heap *h, hmm_ref low, size_t prev_size, size_t scaled,
                                   size_t next_size);

/* The large free block that ended here is not free any more, or is not large. */
HMM__HIDDEN HMM__COLD void hmm__large_drop(struct hmm_heap *h, hmm_ref end);

/* The same: it is being allocated, or its low end is. */
HMM__HIDDEN HMM__COLD void hmm__large_allocated(struct hmm_heap *h, hmm_ref end);

/* Of large free block r, of `size`, what is left is `gap` at its low end and `rest` at its high
 * end. */
HMM__HIDDEN HMM__COLD void hmm__large_cut(struct hmm_heap *h, hmm_ref r, uint32_t size,
                                          uint32_t gap, uint32_t rest);

/* The entry of the large free block that ends here. */
HMM__HIDDEN struct hmm__large *hmm__large_at(const struct hmm_heap *h, hmm_ref end);

/* The one whose pages have not been needed for the longest time; NULL: there is none. */
HMM__HIDDEN struct hmm__large *hmm__large_oldest(const struct hmm_heap *h);

/* Its pages are given back, or some of them; it begins at `start`. */
HMM__HIDDEN void hmm__large_given_back(struct hmm_heap *h, struct hmm__large *b, hmm_ref start,
                                       bool all);

/* Its block begins at `start`: what is known to be zero is cut to it. */
HMM__HIDDEN void hmm__large_clip(struct hmm__large *b, hmm_ref start);

HMM__HIDDEN const char *hmm__large_verify(const struct hmm_heap *h);

/* absent.c: makes free block [start, end), which is large, absent. False: it stays as it is. */
HMM__HIDDEN HMM__COLD bool hmm__absent_make(struct hmm_heap *h, hmm_ref start, hmm_ref end);

/* The same of all large free blocks, if address space is limited. Returns the bytes. */
HMM__HIDDEN HMM__COLD size_t hmm__absent_make_all(struct hmm_heap *h);

/* Of what is absent a free block of n granules comes back: of one piece; or of several, together
 * with what is free between them, for which all are looked at. False: there is not so much, or the
 * system refuses it. */
HMM__HIDDEN HMM__COLD bool hmm__absent_return(struct hmm_heap *h, uint32_t n,
                                              enum hmm__absent_from from);

/* The same above a block that ends at `end`, to which it is to be added. */
HMM__HIDDEN HMM__COLD bool hmm__absent_return_at(struct hmm_heap *h, hmm_ref end, uint32_t n);

/* If what lies below the top is absent, it becomes part of the top, whose pages are unmapped. */
HMM__HIDDEN HMM__COLD void hmm__absent_into_top(struct hmm_heap *h);

HMM__HIDDEN const char *hmm__absent_verify(const struct hmm_heap *h);

#else
#include "heap/no_pages.h"
#endif

HMM__ALWAYS_INLINE bool has_absent(const struct hmm_heap *h)
{
#if HMM__PAGES
    return hmm__unlikely(h->absent_count != 0);
#else
    (void)h;
    return false;
#endif
}

/* Whether n granules have come back that were absent, as a free block or as part of the top. */
HMM__ALWAYS_INLINE bool absent_returns(struct hmm_heap *h, uint32_t n, enum hmm__absent_from from)
{
#if HMM__PAGES
    return hmm__unlikely(h->absent_count != 0) && hmm__absent_return(h, n, from);
#else
    (void)h, (void)n, (void)from;
    return false;
#endif
}

/* Before a block that ends at `end` moves: whether n granules above it have come back. */
HMM__ALWAYS_INLINE bool absent_returns_at(struct hmm_heap *h, hmm_ref end, uint32_t n)
{
#if HMM__PAGES
    return hmm__unlikely(h->absent_count != 0) && hmm__absent_return_at(h, end, n);
#else
    (void)h, (void)end, (void)n;
    return false;
#endif
}

/* After the system has refused memory: whether there is more of it now. */
HMM__ALWAYS_INLINE bool absent_spares(struct hmm_heap *h)
{
#if HMM__PAGES
    return h->page_source != NULL && hmm__absent_make_all(h) != 0;
#else
    (void)h;
    return false;
#endif
}

#endif
