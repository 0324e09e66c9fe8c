/* SPDX-License-Identifier: MIT */
/*
 * Setting up the process heap: on first use or by hmm_init, with options from the environment, in
 * the memory of region.h. Calls all of lib/process and lib/api.
 */
#include "process/process.h"

#include "api/api.h"
#include "api/hooks.h"
#include "base/text.h"
#include "process/emergency.h"
#include "process/env.h"
#include "process/huge.h"
#include "process/process_cache.h"
#include "process/refusal.h"
#include "process/region.h"
#include "process/report.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

#if HMM_HOSTED
#include <stdlib.h>
#endif

struct process_heap hmm__process = {
    .lock = {.released = hmm__process_free_deferred}, .until_tick = 1, .ticker = {.frees = 1}};

#if HMM__CACHE
struct cache hmm__process_cache;
#endif

static struct options process_options; /* used only by the thread that sets the heap up */

enum lock_hold hmm__process_lock(void)
{
    return hmm__lock_acquire_blocking(&hmm__process.lock);
}

void hmm__process_unlock(enum lock_hold hold)
{
    lock_release(&hmm__process.lock, hold);
}

void hmm__process_tick(struct hmm_heap *h)
{
    struct process_heap *p = &hmm__process;
    p->until_tick = HMM__TICK_FREES;
    if (h->page_source == NULL)
        return;
    hmm__tick(h);
    uint16_t next = hmm__ticker_next(&p->ticker, h);
    p->until_tick = collect_late() || hmm__decommit_is_due(h) ? 1 : next;
}

#if HMM_WITH_STATS

void hmm__process_stats(struct hmm_stats *stats)
{
    size_t medium = medium_bytes();
    hmm__stats(hmm__process.heap, stats);
    stats->live_bytes -= medium;
    stats->free_bytes += medium;
}

#endif

bool hmm__process_trim(void)
{
    return trim_cache();
}

void hmm__process_free_deferred(void)
{
    hmm__emergency_free_deferred(hmm_free);
}

#if HMM_HOSTED
static void report_at_exit(void)
{
    enum lock_hold hold = hmm__process_lock();
    if (hold != LOCK_UNAVAILABLE)
        hmm__report_stats(hmm__process.heap);
    hmm__process_unlock(hold);
}
#endif

/* A limit that was asked for is said when it is reached: programs seldom say more than that there
 * is no memory. */
static void on_refusal(const struct hmm_heap *h, size_t size)
{
    if (process_options.stats)
        hmm__refusal_note(h, size);
    if (process_options.heap_size != 0)
        hmm__refusal_say(size, process_options.heap_size);
}

/* Makes a heap in the region, or in as much of it as the system commits. */
static struct hmm_heap *create(const struct options *o)
{
    size_t size = o->heap_size;
    void *region = hmm__region_get(&size);
    struct hmm_heap *h = NULL;
    for (; region != NULL && h == NULL && size != 0; size /= 2) {
        h = hmm__heap_create(region, size, o->strategy, true, hmm__region_page_source);
        if (hmm__region_page_source == NULL || o->heap_size != 0)
            break;
    }
    return h;
}

#if HMM__HOOKS
/* Hooks are set: no thread gets a thread cache any more, and the calling thread gives its own
 * back. */
static void close_process_cache(void)
{
    enum lock_hold hold = hmm__process_lock();
    if (hold == LOCK_UNAVAILABLE)
        return;
    hmm_heap_set_cache(hmm__process.heap, 0);
    hmm__process_unlock(hold);
    leave_thread_cache();
}
#endif

static void open_process_cache(struct hmm_heap *h)
{
    open_cache(h, &hmm__process.lock);
#if HMM__HOOKS
    hmm__hooks_close_cache = close_process_cache;
#endif
}

/* With the lock. Returns the number of bad values in the environment. */
static int set_up(const struct hmm_strategy *strategy)
{
    struct options *o = &process_options;
    HMM_ASSERT(hmm__process.heap == NULL && lock_is_held(&hmm__process.lock));
    hmm__lock_set_process(&hmm__process.lock);
    int bad = hmm__options_read(o, strategy ? strategy : HMM__DEFAULT_STRATEGY, hmm__region_max(),
                                strategy == NULL);
    struct hmm_heap *h = create(o);
    if (h == NULL)
        return bad;
    hmm__foreign_set_ignored(o->foreign);
    notice_thread_ends();
    hmm_heap_set_check(h, o->check);
    h->foreign = hmm__foreign_free;
    hmm__huge_set_up(h, o->heap_size != 0);
    hmm__process.region_bytes = region_bytes(h);
    h->release_after = o->release;
    if (o->heap_size != 0)
        h->refused = on_refusal;
    /* Checks need each block in the heap itself, and hooks each call. */
    if (o->cache && h->check_flags == 0 && !hooks_are_set())
        open_process_cache(h);
    size_t pool_size;
    char *room = hmm__region_emergency(&pool_size);
    hmm__emergency_set_up(room, pool_size, hmm__region_pool_source);
    __atomic_store_n(&hmm__process.lock.has_emergency_pool, room != NULL, __ATOMIC_RELAXED);
    __atomic_store_n(&hmm__process.heap, h, __ATOMIC_RELEASE);
    return bad;
}

/* Reads the environment, which did not exist at the first use. The region's size stays. */
static int read_late(struct options *o)
{
    int bad = hmm__options_read(o, HMM__DEFAULT_STRATEGY, hmm__region_max(), true);
    hmm__foreign_set_ignored(o->foreign);
    enum lock_hold hold = hmm__process_lock();
    if (hold == LOCK_UNAVAILABLE)
        return bad + 1;
    hmm_heap_set_check(hmm__process.heap, o->check);
    hmm__process.heap->release_after = o->release;
    if (!o->cache)
        hmm_heap_set_cache(hmm__process.heap, 0);
    if (hmm_heap_set_strategy(hmm__process.heap, o->strategy) != 0)
        bad++;
    hmm__process_unlock(hold);
    return bad;
}

/* As hmm_heap_set_strategy; EBUSY: a handler interrupted an operation on the heap. */
static int switch_process_heap(const struct hmm_strategy *strategy)
{
    enum lock_hold hold = hmm__process_lock();
    if (hold == LOCK_UNAVAILABLE) {
        hmm__set_errno(EBUSY);
        return -1;
    }
    int result = hmm_heap_set_strategy(hmm__process.heap, strategy);
    hmm__process_unlock(hold);
    return result;
}

static int load_plugin(struct options *o)
{
    int bad = hmm__options_plugin(o, hmm_heap_capacity(hmm__process.heap));
    return bad != 0 || switch_process_heap(o->strategy) == 0 ? bad : 1;
}

int hmm__process_finish(void)
{
    struct options *o = &process_options;
    int bad = 0;
    if (!o->had_environment)
        bad += read_late(o);
    if (o->plugin)
        bad += load_plugin(o);
    if (o->verbose) {
        hmm__options_misspelt();
        enum lock_hold hold = hmm__process_lock();
        if (hold != LOCK_UNAVAILABLE)
            hmm__report_start(hmm__region_user, hmm__process.heap, o);
        hmm__process_unlock(hold);
    }
#if HMM_HOSTED
    if (o->stats) {
        hmm__report_place(o->stats);
        hmm__process.heap->refused = on_refusal;
        atexit(report_at_exit);
    }
#endif
    return bad;
}

/* If the environment's strategy does not fit or is malformed, the heap has best fit. */
struct hmm_heap *hmm__process_first_use(void)
{
    hmm__process_handle_forks();
    enum lock_hold hold = lock_acquire(&hmm__process.lock);
    hmm__hooks_begin();
    bool mine = hmm__process.heap == NULL;
    if (mine && hold == LOCK_UNAVAILABLE)
        hmm__panic(hmm__region_user, NULL, "wanted in a signal handler while it was being made");
    if (mine) {
        set_up(NULL);
        if (hmm__process.heap == NULL)
            set_up(HMM__DEFAULT_STRATEGY);
        if (hmm__process.heap == NULL)
            hmm__panic(hmm__region_user, NULL, "there is no memory for it");
    }
    hmm__hooks_end();
    lock_release(&hmm__process.lock, hold);
    if (mine && !hmm__region_in_two_steps)
        hmm__process_finish();
    return hmm__process.heap;
}

struct hmm_heap *hmm_process_heap(void)
{
    return the_heap();
}

/* The strategy for a later hmm_init; NULL: the environment has a bad value. */
static const struct hmm_strategy *strategy_or_default(const struct hmm_strategy *strategy)
{
    struct options o;
    if (strategy != NULL)
        return strategy;
    int bad = hmm__options_read(&o, HMM__DEFAULT_STRATEGY, hmm__region_max(), true);
    /* The region stays as it is; the capacity may not, while another thread switches. */
    bad += hmm__options_plugin(&o, (size_t)hmm__process.heap->region * HMM_GRANULE);
    return bad == 0 ? o.strategy : NULL;
}

/* Returns -1 with errno. */
static int init_again(const struct hmm_strategy *strategy)
{
    const struct hmm_strategy *s = strategy_or_default(strategy);
    if (s == NULL) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    return switch_process_heap(s);
}

int hmm_init(const struct hmm_strategy *strategy)
{
    if (strategy != NULL && !hmm__strategy_is_valid(strategy)) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    int bad = 0;
    hmm__process_handle_forks();
    enum lock_hold hold = lock_acquire(&hmm__process.lock);
    hmm__hooks_begin();
    bool mine = hmm__process.heap == NULL, busy = mine && hold == LOCK_UNAVAILABLE;
    if (mine && !busy)
        bad = set_up(strategy);
    bool made = mine && hmm__process.heap != NULL;
    hmm__hooks_end();
    lock_release(&hmm__process.lock, hold);
    if (!mine)
        return init_again(strategy);
    if (busy)
        hmm__set_errno(EBUSY);
    if (!made)
        return -1;
    bad += hmm__process_finish();
    if (bad == 0)
        return 0;
    hmm__set_errno(EINVAL);
    return -1;
}

#endif
