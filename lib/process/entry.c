/* SPDX-License-Identifier: MIT */
/*
 * The entry points of the process heap: hmm_malloc, hmm_free and the others. Each tries the
 * thread cache, without a lock; then the heap, with the lock; then, if the lock is unavailable, the
 * emergency pool (unlocked.c). Calls lib/cache (by process_cache.h) and lib/api.
 *
 * With HMM_LIBC_NAMES, malloc, free and others are aliases of the entry points: a call of malloc is
 * a call of hmm_malloc.
 */
#include "process/process.h"

#include "api/api.h"
#include "api/hooks.h"
#include "heap_memory_manager.h"
#include "process/emergency.h"
#include "process/huge.h"
#include "process/process_cache.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

/* ---- The heap, with the lock ---- */

/* Whether it is time to read the clock. */
HMM__ALWAYS_INLINE bool count_call(void)
{
    HMM_ASSERT(lock_is_held(&hmm__process.lock));
    return hmm__unlikely(--hmm__process.until_tick == 0);
}

HMM__ALWAYS_INLINE void count_and_tick(struct hmm_heap *h)
{
    if (count_call())
        hmm__process_tick(h);
}

static HMM__COLD void *malloc_and_tick(struct hmm_heap *h, size_t size)
{
    hmm__process_tick(h);
    return hmm_heap_malloc(h, size);
}

HMM__ALWAYS_INLINE void *malloc_with_lock(struct hmm_heap *h, size_t size)
{
    return count_call() ? malloc_and_tick(h, size) : hmm_heap_malloc(h, size);
}

static __attribute__((noinline)) void *malloc_locked(struct hmm_heap *h, size_t size)
{
    enum lock_hold hold = lock_acquire(&hmm__process.lock);
    if (hmm__unlikely(hold == LOCK_UNAVAILABLE))
        return hmm__unlocked_malloc(h, size);
    void *p = malloc_with_lock(h, size);
    lock_release(&hmm__process.lock, hold);
    return p;
}

/* With a single thread nothing is left to do after the call: it is a jump, and needs no register to
 * be saved. */
HMM__ALWAYS_INLINE void *malloc_of_heap(struct hmm_heap *h, size_t size)
{
    return lock_is_idle() ? malloc_with_lock(h, size) : malloc_locked(h, size);
}

/* What the heap has no room for may be had as a huge block. */
static __attribute__((noinline)) void *malloc_large(struct hmm_heap *h, size_t size)
{
    enum lock_hold hold = lock_acquire(&hmm__process.lock);
    if (hmm__unlikely(hold == LOCK_UNAVAILABLE))
        return hmm__unlocked_malloc(h, size);
    count_and_tick(h);
    h->trying = hmm__huge_may(size);
    void *p = hmm_heap_malloc(h, size);
    p = hmm__huge_else(h, p, 1, size);
    lock_release(&hmm__process.lock, hold);
    return p;
}

#if HMM_WITH_CALLOC

static void *calloc_of_heap(struct hmm_heap *h, size_t count, size_t size)
{
    void *p = size == 1 ? take_medium(count) : NULL;
    if (p == NULL && size == 1)
        p = refill_medium(count);
    if (p != NULL)
        return memset(p, 0, hmm_heap_usable_size(h, p));
    enum lock_hold hold = lock_acquire(&hmm__process.lock);
    if (hmm__unlikely(hold == LOCK_UNAVAILABLE))
        return hmm__unlocked_calloc(h, count, size);
    count_and_tick(h);
    h->trying = size == 1 && hmm__huge_may(count);
    p = hmm__huge_else(h, hmm_heap_calloc(h, count, size), 1, count);
    lock_release(&hmm__process.lock, hold);
    return p;
}

#endif

#if HMM_WITH_REALLOC

/* The heap has no room to resize the block, which is as it was. */
static HMM__COLD void *move_to_huge(struct hmm_heap *h, void *block, size_t size)
{
    size_t usable = hmm_heap_usable_size(h, block);
    char *p = hmm__huge_else(h, NULL, hmm__unlocked_alignment(h, block), size);
    if (p != NULL) {
        memcpy(p, block, usable < size ? usable : size);
        hmm_heap_free(h, block);
    }
    return p;
}

/* The block is in no run. */
static __attribute__((noinline)) void *realloc_of_heap(struct hmm_heap *h, void *block, size_t size)
{
    enum lock_hold hold = lock_acquire(&hmm__process.lock);
    if (hmm__unlikely(hold == LOCK_UNAVAILABLE))
        return hmm__unlocked_realloc(h, block, size);
    count_and_tick(h);
    h->trying = size >= HMM__HUGE_MIN && hmm__huge_may(size);
    void *p = realloc_block(h, block, size);
    if (hmm__unlikely(p == NULL) && h->trying)
        p = move_to_huge(h, block, size);
    h->trying = false;
    lock_release(&hmm__process.lock, hold);
    return p;
}

#endif

#if HMM_WITH_ALIGNED

static void *aligned_of_heap(struct hmm_heap *h, size_t align, size_t size)
{
    enum lock_hold hold = lock_acquire(&hmm__process.lock);
    if (hmm__unlikely(hold == LOCK_UNAVAILABLE))
        return hmm__unlocked_aligned_alloc(h, align, size);
    count_and_tick(h);
    h->trying = hmm__huge_may(size);
    void *p = hmm__huge_else(h, hmm_heap_aligned_alloc(h, align, size), align, size);
    lock_release(&hmm__process.lock, hold);
    return p;
}

#endif

HMM__ALWAYS_INLINE void free_with_lock(struct hmm_heap *h, void *block)
{
    count_and_tick(h);
    hmm_heap_free(h, block);
}

static __attribute__((noinline)) void free_locked(struct hmm_heap *h, void *block)
{
    enum lock_hold hold = lock_acquire(&hmm__process.lock);
    if (hmm__unlikely(hold == LOCK_UNAVAILABLE)) {
        hmm__unlocked_free(h, block);
        return;
    }
    free_with_lock(h, block);
    lock_release(&hmm__process.lock, hold);
}

HMM__ALWAYS_INLINE void free_of_heap(struct hmm_heap *h, void *block)
{
    if (lock_is_idle())
        free_with_lock(h, block);
    else
        free_locked(h, block);
}

/* ---- The slow path of the cache ---- */

static __attribute__((noinline)) void *malloc_else(size_t size)
{
    struct hmm_heap *h = the_heap();
    void *p = size <= CACHE_OBJECT_MAX ? malloc_from_run(size) : refill_medium(size);
    if (hmm__unlikely(size >= HMM__HUGE_MIN))
        return malloc_large(h, size);
    return p ? p : malloc_of_heap(h, size);
}

/* The free list for this size is empty, or there is none. What the thread has of medium blocks is
 * tried here, where no register is saved. */
static __attribute__((noinline)) void *malloc_missed(size_t size)
{
    void *p = size > CACHE_OBJECT_MAX ? take_medium(size) : NULL;
    return p ? p : malloc_else(size);
}

static __attribute__((noinline)) void free_in_heap(void *block)
{
    free_of_heap(the_heap(), block);
}

static __attribute__((noinline)) void free_else(void *block, struct run *d)
{
    if (!free_in_run(d, block) && !put_medium_else(block))
        free_in_heap(block);
    else if (hooks_are_set())
        hmm__trace_free(block);
}

/* Not an object of the thread's own. */
static __attribute__((noinline)) void free_missed(void *block, struct run *d)
{
    if (block == NULL)
        return;
    enum medium_put put = in_run(d) || hooks_are_set() ? MEDIUM_ELSE : put_medium(block);
    if (put == MEDIUM_NOT)
        free_in_heap(block);
    else if (put == MEDIUM_ELSE)
        free_else(block, d);
}

/* Frees a block for which d was looked up. */
HMM__ALWAYS_INLINE void free_looked_up(struct run *d, void *block)
{
    if (hmm__unlikely(!free_hit(d, block)))
        free_missed(block, d);
}

#if HMM_WITH_REALLOC

/* ---- realloc of an object that must move ---- */

static void *allocate_less(const struct moving_block *b, size_t size)
{
    if (hooks_are_set())
        return hmm_malloc(size);
    void *p = malloc_hit(size);
    if (p == NULL)
        p = malloc_from_run(size);
    if (p != NULL)
        return p;
    enum lock_hold hold = lock_acquire(&hmm__process.lock);
    if (hold != LOCK_UNAVAILABLE)
        p = hmm__try_malloc(b->heap, size);
    lock_release(&hmm__process.lock, hold);
    return p;
}

static void *allocate_more(const struct moving_block *b, size_t size)
{
    size_t more = with_slack(b->usable, size);
    void *p = more != size ? allocate_less(b, more) : NULL;
    return p != NULL ? p : hmm_malloc(size);
}

static void release_object(const struct moving_block *b)
{
    free_looked_up(b->run, b->block);
}

static const struct mover object_mover = {allocate_more, allocate_less, release_object};

#endif

/* ---- The entry points ---- */

void *hmm_malloc(size_t size)
{
    void *p = malloc_hit(size);
    return hmm__likely(p != NULL) ? p : malloc_missed(size);
}

#if HMM_WITH_CALLOC

void *hmm_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (hmm__unlikely(__builtin_mul_overflow(count, size, &bytes)))
        return calloc_of_heap(the_heap(), count, size);
    if (hmm__unlikely(bytes > CACHE_OBJECT_MAX))
        return calloc_of_heap(the_heap(), bytes, 1);
    void *p = hmm_malloc(bytes);
    return p ? memset(p, 0, hmm_usable_size(p)) : NULL;
}

#endif

#if HMM_WITH_REALLOC

/* Most blocks that grow little by little have room: without the lock, and without saving registers.
 */
static __attribute__((noinline)) void *realloc_in_heap(void *block, size_t size)
{
    if (block == NULL)
        return hmm_malloc(size);
    if (suits_as_it_is(block, size) && thread_cache_has_counted())
        return block;
    struct hmm_heap *h = the_heap();
    if (hmm__unlikely(!in_region(h, block)))
        return hmm__foreign_realloc(h, block, size);
    return realloc_of_heap(h, block, size);
}

/* In a run, or a block of the heap in the pages of a SPLIT one. */
static __attribute__((noinline)) void *realloc_object(void *block, size_t size, struct run *d)
{
    size_t usable = usable_in_run(d, block, "realloc");
    if (usable == 0)
        return realloc_in_heap(block, size);
    if (size <= usable && size > usable / 2) {
        thread_cache_has_counted();
        return block;
    }
    const struct moving_block b = {the_heap(), block, usable, d};
    return realloc_by_moving(&object_mover, &b, size);
}

static __attribute__((noinline)) void *realloc_missed(void *block, size_t size, struct run *d)
{
    return in_run(d) ? realloc_object(block, size, d) : realloc_in_heap(block, size);
}

void *hmm_realloc(void *block, size_t size)
{
    struct run *d = look_up(block);
    void *p = realloc_hit(d, block, size);
    return hmm__likely(p != NULL) ? p : realloc_missed(block, size, d);
}

#endif

#if HMM_WITH_ALIGNED

void *hmm_aligned_alloc(size_t align, size_t size)
{
    if (align != 0 && align <= HMM_GRANULE && (align & (align - 1)) == 0)
        return hmm_malloc(size);
    return aligned_of_heap(the_heap(), align, size);
}

#endif

void hmm_free(void *block)
{
    free_looked_up(look_up(block), block);
}

size_t hmm_usable_size(const void *block)
{
    if (block == NULL)
        return 0;
    struct hmm_heap *h = the_heap();
    size_t usable = usable_in_run(look_up(block), block, "usable size of");
    if (usable != 0)
        return usable;
    if (hmm__likely(in_region(h, block)))
        return hmm_heap_usable_size(h, block);
    if (hmm__emergency_has(block))
        return hmm__emergency_usable(block);
    usable = hmm__huge_usable(block);
    if (usable != 0)
        return usable;
    hmm__huge_refuse(block, "usable size of");
    hmm__foreign_report(h, block, "usable size of");
    return 0;
}

void *HmmAlloc(size_t size)
{
    return hmm_malloc(size);
}

void HmmFree(void *block)
{
    hmm_free(block);
}

/* ---- The C library's names ---- */

#if defined(HMM_LIBC_NAMES)

#if defined(__clang__)
#define ALIAS_OF(entry) __attribute__((alias(#entry), visibility("default")))
#else
#define ALIAS_OF(entry) __attribute__((alias(#entry), copy(entry), visibility("default")))
#endif

void *malloc(size_t size) ALIAS_OF(hmm_malloc);
void *calloc(size_t count, size_t size) ALIAS_OF(hmm_calloc);
void *realloc(void *block, size_t size) ALIAS_OF(hmm_realloc);
void *aligned_alloc(size_t align, size_t size) ALIAS_OF(hmm_aligned_alloc);
void free(void *block) ALIAS_OF(hmm_free);
void cfree(void *block) ALIAS_OF(hmm_free);

#endif

#endif
