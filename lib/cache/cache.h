/* SPDX-License-Identifier: MIT */
/*
 * The front: what makes small blocks fast, whichever strategy stands behind it.
 *
 * THEORY
 *
 * Small requests are served without headers, from runs. A run is an ordinary used block of the
 * heap, placed by the strategy like any other, whose payload begins on a unit of 1 KiB and is some
 * units long, less the 4 bytes of the next block's header: so runs abut, merge when they are
 * returned, and compete with large blocks for the same holes. A run is cut into objects of one
 * size class.
 *
 *     | run: object | object | ... | not yet carved | rest |
 *
 * Every run has a descriptor (struct run), and every unit an entry in the map that leads to it.
 * Both lie together at the region's high end, the table, and not in the runs: there the first
 * words of all runs would want the same few cache lines.
 *
 *     region:  | control | blocks ... | free | keepers, descriptors | nobody | map |
 *                                             <- grows              ^ table
 *
 * An entry is the distance of the descriptor from the table. Entry 0 leads to the descriptor at the
 * table itself, which nobody owns: one comparison, "the owner is me", tells an object of mine from
 * ordinary blocks and from those of other threads.
 *
 * A thread has a keeper. It holds for each class a chain of free objects, from which malloc takes,
 * one current run, whose objects the chain's are, and a queue of runs that have free ones. free
 * puts an object into the list that its run names, the chain or the run's own, and counts down
 * `left`, the number of frees until something is to be done; what that is depends on the state of
 * the run:
 *
 *     FULL     no object is free. The first free leads to PARTIAL.
 *     PARTIAL   some are free. When all are, the run goes back to the heap; but some such runs, a
 *              32nd of the heap shared among the keepers, stay until the break would have to rise.
 *     ACTIVE  its free objects are the chain. Nothing is to be done when all are free: they will
 *              be wanted. left means nothing.
 *     RETIRED     it has gone back; the descriptor is still in the queue.
 *
 * So neither malloc nor free tests a state or takes a lock, unless the chain is empty or left is
 * 0. Then (refill.c), in this order: what others have freed, more of the current run,
 * the oldest run of the queue, one of a thread that is gone, a new one.
 *
 * An object that is free says so by a tag behind its link: 64 bits, its address plus a key. free
 * finds it there when the object is freed twice. It also divides the distance from the run's start
 * by the size, by a multiplication, to see that the pointer is an object's.
 *
 * A program's own data must never pass for a tag, whatever it leaves unwritten or writes in part.
 * So each state in which an object is free has a key of its own: free in its run, on its way to its
 * owner (sent), kept. The keys are secret words (secret.h), of each cache anew, and unrelated: what
 * is not a tag becomes one by a chance of 2^-63 for each free, on 32 bits as well. And memory that
 * is handed out has no tag in it: malloc wipes that of the object or kept block that it takes, and
 * all those of a run are wiped when the run goes back to the heap. It is the tag of the state that
 * is looked for: an object that its owner frees while it is on its way is found when it arrives.
 *
 * A free of another thread's object goes to the owner's inbox, a list that anybody adds to by one
 * atomic step, some objects at a time, and only its owner empties, all of it at once. When a thread
 * ends, its keeper is vacant: the next new thread takes it over, other threads take over its queued
 * runs, and who frees one of its objects empties the inbox, with the heap's lock. After a fork the
 * child cannot know what the other threads were about to do: their keepers are lost, and what is
 * freed of theirs stays. A signal handler may fork; that it may not allocate, by any standard, is
 * counted on: it would meet a chain half changed.
 *
 * A run is made by what its class holds: an 8th of that, at most 32 KiB and a 128th of the heap,
 * but at least two objects. The first requests of a class, for 512 bytes together, get none.
 *
 * Source: the descriptors and the map are those of size-segregated allocators since Phkmalloc
 * (Kamp, 1998); the list of foreign frees is a Treiber stack (1986); local lists a run, and the
 * counting down to the next event, are of the kind that mimalloc has (Leijen, Zorn, de Moura,
 * 2019). Lemire, Kaser, Kurz (2019, "Faster remainder by direct computation") for the division.
 *
 * In others' words a run is a span, page or superblock; a keeper a thread's cache or heap; what is
 * in an inbox has been freed remotely. fast_path.h has the way of a hit.
 *
 * INVARIANTS
 * F1  The map leads from each unit of a run to its descriptor, and from no other unit anywhere.
 * F2  An object is free iff it has a tag. A run's free objects are those of its own list or, of the
 *     current run, the chain's, and have the tag `free`; those in an inbox, or an outbox, have the
 *     tag `sent` and are counted as in use.
 * F3  left is 1 where the run is FULL; where it is PARTIAL, the number of objects in use.
 * F4  A queue holds its keeper's runs that are PARTIAL, and descriptors that are RETIRED; the
 * oldest is not. idle is the units of those whose objects are all free.
 */
#ifndef HMM_FRONT_H
#define HMM_FRONT_H

#include "heap/block.h"
#include "base/lock.h"

#if HMM__CACHE

#define CACHE_PAGE_LOG 10u
#define CACHE_PAGE ((size_t)1 << CACHE_PAGE_LOG)
#define CACHE_STEP_LOG 4u
#define CACHE_OBJECT_MAX 1024u /* the largest object */
#define CACHE_CLASSES 32u
#define CACHE_COPY_MAX 128u /* bytes that are copied in place, by 16 */
#define REMOTE_BATCH 16u    /* objects that are sent to another thread together */
#define MEDIUM_SLOTS 64u    /* places for kept blocks */

enum run_state { RUN_FULL, RUN_PARTIAL, RUN_ACTIVE, RUN_RETIRED };

struct HMM__MAY_ALIAS object {
    struct object *next;
    uint64_t tag;
};

/* What the tags of a cache are made of. All are odd: no tag is a pointer to a block. */
struct tag_keys {
    uint64_t free, sent, medium;
};

/* 32 bytes. They are made a batch at a time, so that no two threads' are in one cache line; behind
 * those of a batch is the rest of each. */
#define RUN_BATCH_BYTES 512u
#define RUN_BATCH (RUN_BATCH_BYTES / (sizeof(struct run) + sizeof(struct run_rest)))

struct run {
    struct object *free;  /* its own list */
    struct object **list; /* the head of the list that its objects go to */
    uint32_t owner;       /* the low half of its keeper's address; atomic */
    uint16_t countdown;
    uint8_t class;
    uint8_t state : 4, high : 4; /* 4 GiB of the region below it */
    uint32_t start;              /* the low half of its first object's address */
    uint32_t inverse;            /* of the size: 2^32 divided by it, rounded up */
#if UINTPTR_MAX <= UINT32_MAX
    uint32_t unused[2];
#endif
};

/* What neither malloc nor free asks for. */
struct run_rest {
    int32_t link;           /* the next in a list, as an entry of the map has it; 0 is none */
    uint16_t carved, count; /* objects: so far, and in all */
};

/* What a keeper knows of a class, besides its chain and current run. */
struct size_class {
    int32_t oldest, newest; /* the queue */
    uint32_t pages;         /* of its runs, all states */
    uint32_t tries;         /* requests before there was a run */
};

/* Objects of another thread that are on their way to it. */
struct remote_batch {
    struct thread_cache *to;
    struct object *first, *last;
    uint32_t count;
};

enum thread_cache_state { THREAD_CACHE_IN_USE, THREAD_CACHE_ABANDONED, THREAD_CACHE_ORPHANED };

struct thread_cache {
    struct object *free_list[CACHE_CLASSES];
    struct run *active[CACHE_CLASSES];
    uint8_t class_of[CACHE_OBJECT_MAX / 16 + 1]; /* by (size + 15) / 16 */
    struct cache *cache;
    struct thread_cache *next; /* all that there are */
    int state;                 /* of enum thread_cache_state; atomic */
    int32_t unused;            /* descriptors */
    uint32_t empty_pages;      /* units of runs in the queues whose objects are all free */
    uint32_t empty_pages_max;
    struct remote_batch batch;
    struct size_class classes[CACHE_CLASSES];
    _Alignas(64) struct object *remote_frees; /* atomic */
};

struct cache {
    uintptr_t base;
    size_t pages; /* runs lie below it; atomic */
    char *table;
    struct tag_keys keys;
    struct thread_cache *thread_cache; /* where there are no threads, the one */
    struct hmm_heap *heap;
    struct lock *lock;    /* NULL: a heap of one's own */
    char *low;            /* what the front has of the region's high end begins here */
    char *low_committed;  /* and so much of it can be written */
    char *end;            /* and ends here */
    size_t map_committed; /* of the map, in units */
    struct thread_cache *thread_caches;
    uint32_t in_use, abandoned; /* of them */
    bool open;                  /* else no more runs are made, and nothing is kept */

    /* medium.h */
    size_t medium_bytes, medium_bytes_max;
    uint64_t medium_map;
    unsigned clock_hand;
    struct object *medium[MEDIUM_SLOTS];
};

/* Read by others while the owner writes: relaxed, and under a race detector said to be. Elsewhere a
 * plain read can be an operand of the comparison. */
#if HMM__TSAN
#define CACHE_READ(of) __atomic_load_n(&(of), __ATOMIC_RELAXED)
#else
#define CACHE_READ(of) (of)
#endif

/* The same, and what was written before it is there too; all loads are so on this processor. */
#if HMM__TSAN || !(defined(__x86_64__) || defined(__i386__))
#define CACHE_READ_ACQUIRE(of) __atomic_load_n(&(of), __ATOMIC_ACQUIRE)
#else
#define CACHE_READ_ACQUIRE(of) (of)
#endif

/* ---- From an address to its run ---- */

HMM__ALWAYS_INLINE size_t class_bytes(unsigned c)
{
    if (c < 16)
        return ((size_t)c + 1) * 16;
    return (size_t)(8 + (c & 7) + 1) << (c / 8 + 3);
}

HMM__ALWAYS_INLINE size_t cache_page_of(const struct cache *cache, const void *p)
{
    return ((uintptr_t)p - cache->base) >> CACHE_PAGE_LOG;
}

HMM__ALWAYS_INLINE int32_t *cache_page_map(const struct cache *cache)
{
    return (int32_t *)(void *)(cache->table + sizeof(struct run));
}

HMM__ALWAYS_INLINE struct run *run_at(const struct cache *cache, int32_t entry)
{
    return (struct run *)(void *)(cache->table + entry);
}

HMM__ALWAYS_INLINE uint32_t low_half(const void *p)
{
    return (uint32_t)(uintptr_t)p;
}

HMM__ALWAYS_INLINE bool run_is_of(const struct run *d, const struct thread_cache *tc)
{
    return CACHE_READ(d->owner) == low_half(tc);
}

/* The tag of an object, or kept block, at p in the state of this key. */
HMM__ALWAYS_INLINE uint64_t object_tag(uint64_t key, const void *p)
{
    return key + (uintptr_t)p;
}

HMM__ALWAYS_INLINE bool object_has_tag(uint64_t key, const void *p)
{
    return ((const struct object *)p)->tag == object_tag(key, p);
}

/* Whether the object of a run at p is free, in its run or on its way there. */
HMM__ALWAYS_INLINE bool object_is_free(const struct cache *cache, const void *p)
{
    return object_has_tag(cache->keys.free, p) || object_has_tag(cache->keys.sent, p);
}

/*
 * Whether p, which is in one of d's units, is where an object begins. That is so iff its distance
 * from the start, times the inverse, is almost a whole number: as a fraction of 2^32 less than
 * RUN_FRACTION. The inverse is too large by less than 1; at the most distant object, 2^15 bytes on,
 * that comes to less than 2^15. A distance of r bytes more, less than a size, comes to r inverses
 * more, and each is at least 2^32 / CACHE_OBJECT_MAX.
 */
#define RUN_FRACTION (UINT32_MAX / CACHE_OBJECT_MAX)

HMM__ALWAYS_INLINE bool run_has_object(const struct run *d, const void *p)
{
    return (low_half(p) - d->start) * d->inverse < RUN_FRACTION;
}

/* The run that p points into; NULL: none. */
HMM__ALWAYS_INLINE struct run *cache_run_of(const struct cache *cache, const void *p)
{
    size_t page = cache_page_of(cache, p);
    if (cache->table == NULL || page >= CACHE_READ_ACQUIRE(cache->pages))
        return NULL;
    int32_t entry = cache_page_map(cache)[page];
    return entry ? run_at(cache, entry) : NULL;
}

/* Whether p is an object of d that its owner may free, but for one that is on its way. */
HMM__ALWAYS_INLINE bool run_object_is_valid(const struct cache *cache, const struct run *d,
                                            const void *p)
{
    return run_has_object(d, p) && !object_has_tag(cache->keys.free, p);
}

/* As an entry of the map has it. */
HMM__ALWAYS_INLINE int32_t cache_offset(const struct cache *cache, const void *at)
{
    return (int32_t)((const char *)at - cache->table);
}

HMM__ALWAYS_INLINE struct run_rest *run_rest(const struct run *d)
{
    uintptr_t batch = (uintptr_t)d & ~(uintptr_t)(RUN_BATCH_BYTES - 1);
    return (struct run_rest *)(batch + RUN_BATCH * sizeof *d) + ((uintptr_t)d - batch) / sizeof *d;
}

HMM__ALWAYS_INLINE bool run_is_carved(const struct run *d)
{
    return run_rest(d)->carved == run_rest(d)->count;
}

HMM__ALWAYS_INLINE void *run_start(const struct cache *cache, const struct run *d)
{
    return (char *)cache->base + (d->start - (uint32_t)cache->base + ((uint64_t)d->high << 32));
}

/* Whether o, any pointer, is a free object of d, as a list of d's may lead to. */
HMM__ALWAYS_INLINE bool run_may_list(const struct cache *cache, const struct run *d,
                                     const struct object *o)
{
    size_t at = (uintptr_t)o - (uintptr_t)run_start(cache, d);
    return at < run_rest(d)->carved * class_bytes(d->class) && run_has_object(d, o) &&
           object_has_tag(cache->keys.free, o);
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

/* refill.c */

/* p, which is in run d, is no object of it in use: says so, and ends the program. */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__run_object_invalid(const void *p, const struct run *d,
                                                             const char *operation);

/* Frees p in run d, which is another thread's. k: the caller's keeper. */
HMM__HIDDEN void hmm__remote_free(struct cache *cache, struct thread_cache *tc, struct run *d,
                                  void *p);

/* Takes for the front what it needs of the high end of h's region. `lock`: threads share it. False
 * iff there is no room. */
HMM__HIDDEN bool hmm__cache_open(struct cache *cache, struct hmm_heap *h, struct lock *lock);

/* The open cache stands before h from now on: h asks it for memory before its break rises. */
HMM__HIDDEN void hmm__cache_serve(struct hmm_heap *h, struct cache *cache);

/* The chain for this size is empty. NULL: nothing can be had but from the heap itself. */
HMM__HIDDEN void *hmm__cache_refill(struct thread_cache *tc, size_t size);

/* Whether the region is large enough for one. */
HMM__HIDDEN bool hmm__cache_suits(const struct hmm_heap *h);

/* Sends off what is in the outbox. */
HMM__HIDDEN void hmm__flush_remote(struct thread_cache *tc, bool locked);

/* Gives back to the heap all that k can spare, and what is kept. False: that was nothing. With the
 * lock, by k's thread. */
HMM__HIDDEN bool hmm__cache_trim(struct thread_cache *tc);

/* Before the break rises: what the calling thread has idle, and what is kept. As above. */
HMM__HIDDEN bool hmm__cache_reclaim_idle(struct cache *cache);

/* Empties the inbox. `locked`: the caller has the lock. */
HMM__HIDDEN void hmm__collect_remote_frees(struct thread_cache *tc, bool locked);

/* inspect.c: bytes of the object at block; 0: it is none. Ends the program if it is not in use. */
HMM__HIDDEN size_t hmm__cache_usable(const struct cache *cache, const void *block,
                                     const char *operation);

/* run.c: runs come and go. All with the lock. */
HMM__HIDDEN struct run *hmm__run_new(struct thread_cache *tc, unsigned c);
HMM__HIDDEN void hmm__run_return(struct thread_cache *tc, struct run *d);
HMM__HIDDEN void hmm__run_enqueue(struct thread_cache *tc, struct run *d);
/* The next of the queue, of runs that are PARTIAL or RETIRED. */
HMM__HIDDEN struct run *hmm__run_next(const struct cache *cache, struct run *d);
/* NULL: the queue is empty. */
HMM__HIDDEN struct run *hmm__run_dequeue(struct thread_cache *tc, unsigned c);
HMM__HIDDEN uint32_t hmm__run_pages(const struct cache *cache, const struct run *d);
/* Whether its block's header says what the descriptor does. */
HMM__HIDDEN bool hmm__run_is_whole(const struct cache *cache, const struct run *d);
/* Before a strategy's state goes to the region's high end. */
HMM__HIDDEN void hmm__cache_reserve(struct cache *cache);
/* bytes of zeros at the region's high end; NULL: there is no room. */
HMM__HIDDEN void *hmm__cache_extend(struct cache *cache, size_t bytes, size_t align);

/* thread.c: keepers */
HMM__HIDDEN struct thread_cache *hmm__thread_cache_new(struct cache *cache);
HMM__HIDDEN void hmm__thread_cache_abandon(struct thread_cache *tc);
/* This thread's, if it has one. */
HMM__HIDDEN struct thread_cache *hmm__thread_cache_here(struct cache *cache);
HMM__HIDDEN struct run *hmm__reclaim_abandoned_run(struct thread_cache *tc, unsigned c);

#endif
#endif
