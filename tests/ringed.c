/* SPDX-License-Identifier: MIT */
/*
 * Stands for a device that records events: writes those of known calls into a ring by the encoder
 * that devices use, and the ring, or what is drained from it, to standard output.
 *
 *     ringed image|stream little|big ROUNDS [BYTES [overwrite]]
 */
#include "base/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t memory[1 << 20];
static struct hmm_ring *ring;
static int swapped, drains;

static void put_words(const uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t w = words[i];
        const unsigned char bytes[4] = {(unsigned char)w, (unsigned char)(w >> 8),
                                        (unsigned char)(w >> 16), (unsigned char)(w >> 24)};
        for (int b = 0; b < 4; b++)
            putchar(bytes[swapped ? 3 - b : b]);
    }
}

static void drain(void)
{
    uint32_t words[7]; /* no multiple of an event's length */
    uint32_t count;
    while ((count = hmm_ring_take(ring, words, 7)) != 0)
        put_words(words, count);
}

static void put(const uint32_t *words, unsigned bytes)
{
    hmm_ring_event(ring, words, bytes);
    if (drains)
        drain();
}

/* Eight calls: a block that stays, one that is resized and freed, an aligned one, a failure. */
static void work(uint32_t round)
{
    uint32_t w[HMM_EVENT_WORDS];
    const uint32_t at = UINT32_C(0x20000000) + round * 512;
    put(w, hmm_event_alloc(w, at + 8, 24));
    put(w, hmm_event_alloc(w, at + 64, 100 + round % 7));
    put(w, hmm_event_aligned(w, at + 256, 48, 64));
    put(w, hmm_event_failed(w, 100000));
    put(w, hmm_event_resize(w, at + 64, at + 320, 60));
    put(w, hmm_event_free(w, at + 256));
    put(w, hmm_event_resize(w, at + 320, at + 320, 70));
    put(w, hmm_event_free(w, at + 320));
}

int main(int argc, char **argv)
{
    uint32_t w[HMM_EVENT_WORDS];
    if (argc < 4)
        return 2;
    const size_t bytes = argc > 4 ? strtoul(argv[4], NULL, 10) : sizeof memory;
    drains = strcmp(argv[1], "stream") == 0;
    swapped = strcmp(argv[2], "big") == 0;
    ring = hmm_ring_start(memory, bytes, argc > 5);
    if (ring == NULL)
        return 3;
    put(w, hmm_event_start(w, 8));
    for (uint32_t i = 0; i < strtoul(argv[3], NULL, 10); i++)
        work(i);
    if (!drains)
        put_words(memory, HMM_RING_HEAD + ring->capacity);
    return 0;
}
