/* SPDX-License-Identifier: MIT */
/*
 * Links that a program has written over, of free blocks, of free objects of the cache and of medium
 * blocks: whatever walks along them ends in a line that begins "hmm:", never in a crash or a loop.
 */
#include "dies.h"
#include "harness.h"

#include "cache/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE 20 /* seconds, of what should take none */

static struct hmm_heap *h;
static char *row[300];

/* What is written over the first bytes of a freed block: its links. */
enum pattern { ZEROS, ITSELF, ASCII, ODD, PATTERNS };

static void write_over(char *p, enum pattern pattern, size_t bytes)
{
    hmm_ref r = (hmm_ref)((size_t)(p - (char *)h) / HMM_GRANULE);
    uint32_t words[8];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        words[i] = pattern == ZEROS ? 0 : pattern == ITSELF ? r : pattern == ASCII ? 0x41424344 : 5;
    if (pattern == ITSELF && bytes == sizeof(void *))
        *(void **)(void *)p = p;
    else
        memcpy(p, words, bytes);
}

static void must_end_well(void (*act)(void *), void *arg, const char *what)
{
    int status;
    char *said = said_by_child(act, arg, &status);
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool told =
        WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strncmp(said, "hmm: ", 5) == 0;
    ck_assert_msg(well || told, "%s: status %x, said: %s", what, (unsigned)status, said);
    free(said);
}

/* ---- Free blocks ---- */

struct block_case {
    int strategy, deed;
    size_t size, bytes;
    enum pattern pattern;
};

static void look_at_blocks(void *arg)
{
    const struct block_case *b = arg;
    struct hmm_stats stats;
    alarm(PATIENCE);
    h = unwatched(heap_of(4 << 20, strategy_of(b->strategy)));
    for (int i = 0; i < 60; i++)
        row[i] = must_malloc(h, b->size + (size_t)i * 48);
    for (int i = 1; i < 50; i += 6)
        hmm_heap_free(h, row[i]);
    write_over(row[19], b->pattern, b->bytes);
    switch (b->deed) {
    case 0: /* it merges with what it is next to */
        if (b->pattern == ZEROS)
            hmm_heap_free(h, row[20]);
        break;
    case 1:
        hmm_heap_set_check(h, 4);
        break;
    case 2:
        hmm_heap_stats(h, &stats);
        break;
    default:
        break;
    }
    hmm_heap_check(h);
    exit(0);
}

/* _i: the strategy. */
START_TEST(of_free_blocks)
{
    static const size_t sizes[] = {40, 700, 1500, 5000, 30000};
    for (int i = 0; i < 5 * 4 * 3 * PATTERNS; i++) {
        struct block_case b = {.strategy = _i,
                               .deed = i % 3,
                               .bytes = (size_t[]){4, 8, 12, 20}[i / 3 % 4],
                               .pattern = (enum pattern)(i / 12 % PATTERNS),
                               .size = sizes[i / 12 / PATTERNS]};
        char what[80];
        snprintf(what, sizeof what, "size %zu, %zu bytes, pattern %d, deed %d", b.size, b.bytes,
                 (int)b.pattern, b.deed);
        must_end_well(look_at_blocks, &b, what);
    }
}
END_TEST

/* Blocks of one trie whose links lead to themselves; then requests and frees of their kind. */
static void use_tries(void *arg)
{
    int way = *(int *)arg;
    alarm(PATIENCE);
    h = unwatched(heap_of(32 << 20, HMM_BEST_FIT));
    for (int i = 0; i < 40; i++)
        row[i] = must_malloc(h, 66000 + (size_t)i * 256);
    for (int i = 0; i < 40; i += 2)
        hmm_heap_free(h, row[i]);
    write_over(row[way % 20 * 2], ITSELF, 20);
    for (int i = 0; i < 10; i++) {
        if (way / 20 % 2)
            hmm_heap_free(h, row[i * 4 + 1]);
        keep(hmm_heap_malloc(h, 66000 + (size_t)i * 700));
    }
    exit(0);
}

START_TEST(of_tries)
{
    must_end_well(use_tries, &_i, "tries");
}
END_TEST

#if HMM__CACHE

/* ---- What the cache holds ---- */

struct cache_case {
    int strategy, deed;
    size_t size, bytes;
    enum pattern pattern;
};

static void look_at_cache(void *arg)
{
    const struct cache_case *c = arg;
    alarm(PATIENCE);
    h = unwatched(heap_of(8 << 20, strategy_of(c->strategy)));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    must_malloc(h, 1000000);
    for (int i = 0; i < 300; i++)
        row[i] = must_malloc(h, c->size);
    for (int i = 290; i < 296; i++)
        hmm_heap_free(h, row[i]);
    write_over(row[295], c->pattern, c->bytes);
    switch (c->deed) {
    case 0:
        hmm_heap_set_check(h, 3);
        break;
    case 1:
        hmm_heap_set_cache(h, 0);
        break;
    case 2:
        if (hmm_heap_malloc(h, 16 << 20) != NULL)
            exit(6);
        break;
    default:
        if (hmm_heap_check(h) == NULL && c->pattern != ZEROS)
            exit(5);
        break;
    }
    exit(0);
}

START_TEST(of_the_cache)
{
    static const size_t sizes[] = {24, 130, 900, 1700, 4000};
    for (int i = 0; i < 5 * 4 * PATTERNS; i++) {
        struct cache_case c = {.strategy = _i,
                               .deed = i % 4,
                               .bytes = sizeof(void *),
                               .pattern = (enum pattern)(i / 4 % PATTERNS),
                               .size = sizes[i / 4 / PATTERNS]};
        char what[80];
        snprintf(what, sizeof what, "size %zu, pattern %d, deed %d", c.size, (int)c.pattern,
                 c.deed);
        must_end_well(look_at_cache, &c, what);
    }
}
END_TEST

#if defined(HMM__THREADS)

/* Written to while it is on its way: said when it arrives. */
static void write_on_its_way(void *pattern)
{
    alarm(PATIENCE);
    h = hmm_process_heap();
    for (int i = 0; i < 300; i++)
        row[i] = hmm_malloc(96);
    freed_by_another(row[150]);
    write_over(row[150], *(enum pattern *)pattern, sizeof(void *));
    for (int i = 0; i < 1000; i++)
        keep(hmm_malloc(96));
    exit(0);
}

START_TEST(of_what_is_on_its_way)
{
    enum pattern pattern = (enum pattern)_i;
    must_end_well(write_on_its_way, &pattern, "on its way");
}
END_TEST

/* Its owner resizes what another thread has freed. */
static void resize_what_was_sent(void *arg)
{
    static const size_t sizes[] = {100, 96, 60, 20, 300, 2000};
    alarm(PATIENCE);
    for (int i = 0; i < 300; i++)
        row[i] = hmm_malloc(100);
    char *p = row[120];
    freed_by_another(p);
    if (hmm_realloc(p, sizes[*(int *)arg]) == p)
        exit(4);
    exit(5);
}

START_TEST(resized_while_it_is_on_its_way)
{
    int status;
    char *said = said_by_child(resize_what_was_sent, &_i, &status);
    ck_assert_msg(strncmp(said, "hmm: realloc 0x", 15) == 0 && strstr(said, "double free") != NULL,
                  "status %x, said: %s", (unsigned)status, said);
    free(said);
}
END_TEST
#endif

#endif

/* A switch for which there is no room takes nothing, with a cache and without. */
START_TEST(a_switch_that_is_refused_takes_nothing)
{
    for (size_t size = 140000; size < 150000; size += 777)
        for (int with_cache = 0; with_cache < 2; with_cache++) {
            struct hmm_stats before, after;
            h = unwatched(heap_of(size, HMM_BEST_FIT));
            hmm_heap_set_cache(h, with_cache);
            while (hmm_heap_malloc(h, 3000) != NULL)
                ;
            hmm_heap_stats(h, &before);
            if (hmm_heap_set_strategy(h, HMM_FIRST_FIT) != 0) {
                hmm_heap_stats(h, &after);
                ck_assert_uint_eq(after.largest_free, before.largest_free);
                ck_assert_uint_eq(after.capacity, before.capacity);
            }
            heap_end(h);
        }
}
END_TEST

int main(void)
{
    if (under_valgrind()) { /* what is done here on purpose is what memcheck is there to report */
        puts("1..0 # SKIP nothing in here is for memcheck");
        return 0;
    }
    Suite *s = suite_create("links");
    struct cases c = add_cases(s, "links");
    on_each_strategy(c, of_free_blocks, 1);
    tcase_add_loop_test(c.once, of_tries, 0, 40);
    tcase_add_test(c.once, a_switch_that_is_refused_takes_nothing);
#if HMM__CACHE
    on_each_strategy(c, of_the_cache, 1);
#if defined(HMM__THREADS)
    tcase_add_loop_test(c.once, of_what_is_on_its_way, 0, PATTERNS);
    tcase_add_loop_test(c.once, resized_while_it_is_on_its_way, 0, 6);
#endif
#endif
    return run_suite(s);
}
