/* SPDX-License-Identifier: MIT */
/*
 * What the recorder (`hmm record`) and the recorded processes share: one block of memory, the pool.
 *
 * An *event* is sixteen bytes: what happened to which address. A process takes the next *place* in
 * its own sequence with one atomic addition, which is also what puts the events of all its threads
 * in order, and writes the event there. Where an operation gives memory back, the place is taken
 * before libc is called; where it gets memory, after. So whenever an address goes from one thread
 * to another through libc, the event that let it go has the lower place.
 *
 *   R1  An address is never given out in the sequence while it is in use there.
 *
 * realloc does both, and needs two: RESIZE before the call takes the block's address away, and
 * after it RESIZED and TO, in adjacent places, give the block its new one, or UNRESIZED its old
 * one back. They name the RESIZE by its place, since the same address can be in two at a time.
 *
 * Places lie in *segments*. Place n is in the process's segment n / EVENTS; window[] says which of
 * the pool's that is. Who takes the first place of a segment gets one from the stack of free ones.
 * The recorder reads a segment once the process has begun the next or has ended, clears it and
 * gives it back: the pool is all that recording needs, however long it lasts. A process that finds
 * no free segment waits. It never waits for a recorder that is dead or has stopped.
 *
 *   R2  The first words of a free segment are zero, and of all places that are not yet written.
 *   R3  An event's second word is written before its first; the first is never zero.
 *
 * What is recorded with call stacks (`hmm record --stacks`) has *extra* events: frees of no
 * address, of which the second word says what they are. RECORD_EXTRA_USE: the event in the place
 * behind it is of that stack. RECORD_EXTRA_STACK and RECORD_EXTRA_MODULE define a stack and a
 * module by words that fill the places behind them, two each: first words are shifted by
 * RECORD_PLACE_SHIFT, so that none is zero. A stack may be used, by another thread, before its
 * definition has come.
 *
 * All memory is shared with the processes' children by fork, which need nothing but a slot of their
 * own, and outlives any of them: what was written before a process was killed is there.
 */
#ifndef HMM_RECORD_POOL_H
#define HMM_RECORD_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* "PATH" of the pool. Read from the environment that the program was started with. */
#define RECORD_VARIABLE "HMM_RECORD"

#define RECORD_MODULE "libhmm-record.so"

#define RECORD_MAGIC UINT64_C(0x31647263656d6d68) /* "hmmecrd1" */

enum {
    RECORD_EVENTS = 16384, /* in a segment: 256 KiB */
    /* At a time. Each holds a segment, though it be idle. */
    RECORD_PROCESSES = sizeof(void *) > 4 ? 512 : 256,
    /* In the pool, two for each process: 256 MiB, or 128 MiB, of which a few processes use half. */
    RECORD_SEGMENTS = 2 * RECORD_PROCESSES,
    RECORD_WINDOW = RECORD_SEGMENTS /* segments that a process may have */
};

enum record_kind { /* in the low bits of an event's first word */
                   RECORD_ALLOC = 1,
                   RECORD_ALIGNED,
                   RECORD_FREE,
                   RECORD_RESIZE,
                   RECORD_RESIZED,
                   RECORD_TO,
                   RECORD_UNRESIZED,
                   RECORD_KIND_MASK = 7
};

/* Sizes use the low bits; of RECORD_ALIGNED the rest is log2 of the alignment. No address space
 * has blocks of so many bytes. */
#define RECORD_SIZE_BITS 57

/* The first word of an extra event; and what is in its second. */
#define RECORD_EXTRA ((uint64_t)RECORD_FREE)

enum record_extra {
    RECORD_EXTRA_USE = 1,
    RECORD_EXTRA_STACK, /* its frames are return addresses, the innermost first; 0 is none */
    RECORD_EXTRA_MODULE /* where it begins and ends, 0, its bias, and its name: 6 and 8 bytes */
};

/* Whether call stacks can be noted: cfi.c knows x86's registers only. */
#ifndef RECORD_HAS_STACKS
#if defined(__x86_64__) || defined(__i386__)
#define RECORD_HAS_STACKS 1
#else
#define RECORD_HAS_STACKS 0
#endif
#endif

enum { RECORD_DEEPEST = 64, RECORD_LONGEST_MODULE = 512 };

static inline uint64_t record_extra(enum record_extra kind, unsigned places, uint32_t stack)
{
    return (uint64_t)stack << 32 | (uint64_t)places << 8 | kind;
}

struct record_event {
    _Alignas(8) _Atomic uint64_t what; /* address, or the place of RESIZE, and kind */
    uint64_t size;
};

/* Where the place of RESIZE begins in the first word of RESIZED and UNRESIZED. */
#define RECORD_PLACE_SHIFT 3

enum record_state {
    RECORD_SLOT_FREE,
    RECORD_SLOT_CLAIMED,
    RECORD_SLOT_USED, /* filled in */
    RECORD_SLOT_SEEN  /* by the recorder, which frees it */
};

struct record_process {
    _Alignas(64) _Atomic uint64_t next; /* place; in a cache line of its own */
    _Alignas(64) _Atomic uint32_t state;
    int32_t pid;     /* as the recorder sees it */
    uint64_t number; /* counts the processes, in the order in which they began */
    char program[16];
    _Atomic uint32_t window[RECORD_WINDOW]; /* record_entry of segment n at n % RECORD_WINDOW */
};

/* Why a process that has the module is not recorded; or, CLEARED, a shell that one starts. */
enum record_loss {
    RECORD_LOST_TOO_MANY,
    RECORD_LOST_MEMORY,
    RECORD_LOST_SYSTEM,
    RECORD_LOST_BYPASSED,
    RECORD_LOST_CLEARED,
    RECORD_LOSSES
};

/* A program that a process is about to become. If none joins with this pid, and a number from this
 * one on, it was lost. */
enum { RECORD_STARTS = 128, RECORD_LONGEST_PATH = 232 };

enum record_start_state {
    RECORD_START_FREE,
    RECORD_START_CLAIMED, /* whoever did it may still take it back */
    RECORD_START_USED
};

struct record_start {
    _Atomic uint32_t state;
    int32_t pid;
    uint64_t number;
    uint32_t is_cleared; /* the environment names no recorder */
    _Atomic uint32_t is_bypassed;
    char path[RECORD_LONGEST_PATH]; /* as execvp has it; "": not known */
};

struct record_pool {
    uint64_t magic;
    uint64_t bytes;        /* of the pool */
    uint64_t segments_at;  /* distance from here */
    int32_t recorder;      /* its process */
    uint32_t follow;       /* children too */
    _Atomic int32_t first; /* the process that becomes the command */
    _Atomic uint32_t stopped;
    _Atomic uint32_t heartbeat;
    _Alignas(64) _Atomic uint32_t bell; /* a futex, rung when there is work for the recorder */
    _Atomic uint32_t asleep;            /* the recorder waits for it */
    _Atomic uint32_t wanting;           /* somebody had to wait for a segment */
    _Atomic uint32_t lost[RECORD_LOSSES];
    uint32_t depth;               /* of call stacks; 0: none are noted */
    _Atomic uint32_t stacks_lost; /* allocations whose stack was one too many */
    _Atomic uint32_t first_lost;  /* what the command's process has become */
    _Atomic uint64_t numbers;     /* given to processes */
    _Atomic uint64_t joined;      /* processes that have filled in a slot */
    /* The stack of free segments: a count of the changes in the high half, against a pop that
     * slept while others came and went; the number and 1 of the top one in the low half. */
    _Alignas(64) _Atomic uint64_t free;
    _Atomic uint32_t below[RECORD_SEGMENTS];
    struct record_start starts[RECORD_STARTS];
    struct record_process process[RECORD_PROCESSES];
};

/* Rings the recorder's bell. */
void record_ring(struct record_pool *pool);

/* Puts a segment on the stack, or takes one off: its number, or -1 if there is none. */
void record_give(struct record_pool *pool, uint32_t segment);
int record_take(struct record_pool *pool);

/* The window's entry that says: the n-th segment of the process is this one of the pool. 0 says
 * that there is none. Of n the low bits will do: those a window's length apart differ. */
#define RECORD_ENTRY_SHIFT 13

static inline uint32_t record_entry(uint64_t n, uint32_t segment)
{
    return (uint32_t)n << RECORD_ENTRY_SHIFT | (segment + 1);
}

/* The other way: RECORD_SEGMENTS or more iff the entry is not that of the n-th. */
static inline uint32_t record_entry_segment(uint64_t n, uint32_t entry)
{
    return (entry ^ (uint32_t)n << RECORD_ENTRY_SHIFT) - 1;
}

static inline struct record_event *record_segment(struct record_pool *pool, uint32_t segment)
{
    char *segments = (char *)pool + pool->segments_at;
    return (struct record_event *)(void *)segments + (uint64_t)segment * RECORD_EVENTS;
}

_Static_assert(RECORD_SEGMENTS < 1 << RECORD_ENTRY_SHIFT, "a segment's number fits its field");
_Static_assert(sizeof(struct record_event) == 16, "an event is sixteen bytes");
_Static_assert(RECORD_SEGMENTS > RECORD_PROCESSES, "one process can always go on");
_Static_assert((RECORD_WINDOW & (RECORD_WINDOW - 1)) == 0, "places wrap round the window");

#endif
