/* SPDX-License-Identifier: MIT */
/*
 * The image of a heap is all that a heap needs at another address: copied there, with the handle
 * made anew, it goes on as the first one does, to the address, wherever the strategy's state lies.
 */
#include "workload.h"

#include <string.h>

#define REGION ((size_t)1 << 20)

/* AWAY: the second lies at another distance from a page, but a multiple of the alignments. */
enum { BLOCKS = 200, STEPS = 4000, ALIGN = 64, AWAY = 3 * ALIGN };

static _Alignas(4096) char region[REGION], other[REGION + AWAY];
static void *blocks[BLOCKS];

static struct hmm_heap *made(const struct hmm_strategy *s)
{
    struct hmm_heap *h = hmm_heap_create(region, REGION, s);
    ck_assert_ptr_nonnull(h);
    memset(blocks, 0, sizeof blocks);
    return unwatched(h);
}

/* A random operation on both heaps; the copy may be NULL. */
static void step(struct hmm_heap *h, struct hmm_heap *copy, uint64_t *rng)
{
    size_t i = rng_below(rng, BLOCKS), size = rng_below(rng, (size_t)1 << rng_below(rng, 14));
    ptrdiff_t apart = copy ? (char *)copy - (char *)h : 0;
    char *was = blocks[i];
    if (was == NULL)
        blocks[i] = size % 5 ? hmm_heap_malloc(h, size) : hmm_heap_aligned_alloc(h, ALIGN, size);
    else
        blocks[i] = hmm_heap_realloc(h, was, size % 3 ? 0 : size + 1);
    if (copy == NULL)
        return;
    char *same = was == NULL ? size % 5 ? hmm_heap_malloc(copy, size)
                                        : hmm_heap_aligned_alloc(copy, ALIGN, size)
                             : hmm_heap_realloc(copy, was + apart, size % 3 ? 0 : size + 1);
    require((same == NULL) == (blocks[i] == NULL) &&
                (same == NULL || same - apart == (char *)blocks[i]),
            "%zu bytes are elsewhere in the copy", size);
}

/* The heap of h's image at another address. What is not of the image is overwritten first. */
static struct hmm_heap *copied(const struct hmm_heap *h)
{
    struct hmm_heap *copy = (struct hmm_heap *)(void *)(other + AWAY);
    memcpy(copy, h, (size_t)(region + REGION - (const char *)h));
    memset((char *)copy + HMM__IMAGE_BYTES, 0xa5, sizeof *copy - HMM__IMAGE_BYTES);
    hmm__derive_handle(copy, h->strategy);
    hmm__set_entries(copy);
    return copy;
}

static void goes_on_elsewhere(struct hmm_heap *h)
{
    uint64_t rng = 7;
    struct hmm_heap *copy = copied(h);
    ck_assert((const char *)copy->state - (const char *)copy ==
              (const char *)h->state - (const char *)h);
    assert_sound(copy);
    for (unsigned i = 0; i < scaled(STEPS); i++) {
        step(h, copy, &rng);
        if (i % 500 == 0)
            assert_sound(copy);
    }
    struct hmm_stats a, b;
    hmm_heap_stats(h, &a);
    hmm_heap_stats(copy, &b);
    ck_assert_uint_eq(a.live_bytes, b.live_bytes);
    ck_assert_uint_eq(a.live_peak, b.live_peak);
    ck_assert_uint_eq(a.brk, b.brk);
    ck_assert_uint_eq(a.free_blocks, b.free_blocks);
    ck_assert_uint_eq(a.splits, b.splits);
    assert_sound(h);
    assert_sound(copy);
}

static void use(struct hmm_heap *h)
{
    uint64_t rng = 3;
    for (unsigned i = 0; i < STEPS; i++)
        step(h, NULL, &rng);
}

START_TEST(with_its_state_at_the_low_end)
{
    struct hmm_heap *h = made(strategy_of(_i));
    use(h);
    goes_on_elsewhere(h);
}
END_TEST

/* Segregated has the smallest state, first-fit a larger one. */
START_TEST(with_its_state_at_the_high_end)
{
    struct hmm_heap *h = made(HMM_SEGREGATED);
    use(h);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_FIRST_FIT), 0);
    ck_assert_int_eq(h->state_place, HMM__STATE_HIGH);
    goes_on_elsewhere(h);
}
END_TEST

START_TEST(with_its_state_in_a_block)
{
    struct hmm_heap *h = made(HMM_SEGREGATED);
    use(h);
    size_t bytes = HMM_FIRST_FIT->state_size(hmm_heap_capacity(h));
    void *room = must_malloc(h, 2 * bytes);
    fill_up(h);
    hmm_heap_free(h, room);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_FIRST_FIT), 0);
    ck_assert_int_eq(h->state_place, HMM__STATE_BLOCK);
    goes_on_elsewhere(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("image");
    struct cases c = add_cases(s, "image");
    on_each_strategy(c, with_its_state_at_the_low_end, 1);
    tcase_add_test(c.once, with_its_state_at_the_high_end);
    tcase_add_test(c.once, with_its_state_in_a_block);
    return run_suite(s);
}
