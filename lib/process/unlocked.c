/* SPDX-License-Identifier: MIT */
/*
 * The process heap's entry points while its lock is unavailable. Memory comes from the emergency
 * pool; the free of a block of the heap is deferred. Calls emergency.c; lib/api only after waiting
 * for the lock all the same.
 */
#include "process/process.h"

#include "api/api.h"
#include "base/text.h"
#include "heap/block.h"
#include "process/emergency.h"
#include "process/huge.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

/* Prints once, or once for each thread that gets here at the same time: the program may repeat the
 * request many times. Not by an atomic exchange, which on some processors is a library call. */
static void say_refused(void)
{
    static bool said;
    struct text t = {0};
    if (__atomic_load_n(&said, __ATOMIC_RELAXED))
        return;
    __atomic_store_n(&said, true, __ATOMIC_RELAXED);
    hmm__text_add(&t, "hmm: an allocation in a handler: refused, since the code that the handler "
                      "interrupted is at work on the heap");
    hmm__text_to_stderr(&t);
}

/* From the emergency pool; if it is used up, from the heap after waiting for the lock. */
static void *alloc_unlocked(struct hmm_heap *h, size_t align, size_t size)
{
    void *p = hmm__emergency_alloc(align, size);
    if (p != NULL)
        return p;
    enum lock_hold hold = hmm__process_lock();
    if (hold == LOCK_UNAVAILABLE) {
        say_refused();
        return NULL;
    }
#if HMM_WITH_ALIGNED
    p = align > HMM_GRANULE ? hmm_heap_aligned_alloc(h, align, size) : hmm_heap_malloc(h, size);
#else
    p = hmm_heap_malloc(h, size);
#endif
    lock_release(&hmm__process.lock, hold);
    return p;
}

void *hmm__unlocked_malloc(struct hmm_heap *h, size_t size)
{
    return alloc_unlocked(h, 1, size);
}

#if HMM_WITH_CALLOC

void *hmm__unlocked_calloc(struct hmm_heap *h, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        hmm__set_errno(ENOMEM);
        return NULL;
    }
    void *p = alloc_unlocked(h, 1, bytes);
    return p ? memset(p, 0, hmm_usable_size(p)) : NULL;
}

#endif

#if HMM_WITH_ALIGNED

void *hmm__unlocked_aligned_alloc(struct hmm_heap *h, size_t align, size_t size)
{
    if (align == 0 || (align & (align - 1)) != 0) {
        hmm__set_errno(EINVAL);
        return NULL;
    }
    return alloc_unlocked(h, align, size);
}

#endif

#if HMM_WITH_REALLOC

/* What realloc must keep. */
size_t hmm__unlocked_alignment(const struct hmm_heap *h, void *block)
{
    if (!HMM_WITH_ALIGNED || !(word_load(block) & HMM__ALIGNED))
        return 1;
    return (size_t)hmm__alignment_of(h, block_of(h, block), "realloc") * HMM_GRANULE;
}

/* The block stays. */
static void *allocate_nothing(const struct moving_block *b, size_t size)
{
    (void)b, (void)size;
    return NULL;
}

static void *allocate_aligned_so(const struct moving_block *b, size_t size)
{
    return alloc_unlocked(b->heap, hmm__unlocked_alignment(b->heap, b->block), size);
}

static void defer_release(const struct moving_block *b)
{
    hmm__emergency_defer_free(b->block);
}

/* block is of the heap, which may not be changed now. Reading its header is safe: the block is in
 * use, and others change only the bits of it that tell of the block below. */
void *hmm__unlocked_realloc(struct hmm_heap *h, void *block, size_t size)
{
    static const struct mover mover = {allocate_aligned_so, allocate_nothing, defer_release};
    const struct moving_block b = {h, block, hmm_heap_usable_size(h, block), NULL};
    return realloc_by_moving(&mover, &b, size);
}

#endif

void hmm__unlocked_free(struct hmm_heap *h, void *block)
{
    if (hmm__huge_usable(block) != 0 || !hmm__foreign_free(h, block, "free"))
        hmm__emergency_defer_free(block);
}

#if HMM_WITH_REALLOC

static void *allocate_in_heap(const struct moving_block *b, size_t size)
{
    (void)b;
    return hmm_malloc(size);
}

static void release_emergency(const struct moving_block *b)
{
    hmm__emergency_free(b->block);
}

/* A huge block that becomes small moves to the heap, else its pages may be mapped elsewhere. */
static void *realloc_huge(struct hmm_heap *h, void *block, size_t size)
{
    if (size < HMM__HUGE_MIN) {
        void *p = size != 0 ? hmm_malloc(size) : NULL;
        if (p != NULL)
            memcpy(p, block, size);
        if (p != NULL || size == 0)
            hmm_free(block);
        return p;
    }
    enum lock_hold hold = hmm__process_lock();
    void *p = hold != LOCK_UNAVAILABLE ? hmm__huge_resize(h, block, size) : NULL;
    if (p == NULL && hold != LOCK_UNAVAILABLE)
        hmm__fail(h, size);
    hmm__process_unlock(hold);
    if (p == NULL)
        hmm__set_errno(ENOMEM);
    return p;
}

/* A block of the emergency pool moves to the heap if it must grow. */
void *hmm__foreign_realloc(struct hmm_heap *h, void *block, size_t size)
{
    if (hmm__huge_usable(block) != 0)
        return realloc_huge(h, block, size);
    if (!hmm__emergency_has(block)) {
        hmm__huge_refuse(block, "realloc");
        hmm__foreign_report(h, block, "realloc");
        hmm__set_errno(ENOMEM);
        return NULL;
    }
    static const struct mover mover = {allocate_in_heap, allocate_nothing, release_emergency};
    const struct moving_block b = {h, block, hmm__emergency_usable(block), NULL};
    return realloc_by_moving(&mover, &b, size);
}

#endif

#endif
