/* SPDX-License-Identifier: MIT */
/*
 * The process heap's region: a range of addresses in which memory is mapped in place as the heap
 * commits it, and unmapped when the heap has left it (mapped.h). Nothing is reserved. Implements
 * process/region.h; calls mapped.c and the system.
 *
 * The range has 64 GiB for the region, then the emergency pool, then two places for a strategy's
 * state: while the strategy is switched there are two.
 *
 *     base   | region: control, blocks ... tables | pool | state | state |
 *
 * Where no such range is found (32 bits, and where the kernel's layout is another) the region is
 * address space that is reserved without access: as much as the system grants, the half, the
 * quarter and so on. With HMM_HEAP_SIZE the region has that size, and the state lies in it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* MAP_NORESERVE */
#endif
#include "process/region.h"

#include "base/clock.h"
#include "mapped.h"
#include "process/env.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* The region begins on a multiple of this, which is a multiple of the page on all systems. So the
 * offsets of blocks within pages are the same in every process. */
#define REGION_ALIGN ((size_t)2 << 20)

/* No smaller region is tried. */
#define REGION_MIN ((size_t)64 << 10)

/* What is smaller becomes so large: a page for blocks, and one for the table of large ones. */
#define REGION_LEAST ((size_t)8 << 10)

/* The emergency pool has a 16th of the region's size, but at most POOL_MAX. */
#define POOL_PART 16
#define POOL_MAX ((size_t)64 << 20)

const char hmm__region_user[] = "preload library";
const bool hmm__region_in_two_steps = true;

/* How far past a mapping in the way is tried first. */
#define PAST_MIN ((size_t)64 << 10)

/* Addresses for one state. */
#define STATE_MAX ((uint64_t)4 << 30)

static struct {
    char *base, *pool, *states; /* states: NULL: they lie in the region */
    size_t size, pool_size, page;
    bool in_place; /* mapped as it grows; else reserved */
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

/* Of the part of the range that the kernel leaves alone. */
static bool find_range(size_t wanted)
{
    size_t size = whole_pages(wanted != 0 ? wanted : hmm__region_max());
    size_t pool = whole_pages(size / POOL_PART < POOL_MAX ? size / POOL_PART : POOL_MAX);
    uint64_t states = wanted != 0 ? 0 : 2 * STATE_MAX;
    if (states + size + pool + REGION_ALIGN > SIZE_MAX)
        return false;
    char *low = hmm__map_find(size + pool + (size_t)states + REGION_ALIGN, region.page);
    if (low == NULL)
        return false;
    region.base = low + REGION_ALIGN;
    region.size = size;
    region.pool = region.base + size;
    region.pool_size = pool;
    region.states = wanted != 0 ? NULL : region.pool + pool;
    hmm__map_guard(region.base);
    return region.in_place = true;
}

static void reserve_max(size_t wanted)
{
    size_t max = max_allowed();
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
    region.page = getauxval(AT_PAGESZ);
    if (*size != 0 && *size < REGION_LEAST)
        *size = REGION_LEAST;
    if (region.base == NULL && !find_range(*size))
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

static bool commit_reserved(char *from, char *to, bool huge_pages)
{
    from = (char *)((uintptr_t)from & ~(uintptr_t)(region.page - 1));
    size_t size = whole_pages((size_t)(to - from));
    if (mprotect(from, size, PROT_READ | PROT_WRITE) != 0)
        return false;
    if (!huge_pages)
        madvise(from, size, MADV_NOHUGEPAGE);
    return true;
}

/* hmm__page_source.commit. The first call is for the control structures. Of large ones only a few
 * scattered bytes are used for long: huge pages would waste memory. */
static bool commit(char *from, char *to)
{
    static bool not_first;
    int code = errno;
    bool huge_pages = not_first && (region.states == NULL || from < region.states);
    bool done =
        region.in_place ? hmm__map(from, to, huge_pages) : commit_reserved(from, to, huge_pages);
    not_first = true;
    errno = code;
    return done;
}

static bool commit_pool(char *from, char *to)
{
    int code = errno;
    bool done = region.in_place ? hmm__map_pool(region.pool, to) : commit_reserved(from, to, true);
    errno = code;
    return done;
}

/* hmm__page_source.unmap: what is reserved stays so. */
static void unmap(char *from, char *to)
{
    int code = errno;
    if (region.in_place)
        hmm__map_remove(from, to);
    errno = code;
}

/* hmm__page_source.past: tries twice as far each time. What lies in the way is hardly larger than
 * twice the distance, and addresses cost nothing. */
static char *past(char *from, size_t bytes, size_t distance_max)
{
    int code = errno;
    char *at = NULL;
    from = (char *)(((uintptr_t)from + region.page - 1) & ~(uintptr_t)(region.page - 1));
    for (size_t far = PAST_MIN; region.in_place && hmm__map_is_blocked(); far *= 2) {
        if (far > distance_max || from + far + bytes > region.base + region.size)
            break;
        if (hmm__map(from + far, from + far + bytes, true)) {
            at = from + far;
            break;
        }
    }
    errno = code;
    return at;
}

static char *state_place(unsigned which, size_t *max)
{
    *max = (size_t)STATE_MAX;
    return region.states ? region.states + which * (size_t)STATE_MAX : NULL;
}

static size_t mapped(void)
{
    return region.in_place ? hmm__map_bytes() : region.size;
}

/* hmm__page_source.limited: what counts is what is mapped. The heap deals in pages of 4 KiB. */
static bool limited(void)
{
    struct rlimit limit;
    if (!region.in_place || region.page != 4096)
        return false;
    return (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) ||
           (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY);
}

static bool vacate(char *from, char *to)
{
    int code = errno;
    bool done = hmm__map_vacate(from, to);
    errno = code;
    return done;
}

static enum hmm__occupied occupy(char *from, char *to)
{
    int code = errno;
    enum hmm__occupied done = hmm__map_occupy(from, to);
    errno = code;
    return done;
}

static bool forget(char *from, char *to, char *end)
{
    int code = errno;
    bool done = hmm__map_forget(from, to, end);
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

static const struct hmm__page_source page_source = {.commit = commit,
                                                    .decommit = decommit,
                                                    .clock = clock_ms,
                                                    .unmap = unmap,
                                                    .past = past,
                                                    .state_place = state_place,
                                                    .mapped = mapped,
                                                    .limited = limited,
                                                    .vacate = vacate,
                                                    .occupy = occupy,
                                                    .forget = forget};
static const struct hmm__page_source pool_source = {.commit = commit_pool};
const struct hmm__page_source *const hmm__region_page_source = &page_source;
const struct hmm__page_source *const hmm__region_pool_source = &pool_source;
