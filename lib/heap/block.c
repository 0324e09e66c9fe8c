/* SPDX-License-Identifier: MIT */
/*
 * The functions of hmm-strategy.h by which a strategy reads blocks, and the defaults of its
 * optional hooks. Calls the strategy's hooks.
 */
#include "heap/block.h"

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

size_t hmm_heap_capacity(const struct hmm_heap *heap)
{
    return (size_t)heap->capacity * HMM_GRANULE;
}

void hmm_visited(struct hmm_heap *heap, unsigned nodes)
{
    heap->visited += nodes;
}

/* The remainder's header is written before insert, which reads it; carve writes the same again. */
hmm_ref hmm__default_take(struct hmm_heap *h, void *state, uint32_t granules)
{
    const struct hmm_strategy *s = h->strategy;
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

hmm_ref hmm__default_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    const struct hmm_strategy *s = h->strategy;
    hmm_ref r = s->find(h, state, piece->granules);
    if (r == 0 || hmm_piece_fits(piece, r, block_size(h, r)))
        return r;
    uint32_t surely = hmm_piece_surely(piece);
    return surely <= HMM_MAX_GRANULES ? s->find(h, state, surely) : 0;
}

/* remove reads the header of `was`, so that one is restored meanwhile. */
void hmm__default_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                         hmm_ref now)
{
    uint32_t word = block_header(h, now);
    block_set_header(h, was, header_make(was_granules, HMM__FREE));
    h->strategy->remove(h, state, was);
    block_set_header(h, now, word);
    h->strategy->insert(h, state, now);
}
