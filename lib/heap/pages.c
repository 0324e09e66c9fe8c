/* SPDX-License-Identifier: MIT */
/*
 * Commit and decommit: which pages of the region the system provides. Calls the region's page
 * source; large.c tells where pages are that are not needed.
 *
 * Before the break rises above committed_end, pages are committed, an eighth of the committed size
 * ahead. The system provides a page when it is first written.
 *
 * Pages are given back when they have not been needed for a while (release_after): those inside
 * large free blocks, the oldest first, and those of the free top that lie above the highest place
 * where the top has been during that time. A program that frees and allocates the same memory again
 * keeps it; one that does not loses it a little later. There is no thread for it: the slow paths of
 * malloc and free read the clock, and each gives back at most RELEASE_STEP, so that no call takes
 * long, whatever the number of blocks. The sum of such pages is limited (EXCESS_BYTES and a quarter
 * of the live bytes): so much stays resident in a program that does not call malloc or free any
 * more. If the break rises into pages that were not resident, as many others are given back at
 * once, however recently they were used.
 */
#include "heap/block.h"

#if HMM__PAGES

#define AHEAD_MIN ((256u << 10) / HMM_GRANULE)
#define AHEAD_MAX ((4u << 20) / HMM_GRANULE)

/* Bytes that one call gives back: about a third of a millisecond. */
#define RELEASE_STEP ((size_t)4 << 20)

/* Bytes of a strategy's state that one call looks at. */
#define STATE_STEP ((size_t)1 << 20)

/* When so much has been given back, and no more is due, a burst is over. */
#define IDLE_BYTES ((size_t)1 << 20)

/* So much and a quarter of the live bytes may be resident and not needed; beyond it a free gives
 * back as much as it frees, and a step. */
#define EXCESS_BYTES ((size_t)128 << 20)

/* What is beyond it goes when it is so much, so that a call which frees many blocks does not give
 * back some pages for each. */
#define EXCESS_MIN ((size_t)512 << 10)

/* Where the system's pages are larger, their edges stay. */
#define RELEASE_PAGE ((uintptr_t)4096)

/* Ticks are to be so many milliseconds apart at least, and not twice as many; with a busy thread
 * HMM__TICK_FREES limit it. */
#define TICK_MS 16u
#define TICK_FREES_MIN 4u

#define LARGE_BYTES ((size_t)HMM__LARGE_GRANULES * HMM_GRANULE)

/* ---- Commit ---- */

/* The table of large free blocks as far as blocks can end below `to`. */
bool hmm__commit_table(struct hmm_heap *h, hmm_ref to)
{
    size_t bytes = hmm__large_table_bytes((size_t)to * HMM_GRANULE);
    if (bytes <= h->large_committed)
        return true;
    size_t step = h->large_committed + ((size_t)16 << 10), all = h->large_bytes;
    size_t wanted = bytes > step ? bytes : step;
    wanted = wanted < all ? wanted : all;
    char *table = (char *)h->large;
    if (!h->page_source->commit(table + h->large_committed, table + wanted))
        return false;
    if (!h->sparse)
        hmm__clear(h, table + h->large_committed, wanted - h->large_committed);
    h->large_committed = wanted;
    return true;
}

static bool commit_to(struct hmm_heap *h, hmm_ref to)
{
    char *from = block_payload(h, h->committed_end);
    if (!hmm__commit_table(h, to) || !h->page_source->commit(from, block_payload(h, to)))
        return false;
    h->committed_end = to;
    return true;
}

static uint32_t ahead_of(const struct hmm_heap *h)
{
    uint32_t ahead = (h->committed_end - h->first) / 8;
    ahead = ahead > AHEAD_MIN ? ahead : AHEAD_MIN;
    return ahead < AHEAD_MAX ? ahead : AHEAD_MAX;
}

bool hmm__commit(struct hmm_heap *h, hmm_ref to)
{
    if (to <= h->committed_end)
        return true;
    uint32_t ahead = ahead_of(h);
    hmm_ref max = h->limit - to < ahead ? h->limit : to + ahead;
    if (commit_to(h, max))
        return true;
    h->scarce = true;
    return commit_to(h, to);
}

/* Decommits and so clears, from a size on at which that is faster than writing. */
void hmm__clear(struct hmm_heap *h, char *from, size_t bytes)
{
    if (h->page_source && bytes >= LARGE_BYTES)
        h->page_source->decommit(from, from + bytes);
    else
        memset(from, 0, bytes);
}

/* ---- Decommit ---- */

/* Gives back [from, to), or of it the low or the high end, as much as the budget has. Returns how
 * many granules. */
enum which_end { LOW_END, HIGH_END };
static uint32_t give_back(struct hmm_heap *h, hmm_ref from, hmm_ref to, enum which_end which,
                          size_t *budget)
{
    size_t bytes = (size_t)(to - from) * HMM_GRANULE;
    if (bytes > *budget)
        bytes = *budget & ~(LARGE_BYTES - 1);
    uint32_t n = (uint32_t)(bytes / HMM_GRANULE);
    if (n == 0)
        return 0;
    if (which == HIGH_END)
        from = to - n;
    char *p = block_payload(h, from);
    h->page_source->decommit(p, p + bytes);
    h->released += bytes;
    *budget -= bytes;
    return n;
}

hmm_ref hmm__page_above(const struct hmm_heap *h, hmm_ref r)
{
    uintptr_t at = (uintptr_t)block_payload(h, r);
    return r + (hmm_ref)((-at & (RELEASE_PAGE - 1)) / HMM_GRANULE);
}

hmm_ref hmm__page_below(const struct hmm_heap *h, hmm_ref r)
{
    uintptr_t at = (uintptr_t)block_payload(h, r);
    return r - (hmm_ref)((at & (RELEASE_PAGE - 1)) / HMM_GRANULE);
}

char *hmm__unmap_end(struct hmm_heap *h)
{
    char *end = (char *)block_payload(h, h->committed_end) + RELEASE_PAGE - 1;
    char *limit = block_payload(h, h->limit);
    if (end < limit)
        return end;
    hmm_ref whole = hmm__page_below(h, h->limit);
    h->zero_limit = h->zero_limit < whole ? h->zero_limit : whole;
    return limit;
}

hmm_ref hmm__large_start(const struct hmm_heap *h, hmm_ref end)
{
    uint32_t n = block_footer_below(h, end);
    if (n < HMM__LARGE_GRANULES || n > end - h->first)
        hmm__block_broken(h, end);
    uint32_t word = block_header(h, end - n);
    if (!(word & HMM__FREE) || header_size(word) != n)
        hmm__block_broken(h, end - n);
    return end - n;
}

static bool is_limited(const struct hmm_heap *h)
{
    return h->page_source->limited != NULL && h->page_source->limited();
}

/* The range that is zero grows, upward and then downward, until it is all but the strategy's links
 * and the footer. */
static void give_back_block(struct hmm_heap *h, struct hmm__large *b, size_t *budget)
{
    hmm_ref start = hmm__large_start(h, b->end);
    hmm_ref from = start + HMM_LINKS_KEPT / HMM_GRANULE, to = b->end - 1;
    hmm__large_clip(b, start);
    b->zero_from = hmm__page_above(h, b->zero_from);
    b->zero_to = hmm__page_below(h, b->zero_to);
    if (b->zero_from >= b->zero_to)
        b->zero_from = b->zero_to = to;
    b->zero_to += give_back(h, b->zero_to, to, LOW_END, budget);
    if (b->zero_to == to)
        b->zero_from -= give_back(h, from, b->zero_from, HIGH_END, budget);
    bool all = b->zero_from == from && b->zero_to == to;
    hmm__large_given_back(h, b, start, all);
    if (all && is_limited(h))
        hmm__absent_make(h, start, b->end);
}

/* Of the free top what lies above `keep`. Whether nothing is left of it that is worth a call. */
static bool give_back_top(struct hmm_heap *h, hmm_ref keep, size_t *budget)
{
    if (h->zero_top > h->limit)
        h->zero_top = h->limit;
    if (h->zero_top <= keep || h->zero_top - keep < HMM__LARGE_GRANULES)
        return true;
    h->zero_top -= give_back(h, keep, h->zero_top, HIGH_END, budget);
    return h->zero_top == keep;
}

/* Whether nothing is left that was last needed at `until` or before. */
static bool give_back_blocks(struct hmm_heap *h, uint32_t until, size_t *budget)
{
    struct hmm__large *b;
    while ((b = hmm__large_oldest(h)) != NULL && (int32_t)(until - b->since) >= 0) {
        if (*budget < LARGE_BYTES)
            return false;
        give_back_block(h, b, budget);
    }
    return true;
}

/* Of what is committed above the break, keeps so much; nothing is done for less than that. */
static void unmap_beyond(struct hmm_heap *h, hmm_ref keep, uint32_t ahead)
{
    if (h->page_source->unmap == NULL)
        return;
    keep = keep > h->brk ? keep : h->brk;
    if (h->committed_end <= keep || h->committed_end - keep <= 2 * ahead)
        return;
    hmm_ref kept = hmm__page_above(h, keep + ahead); /* all above it is zero later */
    if (h->committed_end <= kept)
        return;
    h->page_source->unmap(block_payload(h, kept), hmm__unmap_end(h));
    h->committed_end = kept;
    h->state_scanned = 0;
    if (h->zero_top > h->committed_end)
        h->zero_top = h->committed_end;
}

/* As much as is committed ahead. */
static void unmap_above(struct hmm_heap *h, hmm_ref keep)
{
    unmap_beyond(h, keep, ahead_of(h));
}

/* Whether what lay below top_seen was needed until just now: the top has fallen from there, by
 * little, at any time since it was seen, or far, and then the break is below it. */
static bool top_seen_counts(const struct hmm_heap *h, uint64_t now)
{
    return h->release_after != 0 && h->top_seen > h->top &&
           (h->top_seen <= h->brk || now - h->top_fell_at < h->release_after);
}

/* At intervals of release_after: what lies above the top as it was at the last one, or above where
 * it fell from less than such an interval ago. In that case the next one ends when it has been
 * there for so long. */
static bool give_back_due_top(struct hmm_heap *h, uint64_t now, size_t *budget)
{
    hmm_ref keep = h->top;
    if (now - h->top_seen_at < h->release_after)
        return true;
    bool fell = top_seen_counts(h, now);
    if (fell)
        keep = h->top_seen;
    if (!give_back_top(h, keep, budget))
        return false;
    unmap_above(h, keep);
    h->top_seen = h->top;
    h->top_seen_at = fell && h->top_fell_at > h->top_seen_at ? h->top_fell_at : now;
    return true;
}

/* When some are due is read without the lock. Processors that cannot read 64 bits at once, and
 * would call a library for it, are those of firmware, which has no threads. */
#if UINTPTR_MAX > UINT32_MAX || defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_8)
static uint64_t read_due(const struct hmm_heap *h)
{
    return __atomic_load_n(&h->release_due, __ATOMIC_RELAXED);
}

static void write_due(struct hmm_heap *h, uint64_t due)
{
    __atomic_store_n(&h->release_due, due, __ATOMIC_RELAXED);
}
#else
static uint64_t read_due(const struct hmm_heap *h)
{
    return h->release_due;
}

static void write_due(struct hmm_heap *h, uint64_t due)
{
    h->release_due = due;
}
#endif

/* What lies above the break, to a system that has refused memory. */
static HMM__COLD void give_back_above(struct hmm_heap *h)
{
    size_t budget = SIZE_MAX;
    if (h->page_source->unmap != NULL && give_back_top(h, h->brk, &budget))
        unmap_above(h, h->brk);
}

/* When something will be due next, if nothing is now. A cache, which counts its time from its last
 * turn, is asked twice in that time. */
static uint64_t next_due(const struct hmm_heap *h, uint64_t now)
{
    const struct hmm__large *b = hmm__large_oldest(h);
    uint32_t block_age = b ? (uint32_t)now - b->since : 0;
    uint64_t age = now - h->top_seen_at;
    age = age > block_age ? age : block_age;
    uint64_t left = h->release_after - (age < h->release_after ? age : 0);
    uint64_t turn = HMM__UNUSED_AFTER(h) / 2 + 1;
    return now + (left < turn ? left : turn);
}

static bool may_give_back(const struct hmm_heap *h)
{
    return h->page_source != NULL && h->release_after != HMM__RELEASE_NEVER && !h->keeps_pages;
}

static void decommit_due_at(struct hmm_heap *h, uint64_t now)
{
    hmm__absent_into_top(h);
    if (hmm__unlikely(h->scarce))
        give_back_above(h);
    if (now < h->release_due)
        return;
    size_t budget = h->release_after == 0 ? SIZE_MAX : RELEASE_STEP;
    bool done = give_back_due_top(h, now, &budget) &&
                give_back_blocks(h, (uint32_t)now - h->release_after, &budget) &&
                !hmm__apart_give_back(h, STATE_STEP);
    h->stepped = h->stepped || budget < RELEASE_STEP;
    write_due(h, done ? next_due(h, now) : now);
}

void hmm__decommit_due(struct hmm_heap *h)
{
    if (may_give_back(h))
        decommit_due_at(h, h->page_source->clock());
}

void hmm__decommit_fallen(struct hmm_heap *h, hmm_ref was)
{
    if (was > h->top_seen)
        h->top_seen = was;
    if (!may_give_back(h))
        return;
    h->top_fell_at = h->page_source->clock();
    decommit_due_at(h, h->top_fell_at);
}

bool hmm__decommit_is_due_at(const struct hmm_heap *h, uint64_t now)
{
    return h->release_after != HMM__RELEASE_NEVER && now >= read_due(h);
}

bool hmm__decommit_is_due(const struct hmm_heap *h)
{
    return h->page_source != NULL && hmm__decommit_is_due_at(h, h->page_source->clock());
}

uint16_t hmm__ticker_next(struct hmm__ticker *t, const struct hmm_heap *h)
{
    uint64_t now = h->page_source->clock(), elapsed = now - t->at;
    t->at = now;
    if (elapsed >= 2 * TICK_MS)
        t->frees = TICK_FREES_MIN;
    else if (elapsed < TICK_MS && t->frees < HMM__TICK_FREES)
        t->frees = (uint16_t)(2 * t->frees);
    return t->frees;
}

void hmm__tick(struct hmm_heap *h)
{
    uint64_t before = h->released;
    if (hmm__decommit_is_due(h)) {
        bool more = hmm__reclaim(h, HMM__RECLAIM_UNUSED);
        hmm__decommit_due(h);
        if (more)
            write_due(h, 0);
    }
    if (h->released != before || h->released - h->released_then < IDLE_BYTES)
        return;
    if (hmm__reclaim(h, HMM__RECLAIM_IDLE))
        write_due(h, 0);
    else
        h->released_then = h->released;
}

static HMM__COLD void give_back_excess(struct hmm_heap *h, uint64_t excess, uint32_t freed)
{
    size_t budget = (h->stepped ? 0 : RELEASE_STEP) + (size_t)freed * HMM_GRANULE;
    h->stepped = false; /* a call that has read the clock before takes no second step */
    if (budget > excess * HMM_GRANULE)
        budget = (size_t)excess * HMM_GRANULE;
    budget += LARGE_BYTES - 1;
    give_back_top(h, h->top, &budget);
    unmap_above(h, h->zero_top);
    struct hmm__large *b;
    while (budget >= LARGE_BYTES && (b = hmm__large_oldest(h)) != NULL)
        give_back_block(h, b, &budget);
}

void hmm__decommit_excess(struct hmm_heap *h, uint32_t freed)
{
    uint64_t dirty = h->large_dirty + (h->zero_top > h->top ? h->zero_top - h->top : 0);
    uint64_t max = (EXCESS_BYTES + live_bytes(h) / 4) / HMM_GRANULE;
    if (hmm__unlikely(dirty > max + EXCESS_MIN / HMM_GRANULE) && !h->frees_many && may_give_back(h))
        give_back_excess(h, dirty - max, freed);
}

/* The break is about to rise over `granules` that are not resident. */
void hmm__decommit_instead(struct hmm_heap *h, uint32_t granules)
{
    size_t budget = (size_t)granules * HMM_GRANULE + LARGE_BYTES - 1;
    if (!may_give_back(h))
        return;
    struct hmm__large *b;
    while (budget >= LARGE_BYTES && (b = hmm__large_oldest(h)) != NULL)
        give_back_block(h, b, &budget);
}

/* Returns the number of bytes; how many of their pages were resident, only the system knows. */
size_t hmm__decommit_all(struct hmm_heap *h)
{
    size_t budget = SIZE_MAX;
    struct hmm__large *b;
    if (h->page_source == NULL)
        return 0;
    size_t absent = hmm__absent_make_all(h);
    hmm__absent_into_top(h);
    while ((b = hmm__large_oldest(h)) != NULL)
        give_back_block(h, b, &budget);
    give_back_top(h, h->top, &budget);
    if (is_limited(h)) {
        h->brk = h->top;
        hmm__brk_settle(h);
        unmap_beyond(h, h->top, 0);
    } else {
        unmap_above(h, h->top);
    }
    hmm__apart_give_back(h, SIZE_MAX);
    h->top_seen = h->top;
    return SIZE_MAX - budget + absent;
}

#endif
