/* SPDX-License-Identifier: MIT */
/*
 * Address space for the process heap, reserved once: 64 GiB, halved until the system grants it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* MAP_NORESERVE */
#endif
#include "region.h"

#include <sys/mman.h>
#include <sys/resource.h>

/* The region begins on a multiple of this: addresses then repeat from run to run but for it. */
#define REGION_ALIGN ((size_t)2 << 20)

/* Less is of no use to any program. */
#define REGION_LEAST ((size_t)64 << 10)

const char hmm__region_user[] = "preload library";

static void *region;
static size_t region_size;

size_t hmm__region_most(void)
{
    return sizeof(size_t) > 4 ? (size_t)(UINT64_C(64) << 30) : (size_t)2 << 30;
}

/* The heap takes at most half of a limit on the address space: the program needs some too. */
static size_t most_allowed(void)
{
    struct rlimit limit;
    size_t most = hmm__region_most();
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur / 2 < most)
        most = (size_t)limit.rlim_cur / 2;
    return most;
}

/* size bytes at a multiple of REGION_ALIGN; NULL: the system has not got them. */
static void *reserve(size_t size)
{
    size_t with_slack = size + REGION_ALIGN;
    char *p = mmap(NULL, with_slack, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t below = (size_t)(-(uintptr_t)p & (REGION_ALIGN - 1)), above = REGION_ALIGN - below;
    if (below != 0)
        munmap(p, below);
    if (above != 0)
        munmap(p + below + size, above);
    return p + below;
}

void *hmm__region_get(size_t *size)
{
    if (region == NULL) {
        int code = errno;
        size_t page = 4096, most = most_allowed();
        region_size = *size != 0 && *size < most ? *size : most;
        region_size = (region_size + page - 1) & ~(page - 1);
        while ((region = reserve(region_size)) == NULL && region_size / 2 >= REGION_LEAST)
            region_size = region_size / 2 & ~(page - 1);
        errno = code;
    }
    *size = region_size;
    return region;
}
