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
#include "block.h"

#define AHEAD_LEAST ((256u << 10) / HMM_GRANULE)
#define AHEAD_MOST ((32u << 20) / HMM_GRANULE)

#define SLACK_LEAST ((size_t)1 << 20)

/* Milliseconds in which what is spared and taken again is a turn of the same wheel. */
#define LATELY 1000u

/* Blocks that may be looked at for each page that can go. */
#define DEAR 64u
#define DEAR_PAGE 4096u

/* The smallest free block whose pages are worth a call. */
#define SPARE_LEAST ((64u << 10) / HMM_GRANULE)

bool hmm__pages_need(struct hmm_heap *h, hmm_ref to)
{
    if (to <= h->ready)
        return true;
    uint32_t ahead = (h->ready - h->first) / 8;
    if (ahead < AHEAD_LEAST)
        ahead = AHEAD_LEAST;
    if (ahead > AHEAD_MOST)
        ahead = AHEAD_MOST;
    hmm_ref most = h->limit - to < ahead ? h->limit : to + ahead;
    char *from = block_payload(h, h->ready);
    if (h->pages->need(from, block_payload(h, most)))
        h->ready = most;
    else if (h->pages->need(from, block_payload(h, to)))
        h->ready = to;
    return to <= h->ready;
}

/* The long way only where it is short for the system. */
void hmm__pages_clear(struct hmm_heap *h, char *from, size_t bytes)
{
    if (h->pages && bytes >= SPARE_LEAST * HMM_GRANULE)
        h->pages->spare(from, from + bytes);
    else
        memset(from, 0, bytes);
}

/* What a strategy keeps at the low end stays, and the footer. */
static size_t spare_block(struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    char *from = (char *)block_payload(h, r) + HMM_LINKS_KEPT;
    char *to = (char *)block_payload(h, r + n) - 2 * HMM_HEADER_BYTES;
    h->pages->spare(from, to);
    return (size_t)(to - from);
}

/* Where no free block is large the blocks need not be looked at, if the strategy knows. */
static size_t spare_blocks(struct hmm_heap *h)
{
    size_t bytes = 0, looks = 0;
    const struct hmm_strategy *s = h->strategy;
    h->spare_dear = false;
    if (free_blocks(h) == 0 || (s->largest && s->largest(h, h->state) < SPARE_LEAST))
        return 0;
    for (hmm_ref r = h->first; r != h->top;) {
        uint32_t word = block_header(h, r), n = header_size(word);
        hmm_ref next = block_step(h, r, word);
        if ((word & HMM__FREE) && n >= SPARE_LEAST)
            bytes += spare_block(h, r, n);
        r = next;
        looks++;
    }
    h->spare_dear = looks > bytes / DEAR_PAGE * DEAR;
    return bytes;
}

static size_t spare_top(struct hmm_heap *h)
{
    char *from = block_payload(h, h->top), *to = block_payload(h, h->ready);
    if (to - from < (ptrdiff_t)(SPARE_LEAST * HMM_GRANULE))
        return 0;
    h->pages->spare(from, to);
    return (size_t)(to - from);
}

/* From now on the live bytes are measured against what they are now. */
static void begin_again(struct hmm_heap *h, size_t live)
{
    if (h->live_peak > h->live_peak_then)
        h->live_peak_then = h->live_peak;
    h->live_peak = h->spared_live = live;
    h->live_below_peak = 0;
    h->spare_at = (intptr_t)h->spare_slack;
}

static size_t least_slack(const struct hmm_heap *h, size_t live)
{
    size_t slack = h->spare_dear ? live : live / 4;
    return slack > SLACK_LEAST ? slack : SLACK_LEAST;
}

/* What was taken again since pages were spared, shortly before, is to be kept the next time. How
 * far the live bytes had fallen in between is not known: it may be more than it seems. */
static size_t next_slack(struct hmm_heap *h, size_t least)
{
    uint64_t now = h->pages->clock();
    bool lately = h->spared_at != 0 && now - h->spared_at < LATELY;
    size_t slack = lately && h->spare_slack > least ? h->spare_slack : least;
    size_t again = h->live_peak > h->spared_live ? h->live_peak - h->spared_live : 0;
    h->spared_at = now;
    if (lately && again > slack / 2)
        slack = 2 * slack > again + again / 4 ? 2 * slack : again + again / 4;
    return slack;
}

void hmm__pages_spare(struct hmm_heap *h)
{
    size_t live = live_bytes(h);
    size_t least = least_slack(h, live);
    if (h->live_peak - live <= least) { /* the heap has grown since spare_at was set */
        h->spare_at = (intptr_t)least;
        return;
    }
    spare_blocks(h);
    spare_top(h);
    h->spare_slack = next_slack(h, least_slack(h, live));
    begin_again(h, live);
}

/* Returns how many bytes could go. Only the system knows whether there were pages. */
size_t hmm__pages_spare_all(struct hmm_heap *h)
{
    if (h->pages == NULL)
        return 0;
    size_t bytes = spare_blocks(h) + spare_top(h);
    begin_again(h, live_bytes(h));
    return bytes;
}
