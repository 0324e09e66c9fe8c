/* SPDX-License-Identifier: MIT */
/*
 * Threads that work in phases, each of other sizes, and keep some blocks of each: runs of which few
 * objects are in use are split, while other threads free, resize and look at these, and at the
 * blocks between them.
 */
#define _GNU_SOURCE 1
#include <sys/wait.h>

#include "parcels.h"

#define PHASES 9
#define KEPT 65536u

static struct parcel *kept[KEPT]; /* by all threads */
static struct parcel *mine[THREADS][40000];
static pthread_barrier_t phase_ends;
static uint32_t base;

static struct parcel *keep(uint32_t *state, struct parcel *p)
{
    return __atomic_exchange_n(&kept[any(state) % KEPT], p, __ATOMIC_ACQ_REL);
}

static struct parcel *pack_sized(uint32_t *state, uint32_t size)
{
    struct parcel *p = malloc(sizeof *p + size);
    CHECK(p != NULL);
    p->size = size;
    p->letter = (unsigned char)any(state);
    memset(p->bytes, p->letter, size);
    return p;
}

/* Takes out what any thread has kept; it is put back, resized or not, or freed. */
static void change_one(uint32_t *state)
{
    struct parcel *p = keep(state, NULL);
    if (p != NULL && any(state) % 3 == 0)
        p = repacked(p, state);
    if (p != NULL && any(state) % 2 == 0)
        p = keep(state, looked_at(p));
    end_parcel(p);
}

static void one_phase(uint32_t *state, struct parcel **blocks)
{
    size_t bytes = 0, most = (size_t)TIMES(2000) << 10, n = 0;
    for (; bytes < most && n < sizeof mine[0] / sizeof *mine[0]; n++) {
        blocks[n] = pack_sized(state, base * 3 / 4 + any(state) % (base / 2));
        bytes += blocks[n]->size;
        if (n % 8 == 0)
            change_one(state);
    }
    for (size_t i = 0; i < n; i++) {
        struct parcel *p = blocks[i];
        if (any(state) % 10 == 0)
            p = keep(state, p);
        end_parcel(p);
        if (i % 16 == 0)
            change_one(state);
    }
}

static void *work_in_phases(void *number)
{
    uint32_t state = (uint32_t)(uintptr_t)number * 2654435761u + 3;
    for (int i = 0; i < PHASES; i++) {
        one_phase(&state, mine[(uintptr_t)number - 1]);
        if (pthread_barrier_wait(&phase_ends) == PTHREAD_BARRIER_SERIAL_THREAD) {
            if (i == PHASES / 2)
                check_heap(); /* which takes a second */
            base = 24 + any(&state) % 900;
        }
        pthread_barrier_wait(&phase_ends);
    }
    return NULL;
}

static void empty_kept(void)
{
    for (uint32_t i = 0; i < KEPT; i++)
        end_parcel(__atomic_exchange_n(&kept[i], NULL, __ATOMIC_ACQ_REL));
}

/* Threads that end leave what they have; the next go on. */
static void phases_of_threads(void)
{
    begin();
    size_t blocks = stats().live_blocks;
    CHECK(pthread_barrier_init(&phase_ends, NULL, THREADS) == 0);
    for (int round = 0; round < 2; round++) {
        base = 100;
        run_threads(work_in_phases, THREADS, 0);
        check_heap();
    }
    empty_kept();
    check_heap();
    CHECK(stats().live_blocks <= blocks + 8); /* some are of the C library */
}

/* A child goes on with what all threads have kept. */
static void fork_amid_phases(void)
{
    pthread_t t[THREADS];
    uint32_t state = 5;
    begin();
    base = 150;
    CHECK(pthread_barrier_init(&phase_ends, NULL, THREADS) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, work_in_phases, (void *)(i + 1)) == 0);
    for (int i = 0; i < (UNDER_TSAN ? 2 : 8); i++) {
        int status;
        usleep(20000);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(60);
            empty_kept();
            one_phase(&state, mine[0]);
            empty_kept();
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    empty_kept();
    check_heap();
}

int main(int argc, char **argv)
{
    static const struct a_case cases[] = {{"phases-of-threads", phases_of_threads},
                                          {"fork-amid-phases", fork_amid_phases},
                                          {NULL, NULL}};
    return run_case(cases, argc, argv);
}
