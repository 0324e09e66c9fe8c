/* SPDX-License-Identifier: MIT */
/*
 * The process heap as a heap in few bytes: in a static array of HMM_PROCESS_HEAP_SIZE bytes,
 * without an environment, reports and an emergency pool, in place of the rest of this folder.
 * With HMM_WITH_LOCKS the functions of hmm_set_lock are called around each operation. Calls
 * lib/api.
 */
#include "heap/heap.h"

#if HMM__SMALL && HMM_WITH_PROCESS

#ifndef HMM_PROCESS_HEAP_SIZE
#define HMM_PROCESS_HEAP_SIZE (16u << 10)
#endif

static _Alignas(HMM_GRANULE) unsigned char small_region[HMM_PROCESS_HEAP_SIZE];
static struct hmm_heap *small_heap;

#if HMM_WITH_LOCKS

static struct {
    void (*enter)(void *arg);
    void (*leave)(void *arg);
    void *arg;
} small_lock;

void hmm_set_lock(void (*enter)(void *arg), void (*leave)(void *arg), void *arg)
{
    small_lock.enter = enter;
    small_lock.leave = leave;
    small_lock.arg = arg;
}

static void small_enter(void)
{
    if (small_lock.enter)
        small_lock.enter(small_lock.arg);
}

static void small_leave(void)
{
    if (small_lock.leave)
        small_lock.leave(small_lock.arg);
}

#else

static void small_enter(void)
{
}

static void small_leave(void)
{
}

#endif

/* Makes the heap if there is none; with the lock. NULL: the array is too small for one. */
static struct hmm_heap *small_heap_made(const struct hmm_strategy *strategy)
{
    if (small_heap == NULL)
        small_heap = hmm_heap_create(small_region, sizeof small_region, strategy);
    return small_heap;
}

int hmm_init(const struct hmm_strategy *strategy)
{
    small_enter();
    int result = small_heap == NULL ? 0 : -1;
    if (result == 0 && small_heap_made(strategy ? strategy : HMM__DEFAULT_STRATEGY) == NULL)
        result = -1;
    small_leave();
    return result;
}

struct hmm_heap *hmm_process_heap(void)
{
    small_enter();
    struct hmm_heap *h = small_heap_made(HMM__DEFAULT_STRATEGY);
    small_leave();
    return h;
}

void *hmm_malloc(size_t size)
{
    small_enter();
    struct hmm_heap *h = small_heap_made(HMM__DEFAULT_STRATEGY);
    void *p = h ? hmm_heap_malloc(h, size) : NULL;
    small_leave();
    return p;
}

void hmm_free(void *block)
{
    small_enter();
    if (small_heap != NULL)
        hmm_heap_free(small_heap, block);
    small_leave();
}

/* The header is read under the lock: another thread may free the block below. */
size_t hmm_usable_size(const void *block)
{
    small_enter();
    size_t usable = small_heap ? hmm_heap_usable_size(small_heap, block) : 0;
    small_leave();
    return usable;
}

#if HMM_WITH_CALLOC
void *hmm_calloc(size_t count, size_t size)
{
    small_enter();
    struct hmm_heap *h = small_heap_made(HMM__DEFAULT_STRATEGY);
    void *p = h ? hmm_heap_calloc(h, count, size) : NULL;
    small_leave();
    return p;
}
#endif

#if HMM_WITH_REALLOC
void *hmm_realloc(void *block, size_t size)
{
    small_enter();
    struct hmm_heap *h = small_heap_made(HMM__DEFAULT_STRATEGY);
    void *p = h ? hmm_heap_realloc(h, block, size) : NULL;
    small_leave();
    return p;
}
#endif

#if HMM_WITH_ALIGNED
void *hmm_aligned_alloc(size_t align, size_t size)
{
    small_enter();
    struct hmm_heap *h = small_heap_made(HMM__DEFAULT_STRATEGY);
    void *p = h ? hmm_heap_aligned_alloc(h, align, size) : NULL;
    small_leave();
    return p;
}
#endif

#endif
