/* SPDX-License-Identifier: MIT */
/*
 * Worst-fit: the largest free block, of equal ones the lowest. It has only what is required and
 * keeps no index: a walk over all blocks answers each question. To begin with, and slow.
 *
 * cc -shared -fPIC -o worst_fit.so worst_fit.c $(pkg-config --cflags hmm)
 * hmm check-strategy worst_fit.so
 */
#include <hmm-strategy.h>

static size_t state_size(size_t capacity)
{
    (void)capacity;
    return 0;
}

static hmm_ref find(struct hmm_heap *heap, void *state, uint32_t granules)
{
    hmm_ref worst = 0;
    uint32_t most = granules - 1;
    unsigned visited = 0;
    (void)state;
    for (hmm_ref b = hmm_block_first(heap); b != 0; b = hmm_block_next(heap, b), visited++)
        if (hmm_block_is_free(heap, b) && hmm_block_granules(heap, b) > most) {
            most = hmm_block_granules(heap, b);
            worst = b;
        }
    hmm_visited(heap, visited);
    return worst;
}

static void nothing(struct hmm_heap *heap, void *state, hmm_ref block)
{
    (void)heap, (void)state, (void)block;
}

/* The rule, for hmm check-strategy; here it is what find does. */
hmm_ref hmm_plugin_scan(struct hmm_heap *heap, const struct hmm_scan *scan)
{
    return find(heap, NULL, scan->granules);
}

extern const struct hmm_strategy hmm_plugin_strategy;
const struct hmm_strategy hmm_plugin_strategy = {
    .abi = HMM_STRATEGY_ABI,
    .name = "worst-fit",
    .summary = "the largest free block; walks the heap",
    .state_size = state_size,
    .find = find,
    .insert = nothing,
    .remove = nothing,
};
