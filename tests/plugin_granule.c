/* SPDX-License-Identifier: MIT */
/*
 * A plug-in for the tests that was built for granules of another size than the library has: 4
 * bytes, which no library has. Its strategy is whole, but must not be called.
 */
#undef HMM_GRANULE
#define HMM_GRANULE 4u
#include <hmm-strategy.h>

static size_t state_size(size_t capacity)
{
    (void)capacity;
    __builtin_trap();
}

static hmm_ref find(struct hmm_heap *heap, void *state, uint32_t granules)
{
    (void)heap, (void)state, (void)granules;
    __builtin_trap();
}

static void change(struct hmm_heap *heap, void *state, hmm_ref block)
{
    (void)heap, (void)state, (void)block;
    __builtin_trap();
}

extern const struct hmm_strategy hmm_plugin_strategy;
const struct hmm_strategy hmm_plugin_strategy = {
    .abi = HMM_STRATEGY_ABI,
    .name = "coarse",
    .state_size = state_size,
    .find = find,
    .insert = change,
    .remove = change,
};
