/* SPDX-License-Identifier: MIT */
/*
 * What a program gives back when a burst is over: at once, after malloc_trim, and in time by the
 * little that it does then.
 */
#define _GNU_SOURCE 1
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "measured.h"

static char *blocks[600];
static void *many[100 * MIB / 1000];

/* The address space that was used for a while comes back. */
static void comes_back(void)
{
    size_t before = status("VmSize:");
    for (int round = 0; round < 3; round++) {
        size_t n = 0;
        while (n < 600)
            CHECK((blocks[n++] = memset(malloc(MIB), 1, MIB)) != NULL);
        CHECK(status("VmSize:") >= before + 600 * MIB);
        while (n > 0)
            free(blocks[--n]);
        malloc_trim(0);
        CHECK(status("VmSize:") <= before + 24 * MIB);
    }
}

/* Of large blocks at the top, too, and at once: a fork fails if it stays. What may wait is a
 * quarter of what lives, and what is freed gives back as much at most. */
static void comes_back_at_once(void)
{
    size_t before = status("VmSize:");
    char *large[8];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            CHECK((large[i] = malloc(1024 * MIB)) != NULL);
            large[i][0] = 1;
        }
        CHECK(status("VmSize:") >= before + 8000 * MIB);
        for (int i = 8; i-- > 0;)
            free(large[i]);
        CHECK(status("VmSize:") <= before + 2048 * MIB);
    }
}

/* What a large heap's index had is not resident any more when the heap is small. */
static void index_goes(void)
{
    enum { N = 40000, SIZE = 128 << 10 };
    static void *p[N];
    size_t before = status("VmRSS:");
    for (int i = 0; i < N; i++)
        CHECK((p[i] = malloc(SIZE)) != NULL);
    for (int step = 0; step < 2; step++)
        for (int i = step; i < N; i += 2)
            free(p[i]);
    malloc_trim(0);
    CHECK(status("VmRSS:") <= before + 8 * MIB);
    for (int i = 0; i < N; i++)
        CHECK((p[i] = malloc(SIZE + (size_t)i % 7 * 100)) != NULL);
    for (int i = 0; i < N; i += 2)
        free(p[i]);
    for (int i = 0; i < N; i += 2)
        CHECK((p[i] = malloc(SIZE / 2)) != NULL);
    CHECK(hmm_heap_check == NULL || hmm_heap_check(hmm_process_heap()) == NULL);
}

/* ---- What a burst leaves ---- */

static void burst(void)
{
    enum { N = 35000, SIZE = 3000 };
    static void *p[N];
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < N; i++)
            CHECK((p[i] = malloc(SIZE)) != NULL && memset(p[i], round, SIZE));
        for (int i = 0; i < N; i++)
            free(p[i]);
    }
}

static uint64_t ms_now(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* For a second at most 1,000 calls, of sizes in this range, or of one. On a busy machine it takes
 * longer: it is calls that give back. */
static void *light_work(void *sizes)
{
    uint32_t state = 1, range = *(uint32_t *)sizes;
    uint64_t begun = ms_now();
    for (int round = 0; round < 100 || ms_now() < begun + 1100; round++) {
        for (int i = 0; i < 5; i++) {
            state = state * 1664525 + 1013904223;
            char *p = malloc(16 + (state >> 8) % range);
            CHECK(p != NULL);
            *p = 1;
            free(p);
        }
        usleep(10000);
    }
    return NULL;
}

/* A second later it is gone, whatever the sizes are of the little that is done, and by whom. */
static void after_a_burst(void)
{
    uint32_t ranges[] = {900, 1, 20000};
    size_t before = status("VmRSS:");
    for (int i = 0; i < 4; i++) {
        pthread_t other;
        burst();
        if (i < 3)
            light_work(&ranges[i]);
        else if (pthread_create(&other, NULL, light_work, &ranges[0]) == 0)
            CHECK(pthread_join(other, NULL) == 0);
        CHECK(status("VmRSS:") <= before + 4 * MIB);
    }
}

/* ---- Little work of one kind ---- */

static char *block;

static void resize(size_t size)
{
    CHECK((block = realloc(block, size)) != NULL);
    *block = 1;
}

static void take(size_t size)
{
    char *p = malloc(size);
    CHECK(p != NULL);
    *p = 1;
}

static void in_place(uint32_t n)
{
    resize(100 + n % 8);
}

static void object_moves(uint32_t n)
{
    resize(16 + n % 100);
}

static void larger_object_moves(uint32_t n)
{
    resize(200 + n % 800);
}

static void block_in_place(uint32_t n)
{
    resize(5000 + n % 8);
}

static void block_moves(uint32_t n)
{
    resize(2000 + n % 60000);
}

static void large_moves(uint32_t n)
{
    resize(200000 + n % 600000);
}

static void takes_24(uint32_t n)
{
    (void)n;
    take(24);
}

static void takes_small(uint32_t n)
{
    take(1 + n % 900);
}

static void takes_medium(uint32_t n)
{
    take(1100 + n % 100);
}

static void takes_zeroed(uint32_t n)
{
    char *p = calloc(1, n % 2 ? 40 : 1500);
    CHECK(p != NULL);
}

static void takes_aligned(uint32_t n)
{
    CHECK(aligned_alloc(64, n % 2 ? 64 : 128) != NULL);
}

static void resizes_all(uint32_t n)
{
    static char *some[64];
    char **p = &some[n % 64];
    CHECK((*p = realloc(*p, 1 + n % 3000)) != NULL);
}

static void (*const kinds[])(uint32_t) = {
    in_place, object_moves, larger_object_moves, block_in_place, block_moves,   large_moves,
    takes_24, takes_small,  takes_medium,        takes_zeroed,   takes_aligned, resizes_all};

/* 1,000 calls in a second. */
static void *light_work_of_a_kind(void *kind)
{
    uint32_t state = 1;
    for (uint64_t begun = ms_now(); ms_now() < begun + 1000;) {
        for (int i = 0; i < 10; i++) {
            state = state * 1664525 + 1013904223;
            (*(void (*const *)(uint32_t))kind)(state >> 8);
        }
        usleep(9800);
    }
    return NULL;
}

/* A second after a burst it is gone if a thread makes 1,000 calls of any kind: of this one's, or of
 * another that is new. What these calls take themselves is less than half a MiB. */
static void of_a_kind(size_t kind, bool says)
{
    light_work_of_a_kind((void *)(uintptr_t)&kinds[kind]);
    size_t before = status("VmRSS:");
    for (int i = 0; i < 2; i++) {
        pthread_t other;
        burst();
        if (i == 0)
            light_work_of_a_kind((void *)(uintptr_t)&kinds[kind]);
        else if (pthread_create(&other, NULL, light_work_of_a_kind,
                                (void *)(uintptr_t)&kinds[kind]) == 0)
            CHECK(pthread_join(other, NULL) == 0);
        size_t now = status("VmRSS:");
        if (now > before + 4 * MIB) {
            if (says)
                fprintf(stderr, "kind %zu, %s: %zu KiB more\n", kind,
                        i ? "another thread" : "this one", (now - before) / KIB);
            exit(1);
        }
    }
    exit(0);
}

static pid_t start_a_kind(size_t kind, bool says)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        of_a_kind(kind, says);
    return pid;
}

static bool passes(pid_t pid)
{
    int code = -1;
    CHECK(waitpid(pid, &code, 0) == pid);
    return code == 0;
}

/* Each in a process of its own, a few at a time. One that does not pass is tried twice more, alone:
 * on a busy machine a second has not 1,000 calls. */
static void after_a_burst_any_calls(void)
{
    enum { KINDS = sizeof kinds / sizeof *kinds, AT_ONCE = 4 };
    bool passed = true;
    for (size_t from = 0; from < KINDS; from += AT_ONCE) {
        pid_t children[AT_ONCE];
        bool done[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++)
            children[i] = start_a_kind(from + i, false);
        for (size_t i = 0; i < AT_ONCE; i++)
            done[i] = passes(children[i]);
        for (size_t i = 0; i < AT_ONCE; i++)
            passed &= done[i] || passes(start_a_kind(from + i, false)) ||
                      passes(start_a_kind(from + i, true));
    }
    CHECK(passed);
}

static void *frees_all(void *count)
{
    for (size_t i = 0; i < (size_t)(uintptr_t)count; i++)
        free(many[i]);
    return NULL;
}

/* What another thread has freed of this one's, too, whatever this one does. */
static void after_others_have_freed(void)
{
    uint32_t ranges[] = {1, 900, 1};
    size_t before = status("VmRSS:");
    for (size_t round = 0; round < 3; round++) {
        size_t size = round == 2 ? 3000 : 1000, n = 100 * MIB / size;
        pthread_t other;
        for (size_t i = 0; i < n; i++)
            CHECK((many[i] = malloc(size)) != NULL && memset(many[i], 1, size));
        CHECK(pthread_create(&other, NULL, frees_all, (void *)(uintptr_t)n) == 0);
        CHECK(pthread_join(other, NULL) == 0);
        for (int twice = 0; twice < 2; twice++) /* first the objects go back, then the pages */
            light_work(&ranges[round]);
        CHECK(status("VmRSS:") <= before + 5 * MIB); /* and what `many` has */
    }
}

static const struct a_case cases[] = {
    {"comes-back", comes_back},
    {"comes-back-at-once", comes_back_at_once},
    {"after-a-burst", after_a_burst},
    {"after-a-burst-any-calls", after_a_burst_any_calls},
    {"after-others-have-freed", after_others_have_freed},
    {"index-goes", index_goes},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return run_case(cases, argc, argv);
}
