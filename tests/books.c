/* SPDX-License-Identifier: MIT */
#include "books.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- One block ---- */

size_t any_size(uint64_t *rng)
{
    static const size_t few[] = {16, 24, 32, 48, 48, 64, 100, 256, 500, 1024};
    size_t way = rng_below(rng, 100);
    if (way < 40)
        return few[rng_below(rng, sizeof few / sizeof few[0])];
    if (way < 85)
        return rng_below(rng, (size_t)2 << rng_below(rng, 10));
    return rng_below(rng, way < 98 ? 10000 : 70000);
}

static void check_entry(const struct books *b, const struct entry *e)
{
    require(holds(e->block, e->size, e->seed), "block %p of %zu bytes has lost its contents",
            (void *)e->block, e->size);
    require(hmm_heap_usable_size(b->heap, e->block) >= e->size, "%p has no room for %zu bytes",
            (void *)e->block, e->size);
}

static void enter(struct books *b, struct entry *e, void *block, size_t size, size_t align)
{
    require((uintptr_t)block % align == 0, "%p is not aligned to %zu", block, align);
    *e = (struct entry){.block = block, .size = size, .align = align, .seed = ++b->seed};
    fill(block, size, e->seed);
}

static void *allocate(struct books *b, size_t size, size_t align)
{
    size_t way = rng_below(&b->rng, 8);
    if (align > HMM_GRANULE)
        return hmm_heap_aligned_alloc(b->heap, align, size);
    if (way == 0)
        return hmm_heap_realloc(b->heap, NULL, size);
    if (way != 1)
        return hmm_heap_malloc(b->heap, size);
    unsigned char *p = hmm_heap_calloc(b->heap, 1, size);
    for (size_t i = 0; p != NULL && i < size; i++)
        require(p[i] == 0, "calloc of %zu bytes: byte %zu is not 0", size, i);
    return p;
}

bool book_in(struct books *b, size_t i)
{
    size_t size = any_size(&b->rng), align = HMM_GRANULE;
    if (rng_below(&b->rng, 50) == 0)
        align <<= 1 + rng_below(&b->rng, 8);
    errno = 0;
    void *p = allocate(b, size, align);
    if (p == NULL) {
        require(errno == ENOMEM, "NULL, and errno is %d", errno);
        b->failed++;
        return false;
    }
    enter(b, &b->slots[i], p, size, align);
    b->live++;
    return true;
}

void book_change(struct books *b, size_t i)
{
    struct entry *e = &b->slots[i];
    size_t size = any_size(&b->rng) + 1, kept = size < e->size ? size : e->size;
    check_entry(b, e);
    void *p = hmm_heap_realloc(b->heap, e->block, size);
    if (p == NULL) {
        b->failed++;
        check_entry(b, e);
        return;
    }
    require(holds(p, kept, e->seed), "realloc has lost %zu bytes", kept);
    enter(b, e, p, size, e->align);
}

void book_out(struct books *b, size_t i)
{
    struct entry *e = &b->slots[i];
    check_entry(b, e);
    if (rng_below(&b->rng, 64) == 0)
        require(hmm_heap_realloc(b->heap, e->block, 0) == NULL, "realloc to no bytes");
    else
        hmm_heap_free(b->heap, e->block);
    e->block = NULL;
    b->live--;
}

void book_step(struct books *b, size_t slots, unsigned percent)
{
    size_t i = rng_below(&b->rng, slots);
    bool wanted = rng_below(&b->rng, 100) < percent;
    if (b->slots[i].block == NULL) {
        if (wanted)
            book_in(b, i);
    } else if (!wanted) {
        book_out(b, i);
    } else if (rng_below(&b->rng, 4) == 0) {
        book_change(b, i);
    }
}

/* ---- All of them ---- */

void books_open(struct books *b, size_t region, const struct hmm_strategy *strategy, uint64_t seed)
{
    *b = (struct books){.heap = unwatched(heap_of(region, strategy)),
                        .rng = (seed + 1) * 0x9e3779b97f4a7c15u};
    ck_assert_int_eq(hmm_heap_set_cache(b->heap, 1), 0);
}

static int by_address(const void *x, const void *y)
{
    const char *a = *(char *const *)x, *b = *(char *const *)y;
    return (a > b) - (a < b);
}

struct audit {
    const struct books *books;
    size_t seen, live_bytes, free_bytes, walked;
    const char *next;
    char **blocks; /* in the order of their addresses */
};

static int audit_block(void *arg, const struct hmm_block_info *info)
{
    struct audit *a = arg;
    const struct hmm_heap *h = a->books->heap;
    require(a->next == NULL || a->next == info->payload, "the walk has a gap before %p",
            info->payload);
    a->next = (char *)info->payload + info->size;
    a->walked += info->size;
    if (info->payload == h->state)
        return 0;
    if (!info->used) {
        a->free_bytes += info->size;
        return 0;
    }
    require(a->seen < a->books->live && a->blocks[a->seen] == info->payload,
            "%p is in use by the walk, and not by the books", info->payload);
    require(info->usable == hmm_heap_usable_size(h, info->payload), "%p: usable is %zu",
            info->payload, info->usable);
    a->live_bytes += info->usable;
    a->seen++;
    return 0;
}

static void assert_stats(const struct books *b, const struct audit *a)
{
    struct hmm_stats s;
    hmm_heap_stats(b->heap, &s);
    bool in_block = b->heap->state_place == HMM__STATE_BLOCK;
    size_t state = in_block ? hmm_heap_usable_size(b->heap, b->heap->state) : 0;
    require(s.live_blocks == b->live + in_block && s.live_bytes == a->live_bytes + state,
            "%zu blocks of %zu bytes are live, statistics say %zu of %zu", b->live, a->live_bytes,
            s.live_blocks, s.live_bytes);
    require(s.failed == b->failed, "%u failed, statistics say %u", (unsigned)b->failed,
            (unsigned)s.failed);
    require(s.live_bytes + s.free_bytes <= a->walked && s.free_bytes <= a->walked,
            "%zu live and %zu free bytes in %zu", s.live_bytes, s.free_bytes, a->walked);
    require(s.live_peak >= a->live_bytes, "the peak is below what is live");
}

void books_hold(const struct books *b)
{
    static char *sorted[BOOK_SLOTS];
    struct audit a = {.books = b, .blocks = sorted};
    size_t n = 0;
    assert_sound(b->heap);
    for (size_t i = 0; i < BOOK_SLOTS; i++)
        if (b->slots[i].block != NULL)
            sorted[n++] = (char *)b->slots[i].block;
    require(n == b->live, "the books are wrong themselves");
    qsort(sorted, n, sizeof sorted[0], by_address);
    hmm_heap_walk(b->heap, audit_block, &a);
    require(a.seen == b->live, "the walk has %zu blocks in use, the books %zu", a.seen, b->live);
    assert_stats(b, &a);
}

void books_look(const struct books *b)
{
    for (size_t i = 0; i < BOOK_SLOTS; i++)
        if (b->slots[i].block != NULL)
            check_entry(b, &b->slots[i]);
}

static size_t nth(enum order order, size_t i, size_t n)
{
    switch (order) {
    case UPWARD:
        return i;
    case DOWNWARD:
        return n - 1 - i;
    case ODD_THEN_EVEN:
        return i < n / 2 ? 2 * i + 1 : 2 * (i - n / 2);
    default:
        return i * 12347 % n;
    }
}

void books_out(struct books *b, enum order order)
{
    size_t freed = 0;
    for (size_t i = 0; i < BOOK_SLOTS; i++) {
        size_t k = nth(order, i, BOOK_SLOTS);
        if (b->slots[k].block == NULL)
            continue;
        book_out(b, k);
        if (++freed % 8192 == 0)
            books_hold(b);
    }
    books_hold(b);
}

void books_live(struct books *b, unsigned long steps, size_t slots, unsigned percent)
{
    for (unsigned long i = 0; i < scaled(steps); i++) {
        book_step(b, slots, percent);
        if (i % BOOKS_CHECK_EVERY == BOOKS_CHECK_EVERY - 1)
            books_hold(b);
    }
    books_hold(b);
}

void books_close(struct books *b, enum order order)
{
    books_out(b, order);
    assert_nothing_left(b->heap);
    heap_end(b->heap);
}

/* ---- The cache ---- */

void assert_nothing_left(struct hmm_heap *heap)
{
    struct hmm_stats s;
    ck_assert_int_eq(hmm_heap_set_cache(heap, 0), 0);
    ck_assert_uint_eq(runs_of(heap), 0);
    hmm_heap_stats(heap, &s);
    if (heap->state_place == HMM__STATE_BLOCK)
        ck_assert_uint_eq(s.live_blocks, 1);
    else
        assert_empty(heap);
    ck_assert_int_eq(hmm_heap_set_cache(heap, 1), 0);
}

size_t runs_of(const struct hmm_heap *heap)
{
#if HMM__CACHE
    struct cache_tally t = {0};
    if (heap->cache != NULL)
        hmm__cache_tally(heap->cache, &t);
    return t.runs;
#else
    (void)heap;
    return 0;
#endif
}

int skip_without_cache(void)
{
    puts("1..0 # SKIP the cache is left out of this build");
    return 0;
}
