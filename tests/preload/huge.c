/* SPDX-License-Identifier: MIT */
/*
 * Blocks beyond what a header can say, of more than 8 GiB, and more of what the heap could have
 * than its region has. What is mapped and not touched needs no memory. Only with 64 bits.
 */
#define _GNU_SOURCE 1
#include <malloc.h>
#include <pthread.h>

#include "measured.h"

#define HUGE ((size_t)(9 * GIB))
#define AT(p, at) (((volatile char *)(p))[at])

static void huge(void)
{
    struct hmm_stats_head before = stats_now(), s;
    char *a = malloc(HUGE), *b = calloc(3, HUGE / 3), *c = aligned_alloc(MIB, HUGE + 5 * MIB);
    CHECK(a != NULL && b != NULL && c != NULL && ((uintptr_t)c & (MIB - 1)) == 0);
    CHECK(malloc_usable_size(a) >= HUGE && malloc_usable_size(a) < HUGE + MIB);
    AT(a, 0) = 1, AT(a, HUGE - 1) = 2, AT(c, 0) = 5, AT(c, HUGE) = 6;
    CHECK(AT(b, 0) == 0 && AT(b, HUGE / 2) == 0 && AT(b, HUGE - 4) == 0);
    if (hmm_heap_stats != NULL) {
        s = stats_now();
        CHECK(s.live_bytes >= before.live_bytes + 3 * HUGE && s.live_blocks >= 3);
        CHECK(s.reserved >= before.reserved + 3 * HUGE);
        CHECK(hmm_heap_check(hmm_process_heap()) == NULL);
    }
    struct mallinfo2 m = mallinfo2();
    CHECK(m.hblks == 3 && m.hblkhd >= 3 * HUGE && m.uordblks <= m.arena && m.arena < HUGE);
    a = realloc(a, 2 * HUGE);
    CHECK(a != NULL && AT(a, 0) == 1 && AT(a, HUGE - 1) == 2 && AT(a, 2 * HUGE - 1) == 0);
    c = realloc(c, 2 * HUGE);
    CHECK(c != NULL && AT(c, 0) == 5 && AT(c, HUGE) == 6 && ((uintptr_t)c & (MIB - 1)) == 0);
    a = realloc(a, MIB);
    CHECK(a != NULL && AT(a, 0) == 1 && malloc_usable_size(a) < 2 * MIB);
    a = realloc(a, 100);
    CHECK(a != NULL && AT(a, 0) == 1 && malloc_usable_size(a) < 1000);
    a = realloc(a, HUGE);
    CHECK(a != NULL && AT(a, 0) == 1);
    free(a), free(b), free(c);
    volatile size_t too_large = (size_t)PTRDIFF_MAX + 1;
    CHECK(malloc(too_large) == NULL && errno == ENOMEM);
    CHECK(malloc((size_t)PTRDIFF_MAX / 4) == NULL && errno == ENOMEM);
    CHECK(calloc(too_large / 4, 8) == NULL && errno == ENOMEM);
    m = mallinfo2();
    CHECK(m.hblks == 0 && m.hblkhd == 0);
    s = stats_now();
    CHECK(s.live_bytes <= before.live_bytes + MIB && s.reserved <= before.reserved + 16 * MIB);
    CHECK(s.live_peak >= 4 * HUGE || hmm_heap_stats == NULL);
}

/* Of a block that grew out of an aligned one of the heap's. */
static void huge_from_small(void)
{
    char *p = memalign(4096, 1000);
    CHECK(p != NULL);
    memset(p, 7, 1000);
    CHECK((p = realloc(p, HUGE)) != NULL && ((uintptr_t)p & 4095) == 0);
    CHECK(AT(p, 0) == 7 && AT(p, 999) == 7);
    free(p);
    CHECK((p = malloc(5000)) != NULL && memset(p, 8, 5000));
    CHECK((p = realloc(p, HUGE)) != NULL && AT(p, 0) == 8 && AT(p, 4999) == 8);
    free(p);
}

/* More of them than the registry has at first, from threads. */
static void *takes_huge(void *arg)
{
    void *p[40];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40; i++) {
            CHECK((p[i] = malloc(HUGE + (size_t)i * MIB)) != NULL);
            AT(p[i], HUGE - 1) = (char)i;
        }
        for (int i = 0; i < 40; i++) {
            CHECK(malloc_usable_size(p[i]) >= HUGE + (size_t)i * MIB && AT(p[i], HUGE - 1) == i);
            free(p[i]);
        }
    }
    return arg;
}

static void many_huge(void)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, takes_huge, NULL) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* More than the region has, of blocks that the heap could have. */
static void beyond_the_region(void)
{
    void *p[20];
    for (int i = 0; i < 20; i++)
        CHECK((p[i] = malloc((size_t)(6 * GIB))) != NULL && (AT(p[i], 5 * GIB) = 1));
    for (int i = 0; i < 20; i++)
        free(p[i]);
    CHECK(hmm_heap_check == NULL || hmm_heap_check(hmm_process_heap()) == NULL);
}

/* HMM_HEAP_SIZE=24G */
static void bounded(void)
{
    void *a = malloc(HUGE), *b = malloc(HUGE), *c = malloc(HUGE);
    CHECK(a != NULL && b != NULL && c == NULL && errno == ENOMEM);
    CHECK(malloc((size_t)(7 * GIB)) == NULL);
    void *d = malloc((size_t)(4 * GIB));
    CHECK(d != NULL && realloc(a, 2 * HUGE) == NULL);
    free(b);
    CHECK((c = malloc((size_t)(7 * GIB))) != NULL);
    free(c);
    CHECK((b = malloc(HUGE)) != NULL);
    free(a), free(b), free(d);
    CHECK((a = malloc(2 * HUGE)) != NULL);
    free(a);
    CHECK(hmm_heap_check(hmm_process_heap()) == NULL);
}

static void huge_twice(void)
{
    void *p = malloc(HUGE);
    free(p);
    KEEP(p);
    free(p);
}

static void huge_inside(void)
{
    char *p = malloc(HUGE);
    p += 4096;
    KEEP(p);
    free(p);
}

static void huge_inside_realloc(void)
{
    char *p = malloc(HUGE);
    p += 16;
    KEEP(p);
    CHECK(realloc(p, 100) == NULL);
}

static const struct a_case cases[] = {
    {"huge", huge},
    {"huge-from-small", huge_from_small},
    {"many-huge", many_huge},
    {"beyond-the-region", beyond_the_region},
    {"bounded", bounded},
    {"huge-twice", huge_twice},
    {"huge-inside", huge_inside},
    {"huge-inside-realloc", huge_inside_realloc},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return run_case(cases, argc, argv);
}
