/* SPDX-License-Identifier: MIT */
/*
 * The process heap's beginnings and ends among threads: forks while it is set up, threads whose end
 * is hard to see, handlers of a program that is being ended. Each test, and each trial, is a
 * process of its own in which the heap is not set up yet.
 */
#include "dies.h"
#include "harness.h"

#include "front.h"

#if defined(HMM__THREADS)

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE 20 /* seconds, of what should take none */

static pthread_barrier_t start;

static void *use_first(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&start);
    for (int i = 0; i < 50; i++)
        hmm_free(hmm_malloc((size_t)i * 40));
    return NULL;
}

/* In the child of a fork that happens while others make the first use. */
static int use_in_child(void)
{
    alarm(PATIENCE);
    void *p = hmm_malloc(100), *q = hmm_malloc(100000);
    hmm_free(p);
    hmm_free(q);
    return p != NULL && q != NULL && hmm_heap_check(hmm_process_heap()) == NULL ? 0 : 5;
}

/* Exits with how the child of the fork ended. turns: how long the fork is put off. */
static void fork_among_first_users(void *turns)
{
    enum { USERS = 3 };
    pthread_t user[USERS];
    int status = 0;
    alarm(2 * PATIENCE);
    pthread_barrier_init(&start, NULL, USERS + 1);
    for (int i = 0; i < USERS; i++)
        pthread_create(&user[i], NULL, use_first, NULL);
    pthread_barrier_wait(&start);
    for (volatile int i = 0; i < *(int *)turns; i++)
        ;
    pid_t child = fork();
    if (child == 0)
        _exit(use_in_child());
    waitpid(child, &status, 0);
    for (int i = 0; i < USERS; i++)
        pthread_join(user[i], NULL);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 6);
}

START_TEST(forks_while_others_make_the_first_use)
{
    unsigned long trials = scaled(300);
    for (unsigned long i = 0; i < trials; i++) {
        int status, turns = (int)(i * 37 % 6000);
        free(said_by_child(fork_among_first_users, &turns, &status));
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "turns %d: status %x", turns,
                      (unsigned)status);
    }
}
END_TEST

static void *init(void *strategy)
{
    pthread_barrier_wait(&start);
    for (int i = 0; i < 20; i++)
        if (hmm_init(strategy) != 0)
            abort();
    hmm_free(hmm_malloc(1000));
    return NULL;
}

START_TEST(initialised_by_several_at_once)
{
    pthread_t thread[4];
    pthread_barrier_init(&start, NULL, 4);
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, init, (void *)(uintptr_t)strategy_of(i));
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

/* ---- Threads whose end is hard to see ---- */

static void *use_all_sizes(void *unused)
{
    (void)unused;
    for (size_t size = 16; size <= 1024; size += 48) {
        void *row[40];
        for (int i = 0; i < 40; i++)
            row[i] = hmm_malloc(size);
        for (int i = 0; i < 40; i++)
            hmm_free(row[i]);
    }
    return NULL;
}

/* _i: whether the keys are taken before the first use, or never. */
START_TEST(what_ended_threads_had_is_not_lost)
{
    pthread_key_t key;
    for (int i = 0; _i && i < 2 * PTHREAD_KEYS_MAX; i++)
        if (pthread_key_create(&key, NULL) != 0)
            break;
    hmm_free(hmm_malloc(10));
    for (unsigned long i = 0; i < scaled(1500); i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, use_all_sizes, NULL), 0);
        pthread_join(thread, NULL);
    }
    ck_assert_uint_lt((uintptr_t)hmm_heap_break(hmm_process_heap()) - (uintptr_t)hmm_process_heap(),
                      8 << 20);
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

/* ---- Handlers of the end ---- */

static void allocate_here(void)
{
    static const char done[] = "handled\n";
    void *p[4];
    for (int i = 0; i < 4; i++)
        p[i] = hmm_malloc(i % 2 ? 50 : 50000);
    p[0] = hmm_realloc(p[0], 100000);
    hmm_free(hmm_calloc(3, 700));
    hmm_free(hmm_aligned_alloc(256, 300));
    for (int i = 0; i < 4; i++)
        hmm_free(p[i]);
    if (write(2, done, sizeof done - 1) < 0)
        _exit(7);
}

static void on_panic(const char *line)
{
    (void)line;
    allocate_here();
}

static void on_abort(int number)
{
    (void)number;
    allocate_here();
    _exit(42);
}

static void *idle(void *unused)
{
    pause();
    return unused;
}

/* how: bit 0: SIGABRT's handler, else the panic handler; bit 1: among threads; bit 2: a small one.
 */
static void misuse_with_a_handler(void *how)
{
    int bits = *(int *)how;
    pthread_t other;
    alarm(PATIENCE);
    if (bits & 2)
        pthread_create(&other, NULL, idle, NULL);
    if (bits & 1)
        signal(SIGABRT, on_abort);
    else
        hmm_on_panic(on_panic);
    void *p = hmm_malloc(bits & 4 ? 100 : 50000), *q = hmm_malloc(50000);
    hmm_free(p);
    hmm_free(p);
    hmm_free(q);
    _exit(8);
}

START_TEST(a_handler_that_allocates_does_not_hang)
{
    int status;
    char *said = said_by_child(misuse_with_a_handler, &_i, &status);
    ck_assert_msg(strstr(said, "handled\n") != NULL, "%d: status %x, said: %s", _i,
                  (unsigned)status, said);
    if (_i & 1)
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    else
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    free(said);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("process heap among threads");
    TCase *c = add_case(s, "process heap among threads");
    tcase_add_test(c, forks_while_others_make_the_first_use);
    tcase_add_test(c, initialised_by_several_at_once);
    tcase_add_loop_test(c, what_ended_threads_had_is_not_lost, 0, 2);
    if (!under_valgrind()) /* memcheck would report the double free */
        tcase_add_loop_test(c, a_handler_that_allocates_does_not_hang, 0, 8);
    return run_suite(s);
}

#else

int main(void)
{
    puts("1..0 # SKIP this build has no threads");
    return 0;
}

#endif
