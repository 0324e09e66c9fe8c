/* SPDX-License-Identifier: MIT */
/*
 * What is absent: free memory between used blocks whose address space the system has back, since it
 * is limited. Calls the page source, allocate.c, large.c and the strategy's insert and remove.
 *
 * THEORY
 *
 * Pages that are given back count for a limit on address space as long as they are mapped. Where
 * there is such a limit, a large free block whose pages are given back becomes a gap (gap.c): a
 * used block that nobody has, in no index, no count and no walk. Its pages are unmapped, but for
 * those in which its header and its end lie, so that whoever looks at its neighbours' headers reads
 * what is mapped. No strategy knows of it, none reads what is not there, and placement is exact
 * among the blocks that are there:
 *
 *     | used | free                  | used |
 *     | used | header ... unmapped ... record | used |
 *
 * Before the break rises, and before a request fails, the low end of such a gap comes back: its
 * pages are mapped again, and it is freed like any used block, which merges it with its neighbours.
 * So much as is requested, or 1 MiB, whatever is more; if the system refuses that, what is
 * requested. The rest is a gap as before. If the system refuses that, too, or another mapping lies
 * there now, nothing has changed, and the request is served in another way or fails.
 *
 * So does the low end of one above a block that is to grow, before it moves.
 *
 * Gaps that touch each other become one. One that the top has come down to becomes part of it, and
 * what lies above its unmapped pages is unmapped, too.
 *
 * Each has the entry for its end in the table of large free blocks (large.c): no large free block
 * ends in the same 64 KiB. It is marked by `counted`, has its start in zero_from, and is linked
 * with the others, the newest first. So none is known by a header alone, over which a program may
 * write.
 *
 * A second free of a block is reported where the gap begins at it. Of one that lay in what is
 * unmapped it ends the program by a fault of memory, as where a mapping is freed twice.
 *
 * INVARIANTS
 * A1  An entry that is marked is a gap's that begins and ends where it says, and is in the list,
 *     which has no others; absent_count is its length.
 * A2  Of a gap in the list the pages from the first that begins in it to the one with its record
 *     are not mapped by this heap.
 */
#include "heap/place.h"

#if HMM__PAGES

#define ABSENT UINT32_MAX

/* Smaller blocks stay, unless they touch what is absent. Each is a mapping more for the system, of
 * which a process may have 65,530. */
#define ABSENT_MIN ((256u << 10) / HMM_GRANULE)
#define ABSENT_MAX 8192u

/* What comes back at once; and no smaller rest stays. */
#define RETURN_MIN ((1u << 20) / HMM_GRANULE)
#define REST_MIN (2 * HMM__LARGE_GRANULES)

/* ---- The list ---- */

static void link_absent(struct hmm_heap *h, hmm_ref start, hmm_ref end)
{
    struct hmm__large *e = large_entry(h, end);
    uint32_t i = (uint32_t)(e - h->large);
    HMM_ASSERT(e->end == 0);
    *e = (struct hmm__large){.end = end, .next = h->absent, .counted = ABSENT, .zero_from = start};
    if (h->absent != 0)
        h->large[h->absent].prev = i;
    h->absent = i;
    h->absent_count++;
}

static void unlink_absent(struct hmm_heap *h, struct hmm__large *e)
{
    if (e->next != 0)
        h->large[e->next].prev = e->prev;
    if (e->prev != 0)
        h->large[e->prev].next = e->next;
    else
        h->absent = e->next;
    e->end = e->counted = 0;
    h->absent_count--;
}

static bool is_absent(const struct hmm__large *e)
{
    return e->end != 0 && e->counted == ABSENT;
}

static hmm_ref absent_start(const struct hmm__large *e)
{
    return e->zero_from;
}

/* What is absent and ends at `end`. NULL: nothing. */
static struct hmm__large *absent_below(const struct hmm_heap *h, hmm_ref end)
{
    struct hmm__large *e = large_entry(h, end);
    return e->end == end && is_absent(e) ? e : NULL;
}

/* The same, of what begins at `start`, where a block begins or the top does. */
static struct hmm__large *absent_at(const struct hmm_heap *h, hmm_ref start)
{
    uint32_t word = block_header(h, start), n = header_size(word);
    if (!(word & HMM__ALIGNED) || n < HMM__LARGE_GRANULES || n > h->top - start)
        return NULL;
    struct hmm__large *e = absent_below(h, start + n);
    return e != NULL && absent_start(e) == start ? e : NULL;
}

/* ---- What is unmapped ---- */

static hmm_ref pages_from(const struct hmm_heap *h, hmm_ref start)
{
    return hmm__page_above(h, start);
}

/* Its last granule has the record. */
static hmm_ref pages_to(const struct hmm_heap *h, hmm_ref end)
{
    return hmm__page_below(h, end - 1);
}

/* Block r, of n granules, is a gap from now on. */
static void write_gap(struct hmm_heap *h, hmm_ref r, uint32_t n, uint32_t prev_bit)
{
    block_set_header(h, r, header_make(n, HMM__ALIGNED | prev_bit));
    block_set_gap_record(h, r, r + n);
}

/* ---- A free block becomes absent ---- */

/* Those beside it that become one with it. */
struct beside {
    struct hmm__large *below, *above;
};

static struct beside find_beside(const struct hmm_heap *h, hmm_ref start, hmm_ref end)
{
    struct beside b = {absent_below(h, start), absent_at(h, end)};
    uint64_t n =
        (uint64_t)(b.above ? b.above->end : end) - (b.below ? absent_start(b.below) : start);
    return n <= HMM_MAX_GRANULES ? b : (struct beside){NULL, NULL};
}

static bool is_worth_it(const struct hmm_heap *h, uint32_t n, struct beside b)
{
    if (b.below != NULL || b.above != NULL)
        return true;
    return n >= ABSENT_MIN && h->absent_count < ABSENT_MAX;
}

/* Out of the index before the pages with its links go. */
static bool vacate(struct hmm_heap *h, hmm_ref start, hmm_ref end, struct beside b)
{
    hmm_ref from = b.below ? pages_to(h, start) : pages_from(h, start);
    hmm_ref to = b.above ? pages_from(h, end) : pages_to(h, end);
    hooks_of(h)->remove(h, state_of(h), start);
    if (h->page_source->vacate(block_payload(h, from), block_payload(h, to)))
        return true;
    hooks_of(h)->insert(h, state_of(h), start);
    return false;
}

bool hmm__absent_make(struct hmm_heap *h, hmm_ref start, hmm_ref end)
{
    struct beside b = find_beside(h, start, end);
    hmm_ref from = start, to = end;
    uint32_t bits = block_header(h, start) & HMM__PREV_FREE;
    if (!is_worth_it(h, end - start, b))
        return false;
    if (b.below != NULL) {
        from = absent_start(b.below);
        bits = block_header(h, from) & HMM__PREV_FREE;
    }
    if (!vacate(h, start, end, b))
        return false;
    h->used_peak = hmm__used_peak(h);
    h->free_unbinned--;
    h->top_blocks--;
    h->gap_granules += end - start;
    h->released += (size_t)(end - start) * HMM_GRANULE;
    hmm__large_drop(h, end);
    if (b.below != NULL)
        unlink_absent(h, b.below);
    if (b.above != NULL) {
        to = b.above->end;
        unlink_absent(h, b.above);
    } else {
        block_clear_prev_free(h, end);
    }
    write_gap(h, from, to - from, bits);
    link_absent(h, from, to);
    return true;
}

size_t hmm__absent_make_all(struct hmm_heap *h)
{
    uint64_t before = h->released;
    if (h->page_source->limited == NULL || !h->page_source->limited())
        return 0;
    for (size_t at = HMM__LARGE_GRANULES; at < h->top; at += HMM__LARGE_GRANULES) {
        const struct hmm__large *e = large_entry(h, (hmm_ref)at);
        if (e->end != 0 && !is_absent(e))
            hmm__absent_make(h, hmm__large_start(h, e->end), e->end);
    }
    hmm__absent_into_top(h);
    return (size_t)(h->released - before);
}

/* ---- It becomes part of the top ---- */

static bool unmap_top(struct hmm_heap *h, hmm_ref from, hmm_ref to)
{
    if (!h->page_source->forget(block_payload(h, from), block_payload(h, to), hmm__unmap_end(h)))
        return false;
    h->committed_end = from;
    h->state_scanned = 0;
    return true;
}

void hmm__absent_into_top(struct hmm_heap *h)
{
    struct hmm__large *e;
    while (h->absent_count != 0 && (e = absent_below(h, h->top)) != NULL) {
        hmm_ref start = absent_start(e), end = e->end;
        if (!unmap_top(h, pages_from(h, start), pages_to(h, end)))
            return;
        unlink_absent(h, e);
        h->gap_granules -= end - start;
        h->top_blocks++;
        h->trim_below = 0; /* what is below it is not given back meanwhile */
        block_set_header(h, start,
                         header_make(end - start, block_header(h, start) & HMM__PREV_FREE));
        hmm__merge_into_top(h, block_payload(h, start), start);
        h->brk = h->committed_end;
        h->zero_top = h->zero_top < h->brk ? h->zero_top : h->brk;
        h->top_seen = h->top_seen < h->brk ? h->top_seen : h->brk;
        hmm__brk_settle(h);
    }
}

/* ---- It comes back ---- */

/* Frees the used block at `start`, which nobody has; none of it is to go back meanwhile. The pages
 * [from, to) are zero; the next block's header may lie in the last of them. */
static void release_again(struct hmm_heap *h, hmm_ref start, hmm_ref from, hmm_ref to)
{
    hmm_ref low = start, last = block_next(h, start) - 1;
    to = to < last ? to : last;
    if (block_header(h, start) & HMM__PREV_FREE)
        low -= block_footer_below(h, start);
    h->keeps_pages = true;
    h->top_blocks++;
    hmm__release(h, start);
    h->keeps_pages = false;
    if (h->top <= start)
        return;
    if (low + block_size(h, low) <= start) /* too large to become one (B3) */
        low = start;
    if (from < to)
        hmm__large_known(h, low, from, to);
}

/* The lowest n granules of e become a free block; or all, where the rest would be small. */
static enum hmm__occupied return_low(struct hmm_heap *h, struct hmm__large *e, uint32_t n)
{
    hmm_ref start = absent_start(e), end = e->end, rest = start + n;
    bool whole = end - start - n < REST_MIN;
    hmm_ref from = pages_from(h, start), to = whole ? pages_to(h, end) : pages_from(h, rest);
    enum hmm__occupied done = HMM__OCCUPIED;
    if (from < to)
        done = h->page_source->occupy(block_payload(h, from), block_payload(h, to));
    if (done != HMM__OCCUPIED)
        return done;
    if (whole) {
        rest = end;
        unlink_absent(h, e);
    } else {
        e->zero_from = rest;
        write_gap(h, rest, end - rest, 0);
    }
    h->gap_granules -= rest - start;
    block_set_header(h, start, header_make(rest - start, block_header(h, start) & HMM__PREV_FREE));
    release_again(h, start, from, to);
    return HMM__OCCUPIED;
}

/* At least n granules of e, which has so many. */
static enum hmm__occupied return_some(struct hmm_heap *h, struct hmm__large *e, uint32_t n)
{
    uint32_t has = e->end - absent_start(e), more = n > RETURN_MIN ? n : RETURN_MIN;
    HMM_ASSERT(n <= has);
    enum hmm__occupied done = return_low(h, e, more < has ? more : has);
    if (done != HMM__OCCUPIED && n < more && n < has)
        done = return_low(h, e, n > HMM_MIN_GRANULES ? n : HMM_MIN_GRANULES);
    return done;
}

/* The granules of the free block below e. */
static uint32_t free_below(const struct hmm_heap *h, const struct hmm__large *e)
{
    hmm_ref start = absent_start(e);
    return block_header(h, start) & HMM__PREV_FREE ? block_footer_below(h, start) : 0;
}

/* What is absent above e with nothing between, or a free block only, which *free has. */
static struct hmm__large *next_in_chain(const struct hmm_heap *h, const struct hmm__large *e,
                                        uint32_t *free)
{
    hmm_ref r = e->end;
    uint32_t word = block_header(h, r);
    *free = r != h->top && (word & HMM__FREE) ? header_size(word) : 0;
    return absent_at(h, r + *free);
}

/* The granules that would be free in one piece from the lowest of a chain on, if all came back;
 * more than n are not counted. */
static uint64_t chain_has(const struct hmm_heap *h, const struct hmm__large *e, uint32_t n)
{
    uint64_t has = free_below(h, e);
    for (uint32_t free; e != NULL && has < n; has += free) {
        has += e->end - absent_start(e);
        e = next_in_chain(h, e, &free);
    }
    return has;
}

static bool is_lowest_of_chain(const struct hmm_heap *h, const struct hmm__large *e)
{
    return absent_below(h, absent_start(e) - free_below(h, e)) == NULL;
}

static enum hmm__occupied return_chain(struct hmm_heap *h, struct hmm__large *e, uint32_t n)
{
    uint64_t has = free_below(h, e);
    enum hmm__occupied done = HMM__OCCUPIED;
    while (e != NULL && has < n && done == HMM__OCCUPIED) {
        uint32_t free, mine = e->end - absent_start(e);
        struct hmm__large *next = next_in_chain(h, e, &free);
        bool last = mine >= n - has;
        done = last ? return_some(h, e, (uint32_t)(n - has)) : return_low(h, e, mine);
        has += (uint64_t)mine + free;
        e = next;
    }
    return done;
}

/* One that has room. */
static enum hmm__occupied return_one(struct hmm_heap *h, uint32_t n, bool *found)
{
    enum hmm__occupied done = HMM__OCCUPIED;
    *found = false;
    for (uint32_t i = h->absent, next; i != 0 && done != HMM__OCCUPY_REFUSED && !*found; i = next) {
        struct hmm__large *e = &h->large[i];
        next = e->next;
        if (e->end - absent_start(e) < n)
            continue;
        done = return_some(h, e, n);
        *found = done == HMM__OCCUPIED;
    }
    return done;
}

/* Several with what is free between them. Nothing is linked meanwhile: so the list ends. */
static bool return_several(struct hmm_heap *h, uint32_t n)
{
    for (uint32_t i = h->absent, next; i != 0; i = next) {
        struct hmm__large *e = &h->large[i];
        next = e->next;
        if (!is_lowest_of_chain(h, e) || chain_has(h, e, n) < n)
            continue;
        enum hmm__occupied done = return_chain(h, e, n);
        if (done != HMM__OCCUPY_BLOCKED || (next != 0 && !is_absent(&h->large[next])))
            return done == HMM__OCCUPIED;
    }
    return false;
}

/* What the top can have is the top's before, since it serves requests, too. */
bool hmm__absent_return(struct hmm_heap *h, uint32_t n, enum hmm__absent_from from)
{
    bool found;
    hmm__absent_into_top(h);
    if (return_one(h, n, &found) == HMM__OCCUPY_REFUSED)
        return false;
    return found || (from == HMM__ABSENT_JOINED && return_several(h, n));
}

bool hmm__absent_return_at(struct hmm_heap *h, hmm_ref end, uint32_t n)
{
    hmm__absent_into_top(h);
    if (end == h->top)
        return true;
    uint32_t word = block_header(h, end);
    struct hmm__large *e = absent_at(h, word & HMM__FREE ? end + header_size(word) : end);
    return e != NULL && chain_has(h, e, n) >= n && return_chain(h, e, n) == HMM__OCCUPIED;
}

/* ---- Checking ---- */

const char *hmm__absent_verify(const struct hmm_heap *h)
{
    uint32_t count = 0, before = 0;
    for (uint32_t i = h->absent; i != 0; before = i, i = h->large[i].next) {
        const struct hmm__large *e = &h->large[i];
        if (++count > h->absent_count || e->prev != before || !is_absent(e) ||
            absent_at(h, absent_start(e)) != e ||
            !block_is_gap(h, absent_start(e), block_header(h, absent_start(e))))
            return "A1: what is absent is ill linked, or its header or its end was overwritten";
    }
    return count == h->absent_count ? NULL : "A1: the list of what is absent is not whole";
}

#endif
