/* SPDX-License-Identifier: MIT */
/*
 * From events to a trace: orders of events in which a real program cannot be made to send them. The
 * pool is real; the process that writes into it is played by the test.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "collect.h"
#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct recorder recorder;
static struct record_process *slot;
static char path[64];

static void start(void)
{
    strcpy(path, "/tmp/hmm-recording-test-XXXXXX");
    close(mkstemp(path));
    ck_assert(recorder_open(&recorder, path, true));
    recorder_begin(&recorder);
    slot = &recorder.pool->process[3];
    slot->pid = (int32_t)getpid(); /* alive, and the first */
    strcpy(slot->program, "played");
    atomic_store(&slot->state, RECORD_SLOT_USED);
    atomic_fetch_add(&recorder.pool->joined, 1);
}

static void stop(void)
{
    recorder_close(&recorder);
    unlink(path);
}

static struct record_event *event_at(uint64_t place)
{
    uint64_t n = place / RECORD_EVENTS;
    _Atomic uint32_t *entry = &slot->window[n % RECORD_WINDOW];
    if (*entry == 0) {
        int segment = record_take(recorder.pool);
        require(segment >= 0, "no segment");
        *entry = record_entry(n, (uint32_t)segment);
    }
    return record_segment(recorder.pool, record_entry_segment(n, *entry)) + place % RECORD_EVENTS;
}

static void put_at(uint64_t place, uint64_t what, uint64_t size)
{
    struct record_event *e = event_at(place);
    e->size = size;
    e->what = what;
}

static uint64_t put(uint64_t what, uint64_t size)
{
    uint64_t place = atomic_fetch_add(&slot->next, 1);
    put_at(place, what, size);
    return place;
}

static uint64_t alloc(uint64_t address, uint64_t size)
{
    return put(address | RECORD_ALLOC, size);
}

static void release(uint64_t address)
{
    put(address | RECORD_FREE, 0);
}

static uint64_t resize(uint64_t address)
{
    return put(address | RECORD_RESIZE, 0);
}

static void resized(uint64_t place, uint64_t address, uint64_t size)
{
    put(place << RECORD_PLACE_SHIFT | RECORD_RESIZED, size);
    put(address | RECORD_TO, 0);
}

/* The process has ended as far as the recorder knows: no holes are waited for. */
static void ck_trace_is(const char *want)
{
    char text[1000] = "";
    recorder_work(&recorder);
    ck_assert_uint_eq(recorder.recording_count, 1);
    recording_read(&recorder.recordings[0], recorder.pool, RECORD_READ_DEAD);
    recording_end(&recorder.recordings[0]);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    size_t length = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[length] = '\0';
    char *operations = strstr(text, "\n# program");
    operations = operations != NULL ? strchr(operations + 1, '\n') + 1 : text + length;
    ck_assert_str_eq(operations, want);
}

#define A UINT64_C(0x7f0000001000)
#define B UINT64_C(0x7f0000001010)
#define C UINT64_C(0x550000004000)

START_TEST(ids_are_dense_and_used_again)
{
    alloc(A, 10);
    alloc(B, 20);
    release(A);
    alloc(C, 30);
    put(A | RECORD_ALIGNED, UINT64_C(12) << RECORD_SIZE_BITS | 40);
    release(B);
    ck_trace_is("a 0 10\na 1 20\nf 0\na 0 30\nm 2 4096 40\nf 1\n");
    ck_assert_uint_eq(recorder.recordings[0].peak_bytes, 90);
    ck_assert_uint_eq(recorder.recordings[0].ops, 6);
}
END_TEST

/* While A moves to B in one thread, another gets A, resizes it too, and the first ends last. */
START_TEST(two_resizes_of_the_same_address)
{
    alloc(A, 1);
    uint64_t first = resize(A);
    alloc(A, 2);
    uint64_t second = resize(A);
    resized(second, C, 22);
    resized(first, B, 11);
    release(B);
    release(C);
    ck_trace_is("a 0 1\na 1 2\nr 1 22\nr 0 11\nf 0\nf 1\n");
    ck_assert_uint_eq(recorder.recordings[0].unknown, 0);
}
END_TEST

START_TEST(a_resize_that_fails)
{
    alloc(A, 1);
    put(resize(A) << RECORD_PLACE_SHIFT | RECORD_UNRESIZED, 0);
    resized(resize(A), A, 2);
    release(A);
    ck_trace_is("a 0 1\nr 0 2\nf 0\n");
}
END_TEST

START_TEST(unknown_blocks)
{
    release(A);
    resized(resize(B), C, 5);
    put(resize(A) << RECORD_PLACE_SHIFT | RECORD_UNRESIZED, 0);
    release(C);
    ck_trace_is("a 0 5\nf 0\n");
    ck_assert_uint_eq(recorder.recordings[0].unknown, 3);
}
END_TEST

START_TEST(a_free_that_was_not_seen)
{
    alloc(A, 1);
    alloc(A, 2);
    alloc(B, 3);
    resized(resize(B), A, 4);
    ck_trace_is("a 0 1\nf 0\na 0 2\na 1 3\nf 0\nr 1 4\n");
}
END_TEST

/* Killed: between taking a place and writing there, within a resize, before getting a segment. */
START_TEST(holes_of_a_dead_process)
{
    alloc(A, 1);
    atomic_fetch_add(&slot->next, 1);
    alloc(B, 2);
    resize(A);
    uint64_t place = atomic_fetch_add(&slot->next, 2);
    put_at(place + 1, C | RECORD_TO, 0);
    release(B);
    atomic_store(&slot->next, RECORD_EVENTS + 5);
    ck_trace_is("a 0 1\na 1 2\nf 1\n");
}
END_TEST

/* A hole holds up its process's segment, until it is declared one; then the segment is not used
 * again. */
START_TEST(a_hole_of_a_running_process)
{
    for (int i = 0; i < RECORD_EVENTS; i++)
        if (i != 5)
            put_at((uint64_t)i, A | (i % 2 == 0 ? RECORD_ALLOC : RECORD_FREE), 8);
    atomic_store(&slot->next, RECORD_EVENTS);
    alloc(B, 3);
    const uint32_t held = record_entry_segment(0, slot->window[0]);
    recorder_work(&recorder);
    struct recording *l = &recorder.recordings[0];
    ck_assert_uint_eq(l->head, 5);
    ck_assert(!recording_read(l, recorder.pool, RECORD_READ_WHOLE));
    ck_assert(recording_read(l, recorder.pool, RECORD_READ_STUCK));
    ck_assert_uint_eq(l->head, RECORD_EVENTS);
    for (int segment; (segment = record_take(recorder.pool)) >= 0;)
        ck_assert_uint_ne((uint32_t)segment, held);
    recording_end(l);
    ck_assert_uint_eq(l->ops, RECORD_EVENTS); /* the free in the hole came to light */
}
END_TEST

START_TEST(segments_go_round)
{
    uint64_t events = 0;
    for (int round = 0; round < (int)scaled(3 * 16); round++) {
        for (int i = 0; i < RECORD_EVENTS; i++, events++)
            if (events % 2 == 0)
                alloc(A + 16 * (events % 1000), events % 100);
            else
                release(A + 16 * ((events - 1) % 1000));
        recorder_work(&recorder);
        recorder_work(&recorder);
    }
    ck_assert_uint_le(recorder.granted, 16);
    struct recording *l = &recorder.recordings[0];
    recording_read(l, recorder.pool, RECORD_READ_DEAD);
    recording_end(l);
    ck_assert_uint_eq(l->ops, events);
    ck_assert_uint_eq(l->unknown, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record");
    TCase *cases = tcase_create("record");
    tcase_add_checked_fixture(cases, start, stop);
    tcase_add_test(cases, ids_are_dense_and_used_again);
    tcase_add_test(cases, two_resizes_of_the_same_address);
    tcase_add_test(cases, a_resize_that_fails);
    tcase_add_test(cases, unknown_blocks);
    tcase_add_test(cases, a_free_that_was_not_seen);
    tcase_add_test(cases, holes_of_a_dead_process);
    tcase_add_test(cases, a_hole_of_a_running_process);
    tcase_add_test(cases, segments_go_round);
    tcase_set_timeout(cases, 60);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
