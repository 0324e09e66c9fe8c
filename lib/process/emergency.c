/* SPDX-License-Identifier: MIT */
/*
 * The emergency pool and deferred frees. emergency.h has the theory. Lock-free; calls the region's
 * page source only.
 */
#include "process/emergency.h"

#include "base/lock.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

#if defined(HMM__THREADS)
#define POOL_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define POOL_STORE(p, to) __atomic_store_n(p, to, __ATOMIC_RELEASE)
#define POOL_SWAP(p, from, to)                                                                     \
    __atomic_compare_exchange_n(p, from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#else
#define POOL_LOAD(p) (*(p))
#define POOL_STORE(p, to) (*(p) = (to))
#define POOL_SWAP(p, from, to) (*(p) = (to), (void)(from), true)
#endif

/* Bytes below a block, which hold its capacity; also the smallest alignment and capacity. */
#define POOL_HEAD 16u

_Static_assert(sizeof(size_t) <= POOL_HEAD && HMM_GRANULE <= POOL_HEAD,
               "a block is aligned, and its capacity lies below it");

/* Memory is committed in steps of so many bytes. */
#define POOL_PIECE ((size_t)64 << 10)

#define POOL_CLASSES 32u

static struct {
    char *base;
    size_t size;
    const struct hmm__page_source *page_source;
    size_t used;               /* bytes from the low end; atomic */
    void *deferred;            /* blocks of the heap, linked by their first bytes; atomic */
    int busy;                  /* a thread is changing the lists; atomic */
    void *lists[POOL_CLASSES]; /* freed blocks of POOL_HEAD << class bytes */
} pool;

void hmm__emergency_set_up(char *memory, size_t size, const struct hmm__page_source *page_source)
{
    pool.base = memory;
    pool.size = memory ? size : 0;
    pool.page_source = page_source;
}

bool hmm__emergency_has(const void *block)
{
    return (uintptr_t)block - (uintptr_t)pool.base < pool.size;
}

static size_t *capacity_of(const void *block)
{
    HMM_ASSERT(hmm__emergency_has(block));
    return (size_t *)(uintptr_t)((const char *)block - POOL_HEAD);
}

static unsigned class_for(size_t size)
{
    unsigned c = 0;
    while (c < POOL_CLASSES - 1 && (size_t)POOL_HEAD << c < size)
        c++;
    return c;
}

/* Acquires the lists, if they are not busy. Does not wait: this may be a handler that interrupted
 * the thread that has them. */
static bool lists_acquire(void)
{
    int not_busy = 0;
    return POOL_SWAP(&pool.busy, &not_busy, 1);
}

static void *pool_reuse(unsigned c)
{
    void *block = NULL;
    if (!lists_acquire())
        return NULL;
    block = pool.lists[c];
    if (block != NULL)
        memcpy(&pool.lists[c], block, sizeof block);
    POOL_STORE(&pool.busy, 0);
    return block;
}

static bool pool_commit(size_t from, size_t to)
{
    if (pool.page_source == NULL)
        return true;
    size_t end = (to + POOL_PIECE - 1) & ~(POOL_PIECE - 1);
    return pool.page_source->commit(pool.base + from,
                                    pool.base + (end < pool.size ? end : pool.size));
}

static void *pool_extend(size_t align, size_t size)
{
    size_t used = POOL_LOAD(&pool.used), at;
    do {
        uintptr_t low = (uintptr_t)pool.base + used + POOL_HEAD;
        at = used + POOL_HEAD + (size_t)(-low & (align - 1));
        if (at > pool.size || size > pool.size - at || !pool_commit(used, at + size))
            return NULL;
    } while (!POOL_SWAP(&pool.used, &used, at + size));
    *capacity_of(pool.base + at) = size;
    return pool.base + at;
}

void *hmm__emergency_alloc(size_t align, size_t size)
{
    unsigned c = class_for(size);
    void *p = NULL;
    if (size <= (size_t)POOL_HEAD << c) {
        if (align <= POOL_HEAD)
            p = pool_reuse(c);
        if (p == NULL)
            p = pool_extend(align > POOL_HEAD ? align : POOL_HEAD, (size_t)POOL_HEAD << c);
    }
    if (p == NULL)
        hmm__set_errno(ENOMEM);
    return p;
}

size_t hmm__emergency_usable(const void *block)
{
    return *capacity_of(block);
}

/* A block that is freed while the lists are busy is not reused. */
void hmm__emergency_free(void *block)
{
    void **list = &pool.lists[class_for(*capacity_of(block))];
    if (!lists_acquire())
        return;
    memcpy(block, list, sizeof *list);
    *list = block;
    POOL_STORE(&pool.busy, 0);
}

/* The thread that had the lists at the fork is not in the child. */
void hmm__emergency_after_fork(void)
{
    if (POOL_LOAD(&pool.busy)) {
        memset(pool.lists, 0, sizeof pool.lists);
        POOL_STORE(&pool.busy, 0);
    }
}

void hmm__emergency_defer_free(void *block)
{
    void *head = POOL_LOAD(&pool.deferred);
    do
        memcpy(block, &head, sizeof head);
    while (!POOL_SWAP(&pool.deferred, &head, block));
}

void hmm__emergency_free_deferred(void (*free_one)(void *block))
{
    void *block = POOL_LOAD(&pool.deferred), *next;
    while (block != NULL && !POOL_SWAP(&pool.deferred, &block, NULL))
        ;
    for (; block != NULL; block = next) {
        memcpy(&next, block, sizeof next);
        free_one(block);
    }
}

#endif
