/* SPDX-License-Identifier: MIT */
/*
 * The events of a device: an image of its ring, or a stream that was taken out of one. See
 * lib/base/event.h, which the device uses too. The byte order shows in the magic.
 */
#include "base/event.h"
#include "import.h"

#include <stdlib.h>
#include <string.h>

struct ring {
    bool begun, swapped, is_image;
    uint64_t at; /* the byte of the file, for complaints */
    unsigned char *image;
    size_t image_bytes, image_room;
};

static uint32_t swap(uint32_t word)
{
    return word >> 24 | (word >> 8 & 0xff00) | (word << 8 & 0xff0000) | word << 24;
}

static uint32_t word_at(const struct ring *r, const unsigned char *bytes, size_t index)
{
    uint32_t word;
    memcpy(&word, bytes + index * 4, sizeof word);
    return r->swapped ? swap(word) : word;
}

/* Whether the file begins as a ring or a stream. */
static bool look(struct ring *r, const unsigned char *bytes, size_t count)
{
    for (int swapped = 0; swapped < 2 && count >= 8; swapped++) {
        r->swapped = swapped != 0;
        r->is_image = word_at(r, bytes, 0) == HMM_RING_MAGIC;
        if (r->is_image || ((word_at(r, bytes, 0) & HMM_EVENT_KIND_MASK) == HMM_EVENT_START &&
                            word_at(r, bytes, 1) == HMM_EVENT_MAGIC))
            return true;
    }
    return false;
}

bool import_ring_begins(const char *bytes, size_t count)
{
    struct ring r = {.begun = false};
    return look(&r, (const unsigned char *)bytes, count);
}

/* ---- Events ---- */

static bool version_is_known(struct import *m, uint32_t version)
{
    return version == HMM_EVENT_VERSION ||
           import_fail(m, "version %lu of the events is not known, only %u", (unsigned long)version,
                       HMM_EVENT_VERSION);
}

/* The device has started anew: no block is live. */
static bool take_start(struct import *m, const uint32_t *w)
{
    if (w[1] != HMM_EVENT_MAGIC)
        return import_fail(m, "damaged: a start without its magic");
    return version_is_known(m, w[0] >> 8 & 0xff) && import_free_all(m);
}

static bool take_aligned(struct import *m, uint32_t address, const uint32_t *w)
{
    const uint32_t align = w[2];
    if (align == 0 || (align & (align - 1)) != 0)
        return import_fail(m, "damaged: an alignment of %lu", (unsigned long)align);
    return import_allocate_aligned(m, address, w[1], (unsigned)__builtin_ctz(align));
}

static bool take_event(struct import *m, const uint32_t *w)
{
    const uint32_t address = w[0] & ~HMM_EVENT_KIND_MASK;
    switch ((enum hmm_event_kind)(w[0] & HMM_EVENT_KIND_MASK)) {
    case HMM_EVENT_START:
        return take_start(m, w);
    case HMM_EVENT_ALLOC:
        return import_allocate(m, address, w[1]);
    case HMM_EVENT_ALIGNED:
        return take_aligned(m, address, w);
    case HMM_EVENT_FREE:
        return import_free(m, address);
    case HMM_EVENT_RESIZE:
        return import_resize(m, address, w[2], w[1]);
    case HMM_EVENT_FAILED:
        m->left_out.failed++;
        return true;
    case HMM_EVENT_LOST:
        m->left_out.lost += w[1];
        return true;
    default:
        return import_fail(m, "damaged: no event begins so");
    }
}

/* ---- A stream ---- */

/* Returns how many bytes it has taken: those of whole events. */
static ptrdiff_t take_stream(struct import *m, struct ring *r, const unsigned char *bytes,
                             size_t count)
{
    size_t done = 0;
    while (count - done >= 8) {
        uint32_t w[HMM_EVENT_WORDS] = {word_at(r, bytes + done, 0)};
        const unsigned words = hmm_event_words(w[0]);
        m->byte = r->at + done;
        if (words == 0) {
            import_fail(m, "damaged: no event begins so");
            return -1;
        }
        if (count - done < words * 4)
            break;
        for (unsigned i = 1; i < words; i++)
            w[i] = word_at(r, bytes + done, i);
        if (!take_event(m, w))
            return -1;
        done += words * 4;
    }
    r->at += done;
    return (ptrdiff_t)done;
}

/* ---- An image, which is taken whole, since the oldest event is anywhere in it ---- */

/* Where the words of struct hmm_ring are in an image. */
enum { MAGIC, VERSION, CAPACITY, HEAD, TAIL, LOST, UNSAID, OVERWRITE };
_Static_assert(offsetof(struct hmm_ring, lost) == LOST * 4 &&
                   sizeof(struct hmm_ring) == HMM_RING_HEAD * 4,
               "the ring's head is words in this order");

#define MOST_WORDS (UINT32_C(1) << 28) /* a quarter of a device's address space */

/* Bytes behind the ring are not kept. */
static size_t wanted(const struct ring *r, size_t count)
{
    if (r->image_bytes < HMM_RING_HEAD * 4)
        return count < HMM_RING_HEAD * 4 ? count : HMM_RING_HEAD * 4;
    const uint32_t capacity = word_at(r, r->image, CAPACITY);
    const uint64_t whole =
        capacity <= MOST_WORDS ? ((uint64_t)HMM_RING_HEAD + capacity) * 4 : HMM_RING_HEAD * 4;
    const uint64_t left = whole > r->image_bytes ? whole - r->image_bytes : 0;
    return count < left ? count : (size_t)left;
}

static void keep(struct ring *r, const unsigned char *bytes, size_t count)
{
    if (r->image_bytes + count > r->image_room) {
        const size_t room = 2 * (r->image_bytes + count);
        unsigned char *image = cli_alloc(room, 1);
        if (r->image_bytes != 0)
            memcpy(image, r->image, r->image_bytes);
        free(r->image);
        r->image = image;
        r->image_room = room;
    }
    memcpy(r->image + r->image_bytes, bytes, count);
    r->image_bytes += count;
}

static bool take_image(struct import *m, struct ring *r)
{
    m->byte = 0;
    if (r->image_bytes < HMM_RING_HEAD * 4)
        return import_fail(m, "truncated: a ring's head has %u bytes", HMM_RING_HEAD * 4);
    const uint32_t capacity = word_at(r, r->image, CAPACITY);
    const uint32_t tail = word_at(r, r->image, TAIL), held = word_at(r, r->image, HEAD) - tail;
    if (!version_is_known(m, word_at(r, r->image, VERSION)))
        return false;
    if (capacity == 0 || capacity > MOST_WORDS || (capacity & (capacity - 1)) != 0 ||
        held > capacity)
        return import_fail(m, "damaged: a ring of %lu words that holds %lu",
                           (unsigned long)capacity, (unsigned long)held);
    if (r->image_bytes / 4 < (uint64_t)HMM_RING_HEAD + capacity)
        return import_fail(m, "truncated: the ring has %lu words",
                           (unsigned long)(HMM_RING_HEAD + capacity));
    unsigned char *stream = cli_alloc((size_t)held + 1, 4);
    for (uint32_t i = 0; i < held; i++)
        memcpy(stream + (size_t)i * 4,
               r->image + (size_t)(HMM_RING_HEAD + ((tail + i) & (capacity - 1))) * 4, 4);
    r->at = 0;
    const ptrdiff_t got = take_stream(m, r, stream, (size_t)held * 4);
    free(stream);
    /* The head counts all of them. */
    m->left_out.lost = word_at(r, r->image, LOST);
    return got >= 0 && (got == (ptrdiff_t)((size_t)held * 4) ||
                        import_fail(m, "damaged: the last event is not whole"));
}

static ptrdiff_t take_bytes(struct import *m, const char *text, size_t count)
{
    struct ring *r = m->state;
    const unsigned char *bytes = (const unsigned char *)text;
    if (!r->begun && !look(r, bytes, count)) {
        import_fail(m, "no ring, and no stream of events: its first words are neither's");
        return -1;
    }
    r->begun = true;
    if (!r->is_image)
        return take_stream(m, r, bytes, count);
    for (size_t n, done = 0; (n = wanted(r, count - done)) != 0; done += n)
        keep(r, bytes + done, n);
    return (ptrdiff_t)count;
}

static bool end(struct import *m)
{
    struct ring *r = m->state;
    return !r->is_image || take_image(m, r);
}

static void free_state(void *state)
{
    free(((struct ring *)state)->image);
}

const struct import_format import_ring = {
    .name = "ring",
    .of = "a device",
    .state_size = sizeof(struct ring),
    .take_bytes = take_bytes,
    .end = end,
    .free_state = free_state,
};
