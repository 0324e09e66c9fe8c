/* SPDX-License-Identifier: MIT */
/*
 * The memory that a heap is made in: of any size, anywhere, from nothing to more than can be used.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* MAP_NORESERVE */
#endif
#include "harness.h"

#include <sys/mman.h>

#define MOST 4096u
#define MARGIN 64u
#define CANARY 0xc3

static _Alignas(64) unsigned char memory[MARGIN + 64 + MOST + MARGIN];
static void *blocks[MOST];

/* Uses all of a heap, then none of it. */
static void use_up(struct hmm_heap *h)
{
    struct hmm_stats s;
    size_t n = exhaust(h, 30, blocks, MOST);
    n += exhaust(h, 0, blocks + n, MOST - n);
    assert_sound(h);
    ck_assert_uint_gt(n, 0);
    for (size_t i = 0; i < n; i++)
        memset(blocks[i], (int)i, hmm_heap_usable_size(h, blocks[i]));
    for (size_t i = 0; i < n; i++)
        hmm_heap_free(h, blocks[i]);
    hmm_heap_stats(h, &s);
    ck_assert_uint_le(s.brk_peak, s.capacity);
    assert_empty(h);
}

/* Whether a heap could be made in `size` bytes, `at` bytes past an aligned address. If it could, it
 * is used; nothing outside the region is written. */
static bool try_region(const struct hmm_strategy *strategy, size_t at, size_t size)
{
    unsigned char *region = memory + MARGIN + at;
    memset(memory, CANARY, sizeof memory);
    errno = 0;
    struct hmm_heap *h = hmm_heap_create(region, size, strategy);
    if (h != NULL) {
        ck_assert_ptr_eq(hmm_heap_strategy(h), strategy);
        use_up(h);
        hmm_heap_destroy(h);
    } else {
        ck_assert_int_eq(errno, ENOMEM);
    }
    for (unsigned char *p = memory; p < memory + sizeof memory; p++)
        require((p >= region && p < region + size) || *p == CANARY,
                "%zu bytes at %zu: byte %td was written", size, at, p - region);
    return h != NULL;
}

START_TEST(every_size_from_nothing_on)
{
    const size_t step = under_valgrind() ? 17 : 1;
    size_t least = 0;
    for (size_t size = 0; size < MOST; size += least ? 7 * step : step) {
        bool made = try_region(strategy_of(_i), 0, size);
        if (made && least == 0)
            least = size;
        ck_assert(made || size < 2000);
    }
}
END_TEST

START_TEST(every_misalignment)
{
    const size_t step = under_valgrind() ? 301 : 31;
    for (size_t at = 0; at < 64; at++)
        for (size_t size = 1; size < 1500; size += step)
            try_region(strategy_of(_i), at, size);
}
END_TEST

START_TEST(refuses_no_memory_and_no_strategy)
{
    errno = 0;
    ck_assert_ptr_null(hmm_heap_create(NULL, MOST, strategy_of(_i)));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_null(hmm_heap_create(memory, MOST, NULL));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* _i: which of the things that a strategy needs is missing. */
START_TEST(refuses_a_malformed_strategy)
{
    struct hmm_strategy s = *strategy_of(0);
    switch (_i) {
    case 0:
        s.abi = HMM_STRATEGY_ABI + 1;
        break;
    case 1:
        s.name = NULL;
        break;
    case 2:
        s.state_size = NULL;
        break;
    case 3:
        s.find = NULL;
        break;
    case 4:
        s.insert = NULL;
        break;
    default:
        s.remove = NULL;
    }
    errno = 0;
    ck_assert_ptr_null(hmm_heap_create(memory, MOST, &s));
    ck_assert_int_eq(errno, EINVAL);
    struct hmm_heap *h = hmm_heap_create(memory, MOST, strategy_of(0));
    errno = 0;
    ck_assert_int_eq(hmm_heap_set_strategy(h, &s), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_eq(hmm_heap_strategy(h), strategy_of(0));
}
END_TEST

START_TEST(a_strategy_of_required_hooks_only)
{
    struct hmm_strategy s = *strategy_of(_i), bare = {.abi = s.abi,
                                                      .flags = s.flags,
                                                      .name = s.name,
                                                      .state_size = s.state_size,
                                                      .find = s.find,
                                                      .insert = s.insert,
                                                      .remove = s.remove,
                                                      .start = s.start};
    struct hmm_heap *h = hmm_heap_create(memory, MOST, &bare);
    ck_assert_ptr_nonnull(h);
    use_up(h);
    ck_assert_str_eq(hmm_strategy_summary(&bare), "");
}
END_TEST

/* An index of more than the region, or of so much that the sum overflows. */
static size_t huge_state(size_t capacity)
{
    return SIZE_MAX - capacity / 2;
}

START_TEST(refuses_an_index_that_is_larger_than_the_region)
{
    struct hmm_strategy s = *strategy_of(_i);
    s.state_size = huge_state;
    errno = 0;
    ck_assert_ptr_null(hmm_heap_create(memory, MOST, &s));
    ck_assert_int_eq(errno, ENOMEM);
    struct hmm_heap *h = hmm_heap_create(memory, MOST, strategy_of(_i));
    errno = 0;
    ck_assert_int_eq(hmm_heap_set_strategy(h, &s), -1);
    ck_assert_int_eq(errno, ENOMEM);
    use_up(h);
}
END_TEST

/* One that says it is longer than what there is up to the last address. */
START_TEST(refuses_a_region_that_ends_beyond_all_addresses)
{
    errno = 0;
    ck_assert_ptr_null(hmm_heap_create(memory + _i % 3, SIZE_MAX - (size_t)_i, HMM_BEST_FIT));
    ck_assert_int_eq(errno, ENOMEM);
}
END_TEST

/* Of every size up to a MiB, and of some far above. */
START_TEST(the_index_s_size_never_falls)
{
    const struct hmm_strategy *s = strategy_of(_i);
    size_t before = 0;
    for (size_t capacity = 0; capacity < 1 << 20; capacity += HMM_GRANULE) {
        size_t now = s->state_size(capacity);
        ck_assert_uint_ge(now, before);
        before = now;
    }
    for (uint64_t capacity = 1 << 20; capacity <= UINT64_C(64) << 30; capacity += capacity / 7) {
        if (capacity > SIZE_MAX)
            break;
        size_t now = s->state_size((size_t)capacity);
        ck_assert_uint_ge(now, before);
        ck_assert_uint_lt(now, capacity / 32);
        before = now;
    }
}
END_TEST

/* ---- As large as can be: address space that is only reserved ---- */

#if SIZE_MAX > UINT32_MAX

#define GIB ((size_t)1 << 30)

/* NULL: the system does not give that much. Under memcheck it would have to be tracked. */
static void *reserve(size_t size)
{
    if (under_valgrind())
        return NULL;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

START_TEST(a_region_of_more_than_can_be_used)
{
    const size_t size = 70 * GIB;
    void *region = reserve(size);
    if (region == NULL)
        return;
    struct hmm_heap *h = hmm_heap_create(region, size, strategy_of(_i));
    struct hmm_stats s;
    hmm_heap_stats(h, &s);
    ck_assert_uint_le(s.capacity, (size_t)UINT32_MAX * HMM_GRANULE);
    ck_assert_uint_gt(s.capacity, (size_t)UINT32_MAX * HMM_GRANULE - GIB);
    ck_assert_uint_eq(s.largest_free, HMM_MAX_REQUEST);
    ck_assert_ptr_null(hmm_heap_malloc(h, (size_t)HMM_MAX_REQUEST + 1));
    size_t n = exhaust(h, HMM_MAX_REQUEST, blocks, 16);
    ck_assert_uint_eq(n, 7);
    assert_sound(h);
    hmm_heap_stats(h, &s);
    blocks[n++] = must_malloc(h, s.largest_free);
    ck_assert_ptr_null(hmm_heap_malloc(h, 0));
    ck_assert_ptr_eq(hmm_heap_break(h), (char *)h + (size_t)h->limit * HMM_GRANULE);
    assert_sound(h);
    while (n != 0)
        hmm_heap_free(h, blocks[--n]); /* into the top, which then is larger than any block */
    assert_empty(h);
    ck_assert_ptr_nonnull(hmm_heap_aligned_alloc(h, HMM_GRANULE / 4 * GIB, 100));
    assert_sound(h);
    munmap(region, size);
}
END_TEST

/* Blocks that are together too large for a header stay apart, and nothing is lost by it. _i:
 * strategy and order of freeing. */
START_TEST(neighbours_too_large_to_merge)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    const int *order = orders[_i % 6];
    const size_t size = HMM_GRANULE * GIB, third = HMM_MAX_REQUEST / 4 * 3;
    void *region = reserve(size);
    if (region == NULL)
        return;
    struct hmm_heap *h = hmm_heap_create(region, size, strategy_of(_i / 6));
    void *guard;
    blocks[0] = must_malloc(h, third);
    blocks[1] = must_malloc(h, third);
    blocks[2] = must_malloc(h, HMM_MAX_REQUEST / 4);
    guard = must_malloc(h, 100);
    for (int i = 0; i < 3; i++)
        hmm_heap_free(h, blocks[order[i]]);
    assert_sound(h);
    ck_assert_uint_ge(count_free(h), 2);
    for (unsigned i = 10; i < 20; i++) /* cut pieces off, give them back */
        blocks[i] = must_malloc(h, HMM_MAX_REQUEST / 16 + i * 1000);
    assert_sound(h);
    for (unsigned i = 10; i < 20; i++)
        hmm_heap_free(h, blocks[i * 3 % 10 + 10]);
    assert_sound(h);
    blocks[0] = must_malloc(h, 1000);
    blocks[0] = hmm_heap_realloc(h, blocks[0], third / 2);
    ck_assert_ptr_nonnull(blocks[0]);
    assert_sound(h);
    hmm_heap_free(h, guard);
    assert_sound(h);
    hmm_heap_free(h, blocks[0]);
    assert_empty(h);
    munmap(region, size);
}
END_TEST

static size_t five_gib_and_more(size_t capacity)
{
    return HMM_FIRST_FIT->state_size(capacity) + 5 * GIB;
}

/* There is room for it at the low end, and nowhere else. */
START_TEST(an_index_of_more_than_4_gib_is_changed_for_another)
{
    struct hmm_strategy first = *HMM_FIRST_FIT, next = *HMM_NEXT_FIT;
    const size_t size = 7 * GIB;
    void *region = reserve(size);
    if (region == NULL)
        return;
    first.state_size = next.state_size = five_gib_and_more;
    struct hmm_heap *h = hmm_heap_create(region, size, &first);
    ck_assert_ptr_nonnull(h);
    void *block = must_malloc(h, GIB);
    fill_up(h);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(hmm_heap_set_strategy(h, i % 2 ? &first : &next), 0);
        ck_assert_int_eq(h->state_place, HMM__STATE_LOW);
        assert_sound(h);
    }
    hmm_heap_free(h, block);
    ck_assert_ptr_eq(must_malloc(h, GIB), block);
    munmap(region, size);
}
END_TEST

static void add_large(Suite *s)
{
    struct cases c = add_cases(s, "large regions");
    tcase_add_test(c.once, an_index_of_more_than_4_gib_is_changed_for_another);
    on_each_strategy(c, a_region_of_more_than_can_be_used, 1);
    on_each_strategy(c, neighbours_too_large_to_merge, 6);
}

#else

static void add_large(Suite *s)
{
    (void)s;
}

#endif

int main(void)
{
    Suite *s = suite_create("region");
    struct cases c = add_cases(s, "region");
    on_each_strategy(c, every_size_from_nothing_on, 1);
    on_each_strategy(c, every_misalignment, 1);
    on_each_strategy(c, refuses_no_memory_and_no_strategy, 1);
    tcase_add_loop_test(c.once, refuses_a_malformed_strategy, 0, 6);
    on_each_strategy(c, a_strategy_of_required_hooks_only, 1);
    on_each_strategy(c, refuses_an_index_that_is_larger_than_the_region, 1);
    on_each_strategy(c, the_index_s_size_never_falls, 1);
    tcase_add_loop_test(c.once, refuses_a_region_that_ends_beyond_all_addresses, 0, 9);
    add_large(s);
    return run_suite(s);
}
