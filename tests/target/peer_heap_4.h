/* SPDX-License-Identifier: MIT */
/* For count.c: heap_4.c of FreeRTOS, whose sources are the user's. It has one heap, in an array of
 * its own: it is the same heap each time, and is made in its own size only. */
#include "FreeRTOS.h"

typedef void count_heap;

static count_heap *count_create(void *memory, size_t size)
{
    return size == configTOTAL_HEAP_SIZE ? memory : NULL;
}

static void *count_malloc(count_heap *h, size_t size)
{
    (void)h;
    return pvPortMalloc(size);
}

static void count_free(count_heap *h, void *block)
{
    (void)h;
    vPortFree(block);
}
