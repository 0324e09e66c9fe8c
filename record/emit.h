/* SPDX-License-Identifier: MIT */
/*
 * The recorded process's side: recording an event. This code runs in every allocation of the
 * recorded program: it takes no lock, calls no libc function, uses no thread-local memory, and does
 * one atomic addition.
 */
#ifndef HMM_RECORD_EMIT_H
#define HMM_RECORD_EMIT_H

#include "pool.h"

#include <stddef.h>
#ifdef HAVE_SYS_SINGLE_THREADED_H
#include <sys/single_threaded.h>
#define RECORD_ONE_THREAD __libc_single_threaded
#else
#define RECORD_ONE_THREAD false
#endif

#define RECORD_HIDDEN __attribute__((visibility("hidden")))
#define RECORD_SELDOM(condition) __builtin_expect(!!(condition), 0)

/* No smaller than a page of the system. */
#if defined(__x86_64__) || defined(__i386__)
#define RECORD_PAGE 4096
#else
#define RECORD_PAGE 65536
#endif

/*
 * What a child by fork must not inherit. The kernel clears these pages in every such child, however
 * it was made, and in none that shares its parent's memory (vfork), which writes as its parent.
 */
struct record_own {
    _Alignas(RECORD_PAGE) _Atomic(struct record_process *) process; /* NULL: not looked for yet */
    _Atomic int looking;
    char rest[RECORD_PAGE - 16];
};

extern RECORD_HIDDEN struct record_own record_own;
extern RECORD_HIDDEN struct record_pool *record_pool;
extern RECORD_HIDDEN struct record_event *record_segments; /* of record_pool */

/* In record_own.process: this process is not recorded. */
#define RECORD_OFF ((struct record_process *)1)

/* Joins the pool if that has not been tried yet. NULL iff this process is not recorded. errno
 * keeps. */
RECORD_HIDDEN struct record_process *record_join(void);

/* This process's number as the recorder sees it: in its /proc, even from another pid namespace. */
RECORD_HIDDEN int32_t record_own_pid(void);

/* Gets, or waits for, the segment that place lies in: its number, or -1 iff recording has ended. */
RECORD_HIDDEN int record_await(struct record_process *me, uint64_t place);

static inline struct record_process *record_self(void)
{
    struct record_process *me = atomic_load_explicit(&record_own.process, memory_order_acquire);
    return RECORD_SELDOM((uintptr_t)me <= 1) ? record_join() : me;
}

/* Takes so many places, and returns the first. With a single thread the addition need not be
 * atomic: signal handlers must not call malloc. */
static inline uint64_t record_take_places(struct record_process *me, unsigned count)
{
    if (!RECORD_ONE_THREAD)
        return atomic_fetch_add_explicit(&me->next, count, memory_order_acq_rel);
    uint64_t place = atomic_load_explicit(&me->next, memory_order_relaxed);
    atomic_store_explicit(&me->next, place + count, memory_order_relaxed);
    return place;
}

static inline void record_write(struct record_process *me, uint64_t place, uint64_t what,
                                uint64_t size)
{
    uint64_t n = place / RECORD_EVENTS;
    uint32_t entry = atomic_load_explicit(&me->window[n % RECORD_WINDOW], memory_order_acquire);
    uint32_t segment = record_entry_segment(n, entry);
    if (RECORD_SELDOM(segment >= RECORD_SEGMENTS)) {
        int got = record_await(me, place);
        if (got < 0)
            return;
        segment = (uint32_t)got;
    }
    struct record_event *e =
        record_segments + (size_t)segment * RECORD_EVENTS + place % RECORD_EVENTS;
    e->size = size;
    atomic_store_explicit(&e->what, what, memory_order_release);
}

/* An event of one place; returns the place. */
static inline uint64_t record_emit(enum record_kind kind, const void *address, uint64_t size)
{
    struct record_process *me = record_self();
    if (RECORD_SELDOM(me == NULL))
        return 0;
    uint64_t place = record_take_places(me, 1);
    record_write(me, place, ((uintptr_t)address & ~(uintptr_t)RECORD_KIND_MASK) | kind, size);
    return place;
}

/* The same for a block that was requested by this call stack. */
static inline void record_emit_by(enum record_kind kind, const void *address, uint64_t size,
                                  uint32_t stack)
{
    struct record_process *me = record_self();
    if (RECORD_SELDOM(me == NULL))
        return;
    uint64_t place = record_take_places(me, 2);
    record_write(me, place, RECORD_EXTRA, record_extra(RECORD_EXTRA_USE, 0, stack));
    record_write(me, place + 1, ((uintptr_t)address & ~(uintptr_t)RECORD_KIND_MASK) | kind, size);
}

static inline void record_emit_resized(uint64_t resize, const void *address, uint64_t size,
                                       uint32_t stack)
{
    struct record_process *me = record_self();
    if (me == NULL)
        return;
    uint64_t place = record_take_places(me, 2);
    record_write(me, place, resize << RECORD_PLACE_SHIFT | RECORD_RESIZED, size);
    record_write(me, place + 1, (uintptr_t)address | RECORD_TO, stack);
}

static inline void record_emit_unresized(uint64_t resize)
{
    struct record_process *me = record_self();
    if (me == NULL)
        return;
    uint64_t place = record_take_places(me, 1);
    record_write(me, place, resize << RECORD_PLACE_SHIFT | RECORD_UNRESIZED, 0);
}

#endif
