/* SPDX-License-Identifier: MIT */
/* A library that is loaded and unloaded (odd.c). */
#include <stdlib.h>

static void *mine;

void *give(size_t size);
void take(void *block);

static __attribute__((constructor)) void begin(void)
{
    mine = calloc(100, 100);
}

static __attribute__((destructor)) void end(void)
{
    free(mine);
}

void *give(size_t size)
{
    return malloc(size);
}

void take(void *block)
{
    free(block);
}
