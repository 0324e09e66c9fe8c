/* SPDX-License-Identifier: MIT */
/*
 * What every strategy must do: malloc, calloc, free, and running out. Each test runs on each
 * strategy that the registry lists.
 */
#include "workload.h"

#include <stdlib.h>

#define MOST 4096

static void *blocks[MOST];

/* ---- Blocks ---- */

START_TEST(payloads_are_aligned_and_apart)
{
    struct hmm_heap *h = heap_of(64 << 10, strategy_of(_i));
    for (size_t size = 0; size < 200; size++) {
        blocks[size] = must_malloc(h, size);
        ck_assert_uint_eq((uintptr_t)blocks[size] % HMM_GRANULE, 0);
        fill(blocks[size], size, size);
    }
    for (size_t size = 0; size < 200; size++)
        ck_assert(holds(blocks[size], size, size));
    assert_sound(h);
    heap_end(h);
}
END_TEST

START_TEST(all_that_is_usable_may_be_written)
{
    struct hmm_heap *h = heap_of(64 << 10, strategy_of(_i));
    for (size_t size = 0; size < 200; size++) {
        blocks[size] = must_malloc(h, size);
        size_t usable = hmm_heap_usable_size(h, blocks[size]);
        ck_assert_uint_ge(usable, size);
        ck_assert_uint_lt(usable, size + 16 + HMM_GRANULE + (cached() ? size / 8 : 0));
        fill(blocks[size], usable, size);
    }
    assert_sound(h);
    ck_assert_uint_eq(hmm_heap_usable_size(h, NULL), 0);
    heap_end(h);
}
END_TEST

START_TEST(blocks_of_no_bytes_are_unique)
{
    struct hmm_heap *h = heap_of(16 << 10, strategy_of(_i));
    void *a = must_malloc(h, 0), *b = must_malloc(h, 0);
    void *c = hmm_heap_calloc(h, 0, 100), *d = hmm_heap_aligned_alloc(h, 64, 0);
    ck_assert(a != b && c != NULL && d != NULL && c != a && c != b && d != c);
    hmm_heap_free(h, a);
    hmm_heap_free(h, b);
    hmm_heap_free(h, c);
    hmm_heap_free(h, d);
    assert_empty(h);
    heap_end(h);
}
END_TEST

START_TEST(null_is_freed_without_effect)
{
    struct hmm_heap *h = heap_of(16 << 10, strategy_of(_i));
    hmm_heap_free(h, NULL);
    hmm_heap_destroy(NULL);
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* ---- calloc ---- */

static bool all_zero(const unsigned char *p, size_t n)
{
    while (n-- != 0)
        if (p[n] != 0)
            return false;
    return true;
}

START_TEST(calloc_zeroes_memory_that_was_used)
{
    struct hmm_heap *h = heap_of(64 << 10, strategy_of(_i));
    for (size_t size = 1; size < 3000; size += 97) {
        void *dirty = must_malloc(h, size), *guard = must_malloc(h, 1);
        memset(dirty, 0xa5, size);
        hmm_heap_free(h, dirty);
        void *clean = hmm_heap_calloc(h, 1, size);
        ck_assert(clean == dirty || cached());
        ck_assert(all_zero(clean, size));
        hmm_heap_free(h, guard);
        hmm_heap_free(h, clean);
        void *top = must_malloc(h, size); /* the top's bytes have been used too */
        memset(top, 0xa5, size);
        hmm_heap_free(h, top);
        top = hmm_heap_calloc(h, size, 1);
        ck_assert(all_zero(top, size));
        hmm_heap_free(h, top);
    }
    assert_empty(h);
    heap_end(h);
}
END_TEST

START_TEST(calloc_refuses_products_that_overflow)
{
    static const size_t half = SIZE_MAX / 2 + 1;
    const size_t root = (size_t)1 << (sizeof(size_t) * 4);
    const size_t pairs[][2] = {{half, 2},        {2, half},
                               {root, root},     {SIZE_MAX, SIZE_MAX},
                               {root + 1, root}, {SIZE_MAX / 3 + 1, 3},
                               {PTRDIFF_MAX, 2}, {half, 1},
                               {1, SIZE_MAX}};
    struct hmm_heap *h = heap_of(16 << 10, strategy_of(_i));
    struct hmm_stats before, after;
    hmm_heap_stats(h, &before);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        errno = 0;
        ck_assert_ptr_null(hmm_heap_calloc(h, pairs[i][0], pairs[i][1]));
        ck_assert_int_eq(errno, ENOMEM);
    }
    hmm_heap_stats(h, &after);
    ck_assert_uint_eq(after.failed, before.failed + sizeof pairs / sizeof pairs[0]);
    ck_assert_uint_eq(after.brk, before.brk);
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* ---- Too much ---- */

START_TEST(sizes_that_no_heap_can_serve)
{
    const size_t sizes[] = {SIZE_MAX,
                            SIZE_MAX - 1,
                            SIZE_MAX - 3,
                            SIZE_MAX - 4,
                            SIZE_MAX - 15,
                            SIZE_MAX - 19,
                            SIZE_MAX - 4096,
                            (size_t)PTRDIFF_MAX + 1,
                            PTRDIFF_MAX,
                            PTRDIFF_MAX - 1,
                            PTRDIFF_MAX - 16,
                            PTRDIFF_MAX - 40,
                            HMM_MAX_REQUEST,
                            HMM_MAX_REQUEST - 1,
                            (size_t)HMM_MAX_REQUEST + 1,
                            region_of(16 << 10)};
    struct hmm_heap *h = heap_of(16 << 10, strategy_of(_i));
    void *p = must_malloc(h, 100);
    fill(p, 100, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        errno = 0;
        ck_assert_ptr_null(hmm_heap_malloc(h, sizes[i]));
        ck_assert_int_eq(errno, ENOMEM);
        errno = 0;
        ck_assert_ptr_null(hmm_heap_aligned_alloc(h, 64, sizes[i]));
        ck_assert_int_eq(errno, ENOMEM);
        errno = 0;
        ck_assert_ptr_null(hmm_heap_realloc(h, p, sizes[i]));
        ck_assert_int_eq(errno, ENOMEM);
        ck_assert(holds(p, 100, 1));
    }
    assert_sound(h);
    hmm_heap_free(h, p);
    assert_empty(h);
    heap_end(h);
}
END_TEST

START_TEST(exhaustion_leaves_the_heap_whole)
{
    struct hmm_heap *h = heap_of(32 << 10, strategy_of(_i));
    size_t n = exhaust(h, 40, blocks, MOST);
    ck_assert_uint_gt(n, 200);
    ck_assert_uint_lt(n, MOST);
    for (size_t i = 0; i < n; i++)
        fill(blocks[i], 40, i);
    for (int again = 0; again < 3; again++) {
        errno = 0;
        ck_assert_ptr_null(hmm_heap_malloc(h, 40));
        ck_assert_int_eq(errno, ENOMEM);
    }
    assert_sound(h);
    for (size_t i = 0; i < n; i++)
        ck_assert(holds(blocks[i], 40, i));
    hmm_heap_free(h, blocks[n / 2]);
    ck_assert(must_malloc(h, 40) == blocks[n / 2] || cached());
    for (size_t i = 0; i < n; i++)
        hmm_heap_free(h, blocks[i]);
    assert_empty(h);
    size_t again = exhaust(h, 40, blocks, MOST);
    ck_assert(again == n || (cached() && again > n - n / 16));
    heap_end(h);
}
END_TEST

START_TEST(the_largest_request_that_is_said_to_be_served_is)
{
    struct hmm_heap *h = heap_of(64 << 10, strategy_of(_i));
    struct hmm_stats s;
    uint64_t rng = 5;
    size_t n = 0;
    for (; n < 100; n++)
        blocks[n] = must_malloc(h, 50 + rng_below(&rng, 800));
    fill_up(h);
    ck_assert(cached() || hmm_heap_malloc(h, 0) == NULL);
    for (size_t i = 0; i < n; i += 2 + i % 3) {
        hmm_heap_free(h, blocks[i]);
        hmm_heap_stats(h, &s); /* the heap's, without what the cache has */
        ck_assert(cached() || hmm_heap_malloc(h, s.largest_free + 1) == NULL);
        if (cached() &&
            s.largest_free == 0) /* the block was a run's, and others there are in use */
            continue;
        void *p = must_malloc(h, s.largest_free);
        ck_assert_uint_ge(hmm_heap_usable_size(h, p), s.largest_free);
        ck_assert(cached() || hmm_heap_usable_size(h, p) == s.largest_free);
        hmm_heap_free(h, p);
    }
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* Blocks of many sizes near one another, all free, the larger ones freed first: a search that looks
 * at the newest only must not give up. _i: strategy and how large they are. */
START_TEST(serves_what_a_single_block_fits)
{
    static const size_t sizes[] = {100, 1100, 4200, 8400, 17000};
    const size_t base = sizes[_i % 5], step = base / 64 > 16 ? 16 : 0, count = 14;
    struct hmm_heap *h = heap_of(512 << 10, strategy_of(_i / 5));
    for (size_t i = 0; i < count; i++) {
        blocks[i] = must_malloc(h, base + (count - 1 - i) * step);
        must_malloc(h, 1);
    }
    fill_up(h);
    for (size_t i = 0; i < count; i++)
        hmm_heap_free(h, blocks[i]);
    for (size_t i = 0; i < count; i++) {
        void *p = hmm_heap_malloc(h, base + (count - 1 - i) * step);
        ck_assert(p != NULL && (step == 0 || p == blocks[i] || cached()));
    }
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* ---- Everything freed ---- */

enum order { UPWARD, DOWNWARD, ODD_THEN_EVEN, INWARD, SHUFFLED, ORDERS };

static size_t nth(enum order order, size_t i, size_t n)
{
    switch (order) {
    case UPWARD:
        return i;
    case DOWNWARD:
        return n - 1 - i;
    case ODD_THEN_EVEN:
        return i < n / 2 ? 2 * i + 1 : 2 * (i - n / 2);
    case INWARD:
        return i % 2 == 0 ? i / 2 : n - 1 - i / 2;
    default:
        return i * 37 % n;
    }
}

START_TEST(all_blocks_freed_leave_nothing)
{
    struct hmm_heap *h = heap_of(256 << 10, strategy_of(_i / ORDERS));
    const size_t n = 600;
    uint64_t rng = 99;
    for (size_t i = 0; i < n; i++)
        blocks[i] = must_malloc(h, rng_below(&rng, 300));
    for (size_t i = 0; i < n; i++) {
        hmm_heap_free(h, blocks[nth((enum order)(_i % ORDERS), i, n)]);
        if (i % 16 == 0)
            assert_sound(h);
    }
    assert_empty(h);
    heap_end(h);
}
END_TEST

START_TEST(neighbours_merge_at_once)
{
    struct hmm_heap *h = heap_of(16 << 10, strategy_of(_i));
    for (size_t i = 0; i < 8; i++)
        blocks[i] = must_malloc(h, 100);
    hmm_heap_free(h, blocks[2]);
    ck_assert_uint_eq(count_free(h), 1);
    hmm_heap_free(h, blocks[4]);
    ck_assert_uint_eq(count_free(h), 2);
    hmm_heap_free(h, blocks[3]); /* with both */
    ck_assert_uint_eq(count_free(h), 1);
    hmm_heap_free(h, blocks[5]); /* with the one below */
    ck_assert_uint_eq(count_free(h), 1);
    hmm_heap_free(h, blocks[1]); /* with the one above */
    ck_assert_uint_eq(count_free(h), 1);
    ck_assert_uint_eq(count_blocks(h), 4);
    hmm_heap_free(h, blocks[7]); /* with the top */
    ck_assert_uint_eq(count_blocks(h), 3);
    hmm_heap_free(h, blocks[6]); /* and all that is free below it */
    ck_assert_uint_eq(count_blocks(h), 1);
    assert_sound(h);
    hmm_heap_free(h, blocks[0]);
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* ---- At random ---- */

static void assert_sound_after(struct workload *w, const struct op *op)
{
    (void)op;
    assert_sound(w->heap);
}

/* _i: strategy and mix; the whole heap is checked after every operation. */
START_TEST(random_operations_checked)
{
    static struct workload w;
    const struct mix *mix = &mixes[_i % mix_count()];
    const size_t region = mix->region > 12 << 10 ? mix->region / 4 : mix->region;
    workload_start(&w, heap_of(region, strategy_of(_i / mix_count())), mix, (uint64_t)_i + 1000);
    w.after = assert_sound_after;
    for (unsigned long n = scaled(10000); n != 0; n--)
        workload_step(&w);
    workload_verify(&w);
    workload_free_all(&w);
    assert_empty(w.heap);
    heap_end(w.heap);
}
END_TEST

static void add_all(struct cases c)
{
    on_each_strategy(c, payloads_are_aligned_and_apart, 1);
    on_each_strategy(c, all_that_is_usable_may_be_written, 1);
    on_each_strategy(c, blocks_of_no_bytes_are_unique, 1);
    on_each_strategy(c, null_is_freed_without_effect, 1);
    on_each_strategy(c, calloc_zeroes_memory_that_was_used, 1);
    on_each_strategy(c, calloc_refuses_products_that_overflow, 1);
    on_each_strategy(c, sizes_that_no_heap_can_serve, 1);
    on_each_strategy(c, exhaustion_leaves_the_heap_whole, 1);
    on_each_strategy(c, the_largest_request_that_is_said_to_be_served_is, 1);
    on_each_strategy(c, serves_what_a_single_block_fits, 5);
    on_each_strategy(c, all_blocks_freed_leave_nothing, ORDERS);
    on_each_strategy(c, random_operations_checked, mix_count());
}

int main(void)
{
    Suite *s = suite_create("conformance");
    struct cases c = add_cases(s, "conformance");
    add_all(c);
    on_each_strategy(c, neighbours_merge_at_once, 1); /* in a cache they do not */
    add_all(add_cached_cases(s, "conformance, with a cache"));
    return run_suite(s);
}
