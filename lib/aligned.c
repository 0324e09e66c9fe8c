/* SPDX-License-Identifier: MIT */
/*
 * Allocation at an alignment above the granule's.
 *
 * The strategy is asked for a free block in which an aligned piece lies (find_piece); what is left
 * below and above goes back. The top comes next, and then, before a request fails, every free block
 * is looked at, since a strategy may have missed one. That walk is linear, and done only instead of
 * failing.
 */
#include "block.h"
#include "front.h"

/* A payload at `align`, a power of two from HMM_GRANULE to HMM_MAX_REQUEST, of n granules. */
static struct hmm_piece piece_of(const struct hmm_heap *h, size_t align, uint32_t n)
{
    uint32_t step = (uint32_t)(align / HMM_GRANULE);
    uint32_t base = (uint32_t)((uintptr_t)h / HMM_GRANULE);
    return (struct hmm_piece){.granules = n, .align = step, .phase = -base & (step - 1)};
}

/* Free block r, still in the index: makes its granules [gap, gap + n) a used block. */
static hmm_ref cut_out(struct hmm_heap *h, hmm_ref r, uint32_t gap, uint32_t n)
{
    uint32_t s = block_size(h, r), rest = s - gap - n;
    uint32_t prev_bit = block_header(h, r) & HMM__PREV_FREE;
    hmm_ref at = r + gap;
    h->strategy->remove(h, h->state, r);
    h->free_unbinned--;
    if (rest >= HMM_MIN_GRANULES) {
        block_make_free(h, at + n, rest, 0);
        h->strategy->insert(h, h->state, at + n);
        h->free_unbinned++;
        h->splits++;
    } else {
        n = s - gap;
        block_clear_prev_free(h, at + n);
    }
    if (gap != 0) {
        block_make_free(h, r, gap, prev_bit);
        h->strategy->insert(h, h->state, r);
        h->free_unbinned++;
        h->splits++;
        prev_bit = HMM__PREV_FREE;
    }
    block_set_header(h, at, header_make(n, prev_bit | HMM__ALIGNED));
    return at;
}

/* What it leaves below it must be a block's, too. */
static bool bounded_fits_top(const struct hmm_heap *h, const struct hmm_piece *piece)
{
    return hmm_piece_fits(piece, h->top, h->limit - h->top) &&
           hmm_piece_gap(piece, h->top) <= HMM_MAX_GRANULES;
}

static hmm_ref from_top(struct hmm_heap *h, const struct hmm_piece *piece)
{
    hmm_ref r = h->top;
    if (hmm_piece_is_bounded(piece) && !bounded_fits_top(h, piece))
        return 0;
    uint32_t gap = hmm_piece_gap(piece, r), room = h->limit - r, n = piece->granules;
    if (room < gap || room - gap < n || (h->brk - r < gap + n && !hmm__brk_raise(h, r + gap + n)))
        return 0;
    hmm_ref at = r + gap;
    block_make_top(h, at + n);
    h->top_blocks++;
    block_set_header(h, at, header_make(n, (gap ? HMM__PREV_FREE : 0u) | HMM__ALIGNED));
    if (gap != 0) {
        block_make_free(h, r, gap, 0);
        h->strategy->insert(h, h->state, r);
        h->free_unbinned++;
        h->top_blocks++;
    }
    return at;
}

static hmm_ref find_hole(struct hmm_heap *h, const struct hmm_piece *piece)
{
    const struct hmm_strategy *s = h->strategy;
    return s->find_piece ? s->find_piece(h, h->state, piece)
                         : hmm__default_find_piece(h, h->state, piece);
}

static hmm_ref find_by_walk(struct hmm_heap *h, const struct hmm_piece *piece)
{
    for (hmm_ref r = h->first, next; r != h->top; r = next) {
        uint32_t word = block_header(h, r);
        next = block_step(h, r, word);
        h->visited++;
        if ((word & HMM__FREE) && hmm_piece_fits(piece, r, header_size(word)))
            return r;
    }
    return 0;
}

static hmm_ref cut_piece(struct hmm_heap *h, hmm_ref r, const struct hmm_piece *piece)
{
    if (r == 0)
        return 0;
    if (hmm__unlikely(!block_is_sound(h, r, block_header(h, r))))
        hmm__block_broken(h, r);
    return cut_out(h, r, hmm_piece_gap(piece, r), piece->granules);
}

/* Used block r is the answer. */
static void *hand_out(struct hmm_heap *h, hmm_ref r)
{
    uint32_t n = block_size(h, r);
    live_add(h, block_usable(n));
    if (h->placed)
        h->placed(h, h->state, r, n);
    return block_payload(h, r);
}

void *hmm__take_piece(struct hmm_heap *h, const struct hmm_piece *piece, enum hmm__piece_from from)
{
    hmm_ref r =
        from == HMM__PIECE_OF_HOLE ? cut_piece(h, find_hole(h, piece), piece) : from_top(h, piece);
    return r ? hand_out(h, r) : NULL;
}

static bool alignment_is_sound(size_t align)
{
    return align != 0 && (align & (align - 1)) == 0;
}

void *hmm__aligned_alloc(struct hmm_heap *h, size_t align, size_t size)
{
    if (!alignment_is_sound(align)) {
        h->failed++;
        hmm__set_errno(EINVAL);
        return NULL;
    }
    if (align <= HMM_GRANULE)
        return hmm__malloc(h, size);
    if (size > HMM_MAX_REQUEST || align > HMM_MAX_REQUEST)
        return hmm__fail(h);
    if (align > h->most_align)
        h->most_align = align;
    struct hmm_piece piece = piece_of(h, align, hmm__granules_for(size));
    hmm_ref r = cut_piece(h, find_hole(h, &piece), &piece);
    if (r == 0 && (r = from_top(h, &piece)) == 0)
        r = cut_piece(h, find_by_walk(h, &piece), &piece);
    return r ? hand_out(h, r) : hmm__fail(h);
}

bool hmm__aligned_can_be(size_t align, size_t size)
{
    return alignment_is_sound(align) && align <= HMM_MAX_REQUEST && size <= HMM_MAX_REQUEST;
}

static void *aligned_once(struct hmm_heap *h, size_t align, size_t size)
{
    if (hmm__unlikely(h->watch))
        return hmm__watched_aligned_alloc(h, align, size);
    return hmm__aligned_alloc(h, align, size);
}

void *hmm_heap_aligned_alloc(struct hmm_heap *heap, size_t align, size_t size)
{
    void *p = aligned_once(heap, align, size);
    if (hmm__unlikely(p == NULL) && hmm__aligned_can_be(align, size) && own_front_try_again(heap))
        p = aligned_once(heap, align, size);
    return p;
}
