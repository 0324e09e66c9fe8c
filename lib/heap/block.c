/* SPDX-License-Identifier: MIT */
/*
 * The functions of hmm-strategy.h by which a strategy reads blocks, and the defaults of its
 * optional hooks. Calls the strategy's hooks.
 */
#include "heap/block.h"

#if HMM_WITH_PLUGINS || !HMM__SMALL

uint32_t hmm_block_granules(const struct hmm_heap *heap, hmm_ref block)
{
    return block_size(heap, block);
}

int hmm_block_is_free(const struct hmm_heap *heap, hmm_ref block)
{
    return (block_header(heap, block) & HMM__FREE) != 0;
}

void *hmm_block_payload(const struct hmm_heap *heap, hmm_ref block)
{
    return block_payload(heap, block);
}

hmm_ref hmm_block_next(const struct hmm_heap *heap, hmm_ref block)
{
    uint32_t n = block_size(heap, block);
    if (hmm__unlikely(n < HMM_MIN_GRANULES || n > heap->top - block))
        hmm__block_broken(heap, block);
    return block + n == heap->top ? 0 : block + n;
}

hmm_ref hmm_block_prev_free(const struct hmm_heap *heap, hmm_ref block)
{
    if (!(block_header(heap, block) & HMM__PREV_FREE))
        return 0;
    uint32_t below = block_footer_below(heap, block);
    if (hmm__unlikely(below < HMM_MIN_GRANULES || below > block - heap->first))
        hmm__block_broken(heap, block);
    return block - below;
}

hmm_ref hmm_block_first(const struct hmm_heap *heap)
{
    return heap->first == heap->top ? 0 : heap->first;
}

hmm_ref hmm_block_end(const struct hmm_heap *heap)
{
    return heap->top;
}

#endif

size_t hmm_heap_capacity(const struct hmm_heap *heap)
{
#if HMM__SMALL
    return (size_t)heap->limit * HMM_GRANULE;
#else
    return (size_t)heap->capacity * HMM_GRANULE;
#endif
}

#if HMM__PIECES

/* The lowest place: not below `low`, aligned, with nothing or a block below it, not across a
 * boundary. Each step goes up to where the condition that failed holds. Between two boundaries the
 * lowest aligned ref is always as far above the lower one: once that has failed all do. */
uint32_t hmm_piece_gap_bounded(const struct hmm_piece *piece, hmm_ref block)
{
    enum { STEPS = 5 };
    uint32_t boundary = piece->boundary, inside = piece->granules - piece->slack;
    uint64_t gap = block < piece->low ? piece->low - block : 0;
    for (int step = 0; step < STEPS; step++) {
        gap += (piece->phase - block - (uint32_t)gap) & (piece->align - 1);
        if (gap != 0 && gap < HMM_MIN_GRANULES) {
            gap = HMM_MIN_GRANULES;
            continue;
        }
        uint32_t into = (block + (uint32_t)gap - piece->phase - piece->shift) & (boundary - 1);
        if (boundary == 0 || (uint64_t)into + inside <= boundary)
            return gap < UINT32_MAX ? (uint32_t)gap : UINT32_MAX;
        gap += boundary - into;
    }
    return UINT32_MAX;
}

int hmm_piece_fits_bounded(const struct hmm_piece *piece, hmm_ref block, uint32_t granules)
{
    uint32_t gap = hmm_piece_gap_bounded(piece, block);
    return granules >= gap && granules - gap >= piece->granules &&
           block + gap + piece->granules - 1 <= piece->high - 1; /* no high is the highest */
}

#endif

#if HMM_WITH_PLUGINS || !HMM__SMALL

void hmm_visited(struct hmm_heap *heap, unsigned nodes)
{
    (void)heap, (void)nodes;
    COUNT(heap->visited += nodes);
}

#endif

#if !HMM__SMALL

/* The remainder's header is written before insert, which reads it; carve writes the same again. */
hmm_ref hmm__default_take(struct hmm_heap *h, void *state, uint32_t granules)
{
    const struct hmm_strategy *s = hooks_of(h);
    hmm_ref r = s->find(h, state, granules);
    if (r == 0)
        return 0;
    s->remove(h, state, r);
    uint32_t size = block_size(h, r), rest = size - granules;
    if (rest >= HMM_MIN_GRANULES) {
        block_make_free(h, r + granules, rest, 0);
        s->insert(h, state, r + granules);
    } else {
        granules = size;
    }
    if (s->placed)
        s->placed(h, state, r, granules);
    return r;
}

#endif

#if HMM__PIECES

hmm_ref hmm__default_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    const struct hmm_strategy *s = hooks_of(h);
    hmm_ref r = s->find(h, state, piece->granules);
    if (r == 0 || hmm_piece_fits(piece, r, block_size(h, r)))
        return r;
    uint32_t surely = hmm_piece_surely(piece);
    return surely <= HMM_MAX_GRANULES ? s->find(h, state, surely) : 0;
}

#endif

#if !HMM__SMALL

/* remove reads the header of `was`, so that one is restored meanwhile. */
void hmm__default_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                         hmm_ref now)
{
    uint32_t word = block_header(h, now);
    block_set_header(h, was, header_make(was_granules, HMM__FREE));
    hooks_of(h)->remove(h, state, was);
    block_set_header(h, now, word);
    hooks_of(h)->insert(h, state, now);
}

#endif
