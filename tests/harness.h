/* SPDX-License-Identifier: MIT */
/*
 * What the unit tests share: the strategies to loop over, regions, and patterns of bytes that can
 * be verified.
 */
#ifndef HMM_TEST_HARNESS_H
#define HMM_TEST_HARNESS_H

#include "api/api.h"
#include "heap/block.h"
#include "mix.h"

#include <check.h>

/* As ck_assert_msg, for inner loops: Check's own sends a message to its parent process each time.
 */
#define require(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

/* The built-in strategies, for loop tests: [0, strategy_count()). */
int strategy_count(void);
const struct hmm_strategy *strategy_of(int index);

/* Valgrind is slow: there n becomes a good deal less, but at least 1. */
bool under_valgrind(void);
unsigned long scaled(unsigned long n);

/* The test cases of one name: NAME for what runs once, NAME/STRATEGY for what runs on each. */
#define MOST_STRATEGIES 8
struct cases {
    TCase *once, *on[MOST_STRATEGIES];
};
struct cases add_cases(Suite *suite, const char *name);

/* Adds a test that runs so many times on each strategy, which is strategy_of(_i / times). */
void on_each_strategy(struct cases cases, const TTest *test, int times);

/* Test cases whose heaps of heap_of have the cache on, and are larger by so much that it has runs;
 * and whether this is one. There, where a block lies and how many fit is not the strategy's doing
 * alone, and small blocks are in few sizes. */
struct cases add_cached_cases(Suite *suite, const char *name);
bool cached(void);

/* What runs before each test; how many seconds a test may take. */
void set_up(struct cases cases, void (*function)(void));
void set_timeout(struct cases cases, int seconds);

/* What heap_of makes of a size. */
size_t region_of(size_t size);

/* A heap in memory of exactly this size, so that the sanitizers and memcheck see its ends. It is
 * aligned to about its own size: what a test sees does not depend on where it lies. */
struct hmm_heap *heap_of(size_t size, const struct hmm_strategy *strategy);

/* Takes memcheck's eyes off a heap, for tests that look at headers themselves. Returns it. */
struct hmm_heap *unwatched(struct hmm_heap *heap);

/* Ends a heap of heap_of's, its memory too. Those that a test leaves go with its process. */
void heap_end(struct hmm_heap *heap);

/* hmm_heap_check says NULL. */
void assert_sound(const struct hmm_heap *heap);

/* As malloc, but it must not fail. */
void *must_malloc(struct hmm_heap *heap, size_t size);

/* Returns block, which memcheck is not to take for lost when a test leaves it. */
void *keep(void *block);

/* Allocates blocks of this size until there is no room; returns how many. */
size_t exhaust(struct hmm_heap *heap, size_t size, void **blocks, size_t most);

/* Fills the heap so that nothing but what is freed later can be had: large blocks, then small. */
void fill_up(struct hmm_heap *heap);

/* The number of blocks, or of free ones. */
size_t count_blocks(const struct hmm_heap *heap);
size_t count_free(const struct hmm_heap *heap);

/* No block at all: everything is the free top's. Of a heap with a cache, once that is empty. */
void assert_empty(const struct hmm_heap *heap);

/* Bytes that differ by seed and by place. */
void fill(void *block, size_t size, uint64_t seed);
bool holds(const void *block, size_t size, uint64_t seed);

/* hmm_free by a thread that then ends. Ends the process with 3 where there can be none. */
void freed_by_another(void *block);

/* A new test case of the suite's, with time enough for Valgrind on a busy machine. */
TCase *add_case(Suite *suite, const char *name);

/* Runs the suite, says what happened as TAP; main's result. */
int run_suite(Suite *suite);

#endif
