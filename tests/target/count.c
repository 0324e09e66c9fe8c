/* SPDX-License-Identifier: MIT */
/*
 * On a bare machine of QEMU with -icount shift=0: how many bytes of a heap in 4, 16, 64 and 256 KiB
 * of memory the largest block cannot have; and the instructions of malloc and free in a heap of 16
 * KiB. Prints them as "lost A B C D", "malloc MEAN MOST free MEAN MOST" and "worst MALLOC FREE"; on
 * ARM those of one call are multiples of 40, since its timer ticks so often.
 *
 * The workload: up to 96 blocks, ten in sixteen of fewer than 100 bytes, five of fewer than 400,
 * one of fewer than 1,500; 40,000 operations.
 *
 * The worst is that of sequences which an adversary would choose: the heap is full of holes that
 * are too small, in rising, falling and equal sizes, and then of blocks without a hole above.
 *
 * The allocator is hmm.h's, with COUNT_STRATEGY; or COUNT_PEER's, a header beside this one.
 */
#include <stddef.h>
#include <stdint.h>

#if defined(COUNT_PEER)
#include COUNT_PEER
#else
#include "hmm.h"

typedef struct hmm_heap count_heap;

static count_heap *count_create(void *memory, size_t size)
{
    return hmm_heap_create(memory, size, COUNT_STRATEGY);
}

static void *count_malloc(count_heap *h, size_t size)
{
    return hmm_heap_malloc(h, size);
}

static void count_free(count_heap *h, void *block)
{
    hmm_heap_free(h, block);
}
#endif

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
    count_heap *h = count_create(memory, size);
    while (h && n != 0 && count_malloc(h, n) == NULL)
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

static uint32_t idle, worst[2];

/* What reading the clock and calling a function take, to be subtracted. */
static void count_idle(void *h)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t from = now();
        nothing(h, i);
        sum += between(from, now());
    }
    idle = sum / 1000;
}

static void *worst_malloc(count_heap *h, size_t size)
{
    uint32_t from = now();
    void *p = count_malloc(h, size);
    uint32_t took = between(from, now());
    if (took > worst[0])
        worst[0] = took;
    return p;
}

static void worst_free(count_heap *h, void *block)
{
    uint32_t from = now();
    count_free(h, block);
    uint32_t took = between(from, now());
    if (took > worst[1])
        worst[1] = took;
}

enum { TEETH = 512 };
static void *tooth[TEETH], *gap[TEETH];

/* Holes of `size`, `size + step` ... bytes between blocks in use, as many as there is room for, but
 * for `rest` bytes; then requests that pass them, and the blocks are freed, the lowest last. */
static void comb(size_t size, size_t step, size_t rest)
{
    count_heap *h = count_create(memory, HEAP);
    void *kept = rest != 0 ? count_malloc(h, rest) : NULL;
    unsigned n = 0;
    while (n < TEETH && (gap[n] = count_malloc(h, size + n * step)) != NULL) {
        tooth[n] = count_malloc(h, 1);
        n++;
        if (tooth[n - 1] == NULL)
            break;
    }
    for (unsigned i = 0; i < n; i++)
        worst_free(h, gap[i]);
    for (size_t wanted = size; wanted < HEAP; wanted += wanted / 8 + 1) {
        void *p = worst_malloc(h, wanted);
        if (p != NULL)
            worst_free(h, p);
    }
    if (kept != NULL)
        worst_free(h, kept);
    for (unsigned i = n; i-- != 0;)
        if (tooth[i] != NULL)
            worst_free(h, tooth[i]);
}

/* No hole at all, and then the lowest is freed. */
static void wall(size_t size)
{
    count_heap *h = count_create(memory, HEAP);
    unsigned n = 0;
    while (n < TEETH && (tooth[n] = worst_malloc(h, size)) != NULL)
        n++;
    for (unsigned i = 0; i < n; i += 2)
        worst_free(h, tooth[i]);
}

static void count_worst(void)
{
    static const size_t sizes[] = {1, 20, 60, 200, 520, 900};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        comb(sizes[i], 0, 0);
        comb(sizes[i], 8, 0);
        comb(sizes[i], 1, 2000);
        wall(sizes[i]);
    }
    target_say("worst");
    say_number(worst[0] > idle ? worst[0] - idle : 0);
    say_number(worst[1] > idle ? worst[1] - idle : 0);
    target_say("\n");
}

static void count_instructions(void)
{
    count_heap *h = count_create(memory, HEAP);
    count_idle(h);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        unsigned slot = random_below(SLOTS), which = slots[slot] != NULL;
        size_t size = random_size();
        uint32_t from = now(), to;
        if (which) {
            count_free(h, slots[slot]);
            to = now();
            slots[slot] = NULL;
        } else {
            slots[slot] = count_malloc(h, size);
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
    count_worst();
    return 0;
}
