/* SPDX-License-Identifier: MIT */
/*
 * A device's program: does on a heap of DEVICE_HEAP bytes what a trace says that another program
 * did. Each address, as its distance from the array, is held against a plain scan (model.c), and
 * goes into a number that is printed: two builds that print the same have placed all alike.
 *
 *     -DTRACE_DATA='"data.h"'  the trace: trace.h
 *     -DDEVICE_HEAP=BYTES      of the heap
 *     -DDEVICE_STRATEGY=HMM_BEST_FIT -DDEVICE_RULE=MODEL_BEST_FIT
 *     -DDEVICE_RING='"FILE"'   writes the heap's events into a ring, and what is in it to the file
 *     -DDEVICE_TARGET          a bare machine of QEMU: tests/target/start.c; else a C library
 *                              prints
 *
 * The ring has 1 KiB; the main loop empties it every 16 operations. On a device without semihosting
 * device_write sends the bytes by a UART.
 *
 * Exit code 0: all operations were served, and where the model has them. 1: one was not served, or
 * is elsewhere.
 */
#include "model.h"
#include "trace.h"

#if defined(DEVICE_TARGET)
void target_say(const char *text);
int target_open(const char *name);
int target_write(int file, const void *bytes, size_t count);
#define device_open target_open
#define device_write target_write
#else
#include <stdio.h>
static void target_say(const char *text)
{
    fputs(text, stdout);
}
#if defined(DEVICE_RING)
static FILE *written;
static int device_open(const char *name)
{
    written = fopen(name, "wb");
    return written != NULL;
}
static int device_write(int file, const void *bytes, size_t count)
{
    (void)file;
    return fwrite(bytes, 1, count, written) == count;
}
#endif
#endif

#if TRACE_ALIGNED
#error "the model has no aligned blocks"
#endif

static _Alignas(64) unsigned char memory[DEVICE_HEAP];
static void *slots[TRACE_SLOTS];
static uint32_t places[TRACE_SLOTS];
static uint32_t hash = UINT32_C(2166136261);

static void say_number(uint32_t value, uint32_t base)
{
    char text[11];
    unsigned i = sizeof text - 1;
    text[i] = 0;
    do {
        text[--i] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    target_say(text + i);
}

static void say(const char *before, uint32_t number, const char *after)
{
    target_say(before);
    say_number(number, 10);
    target_say(after);
}

/* ---- The ring ---- */

#if defined(DEVICE_RING)
static uint32_t ring_memory[256];
static struct hmm_ring *ring;
static int events;

static int drain(void)
{
    uint32_t words[32], count;
    while ((count = hmm_ring_take(ring, words, 32)) != 0)
        if (!device_write(events, words, count * sizeof *words))
            return 0;
    return ring->lost == 0;
}

static int begin_events(void)
{
    ring = hmm_ring_start(ring_memory, sizeof ring_memory, 0);
    events = device_open(DEVICE_RING);
    hmm_set_trace(hmm_ring_event, ring);
    return events > 0;
}
#else
static int drain(void)
{
    return 1;
}

static int begin_events(void)
{
    return 1;
}
#endif

/* ---- The replay ---- */

static uint32_t place_of(const void *p)
{
    return p != NULL ? (uint32_t)((const unsigned char *)p - memory) / 8 : 0;
}

/* The model does it, too: the place of the block. */
static uint32_t model_do(const struct trace_op *op)
{
    uint32_t was = places[op->slot], place = 0;
    if (op->kind == TRACE_ALLOC)
        place = model_malloc(op->size);
    else if (op->kind == TRACE_RESIZE)
        place = model_realloc(was, op->size);
    else
        model_free(was);
    if (place != 0 || op->kind == TRACE_FREE || op->size == 0)
        places[op->slot] = place;
    return places[op->slot];
}

/* The heap, and where its first block is: the model needs no more of it. */
static struct hmm_heap *begin(void)
{
    struct hmm_heap *heap = hmm_heap_create(memory, sizeof memory, DEVICE_STRATEGY);
    void *first = heap != NULL ? hmm_heap_malloc(heap, 1) : NULL;
    if (first == NULL)
        return NULL;
    hmm_heap_free(heap, first);
    model_start(DEVICE_RULE, place_of(first), sizeof memory / 8);
    return heap;
}

/* How many operations were served, and in *top the end of the highest block. */
static uint32_t replay(struct hmm_heap *heap, uint32_t *top, int *alike)
{
    const uint32_t *at = trace_words;
    struct trace_op op;
    *top = 0;
    for (uint32_t i = 0; i < TRACE_OPERATIONS; i++) {
        at = trace_next(at, &op);
        const int served = trace_do(heap, slots, &op);
        const uint32_t place = place_of(slots[op.slot]), expected = model_do(&op);
        const uint32_t end = place_of(hmm_heap_break(heap));
        hash = (hash ^ place) * UINT32_C(16777619);
        if (*top < end)
            *top = end;
        *alike = place == expected && (i % 16 != 0 || drain());
        if (!served || !*alike)
            return i;
    }
    return TRACE_OPERATIONS;
}

int main(void)
{
    uint32_t top;
    int alike = 1;
    struct hmm_heap *heap = begin();
    if (heap == NULL || !begin_events()) {
        target_say("no heap\n");
        return 1;
    }
    const uint32_t served = replay(heap, &top, &alike);
    alike = alike && drain();
    say("operations served: ", served, "");
    say(" of ", TRACE_OPERATIONS, "\n");
    say("highest break: ", top * 8, "\n");
    target_say("addresses: ");
    say_number(hash, 16);
    target_say(alike ? ", as the model has them\n" : ", and the model has another\n");
    return served != TRACE_OPERATIONS || !alike;
}
