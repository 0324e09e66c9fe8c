/* SPDX-License-Identifier: MIT */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define REGION_ALIGN ((size_t)2 << 20)

void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

void *bench_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (p == NULL)
        bench_die("out of memory");
    return p;
}

void *bench_reserve(size_t size)
{
    char *p = mmap(NULL, size + REGION_ALIGN, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        bench_die("cannot reserve %zu bytes of address space", size);
    return p + (-(uintptr_t)p & (REGION_ALIGN - 1));
}

const struct hmm_strategy *bench_strategy(const char *name)
{
    const struct hmm_strategy *s = hmm_strategy_find(name);
    if (s == NULL)
        bench_die("no strategy '%s'", name);
    return s;
}

void bench_line(const char *strategy, size_t count, size_t failed)
{
    printf("%s %zu %zu\n", strategy, count, failed);
    fflush(stdout);
}

void *bench_nothing(struct hmm_heap *heap, void *block, size_t size)
{
    __asm__ volatile("" : "+r"(heap), "+r"(block), "+r"(size));
    return heap;
}

uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}
