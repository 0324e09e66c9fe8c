/* SPDX-License-Identifier: MIT */
/*
 * On a bare machine of QEMU with -icount shift=0: the bytes of memory that one block cannot have,
 * of 4, 16, 64 and 256 KiB; and the instructions of malloc and free in a heap of 16 KiB. Prints
 * them as "lost A B C D" and "malloc MEAN MOST free MEAN MOST"; on ARM the means only, since its
 * timer ticks every 40 instructions.
 *
 * The workload: up to 96 blocks, ten in sixteen of fewer than 100 bytes, five of fewer than 400,
 * one of fewer than 1,500; 40,000 operations.
 */
#include "hmm.h"

void target_say(const char *text);

enum { SLOTS = 96, OPERATIONS = 40000, HEAP = 16 << 10 };

static _Alignas(64) unsigned char memory[256 << 10];
static void *slots[SLOTS];
static uint32_t state = 12345;

static uint32_t random_below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return (state >> 8) % n;
}

#if defined(__arm__)
#define SYSTICK ((volatile uint32_t *)0xE000E010)
enum { TICK = 40 };
static void start_clock(void)
{
    SYSTICK[1] = 0xFFFFFF;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
}

static uint32_t now(void)
{
    return 0xFFFFFF - SYSTICK[2];
}

static uint32_t between(uint32_t from, uint32_t to)
{
    return ((to - from) & 0xFFFFFF) * TICK;
}
#else
static void start_clock(void)
{
}

static uint32_t now(void)
{
    uint32_t count;
    __asm__ volatile("csrr %0, minstret" : "=r"(count));
    return count;
}

static uint32_t between(uint32_t from, uint32_t to)
{
    return to - from;
}
#endif

static void say_number(uint32_t value)
{
    char text[12];
    unsigned i = sizeof text - 1;
    text[i] = 0;
    do {
        text[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    text[--i] = ' ';
    target_say(text + i);
}

static void count_lost(size_t size)
{
    size_t n = size;
    struct hmm_heap *h = hmm_heap_create(memory, size, COUNT_STRATEGY);
    void *p = NULL;
    while (h && n != 0 && (p = hmm_heap_malloc(h, n)) == NULL)
        n--;
    say_number((uint32_t)(size - n));
}

static struct {
    uint32_t calls, sum, most;
} tally[2];

static void count_one(unsigned which, uint32_t instructions)
{
    tally[which].calls++;
    tally[which].sum += instructions;
    if (instructions > tally[which].most)
        tally[which].most = instructions;
}

static size_t random_size(void)
{
    uint32_t kind = random_below(16);
    return kind < 10 ? random_below(100) : kind < 15 ? random_below(400) : random_below(1500);
}

/* What it takes to read the clock and to call a function that does nothing. */
__attribute__((noipa)) static void *nothing(void *h, size_t size)
{
    return (char *)h + size;
}

static void count_instructions(void)
{
    struct hmm_heap *h = hmm_heap_create(memory, HEAP, COUNT_STRATEGY);
    uint32_t idle = 0;
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t from = now();
        nothing(h, i);
        idle += between(from, now());
    }
    idle /= 1000;
    for (unsigned i = 0; i < OPERATIONS; i++) {
        unsigned slot = random_below(SLOTS), which = slots[slot] != NULL;
        size_t size = random_size();
        uint32_t from = now(), to;
        if (which) {
            hmm_heap_free(h, slots[slot]);
            to = now();
            slots[slot] = NULL;
        } else {
            slots[slot] = hmm_heap_malloc(h, size);
            to = now();
        }
        count_one(which, between(from, to));
    }
    for (unsigned which = 0; which < 2; which++) {
        uint32_t mean = tally[which].sum / tally[which].calls;
        target_say(which ? " free" : "malloc");
        say_number(mean > idle ? mean - idle : 0);
        say_number(tally[which].most > idle ? tally[which].most - idle : 0);
    }
    target_say("\n");
}

int main(void)
{
    target_say("lost");
    for (size_t size = 4 << 10; size <= sizeof memory; size *= 4)
        count_lost(size);
    target_say("\n");
    start_clock();
    count_instructions();
    return 0;
}
