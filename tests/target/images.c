/* SPDX-License-Identifier: MIT */
/* A heap of a firmware build that is saved and attached again, on the host. Returns the number of
 * the step that fails. */
#include "hmm.h"

#include <string.h>

enum { SIZE = 16384, BLOCKS = 24 };

static _Alignas(16) unsigned char memory[SIZE], other[SIZE + 16], copy[SIZE];

int main(void)
{
    struct hmm_heap *h = hmm_heap_create(memory, SIZE, STRATEGY);
    unsigned char *block[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        block[i] = hmm_heap_malloc(h, 40u + (unsigned)i * 16);
        memset(block[i], i, 40);
    }
    for (int i = 0; i < BLOCKS; i += 3)
        hmm_heap_free(h, block[i]);

    memcpy(other + 16, memory, SIZE);
    memset(memory, 0xee, SIZE);
    struct hmm_heap *now = hmm_heap_attach(other + 16, SIZE);
    if (now == NULL || hmm_heap_check(now) != NULL)
        return 1;
    for (int i = 1; i < BLOCKS; i += 3) {
        unsigned char *moved = other + 16 + (block[i] - memory);
        if (*moved != i || moved[39] != i)
            return 2;
        hmm_heap_free(now, moved);
    }
    for (unsigned i = 0; i < 12; i++)
        if (hmm_heap_malloc(now, 30 + i * 40) == NULL)
            return 3;
    if (hmm_heap_check(now) != NULL)
        return 4;

    /* Of another size, and with any byte of the first overwritten: never a heap that is not whole,
     * nor one that reads beyond the memory. */
    memcpy(copy, other + 16, SIZE);
    if (hmm_heap_attach(copy, SIZE - 64) != NULL || hmm_heap_attach(NULL, SIZE) != NULL ||
        hmm_heap_attach(copy, 8) != NULL || hmm_heap_attach(memory, SIZE) != NULL)
        return 5;
    unsigned refused = 0;
    for (int i = 0; i < 2048; i++) {
        memcpy(copy, other + 16, SIZE);
        copy[i] ^= 0x55;
        struct hmm_heap *damaged = hmm_heap_attach(copy, SIZE);
        refused += damaged == NULL;
        if (damaged != NULL && hmm_heap_check(damaged) != NULL)
            return 6;
    }
    return refused > 100 ? 0 : 7;
}
