/* SPDX-License-Identifier: MIT */
/*
 * The process heap: set up by call, by environment and by first use; from several threads.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "heap_memory_manager.h"
#include "harness.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_PTHREAD
#include <pthread.h>
#endif

/* Each test runs in a process of its own (Check's fork mode), with a heap not yet set up. */

START_TEST(the_first_use_sets_it_up)
{
    unsetenv("HMM_STRATEGY");
    int *p = HmmAlloc(10 * sizeof *p);
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_eq(hmm_heap_strategy(hmm_process_heap()), HMM_BEST_FIT);
    HmmFree(p);
    HmmFree(NULL);
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

START_TEST(init_takes_a_strategy_and_switches)
{
    ck_assert_int_eq(hmm_init(strategy_of(_i)), 0);
    char *p = hmm_malloc(1000), *q = hmm_calloc(10, 10);
    ck_assert(p != NULL && q != NULL);
    strcpy(p, "stays");
    for (int i = 0; i < strategy_count(); i++) {
        ck_assert_int_eq(hmm_init(strategy_of(i)), 0);
        ck_assert_ptr_eq(hmm_heap_strategy(hmm_process_heap()), strategy_of(i));
        ck_assert_str_eq(p, "stays");
    }
    p = hmm_realloc(p, 100000);
    ck_assert_ptr_nonnull(p);
    ck_assert_str_eq(p, "stays");
    ck_assert_uint_ge(hmm_usable_size(p), 100000);
    ck_assert_uint_eq(hmm_usable_size(NULL), 0);
    hmm_free(q);
    hmm_free(p);
    hmm_free(NULL);
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

START_TEST(the_environment_names_the_strategy)
{
    const struct hmm_strategy *s = strategy_of(_i);
    setenv("HMM_STRATEGY", hmm_strategy_name(s), 1);
    if (_i % 2)
        ck_assert_int_eq(hmm_init(NULL), 0);
    else
        hmm_free(hmm_malloc(1));
    ck_assert_ptr_eq(hmm_heap_strategy(hmm_process_heap()), s);
}
END_TEST

/* What a call of hmm_init(NULL) says on stderr. */
static void init_says(char *said, size_t room)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    int kept = dup(2);
    dup2(ends[1], 2);
    errno = 0;
    int result = hmm_init(NULL), code = errno;
    dup2(kept, 2);
    close(kept);
    close(ends[1]);
    ssize_t n = read(ends[0], said, room - 1);
    said[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(code, EINVAL);
}

static const struct {
    const char *name, *value, *line;
} bad[] = {
    {"HMM_STRATEGY", "worst-fit",
     "hmm: HMM_STRATEGY=worst-fit: no such strategy; allowed are first-fit, next-fit, best-fit, "
     "segregated, or the path of a plug-in (with a '/')\n"},
    {"HMM_STRATEGY", "./nowhere.so",
     "hmm: HMM_STRATEGY=./nowhere.so: no such strategy; allowed are first-fit, next-fit, best-fit, "
     "segregated, or the path of a plug-in (with a '/')\n"},
    {"HMM_CHECK", "5", "hmm: HMM_CHECK=5: allowed are 0 to 4\n"},
    {"HMM_CHECK", "on", "hmm: HMM_CHECK=on: allowed are 0 to 4\n"},
    {"HMM_CACHE", "yes", "hmm: HMM_CACHE=yes: allowed are 0 and 1\n"},
    {"HMM_VERBOSE", "2", "hmm: HMM_VERBOSE=2: allowed are 0 and 1\n"},
};

START_TEST(a_bad_value_is_said_in_a_line)
{
    char said[1000];
    setenv(bad[_i].name, bad[_i].value, 1);
    init_says(said, sizeof said);
    ck_assert_str_eq(said, bad[_i].line);
    void *p = hmm_malloc(10); /* and the program can go on */
    ck_assert_ptr_nonnull(p);
    hmm_free(p);
}
END_TEST

static const char *const bad_sizes[] = {"0", "4T", "-1", "12", "99999999999999999999", "M", "1MB"};

START_TEST(a_bad_size_is_said_in_a_line)
{
    char said[1000], begins[100];
    setenv("HMM_HEAP_SIZE", bad_sizes[_i], 1);
    init_says(said, sizeof said);
    snprintf(begins, sizeof begins, "hmm: HMM_HEAP_SIZE=%s: allowed are 4K to ", bad_sizes[_i]);
    ck_assert_msg(strncmp(said, begins, strlen(begins)) == 0, "%s", said);
}
END_TEST

START_TEST(the_size_is_a_limit)
{
    setenv("HMM_HEAP_SIZE", "128K", 1);
    ck_assert_int_eq(hmm_init(NULL), 0);
    ck_assert_ptr_null(hmm_malloc(130 * 1024));
    ck_assert_int_eq(errno, ENOMEM);
    void *p = hmm_malloc(100 * 1024);
    ck_assert_ptr_nonnull(p);
    hmm_free(p);
}
END_TEST

START_TEST(a_malformed_strategy_is_refused)
{
    struct hmm_strategy s = *HMM_BEST_FIT;
    s.find = NULL;
    ck_assert_int_eq(hmm_init(&s), -1);
    ck_assert_int_eq(errno, EINVAL);
    s = *HMM_BEST_FIT;
    s.abi = HMM_STRATEGY_ABI + 1;
    ck_assert_int_eq(hmm_init(&s), -1);
    ck_assert_ptr_null(hmm_strategy_find(NULL));
    ck_assert_ptr_null(hmm_strategy_find("bestfit"));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_ptr_null(hmm_strategy_at((unsigned)strategy_count()));
}
END_TEST

#ifdef HAVE_PTHREAD
enum { THREADS = 4, SHARED = 64 };

static void *shared[SHARED];

/* Takes what lies in a slot, whoever put it there, and puts something else in. */
static void *work(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg;
    for (unsigned long i = scaled(10000); i > 0; i--) {
        size_t size = sizeof(size_t) + (size_t)(rng_next(&random) % 600);
        size_t *p = rng_next(&random) % 8 ? hmm_malloc(size) : hmm_calloc(1, size);
        ck_assert_ptr_nonnull(p);
        memset(p, 0xa5, size);
        *p = size;
        size_t slot = (size_t)(rng_next(&random) % SHARED);
        size_t *was = __atomic_exchange_n(&shared[slot], p, __ATOMIC_ACQ_REL);
        if (was == NULL)
            continue;
        size_t length = *was;
        size_t right = sizeof(size_t);
        while (right < length && ((unsigned char *)was)[right] == 0xa5)
            right++;
        ck_assert_uint_eq(right, length);
        if (rng_next(&random) % 4 == 0)
            was = hmm_realloc(was, length * 2);
        hmm_free(was);
    }
    return NULL;
}

START_TEST(threads_hand_blocks_to_each_other)
{
    pthread_t threads[THREADS];
    ck_assert_int_eq(hmm_init(strategy_of(_i)), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < SHARED; i++)
        hmm_free(shared[i]);
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST
#endif

int main(void)
{
    int n = strategy_count();
    TCase *t = tcase_create("process heap");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, the_first_use_sets_it_up);
    tcase_add_loop_test(t, init_takes_a_strategy_and_switches, 0, n);
    tcase_add_loop_test(t, the_environment_names_the_strategy, 0, n);
    tcase_add_loop_test(t, a_bad_value_is_said_in_a_line, 0, (int)(sizeof bad / sizeof bad[0]));
    tcase_add_loop_test(t, a_bad_size_is_said_in_a_line, 0,
                        (int)(sizeof bad_sizes / sizeof bad_sizes[0]));
    tcase_add_test(t, the_size_is_a_limit);
    tcase_add_test(t, a_malformed_strategy_is_refused);
#ifdef HAVE_PTHREAD
    tcase_add_loop_test(t, threads_hand_blocks_to_each_other, 0, n);
#endif
    Suite *s = suite_create("process");
    suite_add_tcase(s, t);
    return run_suite(s);
}
