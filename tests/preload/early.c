/* SPDX-License-Identifier: MIT */
/*
 * A library to be preloaded, whose constructor runs before the program's and before that of the
 * preload library: it has threads that allocate, and forks among them. Its children do the same
 * work; the first that fails ends the program.
 */
#include <pthread.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

#define FORKS 100
#define PATIENCE 20 /* seconds, of a child */

static int done;

static void use_heap(uint32_t state, int rounds)
{
    char *blocks[64] = {NULL};
    size_t sizes[64] = {0};
    for (int i = 0; i < rounds; i++) {
        state = state * 1664525 + 1013904223;
        uint32_t at = (state >> 8) % 64;
        for (size_t b = 0; b < sizes[at]; b += 500)
            CHECK(blocks[at][b] == (char)at);
        free(blocks[at]);
        sizes[at] = (state >> 16) % (i % 4 == 0 ? 40000 : 900);
        CHECK((blocks[at] = malloc(sizes[at])) != NULL);
        memset(blocks[at], (int)at, sizes[at]);
    }
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
}

static void *allocating(void *seed)
{
    for (uint32_t i = 0; !__atomic_load_n(&done, __ATOMIC_RELAXED); i++)
        use_heap((uint32_t)(uintptr_t)seed + i, 500);
    return NULL;
}

static void fork_once(uint32_t seed)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(PATIENCE);
        use_heap(seed, 300);
        _exit(0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static __attribute__((constructor)) void begin(void)
{
    pthread_t t[3];
    for (uintptr_t i = 0; i < 3; i++)
        CHECK(pthread_create(&t[i], NULL, allocating, (void *)(i + 1)) == 0);
    for (uint32_t i = 0; i < FORKS; i++)
        fork_once(i);
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}
