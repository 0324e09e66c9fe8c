/* SPDX-License-Identifier: MIT */
/*
 * The smallest heap in which a trace completes, in the code and the structures of the target: for
 * scripts/target-heap, which compiles it with hmm.c for the target or alike, and runs it.
 *
 *     -DTRACE_DATA='"data.h"' -DDEVICE_STRATEGY=HMM_BEST_FIT -DDEVICE_MEMORY=BYTES
 *     -DHMM_GRANULE=8u [-DDEVICE_TARGET]
 *
 * Prints "smallest N": N bytes, a multiple of HMM_GRANULE, will do, and a granule less does not;
 * both were tried. Or "too small": not even DEVICE_MEMORY does. It does not say that no smaller
 * heap does: with segregated, and where blocks are resized, a request that finds the end of the
 * memory near may be served from elsewhere.
 */
#include "trace.h"

#if defined(DEVICE_TARGET)
void target_say(const char *text);
#else
#include <stdio.h>
static void target_say(const char *text)
{
    fputs(text, stdout);
}
#endif

enum { STEP = HMM_GRANULE };

static _Alignas(4096) unsigned char memory[DEVICE_MEMORY];
static void *slots[TRACE_SLOTS];

static int completes(size_t size)
{
    const uint32_t *at = trace_words;
    struct trace_op op;
    struct hmm_heap *heap = hmm_heap_create(memory, size, DEVICE_STRATEGY);
    if (heap == NULL)
        return 0;
    for (size_t i = 0; i < TRACE_SLOTS; i++)
        slots[i] = NULL;
    for (uint32_t i = 0; i < TRACE_OPERATIONS; i++) {
        at = trace_next(at, &op);
        if (!trace_do(heap, slots, &op))
            return 0;
    }
    return 1;
}

static void say_number(size_t value)
{
    char text[24];
    unsigned i = sizeof text - 1;
    text[i] = 0;
    do {
        text[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    target_say(text + i);
}

int main(void)
{
    size_t fails = 0, does = DEVICE_MEMORY / STEP * STEP;
    if (!completes(does)) {
        target_say("too small\n");
        return 1;
    }
    while (does - fails > STEP) {
        const size_t middle = (fails + (does - fails) / 2) / STEP * STEP;
        if (completes(middle))
            does = middle;
        else
            fails = middle;
    }
    target_say("smallest ");
    say_number(does);
    target_say("\n");
    return 0;
}
