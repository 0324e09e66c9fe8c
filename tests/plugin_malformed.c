/* SPDX-License-Identifier: MIT */
/*
 * A plug-in for the tests whose strategy lacks a function that is required.
 */
#include <hmm-strategy.h>

static size_t no_state(size_t capacity)
{
    (void)capacity;
    return 0;
}

static hmm_ref find_none(struct hmm_heap *heap, void *state, uint32_t granules)
{
    (void)heap, (void)state, (void)granules;
    return 0;
}

static void nothing(struct hmm_heap *heap, void *state, hmm_ref block)
{
    (void)heap, (void)state, (void)block;
}

extern const struct hmm_strategy hmm_plugin_strategy;
const struct hmm_strategy hmm_plugin_strategy = {
    .abi = HMM_STRATEGY_ABI,
    .name = "malformed",
    .state_size = no_state,
    .find = find_none,
    .remove = nothing,
};
