/* SPDX-License-Identifier: MIT */
/*
 * Huge blocks of the process heap: those that are larger than a header can say, and large ones for
 * which the region has no room. Each is a mapping of its own. A registry, and never a header, tells
 * whether a pointer is one.
 */
#ifndef HMM_HUGE_H
#define HMM_HUGE_H

#include "heap/heap.h"

/* No smaller block is mapped by itself. */
#define HMM__HUGE_MIN ((size_t)128 << 10)

#if HMM__PAGES && HMM_WITH_PROCESS && !HMM__SMALL

/* Once, before all others. `bound`: the heap and the huge blocks have together no more than the
 * region. */
HMM__HIDDEN void hmm__huge_set_up(struct hmm_heap *h, bool bound);

/* ---- With the lock ---- */

/* Whether a request of so many bytes that the heap refuses may be had as a huge block: then it is
 * to be tried (hmm_heap.trying). */
HMM__HIDDEN HMM__COLD bool hmm__huge_may(size_t size);

/* After the heap has tried: p; or, if p is NULL and trying, a huge block, or NULL and a failure is
 * counted. Ends trying. */
HMM__HIDDEN HMM__COLD void *hmm__huge_else(struct hmm_heap *h, void *p, size_t align, size_t size);

/* Resizes huge block p. NULL: it stays as it is. */
HMM__HIDDEN HMM__COLD void *hmm__huge_resize(struct hmm_heap *h, void *p, size_t size);

/* False: p is in no huge block. Ends the program if it is inside one, or was one. */
HMM__HIDDEN HMM__COLD bool hmm__huge_free(struct hmm_heap *h, void *p, const char *operation);

/* ---- Without the lock too ---- */

/* The bytes of huge block p; 0: it is none. */
HMM__HIDDEN HMM__COLD size_t hmm__huge_usable(const void *p);

/* Ends the program as hmm__huge_free does. */
HMM__HIDDEN HMM__COLD void hmm__huge_refuse(const void *p, const char *operation);

#else

HMM__ALWAYS_INLINE void hmm__huge_set_up(struct hmm_heap *h, bool bound)
{
    (void)h, (void)bound;
}

HMM__ALWAYS_INLINE bool hmm__huge_may(size_t size)
{
    (void)size;
    return false;
}

HMM__ALWAYS_INLINE void *hmm__huge_else(struct hmm_heap *h, void *p, size_t align, size_t size)
{
    (void)h, (void)align, (void)size;
    return p;
}

HMM__ALWAYS_INLINE void *hmm__huge_resize(struct hmm_heap *h, void *p, size_t size)
{
    (void)h, (void)p, (void)size;
    return NULL;
}

HMM__ALWAYS_INLINE bool hmm__huge_free(struct hmm_heap *h, void *p, const char *operation)
{
    (void)h, (void)p, (void)operation;
    return false;
}

HMM__ALWAYS_INLINE size_t hmm__huge_usable(const void *p)
{
    (void)p;
    return 0;
}

HMM__ALWAYS_INLINE void hmm__huge_refuse(const void *p, const char *operation)
{
    (void)p, (void)operation;
}

#endif
#endif
