/* SPDX-License-Identifier: MIT */
/*
 * Pages that come from the system and go back to it.
 *
 * A region of the system's is address space; its pages come when they are first written. Before
 * the break rises over pages that nobody has asked for, they are asked for, ahead, an eighth of
 * what there is.
 *
 * They go back when the live bytes have fallen by a slack below the most that they were since the
 * last time: then those of the free top go, and those in the middle of every large free block. The
 * slack is a quarter of the live bytes, so that what is resident follows what is in use; all of
 * them where the blocks are so small that looking for the large free ones takes long. A program
 * that frees and takes the same memory again and again, within a second, would pay for each turn:
 * the slack then doubles, or rises to a little more than what it takes. All that is kept in step by
 * the one count that every free makes anyway (hmm_heap.live_below_peak), and which is looked at
 * where a large block becomes free: where none does, no page has become free either.
 */
#include "heap/block.h"

#define AHEAD_MIN ((256u << 10) / HMM_GRANULE)
#define AHEAD_MAX ((32u << 20) / HMM_GRANULE)

#define SLACK_MIN ((size_t)1 << 20)

/* Milliseconds in which what is spared and taken again is a turn of the same wheel. */
#define LATELY 1000u

/* Blocks that may be looked at for each page that can go. */
#define DEAR 64u
#define DEAR_PAGE 4096u

/* The smallest free block whose pages are worth a call. */
#define DECOMMIT_MIN ((64u << 10) / HMM_GRANULE)

bool hmm__commit(struct hmm_heap *h, hmm_ref to)
{
    if (to <= h->committed_end)
        return true;
    uint32_t ahead = (h->committed_end - h->first) / 8;
    if (ahead < AHEAD_MIN)
        ahead = AHEAD_MIN;
    if (ahead > AHEAD_MAX)
        ahead = AHEAD_MAX;
    hmm_ref max = h->limit - to < ahead ? h->limit : to + ahead;
    char *from = block_payload(h, h->committed_end);
    if (h->page_source->commit(from, block_payload(h, max)))
        h->committed_end = max;
    else if (h->page_source->commit(from, block_payload(h, to)))
        h->committed_end = to;
    return to <= h->committed_end;
}

/* The long way only where it is short for the system. */
void hmm__clear(struct hmm_heap *h, char *from, size_t bytes)
{
    if (h->page_source && bytes >= DECOMMIT_MIN * HMM_GRANULE)
        h->page_source->decommit(from, from + bytes);
    else
        memset(from, 0, bytes);
}

/* What a strategy keeps at the low end stays, and the footer. */
static size_t decommit_block(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    char *from = (char *)block_payload(h, r) + HMM_LINKS_KEPT;
    char *to = (char *)block_payload(h, r + n) - 2 * HMM_HEADER_BYTES;
    h->page_source->decommit(from, to);
    return (size_t)(to - from);
}

/* Where no free block is large the blocks need not be looked at, if the strategy knows. */
static size_t decommit_blocks(struct hmm_heap *h)
{
    size_t bytes = 0, looks = 0;
    const struct hmm_strategy *s = h->strategy;
    h->scan_is_costly = false;
    if (free_blocks(h) == 0 || (s->largest && s->largest(h, h->state) < DECOMMIT_MIN))
        return 0;
    for (hmm_ref r = h->first; r != h->top;) {
        uint32_t word = block_header(h, r), n = header_size(word);
        hmm_ref next = block_step(h, r, word);
        if ((word & HMM__FREE) && n >= DECOMMIT_MIN)
            bytes += decommit_block(h, r, n);
        r = next;
        looks++;
    }
    h->scan_is_costly = looks > bytes / DEAR_PAGE * DEAR;
    return bytes;
}

static size_t decommit_top(struct hmm_heap *h)
{
    char *from = block_payload(h, h->top), *to = block_payload(h, h->committed_end);
    if (to - from < (ptrdiff_t)(DECOMMIT_MIN * HMM_GRANULE))
        return 0;
    h->page_source->decommit(from, to);
    return (size_t)(to - from);
}

/* From now on the live bytes are measured against what they are now. */
static void begin_again(struct hmm_heap *h, size_t live)
{
    if (h->live_peak > h->live_peak_then)
        h->live_peak_then = h->live_peak;
    h->live_peak = h->decommitted_live = live;
    h->live_below_peak = 0;
    h->decommit_threshold = (intptr_t)h->decommit_slack;
}

static size_t min_slack(const struct hmm_heap *h, size_t live)
{
    size_t slack = h->scan_is_costly ? live : live / 4;
    return slack > SLACK_MIN ? slack : SLACK_MIN;
}

/* What was taken again since pages were spared, shortly before, is to be kept the next time. How
 * far the live bytes had fallen in between is not known: it may be more than it seems. */
static size_t next_slack(struct hmm_heap *h, size_t min)
{
    uint64_t now = h->page_source->clock();
    bool lately = h->decommitted_at != 0 && now - h->decommitted_at < LATELY;
    size_t slack = lately && h->decommit_slack > min ? h->decommit_slack : min;
    size_t again = h->live_peak > h->decommitted_live ? h->live_peak - h->decommitted_live : 0;
    h->decommitted_at = now;
    if (lately && again > slack / 2)
        slack = 2 * slack > again + again / 4 ? 2 * slack : again + again / 4;
    return slack;
}

void hmm__decommit(struct hmm_heap *h)
{
    size_t live = live_bytes(h);
    size_t min = min_slack(h, live);
    if (h->live_peak - live <= min) { /* the heap has grown since decommit_threshold was set */
        h->decommit_threshold = (intptr_t)min;
        return;
    }
    decommit_blocks(h);
    decommit_top(h);
    h->decommit_slack = next_slack(h, min_slack(h, live));
    begin_again(h, live);
}

/* Returns how many bytes could go. Only the system knows whether there were pages. */
size_t hmm__decommit_all(struct hmm_heap *h)
{
    if (h->page_source == NULL)
        return 0;
    size_t bytes = decommit_blocks(h) + decommit_top(h);
    begin_again(h, live_bytes(h));
    return bytes;
}
