/* SPDX-License-Identifier: MIT */
#include "side.h"

#if defined(__GNUC__)
#define SIDE_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define SIDE_SWAP(p, from, to)                                                                     \
    __atomic_compare_exchange_n(p, from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#else /* no threads: lock.h */
#define SIDE_LOAD(p) (*(p))
#define SIDE_SWAP(p, from, to) (*(p) = (to), (void)(from), true)
#endif

/* Bytes before a block, in which its size stands; also the least alignment. */
#define SIDE_HEAD 16u

/* Pages are asked for in pieces of so much. */
#define SIDE_PIECE ((size_t)64 << 10)

static struct {
    char *base;
    size_t size;
    const struct hmm__pages *pages;

    /* What is taken from the low end, and above it in the same word how many blocks are in use: so
     * that the last to be freed takes both back to 0 in one step. */
    _Alignas(8) uint64_t state;
    void *put_off; /* a list through the first bytes */
} side;

/* Of `state`. */
#define TAKEN_BITS 36
#define TAKEN_MASK ((UINT64_C(1) << TAKEN_BITS) - 1)
#define ONE_BLOCK (UINT64_C(1) << TAKEN_BITS)

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

static size_t *size_of(void *block)
{
    return (size_t *)(void *)((char *)block - SIDE_HEAD);
}

static bool side_ready(size_t from, size_t to)
{
    if (side.pages == NULL)
        return true;
    size_t end = (to + SIDE_PIECE - 1) & ~(SIDE_PIECE - 1);
    return side.pages->need(side.base + from, side.base + (end < side.size ? end : side.size));
}

void *hmm__side_alloc(size_t align, size_t size)
{
    uint64_t state = SIDE_LOAD(&side.state);
    size_t at, end;
    if (align < SIDE_HEAD)
        align = SIDE_HEAD;
    do {
        size_t taken = (size_t)(state & TAKEN_MASK);
        uintptr_t low = (uintptr_t)side.base + taken + SIDE_HEAD;
        at = taken + SIDE_HEAD + (size_t)(-low & (align - 1));
        if (at > side.size || size > side.size - at || !side_ready(taken, at + size)) {
            hmm__set_errno(ENOMEM);
            return NULL;
        }
        end = at + size;
        end += -end & (SIDE_HEAD - 1);
    } while (!SIDE_SWAP(&side.state, &state, ((state & ~TAKEN_MASK) + ONE_BLOCK) | end));
    *size_of(side.base + at) = size;
    return side.base + at;
}

size_t hmm__side_usable(const void *block)
{
    return *size_of((void *)(uintptr_t)block);
}

void hmm__side_free(void *block)
{
    (void)block;
    uint64_t state = SIDE_LOAD(&side.state), then;
    do {
        then = state - ONE_BLOCK;
        if (then < ONE_BLOCK)
            then = 0;
    } while (!SIDE_SWAP(&side.state, &state, then));
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
