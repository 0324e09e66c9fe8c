/* SPDX-License-Identifier: MIT */
/*
 * The test's own books of a heap with a cache: which blocks are in use, and what is in them. Heaps
 * of some megabytes, since below 128 KiB there are no runs.
 */
#ifndef HMM_TEST_BOOKS_H
#define HMM_TEST_BOOKS_H

#include "cache/inspect.h"
#include "harness.h"

#define BOOK_SLOTS 32768u

struct entry {
    unsigned char *block; /* NULL: not in use */
    size_t size, align;
    uint64_t seed;
};

struct books {
    struct hmm_heap *heap;
    uint64_t rng, seed;
    size_t live;     /* blocks in use */
    uint64_t failed; /* requests that were answered by NULL */
    struct entry slots[BOOK_SLOTS];
};

enum order { UPWARD, DOWNWARD, ODD_THEN_EVEN, SHUFFLED, ORDERS };

/* A heap with its cache on, and empty books. */
void books_open(struct books *b, size_t region, const struct hmm_strategy *strategy, uint64_t seed);

/* Small most often, of few sizes often, rarely large. */
size_t any_size(uint64_t *rng);

/* Block i, which is not in use, is allocated in one of the ways there are. False: it could not. */
bool book_in(struct books *b, size_t i);

/* Block i, in use, is looked at and resized, or freed. */
void book_change(struct books *b, size_t i);
void book_out(struct books *b, size_t i);

/* A random operation on one of the first `slots` blocks; `percent` of the times it is to be in use
 * afterwards. */
void book_step(struct books *b, size_t slots, unsigned percent);

/* The heap is sound, and its walk and statistics know the blocks of the books and no others. */
void books_hold(const struct books *b);

/* And these have their contents. */
void books_look(const struct books *b);

void books_out(struct books *b, enum order order);

/* So many steps (scaled), with the books held against the heap every BOOKS_CHECK_EVERY of them. */
#define BOOKS_CHECK_EVERY 4096u
void books_live(struct books *b, unsigned long steps, size_t slots, unsigned percent);

/* Frees all, without the cache nothing is left, and ends the heap. */
void books_close(struct books *b, enum order order);

/* Nothing is kept back by the cache: it is emptied, off and on again. */
void assert_nothing_left(struct hmm_heap *heap);

/* How many runs there are; 0 where the cache is left out. */
size_t runs_of(const struct hmm_heap *heap);

/* Says in TAP that there is nothing to test: the cache is left out of the build. main's result. */
int skip_without_cache(void);

#endif
