/* SPDX-License-Identifier: MIT */
/*
 * What both sides do to the pool.
 */
#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

void record_ring(struct record_pool *pool)
{
    atomic_fetch_add(&pool->bell, 1);
    if (atomic_load(&pool->asleep) == 0)
        return;
    int code = errno;
    syscall(SYS_futex, &pool->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    errno = code;
}

void record_give(struct record_pool *pool, uint32_t segment)
{
    uint64_t was = atomic_load(&pool->free), now;
    do {
        atomic_store_explicit(&pool->below[segment], (uint32_t)was, memory_order_relaxed);
        now = (((was >> 32) + 1) << 32) | (segment + 1);
    } while (!atomic_compare_exchange_weak(&pool->free, &was, now));
}

int record_take(struct record_pool *pool)
{
    uint64_t was = atomic_load(&pool->free), now;
    do {
        if ((uint32_t)was == 0)
            return -1;
        uint32_t below =
            atomic_load_explicit(&pool->below[(uint32_t)was - 1], memory_order_relaxed);
        now = (((was >> 32) + 1) << 32) | below;
    } while (!atomic_compare_exchange_weak(&pool->free, &was, now));
    return (int)((uint32_t)was - 1);
}
