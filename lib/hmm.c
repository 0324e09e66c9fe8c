/* SPDX-License-Identifier: MIT */
/*
 * The process heap: one heap, made on first use, behind a lock. Where its memory comes from is the
 * region's business: the library has a static array, the preload library asks the system.
 */
#include "front_process.h"
#include "heap_memory_manager.h"
#include "lock.h"
#include "process.h"
#include "refusal.h"
#include "region.h"
#include "report.h"
#include "side.h"
#include "text.h"

#if HMM_HOSTED
#include <stdlib.h>
#endif
#if defined(HMM__THREADS) && (defined(__unix__) || defined(__APPLE__))
#include <pthread.h>
#include <unistd.h>
#define HMM__FORKS 1
#endif

static void free_put_off(void);

static struct hmm_heap *process_heap;
static struct options process_options; /* whoever sets the heap up reads and writes them */
static bool foreign_is_ignored;        /* atomic */
static struct lock process_lock = {.given = free_put_off};
static size_t process_bytes; /* of the region */

enum lock_hold hmm__process_lock(void)
{
    return hmm__lock_insist(&process_lock);
}

void hmm__process_unlock(enum lock_hold hold)
{
    lock_give(&process_lock, hold);
}

bool hmm__process_trim(void)
{
    return trim_front();
}

/* ---- Pointers that are not of the heap ---- */

/* The whole region, blocks or not. */
HMM__ALWAYS_INLINE bool in_region(const struct hmm_heap *h, const void *p)
{
    return (uintptr_t)p - (uintptr_t)h < process_bytes;
}

/* Ends the program, unless that is let pass. */
static HMM__COLD void foreign(struct hmm_heap *h, const void *p, const char *verb)
{
    if (!__atomic_load_n(&foreign_is_ignored, __ATOMIC_RELAXED))
        hmm__misuse(h, p, verb);
    struct text t = {0};
    hmm__text_add(&t, "hmm: ");
    hmm__text_add(&t, verb);
    hmm__text_add(&t, " ");
    hmm__text_hex(&t, (uintptr_t)p);
    hmm__text_add(&t, ": pointer outside the heap, ignored");
    hmm__text_to_stderr(&t);
}

static bool take_stray(struct hmm_heap *h, void *p, const char *verb)
{
    if (in_region(h, p))
        return false;
    if (hmm__side_has(p))
        hmm__side_free(p);
    else
        foreign(h, p, verb);
    return true;
}

/* ---- Setting up ---- */

/* Frees what was freed aside. */
static void free_put_off(void)
{
    hmm__side_free_put_off(hmm_free);
}

#if defined(HMM__FORKS)
static void before_fork(void)
{
    hmm__lock_before_fork(&process_lock);
}

static void after_fork(void)
{
    if (hmm__lock_after_fork(&process_lock))
        free_put_off();
}

static void after_fork_in_child(void)
{
    hmm__lock_in_child(&process_lock);
    hmm__side_after_fork();
    keepers_after_fork();
    after_fork();
}
#endif

/*
 * Before there is a heap: no other thread is to see one whose lock a fork does not take. For ever:
 * fork has no handler for less. pthread_atfork may allocate, and the program's malloc may be ours:
 * that call goes on, sets the heap up and is served. Threads do not wait for each other here, since
 * in the child of a fork the other may not be there any more; handlers that are registered twice do
 * no harm (lock.c counts).
 */
static void watch_forks(void)
{
#if defined(HMM__FORKS) && defined(HMM__THREADS)
    static bool watched;
    if (__atomic_load_n(&watched, __ATOMIC_ACQUIRE) || (hmm__thread_mark & MARK_REGISTERS))
        return;
    hmm__thread_mark |= MARK_REGISTERS;
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
    hmm__thread_mark &= ~(uint32_t)MARK_REGISTERS;
    __atomic_store_n(&watched, true, __ATOMIC_RELEASE);
#endif
}

#if defined(HMM__FORKS)
/* At best before there are threads: a C library may find that there are no handlers, and be about
 * to fork, while the first use registers them. */
static __attribute__((constructor)) void watch_forks_early(void)
{
    watch_forks();
}
#endif

#if HMM_HOSTED
static void report_at_exit(void)
{
    enum lock_hold hold = hmm__process_lock();
    if (hold != LOCK_ASIDE)
        hmm__report_stats(process_heap);
    hmm__process_unlock(hold);
}
#endif

/* The region, or as much of it as the system lets be used. */
static struct hmm_heap *create(const struct options *o)
{
    size_t size = o->heap_size;
    void *region = hmm__region_get(&size);
    struct hmm_heap *h = NULL;
    for (; region != NULL && h == NULL && size != 0; size /= 2) {
        h = hmm__heap_create(region, size, o->strategy, true, hmm__region_pages);
        if (hmm__region_pages == NULL || o->heap_size != 0)
            break;
    }
    return h;
}

/* With the lock held. Returns how many values of the environment were bad. */
static int set_up(const struct hmm_strategy *strategy)
{
    struct options *o = &process_options;
    hmm__lock_set_process(&process_lock);
    int bad = hmm__options_read(o, strategy ? strategy : HMM_BEST_FIT, hmm__region_most(),
                                strategy == NULL);
    struct hmm_heap *h = create(o);
    if (h == NULL)
        return bad;
    __atomic_store_n(&foreign_is_ignored, o->foreign, __ATOMIC_RELAXED);
    watch_threads();
    hmm_heap_set_check(h, o->check);
    h->stray = take_stray;
    process_bytes = (size_t)h->high_limit * HMM_GRANULE;
    if (o->cache && h->watch == 0) /* who watches is to see each block */
        open_front(h, &process_lock);
    size_t side_size;
    char *room = hmm__region_side(&side_size);
    hmm__side_set_up(room, side_size, hmm__region_pages);
    __atomic_store_n(&process_lock.aside, room != NULL, __ATOMIC_RELAXED);
    __atomic_store_n(&process_heap, h, __ATOMIC_RELEASE);
    return bad;
}

/* An environment that was not there at the first use. The region is what it is. */
static int read_late(struct options *o)
{
    int bad = hmm__options_read(o, HMM_BEST_FIT, hmm__region_most(), true);
    __atomic_store_n(&foreign_is_ignored, o->foreign, __ATOMIC_RELAXED);
    enum lock_hold hold = hmm__process_lock();
    if (hold == LOCK_ASIDE)
        return bad + 1;
    hmm_heap_set_check(process_heap, o->check);
    if (!o->cache)
        hmm_heap_set_cache(process_heap, 0);
    if (hmm_heap_set_strategy(process_heap, o->strategy) != 0)
        bad++;
    hmm__process_unlock(hold);
    return bad;
}

/* As hmm_heap_set_strategy; EBUSY: in a handler that interrupted work on the heap. */
static int switch_process_heap(const struct hmm_strategy *strategy)
{
    enum lock_hold hold = hmm__process_lock();
    if (hold == LOCK_ASIDE) {
        hmm__set_errno(EBUSY);
        return -1;
    }
    int result = hmm_heap_set_strategy(process_heap, strategy);
    hmm__process_unlock(hold);
    return result;
}

static int load_plugin(struct options *o)
{
    int bad = hmm__options_plugin(o, hmm_heap_capacity(process_heap));
    return bad != 0 || switch_process_heap(o->strategy) == 0 ? bad : 1;
}

int hmm__process_finish(void)
{
    struct options *o = &process_options;
    int bad = 0;
    if (!o->seen)
        bad += read_late(o);
    if (o->plugin)
        bad += load_plugin(o);
    if (o->verbose) {
        enum lock_hold hold = hmm__process_lock();
        if (hold != LOCK_ASIDE)
            hmm__report_start(hmm__region_user, process_heap, o);
        hmm__process_unlock(hold);
    }
#if HMM_HOSTED
    if (o->stats) {
        hmm__report_place(o->stats);
        atexit(report_at_exit);
    }
#endif
    return bad;
}

/* A strategy that does not fit, or is malformed, must not leave the program without a heap. */
static HMM__COLD struct hmm_heap *first_use(void)
{
    watch_forks();
    enum lock_hold hold = lock_take(&process_lock);
    bool mine = process_heap == NULL;
    if (mine && hold == LOCK_ASIDE)
        hmm__panic(hmm__region_user, NULL, "wanted in a signal handler while it was being made");
    if (mine) {
        set_up(NULL);
        if (process_heap == NULL)
            set_up(HMM_BEST_FIT);
        if (process_heap == NULL)
            hmm__panic(hmm__region_user, NULL, "there is no memory for it");
    }
    lock_give(&process_lock, hold);
    if (mine && !hmm__region_in_two_steps)
        hmm__process_finish();
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
    int bad = hmm__options_read(&o, HMM_BEST_FIT, hmm__region_most(), true);
    bad += hmm__options_plugin(&o, hmm_heap_capacity(process_heap));
    return bad == 0 ? o.strategy : NULL;
}

/* Returns -1 with errno. */
static int init_again(const struct hmm_strategy *strategy)
{
    const struct hmm_strategy *s = asked_for(strategy);
    if (s == NULL) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    return switch_process_heap(s);
}

int hmm_init(const struct hmm_strategy *strategy)
{
    if (strategy != NULL && !hmm__strategy_is_sound(strategy)) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    int bad = 0;
    watch_forks();
    enum lock_hold hold = lock_take(&process_lock);
    bool mine = process_heap == NULL, busy = mine && hold == LOCK_ASIDE;
    if (mine && !busy)
        bad = set_up(strategy);
    bool made = mine && process_heap != NULL;
    lock_give(&process_lock, hold);
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

/* ---- Aside: while the lock is not to be had. ---- */

/* Once, or once for each thread that comes to it at the same time: what cannot be served may be
 * wanted again and again. No exchange, which some processors have only as a call. */
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

/* From the side; where that is used up by waiting all the same. */
static HMM__COLD void *alloc_aside(struct hmm_heap *h, size_t align, size_t size)
{
    void *p = hmm__side_alloc(align, size);
    if (p != NULL)
        return p;
    enum lock_hold hold = hmm__process_lock();
    if (hold == LOCK_ASIDE) {
        say_refused();
        return NULL;
    }
    p = align > HMM_GRANULE ? hmm_heap_aligned_alloc(h, align, size) : hmm_heap_malloc(h, size);
    lock_give(&process_lock, hold);
    return p;
}

static HMM__COLD void *calloc_aside(struct hmm_heap *h, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        hmm__set_errno(ENOMEM);
        return NULL;
    }
    void *p = alloc_aside(h, 1, bytes);
    return p ? memset(p, 0, hmm_usable_size(p)) : NULL;
}

static HMM__COLD void *aligned_aside(struct hmm_heap *h, size_t align, size_t size)
{
    if (align == 0 || (align & (align - 1)) != 0) {
        hmm__set_errno(EINVAL);
        return NULL;
    }
    return alloc_aside(h, align, size);
}

/* A block of the heap's, while the heap may not be touched. */
static HMM__COLD void *realloc_aside(struct hmm_heap *h, void *block, size_t size)
{
    size_t usable = hmm_heap_usable_size(h, block);
    if (size != 0 && size <= usable)
        return block;
    void *p = size ? alloc_aside(h, 1, size) : NULL;
    if (p != NULL)
        memcpy(p, block, usable);
    if (p != NULL || size == 0)
        hmm__side_put_off(block);
    return p;
}

static HMM__COLD void free_aside(struct hmm_heap *h, void *block)
{
    if (!take_stray(h, block, "free"))
        hmm__side_put_off(block);
}

/* A block of the side's goes to the heap, if it must grow. */
static HMM__COLD void *realloc_stray(struct hmm_heap *h, void *block, size_t size)
{
    if (!hmm__side_has(block)) {
        foreign(h, block, "realloc");
        hmm__set_errno(ENOMEM);
        return NULL;
    }
    size_t usable = hmm__side_usable(block);
    if (size != 0 && size <= usable)
        return block;
    void *p = size ? hmm_malloc(size) : NULL;
    if (p != NULL)
        memcpy(p, block, usable);
    if (p != NULL || size == 0)
        hmm__side_free(block);
    return p;
}

/* ---- By way of the heap itself: with the lock ---- */

/* The request is not served. Who asked for statistics is told how the heap lay at the first. */
static HMM__COLD void *refused(const struct hmm_heap *h, size_t size)
{
    if (process_options.stats != NULL)
        hmm__refusal_note(h, size);
    return NULL;
}

static HMM__COLD void *malloc_again(struct hmm_heap *h, size_t size)
{
    void *p = NULL;
    if (size <= HMM_MAX_REQUEST && front_try_again())
        p = hmm_heap_malloc(h, size);
    return p != NULL ? p : refused(h, size);
}

HMM__ALWAYS_INLINE void *malloc_held(struct hmm_heap *h, size_t size)
{
    void *p = take_kept(size);
    if (p == NULL)
        p = hmm_heap_malloc(h, size);
    return hmm__likely(p != NULL) ? p : malloc_again(h, size);
}

static __attribute__((noinline)) void *malloc_locked(struct hmm_heap *h, size_t size)
{
    enum lock_hold hold = lock_take(&process_lock);
    if (hmm__unlikely(hold == LOCK_ASIDE))
        return alloc_aside(h, 1, size);
    void *p = malloc_held(h, size);
    lock_give(&process_lock, hold);
    return p;
}

/* While there is one thread only, nothing is to be done afterwards: fewer registers. */
HMM__ALWAYS_INLINE void *malloc_of_heap(struct hmm_heap *h, size_t size)
{
    return lock_is_idle() ? malloc_held(h, size) : malloc_locked(h, size);
}

static void *calloc_of_heap(struct hmm_heap *h, size_t count, size_t size)
{
    enum lock_hold hold = lock_take(&process_lock);
    if (hmm__unlikely(hold == LOCK_ASIDE))
        return calloc_aside(h, count, size);
    void *p = size == 1 ? take_kept(count) : NULL;
    p = p ? memset(p, 0, hmm_heap_usable_size(h, p)) : hmm_heap_calloc(h, count, size);
    if (hmm__unlikely(p == NULL) && size == 1 && count <= HMM_MAX_REQUEST && front_try_again())
        p = hmm_heap_calloc(h, count, size);
    if (hmm__unlikely(p == NULL))
        refused(h, size == 1 ? count : SIZE_MAX);
    lock_give(&process_lock, hold);
    return p;
}

static void *realloc_of_heap(struct hmm_heap *h, void *block, size_t size)
{
    enum lock_hold hold = lock_take(&process_lock);
    if (hmm__unlikely(hold == LOCK_ASIDE))
        return realloc_aside(h, block, size);
    void *p = hmm_heap_realloc(h, block, size);
    if (hmm__unlikely(p == NULL) && size - 1 < HMM_MAX_REQUEST && front_try_again())
        p = hmm_heap_realloc(h, block, size);
    if (hmm__unlikely(p == NULL) && size != 0)
        refused(h, size);
    lock_give(&process_lock, hold);
    return p;
}

static void *aligned_of_heap(struct hmm_heap *h, size_t align, size_t size)
{
    enum lock_hold hold = lock_take(&process_lock);
    if (hmm__unlikely(hold == LOCK_ASIDE))
        return aligned_aside(h, align, size);
    void *p = hmm_heap_aligned_alloc(h, align, size);
    if (hmm__unlikely(p == NULL) && hmm__aligned_can_be(align, size) && front_try_again())
        p = hmm_heap_aligned_alloc(h, align, size);
    if (hmm__unlikely(p == NULL) && hmm__aligned_can_be(align, size))
        refused(h, size);
    lock_give(&process_lock, hold);
    return p;
}

HMM__ALWAYS_INLINE void free_held(struct hmm_heap *h, void *block)
{
    if (!keep(block))
        hmm_heap_free(h, block);
}

static __attribute__((noinline)) void free_locked(struct hmm_heap *h, void *block)
{
    enum lock_hold hold = lock_take(&process_lock);
    if (hmm__unlikely(hold == LOCK_ASIDE)) {
        free_aside(h, block);
        return;
    }
    free_held(h, block);
    lock_give(&process_lock, hold);
}

HMM__ALWAYS_INLINE void free_of_heap(struct hmm_heap *h, void *block)
{
    if (lock_is_idle())
        free_held(h, block);
    else
        free_locked(h, block);
}

/* ---- By way of the front, where there is one ---- */

/* The chain for this size is empty, or there is none. */
static __attribute__((noinline)) void *malloc_missed(size_t size)
{
    struct hmm_heap *h = the_heap();
    void *p = size <= FRONT_MOST ? malloc_from_run(size) : NULL;
    return p ? p : malloc_of_heap(h, size);
}

static __attribute__((noinline)) void free_missed(void *block)
{
    if (block == NULL)
        return;
    struct hmm_heap *h = the_heap();
    if (!free_in_run(block))
        free_of_heap(h, block);
}

/* There is no better place for the object: it stays, and nothing has failed. */
static HMM__COLD void *stay(void *object)
{
    enum lock_hold hold = lock_take(&process_lock);
    if (hold != LOCK_ASIDE)
        process_heap->failed--;
    lock_give(&process_lock, hold);
    return object;
}

/* An object of `usable` bytes, in which the size does not fit, or of which it is less than half. */
static void *move_object(void *block, size_t usable, size_t size)
{
    void *p = size ? hmm_malloc(size) : NULL;
    if (p == NULL && size != 0)
        return size <= usable ? stay(block) : NULL;
    if (p != NULL)
        memcpy(p, block, size < usable ? size : usable);
    hmm_free(block);
    return p;
}

/* ---- The doors ---- */

void *hmm_malloc(size_t size)
{
    void *p = malloc_hit(size);
    return hmm__likely(p != NULL) ? p : malloc_missed(size);
}

void *hmm_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (hmm__unlikely(__builtin_mul_overflow(count, size, &bytes)))
        return calloc_of_heap(the_heap(), count, size);
    if (hmm__unlikely(bytes > FRONT_MOST))
        return calloc_of_heap(the_heap(), bytes, 1);
    void *p = hmm_malloc(bytes);
    return p ? memset(p, 0, hmm_usable_size(p)) : NULL;
}

static __attribute__((noinline)) void *realloc_missed(void *block, size_t size)
{
    if (block == NULL)
        return hmm_malloc(size);
    struct hmm_heap *h = the_heap();
    size_t usable = usable_in_run(block, "realloc");
    if (usable != 0)
        return size <= usable && size > usable / 2 ? block : move_object(block, usable, size);
    if (hmm__unlikely(!in_region(h, block)))
        return realloc_stray(h, block, size);
    return realloc_of_heap(h, block, size);
}

void *hmm_realloc(void *block, size_t size)
{
    void *p = realloc_hit(block, size);
    return hmm__likely(p != NULL) ? p : realloc_missed(block, size);
}

void *hmm_aligned_alloc(size_t align, size_t size)
{
    if (align != 0 && align <= HMM_GRANULE && (align & (align - 1)) == 0)
        return hmm_malloc(size);
    return aligned_of_heap(the_heap(), align, size);
}

void hmm_free(void *block)
{
    if (hmm__unlikely(!free_hit(block)))
        free_missed(block);
}

size_t hmm_usable_size(const void *block)
{
    if (block == NULL)
        return 0;
    struct hmm_heap *h = the_heap();
    size_t usable = usable_in_run(block, "usable size of");
    if (usable != 0)
        return usable;
    if (hmm__likely(in_region(h, block)))
        return hmm_heap_usable_size(h, block);
    if (hmm__side_has(block))
        return hmm__side_usable(block);
    foreign(h, block, "usable size of");
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
