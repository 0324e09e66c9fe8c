/* SPDX-License-Identifier: MIT */
/*
 * Heaps of hmm in Zephyr. Each has a spinlock, which keeps out interrupts and other processors for
 * one operation: with best-fit and segregated that has a bound. So all of these may be called from
 * interrupts. None waits for memory, as k_heap_alloc does for its timeout: what it does with
 * K_NO_WAIT is what these do.
 */
#ifndef HMM_ZEPHYR_H
#define HMM_ZEPHYR_H

#include <stddef.h>

#include <zephyr/kernel.h>
#include <zephyr/sys/mem_stats.h>

#include "hmm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The fields are the functions'. */
struct hmm_k_heap {
    struct hmm_heap *heap;
    struct k_spinlock lock;
    size_t allocated, max_allocated; /* bytes, as sys_memory_stats counts them */
};

/* In mem[0 .. bytes). 0; or -ENOMEM: that is too small for a heap. */
int hmm_k_heap_init(struct hmm_k_heap *h, void *mem, size_t bytes);

/* NULL: there is no room, or bytes is 0. */
void *hmm_k_heap_alloc(struct hmm_k_heap *h, size_t bytes);
void *hmm_k_heap_calloc(struct hmm_k_heap *h, size_t num, size_t size);

/* NULL is ignored. */
void hmm_k_heap_free(struct hmm_k_heap *h, void *mem);

/* At least what was asked for. 0 for NULL. */
size_t hmm_k_heap_usable_size(struct hmm_k_heap *h, void *mem);

#if HMM_WITH_ALIGNED
/* align is a power of two; 0: none is asked for. */
void *hmm_k_heap_aligned_alloc(struct hmm_k_heap *h, size_t align, size_t bytes);
#endif

#if HMM_WITH_REALLOC
/* As realloc of C; of 0 bytes it frees mem and returns NULL. */
void *hmm_k_heap_realloc(struct hmm_k_heap *h, void *mem, size_t bytes);
#endif

#if HMM_WITH_CHECKS
/* Whether the heap is valid: a look at all of it. */
bool hmm_k_heap_validate(struct hmm_k_heap *h);
#endif

#if HMM_WITH_STATS
/* What is free, allocated, and was allocated at most. 0, or -EINVAL where h or stats is NULL. */
int hmm_k_heap_runtime_stats_get(struct hmm_k_heap *h, struct sys_memory_stats *stats);
#endif
/* From now on the most that was allocated is what is allocated now. */
int hmm_k_heap_runtime_stats_reset_max(struct hmm_k_heap *h);

#if CONFIG_HMM_HEAP_SIZE > 0
/* Over a heap of CONFIG_HMM_HEAP_SIZE bytes that is there before the application. A block has 4
 * bytes besides its payload; one of k_malloc has a pointer more. */
extern struct hmm_k_heap hmm_k_system_heap;

void *hmm_k_malloc(size_t size);
void *hmm_k_calloc(size_t nmemb, size_t size);
void hmm_k_free(void *ptr);
#if HMM_WITH_ALIGNED
void *hmm_k_aligned_alloc(size_t align, size_t size);
#endif
#if HMM_WITH_REALLOC
void *hmm_k_realloc(void *ptr, size_t size);
#endif
#endif

#ifdef __cplusplus
}
#endif
#endif
