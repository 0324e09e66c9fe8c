/* SPDX-License-Identifier: MIT */
/*
 * The C library's names for the process heap. Its doors are part of this file, so that malloc is
 * not a call of hmm_malloc but hmm_malloc itself.
 */
#include "../lib/hmm.c"

#if defined(__clang__)
#define SAME_AS(door) __attribute__((alias(#door), visibility("default")))
#else
#define SAME_AS(door) __attribute__((alias(#door), copy(door), visibility("default")))
#endif

void *malloc(size_t size) SAME_AS(hmm_malloc);
void *calloc(size_t count, size_t size) SAME_AS(hmm_calloc);
void *realloc(void *block, size_t size) SAME_AS(hmm_realloc);
void *aligned_alloc(size_t align, size_t size) SAME_AS(hmm_aligned_alloc);
void free(void *block) SAME_AS(hmm_free);
