/* SPDX-License-Identifier: MIT */
/*
 * The process heap's region as reserved address space: 64 GiB, or the largest half, quarter and so
 * on that the system grants. Implements process/region.h; calls the system only.
 *
 * It is reserved without access. So it does not count where the system promises only the memory
 * that it has (vm.overcommit_memory=2), and a core dump does not contain it. The heap commits
 * pages, which makes them accessible, ahead of its break.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* MAP_NORESERVE */
#endif
#include "process/region.h"

#include "base/clock.h"
#include "process/env.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* The region begins on a multiple of this, which is a multiple of the page on all systems. So the
 * offsets of blocks within pages are the same in every process. */
#define REGION_ALIGN ((size_t)2 << 20)

/* No smaller region is tried. */
#define REGION_MIN ((size_t)64 << 10)

/* The emergency pool has a 16th of the region's size, but at most POOL_MAX. */
#define POOL_PART 16
#define POOL_MAX ((size_t)64 << 20)

const char hmm__region_user[] = "preload library";
const bool hmm__region_in_two_steps = true;

static struct {
    char *base, *pool;
    size_t size, pool_size, page;
} region;

size_t hmm__region_max(void)
{
    return HMM__LARGEST_HEAP;
}

/* Half of a limit on the address space, since the program needs some for stacks and libraries; all
 * of a limit on data, which counts accessible pages only. */
static size_t max_allowed(void)
{
    struct rlimit limit;
    size_t max = hmm__region_max();
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur / 2 < max)
        max = (size_t)limit.rlim_cur / 2;
    if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur < max)
        max = (size_t)limit.rlim_cur;
    return max;
}

static size_t whole_pages(size_t size)
{
    return (size + region.page - 1) & ~(region.page - 1);
}

/* Reserves size bytes at a multiple of REGION_ALIGN, and an inaccessible page below them: the
 * struct at the region's low end has pointers to functions. NULL: the system has no room. */
static char *reserve_region(size_t size)
{
    const size_t room = region.page + REGION_ALIGN;
    char *p =
        mmap(NULL, size + room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t below = region.page + (size_t)(-((uintptr_t)p + region.page) & (REGION_ALIGN - 1));
    if (below != region.page)
        munmap(p, below - region.page);
    if (below != room)
        munmap(p + below + size, room - below);
    return p + below;
}

static void reserve_max(size_t wanted)
{
    size_t max = max_allowed();
    region.page = getauxval(AT_PAGESZ);
    size_t size = whole_pages(wanted != 0 && wanted < max ? wanted : max), pool;
    for (;; size = whole_pages(size / 2)) {
        pool = whole_pages(size / POOL_PART < POOL_MAX ? size / POOL_PART : POOL_MAX);
        region.base = reserve_region(size + pool);
        if (region.base != NULL || size / 2 < REGION_MIN)
            break;
    }
    region.size = size;
    region.pool = region.base ? region.base + size : NULL;
    region.pool_size = pool;
}

void *hmm__region_get(size_t *size)
{
    int code = errno;
    if (region.base == NULL)
        reserve_max(*size);
    errno = code;
    if (*size == 0 || *size > region.size)
        *size = region.size;
    return region.base;
}

char *hmm__region_emergency(size_t *size)
{
    *size = region.pool_size;
    return region.pool;
}

/* hmm__page_source.commit. The first call is for the control structures. Of large ones only a few
 * scattered bytes are used for long: huge pages would waste memory. */
static bool commit(char *from, char *to)
{
    static bool not_first;
    int code = errno;
    from = (char *)((uintptr_t)from & ~(uintptr_t)(region.page - 1));
    size_t size = whole_pages((size_t)(to - from));
    bool done = mprotect(from, size, PROT_READ | PROT_WRITE) == 0;
    if (done && !not_first)
        madvise(from, size, MADV_NOHUGEPAGE);
    not_first = true;
    errno = code;
    return done;
}

/* hmm__page_source.decommit. MADV_DONTNEED, not MADV_FREE: the resident size falls at once, and the
 * pages read as zero. */
static void decommit(char *from, char *to)
{
    int code = errno;
    char *low = (char *)(((uintptr_t)from + region.page - 1) & ~(uintptr_t)(region.page - 1));
    char *high = (char *)((uintptr_t)to & ~(uintptr_t)(region.page - 1));
    if (low >= high || madvise(low, (size_t)(high - low), MADV_DONTNEED) != 0) {
        memset(from, 0, (size_t)(to - from));
    } else {
        memset(from, 0, (size_t)(low - from));
        memset(high, 0, (size_t)(to - high));
    }
    errno = code;
}

static uint64_t clock_ms(void)
{
    int code = errno;
    uint64_t ms = clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000;
    errno = code;
    return ms;
}

static const struct hmm__page_source page_source = {
    .commit = commit, .decommit = decommit, .clock = clock_ms};
const struct hmm__page_source *const hmm__region_page_source = &page_source;
