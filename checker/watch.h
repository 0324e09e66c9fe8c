/* SPDX-License-Identifier: MIT */
/*
 * A strategy that does what another does, in its place in a heap, and holds each answer against
 * what it has been told. It is for one heap at a time, in a process that a broken rule may end.
 */
#ifndef HMM_CHECKER_WATCH_H
#define HMM_CHECKER_WATCH_H

#include "checker.h"

#include <signal.h>

struct watch {
    const struct hmm_strategy *rule;
    struct hmm_strategy face; /* what the heap has */
    hmm_ref (*scan)(struct hmm_heap *heap, const struct hmm_scan *scan);
    struct checker_verdict *verdict;
    struct hmm_heap *heap;

    /* The region, and a copy of it as it was when the function was called. */
    char *region, *copy;
    size_t region_bytes, room;

    /* The strategy's state, between bytes that must stay, and those between pages that cannot be
     * touched. */
    char *state, *pages, *old_pages; /* old: of the state before, until it moved */
    size_t state_bytes, pages_bytes, old_bytes;

    /* By ref: the granules of the blocks that it has been told of, when; where the last request was
     * placed. */
    uint32_t *told, count;
    uint64_t *since, clock;
    hmm_ref refs, last_end;
};

/* Of the process. */
extern struct watch watch;

/* The face of a strategy, for a region of at most `room` bytes. */
void watch_begin(const struct hmm_strategy *rule, char *region, size_t room,
                 struct checker_verdict *verdict);

/* Says so, and ends the process. */
__attribute__((format(printf, 2, 3))) _Noreturn void watch_broken(const char *rule,
                                                                  const char *format, ...);

/* state_size, of all capacities. */
void watch_state_size(void);

/* What is asked only. */
void watch_ask_piece(uint64_t seed);

/* The largest block that the strategy has been told of; 0: none. */
uint32_t watch_largest(void);

/* memory.c: the state's. */
void watch_new_state(size_t bytes, const char *old, size_t kept, bool zero);
void watch_hold_state(const char *hook);

/* memory.c: before and after a call; [block, block + granules) was free before it. */
void watch_enter(const char *hook, hmm_ref block);
void watch_leave(hmm_ref block, uint32_t granules);

/* Whether the address is beside the state; or where it was before it moved. */
bool watch_is_guard(const void *address);
bool watch_is_old(const void *address);

/* memory.c: all of it as it is now; and as it was then. */
struct watch_image;
struct watch_image *watch_save(void);
void watch_restore(struct watch_image *image);

#endif
