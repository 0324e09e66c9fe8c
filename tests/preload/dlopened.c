/* SPDX-License-Identifier: MIT */
/*
 * The library in a program that loads it late.
 *
 *     dlopened close LIBRARY           closes it while threads are about that have used it
 *     dlopened tls LIBRARY PIECE...    after most of the room for static TLS has been used up: each
 *                                      PIECE is a library that takes some, the last one the least
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "case.h"

static void *(*take)(size_t);
static void (*give)(void *);
static pthread_barrier_t used, closed;

static void *load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    if (library == NULL)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(library != NULL);
    take = (void *(*)(size_t))dlsym(library, "hmm_malloc");
    give = (void (*)(void *))dlsym(library, "hmm_free");
    CHECK(take != NULL && give != NULL);
    return library;
}

/* So much that there are runs. */
static void use(void)
{
    enum { MOST = 20000 };
    char **row = take(MOST * sizeof *row);
    CHECK(row != NULL);
    for (int i = 0; i < MOST; i++) {
        CHECK((row[i] = take(40)) != NULL);
        memset(row[i], i, 40);
    }
    for (int i = 0; i < MOST; i++) {
        CHECK(row[i * 37 % MOST][39] == (char)(i * 37 % MOST));
        give(row[i * 37 % MOST]);
    }
    give(row);
}

static void *use_until_it_is_closed(void *unused)
{
    use();
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&closed);
    return unused;
}

static void run_threads(void *library)
{
    enum { THREADS = 3 };
    pthread_t t[THREADS];
    CHECK(pthread_barrier_init(&used, NULL, THREADS + 1) == 0);
    CHECK(pthread_barrier_init(&closed, NULL, THREADS + 1) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, use_until_it_is_closed, NULL) == 0);
    pthread_barrier_wait(&used);
    if (library != NULL)
        CHECK(dlclose(library) == 0);
    pthread_barrier_wait(&closed);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

static void *idle(void *barrier)
{
    pthread_barrier_wait(barrier);
    use();
    return NULL;
}

/* One thread is there before, and uses it afterwards. */
static void with_little_tls(const char *path, char **pieces)
{
    void *last = NULL, *piece;
    int refused = 0;
    pthread_t early;
    pthread_barrier_t loaded;
    CHECK(pthread_barrier_init(&loaded, NULL, 2) == 0);
    CHECK(pthread_create(&early, NULL, idle, &loaded) == 0);
    for (; *pieces != NULL; pieces++) {
        if ((piece = dlopen(*pieces, RTLD_NOW)) != NULL)
            last = piece;
        else
            refused++;
    }
    CHECK(refused != 0 && last != NULL && dlclose(last) == 0);
    load(path);
    pthread_barrier_wait(&loaded);
    use();
    CHECK(pthread_join(early, NULL) == 0);
    run_threads(NULL);
}

int main(int argc, char **argv)
{
    CHECK(argc > 2);
    if (strcmp(argv[1], "tls") == 0)
        with_little_tls(argv[2], argv + 3);
    else
        for (int i = 0; i < 20; i++)
            run_threads(load(argv[2]));
    return 0;
}
