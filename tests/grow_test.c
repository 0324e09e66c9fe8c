/* SPDX-License-Identifier: MIT */
/*
 * A heap that grows at its high end: it goes on as if it had been large from the beginning,
 * wherever the strategy's state lies, and where it cannot grow it is as it was. That placement
 * stays the plain scan's is tested by oracle_test.c.
 */
#include "workload.h"

#define MOST ((size_t)4 << 20)

static _Alignas(4096) char region[MOST], other[MOST];

/* In memory that is not zero, above the heap as well. */
static struct hmm_heap *made(char *memory, size_t size, const struct hmm_strategy *s)
{
    memset(memory, 0xa5, MOST - 4096);
    struct hmm_heap *h = hmm_heap_create(memory, size, s);
    ck_assert_ptr_nonnull(h);
    return unwatched(h);
}

static void must_grow(struct hmm_heap *h, size_t size)
{
    ck_assert_uint_le(size, MOST);
    ck_assert_int_eq(hmm__heap_grow(h, size), 0);
    ck_assert_uint_eq(hmm_heap_capacity(h), size / HMM_GRANULE * HMM_GRANULE);
    assert_sound(h);
}

/* ---- As if it had been large ---- */

enum { BLOCKS = 300, STEPS = 20000, STEP_BYTES = 12 << 10 };

/* Refs differ by what the control structures take. */
static void place_in_both(struct hmm_heap *small, struct hmm_heap *large, uint64_t *rng)
{
    static void *in_small[BLOCKS], *in_large[BLOCKS];
    size_t i = rng_below(rng, BLOCKS), size = rng_below(rng, (size_t)1 << rng_below(rng, 15));
    if (in_small[i] != NULL) {
        hmm_heap_free(small, in_small[i]);
        hmm_heap_free(large, in_large[i]);
        in_small[i] = in_large[i] = NULL;
        return;
    }
    in_small[i] = must_malloc(small, size);
    in_large[i] = must_malloc(large, size);
    require(
        block_of(small, in_small[i]) - small->first == block_of(large, in_large[i]) - large->first,
        "%zu bytes are at %u, and in a heap that was large at %u", size,
        block_of(small, in_small[i]) - small->first, block_of(large, in_large[i]) - large->first);
}

/* _i: strategy. Past the capacity from which best-fit has middle bins, while blocks are free. */
START_TEST(it_places_as_one_that_was_large)
{
    const struct hmm_strategy *s = strategy_of(_i);
    size_t size = MOST / 8;
    uint64_t rng = 3;
    struct hmm_heap *small = made(region, size, s), *large = made(other, MOST, s);
    for (unsigned i = 1; i <= STEPS; i++) {
        if (i % 50 == 0 && size + STEP_BYTES <= MOST)
            must_grow(small, size += STEP_BYTES);
        if (i == 5)
            must_grow(small, size = MOST / 4 - 4096); /* 300 blocks may be had from now on */
        place_in_both(small, large, &rng);
    }
    ck_assert_uint_gt(size, MOST / 2);
    assert_sound(large);
}
END_TEST

/* _i: strategy. By a leap, where blocks of many sizes are free. */
START_TEST(by_a_leap)
{
    void *row[400];
    struct hmm_heap *h = made(region, 1200 << 10, strategy_of(_i));
    for (size_t i = 0; i < 400; i++)
        row[i] = must_malloc(h, 16 + i * 5);
    for (size_t i = 0; i < 400; i += 2)
        hmm_heap_free(h, row[i]);
    must_grow(h, MOST - 4096);
    for (size_t i = 400; i > 0; i -= 2) /* the largest first: in a block of their own each */
        ck_assert((char *)must_malloc(h, 16 + (i - 2) * 5) < (char *)row[399]);
    ck_assert_ptr_nonnull(must_malloc(h, MOST / 2));
    assert_sound(h);
}
END_TEST

/* Nothing but what is required: the index is made anew. */
START_TEST(a_strategy_without_grow)
{
    static struct workload w;
    struct hmm_strategy s = *strategy_of(_i);
    s.grow = NULL;
    size_t size = 96 << 10;
    workload_start(&w, made(region, size, &s), &mixes[1], 9);
    for (; size < MOST / 2; size += size / 4) {
        for (unsigned long n = scaled(300); n != 0; n--)
            workload_step(&w);
        must_grow(w.heap, size);
    }
    workload_verify(&w);
    workload_free_all(&w);
    assert_empty(w.heap);
}
END_TEST

/* ---- Where the state lies ---- */

START_TEST(a_state_that_is_too_large_goes_to_the_high_end)
{
    struct hmm_heap *h = made(region, 64 << 10, HMM_FIRST_FIT);
    const void *low = h->state;
    void *p = must_malloc(h, 1000);
    fill(p, 1000, 1);
    must_grow(h, 256 << 10);
    ck_assert_int_eq(h->state_place, HMM__STATE_HIGH);
    ck_assert_ptr_ne(h->state, low);
    const void *high = h->state;
    must_grow(h, 512 << 10);
    ck_assert((const char *)h->state > (const char *)high);
    fill_up(h);
    ck_assert(holds(p, 1000, 1));
    assert_sound(h);
    must_grow(h, 1 << 20); /* over blocks to its very end */
    ck_assert_ptr_nonnull(must_malloc(h, 300 << 10));
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_SEGREGATED), 0);
    assert_sound(h);
}
END_TEST

START_TEST(a_state_that_fits_stays)
{
    struct hmm_heap *h = made(region, MOST / 2 + 1000, HMM_SEGREGATED);
    const void *low = h->state;
    must_grow(h, MOST / 2 + 2000);
    ck_assert_ptr_eq(h->state, low);
    ck_assert_int_eq(h->state_place, HMM__STATE_LOW);
    ck_assert_uint_eq(h->limit, h->high_limit);
}
END_TEST

START_TEST(a_state_in_a_block_leaves_it)
{
    struct hmm_heap *h = made(region, 256 << 10, HMM_BEST_FIT);
    void *low = must_malloc(h, 100), *hole = must_malloc(h, 20 << 10);
    ck_assert_ptr_nonnull(low);
    fill_up(h);
    hmm_heap_free(h, hole);
    size_t live = count_blocks(h) - count_free(h);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_NEXT_FIT), 0);
    ck_assert_int_eq(h->state_place, HMM__STATE_BLOCK);
    must_grow(h, 1 << 20);
    ck_assert_int_eq(h->state_place, HMM__STATE_HIGH);
    ck_assert_uint_eq(count_blocks(h) - count_free(h), live);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_FIRST_FIT), 0);
    ck_assert_ptr_eq(must_malloc(h, 20 << 10), hole);
    assert_sound(h);
}
END_TEST

/* ---- Refusals ---- */

static void must_refuse(struct hmm_heap *h, size_t size, int code)
{
    size_t capacity = hmm_heap_capacity(h);
    const void *state = h->state;
    errno = 0;
    ck_assert_int_eq(hmm__heap_grow(h, size), -1);
    ck_assert_int_eq(errno, code);
    ck_assert_uint_eq(hmm_heap_capacity(h), capacity);
    ck_assert_ptr_eq(h->state, state);
    assert_sound(h);
}

/* _i: strategy. */
START_TEST(it_does_not_shrink)
{
    struct hmm_heap *h = made(region, 128 << 10, strategy_of(_i));
    must_refuse(h, 64 << 10, EINVAL);
    must_refuse(h, 0, EINVAL);
    must_refuse(h, SIZE_MAX, EINVAL);
    must_grow(h, 128 << 10);
}
END_TEST

/* A little more, of which the index takes more than there is of it. */
START_TEST(without_room_for_the_state_all_stays)
{
    size_t size = 256 << 10, more = 2 << 10;
    while (HMM_FIRST_FIT->state_size(size + more) == HMM_FIRST_FIT->state_size(size))
        size += more;
    ck_assert_uint_gt(HMM_FIRST_FIT->state_size(size + more), more);
    struct hmm_heap *h = made(region, size, HMM_FIRST_FIT);
    fill_up(h);
    must_refuse(h, size + more, ENOMEM);
    must_grow(h, 2 * size);
}
END_TEST

START_TEST(not_below_a_cache)
{
    struct hmm_heap *h = made(region, 1 << 20, strategy_of(_i));
    if (hmm_heap_set_cache(h, 1) != 0) {
        ck_assert_int_eq(errno, ENOTSUP);
        return; /* a build without */
    }
    must_refuse(h, 2 << 20, EBUSY);
}
END_TEST

/* An odd region: its first bytes are not the heap's. */
START_TEST(a_region_that_begins_anywhere)
{
    struct hmm_heap *h = made(region + 5, 10001, strategy_of(_i));
    hmm_ref was = h->high_limit;
    ck_assert_int_eq(hmm__heap_grow(h, 10001), 0);
    ck_assert_uint_eq(h->high_limit, was);
    ck_assert_int_eq(hmm__heap_grow(h, 20001), 0);
    ck_assert((char *)h + hmm_heap_capacity(h) <= region + 5 + 20001);
    ck_assert((char *)h + hmm_heap_capacity(h) + HMM_GRANULE > region + 5 + 20001);
    fill_up(h);
    assert_sound(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("grow");
    TCase *c = add_case(s, "grow");
    int n = strategy_count();
    tcase_add_loop_test(c, it_places_as_one_that_was_large, 0, n);
    tcase_add_loop_test(c, by_a_leap, 0, n);
    tcase_add_loop_test(c, a_strategy_without_grow, 0, n);
    tcase_add_test(c, a_state_that_is_too_large_goes_to_the_high_end);
    tcase_add_test(c, a_state_that_fits_stays);
    tcase_add_test(c, a_state_in_a_block_leaves_it);
    tcase_add_loop_test(c, it_does_not_shrink, 0, n);
    tcase_add_test(c, without_room_for_the_state_all_stays);
    tcase_add_loop_test(c, not_below_a_cache, 0, n);
    tcase_add_loop_test(c, a_region_that_begins_anywhere, 0, n);
    return run_suite(s);
}
