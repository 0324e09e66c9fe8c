/* SPDX-License-Identifier: MIT */
/*
 * Several regions, each with a heap and with capabilities: hmm_regions_add, hmm_regions_malloc and
 * the others. Calls the entry points of own heaps.
 *
 * A region is described at its low end, in front of its heap, so that nothing else is allocated;
 * the descriptions are a list in the order of adding. What a block was asked to be, its needs, is
 * the last word of its usable bytes: realloc reads it when the block must move.
 */
#include "api/api.h"

#include "api/hooks.h"

#include "base/annotate.h"
#include "heap/block.h"

#if HMM_WITH_REGIONS

struct hmm_region {
    struct hmm_region *next;
    struct hmm_heap *heap;
    uintptr_t low, size; /* the caller's memory */
    uint32_t capabilities;
};

/* The capabilities that a block must have, and those that it should have: 16 bits each. */
typedef uint32_t region_needs;

enum { NEEDS_BYTES = sizeof(region_needs), NEEDS_PREFERRED_SHIFT = 16 };

static uint32_t needs_required(region_needs needs)
{
    return needs & HMM_CAPABILITIES;
}

static uint32_t needs_preferred(region_needs needs)
{
    return needs >> NEEDS_PREFERRED_SHIFT;
}

/* Where the needs of a block with so many usable bytes are; memcheck may count odd ones. */
static char *needs_at(void *block, size_t usable)
{
    return (char *)block + usable - NEEDS_BYTES;
}

/* ---- Regions ---- */

static struct hmm_region *region_at(const struct hmm_regions *regions, uintptr_t at)
{
    struct hmm_region *r = regions->first;
    while (r != NULL && at - r->low >= r->size)
        r = r->next;
    return r;
}

static bool regions_overlap(const struct hmm_regions *regions, uintptr_t low, size_t size)
{
    for (const struct hmm_region *r = regions->first; r != NULL; r = r->next)
        if (low - r->low < r->size || r->low - low < size)
            return true;
    return false;
}

static void regions_append(struct hmm_regions *regions, struct hmm_region *region)
{
    struct hmm_region **end = &regions->first;
    while (*end != NULL)
        end = &(*end)->next;
    *end = region;
}

int hmm_regions_add(struct hmm_regions *regions, void *memory, size_t size, unsigned capabilities,
                    const struct hmm_strategy *strategy)
{
    uintptr_t low = (uintptr_t)memory;
    size_t used = (size_t)(-low & (_Alignof(struct hmm_region) - 1)) + sizeof(struct hmm_region);
    if (capabilities > HMM_CAPABILITIES ||
        (memory != NULL && regions_overlap(regions, low, size))) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    if (memory == NULL || size < used) {
        hmm__set_errno(ENOMEM);
        return -1;
    }
    char *heap_memory = (char *)memory + used;
    struct hmm_heap *heap = hmm_heap_create(heap_memory, size - used, strategy);
    if (heap == NULL)
        return -1;
    struct hmm_region *region = (struct hmm_region *)(void *)heap_memory - 1;
    *region = (struct hmm_region){NULL, heap, low, size, capabilities};
    regions_append(regions, region);
    return 0;
}

struct hmm_heap *hmm_regions_heap(const struct hmm_regions *regions, const void *address)
{
    const struct hmm_region *r = region_at(regions, (uintptr_t)address);
    return r ? r->heap : NULL;
}

/* ---- malloc ---- */

static unsigned bits_set(uint32_t mask)
{
    unsigned n = 0;
    for (; mask != 0; mask &= mask - 1)
        n++;
    return n;
}

static void *malloc_with_needs(struct hmm_heap *h, size_t size, region_needs needs)
{
    void *p = hmm_heap_malloc(h, size + NEEDS_BYTES);
    if (p != NULL)
        memcpy(needs_at(p, hmm_heap_usable_size(h, p)), &needs, NEEDS_BYTES);
    return p;
}

/* By the rule of hmm.h, without the region `but`. */
static void *regions_place(const struct hmm_regions *regions, size_t size, region_needs needs,
                           const struct hmm_region *but)
{
    const uint32_t required = needs_required(needs), preferred = needs_preferred(needs);
    bool suits = false;
    for (unsigned has = bits_set(preferred) + 1; has-- != 0;)
        for (const struct hmm_region *r = regions->first; r != NULL; r = r->next) {
            if ((required & ~r->capabilities) != 0 || bits_set(r->capabilities & preferred) != has)
                continue;
            suits = true;
            void *p = r == but ? NULL : malloc_with_needs(r->heap, size, needs);
            if (p != NULL)
                return p;
        }
    hmm__set_errno(suits ? ENOMEM : EINVAL);
    return NULL;
}

void *hmm_regions_malloc(struct hmm_regions *regions, size_t size, unsigned required,
                         unsigned preferred)
{
    if (required > HMM_CAPABILITIES) {
        hmm__set_errno(EINVAL);
        return NULL;
    }
    if (size > (size_t)PTRDIFF_MAX - NEEDS_BYTES) {
        hmm__set_errno(ENOMEM);
        return NULL;
    }
    region_needs needs = required | (uint32_t)(preferred & HMM_CAPABILITIES)
                                        << NEEDS_PREFERRED_SHIFT;
    return regions_place(regions, size, needs, NULL);
}

/* ---- free and realloc ---- */

/* The region that block is in. NULL, where misuse is not detected: it is in none. */
static struct hmm_region *region_of(const struct hmm_regions *regions, const void *block,
                                    const char *operation)
{
    struct hmm_region *r = region_at(regions, (uintptr_t)block);
#if HMM_WITH_CHECKS || !HMM__SMALL
    if (r == NULL)
        hmm__panic(operation, block, "pointer outside the heap");
#else
    (void)operation;
#endif
    return r;
}

void hmm_regions_free(struct hmm_regions *regions, void *block)
{
    struct hmm_region *r = block ? region_of(regions, block, "free") : NULL;
    if (r != NULL)
        hmm_heap_free(r->heap, block);
}

#if HMM_WITH_REALLOC

/* Ends the program if block is not a block in use. */
static size_t regions_usable(const struct hmm_heap *h, const void *block)
{
    hmm__hooks_begin();
#if HMM_WITH_CHECKS || !HMM__SMALL
#if !HMM__SMALL
    if (h->check_flags & HMM__CHECK_MEMCHECK)
        annotate_enter();
#endif
    if (!hmm__seems_valid(h, block))
        hmm__misuse(h, block, "realloc");
#if !HMM__SMALL
    if (h->check_flags & HMM__CHECK_MEMCHECK)
        annotate_leave();
#endif
#endif
    size_t usable = hmm_heap_usable_size(h, block);
    hmm__hooks_end();
    return usable;
}

/* The needs of block, which has so many usable bytes. Needs that its region does not meet are none:
 * the program has written beyond its bytes. */
static region_needs needs_of(const struct hmm_region *r, void *block, size_t usable)
{
    region_needs needs;
    memcpy(&needs, needs_at(block, usable), NEEDS_BYTES);
#if HMM_WITH_CHECKS || !HMM__SMALL
    if ((needs_required(needs) & ~r->capabilities) != 0)
        hmm__panic("realloc", block, "its end was overwritten: it does not tell its capabilities");
#else
    (void)r;
#endif
    return needs;
}

static void *regions_move(const struct hmm_regions *regions, struct hmm_region *from, void *block,
                          size_t size)
{
    size_t usable = regions_usable(from->heap, block), bytes = usable - NEEDS_BYTES;
    void *p = regions_place(regions, size, needs_of(from, block, usable), from);
    if (p == NULL)
        return NULL;
    memcpy(p, block, bytes < size ? bytes : size);
    hmm_heap_free(from->heap, block);
    return p;
}

static void *regions_resize(const struct hmm_regions *regions, struct hmm_region *r, void *block,
                            size_t size)
{
    size_t usable = regions_usable(r->heap, block);
    region_needs needs = needs_of(r, block, usable);
    void *p = hmm_heap_realloc(r->heap, block, size + NEEDS_BYTES);
    if (p == NULL)
        return regions_move(regions, r, block, size);
    memcpy(needs_at(p, hmm_heap_usable_size(r->heap, p)), &needs, NEEDS_BYTES);
    return p;
}

void *hmm_regions_realloc(struct hmm_regions *regions, void *block, size_t size)
{
    if (block == NULL)
        return hmm_regions_malloc(regions, size, 0, 0);
    struct hmm_region *r = region_of(regions, block, "realloc");
    if (r == NULL)
        return NULL;
    if (size == 0) {
        hmm_heap_free(r->heap, block);
        return NULL;
    }
    if (size > (size_t)PTRDIFF_MAX - NEEDS_BYTES) {
        hmm__set_errno(ENOMEM);
        return NULL;
    }
    return regions_resize(regions, r, block, size);
}

#endif

#endif
