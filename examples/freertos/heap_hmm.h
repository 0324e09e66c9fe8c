/* SPDX-License-Identifier: MIT */
/*
 * What heap_hmm.c offers besides the functions that FreeRTOS declares in portable.h. Include
 * FreeRTOS.h first.
 */
#ifndef HEAP_HMM_H
#define HEAP_HMM_H

#include "hmm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As realloc of C; of size 0 it frees the block and returns NULL, which is no failure. On failure
 * the block stays as it is, and the failed hook is called. */
#if HMM_WITH_REALLOC
void *pvPortRealloc(void *pv, size_t xWantedSize);
#endif

/* At a multiple of xAlignment, a power of two. Freed by vPortFree; pvPortRealloc keeps it. */
#if HMM_WITH_ALIGNED
void *pvPortAlignedMalloc(size_t xAlignment, size_t xWantedSize);
#endif

/* From now on the minimum ever is what it will be from here: recent kernels declare it, too. */
void xPortResetHeapMinimumEverFreeHeapSize(void);

/* The heap, to look into (hmm_heap_walk, hmm_heap_check) while the scheduler is suspended. NULL:
 * configTOTAL_HEAP_SIZE is too small for one. */
struct hmm_heap *pxPortGetHeap(void);

#ifdef __cplusplus
}
#endif
#endif
