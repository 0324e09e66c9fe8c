/* SPDX-License-Identifier: MIT */
/*
 * The process heap's set-up and end in programs with threads: forks while it is set up, threads
 * whose end is hard to notice, signal handlers of a program that is ending. Each test, and each
 * trial, is a process of its own in which the heap is not set up yet.
 */
#include "dies.h"
#include "harness.h"

#include "cache/run.h"
#include "process/process.h"

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

static void *empty_pages(void *unused)
{
    pause();
    return unused;
}

/* how: bit 0: SIGABRT's handler, else the panic handler; bit 1: among threads; bit 2: a small one.
 * Returns them. */
static int set_handler(const void *how, void (*aborts)(int), void (*panics)(const char *))
{
    int bits = *(const int *)how;
    pthread_t other;
    alarm(PATIENCE);
    if (bits & 2)
        pthread_create(&other, NULL, empty_pages, NULL);
    if (bits & 1)
        signal(SIGABRT, aborts);
    else
        hmm_on_panic(panics);
    return bits;
}

static void misuse_with_a_handler(void *how)
{
    int bits = set_handler(how, on_abort, on_panic);
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

/* The block is freed twice, and again and again by the handler. bits as above. */
static void *freed_twice;

static void misuse_again(void)
{
    static const char done[] = "handled\n";
    if (write(2, done, sizeof done - 1) < 0)
        _exit(7);
    hmm_free(freed_twice);
}

static void misuse_again_on_panic(const char *line)
{
    (void)line;
    misuse_again();
}

static void misuse_again_on_abort(int number)
{
    (void)number;
    misuse_again();
}

static void misuse_without_end(void *how)
{
    int bits = set_handler(how, misuse_again_on_abort, misuse_again_on_panic);
    freed_twice = hmm_malloc(bits & 4 ? 100 : 50000);
    void *above = hmm_malloc(50000), *p = freed_twice;
    hmm_free(p);
    hmm_free(p);
    hmm_free(above);
    _exit(8);
}

START_TEST(a_misuse_in_a_handler_ends_the_program)
{
    int status;
    char *said = said_by_child(misuse_without_end, &_i, &status);
    const char *first = strstr(said, "handled\n");
    ck_assert_msg(first != NULL && strstr(first + 1, "handled\n") == NULL, "said: %.200s", said);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x",
                  (unsigned)status);
    free(said);
}
END_TEST

static int panics;

/* The first, which holds the lock, waits for the second. */
static void on_two_panics(const char *line)
{
    (void)line;
    int turn = __atomic_add_fetch(&panics, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&panics, __ATOMIC_SEQ_CST) < 2)
        usleep(1000);
    if (turn == 2)
        pause();
    usleep(10000);
    allocate_here();
}

static void *free_small_twice(void *block)
{
    void *p = block;
    while (__atomic_load_n(&panics, __ATOMIC_SEQ_CST) < 1)
        usleep(1000);
    hmm_free(p);
    hmm_free(p);
    return NULL;
}

static void misuse_in_two_threads(void *unused)
{
    pthread_t other;
    (void)unused;
    alarm(PATIENCE);
    for (int i = 0; i < 100; i++) /* until they are of a run */
        freed_twice = hmm_malloc(100);
    hmm_on_panic(on_two_panics);
    pthread_create(&other, NULL, free_small_twice, freed_twice);
    void *p = hmm_malloc(50000), *q = hmm_malloc(50000);
    hmm_free(p);
    hmm_free(p);
    hmm_free(q);
    _exit(8);
}

START_TEST(two_threads_may_panic_at_once)
{
    int status;
    char *said = said_by_child(misuse_in_two_threads, NULL, &status);
    ck_assert_msg(strstr(said, "handled\n") != NULL, "status %x, said: %s", (unsigned)status, said);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    free(said);
}
END_TEST

/* ---- While the lock is not to be had ---- */

static bool refused(const void *p, int code)
{
    bool is_so = p == NULL && errno == code;
    errno = 0;
    return is_so;
}

/* As a signal handler would that interrupts work on the heap. */
static void be_refused(void *strategy)
{
    static struct hmm_heap before;
    pthread_t other;
    alarm(PATIENCE);
    if (hmm_init(strategy) != 0 || pthread_create(&other, NULL, empty_pages, NULL) != 0)
        _exit(9);
    void *p = hmm_malloc(30000);
    const struct hmm_heap *h = hmm_process_heap();
    struct hmm_stats s;
    enum lock_hold hold = hmm__process_lock();
    before = *h;
    errno = 0;
    bool all = refused(hmm_malloc(50000), ENOMEM);
    all &= refused(hmm_calloc(700, 90), ENOMEM);
    all &= refused(hmm_realloc(p, 90000), ENOMEM);
    all &= refused(hmm_aligned_alloc(4096, 7000), ENOMEM);
    all &= refused(hmm_aligned_alloc(24, 50), EINVAL);
    all &= refused(hmm_aligned_alloc(0, 5000), EINVAL);
    all &= hmm_init(HMM_NEXT_FIT) == -1 && refused(NULL, EBUSY);
    all &= hmm_init(NULL) == -1 && refused(NULL, EBUSY);
    hmm_free(p);
    all &= memcmp(&before, h, sizeof before) == 0;
    hmm__process_unlock(hold);
    hmm_heap_stats(h, &s);
    _exit(all && hold == LOCK_ACQUIRED && s.live_blocks == 0 && hmm_heap_check(h) == NULL ? 0 : 6);
}

START_TEST(who_interrupts_the_holder_is_refused)
{
    int status;
    char *said = said_by_child(be_refused, (void *)(uintptr_t)strategy_of(_i), &status);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x, said: %s",
                  (unsigned)status, said);
    ck_assert_ptr_eq(strstr(said, "hmm: an allocation in a handler: refused"), said);
    ck_assert_ptr_eq(strchr(said, '\n') + 1, said + strlen(said));
    free(said);
}
END_TEST

/* exit, in a handler that interrupts work on the heap. */
static void end_within(void *with_lock)
{
    pthread_t other;
    alarm(PATIENCE);
    if (pthread_create(&other, NULL, empty_pages, NULL) != 0)
        _exit(9);
    hmm_free(hmm_malloc(70));
    if (with_lock && hmm__process_lock() != LOCK_ACQUIRED)
        _exit(8);
    exit(0);
}

/* _i: whether the lock is not to be had. The figures of a heap that is being changed are none. */
START_TEST(statistics_need_the_lock)
{
    int status;
    setenv("HMM_STATS", "stderr", 1);
    char *said = said_by_child(end_within, _i ? &status : NULL, &status);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(strstr(said, "hmm: statistics") == NULL, _i);
    free(said);
}
END_TEST

static int held;

static void *hold_for_a_while(void *unused)
{
    enum lock_hold hold = hmm__process_lock();
    __atomic_store_n(&held, 1, __ATOMIC_SEQ_CST);
    usleep(20000);
    __atomic_store_n(&held, 0, __ATOMIC_SEQ_CST);
    hmm__process_unlock(hold);
    return unused;
}

static void take_and_end(void)
{
    void *p = hmm_malloc(50000);
    int was_held = __atomic_load_n(&held, __ATOMIC_SEQ_CST);
    hmm_free(p);
    _exit(p == NULL ? 2 : was_held);
}

static pid_t begin_child(void)
{
    pid_t child = vfork();
    if (child == 0)
        take_and_end();
    return child;
}

/* It has the memory of its parent, where the holder is. */
START_TEST(a_child_of_vfork_waits_for_the_holder)
{
    for (int i = 0; i < 5; i++) {
        pthread_t holder;
        int status;
        hmm_free(hmm_malloc(10));
        ck_assert_int_eq(pthread_create(&holder, NULL, hold_for_a_while, NULL), 0);
        while (!__atomic_load_n(&held, __ATOMIC_SEQ_CST))
            ;
        pid_t child = begin_child();
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
        pthread_join(holder, NULL);
    }
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

struct objects {
    void *of[100000];
    size_t count;
};

/* The one in the middle last. */
static void *free_all(void *arg)
{
    struct objects *all = arg;
    for (size_t i = 0; i < all->count; i++)
        if (i != all->count / 2)
            hmm_free(all->of[i]);
    hmm_free(all->of[all->count / 2]);
    return NULL;
}

/* A heap full of objects that another thread frees is empty. */
START_TEST(what_another_thread_freed_can_be_had_at_once)
{
    static struct objects all;
    pthread_t other;
    ck_assert_int_eq(hmm_init(strategy_of(_i)), 0);
    while (all.count < 100000 && (all.of[all.count] = hmm_malloc(700)) != NULL)
        all.count++;
    ck_assert_int_eq(pthread_create(&other, NULL, free_all, &all), 0);
    pthread_join(other, NULL);
    for (size_t mib = 33; mib < 62; mib += 7) {
        void *p = hmm_malloc(mib << 20);
        ck_assert_msg(p != NULL, "%zu MiB of an empty heap", mib);
        hmm_free(p);
    }
}
END_TEST

/* Where a fork came too early for handlers, the holder is not in the child. */
START_TEST(a_lock_of_nobody_is_free_in_a_child)
{
    struct lock l = {.word = (uintptr_t)&held & ~(uintptr_t)3, .forks = 1};
    hmm__lock_in_child(&l);
    ck_assert(l.word == 0 && l.forks == 0);
    l.word = lock_self() | LOCK_FORK;
    l.forks = 1;
    hmm__lock_in_child(&l);
    ck_assert(l.word == (lock_self() | LOCK_FORK) && l.forks == 1);
}
END_TEST

/* ---- What a thread has needs no lock ---- */

static pthread_barrier_t turn;
static unsigned rounds; /* of many, while another thread has the lock */

static void request_again(void)
{
    static const size_t sizes[] = {40, 600, 1500, 3000, 9000, 40000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = hmm_malloc(sizes[i]);
        if (p == NULL)
            abort();
        p[0] = p[sizes[i] - 1] = 1;
        hmm_free(p);
    }
}

static void *use_what_it_has(void *unused)
{
    (void)unused;
    for (int i = 0; i < 110; i++) /* the first requests of a size get no run */
        request_again();
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    for (int i = 0; i < 8; i++) {
        request_again();
        __atomic_add_fetch(&rounds, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

START_TEST(what_a_thread_has_needs_no_lock)
{
    pthread_t thread;
    void *large = hmm_malloc((size_t)4 << 20), *small = hmm_malloc(100);
    if (large == NULL || hmm_process_heap()->cache == NULL) {
        hmm_free(large);
        hmm_free(small);
        return;
    }
    pthread_barrier_init(&turn, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, use_what_it_has, NULL), 0);
    pthread_barrier_wait(&turn);
    enum lock_hold hold = hmm__process_lock();
    pthread_barrier_wait(&turn);
    for (int i = 0; i < 100 * PATIENCE && __atomic_load_n(&rounds, __ATOMIC_ACQUIRE) < 8; i++)
        usleep(10000);
    unsigned done = __atomic_load_n(&rounds, __ATOMIC_ACQUIRE);
    hmm__process_unlock(hold);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(done, 8);
    hmm_free(small);
    hmm_free(large);
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("process heap among threads");
    struct cases c = add_cases(s, "process heap among threads");
    tcase_add_test(c.once, forks_while_others_make_the_first_use);
    tcase_add_test(c.once, initialised_by_several_at_once);
    tcase_add_loop_test(c.once, what_ended_threads_had_is_not_lost, 0, 2);
    tcase_add_test(c.once, what_a_thread_has_needs_no_lock);
    tcase_add_test(c.once, a_lock_of_nobody_is_free_in_a_child);
    on_each_strategy(c, what_another_thread_freed_can_be_had_at_once, 1);
    if (!under_valgrind()) { /* memcheck would report the misuse, and who looks at the heap */
        tcase_add_loop_test(c.once, a_handler_that_allocates_does_not_hang, 0, 8);
        tcase_add_loop_test(c.once, a_misuse_in_a_handler_ends_the_program, 0, 8);
        tcase_add_test(c.once, two_threads_may_panic_at_once);
        on_each_strategy(c, who_interrupts_the_holder_is_refused, 1);
        tcase_add_loop_test(c.once, statistics_need_the_lock, 0, 2);
        tcase_add_test(c.once, a_child_of_vfork_waits_for_the_holder);
    }
    return run_suite(s);
}

#else

int main(void)
{
    puts("1..0 # SKIP this build has no threads");
    return 0;
}

#endif
