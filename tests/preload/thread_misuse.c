/* SPDX-License-Identifier: MIT */
/*
 * Blocks that are freed twice, or from inside, where threads have caches. Each case is to end the
 * program with a line that begins with "hmm:".
 */
#define _GNU_SOURCE 1
#include <sched.h>

#include "parcels.h"

#define ROW 40

static char *theirs, *row[ROW];

static void *allocating(void *unused)
{
    for (int i = 0; i < 1000; i++)
        CHECK((theirs = malloc(64)) != NULL);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE) && unused == (void *)1)
        sched_yield();
    return NULL;
}

/* A medium block that another thread has freed: by this one, or by yet another. */
static void *freeing_medium(void *unused)
{
    CHECK((theirs = malloc(5000)) != NULL);
    free(theirs);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        sched_yield();
    return unused;
}

static void medium_twice(void)
{
    begin();
    char *p = malloc(20000);
    KEEP(p);
    free(p);
    free(p);
}

/* To a size for which it would do as it is. */
static void medium_resized(void)
{
    begin();
    char *p = malloc(5000);
    KEEP(p);
    free(p);
    p = realloc(p, 4990);
    KEEP(p);
}

static void medium_twice_by_others(void)
{
    pthread_t t;
    begin();
    CHECK(pthread_create(&t, NULL, freeing_medium, NULL) == 0);
    usleep(100000);
    free(theirs);
}

/* An object that its owner frees while the thread that freed it first keeps it. */
static void *freeing_theirs_twice(void *unused)
{
    void *mine[40];
    for (int i = 0; i < 40; i++)
        CHECK((mine[i] = malloc(64)) != NULL);
    KEEP(mine[0]);
    free(theirs);
    pthread_barrier_wait(&resting);
    pthread_barrier_wait(&going_on);
    for (int i = 0; i < 1000; i++)
        CHECK(malloc(64) != NULL);
    return unused;
}

static void kept_twice(void)
{
    pthread_t t;
    begin();
    for (int i = 0; i < 1000; i++)
        CHECK((theirs = malloc(64)) != NULL);
    CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, freeing_theirs_twice, NULL) == 0);
    pthread_barrier_wait(&resting);
    free(theirs);
    end_resting(t);
}

/* An object that its owner frees while the thread that freed it first is to send it home. */
static void *sending_theirs(void *unused)
{
    free(malloc(3000)); /* it has a cache, and requests no such objects */
    for (int i = 0; i < 4; i++)
        free(row[i]);
    pthread_barrier_wait(&resting);
    pthread_barrier_wait(&going_on);
    for (int i = 4; i < ROW; i++)
        free(row[i]);
    return unused;
}

static void sent_twice(void)
{
    pthread_t t;
    begin();
    for (int i = 0; i < 1000; i++)
        CHECK((row[i % ROW] = malloc(64)) != NULL);
    CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, sending_theirs, NULL) == 0);
    pthread_barrier_wait(&resting);
    free(row[2]);
    end_resting(t);
}

static void *freeing(void *unused)
{
    (void)unused;
    free(theirs);
    return NULL;
}

/* A thread that is still there, or not. */
static void by_another(bool gone)
{
    pthread_t t;
    begin();
    CHECK(pthread_create(&t, NULL, allocating, gone ? NULL : (void *)1) == 0);
    if (gone)
        CHECK(pthread_join(t, NULL) == 0);
    else
        usleep(100000);
}

static void twice_by_others(void)
{
    by_another(false);
    run_threads(freeing, 1, 0);
    run_threads(freeing, 1, 0);
}

static void twice_of_the_gone(void)
{
    by_another(true);
    run_threads(freeing, 1, 0);
    free(theirs);
}

static void inside_of_others(void)
{
    by_another(false);
    free(theirs + 16);
}

static const struct a_case cases[] = {
    {"twice-by-others", twice_by_others},
    {"twice-of-the-gone", twice_of_the_gone},
    {"kept-twice", kept_twice},
    {"sent-twice", sent_twice},
    {"medium-twice", medium_twice},
    {"medium-resized", medium_resized},
    {"medium-twice-by-others", medium_twice_by_others},
    {"inside-of-others", inside_of_others},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return run_case(cases, argc, argv);
}
