/* SPDX-License-Identifier: MIT */
/*
 * Stale pointers: into what is a run now, where no object is in use. Those behind the objects that
 * were carved are refused by free, whoever owns the run and whatever its state. Of all others, at
 * random, either the program ends with a message, or nothing is damaged. On each strategy.
 */
#include "books.h"
#include "dies.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#if HMM__CACHE

#if defined(HMM__THREADS)
#include <pthread.h>
#endif

/* Whose run it is, and who frees. */
enum place { OWN, OWN_QUEUED, MINE, OTHERS, ENDED, PLACES };

static struct hmm_heap *h;
static enum place place;
static uint64_t rng;

static bool is_of_process(void)
{
    return place >= MINE;
}

static void *take(size_t size)
{
    return is_of_process() ? hmm_malloc(size) : hmm_heap_malloc(h, size);
}

static void give(void *p)
{
    if (place == OTHERS)
        freed_by_another(p);
    else if (is_of_process())
        hmm_free(p);
    else
        hmm_heap_free(h, p);
}

/* A heap in which a run may have 32 KiB. */
static void open_heap(const struct hmm_strategy *strategy)
{
    if (is_of_process()) {
        ck_assert_int_eq(hmm_init(strategy), 0);
        h = hmm_process_heap();
        keep(hmm_malloc(1 << 20));
        return;
    }
    h = unwatched(heap_of(4 << 20, strategy));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    must_malloc(h, 1 << 20);
}

static void close_heap(void)
{
    if (!is_of_process())
        heap_end(h);
}

/* ---- Behind the objects ---- */

#define NOT_IN_USE "double free, or not a block: it is not in use"
#define MOST_OBJECTS 6000
#define MOST_RUNS 400

static char *object[MOST_OBJECTS];
static size_t objects, object_size;
static struct run *run[MOST_RUNS];
static size_t runs;

static char *spot(const struct run *d, size_t i)
{
    return (char *)run_start(h->cache, d) + i * class_bytes(d->class);
}

/* Whether the run has memory for object i that was not carved. */
static bool is_uncarved(const struct run *d, size_t i)
{
    if (object_is_free(h->cache, spot(d, i)))
        return false;
    for (size_t k = 0; k < objects; k++)
        if (object[k] == spot(d, i))
            return false;
    return true;
}

/* Allocates until the last run is not all carved. */
static void *fill_runs(void *unused)
{
    (void)unused;
    objects = runs = 0;
    for (bool more = true; more;) {
        object[objects++] = take(object_size);
        struct run *d = cache_run_of(h->cache, object[objects - 1]);
        bool known = d == NULL;
        for (size_t i = 0; i < runs; i++)
            known |= run[i] == d;
        if (!known) {
            ck_assert_uint_lt(runs, MOST_RUNS);
            run[runs++] = d;
        }
        more = d == NULL || runs < 6 || !is_uncarved(d, run_rest(d)->count - 1u);
        ck_assert_uint_lt(objects, MOST_OBJECTS);
    }
    return NULL;
}

static void fill_runs_of_place(void)
{
#if defined(HMM__THREADS)
    if (place == ENDED) {
        pthread_t other;
        ck_assert_int_eq(pthread_create(&other, NULL, fill_runs, NULL), 0);
        pthread_join(other, NULL);
        return;
    }
#endif
    fill_runs(NULL);
    if (place == OWN_QUEUED)
        hmm__return_free_lists(h->cache->thread_cache);
}

static void resize(void *p)
{
    keep(is_of_process() ? hmm_realloc(p, 10) : hmm_heap_realloc(h, p, 10));
}

static void ask_size(void *p)
{
    exit((is_of_process() ? hmm_usable_size(p) : hmm_heap_usable_size(h, p)) != 0 ? 2 : 3);
}

static void require_refused_by(void (*act)(void *), const char *verb, void *p)
{
    char line[200];
    snprintf(line, sizeof line, "hmm: %s 0x%lx: %s", verb, (unsigned long)(uintptr_t)p, NOT_IN_USE);
    assert_aborts_saying(act, p, line);
}

static void require_refused(void *p)
{
    require_refused_by(give, "free", p);
}

/* Returns how many spots there were. */
static size_t refuse_uncarved(const struct run *d)
{
    size_t count = run_rest(d)->count, first = 0;
    while (first < count && !is_uncarved(d, first))
        first++;
    if (first == count)
        return 0;
    require_refused(spot(d, first));
    require_refused(spot(d, (first + count) / 2));
    require_refused(spot(d, count - 1));
    require_refused_by(resize, "realloc", spot(d, first));
    require_refused_by(ask_size, "usable size of", spot(d, first));
    return 3;
}

/* _i: strategy, place. */
START_TEST(behind_the_objects_there_is_nothing_to_free)
{
    static const size_t sizes[] = {16, 48, 96, 320, 480, 960, 1024};
    size_t uncarved = 0, rests = 0;
    place = (enum place)(_i % PLACES);
#if !defined(HMM__THREADS)
    if (place == OTHERS || place == ENDED)
        return;
#endif
    open_heap(strategy_of(_i / PLACES));
    for (size_t i = 0; i < (under_valgrind() ? 2 : sizeof sizes / sizeof *sizes); i++) {
        object_size = sizes[i];
        fill_runs_of_place();
        for (size_t k = 0; k < runs; k++) {
            char *rest = spot(run[k], run_rest(run[k])->count);
            uncarved += refuse_uncarved(run[k]);
            if (cache_run_of(h->cache, rest) == run[k] && (k + 1 == runs || rests < 20)) {
                require_refused(rest);
                rests++;
            }
        }
    }
    ck_assert_uint_ge(uncarved, 3);
    ck_assert_uint_gt(rests, 1);
    close_heap();
}
END_TEST

/* ---- Anywhere ---- */

#define BLOCKS 2000
#define FREED 500

static struct block_of_test {
    unsigned char *p;
    size_t size;
    unsigned char byte;
} blocks[BLOCKS];
static unsigned char *freed[FREED]; /* the last ones */
static size_t count, frees;

static const size_t classes[] = {16, 40, 96, 240, 480, 900};
enum { CLASSES = sizeof classes / sizeof *classes };

/* What exits with this has found damage. */
enum { DAMAGED = 9 };

static void look(const struct block_of_test *b)
{
    for (size_t i = 0; i < b->size; i++)
        if (b->p[i] != b->byte)
            exit(DAMAGED);
}

static void look_at_all(void)
{
    for (size_t i = 0; i < count; i++)
        look(&blocks[i]);
}

static bool take_block(size_t size)
{
    struct block_of_test b = {take(size), size, (unsigned char)rng_below(&rng, 255)};
    if (b.p == NULL)
        return false;
    memset(b.p, b.byte, size);
    blocks[count++] = b;
    return true;
}

static void give_block(size_t i)
{
    look(&blocks[i]);
    freed[frees++ % FREED] = blocks[i].p;
    if (place == OTHERS)
        hmm_free(blocks[i].p);
    else
        give(blocks[i].p);
    blocks[i] = blocks[--count];
}

static void thin_out(unsigned in)
{
    for (size_t i = count; i-- != 0;)
        if (rng_below(&rng, in) != 0)
            give_block(i);
}

static void live_a_while(void)
{
    size_t size = classes[rng_below(&rng, CLASSES)];
    for (unsigned n = 0; n < 3000; n++) {
        if (n % 500 == 0)
            size = classes[rng_below(&rng, CLASSES)];
        if (count != 0 && (count == BLOCKS || rng_below(&rng, 5) < 2))
            give_block((size_t)rng_below(&rng, (uint32_t)count));
        else
            take_block(rng_below(&rng, 4) == 0 ? classes[rng_below(&rng, CLASSES)] : size);
    }
}

/* Runs of few objects in use are split before a request fails. */
static void be_split(void)
{
    bool any = false;
    while (count < BLOCKS && take_block(classes[rng_below(&rng, CLASSES)])) {
    }
    thin_out(6);
    if (take(3 << 20) != NULL)
        exit(3);
    for (size_t i = 0; i < count && !any; i++) {
        const struct run *d = cache_run_of(h->cache, blocks[i].p);
        any = d != NULL && run_state(d) == RUN_SPLIT;
    }
    if (!any)
        exit(4);
}

/* A pointer into a run that is to no block in use, nor into one of the heap. */
static void *stale(void)
{
    for (;;) {
        const struct block_of_test *b = &blocks[rng_below(&rng, (uint32_t)count)];
        const struct run *d = cache_run_of(h->cache, b->p);
        size_t kind = rng_below(&rng, 5);
        if (d == NULL)
            continue;
        size_t n = run_rest(d)->count, pages = (n * class_bytes(d->class) >> CACHE_PAGE_LOG) + 1;
        uint32_t granules = (uint32_t)(pages * (CACHE_PAGE / HMM_GRANULE));
        char *p = kind == 0   ? spot(d, n)
                  : kind == 1 ? spot(d, rng_below(&rng, (uint32_t)n))
                  : kind == 2 ? (char *)b->p + rng_below(&rng, (uint32_t)b->size)
                  : kind == 3 ? (char *)freed[rng_below(&rng, FREED)]
                              : spot(d, 0) + (size_t)rng_below(&rng, granules) * HMM_GRANULE;
        bool is_stale = p != NULL && cache_run_of(h->cache, p) != NULL;
        for (size_t i = 0; i < count && is_stale; i++)
            is_stale = (char *)blocks[i].p != p && (kind == 2 || p < (char *)blocks[i].p ||
                                                    p >= (char *)blocks[i].p + blocks[i].size);
        if (is_stale)
            return p;
    }
}

/* What free may leave to malloc to find, malloc finds: all objects that are free are taken. */
static void take_all(void)
{
    for (int c = 0; c < CLASSES; c++) {
        for (int n = 0; n < 600 && count < BLOCKS && take_block(classes[c]); n++) {
        }
        look_at_all();
        thin_out(2);
    }
}

struct trial {
    const struct hmm_strategy *strategy;
    bool split;
};

static void free_a_stale_one(void *arg)
{
    const struct trial *t = arg;
    open_heap(t->strategy);
    count = frees = 0;
    live_a_while();
    if (t->split)
        be_split();
    void *p = stale();
    if (place == OTHERS)
        freed_by_another(p);
    else
        give(p);
    for (int i = 0; i < 8; i++)
        take_all();
    if (hmm_heap_check(h) != NULL)
        exit(DAMAGED + 1);
}

enum { WAYS = 4 };

/* _i: strategy; in an own heap, in one where runs are split, in the process heap, from another
 * thread. */
START_TEST(a_stale_pointer_damages_nothing)
{
    static const enum place places[WAYS] = {OWN, OWN, MINE, OTHERS};
    struct trial trial = {strategy_of(_i / WAYS), _i % WAYS == 1};
    unsigned reported = 0, trials = (unsigned)scaled(80);
    place = places[_i % WAYS];
#if !defined(HMM__THREADS)
    if (place == OTHERS)
        return;
#endif
    for (unsigned n = 0; n < trials; n++) {
        int status;
        rng = 1 + n + 1000 * (uint64_t)_i;
        char *said = said_by_child(free_a_stale_one, &trial, &status);
        bool died = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
        ck_assert_msg(died ? strncmp(said, "hmm: ", 5) == 0 : status == 0,
                      "trial %u: status %x, said: %s", n, (unsigned)status, said);
        reported += died;
        free(said);
    }
    ck_assert_uint_gt(reported, trials / 2);
}
END_TEST

int main(void)
{
    if (under_valgrind()) {
        puts("1..0 # SKIP heaps have no cache under memcheck");
        return 0;
    }
    Suite *s = suite_create("stale pointers");
    struct cases c = add_cases(s, "stale pointers");
    on_each_strategy(c, behind_the_objects_there_is_nothing_to_free, PLACES);
    on_each_strategy(c, a_stale_pointer_damages_nothing, WAYS);
    return run_suite(s);
}

#else

int main(void)
{
    return skip_without_cache();
}

#endif
