/* SPDX-License-Identifier: MIT */
/*
 * Huge blocks: huge.h says what. Calls the region's mapper, brk.c and lib/base.
 *
 * The registry is a table with a slot for each; there are seldom more than a few, so a search looks
 * at all. It is changed with the lock, and read without it by who frees or resizes a block of its
 * own while the lock is unavailable: that block's slot does not change. A slot that is not in use
 * has size 0, and the address of the block that was there last, by which a second free is known.
 * A table that is too small is copied into a larger one; the small one stays.
 *
 * With HMM_HEAP_SIZE the region ends lower by what the huge blocks have.
 */
#include "process/huge.h"

#include "heap/block.h"
#include "process/process.h"
#include "process/region.h"

#if HMM__PAGES && HMM_WITH_PROCESS && !HMM__SMALL

struct huge {
    char *p;     /* atomic */
    size_t size; /* atomic */
    size_t align;
};

#define FIRST_SLOTS 16u

/* Blocks have a multiple of this: of whatever the page is. */
#define HUGE_STEP ((size_t)64 << 10)

static struct huge first_slots[FIRST_SLOTS];

static struct {
    struct huge *slots; /* atomic */
    size_t count;       /* that have been in use; atomic */
    size_t room;
    bool bound;
} registry = {.slots = first_slots, .room = FIRST_SLOTS};

static size_t rounded(size_t size)
{
    return (size + HUGE_STEP - 1) & ~(HUGE_STEP - 1);
}

/* ---- The registry ---- */

static char *block_of_slot(const struct huge *s)
{
    return __atomic_load_n(&s->p, __ATOMIC_RELAXED);
}

static void set_block_of_slot(struct huge *s, char *p)
{
    __atomic_store_n(&s->p, p, __ATOMIC_RELAXED);
}

static size_t size_of_slot(const struct huge *s)
{
    return __atomic_load_n(&s->size, __ATOMIC_ACQUIRE);
}

static void set_size_of_slot(struct huge *s, size_t size)
{
    __atomic_store_n(&s->size, size, __ATOMIC_RELEASE);
}

/* The slot of the block at p. NULL: there is none. */
static struct huge *slot_at(const void *p)
{
    size_t count = __atomic_load_n(&registry.count, __ATOMIC_ACQUIRE);
    struct huge *s = __atomic_load_n(&registry.slots, __ATOMIC_ACQUIRE);
    for (const struct huge *end = s + count; s < end; s++)
        if (size_of_slot(s) != 0 && block_of_slot(s) == p)
            return s;
    return NULL;
}

/* Ends the program if p points into a block, or if one was there. With the lock. */
static void refuse_others(const void *p, const char *operation)
{
    for (const struct huge *s = registry.slots; s < registry.slots + registry.count; s++) {
        if (s->size == 0 && s->p == p)
            hmm__panic(operation, p, "double free, or not a block: it is not in use");
        if ((uintptr_t)p - (uintptr_t)s->p < s->size)
            hmm__panic(operation, p, "not a block: the pointer is inside one");
    }
}

static bool enlarge_registry(void)
{
    size_t bytes = rounded(2 * registry.room * sizeof(struct huge));
    struct huge *more = (struct huge *)(void *)hmm__region_mapper->map(bytes, HMM_GRANULE);
    if (more == NULL)
        return false;
    memcpy(more, registry.slots, registry.room * sizeof *more);
    registry.room *= 2;
    __atomic_store_n(&registry.slots, more, __ATOMIC_RELEASE);
    return true;
}

/* One that is not in use. NULL: there is no memory. */
static struct huge *unused_slot(void)
{
    for (struct huge *s = registry.slots; s < registry.slots + registry.count; s++)
        if (s->size == 0)
            return s;
    if (registry.count == registry.room && !enlarge_registry())
        return NULL;
    __atomic_store_n(&registry.count, registry.count + 1, __ATOMIC_RELEASE);
    return &registry.slots[registry.count - 1];
}

/* ---- The bound ---- */

/* Takes so many bytes from the region's end. */
static bool take_from_region(struct hmm_heap *h, size_t bytes)
{
    size_t n = bytes / HMM_GRANULE;
    return !registry.bound ||
           (n <= h->high_limit && hmm__high_lower(h, h->high_limit - (hmm_ref)n));
}

/* What a state was placed below meanwhile stays so. */
static void return_to_region(struct hmm_heap *h, size_t bytes)
{
    hmm_ref n = (hmm_ref)(bytes / HMM_GRANULE);
    if (registry.bound && h->state_place != HMM__STATE_HIGH)
        hmm__high_raise(h, h->limit + n, h->high_limit + n);
}

/* ---- Blocks ---- */

static void count_huge(struct hmm_heap *h, size_t more, size_t less)
{
    h->huge_bytes += more - less;
    if (more > less)
        live_add(h, more - less);
    else
        live_sub(h, less - more);
}

bool hmm__huge_may(size_t size)
{
    return hmm__region_mapper != NULL && size >= HMM__HUGE_MIN &&
           !(registry.bound && size <= HMM_MAX_REQUEST);
}

static void *make_huge(struct hmm_heap *h, size_t align, size_t size)
{
    if (size > (size_t)PTRDIFF_MAX / 2)
        return NULL;
    size_t bytes = rounded(size);
    struct huge *s = unused_slot();
    if (s == NULL || !take_from_region(h, bytes))
        return NULL;
    char *p = hmm__region_mapper->map(bytes, align);
    if (p == NULL && absent_spares(h))
        p = hmm__region_mapper->map(bytes, align);
    if (p == NULL) {
        return_to_region(h, bytes);
        return NULL;
    }
    set_block_of_slot(s, p);
    s->align = align;
    set_size_of_slot(s, bytes);
    count_huge(h, bytes, 0);
    h->huge_blocks++;
    return p;
}

void *hmm__huge_else(struct hmm_heap *h, void *p, size_t align, size_t size)
{
    bool trying = h->trying;
    h->trying = false;
    if (p != NULL || !trying)
        return p;
    if (align == 0 || (align & (align - 1)) != 0) /* refused for that */
        return NULL;
    p = make_huge(h, align, size);
    return p ? p : hmm__fail(h, size);
}

static bool resize_in_region(struct hmm_heap *h, size_t from, size_t to)
{
    if (to > from)
        return take_from_region(h, to - from);
    return_to_region(h, from - to);
    return true;
}

void *hmm__huge_resize(struct hmm_heap *h, void *p, size_t size)
{
    struct huge *s = slot_at(p);
    size_t was = s->size, now = size <= (size_t)PTRDIFF_MAX / 2 ? rounded(size) : 0;
    if (now == was)
        return p;
    if (now == 0 || !resize_in_region(h, was, now))
        return NULL;
    char *moved = hmm__region_mapper->remap(p, was, now, s->align);
    if (moved == NULL && absent_spares(h))
        moved = hmm__region_mapper->remap(p, was, now, s->align);
    if (moved == NULL) {
        resize_in_region(h, now, was);
        return NULL;
    }
    set_block_of_slot(s, moved);
    set_size_of_slot(s, now);
    count_huge(h, now, was);
    return moved;
}

bool hmm__huge_free(struct hmm_heap *h, void *p, const char *operation)
{
    struct huge *s = slot_at(p);
    if (s == NULL) {
        refuse_others(p, operation);
        return false;
    }
    size_t bytes = s->size;
    set_size_of_slot(s, 0);
    hmm__region_mapper->unmap(p, bytes);
    count_huge(h, 0, bytes);
    h->huge_blocks--;
    return_to_region(h, bytes);
    return true;
}

size_t hmm__huge_usable(const void *p)
{
    const struct huge *s = slot_at(p);
    return s ? size_of_slot(s) : 0;
}

void hmm__huge_refuse(const void *p, const char *operation)
{
    enum lock_hold hold = hmm__process_lock();
    if (hold != LOCK_UNAVAILABLE)
        refuse_others(p, operation);
    hmm__process_unlock(hold);
}

static int walk_huge(int (*visit)(void *arg, const struct hmm_block_info *), void *arg)
{
    int result = 0;
    for (size_t i = 0; i < registry.count && result == 0; i++) {
        const struct huge *s = &registry.slots[i];
        struct hmm_block_info info = {
            .payload = s->p, .size = s->size, .usable = s->size, .used = 1};
        if (s->size != 0)
            result = visit(arg, &info);
    }
    return result;
}

void hmm__huge_set_up(struct hmm_heap *h, bool bound)
{
    registry.bound = bound;
    h->walk_beyond = walk_huge;
}

#endif
