/* SPDX-License-Identifier: MIT */
/*
 * A program whose call stacks are known: tests/stacks.sh finds its lines by the remarks in it.
 * Compiled without frame pointers, so that only the call frame information leads up.
 */
#define _GNU_SOURCE 1

#include <alloca.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__clang__)
#define APART __attribute__((noinline))
#else
#define APART __attribute__((noinline, noclone))
#endif

static void *volatile kept[100000];

/* Calls are not the last thing that a function does, or it would not be in the stack. */
#define GET(size)                                                                                  \
    void *p = malloc(size);                                                                        \
    __asm__ volatile("" ::"r"(p) : "memory");                                                      \
    return p

APART static void *inner(size_t size)
{
    GET(size); /* line: inner */
}

APART static void *middle(size_t size)
{
    char room[200];
    memset(room, (int)size, sizeof room);
    void *p = inner(size); /* line: middle */
    __asm__ volatile("" ::"r"(room), "r"(p) : "memory");
    return p;
}

/* Its frame's size is not known beforehand. */
APART static void *grown(size_t size)
{
    char *room = alloca(size * 3);
    memset(room, 1, size * 3);
    void *p = middle(size); /* line: grown */
    __asm__ volatile("" ::"r"(room), "r"(p) : "memory");
    return p;
}

/* Nor is its distance to the caller's. */
APART static void *aligned(size_t size)
{
    _Alignas(128) char room[128];
    memset(room, (int)size, sizeof room);
    void *p = grown(size); /* line: aligned */
    __asm__ volatile("" ::"r"(room), "r"(p) : "memory");
    return p;
}

APART static void *xmalloc(size_t size)
{
    GET(size); /* line: xmalloc */
}

APART static void wrapped(void)
{
    kept[0] = xmalloc(333);            /* line: wrapped */
    kept[1] = calloc(1, 334);          /* line: calloc */
    kept[2] = realloc(kept[1], 3350);  /* line: realloc */
    kept[3] = aligned_alloc(64, 3360); /* line: aligned_alloc */
}

static void *threaded(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        void *p = middle(555); /* line: threaded */
        kept[10 + *(int *)arg] = p;
        free(p);
    }
    return NULL;
}

APART static void threads(void)
{
    pthread_t thread[4];
    int numbers[4] = {0, 1, 2, 3};
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, threaded, &numbers[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
}

static void interrupt(int number)
{
    (void)number;
}

/* Signals come all the time; none of them may harm a walk. */
APART static void signals(void)
{
    pid_t parent = getpid(), child = fork();
    if (child == 0)
        for (;;)
            kill(parent, SIGUSR1);
    for (int i = 0; i < 60000; i++)
        free(grown(40)); /* line: signals */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

APART static void *forked(void)
{
    GET(777); /* line: forked */
}

APART static void forks(void)
{
    kept[20] = forked();
    fflush(NULL);
    if (fork() == 0) {
        kept[21] = forked();
        _exit(0);
    }
    wait(NULL);
}

/* Two libraries, one after the other, perhaps at the same place. */
APART static void loads(const char *one, const char *other)
{
    const char *names[] = {one, other};
    for (int i = 0; i < 40; i++) {
        void *library = dlopen(names[i % 2], RTLD_NOW);
        void *(*get)(void) = (void *(*)(void))dlsym(library, i % 2 ? "get_other" : "get_one");
        free(get());
        dlclose(library);
    }
}

/* Small blocks that stay sit between large ones that go; what comes then fits nowhere. */
APART static void *pinned(void)
{
    GET(48); /* line: pinned */
}

APART static void *passing(size_t size)
{
    GET(size); /* line: passing */
}

APART static void fragments(void)
{
    static void *large[3000];
    for (int i = 0; i < 3000; i++) {
        large[i] = passing(4000);
        kept[i] = pinned();
    }
    for (int i = 0; i < 3000; i++)
        free(large[i]);
    for (int i = 0; i < 1500; i++)
        large[i] = passing(8000);
    for (int i = 0; i < 1500; i++)
        free(large[i]);
}

int main(int argc, char **argv)
{
    signal(SIGUSR1, interrupt);
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "frames") == 0)
        kept[0] = aligned(123); /* line: main */
    if (strcmp(what, "wrapped") == 0)
        wrapped();
    if (strcmp(what, "threads") == 0)
        threads();
    if (strcmp(what, "signals") == 0)
        signals();
    if (strcmp(what, "forks") == 0)
        forks();
    if (strcmp(what, "loads") == 0)
        loads(argv[2], argv[3]);
    if (strcmp(what, "fragments") == 0)
        fragments();
    return 0;
}
