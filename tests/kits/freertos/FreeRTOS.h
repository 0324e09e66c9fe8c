/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for FreeRTOS.h and what it includes, written for tests: as much of it as a heap needs.
 * The names and their meanings are FreeRTOS's; the rest is not.
 */
#ifndef INC_FREERTOS_H
#define INC_FREERTOS_H

#include <stddef.h>
#include <stdint.h>

typedef long BaseType_t;
#define pdFALSE ((BaseType_t)0)
#define pdTRUE ((BaseType_t)1)

#define PRIVILEGED_FUNCTION
#define PRIVILEGED_DATA

/* portmacro.h: of most ports; of RISC-V's 16 */
#ifndef portBYTE_ALIGNMENT
#define portBYTE_ALIGNMENT 8
#endif
#define portBYTE_ALIGNMENT_MASK (portBYTE_ALIGNMENT - 1)

/* FreeRTOSConfig.h */
#ifndef configTOTAL_HEAP_SIZE
#define configTOTAL_HEAP_SIZE ((size_t)(20 * 1024))
#endif
/* configAPPLICATION_ALLOCATED_HEAP 1: the test has ucHeap. */
#define configSUPPORT_DYNAMIC_ALLOCATION 1
#define configUSE_MALLOC_FAILED_HOOK 1
#define configHEAP_CLEAR_MEMORY_ON_FREE 1
void kit_test_assert(int holds, const char *what);
#define configASSERT(x) kit_test_assert((x) != 0, #x)
void kit_test_malloc(const void *block, size_t size);
void kit_test_free(const void *block, size_t size);
#define traceMALLOC(pv, size) kit_test_malloc((pv), (size))
#define traceFREE(pv, size) kit_test_free((pv), (size))

/* portable.h */
typedef struct xHeapStats {
    size_t xAvailableHeapSpaceInBytes;
    size_t xSizeOfLargestFreeBlockInBytes;
    size_t xSizeOfSmallestFreeBlockInBytes;
    size_t xNumberOfFreeBlocks;
    size_t xMinimumEverFreeBytesRemaining;
    size_t xNumberOfSuccessfulAllocations;
    size_t xNumberOfSuccessfulFrees;
} HeapStats_t;

void vPortGetHeapStats(HeapStats_t *pxHeapStats);
void *pvPortMalloc(size_t xWantedSize) PRIVILEGED_FUNCTION;
void *pvPortCalloc(size_t xNum, size_t xSize) PRIVILEGED_FUNCTION;
void vPortFree(void *pv) PRIVILEGED_FUNCTION;
void vPortInitialiseBlocks(void) PRIVILEGED_FUNCTION;
void vPortHeapResetState(void) PRIVILEGED_FUNCTION;
size_t xPortGetFreeHeapSize(void) PRIVILEGED_FUNCTION;
size_t xPortGetMinimumEverFreeHeapSize(void) PRIVILEGED_FUNCTION;
void vApplicationMallocFailedHook(void);

#endif
