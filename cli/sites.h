/* SPDX-License-Identifier: MIT */
/*
 * Call sites: where in the program blocks are asked for. A site is the innermost frame of a call
 * stack whose function is no allocation function itself (malloc, xmalloc, operator new, std::...);
 * stacks that have it are one site.
 */
#ifndef HMM_CLI_SITES_H
#define HMM_CLI_SITES_H

#include "cli.h"
#include "trace.h"

struct cli_site {
    char *name;                          /* "parse (json.c:120)" */
    const struct hmm_trace_frame *frame; /* NULL: not known */
};

struct cli_sites {
    const struct hmm_trace_stacks *stacks;
    struct cli_site *list; /* [0] is for what is not known */
    uint32_t count, room;
    uint32_t *of_stack; /* by the stack's number, below stack_room */
    uint32_t stack_room;
};

/* Of all stacks that are defined so far. They must stay. */
void cli_sites_open(struct cli_sites *sites, const struct hmm_trace_stacks *stacks);
void cli_sites_close(struct cli_sites *sites);

static inline uint32_t cli_site_of(const struct cli_sites *sites, uint32_t stack)
{
    return stack < sites->stack_room ? sites->of_stack[stack] : 0;
}

/* The frame in words: to be freed. */
char *cli_frame_name(const struct hmm_trace_frame *frame);

#endif
