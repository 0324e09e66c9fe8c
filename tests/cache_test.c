/* SPDX-License-Identifier: MIT */
/*
 * The cache before a heap of one's own (hmm_heap_set_cache), on each strategy: heaps that rise to
 * some megabytes and fall, with all blocks in the test's books.
 */
#include "books.h"
#include "cache/fast_path.h"
#include "oracle.h"

#include <stdlib.h>

#if HMM__CACHE

#define MIB ((size_t)1 << 20)

static struct books b;

/* ---- Rise and fall ---- */

static void rise(size_t slots)
{
    for (size_t i = 0; i < slots; i++) {
        ck_assert(b.slots[i].block != NULL || book_in(&b, i));
        if (i % BOOKS_CHECK_EVERY == 0)
            books_hold(&b);
    }
}

/* _i: strategy and order of freeing. */
START_TEST(rises_and_is_torn_down)
{
    const size_t slots = scaled(6000);
    books_open(&b, 12 * MIB, strategy_of(_i / ORDERS), (uint64_t)_i);
    for (int again = 0; again < 2; again++) {
        rise(slots);
        ck_assert(under_valgrind() || runs_of(b.heap) > 50);
        books_look(&b);
        books_out(&b, (enum order)(_i % ORDERS));
    }
    books_close(&b, UPWARD);
}
END_TEST

START_TEST(lives_long)
{
    books_open(&b, 16 * MIB, strategy_of(_i), (uint64_t)_i + 100);
    books_live(&b, 20000, 8000, 70);
    books_live(&b, 10000, 8000, 20);
    books_live(&b, 20000, 12000, 60);
    books_live(&b, 20000, 3000, 5);
    books_look(&b);
    books_close(&b, SHUFFLED);
}
END_TEST

/* No more than may be idle, and one that is current of each class. */
static void assert_few_runs(const struct hmm_heap *h)
{
    struct hmm_stats s;
    struct cache_tally t;
    if (h->cache == NULL)
        return;
    hmm_heap_stats(h, &s);
    hmm__cache_tally(h->cache, &t);
    ck_assert_uint_eq(t.objects, 0);
    ck_assert_uint_le(t.run_bytes, s.brk_peak / 32 + CACHE_CLASSES * ((size_t)33 << 10));
}

/* Many of one size, of each in turn: runs are made, become full, and go back. Not under memcheck,
 * which sees the heap here and is to find nothing. */
START_TEST(one_size_after_the_other)
{
    static void *blocks[4000];
    struct hmm_heap *h = heap_of(16 * MIB, strategy_of(_i));
    uint64_t rng = 77;
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    must_malloc(h, MIB);
    for (size_t size = 1; size <= CACHE_OBJECT_MAX; size += under_valgrind() ? 300 : 37) {
        size_t n = 4000 < 2 * MIB / size ? 4000 : 2 * MIB / size;
        for (size_t i = 0; i < n; i++)
            fill(blocks[i] = must_malloc(h, size), size, i);
        for (size_t i = 0; i < n; i++) {
            size_t k = i + rng_below(&rng, n - i);
            void *p = blocks[k];
            blocks[k] = blocks[i];
            blocks[i] = p;
        }
        assert_sound(h);
        for (size_t i = 0; i < n; i++)
            hmm_heap_free(h, blocks[i]);
        assert_few_runs(h);
    }
    assert_sound(h);
    ck_assert_int_eq(h->cache == NULL, under_valgrind());
    ck_assert_int_eq(hmm_heap_set_cache(h, 0), 0);
    ck_assert_uint_eq(count_blocks(h), 1);
    heap_end(h);
}
END_TEST

/* ---- What changes in the midst ---- */

START_TEST(strategies_switched_in_the_midst)
{
    int n = strategy_count();
    books_open(&b, 12 * MIB, strategy_of(_i), (uint64_t)_i + 200);
    for (int i = 0; i < 3 * n; i++) {
        books_live(&b, 4000, 6000, i % 4 == 3 ? 20 : 70);
        ck_assert_int_eq(hmm_heap_set_strategy(b.heap, strategy_of((_i + i) % n)), 0);
        books_hold(&b);
    }
    books_look(&b);
    books_close(&b, SHUFFLED);
}
END_TEST

START_TEST(off_and_on_in_the_midst)
{
    books_open(&b, 12 * MIB, strategy_of(_i), (uint64_t)_i + 300);
    for (int i = 0; i < 12; i++) {
        books_live(&b, 3000, 5000, i % 4 == 3 ? 20 : 70);
        size_t runs = runs_of(b.heap);
        ck_assert_int_eq(hmm_heap_set_cache(b.heap, i % 2), 0);
        books_hold(&b);
        ck_assert_uint_le(runs_of(b.heap), runs);
    }
    books_look(&b);
    books_close(&b, SHUFFLED);
}
END_TEST

START_TEST(when_off_no_more_runs_are_made)
{
    books_open(&b, 12 * MIB, strategy_of(_i), (uint64_t)_i + 350);
    books_live(&b, 8000, 5000, 80);
    size_t runs = runs_of(b.heap);
    ck_assert(under_valgrind() || runs > 20);
    ck_assert_int_eq(hmm_heap_set_cache(b.heap, 0), 0);
    books_live(&b, 8000, 5000, 80);
    ck_assert_uint_le(runs_of(b.heap), runs);
    books_close(&b, SHUFFLED);
}
END_TEST

/* _i: strategy and level. */
START_TEST(levels_of_checking_when_runs_exist)
{
    int level = _i % 5;
    books_open(&b, 4 * MIB, strategy_of(_i / 5), (uint64_t)_i + 400);
    books_live(&b, 6000, 1500, 80);
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(hmm_heap_set_check(b.heap, level), 0);
        books_hold(&b);
        books_live(&b, level == 4 ? 300 : 1500, 1500, 60);
        ck_assert_int_eq(hmm_heap_set_check(b.heap, 1), 0);
        ck_assert_int_eq(hmm_heap_set_cache(b.heap, 1), 0);
        books_live(&b, 3000, 1500, 70);
    }
    books_look(&b);
    books_close(&b, SHUFFLED);
}
END_TEST

/* ---- Until nothing is left ---- */

/* Fills the heap until even small blocks are refused; `give` is called for what was refused. */
static void fill_books(void)
{
    unsigned refused = 0;
    for (size_t i = 0; i < BOOK_SLOTS && refused < 300; i++)
        refused += b.slots[i].block == NULL && !book_in(&b, i);
    ck_assert_uint_eq(refused, 300);
    books_hold(&b);
}

/* All that the new heap has, as one block. */
static size_t whole_of(const struct hmm_heap *h)
{
    return (size_t)(h->limit - h->first) * HMM_GRANULE - HMM_HEADER_BYTES;
}

/* _i: strategy and order. A block that takes all fits again when all is free, also where the
 * cache's tables were, however it is asked for. */
START_TEST(what_fitted_at_first_fits_again)
{
    books_open(&b, 2 * MIB, strategy_of(_i / ORDERS), (uint64_t)_i + 700);
    struct hmm_heap *h = b.heap;
    const size_t whole = whole_of(h);
    for (int way = 0; way < 4; way++) {
        void *p;
        fill_books();
        books_look(&b);
        books_out(&b, (enum order)(_i % ORDERS));
        ck_assert_uint_gt(count_blocks(h), 0); /* the cache has some */
        if (way == 0)
            p = hmm_heap_malloc(h, whole);
        else if (way == 1)
            p = hmm_heap_calloc(h, 1, whole);
        else if (way == 2)
            p = hmm_heap_aligned_alloc(h, 64, whole - 128);
        else
            p = hmm_heap_realloc(h, must_malloc(h, 20000), whole);
        ck_assert_ptr_nonnull(p);
        ck_assert_ptr_null(hmm_heap_malloc(h, 5000));
        b.failed++;
        hmm_heap_free(h, p);
        books_hold(&b);
    }
    books_close(&b, UPWARD);
}
END_TEST

/* What is refused is counted once, and leaves all as it is. */
START_TEST(what_no_heap_can_serve_empties_no_cache)
{
    books_open(&b, 2 * MIB, strategy_of(_i), 800);
    books_live(&b, 6000, 1500, 80);
    size_t runs = runs_of(b.heap), blocks = count_blocks(b.heap);
    ck_assert_ptr_null(hmm_heap_malloc(b.heap, SIZE_MAX));
    ck_assert_ptr_null(hmm_heap_calloc(b.heap, SIZE_MAX / 2, 3));
    ck_assert_ptr_null(hmm_heap_realloc(b.heap, b.slots[0].block, SIZE_MAX));
    ck_assert_ptr_null(hmm_heap_aligned_alloc(b.heap, 64, SIZE_MAX - 100));
    ck_assert_ptr_null(hmm_heap_aligned_alloc(b.heap, 3, 100));
    b.failed += 5;
    books_hold(&b);
    ck_assert_uint_eq(runs_of(b.heap), runs);
    ck_assert_uint_eq(count_blocks(b.heap), blocks);
    books_close(&b, UPWARD);
}
END_TEST

/* In a heap that is full small blocks are freed and taken again, and large ones fail. */
START_TEST(lives_on_when_full)
{
    books_open(&b, 2 * MIB, strategy_of(_i), (uint64_t)_i + 900);
    for (int i = 0; i < 4; i++) {
        fill_books();
        books_live(&b, 4000, BOOK_SLOTS / 8, 60);
        books_look(&b);
    }
    books_close(&b, SHUFFLED);
}
END_TEST

/* ---- Active runs ---- */

enum { FEW = 50 };

static unsigned active_runs(const struct hmm_heap *h, void *const *row)
{
    const struct run *last = NULL;
    unsigned n = 0;
    for (int i = 0; i < FEW; i++) {
        const struct run *d = cache_run_of(h->cache, row[i]);
        if (d != NULL && d != last)
            n += d->state == RUN_ACTIVE;
        last = d;
    }
    return n;
}

/* The runs of a class that has few of them are all active: frees come to the free list, and
 * requests find them there. Before the break rises they go back. */
START_TEST(few_runs_are_all_active)
{
    static void *row[FEW];
    struct hmm_heap *h = unwatched(heap_of(8 * MIB, strategy_of(_i)));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    must_malloc(h, 3 * MIB);
    for (int i = 0; i < FEW; i++)
        row[i] = must_malloc(h, 200);
    size_t runs = runs_of(h);
    for (unsigned i = 1; i < 1000; i++) { /* the first of the class are in no run */
        unsigned one = 4 + i * 31 % (FEW - 4), other = 4 + i * 17 % (FEW - 4);
        if (one == other)
            continue;
        void *p = row[one], *q = row[other];
        hmm_heap_free(h, p);
        hmm_heap_free(h, q);
        row[one] = must_malloc(h, 200);
        row[other] = must_malloc(h, 200);
        ck_assert(i < 300 || (row[one] == q && row[other] == p));
    }
    ck_assert_uint_eq(runs_of(h), runs);
    ck_assert_uint_ge(active_runs(h, row), 3);
    assert_sound(h);
    for (int i = 0; i < FEW; i++)
        hmm_heap_free(h, row[i]);
    assert_sound(h);
    const void *before = hmm_heap_break(h);
    while (hmm_heap_break(h) == before)
        must_malloc(h, 1500);
    ck_assert_uint_eq(runs_of(h), 0);
    assert_sound(h);
    heap_end(h);
}
END_TEST

static uint32_t active_pages(const struct cache *cache, size_t size)
{
    const struct thread_cache *tc = cache->thread_cache;
    unsigned c = cache_class(tc, size);
    uint32_t pages = tc->active[c] ? run_pages(tc->active[c]) : 0;
    for (int32_t at = tc->classes[c].joined; at != 0; at = run_rest(run_at(cache, at))->link)
        pages += run_pages(run_at(cache, at));
    return pages;
}

/* What a sleeping thread keeps of a class, its active runs, is as much as one run can have, however
 * many runs the class has. */
START_TEST(active_runs_are_as_large_as_one_can_be)
{
    static void *row[4000];
    static const size_t sizes[] = {48, 112, 200, 480, 1024};
    struct hmm_heap *h = unwatched(heap_of(16 * MIB, strategy_of(_i)));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    must_malloc(h, 4 * MIB);
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        size_t n = MIB / 4 / sizes[k] < 4000 ? MIB / 4 / sizes[k] : 4000;
        uint32_t most = 0;
        for (size_t i = 0; i < 2 * n; i++) {
            if (i >= n)
                hmm_heap_free(h, row[i * 31 % n]);
            row[i < n ? i : i * 31 % n] = must_malloc(h, sizes[k]);
            uint32_t pages = active_pages(h->cache, sizes[k]);
            most = most > pages ? most : pages;
        }
        ck_assert_uint_gt(most, 16);
        ck_assert_uint_le(most * CACHE_PAGE, 32 << 10);
        assert_sound(h);
        for (size_t i = 0; i < n; i++)
            hmm_heap_free(h, row[i]);
        assert_sound(h);
    }
    heap_end(h);
}
END_TEST

/* ---- Sizes ---- */

/* The division that tells an object's first byte from the others, for all classes and offsets. */
START_TEST(only_an_object_s_first_byte_is_one)
{
    for (unsigned c = 0; c < CACHE_CLASSES; c++) {
        size_t size = class_bytes(c);
        const uint32_t start = 0xfffff000u, end = 32u << 10;
        for (size_t carved = 0; carved <= end / size; carved += 1 + carved / 3) {
            struct run d = {.last = start + (uint32_t)((carved - 1) * size),
                            .inverse = run_inverse(size)};
            for (uint32_t at = 0; at < end + CACHE_PAGE; at++) {
                const char *p = (const char *)(uintptr_t)(uint32_t)(start + at);
                bool is_one = at % size == 0 && at < carved * size;
                require(run_has_object(&d, p) == is_one, "offset %u of %zu x %zu", at, carved,
                        size);
            }
        }
    }
}
END_TEST

START_TEST(a_block_has_not_much_more_than_was_asked_for)
{
    struct hmm_heap *h = unwatched(heap_of(24 * MIB, strategy_of(_i)));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    must_malloc(h, MIB);
    for (size_t size = 0; size < 1100; size++) {
        void *row[40];
        for (int i = 0; i < 40; i++) {
            row[i] = must_malloc(h, size);
            size_t usable = hmm_heap_usable_size(h, row[i]);
            ck_assert_uint_eq((uintptr_t)row[i] % HMM_GRANULE, 0);
            ck_assert_uint_ge(usable, size);
            ck_assert_uint_le(usable, size + 16 + size / 8 + HMM_GRANULE);
            memset(row[i], 0xa5, usable);
        }
        for (int i = size % 7 == 0 ? 0 : 20; i < 40; i++)
            hmm_heap_free(h, row[i]);
    }
    ck_assert_uint_gt(runs_of(h), 32);
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* An object stays where it is as long as the size is one of its class, or is more than half. */
START_TEST(resized_within_a_class_it_stays)
{
    struct hmm_heap *h = unwatched(heap_of(8 * MIB, strategy_of(_i)));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    must_malloc(h, MIB);
    const struct thread_cache *tc = h->cache->thread_cache;
    for (size_t from = 1; from <= CACHE_OBJECT_MAX; from += 5) {
        void *p = must_malloc(h, from);
        while (cache_run_of(h->cache, p) == NULL) /* the first of a class */
            p = must_malloc(h, from);
        const struct run *d = cache_run_of(h->cache, p);
        for (size_t to = 1; to <= CACHE_OBJECT_MAX; to += 3)
            if (cache_class(tc, to) == d->class ||
                (cache_class(tc, to) < d->class && to > class_bytes(d->class) / 2))
                ck_assert_ptr_eq(hmm_heap_realloc(h, p, to), p);
        hmm_heap_free(h, p);
    }
    heap_end(h);
}
END_TEST

/* From each size to each other, among runs and out of them; the contents go along. */
START_TEST(resized_from_any_size_to_any_other)
{
    const size_t step = under_valgrind() ? 331 : 47;
    struct hmm_heap *h = unwatched(heap_of(8 * MIB, strategy_of(_i)));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    must_malloc(h, MIB);
    for (size_t from = 0; from < 1500; from += step) {
        for (size_t to = 1; to < 10000; to += to < 1500 ? step : 1700) {
            void *p = must_malloc(h, from), *guard = must_malloc(h, from + 1);
            fill(p, from, to);
            fill(guard, from + 1, 3);
            p = hmm_heap_realloc(h, p, to);
            ck_assert(p != NULL && holds(p, from < to ? from : to, to));
            ck_assert_uint_ge(hmm_heap_usable_size(h, p), to);
            fill(p, to, 5);
            ck_assert(holds(guard, from + 1, 3));
            hmm_heap_free(h, p);
            hmm_heap_free(h, guard);
        }
        assert_sound(h);
    }
    heap_end(h);
}
END_TEST

/* ---- Where runs are placed ---- */

/* Of every run the hole is the plain scan's (oracle.c looks at each answer), with the steps of
 * malloc and free taken together or one by one. */
START_TEST(runs_are_placed_by_the_rule)
{
    if (_i % 2)
        oracle_in_steps();
    uint64_t before = oracle_asked();
    books_open(&b, 3 * MIB, oracle_wrap(strategy_of(_i / 2)), (uint64_t)_i + 600);
    for (int i = 0; i < 3; i++) {
        books_live(&b, 2500, 1500, 70);
        books_live(&b, 1500, 1500, 30);
    }
    ck_assert_uint_gt(oracle_asked(), before + scaled(500));
    ck_assert(under_valgrind() || runs_of(b.heap) > 10);
    books_close(&b, SHUFFLED);
}
END_TEST

static int add_usable(void *sum, const struct hmm_block_info *info)
{
    *(size_t *)sum += info->used ? info->usable : 0;
    return 0;
}

/* A hole that is too large by one granule: where no block is so small, the run has it whole. */
START_TEST(a_run_in_a_hole_a_little_larger)
{
    struct hmm_heap *h = unwatched(heap_of(MIB, strategy_of(_i)));
    struct hmm_stats s;
    size_t sum = 0;
    must_malloc(h, 10000);
    void *hole = hmm_heap_aligned_alloc(h, 1024, 4 * 1024 - HMM_HEADER_BYTES + HMM_GRANULE);
    must_malloc(h, 2000);
    hmm_heap_free(h, hole);
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    ck_assert_ptr_eq(must_malloc(h, 512), hole);
    ck_assert_uint_eq(runs_of(h), 1);
    assert_sound(h);
    hmm_heap_stats(h, &s);
    hmm_heap_walk(h, add_usable, &sum);
    ck_assert_uint_eq(s.live_bytes, sum);
    heap_end(h);
}
END_TEST

static int refusals;

static void count_refusal(const struct hmm_heap *heap, size_t size)
{
    (void)heap, (void)size;
    refusals++;
}

/* The move fails; of what the cache gives back then the block can grow where it is. */
START_TEST(a_realloc_that_is_served_at_last_is_no_refusal)
{
    struct hmm_heap *h = unwatched(heap_of(MIB, strategy_of(_i)));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    char *a = must_malloc(h, 500000), *medium = must_malloc(h, 7000);
    struct hmm_stats s;
    hmm_heap_stats(h, &s);
    must_malloc(h, s.largest_free);
    hmm_heap_free(h, medium);
    h->refused = count_refusal;
    errno = 0;
    ck_assert_ptr_eq(hmm_heap_realloc(h, a, 504000), a);
    ck_assert_int_eq(errno, 0);
    ck_assert_int_eq(refusals, 0);
    ck_assert_ptr_null(hmm_heap_realloc(h, a, 900000));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(refusals, 1);
    ck_assert_ptr_null(hmm_heap_malloc(h, 100000));
    ck_assert_int_eq(refusals, 2);
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.failed, 2);
    assert_sound(h);
    heap_end(h);
}
END_TEST

static void add_full(Suite *s)
{
    struct cases c = add_cases(s, "a full heap's cache");
    on_each_strategy(c, what_fitted_at_first_fits_again, ORDERS);
    on_each_strategy(c, what_no_heap_can_serve_empties_no_cache, 1);
    on_each_strategy(c, lives_on_when_full, 1);
    on_each_strategy(c, a_realloc_that_is_served_at_last_is_no_refusal, 1);
}

int main(void)
{
    Suite *s = suite_create("cache");
    struct cases c = add_cases(s, "cache");
    on_each_strategy(c, rises_and_is_torn_down, ORDERS);
    on_each_strategy(c, lives_long, 1);
    on_each_strategy(c, one_size_after_the_other, 1);
    on_each_strategy(c, strategies_switched_in_the_midst, 1);
    on_each_strategy(c, off_and_on_in_the_midst, 1);
    on_each_strategy(c, when_off_no_more_runs_are_made, 1);
    on_each_strategy(c, levels_of_checking_when_runs_exist, 5);
    on_each_strategy(c, few_runs_are_all_active, 1);
    on_each_strategy(c, active_runs_are_as_large_as_one_can_be, 1);
    tcase_add_test(c.once, only_an_object_s_first_byte_is_one);
    on_each_strategy(c, a_block_has_not_much_more_than_was_asked_for, 1);
    on_each_strategy(c, resized_within_a_class_it_stays, 1);
    on_each_strategy(c, resized_from_any_size_to_any_other, 1);
    on_each_strategy(c, runs_are_placed_by_the_rule, 2);
    on_each_strategy(c, a_run_in_a_hole_a_little_larger, 1);
    add_full(s);
    return run_suite(s);
}

#else

int main(void)
{
    return skip_without_cache();
}

#endif
