/* SPDX-License-Identifier: MIT */
/*
 * What a thread has free in its cache serves others: of a thread that sleeps, works or has ended,
 * before a request fails and before the break rises.
 */
#define _GNU_SOURCE 1
#include <sched.h>
#include <sys/wait.h>

#include "parcels.h"

/* ---- Of a thread that sleeps ---- */

static void *taking_many(void *which)
{
    static const size_t sizes[] = {208, 72, 880};
    take_many(sizes[(uintptr_t)which % 3], SMALL_HEAP * 3 / 4);
    rest();
    return NULL;
}

/* A thread sleeps; another frees all that it has, in order or not, and then wants a large block. */
static void freed_for_a_sleeper(void)
{
    in_a_small_heap("freed-for-a-sleeper");
    for (uintptr_t i = 0; i < 6; i++) {
        pthread_t t;
        CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
        CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
        CHECK(pthread_create(&t, NULL, taking_many, (void *)i) == 0);
        pthread_barrier_wait(&resting);
        free_many(i < 3 ? 1 : 97);
        size_t failed = stats().failed;
        serves(SMALL_HEAP * 2 / 3);
        CHECK(stats().failed == failed);
        check_heap();
        end_resting(t);
        serves(SMALL_HEAP * 7 / 8);
        check_heap();
    }
}

/* Frees what another thread took, of a size that it requests itself, and then rests. */
static void *freeing_and_resting(void *size)
{
    free(malloc((uintptr_t)size));
    for (int i = 0; i < 40; i++)
        many[many_count++] = malloc((uintptr_t)size);
    free_many(1);
    rest();
    return NULL;
}

/* What a thread keeps of others' objects is there for all while it sleeps, but for a few. */
static void kept_by_a_sleeper(void)
{
    in_a_small_heap("kept-by-a-sleeper");
    for (uintptr_t size = 72; size < 1000; size = size * 3 / 2) {
        pthread_t t;
        take_many(size, SMALL_HEAP * 3 / 4);
        CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
        CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
        CHECK(pthread_create(&t, NULL, freeing_and_resting, (void *)size) == 0);
        pthread_barrier_wait(&resting);
        serves(SMALL_HEAP * 2 / 5); /* the run that it allocates from stays, wherever that is */
        check_heap();
        end_resting(t);
    }
}

static int reused;

static void *freeing_and_requesting(void *unused)
{
    static void *own[64];
    for (int i = 0; i < 64; i++)
        CHECK((own[i] = malloc(100)) != NULL);
    for (int i = 0; i < 32; i++)
        free(many[i]);
    for (int i = 0; i < 300; i++) { /* more than its run has */
        void *p = malloc(100);
        CHECK(p != NULL);
        for (int k = 0; k < 32; k++)
            reused += p == many[k];
    }
    return unused;
}

/* A thread that frees another's objects requests the same size: it gets them. */
static void reused_where_freed(void)
{
    begin();
    take_many(100, 3200);
    run_threads(freeing_and_requesting, 1, 0);
    CHECK(reused > 20); /* the first had no run */
    check_heap();
}

static void *leaving_empty_runs(void *unused)
{
    for (size_t size = 48; size < 1000; size += 176) {
        take_many(size, SMALL_HEAP / 16);
        free_many(1);
    }
    rest();
    return unused;
}

/* What a sleeping thread has empty is there for others, but one run of each class. In a heap that
 * is large when its runs become empty. */
static void empty_for_a_sleeper(void)
{
    pthread_t t;
    in_a_small_heap("empty-for-a-sleeper");
    size_t most = stats().largest_free, got = 0;
    void *large = malloc(SMALL_HEAP * 3 / 4);
    CHECK(large != NULL && pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, leaving_empty_runs, NULL) == 0);
    pthread_barrier_wait(&resting);
    free(large);
    while ((many[got] = malloc(1500)) != NULL)
        got++;
    CHECK(got * 1500 > most - 6 * (32 << 10) - (160 << 10));
    while (got-- > 0)
        free(many[got]);
    check_heap();
    end_resting(t);
}

/* Blocks of 1 to 64 KiB, half of them freed. */
static void *leaving_medium_blocks(void *unused)
{
    uint32_t state = 7;
    for (size_t i = 0; i < 20; i++)
        free(malloc(10000 + i * 2500));
    while (many_count < 1600)
        CHECK((many[many_count++] = malloc(1100 + any(&state) % 9000)) != NULL);
    for (size_t i = 0; i < many_count; i++)
        if (i % 8 != 0)
            free(many[i]);
    rest();
    return unused;
}

/* What a sleeping thread has of freed medium blocks is counted, and is there for others. */
static void medium_for_a_sleeper(void)
{
    pthread_t t;
    in_a_small_heap("medium-for-a-sleeper");
    begin();
    CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, leaving_medium_blocks, NULL) == 0);
    pthread_barrier_wait(&resting);
    size_t cached = stats().cached, blocks = stats().live_blocks, n = 0, got = 0;
    check_heap();
    while ((many[many_count + n] = malloc(3000)) != NULL)
        n++;
    CHECK(stats().cached <= cached / 8); /* 0 without caches */
    for (size_t i = 0; i < n; i++)
        free(many[many_count + i]);
    for (size_t i = 0; i < many_count; i += 8, got++)
        free(many[i]);
    CHECK(stats().live_blocks == blocks - got);
    check_heap();
    end_resting(t);
    serves(SMALL_HEAP * 2 / 3);
    CHECK(!CACHES || cached > 500000);
}

static void *leaving_much_idle(void *unused)
{
    while (many_count < 600)
        CHECK((many[many_count++] = malloc(8000)) != NULL);
    free_many(1);
    rest();
    return unused;
}

/* The break does not rise as long as a sleeping thread has much idle. */
static void idle_for_others(void)
{
    pthread_t t;
    begin();
    serves(100); /* so that this thread has a cache too */
    CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, leaving_much_idle, NULL) == 0);
    pthread_barrier_wait(&resting);
    size_t brk = stats().brk, idle = 600 * 8000, taken = 0;
    CHECK(!CACHES || stats().cached > idle / 4);
    for (; taken < idle / 8 * 7; taken += 3000)
        CHECK((many[many_count++] = malloc(3000)) != NULL);
    CHECK(!CACHES || stats().brk < brk + idle / 8); /* without them the break has fallen */
    check_heap();
    end_resting(t);
}

/* ... and one call does not take all of it: what others have idle goes back by steps. */
static void idle_by_steps(void)
{
    pthread_t t;
    size_t before, now;
    begin();
    serves(100);
    CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, leaving_much_idle, NULL) == 0);
    pthread_barrier_wait(&resting);
    for (before = stats().cached; many_count < 600; before = now) {
        CHECK((many[many_count++] = malloc(9000)) != NULL);
        now = stats().cached;
        CHECK(now + ((size_t)5 << 18) > before); /* a step has 1 MiB */
    }
    CHECK(before < 600 * 8000 / 8);
    check_heap();
    end_resting(t);
}

/* ---- Of threads at work ---- */

static void *trading_to_the_end(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 2654435761u + 1;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        trade(&state, 100);
    return NULL;
}

/* While threads are at work on their runs all that they do not use is taken from them, again and
 * again: the request is for more than there can be. */
static void taken_from_the_busy(void)
{
    pthread_t t[THREADS];
    uint32_t state = 77;
    in_a_small_heap("taken-from-the-busy");
    begin();
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, trading_to_the_end, (void *)i) == 0);
    for (int i = 0; i < TIMES(3000); i++) {
        void *p = malloc(SMALL_HEAP * 5 / 6);
        KEEP(p);
        CHECK(p == NULL);
        if (i % 4 == 0)
            trade(&state, 20);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    check_heap();
    empty_table();
    serves(SMALL_HEAP / 2);
    check_heap();
}

/* A few objects of which two make a run: each run is empty, allocated from, full and queued again
 * every few turns, some of its objects freed by the next thread. */
static void *turning_over(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 2654435761u + 1;
    uint64_t *mine[24] = {NULL};
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        uint32_t i = any(&state) % 24;
        uint64_t *p = mine[i];
        mine[i] = NULL;
        if (p == NULL) {
            CHECK((p = malloc(1000)) != NULL);
            p[0] = p[124] = (uint64_t)(uintptr_t)p + state;
            p[1] = state;
            mine[i] = p;
            continue;
        }
        CHECK(p[0] == (uintptr_t)p + p[1] && p[124] == p[0]);
        if (any(&state) % 4 == 0)
            p = __atomic_exchange_n((uint64_t **)(void *)&table[any(&state) % 8], p,
                                    __ATOMIC_ACQ_REL);
        CHECK(p == NULL || (p[0] == (uintptr_t)p + p[1] && p[124] == p[0]));
        free(p);
    }
    for (int i = 0; i < 24; i++)
        free(mine[i]);
    return NULL;
}

static void taken_while_they_turn_over(void)
{
    pthread_t t[3];
    in_a_small_heap("taken-while-they-turn-over");
    begin();
    for (uintptr_t i = 0; i < 3; i++)
        CHECK(pthread_create(&t[i], NULL, turning_over, (void *)i) == 0);
    for (int i = 0; i < TIMES(6000); i++) {
        void *p = malloc(SMALL_HEAP * 5 / 6);
        KEEP(p);
        CHECK(p == NULL);
        if (i % 64 == 0)
            sched_yield();
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    for (int i = 0; i < 8; i++)
        free(table[i]);
    check_heap();
}

#if defined(HMM_OWN_NAMES) /* where the heap is this program's only */

/* A thread that has a cache while all others of its kind have one. */
static void *filling_together(void *seed)
{
    free(malloc(100));
    pthread_barrier_wait(&going_on);
    return filling(seed);
}

/* Nothing is left of threads that are gone, when their blocks are, but what a thread that comes
 * takes up again, its own part of the cache: a block that fitted after as many threads as there are
 * at a time fits again. */
static void nothing_is_left(void)
{
    in_a_small_heap("nothing-is-left");
    begin();
    CHECK(pthread_barrier_init(&going_on, NULL, 64) == 0);
    run_threads(filling_together, 64, 3);
    empty_table();
    size_t most = stats().largest_free - (64 << 10);
    for (uintptr_t i = 0; i < TIMES(10); i++) {
        void *p = malloc(most);
        CHECK(p != NULL);
        free(p);
        run_threads(filling, i % 2 ? 3 : 64, i * 100);
        empty_table();
        check_heap();
    }
}

/* Kept blocks give way, whoever it is that wants memory: this thread has had no object. */
static void all_is_kept(void)
{
    static void *blocks[16000];
    in_a_small_heap("all-is-kept");
    size_t most = stats().largest_free, n = 0, failed;
    while ((blocks[n] = malloc(2000 + n % 50 * 100)) != NULL)
        n++;
    for (size_t i = 0; i < n; i++)
        free(blocks[i]);
    CHECK(n > 4000);
    failed = stats().failed;
    void *p = malloc(most);
    CHECK(p != NULL && stats().failed == failed);
    free(p);
    check_heap();
}

#endif

/* ---- Jobs in turn ---- */

enum { WORKERS = 10, JOBS = 120 };

static pthread_mutex_t job_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t job_is_next = PTHREAD_COND_INITIALIZER;
static int next_job, last_job;

/* Takes 8 MiB, and frees all but one object in 700, in any order. */
static void do_job(uint32_t *state)
{
    size_t n = 0;
    for (size_t bytes = 0; bytes < (size_t)8 << 20; n++) {
        size_t size = 20 + any(state) % 600;
        CHECK((many[n] = malloc(size)) != NULL);
        bytes += size;
    }
    for (size_t i = n - 1; i > 0; i--) {
        size_t k = any(state) % (i + 1);
        void *p = many[i];
        many[i] = many[k];
        many[k] = p;
    }
    for (size_t i = 0; i < n; i++)
        if (i % 700 != 0)
            free(many[i]);
}

static void *working(void *me)
{
    uint32_t state = (uint32_t)(uintptr_t)me * 2654435761u + 1;
    pthread_mutex_lock(&job_lock);
    while (next_job < last_job) {
        if (next_job % WORKERS == (int)(uintptr_t)me - 1) {
            do_job(&state);
            next_job++;
            pthread_cond_broadcast(&job_is_next);
        } else {
            pthread_cond_wait(&job_is_next, &job_lock);
        }
    }
    pthread_mutex_unlock(&job_lock);
    return NULL;
}

/* A worker sleeps after its job: what it has free serves the next. The live bytes are 10 MiB at
 * most; a thread may keep a MiB and a quarter. */
static void jobs_in_turn(void)
{
    pthread_t t[WORKERS];
    last_job = JOBS;
    for (uintptr_t i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&t[i], NULL, working, (void *)(i + 1)) == 0);
    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    check_heap();
    CHECK(stats().brk_peak < (size_t)24 << 20);
}

/* ---- Of threads that a fork left behind ---- */

#if !UNDER_TSAN /* after a fork it goes no further */

static void end_child(pid_t pid)
{
    int status = 0;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* In a child what threads had that are gone comes back, freed before the fork or after it. */
static void freed_for_the_gone(void)
{
    in_a_small_heap("freed-for-the-gone");
    for (uintptr_t i = 0; i < 6; i++) {
        pthread_t t;
        CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
        CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
        CHECK(pthread_create(&t, NULL, taking_many, (void *)i) == 0);
        pthread_barrier_wait(&resting);
        if (i % 2)
            free_many(31);
        pid_t pid = fork();
        if (pid == 0) {
            free_many(1);
            serves(SMALL_HEAP * 2 / 3);
            run_threads(filling, 2, i);
            empty_table();
            check_heap();
            _exit(0);
        }
        end_child(pid);
        free_many(1);
        end_resting(t);
    }
}

#endif

static const struct a_case cases[] = {
#if defined(HMM_OWN_NAMES)
    {"nothing-is-left", nothing_is_left},
    {"all-is-kept", all_is_kept},
#endif
    {"freed-for-a-sleeper", freed_for_a_sleeper},
    {"empty-for-a-sleeper", empty_for_a_sleeper},
    {"kept-by-a-sleeper", kept_by_a_sleeper},
    {"reused-where-freed", reused_where_freed},
    {"medium-for-a-sleeper", medium_for_a_sleeper},
    {"idle-for-others", idle_for_others},
    {"idle-by-steps", idle_by_steps},
    {"taken-from-the-busy", taken_from_the_busy},
    {"jobs-in-turn", jobs_in_turn},
    {"taken-while-they-turn-over", taken_while_they_turn_over},
#if !UNDER_TSAN
    {"freed-for-the-gone", freed_for_the_gone},
#endif
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return run_case(cases, argc, argv);
}
