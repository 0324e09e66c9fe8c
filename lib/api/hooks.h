/* SPDX-License-Identifier: MIT */
/*
 * What a program has called around each operation on any heap: a lock (hmm_set_lock, or the macros
 * HMM_LOCK_ENTER and HMM_LOCK_LEAVE) and a trace (hmm_set_trace). malloc and free of own heaps go
 * through a pointer, which leads to other entry points while there is either; other operations test
 * one word that does not change. No pointer of a heap's handle is read before the lock is held: its
 * memory may be shared with processes that attach it anew, each with its own pointers in it.
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

/* A heap in few bytes has a lock around its entry points already. */
#define HMM__HOOKS (!HMM__SMALL && (HMM_WITH_LOCKS || HMM_WITH_TRACE))

/* heap.c: the entry points while no hook is set: those of the heap. */
#if !HMM__SMALL
HMM__HIDDEN void *hmm__entry_malloc(struct hmm_heap *h, size_t size);
HMM__HIDDEN void hmm__entry_free(struct hmm_heap *h, void *block);
#endif

#if HMM__HOOKS

/* hooked.c. They change before the heaps are used, or while nobody uses them. */
extern HMM__HIDDEN uint32_t hmm__hooks; /* those that are set, of enum hmm__hook */
struct hmm__entries {
    void *(*malloc_entry)(struct hmm_heap *h, size_t size);
    void (*free_entry)(struct hmm_heap *h, void *block);
};
extern HMM__HIDDEN struct hmm__entries hmm__entries;

/* Read plainly, as one aligned word, so that the read and its test or jump are one instruction. */
#if HMM__TSAN
#define HMM__HOOKS_READ(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#else
#define HMM__HOOKS_READ(word) (word)
#endif

/* With a lock in the form of macros each call is locked. */
#if defined(HMM_LOCK_ENTER)
#define HMM__ENTRY(operation) hmm__hooked_##operation
#else
#define HMM__ENTRY(operation) HMM__HOOKS_READ(hmm__entries.operation##_entry)
#endif

HMM__ALWAYS_INLINE bool hooks_are_set(void)
{
#if defined(HMM_LOCK_ENTER)
    return true;
#else
    return hmm__unlikely(HMM__HOOKS_READ(hmm__hooks) != 0);
#endif
}

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

HMM__ALWAYS_INLINE bool hooks_are_set(void)
{
    return false;
}

#if !HMM__SMALL
#define HMM__ENTRY(operation) hmm__entry_##operation
#define hmm__hooked_calloc(h, count, size) NULL
#define hmm__hooked_realloc(h, block, size) NULL
#define hmm__hooked_aligned_alloc(h, align, size) NULL
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
