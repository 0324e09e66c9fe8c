/* SPDX-License-Identifier: MIT */
/*
 * The FreeRTOS kit over stand-ins of FreeRTOS's headers: random requests, and after each the seven
 * figures of vPortGetHeapStats against a walk of the heap and this program's own counts; that the
 * scheduler is suspended around each, and only then; the hook, and what is refused.
 *
 * On RISC-V under QEMU's -icount also that the figures take as many instructions with many free
 * blocks as with few. Prints "all is well" at the end.
 */
#include "FreeRTOS.h"
#include "heap_hmm.h"
#include "say.h"
#include "task.h"

#include <string.h>

#if !defined(KIT_TARGET)
#include <setjmp.h>
static jmp_buf at_misuse;
static int awaits_misuse;
#endif

#if defined(configAPPLICATION_ALLOCATED_HEAP)
uint8_t ucHeap[configTOTAL_HEAP_SIZE];
#endif

enum { SLOTS = 200, OPERATIONS = 20000 };

static struct {
    unsigned char *p;
    size_t size;
} slots[SLOTS];

static size_t suspended, suspensions, hooks, traced_malloc, traced_free, operation;
static size_t allocations, frees, min_free;

void vTaskSuspendAll(void)
{
    EXPECT(suspended == 0, operation);
    suspended++;
    suspensions++;
}

BaseType_t xTaskResumeAll(void)
{
    EXPECT(suspended == 1, operation);
    suspended--;
    return pdFALSE;
}

void vApplicationMallocFailedHook(void)
{
    EXPECT(suspended == 0, operation);
    hooks++;
}

/* hmm goes no further after a misuse. */
void kit_test_assert(int holds, const char *what)
{
#if !defined(KIT_TARGET)
    if (!holds && awaits_misuse)
        longjmp(at_misuse, 1);
#endif
    expect(holds, what, operation);
}

/* The heap is at work while the scheduler is suspended. */
void kit_test_malloc(const void *block, size_t size)
{
    EXPECT(suspended == 1 && (block == NULL || size >= 16), operation);
    traced_malloc += block != NULL;
}

void kit_test_free(const void *block, size_t size)
{
    EXPECT(suspended == 1 && block != NULL && size >= 16, operation);
    traced_free++;
}

/* ---- The figures, by a walk ---- */

struct seen {
    size_t free_bytes, largest, smallest, blocks;
};

static int visit(void *arg, const struct hmm_block_info *info)
{
    struct seen *s = arg;
    if (info->used)
        return 0;
    s->free_bytes += info->size;
    s->blocks++;
    if (info->size > s->largest)
        s->largest = info->size;
    if (s->smallest == 0 || info->size < s->smallest)
        s->smallest = info->size;
    return 0;
}

/* The memory above the last block, which the walk does not visit, by what else is known. */
static void look(struct seen *s)
{
    struct hmm_stats stats;
    *s = (struct seen){0};
    (void)hmm_heap_walk(pxPortGetHeap(), visit, s);
    hmm_heap_stats(pxPortGetHeap(), &stats);
    struct hmm_block_info top = {.size = stats.capacity - stats.brk};
    if (top.size != 0)
        (void)visit(s, &top);
}

/* With KIT_BY_CLASS that of the smallest class will do: segregated knows no more of those of more
 * than 64 granules. */
static int is_smallest(size_t said, size_t smallest)
{
#if defined(KIT_BY_CLASS)
    if (smallest > 64 * HMM_GRANULE && said > smallest &&
        said - smallest <= smallest / 32 + HMM_GRANULE)
        return 1;
#endif
    return said == smallest;
}

static void check_figures(void)
{
    HeapStats_t said;
    struct seen seen;
    vPortGetHeapStats(&said);
    look(&seen);
    if (min_free > seen.free_bytes)
        min_free = seen.free_bytes;
    EXPECT(said.xAvailableHeapSpaceInBytes == seen.free_bytes, operation);
    EXPECT(xPortGetFreeHeapSize() == seen.free_bytes, operation);
    EXPECT(said.xSizeOfLargestFreeBlockInBytes == seen.largest || seen.largest < 16, operation);
    EXPECT(is_smallest(said.xSizeOfSmallestFreeBlockInBytes, seen.smallest), operation);
    EXPECT(said.xNumberOfFreeBlocks == seen.blocks, operation);
    EXPECT(said.xNumberOfSuccessfulAllocations == allocations, operation);
    EXPECT(said.xNumberOfSuccessfulFrees == frees, operation);
    EXPECT(said.xMinimumEverFreeBytesRemaining == min_free, operation);
    EXPECT(xPortGetMinimumEverFreeHeapSize() == min_free, operation);
    EXPECT(traced_malloc == allocations && traced_free == frees, operation);
    EXPECT(suspended == 0 && hmm_heap_check(pxPortGetHeap()) == NULL, operation);
}

/* ---- Requests ---- */

static size_t random_size(void)
{
    const uint32_t kind = random_below(16);
    return 1 + (kind < 11 ? random_below(100) : kind < 15 ? random_below(500) : random_below(2000));
}

static void fill(size_t slot, void *p, size_t size)
{
    slots[slot].p = p;
    slots[slot].size = size;
    memset(p, (int)(slot & 255), size);
}

static int is_filled(size_t slot, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (slots[slot].p[i] != (unsigned char)slot)
            return 0;
    return 1;
}

static void take(size_t slot)
{
    const size_t size = random_size(), failed = hooks;
    const uint32_t kind = random_below(6), align = 1u << random_below(7);
    unsigned char *p = kind == 0   ? pvPortAlignedMalloc(align, size)
                       : kind == 1 ? pvPortCalloc(1, size)
                                   : pvPortMalloc(size);
    EXPECT(hooks == failed + (p == NULL), operation);
    if (p == NULL)
        return;
    allocations++;
    EXPECT(kind != 0 || ((uintptr_t)p & (align - 1)) == 0, operation);
    for (size_t i = 0; kind == 1 && i < size; i++)
        EXPECT(p[i] == 0, operation);
    fill(slot, p, size);
}

static void resize(size_t slot)
{
    const size_t size = random_size(), was = slots[slot].size;
    unsigned char *p = pvPortRealloc(slots[slot].p, size);
    if (p == NULL)
        return;
    allocations++;
    frees++;
    slots[slot].p = p;
    EXPECT(is_filled(slot, size < was ? size : was), operation);
    fill(slot, p, size);
}

/* All but what hmm keeps in a free block is cleared: links at its low end, and a footer of 4 bytes.
 */
static void give(size_t slot)
{
    unsigned char *p = slots[slot].p;
    const size_t size = slots[slot].size;
    vPortFree(p);
    for (size_t i = 32; i + 4 < size; i++)
        EXPECT(p[i] == 0, operation);
    frees++;
    slots[slot].p = NULL;
}

static void random_requests(void)
{
    min_free = xPortGetFreeHeapSize();
    check_figures();
    for (operation = 1; operation <= OPERATIONS; operation++) {
        const size_t slot = random_below(SLOTS);
        EXPECT(slots[slot].p == NULL || is_filled(slot, slots[slot].size), operation);
        if (slots[slot].p == NULL)
            take(slot);
        else if (random_below(4) == 0)
            resize(slot);
        else
            give(slot);
        check_figures();
        if (operation == OPERATIONS / 2) {
            xPortResetHeapMinimumEverFreeHeapSize();
            min_free = xPortGetFreeHeapSize();
        }
    }
    EXPECT(hooks > 10, hooks);
}

static void what_is_refused(void)
{
    size_t failed = hooks;
    EXPECT(pvPortMalloc(0) == NULL && hooks == failed + 1, 0);
    EXPECT(pvPortMalloc(SIZE_MAX - 1) == NULL && hooks == failed + 2, 0);
    EXPECT(pvPortCalloc(SIZE_MAX / 4, 8) == NULL && hooks == failed + 3, 0);
    EXPECT(pvPortAlignedMalloc(24, 8) == NULL && hooks == failed + 4, 0);
    vPortFree(NULL);
    EXPECT(pvPortRealloc(NULL, 0) == NULL && hooks == failed + 5, 0);
    check_figures();
}

#if !defined(KIT_TARGET)
/* The last test: the scheduler stays suspended. */
static void misuse_is_an_assertion(void)
{
    void *p = pvPortMalloc(100);
    vPortFree(p);
    awaits_misuse = 1;
    if (setjmp(at_misuse) != 0)
        return;
    vPortFree(p);
    EXPECT(awaits_misuse == 0, 0);
}
#endif

#if defined(__riscv)
/* Instructions of vPortGetHeapStats with so many free blocks, exact under -icount. */
static size_t figures_cost(size_t holes)
{
    HeapStats_t said;
    uint32_t from, to;
    vPortHeapResetState();
    for (size_t i = 0; i < 2 * holes; i++)
        slots[i].p = pvPortMalloc(8 + i % 16 * 8);
    for (size_t i = 0; i < 2 * holes; i += 2)
        vPortFree(slots[i].p);
    __asm__ volatile("csrr %0, minstret" : "=r"(from));
    vPortGetHeapStats(&said);
    __asm__ volatile("csrr %0, minstret" : "=r"(to));
    EXPECT(said.xNumberOfFreeBlocks == holes + 1, said.xNumberOfFreeBlocks);
    return to - from;
}

/* They do not follow the number of free blocks. */
static void figures_in_constant_time(void)
{
    const size_t few = figures_cost(4), many = figures_cost(90);
    EXPECT(few > 10 && many <= few + few / 2, many);
    target_say("figures: ");
    say_number(few);
    target_say(" and ");
    say_number(many);
    target_say(" instructions\n");
}
#endif

int main(void)
{
    vPortInitialiseBlocks();
    random_requests();
    what_is_refused();
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].p != NULL)
            give(i);
    check_figures();
    HeapStats_t all;
    vPortGetHeapStats(&all);
    EXPECT(all.xNumberOfFreeBlocks == 1, all.xNumberOfFreeBlocks);
#if defined(__riscv)
    figures_in_constant_time();
#endif
#if !defined(KIT_TARGET)
    misuse_is_an_assertion();
#endif
    return verdict();
}
