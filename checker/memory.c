/* SPDX-License-Identifier: MIT */
/*
 * What a strategy may write: its state and the link bytes of free blocks. The heap's region is
 * compared with a copy around each call; the state lies between bytes that are looked at, and those
 * between pages that cannot be touched.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* MAP_ANONYMOUS */
#endif
#include "heap/heap.h"
#include "watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARD 0xa7     /* around the state */
#define UNCLEARED 0x5b /* in a state that is not handed over zeroed */

/* A region up to this size is compared at each call, a larger one at each 32nd. */
#define SMALL (128u << 10)
#define SELDOM 32

static bool compared; /* whether this call is */

/* ---- The state ---- */

static size_t page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

bool watch_is_guard(const void *address)
{
    const char *p = address;
    return watch.pages != NULL && p >= watch.pages && p < watch.pages + watch.pages_bytes;
}

bool watch_is_old(const void *address)
{
    const char *p = address;
    return watch.old_pages != NULL && p >= watch.old_pages && p < watch.old_pages + watch.old_bytes;
}

/* The old pages stay where they are, but may no longer be touched: a strategy that holds a pointer
 * to where its state was is seen. */
void watch_new_state(size_t bytes, const char *old, size_t kept, bool zero)
{
    size_t inside = (bytes + 2 * page() - 1) / page() * page(), all = inside + 2 * page();
    char *pages = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + page(), inside, PROT_READ | PROT_WRITE) != 0)
        watch_broken("state-too-large", "there is no memory for a state of %zu bytes", bytes);
    char *inner = pages + page(), *state = inner + (inside - bytes) / 2 / 16 * 16;
    memset(inner, GUARD, inside);
    memset(state, zero ? 0 : UNCLEARED, bytes);
    if (old != NULL)
        memcpy(state, old, kept);
    if (watch.pages != NULL)
        mprotect(watch.pages, watch.pages_bytes, PROT_NONE);
    watch.old_pages = watch.pages;
    watch.old_bytes = watch.pages_bytes;
    watch.pages = pages;
    watch.pages_bytes = all;
    watch.state = state;
    watch.state_bytes = bytes;
}

void watch_hold_state(const char *hook)
{
    const char *inner = watch.pages + page(), *end = watch.pages + watch.pages_bytes - page();
    for (const char *p = inner; p < end; p++) {
        if (p == watch.state)
            p += watch.state_bytes;
        if (p < end && *p != (char)GUARD)
            watch_broken("writes-outside", "%s has written byte %td of a state of %zu bytes", hook,
                         p - watch.state, watch.state_bytes);
    }
}

/* ---- The region ---- */

void watch_enter(const char *hook, hmm_ref block)
{
    watch.verdict->hook = hook;
    watch.verdict->block = block;
    watch.verdict->calls++;
    compared = watch.region_bytes <= SMALL || watch.verdict->calls % SELDOM == 0;
    if (compared)
        memcpy(watch.copy, watch.region, watch.region_bytes);
}

static void allow(hmm_ref block, uint32_t granules)
{
    size_t bytes = (size_t)granules * HMM_GRANULE - HMM_LINK_BYTES;
    size_t at = (size_t)block * HMM_GRANULE;
    bytes = bytes < HMM_LINKS_KEPT ? bytes : HMM_LINKS_KEPT;
    memcpy(watch.copy + at, watch.region + at, bytes);
}

static void complain_of_byte(void)
{
    size_t at = 0;
    while (watch.copy[at] == watch.region[at])
        at++;
    size_t ref = (at + HMM_HEADER_BYTES) / HMM_GRANULE;
    watch_broken("writes-outside",
                 "%s has written byte %zu of the heap, which is no link of a free block%s",
                 watch.verdict->hook, at,
                 at < sizeof *watch.heap ? ": the links of block 0"
                 : (at + HMM_HEADER_BYTES) % HMM_GRANULE < 4 && watch.told[ref] != 0 ? ": a header"
                                                                                     : "");
}

void watch_leave(hmm_ref block, uint32_t granules)
{
    watch_hold_state(watch.verdict->hook);
    if (compared) {
        /* The one count that a strategy may add to. */
        ((struct hmm_heap *)(void *)watch.copy)->visited = watch.heap->visited;
        if (memcmp(watch.copy, watch.region, watch.region_bytes) != 0) {
            for (hmm_ref r = 1; r < watch.refs; r++)
                if (watch.told[r] != 0)
                    allow(r, watch.told[r]);
            if (granules != 0)
                allow(block, granules);
            if (memcmp(watch.copy, watch.region, watch.region_bytes) != 0)
                complain_of_byte();
        }
    }
    watch.verdict->hook = NULL;
}

/* ---- All of it ---- */

struct watch_image {
    char *region, *state;
    uint32_t *told;
    uint64_t *since;
    struct watch then;
};

static void *copy_of(const void *from, size_t bytes)
{
    void *to = malloc(bytes + 1);
    if (to == NULL)
        abort();
    return memcpy(to, from, bytes);
}

struct watch_image *watch_save(void)
{
    struct watch_image image = {.then = watch};
    image.region = copy_of(watch.region, watch.region_bytes);
    image.state = copy_of(watch.state, watch.state_bytes);
    image.told = copy_of(watch.told, watch.refs * sizeof *watch.told);
    image.since = copy_of(watch.since, watch.refs * sizeof *watch.since);
    return copy_of(&image, sizeof image);
}

void watch_restore(struct watch_image *image)
{
    watch = image->then;
    memcpy(watch.region, image->region, watch.region_bytes);
    memcpy(watch.state, image->state, watch.state_bytes);
    memcpy(watch.told, image->told, watch.refs * sizeof *watch.told);
    memcpy(watch.since, image->since, watch.refs * sizeof *watch.since);
    free(image->region);
    free(image->state);
    free(image->told);
    free(image->since);
    free(image);
}
