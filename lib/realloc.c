/* SPDX-License-Identifier: MIT */
/*
 * realloc: where the block can grow without a second one, it does. In this order: into the free
 * block above, into the top, down into the free block below (with what is free above), and only
 * then by moving. A block from aligned_alloc keeps the alignment that was asked for wherever it
 * goes, and no larger one at which it happens to lie.
 */
#include "front_kept.h"

/* Used block r has been given s granules, was of them before, and needs n. What it does not need
 * becomes free, if it is large enough for a block. */
static void settle(struct hmm_heap *h, hmm_ref r, uint32_t was, uint32_t s, uint32_t n,
                   uint32_t bits)
{
    block_set_header(h, r, header_make(s, bits));
    if (s - n >= HMM_MIN_GRANULES) {
        block_set_header(h, r, header_make(n, bits));
        block_set_header(h, r + n, header_make(s - n, 0));
        hmm__release(h, r + n);
        h->splits++;
        s = n;
    }
    live_add(h, (size_t)(s - was) * HMM_GRANULE);
}

/* Cuts used block r down to n granules. */
static __attribute__((noinline)) void shrink(struct hmm_heap *h, hmm_ref r, uint32_t word,
                                             uint32_t n)
{
    uint32_t s = header_size(word);
    block_set_header(h, r, header_make(n, word & (HMM__PREV_FREE | HMM__ALIGNED)));
    block_set_header(h, r + n, header_make(s - n, 0));
    live_sub(h, (size_t)(s - n) * HMM_GRANULE);
    h->top_blocks++;
    hmm__release(h, r + n);
    if (h->live_below_peak > h->spare_at)
        hmm__pages_spare(h);
}

/* Granules that could be had directly above the end of a block that wants so many: a free
 * block's, or the top's. Of the top the break is raised to hold them, if it can be. */
static uint32_t room_above(struct hmm_heap *h, hmm_ref end, uint32_t wants)
{
    if (end == h->top) {
        if (h->brk - end < wants && h->limit - end >= wants)
            hmm__brk_raise(h, end + wants);
        return h->brk - end < wants ? h->brk - end : h->limit - end;
    }
    uint32_t word = block_header(h, end);
    return word & HMM__FREE ? header_size(word) : 0;
}

/* Block r of s granules takes all of the free block above, or of the top what brings it to n. The
 * caller has seen that there is enough. Returns what the block has then. */
static uint32_t absorb_above(struct hmm_heap *h, hmm_ref r, uint32_t s, uint32_t n)
{
    hmm_ref end = r + s;
    if (end == h->top) {
        if (n <= s)
            return s;
        block_make_top(h, r + n);
        return n;
    }
    uint32_t word = block_header(h, end);
    if (!(word & HMM__FREE))
        return s;
    h->strategy->remove(h, h->state, end);
    h->free_unbinned--;
    h->merges++;
    block_clear_prev_free(h, end + header_size(word));
    return s + header_size(word);
}

static bool grow_up(struct hmm_heap *h, hmm_ref r, uint32_t word, uint32_t n)
{
    uint32_t s = header_size(word), room = room_above(h, r + s, n - s);
    if (n - s > room || n > HMM_MAX_GRANULES || s + (uint64_t)room > UINT32_MAX)
        return false;
    if (r + s != h->top && s + room > HMM_MAX_GRANULES)
        return false;
    settle(h, r, s, absorb_above(h, r, s, n), n, word & (HMM__PREV_FREE | HMM__ALIGNED));
    return true;
}

/* Takes free block low but for its first `gap` granules, which stay one, or are none. Returns the
 * PREV_FREE of what lies above those. */
static uint32_t absorb_below(struct hmm_heap *h, hmm_ref low, uint32_t gap)
{
    uint32_t prev_bit = block_header(h, low) & HMM__PREV_FREE;
    h->strategy->remove(h, h->state, low);
    if (gap == 0) {
        h->free_unbinned--;
        h->merges++;
        return prev_bit;
    }
    block_make_free(h, low, gap, prev_bit);
    h->strategy->insert(h, h->state, low);
    return HMM__PREV_FREE;
}

/* Slides block r down into the free one below it, to `gap` granules above where that begins.
 * Returns its new ref, 0 iff that cannot be. */
static hmm_ref grow_down(struct hmm_heap *h, hmm_ref r, uint32_t word, uint32_t n, uint32_t gap)
{
    uint32_t s = header_size(word), whole = block_footer_below(h, r), below = whole - gap;
    if (gap >= whole)
        return 0;
    uint64_t room = room_above(h, r + s, n - s > below ? n - s - below : 0);
    if (below + s + room < n || below + s + (r + s == h->top ? 0 : room) > HMM_MAX_GRANULES)
        return 0;
    hmm_ref to = r - below;
    uint32_t prev_bit = absorb_below(h, r - whole, gap), got = below + s;
    if (got < n)
        got = absorb_above(h, to, got, n);
    memmove(block_payload(h, to), block_payload(h, r), header_usable(word));
    settle(h, to, s, got, n, prev_bit | (word & HMM__ALIGNED));
    return to;
}

/* Granule by granule where there are few. */
static void copy_payload(char *to, const char *from, uint32_t granules)
{
    size_t bytes = block_usable(granules);
    if (granules > 4) {
        memcpy(to, from, bytes);
        return;
    }
    for (; bytes >= HMM_GRANULE; bytes -= HMM_GRANULE, to += HMM_GRANULE, from += HMM_GRANULE)
        memcpy(to, from, HMM_GRANULE);
    memcpy(to, from, HMM_GRANULE - HMM_HEADER_BYTES);
}

static __attribute__((noinline)) void *move_block(struct hmm_heap *h, char *from, size_t size)
{
    void *to = hmm__malloc(h, size);
    if (to == NULL)
        return NULL;
    copy_payload(to, from, header_size(word_load(from)));
    hmm__free(h, from);
    return to;
}

/* Whether the free blocks beside r, at p, are what its header and the next say. */
static bool neighbours_agree(const struct hmm_heap *h, hmm_ref r, char *p, const struct seen *b)
{
    hmm_ref low;
    size_t left = b->room - b->span;
    if ((b->word & HMM__PREV_FREE) && !below_agrees(h, r, p, footer_load(p), &low))
        return false;
    return !(b->above & HMM__FREE) || left == 0 ||
           above_agrees(p + span_bytes(b->span), header_span(b->above), left);
}

/* What grow_up does, where it is plain: from the top below the break, or from a free block above a
 * part that leaves one. */
static bool grow_plainly(struct hmm_heap *h, hmm_ref r, char *p, const struct seen *b, uint32_t n)
{
    size_t more = header_make(n, 0) - b->span, nn = header_span(b->above);
    if (b->room == b->span) {
        if (h->brk - r < n)
            return false;
        block_make_top(h, r + n);
    } else {
        if (!(b->above & HMM__FREE) || nn < more + header_make(HMM_MIN_GRANULES, 0))
            return false;
        h->strategy->remove(h, h->state, r + (hmm_ref)span_granules(b->span));
        block_make_free(h, r + n, (uint32_t)span_granules(nn - more), 0);
        h->strategy->insert(h, h->state, r + n);
        h->merges++;
        h->splits++;
    }
    word_store(p, b->word + (uint32_t)more);
    live_add(h, span_bytes(more));
    return true;
}

/* Block r has a free one, or the top, beside it. */
static __attribute__((noinline)) void *grow(struct hmm_heap *h, char *p, size_t size)
{
    struct seen b;
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = block_of(h, p);
    if (hmm__unlikely(!is_placed(h, p, &b) || !neighbours_agree(h, r, p, &b)))
        hmm__misuse(h, p, "realloc");
    if (grow_plainly(h, r, p, &b, n))
        return p;
    if ((b.above & HMM__FREE) && grow_up(h, r, b.word, n))
        return p;
    hmm_ref low = b.word & HMM__PREV_FREE ? grow_down(h, r, b.word, n, 0) : 0;
    return low ? block_payload(h, low) : move_block(h, p, size);
}

/* ---- Of ALIGNED blocks ---- */

/* Where block r is, or just below, given n granules, at its alignment. 0: there is no room. */
static hmm_ref resize_aligned(struct hmm_heap *h, hmm_ref r, uint32_t n, size_t align)
{
    uint32_t word = block_header(h, r), has = header_size(word);
    if (n <= has) {
        if (has - n >= HMM_MIN_GRANULES)
            shrink(h, r, word, n);
        return r;
    }
    if (grow_up(h, r, word, n))
        return r;
    if (!(word & HMM__PREV_FREE))
        return 0;
    struct hmm_piece piece = hmm__piece_at(h, align, n);
    return grow_down(h, r, word, n, hmm_piece_gap(&piece, r - block_footer_below(h, r)));
}

static void *move_aligned(struct hmm_heap *h, char *from, size_t size, size_t align)
{
    void *to = hmm__aligned_alloc(h, align, size);
    if (to == NULL)
        return NULL;
    memcpy(to, from, header_usable(word_load(from)));
    hmm__free(h, from);
    return to;
}

/* A record lies at a block's end: it is written anew wherever that is now. */
static void *realloc_aligned(struct hmm_heap *h, void *payload, size_t size)
{
    hmm_ref r = block_of(h, payload);
    uint32_t align = hmm__alignment_of(h, r, "realloc");
    size_t align_bytes = (size_t)align * HMM_GRANULE;
    if (!hmm__aligned_can_be(align_bytes, size))
        return hmm__fail(h);
    r = resize_aligned(h, r, hmm__granules_for(size + HMM__RECORD_BYTES), align_bytes);
    if (r == 0)
        return move_aligned(h, payload, size, align_bytes);
    block_set_record(h, r, align);
    return block_payload(h, r);
}

/* ---- Of any ---- */

static __attribute__((noinline)) void *realloc_else(struct hmm_heap *h, void *payload, size_t size)
{
    if (payload == NULL)
        return hmm__malloc(h, size);
    if (!hmm__seems_sound(h, payload))
        hmm__misuse(h, payload, "realloc");
    if (size == 0) {
        hmm__free(h, payload);
        return NULL;
    }
    return word_load(payload) & HMM__ALIGNED ? realloc_aligned(h, payload, size) : hmm__fail(h);
}

void *hmm__realloc(struct hmm_heap *h, void *payload, size_t size)
{
    char *p = payload;
    struct seen b;
    if (hmm__unlikely(size - 1 >= HMM_MAX_REQUEST || !is_placed(h, p, &b) || !is_used_plainly(&b)))
        return realloc_else(h, payload, size);
    uint32_t n = hmm__granules_for(size), has = header_size(b.word);
    if (n > has) {
        if (((b.word | b.above) & HMM__MARKS) == 0)
            return move_block(h, p, size);
        return grow(h, p, size);
    }
    if (has - n >= HMM_MIN_GRANULES)
        shrink(h, (hmm_ref)b.at, b.word, n);
    return p;
}

/* Where the heap is not bare, or watched. */
static void *realloc_once(struct hmm_heap *h, void *block, size_t size)
{
    return h->watch ? hmm__watched_realloc(h, block, size) : hmm__realloc(h, block, size);
}

static __attribute__((noinline)) void *realloc_before(struct hmm_heap *h, void *block, size_t size)
{
#if HMM__FRONT
    size_t usable = h->front ? hmm__front_usable(h->front, block, "realloc") : 0;
    if (usable != 0)
        return hmm__front_realloc(h, block, usable, size);
    if (h->front && hmm__kept_has(h->front, block))
        hmm__kept_twice(block, "realloc");
#endif
    void *p = realloc_once(h, block, size);
    if (hmm__unlikely(p == NULL) && size - 1 < HMM_MAX_REQUEST && own_front_try_again(h))
        p = realloc_once(h, block, size);
    return p;
}

void *hmm_heap_realloc(struct hmm_heap *heap, void *block, size_t size)
{
    if (heap->front || heap->watch)
        return realloc_before(heap, block, size);
    return hmm__realloc(heap, block, size);
}
