/* SPDX-License-Identifier: MIT */
/*
 * The recorder's side of call stacks: what a process has noted of them, and the lines that name
 * them in its trace.
 */
#ifndef HMM_RECORD_SITES_H
#define HMM_RECORD_SITES_H

#include "pool.h"
#include "trace.h"

#define RECORD_MOST_WORDS (4 + RECORD_LONGEST_MODULE)

struct record_sites_module {
    uint64_t start, end, bias;
    char *name;
};

struct record_sites_stack {  /* by the process's number */
    uint64_t *frames;        /* return addresses; NULL: its definition has not come */
    uint32_t depth, modules; /* modules: how many were known then */
    uint32_t number;         /* in the trace; 0: not used yet */
};

struct record_sites {
    struct record_sites_stack *stacks;
    uint32_t room, used; /* used: numbers given */
    struct record_sites_module *modules;
    uint32_t module_count, module_room;
    bool strip; /* paths: base names only */

    /* What is being read: an extra event and the places behind it. */
    uint64_t next, words[RECORD_MOST_WORDS];
    uint32_t left, count, stack;
    enum record_extra kind;
    uint64_t use_at; /* the place that use_stack is about */
    uint32_t use_stack;
};

/* Whether the event belongs to an extra one, which is taken in. */
bool record_sites_more(struct record_sites *sites, uint64_t place, uint64_t what, uint64_t size);

static inline bool record_sites_take(struct record_sites *sites, uint64_t place, uint64_t what,
                                     uint64_t size)
{
    return (sites->left != 0 || what == RECORD_EXTRA) &&
           record_sites_more(sites, place, what, size);
}

/* The trace's number for a stack of the process; 0 for 0, and iff there is no memory. */
uint32_t record_sites_number(struct record_sites *sites, uint32_t stack);

/* The same for the block in this place. */
static inline uint32_t record_sites_of(struct record_sites *sites, uint64_t place)
{
    return sites->use_at == place ? record_sites_number(sites, sites->use_stack) : 0;
}

/* Finds names and writes the definitions of all stacks that have a number. */
void record_sites_write(const struct record_sites *sites, struct hmm_trace_writer *writer);
void record_sites_free(struct record_sites *sites);

#endif
