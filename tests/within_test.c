/* SPDX-License-Identifier: MIT */
/*
 * hmm_heap_malloc_within: each block meets its constraint, to the byte; what fails could not be
 * had, by trying every granule of every free block; the strategy's choice is the plain scan's.
 */
#include "oracle.h"
#include "workload.h"

#include <errno.h>

/* ---- By the words of hmm.h ---- */

static bool meets(uintptr_t at, size_t size, const struct hmm_constraint *c)
{
    size_t bytes = size ? size : 1;
    if (c->align != 0 && at % c->align != c->phase)
        return false;
    if (at < (uintptr_t)c->low || (c->high != NULL && at + bytes > (uintptr_t)c->high))
        return false;
    return c->boundary == 0 || at / c->boundary == (at + bytes - 1) / c->boundary;
}

/* The lowest place in [r, r + granules); NULL: there is none. */
static void *tried_place(const struct hmm_heap *h, hmm_ref r, uint32_t granules, size_t size,
                         const struct hmm_constraint *c)
{
    uint32_t n = hmm__granules_for(size);
    for (uint32_t gap = 0; (uint64_t)gap + n <= granules; gap++)
        if ((gap == 0 || gap >= HMM_MIN_GRANULES) &&
            meets((uintptr_t)block_payload(h, r + gap), size, c))
            return block_payload(h, r + gap);
    return NULL;
}

/* The lowest place in a free block, else above the last block. */
static void *first_place(const struct hmm_heap *h, size_t size, const struct hmm_constraint *c)
{
    void *p = NULL;
    for (hmm_ref r = h->first; p == NULL && r != h->top; r = block_next(h, r))
        if (block_header(h, r) & HMM__FREE)
            p = tried_place(h, r, block_size(h, r), size, c);
    return p ? p : tried_place(h, h->top, h->limit - h->top, size, c);
}

/* ---- Random constraints in a random heap ---- */

static struct hmm_constraint any_constraint(uint64_t *rng, const struct hmm_heap *h)
{
    struct hmm_constraint c = {0};
    size_t bytes = (size_t)(h->top - h->first + 200) * HMM_GRANULE;
    if (rng_below(rng, 3)) {
        c.align = (size_t)1 << rng_below(rng, 12);
        c.phase = rng_below(rng, 2) ? rng_below(rng, c.align / HMM_GRANULE + 1) * HMM_GRANULE : 0;
        c.phase &= c.align - 1;
    }
    if (rng_below(rng, 2))
        c.boundary = (size_t)1 << rng_below(rng, 13);
    if (rng_below(rng, 2))
        c.low = (const char *)h + rng_below(rng, bytes);
    if (rng_below(rng, 2))
        c.high = (const char *)h + rng_below(rng, bytes);
    return c;
}

/* Whether a block was had. */
static bool try_any(struct workload *w)
{
    struct hmm_heap *h = w->heap;
    struct hmm_constraint c = any_constraint(&w->rng, h);
    size_t size = rng_below(&w->rng, rng_below(&w->rng, 2) ? 300 : 3000);
    void *expected = first_place(h, size, &c);
    errno = 0;
    void *p = hmm_heap_malloc_within(h, size, &c);
    require((p == NULL) == (expected == NULL),
            "%s: %zu bytes, align %zu, phase %zu, boundary %zu, in [%p, %p): %p, by trying %p",
            hmm_strategy_name(hmm_heap_strategy(h)), size, c.align, c.phase, c.boundary, c.low,
            c.high, p, expected);
    if (p == NULL) {
        require(errno == ENOMEM || errno == EINVAL, "errno is %d", errno);
        return false;
    }
    require(meets((uintptr_t)p, size, &c), "%zu bytes at %p", size, p);
    require(block_usable(block_size(h, block_of(h, p))) >= size, "%zu bytes at %p", size, p);
    fill(p, size, 1);
    hmm_heap_free(h, p);
    return true;
}

/* _i: strategy and mix. What the index finds is held against the scan by the wrapped strategy. */
START_TEST(random_constraints)
{
    static struct workload w;
    const unsigned long steps = scaled(6000);
    unsigned long found = 0;
    const struct mix *mix = &mixes[_i % mix_count()];
    const struct hmm_strategy *s = oracle_wrap(strategy_of(_i / mix_count()));
    workload_start(&w, unwatched(heap_of(mix->region, s)), mix, (uint64_t)_i + 400);
    for (unsigned long n = 1; n <= steps || (found == 0 && n <= 6000); n++) {
        workload_step(&w);
        found += try_any(&w);
        if (n % 64 == 0)
            assert_sound(w.heap);
    }
    ck_assert_uint_gt(found, 0);
    workload_verify(&w);
    workload_free_all(&w);
    assert_empty(w.heap);
    heap_end(w.heap);
}
END_TEST

/* First-fit takes the very lowest place. */
START_TEST(first_fit_takes_the_lowest_place)
{
    uint64_t rng = 77;
    struct hmm_heap *h = unwatched(heap_of(128 << 10, HMM_FIRST_FIT));
    void *blocks[200];
    size_t n = exhaust(h, 300, blocks, 200);
    for (size_t i = 0; i < n; i += 1 + i % 3)
        hmm_heap_free(h, blocks[i]);
    for (unsigned long i = scaled(20000); i != 0; i--) {
        struct hmm_constraint c = any_constraint(&rng, h);
        size_t size = rng_below(&rng, 400);
        void *expected = first_place(h, size, &c), *p = hmm_heap_malloc_within(h, size, &c);
        require(p == expected, "%zu bytes at %p, by trying %p", size, p, expected);
        hmm_heap_free(h, p);
    }
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* ---- From above the last block ---- */

/* _i: strategy. The break rises by what is needed, and the gap is a free block. */
START_TEST(from_the_free_top)
{
    struct hmm_heap *h = unwatched(heap_of(256 << 10, strategy_of(_i)));
    char *top = block_payload(h, h->top), *low = top + 50000;
    struct hmm_constraint c = {.align = 256, .phase = 64, .low = low, .high = low + 5000};
    void *p = hmm_heap_malloc_within(h, 4000, &c);
    ck_assert_ptr_nonnull(p);
    ck_assert(meets((uintptr_t)p, 4000, &c));
    ck_assert_uint_eq(count_free(h), 1);
    ck_assert((char *)hmm_heap_break(h) >= (char *)p + 4000);
    assert_sound(h);
    ck_assert_ptr_eq(hmm_heap_malloc(h, 40000), top); /* the gap serves */
    c = (struct hmm_constraint){.low = (char *)block_payload(h, h->limit) - 100};
    p = hmm_heap_malloc_within(h, 40, &c);
    ck_assert_ptr_nonnull(p);
    ck_assert(meets((uintptr_t)p, 40, &c));
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* _i: strategy. All 4 granules of the payload lie below the boundary; that the block has a header
 * more does not count. */
START_TEST(a_payload_may_end_at_the_boundary)
{
    struct hmm_heap *h = unwatched(heap_of(64 << 10, strategy_of(_i)));
    struct hmm_constraint c = {.align = 64, .boundary = 64};
    for (int i = 0; i < 20; i++) {
        char *p = hmm_heap_malloc_within(h, 64, &c);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % 64, 0);
    }
    c.phase = HMM_GRANULE;
    ck_assert_ptr_nonnull(keep(hmm_heap_malloc_within(h, 64 - HMM_GRANULE, &c)));
    ck_assert_ptr_null(hmm_heap_malloc_within(h, 64 - HMM_GRANULE + 1, &c));
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* ---- What cannot be ---- */

static int refusal(struct hmm_heap *h, size_t size, struct hmm_constraint c)
{
    errno = 0;
    ck_assert_ptr_null(hmm_heap_malloc_within(h, size, &c));
    assert_sound(h);
    return errno;
}

/* _i: strategy */
START_TEST(impossible_constraints)
{
    struct hmm_heap *h = unwatched(heap_of(64 << 10, strategy_of(_i)));
    char *at = (char *)h + 8192;
    const struct hmm_constraint impossible[] = {
        {.align = 48},
        {.boundary = 100},
        {.phase = 16},
        {.align = 64, .phase = 64},
        {.align = 64, .phase = 8 + HMM_GRANULE / 2 + 1},
        {.align = 4, .phase = 1},
        {.boundary = 64},
        {.align = 256, .phase = 128, .boundary = 128 + 64},
        {.align = 256, .phase = 192, .boundary = 256},
        {.align = 512, .phase = 192, .boundary = 256},
        {.low = at, .high = at},
        {.low = at + 1000, .high = at},
        {.low = at, .high = at + 99},
        {.align = 4096,
         .low = at - (uintptr_t)at % 4096 + 16,
         .high = at - (uintptr_t)at % 4096 + 4100},
        {.low = (const void *)(UINTPTR_MAX - 5)},
    };
    struct hmm_stats s;
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++)
        require(refusal(h, 100, impossible[i]) == EINVAL, "%zu: errno is %d", i, errno);
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.failed, sizeof impossible / sizeof impossible[0]);
    ck_assert_uint_eq(s.live_blocks, 0);
    heap_end(h);
}
END_TEST

/* _i: strategy */
START_TEST(no_room)
{
    struct hmm_heap *h = unwatched(heap_of(64 << 10, strategy_of(_i)));
    char *base = (char *)h;
    ck_assert_int_eq(refusal(h, 100, (struct hmm_constraint){.high = base}), ENOMEM);
    ck_assert_int_eq(refusal(h, 100, (struct hmm_constraint){.low = base + (64 << 10)}), ENOMEM);
    ck_assert_int_eq(refusal(h, 100, (struct hmm_constraint){.high = block_payload(h, h->first)}),
                     ENOMEM);
    ck_assert_int_eq(refusal(h, PTRDIFF_MAX, (struct hmm_constraint){.align = 64}), ENOMEM);
    ck_assert_int_eq(refusal(h, SIZE_MAX, (struct hmm_constraint){.align = 64}), ENOMEM);
    size_t most = (SIZE_MAX >> 1) + 1;
    ck_assert_int_eq(refusal(h, 100, (struct hmm_constraint){.align = most, .phase = 4096}),
                     ENOMEM);
    heap_end(h);
}
END_TEST

/* _i: strategy. The address itself as a phase. */
START_TEST(one_address)
{
    struct hmm_heap *h = unwatched(heap_of(64 << 10, strategy_of(_i)));
    size_t most = (SIZE_MAX >> 1) + 1;
    uintptr_t at = ((uintptr_t)h + 30000) & ~(uintptr_t)(HMM_GRANULE - 1);
    struct hmm_constraint c = {.align = most, .phase = at & (most - 1), .boundary = most};
    void *p = hmm_heap_malloc_within(h, 1000, &c);
    ck_assert_uint_eq((uintptr_t)p, at);
    ck_assert_int_eq(refusal(h, 1000, c), ENOMEM);
    hmm_heap_free(h, p);
    c = (struct hmm_constraint){.low = (void *)at, .high = (void *)(at + 1000)};
    p = hmm_heap_malloc_within(h, 1000, &c);
    ck_assert_uint_eq((uintptr_t)p, at);
    hmm_heap_free(h, p);
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* _i: strategy. Without a constraint it is malloc. */
START_TEST(no_constraint)
{
    struct hmm_constraint none = {0}, small = {.align = 1, .boundary = 0};
    struct hmm_heap *h = heap_of(64 << 10, strategy_of(_i));
    char *a = must_malloc(h, 100), *b = must_malloc(h, 100), *c = keep(must_malloc(h, 1));
    ck_assert_ptr_nonnull(c);
    hmm_heap_free(h, a);
    ck_assert_ptr_eq(hmm_heap_malloc_within(h, 100, NULL), a);
    hmm_heap_free(h, b);
    ck_assert_ptr_eq(hmm_heap_malloc_within(h, 100, &none), b);
    hmm_heap_free(h, b);
    b = hmm_heap_malloc_within(h, 100, &small);
    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(hmm_heap_set_check(h, 4), 0);
    small.align = 1024;
    fill(b, 100, 3);
    a = hmm_heap_malloc_within(h, 100, &small);
    ck_assert_uint_eq((uintptr_t)a % 1024, 0);
    a = hmm_heap_realloc(h, a, 2000);
    ck_assert_ptr_nonnull(a);
    ck_assert(holds(b, 100, 3));
    hmm_heap_free(h, a);
    assert_sound(h);
    heap_end(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("within");
    struct cases c = add_cases(s, "within"), cached_cases = add_cached_cases(s, "within/cached");
    on_each_strategy(c, random_constraints, mix_count());
    tcase_add_test(c.once, first_fit_takes_the_lowest_place);
    on_each_strategy(c, from_the_free_top, 1);
    on_each_strategy(c, a_payload_may_end_at_the_boundary, 1);
    on_each_strategy(c, impossible_constraints, 1);
    on_each_strategy(c, no_room, 1);
    on_each_strategy(c, one_address, 1);
    on_each_strategy(c, no_constraint, 1);
    on_each_strategy(cached_cases, one_address, 1);
    on_each_strategy(cached_cases, a_payload_may_end_at_the_boundary, 1);
    return run_suite(s);
}
