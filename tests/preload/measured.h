/* SPDX-License-Identifier: MIT */
/*
 * What the programs about a process's memory share: what it has, by the system's word and by the
 * heap's. The heap's functions are there under the preload library only.
 */
#ifndef HMM_TEST_MEASURED_H
#define HMM_TEST_MEASURED_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "case.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

struct hmm_heap;
struct hmm_heap *hmm_process_heap(void);
const char *hmm_heap_check(const struct hmm_heap *heap);
#pragma weak hmm_process_heap
#pragma weak hmm_heap_check

/* What a line of /proc/self/status says, in bytes. */
static inline size_t status(const char *what)
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

/* All 0 without the library. */
static inline struct hmm_stats_head stats_now(void)
{
    struct hmm_stats_head s = {0};
    if (hmm_heap_stats != NULL)
        hmm_heap_stats(hmm_process_heap(), &s);
    return s;
}

#endif
