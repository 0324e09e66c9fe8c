/* SPDX-License-Identifier: MIT */
/*
 * The Zephyr kit over stand-ins of Zephyr's headers: random requests to two heaps, that the lock of
 * the right heap is held whenever hmm is at work and at no other time, what the statistics say
 * against a walk and this program's own counts, and what is refused. Prints "all is well".
 */
#include "hmm_zephyr.h"
#include "say.h"

#include <errno.h>
#include <string.h>

enum { SLOTS = 200, OPERATIONS = 20000 };

int kit_test_init(void);

static struct hmm_k_heap other;
static char other_memory[12000];

static struct {
    struct hmm_k_heap *heap;
    unsigned char *p;
    size_t size;
} slots[SLOTS];

static struct k_spinlock *held;
static size_t operation, events, awaited, panics;

k_spinlock_key_t k_spin_lock(struct k_spinlock *lock)
{
    EXPECT(held == NULL && lock->held == 0, operation);
    held = lock;
    return (k_spinlock_key_t){lock->held = (int)operation + 1};
}

void k_spin_unlock(struct k_spinlock *lock, k_spinlock_key_t key)
{
    EXPECT(held == lock && lock->held == key.key, operation);
    lock->held = 0;
    held = NULL;
}

void k_panic(void)
{
    panics++;
}

void kit_test_assert(int holds, const char *what)
{
    expect(holds, what, operation);
}

static struct hmm_k_heap *heap_of(const void *p)
{
    const uintptr_t at = (uintptr_t)p - (uintptr_t)other_memory;
    return at < sizeof other_memory ? &other : &hmm_k_system_heap;
}

/* Each operation of hmm's on a heap, and its block is in the heap whose lock is held. */
static void heard(void *arg, const void *bytes, unsigned n)
{
    const uint32_t *event = bytes;
    const uint32_t kind = *event & HMM_EVENT_KIND_MASK;
    (void)arg;
    events++;
    EXPECT(n >= 8 && held != NULL, operation);
    if (kind == HMM_EVENT_ALLOC || kind == HMM_EVENT_FREE) {
        const uintptr_t high = (uintptr_t)other_memory & ~(uintptr_t)UINT32_MAX;
        const void *p = (const void *)(high | (*event & ~HMM_EVENT_KIND_MASK));
        EXPECT(held == &heap_of(p)->lock, operation);
    }
}

/* ---- Figures ---- */

static int visit(void *arg, const struct hmm_block_info *info)
{
    size_t *bytes = arg;
    bytes[info->used ? 1 : 0] += info->used ? info->usable : info->size;
    return 0;
}

static size_t most[2];

static void check_figures(struct hmm_k_heap *h)
{
    struct sys_memory_stats said;
    struct hmm_stats stats;
    size_t bytes[2] = {0}, *max = &most[h == &other];
    (void)hmm_heap_walk(h->heap, visit, bytes);
    hmm_heap_stats(h->heap, &stats);
    EXPECT(hmm_k_heap_runtime_stats_get(h, &said) == 0, operation);
    if (*max < bytes[1])
        *max = bytes[1];
    EXPECT(said.allocated_bytes == bytes[1], operation);
    EXPECT(said.free_bytes == bytes[0] + stats.capacity - stats.brk, operation);
    EXPECT(said.max_allocated_bytes == *max, operation);
    EXPECT(hmm_k_heap_validate(h), operation);
    EXPECT(held == NULL, operation);
}

/* ---- Requests ---- */

static void fill(size_t slot, void *p, size_t size)
{
    slots[slot].p = p;
    slots[slot].size = size;
    memset(p, (int)(slot & 255), size);
}

static int is_filled(size_t slot, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (slots[slot].p[i] != (unsigned char)slot)
            return 0;
    return 1;
}

static size_t random_size(void)
{
    const uint32_t kind = random_below(16);
    return 1 + (kind < 11 ? random_below(100) : kind < 15 ? random_below(500) : random_below(2000));
}

static void *of_the_system(uint32_t kind, size_t align, size_t size)
{
    return kind == 0   ? hmm_k_aligned_alloc(align, size)
           : kind == 1 ? hmm_k_calloc(1, size)
                       : hmm_k_malloc(size);
}

static void *of_the_other(uint32_t kind, size_t align, size_t size)
{
    return kind == 0   ? hmm_k_heap_aligned_alloc(&other, align, size)
           : kind == 1 ? hmm_k_heap_calloc(&other, 1, size)
                       : hmm_k_heap_alloc(&other, size);
}

static void take(size_t slot)
{
    const uint32_t kind = random_below(6), align = 1u << random_below(7);
    const size_t size = random_size();
    struct hmm_k_heap *h = random_below(2) == 0 ? &other : &hmm_k_system_heap;
    unsigned char *p =
        h == &other ? of_the_other(kind, align, size) : of_the_system(kind, align, size);
    awaited++;
    if (p == NULL)
        return;
    EXPECT(heap_of(p) == h && hmm_k_heap_usable_size(h, p) >= size, operation);
    EXPECT(kind != 0 || ((uintptr_t)p & (align - 1)) == 0, operation);
    for (size_t i = 0; kind == 1 && i < size; i++)
        EXPECT(p[i] == 0, operation);
    slots[slot].heap = h;
    fill(slot, p, size);
}

static void resize(size_t slot)
{
    const size_t size = random_size(), was = slots[slot].size;
    unsigned char *p = slots[slot].heap == &other ? hmm_k_heap_realloc(&other, slots[slot].p, size)
                                                  : hmm_k_realloc(slots[slot].p, size);
    awaited++;
    if (p == NULL)
        return;
    slots[slot].p = p;
    EXPECT(is_filled(slot, size < was ? size : was), operation);
    fill(slot, p, size);
}

static void give(size_t slot)
{
    if (slots[slot].heap == &other)
        hmm_k_heap_free(&other, slots[slot].p);
    else
        hmm_k_free(slots[slot].p);
    awaited++;
    slots[slot].p = NULL;
}

static void random_requests(void)
{
    for (operation = 1; operation <= OPERATIONS; operation++) {
        const size_t slot = random_below(SLOTS);
        EXPECT(slots[slot].p == NULL || is_filled(slot, slots[slot].size), operation);
        if (slots[slot].p == NULL)
            take(slot);
        else if (random_below(4) == 0)
            resize(slot);
        else
            give(slot);
        check_figures(&other);
        check_figures(&hmm_k_system_heap);
        if (operation == OPERATIONS / 2) {
            EXPECT(hmm_k_heap_runtime_stats_reset_max(&other) == 0, operation);
            most[1] = other.allocated;
        }
    }
}

static void what_is_refused(void)
{
    struct hmm_k_heap small;
    struct sys_memory_stats said;
    EXPECT(hmm_k_malloc(0) == NULL && hmm_k_malloc(SIZE_MAX) == NULL, 0);
    EXPECT(hmm_k_calloc(SIZE_MAX / 4, 8) == NULL && hmm_k_aligned_alloc(24, 8) == NULL, 0);
    EXPECT(hmm_k_realloc(NULL, 0) == NULL, 0);
    hmm_k_free(NULL);
    EXPECT(hmm_k_heap_runtime_stats_get(NULL, &said) == -EINVAL, 0);
    EXPECT(hmm_k_heap_runtime_stats_get(&other, NULL) == -EINVAL, 0);
    EXPECT(hmm_k_heap_runtime_stats_reset_max(NULL) == -EINVAL, 0);
    EXPECT(hmm_k_heap_init(&small, other_memory, 16) == -ENOMEM, 0);
}

int main(void)
{
    EXPECT(kit_test_init() == 0, 0);
    EXPECT(hmm_k_heap_init(&other, other_memory, sizeof other_memory) == 0, 0);
    held = &other.lock;
    hmm_set_trace(heard, NULL);
    held = NULL;
    random_requests();
    EXPECT(events == awaited + 1, events);
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].p != NULL)
            give(i);
    check_figures(&other);
    check_figures(&hmm_k_system_heap);
    EXPECT(other.allocated == 0 && hmm_k_system_heap.allocated == 0, 0);
    what_is_refused();
    EXPECT(panics == 0, panics);
    return verdict();
}
