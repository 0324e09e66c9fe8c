/* SPDX-License-Identifier: MIT */
/*
 * A plug-in for the tests: worst-fit, by a walk over all blocks. It has only what is required,
 * keeps no index, and uses nothing but the public headers.
 */
#include <hmm-strategy.h>

static size_t worst_state_size(size_t capacity)
{
    (void)capacity;
    return 0;
}

static hmm_ref worst_find(struct hmm_heap *heap, void *state, uint32_t granules)
{
    hmm_ref worst = 0;
    (void)state;
    for (hmm_ref r = hmm_block_first(heap); r != 0; r = hmm_block_next(heap, r)) {
        hmm_visited(heap, 1);
        if (hmm_block_is_free(heap, r) && hmm_block_granules(heap, r) >= granules &&
            (worst == 0 || hmm_block_granules(heap, r) > hmm_block_granules(heap, worst)))
            worst = r;
    }
    return worst;
}

static void nothing(struct hmm_heap *heap, void *state, hmm_ref block)
{
    (void)heap, (void)state, (void)block;
}

extern const struct hmm_strategy hmm_plugin_strategy;
const struct hmm_strategy hmm_plugin_strategy = {
    .abi = HMM_STRATEGY_ABI,
    .name = "worst-fit",
    .summary = "the largest",
    .state_size = worst_state_size,
    .find = worst_find,
    .insert = nothing,
    .remove = nothing,
};
