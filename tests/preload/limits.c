/* SPDX-License-Identifier: MIT */
/*
 * What a program can have within limits, and where other mappings are in the way. Runs with the
 * preload library and without it: `count ...` prints how many blocks of 1 MiB there are.
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "case.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define BLOCKS 8192

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

static size_t status(const char *what)
{
    static char text[8192];
    FILE *f = fopen("/proc/self/status", "r");
    CHECK(f != NULL);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    const char *at = strstr(text, what);
    CHECK(at != NULL);
    return strtoul(at + strlen(what) + 1, NULL, 10) * KIB;
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

static const struct a_case cases[] = {
    {"address-space", address_space},
    {"data", data},
    {"count", count},
    {"locked", locked},
    {"comes-back", comes_back},
    {"in-the-way", in_the_way},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return run_case(cases, argc, argv);
}
