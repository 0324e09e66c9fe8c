/* SPDX-License-Identifier: MIT */
/*
 * The entry points of a heap of one's own, as the process heap and the tests use them besides what
 * hmm.h declares. An entry point checks what the check level asks for, tries the cache and then
 * the heap.
 */
#ifndef HMM_API_H
#define HMM_API_H

#include "heap/heap.h"

/* heap.c: as hmm_heap_create; see hmm__create. */
HMM__HIDDEN struct hmm_heap *hmm__heap_create(void *memory, size_t size,
                                              const struct hmm_strategy *strategy, bool zeroed,
                                              const struct hmm__page_source *page_source);

/* heap.c: malloc_entry and free_entry follow what the heap has: a cache, checks, or neither. */
HMM__HIDDEN void hmm__set_entries(struct hmm_heap *h);

/* checked.c: the entry points while hmm_heap.check_flags is not 0. */
HMM__HIDDEN void *hmm__checked_malloc(struct hmm_heap *h, size_t size);
HMM__HIDDEN void *hmm__checked_calloc(struct hmm_heap *h, size_t count, size_t size);
HMM__HIDDEN void *hmm__checked_realloc(struct hmm_heap *h, void *payload, size_t size);
HMM__HIDDEN void *hmm__checked_aligned_alloc(struct hmm_heap *h, size_t align, size_t size);
HMM__HIDDEN void hmm__checked_free(struct hmm_heap *h, void *payload);
HMM__HIDDEN size_t hmm__checked_usable_size(const struct hmm_heap *h, const void *payload);

#endif
