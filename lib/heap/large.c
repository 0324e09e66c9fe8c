/* SPDX-License-Identifier: MIT */
/*
 * The large free blocks of a heap whose pages come from a page source: which there are, since when
 * their pages are not needed, and which of their bytes are known to be zero. pages.c gives them
 * back by it. Calls nothing but the page source's clock.
 *
 * THEORY
 *
 * Large is what has LARGE_GRANULES, 64 KiB. A table has one entry for each 64 KiB of the region; a
 * large free block has the entry of the 64 KiB in which it *ends*. No two large blocks end in the
 * same. By its end a block is known because a request takes the low end: a split changes nothing
 * here as long as what is left is large, and costs a comparison. The table lies at the region's
 * high end, above all blocks, so that no link lies where a program may write over it; it is
 * committed as the break rises, 28 bytes for 64 KiB.
 *
 * An entry whose block has pages that may be resident is in a list, in order of the time since when
 * they are not needed. A block that becomes part of another takes the place of the part that has
 * more of such pages; so what is cut from a hole and freed again and again does not keep the rest
 * of the hole from growing old.
 *
 * Of each block one range is known to be zero: what has been given back and not been used since.
 * What lies below HMM_LINKS_KEPT of the block's *present* start is not of it, whatever the entry
 * says: splits move the start only. Before the start moves down again, the range is cut (clip).
 *
 * INVARIANTS
 * L1  A free block is large iff the entry for its end is its own; no other entry is in use
 *     but those of what is absent (absent.c).
 * L2  The list holds the entries in use but for those of blocks that are zero as far as they are
 *     large, and is linked both ways.
 * L3  large_dirty is the sum of what is counted of those in the list; of no other is anything.
 */
#include "heap/block.h"

#if HMM__PAGES

#define LINKS_GRANULES (HMM_LINKS_KEPT / HMM_GRANULE)

/* In the list, 0 is its head and its end. No block ends in the region's first 64 KiB that is
 * large. */
#define UNLISTED UINT32_MAX

_Static_assert(HMM__LARGE_GRANULES > LINKS_GRANULES + HMM_MIN_GRANULES, "links and footer stay");

struct hmm__large *hmm__large_at(const struct hmm_heap *h, hmm_ref end)
{
    HMM_ASSERT(large_entry(h, end)->end == end);
    return large_entry(h, end);
}

HMM__ALWAYS_INLINE uint32_t index_of(const struct hmm_heap *h, const struct hmm__large *b)
{
    return (uint32_t)(b - h->large);
}

static uint32_t now_ms(const struct hmm_heap *h)
{
    return (uint32_t)h->page_source->clock();
}

size_t hmm__large_table_bytes(size_t region)
{
    return ((region >> HMM__LARGE_LOG) + 2) * sizeof(struct hmm__large);
}

/* ---- The list ---- */

static void unlist(struct hmm_heap *h, struct hmm__large *b)
{
    if (b->next == UNLISTED)
        return;
    h->large[b->prev].next = b->next;
    h->large[b->next].prev = b->prev;
    b->next = b->prev = UNLISTED;
    h->large_dirty -= b->counted;
    b->counted = 0;
}

/* As the newest. */
static void list_newest(struct hmm_heap *h, struct hmm__large *b, uint32_t now)
{
    uint32_t i = index_of(h, b), last = h->large[0].prev;
    b->since = now;
    b->prev = last;
    b->next = 0;
    h->large[last].next = h->large[0].prev = i;
}

/* Puts b, which is in no list, where `was` is. */
static void list_instead(struct hmm_heap *h, struct hmm__large *b, struct hmm__large *was)
{
    b->since = was->since;
    b->next = was->next;
    b->prev = was->prev;
    b->counted = was->counted;
    if (was->next == UNLISTED)
        return;
    h->large[b->next].prev = h->large[b->prev].next = index_of(h, b);
    was->next = was->prev = UNLISTED;
    was->counted = 0;
}

struct hmm__large *hmm__large_oldest(const struct hmm_heap *h)
{
    uint32_t i = h->large[0].next;
    return i ? &h->large[i] : NULL;
}

/* ---- The range that is known to be zero ---- */

void hmm__large_clip(struct hmm__large *b, hmm_ref start)
{
    if (b->zero_from < start + LINKS_GRANULES)
        b->zero_from = start + LINKS_GRANULES;
    if (b->zero_from >= b->zero_to)
        b->zero_from = b->zero_to = 0;
}

/* Granules of block [start, end) that may be resident. */
static uint32_t dirty(struct hmm__large *b, hmm_ref start)
{
    hmm__large_clip(b, start);
    return b->end - start - (b->zero_to - b->zero_from);
}

/* Block b, which is in the list, begins at `start`. Splits are not counted: there may be less. */
static void recount(struct hmm_heap *h, struct hmm__large *b, hmm_ref start)
{
    uint32_t is = dirty(b, start);
    h->large_dirty += is;
    h->large_dirty -= b->counted;
    b->counted = is;
}

void hmm__large_given_back(struct hmm_heap *h, struct hmm__large *b, hmm_ref start, bool all)
{
    if (all)
        unlist(h, b);
    else
        recount(h, b, start);
}

void hmm__large_known(struct hmm_heap *h, hmm_ref start, hmm_ref from, hmm_ref to)
{
    uint32_t n = block_size(h, start);
    if (n < HMM__LARGE_GRANULES)
        return;
    struct hmm__large *b = hmm__large_at(h, start + n);
    hmm__large_clip(b, start);
    if (to - from <= b->zero_to - b->zero_from)
        return;
    b->zero_from = from;
    b->zero_to = to;
    if (b->next != UNLISTED)
        recount(h, b, start);
}

/* ---- Blocks that come and go ---- */

static void forget(struct hmm_heap *h, struct hmm__large *b)
{
    unlist(h, b);
    b->end = 0;
    h->large_count--;
}

static struct hmm__large *add(struct hmm_heap *h, hmm_ref end)
{
    struct hmm__large *b = large_entry(h, end);
    HMM_ASSERT(b->end == 0);
    *b = (struct hmm__large){.end = end, .next = UNLISTED, .prev = UNLISTED};
    h->large_count++;
    return b;
}

void hmm__large_drop(struct hmm_heap *h, hmm_ref end)
{
    struct hmm__large *b = large_entry(h, end);
    HMM_ASSERT(b->end == end);
    if (b->end == end)
        forget(h, b);
}

void hmm__large_allocated(struct hmm_heap *h, hmm_ref end)
{
    const struct hmm__large *b = large_entry(h, end);
    h->taken_zero_from = b->zero_from;
    h->taken_zero_to = b->zero_to;
    hmm__large_drop(h, end);
}

/* The block that ended at `was` ends at `end`. */
static struct hmm__large *move_end(struct hmm_heap *h, hmm_ref was, hmm_ref end)
{
    struct hmm__large *from = large_entry(h, was), *to = large_entry(h, end);
    HMM_ASSERT(from->end == was);
    if (to != from) {
        HMM_ASSERT(to->end == 0);
        *to = *from;
        list_instead(h, to, from);
        from->end = 0;
    }
    to->end = end;
    return to;
}

/* Block b begins at `start`; the one that ends at `was`, from `low` on, becomes part of it. The
 * larger part's age and range are kept. */
static void merge_entry_into(struct hmm_heap *h, struct hmm__large *b, hmm_ref start, hmm_ref low,
                             hmm_ref was)
{
    struct hmm__large *other = large_entry(h, was);
    HMM_ASSERT(other->end == was);
    uint32_t mine = b->next == UNLISTED ? 0 : dirty(b, start);
    uint32_t its = other->next == UNLISTED ? 0 : dirty(other, low);
    hmm__large_clip(b, start);
    hmm__large_clip(other, low);
    if (its > mine) {
        unlist(h, b);
        list_instead(h, b, other);
    }
    if (other->zero_to - other->zero_from > b->zero_to - b->zero_from) {
        b->zero_from = other->zero_from;
        b->zero_to = other->zero_to;
    }
    forget(h, other);
}

/* In block b, from `low` on, `more` granules have become free that were in use. */
static void touch(struct hmm_heap *h, struct hmm__large *b, hmm_ref low, uint32_t more)
{
    uint32_t may_go = dirty(b, low);
    bool listed = b->next != UNLISTED;
    if (listed ? more >= HMM__LARGE_GRANULES && more >= may_go - more
               : may_go >= HMM__LARGE_GRANULES) {
        unlist(h, b);
        list_newest(h, b, now_ms(h));
    }
    if (b->next != UNLISTED)
        recount(h, b, low);
}

static __attribute__((noinline)) void joined(struct hmm_heap *h, hmm_ref low, size_t prev_size,
                                             size_t scaled, size_t next_size)
{
    size_t above = h->large_above;
    uint32_t more = (uint32_t)scaled_granules(scaled);
    hmm_ref r = low + (hmm_ref)scaled_granules(prev_size), start = r + more;
    hmm_ref end = start + (hmm_ref)scaled_granules(next_size);
    struct hmm__large *b;
    if (next_size > above) {
        b = large_entry(h, end);
        HMM_ASSERT(b->end == end);
        if (prev_size > above)
            merge_entry_into(h, b, start, low, r);
        else
            hmm__large_clip(b, start);
    } else if (prev_size > above) {
        b = move_end(h, r, end);
    } else {
        b = add(h, end);
    }
    touch(h, b, low, more);
    if (hmm__unlikely(h->release_after == 0))
        hmm__decommit_due(h);
    hmm__decommit_excess(h, more);
}

/* A block in the list has become larger by so many granules. */
HMM__ALWAYS_INLINE void grown(struct hmm_heap *h, struct hmm__large *b, size_t granules)
{
    uint64_t before = h->large_dirty;
    b->counted += (uint32_t)granules;
    h->large_dirty += granules;
    if (hmm__unlikely((before ^ h->large_dirty) >= HMM__LARGE_GRANULES))
        hmm__decommit_excess(h, HMM__LARGE_GRANULES);
}

/* First what is common: what is freed is small, and beside one large block, which is in the list.
 * If that one is below, it ended in the same 64 KiB: else the entry is not in use. */
void hmm__large_joined(struct hmm_heap *h, hmm_ref low, size_t prev_size, size_t scaled,
                       size_t next_size)
{
    size_t above = h->large_above;
    hmm_ref end = low + (hmm_ref)scaled_granules(prev_size + scaled + next_size);
    struct hmm__large *b = large_entry(h, end);
    if (scaled > above || b->end == 0 || b->next == UNLISTED) {
        joined(h, low, prev_size, scaled, next_size);
    } else if (next_size > above && prev_size <= above) {
        hmm__large_clip(b, low + (hmm_ref)scaled_granules(prev_size + scaled));
        grown(h, b, scaled_granules(prev_size + scaled));
    } else if (prev_size > above && next_size <= above) {
        HMM_ASSERT(b->end == low + (hmm_ref)scaled_granules(prev_size));
        b->end = end;
        grown(h, b, scaled_granules(scaled + next_size));
    } else {
        joined(h, low, prev_size, scaled, next_size);
    }
}

void hmm__large_cut(struct hmm_heap *h, hmm_ref r, uint32_t size, uint32_t gap, uint32_t rest)
{
    struct hmm__large *b = large_entry(h, r + size), was = *b;
    HMM_ASSERT(b->end == r + size);
    if (rest < HMM__LARGE_GRANULES)
        hmm__large_drop(h, r + size);
    if (gap < HMM__LARGE_GRANULES)
        return;
    struct hmm__large *low = add(h, r + gap);
    low->zero_from = was.zero_from;
    low->zero_to = was.zero_to < r + gap - 1 ? was.zero_to : r + gap - 1;
    hmm__large_clip(low, r);
    list_newest(h, low, was.next == UNLISTED ? now_ms(h) : was.since);
    recount(h, low, r);
}

/* ---- Known zeros ---- */

/* Of [r, r + n), a used block that was placed just now, at the low end of a free one. */
static void known_in_block(const struct hmm_heap *h, hmm_ref r, uint32_t n, hmm_ref *from,
                           hmm_ref *to)
{
    uint32_t above = block_header(h, r + n), rest = header_size(above);
    *from = h->taken_zero_from;
    *to = h->taken_zero_to;
    if ((above & HMM__FREE) && rest >= HMM__LARGE_GRANULES) {
        const struct hmm__large *b = large_entry(h, r + n + rest);
        *from = b->zero_from;
        *to = b->zero_to;
    }
    if (*from < r + LINKS_GRANULES)
        *from = r + LINKS_GRANULES;
}

hmm_ref hmm__zero_begin(struct hmm_heap *h)
{
    h->taken_zero_from = h->taken_zero_to = 0;
    return h->top > h->zero_top ? h->top : h->zero_top;
}

/* So many bytes are given back rather than written: who callocs so much seldom touches all of it,
 * and a C library maps it. */
#define CLEAR_MIN ((size_t)32 << 20)

static void clear_part(struct hmm_heap *h, char *from, size_t bytes)
{
    if (bytes >= CLEAR_MIN && h->page_source != NULL && h->release_after != HMM__RELEASE_NEVER)
        h->page_source->decommit(from, from + bytes);
    else
        memset(from, 0, bytes);
}

void hmm__zero_payload(struct hmm_heap *h, void *payload, hmm_ref zero_top)
{
    hmm_ref r = block_of(h, payload), from = 0, to = 0;
    uint32_t n = block_size(h, r);
    char *end = (char *)payload + block_usable(n);
    if (r + n > zero_top) {
        from = zero_top > r ? zero_top : r;
        to = h->zero_limit;
    } else if (h->large != NULL) {
        known_in_block(h, r, n, &from, &to);
    }
    if (to > r + n - 1)
        to = r + n - 1;
    if (from >= to) {
        clear_part(h, payload, (size_t)(end - (char *)payload));
        return;
    }
    char *zero = block_payload(h, from), *after = block_payload(h, to);
    clear_part(h, payload, (size_t)(zero - (char *)payload));
    clear_part(h, after, (size_t)(end - after));
}

/* ---- Checking ---- */

static const char *verify_list(const struct hmm_heap *h, uint32_t listed)
{
    uint32_t before = 0, count = 0;
    uint64_t counted = 0;
    for (uint32_t i = h->large[0].next; i != 0; before = i, i = h->large[i].next) {
        if ((size_t)i * (1u << HMM__LARGE_LOG) > (size_t)h->limit * HMM_GRANULE ||
            h->large[i].end == 0 || h->large[i].prev != before || ++count > listed)
            return "L2: the list of large free blocks is ill linked";
        counted += h->large[i].counted;
    }
    if (counted != h->large_dirty)
        return "L3: what may be resident is miscounted";
    if (count != listed || h->large[0].prev != before)
        return "L2: the list of large free blocks is not whole";
    return NULL;
}

/* The blocks are valid. */
const char *hmm__large_verify(const struct hmm_heap *h)
{
    uint32_t count = 0, listed = 0;
    if (h->large == NULL)
        return NULL;
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r)) {
        uint32_t word = block_header(h, r), n = header_size(word);
        if (!(word & HMM__FREE) || n < HMM__LARGE_GRANULES)
            continue;
        const struct hmm__large *b = large_entry(h, r + n);
        if (b->end != r + n)
            return "L1: a large free block has no entry";
        if (b->zero_from > b->zero_to || b->zero_to >= b->end)
            return "L2: what is known to be zero is outside its block";
        count++;
        listed += b->next != UNLISTED;
    }
    if (count != h->large_count)
        return "L1: an entry is no large free block's";
    return verify_list(h, listed);
}

#endif
