/* SPDX-License-Identifier: MIT */
/*
 * The cache: structures, theory and invariants. It serves small blocks without headers, in front of
 * any strategy. The files of lib/cache call the heap (lib/heap) and lib/base; the heap calls the
 * cache only through hmm_heap.reclaim and hmm_heap.reserve, which the cache sets.
 *
 * THEORY
 *
 * Small requests are served from runs (tcmalloc: span; jemalloc: slab; mimalloc: page). A run is an
 * ordinary used block of the heap, placed by the strategy. Its payload begins on a page of 1 KiB
 * and is some pages long, less the 4 bytes of the next block's header: so runs abut, merge when
 * they are returned, and compete with large blocks for the same holes. A run is divided into
 * objects of one size class.
 *
 *     | run: object | object | ... | not yet carved | rest |
 *
 * Every run has a descriptor (struct run), and every page an entry in the page map that leads to
 * the descriptor. Both lie around the address `table`, at the region's high end or in memory of
 * their own (tables.c), and not in the runs: if each run began with its descriptor, those of all
 * runs would fall into the same few sets of the processor's cache.
 *
 *     region: | control | blocks ... | free | thread caches, descriptors | no run | page map |
 *                                            <- grows                    ^ table
 *
 * An entry is the distance in bytes of the descriptor from the table. Entry 0 leads to the
 * descriptor `no run` at the table itself, which no thread owns. So one comparison of the owner
 * tells an object of this thread from ordinary blocks and from objects of other threads.
 *
 * A thread has a thread cache (mimalloc: heap; jemalloc: tcache). For each class it has a free list
 * from which malloc pops, one active run, whose free objects are those of the free list, and a
 * queue of runs with free objects. free pushes an object to the list that its run names: the thread
 * cache's free list, or the run's own. It decrements the run's countdown, the number of frees until
 * an event. The event depends on the run's state:
 *
 *     FULL     no object is free. The first free makes it PARTIAL.
 *     PARTIAL  some are free. When only a quarter is in use, other threads may be given the run
 *              (see the pool). When all are free, the run is empty and goes back to the heap; but
 *              empty runs up to a 32nd of the heap, shared among the thread caches, stay until the
 *              break would have to rise.
 *     ACTIVE   its free objects are in the thread cache's free list, unless that holds other
 *              threads' objects (see below). It is the active run or has been: one whose objects
 *              are all in use stays ACTIVE while the class has few such pages (`joined`), so that
 *              small classes have no events. There is no event when all are free, since they will
 *              be requested again; the countdown only tells when to read the clock (tick.h).
 *     CLAIMED  another thread may be about to return it to the heap.
 *     SPLIT    few of its objects are in use; what is between them is the heap's again (split.c).
 *     RETIRED  it has gone back to the heap; its descriptor is still in the queue.
 *
 * So neither malloc nor free tests a state or takes a lock unless the free list is empty or the
 * countdown is 0. An empty free list is refilled (refill.c) from the first of these that has
 * objects: what was put aside of it, while calls were rare (tick.h); the remote frees, the uncarved
 * part of the active run, the oldest run of the queue, a run of the pool, a new run.
 *
 * A free object has a tag behind its link: the key of the state that it is in, 64 secret bits. free
 * writes it and does not read it, since to wait for the object's cache line is what a free takes
 * longest for. malloc reads the line anyway, and returns no object without the tag, which it
 * clears. So an object that was freed twice is returned once, and reported when its turn comes
 * again; at once, if it was the last that was freed. Before a run goes back to the heap each of its
 * objects must have the tag. A link that was written over leads malloc to no tag, whatever it leads
 * to. So that malloc makes one test, a list ends with an object that never has a tag. free also
 * checks that the pointer is an object's: the distance to the last object that was carved must be a
 * multiple of the size, and not below 0, which one multiplication tells. So a stale pointer to what
 * is not carved yet, or to the rest behind the last object, is refused as one into an object is.
 *
 * A program's own data must never pass for a tag, whatever it leaves unwritten or writes in part.
 * So each state in which memory is free has its own key: free in its run, sent (freed by another
 * thread, not yet with its owner), medium. The keys are secret words (base/secret.h), unrelated,
 * and different in each cache: other data equal a tag with a probability of 2^-63 for each free, on
 * 32 bits as well. Memory that malloc returns has no tag in it: malloc clears the tag of the object
 * or medium block that it returns, and all tags of a run are cleared when the run goes back to the
 * heap. So a tag need not depend on the object's address: who copies one reads what he has freed.
 * An object that its owner frees while it is sent is found when it is collected, since its tag has
 * changed.
 *
 * A thread that frees another's object keeps it for its own next request (glibc, tcmalloc: their
 * caches do), if it requests such objects: a list a class, of at most 8 KiB, behind the thread's
 * own lock. A refill takes such a list before anything else; until the free list is empty again, it
 * is not the active run's, whose objects are freed to its own list meanwhile. The object stays its
 * run's, where it counts as in use. So threads that exchange objects need not send each home and
 * have it back. What a thread does not request goes to the owner's list of remote frees, and so
 * does all of a class of which there is too much. Any thread pushes to that, a batch of objects by
 * one atomic operation. The owner takes all of it off at once, and returns the objects to their
 * runs in portions, so that no request takes long: what is left of them is `pending`, where the
 * reclaimer finds it. Before a request fails the thread that makes it takes back, with the heap's
 * lock, all runs of which no object is in use, from all threads (reclaim.c has the theory); so a
 * run's state and countdown are atomic.
 *
 * When a thread ends, its thread cache is abandoned: the next new thread takes it over, with its
 * runs; until then other threads may take runs from it. If there are a few of them already, the
 * queued runs go to the pool instead, a thread cache that no thread has, where any thread that
 * wants a run of a class finds the oldest at once, however many threads there were; the FULL runs
 * follow when an object of them is free. Where there are several threads, each gives the pool
 * queued runs of which at most a quarter is in use, but for one of each class: what a thread has
 * had and does not use is not to wait for its next job. Who frees an object of a thread cache
 * without a thread collects the remote frees itself, with the lock.
 *
 * After a fork the child cannot know what the other threads were about to do: their thread caches
 * are orphaned. Their runs come back when they are empty; else their objects are never reused. A
 * signal handler may fork. It may not allocate, as in every standard: it may have interrupted a
 * change of a free list.
 *
 * Before the break rises, runs that have been queued and of which at most half is in use are split,
 * where that gives back a 32nd of what runs have, and after them those of which a quarter is free;
 * before a request fails, all that have free objects. As long as runs are split, and the holes of
 * the heap are more than a 16th of what runs have, or were just made, a request for which there is
 * no run is served from a hole, as a block of the heap, before a new run raises the break. So a
 * program that works in phases of other sizes has the memory between what it keeps. What it has in
 * large blocks, and may never touch, makes no difference.
 *
 * The size of a new run follows its class: half of the pages that the class has, at least four
 * objects and 4 KiB, at most 32 KiB and the thread's share of a 32nd of the heap. The first one has
 * room for two objects.
 * The first requests of a class, up to 512 bytes in sum a thread (of 8 at most), get no run.
 *
 * Sources: the descriptors and the page map are those of size-segregated allocators since Phkmalloc
 * (Kamp, 1998); the list of remote frees is a Treiber stack (1986); free lists of a run and the
 * countdown to the next event resemble mimalloc's (Leijen, Zorn, de Moura, 2019); Lemire, Kaser,
 * Kurz (2019, "Faster remainder by direct computation") for the division.
 *
 * INVARIANTS
 * F1  The page map leads from each page of a run to its descriptor, and from all other pages to no
 *     run.
 *
 * F2  An object is free iff it has a tag. The free objects of a run are in its own list or, if it
 *     is ACTIVE, in the thread cache's free list or in `later`, and have the tag `free`. Objects in
 *     a list of remote frees, pending or not, in a remote batch or kept by another thread have the
 *     tag `sent` and count as in use; so do those in the free list of a thread that has kept them,
 *     but their tag is `free`.
 *
 * F3  The countdown of a FULL run is 1; that of a PARTIAL run, and `below`, are together the number
 *     of objects in use.
 *
 * F4  A queue holds PARTIAL runs of its thread cache, and RETIRED descriptors. A queued run that is
 *     empty is counted as empty; empty_pages is the sum of the pages of those that are, until the
 *     owner unlinks them. No run is CLAIMED while the lock is free.
 *
 * F5 is in medium.h, F6, of SPLIT runs, in split.c. F1 to F4 are of the others.
 */
#ifndef HMM_CACHE_H
#define HMM_CACHE_H

#include "base/assert.h"
#include "base/lock.h"
#include "heap/block.h"

#if HMM__CACHE

#define CACHE_PAGE_LOG 10u
#define CACHE_PAGE ((size_t)1 << CACHE_PAGE_LOG)
#define CACHE_OBJECT_MAX 1024u /* the largest object */
#define CACHE_CLASSES 32u
#define CACHE_COPY_MAX 128u /* bytes that are copied in place, by 16 */
#define REMOTE_BATCH 16u    /* objects that are sent to another thread together */
#define MEDIUM_CLASSES 48u  /* free lists of medium blocks */

_Static_assert(CACHE_PAGE % HMM_GRANULE == 0, "a page is whole granules");
_Static_assert(16u << (CACHE_CLASSES / 8 + 2) == CACHE_OBJECT_MAX, "the last class is the largest");
_Static_assert(CACHE_CLASSES % 8 == 0 && CACHE_CLASSES <= UINT8_MAX, "run.class has 8 bits");
_Static_assert(CACHE_OBJECT_MAX <= CACHE_PAGE, "a run of two objects has few pages");
_Static_assert(CACHE_CLASSES <= 32, "thread_cache.reuses has a bit for each class");
_Static_assert(MEDIUM_CLASSES < 64, "medium_cache.listed and varied have a bit for each class");

enum run_state { RUN_FULL, RUN_PARTIAL, RUN_ACTIVE, RUN_CLAIMED, RUN_SPLIT, RUN_RETIRED };

struct HMM__MAY_ALIAS object {
    struct object *next;
    uint64_t tag;
};

_Static_assert(sizeof(struct object) <= 16, "link and tag fit the smallest class");

/* Where each free list ends, and what the head of an empty one leads to: it has no tag. So malloc
 * learns by one comparison that it may return the object that the head leads to. */
extern HMM__HIDDEN const struct object hmm__no_object;
#define NO_OBJECT ((struct object *)(uintptr_t)&hmm__no_object)

/* The keys of a cache's tags. All are odd: no tag is a pointer to a block. */
struct tag_keys {
    uint64_t free, sent, medium;
};

/* A descriptor has 32 bytes. A thread makes a whole batch of them, so that no cache line has
 * descriptors of two threads. Behind the descriptors of a batch are their run_rests. */
#define RUN_BATCH_BYTES 512u
#define RUN_BATCH (RUN_BATCH_BYTES / (sizeof(struct run) + sizeof(struct run_rest)))

struct run {
    union {
        struct {
            struct object *free;  /* its own free list */
            struct object **list; /* the head of the list that free pushes its objects to */
        };
        uintptr_t in_use[2]; /* SPLIT: a bit for each object (split.c) */
    };
    uint32_t owner;     /* the low half of its thread cache's address; atomic */
    uint16_t countdown; /* atomic */
    uint8_t class;
    uint8_t state;    /* of enum run_state; atomic */
    uint32_t last;    /* the low half of the address of the last object so far; atomic */
    uint32_t inverse; /* the first number above 2^32 divided by the size */
#if UINTPTR_MAX <= UINT32_MAX
    uint32_t unused[2];
#endif
};

#define RUN_WHERE_PAGES 64u

/* The part of a descriptor that the fast path does not read. */
struct run_rest {
    int32_t link;       /* the next in a list, as an entry of the page map; 0: none. SPLIT: a list
                           of descriptors with the bits */
    uint32_t where;     /* the page in which its first object is, times 64, and those of the class
                           that are still counted for it: run_start, run_pages. Atomic */
    uint16_t count;     /* objects in all */
    uint16_t below;     /* objects in use at the event of the countdown; atomic. SPLIT: objects in
                           use */
    uint16_t in_hand;   /* objects that the reclaimer holds; 0 without the lock */
    bool counted_empty; /* its pages are in empty_pages */
    bool all_carved;
};

_Static_assert(sizeof(struct run) == 32, "two descriptors fill a cache line");
_Static_assert(sizeof(struct run_rest) == 16, "a batch has ten of both");
_Static_assert((uint64_t)UINT32_MAX *HMM_GRANULE >> CACHE_PAGE_LOG <= UINT32_MAX / RUN_WHERE_PAGES,
               "run_rest.where has room for the page");
_Static_assert(RUN_RETIRED <= UINT8_MAX, "run.state has 8 bits");
_Static_assert(RUN_BATCH_BYTES % 64 == 0 && (RUN_BATCH_BYTES & (RUN_BATCH_BYTES - 1)) == 0,
               "a batch is whole cache lines, and run_rest finds its start by a mask");
_Static_assert(RUN_BATCH *(sizeof(struct run) + sizeof(struct run_rest)) <= RUN_BATCH_BYTES,
               "a batch holds the rests too");

/* What a thread cache has of a class, besides its free list and active run. */
struct size_class {
    int32_t oldest, newest; /* the ends of the queue, as entries of the page map */
    uint32_t pages;         /* of all its runs */
    uint32_t tries;         /* requests before it had a run */
    uint32_t declines;      /* runs that were FULL and are not, since one was wanted */
    int32_t joined;         /* runs that are ACTIVE besides the active one */
    uint32_t joined_pages;
    uint32_t direct; /* so many requests are for the heap's holes, before a run is thought of */
};

/* Objects of other threads, before they are kept or pushed to their remote frees. */
struct remote_batch {
    struct object *first;
    uint32_t count;
};

/* Objects of other threads that the thread keeps for its own requests. Behind its lock. */
struct foreign_lists {
    struct object *list[CACHE_CLASSES]; /* atomic: the thread reads it without the lock */
    uint8_t count[CACHE_CLASSES];
};

/* Of a thread: medium.h. Behind its lock, but for `counted`. */
struct medium_cache {
    struct object *list[MEDIUM_CLASSES + 1]; /* atomic: read without the lock; the last is NULL */
    uint32_t count[MEDIUM_CLASSES];
    size_t bytes;     /* of all blocks; atomic */
    size_t bytes_max; /* where it is too much */
    size_t bytes_min; /* the least since they were looked at */
    size_t unused;    /* of them, to go back; atomic */
    size_t counted;   /* as cache.medium_bytes has it; with the heap's lock */
    uint64_t listed;  /* classes that may have blocks; others have none */
    unsigned clock_hand;
    unsigned classes; /* those that it may have blocks of */
    uint64_t varied;  /* classes of which requests differ: the first block was too small for one */
};

enum thread_cache_state { THREAD_CACHE_IN_USE, THREAD_CACHE_ABANDONED, THREAD_CACHE_ORPHANED };

struct thread_cache {
    struct object *free_list[CACHE_CLASSES];
    struct run *active[CACHE_CLASSES];
    uint64_t key; /* of the tag of free objects, as the cache has it */
    uint8_t class_of[CACHE_OBJECT_MAX + 1];
    struct cache *cache;
    struct thread_cache *next; /* in the list of all thread caches */
    struct thread_cache *next_abandoned;
    bool emptied;             /* abandoned, and what it can spare is the pool's; with the lock */
    int state;                /* of enum thread_cache_state; atomic */
    int32_t unused;           /* the list of unused descriptors, as an entry of the page map */
    uint32_t empty_pages;     /* F4 */
    uint32_t empty_pages_max; /* of those that stay */
    struct remote_batch batch;
    uint32_t lock;   /* the thread's own: medium blocks and foreign objects */
    uint32_t reuses; /* a bit for each class that the thread has requested */
    struct foreign_lists foreign;
    struct size_class classes[CACHE_CLASSES];
    struct object *later[CACHE_CLASSES]; /* of free lists, what a refill takes first (tick.h) */
    struct object *pending; /* remote frees that were taken off and not returned yet; atomic */
    struct medium_cache medium;
    struct hmm__ticker ticker;
    int32_t until_tick;  /* calls until the clock is read (tick.h) */
    uint16_t refill_max; /* objects that a refill puts into a free list; others are for later */
    int32_t reclaimed;   /* FULL runs that were reclaimed: their descriptors; with the lock */
    _Alignas(64) struct object *remote_frees; /* atomic; other threads write this line only */
};

_Static_assert(offsetof(struct thread_cache, free_list) == 0, "malloc needs no offset for it");
_Static_assert(offsetof(struct thread_cache, cache) <=
                   2 * CACHE_CLASSES * sizeof(void *) + CACHE_OBJECT_MAX + 16,
               "free lists, active runs and class_of are the hot part, without gaps");
_Static_assert(offsetof(struct thread_cache, remote_frees) % 64 == 0 &&
                   sizeof(struct thread_cache) - offsetof(struct thread_cache, remote_frees) == 64,
               "remote_frees has a cache line of its own");

struct cache {
    uintptr_t base; /* of page 0, in which the heap's first block begins; atomic */
    size_t pages;   /* all runs lie in pages below this one; atomic */
    char *table;
    struct tag_keys keys;
    struct thread_cache *thread_cache; /* without threads the only one; else of the first thread */
    struct hmm_heap *heap;
    struct lock *lock; /* NULL: the cache of an own heap, which has no threads */
    const struct cache_place *place;
    const struct hmm__page_source *source; /* what commits the tables; NULL: they are */
    char *low;                             /* the tables begin here */
    char *lowest;                          /* in own memory: and never below this */
    char *first_low;                       /* before there were descriptors; NULL: these stay */
    char *low_committed;                   /* they are committed from here on */
    char *end;                             /* and end here */
    size_t map_committed;                  /* entries of the page map, committed and cleared */
    size_t map_max;                        /* and those that there is room for */
    struct thread_cache *thread_caches;
    struct thread_cache *abandoned; /* for new threads, with their runs; a few */
    struct thread_cache *emptied;   /* for new threads, with FULL runs only */
    uint32_t abandoned_count;       /* of `abandoned` */
    struct thread_cache *pool;      /* owns what ended threads had; NULL without threads */
    uint32_t in_use;                /* how many thread caches have a thread */
    bool open;           /* else no runs are made, and frees of medium blocks reach the heap */
    size_t run_bytes;    /* of all runs; of SPLIT ones what is in use */
    size_t medium_bytes; /* of all threads, as far as they are counted */
    size_t idle_page;    /* where to go on looking for empty runs of others */
    struct thread_cache *idle_thread; /* and for their medium blocks; NULL: all were looked at */
    hmm_ref idle_brk;                 /* the break when nothing was found, */
    uint32_t idle_holes;              /* and the free granules */
    uint64_t aged_at;                 /* when medium blocks that are not needed were looked for */
    bool has_unused;                  /* some medium_cache.unused is not 0 */
    bool was_split;                   /* some run, ever */
    bool splits;                      /* runs are split, and holes filled before a run is made */
    hmm_ref survey_brk;               /* where it is decided anew */
    hmm_ref split_brk;                /* the break when runs were split last, */
    uint32_t split_holes;             /* and the free granules after it; 0: none was */
    size_t split_rest;                /* bytes that the step is to free yet */
    unsigned split_class;             /* where to go on */
};

/* Reads, or writes, a word of at most pointer size that another thread may access at the same time.
 * It is a relaxed atomic read under ThreadSanitizer, and a plain aligned read elsewhere, which
 * every supported processor makes in one access: compilers do not fold an atomic read into the
 * comparison that uses it. */
#if HMM__TSAN
#define CACHE_READ(of) __atomic_load_n(&(of), __ATOMIC_RELAXED)
#define CACHE_WRITE(of, value) __atomic_store_n(&(of), (value), __ATOMIC_RELAXED)
#else
#define CACHE_READ(of) (of)
#define CACHE_WRITE(of, value) ((of) = (value))
#endif

/* A relaxed read of what its writers need not write so: of a descriptor that may be another
 * thread's by now. In a function that is HMM__UNSEEN, since ThreadSanitizer sees every atomic
 * operation. */
#define CACHE_PEEK(of) (*(const volatile __typeof__(of) *)&(of))

/* The same with acquire order. On x86 every load has it. */
#if HMM__TSAN || !(defined(__x86_64__) || defined(__i386__))
#define CACHE_READ_ACQUIRE(of) __atomic_load_n(&(of), __ATOMIC_ACQUIRE)
#else
#define CACHE_READ_ACQUIRE(of) (of)
#endif

/* No read behind it is done before one in front of it; no write before one in front.
 * ThreadSanitizer knows no fences, and orders what it sees. */
HMM__ALWAYS_INLINE void cache_fence_acquire(void)
{
#if !HMM__TSAN
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
}

HMM__ALWAYS_INLINE void cache_fence_release(void)
{
#if !HMM__TSAN
    __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

/* Where the tables of a cache lie (tables.c). */
struct cache_place {
    /* Makes [low, cache->low) the tables'. False: it cannot be. */
    bool (*claim)(struct cache *cache, const char *low);
    /* hmm_heap.reserve, or NULL */
    void (*reserve)(struct hmm_heap *h);
    /* Gives what is below cache->low to the heap; NULL: it keeps it. False: it cannot be. */
    bool (*release)(struct cache *cache);
};

/* Memory of their own for the tables of a cache whose heap's region has at most region_max bytes
 * when it has grown. All is committed by `source`; NULL: it is. */
struct cache_memory {
    char *from, *to;
    size_t region_max;
    const struct hmm__page_source *source;
};

/* ---- The locks ---- */

/* Whether the caller may change the heap and the cache's tables. For assertions. */
HMM__ALWAYS_INLINE bool cache_is_locked(const struct cache *cache)
{
    return cache->lock == NULL || lock_is_held(cache->lock);
}

HMM__ALWAYS_INLINE enum lock_hold cache_lock(struct cache *cache)
{
    return cache->lock ? lock_acquire(cache->lock) : LOCK_NONE;
}

HMM__ALWAYS_INLINE void cache_unlock(struct cache *cache, enum lock_hold hold)
{
    if (cache->lock)
        lock_release(cache->lock, hold);
}

/* The lock of tc, for what others may take from it. Of its thread. False: it is to do without. Who
 * has it calls nothing; who waits for it has the heap's. */
HMM__ALWAYS_INLINE bool own_lock(struct thread_cache *tc)
{
    return tc->cache->lock == NULL || brief_lock_try(&tc->lock);
}

HMM__ALWAYS_INLINE void own_unlock(struct thread_cache *tc)
{
    brief_unlock(&tc->lock);
}

/* Of any thread, with the heap's lock. */
HMM__ALWAYS_INLINE bool own_lock_any(struct thread_cache *tc)
{
    return tc->cache->lock == NULL || hmm__brief_lock(&tc->lock);
}

/* ---- refill.c ---- */

/* Ends the program: p, in run d, is not an object in use. */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__run_object_invalid(const void *p, const struct run *d,
                                                             const char *operation);
/* o should be an object that was freed, and has not the tag of one: ends the program. */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__freed_object_broken(const struct object *o);

/* Makes a cache whose tables lie at the high end of h's region, or in own memory. With a lock,
 * threads share it. False iff there is no room. */
HMM__HIDDEN bool hmm__cache_open(struct cache *cache, struct hmm_heap *h, struct lock *lock);
HMM__HIDDEN bool hmm__cache_open_in(struct cache *cache, struct hmm_heap *h, struct lock *lock,
                                    const struct cache_memory *memory);

/* Refills the empty free list of this size and pops an object. NULL: the request is for the heap.
 */
HMM__HIDDEN void *hmm__cache_refill(struct thread_cache *tc, size_t size);

/* Whether h's region is large enough for a cache. */
HMM__HIDDEN bool hmm__cache_suits(const struct hmm_heap *h);

/* The free lists of tc go back to the active and the joined runs, which become PARTIAL or FULL. */
HMM__HIDDEN void hmm__return_free_lists(struct thread_cache *tc);

/* The same of classes with joined runs. */
HMM__HIDDEN void hmm__part_joined(struct thread_cache *tc);

/* The countdown of d, a run of tc's, is 0. `locked`: the caller has the lock. */
HMM__HIDDEN void hmm__countdown_is_zero(struct thread_cache *tc, struct run *d, bool locked);

/* ---- remote_free.c ---- */

/* Frees p, for which run d was looked up, which another thread owns. tc: the caller's thread cache.
 * False: p is a block of the heap, and nothing was done. */
HMM__HIDDEN bool hmm__remote_free(struct cache *cache, struct thread_cache *tc, struct run *d,
                                  void *p);

/* Keeps what is in the remote batch, or pushes it to the owners. `locked`: the caller has the lock.
 */
HMM__HIDDEN void hmm__flush_remote(struct thread_cache *tc, bool locked);

/* Returns tc's remote frees to their runs, at most so many. `locked`: the caller has the lock. */
HMM__HIDDEN void hmm__collect_remote_frees(struct thread_cache *tc, size_t max, bool locked);

/* Whether tc has remote frees. */
HMM__ALWAYS_INLINE bool has_remote_frees(const struct thread_cache *tc)
{
    return __atomic_load_n(&tc->remote_frees, __ATOMIC_RELAXED) != NULL ||
           __atomic_load_n(&tc->pending, __ATOMIC_RELAXED) != NULL;
}

/* Pushes a list of objects of tc's to its remote frees. */
HMM__HIDDEN void hmm__send_remote(struct thread_cache *tc, struct object *first,
                                  struct object *last, bool locked);

/* The thread cache that d belongs to. */
HMM__HIDDEN struct thread_cache *hmm__run_owner(const struct cache *cache, const struct run *d);

/* What tc keeps of class c, as a free list. */
HMM__HIDDEN struct object *hmm__foreign_take(struct thread_cache *tc, unsigned c);

/* Sends all that tc keeps to the owners. With the lock, by tc's thread. */
HMM__HIDDEN void hmm__foreign_return(struct thread_cache *tc);

/* ---- reclaim.c: with the lock ---- */

/* Attaches the open cache to h: sets h's cache, reclaim and reserve. */
HMM__HIDDEN void hmm__cache_serve(struct hmm_heap *h, struct cache *cache);

/* Returns to the heap all memory of tc that is not in use. False: there was none. By tc's thread.
 */
HMM__HIDDEN bool hmm__cache_trim(struct thread_cache *tc);

/* Before the break rises: the same of the calling thread's empty runs and medium blocks only; if
 * there are none, a step of those of others; if there are none, some runs are split. */
HMM__HIDDEN bool hmm__cache_reclaim_idle(struct cache *cache);

/* The same of all that can be had back of all threads. `tc`: the calling thread's, or NULL. */
HMM__HIDDEN bool hmm__cache_reclaim_all(struct cache *cache, struct thread_cache *tc);

/* ---- sparse.c: with the lock ---- */

/* Before the break rises: splits some runs of tc's, which may be NULL, and of those that no thread
 * uses. False: there was none, or what was split last is free yet. */
HMM__HIDDEN bool hmm__split_some(struct cache *cache, struct thread_cache *tc);
/* Whether some were, and what became free by that is free yet. */
HMM__HIDDEN bool hmm__split_is_unused(const struct cache *cache);
/* Goes on with that: cache->split_rest is not 0. */
HMM__HIDDEN void hmm__split_rest(struct thread_cache *tc);
/* Before a request fails: all of these. */
HMM__HIDDEN bool hmm__split_all(struct cache *cache, struct thread_cache *tc);

/* ---- split.c: with the lock ---- */

/* Splits d, a run of tc's that is in no queue. False: there is no room for the bits; nothing was
 * done. */
HMM__HIDDEN bool hmm__split_run(struct thread_cache *tc, struct run *d);

/* Whether p is an object in use of d, which is SPLIT. */
HMM__HIDDEN bool hmm__split_has(const struct cache *cache, const struct run *d, const void *p);

/* Frees object p of d, which is SPLIT. */
HMM__HIDDEN void hmm__split_free(struct cache *cache, struct run *d, void *p);

/* Where d's objects in use are: *i becomes the first one from *i on; returns how many of them abut.
 * 0: there is none. */
HMM__HIDDEN uint32_t hmm__split_island(const struct cache *cache, const struct run *d, uint32_t *i);

/* Whether an object in use of d begins, or has its end, in this page. */
HMM__HIDDEN bool hmm__split_is_in(const struct cache *cache, const struct run *d, size_t page);

/* ---- inspect.c ---- */

/* The size of the object at block, for which d was looked up; 0: block is in no run. Ends the
 * program if it is not in use. */
HMM__HIDDEN size_t hmm__cache_usable(const struct cache *cache, const struct run *d,
                                     const void *block, const char *operation);

/* ---- tables.c ---- */

/* Chooses the place of the tables, and lays out `no run` and the page map there. memory: NULL, or
 * their own. False: there is no room. */
HMM__HIDDEN bool hmm__tables_open(struct cache *cache, const struct cache_memory *memory);
/* Extends the tables by `bytes` of zeros. NULL: there is no room. */
HMM__HIDDEN void *hmm__cache_extend(struct cache *cache, size_t bytes, size_t align);
/* Commits and clears the entries of the page map below `page`, and lets them be read. False: there
 * is no room. */
HMM__HIDDEN bool hmm__tables_cover(struct cache *cache, size_t page);
/* Gives the heap what it can of the tables' low end, without threads. True iff that is something.
 */
HMM__HIDDEN bool hmm__tables_release(struct cache *cache);

/* ---- thread.c ---- */

HMM__HIDDEN struct thread_cache *hmm__thread_cache_new(struct cache *cache);
HMM__HIDDEN void hmm__thread_cache_abandon(struct thread_cache *tc);
/* The calling thread's. NULL: it has none. */
HMM__HIDDEN struct thread_cache *hmm__thread_cache_here(struct cache *cache);
/* Makes the pool. False: there is no room. */
HMM__HIDDEN bool hmm__pool_open(struct cache *cache);
/* Takes a run of the pool's for tc. NULL: it has none of this class. */
HMM__HIDDEN struct run *hmm__pool_take(struct thread_cache *tc, unsigned c);
/* Moves d, a run of tc's that is in no queue and has free objects, to the pool. Of it so many are
 * in use. */
HMM__HIDDEN void hmm__pool_give(struct thread_cache *tc, struct run *d, uint32_t used);

#endif
#endif
