/* SPDX-License-Identifier: MIT */
/*
 * Inspection of a heap: the walk; the statistics, which must agree with a walk; hmm_heap_check,
 * which must find planted damage.
 */
#include "workload.h"

#include "base/annotate.h"

#include <stdlib.h>

/* ---- The walk ---- */

struct seen {
    size_t blocks, stop_at;
    const char *next; /* where the next block's payload must be; NULL before the first */
    size_t live_blocks, live_bytes, free_blocks, free_bytes, largest;
    bool below_is_free, gap, neighbours;
};

/* The bytes at a used block's end that record its alignment. Headers are closed to memcheck. */
static uint32_t record_bytes(const void *payload)
{
    annotate_enter();
    const uint32_t record = word_load(payload) & HMM__ALIGNED;
    annotate_leave();
    return record;
}

static int see(void *arg, const struct hmm_block_info *b)
{
    struct seen *s = arg;
    s->gap |= s->next != NULL && s->next != b->payload;
    uint32_t record = b->used ? record_bytes(b->payload) : 0;
    s->gap |= b->usable + HMM_HEADER_BYTES + record != b->size;
    s->neighbours |= s->below_is_free && !b->used;
    s->below_is_free = !b->used;
    s->next = (const char *)b->payload + b->size;
    if (b->used) {
        s->live_blocks++;
        s->live_bytes += b->usable;
    } else {
        s->free_blocks++;
        s->free_bytes += b->size;
        s->largest = b->usable > s->largest ? b->usable : s->largest;
    }
    return ++s->blocks == s->stop_at ? 42 : 0;
}

START_TEST(walks_an_empty_heap)
{
    struct hmm_heap *h = heap_of(16 << 10, strategy_of(_i));
    struct seen seen = {.stop_at = 1};
    ck_assert_int_eq(hmm_heap_walk(h, see, &seen), 0);
    ck_assert_uint_eq(seen.blocks, 0);
    heap_end(h);
}
END_TEST

static int expect_row(void *arg, const struct hmm_block_info *b)
{
    void ***row = arg;
    ck_assert_ptr_eq(b->payload, *(*row)++);
    return 0;
}

START_TEST(walks_in_address_order)
{
    struct hmm_heap *h = heap_of(16 << 10, strategy_of(_i));
    void *row[20], **next = row;
    for (size_t i = 0; i < 20; i++)
        row[i] = must_malloc(h, i * 10);
    hmm_heap_free(h, row[7]);
    ck_assert_int_eq(hmm_heap_walk(h, expect_row, &next), 0);
    ck_assert_ptr_eq(next, row + 20);
    struct seen seen = {0};
    hmm_heap_walk(h, see, &seen);
    ck_assert(!seen.gap);
    ck_assert_uint_eq(seen.live_blocks, 19);
    ck_assert_uint_eq(seen.free_blocks, 1);
    heap_end(h);
}
END_TEST

START_TEST(ends_early_with_what_the_visitor_returned)
{
    struct hmm_heap *h = heap_of(16 << 10, strategy_of(_i));
    for (size_t i = 0; i < 20; i++)
        ck_assert_ptr_nonnull(must_malloc(h, 10));
    for (size_t stop = 1; stop <= 20; stop++) {
        struct seen seen = {.stop_at = stop};
        ck_assert_int_eq(hmm_heap_walk(h, see, &seen), 42);
        ck_assert_uint_eq(seen.blocks, stop);
    }
    heap_end(h);
}
END_TEST

/* ---- The statistics ---- */

/* That a walk would come upon a header that says otherwise shows that there is none. _i: strategy.
 */
START_TEST(statistics_do_not_walk_for_a_strategy_without_largest)
{
    struct hmm_strategy s = *strategy_of(_i);
    struct hmm_heap *h = heap_of(64 << 10, &s);
    struct hmm_stats stats;
    s.largest = NULL;
    void *hole = must_malloc(h, 40000), *low = must_malloc(h, 100);
    hmm_heap_free(h, hole);
    hmm_heap_stats(h, &stats);
    size_t top = stats.capacity - stats.brk + stats.top_bytes;
    ck_assert_uint_lt(top, 40000);
    ck_assert_uint_eq(stats.largest_free, top - HMM_HEADER_BYTES);
    annotate_enter();
    uint32_t *header = (uint32_t *)(void *)((char *)low - HMM_HEADER_BYTES), was = *header;
    *header = 0; /* a walk would stop here */
    hmm_heap_stats(h, &stats);
    ck_assert_uint_eq(stats.largest_free, top - HMM_HEADER_BYTES);
    *header = was;
    annotate_leave();
    heap_end(h);
}
END_TEST

static void assert_stats_are_those_of_a_walk(struct workload *w, const struct op *op)
{
    struct hmm_stats s;
    struct seen seen = {0};
    (void)op;
    hmm_heap_walk(w->heap, see, &seen);
    hmm_heap_stats(w->heap, &s);
    size_t top = s.capacity - s.brk + s.top_bytes;
    size_t largest = top > seen.largest + HMM_HEADER_BYTES ? top - HMM_HEADER_BYTES : seen.largest;
    require(!seen.gap && !seen.neighbours, "the walk has gaps, or free neighbours");
    require(s.live_blocks == seen.live_blocks && s.live_bytes == seen.live_bytes,
            "%zu blocks of %zu bytes are live, statistics say %zu of %zu", seen.live_blocks,
            seen.live_bytes, s.live_blocks, s.live_bytes);
    require(s.free_blocks == seen.free_blocks && s.free_bytes == seen.free_bytes,
            "%zu blocks of %zu bytes are free, statistics say %zu of %zu", seen.free_blocks,
            seen.free_bytes, s.free_blocks, s.free_bytes);
    require(s.largest_free == (largest < 12 ? 0 : largest), "largest %zu, statistics say %zu",
            largest, s.largest_free);
    require(s.failed == w->failed, "%u failed, statistics say %u", w->failed, (unsigned)s.failed);
    size_t *peak = w->arg;
    require(s.live_peak >= s.live_bytes && s.live_peak >= *peak, "the peak of live bytes fell");
    *peak = s.live_peak;
}

/* _i: strategy and mix. */
START_TEST(statistics_are_those_of_a_walk)
{
    static struct workload w;
    const struct mix *mix = &mixes[_i % mix_count()];
    size_t peak = 0;
    workload_start(&w, heap_of(mix->region, strategy_of(_i / mix_count())), mix, 21);
    w.after = assert_stats_are_those_of_a_walk;
    w.arg = &peak;
    for (unsigned long n = scaled(4000); n != 0; n--)
        workload_step(&w);
    struct hmm_stats s;
    hmm_heap_stats(w.heap, &s);
    /* fewer steps, under Valgrind, may not come to it */
    ck_assert(under_valgrind() || (s.splits > 0 && s.merges > 0 && s.visited > 0));
    heap_end(w.heap);
}
END_TEST

START_TEST(peak_of_live_bytes_is_exact)
{
    struct hmm_heap *h = heap_of(64 << 10, strategy_of(_i));
    struct hmm_stats s;
    void *a = must_malloc(h, 1004), *b = must_malloc(h, 2012);
    hmm_heap_free(h, a);
    void *c = hmm_heap_realloc(h, b, 2524);
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.live_bytes, 2524);
    ck_assert_uint_eq(s.live_peak, 1004 + 2012);
    hmm_heap_free(h, c);
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.live_bytes, 0);
    ck_assert_uint_eq(s.live_peak, 1004 + 2012);
    heap_end(h);
}
END_TEST

START_TEST(splits_and_merges_are_counted)
{
    struct hmm_heap *h = heap_of(64 << 10, strategy_of(_i));
    struct hmm_stats s;
    void *row[5];
    for (size_t i = 0; i < 5; i++)
        row[i] = must_malloc(h, 236);
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.splits + s.merges, 0);
    hmm_heap_free(h, row[1]);
    row[1] = must_malloc(h, 100);
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.splits, 1);
    hmm_heap_free(h, row[1]); /* with its remainder */
    hmm_heap_free(h, row[3]);
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.merges, 1);
    hmm_heap_free(h, row[2]); /* with both sides */
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.merges, 3);
    heap_end(h);
}
END_TEST

/* ---- hmm_heap_check: damage, and the number of the invariant that it breaks ---- */

static struct hmm_heap *h;
static void *used, *unused, *above; /* three blocks, one above the other; `unused` is free */

static void make_three(int strategy)
{
    h = unwatched(heap_of(16 << 10, strategy_of(strategy)));
    used = must_malloc(h, 92);
    unused = must_malloc(h, 92);
    above = must_malloc(h, 92);
    hmm_heap_free(h, unused);
    assert_sound(h);
}

static uint32_t *header(void *block)
{
    return (uint32_t *)block - 1;
}

static void assert_breaks(const char *invariant)
{
    const char *broken = hmm_heap_check(h);
    ck_assert_ptr_nonnull(broken);
    ck_assert_msg(strncmp(broken, invariant, strlen(invariant)) == 0, "%s, not %s", broken,
                  invariant);
}

START_TEST(finds_a_size_of_nothing)
{
    make_three(_i);
    *header(used) = header_make(0, 0);
    assert_breaks("B1:");
}
END_TEST

START_TEST(finds_a_size_that_leads_outside)
{
    make_three(_i);
    *header(above) += header_make(1000, 0);
    assert_breaks("B1:");
}
END_TEST

START_TEST(finds_a_lost_bit_for_the_free_block_below)
{
    make_three(_i);
    *header(above) &= ~(uint32_t)HMM__PREV_FREE;
    assert_breaks("B2:");
}
END_TEST

START_TEST(finds_a_bit_for_no_free_block_below)
{
    make_three(_i);
    *header(used) |= HMM__PREV_FREE;
    assert_breaks("B2:");
}
END_TEST

START_TEST(finds_free_neighbours)
{
    make_three(_i);
    *header(used) |= HMM__FREE;
    footer_store(unused, header_scaled(*header(used)));
    *header(unused) |= HMM__PREV_FREE;
    assert_breaks("B3:");
}
END_TEST

START_TEST(finds_a_free_block_at_the_top)
{
    make_three(_i);
    *header(above) |= HMM__FREE;
    footer_store((char *)above + scaled_bytes(header_scaled(*header(above))),
                 header_scaled(*header(above)));
    assert_breaks("B3:");
}
END_TEST

START_TEST(finds_a_wrong_footer)
{
    make_three(_i);
    footer_store(above, header_make(3, 0));
    assert_breaks("B4:");
}
END_TEST

START_TEST(finds_an_overwritten_top)
{
    make_three(_i);
    block_set_header(h, h->top, 0);
    assert_breaks("B5:");
}
END_TEST

START_TEST(finds_a_break_below_the_top)
{
    make_three(_i);
    h->brk = h->top - 1;
    assert_breaks("B6:");
}
END_TEST

/* _i: strategy and which count. */
START_TEST(finds_a_wrong_count)
{
    make_three(_i / 3);
    if (_i % 3 == 0)
        h->top_blocks++;
    else if (_i % 3 == 1)
        h->free_unbinned++;
    else
        h->live_below_peak--;
    assert_breaks("B7:");
}
END_TEST

START_TEST(finds_a_block_that_the_index_lacks)
{
    make_three(_i);
    h->strategy->remove(h, h->state, block_of(h, unused));
    assert_breaks("T1:");
}
END_TEST

START_TEST(finds_a_block_that_the_index_has_in_vain)
{
    make_three(_i);
    uint32_t word = *header(above);
    *header(above) |= HMM__FREE;
    h->strategy->insert(h, h->state, block_of(h, above));
    *header(above) = word;
    assert_breaks("T");
}
END_TEST

START_TEST(finds_an_index_in_which_a_size_is_wrong)
{
    make_three(_i);
    void *large = must_malloc(h, 2000), *guard = must_malloc(h, 200);
    hmm_heap_free(h, large);
    hmm_ref r = block_of(h, large);
    uint32_t granules = block_size(h, r);
    ck_assert_ptr_nonnull(guard);
    /* the index is told of a small block, which then grows without its knowing */
    struct hmm_stats stats;
    h->strategy->remove(h, h->state, r);
    hmm_heap_stats(h, &stats); /* lets an index that had put it off count the block out */
    block_make_free(h, r, granules / 2, 0);
    h->strategy->insert(h, h->state, r);
    block_make_free(h, r, granules, 0);
    assert_breaks("T");
}
END_TEST

/* ---- The levels of checking ---- */

START_TEST(levels_that_there_are)
{
    static struct workload w;
    workload_start(&w, heap_of(64 << 10, strategy_of(_i)), &mixes[1], 31);
    for (int level = 0; level <= 4; level++) {
        ck_assert_int_eq(hmm_heap_set_check(w.heap, level), 0);
        for (unsigned long n = scaled(3000); n != 0; n--)
            workload_step(&w);
        assert_sound(w.heap);
    }
    ck_assert_int_eq(hmm_heap_set_check(w.heap, 1), 0);
    workload_free_all(&w);
    assert_empty(w.heap);
    heap_end(w.heap);
}
END_TEST

START_TEST(levels_that_there_are_not)
{
    static const int bad[] = {-1, 5, 100, INT32_MIN, INT32_MAX};
    struct hmm_heap *heap = heap_of(16 << 10, strategy_of(_i));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        errno = 0;
        ck_assert_int_eq(hmm_heap_set_check(heap, bad[i]), -1);
        ck_assert_int_eq(errno, EINVAL);
    }
    heap_end(heap);
}
END_TEST

/* ---- What a strategy is told ---- */

START_TEST(blocks_as_a_strategy_sees_them)
{
    struct hmm_heap *heap = unwatched(heap_of(16 << 10, strategy_of(_i)));
    ck_assert_uint_eq(hmm_block_first(heap), 0);
    heap_end(heap);
    make_three(_i);
    hmm_ref r = hmm_block_first(h);
    ck_assert_ptr_eq(hmm_block_payload(h, r), used);
    ck_assert(!hmm_block_is_free(h, r));
    ck_assert_uint_eq(hmm_block_granules(h, r), 96 / HMM_GRANULE);
    ck_assert_uint_eq(hmm_block_prev_free(h, r), 0);
    r = hmm_block_next(h, r);
    ck_assert_ptr_eq(hmm_block_payload(h, r), unused);
    ck_assert(hmm_block_is_free(h, r));
    ck_assert_uint_eq(hmm_block_prev_free(h, hmm_block_next(h, r)), r);
    r = hmm_block_next(h, r);
    ck_assert_uint_eq(hmm_block_next(h, r), 0);
    ck_assert_uint_eq(hmm_block_end(h), r + 96 / HMM_GRANULE);
    ck_assert_uint_le(hmm_heap_capacity(h), 16 << 10);
}
END_TEST

static void add_damage(Suite *s)
{
    struct cases c = add_cases(s, "damage");
    on_each_strategy(c, finds_a_size_of_nothing, 1);
    on_each_strategy(c, finds_a_size_that_leads_outside, 1);
    on_each_strategy(c, finds_a_lost_bit_for_the_free_block_below, 1);
    on_each_strategy(c, finds_a_bit_for_no_free_block_below, 1);
    on_each_strategy(c, finds_free_neighbours, 1);
    on_each_strategy(c, finds_a_free_block_at_the_top, 1);
    on_each_strategy(c, finds_a_wrong_footer, 1);
    on_each_strategy(c, finds_an_overwritten_top, 1);
    on_each_strategy(c, finds_a_break_below_the_top, 1);
    on_each_strategy(c, finds_a_wrong_count, 3);
    on_each_strategy(c, finds_a_block_that_the_index_lacks, 1);
    on_each_strategy(c, finds_a_block_that_the_index_has_in_vain, 1);
    on_each_strategy(c, finds_an_index_in_which_a_size_is_wrong, 1);
}

int main(void)
{
    Suite *s = suite_create("looking in");
    struct cases c = add_cases(s, "looking in");
    on_each_strategy(c, walks_an_empty_heap, 1);
    on_each_strategy(c, walks_in_address_order, 1);
    on_each_strategy(c, ends_early_with_what_the_visitor_returned, 1);
    on_each_strategy(c, statistics_are_those_of_a_walk, mix_count());
    on_each_strategy(c, peak_of_live_bytes_is_exact, 1);
    on_each_strategy(c, statistics_do_not_walk_for_a_strategy_without_largest, 1);
    on_each_strategy(c, splits_and_merges_are_counted, 1);
    on_each_strategy(c, levels_that_there_are, 1);
    on_each_strategy(c, levels_that_there_are_not, 1);
    on_each_strategy(c, blocks_as_a_strategy_sees_them, 1);
    add_damage(s);
    c = add_cached_cases(s, "looking in, with a cache"); /* counts: cache_test.c */
    on_each_strategy(c, walks_an_empty_heap, 1);
    on_each_strategy(c, walks_in_address_order, 1);
    on_each_strategy(c, ends_early_with_what_the_visitor_returned, 1);
    on_each_strategy(c, levels_that_there_are, 1);
    return run_suite(s);
}
