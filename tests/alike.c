/* SPDX-License-Identifier: MIT */
/*
 * Whether two builds of the library place blocks at the same addresses: carries out a random
 * workload on a heap in an array, and prints a hash of all answers. Two builds that print the same
 * have placed every block at the same distance from the first one and refused the same requests.
 * All payloads are filled, and verified before they are freed.
 *
 *     cc -DALIKE_HEADER='"hmm.h"' -DALIKE_STRATEGY=HMM_BEST_FIT [-DALIKE_REALLOC] [-DALIKE_CALLOC]
 *        [-DALIKE_ALIGNED] [-DALIKE_CHECKS] [-DALIKE_OPERATIONS=N] alike.c hmm.c
 *
 * Both builds must have the same granule. With ALIKE_TARGET it needs no C library: target/start.c
 * prints.
 */
#include ALIKE_HEADER

#if defined(ALIKE_TARGET)
void target_say(const char *text);
#else
#include <stdio.h>
static void target_say(const char *text)
{
    fputs(text, stdout);
}
#endif

#ifndef ALIKE_OPERATIONS
#define ALIKE_OPERATIONS 20000
#endif

enum { SLOTS = 512, ALIGN = 64, ROOM = 160 << 10 };

static unsigned char memory[ROOM];
static struct {
    unsigned char *p;
    size_t size;
} slots[SLOTS];

static uint32_t state, hash;

static uint32_t random_below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return (state >> 8) % n;
}

static void note(uint32_t value)
{
    hash = (hash ^ value) * UINT32_C(16777619);
}

/* A heap whose blocks begin at a multiple of ALIGN, and have `area` bytes: it is laid out anew
 * until its control structures leave so many. NULL: it is not. *first is where the first payload
 * is. */
static struct hmm_heap *heap_of(size_t area, unsigned char **first)
{
    unsigned char *base = memory + (-(uintptr_t)memory & (ALIGN - 1)) + ALIGN;
    size_t control = 256;
    for (int tries = 0; tries < 50; tries++) {
        size_t start = -control & (ALIGN - 1);
        if (start + control + area > ROOM - 2 * ALIGN)
            return NULL;
        struct hmm_heap *h = hmm_heap_create(base + start, control + area, ALIKE_STRATEGY);
        unsigned char *p = h ? hmm_heap_malloc(h, 1) : NULL;
        if (p == NULL) {
            control += 256;
            continue;
        }
        hmm_heap_free(h, p);
        *first = p;
        if ((size_t)(p - (base + start)) == control)
            return h;
        control = (size_t)(p - (base + start));
    }
    return NULL;
}

static void say_number(uint32_t value, uint32_t base, unsigned digits)
{
    char text[11];
    unsigned i = sizeof text - 1;
    text[i] = 0;
    do {
        text[--i] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0 || sizeof text - 1 - i < digits);
    target_say(text + i);
}

/* Returns 0. */
static int complain(size_t area, const char *what, uint32_t operation)
{
    say_number((uint32_t)area, 10, 1);
    target_say(": ");
    target_say(what);
    target_say(", operation ");
    say_number(operation, 10, 1);
    target_say("\n");
    return 0;
}

static size_t random_size(void)
{
    uint32_t kind = random_below(16);
    return kind < 10 ? random_below(100) : kind < 15 ? random_below(900) : random_below(6000);
}

static int is_filled(size_t slot, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (slots[slot].p[i] != (unsigned char)(slot + i))
            return 0;
    return 1;
}

static void fill(size_t slot, unsigned char *p, size_t size)
{
    slots[slot].p = p;
    slots[slot].size = size;
    for (size_t i = 0; p && i < size; i++)
        p[i] = (unsigned char)(slot + i);
}

static void *any_malloc(struct hmm_heap *h, size_t size)
{
    uint32_t kind = random_below(8);
#ifdef ALIKE_ALIGNED
    if (kind == 0)
        return hmm_heap_aligned_alloc(h, (size_t)1 << random_below(7), size);
#endif
#ifdef ALIKE_CALLOC
    if (kind == 1) {
        unsigned char *p = hmm_heap_calloc(h, 1, size);
        for (size_t i = 0; p && i < hmm_heap_usable_size(h, p); i++)
            if (p[i] != 0) {
                target_say("calloc: not zero\n");
                note(1);
            }
        return p;
    }
#endif
    (void)kind;
    return hmm_heap_malloc(h, size);
}

/* 0: a payload is not as it was left. */
static int step(struct hmm_heap *h, const unsigned char *first)
{
    size_t slot = random_below(SLOTS);
    unsigned char *p = slots[slot].p;
    uint32_t kind = random_below(4);
    if (p != NULL && !is_filled(slot, slots[slot].size))
        return 0;
#ifdef ALIKE_REALLOC
    if (p != NULL && kind == 0) {
        size_t size = random_size() + 1, was = slots[slot].size;
        unsigned char *q = hmm_heap_realloc(h, p, size);
        note(q ? (uint32_t)(q - first) : UINT32_MAX);
        if (q == NULL)
            return 1;
        slots[slot].p = q;
        if (!is_filled(slot, size < was ? size : was))
            return 0;
        fill(slot, q, size);
        return 1;
    }
#endif
    (void)kind;
    if (p != NULL) {
        hmm_heap_free(h, p);
        slots[slot].p = NULL;
        return 1;
    }
    size_t size = random_size();
    p = any_malloc(h, size);
    note(p ? (uint32_t)(p - first) : UINT32_MAX);
    fill(slot, p, size);
    return 1;
}

/* 0: the heap is broken, or too small. */
static int run(size_t area)
{
    unsigned char *first;
    struct hmm_heap *h = heap_of(area, &first);
    if (h == NULL)
        return complain(area, "no heap", 0);
    state = 12345 + (uint32_t)area;
    hash = UINT32_C(2166136261);
    for (size_t i = 0; i < SLOTS; i++)
        slots[i].p = NULL;
    for (uint32_t i = 0; i < ALIKE_OPERATIONS; i++) {
        if (!step(h, first))
            return complain(area, "a payload was overwritten", i);
#ifdef ALIKE_CHECKS
        const char *broken = i % 64 == 0 ? hmm_heap_check(h) : NULL;
        if (broken != NULL)
            return complain(area, broken, i);
#endif
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].p != NULL)
            hmm_heap_free(h, slots[i].p);
    void *all = hmm_heap_malloc(h, area - 16);
    note(all ? (uint32_t)((unsigned char *)all - first) : UINT32_MAX);
    say_number((uint32_t)area, 10, 1);
    target_say(": ");
    say_number(hash, 16, 8);
    target_say(all ? "\n" : " in pieces\n");
    return all != NULL;
}

int main(void)
{
    int good = run(3 << 10);
    good &= run(15 << 10);
    good &= run(60 << 10);
    good &= run(120 << 10);
    return !good;
}
