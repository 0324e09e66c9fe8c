/* SPDX-License-Identifier: MIT */
/*
 * The process heap: one heap, made on first use, behind a lock. Where its memory comes from is the
 * region's business: the library has a static array, the preload library asks the system.
 */
#include "heap_memory_manager.h"
#include "lock.h"
#include "region.h"
#include "report.h"

#if HMM_HOSTED
#include <stdlib.h>
#endif

static struct hmm_heap *process_heap;
static struct options process_options;
static struct lock process_lock;

#if HMM_HOSTED
static void report_at_exit(void)
{
    bool taken = lock_take(&process_lock);
    hmm__report_stats(process_heap, process_options.stats);
    lock_give(&process_lock, taken);
}
#endif

/* With the lock held. Returns how many values of the environment were bad. */
static int set_up(const struct hmm_strategy *strategy)
{
    struct options *o = &process_options;
    int bad = hmm__options_read(o, strategy ? strategy : HMM_BEST_FIT, hmm__region_most(),
                                strategy == NULL);
    size_t size = o->heap_size;
    void *region = hmm__region_get(&size);
    struct hmm_heap *h =
        region ? hmm__heap_create(region, size, o->strategy, true, hmm__region_pages) : NULL;
    if (h == NULL)
        return bad;
    hmm_heap_set_check(h, o->check);
    if (o->verbose)
        hmm__report_start(hmm__region_user, h, o);
    __atomic_store_n(&process_heap, h, __ATOMIC_RELEASE);
    return bad;
}

/* Once, without the lock: atexit may allocate. */
static void after_set_up(void)
{
#if HMM_HOSTED
    if (process_options.stats)
        atexit(report_at_exit);
#endif
}

/* A strategy that does not fit, or is malformed, must not leave the program without a heap. */
static HMM__COLD struct hmm_heap *first_use(void)
{
    bool taken = lock_take(&process_lock);
    bool mine = process_heap == NULL;
    if (mine) {
        set_up(NULL);
        if (process_heap == NULL)
            set_up(HMM_BEST_FIT);
        if (process_heap == NULL)
            hmm__panic(hmm__region_user, NULL, "there is no memory for it");
    }
    lock_give(&process_lock, taken);
    if (mine)
        after_set_up();
    return process_heap;
}

HMM__ALWAYS_INLINE struct hmm_heap *the_heap(void)
{
    struct hmm_heap *h = __atomic_load_n(&process_heap, __ATOMIC_ACQUIRE);
    return hmm__likely(h != NULL) ? h : first_use();
}

struct hmm_heap *hmm_process_heap(void)
{
    return the_heap();
}

/* The strategy that a later hmm_init asks for; NULL: the environment's is bad. */
static const struct hmm_strategy *asked_for(const struct hmm_strategy *strategy)
{
    struct options o;
    if (strategy != NULL)
        return strategy;
    return hmm__options_read(&o, HMM_BEST_FIT, hmm__region_most(), true) == 0 ? o.strategy : NULL;
}

int hmm_init(const struct hmm_strategy *strategy)
{
    if (strategy != NULL && !hmm__strategy_is_sound(strategy)) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    int bad = 0, result = 0;
    bool taken = lock_take(&process_lock);
    bool mine = process_heap == NULL;
    if (mine) {
        bad = set_up(strategy);
        if (process_heap == NULL)
            result = -1;
    } else {
        const struct hmm_strategy *s = asked_for(strategy);
        bad = s == NULL;
        result = s ? hmm_heap_set_strategy(process_heap, s) : -1;
    }
    lock_give(&process_lock, taken);
    if (mine && process_heap != NULL)
        after_set_up();
    if (bad) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    return result;
}

void *hmm_malloc(size_t size)
{
    struct hmm_heap *h = the_heap();
    bool taken = lock_take(&process_lock);
    void *p = hmm_heap_malloc(h, size);
    lock_give(&process_lock, taken);
    return p;
}

void *hmm_calloc(size_t count, size_t size)
{
    struct hmm_heap *h = the_heap();
    bool taken = lock_take(&process_lock);
    void *p = hmm_heap_calloc(h, count, size);
    lock_give(&process_lock, taken);
    return p;
}

void *hmm_realloc(void *block, size_t size)
{
    struct hmm_heap *h = the_heap();
    bool taken = lock_take(&process_lock);
    void *p = hmm_heap_realloc(h, block, size);
    lock_give(&process_lock, taken);
    return p;
}

void *hmm_aligned_alloc(size_t align, size_t size)
{
    struct hmm_heap *h = the_heap();
    bool taken = lock_take(&process_lock);
    void *p = hmm_heap_aligned_alloc(h, align, size);
    lock_give(&process_lock, taken);
    return p;
}

void hmm_free(void *block)
{
    if (block == NULL)
        return;
    struct hmm_heap *h = the_heap();
    bool taken = lock_take(&process_lock);
    hmm_heap_free(h, block);
    lock_give(&process_lock, taken);
}

size_t hmm_usable_size(const void *block)
{
    return block ? hmm_heap_usable_size(the_heap(), block) : 0;
}

void *HmmAlloc(size_t size)
{
    return hmm_malloc(size);
}

void HmmFree(void *block)
{
    hmm_free(block);
}
