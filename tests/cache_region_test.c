/* SPDX-License-Identifier: MIT */
/*
 * The cache and its region: what it takes of the high end, where there is no room, and heaps for
 * which it is of no use.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* MAP_NORESERVE */
#endif
#include "books.h"

#include <stdlib.h>
#include <sys/mman.h>

#if HMM__CACHE

#define MIB ((size_t)1 << 20)

static struct books b;

/* ---- The region's high end ---- */

START_TEST(beside_a_state_at_the_high_end)
{
    books_open(&b, 8 * MIB, HMM_BEST_FIT, 500);
    for (int i = 0; i < 6; i++) {
        books_live(&b, 4000, 4000, 70);
        ck_assert_int_eq(hmm_heap_set_strategy(b.heap, i % 2 ? HMM_BEST_FIT : HMM_FIRST_FIT), 0);
        ck_assert_int_eq(b.heap->state_place, i % 2 ? HMM__STATE_LOW : HMM__STATE_HIGH);
        books_hold(&b);
    }
    books_live(&b, 2000, 4000, 70);
    books_close(&b, SHUFFLED);
}
END_TEST

/* The descriptors cannot go on growing down there: the heap goes on without more runs. */
START_TEST(a_state_at_the_high_end_stops_the_descriptors)
{
    books_open(&b, 8 * MIB, HMM_BEST_FIT, 510);
    ck_assert_int_eq(hmm_heap_set_strategy(b.heap, HMM_FIRST_FIT), 0);
    ck_assert_int_eq(b.heap->state_place, HMM__STATE_HIGH);
    books_live(&b, 20000, 6000, 80);
    books_close(&b, SHUFFLED);
}
END_TEST

START_TEST(refused_where_a_state_is_at_the_high_end)
{
    struct hmm_heap *h = unwatched(heap_of(MIB, HMM_BEST_FIT));
    struct hmm_stats before, after;
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_FIRST_FIT), 0);
    ck_assert_int_eq(h->state_place, HMM__STATE_HIGH);
    hmm_heap_stats(h, &before);
    errno = 0;
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), -1);
    ck_assert_int_eq(errno, ENOMEM);
    hmm_heap_stats(h, &after);
    ck_assert_mem_eq(&before, &after, sizeof before);
    assert_empty(h);
    heap_end(h);
}
END_TEST

START_TEST(refused_where_blocks_are_at_the_high_end)
{
    struct hmm_heap *h = unwatched(heap_of(MIB, strategy_of(_i)));
    fill_up(h);
    errno = 0;
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(hmm_heap_set_cache(h, 0), 0);
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* Whether there is room for all, for a part or for nothing of what the cache needs. */
START_TEST(what_is_refused_takes_nothing)
{
    int refused = 0;
    for (size_t room = 0; room < 40000; room += 300) {
        struct hmm_heap *h = unwatched(heap_of(MIB, strategy_of(_i)));
        struct hmm_stats before, after;
        size_t whole = (size_t)(h->limit - h->top) * HMM_GRANULE;
        must_malloc(h, whole - room - 4 * HMM_GRANULE);
        hmm_heap_stats(h, &before);
        if (hmm_heap_set_cache(h, 1) == -1) {
            refused++;
            hmm_heap_stats(h, &after);
            ck_assert_uint_eq(after.capacity, before.capacity);
            must_malloc(h, room);
        }
        assert_sound(h);
        heap_end(h);
    }
    ck_assert_int_gt(refused, 10);
}
END_TEST

/* Of odd sizes, misaligned; nothing outside is written. */
START_TEST(regions_of_odd_sizes)
{
    enum { MARGIN = 64 };
    const size_t most = MIB + 20000;
    unsigned char *memory = malloc(MARGIN + most + MARGIN);
    for (size_t k = 0; k < 12; k++) {
        size_t size = (k % 2 ? MIB : 300000) + k * 1237 + k / 2, at = MARGIN / 2 + k * 5 % 17;
        memset(memory, 0xc3, MARGIN + most + MARGIN);
        struct hmm_heap *h = hmm_heap_create(memory + at, size, strategy_of(_i));
        ck_assert_ptr_nonnull(unwatched(h));
        memset(&b, 0, sizeof b);
        b.heap = h;
        b.rng = k + 1;
        ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
        books_live(&b, 4000, 1200, 75);
        books_out(&b, SHUFFLED);
        assert_nothing_left(h);
        for (size_t i = 0; i < MARGIN + most + MARGIN; i++)
            require((i >= at && i < at + size) || memory[i] == 0xc3, "byte %zu was written", i);
        hmm_heap_destroy(h);
    }
    free(memory);
}
END_TEST

/* ---- When it is of no use ---- */

START_TEST(a_small_region_is_bare)
{
    struct hmm_heap *h = unwatched(heap_of((128 << 10) - 16, strategy_of(_i)));
    struct hmm_stats before, after;
    hmm_heap_stats(h, &before);
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    hmm_heap_stats(h, &after);
    ck_assert_mem_eq(&before, &after, sizeof before);
    for (int i = 0; i < 1000; i++)
        hmm_heap_free(h, must_malloc(h, (size_t)i * 10));
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* A program that wants a size once or twice does not pay for a run of it. */
START_TEST(the_first_blocks_of_a_size_are_the_strategy_s)
{
    struct hmm_heap *h = unwatched(heap_of(4 * MIB, strategy_of(_i)));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    for (size_t size = 40; size <= 400; size += 60)
        must_malloc(h, size);
    ck_assert_uint_eq(runs_of(h), 0);
    for (size_t i = 0; i < 20; i++)
        must_malloc(h, 40);
    ck_assert_uint_eq(runs_of(h), 1);
    assert_sound(h);
    heap_end(h);
}
END_TEST

START_TEST(off_where_it_never_was_and_on_twice)
{
    struct hmm_heap *h = unwatched(heap_of(MIB, strategy_of(_i)));
    struct hmm_stats once, twice;
    ck_assert_int_eq(hmm_heap_set_cache(h, 0), 0);
    assert_empty(h);
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    hmm_heap_stats(h, &once);
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    hmm_heap_stats(h, &twice);
    ck_assert_mem_eq(&once, &twice, sizeof once);
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* The program has not written to its block: what the heap before had there is still there. */
START_TEST(memory_that_had_a_heap_before_has_one_again)
{
    static _Alignas(4096) char memory[1 << 20];
    for (int again = 0; again < 3; again++) {
        struct hmm_heap *h = hmm_heap_create(memory, sizeof memory, strategy_of(_i));
        ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
        void *p = hmm_heap_malloc(h, 2000);
        hmm_heap_free(h, hmm_heap_malloc(h, 3000));
        hmm_heap_free(h, p);
        ck_assert_ptr_null(hmm_heap_check(h));
        if (again != 1 || under_valgrind()) /* which wants to be told */
            hmm_heap_destroy(h);
    }
}
END_TEST

/* ---- Tables in memory of their own ---- */

static _Alignas(4096) char growing[4 * MIB];
static _Alignas(64) char tables[256 << 10];
static struct cache own_cache;

/* A heap of 1 MiB that may grow; its cache has its tables elsewhere. */
static void open_with_tables(size_t region_max, const struct hmm_strategy *strategy, uint64_t seed)
{
    const struct cache_memory memory = {tables, tables + sizeof tables, region_max, NULL};
    struct hmm_heap *h = unwatched(hmm_heap_create(growing, MIB, strategy));
    ck_assert(hmm__cache_open_in(&own_cache, h, NULL, &memory));
    hmm__cache_serve(h, &own_cache);
    hmm__set_entries(h);
    b = (struct books){.heap = h, .rng = seed};
}

static void take_off(void)
{
    books_out(&b, SHUFFLED);
    ck_assert_int_eq(hmm_heap_set_cache(b.heap, 0), 0);
    assert_empty(b.heap);
}

START_TEST(a_heap_grows_whose_tables_are_elsewhere)
{
    open_with_tables(sizeof growing, strategy_of(_i), 520);
    struct hmm_heap *h = b.heap;
    for (size_t size = MIB; size <= sizeof growing; size += MIB) {
        ck_assert_int_eq(hmm__heap_grow(h, size), 0);
        ck_assert_uint_eq(hmm_heap_capacity(h), size);
        ck_assert_uint_eq((size_t)h->high_limit * HMM_GRANULE, size);
        books_live(&b, 4000, 800 * size / MIB, 90);
    }
    size_t above = 0;
    for (const char *p; (p = hmm_heap_malloc(h, 512)) != NULL;)
        above += p >= growing + 2 * MIB && cache_run_of(h->cache, p) != NULL;
    ck_assert_uint_gt(above, 0);
    assert_sound(h);
}
END_TEST

START_TEST(tables_elsewhere_give_all_back)
{
    open_with_tables(sizeof growing, strategy_of(_i), 530);
    books_live(&b, 4000, 800, 70);
    ck_assert_int_eq(hmm__heap_grow(b.heap, 2 * MIB), 0);
    books_live(&b, 4000, 1600, 70);
    take_off();
}
END_TEST

/* The page map ends before the region does: there the heap serves small requests itself. */
START_TEST(no_runs_beyond_what_the_tables_are_for)
{
    open_with_tables(MIB, strategy_of(_i), 540);
    ck_assert_int_eq(hmm__heap_grow(b.heap, sizeof growing), 0);
    books_live(&b, 8000, 8000, 90);
    size_t beyond = 0;
    for (size_t i = 0; i < 8000; i++) {
        const char *p = (const char *)b.slots[i].block;
        bool in_run = p != NULL && cache_run_of(b.heap->cache, p) != NULL;
        ck_assert(!in_run || p < growing + MIB);
        beyond += p != NULL && p >= growing + MIB && b.slots[i].size <= 1024;
    }
    ck_assert(beyond > 0 || under_valgrind()); /* there are fewer steps there */
    take_off();
}
END_TEST

START_TEST(tables_without_room_take_nothing)
{
    const struct cache_memory memory = {tables, tables + 4096, MIB, NULL};
    struct hmm_heap *h = unwatched(hmm_heap_create(growing, MIB, strategy_of(_i)));
    hmm_ref was = h->high_limit;
    ck_assert(!hmm__cache_open_in(&own_cache, h, NULL, &memory));
    ck_assert_uint_eq(h->high_limit, was);
    assert_empty(h);
}
END_TEST

/* Of the page map no more is cleared than the runs need: nothing of what lies below the first
 * block, where a large region's state is. */
START_TEST(what_is_cleared_does_not_depend_on_the_region)
{
#if UINTPTR_MAX > UINT32_MAX
    const size_t size = (size_t)16 << 30;
    if (under_valgrind()) /* which has each block in the heap itself */
        return;
    char *region = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(region, MAP_FAILED);
    struct hmm_heap *h = hmm_heap_create(region, size, strategy_of(_i));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    void *blocks[1000];
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_ptr_nonnull(blocks[i] = hmm_heap_malloc(h, 1 + i % 1000));
    ck_assert_uint_lt(h->cache->map_committed, 4096);
    ck_assert_ptr_null(hmm_heap_check(h));
    for (unsigned i = 0; i < 1000; i++)
        hmm_heap_free(h, blocks[i]);
    ck_assert_ptr_null(hmm_heap_check(h));
    munmap(region, size);
#endif
}
END_TEST

int main(void)
{
    Suite *s = suite_create("the cache's region");
    struct cases c = add_cases(s, "the cache's region");
    tcase_add_test(c.once, beside_a_state_at_the_high_end);
    tcase_add_test(c.once, a_state_at_the_high_end_stops_the_descriptors);
    tcase_add_test(c.once, refused_where_a_state_is_at_the_high_end);
    on_each_strategy(c, refused_where_blocks_are_at_the_high_end, 1);
    on_each_strategy(c, what_is_refused_takes_nothing, 1);
    on_each_strategy(c, regions_of_odd_sizes, 1);
    on_each_strategy(c, a_small_region_is_bare, 1);
    on_each_strategy(c, memory_that_had_a_heap_before_has_one_again, 1);
    on_each_strategy(c, the_first_blocks_of_a_size_are_the_strategy_s, 1);
    on_each_strategy(c, what_is_cleared_does_not_depend_on_the_region, 1);
    on_each_strategy(c, off_where_it_never_was_and_on_twice, 1);
    on_each_strategy(c, a_heap_grows_whose_tables_are_elsewhere, 1);
    on_each_strategy(c, tables_elsewhere_give_all_back, 1);
    on_each_strategy(c, no_runs_beyond_what_the_tables_are_for, 1);
    on_each_strategy(c, tables_without_room_take_nothing, 1);
    return run_suite(s);
}

#else

int main(void)
{
    return skip_without_cache();
}

#endif
