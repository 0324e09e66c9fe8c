/* SPDX-License-Identifier: MIT */
/*
 * A heap on which a trace is replayed and which can be looked into after any operation.
 *
 * The payloads are the view's: each begins with a tag that tells whose block it is, which a resize
 * moves with the rest, so that a walk over the heap need look nowhere else. Addresses are distances
 * from the region's first byte. The region is of just the right size, so that the break is the one
 * that `hmm replay` reports.
 */
#ifndef HMM_VIEW_H
#define HMM_VIEW_H

#include "playback.h"
#include "replay.h"

/* What is known of a block, by ID. The first operation of a trace is operation 1. */
struct view_block {
    uint64_t size;  /* bytes requested */
    uint64_t born;  /* the operation that allocated it; 0: not live */
    uint64_t since; /* the operation that gave it its present place and size */
    uint32_t stack; /* the call stack of that operation */
};

struct view {
    const struct hmm_strategy *strategy;
    size_t capacity;  /* of the region */
    uint64_t failing; /* requests that fail in a region of any size */
    uint64_t highest; /* the operation that first brought the break to its highest */

    struct replay_region region;
    struct hmm_heap *heap; /* NULL: not even a heap can be made */
    void **blocks;         /* by ID; NULL: dead */
    struct view_block *known;
    uint64_t control;               /* bytes of the control structures, which come first */
    uint64_t op;                    /* operations done */
    uint64_t live;                  /* bytes requested of the live blocks */
    uint64_t live_blocks;           /* how many */
    uint64_t failed;                /* requests that were not served */
    uint64_t brk_peak, brk_peak_op; /* the highest break so far, and when it was first reached */
};

enum view_kind { VIEW_USED, VIEW_HOLE };

struct view_piece {
    enum view_kind kind;
    uint64_t address, size; /* the whole block's, header and all */
    uint32_t id;            /* of a block in use */
    uint64_t born;          /* the operation that allocated it */
};

/* What a walk counts. */
struct view_holes {
    uint64_t bytes, count, largest;
};

/*
 * Views of one trace, a strategy each; they are fitted, then opened. One that is opened is a new
 * heap. False, said on stderr, iff there is no address space or the trace can no longer be read.
 */
struct views {
    struct playback *playback;
    struct view *view;
    size_t count;
};

void views_choose(struct views *views, struct playback *playback,
                  const struct hmm_strategy *const *strategies, size_t count);
bool views_fit(struct views *views, uint64_t ops); /* for the first so many operations */
bool views_open(struct views *views);
void views_close(struct views *views); /* what was opened; they stay fitted */
void views_free(struct views *views);

/* Whether a request failed that would be served in a larger region. Then the region is made larger,
 * and the pass must be repeated. */
bool views_outgrown(struct views *views);

/* One operation. False iff it was not served, or was about a block that is not there. */
bool view_step(struct view *view, const struct hmm_trace_op *op);

static inline uint64_t view_address(const struct view *view, uint32_t id)
{
    return (uint64_t)((char *)view->blocks[id] - (char *)view->region.memory);
}

static inline uint64_t view_break(const struct view *view)
{
    return view->heap == NULL
               ? 0
               : (uint64_t)((char *)hmm_heap_break(view->heap) - (char *)view->region.memory);
}

/* All pieces in the order of their addresses. */
struct view_holes view_walk(const struct view *view,
                            void (*visit)(void *arg, const struct view_piece *piece), void *arg);

#endif
