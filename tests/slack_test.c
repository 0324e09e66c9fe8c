/* SPDX-License-Identifier: MIT */
/*
 * What grows little by little, on each strategy. Behind a cache realloc lets it have slack: it is
 * resized seldom, and never has more than is promised. Without a cache it has what was requested.
 */
#include "harness.h"

#include "cache/cache.h"

#if HMM__CACHE

#define REGION ((size_t)1 << 20)
#define OTHERS 64u

static struct hmm_heap *h;
static void *others[OTHERS];
static uint64_t rng;

/* The buffer that grows, and how often it was resized or moved. */
static struct buffer {
    char *p;
    size_t size, usable;
    unsigned resized, moved;
} b;

/* With blocks of other sizes between which it lies. */
static void begin(int strategy, bool with_cache)
{
    h = heap_of(REGION, strategy_of(strategy));
    ck_assert_int_eq(hmm_heap_set_cache(h, with_cache), 0);
    rng = 1 + (uint64_t)strategy;
    memset(others, 0, sizeof others);
    memset(&b, 0, sizeof b);
}

/* Memcheck has no cache. */
static bool has_cache(void)
{
    return h->cache != NULL && h->cache->open;
}

static void start_at(size_t size)
{
    b.p = must_malloc(h, b.size = size);
    memset(b.p, 'a', size);
    b.usable = hmm_heap_usable_size(h, b.p);
}

/* The byte at each place: a prime's period, so that no part is like another. */
static char byte_at(size_t i)
{
    return (char)('a' + i % 23);
}

static void resize(size_t size)
{
    char *p = hmm_heap_realloc(h, b.p, size);
    require(p != NULL, "to %zu bytes", size);
    b.moved += p != b.p;
    b.p = p;
    for (; b.size < size; b.size++)
        p[b.size] = byte_at(b.size);
    b.size = size;
    b.resized += hmm_heap_usable_size(h, p) != b.usable;
    b.usable = hmm_heap_usable_size(h, p);
    require(b.usable >= size, "%zu bytes usable of %zu", b.usable, size);
}

static void require_contents(size_t from)
{
    for (size_t i = 0; i < b.size; i++)
        require(b.p[i] == (i < from ? 'a' : byte_at(i)), "byte %zu of %zu is lost", i, b.size);
}

static void replace_another(void)
{
    void **other = &others[rng_below(&rng, OTHERS)];
    hmm_heap_free(h, *other);
    *other = must_malloc(h, 16 + rng_below(&rng, 3000));
}

static void end(void)
{
    assert_sound(h);
    hmm_heap_free(h, b.p);
    for (unsigned i = 0; i < OTHERS; i++)
        hmm_heap_free(h, others[i]);
    assert_empty(h);
    heap_end(h);
}

/* Bytes that a block may have: its size, a part of it as slack, and what is too small for a block.
 */
static size_t bound(size_t size)
{
    return size + size / 8 + 2 * 16 + HMM_GRANULE;
}

static size_t bound_exact(size_t size)
{
    return size + 2 * 16;
}

/* ---- Blocks of the heap ---- */

static void grow_by_two(size_t to, size_t (*most)(size_t))
{
    for (size_t i = 0; b.size < to; i++) {
        resize(b.size + 2);
        require(b.usable <= most(b.size), "%zu bytes usable of %zu", b.usable, b.size);
        if (i % 4 == 0)
            replace_another();
    }
}

/* 34 steps of an eighth lead from 2000 to 100000; some are shorter, where a hole ends. */
START_TEST(a_buffer_that_grows_by_two_bytes_is_resized_seldom)
{
    begin(_i, true);
    start_at(2000);
    grow_by_two(100000, bound);
    require_contents(2000);
    if (has_cache()) {
        ck_assert_uint_le(b.moved, 40);
        ck_assert_uint_le(b.resized, 100);
    }
    end();
}
END_TEST

START_TEST(without_a_cache_it_has_what_it_requests)
{
    begin(_i, false);
    start_at(2000);
    grow_by_two(20000, bound_exact);
    require_contents(2000);
    end();
}
END_TEST

START_TEST(once_the_cache_is_off_it_has_what_it_requests)
{
    begin(_i, true);
    start_at(2000);
    grow_by_two(10000, bound);
    ck_assert_int_eq(hmm_heap_set_cache(h, 0), 0);
    resize(b.usable + 1);
    grow_by_two(20000, bound_exact);
    end();
}
END_TEST

START_TEST(what_shrinks_by_little_keeps_an_eighth_at_most)
{
    begin(_i, true);
    start_at(60000);
    while (b.size > 2000) {
        resize(b.size - 20);
        require(b.usable <= bound(b.size), "%zu bytes usable of %zu", b.usable, b.size);
    }
    ck_assert_uint_eq(b.moved, 0);
    if (has_cache())
        ck_assert_uint_le(b.resized, 60); /* by a 17th each time */
    end();
}
END_TEST

START_TEST(what_shrinks_and_grows_by_little_stays_as_it_is)
{
    begin(_i, true);
    start_at(20000);
    resize(20500);
    b.resized = b.moved = 0;
    for (unsigned i = 0; i < 1000; i++)
        resize(20000 + rng_below(&rng, 500));
    if (has_cache())
        ck_assert_uint_le(b.resized, 2);
    end();
}
END_TEST

START_TEST(what_grows_by_a_factor_has_what_it_requests)
{
    begin(_i, true);
    for (size_t percent = 110; percent <= 200; percent += 45) {
        start_at(2000);
        while (b.size < 60000) {
            resize(b.size * percent / 100);
            require(b.usable <= bound_exact(b.size), "%zu bytes usable of %zu", b.usable, b.size);
        }
        hmm_heap_free(h, b.p);
    }
    b.p = NULL;
    end();
}
END_TEST

/* ---- Where there is little room ---- */

/* Nothing but a hole which is large enough, and not for slack; it does not abut the buffer. */
START_TEST(moves_into_a_hole_without_room_for_slack)
{
    begin(_i, true);
    start_at(5000);
    void *guard = must_malloc(h, 3000), *hole = must_malloc(h, 5200);
    keep(must_malloc(h, 3000));
    fill_up(h);
    hmm_heap_free(h, hole);
    resize(5150);
    ck_assert_ptr_eq(b.p, hole);
    ck_assert_uint_le(b.usable, bound_exact(5200));
    hmm_heap_free(h, guard);
    assert_sound(h);
}
END_TEST

START_TEST(grows_to_the_region_s_very_end)
{
    struct hmm_stats s;
    begin(_i, true);
    hmm_heap_stats(h, &s);
    keep(must_malloc(h, s.largest_free - 8000));
    start_at(5000);
    void *p;
    for (size_t size = 5000; (p = hmm_heap_realloc(h, b.p, size)) != NULL; size += 16)
        ck_assert_ptr_eq(p, b.p);
    ck_assert_int_eq(errno, ENOMEM);
    b.size = 5000;
    resize(hmm_heap_usable_size(h, b.p));
    hmm_heap_stats(h, &s);
    ck_assert_uint_lt(s.largest_free, 16);
    assert_sound(h);
}
END_TEST

/* It is the last block: where the break has risen, the request was above it. */
START_TEST(the_break_does_not_rise_for_slack)
{
    begin(_i, true);
    start_at(5000);
    while (b.size < 200000) {
        char *before = hmm_heap_break(h);
        resize(b.size + 16);
        ck_assert(hmm_heap_break(h) == (void *)before || b.p + b.size > before - HMM_GRANULE);
    }
    ck_assert_uint_eq(b.moved, 0);
    end();
}
END_TEST

/* ---- Objects of runs ---- */

/* So many of each class that it has runs. */
static void make_runs(void)
{
    for (size_t size = 16; size <= CACHE_OBJECT_MAX; size += 16)
        for (unsigned i = 0; i < 2 * 1024 / size + 2; i++)
            keep(must_malloc(h, size));
}

/* A quarter more; and a class has an eighth more than what it is for, at most. */
START_TEST(a_string_that_grows_by_a_byte_moves_seldom)
{
    begin(_i, true);
    make_runs();
    start_at(8);
    while (b.size < CACHE_OBJECT_MAX) {
        if (b.size == 128)
            b.moved = 0;
        resize(b.size + 1);
        require(b.usable <= (b.size + b.size / 4) * 9 / 8 + 16, "%zu bytes usable of %zu", b.usable,
                b.size);
    }
    require_contents(8);
    if (has_cache())
        ck_assert_uint_le(b.moved, 12);
    assert_sound(h);
}
END_TEST

START_TEST(a_string_that_doubles_has_what_it_requests)
{
    begin(_i, true);
    make_runs();
    for (start_at(16); b.size < CACHE_OBJECT_MAX;) {
        resize(2 * b.size);
        if (has_cache())
            ck_assert_uint_eq(b.usable, b.size);
    }
    assert_sound(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("slack");
    struct cases c = add_cached_cases(s, "slack");
    on_each_strategy(c, a_buffer_that_grows_by_two_bytes_is_resized_seldom, 1);
    on_each_strategy(c, once_the_cache_is_off_it_has_what_it_requests, 1);
    on_each_strategy(c, what_shrinks_by_little_keeps_an_eighth_at_most, 1);
    on_each_strategy(c, what_shrinks_and_grows_by_little_stays_as_it_is, 1);
    on_each_strategy(c, what_grows_by_a_factor_has_what_it_requests, 1);
    on_each_strategy(c, moves_into_a_hole_without_room_for_slack, 1);
    on_each_strategy(c, grows_to_the_region_s_very_end, 1);
    on_each_strategy(c, the_break_does_not_rise_for_slack, 1);
    on_each_strategy(c, a_string_that_grows_by_a_byte_moves_seldom, 1);
    on_each_strategy(c, a_string_that_doubles_has_what_it_requests, 1);
    on_each_strategy(add_cases(s, "no slack"), without_a_cache_it_has_what_it_requests, 1);
    return run_suite(s);
}

#else

int main(void)
{
    return skip_without_cache();
}

#endif
