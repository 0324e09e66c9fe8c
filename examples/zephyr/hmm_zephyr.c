/* SPDX-License-Identifier: MIT */
/*
 * Heaps of hmm in Zephyr: see hmm_zephyr.h. The lock is held for operations on the heap only, not
 * while bytes are cleared; for realloc while they are copied. Calls hmm.h and the kernel.
 */
#include "hmm_zephyr.h"

#include <errno.h>
#include <string.h>

#include <zephyr/init.h>
#include <zephyr/spinlock.h>
#include <zephyr/sys/__assert.h>

#if HMM_WITH_CHECKS
static void misused(const char *line)
{
    __ASSERT(false, "%s", line);
    (void)line;
    k_panic();
}
#endif

/* With the lock. */
static void count(struct hmm_k_heap *h, const void *mem)
{
    h->allocated += hmm_heap_usable_size(h->heap, mem);
    if (h->max_allocated < h->allocated)
        h->max_allocated = h->allocated;
}

int hmm_k_heap_init(struct hmm_k_heap *h, void *mem, size_t bytes)
{
    *h = (struct hmm_k_heap){.heap = hmm_heap_create(mem, bytes, CONFIG_HMM_STRATEGY)};
#if HMM_WITH_CHECKS
    hmm_on_panic(misused);
#endif
    return h->heap != NULL ? 0 : -ENOMEM;
}

void *hmm_k_heap_alloc(struct hmm_k_heap *h, size_t bytes)
{
    void *mem = NULL;
    k_spinlock_key_t key = k_spin_lock(&h->lock);
    if (bytes != 0)
        mem = hmm_heap_malloc(h->heap, bytes);
    count(h, mem);
    k_spin_unlock(&h->lock, key);
    return mem;
}

void *hmm_k_heap_calloc(struct hmm_k_heap *h, size_t num, size_t size)
{
    const size_t bytes = size != 0 && num > SIZE_MAX / size ? SIZE_MAX : num * size;
    void *mem = hmm_k_heap_alloc(h, bytes);
    return mem != NULL ? memset(mem, 0, bytes) : NULL;
}

void hmm_k_heap_free(struct hmm_k_heap *h, void *mem)
{
    if (mem == NULL)
        return;
    k_spinlock_key_t key = k_spin_lock(&h->lock);
    const size_t bytes = hmm_heap_usable_size(h->heap, mem);
    hmm_heap_free(h->heap, mem);
    h->allocated -= bytes;
    k_spin_unlock(&h->lock, key);
}

size_t hmm_k_heap_usable_size(struct hmm_k_heap *h, void *mem)
{
    return hmm_heap_usable_size(h->heap, mem);
}

#if HMM_WITH_ALIGNED
void *hmm_k_heap_aligned_alloc(struct hmm_k_heap *h, size_t align, size_t bytes)
{
    void *mem = NULL;
    k_spinlock_key_t key = k_spin_lock(&h->lock);
    if (bytes != 0)
        mem = hmm_heap_aligned_alloc(h->heap, align != 0 ? align : 1, bytes);
    count(h, mem);
    k_spin_unlock(&h->lock, key);
    return mem;
}
#endif

#if HMM_WITH_REALLOC
void *hmm_k_heap_realloc(struct hmm_k_heap *h, void *mem, size_t bytes)
{
    if (mem == NULL)
        return hmm_k_heap_alloc(h, bytes);
    if (bytes == 0) {
        hmm_k_heap_free(h, mem);
        return NULL;
    }
    k_spinlock_key_t key = k_spin_lock(&h->lock);
    const size_t was = hmm_heap_usable_size(h->heap, mem);
    void *moved = hmm_heap_realloc(h->heap, mem, bytes);
    if (moved != NULL) {
        h->allocated -= was;
        count(h, moved);
    }
    k_spin_unlock(&h->lock, key);
    return moved;
}
#endif

/* ---- Looking in ---- */

#if HMM_WITH_CHECKS
bool hmm_k_heap_validate(struct hmm_k_heap *h)
{
    k_spinlock_key_t key = k_spin_lock(&h->lock);
    const bool valid = hmm_heap_check(h->heap) == NULL;
    k_spin_unlock(&h->lock, key);
    return valid;
}
#endif

#if HMM_WITH_STATS
int hmm_k_heap_runtime_stats_get(struct hmm_k_heap *h, struct sys_memory_stats *stats)
{
    struct hmm_stats s;
    if (h == NULL || stats == NULL)
        return -EINVAL;
    k_spinlock_key_t key = k_spin_lock(&h->lock);
    hmm_heap_stats(h->heap, &s);
    stats->free_bytes = s.free_bytes + (s.capacity - s.brk);
    stats->allocated_bytes = h->allocated;
    stats->max_allocated_bytes = h->max_allocated;
    k_spin_unlock(&h->lock, key);
    return 0;
}
#endif

int hmm_k_heap_runtime_stats_reset_max(struct hmm_k_heap *h)
{
    if (h == NULL)
        return -EINVAL;
    k_spinlock_key_t key = k_spin_lock(&h->lock);
    h->max_allocated = h->allocated;
    k_spin_unlock(&h->lock, key);
    return 0;
}

/* ---- In place of k_malloc ---- */

#if CONFIG_HMM_HEAP_SIZE > 0

struct hmm_k_heap hmm_k_system_heap;
static char __aligned(8) system_memory[CONFIG_HMM_HEAP_SIZE];

static int init_system_heap(void)
{
    return hmm_k_heap_init(&hmm_k_system_heap, system_memory, sizeof system_memory);
}

SYS_INIT(init_system_heap, PRE_KERNEL_1, 0);

void *hmm_k_malloc(size_t size)
{
    return hmm_k_heap_alloc(&hmm_k_system_heap, size);
}

void *hmm_k_calloc(size_t nmemb, size_t size)
{
    return hmm_k_heap_calloc(&hmm_k_system_heap, nmemb, size);
}

void hmm_k_free(void *ptr)
{
    hmm_k_heap_free(&hmm_k_system_heap, ptr);
}

#if HMM_WITH_ALIGNED
void *hmm_k_aligned_alloc(size_t align, size_t size)
{
    return hmm_k_heap_aligned_alloc(&hmm_k_system_heap, align, size);
}
#endif

#if HMM_WITH_REALLOC
void *hmm_k_realloc(void *ptr, size_t size)
{
    return hmm_k_heap_realloc(&hmm_k_system_heap, ptr, size);
}
#endif

#endif
