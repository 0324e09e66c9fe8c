/* SPDX-License-Identifier: MIT */
/*
 * Pages that go back to the system: which, when, and how much of them at a time; and that nothing
 * that is in use goes with them. The heap is in a mapping of its own, the clock is the test's.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* MAP_NORESERVE, mincore */
#endif
#include "given_back.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define PAGE 4096u

static char *region;
static size_t region_size;
static uint64_t now = 1000000;
static size_t given_back, calls;

static bool page_commit(char *from, char *to)
{
    require(from >= region && from <= to && to <= region + region_size, "committed outside");
    return true;
}

static void page_decommit(char *from, char *to)
{
    require(from >= region && from <= to && to <= region + region_size, "given back outside");
    given_back += (size_t)(to - from);
    calls++;
    give_pages_back(from, to);
}

static uint64_t page_clock(void)
{
    return now;
}

static const struct hmm__page_source pages = {
    .commit = page_commit, .decommit = page_decommit, .clock = page_clock};

static struct hmm_heap *heap_in(size_t size, const struct hmm_strategy *s)
{
    region_size = size;
    region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    ck_assert_ptr_ne(region, MAP_FAILED);
    struct hmm_heap *h = unwatched(hmm__heap_create(region, size, s, true, &pages));
    ck_assert_ptr_nonnull(h);
    given_back = calls = 0;
    return h;
}

static size_t resident(void)
{
    static unsigned char map[(512 << 20) / PAGE];
    size_t n = 0;
    ck_assert_uint_le(region_size / PAGE, sizeof map);
    ck_assert_int_eq(mincore(region, region_size, map), 0);
    for (size_t i = 0; i < region_size / PAGE; i++)
        n += map[i] & 1u;
    return n * PAGE;
}

static void *touched(struct hmm_heap *h, size_t size, int byte)
{
    return memset(must_malloc(h, size), byte, size);
}

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* As the entry points do at intervals. */
static void wait_ms(struct hmm_heap *h, unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 10) {
        now += 10;
        hmm__decommit_due(h);
    }
}

/* ---- Time ---- */

/* Of which a quarter and more is freed, from the low end on: at some free there is enough that can
 * go. Least of some runs, since others use the machine. */
static void time_frees(const struct hmm_strategy *strategy, int cache)
{
    const size_t n = 180000, size = 1100;
    void **blocks = calloc(n, sizeof *blocks);
    double least = 1e9;
    for (int run = 0; run < 3; run++) {
        struct hmm_heap *h = heap_in(400 * MIB, strategy);
        double worst = 0;
        hmm_heap_set_cache(h, cache); /* where there is none it stays off */
        for (size_t i = 0; i < n; i++)
            blocks[i] = must_malloc(h, size);
        for (size_t i = 0; i < n / 4 * 3; i++) {
            now += i % 64 == 0;
            size_t live = live_bytes(h);
            double begun = cpu_ms();
            hmm_heap_free(h, blocks[i]);
            hmm__decommit_due(h);
            double took = cpu_ms() - begun;
            ck_assert_uint_lt(live - live_bytes(h), 400 * size);
            worst = took > worst ? took : worst;
        }
        assert_sound(h);
        ck_assert_uint_gt(given_back, 10 * MIB);
        least = worst < least ? worst : least;
        munmap(region, region_size);
    }
    require(least < 1, "a free took %.2f ms", least);
    free(blocks);
}

START_TEST(no_free_takes_longer_where_there_are_many_blocks)
{
    time_frees(strategy_of(_i), 0);
}
END_TEST

/* What its cache has too much of, and what it has not needed, go back in steps. */
START_TEST(no_free_takes_longer_where_a_cache_has_many_blocks)
{
    time_frees(strategy_of(_i), 1);
}
END_TEST

/* The same order each time. */
static void shuffle(void **blocks, size_t n)
{
    uint64_t rng = 1;
    for (size_t i = n - 1; i > 0; i--) {
        size_t k = rng_below(&rng, i + 1);
        void *p = blocks[i];
        blocks[i] = blocks[k];
        blocks[k] = p;
    }
}

/* Small objects of many runs, in an order that leaves most of them in use until the end: what a
 * burst has left is then looked for among them. */
START_TEST(no_tick_takes_longer_where_a_cache_has_many_runs)
{
    const size_t n = 300000, size = 700;
    void **blocks = calloc(n, sizeof *blocks);
    double least = 1e9;
    for (int run = 0; run < 3; run++) {
        struct hmm_heap *h = heap_in(400 * MIB, strategy_of(_i));
        double worst = 0;
        hmm_heap_set_cache(h, 1);
        for (size_t i = 0; i < n; i++)
            blocks[i] = must_malloc(h, size);
        shuffle(blocks, n);
        for (size_t i = 0; i < n; i++) {
            now += i % 64 == 0;
            hmm_heap_free(h, blocks[i]);
            double begun = cpu_ms();
            hmm__tick(h);
            double took = cpu_ms() - begun;
            worst = took > worst ? took : worst;
        }
        assert_sound(h);
        least = worst < least ? worst : least;
        munmap(region, region_size);
    }
    require(least < 1, "a tick took %.2f ms", least);
    free(blocks);
}
END_TEST

/* A call that returns many medium blocks to the heap, or merges the last of many blocks into the
 * top, gives back little more than a step. */
START_TEST(no_call_gives_back_much_more_than_a_step)
{
    const size_t n = 70000, size = 4000;
    struct hmm_heap *h = heap_in(320 * MIB, strategy_of(_i / 2));
    void **blocks = calloc(n, sizeof *blocks);
    size_t most = 0, most_calls = 0;
    hmm_heap_set_cache(h, _i % 2);
    for (size_t i = 0; i < n; i++)
        blocks[i] = touched(h, size, 1);
    if (_i % 2)
        shuffle(blocks, n);
    for (size_t i = 0; i < n; i++) {
        now += i % 64 == 0;
        given_back = calls = 0;
        hmm_heap_free(h, blocks[i]);
        hmm__tick(h);
        most = given_back > most ? given_back : most;
        most_calls = calls > most_calls ? calls : most_calls;
    }
    require(most <= 6 * MIB, "a call gave back %zu KiB", most >> 10);
    require(most_calls <= 96, "a call gave back pages %zu times", most_calls);
    assert_sound(h);
    free(blocks);
}
END_TEST

/* ---- When they go ---- */

START_TEST(what_is_not_needed_goes_after_a_while)
{
    struct hmm_heap *h = heap_in(128 * MIB, strategy_of(_i));
    void *hole = touched(h, 20 * MIB, 1), *above = touched(h, 1000, 2);
    hmm_heap_free(h, hole);
    wait_ms(h, HMM__RELEASE_AFTER - 20);
    ck_assert_uint_gt(resident(), 20 * MIB);
    wait_ms(h, 200);
    ck_assert_uint_lt(resident(), MIB);
    assert_sound(h);
    hmm_heap_free(h, above);
}
END_TEST

/* Of a cache: blocks that it keeps for the next request. They go to the heap first, and are to grow
 * old there, too. */
START_TEST(what_a_cache_has_not_needed_goes_within_two_whiles)
{
    enum { N = 1000, SIZE = 3000 };
    static void *blocks[N];
    struct hmm_heap *h = heap_in(256 * MIB, strategy_of(_i));
    if (hmm_heap_set_cache(h, 1) != 0 || under_valgrind())
        return;
    touched(h, 100 * MIB, 1);
    for (int i = 0; i < N; i++)
        blocks[i] = touched(h, SIZE, i);
    touched(h, 1000, 2);
    for (int i = 0; i < N; i++)
        hmm_heap_free(h, blocks[i]);
    struct hmm_stats s;
    hmm_heap_stats(h, &s);
    ck_assert_uint_gt(s.cached, 2 * MIB);
    for (unsigned ms = 0; ms < 2 * HMM__RELEASE_AFTER + 50; ms += 2) {
        now += 2;
        hmm__tick(h);
    }
    ck_assert_uint_lt(resident(), 103 * MIB); /* an index is in it */
    assert_sound(h);
}
END_TEST

/* What is freed and allocated again within the while stays, though all around it goes. */
START_TEST(what_is_used_again_stays)
{
    struct hmm_heap *h = heap_in(128 * MIB, strategy_of(_i));
    void *hole = touched(h, 20 * MIB, 1);
    touched(h, 1000, 2);
    hmm_heap_free(h, hole);
    for (int i = 0; i < 100; i++) {
        void *p = touched(h, 2 * MIB, i);
        hmm_heap_free(h, p);
        wait_ms(h, 50);
    }
    ck_assert_uint_lt(resident(), 4 * MIB);
    ck_assert_uint_gt(resident(), 2 * MIB);
    ck_assert_uint_lt(given_back, 24 * MIB);
    assert_sound(h);
}
END_TEST

/* A hole beside which small blocks come and go all the time. */
START_TEST(small_blocks_do_not_keep_a_hole_from_growing_old)
{
    struct hmm_heap *h = heap_in(128 * MIB, strategy_of(_i));
    void *hole = touched(h, 20 * MIB, 1);
    touched(h, 1000, 2);
    hmm_heap_free(h, hole);
    for (int i = 0; i < 100; i++) {
        hmm_heap_free(h, touched(h, 70000, i));
        hmm_heap_free(h, touched(h, 700, i));
        wait_ms(h, 10);
    }
    ck_assert_uint_lt(resident(), 2 * MIB);
    assert_sound(h);
}
END_TEST

START_TEST(the_free_top_goes_too)
{
    struct hmm_heap *h = heap_in(128 * MIB, strategy_of(_i));
    touched(h, 1000, 2);
    hmm_heap_free(h, touched(h, 20 * MIB, 1));
    ck_assert_uint_gt(resident(), 20 * MIB);
    wait_ms(h, 3 * HMM__RELEASE_AFTER);
    ck_assert_uint_lt(resident(), MIB);
    assert_sound(h);
}
END_TEST

/* Whenever it fell: no later than a hole. */
START_TEST(the_free_top_goes_after_a_while)
{
    struct hmm_heap *h = heap_in(128 * MIB, strategy_of(_i / 4));
    touched(h, 1000, 2);
    hmm_heap_free(h, touched(h, 20 * MIB, 1));
    wait_ms(h, 3 * HMM__RELEASE_AFTER + HMM__RELEASE_AFTER / 4 * (unsigned)(_i % 4));
    hmm_heap_free(h, touched(h, 20 * MIB, 1));
    wait_ms(h, HMM__RELEASE_AFTER - 20);
    ck_assert_uint_gt(resident(), 20 * MIB);
    wait_ms(h, 100);
    ck_assert_uint_lt(resident(), MIB);
    assert_sound(h);
}
END_TEST

START_TEST(at_once_and_never)
{
    struct hmm_heap *h = heap_in(128 * MIB, strategy_of(_i));
    void *a = touched(h, 20 * MIB, 1), *b;
    touched(h, 1000, 2);
    b = touched(h, 20 * MIB, 3);
    touched(h, 1000, 4);
    h->release_after = HMM__RELEASE_NEVER;
    hmm_heap_free(h, a);
    wait_ms(h, 10000);
    ck_assert_uint_gt(resident(), 40 * MIB);
    h->release_after = 0;
    hmm_heap_free(h, b);
    ck_assert_uint_lt(resident(), MIB);
    assert_sound(h);
}
END_TEST

/* If nobody calls any more, it stays: 128 MiB, as small blocks or large are freed. */
START_TEST(what_may_wait_is_limited)
{
    struct hmm_heap *h = heap_in(400 * MIB, strategy_of(_i));
    static void *blocks[20];
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 20; i++)
            blocks[i] = touched(h, 10 * MIB, i);
        void *above = turn ? NULL : touched(h, 100, 1);
        for (int i = 0; i < 20; i++) {
            hmm_heap_free(h, blocks[turn ? 19 - i : i]);
            assert_sound(h);
        }
        ck_assert_uint_lt(resident(), 130 * MIB);
        ck_assert_uint_gt(resident(), 40 * MIB);
        hmm_heap_free(h, above);
    }
}
END_TEST

/* None of them gives back more than a step. */
START_TEST(a_trim_gives_back_all_and_a_call_a_step)
{
    struct hmm_heap *h = heap_in(256 * MIB, strategy_of(_i));
    void *a = touched(h, 60 * MIB, 1);
    touched(h, 1000, 2);
    hmm_heap_free(h, a);
    now += 1000;
    for (int i = 0; i < 5; i++) {
        size_t before = given_back;
        hmm__decommit_due(h);
        ck_assert_uint_le(given_back - before, 8 * MIB);
        ck_assert_uint_gt(given_back - before, MIB);
        assert_sound(h);
    }
    ck_assert_uint_gt(hmm__decommit_all(h), 30 * MIB);
    ck_assert_uint_lt(resident(), MIB);
    struct hmm_stats s;
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.released, given_back);
    ck_assert_uint_gt(s.released, 59 * MIB);
    ck_assert_uint_le(s.released, 61 * MIB);
    assert_sound(h);
}
END_TEST

/* In 20 phases each has other sizes, and its holes do not serve the next. */
START_TEST(the_break_rises_over_what_goes_elsewhere)
{
    struct hmm_heap *h = heap_in(400 * MIB, strategy_of(_i));
    static void *blocks[400];
    size_t most = 0;
    for (size_t phase = 0; phase < 6; phase++) {
        size_t size = (100 + 20 * phase) << 10, n = 20 * MIB / size;
        for (size_t i = 0; i < n; i++) {
            blocks[i] = touched(h, size, (int)i);
            size_t now_resident = i % 16 ? 0 : resident();
            most = now_resident > most ? now_resident : most;
        }
        for (size_t i = 0; i < n; i++)
            if (i % 10)
                hmm_heap_free(h, blocks[i]);
    }
    require(most < 42 * MIB, "%zu MiB were resident", most / MIB);
    assert_sound(h);
}
END_TEST

/* ---- Known zeros ---- */

static bool is_zero(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

START_TEST(calloc_does_not_touch_what_is_zero)
{
    struct hmm_heap *h = heap_in(256 * MIB, strategy_of(_i));
    void *first = touched(h, 1000, 1);
    char *p = hmm_heap_calloc(h, 1, 100 * MIB);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_lt(resident(), MIB);
    ck_assert(is_zero(p, hmm_heap_usable_size(h, p)));
    memset(p, 0xff, hmm_heap_usable_size(h, p));
    void *above = touched(h, 1000, 2);
    hmm_heap_free(h, p);
    hmm__decommit_all(h);
    p = hmm_heap_calloc(h, 50, MIB);
    ck_assert_uint_lt(resident(), MIB);
    ck_assert(is_zero(p, hmm_heap_usable_size(h, p)));
    memset(p, 0xff, hmm_heap_usable_size(h, p));
    hmm_heap_free(h, p);
    p = hmm_heap_calloc(h, 100, MIB); /* half of it has been used */
    ck_assert_uint_lt(resident(), MIB);
    ck_assert(is_zero(p, hmm_heap_usable_size(h, p)));
    hmm_heap_free(h, above);
    hmm_heap_free(h, first);
    assert_sound(h);
}
END_TEST

/* ---- At random ---- */

#define SLOTS 160

static struct {
    unsigned char *p;
    size_t size;
    unsigned char byte;
} live[SLOTS];

static uint32_t dice;

static uint32_t roll(uint32_t below)
{
    dice = dice * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)dice * below >> 32);
}

static size_t any_size(void)
{
    switch (roll(4)) {
    case 0:
        return roll(2000);
    case 1:
        return 60000 + roll(10000);
    case 2:
        return roll(300000);
    default:
        return roll(40000);
    }
}

static void assert_filled(int i)
{
    if (live[i].p != NULL)
        require(live[i].size == 0 || (live[i].p[0] == live[i].byte &&
                                      memcmp(live[i].p, live[i].p + 1, live[i].size - 1) == 0),
                "a block of %zu bytes has changed", live[i].size);
}

static void fill_slot(struct hmm_heap *h, int i, void *p)
{
    live[i].p = p;
    live[i].size = p ? hmm_heap_usable_size(h, p) : 0;
    live[i].byte = (unsigned char)(1 + roll(255));
    if (p != NULL)
        memset(p, live[i].byte, live[i].size);
}

static void replace(struct hmm_heap *h, int i)
{
    size_t size = any_size();
    assert_filled(i);
    if (live[i].p != NULL && roll(4) == 0) {
        size_t keep = live[i].size < size ? live[i].size : size;
        unsigned char *p = hmm_heap_realloc(h, live[i].p, size + 1);
        if (p == NULL)
            return;
        require(keep == 0 || (p[0] == live[i].byte && memcmp(p, p + 1, keep - 1) == 0),
                "realloc lost bytes");
        fill_slot(h, i, p);
    } else if (live[i].p != NULL) {
        hmm_heap_free(h, live[i].p);
        live[i].p = NULL;
    } else if (roll(3) == 0) {
        char *p = hmm_heap_calloc(h, 1, size);
        require(p == NULL || is_zero(p, hmm_heap_usable_size(h, p)), "calloc of %zu: not zero",
                size);
        fill_slot(h, i, p);
    } else {
        fill_slot(h, i,
                  roll(5) ? hmm_heap_malloc(h, size)
                          : hmm_heap_aligned_alloc(h, (size_t)32 << roll(13), size));
    }
}

/* _i: strategy and which of six. */
START_TEST(nothing_in_use_is_lost_and_zeros_are_zeros)
{
    static const uint32_t afters[] = {0, 5, 50, 250, 1000, HMM__RELEASE_NEVER};
    struct hmm_heap *h = heap_in(24 * MIB, strategy_of(_i / 6));
    h->release_after = afters[_i % 6];
    dice = (uint32_t)_i * 7919u + 1;
    memset(live, 0, sizeof live);
    unsigned long steps = scaled(12000);
    for (unsigned long n = 0; n < steps || (given_back == 0 && n < 12000); n++) {
        replace(h, (int)roll(SLOTS));
        now += roll(4);
        if (roll(8) == 0)
            hmm__decommit_due(h);
        if (roll(400) == 0)
            hmm__decommit_all(h);
        if (roll(500) == 0)
            hmm_heap_set_strategy(h, strategy_of((int)roll((uint32_t)strategy_count())));
        if (roll(64) == 0)
            assert_sound(h);
        if (roll(1500) == 0)
            for (int i = 0; i < SLOTS; i++) {
                hmm_heap_free(h, live[i].p);
                live[i].p = NULL;
            }
    }
    for (int i = 0; i < SLOTS; i++)
        assert_filled(i);
    assert_sound(h);
    ck_assert_uint_gt(given_back, 0);
    munmap(region, region_size);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("release");
    struct cases c = add_cases(s, "release");
    if (!under_valgrind()) { /* there pages stay resident, and times say nothing */
        on_each_strategy(c, no_free_takes_longer_where_there_are_many_blocks, 1);
        on_each_strategy(c, no_free_takes_longer_where_a_cache_has_many_blocks, 1);
        on_each_strategy(c, no_tick_takes_longer_where_a_cache_has_many_runs, 1);
        on_each_strategy(c, no_call_gives_back_much_more_than_a_step, 2);
        on_each_strategy(c, what_is_not_needed_goes_after_a_while, 1);
        on_each_strategy(c, what_a_cache_has_not_needed_goes_within_two_whiles, 1);
        on_each_strategy(c, what_is_used_again_stays, 1);
        on_each_strategy(c, small_blocks_do_not_keep_a_hole_from_growing_old, 1);
        on_each_strategy(c, the_free_top_goes_too, 1);
        on_each_strategy(c, the_free_top_goes_after_a_while, 4);
        on_each_strategy(c, at_once_and_never, 1);
        on_each_strategy(c, what_may_wait_is_limited, 1);
        on_each_strategy(c, a_trim_gives_back_all_and_a_call_a_step, 1);
        on_each_strategy(c, calloc_does_not_touch_what_is_zero, 1);
    }
    on_each_strategy(c, the_break_rises_over_what_goes_elsewhere, 1);
    on_each_strategy(c, nothing_in_use_is_lost_and_zeros_are_zeros, 6);
    return run_suite(s);
}
