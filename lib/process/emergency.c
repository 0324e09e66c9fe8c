/* SPDX-License-Identifier: MIT */
#include "process/emergency.h"

#include "base/lock.h"

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

/* Bytes before a block, in which its capacity stands; also the least alignment and capacity. */
#define POOL_HEAD 16u

/* Pages are asked for in pieces of so much. */
#define POOL_PIECE ((size_t)64 << 10)

#define POOL_CLASSES 32u

static struct {
    char *base;
    size_t size;
    const struct hmm__page_source *page_source;
    size_t taken;              /* bytes from the low end */
    void *deferred;            /* blocks of the heap, linked by their first bytes */
    int busy;                  /* somebody is at the lists */
    void *lists[POOL_CLASSES]; /* freed blocks of POOL_HEAD << class bytes */
} side;

void hmm__emergency_set_up(char *memory, size_t size, const struct hmm__page_source *page_source)
{
    side.base = memory;
    side.size = memory ? size : 0;
    side.page_source = page_source;
}

bool hmm__emergency_has(const void *block)
{
    return (uintptr_t)block - (uintptr_t)side.base < side.size;
}

static size_t *capacity_of(const void *block)
{
    return (size_t *)(uintptr_t)((const char *)block - POOL_HEAD);
}

static unsigned class_for(size_t size)
{
    unsigned c = 0;
    while (c < POOL_CLASSES - 1 && (size_t)POOL_HEAD << c < size)
        c++;
    return c;
}

/* The lists are tried, never waited for: who is at them may be the one that we interrupted. */
static bool lists_taken(void)
{
    int empty_pages = 0;
    return POOL_SWAP(&side.busy, &empty_pages, 1);
}

static void *take_from_list(unsigned c)
{
    void *block = NULL;
    if (!lists_taken())
        return NULL;
    block = side.lists[c];
    if (block != NULL)
        memcpy(&side.lists[c], block, sizeof block);
    POOL_STORE(&side.busy, 0);
    return block;
}

static bool pool_ready(size_t from, size_t to)
{
    if (side.page_source == NULL)
        return true;
    size_t end = (to + POOL_PIECE - 1) & ~(POOL_PIECE - 1);
    return side.page_source->commit(side.base + from,
                                    side.base + (end < side.size ? end : side.size));
}

static void *take_new(size_t align, size_t size)
{
    size_t taken = POOL_LOAD(&side.taken), at;
    do {
        uintptr_t low = (uintptr_t)side.base + taken + POOL_HEAD;
        at = taken + POOL_HEAD + (size_t)(-low & (align - 1));
        if (at > side.size || size > side.size - at || !pool_ready(taken, at + size))
            return NULL;
    } while (!POOL_SWAP(&side.taken, &taken, at + size));
    *capacity_of(side.base + at) = size;
    return side.base + at;
}

void *hmm__emergency_alloc(size_t align, size_t size)
{
    unsigned c = class_for(size);
    void *p = NULL;
    if (size <= (size_t)POOL_HEAD << c) {
        if (align <= POOL_HEAD)
            p = take_from_list(c);
        if (p == NULL)
            p = take_new(align > POOL_HEAD ? align : POOL_HEAD, (size_t)POOL_HEAD << c);
    }
    if (p == NULL)
        hmm__set_errno(ENOMEM);
    return p;
}

size_t hmm__emergency_usable(const void *block)
{
    return *capacity_of(block);
}

/* One that meets somebody at the lists is lost. */
void hmm__emergency_free(void *block)
{
    void **list = &side.lists[class_for(*capacity_of(block))];
    if (!lists_taken())
        return;
    memcpy(block, list, sizeof *list);
    *list = block;
    POOL_STORE(&side.busy, 0);
}

/* Whoever was at the lists when the process forked is not in the child. */
void hmm__emergency_after_fork(void)
{
    if (POOL_LOAD(&side.busy)) {
        memset(side.lists, 0, sizeof side.lists);
        POOL_STORE(&side.busy, 0);
    }
}

void hmm__emergency_defer_free(void *block)
{
    void *head = POOL_LOAD(&side.deferred);
    do
        memcpy(block, &head, sizeof head);
    while (!POOL_SWAP(&side.deferred, &head, block));
}

void hmm__emergency_free_deferred(void (*free_one)(void *block))
{
    void *block = POOL_LOAD(&side.deferred), *next;
    while (block != NULL && !POOL_SWAP(&side.deferred, &block, NULL))
        ;
    for (; block != NULL; block = next) {
        memcpy(&next, block, sizeof next);
        free_one(block);
    }
}
