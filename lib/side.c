/* SPDX-License-Identifier: MIT */
#include "side.h"

#include "lock.h"

#if defined(HMM__THREADS)
#define SIDE_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define SIDE_STORE(p, to) __atomic_store_n(p, to, __ATOMIC_RELEASE)
#define SIDE_SWAP(p, from, to)                                                                     \
    __atomic_compare_exchange_n(p, from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#else
#define SIDE_LOAD(p) (*(p))
#define SIDE_STORE(p, to) (*(p) = (to))
#define SIDE_SWAP(p, from, to) (*(p) = (to), (void)(from), true)
#endif

/* Bytes before a block, in which its capacity stands; also the least alignment and capacity. */
#define SIDE_HEAD 16u

/* Pages are asked for in pieces of so much. */
#define SIDE_PIECE ((size_t)64 << 10)

#define SIDE_CLASSES 32u

static struct {
    char *base;
    size_t size;
    const struct hmm__pages *pages;
    size_t taken;              /* bytes from the low end */
    void *put_off;             /* blocks of the heap, linked by their first bytes */
    int busy;                  /* somebody is at the lists */
    void *lists[SIDE_CLASSES]; /* freed blocks of SIDE_HEAD << class bytes */
} side;

void hmm__side_set_up(char *memory, size_t size, const struct hmm__pages *pages)
{
    side.base = memory;
    side.size = memory ? size : 0;
    side.pages = pages;
}

bool hmm__side_has(const void *block)
{
    return (uintptr_t)block - (uintptr_t)side.base < side.size;
}

static size_t *capacity_of(const void *block)
{
    return (size_t *)(uintptr_t)((const char *)block - SIDE_HEAD);
}

static unsigned class_for(size_t size)
{
    unsigned c = 0;
    while (c < SIDE_CLASSES - 1 && (size_t)SIDE_HEAD << c < size)
        c++;
    return c;
}

/* The lists are tried, never waited for: who is at them may be the one that we interrupted. */
static bool lists_taken(void)
{
    int idle = 0;
    return SIDE_SWAP(&side.busy, &idle, 1);
}

static void *take_from_list(unsigned c)
{
    void *block = NULL;
    if (!lists_taken())
        return NULL;
    block = side.lists[c];
    if (block != NULL)
        memcpy(&side.lists[c], block, sizeof block);
    SIDE_STORE(&side.busy, 0);
    return block;
}

static bool side_ready(size_t from, size_t to)
{
    if (side.pages == NULL)
        return true;
    size_t end = (to + SIDE_PIECE - 1) & ~(SIDE_PIECE - 1);
    return side.pages->need(side.base + from, side.base + (end < side.size ? end : side.size));
}

static void *take_new(size_t align, size_t size)
{
    size_t taken = SIDE_LOAD(&side.taken), at;
    do {
        uintptr_t low = (uintptr_t)side.base + taken + SIDE_HEAD;
        at = taken + SIDE_HEAD + (size_t)(-low & (align - 1));
        if (at > side.size || size > side.size - at || !side_ready(taken, at + size))
            return NULL;
    } while (!SIDE_SWAP(&side.taken, &taken, at + size));
    *capacity_of(side.base + at) = size;
    return side.base + at;
}

void *hmm__side_alloc(size_t align, size_t size)
{
    unsigned c = class_for(size);
    void *p = NULL;
    if (size <= (size_t)SIDE_HEAD << c) {
        if (align <= SIDE_HEAD)
            p = take_from_list(c);
        if (p == NULL)
            p = take_new(align > SIDE_HEAD ? align : SIDE_HEAD, (size_t)SIDE_HEAD << c);
    }
    if (p == NULL)
        hmm__set_errno(ENOMEM);
    return p;
}

size_t hmm__side_usable(const void *block)
{
    return *capacity_of(block);
}

/* One that meets somebody at the lists is lost. */
void hmm__side_free(void *block)
{
    void **list = &side.lists[class_for(*capacity_of(block))];
    if (!lists_taken())
        return;
    memcpy(block, list, sizeof *list);
    *list = block;
    SIDE_STORE(&side.busy, 0);
}

/* Whoever was at the lists when the process forked is not in the child. */
void hmm__side_after_fork(void)
{
    if (SIDE_LOAD(&side.busy)) {
        memset(side.lists, 0, sizeof side.lists);
        SIDE_STORE(&side.busy, 0);
    }
}

void hmm__side_put_off(void *block)
{
    void *head = SIDE_LOAD(&side.put_off);
    do
        memcpy(block, &head, sizeof head);
    while (!SIDE_SWAP(&side.put_off, &head, block));
}

void hmm__side_free_put_off(void (*free_one)(void *block))
{
    void *block = SIDE_LOAD(&side.put_off), *next;
    while (block != NULL && !SIDE_SWAP(&side.put_off, &block, NULL))
        ;
    for (; block != NULL; block = next) {
        memcpy(&next, block, sizeof next);
        free_one(block);
    }
}
