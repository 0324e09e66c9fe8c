/* SPDX-License-Identifier: MIT */
/*
 * The live switch of strategies: between all pairs, with blocks in place, wherever the new index
 * finds room, and where it finds none.
 */
#include "workload.h"

#include <stdlib.h>

struct places {
    const void *index; /* where the index is, which may be in a block */
    size_t count;
    const void *payloads[WORKLOAD_SLOTS * 3];
};

static int note_place(void *arg, const struct hmm_block_info *b)
{
    struct places *p = arg;
    if (b->used && b->payload != p->index)
        p->payloads[p->count++] = b->payload;
    return 0;
}

static struct places used_blocks(const struct hmm_heap *h)
{
    struct places p = {.index = h->state};
    hmm_heap_walk(h, note_place, &p);
    return p;
}

/* _i: a pair, and a mix. Back and forth in mid-workload. */
START_TEST(between_all_pairs)
{
    static struct workload w;
    int n = strategy_count(), pair = _i / mix_count();
    const struct hmm_strategy *both[2] = {strategy_of(pair / n), strategy_of(pair % n)};
    const struct mix *mix = &mixes[_i % mix_count()];
    workload_start(&w, heap_of(4 * mix->region + (64 << 10), both[0]), mix, (uint64_t)_i);
    for (unsigned i = 1; i <= 6; i++) {
        for (unsigned long steps = scaled(400); steps != 0; steps--)
            workload_step(&w);
        struct places before = used_blocks(w.heap);
        ck_assert_int_eq(hmm_heap_set_strategy(w.heap, both[i % 2]), 0);
        struct places after = used_blocks(w.heap);
        ck_assert_ptr_eq(hmm_heap_strategy(w.heap), both[i % 2]);
        assert_sound(w.heap);
        ck_assert_uint_eq(after.count, before.count);
        ck_assert_mem_eq(after.payloads, before.payloads, before.count * sizeof(void *));
        workload_verify(&w);
    }
    workload_free_all(&w);
    assert_empty(w.heap);
    heap_end(w.heap);
}
END_TEST

/* In a heap that has room for it at the high end, the capacity shrinks by the index, and comes
 * back. */
START_TEST(the_index_goes_to_the_high_end_and_leaves_it)
{
    struct hmm_heap *h = heap_of(256 << 10, HMM_BEST_FIT);
    struct hmm_stats first, low, again;
    void *p = must_malloc(h, 1000);
    fill(p, 1000, 5);
    hmm_heap_stats(h, &first);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_FIRST_FIT), 0);
    hmm_heap_stats(h, &low);
    ck_assert_int_eq(h->state_place, HMM__STATE_HIGH);
    ck_assert_uint_lt(low.capacity, first.capacity);
    fill_up(h);
    assert_sound(h);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_BEST_FIT), 0);
    hmm_heap_stats(h, &again);
    ck_assert_int_eq(h->state_place, HMM__STATE_LOW);
    ck_assert_uint_eq(again.capacity, first.capacity);
    fill_up(h);
    ck_assert(holds(p, 1000, 5));
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* In a heap that is full to its end the index becomes a block, and is freed when it is replaced. */
START_TEST(the_index_goes_into_a_block_and_leaves_it)
{
    struct hmm_heap *h = heap_of(256 << 10, HMM_BEST_FIT);
    void *low = must_malloc(h, 100), *hole = must_malloc(h, 20 << 10);
    ck_assert_ptr_nonnull(low);
    fill_up(h);
    hmm_heap_free(h, hole);
    size_t live = count_blocks(h) - count_free(h);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_FIRST_FIT), 0);
    ck_assert_int_eq(h->state_place, HMM__STATE_BLOCK);
    ck_assert_uint_eq(count_blocks(h) - count_free(h), live + 1);
    assert_sound(h);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_NEXT_FIT), 0); /* from one block to another */
    ck_assert_int_eq(h->state_place, HMM__STATE_BLOCK);
    ck_assert_uint_eq(count_blocks(h) - count_free(h), live + 1);
    assert_sound(h);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_BEST_FIT), 0);
    ck_assert_int_eq(h->state_place, HMM__STATE_LOW);
    ck_assert_uint_eq(count_blocks(h) - count_free(h), live);
    ck_assert_ptr_eq(must_malloc(h, 20 << 10), hole);
    assert_sound(h);
    heap_end(h);
}
END_TEST

START_TEST(without_room_for_the_index_all_stays)
{
    struct hmm_heap *h = heap_of(256 << 10, HMM_BEST_FIT);
    void *row[3];
    for (size_t i = 0; i < 3; i++)
        row[i] = must_malloc(h, 300);
    fill_up(h);
    hmm_heap_free(h, row[1]);
    errno = 0;
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_FIRST_FIT), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_eq(hmm_heap_strategy(h), HMM_BEST_FIT);
    assert_sound(h);
    bool is_back = false; /* the cache may have another that is as large */
    for (void *p; !is_back && (p = hmm_heap_malloc(h, 300)) != NULL;)
        is_back = p == row[1];
    ck_assert(is_back);
    heap_end(h);
}
END_TEST

/* ---- The capacity ---- */

static size_t told;

static size_t note_capacity(size_t capacity)
{
    told = capacity;
    return HMM_FIRST_FIT->state_size(capacity);
}

/* A cache takes more and more of the high end; a strategy that lays out its state by the capacity
 * must not see it. */
START_TEST(the_capacity_is_what_the_index_was_laid_out_for)
{
    struct hmm_strategy first = *HMM_FIRST_FIT, next = *HMM_NEXT_FIT;
    struct hmm_stats before, now;
    first.state_size = next.state_size = note_capacity;
    struct hmm_heap *h = unwatched(heap_of((size_t)3 << 20, &first));
    const size_t capacity = told;
    ck_assert_uint_eq(hmm_heap_capacity(h), capacity);
    hmm_heap_stats(h, &before);
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    for (int i = 0; i < 40000; i++) {
        if (hmm_heap_malloc(h, (size_t)(i % 60) * 16) == NULL)
            ck_assert_int_eq(errno, ENOMEM);
        if (i % 1000 != 0)
            continue;
        ck_assert_uint_eq(hmm_heap_capacity(h), capacity);
        ck_assert_int_eq(hmm_heap_set_strategy(h, i % 2000 ? &first : &next), 0);
        ck_assert_uint_eq(told, capacity);
        assert_sound(h);
        hmm_heap_stats(h, &now);
        ck_assert_uint_eq(now.capacity, before.capacity);
    }
    ck_assert_uint_lt(h->high_limit * (size_t)HMM_GRANULE, capacity);
    heap_end(h);
}
END_TEST

START_TEST(to_the_same_and_to_none)
{
    struct hmm_heap *h = heap_of(64 << 10, strategy_of(_i));
    ck_assert_int_eq(hmm_heap_set_strategy(h, strategy_of(_i)), 0);
    errno = 0;
    ck_assert_int_eq(hmm_heap_set_strategy(h, NULL), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_eq(hmm_heap_strategy(h), strategy_of(_i));
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* With blocks at the very end of the region, at every level of checking. */
START_TEST(at_every_level_of_checking)
{
    static struct workload w;
    int n = strategy_count();
    workload_start(&w, heap_of(64 << 10, strategy_of(0)), &mixes[1], 41);
    ck_assert_int_eq(hmm_heap_set_check(w.heap, _i), 0);
    for (int i = 0; i < 3 * n; i++) {
        for (unsigned long steps = scaled(200); steps != 0; steps--)
            workload_step(&w);
        hmm_heap_set_strategy(w.heap, strategy_of(i % n)); /* there may be no room */
        assert_sound(w.heap);
    }
    workload_verify(&w);
    heap_end(w.heap);
}
END_TEST

static void add_all(struct cases c)
{
    on_each_strategy(c, between_all_pairs, strategy_count() * mix_count());
    tcase_add_test(c.once, the_index_goes_to_the_high_end_and_leaves_it);
    tcase_add_test(c.once, the_index_goes_into_a_block_and_leaves_it);
    tcase_add_test(c.once, without_room_for_the_index_all_stays);
    tcase_add_test(c.once, the_capacity_is_what_the_index_was_laid_out_for);
    on_each_strategy(c, to_the_same_and_to_none, 1);
    tcase_add_loop_test(c.once, at_every_level_of_checking, 0, 5);
}

int main(void)
{
    Suite *s = suite_create("switch");
    add_all(add_cases(s, "switch"));
    add_all(add_cached_cases(s, "switch, with a cache"));
    return run_suite(s);
}
