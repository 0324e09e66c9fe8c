/* SPDX-License-Identifier: MIT */
/*
 * The simulated break: it rises geometrically and falls with hysteresis, and no memory above it is
 * touched.
 */
#include "workload.h"

#include <stdlib.h>

#define CANARY 0xa5

static size_t break_offset(const struct hmm_heap *h)
{
    struct hmm_stats s;
    hmm_heap_stats(h, &s);
    ck_assert_ptr_eq(hmm_heap_break(h), (char *)h - h->skew + s.brk);
    return s.brk;
}

START_TEST(starts_low)
{
    struct hmm_heap *h = heap_of(1 << 20, strategy_of(_i));
    ck_assert_uint_lt(break_offset(h), 64 << 10);
    heap_end(h);
}
END_TEST

/* Page by page it would move 16,000 times. */
START_TEST(rises_geometrically)
{
    const size_t region = under_valgrind() ? 4 << 20 : 64 << 20;
    struct hmm_heap *h = heap_of(region, strategy_of(_i));
    size_t moves = 0, before = break_offset(h);
    while (hmm_heap_malloc(h, 1000) != NULL) {
        size_t now = (size_t)((char *)hmm_heap_break(h) - (char *)h);
        require(now >= before, "the break fell");
        moves += now != before;
        before = now;
    }
    struct hmm_stats s;
    hmm_heap_stats(h, &s);
    ck_assert_uint_lt(s.capacity - (s.brk - s.top_bytes), 1008); /* not one more */
    ck_assert_uint_eq(s.brk_peak, s.brk);
    ck_assert_uint_lt(moves, 2500); /* 180 a doubling, once a step is above a page */
    heap_end(h);
}
END_TEST

START_TEST(stands_little_above_the_blocks)
{
    struct hmm_heap *h = heap_of(4 << 20, strategy_of(_i));
    while (hmm_heap_malloc(h, 1000) != NULL) {
        size_t top = (size_t)h->top * HMM_GRANULE, brk = (size_t)h->brk * HMM_GRANULE;
        require(brk - top <= top / 50 + 8192, "break at %zu, last block ends at %zu", brk, top);
    }
    heap_end(h);
}
END_TEST

START_TEST(falls_when_all_is_freed)
{
    struct hmm_heap *h = heap_of(4 << 20, strategy_of(_i));
    static void *blocks[4000];
    size_t low = break_offset(h), n = exhaust(h, 1000, blocks, 4000), high = break_offset(h);
    ck_assert_uint_gt(high, 3 << 20);
    while (n != 0) {
        size_t before = h->brk;
        hmm_heap_free(h, blocks[--n]);
        require(h->brk <= before, "the break rose");
    }
    ck_assert_uint_lt(break_offset(h), low + (64 << 10));
    struct hmm_stats s;
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.brk_peak, high);
    heap_end(h);
}
END_TEST

START_TEST(falls_at_once_when_one_large_block_is_freed)
{
    struct hmm_heap *h = heap_of(4 << 20, strategy_of(_i));
    size_t low = break_offset(h);
    void *p = must_malloc(h, 3 << 20);
    ck_assert_uint_gt(break_offset(h), 3 << 20);
    hmm_heap_free(h, p);
    ck_assert_uint_lt(break_offset(h), low + (64 << 10));
    heap_end(h);
}
END_TEST

/* _i: strategy and size. What comes and goes at the top, below the threshold, moves it once. */
START_TEST(stays_while_a_block_comes_and_goes)
{
    static const size_t sizes[] = {16, 100, 1000, 4000, 10000};
    struct hmm_heap *h = heap_of(8 << 20, strategy_of(_i / 5));
    void *row[400];
    for (size_t i = 0; i < 400; i++)
        row[i] = must_malloc(h, 10000);
    size_t moves = 0, before = break_offset(h);
    for (size_t i = 0; i < 1000; i++) {
        void *p = must_malloc(h, sizes[_i % 5]);
        size_t risen = (size_t)((char *)hmm_heap_break(h) - (char *)h);
        hmm_heap_free(h, p);
        size_t fallen = (size_t)((char *)hmm_heap_break(h) - (char *)h);
        moves += risen != before;
        moves += fallen != risen;
        before = fallen;
    }
    ck_assert_uint_le(moves, 1);
    ck_assert_ptr_nonnull(row[0]);
    heap_end(h);
}
END_TEST

/* realloc and aligned_alloc move it as well. */
START_TEST(rises_for_what_grows_and_for_what_is_aligned)
{
    struct hmm_heap *h = heap_of(4 << 20, strategy_of(_i));
    void *p = must_malloc(h, 10);
    size_t low = break_offset(h);
    p = hmm_heap_realloc(h, p, 1 << 20);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_ge(break_offset(h), 1 << 20);
    p = hmm_heap_realloc(h, p, 10);
    ck_assert_uint_le(break_offset(h), low + (64 << 10));
    void *q = hmm_heap_aligned_alloc(h, 4096, 1 << 20);
    ck_assert_ptr_nonnull(q);
    ck_assert_uint_ge(break_offset(h), 1 << 20);
    hmm_heap_free(h, q);
    hmm_heap_free(h, p);
    ck_assert_uint_le(break_offset(h), low + (64 << 10));
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* _i: strategy and mix. */
START_TEST(nothing_above_it_is_ever_touched)
{
    static unsigned char region[4 << 20];
    static struct workload w;
    struct hmm_stats s;
    memset(region, CANARY, sizeof region);
    struct hmm_heap *h = hmm_heap_create(region, sizeof region, strategy_of(_i / mix_count()));
    workload_start(&w, h, &mixes[_i % mix_count()], 11);
    size_t highest = 0;
    for (unsigned long n = scaled(5000); n != 0; n--) {
        workload_step(&w);
        hmm_heap_stats(h, &s);
        highest = s.brk > highest ? s.brk : highest;
        require(s.brk <= s.brk_peak, "the break is above its peak");
    }
    workload_free_all(&w);
    hmm_heap_stats(h, &s);
    ck_assert_uint_ge(s.brk_peak, highest);
    ck_assert_uint_lt(s.brk_peak, sizeof region);
    if (under_valgrind()) /* which forgets what a heap's region held */
        return;
    for (size_t i = s.brk_peak; i < sizeof region; i++)
        require(region[i] == CANARY, "byte %zu, above the break's peak of %zu, was written", i,
                s.brk_peak);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("break");
    struct cases c = add_cases(s, "break");
    on_each_strategy(c, starts_low, 1);
    on_each_strategy(c, rises_geometrically, 1);
    on_each_strategy(c, stands_little_above_the_blocks, 1);
    on_each_strategy(c, falls_when_all_is_freed, 1);
    on_each_strategy(c, falls_at_once_when_one_large_block_is_freed, 1);
    on_each_strategy(c, stays_while_a_block_comes_and_goes, 5);
    on_each_strategy(c, rises_for_what_grows_and_for_what_is_aligned, 1);
    on_each_strategy(c, nothing_above_it_is_ever_touched, mix_count());
    return run_suite(s);
}
