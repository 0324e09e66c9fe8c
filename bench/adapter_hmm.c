/* SPDX-License-Identifier: MIT */
/*
 * The example of an adapter: a heap of one's own, with the strategy that HMM_STRATEGY names. It is
 * also how the benchmark measures the bare core, no lock and nothing above the strategy; or, where
 * HMM_CACHE is 1, a heap of one's own with its cache.
 */
#include "adapter.h"
#include "hmm.h"

#include <stdlib.h>

static void *create(void *region, size_t size)
{
    const char *name = getenv("HMM_STRATEGY"), *cache = getenv("HMM_CACHE");
    struct hmm_heap *heap =
        hmm_heap_create(region, size, hmm_strategy_find(name != NULL ? name : "best-fit"));
    if (heap != NULL && cache != NULL && *cache == '1' && hmm_heap_set_cache(heap, 1) != 0)
        return NULL;
    return heap;
}

static void destroy(void *heap)
{
    hmm_heap_destroy(heap);
}

static void *allocate(void *heap, size_t size)
{
    return hmm_heap_malloc(heap, size);
}

static void release(void *heap, void *block)
{
    hmm_heap_free(heap, block);
}

static void *resize(void *heap, void *block, size_t size)
{
    return hmm_heap_realloc(heap, block, size);
}

static void *allocate_aligned(void *heap, size_t align, size_t size)
{
    return hmm_heap_aligned_alloc(heap, align, size);
}

const struct bench_adapter bench_adapter = {
    .abi = BENCH_ADAPTER_ABI,
    .name = "hmm-bare",
    .create = create,
    .destroy = destroy,
    .malloc = allocate,
    .free = release,
    .realloc = resize,
    .aligned_alloc = allocate_aligned,
};
