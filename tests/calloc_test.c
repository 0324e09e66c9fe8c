/* SPDX-License-Identifier: MIT */
/*
 * calloc: all that may be used of the block is zero, whatever was there before; of heaps of one's
 * own and of the process heap, with and without a cache.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#define ROW 8

struct family {
    void *(*calloc)(size_t count, size_t size);
    void *(*malloc)(size_t size);
    void (*free)(void *block);
    size_t (*usable_size)(const void *block);
};

static const struct family process = {hmm_calloc, hmm_malloc, hmm_free, hmm_usable_size};

static struct hmm_heap *own;

static void *own_calloc(size_t count, size_t size)
{
    return hmm_heap_calloc(own, count, size);
}

static void *own_malloc(size_t size)
{
    return hmm_heap_malloc(own, size);
}

static void own_free(void *block)
{
    hmm_heap_free(own, block);
}

static size_t own_usable_size(const void *block)
{
    return hmm_heap_usable_size(own, block);
}

static const struct family of_own = {own_calloc, own_malloc, own_free, own_usable_size};

static bool all_zero(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Leaves some blocks of about this size dirty, free or not. */
static void dirty(const struct family *f, size_t size)
{
    void *row[ROW];
    for (int i = 0; i < ROW; i++) {
        row[i] = f->malloc(size + (size_t)i);
        require(row[i] != NULL, "no room for %zu", size);
        memset(row[i], 0xdd, f->usable_size(row[i]));
    }
    for (int i = ROW - 1; i >= 0; i--)
        f->free(row[i]);
}

static void assert_clean(const struct family *f, size_t count, size_t size)
{
    char *row[ROW];
    for (int i = 0; i < ROW; i++) {
        row[i] = f->calloc(count, size);
        require(row[i] != NULL, "no room for %zu times %zu", count, size);
        size_t usable = f->usable_size(row[i]);
        require(usable >= count * size && all_zero(row[i], usable),
                "of %zu times %zu bytes, of which %zu can be used, some are not zero", count, size,
                usable);
        memset(row[i], 0xee, usable);
    }
    for (int i = 0; i < ROW; i++)
        f->free(row[i]);
}

static void assert_all_clean(const struct family *f)
{
    size_t step = under_valgrind() ? 97 : 1;
    for (size_t size = 0; size < 20000; size += size < 9000 ? step : 131) {
        dirty(f, size);
        assert_clean(f, 1, size);
        if (size % 3 == 0)
            assert_clean(f, size / 3, 3);
    }
    for (size_t size = 100000; size < 110000; size += 777) {
        dirty(f, size);
        assert_clean(f, size, 1);
    }
}

/* _i: strategy and level. */
START_TEST(of_a_heap_of_one_s_own)
{
    own = heap_of((size_t)4 << 20, strategy_of(_i / 3));
    if (!cached())
        ck_assert_int_eq(hmm_heap_set_check(own, _i % 3), 0);
    assert_all_clean(&of_own);
    assert_sound(own);
    heap_end(own);
}
END_TEST

static const char *const values[] = {"0", "1"};

START_TEST(of_the_process_heap)
{
    setenv("HMM_CACHE", values[_i % 2], 1);
    ck_assert_int_eq(hmm_init(strategy_of(_i / 2)), 0);
    assert_all_clean(&process);
    assert_sound(hmm_process_heap());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("calloc");
    struct cases c = add_cases(suite, "calloc");
    on_each_strategy(c, of_a_heap_of_one_s_own, 3);
    on_each_strategy(c, of_the_process_heap, 2);
    struct cases with_cache = add_cached_cases(suite, "calloc, with a cache");
    on_each_strategy(with_cache, of_a_heap_of_one_s_own, 3);
    return run_suite(suite);
}
