/* SPDX-License-Identifier: MIT */
/*
 * What a program can have within limits, and where other mappings are in the way. Runs with the
 * preload library and without it: `count ...` prints how many blocks of 1 MiB there are.
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "measured.h"

#define BLOCKS 65536

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

void *hmm_heap_break(const struct hmm_heap *heap);
#pragma weak hmm_heap_break

static char *blocks[BLOCKS];

static void limit(int which, size_t bytes)
{
    struct rlimit now;
    CHECK(getrlimit(which, &now) == 0);
    now.rlim_cur = bytes < now.rlim_max ? bytes : now.rlim_max;
    CHECK(setrlimit(which, &now) == 0);
}

/* Takes all blocks of this size that there are; returns how many. */
static size_t take_all(size_t size)
{
    size_t n = 0;
    while (n < BLOCKS && (blocks[n] = malloc(size)) != NULL) {
        blocks[n][0] = blocks[n][size - 1] = (char)n;
        n++;
    }
    return n;
}

static void give_all(size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        CHECK(blocks[i][0] == (char)i && blocks[i][size - 1] == (char)i);
        free(blocks[i]);
    }
}

static void *idle(void *arg)
{
    free(malloc(100));
    return arg;
}

static void threads_and_libraries(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, idle, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(dlopen("libm.so.6", RTLD_NOW) != NULL);
}

/* What is above the present size of the process. */
static void address_space(void)
{
    limit(RLIMIT_AS, status("VmSize:") + 700 * MIB);
    threads_and_libraries();
    size_t n = take_all(MIB);
    printf("%zu\n", n);
    give_all(n, MIB);
    threads_and_libraries();
    CHECK(take_all(MIB) + 80 >= n);
}

static void data(void)
{
    limit(RLIMIT_DATA, 256 * MIB);
    size_t n = take_all(MIB);
    printf("%zu\n", n);
    give_all(n, MIB);
}

/* With a limit that was there at the start. */
static void count(void)
{
    printf("%zu\n", take_all(MIB));
}

static void count_of_64_kib(void)
{
    printf("%zu\n", take_all(64 * KIB));
}

static void count_of_100_mib(void)
{
    printf("%zu\n", take_all(100 * MIB));
}

/* What strict overcommit would charge the process: MiB of what is private and writable. */
static size_t charge(void)
{
    static char line[512];
    size_t sum = 0, size = 0;
    FILE *f = fopen("/proc/self/smaps", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "Size:", 5) == 0)
            size = strtoul(line + 5, NULL, 10);
        else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " ac") != NULL)
            sum += size;
    }
    fclose(f);
    return sum / 1024;
}

/* With so many blocks of 1 MiB; and with none of them any more. */
static void charged(void)
{
    size_t n = 0;
    while (n < 1500)
        CHECK((blocks[n++] = malloc(MIB)) != NULL);
    size_t with = charge();
    while (n > 0)
        free(blocks[--n]);
    malloc_trim(0);
    printf("%zu %zu\n", with, charge());
}

/* Without the right to lock more than the limit says. */
static void locked(void)
{
    limit(RLIMIT_MEMLOCK, 128 * MIB);
    CHECK(geteuid() != 0 || setuid(65534) == 0);
    char *p = malloc(MIB);
    CHECK(p != NULL);
    CHECK(mlockall(MCL_CURRENT) == 0);
    CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    size_t n = take_all(MIB);
    printf("%zu\n", n);
    give_all(n, MIB);
}

/* ---- Holes ---- */

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}

/* How many MiB can be mapped; they are unmapped again. */
static size_t mappable(void)
{
    static void *maps[4096];
    size_t n = 0;
    while (n < 4096 && (maps[n] = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED)
        n++;
    for (size_t i = 0; i < n; i++)
        munmap(maps[i], MIB);
    return n;
}

/* 1,500 MiB of blocks of 300 KB within 2 GiB. 95 % of them are freed: what they had is there for
 * other mappings, and again for blocks. Prints what can be mapped. */
static void holes(void)
{
    enum { N = 5000, SIZE = 300000 };
    static char *p[N];
    limit(RLIMIT_AS, 2048 * MIB);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            if (p[i] == NULL)
                CHECK((p[i] = malloc(SIZE)) != NULL);
            p[i][0] = p[i][SIZE / 2] = p[i][SIZE - 1] = (char)i;
        }
        for (int i = 0; i < N; i++) {
            CHECK(p[i][0] == (char)i && p[i][SIZE / 2] == (char)i && p[i][SIZE - 1] == (char)i);
            if (random_below(100) < 95) {
                free(p[i]);
                p[i] = NULL;
            }
        }
        malloc_trim(0);
        CHECK(hmm_heap_check == NULL || hmm_heap_check(hmm_process_heap()) == NULL);
        if (round == 0)
            printf("%zu\n", mappable()), fflush(stdout);
        threads_and_libraries();
    }
    char *large = malloc(800 * MIB);
    CHECK(large != NULL && (large[0] = 1) && (large[800 * MIB - 1] = 1));
    CHECK(malloc(1300 * MIB) == NULL && errno == ENOMEM);
    free(large);
    for (int i = 0; i < N; i++) {
        if (p[i] != NULL)
            CHECK(p[i][0] == (char)i && p[i][SIZE / 2] == (char)i && p[i][SIZE - 1] == (char)i);
        free(p[i]);
    }
    malloc_trim(0);
    CHECK(hmm_heap_check == NULL || hmm_heap_check(hmm_process_heap()) == NULL);
    CHECK(status("VmSize:") < 64 * MIB + 64 * MIB * 4); /* and what threads' stacks have */
}

/* Other mappings come into the holes, and go: none is touched, and nothing is lost. */
static void *hole_maps[64];

static void map_in_holes(char *low, size_t bytes)
{
    for (int i = 0; i < 64; i++) {
        size_t size = (1 + random_below(40)) * 4096;
        char *at = (char *)((uintptr_t)low & ~(uintptr_t)4095);
        at += (size_t)random_below((uint32_t)(bytes / 4096)) << 12;
        if (hole_maps[i] != NULL)
            continue;
        char *p = mmap(at, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (p == at)
            *(size_t *)(void *)memset(hole_maps[i] = p, 0x5a, size) = size;
        else if (p != MAP_FAILED)
            munmap(p, size);
    }
}

/* Returns how many there were. */
static int unmap_in_holes(uint32_t of_hundred)
{
    int n = 0;
    for (int i = 0; i < 64; i++) {
        char *p = hole_maps[i];
        if (p == NULL || random_below(100) >= of_hundred)
            continue;
        size_t size = *(size_t *)(void *)p;
        CHECK(size <= 40 * 4096);
        for (size_t k = sizeof size; k < size; k++)
            CHECK(p[k] == 0x5a);
        munmap(p, size);
        hole_maps[i] = NULL;
        n++;
    }
    return n;
}

static void in_holes(void)
{
    enum { N = 400, LARGEST = 1000000 };
    static char *p[N];
    static size_t size[N];
    int maps = 0;
    char *low = (char *)UINTPTR_MAX, *high = NULL;
    limit(RLIMIT_AS, status("VmSize:") + 500 * MIB);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < N; i++) {
            size[i] = p[i] ? size[i] : 1 + random_below(LARGEST);
            if (p[i] == NULL && (p[i] = malloc(size[i])) != NULL)
                memset(p[i], i, size[i]);
            low = p[i] && p[i] < low ? p[i] : low;
            high = p[i] && p[i] > high ? p[i] : high;
        }
        for (int i = 0; i < N; i++) {
            if (p[i] == NULL)
                continue;
            for (size_t k = 0; k < size[i]; k += 1000)
                CHECK(p[i][k] == (char)i);
            CHECK(p[i][size[i] - 1] == (char)i);
            if (random_below(100) < 70) {
                free(p[i]);
                p[i] = NULL;
            }
        }
        malloc_trim(0);
        map_in_holes(low, (size_t)(high - low));
        CHECK(hmm_heap_check == NULL || hmm_heap_check(hmm_process_heap()) == NULL);
        maps += unmap_in_holes(40);
        if (round == 3)
            threads_and_libraries();
    }
    maps += unmap_in_holes(100);
    CHECK(maps > 60 || hmm_process_heap == NULL);
    for (int i = 0; i < N; i++)
        free(p[i]);
    malloc_trim(0);
    CHECK(hmm_heap_check == NULL || hmm_heap_check(hmm_process_heap()) == NULL);
    CHECK(stats_now().live_bytes < 8 * MIB);
}

/* ---- Mappings in the way ---- */

/* Mappings of this program are in the way: none is touched, and the heap goes on. */
static void in_the_way(void)
{
    const size_t sizes[] = {64 * KIB, 3 * MIB, 200 * MIB};
    char *others[3], *sparse[3];
    if (hmm_process_heap == NULL)
        return;
    struct hmm_heap *heap = hmm_process_heap();
    for (int i = 0; i < 3; i++) {
        uintptr_t above = ((uintptr_t)hmm_heap_break(heap) + 48 * MIB) & ~(uintptr_t)(MIB - 1);
        others[i] = mmap((void *)above, sizes[i], PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        CHECK(others[i] == (char *)above);
        memset(others[i], 0x5a, sizes[i]);
        CHECK((sparse[i] = calloc(1, 80 * MIB)) != NULL);
        CHECK(sparse[i] >= others[i] + sizes[i] || sparse[i] + 80 * MIB <= others[i]);
        for (size_t at = 0; at < 80 * MIB; at += 4096)
            CHECK(sparse[i][at] == 0);
        memset(sparse[i], i, 80 * MIB);
        size_t n = 0;
        while (n < 100)
            CHECK((blocks[n] = malloc(MIB)) != NULL && memset(blocks[n], (int)n, MIB) && ++n);
        void *aligned = memalign(4096, 70 * MIB);
        CHECK(aligned != NULL && ((uintptr_t)aligned & 4095) == 0);
        CHECK(hmm_heap_check(heap) == NULL);
        give_all(n, MIB);
        free(aligned);
        malloc_trim(0);
        CHECK(hmm_heap_check(heap) == NULL);
    }
    for (int i = 0; i < 3; i++) {
        for (size_t at = 0; at < sizes[i]; at++)
            CHECK(others[i][at] == 0x5a);
        for (size_t at = 0; at < 80 * MIB; at += 1000)
            CHECK(sparse[i][at] == i);
        free(sparse[i]);
    }
    CHECK(hmm_heap_check(heap) == NULL);
    CHECK(mallinfo2().uordblks < 100 * MIB);
}

/* So many are in the way that no more can be passed: what is free below the top goes back, or
 * stays, but what is unmapped is not taken for mapped. */
static void many_in_the_way(void)
{
    enum { BLOCK = 4 << 20, SMALL = 600000 };
    static char *p[4];
    if (hmm_process_heap == NULL)
        return;
    struct hmm_heap *heap = hmm_process_heap();
    char *last = NULL, *other;
    limit(RLIMIT_AS, 4096 * MIB);
    do {
        char *above = (char *)(((uintptr_t)hmm_heap_break(heap) + 8 * MIB) & ~(uintptr_t)(MIB - 1));
        other = mmap(above, 64 * KIB, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        char *q = NULL;
        for (int i = 0; other == above && q < other && i < 8; i++) {
            CHECK((q = malloc(BLOCK)) != NULL && memset(q, 1, BLOCK));
            last = q > last && q < (char *)hmm_heap_break(heap) ? q : last;
        }
    } while (other != MAP_FAILED);
    free(last);
    for (int i = 0; i < 4; i++)
        CHECK((p[i] = malloc(SMALL)) != NULL && memset(p[i], i, SMALL));
    free(p[2]);
    malloc_trim(0);
    free(p[3]);
    malloc_trim(0);
    CHECK(hmm_heap_check(heap) == NULL);
    for (int i = 0; i < 300; i++)
        CHECK((last = malloc(SMALL / 2)) != NULL && memset(last, 9, SMALL / 2));
    CHECK(p[1][0] == 1 && p[1][SMALL - 1] == 1 && hmm_heap_check(heap) == NULL);
}

/* Maps a page at the first vacant address above the heap's break. */
static void obstruct(void)
{
    uintptr_t at = (uintptr_t)hmm_heap_break(hmm_process_heap()) & ~(uintptr_t)4095;
    char *p = MAP_FAILED;
    for (int i = 0; i < 2048 && p != (char *)at; i++) {
        at += 4096;
        p = mmap((void *)at, 4096, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    }
    CHECK(p == (char *)at);
}

/* One after the other is in the way, until what is mapped cannot be in more pieces. Each time the
 * top comes down over what is absent, and rises again. */
static void always_in_the_way(void)
{
    struct rlimit limit = {64 * GIB, RLIM_INFINITY};
    if (hmm_process_heap == NULL)
        return;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (int i = 0; i < 40; i++) {
        obstruct();
        free(malloc(MIB));
        char *low = malloc(600 * KIB), *high = malloc(300 * KIB);
        CHECK(low != NULL && high != NULL);
        memset(low, 1, 600 * KIB);
        free(low);
        malloc_trim(0);
        CHECK(hmm_heap_check(hmm_process_heap()) == NULL);
        free(high);
        malloc_trim(0);
        CHECK(hmm_heap_check(hmm_process_heap()) == NULL);
        for (int k = 3 * i; k < 3 * i + 3; k++)
            CHECK((blocks[k] = malloc(200 * KIB)) != NULL && memset(blocks[k], k, 200 * KIB));
    }
    give_all(120, 200 * KIB);
    CHECK(hmm_heap_check(hmm_process_heap()) == NULL);
}

/* ---- What is freed that is not there, or not the heap's ---- */

/* Its address space is gone meanwhile. */
static void absent_twice(void)
{
    limit(RLIMIT_AS, status("VmSize:") + 200 * MIB);
    void *p = malloc(50 * MIB), *above = malloc(100);
    CHECK(p != NULL && above != NULL);
    free(p);
    malloc_trim(0);
    KEEP(p);
    free(p);
}

/* A library that has the C library's malloc, whatever is loaded before it. */
static void deepbind(void)
{
    void *library = dlopen(getenv("DEEPBIND"), RTLD_NOW | RTLD_DEEPBIND);
    CHECK(library != NULL);
    void *(*made)(void);
    *(void **)&made = dlsym(library, "made");
    CHECK(made != NULL);
    free(made());
}

static const struct a_case cases[] = {
    {"address-space", address_space},
    {"data", data},
    {"count", count},
    {"count-of-64-kib", count_of_64_kib},
    {"count-of-100-mib", count_of_100_mib},
    {"charged", charged},
    {"holes", holes},
    {"in-holes", in_holes},
    {"locked", locked},
    {"in-the-way", in_the_way},
    {"many-in-the-way", many_in_the_way},
    {"always-in-the-way", always_in_the_way},
    {"absent-twice", absent_twice},
    {"deepbind", deepbind},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return run_case(cases, argc, argv);
}
