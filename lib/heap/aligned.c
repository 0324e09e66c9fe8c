/* SPDX-License-Identifier: MIT */
/*
 * Allocation at an alignment above the granule's, and of pieces with bounds. Calls brk.c, the
 * strategy's hooks and the cache's reclaim.
 *
 * The strategy finds a free block that has room for an aligned piece (find_piece); what is left
 * below and above stays free. If there is none, the piece comes from the top. Before a request
 * fails, a linear walk tries every free block, since a strategy's find_piece may miss one.
 */
#include "heap/block.h"

#if HMM__PIECES

struct hmm_piece hmm__piece_at(const struct hmm_heap *h, size_t align, uint32_t n)
{
    HMM_ASSERT(align > HMM_GRANULE && (align & (align - 1)) == 0);
    uint32_t step = (uint32_t)(align / HMM_GRANULE);
    uint32_t base = (uint32_t)((uintptr_t)h / HMM_GRANULE);
    return (struct hmm_piece){.granules = n, .align = step, .phase = -base & (step - 1)};
}

#if HMM_WITH_ALIGNED

uint32_t hmm__alignment_of(const struct hmm_heap *h, hmm_ref r, const char *operation)
{
    uint32_t align = block_alignment(h, r);
#if HMM_WITH_CHECKS || !HMM__SMALL
    if (hmm__unlikely(align == 0))
        hmm__panic(operation, block_payload(h, r),
                   "not a block, or its header or its end was overwritten: it does not tell the "
                   "alignment that was asked for");
#else
    (void)operation;
#endif
    return align;
}

#endif

/* Free block r, still in the index: makes its granules [gap, gap + n) a used block. */
static hmm_ref cut_out(struct hmm_heap *h, hmm_ref r, uint32_t gap, uint32_t n)
{
    uint32_t s = block_size(h, r), rest = s - gap - n;
    uint32_t prev_bit = block_header(h, r) & HMM__PREV_FREE;
    hmm_ref at = r + gap;
    HMM_ASSERT((block_header(h, r) & HMM__FREE) && s >= gap && s - gap >= n);
    hooks_of(h)->remove(h, state_of(h), r);
    COUNT(h->free_unbinned--);
    if (large_knows(h, header_make(s, 0)))
        hmm__large_cut(h, r, s, gap, rest);
    if (rest >= HMM_MIN_GRANULES) {
        block_make_free(h, at + n, rest, 0);
        hooks_of(h)->insert(h, state_of(h), at + n);
        COUNT(h->free_unbinned++);
        COUNT(h->splits++);
    } else {
        n = s - gap;
        block_clear_prev_free(h, at + n);
    }
    /* Before insert, which may look at the blocks above. */
    block_set_header(h, at, header_make(n, gap ? HMM__PREV_FREE : prev_bit));
    if (gap != 0) {
        block_make_free(h, r, gap, prev_bit);
        hooks_of(h)->insert(h, state_of(h), r);
        COUNT(h->free_unbinned++);
        COUNT(h->splits++);
    }
    return at;
}

static hmm_ref find_hole(struct hmm_heap *h, const struct hmm_piece *piece)
{
    const struct hmm_strategy *s = hooks_of(h);
    return s->find_piece ? s->find_piece(h, state_of(h), piece)
                         : hmm__default_find_piece(h, state_of(h), piece);
}

static hmm_ref cut_piece(struct hmm_heap *h, hmm_ref r, const struct hmm_piece *piece)
{
    if (r == 0)
        return 0;
    if (hmm__unlikely(!block_is_valid(h, r, block_header(h, r))))
        hmm__block_broken(h, r);
    return cut_out(h, r, hmm_piece_gap(piece, r), piece->granules);
}

/* What is left below the piece must fit in one block, too. */
static bool bounded_fits_top(const struct hmm_heap *h, const struct hmm_piece *piece)
{
    return hmm_piece_fits(piece, h->top, h->limit - h->top) &&
           hmm_piece_gap(piece, h->top) <= HMM_MAX_GRANULES;
}

/* Raises the break for `gap` and the piece. The top may be another one then. */
static bool raise_for(struct hmm_heap *h, const struct hmm_piece *piece, uint32_t gap)
{
    uint32_t n = gap + piece->granules, more = n + piece->align;
    return hmm__brk_raise(h, h->top + n) || hmm__bridge(h, more) ||
           (absent_spares(h) && hmm__brk_raise(h, h->top + more));
}

static hmm_ref from_top(struct hmm_heap *h, const struct hmm_piece *piece)
{
    hmm_ref r = h->top;
    if (hmm_piece_is_bounded(piece) && !bounded_fits_top(h, piece))
        return 0;
    uint32_t gap = hmm_piece_gap(piece, r), room = h->limit - r, n = piece->granules;
    bool fits = room >= gap && room - gap >= n;
    if (!fits || heap_brk(h) - r < gap + n) {
        hmm_ref hole = absent_returns(h, n + piece->align) ? find_hole(h, piece) : 0;
        if (hole != 0)
            return cut_piece(h, hole, piece);
        if (h->top == r && (!fits || !raise_for(h, piece, gap)))
            return 0;
        if (h->top != r)
            return from_top(h, piece);
    }
    hmm_ref at = r + gap;
    block_make_top(h, at + n);
    COUNT(h->top_blocks++);
    block_set_header(h, at, header_make(n, gap ? HMM__PREV_FREE : 0u));
    if (gap != 0) {
        block_make_free(h, r, gap, 0);
        hooks_of(h)->insert(h, state_of(h), r);
        COUNT(h->free_unbinned++);
        COUNT(h->top_blocks++);
        if (large_knows(h, header_make(gap, 0)))
            hmm__large_joined(h, r, 0, header_make(gap, 0), 0);
    }
    return at;
}

#if HMM_WITH_ALIGNED || HMM_WITH_REGIONS

static hmm_ref find_by_walk(struct hmm_heap *h, const struct hmm_piece *piece)
{
    for (hmm_ref r = h->first, next; r != h->top; r = next) {
        uint32_t word = block_header(h, r);
        next = block_step(h, r, word);
        COUNT(h->visited++);
        if ((word & HMM__FREE) && hmm_piece_fits(piece, r, header_size(word)))
            return r;
    }
    return 0;
}

#endif

/* Counts used block r as live. */
static void *hand_out(struct hmm_heap *h, hmm_ref r)
{
    uint32_t word = block_header(h, r);
    live_add(h, header_usable(word));
    say_placed(h, r, header_size(word));
    return block_payload(h, r);
}

#if HMM__CACHE

void *hmm__take_piece(struct hmm_heap *h, const struct hmm_piece *piece, enum hmm__piece_from from)
{
    hmm_ref r =
        from == HMM__PIECE_OF_HOLE ? cut_piece(h, find_hole(h, piece), piece) : from_top(h, piece);
    return r ? hand_out(h, r) : NULL;
}

void hmm__cut_used(struct hmm_heap *h, void *payload, void *at)
{
    hmm_ref r = block_of(h, payload), second = block_of(h, at);
    uint32_t word = block_header(h, r), n = header_size(word);
    HMM_ASSERT(!(word & (HMM__FREE | HMM__ALIGNED)) && second - r >= HMM_MIN_GRANULES &&
               r + n - second >= HMM_MIN_GRANULES && second < r + n);
    block_set_header(h, second, header_make(r + n - second, 0));
    block_set_header(h, r, header_make(second - r, word & HMM__PREV_FREE));
    live_sub(h, HMM_HEADER_BYTES);
    COUNT(h->splits++);
}

#endif

#if HMM_WITH_ALIGNED || HMM_WITH_REGIONS

/* Makes the piece a used block, not yet counted. 0: there is no room. */
static hmm_ref try_piece(struct hmm_heap *h, const struct hmm_piece *piece)
{
    hmm_ref r = cut_piece(h, find_hole(h, piece), piece);
    if (r == 0)
        r = from_top(h, piece);
    return r ? r : cut_piece(h, find_by_walk(h, piece), piece);
}

static hmm_ref place_piece(struct hmm_heap *h, const struct hmm_piece *piece)
{
    hmm_ref r = try_piece(h, piece);
    if (r == 0 && hmm__reclaim(h, HMM__RECLAIM_ALL))
        r = try_piece(h, piece);
    return r;
}

#endif

#if HMM_WITH_REGIONS

void *hmm__malloc_piece(struct hmm_heap *h, const struct hmm_piece *piece)
{
    hmm_ref r = place_piece(h, piece);
    return r ? hand_out(h, r) : hmm__fail(h, block_usable(piece->granules));
}

#endif

#if HMM_WITH_ALIGNED

/* Counts used block r as live, which keeps its alignment, in granules. */
static void *hand_out_aligned(struct hmm_heap *h, hmm_ref r, uint32_t align)
{
    block_set_header(h, r, block_header(h, r) | HMM__ALIGNED);
    block_set_record(h, r, align);
    COUNT(h->aligned_blocks++);
    return hand_out(h, r);
}

static bool alignment_is_valid(size_t align)
{
    return align != 0 && (align & (align - 1)) == 0;
}

void *hmm__aligned_alloc(struct hmm_heap *h, size_t align, size_t size)
{
    if (!alignment_is_valid(align)) {
        COUNT(h->failed++);
        hmm__set_errno(EINVAL);
        return NULL;
    }
    if (align <= HMM_GRANULE)
        return hmm__malloc(h, size);
    if (!hmm__aligned_can_be(align, size))
        return hmm__fail(h, size > align ? size : align);
    struct hmm_piece piece = hmm__piece_at(h, align, hmm__granules_for(size + HMM__RECORD_BYTES));
    hmm_ref r = place_piece(h, &piece);
    return r ? hand_out_aligned(h, r, piece.align) : hmm__fail(h, size);
}

bool hmm__aligned_can_be(size_t align, size_t size)
{
    size_t max = HMM_MAX_REQUEST - (align > HMM_GRANULE ? HMM__RECORD_BYTES : 0);
    return alignment_is_valid(align) && align <= HMM_MAX_REQUEST && size <= max;
}

#endif

#endif
