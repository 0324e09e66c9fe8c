/* SPDX-License-Identifier: MIT */
/*
 * Free memory whose address space goes back to the system, since that is limited, and comes again
 * (lib/heap/absent.c): one after the other, and at random.
 */
#include "space.h"

/* ---- One after the other ---- */

#define BLOCK (2 * MIB)

/* Four blocks, between which others are that stay. */
static void four(struct hmm_heap *h, char **p)
{
    for (int i = 0; i < 4; i++) {
        p[i] = memset(must_malloc(h, BLOCK), i + 1, BLOCK);
        memset(must_malloc(h, 5000), 9, 5000);
    }
}

START_TEST(what_is_free_in_the_middle_is_unmapped_and_comes_back)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i));
    struct hmm_stats before, then;
    char *p[4];
    four(h, p);
    hmm_heap_stats(h, &before);
    hmm_heap_free(h, p[0]);
    hmm_heap_free(h, p[2]);
    ck_assert_uint_gt(hmm__decommit_all(h), 2 * BLOCK - MIB);
    assert_sound(h);
    hmm_heap_stats(h, &then);
    ck_assert_uint_lt(then.reserved, before.reserved - 2 * BLOCK + 64 * 1024);
    ck_assert_uint_eq(then.live_blocks, before.live_blocks - 2);
    ck_assert_uint_ge(then.brk_peak, before.brk_peak);
    ck_assert_uint_ge(pages_vacated() * PAGE, 2 * BLOCK - 4 * PAGE);
    while (h->brk - h->top >= BLOCK / HMM_GRANULE)
        must_malloc(h, MIB);
    hmm_ref brk = h->brk;
    for (int i = 0; i < 2; i++) {
        char *again = hmm_heap_calloc(h, 1, BLOCK - 100);
        ck_assert(again == p[0] || again == p[2]);
        for (size_t at = 0; at < BLOCK - 100; at++)
            require(again[at] == 0, "not zero");
        assert_sound(h);
    }
    ck_assert_uint_eq(h->brk, brk);
    ck_assert_uint_eq(h->absent_count, 0);
    ck_assert_int_eq(p[1][0], 2);
    ck_assert_int_eq(p[3][BLOCK - 1], 4);
}
END_TEST

START_TEST(only_what_is_needed_comes_back)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i));
    char *large = must_malloc(h, 20 * MIB);
    must_malloc(h, 100);
    hmm_heap_free(h, large);
    hmm__decommit_all(h);
    size_t was = space.mapped_pages, gone = pages_vacated();
    ck_assert_uint_ge(gone * PAGE, 20 * MIB - 4 * PAGE);
    space.max_pages = space.mapped_pages + 100 * 1024 / PAGE + 2;
    char *p = must_malloc(h, 100 * 1024);
    ck_assert_ptr_eq(p, large);
    ck_assert_uint_le(space.mapped_pages, was + 100 * 1024 / PAGE + 2);
    ck_assert_ptr_null(hmm_heap_malloc(h, MIB));
    assert_sound(h);
    space.max_pages = PAGES;
    char *q = must_malloc(h, MIB);
    ck_assert(q > p && q < large + 20 * MIB);
    assert_sound(h);
    ck_assert_uint_gt(pages_vacated(), 0);
}
END_TEST

START_TEST(what_is_absent_becomes_one_with_what_becomes_free_beside_it)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i));
    char *p[5];
    for (int i = 0; i < 5; i++)
        p[i] = must_malloc(h, BLOCK);
    must_malloc(h, 100);
    static const int order[] = {1, 3, 0, 4, 2};
    for (int i = 0; i < 5; i++) {
        hmm_heap_free(h, p[order[i]]);
        hmm__decommit_all(h);
        assert_sound(h);
    }
    ck_assert_uint_eq(h->absent_count, 1);
    ck_assert_uint_ge(pages_vacated() * PAGE, 5 * BLOCK - 4 * PAGE);
    ck_assert_ptr_eq(must_malloc(h, 5 * BLOCK - 100), p[0]);
    assert_sound(h);
}
END_TEST

/* Of absent ones with small free blocks between, none is large enough. */
START_TEST(several_come_back_for_one_request)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i));
    char *p[3], *between[3];
    for (int i = 0; i < 3; i++) {
        p[i] = must_malloc(h, BLOCK);
        between[i] = must_malloc(h, 5000);
    }
    for (int i = 0; i < 3; i++)
        hmm_heap_free(h, p[i]);
    hmm__decommit_all(h);
    ck_assert_uint_eq(h->absent_count, 3);
    hmm_heap_free(h, between[0]);
    hmm_heap_free(h, between[1]);
    assert_sound(h);
    hmm__high_lower(h, h->top);
    space.max_pages = space.mapped_pages + BLOCK / PAGE;
    ck_assert_ptr_null(hmm_heap_malloc(h, 5 * MIB));
    assert_sound(h);
    space.max_pages = PAGES;
    ck_assert_ptr_eq(hmm_heap_malloc(h, 3 * BLOCK - 1000), p[0]);
    assert_sound(h);
    ck_assert_uint_eq(h->absent_count, 0);
}
END_TEST

START_TEST(the_top_comes_down_over_what_is_absent)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i));
    hmm_ref before = h->top;
    size_t mapped = space.mapped_pages * PAGE;
    char *p[4], *small[4];
    for (int i = 0; i < 4; i++) {
        p[i] = memset(must_malloc(h, BLOCK), i + 1, BLOCK);
        small[i] = must_malloc(h, 5000);
    }
    for (int i = 1; i < 4; i++)
        hmm_heap_free(h, p[i]);
    hmm__decommit_all(h);
    ck_assert_uint_eq(h->absent_count, 3);
    space.foreign[page_of(p[2]) + 5] = 1;
    hmm_heap_free(h, small[1]);
    hmm_heap_free(h, small[3]);
    assert_sound(h);
    hmm__decommit_all(h);
    assert_sound(h);
    hmm_heap_free(h, small[2]);
    hmm__decommit_all(h);
    assert_sound(h);
    ck_assert_uint_eq(h->absent_count, 0);
    ck_assert_uint_eq(pages_vacated(), 0);
    ck_assert_ptr_eq(block_payload(h, h->top), small[0] + 5008 - 5008 % 16);
    ck_assert_uint_lt(space.mapped_pages * PAGE - mapped,
                      (size_t)(h->top - before) * HMM_GRANULE + MIB);
    space.foreign[page_of(p[2]) + 5] = 0;
    memset(must_malloc(h, 8 * MIB), 5, 8 * MIB);
    assert_sound(h);
    ck_assert_int_eq(p[0][0], 1);
    hmm_heap_free(h, p[0]);
    hmm_heap_free(h, small[0]);
}
END_TEST

/* The system refuses what growing upward needs, but not what growing in both directions does. The
 * pages of the break are worth as many others, but not those of the free block below. */
START_TEST(a_block_grows_down_where_the_system_refuses_more)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i));
    must_malloc(h, 100);
    char *below = memset(must_malloc(h, 3 * MIB), 7, 3 * MIB), *p = must_malloc(h, MIB);
    fill(p, MIB, 1);
    hmm_heap_free(h, below);
    space.max_pages = space.mapped_pages + 5 * MIB / PAGE;
    char *now_at = hmm_heap_realloc(h, p, 8 * MIB);
    ck_assert_ptr_eq(now_at, below);
    require(holds(now_at, MIB, 1), "realloc lost bytes");
    fill(now_at, 8 * MIB, 2);
    assert_sound(h);
    require(holds(now_at, 8 * MIB, 2), "the block has changed");
}
END_TEST

/* As into a free block: where the system refuses what a new block needs, it is the only way. */
START_TEST(a_block_grows_into_what_is_absent_above)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i / 2));
    char *p = hmm_heap_aligned_alloc(h, _i % 2 ? 4096 : 1, 5 * MIB), *above[2], *between;
    above[0] = must_malloc(h, 2 * MIB);
    between = must_malloc(h, 5000);
    above[1] = must_malloc(h, 2 * MIB);
    must_malloc(h, 5000); /* more than there is below p */
    fill(p, 5 * MIB, 1);
    hmm_heap_free(h, above[0]);
    hmm_heap_free(h, above[1]);
    hmm__decommit_all(h);
    hmm_heap_free(h, between);
    ck_assert_uint_eq(h->absent_count, 2);
    for (int i = 1; i <= 3; i++) {
        space.max_pages = space.mapped_pages + 2 * MIB / PAGE;
        ck_assert_ptr_eq(hmm_heap_realloc(h, p, 5 * MIB + (size_t)i * 1300000), p);
        require(holds(p, 5 * MIB, 1), "realloc lost bytes");
        assert_sound(h);
    }
    space.max_pages = space.mapped_pages;
    ck_assert_ptr_null(hmm_heap_realloc(h, p, 12 * MIB));
    assert_sound(h);
}
END_TEST

/* The limit lies inside a page, whose rest is another's: it stays mapped, and is not zero. */
START_TEST(what_stays_mapped_below_the_limit_is_not_taken_for_zero)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i / 2));
    const bool absent = _i % 2;
    must_malloc(h, 100);
    char *low = must_malloc(h, MIB);
    ck_assert(hmm__high_lower(h, hmm__page_above(h, h->top + 3000) + 3000 / HMM_GRANULE));
    size_t rest = (size_t)(h->limit - h->top) * HMM_GRANULE - HMM_HEADER_BYTES;
    char *high = must_malloc(h, rest);
    memset(low, 1, MIB);
    memset(high, 2, rest);
    if (absent) {
        hmm_heap_free(h, low);
        hmm__decommit_all(h);
        ck_assert_uint_eq(h->absent_count, 1);
    }
    hmm_heap_free(h, high);
    hmm__decommit_all(h);
    ck_assert_uint_eq(h->absent_count, 0);
    if (!absent)
        hmm_heap_free(h, low);
    ck_assert_ptr_eq(hmm_heap_calloc(h, 1, rest + MIB), low);
    for (size_t i = 0; i < rest + MIB; i++)
        require(low[i] == 0, "byte %zu of %zu is not zero", i, rest + MIB);
    assert_sound(h);
}
END_TEST

/* What the break rises by goes back elsewhere: of the block below, which its neighbour knows. */
START_TEST(what_is_free_below_a_block_that_grows_becomes_absent)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i));
    char *p = must_malloc(h, BLOCK), *q = must_malloc(h, BLOCK);
    memset(q, 7, BLOCK);
    hmm_heap_free(h, p);
    ck_assert_ptr_eq(hmm_heap_realloc(h, q, 3 * BLOCK), q);
    assert_sound(h);
    ck_assert_uint_eq(h->absent_count, 1);
    ck_assert_int_eq(q[BLOCK - 1], 7);
    hmm_heap_free(h, q);
    hmm__decommit_all(h);
    assert_sound(h);
    ck_assert_uint_eq(live_bytes(h), 0);
}
END_TEST

START_TEST(a_block_grows_down_while_the_break_rises)
{
    struct hmm_heap *h = limited_heap(strategy_of(_i));
    char *p = must_malloc(h, BLOCK), *q = must_malloc(h, BLOCK);
    memset(q, 7, BLOCK);
    hmm_heap_free(h, p);
    hmm__high_lower(h, h->top + 2 * BLOCK / HMM_GRANULE);
    ck_assert_ptr_eq(hmm_heap_realloc(h, q, BLOCK + 2 * BLOCK + BLOCK / 2), p);
    assert_sound(h);
    ck_assert_int_eq(p[BLOCK - 1], 7);
    hmm_heap_free(h, p);
    assert_sound(h);
    ck_assert_uint_eq(live_bytes(h), 0);
}
END_TEST

/* ---- At random ---- */

#define SLOTS 96

static struct slot {
    char *p;
    size_t size;
    uint64_t seed;
} slots[SLOTS];
static uint32_t dice;

static uint32_t roll(uint32_t below)
{
    dice = dice * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)dice * below >> 32);
}

static size_t any_size(void)
{
    switch (roll(9)) {
    case 0:
        return roll(2000);
    case 1:
        return roll(40000);
    case 2:
        return roll(3 * MIB);
    default:
        return 200000 + roll(300000);
    }
}

static void verify_slot(const struct slot *s)
{
    if (s->p != NULL)
        require(holds(s->p, s->size, s->seed), "a block of %zu bytes has changed", s->size);
}

static void set_slot(struct hmm_heap *h, struct slot *s, char *p)
{
    *s = (struct slot){p, p ? hmm_heap_usable_size(h, p) : 0, dice};
    if (p != NULL)
        fill(p, s->size, s->seed);
}

static char *zeroed(struct hmm_heap *h, size_t size)
{
    char *p = hmm_heap_calloc(h, 1, size);
    for (size_t i = 0; p != NULL && i < size; i++)
        require(p[i] == 0, "byte %zu of %zu is not zero", i, size);
    return p;
}

static char *any_block(struct hmm_heap *h)
{
    size_t size = any_size();
    switch (roll(4)) {
    case 0:
        return zeroed(h, size);
    case 1:
        return hmm_heap_aligned_alloc(h, (size_t)32 << roll(12), size);
    default:
        return hmm_heap_malloc(h, size);
    }
}

static void resize_slot(struct hmm_heap *h, struct slot *s)
{
    size_t size = any_size() + 1, keep = s->size < size ? s->size : size;
    char *p = hmm_heap_realloc(h, s->p, size);
    if (p == NULL)
        return;
    require(holds(p, keep, s->seed), "realloc lost bytes");
    set_slot(h, s, p);
}

static void step(struct hmm_heap *h)
{
    struct slot *s = &slots[roll(SLOTS)];
    verify_slot(s);
    if (s->p == NULL) {
        set_slot(h, s, any_block(h));
    } else if (roll(4) == 0) {
        resize_slot(h, s);
    } else {
        hmm_heap_free(h, s->p);
        s->p = NULL;
    }
}

/* Another mapping comes into a hole. */
static void map_anywhere(void)
{
    size_t at = roll((uint32_t)PAGES), n = 1 + roll(64);
    map_foreign(at, n);
}

static void disturb(struct hmm_heap *h)
{
    space.now += roll(20);
    if (roll(8) == 0)
        hmm__decommit_due(h);
    if (roll(40) == 0)
        hmm__decommit_all(h);
    if (roll(300) == 0)
        hmm_heap_set_strategy(h, strategy_of((int)roll((uint32_t)strategy_count())));
    if (roll(20) == 0)
        map_anywhere();
    if (roll(200) == 0)
        verify_foreign(roll(2) == 0);
    if (roll(150) == 0)
        space.max_pages = space.mapped_pages + roll(3 * MIB / PAGE);
    if (roll(300) == 0)
        space.max_pages = PAGES;
    if (roll(400) == 0)
        space.is_limited = !space.is_limited;
    if (roll(1000) == 0)
        for (int i = 0; i < SLOTS; i++) {
            verify_slot(&slots[i]);
            hmm_heap_free(h, slots[i].p);
            slots[i].p = NULL;
        }
}

/* All comes back in the end: nothing is lost. */
static void end_all(struct hmm_heap *h)
{
    verify_foreign(true);
    space.max_pages = PAGES;
    for (int i = 0; i < SLOTS; i++) {
        verify_slot(&slots[i]);
        hmm_heap_free(h, slots[i].p);
    }
    hmm_heap_set_cache(h, 0);
    hmm__decommit_all(h);
    assert_sound(h);
    if (h->state_place == HMM__STATE_BLOCK) /* the only block that there is */
        return;
    ck_assert_uint_eq(h->absent_count, 0);
    ck_assert_uint_eq(gap_granules(h), 0);
    ck_assert_uint_eq(live_bytes(h), 0);
    ck_assert_uint_eq(free_blocks(h), 0);
}

static void at_random(int which, int cache)
{
    static const uint32_t afters[] = {0, 20, 250, HMM__RELEASE_NEVER};
    struct hmm_heap *h = limited_heap(strategy_of(which / 4));
    hmm_heap_set_cache(h, cache);
    h->release_after = afters[which % 4];
    dice = (uint32_t)which * 7919u + 1;
    memset(slots, 0, sizeof slots);
    const bool all = !under_valgrind() && h->release_after != HMM__RELEASE_NEVER;
    bool tried = false;
    for (unsigned long n = 0; n < scaled(1500) || (all && !tried && n < 30000); n++) {
        step(h);
        disturb(h);
        if (roll(50) == 0)
            assert_sound(h);
        tried = space.vacated != 0 && space.occupied != 0 && space.refused != 0;
    }
    end_all(h);
    ck_assert(tried || !all);
}

/* _i: strategy and which of four. */
START_TEST(nothing_is_lost_whatever_the_system_refuses)
{
    at_random(_i, 0);
}
END_TEST

START_TEST(nothing_is_lost_behind_a_cache)
{
    at_random(_i, 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("absent");
    struct cases c = add_cases(s, "absent");
    on_each_strategy(c, what_is_free_in_the_middle_is_unmapped_and_comes_back, 1);
    on_each_strategy(c, only_what_is_needed_comes_back, 1);
    on_each_strategy(c, what_is_absent_becomes_one_with_what_becomes_free_beside_it, 1);
    on_each_strategy(c, several_come_back_for_one_request, 1);
    on_each_strategy(c, the_top_comes_down_over_what_is_absent, 1);
    on_each_strategy(c, a_block_grows_down_where_the_system_refuses_more, 1);
    on_each_strategy(c, a_block_grows_into_what_is_absent_above, 2);
    on_each_strategy(c, what_stays_mapped_below_the_limit_is_not_taken_for_zero, 2);
    on_each_strategy(c, what_is_free_below_a_block_that_grows_becomes_absent, 1);
    on_each_strategy(c, a_block_grows_down_while_the_break_rises, 1);
    on_each_strategy(c, nothing_is_lost_whatever_the_system_refuses, 4);
    on_each_strategy(c, nothing_is_lost_behind_a_cache, 4);
    return run_suite(s);
}
