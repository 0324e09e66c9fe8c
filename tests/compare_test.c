/* SPDX-License-Identifier: MIT */
/*
 * The parts of hmm compare: offline layouts (cli/layout.h), rows as JSON, the longest operation,
 * instructions.
 */
#include "compare.h"
#include "harness.h"
#include "layout.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* ---- Places on a line, held against a plain array ---- */

#define LINE 20000u
#define BLOCKS 400u

static uint32_t random_state = 12345;

static uint32_t pick(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

struct block {
    uint32_t at, size;
};

static unsigned char line[LINE];
static struct block blocks[BLOCKS];
static uint32_t untils[BLOCKS];

static void mark(const struct block *b, unsigned char was, unsigned char is)
{
    for (uint32_t i = b->at; i < b->at + b->size; i++) {
        require(line[i] == was, "granule %u is %s", i, was != 0 ? "free" : "taken");
        line[i] = is;
    }
}

static uint32_t top_of(void)
{
    uint32_t top = LINE;
    while (top > 0 && line[top - 1] == 0)
        top--;
    return top;
}

/* The size of the smallest hole below the top in which so much can lie; 0: none. */
static uint32_t smallest_hole(uint32_t size)
{
    uint32_t best = 0, run = 0;
    const uint32_t top = top_of();
    for (uint32_t i = 0; i < top; i++) {
        run = line[i] == 0 ? run + 1 : 0;
        if (line[i + 1] != 0 && run >= size && (best == 0 || run < best))
            best = run;
    }
    return best;
}

/* Of the hole that holds granule `at`. */
static uint32_t hole_around(uint32_t at)
{
    uint32_t low = at, high = at;
    while (low > 0 && line[low - 1] == 0)
        low--;
    while (high < LINE && line[high] == 0)
        high++;
    return high - low;
}

static void place(struct layout *l, uint32_t i, uint32_t size, uint32_t align, bool by_until)
{
    const uint32_t top = top_of(), hole = smallest_hole(size);
    untils[i] = pick(1000);
    const uint32_t at = layout_place(l, i, size, align, by_until ? untils : NULL);
    ck_assert_uint_eq(at % align, 0);
    if (align == 1 && hole != 0)
        ck_assert_uint_eq(hole_around(at), hole);
    if (align == 1 && hole == 0)
        ck_assert_uint_eq(at, top);
    blocks[i] = (struct block){at, size};
    mark(&blocks[i], 0, 1);
    ck_assert_uint_eq(l->top, top_of());
    ck_assert_uint_ge(l->most, l->top);
}

START_TEST(places_in_the_smallest_hole)
{
    struct layout l;
    layout_open(&l);
    for (int round = 0; round < 2; round++) {
        memset(line, 0, sizeof line);
        memset(blocks, 0, sizeof blocks);
        layout_clear(&l);
        for (int op = 0; op < 3000; op++) {
            const uint32_t i = pick(BLOCKS);
            if (blocks[i].size != 0) {
                layout_remove(&l, blocks[i].at, blocks[i].size);
                mark(&blocks[i], 1, 0);
                blocks[i].size = 0;
                ck_assert_uint_eq(l.top, top_of());
            } else {
                place(&l, i, 1 + pick(40), pick(8) == 0 ? 4 : 1, round != 0);
            }
        }
    }
    layout_close(&l);
}
END_TEST

/* Holes above the small sizes are searched for the smallest. */
START_TEST(places_in_the_smallest_large_hole)
{
    struct layout l;
    layout_open(&l);
    const uint32_t sizes[] = {9000, 1, 7000, 1, 8000, 1};
    uint32_t at[6];
    for (uint32_t i = 0; i < 6; i++)
        at[i] = layout_append(&l, i, sizes[i]);
    for (uint32_t i = 0; i < 6; i += 2)
        layout_remove(&l, at[i], sizes[i]);
    ck_assert_uint_eq(layout_place(&l, 6, 7500, 1, NULL), at[4]);
    ck_assert_uint_eq(layout_place(&l, 7, 6500, 1, NULL), at[2]);
    ck_assert_uint_eq(layout_place(&l, 8, 9000, 1, NULL), at[0]);
    layout_close(&l);
}
END_TEST

/* Of two ends of a hole the one beside which the neighbour ends sooner after. */
START_TEST(lies_beside_what_ends_with_it)
{
    struct layout l;
    layout_open(&l);
    const uint32_t until[] = {10, 0, 99, 95, 12};
    layout_append(&l, 0, 5);
    const uint32_t hole = layout_append(&l, 1, 20);
    layout_append(&l, 2, 5);
    layout_remove(&l, hole, 20);
    ck_assert_uint_eq(layout_place(&l, 3, 4, 1, until), hole + 16);
    ck_assert_uint_eq(layout_place(&l, 4, 4, 1, until), hole);
    layout_close(&l);
}
END_TEST

/* ---- Rows ---- */

static char *printed(const struct row *r)
{
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    row_print(to, r);
    fclose(to);
    return text;
}

START_TEST(a_row_is_read_back)
{
    struct row r, back;
    struct optimum o;
    row_init(&r, "it's \"a\\b\": {\"ops\":7}\n", "best-fit", "strategy", true);
    r.ops = 123;
    r.ns_per_op = 4.25;
    r.peak_live = 1000;
    r.peak_break = 1200;
    r.smallest_heap = 1184;
    r.headers = 40;
    r.worst_instructions = 321;
    r.failed = 0;
    char *text = printed(&r);
    ck_assert_int_eq(row_parse(text, &back, &o), 'r');
    ck_assert_str_eq(back.trace, r.trace);
    ck_assert_int_eq(back.ops, 123);
    ck_assert(back.cache);
    ck_assert_int_eq(back.smallest_heap, 1184);
    ck_assert_int_eq(back.worst_ns, ROW_UNKNOWN);
    ck_assert_int_eq(back.worst_instructions, 321);
    char *again = printed(&back);
    ck_assert_str_eq(again, text);
    free(text);
    free(again);
    row_free(&r);
    row_free(&back);
}
END_TEST

START_TEST(other_lines_are_no_rows)
{
    struct row r;
    struct optimum o = {NULL, 0, 0};
    ck_assert_int_eq(row_parse("", &r, &o), 0);
    ck_assert_int_eq(row_parse("text\n", &r, &o), 0);
    ck_assert_int_eq(row_parse("{\"trace\":\"t\"}\n", &r, &o), 0);
    ck_assert_int_eq(row_parse("{\"trace\":\"t\",\"advice\":{\"kind\":\"x\"}}\n", &r, &o), 0);
    ck_assert_int_eq(
        row_parse("{\"trace\":\"t\",\"optimum\":{\"lower\":16,\"upper\":32}}\n", &r, &o), 'o');
    ck_assert_int_eq(o.upper, 32);
    free(o.trace);
}
END_TEST

/* ---- The longest operation ---- */

/* 10,000 operations of 1 to 5 microseconds and one of 900, each interrupted in one of the passes.
 */
START_TEST(an_interrupt_is_not_the_longest)
{
    struct worst *w = worst_open();
    for (uint64_t pass = 0; pass < 10; pass++) {
        worst_begin_pass(w);
        for (uint64_t i = 0; i < 10000; i++) {
            const uint64_t ns = i == 7777 ? 900000 : 1000 + i % 5 * 1000;
            const bool interrupted = (i % 1000) == pass * 7;
            if (worst_wants(w))
                worst_take(w, ns + (interrupted ? 5000000 : 0));
            else
                worst_skip(w);
        }
    }
    const uint64_t found = worst_longest(w);
    ck_assert_uint_le(found, 900000);
    ck_assert_uint_ge(found, 800000);
    worst_close(w);
}
END_TEST

START_TEST(the_slowest_are_in_the_order_of_the_trace)
{
    struct worst *w = worst_open();
    uint64_t indices[WORST_STEPPED];
    for (int pass = 0; pass < 2; pass++) {
        worst_begin_pass(w);
        for (uint64_t i = 0; i < 9000; i++)
            if (worst_wants(w))
                worst_take(w, i % 100 == 7 ? 5000 + i : 100);
            else
                worst_skip(w);
    }
    const size_t count = WORST_STEPPED_LONG;
    ck_assert_uint_eq(worst_slowest(w, indices), count);
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_eq(indices[i], 9000 - count * 100 + i * 100 + 7);
    worst_close(w);
}
END_TEST

/* ---- Instructions ---- */

static __attribute__((noinline)) uint64_t steps_of_loop(volatile int rounds)
{
    volatile int done = 0;
    steps_begin();
    for (int i = 0; i < rounds; i++)
        done++;
    return steps_end();
}

START_TEST(instructions_are_counted_exactly)
{
    if (!steps_are_possible())
        return;
    const uint64_t once = steps_of_loop(1000);
    ck_assert_uint_ge(once, 3000);
    ck_assert_uint_le(once, 30000);
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(steps_of_loop(1000), once);
    ck_assert_uint_eq(steps_of_loop(3000) - steps_of_loop(2000),
                      steps_of_loop(2000) - steps_of_loop(1000));
}
END_TEST

/* However the C library copies: an instruction may move as many bytes as there are. */
START_TEST(a_copy_that_is_counted_is_a_copy)
{
    if (!steps_are_possible())
        return;
    enum { SIZE = 1 << 20 };
    unsigned char *from = malloc(SIZE), *to = malloc(SIZE + 1);
    for (size_t i = 0; i < SIZE; i++)
        from[i] = (unsigned char)(i * 7 + i / 256);
    to[SIZE] = 99;
    steps_begin();
    memcpy(to, from, SIZE);
    const uint64_t steps = steps_end();
    ck_assert_int_eq(memcmp(from, to, SIZE), 0);
    ck_assert_uint_eq(to[SIZE], 99);
    steps_begin();
    memset(to, 5, SIZE);
    steps_end();
    for (size_t i = 0; i < SIZE; i++)
        ck_assert_uint_eq(to[i], 5);
    ck_assert_uint_eq(to[SIZE], 99);
    ck_assert_uint_ge(steps, SIZE / 128);
    ck_assert_uint_le(steps, SIZE + 1000);
    free(from);
    free(to);
}
END_TEST

/* ---- The advice for bounded ---- */

static struct row bounded_row(const char *name, int64_t ns, int64_t instructions)
{
    struct row r;
    row_init(&r, "t", name, "strategy", false);
    r.smallest_heap = 200000;
    r.worst_ns = ns;
    r.worst_instructions = instructions;
    return r;
}

/* Who is advised of two. */
static void advises(int64_t ns, int64_t other_ns, const char *advised)
{
    struct row rows[] = {bounded_row("best-fit", ns, 2794),
                         bounded_row("segregated", other_ns, 2812),
                         bounded_row("first-fit", 9000, ROW_UNKNOWN)};
    const struct verdict v = {"t", rows, 3, NULL};
    struct advice a;
    advice_find(&v, "bounded", &a);
    ck_assert_str_eq(a.row->allocator, advised);
    ck_assert_int_eq(rows[0].worst_ns, ns);
    ck_assert_int_eq(rows[1].worst_ns, other_ns);
    for (size_t i = 0; i < 3; i++)
        row_free(&rows[i]);
}

START_TEST(instructions_decide_what_times_do_not)
{
    advises(1340, 1292, "best-fit"); /* noise */
    advises(30, 20, "best-fit");     /* a step of the clock */
    advises(1292, 1340, "best-fit"); /* as it is */
    advises(2000, 1292, "segregated");
}
END_TEST

/* With --heap: what was fast there, but did not complete, is not advised. */
START_TEST(what_does_not_fit_is_not_advised)
{
    for (size_t i = 0; advice_goals[i] != NULL; i++) {
        struct row rows[] = {bounded_row("next-fit", 100, 90), bounded_row("best-fit", 300, 400)};
        const struct verdict v = {"t", rows, 2, NULL};
        struct advice a;
        rows[0].smallest_heap = 200100; /* still within 5 % */
        rows[0].failed = 7;
        rows[0].ns_per_op = 1;
        rows[1].failed = 0;
        rows[1].ns_per_op = 9;
        advice_find(&v, advice_goals[i], &a);
        ck_assert_str_eq(a.row->allocator, "best-fit");
        rows[1].failed = 5; /* nor this: the smallest heap is all there is to say */
        advice_find(&v, advice_goals[i], &a);
        ck_assert_str_eq(a.row->allocator, "best-fit");
        ck_assert_ptr_nonnull(strstr(a.reason, "smallest heap, 200000 bytes"));
        row_free(&rows[0]);
        row_free(&rows[1]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("compare");
    TCase *cases = add_case(suite, "compare");
    tcase_add_test(cases, places_in_the_smallest_hole);
    tcase_add_test(cases, places_in_the_smallest_large_hole);
    tcase_add_test(cases, lies_beside_what_ends_with_it);
    tcase_add_test(cases, a_row_is_read_back);
    tcase_add_test(cases, other_lines_are_no_rows);
    tcase_add_test(cases, an_interrupt_is_not_the_longest);
    tcase_add_test(cases, the_slowest_are_in_the_order_of_the_trace);
    tcase_add_test(cases, instructions_are_counted_exactly);
    tcase_add_test(cases, a_copy_that_is_counted_is_a_copy);
    tcase_add_test(cases, instructions_decide_what_times_do_not);
    tcase_add_test(cases, what_does_not_fit_is_not_advised);
    return run_suite(suite);
}
