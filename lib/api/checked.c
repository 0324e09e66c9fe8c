/* SPDX-License-Identifier: MIT */
/*
 * The entry points while check_flags is not 0: memcheck runs, or the check level is above 1. Each
 * verifies, calls the heap, and annotates for memcheck. And hmm_heap_set_check. Calls the heap, and
 * hmm_heap_check.
 */
#include "api/api.h"

#include "base/annotate.h"
#include "heap/block.h"

#if !HMM__SMALL

/* Operations between two checks of the whole heap. */
static uint32_t check_interval(const struct hmm_heap *h)
{
    return h->check_level >= 4 ? 1 : 1024;
}

static void checked_enter(struct hmm_heap *h)
{
    if (h->check_flags & HMM__CHECK_MEMCHECK)
        annotate_enter();
    if (h->check_level < 3 || ++h->check_count < check_interval(h))
        return;
    h->check_count = 0;
#if HMM_WITH_CHECKS
    const char *broken = hmm__plain_check(h);
    if (broken != NULL)
        hmm__panic("heap check failed, heap", h, broken);
#endif
}

static void checked_leave(struct hmm_heap *h)
{
    if (h->check_flags & HMM__CHECK_MEMCHECK)
        annotate_leave();
}

/* Level 2 and up. The constant-time check accepts a pointer into a block where the user's bytes
 * look like headers; a walk does not. */
static void verify(const struct hmm_heap *h, const void *payload, const char *operation)
{
    if (payload != NULL && (h->check_flags & HMM__CHECK_POINTERS) && !hmm__is_block(h, payload))
        hmm__misuse(h, payload, operation);
}

void *hmm__checked_malloc(struct hmm_heap *h, size_t size)
{
    checked_enter(h);
    void *p = hmm__malloc(h, size);
    checked_leave(h);
    if (p != NULL && (h->check_flags & HMM__CHECK_MEMCHECK))
        annotate_malloc(p, size, false);
    return p;
}

#if HMM_WITH_CALLOC

void *hmm__checked_calloc(struct hmm_heap *h, size_t count, size_t size)
{
    checked_enter(h);
    void *p = hmm__malloc(h, count * size);
    if (p != NULL)
        memset(p, 0, block_usable(block_size(h, block_of(h, p))));
    checked_leave(h);
    if (p != NULL && (h->check_flags & HMM__CHECK_MEMCHECK))
        annotate_malloc(p, count * size, true);
    return p;
}

#endif

#if HMM_WITH_ALIGNED

void *hmm__checked_aligned_alloc(struct hmm_heap *h, size_t align, size_t size)
{
    checked_enter(h);
    void *p = hmm__aligned_alloc(h, align, size);
    checked_leave(h);
    if (p != NULL && (h->check_flags & HMM__CHECK_MEMCHECK))
        annotate_malloc(p, size, false);
    return p;
}

#endif

#if HMM_WITH_REGIONS

void *hmm__checked_malloc_piece(struct hmm_heap *h, size_t size, const struct hmm_piece *piece)
{
    if (piece == NULL)
        return hmm__checked_malloc(h, size);
    checked_enter(h);
    void *p = hmm__malloc_piece(h, piece);
    checked_leave(h);
    if (p != NULL && (h->check_flags & HMM__CHECK_MEMCHECK))
        annotate_malloc(p, size, false);
    return p;
}

#endif

#if HMM_WITH_REALLOC

/* The bytes of the block behind the requested ones are accessible while the heap resizes it. */
static void *realloc_seen_by_memcheck(struct hmm_heap *h, char *payload, size_t size)
{
    size_t usable = 0, was = 0;
    if (hmm__seems_valid(h, payload)) {
        usable = header_usable(block_header(h, block_of(h, payload)));
        was = annotate_requested(payload, usable);
    }
    annotate_open(payload + was, usable - was);
    void *p = hmm__realloc_exactly(h, payload, size);
    annotate_region(payload + was, usable - was);
    if (p != NULL)
        annotate_realloc(payload, was, p, size);
    return p;
}

void *hmm__checked_realloc(struct hmm_heap *h, void *payload, size_t size)
{
    if (payload == NULL)
        return hmm__checked_malloc(h, size);
    if (size == 0) {
        hmm__checked_free(h, payload);
        return NULL;
    }
    checked_enter(h);
    verify(h, payload, "realloc");
    void *p = h->check_flags & HMM__CHECK_MEMCHECK ? realloc_seen_by_memcheck(h, payload, size)
                                                   : hmm__realloc_exactly(h, payload, size);
    checked_leave(h);
    return p;
}

#endif

/* Memcheck first: it reports a double free before the heap ends the program. */
void hmm__checked_free(struct hmm_heap *h, void *payload)
{
    if (payload == NULL || (h->foreign && h->foreign(h, payload, "free")))
        return;
    if (h->check_flags & HMM__CHECK_MEMCHECK)
        annotate_free(payload);
    checked_enter(h);
    verify(h, payload, "free");
    hmm__free(h, payload);
    checked_leave(h);
}

/* Under memcheck the requested size, since memcheck would report a use of the rest. */
size_t hmm__checked_usable_size(const struct hmm_heap *h, const void *payload)
{
    bool quiet = (h->check_flags & HMM__CHECK_MEMCHECK) != 0;
    if (quiet)
        annotate_enter();
    size_t usable = header_usable(block_header(h, block_of(h, payload)));
    if (quiet) {
        usable = annotate_requested(payload, usable);
        annotate_leave();
    }
    return usable;
}

int hmm_heap_set_check(struct hmm_heap *heap, int level)
{
    if (level < 0 || level > (HMM_WITH_CHECKS ? 4 : 1)) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    heap->check_level = (uint32_t)level;
    heap->check_count = 0;
    uint32_t check_flags = heap->check_flags & (uint32_t)HMM__CHECK_MEMCHECK;
    if (level >= 2)
        check_flags |= HMM__CHECK_POINTERS;
    if (level >= 2 && heap->cache != NULL)
        hmm_heap_set_cache(heap, 0);
    if (heap->check_flags != check_flags) /* usable_size reads it without the lock */
        heap->check_flags = check_flags;
    hmm__set_entries(heap);
    return 0;
}

#endif
