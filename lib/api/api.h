/* SPDX-License-Identifier: MIT */
/*
 * What lib/process and the tests use of lib/api besides the functions of hmm.h.
 */
#ifndef HMM_API_H
#define HMM_API_H

#include "heap/heap.h"

/* heap.c: as hmm_heap_create; see hmm__create. */
HMM__HIDDEN struct hmm_heap *hmm__heap_create(void *memory, size_t size,
                                              const struct hmm_strategy *strategy, bool zeroed,
                                              const struct hmm__page_source *page_source);

/* heap.c: sets malloc_entry and free_entry after a change of the cache, the checks or the
 * strategy. */
HMM__HIDDEN void hmm__set_entries(struct hmm_heap *h);

/* checked.c: the entry points while hmm_heap.check_flags is not 0. */
HMM__HIDDEN void *hmm__checked_malloc(struct hmm_heap *h, size_t size);
HMM__HIDDEN void *hmm__checked_calloc(struct hmm_heap *h, size_t count, size_t size);
HMM__HIDDEN void *hmm__checked_realloc(struct hmm_heap *h, void *payload, size_t size);
HMM__HIDDEN void *hmm__checked_aligned_alloc(struct hmm_heap *h, size_t align, size_t size);
HMM__HIDDEN void hmm__checked_free(struct hmm_heap *h, void *payload);
HMM__HIDDEN size_t hmm__checked_usable_size(const struct hmm_heap *h, const void *payload);

#endif
