/* SPDX-License-Identifier: MIT */
/*
 * Makes a trace of the events of one recording (recording.h).
 *
 * L1  No ID is live twice in it. If an address is given out that is in use here, the block was
 *     freed where the recording could not see it, and its `f` comes first.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "recording.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD 12        /* events, for which memory is asked */
#define LONG_BACKLOG 8u /* segments */

/* ---- Operations ---- */

/* Of a reason that is that of the trace before, a full disk's, nothing is said: at the end it is
 * how many there were. */
static void fail(struct recording *l, const struct hmm_trace_error *error)
{
    static char said[sizeof error->reason];
    const size_t length = strcspn(error->reason, ";");
    if (!l->failed && (strncmp(said, error->reason, length) != 0 || said[length] != '\0')) {
        fprintf(stderr, "hmm record: %s: %s\n", l->path, error->reason);
        snprintf(said, sizeof said, "%.*s", (int)length, error->reason);
    }
    l->failed = true;
}

static void fail_for_memory(struct recording *l)
{
    fail(l, &(struct hmm_trace_error){.reason = "out of memory: the rest is left out"});
}

static void open_trace(struct recording *l)
{
    struct hmm_trace_error error;
    char comment[80];
    l->writer = hmm_trace_writer_open(l->path, &error);
    if (l->writer == NULL) {
        fail(l, &error);
        return;
    }
    l->has_file = true;
    snprintf(comment, sizeof comment, "program %s, process %ld", l->program, (long)l->pid);
    hmm_trace_write_comment(l->writer, comment);
    const int length = snprintf(comment, sizeof comment, "#@ stacks %" PRIu32, l->depth);
    if (l->depth != 0)
        hmm_trace_write_line(l->writer, comment, (size_t)length);
}

/* What the file does not hold is not counted. */
static void close_trace(struct recording *l)
{
    struct hmm_trace_error error;
    const uint64_t ops = l->ops;
    if (l->depth != 0)
        record_sites_write(&l->sites, l->writer);
    if (hmm_trace_writer_close(l->writer, &error)) {
        l->peak_bytes = l->peak_before;
    } else {
        l->ops = error.held;
        l->lost += ops - error.held;
        fail(l, &error);
    }
    l->writer = NULL;
}

static void emit(struct recording *l, struct hmm_trace_op op)
{
    if (l->writer == NULL && !l->failed)
        open_trace(l);
    if (l->failed) {
        l->lost++;
        return;
    }
    l->ops++;
    bool good = hmm_trace_write(l->writer, &op);
    if (hmm_trace_writer_held(l->writer) != l->held) { /* all operations but this one */
        l->held = hmm_trace_writer_held(l->writer);
        l->peak_bytes = l->peak_before;
    }
    l->peak_before = l->blocks.peak_bytes;
    if (!good)
        close_trace(l);
}

static void drop(struct recording *l, uint32_t id)
{
    record_blocks_drop_id(&l->blocks, id);
    emit(l, (struct hmm_trace_op){.kind = HMM_TRACE_FREE, .id = id});
}

/* The address's place, empty, by L1; NULL iff there is no memory. */
static uint32_t *vacate(struct recording *l, uint64_t address)
{
    uint32_t *at = record_blocks_at(&l->blocks, address, true);
    if (at == NULL)
        fail_for_memory(l);
    else if (*at != RECORD_NO_ID)
        drop(l, *at);
    return at;
}

static void allocated(struct recording *l, uint64_t address, uint64_t size, int align_log2,
                      uint32_t stack)
{
    uint32_t *at = vacate(l, address);
    if (at == NULL)
        return;
    *at = record_blocks_new_id(&l->blocks, size);
    if (*at == RECORD_NO_ID)
        fail_for_memory(l);
    else
        emit(l,
             (struct hmm_trace_op){.kind = align_log2 >= 0 ? HMM_TRACE_ALIGNED : HMM_TRACE_ALLOC,
                                   .id = *at,
                                   .size = size,
                                   .align_log2 = align_log2 >= 0 ? (unsigned)align_log2 & 63u : 0,
                                   .stack = stack & HMM_TRACE_MOST_STACKS});
}

/* The ID at the address, which leaves it. */
static uint32_t detach(struct recording *l, uint64_t address)
{
    uint32_t *at = record_blocks_at(&l->blocks, address, false);
    uint32_t id = at != NULL ? *at : RECORD_NO_ID;
    if (id != RECORD_NO_ID)
        *at = RECORD_NO_ID;
    else
        l->unknown++;
    return id;
}

static void freed(struct recording *l, uint64_t address)
{
    uint32_t id = detach(l, address);
    if (id != RECORD_NO_ID)
        drop(l, id);
}

/* ---- Resizing, in two steps ---- */

static void resize_begun(struct recording *l, uint64_t place, uint64_t address)
{
    if (l->resize_count == l->resize_room) {
        size_t room = l->resize_room != 0 ? 2 * l->resize_room : 8;
        struct record_resize *grown = realloc(l->resizes, room * sizeof *grown);
        if (grown == NULL) {
            fail_for_memory(l);
            return;
        }
        l->resizes = grown;
        l->resize_room = room;
    }
    l->resizes[l->resize_count++] = (struct record_resize){place, address, detach(l, address)};
}

/* The one that began at this place, which is over; without an ID iff there is none. */
static struct record_resize resize_at(struct recording *l, uint64_t place)
{
    for (size_t i = l->resize_count; i-- > 0;) {
        struct record_resize found = l->resizes[i];
        if (found.place == place) {
            l->resizes[i] = l->resizes[--l->resize_count];
            return found;
        }
    }
    return (struct record_resize){.id = RECORD_NO_ID};
}

static void resized(struct recording *l, uint64_t place, uint64_t from, uint64_t size)
{
    l->resized_place = place;
    l->resized_from = from;
    l->resized_size = size;
}

/* A block that was not known until now begins here. */
static void resized_to(struct recording *l, uint64_t place, uint64_t address, uint64_t by)
{
    if (place == 0 || place != l->resized_place + 1)
        return;
    const uint32_t stack = record_sites_number(&l->sites, (uint32_t)by);
    struct record_resize r = resize_at(l, l->resized_from);
    if (r.id == RECORD_NO_ID) {
        allocated(l, address, l->resized_size, -1, stack);
        return;
    }
    uint32_t *at = vacate(l, address);
    if (at == NULL)
        return;
    *at = r.id;
    record_blocks_resize_id(&l->blocks, r.id, l->resized_size);
    emit(l, (struct hmm_trace_op){.kind = HMM_TRACE_RESIZE,
                                  .id = r.id,
                                  .size = l->resized_size,
                                  .stack = stack & HMM_TRACE_MOST_STACKS});
}

static void not_resized(struct recording *l, uint64_t from)
{
    struct record_resize r = resize_at(l, from);
    uint32_t *at = r.id != RECORD_NO_ID ? vacate(l, r.address) : NULL;
    if (at != NULL)
        *at = r.id;
}

/* ---- Events ---- */

static void apply(struct recording *l, uint64_t place, uint64_t what, uint64_t size)
{
    const uint64_t sizes = (UINT64_C(1) << RECORD_SIZE_BITS) - 1;
    const uint64_t address = what & ~(uint64_t)RECORD_KIND_MASK;
    const uint64_t from = what >> RECORD_PLACE_SHIFT;
    switch ((enum record_kind)(what & RECORD_KIND_MASK)) {
    case RECORD_ALLOC:
        allocated(l, address, size, -1, record_sites_of(&l->sites, place));
        return;
    case RECORD_ALIGNED:
        allocated(l, address, size & sizes, (int)(size >> RECORD_SIZE_BITS),
                  record_sites_of(&l->sites, place));
        return;
    case RECORD_FREE:
        freed(l, address);
        return;
    case RECORD_RESIZE:
        resize_begun(l, place, address);
        return;
    case RECORD_RESIZED:
        resized(l, place, from, size);
        return;
    case RECORD_TO:
        resized_to(l, place, address, size);
        return;
    default:
        not_resized(l, from);
        return;
    }
}

/* Each operation has one such event. */
static bool is_operation(uint64_t what)
{
    enum record_kind kind = (enum record_kind)(what & RECORD_KIND_MASK);
    return kind == RECORD_ALLOC || kind == RECORD_ALIGNED || kind == RECORD_FREE ||
           kind == RECORD_TO;
}

/* Up to this place, or to a hole that may not be left out. */
static void read_places(struct recording *l, struct record_event *events, uint64_t until,
                        enum record_reading how)
{
    for (; l->head < until; l->head++) {
        struct record_event *e = &events[l->head % RECORD_EVENTS];
        uint64_t what = atomic_load_explicit(&e->what, memory_order_acquire);
        if (l->head + AHEAD < until)
            record_blocks_prefetch(&l->blocks,
                                   atomic_load_explicit(&e[AHEAD].what, memory_order_relaxed));
        if (what == 0 && how != RECORD_READ_STUCK && how != RECORD_READ_DEAD)
            return;
        l->retired = l->retired || (what == 0 && how == RECORD_READ_STUCK);
        if (what != 0 && record_sites_take(&l->sites, l->head, what, e->size))
            ; /* an event about a call stack */
        else if (what != 0 && !l->failed)
            apply(l, l->head, what, e->size);
        else if (what != 0)
            l->lost += is_operation(what);
        atomic_store_explicit(&e->what, 0, memory_order_relaxed);
    }
}

/* The process's n-th segment; RECORD_SEGMENTS or more iff it has not begun it. */
static uint32_t nth_segment(const struct recording *l, uint64_t n)
{
    return record_entry_segment(n, atomic_load(&l->slot->window[n % RECORD_WINDOW]));
}

/* A long backlog is about to hold up the program. */
static void set_pace(struct recording *l)
{
    uint64_t backlog = (atomic_load(&l->slot->next) - l->head) / RECORD_EVENTS;
    if (l->writer != NULL)
        hmm_trace_writer_hurry(l->writer, backlog > LONG_BACKLOG);
}

/* The segment is done. One with a hole is not used again: who left it may still come to fill it. */
static void give_back(struct recording *l, struct record_pool *pool, uint64_t n)
{
    uint32_t segment = nth_segment(l, n);
    if (segment >= RECORD_SEGMENTS)
        return;
    atomic_store(&l->slot->window[n % RECORD_WINDOW], 0);
    if (!l->retired)
        record_give(pool, segment);
    l->retired = false;
}

bool recording_read(struct recording *l, struct record_pool *pool, enum record_reading how)
{
    const uint64_t start = l->head;
    const uint64_t last = how == RECORD_READ_DEAD ? atomic_load(&l->slot->next) : UINT64_MAX;
    for (uint64_t n; (n = l->head / RECORD_EVENTS, l->head < last);) {
        const uint64_t end = (n + 1) * RECORD_EVENTS, until = end < last ? end : last;
        const uint32_t segment = nth_segment(l, n);
        if (segment >= RECORD_SEGMENTS && how == RECORD_READ_DEAD)
            l->head = until; /* killed before it had got the segment */
        else if (segment >= RECORD_SEGMENTS ||
                 (how == RECORD_READ_WHOLE && nth_segment(l, n + 1) >= RECORD_SEGMENTS))
            break;
        else
            read_places(l, record_segment(pool, segment), until, how);
        if (l->head < end)
            break;
        give_back(l, pool, n);
        set_pace(l);
        if (how == RECORD_READ_STUCK || how == RECORD_READ_WHOLE)
            break;
    }
    return l->head != start;
}

void recording_end(struct recording *l)
{
    if (l->writer != NULL)
        close_trace(l);
    record_blocks_end(&l->blocks);
    record_sites_free(&l->sites);
    free(l->resizes);
    l->resizes = NULL;
    l->slot = NULL;
}
