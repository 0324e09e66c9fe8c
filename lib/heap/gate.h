/* SPDX-License-Identifier: MIT */
/*
 * Gates: how a call of malloc, free or realloc finds out, at no cost, that a lock or a trace is set
 * (api/hooks.h). Includes lib/base only.
 *
 * The common path of each compares something with a constant anyway: the size with the first that
 * it does not serve, the headers' flags with those that it does not free. A gate is a variable in
 * the place of such a constant. While a hook is set all gates are closed: each comparison fails,
 * and the slow path, which asks whether a hook is set, calls hmm__diverted.
 *
 * Only calls from outside are diverted. What the library itself allocates goes by hmm__malloc,
 * hmm__free and hmm__realloc_past_gates, which do without the gates while a hook is set.
 *
 * Gates change as hooks do: before the heaps are used, or while nobody uses them.
 */
#ifndef HMM_HEAP_GATE_H
#define HMM_HEAP_GATE_H

#include "base/compiler.h"

/* A heap in few bytes has a lock around its entry points already. */
#define HMM__HOOKS (!HMM__SMALL && (HMM_WITH_LOCKS || HMM_WITH_TRACE))

/* With a lock in the form of macros each call is locked: there is nothing to find out. */
#if HMM__HOOKS && !defined(HMM_LOCK_ENTER)
#define HMM__GATES 1
#else
#define HMM__GATES 0
#endif

struct hmm_heap;

#if HMM__HOOKS
/* gate.c: those that are set, of enum hmm__hook. */
extern HMM__HIDDEN uint32_t hmm__hooks;
#endif

/* Read plainly, as one aligned word, so that the read and its test are one instruction. */
HMM__ALWAYS_INLINE bool hooks_are_set(void)
{
#if !HMM__HOOKS
    return false;
#elif !HMM__GATES
    return true;
#elif HMM__TSAN
    return hmm__unlikely(__atomic_load_n(&hmm__hooks, __ATOMIC_RELAXED) != 0);
#else
    return hmm__unlikely(hmm__hooks != 0);
#endif
}

#if HMM__GATES

/* gate.c: the entry points while a hook is set; api/hooked.c sets them. */
struct hmm__diverted {
    void *(*malloc_entry)(struct hmm_heap *h, size_t size);
    void (*free_entry)(struct hmm_heap *h, void *block);
#if HMM_WITH_REALLOC
    void *(*realloc_entry)(struct hmm_heap *h, void *block, size_t size);
#endif
};
extern HMM__HIDDEN struct hmm__diverted hmm__diverted;

/* gate.c: HMM_MAX_REQUEST + 1, and the flags of free_by; closed 0, and all bits. */
struct hmm__free_gate {
    uint32_t any, self;
};
extern HMM__HIDDEN size_t hmm__request_gate;
extern HMM__HIDDEN struct hmm__free_gate hmm__free_gate;

HMM__ALWAYS_INLINE size_t hmm__gate_size(const size_t *gate)
{
#if HMM__TSAN
    return __atomic_load_n(gate, __ATOMIC_RELAXED);
#else
    return *gate;
#endif
}

HMM__ALWAYS_INLINE uint32_t hmm__gate_bits(const uint32_t *gate)
{
#if HMM__TSAN
    return __atomic_load_n(gate, __ATOMIC_RELAXED);
#else
    return *gate;
#endif
}

HMM__ALWAYS_INLINE void hmm__gate_set(size_t *gate, size_t value)
{
    __atomic_store_n(gate, value, __ATOMIC_RELEASE);
}

HMM__ALWAYS_INLINE void hmm__gate_set_bits(uint32_t *gate, uint32_t value)
{
    __atomic_store_n(gate, value, __ATOMIC_RELEASE);
}

/* What is compared with: a gate, which is `open` unless a hook is set. */
#define HMM__GATE_SIZE(gate, open) hmm__gate_size(&(gate))
#define HMM__GATE_BITS(gate, open) hmm__gate_bits(&(gate))

#elif !HMM__SMALL

#define HMM__GATE_SIZE(gate, open) ((size_t)(open))
#define HMM__GATE_BITS(gate, open) ((uint32_t)(open))

#endif

/* What has passed a gate is no more than `max`, as it stands in the gate when it is open:
 * compilers, which knew it of a constant, are told. */
HMM__ALWAYS_INLINE void hmm__gate_passed(size_t size, size_t max)
{
    if (size > max)
        __builtin_unreachable();
}

#endif
