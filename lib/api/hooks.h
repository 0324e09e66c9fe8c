/* SPDX-License-Identifier: MIT */
/*
 * What a program has called around each operation on any heap: a lock (hmm_set_lock, or the macros
 * HMM_LOCK_ENTER and HMM_LOCK_LEAVE) and a trace (hmm_set_trace). While it has neither, malloc,
 * free, and calloc and realloc of a heap without a cache pay nothing for them (heap/gate.h); other
 * operations test one word that does not change.
 * Includes lib/heap only.
 *
 * The process heap has its own lock and its cache besides. Thread caches are not tested for hooks:
 * instead the process heap closes its cache when there are some, so that every operation reaches
 * an entry point of lib/api.
 */
#ifndef HMM_API_HOOKS_H
#define HMM_API_HOOKS_H

#include "base/hooks.h"
#include "heap/heap.h"

enum hmm__hook { HMM__HOOK_LOCK = 1, HMM__HOOK_TRACE = 2 };

#if HMM__HOOKS

/* Closes the process heap's cache; NULL: it has none. Set by the process heap. */
extern HMM__HIDDEN void (*hmm__hooks_close_cache)(void);

HMM__HIDDEN HMM__COLD void hmm__hooks_enter(void);
HMM__HIDDEN HMM__COLD void hmm__hooks_leave(void);
HMM__HIDDEN HMM__COLD void hmm__hooks_change(enum hmm__hook hook, bool set);

/* The lock, if one is set, for what is no entry point of malloc and free. */
HMM__ALWAYS_INLINE void hmm__hooks_begin(void)
{
    if (hooks_are_set())
        hmm__hooks_enter();
}

HMM__ALWAYS_INLINE void hmm__hooks_end(void)
{
    if (hooks_are_set())
        hmm__hooks_leave();
}

/* The entry points while a hook is set. */
HMM__HIDDEN HMM__COLD void *hmm__hooked_malloc(struct hmm_heap *h, size_t size);
HMM__HIDDEN HMM__COLD void *hmm__hooked_calloc(struct hmm_heap *h, size_t count, size_t size);
HMM__HIDDEN HMM__COLD void *hmm__hooked_realloc(struct hmm_heap *h, void *block, size_t size);
HMM__HIDDEN HMM__COLD void *hmm__hooked_aligned_alloc(struct hmm_heap *h, size_t align,
                                                      size_t size);
HMM__HIDDEN HMM__COLD void hmm__hooked_free(struct hmm_heap *h, void *block);

#else

#if !HMM__SMALL
#define hmm__hooked_malloc(h, size) NULL
#define hmm__hooked_calloc(h, count, size) NULL
#define hmm__hooked_realloc(h, block, size) NULL
#define hmm__hooked_aligned_alloc(h, align, size) NULL
#define hmm__hooked_free(h, block) ((void)0)
#endif

/* Of a heap in few bytes. */
HMM__ALWAYS_INLINE void hmm__hooks_begin(void)
{
    hmm__enter();
}

HMM__ALWAYS_INLINE void hmm__hooks_end(void)
{
    hmm__leave();
}

HMM__ALWAYS_INLINE void hmm__hooks_change(enum hmm__hook hook, bool set)
{
    (void)hook, (void)set;
}

#endif

/* trace.c: an event each, if a trace is set. With the lock. A p of NULL is a request that failed.
 */
#if HMM_WITH_TRACE
HMM__HIDDEN HMM__COLD void hmm__trace_alloc(const void *p, size_t size);
HMM__HIDDEN HMM__COLD void hmm__trace_aligned(const void *p, size_t size, size_t align);
HMM__HIDDEN HMM__COLD void hmm__trace_free(const void *p);
/* `was` is the address of the block, which may be free by now; 0: none. */
HMM__HIDDEN HMM__COLD void hmm__trace_resize(uintptr_t was, const void *now, size_t size);
#else
HMM__ALWAYS_INLINE void hmm__trace_alloc(const void *p, size_t size)
{
    (void)p, (void)size;
}

HMM__ALWAYS_INLINE void hmm__trace_aligned(const void *p, size_t size, size_t align)
{
    (void)p, (void)size, (void)align;
}

HMM__ALWAYS_INLINE void hmm__trace_free(const void *p)
{
    (void)p;
}

HMM__ALWAYS_INLINE void hmm__trace_resize(uintptr_t was, const void *now, size_t size)
{
    (void)was, (void)now, (void)size;
}
#endif

#endif
