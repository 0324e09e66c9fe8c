/* SPDX-License-Identifier: MIT */
/*
 * The two historic names: the process heap's malloc and free. Everything else is in hmm.h.
 */
#ifndef HEAP_MEMORY_MANAGER_H
#define HEAP_MEMORY_MANAGER_H

#include "hmm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A block of at least `size` bytes, or NULL and ENOMEM: as hmm_malloc. */
void *HmmAlloc(size_t size) HMM_MALLOC_LIKE;

/* Frees the block: as hmm_free. NULL is ignored. */
void HmmFree(void *block);

#ifdef __cplusplus
}
#endif
#endif
