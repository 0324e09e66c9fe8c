/* SPDX-License-Identifier: MIT */
/*
 * Pieces (struct hmm_piece): where in a free block one begins, compared with a search that tries
 * every granule; and pieces of the top.
 */
#include "harness.h"

/* ---- The arithmetic of hmm-strategy.h ---- */

static struct hmm_piece any_piece(uint64_t *rng)
{
    struct hmm_piece piece = {.granules = HMM_MIN_GRANULES + (uint32_t)rng_below(rng, 40),
                              .align = UINT32_C(1) << rng_below(rng, 7),
                              .phase = (uint32_t)rng_next(rng)};
    if (rng_below(rng, 3) != 0)
        piece.boundary = UINT32_C(1) << rng_below(rng, 8);
    if (piece.boundary != 0 && rng_below(rng, 2)) {
        piece.shift = (uint32_t)rng_next(rng);
        piece.slack = (uint32_t)rng_below(rng, piece.granules < 3 ? piece.granules : 3);
    }
    if (rng_below(rng, 3) == 0)
        piece.low = (hmm_ref)rng_below(rng, 500);
    if (rng_below(rng, 3) == 0)
        piece.high = (hmm_ref)rng_below(rng, 700);
    return piece;
}

/* By the words of hmm-strategy.h. */
static bool may_begin_at(const struct hmm_piece *p, hmm_ref at)
{
    if ((at - p->phase) % p->align != 0 || at < p->low ||
        (p->high != 0 && at + p->granules > p->high))
        return false;
    for (hmm_ref g = at + 1; p->boundary != 0 && g < at + p->granules - p->slack; g++)
        if ((g - p->phase - p->shift) % p->boundary == 0)
            return false;
    return true;
}

/* The lowest place in the block; UINT32_MAX: there is none. */
static uint32_t tried_gap(const struct hmm_piece *p, hmm_ref block, uint32_t granules)
{
    for (uint32_t gap = 0; gap + p->granules <= granules; gap++)
        if ((gap == 0 || gap >= HMM_MIN_GRANULES) && may_begin_at(p, block + gap))
            return gap;
    return UINT32_MAX;
}

START_TEST(a_piece_is_where_trying_finds_it)
{
    uint64_t rng = 5;
    unsigned long fitted = 0, n = scaled(300000);
    for (unsigned long i = 0; i < n; i++) {
        struct hmm_piece p = any_piece(&rng);
        hmm_ref block = 1 + (hmm_ref)rng_below(&rng, 400);
        uint32_t granules = HMM_MIN_GRANULES + (uint32_t)rng_below(&rng, 300);
        uint32_t expected = tried_gap(&p, block, granules);
        bool fits = hmm_piece_fits(&p, block, granules);
        require(fits == (expected != UINT32_MAX) && (!fits || hmm_piece_gap(&p, block) == expected),
                "%u granules, align %u, phase %u, boundary %u, shift %u, slack %u, in [%u, %u), of "
                "%u at %u: gap %u, by trying %u",
                p.granules, p.align, p.phase, p.boundary, p.shift, p.slack, p.low, p.high, granules,
                block, hmm_piece_gap(&p, block), expected);
        fitted += fits;
    }
    ck_assert_uint_gt(fitted, n / 20);
    ck_assert_uint_lt(fitted, n - n / 20);
}
END_TEST

START_TEST(what_surely_holds_it_does)
{
    uint64_t rng = 6;
    unsigned long sure = 0;
    for (unsigned long i = scaled(3000); i != 0; i--) {
        struct hmm_piece p = any_piece(&rng);
        uint32_t surely = hmm_piece_surely(&p);
        ck_assert(surely == UINT32_MAX || !hmm_piece_is_limited(&p));
        for (hmm_ref r = 1; surely != UINT32_MAX && r < 300; r++, sure++)
            require(hmm_piece_fits(&p, r, surely), "%u granules at %u are not enough", surely, r);
    }
    ck_assert_uint_gt(sure, 0);
}
END_TEST

START_TEST(at_the_end_of_all_refs)
{
    struct hmm_piece p = {.granules = 100, .align = UINT32_C(1) << 28, .phase = 7};
    ck_assert(!hmm_piece_fits(&p, UINT32_MAX - 5000, 4000));
    p.low = UINT32_MAX;
    ck_assert(!hmm_piece_fits(&p, 1, HMM_MAX_GRANULES));
    p.align = 1;
    ck_assert(!hmm_piece_fits(&p, 1, HMM_MAX_GRANULES));
    p.low = 0;
    p.high = 50;
    ck_assert(!hmm_piece_fits(&p, 1, 1000));
    p.high = 101;
    ck_assert(hmm_piece_fits(&p, 1, 1000));
    p.high = 0;
    p.boundary = UINT32_C(1) << 31;
    ck_assert(hmm_piece_fits(&p, 8, 1000));
    p.boundary = 64;
    ck_assert(!hmm_piece_fits(&p, 8, HMM_MAX_GRANULES));
}
END_TEST

/* ---- From the top ---- */

static hmm_ref taken(struct hmm_heap *h, struct hmm_piece piece, enum hmm__piece_from from)
{
    void *p = hmm__take_piece(h, &piece, from);
    assert_sound(h);
    if (p == NULL)
        return 0;
    ck_assert(may_begin_at(&piece, block_of(h, p)));
    ck_assert_uint_ge(block_size(h, block_of(h, p)), piece.granules);
    return block_of(h, p);
}

/* _i: strategy. */
START_TEST(a_piece_of_the_top)
{
    struct hmm_heap *h = unwatched(heap_of(256 << 10, strategy_of(_i)));
    hmm_ref top = h->top, at = top + 1000;
    struct hmm_piece p = {.granules = 16, .align = 4, .phase = 0, .low = at};
    ck_assert_uint_eq(taken(h, p, HMM__PIECE_OF_TOP), (at + 3) & ~3u);
    ck_assert_uint_eq(count_free(h), 1); /* what is below it */
    ck_assert_uint_eq(taken(h, p, HMM__PIECE_OF_HOLE), 0);
    p.low = 0;
    p.high = h->top;
    ck_assert_uint_eq(taken(h, p, HMM__PIECE_OF_TOP), 0);
    ck_assert_uint_eq(taken(h, p, HMM__PIECE_OF_HOLE), top + tried_gap(&p, top, 1000));
    p.high = h->limit;
    p.low = h->limit - 17;
    ck_assert_uint_eq(taken(h, p, HMM__PIECE_OF_TOP), h->limit - 16);
    p.low = p.high = 0;
    ck_assert_uint_eq(taken(h, p, HMM__PIECE_OF_TOP), 0);
    heap_end(h);
}
END_TEST

/* A plug-in may leave find_piece out: what it finds is only used where the piece fits. */
START_TEST(a_strategy_without_find_piece)
{
    struct hmm_strategy s = *strategy_of(_i);
    s.find_piece = NULL;
    struct hmm_heap *h = unwatched(heap_of(256 << 10, &s));
    void *hole = must_malloc(h, 4000), *guard = keep(must_malloc(h, 1));
    ck_assert_ptr_nonnull(guard);
    hmm_ref r = block_of(h, hole);
    hmm_heap_free(h, hole);
    struct hmm_piece p = {.granules = 16, .align = 1, .high = r + 15};
    ck_assert_uint_eq(taken(h, p, HMM__PIECE_OF_HOLE), 0);
    p.high = r + 16;
    ck_assert_uint_eq(taken(h, p, HMM__PIECE_OF_HOLE), r);
    p.low = r + 30;
    p.high = 0;
    ck_assert_uint_eq(taken(h, p, HMM__PIECE_OF_HOLE), r + 30);
    heap_end(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("piece");
    TCase *c = add_case(s, "piece");
    tcase_add_test(c, a_piece_is_where_trying_finds_it);
    tcase_add_test(c, what_surely_holds_it_does);
    tcase_add_test(c, at_the_end_of_all_refs);
    tcase_add_loop_test(c, a_piece_of_the_top, 0, strategy_count());
    tcase_add_loop_test(c, a_strategy_without_find_piece, 0, strategy_count());
    return run_suite(s);
}
