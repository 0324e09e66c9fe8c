/* SPDX-License-Identifier: MIT */
/*
 * hmm_set_lock, and the entry points while a lock or a trace is set: enter, the operation, its
 * event, leave. Calls the entry points of own heaps without hooks (api.h), trace.c, and what the
 * program has set.
 */
#include "api/hooks.h"

#include "api/api.h"

#if HMM__HOOKS

#if defined(HMM_LOCK_HEADER)
#include HMM_LOCK_HEADER
#endif

uint32_t hmm__hooks;
struct hmm__entries hmm__entries = {hmm__entry_malloc, hmm__entry_free};
void (*hmm__hooks_close_cache)(void);

static struct {
    void (*enter)(void *arg);
    void (*leave)(void *arg);
    void *arg;
} hook_lock;

void hmm__hooks_enter(void)
{
#if defined(HMM_LOCK_ENTER)
    HMM_LOCK_ENTER;
#endif
    if (hook_lock.enter != NULL)
        hook_lock.enter(hook_lock.arg);
}

void hmm__hooks_leave(void)
{
    if (hook_lock.leave != NULL)
        hook_lock.leave(hook_lock.arg);
#if defined(HMM_LOCK_LEAVE)
    HMM_LOCK_LEAVE;
#endif
}

void hmm__hooks_change(enum hmm__hook hook, bool set)
{
    uint32_t hooks = (hmm__hooks & ~(uint32_t)hook) | (set ? (uint32_t)hook : 0);
    __atomic_store_n(&hmm__hooks, hooks, __ATOMIC_RELEASE);
    __atomic_store_n(&hmm__entries.malloc_entry, hooks ? hmm__hooked_malloc : hmm__entry_malloc,
                     __ATOMIC_RELEASE);
    __atomic_store_n(&hmm__entries.free_entry, hooks ? hmm__hooked_free : hmm__entry_free,
                     __ATOMIC_RELEASE);
    if (set && hmm__hooks_close_cache != NULL)
        hmm__hooks_close_cache();
}

#if HMM_WITH_LOCKS

void hmm_set_lock(void (*at_enter)(void *arg), void (*at_leave)(void *arg), void *arg)
{
    bool set = at_enter != NULL || at_leave != NULL;
    hook_lock.enter = at_enter;
    hook_lock.leave = at_leave;
    hook_lock.arg = arg;
    hmm__hooks_change(HMM__HOOK_LOCK, set);
}

#endif

/* ---- The entry points ---- */

void *hmm__hooked_malloc(struct hmm_heap *h, size_t size)
{
    hmm__hooks_enter();
    void *p = hmm__plain_malloc(h, size);
    hmm__trace_alloc(p, size);
    hmm__hooks_leave();
    return p;
}

#if HMM_WITH_CALLOC

void *hmm__hooked_calloc(struct hmm_heap *h, size_t count, size_t size)
{
    size_t bytes = size != 0 && count > SIZE_MAX / size ? SIZE_MAX : count * size;
    hmm__hooks_enter();
    void *p = hmm__plain_calloc(h, count, size);
    hmm__trace_alloc(p, bytes);
    hmm__hooks_leave();
    return p;
}

#endif

#if HMM_WITH_REALLOC

void *hmm__hooked_realloc(struct hmm_heap *h, void *block, size_t size)
{
    uintptr_t was = (uintptr_t)block;
    hmm__hooks_enter();
    void *p = hmm__plain_realloc(h, block, size);
    hmm__trace_resize(was, p, size);
    hmm__hooks_leave();
    return p;
}

#endif

#if HMM_WITH_ALIGNED

void *hmm__hooked_aligned_alloc(struct hmm_heap *h, size_t align, size_t size)
{
    hmm__hooks_enter();
    void *p = hmm__plain_aligned_alloc(h, align, size);
    hmm__trace_aligned(p, size, align);
    hmm__hooks_leave();
    return p;
}

#endif

/* The event comes first: what ends in a panic is the last that is said. */
void hmm__hooked_free(struct hmm_heap *h, void *block)
{
    hmm__hooks_enter();
    hmm__trace_free(block);
    hmm__plain_free(h, block);
    hmm__hooks_leave();
}

#endif
