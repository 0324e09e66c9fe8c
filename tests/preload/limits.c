/* SPDX-License-Identifier: MIT */
/*
 * What a program can have within limits, and where other mappings are in the way. Runs with the
 * preload library and without it: `count ...` prints how many blocks of 1 MiB there are.
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define BLOCKS 65536

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

struct hmm_heap;
struct hmm_heap *hmm_process_heap(void);
void *hmm_heap_break(const struct hmm_heap *heap);
const char *hmm_heap_check(const struct hmm_heap *heap);
#pragma weak hmm_process_heap
#pragma weak hmm_heap_break
#pragma weak hmm_heap_check

static char *blocks[BLOCKS];
static void *many[100 * MIB / 1000];

static size_t status(const char *what)
{
    static char text[8192]; /* without malloc: no block of it lies above those that are looked at */
    int f = open("/proc/self/status", O_RDONLY);
    CHECK(f >= 0);
    ssize_t got = read(f, text, sizeof text - 1);
    CHECK(got > 0);
    text[got] = '\0';
    close(f);
    const char *at = strstr(text, what);
    CHECK(at != NULL);
    return strtoul(at + strlen(what) + 1, NULL, 10) * KIB;
}

struct hmm_stats_head {
    size_t capacity, reserved, control, brk, brk_peak, live_bytes, live_peak, live_blocks;
    char rest[256];
};
void hmm_heap_stats(const struct hmm_heap *heap, struct hmm_stats_head *stats);
#pragma weak hmm_heap_stats

static struct hmm_stats_head stats_now(void)
{
    struct hmm_stats_head s = {0};
    if (hmm_heap_stats != NULL)
        hmm_heap_stats(hmm_process_heap(), &s);
    return s;
}

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
static void of_a_kind(size_t kind)
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
        if (status("VmRSS:") > before + 4 * MIB) {
            fprintf(stderr, "kind %zu, %s: %zu KiB more\n", kind, i ? "another thread" : "this one",
                    (status("VmRSS:") - before) / KIB);
            exit(1);
        }
    }
    exit(0);
}

/* Each in a process of its own, a few at a time. */
static void after_a_burst_any_calls(void)
{
    enum { KINDS = sizeof kinds / sizeof *kinds, AT_ONCE = 4 };
    bool passed = true;
    for (size_t from = 0; from < KINDS; from += AT_ONCE) {
        pid_t children[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++) {
            CHECK((children[i] = fork()) >= 0);
            if (children[i] == 0)
                of_a_kind(from + i);
        }
        for (size_t i = 0; i < AT_ONCE; i++) {
            int code = -1;
            CHECK(waitpid(children[i], &code, 0) == children[i]);
            passed &= code == 0;
        }
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

/* ---- Blocks beyond what a header can say. What is mapped and not touched needs no memory. ---- */

#define HUGE ((size_t)(9 * GIB)) /* only with 64 bits */
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
    {"comes-back", comes_back},
    {"comes-back-at-once", comes_back_at_once},
    {"in-the-way", in_the_way},
    {"many-in-the-way", many_in_the_way},
    {"always-in-the-way", always_in_the_way},
    {"after-a-burst", after_a_burst},
    {"after-a-burst-any-calls", after_a_burst_any_calls},
    {"after-others-have-freed", after_others_have_freed},
    {"index-goes", index_goes},
    {"huge", huge},
    {"huge-from-small", huge_from_small},
    {"many-huge", many_huge},
    {"beyond-the-region", beyond_the_region},
    {"bounded", bounded},
    {"huge-twice", huge_twice},
    {"huge-inside", huge_inside},
    {"huge-inside-realloc", huge_inside_realloc},
    {"absent-twice", absent_twice},
    {"deepbind", deepbind},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return run_case(cases, argc, argv);
}
