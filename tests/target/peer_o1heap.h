/* SPDX-License-Identifier: MIT */
/* For count.c: o1heap, whose sources are the user's. */
#include "o1heap.h"

typedef O1HeapInstance count_heap;

static count_heap *count_create(void *memory, size_t size)
{
    return o1heapInit(memory, size);
}

static void *count_malloc(count_heap *h, size_t size)
{
    return o1heapAllocate(h, size);
}

static void count_free(count_heap *h, void *block)
{
    o1heapFree(h, block);
}
