/* SPDX-License-Identifier: MIT */
/*
 * Headers, footers and links that the program has written over: a function that comes upon them
 * says so in a line, and neither crashes nor runs for ever. In chosen places, and at random, each
 * trial in a process of its own with a limit on its time.
 */
#include "dies.h"
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REGION ((size_t)24 << 20)
#define SECONDS 20

static _Alignas(4096) char region[REGION];
static struct hmm_heap *h;

/* ---- A heap with pages that come and go ---- */

static bool pages_need(char *from, char *to)
{
    return from <= to;
}

static void pages_spare(char *from, char *to)
{
    memset(from, 0, (size_t)(to - from));
}

static uint64_t pages_clock(void)
{
    static uint64_t now;
    return now += 5000;
}

static const struct hmm__page_source pages = {
    .commit = pages_need, .decommit = pages_spare, .clock = pages_clock};

/* The same strategy without `largest`, for which statistics walk. */
static const struct hmm_strategy *without_largest(const struct hmm_strategy *s)
{
    static struct hmm_strategy copy;
    copy = *s;
    copy.largest = NULL;
    return &copy;
}

static void begin(const struct hmm_strategy *s)
{
    h = unwatched(hmm__heap_create(region, sizeof region, s, false, &pages));
    alarm(SECONDS);
}

/* ---- By hand: the header above a block is zeroed, then something walks ---- */

static int see(void *arg, const struct hmm_block_info *info)
{
    (void)arg, (void)info;
    return 0;
}

static char *victim, *big;

static void by_walk(void)
{
    hmm_heap_walk(h, see, NULL);
}

static void by_stats(void)
{
    struct hmm_stats stats;
    hmm_heap_stats(h, &stats);
}

static void by_switch(void)
{
    const struct hmm_strategy *is = hmm_heap_strategy(h);
    hmm_heap_set_strategy(h, is == HMM_FIRST_FIT ? HMM_NEXT_FIT : HMM_FIRST_FIT);
}

static void by_aligned(void)
{
    keep(hmm_heap_aligned_alloc(h, 4096, 23 << 20));
}

static void by_free_at_level_2(void)
{
    hmm_heap_set_check(h, 2);
    hmm_heap_free(h, big);
}

static void act_by_trim(void *unused)
{
    (void)unused;
    hmm__decommit_all(h);
}

static void (*const ways[])(void) = {by_walk, by_switch, by_aligned, by_free_at_level_2};
#define WAYS (int)(sizeof ways / sizeof ways[0])

static void act_on_zeroed(void *way)
{
    ways[*(int *)way]();
}

/* A block of 52,000 bytes, one of 300 that is the victim, a large free one, and one of 5 MiB. */
static void prepare(int strategy)
{
    begin(without_largest(strategy_of(strategy)));
    char *below = must_malloc(h, 52000);
    victim = must_malloc(h, 300);
    void *hole = must_malloc(h, 200000);
    must_malloc(h, 100);
    big = must_malloc(h, 5 << 20);
    must_malloc(h, 100);
    hmm_heap_free(h, hole);
    memset(below + hmm_heap_usable_size(h, below) - 12, 0, 16);
}

/* A large free block, whose pages may go: its header is read first, and its footer before that.
 * _i: strategy, and which of them is zeroed. */
START_TEST(a_large_free_block_is_looked_at_before_its_pages_go)
{
    char line[200];
    begin(strategy_of(_i / 2));
    h->release_after = HMM__RELEASE_NEVER; /* until it is asked for */
    char *below = must_malloc(h, 52000), *hole = must_malloc(h, 200000),
         *above = must_malloc(h, 100);
    hmm_heap_free(h, hole);
    if (_i % 2)
        memset(below + hmm_heap_usable_size(h, below), 0, 4);
    else
        memset(above - 8, 0, 4);
    snprintf(line, sizeof line, "hmm: block 0x%lx: its header %swas overwritten: %s",
             (unsigned long)(uintptr_t)(_i % 2 ? hole : above), _i % 2 ? "" : "or its end ",
             _i % 2 ? "its size leads outside the heap" : "they contradict each other");
    assert_aborts_saying(act_by_trim, NULL, line);
    ck_assert_ptr_nonnull(hmm_heap_check(h));
}
END_TEST

START_TEST(a_zeroed_header_is_named_by_whatever_walks)
{
    char line[200];
    int way = _i % WAYS;
    prepare(_i / WAYS);
    snprintf(line, sizeof line,
             "hmm: block 0x%lx: its header was overwritten: its size leads outside the heap",
             (unsigned long)(uintptr_t)victim);
    assert_aborts_saying(act_on_zeroed, &way, line);
    ck_assert_ptr_nonnull(hmm_heap_check(h));
}
END_TEST

/* As if the top were free below: a free block's footer that leads nowhere. */
static void free_the_last(void *last)
{
    hmm_heap_free(h, last);
}

START_TEST(a_footer_below_the_last_block_is_not_followed)
{
    static const uint32_t footers[] = {0, 8, 0x1000, 0xfffffff8, 7};
    char line[200];
    begin(strategy_of(_i));
    char *low = must_malloc(h, 5000), *last = must_malloc(h, 100);
    hmm_heap_free(h, low);
    for (size_t i = 0; i < sizeof footers / sizeof footers[0]; i++) {
        memcpy(last - 8, &footers[i], 4);
        snprintf(line, sizeof line,
                 "hmm: free 0x%lx: not a block, or a header was overwritten: it contradicts its "
                 "neighbours",
                 (unsigned long)(uintptr_t)last);
        assert_aborts_saying(free_the_last, last, line);
    }
}
END_TEST

/* ---- Links of free blocks ---- */

/* Free blocks of many sizes, several of each, apart. Returns how many. */
static int free_many(char **freed, int most)
{
    static const size_t sizes[] = {40,     200,    1100,   1500,   1500,   3000,   9000,  9000,
                                   9000,   17000,  17500,  20000,  33000,  70000,  70000, 100000,
                                   131000, 131500, 140000, 150000, 260000, 263000, 263000};
    int n = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && n < most; i++) {
        freed[n++] = must_malloc(h, sizes[i]);
        must_malloc(h, 24);
    }
    char *held = must_malloc(h, 400000); /* what became free last is in no list yet */
    must_malloc(h, 24);
    for (int i = 0; i < n; i++)
        hmm_heap_free(h, freed[i]);
    hmm_heap_free(h, held);
    return n;
}

static bool in_index_by_address(int strategy)
{
    const struct hmm_strategy *s = strategy_of(strategy);
    return s == HMM_FIRST_FIT || s == HMM_NEXT_FIT;
}

/* Each link word of each block, one at a time. Those that keep no links do not mind. */
START_TEST(links_that_lead_astray_are_reported)
{
    static const uint32_t values[] = {1, 0x7fffffff, 0xffffffff, 0xfffffff0, 0x41414141, 40, 70000};
    char *freed[32];
    begin(strategy_of(_i));
    int n = free_many(freed, 32), reported = 0;
    for (int i = 0; i < n; i++) {
        for (int word = 0; word < 5; word++) {
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                uint32_t was, *link = (uint32_t *)(void *)freed[i] + word;
                if (word > 1 && hmm_heap_usable_size(h, freed[i]) < 1000)
                    continue;
                was = *link;
                *link = values[v];
                reported += hmm_heap_check(h) != NULL;
                *link = was;
            }
        }
    }
    assert_sound(h);
    ck_assert(in_index_by_address(_i) ? reported == 0 : reported > n);
}
END_TEST

static void use_at_level_4(void *arg)
{
    (void)arg;
    hmm_heap_set_check(h, 4);
    keep(hmm_heap_malloc(h, 10000));
}

START_TEST(level_4_reports_links_that_lead_astray)
{
    char *freed[32];
    int status;
    begin(strategy_of(_i));
    int n = free_many(freed, 32);
    for (int i = 5; i < n; i++) {
        char was[32];
        memcpy(was, freed[i], sizeof was);
        memset(freed[i], 0x5a, sizeof was);
        char *said = said_by_child(use_at_level_4, NULL, &status);
        if (in_index_by_address(_i))
            ck_assert_msg(WIFEXITED(status), "status %x", (unsigned)status);
        else
            ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
                              strncmp(said, "hmm: heap check failed, heap 0x", 31) == 0,
                          "block %d: status %x, said: %s", i, (unsigned)status, said);
        free(said);
        memcpy(freed[i], was, sizeof was);
    }
}
END_TEST

/* ---- At random ---- */

struct trial {
    uint64_t seed;
    int strategy, level;
    bool cache;
};

#define BLOCKS 300

/* A value that could be a ref, a span, a header, or anything. */
static uint32_t some_word(uint64_t *rng, char *const *blocks)
{
    uint32_t ref = block_of(h, blocks[rng_below(rng, BLOCKS)]);
    switch (rng_below(rng, 8)) {
    case 0:
        return 0;
    case 1:
        return UINT32_MAX;
    case 2:
        return ref;
    case 3:
        return ref + (uint32_t)rng_below(rng, 3) - 1;
    case 4:
        return header_make(block_size(h, ref), (uint32_t)rng_below(rng, 8));
    case 5:
        return (uint32_t)rng_below(rng, 1 << 12);
    case 6:
        return header_make(ref, (uint32_t)rng_below(rng, 8));
    default:
        return (uint32_t)rng_next(rng);
    }
}

/* Writes some words at a block's ends: over its links, its footer, or headers. */
static void trample(uint64_t *rng, char *block, size_t usable, char *const *blocks)
{
    static const int below[] = {-4, -4, -8, -12, 0, 0, 4, 8, 12, 16};
    char *at = block + below[rng_below(rng, 10)];
    if (rng_below(rng, 3) == 0)
        at = block + usable - 8 + 4 * rng_below(rng, 4);
    for (size_t words = 1 + rng_below(rng, 4); words > 0; words--, at += 4) {
        uint32_t word = some_word(rng, blocks);
        memcpy(at, &word, 4);
    }
}

static size_t some_size(uint64_t *rng)
{
    static const size_t most[] = {64, 600, 1024, 8000, 40000, 200000};
    return 1 + rng_below(rng, most[rng_below(rng, 6)]);
}

/* Level 4 goes on working; at the others only what looks is sure to find it. */
static void look(uint64_t *rng, struct trial *t)
{
    if (t->level == 4) {
        void *p = hmm_heap_malloc(h, some_size(rng));
        hmm_heap_free(h, p);
        return;
    }
    switch (rng_below(rng, 5)) {
    case 0:
        by_walk();
        break;
    case 1:
        by_stats();
        break;
    case 2:
        hmm__decommit_all(h);
        break;
    default:
        hmm_heap_check(h);
    }
    if (hmm_heap_check(h) != NULL && !t->cache) {
        const struct hmm_strategy *s = strategy_of((int)rng_below(rng, 4));
        hmm_heap_set_strategy(h, s);
    }
    by_walk();
    by_stats();
    hmm__decommit_all(h);
}

static void run_trial(void *arg)
{
    struct trial *t = arg;
    uint64_t rng = t->seed;
    char *blocks[BLOCKS];
    size_t usable[BLOCKS];
    begin(rng_below(&rng, 4) ? strategy_of(t->strategy)
                             : without_largest(strategy_of(t->strategy)));
    if (t->cache && hmm_heap_set_cache(h, 1) != 0)
        exit(3);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = must_malloc(h, some_size(&rng));
        usable[i] = hmm_heap_usable_size(h, blocks[i]);
        memset(blocks[i], i, usable[i]);
    }
    for (int i = 0; i < BLOCKS; i += 1 + (int)rng_below(&rng, 3))
        hmm_heap_free(h, blocks[i]);
    if (hmm_heap_check(h) != NULL)
        exit(4);
    hmm_heap_set_check(h, t->level);
    for (size_t n = 1 + rng_below(&rng, 3); n > 0; n--) {
        size_t i = rng_below(&rng, BLOCKS);
        trample(&rng, blocks[i], usable[i], blocks);
    }
    look(&rng, t);
    exit(0);
}

static const int levels[] = {0, 1, 4};
#define LEVELS (int)(sizeof levels / sizeof levels[0])

/* _i: strategy, whether there is a cache, and level. */
START_TEST(nothing_that_looks_crashes_or_hangs)
{
    unsigned long reported = 0, trials = scaled(100);
    for (unsigned long i = 0; i < trials; i++) {
        int status;
        struct trial t = {.seed = (uint64_t)_i * 1000003 + i,
                          .strategy = _i / LEVELS / 2,
                          .level = levels[_i % LEVELS],
                          .cache = _i / LEVELS % 2};
        char *said = said_by_child(run_trial, &t, &status);
        bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        bool told = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
                    strncmp(said, "hmm: ", 5) == 0 && strstr(said, " 0x") != NULL;
        ck_assert_msg(well || told, "trial %lu of %d: status %x, said: %s", i, _i, (unsigned)status,
                      said);
        reported += told;
        free(said);
    }
    ck_assert(reported > trials / 10 || trials < 50);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trample");
    struct cases by_hand = add_cases(suite, "by hand"), random = add_cases(suite, "at random");
    on_each_strategy(by_hand, a_zeroed_header_is_named_by_whatever_walks, WAYS);
    on_each_strategy(by_hand, a_large_free_block_is_looked_at_before_its_pages_go, 2);
    on_each_strategy(by_hand, a_footer_below_the_last_block_is_not_followed, 1);
    on_each_strategy(by_hand, links_that_lead_astray_are_reported, 1);
    on_each_strategy(by_hand, level_4_reports_links_that_lead_astray, 1);
    on_each_strategy(random, nothing_that_looks_crashes_or_hangs, LEVELS * 2);
    return run_suite(suite);
}
