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

/* heap.c: the entry points without a lock or a trace (hooks.h). */
HMM__HIDDEN void *hmm__plain_malloc(struct hmm_heap *h, size_t size);
HMM__HIDDEN void hmm__plain_free(struct hmm_heap *h, void *block);
HMM__HIDDEN void *hmm__plain_calloc(struct hmm_heap *h, size_t count, size_t size);
HMM__HIDDEN void *hmm__plain_realloc(struct hmm_heap *h, void *block, size_t size);
HMM__HIDDEN void *hmm__plain_aligned_alloc(struct hmm_heap *h, size_t align, size_t size);
/* inspect.c: the same of hmm_heap_check. */
HMM__HIDDEN const char *hmm__plain_check(const struct hmm_heap *h);

struct run;

#if !HMM__SMALL

/* A block that realloc cannot resize where it is. */
struct moving_block {
    struct hmm_heap *heap;
    void *block;
    size_t usable;   /* bytes */
    struct run *run; /* what was looked up for it in the cache; NULL: it is in no run */
};

/* How it moves. */
struct mover {
    void *(*allocate)(const struct moving_block *b, size_t size);
    /* Memory for a block that shrinks, or for one and its slack. NULL: there is none that costs
     * little. */
    void *(*allocate_less)(const struct moving_block *b, size_t size);
    void (*release)(const struct moving_block *b);
};

/* realloc by moving. NULL: size is 0, and the block is free; or it is larger than the block, which
 * stays, since there is no memory. A mover that is constant costs no indirect call. */
HMM__ALWAYS_INLINE void *realloc_by_moving(const struct mover *by, const struct moving_block *b,
                                           size_t size)
{
    void *p = NULL;
    if (size != 0) {
        p = size > b->usable ? by->allocate(b, size) : by->allocate_less(b, size);
        if (p == NULL)
            return size > b->usable ? NULL : b->block;
        memcpy(p, b->block, size < b->usable ? size : b->usable);
    }
    by->release(b);
    return p;
}

#endif

/* heap.c: sets malloc_entry and free_entry after a change of the cache, the checks or the
 * strategy. */
HMM__HIDDEN void hmm__set_entries(struct hmm_heap *h);

#if HMM__CACHE && HMM_WITH_REALLOC
/* heap.c: hmm_heap_realloc of what is in no run of h's cache, while no hook is set. */
HMM__HIDDEN void *hmm__realloc_block(struct hmm_heap *h, void *block, size_t size);
#endif

/* checked.c: the entry points while hmm_heap.check_flags is not 0. */
HMM__HIDDEN void *hmm__checked_malloc(struct hmm_heap *h, size_t size);
HMM__HIDDEN void *hmm__checked_calloc(struct hmm_heap *h, size_t count, size_t size);
HMM__HIDDEN void *hmm__checked_realloc(struct hmm_heap *h, void *payload, size_t size);
HMM__HIDDEN void *hmm__checked_aligned_alloc(struct hmm_heap *h, size_t align, size_t size);
/* piece: NULL, or what the block is to be. */
HMM__HIDDEN void *hmm__checked_malloc_piece(struct hmm_heap *h, size_t size,
                                            const struct hmm_piece *piece);
HMM__HIDDEN void hmm__checked_free(struct hmm_heap *h, void *payload);
HMM__HIDDEN size_t hmm__checked_usable_size(const struct hmm_heap *h, const void *payload);

#endif
