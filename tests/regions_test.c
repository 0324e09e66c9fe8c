/* SPDX-License-Identifier: MIT */
/*
 * Several regions: which one serves, by the rule as a plain search; realloc keeps what the block
 * was asked to be; pointers that belong to none.
 */
#include "dies.h"
#include "harness.h"

#include <errno.h>
#include <stdio.h>

enum { FAST = 1, DMA = 2, EXTERNAL = 4, RETAINED = 8 };

#define REGIONS 4u
#define REGION_BYTES (16u << 10)

static _Alignas(16) char memory[REGIONS][REGION_BYTES];
static const unsigned has[REGIONS] = {FAST | DMA, DMA | RETAINED, EXTERNAL, EXTERNAL | DMA};
static struct hmm_regions regions;

static void add(unsigned i, const struct hmm_strategy *s)
{
    ck_assert_int_eq(hmm_regions_add(&regions, memory[i], REGION_BYTES, has[i], s), 0);
}

static void add_all(const struct hmm_strategy *s)
{
    memset(memory, 0xa5, sizeof memory);
    for (unsigned i = 0; i < REGIONS; i++)
        add(i, s);
}

/* REGIONS: in none. */
static unsigned index_of(const void *p)
{
    for (unsigned i = 0; i < REGIONS; i++)
        if ((const char *)p >= memory[i] && (const char *)p < memory[i] + REGION_BYTES)
            return i;
    return REGIONS;
}

static struct hmm_heap *heap_at(unsigned i)
{
    return hmm_regions_heap(&regions, memory[i]);
}

static void all_sound(void)
{
    for (unsigned i = 0; i < REGIONS; i++)
        if (heap_at(i) != NULL)
            assert_sound(heap_at(i));
}

static unsigned count(unsigned mask)
{
    unsigned n = 0;
    for (unsigned bit = 1; bit != 0; bit <<= 1)
        n += (mask & bit) != 0;
    return n;
}

/* By the words of hmm.h: the region that serves; REGIONS: none. */
static unsigned expected(size_t size, unsigned required, unsigned preferred, unsigned but)
{
    unsigned best = REGIONS;
    for (unsigned i = 0; i < REGIONS; i++) {
        struct hmm_stats s;
        if (heap_at(i) == NULL || (has[i] & required) != required || i == but)
            continue;
        hmm_heap_stats(heap_at(i), &s);
        if (s.largest_free >= size + 4 &&
            (best == REGIONS || count(has[i] & preferred) > count(has[best] & preferred)))
            best = i;
    }
    return best;
}

/* _i: strategy */
START_TEST(the_rule)
{
    void *p;
    add_all(strategy_of(_i));
    ck_assert_uint_eq(index_of(keep(hmm_regions_malloc(&regions, 100, 0, 0))), 0);
    ck_assert_uint_eq(index_of(keep(hmm_regions_malloc(&regions, 100, EXTERNAL, 0))), 2);
    ck_assert_uint_eq(index_of(keep(hmm_regions_malloc(&regions, 100, EXTERNAL, DMA | FAST))), 3);
    ck_assert_uint_eq(index_of(keep(hmm_regions_malloc(&regions, 100, 0, RETAINED))), 1);
    ck_assert_uint_eq(index_of(keep(hmm_regions_malloc(&regions, 100, DMA, EXTERNAL | RETAINED))),
                      1);
    p = hmm_regions_malloc(&regions, 12000, 0, RETAINED);
    ck_assert_uint_eq(index_of(p), 1);
    ck_assert_uint_eq(index_of(keep(hmm_regions_malloc(&regions, 12000, 0, RETAINED))), 0);
    ck_assert_uint_eq(index_of(keep(hmm_regions_malloc(&regions, 12000, DMA, RETAINED))), 3);
    errno = 0;
    ck_assert_ptr_null(hmm_regions_malloc(&regions, 12000, DMA, RETAINED));
    ck_assert_int_eq(errno, ENOMEM);
    errno = 0;
    ck_assert_ptr_null(hmm_regions_malloc(&regions, 1, FAST | EXTERNAL, 0));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(hmm_regions_malloc(&regions, 1, 1u << 31, 0));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_nonnull(keep(hmm_regions_malloc(&regions, 1, 0, 1u << 31)));
    errno = 0;
    ck_assert_ptr_null(hmm_regions_malloc(&regions, SIZE_MAX - 2, 0, 0));
    ck_assert_int_eq(errno, ENOMEM);
    hmm_regions_free(&regions, p);
    hmm_regions_free(&regions, NULL);
    all_sound();
}
END_TEST

/* _i: strategy. A region may come later, and there may be none at first. */
START_TEST(a_region_added_later)
{
    errno = 0;
    ck_assert_ptr_null(hmm_regions_malloc(&regions, 1, 0, 0));
    ck_assert_int_eq(errno, EINVAL);
    add(0, strategy_of(_i));
    char *p = hmm_regions_malloc(&regions, 14000, DMA, 0);
    ck_assert_uint_eq(index_of(p), 0);
    ck_assert_ptr_null(hmm_regions_realloc(&regions, p, 15900));
    ck_assert_ptr_null(hmm_regions_malloc(&regions, 14000, DMA, 0));
    fill(p, 14000, 9);
    add(2, strategy_of(_i));
    ck_assert_ptr_null(hmm_regions_malloc(&regions, 14000, DMA, 0));
    add(3, strategy_of(_i));
    char *q = hmm_regions_malloc(&regions, 14000, DMA, 0);
    ck_assert_uint_eq(index_of(q), 3);
    ck_assert(holds(p, 14000, 9));
    hmm_regions_free(&regions, p);
    hmm_regions_free(&regions, q);
    all_sound();
}
END_TEST

/* _i: strategy. A block that moves has the same needs as before, those that it prefers too. */
START_TEST(realloc_keeps_needs)
{
    add_all(strategy_of(_i));
    void *p = keep(hmm_regions_malloc(&regions, 12000, DMA, FAST));
    char *q = hmm_regions_malloc(&regions, 1000, DMA, FAST);
    ck_assert_uint_eq(index_of(q), 0);
    fill(q, 1000, 5);
    ck_assert_ptr_eq(hmm_regions_realloc(&regions, q, 1500), q);
    fill(q, 1500, 6);
    q = hmm_regions_realloc(&regions, q, 8000); /* not 2, which is no DMA */
    ck_assert_uint_eq(index_of(q), 1);
    ck_assert(holds(q, 1500, 6));
    fill(q, 8000, 7);
    hmm_regions_free(&regions, p);
    ck_assert_ptr_nonnull(keep(hmm_regions_malloc(&regions, 5000, RETAINED, 0)));
    q = hmm_regions_realloc(&regions, q, 14000); /* again prefers FAST */
    ck_assert_uint_eq(index_of(q), 0);
    ck_assert(holds(q, 8000, 7));
    errno = 0;
    ck_assert_ptr_null(hmm_regions_realloc(&regions, q, 40000));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert(holds(q, 8000, 7));
    q = hmm_regions_realloc(&regions, q, 50);
    ck_assert(holds(q, 50, 7));
    ck_assert_ptr_null(hmm_regions_realloc(&regions, q, 0));
    q = hmm_regions_realloc(&regions, NULL, 10);
    ck_assert_uint_eq(index_of(q), 0);
    hmm_regions_free(&regions, q);
    all_sound();
}
END_TEST

struct held {
    char *p;
    size_t size;
    uint64_t seed;
    unsigned required, preferred;
};

static void resize_any(struct held *b, uint64_t *rng)
{
    size_t size = 1 + rng_below(rng, 3000);
    unsigned was = index_of(b->p), other = expected(size, b->required, b->preferred, was);
    char *p = hmm_regions_realloc(&regions, b->p, size);
    if (p == NULL) {
        ck_assert_uint_eq(other, REGIONS);
        ck_assert(holds(b->p, b->size, b->seed));
        return;
    }
    ck_assert(index_of(p) == was || index_of(p) == other);
    ck_assert(holds(p, size < b->size ? size : b->size, b->seed));
    b->p = p;
    b->size = size;
    fill(p, size, b->seed);
}

static void step(struct held *b, uint64_t *rng)
{
    if (b->p != NULL && rng_below(rng, 3) == 0) {
        resize_any(b, rng);
    } else if (b->p != NULL) {
        ck_assert(holds(b->p, b->size, b->seed));
        hmm_regions_free(&regions, b->p);
        b->p = NULL;
    } else {
        *b = (struct held){NULL, rng_below(rng, 2000), rng_next(rng), rng_below(rng, 2) ? DMA : 0,
                           (unsigned)rng_below(rng, 16)};
        unsigned where = expected(b->size, b->required, b->preferred, REGIONS);
        b->p = hmm_regions_malloc(&regions, b->size, b->required, b->preferred);
        ck_assert_uint_eq(index_of(b->p), where);
        if (b->p != NULL)
            fill(b->p, b->size, b->seed);
    }
}

/* _i: strategy. Every call against the plain search. */
START_TEST(random_operations)
{
    static struct held held[100];
    uint64_t rng = 11;
    add_all(strategy_of(_i));
    for (unsigned long n = scaled(30000); n != 0; n--) {
        step(&held[rng_below(&rng, 100)], &rng);
        if (n % 64 == 0)
            all_sound();
    }
    for (int i = 0; i < 100; i++)
        hmm_regions_free(&regions, held[i].p);
    for (unsigned i = 0; i < REGIONS; i++)
        assert_empty(heap_at(i));
}
END_TEST

/* _i: strategy */
START_TEST(what_is_refused)
{
    const struct hmm_strategy *s = strategy_of(_i);
    char *odd = memory[1] + 1;
    errno = 0;
    ck_assert_int_eq(hmm_regions_add(&regions, memory[0], REGION_BYTES, 0x10000, s), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(hmm_regions_add(&regions, memory[0], REGION_BYTES, 1, NULL), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(hmm_regions_add(&regions, NULL, REGION_BYTES, 1, s), -1);
    ck_assert_int_eq(errno, ENOMEM);
    for (size_t size = 0; size < 100; size++)
        ck_assert_int_eq(hmm_regions_add(&regions, memory[0], size, 1, s), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(hmm_regions_add(&regions, odd, REGION_BYTES - 3, 1, s), 0);
    ck_assert_int_eq(hmm_regions_add(&regions, memory[1] + 5000, 10, 1, s), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(hmm_regions_add(&regions, memory, sizeof memory, 1, s), -1);
    ck_assert_int_eq(errno, EINVAL);
    char *p = hmm_regions_malloc(&regions, 100, 1, 0);
    ck_assert_uint_eq((uintptr_t)p % HMM_GRANULE, 0);
    ck_assert_ptr_null(hmm_regions_heap(&regions, memory[0]));
    ck_assert_ptr_null(hmm_regions_heap(&regions, odd + REGION_BYTES - 3));
    ck_assert_ptr_eq(hmm_regions_heap(&regions, p), hmm_regions_heap(&regions, odd));
    hmm_regions_free(&regions, p);
    ck_assert_int_eq(hmm_regions_add(&regions, memory[0], REGION_BYTES, 1, s), 0);
    ck_assert_int_eq(hmm_regions_add(&regions, memory[2], REGION_BYTES, 1, s), 0);
}
END_TEST

/* ---- Misuse ---- */

static void do_free(void *p)
{
    hmm_regions_free(&regions, p);
}

static void do_realloc(void *p)
{
    keep(hmm_regions_realloc(&regions, p, 200));
}

static const char *line(const char *operation, const void *p, const char *why)
{
    static char text[200];
    snprintf(text, sizeof text, "hmm: %s %p: %s", operation, p, why);
    return text;
}

/* _i: strategy */
START_TEST(misuse)
{
    static const char outside[] = "pointer outside the heap";
    static int elsewhere[4];
    assert_aborts_saying(do_free, elsewhere, line("free", elsewhere, outside));
    add_all(strategy_of(_i));
    for (unsigned i = 0; i < REGIONS; i++)
        unwatched(heap_at(i));
    assert_aborts_saying(do_free, elsewhere, line("free", elsewhere, outside));
    assert_aborts_saying(do_realloc, elsewhere, line("realloc", elsewhere, outside));
    char *p = hmm_regions_malloc(&regions, 100, DMA, 0);
    ck_assert_ptr_nonnull(keep(hmm_regions_malloc(&regions, 100, DMA, 0)));
    memset(p, 0xf0, 100);
    assert_aborts_saying(do_realloc, p + HMM_GRANULE,
                         line("realloc", p + HMM_GRANULE,
                              "not a block, or its header was overwritten: its size leads outside "
                              "the heap"));
    memset(p, 0xff, hmm_heap_usable_size(heap_at(0), p));
    assert_aborts_saying(
        do_realloc, p,
        line("realloc", p, "its end was overwritten: it does not tell its capabilities"));
    hmm_regions_free(&regions, p);
    assert_aborts_saying(do_free, p,
                         line("free", p, "double free, or not a block: it is not in use"));
    assert_aborts_saying(do_realloc, p,
                         line("realloc", p, "double free, or not a block: it is not in use"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("regions");
    struct cases c = add_cases(s, "regions");
    on_each_strategy(c, the_rule, 1);
    on_each_strategy(c, a_region_added_later, 1);
    on_each_strategy(c, realloc_keeps_needs, 1);
    on_each_strategy(c, random_operations, 1);
    on_each_strategy(c, what_is_refused, 1);
    on_each_strategy(c, misuse, 1);
    return run_suite(s);
}
