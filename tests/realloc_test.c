/* SPDX-License-Identifier: MIT */
/*
 * realloc, in all its ways, on each strategy. In a new heap blocks lie one above the other, since
 * there is no free block to place them in: the tests begin with such a row.
 */
#include "harness.h"

enum { A, B, C, D, ROW };

#define SIZE 236u /* 240 bytes with the header: no remainder is too small to be a block */
#define BLOCK 240u

static struct hmm_heap *h;
static void *row[ROW];

static void make_row(int strategy)
{
    h = heap_of(16 << 10, strategy_of(strategy));
    for (unsigned i = 0; i < ROW; i++) {
        row[i] = must_malloc(h, SIZE);
        fill(row[i], SIZE, i);
        ck_assert(i == 0 || (char *)row[i] == (char *)row[i - 1] + BLOCK);
    }
}

/* Frees what is left of the row and the block that was resized: the heap is empty again. */
static void end_row(void *resized)
{
    for (unsigned i = 0; i < ROW; i++)
        hmm_heap_free(h, row[i]);
    hmm_heap_free(h, resized);
    assert_empty(h);
    heap_end(h);
}

static void free_one(unsigned i)
{
    hmm_heap_free(h, row[i]);
    row[i] = NULL;
}

/* Resizes row[i], to be found at `where`, SIZE bytes of it as they were. */
static void *resize_to(unsigned i, size_t size, const void *where)
{
    void *p = hmm_heap_realloc(h, row[i], size);
    ck_assert_ptr_eq(p, where);
    ck_assert(holds(p, size < SIZE ? size : SIZE, i));
    ck_assert_uint_ge(hmm_heap_usable_size(h, p), size);
    assert_sound(h);
    row[i] = NULL;
    fill(p, size, 77);
    for (unsigned j = 0; j < ROW; j++)
        ck_assert(row[j] == NULL || holds(row[j], SIZE, j));
    return p;
}

START_TEST(of_null_is_malloc)
{
    make_row(_i);
    void *p = hmm_heap_realloc(h, NULL, 100);
    ck_assert_ptr_nonnull(p);
    end_row(p);
}
END_TEST

START_TEST(to_no_bytes_is_free)
{
    make_row(_i);
    ck_assert_ptr_null(hmm_heap_realloc(h, row[B], 0));
    row[B] = NULL;
    ck_assert_uint_eq(count_free(h), 1);
    ck_assert_ptr_nonnull(row[B] = hmm_heap_realloc(h, NULL, 0));
    end_row(NULL);
}
END_TEST

START_TEST(to_the_same_size_changes_nothing)
{
    make_row(_i);
    void *p = resize_to(B, SIZE, row[B]);
    ck_assert_uint_eq(count_blocks(h), ROW);
    end_row(p);
}
END_TEST

START_TEST(grows_into_part_of_the_free_block_above)
{
    make_row(_i);
    free_one(C);
    void *p = resize_to(B, SIZE + BLOCK / 2, row[B]);
    ck_assert_uint_eq(count_free(h), 1);
    end_row(p);
}
END_TEST

START_TEST(grows_into_all_of_the_free_block_above)
{
    make_row(_i);
    free_one(C);
    void *p = resize_to(B, SIZE + BLOCK, row[B]);
    ck_assert_uint_eq(count_free(h), 0);
    end_row(p);
}
END_TEST

START_TEST(grows_into_the_top)
{
    make_row(_i);
    void *p = resize_to(D, 8000, row[D]);
    ck_assert_uint_eq(count_blocks(h), ROW);
    end_row(p);
}
END_TEST

START_TEST(grows_into_the_top_up_to_the_region_s_end)
{
    struct hmm_stats s;
    make_row(_i);
    hmm_heap_stats(h, &s);
    void *p = resize_to(D, s.largest_free + BLOCK, row[D]);
    ck_assert_ptr_null(hmm_heap_malloc(h, 0));
    end_row(p);
}
END_TEST

START_TEST(grows_down_into_the_free_block_below)
{
    make_row(_i);
    void *low = row[A];
    free_one(A);
    void *p = resize_to(B, SIZE + BLOCK, low);
    ck_assert_uint_eq(count_free(h), 0);
    end_row(p);
}
END_TEST

START_TEST(gives_back_what_growing_down_left_over)
{
    make_row(_i);
    void *low = row[A];
    free_one(A);
    void *p = resize_to(B, SIZE + BLOCK / 2, low);
    ck_assert_uint_eq(count_free(h), 1);
    end_row(p);
}
END_TEST

START_TEST(grows_down_and_up_at_once)
{
    make_row(_i);
    void *low = row[A];
    free_one(A);
    free_one(C);
    void *p = resize_to(B, SIZE + 2 * BLOCK - 16, low);
    end_row(p);
}
END_TEST

START_TEST(grows_down_and_into_the_top)
{
    struct hmm_stats s;
    make_row(_i);
    void *low = row[C];
    free_one(C);
    hmm_heap_stats(h, &s);
    void *p = resize_to(D, s.largest_free + 2 * BLOCK, low);
    ck_assert_ptr_null(hmm_heap_malloc(h, 0));
    end_row(p);
}
END_TEST

START_TEST(prefers_to_stay)
{
    make_row(_i);
    free_one(A);
    free_one(C);
    end_row(resize_to(B, SIZE + BLOCK, row[B]));
}
END_TEST

START_TEST(moves_where_there_is_no_room)
{
    make_row(_i);
    const void *above = (char *)row[D] + BLOCK;
    void *p = resize_to(B, 3 * SIZE, above);
    ck_assert_uint_eq(count_free(h), 1);
    end_row(p);
}
END_TEST

START_TEST(moves_into_a_free_block)
{
    make_row(_i);
    void *big = must_malloc(h, 1000), *guard = must_malloc(h, 1);
    hmm_heap_free(h, big);
    void *p = resize_to(B, 900, big);
    hmm_heap_free(h, guard);
    end_row(p);
}
END_TEST

START_TEST(shrinks_in_place)
{
    make_row(_i);
    void *p = resize_to(B, 100, row[B]);
    ck_assert_uint_eq(count_free(h), 1);
    ck_assert_uint_lt(hmm_heap_usable_size(h, p), 100 + 2 * 16);
    end_row(p);
}
END_TEST

/* Its header lies half in what the user had, half in what memcheck forbids. */
START_TEST(what_shrinking_cut_off_is_found_again)
{
    h = heap_of(16 << 10, strategy_of(_i));
    char *p = must_malloc(h, 46), *guard = must_malloc(h, 100);
    ck_assert_ptr_eq(hmm_heap_realloc(h, p, 29), p);
    char *q = must_malloc(h, 2);
    ck_assert(q > p && q < guard);
    hmm_heap_free(h, q);
    hmm_heap_free(h, p);
    hmm_heap_free(h, guard);
    assert_empty(h);
    heap_end(h);
}
END_TEST

START_TEST(shrinks_into_the_free_block_above)
{
    make_row(_i);
    free_one(C);
    void *p = resize_to(B, 100, row[B]);
    ck_assert_uint_eq(count_free(h), 1);
    end_row(p);
}
END_TEST

START_TEST(shrinks_beside_a_free_block_below)
{
    make_row(_i);
    free_one(A);
    void *p = resize_to(B, 100, row[B]);
    ck_assert_uint_eq(count_free(h), 2);
    end_row(p);
}
END_TEST

START_TEST(shrinks_at_the_top)
{
    make_row(_i);
    void *p = resize_to(D, 20, row[D]);
    ck_assert_uint_eq(count_free(h), 0);
    end_row(p);
}
END_TEST

START_TEST(shrinks_by_too_little_for_a_block)
{
    make_row(_i);
    void *p = resize_to(B, SIZE - 3, row[B]);
    ck_assert_uint_eq(count_free(h), 0);
    end_row(p);
}
END_TEST

START_TEST(failing_leaves_the_block)
{
    struct hmm_stats before, after;
    make_row(_i);
    free_one(A); /* room below, but not enough */
    hmm_heap_stats(h, &before);
    errno = 0;
    ck_assert_ptr_null(hmm_heap_realloc(h, row[B], 16 << 10));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert(holds(row[B], SIZE, B));
    hmm_heap_stats(h, &after);
    ck_assert_uint_eq(after.live_bytes, before.live_bytes);
    ck_assert_uint_eq(after.free_bytes, before.free_bytes);
    ck_assert_uint_eq(after.brk, before.brk);
    ck_assert_uint_eq(after.failed, before.failed + 1);
    assert_sound(h);
    end_row(NULL);
}
END_TEST

START_TEST(failing_in_a_full_heap_leaves_the_block)
{
    make_row(_i);
    void *rest[1024];
    size_t n = exhaust(h, 200, rest, 1024);
    n += exhaust(h, 0, rest + n, 1024 - n);
    ck_assert_ptr_null(hmm_heap_realloc(h, row[B], SIZE + 16));
    ck_assert(holds(row[B], SIZE, B));
    assert_sound(h);
    while (n != 0)
        hmm_heap_free(h, rest[--n]);
    end_row(NULL);
}
END_TEST

/* All pairs of sizes, with something else above or not. */
START_TEST(keeps_the_contents_from_any_size_to_any_other)
{
    const size_t step = under_valgrind() ? 61 : 7;
    h = heap_of(16 << 10, strategy_of(_i));
    for (size_t from = 0; from < 400; from += step) {
        for (size_t to = 1; to < 400; to += step) {
            void *p = must_malloc(h, from), *guard = to % 2 ? must_malloc(h, 1) : NULL;
            fill(p, from, to);
            p = hmm_heap_realloc(h, p, to);
            ck_assert(holds(p, from < to ? from : to, to));
            hmm_heap_free(h, p);
            hmm_heap_free(h, guard);
        }
    }
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* ---- Of aligned blocks ---- */

#define ALIGN 512u

static void *extra[256];
static size_t extras;

static void *aligned_block(void)
{
    void *p = hmm_heap_aligned_alloc(h, ALIGN, 100);
    ck_assert_ptr_nonnull(p);
    fill(p, 100, 9);
    return p;
}

/* So that something is in use right above p: larger than any hole that p's alignment has left. */
static void guard_above(const void *p)
{
    do {
        ck_assert_uint_lt(extras, sizeof extra / sizeof extra[0]);
        extra[extras++] = must_malloc(h, 40000);
    } while (extra[extras - 1] < p);
}

static void end_aligned(void *p)
{
    hmm_heap_free(h, p);
    while (extras != 0)
        hmm_heap_free(h, extra[--extras]);
    assert_empty(h);
    heap_end(h);
}

static void assert_aligned(const void *p)
{
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p % ALIGN, 0);
    ck_assert(holds(p, 100, 9));
    assert_sound(h);
}

START_TEST(an_aligned_block_that_moves_keeps_its_alignment)
{
    h = heap_of(8 << 20, strategy_of(_i));
    void *p = aligned_block();
    for (size_t size = 200; size < 4000; size += 300) {
        guard_above(p);
        void *q = hmm_heap_realloc(h, p, size);
        ck_assert_ptr_ne(q, p);
        assert_aligned(q);
        p = q;
    }
    end_aligned(p);
}
END_TEST

START_TEST(an_aligned_block_stays_aligned_in_place)
{
    h = heap_of(8 << 20, strategy_of(_i));
    void *p = aligned_block();
    ck_assert_ptr_eq(hmm_heap_realloc(h, p, 9000), p);
    ck_assert_ptr_eq(hmm_heap_realloc(h, p, 100), p);
    guard_above(p);
    void *q = hmm_heap_realloc(h, p, 9000);
    ck_assert_ptr_ne(q, p); /* and was still known for an aligned one */
    assert_aligned(q);
    end_aligned(q);
}
END_TEST

START_TEST(an_aligned_block_does_not_slide_down_to_where_it_would_not_be_aligned)
{
    h = heap_of(8 << 20, strategy_of(_i));
    void *below;
    do
        below = extra[extras++] = must_malloc(h, 1000);
    while ((uintptr_t)below % ALIGN == 0);
    extras--;
    void *p = aligned_block();
    guard_above(p);
    hmm_heap_free(h, below);
    void *q = hmm_heap_realloc(h, p, 600);
    ck_assert_ptr_ne(q, p);
    assert_aligned(q);
    end_aligned(q);
}
END_TEST

START_TEST(an_aligned_block_slides_down_to_where_it_is)
{
    h = heap_of(8 << 20, strategy_of(_i));
    void *low;
    do
        low = extra[extras++] = aligned_block();
    while ((uintptr_t)low % (2 * ALIGN) != 0);
    extras--;
    void *p = aligned_block();
    ck_assert_ptr_eq(p, (char *)low + ALIGN);
    guard_above(p);
    hmm_heap_free(h, low);
    void *q = hmm_heap_realloc(h, p, 300);
    ck_assert_ptr_eq(q, low);
    assert_aligned(q);
    end_aligned(q);
}
END_TEST

static void add_plain(struct cases c)
{
    on_each_strategy(c, of_null_is_malloc, 1);
    on_each_strategy(c, to_no_bytes_is_free, 1);
    on_each_strategy(c, to_the_same_size_changes_nothing, 1);
    on_each_strategy(c, grows_into_part_of_the_free_block_above, 1);
    on_each_strategy(c, grows_into_all_of_the_free_block_above, 1);
    on_each_strategy(c, grows_into_the_top, 1);
    on_each_strategy(c, grows_into_the_top_up_to_the_region_s_end, 1);
    on_each_strategy(c, grows_down_into_the_free_block_below, 1);
    on_each_strategy(c, gives_back_what_growing_down_left_over, 1);
    on_each_strategy(c, grows_down_and_up_at_once, 1);
    on_each_strategy(c, grows_down_and_into_the_top, 1);
    on_each_strategy(c, prefers_to_stay, 1);
    on_each_strategy(c, moves_where_there_is_no_room, 1);
    on_each_strategy(c, moves_into_a_free_block, 1);
    on_each_strategy(c, shrinks_in_place, 1);
    on_each_strategy(c, what_shrinking_cut_off_is_found_again, 1);
    on_each_strategy(c, shrinks_into_the_free_block_above, 1);
    on_each_strategy(c, shrinks_beside_a_free_block_below, 1);
    on_each_strategy(c, shrinks_at_the_top, 1);
    on_each_strategy(c, shrinks_by_too_little_for_a_block, 1);
    on_each_strategy(c, failing_leaves_the_block, 1);
    on_each_strategy(c, failing_in_a_full_heap_leaves_the_block, 1);
    on_each_strategy(c, keeps_the_contents_from_any_size_to_any_other, 1);
}

/* In a cache blocks do not lie in a row. */
static void add_cached(struct cases c)
{
    on_each_strategy(c, keeps_the_contents_from_any_size_to_any_other, 1);
    on_each_strategy(c, an_aligned_block_that_moves_keeps_its_alignment, 1);
    on_each_strategy(c, an_aligned_block_stays_aligned_in_place, 1);
}

int main(void)
{
    Suite *s = suite_create("realloc");
    struct cases c = add_cases(s, "realloc");
    add_plain(c);
    on_each_strategy(c, an_aligned_block_that_moves_keeps_its_alignment, 1);
    on_each_strategy(c, an_aligned_block_stays_aligned_in_place, 1);
    on_each_strategy(c, an_aligned_block_does_not_slide_down_to_where_it_would_not_be_aligned, 1);
    on_each_strategy(c, an_aligned_block_slides_down_to_where_it_is, 1);
    add_cached(add_cached_cases(s, "realloc, with a cache"));
    return run_suite(s);
}
