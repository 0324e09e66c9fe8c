/* SPDX-License-Identifier: MIT */
/*
 * hmm_heap_malloc_within: a block whose address meets a constraint, as vmem_xalloc of Solaris has
 * it. The constraint, in addresses and bytes, becomes a piece, in refs and granules, which the
 * strategy places (hmm-strategy.h). Calls the heap, and the checked entry points.
 */
#include "api/api.h"

#include "api/hooks.h"

#include "heap/block.h"

#if HMM_WITH_REGIONS

/* Bytes that the constraint is about: a block of no bytes has an address too. */
static size_t constrained_bytes(size_t size)
{
    return size ? size : 1;
}

static uintptr_t constrained_align(const struct hmm_constraint *c)
{
    return c->align > HMM_GRANULE ? c->align : HMM_GRANULE;
}

/* Between two boundaries the lowest aligned address is always as far above the lower one. */
static bool is_consistent(const struct hmm_constraint *c, size_t bytes)
{
    if ((c->align & (c->align - 1)) != 0 || (c->boundary & (c->boundary - 1)) != 0)
        return false;
    if (c->phase != 0 && (c->phase >= c->align || c->phase % HMM_GRANULE != 0))
        return false;
    size_t first = c->boundary ? c->phase & (c->boundary - 1) : 0;
    return c->boundary == 0 || (bytes <= c->boundary && first <= c->boundary - bytes);
}

/* The lowest address from `low` on at which the block may lie; less than low: there is none. */
static uintptr_t lowest_address(const struct hmm_constraint *c, size_t bytes)
{
    uintptr_t low = (uintptr_t)c->low, mask = constrained_align(c) - 1;
    uintptr_t at = low + ((c->phase - low) & mask);
    uintptr_t into = c->boundary ? at & (c->boundary - 1) : 0;
    if (at < low || c->boundary == 0 || c->boundary - into >= bytes)
        return at;
    at += c->boundary - into;
    return at < low ? 0 : at + ((c->phase - at) & mask);
}

/* Whether there is an address, whatever the heap. */
static bool is_possible(const struct hmm_constraint *c, size_t bytes)
{
    if (!is_consistent(c, bytes))
        return false;
    uintptr_t at = lowest_address(c, bytes), high = (uintptr_t)c->high;
    return at >= (uintptr_t)c->low && (high == 0 || (at <= high && high - at >= bytes));
}

#if UINTPTR_MAX > UINT32_MAX

/* An alignment of more granules than refs have: at most one ref of the heap is aligned so. */
static bool pin_piece(const struct hmm_heap *h, const struct hmm_constraint *c,
                      struct hmm_piece *piece)
{
    uintptr_t at = ((c->phase - (uintptr_t)h) & (c->align - 1)) / HMM_GRANULE;
    if (at > HMM__REF_GRANULES_MAX || at < piece->low)
        return false;
    if (piece->high != 0 && at + piece->granules > piece->high)
        return false;
    piece->align = 1;
    piece->low = (hmm_ref)at;
    piece->high = (hmm_ref)at + piece->granules;
    return true;
}

#endif

/* False: all of [low, high) lies outside what refs of this heap reach. */
static bool limit_piece(const struct hmm_heap *h, const struct hmm_constraint *c, size_t bytes,
                        struct hmm_piece *piece)
{
    uintptr_t base = (uintptr_t)h, low = (uintptr_t)c->low, high = (uintptr_t)c->high;
    if (low > base) {
        uintptr_t up = (low - base - 1) / HMM_GRANULE + 1;
        if (up > HMM__REF_GRANULES_MAX)
            return false;
        piece->low = (hmm_ref)up;
    }
    if (high == 0)
        return true;
    if (high < base || high - base < bytes)
        return false;
    uintptr_t last = (high - base - bytes) / HMM_GRANULE;
    if (last <= HMM__REF_GRANULES_MAX - piece->granules)
        piece->high = (hmm_ref)last + piece->granules;
    return true;
}

/* Boundaries are multiples of an address, so they are `-base` in refs; the piece has them relative
 * to its phase. One of more than 2^31 granules is taken as of 2^31: heaps of 32 GiB and more have
 * places then that are not used. */
static void bound_piece(const struct hmm_constraint *c, uint32_t base, struct hmm_piece *piece)
{
    const size_t max = (size_t)1 << (sizeof(size_t) > 4 ? 31 : 27);
    size_t granules = c->boundary / HMM_GRANULE;
    piece->boundary = (uint32_t)(granules < max ? granules : max);
    piece->shift = -base - piece->phase;
}

/* False: no block of the heap can be one. */
static bool constrained_piece(const struct hmm_heap *h, size_t size, const struct hmm_constraint *c,
                              struct hmm_piece *piece)
{
    size_t bytes = constrained_bytes(size), align = constrained_align(c) / HMM_GRANULE;
    uint32_t base = (uint32_t)((uintptr_t)h / HMM_GRANULE), n = hmm__granules_for(size);
    *piece = (struct hmm_piece){.granules = n, .align = (uint32_t)align};
    piece->slack = n - (uint32_t)((bytes + HMM_GRANULE - 1) / HMM_GRANULE);
    piece->phase = (uint32_t)(c->phase / HMM_GRANULE) - base;
    if (!limit_piece(h, c, bytes, piece))
        return false;
    bound_piece(c, base, piece);
#if UINTPTR_MAX > UINT32_MAX
    if (align > UINT32_C(1) << 31)
        return pin_piece(h, c, piece);
#endif
    return true;
}

static void *malloc_constrained(struct hmm_heap *h, size_t size, const struct hmm_piece *piece)
{
    bool plain = piece->align == 1 && !hmm_piece_is_bounded(piece);
#if !HMM__SMALL
    if (h->check_flags)
        return hmm__checked_malloc_piece(h, size, plain ? NULL : piece);
#else
    (void)size;
#endif
    return plain ? hmm__malloc(h, size) : hmm__malloc_piece(h, piece);
}

static void *malloc_within(struct hmm_heap *h, size_t size, const struct hmm_constraint *c)
{
    struct hmm_piece piece;
    if (!is_possible(c, constrained_bytes(size))) {
        COUNT(h->failed++);
        hmm__set_errno(EINVAL);
        return NULL;
    }
    if (size > HMM_MAX_REQUEST || !constrained_piece(h, size, c, &piece))
        return hmm__fail(h, size);
    return malloc_constrained(h, size, &piece);
}

void *hmm_heap_malloc_within(struct hmm_heap *heap, size_t size,
                             const struct hmm_constraint *constraint)
{
    if (constraint == NULL)
        return hmm_heap_malloc(heap, size);
    hmm__hooks_begin();
    void *p = malloc_within(heap, size, constraint);
    if (HMM__SMALL || hooks_are_set())
        hmm__trace_aligned(p, size, constraint->align);
    hmm__hooks_end();
    return p;
}

#endif
