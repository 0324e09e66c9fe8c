/* SPDX-License-Identifier: MIT */
/*
 * The heap of FreeRTOS on hmm, in place of heap_4.c. Beside it stand hmm.c and hmm.h, which
 * `make firmware STRATEGY=best-fit WITH="stats realloc aligned checks"` writes; of these parts only
 * stats is needed. The README has the settings.
 *
 * Each call suspends the scheduler while it is at the heap, as heap_4 does, so that hmm needs no
 * lock of its own. Not from interrupts, as ever with FreeRTOS.
 *
 * What is free counts whole blocks with their headers, as in heap_4: a block in use takes
 * block_bytes of what was free. Calls hmm.h and task.h.
 */
#include <string.h>

/* So that task.h does not name the MPU's wrappers. */
#define MPU_WRAPPERS_INCLUDED_FROM_API_FILE
#include "FreeRTOS.h"
#include "task.h"
#undef MPU_WRAPPERS_INCLUDED_FROM_API_FILE

#include "heap_hmm.h"

#if configSUPPORT_DYNAMIC_ALLOCATION == 0
#error "heap_hmm.c is not to be built where configSUPPORT_DYNAMIC_ALLOCATION is 0"
#endif
#if !HMM_WITH_STATS
#error "heap_hmm.c needs the part `stats`: make firmware STRATEGY=best-fit WITH=stats"
#endif

/* The unit of hmm.c's blocks and the alignment of its payloads: the same -DHMM_GRANULE is given to
 * both files, or to neither. */
#if defined(HMM_GRANULE)
enum { HEADER_BYTES = 4, GRANULE = HMM_GRANULE };
#else
enum { HEADER_BYTES = 4, GRANULE = sizeof(void *) == 4 ? 8 : 16 };
#endif
_Static_assert(portBYTE_ALIGNMENT <= GRANULE,
               "portBYTE_ALIGNMENT is 16: hmm.c and heap_hmm.c need -DHMM_GRANULE=16u");

#ifndef configHMM_STRATEGY
#define configHMM_STRATEGY HMM_BEST_FIT
#endif
#ifndef configAPPLICATION_ALLOCATED_HEAP
#define configAPPLICATION_ALLOCATED_HEAP 0
#endif
#ifndef configUSE_MALLOC_FAILED_HOOK
#define configUSE_MALLOC_FAILED_HOOK 0
#endif
#ifndef configHEAP_CLEAR_MEMORY_ON_FREE
#define configHEAP_CLEAR_MEMORY_ON_FREE 0
#endif
#ifndef traceMALLOC
#define traceMALLOC(pv, size)
#endif
#ifndef traceFREE
#define traceFREE(pv, size)
#endif

#if configAPPLICATION_ALLOCATED_HEAP == 1
extern uint8_t ucHeap[configTOTAL_HEAP_SIZE];
#else
PRIVILEGED_DATA static uint8_t ucHeap[configTOTAL_HEAP_SIZE];
#endif

PRIVILEGED_DATA static struct {
    struct hmm_heap *heap;
    size_t free_bytes, min_free_bytes;
    size_t allocations, frees;
} kit;

/* ---- With the scheduler suspended ---- */

#if HMM_WITH_CHECKS
/* A double free, a header that was overwritten: where a debugger finds it. */
static void misused(const char *line)
{
    (void)line;
    configASSERT(line == NULL);
}
#endif

/* Makes the heap if there is none. NULL: the array is too small for one. */
static struct hmm_heap *the_heap(void)
{
    struct hmm_stats stats;
    if (kit.heap != NULL)
        return kit.heap;
    kit.heap = hmm_heap_create(ucHeap, sizeof ucHeap, configHMM_STRATEGY);
    if (kit.heap == NULL)
        return NULL;
#if HMM_WITH_CHECKS
    hmm_on_panic(misused);
#endif
    hmm_heap_stats(kit.heap, &stats);
    kit.free_bytes = kit.min_free_bytes = stats.capacity - stats.brk;
    return kit.heap;
}

/* Of a block in use, with its header and what its alignment takes. Blocks are whole granules. */
static size_t block_bytes(const void *block)
{
    return (hmm_heap_usable_size(kit.heap, block) + HEADER_BYTES + GRANULE - 1) &
           ~(size_t)(GRANULE - 1);
}

static void count_allocation(const void *block)
{
    kit.free_bytes -= block_bytes(block);
    if (kit.min_free_bytes > kit.free_bytes)
        kit.min_free_bytes = kit.free_bytes;
    kit.allocations++;
}

/* ---- Requests ---- */

/* Without the scheduler suspended. */
static void *finish(void *block)
{
#if configUSE_MALLOC_FAILED_HOOK == 1
    if (block == NULL)
        vApplicationMallocFailedHook();
#endif
    configASSERT(((size_t)block & portBYTE_ALIGNMENT_MASK) == 0);
    return block;
}

/* alignment 0: none is asked for. */
static void *request(size_t alignment, size_t size)
{
    void *block = NULL;
    vTaskSuspendAll();
    struct hmm_heap *heap = the_heap();
#if HMM_WITH_ALIGNED
    if (heap != NULL && size != 0 && alignment != 0)
        block = hmm_heap_aligned_alloc(heap, alignment, size);
#endif
    if (heap != NULL && size != 0 && alignment == 0)
        block = hmm_heap_malloc(heap, size);
    if (block != NULL)
        count_allocation(block);
    traceMALLOC(block, block != NULL ? block_bytes(block) : size);
    (void)xTaskResumeAll();
    return finish(block);
}

void *pvPortMalloc(size_t xWantedSize)
{
    return request(0, xWantedSize);
}

void *pvPortCalloc(size_t xNum, size_t xSize)
{
    const size_t size = xSize != 0 && xNum > SIZE_MAX / xSize ? SIZE_MAX : xNum * xSize;
    void *block = request(0, size);
    return block != NULL ? memset(block, 0, size) : NULL;
}

#if HMM_WITH_ALIGNED
void *pvPortAlignedMalloc(size_t xAlignment, size_t xWantedSize)
{
    return request(xAlignment != 0 ? xAlignment : 1, xWantedSize);
}
#endif

/* What is no block of this size is left to hmm_heap_free, which says so. */
static void clear(void *block)
{
#if configHEAP_CLEAR_MEMORY_ON_FREE == 1
    const size_t at = (size_t)((uintptr_t)block - (uintptr_t)ucHeap);
    const size_t size = hmm_heap_usable_size(kit.heap, block);
    if (at < sizeof ucHeap && size <= sizeof ucHeap - at)
        memset(block, 0, size);
#else
    (void)block;
#endif
}

void vPortFree(void *pv)
{
    if (pv == NULL)
        return;
    vTaskSuspendAll();
    configASSERT(kit.heap != NULL);
    size_t size = block_bytes(pv);
    clear(pv);
    hmm_heap_free(kit.heap, pv);
    kit.free_bytes += size;
    kit.frees++;
    traceFREE(pv, size);
    (void)xTaskResumeAll();
}

#if HMM_WITH_REALLOC
void *pvPortRealloc(void *pv, size_t xWantedSize)
{
    if (pv == NULL)
        return pvPortMalloc(xWantedSize);
    if (xWantedSize == 0) {
        vPortFree(pv);
        return NULL;
    }
    vTaskSuspendAll();
    configASSERT(kit.heap != NULL);
    size_t was = block_bytes(pv);
    void *block = hmm_heap_realloc(kit.heap, pv, xWantedSize);
    if (block != NULL) {
        kit.free_bytes += was;
        kit.frees++;
        traceFREE(pv, was);
        count_allocation(block);
        traceMALLOC(block, block_bytes(block));
    }
    (void)xTaskResumeAll();
    return finish(block);
}
#endif

/* ---- Looking in ---- */

size_t xPortGetFreeHeapSize(void)
{
    vTaskSuspendAll();
    size_t size = the_heap() != NULL ? kit.free_bytes : 0;
    (void)xTaskResumeAll();
    return size;
}

size_t xPortGetMinimumEverFreeHeapSize(void)
{
    vTaskSuspendAll();
    size_t size = the_heap() != NULL ? kit.min_free_bytes : 0;
    (void)xTaskResumeAll();
    return size;
}

void xPortResetHeapMinimumEverFreeHeapSize(void)
{
    vTaskSuspendAll();
    kit.min_free_bytes = kit.free_bytes;
    (void)xTaskResumeAll();
}

/*
 * Without a walk with best-fit and segregated: hmm counts what is free as it changes, and its index
 * knows the largest and the smallest block (hmm.h has how exactly). The memory above the highest
 * block in use is a free block, too.
 */
void vPortGetHeapStats(HeapStats_t *pxHeapStats)
{
    struct hmm_stats stats = {0};
    size_t smallest = 0;
    vTaskSuspendAll();
    struct hmm_heap *heap = the_heap();
    if (heap != NULL) {
        hmm_heap_stats(heap, &stats);
        smallest = hmm_heap_smallest_free(heap);
    }
    const size_t top = stats.capacity - stats.brk;
    const size_t largest = stats.largest_free != 0 ? stats.largest_free + HEADER_BYTES : top;
    pxHeapStats->xAvailableHeapSpaceInBytes = stats.free_bytes + top;
    pxHeapStats->xSizeOfLargestFreeBlockInBytes = largest;
    pxHeapStats->xSizeOfSmallestFreeBlockInBytes =
        smallest == 0 || (top != 0 && top < smallest) ? top : smallest;
    pxHeapStats->xNumberOfFreeBlocks = stats.free_blocks + (top != 0);
    pxHeapStats->xMinimumEverFreeBytesRemaining = kit.min_free_bytes;
    pxHeapStats->xNumberOfSuccessfulAllocations = kit.allocations;
    pxHeapStats->xNumberOfSuccessfulFrees = kit.frees;
    (void)xTaskResumeAll();
}

struct hmm_heap *pxPortGetHeap(void)
{
    vTaskSuspendAll();
    struct hmm_heap *heap = the_heap();
    (void)xTaskResumeAll();
    return heap;
}

/* ---- Set-up ---- */

/* The heap makes itself at the first request; this does it now. */
void vPortInitialiseBlocks(void)
{
    (void)pxPortGetHeap();
}

/* For a program that starts the scheduler anew: all blocks end. */
void vPortHeapResetState(void)
{
    kit.heap = NULL;
    kit.free_bytes = kit.min_free_bytes = 0;
    kit.allocations = kit.frees = 0;
}
