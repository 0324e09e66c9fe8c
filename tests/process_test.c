/* SPDX-License-Identifier: MIT */
/*
 * The process heap: its set-up, the environment, threads. Each test is a process of its own, in
 * which the heap is not set up yet.
 */
#include "dies.h"
#include "harness.h"
#include "heap_memory_manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef HAVE_PTHREAD
#include <pthread.h>
#endif

static void clear_environment(void)
{
    static const char *const names[] = {"HMM_STRATEGY", "HMM_HEAP_SIZE", "HMM_CHECK", "HMM_CACHE",
                                        "HMM_STATS",    "HMM_VERBOSE",   "HMM_ARENAS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
}

static const char *strategy_now(void)
{
    return hmm_strategy_name(hmm_heap_strategy(hmm_process_heap()));
}

/* ---- Beginnings ---- */

START_TEST(works_without_init)
{
    void *p = hmm_malloc(100);
    ck_assert_ptr_nonnull(p);
    fill(p, 100, 1);
    ck_assert_uint_ge(hmm_usable_size(p), 100);
    ck_assert_uint_eq(hmm_usable_size(NULL), 0);
    ck_assert_str_eq(strategy_now(), "best-fit");
    hmm_free(p);
    hmm_free(NULL);
    assert_empty(hmm_process_heap());
}
END_TEST

/* _i: which call is the program's first. */
START_TEST(any_call_may_be_the_first)
{
    void *p = NULL;
    switch (_i) {
    case 0:
        p = hmm_malloc(10);
        break;
    case 1:
        p = hmm_calloc(10, 1);
        break;
    case 2:
        p = hmm_realloc(NULL, 10);
        break;
    case 3:
        p = hmm_aligned_alloc(64, 10);
        break;
    case 4:
        p = HmmAlloc(10);
        break;
    case 5:
        hmm_free(NULL);
        p = hmm_malloc(10);
        break;
    default:
        ck_assert_ptr_nonnull(hmm_process_heap());
        p = hmm_malloc(10);
    }
    ck_assert_ptr_nonnull(p);
    HmmFree(p);
    assert_empty(hmm_process_heap());
}
END_TEST

START_TEST(init_sets_the_strategy)
{
    ck_assert_int_eq(hmm_init(strategy_of(_i)), 0);
    ck_assert_ptr_eq(hmm_heap_strategy(hmm_process_heap()), strategy_of(_i));
    keep(hmm_malloc(10));
    assert_sound(hmm_process_heap());
}
END_TEST

START_TEST(a_later_init_switches_with_all_blocks_in_place)
{
    static void *blocks[100];
    for (size_t i = 0; i < 100; i++)
        fill(blocks[i] = hmm_malloc(i * 10), i * 10, i);
    for (size_t i = 0; i < 100; i += 3)
        hmm_free(blocks[i]);
    ck_assert_int_eq(hmm_init(strategy_of(_i)), 0);
    ck_assert_ptr_eq(hmm_heap_strategy(hmm_process_heap()), strategy_of(_i));
    assert_sound(hmm_process_heap());
    for (size_t i = 0; i < 100; i++)
        ck_assert(i % 3 == 0 || holds(blocks[i], i * 10, i));
}
END_TEST

START_TEST(init_refuses_a_malformed_strategy)
{
    struct hmm_strategy bad = *strategy_of(0);
    bad.find = NULL;
    errno = 0;
    ck_assert_int_eq(hmm_init(&bad), -1);
    ck_assert_int_eq(errno, EINVAL);
    keep(hmm_malloc(10));
    ck_assert_int_eq(hmm_init(&bad), -1);
    ck_assert_str_eq(strategy_now(), "best-fit");
}
END_TEST

START_TEST(every_function_does_what_it_says)
{
    void *p = hmm_calloc(100, 3);
    static const char zeroes[300];
    ck_assert_mem_eq(p, zeroes, 300);
    fill(p, 300, 1);
    p = hmm_realloc(p, 3000);
    ck_assert(holds(p, 300, 1));
    errno = 0;
    ck_assert_ptr_null(hmm_realloc(p, SIZE_MAX));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert(holds(p, 300, 1));
    void *q = hmm_aligned_alloc(4096, 10);
    ck_assert(q != NULL && (uintptr_t)q % 4096 == 0);
    errno = 0;
    ck_assert_ptr_null(hmm_aligned_alloc(3, 10));
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_ptr_null(hmm_calloc(SIZE_MAX / 2 + 1, 2));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_null(hmm_malloc(SIZE_MAX));
    hmm_free(q);
    ck_assert_ptr_null(hmm_realloc(p, 0));
    assert_empty(hmm_process_heap());
}
END_TEST

/* ---- The environment ---- */

START_TEST(the_environment_names_the_strategy)
{
    setenv("HMM_STRATEGY", hmm_strategy_name(strategy_of(_i)), 1);
    if (_i % 2 == 0)
        ck_assert_int_eq(hmm_init(NULL), 0);
    ck_assert_ptr_eq(hmm_heap_strategy(hmm_process_heap()), strategy_of(_i));
}
END_TEST

START_TEST(the_program_s_word_counts_before_the_environment_s)
{
    setenv("HMM_STRATEGY", "next-fit", 1);
    ck_assert_int_eq(hmm_init(HMM_FIRST_FIT), 0);
    ck_assert_str_eq(strategy_now(), "first-fit");
    ck_assert_int_eq(hmm_init(NULL), 0);
    ck_assert_str_eq(strategy_now(), "next-fit");
}
END_TEST

START_TEST(empty_values_are_none)
{
    setenv("HMM_STRATEGY", "", 1);
    setenv("HMM_CHECK", "", 1);
    setenv("HMM_HEAP_SIZE", "", 1);
    ck_assert_int_eq(hmm_init(NULL), 0);
    ck_assert_str_eq(strategy_now(), "best-fit");
}
END_TEST

START_TEST(the_environment_limits_the_heap)
{
    static const char *const sizes[] = {"65536", "64K", "64k"};
    setenv("HMM_HEAP_SIZE", sizes[_i], 1);
    ck_assert_int_eq(hmm_init(NULL), 0);
    ck_assert_ptr_null(hmm_malloc(65536));
    keep(hmm_malloc(60000));
    struct hmm_stats s;
    hmm_heap_stats(hmm_process_heap(), &s);
    ck_assert_uint_eq(s.capacity, 65536);
}
END_TEST

/* A value that cannot be used, and what is said of it. */
static const struct bad_value {
    const char *name, *value, *said;
} bad_values[] = {
    {"HMM_STRATEGY", "worst-fit",
     "no such strategy; allowed are first-fit, next-fit, best-fit, segregated, or the path of a "
     "plug-in (with a '/')\n"},
    {"HMM_STRATEGY", "BEST-FIT", "no such strategy; allowed are "},
    {"HMM_STRATEGY", "best-fit ", "no such strategy; allowed are "},
    {"HMM_STRATEGY", "/nowhere/at-all.so", "no such strategy; allowed are "},
    {"HMM_HEAP_SIZE", "0", "allowed are 4K to "},
    {"HMM_HEAP_SIZE", "4095", "allowed are 4K to "},
    {"HMM_HEAP_SIZE", "-1", "allowed are 4K to "},
    {"HMM_HEAP_SIZE", "12X", "allowed are 4K to "},
    {"HMM_HEAP_SIZE", "64KB", "allowed are 4K to "},
    {"HMM_HEAP_SIZE", " 64K", "allowed are 4K to "},
    {"HMM_HEAP_SIZE", "K", "allowed are 4K to "},
    {"HMM_HEAP_SIZE", "99999999999999999999", "allowed are 4K to "},
    {"HMM_HEAP_SIZE", "18446744073709551615G", "allowed are 4K to "},
    {"HMM_CHECK", "5", "allowed are 0 to 4\n"},
    {"HMM_CHECK", "-1", "allowed are 0 to 4\n"},
    {"HMM_CHECK", "11", "allowed are 0 to 4\n"},
    {"HMM_CHECK", "x", "allowed are 0 to 4\n"},
    {"HMM_CACHE", "2", "allowed are 0 and 1\n"},
    {"HMM_CACHE", "yes", "allowed are 0 and 1\n"},
    {"HMM_VERBOSE", "2", "allowed are 0 and 1\n"},
    {"HMM_ARENAS", "0", "allowed are 1 to 64\n"},
    {"HMM_ARENAS", "65", "allowed are 1 to 64\n"},
    {"HMM_ARENAS", "4294967297", "allowed are 1 to 64\n"},
    {"HMM_ARENAS", "2x", "allowed are 1 to 64\n"},
    {"HMM_ARENAS", "+1", "allowed are 1 to 64\n"},
};

#define BAD_VALUES ((int)(sizeof bad_values / sizeof bad_values[0]))

static void assert_one_line(const char *said, const struct bad_value *bad)
{
    char want[400];
    snprintf(want, sizeof want, "hmm: %s=%s: %s", bad->name, bad->value, bad->said);
    ck_assert_msg(strncmp(said, want, strlen(want)) == 0, "said: %s", said);
    ck_assert_ptr_eq(strchr(said, '\n') + 1, said + strlen(said));
}

static void init_must_refuse(void *arg)
{
    const struct hmm_strategy *strategy = arg;
    errno = 0;
    bool refused = hmm_init(strategy) == -1 && errno == EINVAL;
    exit(refused && keep(hmm_malloc(10)) != NULL ? 0 : 6);
}

static void first_use_must_go_on(void *arg)
{
    (void)arg;
    exit(keep(hmm_malloc(10)) != NULL && strcmp(strategy_now(), "best-fit") == 0 ? 0 : 6);
}

static void assert_bad(void (*act)(void *), const struct hmm_strategy *arg,
                       const struct bad_value *bad)
{
    int status;
    char *said = said_by_child(act, (void *)(uintptr_t)arg, &status);
    assert_one_line(said, bad);
    ck_assert_int_eq(status, 0);
    free(said);
}

START_TEST(init_refuses_a_bad_value)
{
    const struct bad_value *bad = &bad_values[_i];
    setenv(bad->name, bad->value, 1);
    assert_bad(init_must_refuse, NULL, bad);
    if (strcmp(bad->name, "HMM_STRATEGY") != 0)
        assert_bad(init_must_refuse, HMM_FIRST_FIT, bad);
}
END_TEST

START_TEST(first_use_says_a_bad_value_and_goes_on)
{
    const struct bad_value *bad = &bad_values[_i];
    setenv(bad->name, bad->value, 1);
    assert_bad(first_use_must_go_on, NULL, bad);
}
END_TEST

static void init_late(void *arg)
{
    (void)arg;
    if (hmm_init(HMM_FIRST_FIT) != 0)
        exit(7);
    errno = 0;
    exit(hmm_init(NULL) == -1 && errno == EINVAL && strcmp(strategy_now(), "first-fit") == 0 ? 0
                                                                                             : 6);
}

START_TEST(a_later_init_refuses_a_bad_value_and_changes_nothing)
{
    setenv("HMM_STRATEGY", bad_values[0].value, 1);
    assert_bad(init_late, NULL, &bad_values[0]);
}
END_TEST

static size_t too_large(size_t capacity)
{
    return capacity + 1;
}

/* A strategy whose index does not fit leaves no heap; the next one may make it. */
START_TEST(init_fails_where_the_index_does_not_fit)
{
    struct hmm_strategy greedy = *HMM_FIRST_FIT;
    greedy.state_size = too_large;
    errno = 0;
    ck_assert_int_eq(hmm_init(&greedy), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(hmm_init(HMM_NEXT_FIT), 0);
    errno = 0;
    ck_assert_int_eq(hmm_init(&greedy), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_str_eq(strategy_now(), "next-fit");
    keep(hmm_malloc(1000));
}
END_TEST

/* Where the user's bytes look like a header, which level 1 lets pass. */
static void free_inside(void *arg)
{
    char *p = hmm_malloc(100);
    memset(p, 0, 100);
    word_store(p + 48, word_load(p) - header_make(48 / HMM_GRANULE, 0));
    hmm_on_panic(*(void (**)(const char *))arg);
    hmm_free(p + 48);
}

static void say_shortly(const char *line)
{
    (void)line;
    if (write(2, "found\n", 6) != 6)
        exit(4);
}

START_TEST(the_environment_sets_the_level_of_checking)
{
    void (*handler)(const char *) = say_shortly;
    setenv("HMM_CHECK", "2", 1);
    assert_aborts_saying(free_inside, &handler, "found");
}
END_TEST

static void free_twice(void *arg)
{
    void *p = hmm_malloc(100), *q = p;
    hmm_on_panic(*(void (**)(const char *))arg);
    hmm_free(p);
    hmm_free(q);
}

START_TEST(misuse_of_the_process_heap_ends_the_program)
{
    void (*handler)(const char *) = say_shortly;
    assert_aborts_saying(free_twice, &handler, "found");
}
END_TEST

static void free_twice_and_watch_between(void *arg)
{
    void *p = hmm_malloc(2000), *q = p;
    hmm_on_panic(*(void (**)(const char *))arg);
    if (hmm_malloc(3000) == NULL)
        return;
    hmm_free(p);
    hmm_heap_set_check(hmm_process_heap(), 2);
    hmm_free(q);
}

/* It was kept when it was freed the first time. */
START_TEST(a_double_free_is_seen_when_the_level_rises_between)
{
    void (*handler)(const char *) = say_shortly;
    assert_aborts_saying(free_twice_and_watch_between, &handler, "found");
}
END_TEST

/* ---- Threads ---- */

#ifdef HAVE_PTHREAD

#define THREADS 4

static void *work(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg + 1;
    void *blocks[64] = {0};
    size_t sizes[64] = {0};
    for (unsigned long n = scaled(50000); n != 0; n--) {
        size_t i = rng_below(&rng, 64), size = rng_below(&rng, 400);
        uint64_t seed = i * 8 + (uintptr_t)arg;
        if (blocks[i] != NULL && !holds(blocks[i], sizes[i], seed))
            return arg;
        if (blocks[i] != NULL && n % 3 != 0) {
            hmm_free(blocks[i]);
            blocks[i] = NULL;
            continue;
        }
        blocks[i] = n % 5 == 0 && blocks[i] == NULL ? hmm_aligned_alloc(64, size)
                                                    : hmm_realloc(blocks[i], size + 1);
        if (blocks[i] == NULL)
            return arg;
        sizes[i] = size;
        fill(blocks[i], size, seed);
    }
    for (size_t i = 0; i < 64; i++)
        hmm_free(blocks[i]);
    return NULL;
}

/* With switches of the strategy in between. */
START_TEST(threads_share_it)
{
    pthread_t threads[THREADS];
    ck_assert_int_eq(hmm_init(strategy_of(_i)), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(hmm_init(strategy_of((_i + i) % strategy_count())), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *failed;
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
    assert_empty(hmm_process_heap());
}
END_TEST

static void *first_call(void *arg)
{
    (void)arg;
    return hmm_malloc(100);
}

START_TEST(threads_race_for_the_first_call)
{
    pthread_t threads[THREADS];
    void *blocks[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, first_call, NULL), 0);
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &blocks[i]), 0);
        ck_assert_ptr_nonnull(blocks[i]);
        for (size_t j = 0; j < i; j++)
            ck_assert_ptr_ne(blocks[j], blocks[i]);
    }
    for (size_t i = 0; i < THREADS; i++)
        hmm_free(blocks[i]);
    assert_empty(hmm_process_heap());
}
END_TEST

static void add_threads(Suite *s)
{
    struct cases c = add_cases(s, "threads");
    set_up(c, clear_environment);
    on_each_strategy(c, threads_share_it, 1);
    tcase_add_loop_test(c.once, threads_race_for_the_first_call, 0, 20);
}

#else

static void add_threads(Suite *s)
{
    (void)s;
}

#endif

int main(void)
{
    Suite *s = suite_create("process heap");
    struct cases c = add_cases(s, "process heap");
    set_up(c, clear_environment);
    tcase_add_test(c.once, works_without_init);
    tcase_add_loop_test(c.once, any_call_may_be_the_first, 0, 7);
    on_each_strategy(c, init_sets_the_strategy, 1);
    on_each_strategy(c, a_later_init_switches_with_all_blocks_in_place, 1);
    tcase_add_test(c.once, init_refuses_a_malformed_strategy);
    tcase_add_test(c.once, every_function_does_what_it_says);
    on_each_strategy(c, the_environment_names_the_strategy, 1);
    tcase_add_test(c.once, the_program_s_word_counts_before_the_environment_s);
    tcase_add_test(c.once, empty_values_are_none);
    tcase_add_loop_test(c.once, the_environment_limits_the_heap, 0, 3);
    tcase_add_loop_test(c.once, init_refuses_a_bad_value, 0, BAD_VALUES);
    tcase_add_loop_test(c.once, first_use_says_a_bad_value_and_goes_on, 0, BAD_VALUES);
    tcase_add_test(c.once, a_later_init_refuses_a_bad_value_and_changes_nothing);
    tcase_add_test(c.once, init_fails_where_the_index_does_not_fit);
    tcase_add_test(c.once, the_environment_sets_the_level_of_checking);
    tcase_add_test(c.once, misuse_of_the_process_heap_ends_the_program);
    tcase_add_test(c.once, a_double_free_is_seen_when_the_level_rises_between);
    add_threads(s);
    return run_suite(s);
}
