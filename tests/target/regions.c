/* SPDX-License-Identifier: MIT */
/* Several regions of a firmware build, on the host. Returns the number of the step that fails. */
#include "hmm.h"

#include <string.h>

enum { FAST = 1, DMA = 2 };

static _Alignas(64) unsigned char fast[8192], slow[16384];
static int within, events;

static void enter(void *arg)
{
    (void)arg;
    within++;
}

static void leave(void *arg)
{
    (void)arg;
    within--;
}

static void event(void *arg, const void *bytes, unsigned n)
{
    (void)arg;
    (void)bytes;
    events += n != 0 && within == 1;
}

static int is_in(const void *p, const unsigned char *memory, size_t size)
{
    uintptr_t at = (uintptr_t)p, low = (uintptr_t)memory;
    return at >= low && at < low + size;
}

int main(void)
{
    static struct hmm_regions regions;
    hmm_set_lock(enter, leave, NULL);
    hmm_set_trace(event, NULL);
    if (hmm_regions_add(&regions, fast, sizeof fast, FAST | DMA, STRATEGY) != 0 ||
        hmm_regions_add(&regions, slow, sizeof slow, DMA, STRATEGY) != 0 ||
        hmm_regions_add(&regions, slow + 64, 4096, DMA, STRATEGY) != -1)
        return 1;
    unsigned char *p = hmm_regions_malloc(&regions, 100, DMA, FAST);
    unsigned char *q = hmm_regions_malloc(&regions, 100, DMA, 0);
    if (!is_in(p, fast, sizeof fast) || !is_in(q, fast, sizeof fast))
        return 2;
    if (hmm_regions_malloc(&regions, 10, 4, 0) != NULL ||
        hmm_regions_malloc(&regions, 10000, FAST, 0) != NULL)
        return 3;
    memset(p, 7, 100);
    p = hmm_regions_realloc(&regions, p, 10000);
    if (!is_in(p, slow, sizeof slow) || p[0] != 7 || p[99] != 7)
        return 4;
    hmm_regions_free(&regions, p);
    hmm_regions_free(&regions, q);

    struct hmm_heap *h = hmm_regions_heap(&regions, slow);
    struct hmm_constraint c = {.align = 128, .phase = 16, .boundary = 512, .low = slow + 6000};
    int before = events;
    for (int i = 0; i < 8; i++) {
        unsigned char *block = hmm_heap_malloc_within(h, 200, &c);
        uintptr_t at = (uintptr_t)block;
        if (block == NULL || at % 128 != 16 || at / 512 != (at + 199) / 512 || block < slow + 6000)
            return 5;
    }
    c.align = 3;
    if (hmm_heap_malloc_within(h, 8, &c) != NULL)
        return 6;
    if (events - before != 9 || within != 0)
        return 7;
    return hmm_heap_check(h) == NULL ? 0 : 8;
}
