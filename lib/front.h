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
 *     FULL     no object is free. The first free leads to QUEUED.
 *     QUEUED   some are free. When all are, the run goes back to the heap; but some such runs, a
 *              32nd of the heap shared among the keepers, stay until the break would have to rise.
 *     CURRENT  its free objects are the chain. Nothing is to be done when all are free: they will
 *              be wanted. left means nothing.
 *     GONE     it has gone back; the descriptor is still in the queue.
 *
 * So neither malloc nor free tests a state or takes a lock, unless the chain is empty or left is
 * 0. Then (front.c), in this order: what others have freed, more of the current run,
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
 * in an inbox has been freed remotely. front_hit.h has the way of a hit.
 *
 * INVARIANTS
 * F1  The map leads from each unit of a run to its descriptor, and from no other unit anywhere.
 * F2  An object is free iff it has a tag. A run's free objects are those of its own list or, of the
 *     current run, the chain's, and have the tag `free`; those in an inbox, or an outbox, have the
 *     tag `sent` and are counted as in use.
 * F3  left is 1 where the run is FULL; where it is QUEUED, the number of objects in use.
 * F4  A queue holds its keeper's runs that are QUEUED, and descriptors that are GONE; the oldest is
 *     not. idle is the units of those whose objects are all free.
 */
#ifndef HMM_FRONT_H
#define HMM_FRONT_H

#include "block.h"
#include "lock.h"

/* Processors that cannot compare and swap are none for this. */
#if HMM_HOSTED && defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_4) && !defined(HMM_NO_FRONT)
#define HMM__FRONT 1
#else
#define HMM__FRONT 0
#endif

#if HMM__FRONT

#define FRONT_UNIT_LOG 10u
#define FRONT_UNIT ((size_t)1 << FRONT_UNIT_LOG)
#define FRONT_STEP_LOG 4u
#define FRONT_MOST 1024u /* the largest object */
#define FRONT_CLASSES 32u
#define FRONT_COPY 128u /* bytes that are copied in place, by 16 */
#define FRONT_POST 16u  /* objects that are sent to another thread together */
#define FRONT_KEPT 64u  /* places for kept blocks */

enum run_state { RUN_FULL, RUN_QUEUED, RUN_CURRENT, RUN_GONE };

struct HMM__MAY_ALIAS object {
    struct object *next;
    uint64_t tag;
};

/* What the tags of a cache are made of. All are odd: no tag is a pointer to a block. */
struct tag_keys {
    uint64_t free, sent, kept;
};

/* 32 bytes. They are made a batch at a time, so that no two threads' are in one cache line; behind
 * those of a batch is the rest of each. */
#define RUN_BATCH_BYTES 512u
#define RUN_BATCH (RUN_BATCH_BYTES / (sizeof(struct run) + sizeof(struct run_rest)))

struct run {
    struct object *free;  /* its own list */
    struct object **list; /* the head of the list that its objects go to */
    uint32_t owner;       /* the low half of its keeper's address; atomic */
    uint16_t left;
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
    uint32_t units;         /* of its runs, all states */
    uint32_t tries;         /* requests before there was a run */
};

/* Objects of another thread that are on their way to it. */
struct outbox {
    struct keeper *to;
    struct object *first, *last;
    uint32_t count;
};

enum keeper_state { KEEPER_BUSY, KEEPER_VACANT, KEEPER_LOST };

struct keeper {
    struct object *chain[FRONT_CLASSES];
    struct run *current[FRONT_CLASSES];
    uint8_t class_of[FRONT_MOST / 16 + 1]; /* by (size + 15) / 16 */
    struct front *front;
    struct keeper *next; /* all that there are */
    int state;           /* of enum keeper_state; atomic */
    int32_t unused;      /* descriptors */
    uint32_t idle;       /* units of runs in the queues whose objects are all free */
    uint32_t idle_most;
    struct outbox out;
    struct size_class classes[FRONT_CLASSES];
    _Alignas(64) struct object *inbox; /* atomic */
};

struct front {
    uintptr_t base;
    size_t units; /* runs lie below it; atomic */
    char *table;
    struct tag_keys keys;
    struct keeper *keeper; /* where there are no threads, the one */
    struct hmm_heap *heap;
    struct lock *lock; /* NULL: a heap of one's own */
    char *low;         /* what the front has of the region's high end begins here */
    char *low_ready;   /* and so much of it can be written */
    char *end;         /* and ends here */
    size_t map_ready;  /* of the map, in units */
    struct keeper *keepers;
    uint32_t busy, vacant; /* of them */
    bool open;             /* else no more runs are made, and nothing is kept */

    /* front_kept.h */
    size_t kept_bytes, kept_most;
    uint64_t kept_map;
    unsigned kept_hand;
    struct object *kept[FRONT_KEPT];
};

/* Read by others while the owner writes: relaxed, and under a race detector said to be. Elsewhere a
 * plain read can be an operand of the comparison. */
#if HMM__TSAN
#define FRONT_READ(of) __atomic_load_n(&(of), __ATOMIC_RELAXED)
#else
#define FRONT_READ(of) (of)
#endif

/* The same, and what was written before it is there too; all loads are so on this processor. */
#if HMM__TSAN || !(defined(__x86_64__) || defined(__i386__))
#define FRONT_ACQUIRE(of) __atomic_load_n(&(of), __ATOMIC_ACQUIRE)
#else
#define FRONT_ACQUIRE(of) (of)
#endif

/* ---- From an address to its run ---- */

HMM__ALWAYS_INLINE size_t class_bytes(unsigned c)
{
    if (c < 16)
        return ((size_t)c + 1) * 16;
    return (size_t)(8 + (c & 7) + 1) << (c / 8 + 3);
}

HMM__ALWAYS_INLINE size_t front_unit(const struct front *f, const void *p)
{
    return ((uintptr_t)p - f->base) >> FRONT_UNIT_LOG;
}

HMM__ALWAYS_INLINE int32_t *front_map(const struct front *f)
{
    return (int32_t *)(void *)(f->table + sizeof(struct run));
}

HMM__ALWAYS_INLINE struct run *run_at(const struct front *f, int32_t entry)
{
    return (struct run *)(void *)(f->table + entry);
}

HMM__ALWAYS_INLINE uint32_t low_half(const void *p)
{
    return (uint32_t)(uintptr_t)p;
}

HMM__ALWAYS_INLINE bool run_is_of(const struct run *d, const struct keeper *k)
{
    return FRONT_READ(d->owner) == low_half(k);
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
HMM__ALWAYS_INLINE bool object_is_free(const struct front *f, const void *p)
{
    return object_has_tag(f->keys.free, p) || object_has_tag(f->keys.sent, p);
}

/*
 * Whether p, which is in one of d's units, is where an object begins. That is so iff its distance
 * from the start, times the inverse, is almost a whole number: as a fraction of 2^32 less than
 * RUN_FRACTION. The inverse is too large by less than 1; at the most distant object, 2^15 bytes on,
 * that comes to less than 2^15. A distance of r bytes more, less than a size, comes to r inverses
 * more, and each is at least 2^32 / FRONT_MOST.
 */
#define RUN_FRACTION (UINT32_MAX / FRONT_MOST)

HMM__ALWAYS_INLINE bool run_has_object(const struct run *d, const void *p)
{
    return (low_half(p) - d->start) * d->inverse < RUN_FRACTION;
}

/* The run that p points into; NULL: none. */
HMM__ALWAYS_INLINE struct run *front_run_of(const struct front *f, const void *p)
{
    size_t unit = front_unit(f, p);
    if (f->table == NULL || unit >= FRONT_ACQUIRE(f->units))
        return NULL;
    int32_t entry = front_map(f)[unit];
    return entry ? run_at(f, entry) : NULL;
}

/* Whether p is an object of d that its owner may free, but for one that is on its way. */
HMM__ALWAYS_INLINE bool run_object_is_sound(const struct front *f, const struct run *d,
                                            const void *p)
{
    return run_has_object(d, p) && !object_has_tag(f->keys.free, p);
}

/* As an entry of the map has it. */
HMM__ALWAYS_INLINE int32_t front_place(const struct front *f, const void *at)
{
    return (int32_t)((const char *)at - f->table);
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

HMM__ALWAYS_INLINE void *run_start(const struct front *f, const struct run *d)
{
    return (char *)f->base + (d->start - (uint32_t)f->base + ((uint64_t)d->high << 32));
}

/* Whether o, any pointer, is a free object of d, as a list of d's may lead to. */
HMM__ALWAYS_INLINE bool run_may_list(const struct front *f, const struct run *d,
                                     const struct object *o)
{
    size_t at = (uintptr_t)o - (uintptr_t)run_start(f, d);
    return at < run_rest(d)->carved * class_bytes(d->class) && run_has_object(d, o) &&
           object_has_tag(f->keys.free, o);
}

HMM__ALWAYS_INLINE enum lock_hold front_lock(struct front *f)
{
    return f->lock ? lock_take(f->lock) : LOCK_NONE;
}

HMM__ALWAYS_INLINE void front_unlock(struct front *f, enum lock_hold hold)
{
    if (f->lock)
        lock_give(f->lock, hold);
}

/* front.c */

/* p, which is in run d, is no object of it in use: says so, and ends the program. */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__front_unsound(const void *p, const struct run *d,
                                                        const char *verb);

/* Frees p in run d, which is another thread's. k: the caller's keeper. */
HMM__HIDDEN void hmm__front_free_foreign(struct front *f, struct keeper *k, struct run *d, void *p);

/* Takes for the front what it needs of the high end of h's region. `lock`: threads share it. False
 * iff there is no room. */
HMM__HIDDEN bool hmm__front_open(struct front *f, struct hmm_heap *h, struct lock *lock);

/* The chain for this size is empty. NULL: nothing can be had but from the heap itself. */
HMM__HIDDEN void *hmm__front_refill(struct keeper *k, size_t size);

/* Whether the region is large enough for one. */
HMM__HIDDEN bool hmm__front_suits(const struct hmm_heap *h);

/* Sends off what is in the outbox. */
HMM__HIDDEN void hmm__front_post(struct keeper *k, bool locked);

/* Gives back to the heap all that k can spare, and what is kept. False: that was nothing. With the
 * lock, by k's thread. */
HMM__HIDDEN bool hmm__front_trim(struct keeper *k);

/* Before the break rises: what the calling thread has idle, and what is kept. As above. */
HMM__HIDDEN bool hmm__front_spare(struct front *f);

/* A request has failed: what is kept for k, or for nobody (NULL), is given back. True: it is to be
 * made again, and has not failed yet. With the lock. */
HMM__HIDDEN HMM__COLD bool hmm__front_try_again(struct front *f, struct keeper *k);

/* Empties the inbox. `locked`: the caller has the lock. */
HMM__HIDDEN void hmm__front_drain(struct keeper *k, bool locked);

/* front_own.c */

/* The doors of a heap of one's own that has a front. */
HMM__HIDDEN void hmm__front_doors(struct hmm_heap *h);

/* Bytes of the object at block; 0: it is none. It is as sound as free wants it. */
HMM__HIDDEN size_t hmm__front_usable(const struct front *f, const void *block, const char *verb);

/* An object of `usable` bytes of a heap of one's own. */
HMM__HIDDEN void *hmm__front_realloc(struct hmm_heap *h, void *block, size_t usable, size_t size);

/* front_run.c: runs come and go. All with the lock. */
HMM__HIDDEN struct run *hmm__run_new(struct keeper *k, unsigned c);
HMM__HIDDEN void hmm__run_return(struct keeper *k, struct run *d);
HMM__HIDDEN void hmm__run_enqueue(struct keeper *k, struct run *d);
/* The next of the queue, of runs that are QUEUED or GONE. */
HMM__HIDDEN struct run *hmm__run_next(const struct front *f, struct run *d);
/* NULL: the queue is empty. */
HMM__HIDDEN struct run *hmm__run_dequeue(struct keeper *k, unsigned c);
HMM__HIDDEN uint32_t hmm__run_units(const struct front *f, const struct run *d);
/* Whether its block's header says what the descriptor does. */
HMM__HIDDEN bool hmm__run_is_whole(const struct front *f, const struct run *d);
/* Before a strategy's state goes to the region's high end. */
HMM__HIDDEN void hmm__front_reserve(struct front *f);
/* bytes of zeros at the region's high end; NULL: there is no room. */
HMM__HIDDEN void *hmm__front_extend(struct front *f, size_t bytes, size_t align);

/* front_thread.c: keepers */
HMM__HIDDEN struct keeper *hmm__keeper_new(struct front *f);
HMM__HIDDEN void hmm__keeper_vacate(struct keeper *k);
/* This thread's, if it has one. */
HMM__HIDDEN struct keeper *hmm__keeper_here(struct front *f);
HMM__HIDDEN struct run *hmm__keeper_adopt(struct keeper *k, unsigned c);

/* Of a heap of one's own: as hmm__front_try_again. */
HMM__ALWAYS_INLINE bool own_front_try_again(struct hmm_heap *h)
{
    struct front *f = h->front;
    return f != NULL && f->lock == NULL && hmm__front_try_again(f, f->keeper);
}

#else

HMM__ALWAYS_INLINE bool own_front_try_again(struct hmm_heap *h)
{
    (void)h;
    return false;
}

#endif
#endif
