/* SPDX-License-Identifier: MIT */
/*
 * A heap's calls as events of 8 or 12 bytes, and a ring of them in memory: what a device without
 * files writes, and `hmm import --from ring` reads. Both sides use this file. hmm-trace(5) has the
 * format in words.
 *
 * An event is two or three words of 32 bits, in the byte order of the device. The lowest three bits
 * of the first are its kind, which no address of a block uses. Addresses are the low 32 bits.
 *
 *     START     granule << 16 | version << 8 | kind, HMM_EVENT_MAGIC
 *     ALLOC     address | kind, size
 *     ALIGNED   address | kind, size, alignment
 *     FREE      address | kind, 0
 *     RESIZE    old address | kind, size, new address
 *     FAILED    kind, size               a request that was not served
 *     LOST      kind, number             so many events are missing here
 *
 * A stream begins with START; one may come again, when the device has started anew. A ring has a
 * head of its own (struct hmm_ring).
 *
 * R1  head and tail count words since the start, and wrap at 2^32; words [tail, head) are whole
 *     events, word n at hmm_ring_words[n % capacity].
 * R2  capacity is a power of two.
 *
 * Freestanding: no function is called. One writes at a time: the caller's lock is the heap's. One
 * may read at the same time, if the ring does not overwrite.
 */
#ifndef HMM_EVENT_H
#define HMM_EVENT_H

#include <stddef.h>
#include <stdint.h>

#define HMM_EVENT_VERSION 1u
#define HMM_EVENT_MAGIC UINT32_C(0x686d6d65)
#define HMM_RING_MAGIC UINT32_C(0x686d6d72)
#define HMM_EVENT_WORDS 3u /* at most */
#define HMM_EVENT_KIND_MASK UINT32_C(7)

enum hmm_event_kind {
    HMM_EVENT_NONE, /* memory that was never written */
    HMM_EVENT_START,
    HMM_EVENT_ALLOC,
    HMM_EVENT_ALIGNED,
    HMM_EVENT_FREE,
    HMM_EVENT_RESIZE,
    HMM_EVENT_FAILED,
    HMM_EVENT_LOST
};

/* How many words an event has that begins with this one; 0: it is none. */
static inline unsigned hmm_event_words(uint32_t first)
{
    const uint32_t kind = first & HMM_EVENT_KIND_MASK;
    return kind == HMM_EVENT_NONE                                  ? 0
           : kind == HMM_EVENT_ALIGNED || kind == HMM_EVENT_RESIZE ? 3
                                                                   : 2;
}

/* ---- Events: each writes words and returns their bytes. ---- */

static inline unsigned hmm_event_put2(uint32_t *words, uint32_t first, uint32_t second)
{
    words[0] = first;
    words[1] = second;
    return 8;
}

static inline unsigned hmm_event_start(uint32_t *words, uint32_t granule)
{
    return hmm_event_put2(words, granule << 16 | HMM_EVENT_VERSION << 8 | HMM_EVENT_START,
                          HMM_EVENT_MAGIC);
}

static inline unsigned hmm_event_alloc(uint32_t *words, uint32_t address, uint32_t size)
{
    return hmm_event_put2(words, (address & ~HMM_EVENT_KIND_MASK) | HMM_EVENT_ALLOC, size);
}

static inline unsigned hmm_event_aligned(uint32_t *words, uint32_t address, uint32_t size,
                                         uint32_t align)
{
    words[2] = align;
    return hmm_event_put2(words, (address & ~HMM_EVENT_KIND_MASK) | HMM_EVENT_ALIGNED, size) + 4;
}

static inline unsigned hmm_event_free(uint32_t *words, uint32_t address)
{
    return hmm_event_put2(words, (address & ~HMM_EVENT_KIND_MASK) | HMM_EVENT_FREE, 0);
}

static inline unsigned hmm_event_resize(uint32_t *words, uint32_t was, uint32_t now, uint32_t size)
{
    words[2] = now;
    return hmm_event_put2(words, (was & ~HMM_EVENT_KIND_MASK) | HMM_EVENT_RESIZE, size) + 4;
}

static inline unsigned hmm_event_failed(uint32_t *words, uint32_t size)
{
    return hmm_event_put2(words, HMM_EVENT_FAILED, size);
}

static inline unsigned hmm_event_lost(uint32_t *words, uint32_t number)
{
    return hmm_event_put2(words, HMM_EVENT_LOST, number);
}

/* ---- The ring ---- */

struct hmm_ring {
    uint32_t magic;
    uint32_t version;
    uint32_t capacity;            /* words */
    volatile uint32_t head, tail; /* R1 */
    uint32_t lost;                /* events, in all */
    uint32_t unsaid;              /* of these, since the last LOST event */
    uint32_t overwrite; /* when it is full the oldest events go, and the newest stay; else these do
                         * not get in */
};

#define HMM_RING_HEAD 8u /* words before those of the events */

/* The words of the events, which follow the head. C++ has no flexible array member for them. */
static inline uint32_t *hmm_ring_words(struct hmm_ring *ring)
{
    return (uint32_t *)(void *)&ring[1];
}

/* In so many bytes, aligned to four: NULL iff they have no room for a few events. */
static inline struct hmm_ring *hmm_ring_start(void *memory, size_t bytes, int overwrite)
{
    struct hmm_ring *ring = (struct hmm_ring *)memory;
    uint32_t capacity = 8;
    if (bytes < sizeof *ring + capacity * sizeof(uint32_t))
        return NULL;
    while (capacity < UINT32_C(0x10000000) &&
           bytes - sizeof *ring >= (size_t)capacity * 2 * sizeof(uint32_t))
        capacity *= 2;
    ring->magic = HMM_RING_MAGIC;
    ring->version = HMM_EVENT_VERSION;
    ring->capacity = capacity;
    ring->head = ring->tail = 0;
    ring->lost = ring->unsaid = 0;
    ring->overwrite = overwrite != 0;
    return ring;
}

static inline uint32_t hmm_ring_room(const struct hmm_ring *ring)
{
    return ring->capacity - (ring->head - ring->tail);
}

static inline void hmm_ring_append(struct hmm_ring *ring, const uint32_t *words, unsigned count)
{
    const uint32_t head = ring->head;
    uint32_t *to = hmm_ring_words(ring);
    for (unsigned i = 0; i < count; i++)
        to[(head + i) & (ring->capacity - 1)] = words[i];
    ring->head = head + count;
}

/* The oldest event goes. */
static inline void hmm_ring_drop(struct hmm_ring *ring)
{
    const uint32_t first = hmm_ring_words(ring)[ring->tail & (ring->capacity - 1)];
    ring->tail += hmm_event_words(first);
    ring->lost += (first & HMM_EVENT_KIND_MASK) != HMM_EVENT_START;
}

/* To be given to hmm_set_trace, with the ring as its argument. */
static inline void hmm_ring_event(void *arg, const void *bytes, unsigned n)
{
    struct hmm_ring *ring = (struct hmm_ring *)arg;
    const uint32_t *event = (const uint32_t *)bytes;
    const unsigned count = n / 4;
    while (ring->overwrite && hmm_ring_room(ring) < count)
        hmm_ring_drop(ring);
    if (hmm_ring_room(ring) < count + (ring->unsaid != 0 ? 2u : 0u)) {
        ring->lost++;
        ring->unsaid++;
        return;
    }
    if (ring->unsaid != 0) {
        uint32_t said[HMM_EVENT_WORDS];
        hmm_ring_append(ring, said, hmm_event_lost(said, ring->unsaid) / 4);
        ring->unsaid = 0;
    }
    hmm_ring_append(ring, event, count);
}

/* Takes words out, to be sent as a stream: how many, at most `room`. */
static inline uint32_t hmm_ring_take(struct hmm_ring *ring, uint32_t *to, uint32_t room)
{
    const uint32_t there = ring->head - ring->tail, count = there < room ? there : room;
    for (uint32_t i = 0; i < count; i++)
        to[i] = hmm_ring_words(ring)[(ring->tail + i) & (ring->capacity - 1)];
    ring->tail += count;
    return count;
}

#endif
