/* SPDX-License-Identifier: MIT */
/*
 * Commit and decommit: which pages of the region the system provides. Calls the region's page
 * source.
 *
 * Before the break rises above committed_end, pages are committed, an eighth of the committed size
 * ahead. The system provides a page when it is first written.
 *
 * Pages are decommitted when the live bytes have fallen by a slack below their peak since the last
 * time: the pages of the free top, and those inside every large free block. The slack is a quarter
 * of the live bytes, so that the resident size follows what is in use; it is all of the live bytes
 * if the walk over the blocks is long for the pages that it finds. A program that frees and
 * allocates the same memory repeatedly, within a second, would pay each time: the slack then
 * doubles, or rises to 5/4 of what the program allocates again. All this costs one count that every
 * free makes (hmm_heap.live_below_peak). It is tested where a large block becomes free: elsewhere
 * no page becomes free.
 */
#include "heap/block.h"

#define AHEAD_MIN ((256u << 10) / HMM_GRANULE)
#define AHEAD_MAX ((32u << 20) / HMM_GRANULE)

#define SLACK_MIN ((size_t)1 << 20)

/* Milliseconds between two decommits of a program that frees and allocates the same memory. */
#define LATELY 1000u

/* The walk is costly if it looks at more blocks for each page that it decommits. */
#define BLOCKS_PER_PAGE_MAX 64u
#define SCAN_PAGE 4096u

/* The smallest free block whose pages are worth a call. */
#define DECOMMIT_MIN ((64u << 10) / HMM_GRANULE)

_Static_assert(DECOMMIT_MIN *HMM_GRANULE > HMM_LINKS_KEPT + 2 * HMM_HEADER_BYTES,
               "the links and the footer stay");

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

/* Makes the bytes zero. The system does it where there are many: decommitted pages read as zero. */
void hmm__clear(struct hmm_heap *h, char *from, size_t bytes)
{
    if (h->page_source && bytes >= DECOMMIT_MIN * HMM_GRANULE)
        h->page_source->decommit(from, from + bytes);
    else
        memset(from, 0, bytes);
}

/* The strategy's links at the block's low end stay, and the footer. */
static size_t decommit_block(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    HMM_ASSERT(n >= DECOMMIT_MIN && (block_header(h, r) & HMM__FREE));
    char *from = (char *)block_payload(h, r) + HMM_LINKS_KEPT;
    char *to = (char *)block_payload(h, r + n) - 2 * HMM_HEADER_BYTES;
    h->page_source->decommit(from, to);
    return (size_t)(to - from);
}

/* No walk, if the strategy knows that no free block is large. */
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
    h->scan_is_costly = looks > bytes / SCAN_PAGE * BLOCKS_PER_PAGE_MAX;
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

/* Restarts the peak at the present live bytes. */
static void reset_peak(struct hmm_heap *h, size_t live)
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

/* Memory that was allocated again shortly after a decommit is to stay committed the next time. How
 * far the live bytes had fallen in between is not known, and may be more than `again`. */
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
    reset_peak(h, live);
}

/* Returns the number of bytes decommitted. Only the system knows how many pages were resident. */
size_t hmm__decommit_all(struct hmm_heap *h)
{
    if (h->page_source == NULL)
        return 0;
    size_t bytes = decommit_blocks(h) + decommit_top(h);
    reset_peak(h, live_bytes(h));
    return bytes;
}
