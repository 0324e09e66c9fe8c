/* SPDX-License-Identifier: MIT */
/*
 * hmm_set_lock: enter and leave around each operation, never nested. hmm_set_trace: what is told of
 * each call, held against the blocks. On own heaps, on the process heap, and in regions. Each test
 * has a process of its own, so that nothing is set when it begins.
 */
#include "base/event.h"
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#ifdef HAVE_PTHREAD
#include <pthread.h>
#endif

/* ---- What the program has set ---- */

static int depth, entered, most;

static void enter(void *arg)
{
    ck_assert_ptr_eq(arg, &depth);
    entered++;
    if (++depth > most)
        most = depth;
}

static void leave(void *arg)
{
    ck_assert_ptr_eq(arg, &depth);
    depth--;
}

/* How often the lock was held since the last time. */
static int locked(void)
{
    int n = entered;
    ck_assert_int_eq(depth, 0);
    ck_assert_int_le(most, 1);
    entered = 0;
    return n;
}

#define EVENTS_MAX 4096u

static struct event {
    uint32_t kind, address, second, third;
} events[EVENTS_MAX];
static unsigned event_count, events_read;

static void note(void *arg, const void *bytes, unsigned n)
{
    uint32_t words[HMM_EVENT_WORDS] = {0};
    ck_assert_ptr_eq(arg, events);
    ck_assert(n == 8 || n == 12);
    ck_assert_uint_eq((uintptr_t)bytes % 4, 0);
    memcpy(words, bytes, n);
    ck_assert_uint_eq(hmm_event_words(words[0]) * 4, n);
    ck_assert_uint_lt(event_count, EVENTS_MAX);
    events[event_count++] = (struct event){words[0] & HMM_EVENT_KIND_MASK,
                                           words[0] & ~HMM_EVENT_KIND_MASK, words[1], words[2]};
}

/* The next event must be this one. */
static void expect(uint32_t kind, const void *p, uint32_t second, uint32_t third)
{
    ck_assert_uint_lt(events_read, event_count);
    const struct event *e = &events[events_read++];
    ck_assert_uint_eq(e->kind, kind);
    ck_assert_uint_eq(e->address, (uint32_t)(uintptr_t)p);
    ck_assert_uint_eq(e->second, second);
    ck_assert_uint_eq(e->third, third);
}

static void no_more(void)
{
    ck_assert_uint_eq(events_read, event_count);
}

static void begin_trace(void)
{
    hmm_set_trace(note, events);
    ck_assert_uint_eq(event_count, 1);
    ck_assert_uint_eq(events[0].kind, HMM_EVENT_START);
    ck_assert_uint_eq(events[0].address | events[0].kind,
                      HMM_GRANULE << 16 | HMM_EVENT_VERSION << 8 | HMM_EVENT_START);
    ck_assert_uint_eq(events[0].second, HMM_EVENT_MAGIC);
    events_read = 1;
}

/* ---- Own heaps ---- */

/* _i: strategy */
START_TEST(each_operation_is_locked_once)
{
    struct hmm_heap *h = heap_of(256 << 10, strategy_of(_i));
    struct hmm_constraint c = {.align = 256};
    struct hmm_stats s;
    ck_assert_ptr_nonnull(keep(hmm_heap_malloc(h, 10)));
    ck_assert_int_eq(locked(), 0);
    hmm_set_lock(enter, leave, &depth);
    locked();
    void *p = hmm_heap_malloc(h, 100);
    ck_assert_int_eq(locked(), 1);
    void *q = hmm_heap_calloc(h, 10, 10);
    ck_assert_int_eq(locked(), 1);
    void *a = hmm_heap_aligned_alloc(h, 64, 100);
    ck_assert_int_eq(locked(), 1);
    void *w = hmm_heap_malloc_within(h, 100, &c);
    ck_assert_int_eq(locked(), 1);
    ck_assert_ptr_null(hmm_heap_malloc(h, PTRDIFF_MAX));
    ck_assert_int_eq(locked(), 1);
    p = hmm_heap_realloc(h, p, 3000);
    ck_assert_int_eq(locked(), 1);
    hmm_heap_free(h, p);
    ck_assert_int_eq(locked(), 1);
    ck_assert_int_eq(hmm_heap_set_strategy(h, strategy_of((_i + 1) % strategy_count())), 0);
    ck_assert_int_eq(locked(), 1);
    hmm_heap_stats(h, &s);
    ck_assert_int_eq(locked(), 1);
    ck_assert_ptr_null(hmm_heap_check(h));
    ck_assert_int_eq(locked(), 1);
    ck_assert_uint_eq(count_free(h), s.free_blocks);
    ck_assert_int_eq(locked(), 1);
    ck_assert_int_eq(hmm_heap_set_check(h, 4), 0);
    locked();
    hmm_heap_free(h, a);
    hmm_heap_free(h, w);
    ck_assert_int_eq(locked(), 2);
    hmm_set_lock(NULL, NULL, NULL);
    hmm_heap_free(h, q);
    ck_assert_int_eq(locked(), 0);
    heap_end(h);
}
END_TEST

/* Each of them once, by its own lock: blocks of each way through malloc, and each way through free.
 */
static void lock_each_path(struct hmm_heap *h)
{
    static const size_t sizes[] = {0, 1, 24, 100, 236, 237, 1004, 1005, 1024, 1025, 5000, 70000};
    enum { SIZES = sizeof sizes / sizeof *sizes, BLOCKS = 12 };
    void *p[BLOCKS];
    locked();
    for (size_t i = 0; i < SIZES; i++) {
        for (int k = 0; k < BLOCKS; k++) {
            p[k] =
                k % 4 == 3 ? hmm_heap_aligned_alloc(h, 64, sizes[i]) : hmm_heap_malloc(h, sizes[i]);
            ck_assert_ptr_nonnull(p[k]);
            ck_assert_int_eq(locked(), 1);
        }
        /* no neighbour is free; the one above; the one below; both; the top */
        static const int order[BLOCKS] = {4, 2, 1, 8, 5, 6, 0, 3, 10, 9, 7, 11};
        for (int k = 0; k < BLOCKS; k++) {
            hmm_heap_free(h, p[order[k]]);
            ck_assert_int_eq(locked(), 1);
        }
        hmm_heap_free(h, NULL);
        ck_assert_int_eq(locked(), 1);
    }
}

/* _i: strategy */
START_TEST(each_path_is_locked)
{
    struct hmm_heap *h = unwatched(heap_of(4 << 20, strategy_of(_i)));
    hmm_set_lock(enter, leave, &depth);
    lock_each_path(h);
    hmm_set_lock(NULL, NULL, NULL);
    hmm_heap_free(h, hmm_heap_malloc(h, 100));
    hmm_heap_free(h, hmm_heap_malloc(h, 100));
    ck_assert_int_eq(locked(), 0);
    hmm_set_lock(enter, leave, &depth);
    lock_each_path(h);
    ck_assert_int_eq(hmm_heap_set_check(h, 2), 0);
    lock_each_path(h);
    assert_empty(h);
    heap_end(h);
}
END_TEST

/* _i: strategy. Two heaps of the same operations, one with the lock. */
START_TEST(a_lock_changes_no_placement)
{
    struct hmm_heap *h[2];
    char *blocks[2][100] = {{NULL}};
    uint64_t rng = 1;
    for (int i = 0; i < 2; i++)
        h[i] = unwatched(heap_of(256 << 10, strategy_of(_i)));
    for (unsigned long n = scaled(20000); n != 0; n--) {
        size_t k = rng_below(&rng, 100), size = rng_below(&rng, rng_below(&rng, 4) ? 300 : 6000);
        for (int i = 0; i < 2; i++) {
            hmm_set_lock(i ? enter : NULL, i ? leave : NULL, &depth);
            hmm_heap_free(h[i], blocks[i][k]);
            blocks[i][k] = hmm_heap_malloc(h[i], size);
        }
        ck_assert_int_eq(locked(), 2);
        ck_assert_int_eq(blocks[0][k] == NULL, blocks[1][k] == NULL);
        if (blocks[0][k] != NULL)
            ck_assert_int_eq(blocks[0][k] - (char *)h[0], blocks[1][k] - (char *)h[1]);
    }
    hmm_set_lock(NULL, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 100; k++)
            hmm_heap_free(h[i], blocks[i][k]);
        assert_empty(h[i]);
        heap_end(h[i]);
    }
}
END_TEST

/* _i: strategy. With and without a cache an operation is one event. */
static void trace_own_heap(struct hmm_heap *h)
{
    struct hmm_constraint c = {.align = 256};
    void *before = hmm_heap_malloc(h, 40);
    begin_trace();
    void *p = hmm_heap_malloc(h, 100);
    expect(HMM_EVENT_ALLOC, p, 100, 0);
    void *q = hmm_heap_calloc(h, 10, 7);
    expect(HMM_EVENT_ALLOC, q, 70, 0);
    void *a = hmm_heap_aligned_alloc(h, 64, 100);
    expect(HMM_EVENT_ALIGNED, a, 100, 64);
    void *w = hmm_heap_malloc_within(h, 100, &c);
    expect(HMM_EVENT_ALIGNED, w, 100, 256);
    ck_assert_ptr_null(hmm_heap_malloc(h, PTRDIFF_MAX));
    expect(HMM_EVENT_FAILED, NULL, sizeof(size_t) > 4 ? UINT32_MAX : INT32_MAX, 0);
    ck_assert_ptr_null(hmm_heap_calloc(h, SIZE_MAX, 3));
    expect(HMM_EVENT_FAILED, NULL, UINT32_MAX, 0);
    ck_assert_ptr_null(hmm_heap_aligned_alloc(h, 3, 5));
    expect(HMM_EVENT_FAILED, NULL, 5, 0);
    uint32_t was = (uint32_t)(uintptr_t)p;
    p = hmm_heap_realloc(h, p, 3000);
    expect(HMM_EVENT_RESIZE, (void *)(uintptr_t)was, 3000, (uint32_t)(uintptr_t)p);
    was = (uint32_t)(uintptr_t)p;
    p = hmm_heap_realloc(h, p, 30);
    expect(HMM_EVENT_RESIZE, (void *)(uintptr_t)was, 30, (uint32_t)(uintptr_t)p);
    void *r = hmm_heap_realloc(h, NULL, 20);
    expect(HMM_EVENT_ALLOC, r, 20, 0);
    ck_assert_ptr_null(hmm_heap_realloc(h, r, PTRDIFF_MAX));
    expect(HMM_EVENT_FAILED, NULL, sizeof(size_t) > 4 ? UINT32_MAX : INT32_MAX, 0);
    ck_assert_ptr_null(hmm_heap_realloc(h, r, 0));
    expect(HMM_EVENT_FREE, r, 0, 0);
    hmm_heap_free(h, NULL);
    void *all[] = {q, a, w, p, before};
    for (int i = 0; i < 5; i++) {
        hmm_heap_free(h, all[i]);
        expect(HMM_EVENT_FREE, all[i], 0, 0);
    }
    no_more();
    hmm_set_trace(NULL, NULL);
    hmm_heap_free(h, hmm_heap_malloc(h, 5));
    no_more();
    assert_empty(h);
    heap_end(h);
}

START_TEST(each_call_is_an_event)
{
    trace_own_heap(heap_of(256 << 10, strategy_of(_i)));
}
END_TEST

/* _i: strategy */
START_TEST(regions_are_traced)
{
    static _Alignas(16) char memory[2][8192];
    struct hmm_regions regions = {0};
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(hmm_regions_add(&regions, memory[i], 8192, 1u << i, strategy_of(_i)), 0);
    hmm_set_lock(enter, leave, &depth);
    begin_trace();
    locked();
    char *p = hmm_regions_malloc(&regions, 1000, 0, 2);
    expect(HMM_EVENT_ALLOC, p, 1004, 0);
    ck_assert_int_eq(locked(), 1);
    char *q = hmm_regions_realloc(&regions, p, 500);
    expect(HMM_EVENT_RESIZE, p, 504, (uint32_t)(uintptr_t)q);
    hmm_regions_free(&regions, q);
    expect(HMM_EVENT_FREE, q, 0, 0);
    no_more();
    locked();
}
END_TEST

/* ---- The process heap ---- */

static void use_process_heap(void)
{
    void *p = hmm_malloc(48);
    expect(HMM_EVENT_ALLOC, p, 48, 0);
    void *q = hmm_calloc(3, 100);
    expect(HMM_EVENT_ALLOC, q, 300, 0);
    void *big = hmm_malloc(100000);
    expect(HMM_EVENT_ALLOC, big, 100000, 0);
    void *a = hmm_aligned_alloc(128, 64);
    expect(HMM_EVENT_ALIGNED, a, 64, 128);
    void *n = hmm_realloc(p, 700);
    expect(HMM_EVENT_RESIZE, p, 700, (uint32_t)(uintptr_t)n);
    void *all[] = {q, big, a, n};
    for (int i = 0; i < 4; i++) {
        hmm_free(all[i]);
        expect(HMM_EVENT_FREE, all[i], 0, 0);
    }
    void *again = hmm_malloc(48);
    expect(HMM_EVENT_ALLOC, again, 48, 0);
    hmm_free(again);
    expect(HMM_EVENT_FREE, again, 0, 0);
    no_more();
}

START_TEST(the_process_heap_from_its_first_use)
{
    hmm_set_lock(enter, leave, &depth);
    begin_trace();
    use_process_heap();
    ck_assert_int_ge(locked(), 12);
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

/* The calling thread's cache is full of blocks when the trace begins. */
START_TEST(the_process_heap_with_a_cache_before)
{
    void *small[300];
    for (size_t i = 0; i < 300; i++)
        small[i] = hmm_malloc(i % 2 ? 48 : 300);
    for (size_t i = 0; i < 300; i += 3)
        hmm_free(small[i]);
    hmm_free(hmm_malloc(4000));
    begin_trace();
    use_process_heap();
    for (size_t i = 0; i < 300; i++)
        if (i % 3 != 0) {
            hmm_free(small[i]);
            expect(HMM_EVENT_FREE, small[i], 0, 0);
        }
    no_more();
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
    use_process_heap();
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

/* An object of the cache moves: two events that say the same. */
START_TEST(an_object_of_a_closed_cache_moves)
{
    void *p[100];
    if (under_valgrind()) /* where there is no cache */
        return;
    for (int i = 0; i < 100; i++)
        p[i] = hmm_malloc(1000);
    begin_trace();
    void *q = hmm_realloc(p[50], 20);
    expect(HMM_EVENT_ALLOC, q, 20, 0);
    expect(HMM_EVENT_FREE, p[50], 0, 0);
    void *r = hmm_realloc(p[51], 5000);
    expect(HMM_EVENT_ALLOC, r, 5000, 0);
    expect(HMM_EVENT_FREE, p[51], 0, 0);
    no_more();
    hmm_free(q);
    hmm_free(r);
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

#ifdef HAVE_PTHREAD

/* A mutex that is not recursive, and a heap of one's own that threads share by it. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hmm_heap *shared;

static void enter_mutex(void *arg)
{
    (void)arg;
    if (pthread_mutex_lock(&mutex) != 0)
        abort();
}

static void leave_mutex(void *arg)
{
    (void)arg;
    if (pthread_mutex_unlock(&mutex) != 0)
        abort();
}

static void *use_shared(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg;
    unsigned char *blocks[32] = {NULL};
    for (unsigned long n = scaled(20000); n != 0; n--) {
        size_t i = rng_below(&rng, 32), size = 1 + rng_below(&rng, 500);
        if (blocks[i] != NULL && blocks[i][0] != (unsigned char)i)
            abort();
        if (blocks[i] != NULL && rng_below(&rng, 2)) {
            hmm_heap_free(shared, blocks[i]);
            blocks[i] = NULL;
        } else if ((blocks[i] = hmm_heap_realloc(shared, blocks[i], size)) != NULL) {
            blocks[i][0] = (unsigned char)i;
        }
        hmm_free(hmm_malloc(size));
    }
    for (int i = 0; i < 32; i++)
        hmm_heap_free(shared, blocks[i]);
    return NULL;
}

/* _i: strategy */
START_TEST(threads_share_an_own_heap_by_the_lock)
{
    pthread_t threads[3];
    shared = unwatched(heap_of(256 << 10, strategy_of(_i)));
    hmm_set_lock(enter_mutex, leave_mutex, NULL);
    for (uintptr_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_shared, (void *)(i + 1)), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_empty(shared);
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

static void *use_and_end(void *arg)
{
    hmm_free(hmm_malloc(100));
    hmm_set_trace(note, events); /* leaves its thread cache */
    hmm_set_trace(NULL, NULL);
    hmm_free(hmm_malloc(100));
    return arg;
}

/* It is abandoned once. */
START_TEST(a_thread_leaves_its_cache_and_ends)
{
    pthread_t thread;
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, use_and_end, NULL), 0);
        pthread_join(thread, NULL);
    }
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

#endif

/* ---- A ring ---- */

/* The ring's own function is what is set. */
START_TEST(into_a_ring)
{
    static uint32_t memory[600];
    struct hmm_ring *ring = hmm_ring_start(memory, sizeof memory, 0);
    struct hmm_heap *h = heap_of(64 << 10, HMM_BEST_FIT);
    hmm_set_trace(hmm_ring_event, ring);
    void *p = hmm_heap_malloc(h, 100);
    hmm_heap_free(h, p);
    ck_assert_uint_eq(ring->head, 6);
    ck_assert_uint_eq(hmm_ring_words(ring)[2], (uint32_t)(uintptr_t)p | HMM_EVENT_ALLOC);
    ck_assert_uint_eq(hmm_ring_words(ring)[3], 100);
    ck_assert_uint_eq(hmm_ring_words(ring)[4], (uint32_t)(uintptr_t)p | HMM_EVENT_FREE);
    heap_end(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hooks");
    struct cases c = add_cases(s, "hooks"), with_cache = add_cached_cases(s, "hooks/cached");
    on_each_strategy(c, each_operation_is_locked_once, 1);
    on_each_strategy(c, each_path_is_locked, 1);
    on_each_strategy(c, a_lock_changes_no_placement, 1);
    on_each_strategy(with_cache, each_path_is_locked, 1);
    on_each_strategy(c, each_call_is_an_event, 1);
    on_each_strategy(c, regions_are_traced, 1);
    on_each_strategy(with_cache, each_call_is_an_event, 1);
    tcase_add_test(c.once, the_process_heap_from_its_first_use);
    tcase_add_test(c.once, the_process_heap_with_a_cache_before);
    tcase_add_test(c.once, an_object_of_a_closed_cache_moves);
    tcase_add_test(c.once, into_a_ring);
#ifdef HAVE_PTHREAD
    on_each_strategy(c, threads_share_an_own_heap_by_the_lock, 1);
    tcase_add_test(c.once, a_thread_leaves_its_cache_and_ends);
#endif
    return run_suite(s);
}
