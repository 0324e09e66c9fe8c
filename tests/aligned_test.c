/* SPDX-License-Identifier: MIT */
/*
 * aligned_alloc on each strategy: every power of two, both remnants, what it refuses.
 */
#include "harness.h"

#include <stdlib.h>

/* Whether a new heap can hold `size` bytes at this alignment: the first block's payload would be
 * at `from`, the region ends at `end`. What is skipped must be nothing or a block. */
static bool can_hold(uintptr_t from, uintptr_t end, size_t align, size_t size)
{
    uintptr_t at = (from + align - 1) & ~(uintptr_t)(align - 1);
    if (at < from)
        return false;
    if (at != from && at - from < HMM_MIN_GRANULES * HMM_GRANULE)
        at += align;
    if (align > HMM_GRANULE)
        size += HMM__RECORD_BYTES;
    size_t whole = (size_t)hmm__granules_for(size) * HMM_GRANULE;
    return at <= end && whole <= end - at;
}

START_TEST(every_power_of_two_up_to_the_region)
{
    const size_t region = 1 << 20;
    for (unsigned shift = 0; shift < sizeof(size_t) * 8; shift++) {
        for (size_t size = 0; size < 5000; size = size * 3 + 1) {
            const size_t align = (size_t)1 << shift;
            struct hmm_heap *h = heap_of(region, strategy_of(_i));
            uintptr_t from = (uintptr_t)block_payload(h, h->first);
            uintptr_t end = (uintptr_t)block_payload(h, h->limit);
            errno = 0;
            void *p = hmm_heap_aligned_alloc(h, align, size);
            ck_assert_int_eq(p != NULL,
                             can_hold(from, end, align < HMM_GRANULE ? HMM_GRANULE : align, size));
            if (p != NULL) {
                ck_assert_uint_eq((uintptr_t)p % align, 0);
                ck_assert_uint_ge(hmm_heap_usable_size(h, p), size);
                fill(p, size, 1);
            } else {
                ck_assert_int_eq(errno, ENOMEM);
            }
            assert_sound(h);
            hmm_heap_free(h, p);
            assert_empty(h);
            heap_end(h);
        }
    }
}
END_TEST

START_TEST(refuses_what_is_no_power_of_two)
{
    const size_t bad[] = {0, 3, 5, 6, 12, 24, 48, 100, 4095, SIZE_MAX, SIZE_MAX / 2};
    struct hmm_heap *h = heap_of(16 << 10, strategy_of(_i));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        errno = 0;
        ck_assert_ptr_null(hmm_heap_aligned_alloc(h, bad[i], 10));
        ck_assert_int_eq(errno, EINVAL);
    }
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* A hole of this many bytes between two used blocks, in a heap that is full but for it. */
static char *only_hole(struct hmm_heap *h, size_t size)
{
    void *low = must_malloc(h, 100);
    char *hole = must_malloc(h, size);
    void *high = must_malloc(h, 100);
    ck_assert(low != NULL && high != NULL);
    fill_up(h);
    hmm_heap_free(h, hole);
    ck_assert_uint_eq(count_free(h), 1);
    return hole;
}

START_TEST(both_remnants_go_back)
{
    const size_t whole = 8192 + HMM_HEADER_BYTES;
    for (size_t align = 32; align <= 2048; align *= 2) {
        struct hmm_heap *h = heap_of(32 << 10, strategy_of(_i));
        struct hmm_stats before, after;
        char *hole = only_hole(h, whole - HMM_HEADER_BYTES);
        hmm_heap_stats(h, &before);
        char *p = hmm_heap_aligned_alloc(h, align, 1000);
        ck_assert(p >= hole && p + 1000 <= hole + whole);
        ck_assert_uint_eq((uintptr_t)p % align, 0);
        assert_sound(h);
        hmm_heap_stats(h, &after);
        ck_assert_uint_eq(after.free_bytes + hmm_heap_usable_size(h, p) + HMM_HEADER_BYTES +
                              HMM__RECORD_BYTES,
                          before.free_bytes);
        ck_assert_uint_eq(after.free_blocks, p == hole ? 1 : 2);
        hmm_heap_free(h, p);
        hmm_heap_stats(h, &after);
        ck_assert_uint_eq(after.free_bytes, before.free_bytes);
        ck_assert_uint_eq(after.free_blocks, 1);
        assert_sound(h);
        heap_end(h);
    }
}
END_TEST

/* The hole has no slack: it serves only because of where it lies. */
START_TEST(finds_a_hole_that_fits_by_where_it_lies)
{
    struct hmm_heap *h = heap_of(32 << 10, strategy_of(_i));
    char *hole = hmm_heap_aligned_alloc(h, 1024, 1000);
    ck_assert_ptr_nonnull(hole);
    fill_up(h);
    hmm_heap_free(h, hole);
    ck_assert_ptr_eq(hmm_heap_aligned_alloc(h, 1024, 1000), hole);
    ck_assert_ptr_null(hmm_heap_aligned_alloc(h, 1024, 1000));
    assert_sound(h);
    heap_end(h);
}
END_TEST

START_TEST(refuses_a_hole_that_is_large_enough_but_lies_ill)
{
    struct hmm_heap *h = heap_of(32 << 10, strategy_of(_i));
    char *first = hmm_heap_aligned_alloc(h, 1024, 40), *hole = must_malloc(h, 1100);
    ck_assert(hole > first && hole < first + 100);
    must_malloc(h, 100);
    fill_up(h);
    hmm_heap_free(h, hole);
    errno = 0;
    ck_assert_ptr_null(hmm_heap_aligned_alloc(h, 1024, 600));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_eq(must_malloc(h, 1100), hole);
    assert_sound(h);
    heap_end(h);
}
END_TEST

START_TEST(many_at_many_alignments)
{
    struct hmm_heap *h = heap_of(256 << 10, strategy_of(_i));
    void *blocks[64];
    uint64_t rng = 17;
    for (unsigned long round = 0; round < scaled(200); round++) {
        for (size_t i = 0; i < 64; i++) {
            size_t align = (size_t)1 << rng_below(&rng, 12), size = rng_below(&rng, 500);
            blocks[i] = hmm_heap_aligned_alloc(h, align, size);
            ck_assert(blocks[i] != NULL && (uintptr_t)blocks[i] % align == 0);
            memset(blocks[i], 0xa5, size);
        }
        assert_sound(h);
        for (size_t i = 0; i < 64; i++)
            hmm_heap_free(h, blocks[i * 29 % 64]);
        assert_empty(h);
    }
    heap_end(h);
}
END_TEST

static void add_all(struct cases c)
{
    on_each_strategy(c, every_power_of_two_up_to_the_region, 1);
    on_each_strategy(c, refuses_what_is_no_power_of_two, 1);
    on_each_strategy(c, both_remnants_go_back, 1);
    on_each_strategy(c, finds_a_hole_that_fits_by_where_it_lies, 1);
    on_each_strategy(c, refuses_a_hole_that_is_large_enough_but_lies_ill, 1);
    on_each_strategy(c, many_at_many_alignments, 1);
}

int main(void)
{
    Suite *s = suite_create("aligned_alloc");
    add_all(add_cases(s, "aligned_alloc"));
    add_all(add_cached_cases(s, "aligned_alloc, with a cache"));
    return run_suite(s);
}
