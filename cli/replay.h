/* SPDX-License-Identifier: MIT */
/*
 * Between the files of `hmm replay`.
 *
 * A pass is a trace carried out once, from its first operation to its last, on a new heap in a
 * region of its own. What an operation means in a pass:
 *
 *   - an allocation that fails leaves its ID dead, and what is later done to that ID is left out;
 *   - a resize that fails leaves the block as it was;
 *   - a resize to nothing is one to a single byte, since its ID stays live.
 *
 * Payloads are not touched, but by the checked pass.
 */
#ifndef HMM_REPLAY_H
#define HMM_REPLAY_H

#include "cli.h"
#include "hmm.h"
#include "trace.h"

/* ---- passes.c ---- */

/* Memory of its own for a heap; address space is reserved, and taken only as it is touched. It
 * begins at a multiple of 2 MiB, so that aligned blocks come to lie the same in every run. */
struct replay_region {
    void *memory;
    size_t size;
    void *mapping; /* what was reserved to find such a place in */
    size_t mapped;
};

/* What the passes over one trace share. */
struct replay {
    struct hmm_trace_tape *tape;
    const struct hmm_trace_summary *sum; /* of all of it */
    void **blocks;                       /* by ID; NULL: dead */
    uint64_t *sizes;                     /* by ID: bytes requested */
    bool cache;                          /* before the heaps */

    /* Told after every stretch of a pass how many operations of it are done; or NULL. */
    void (*tell)(void *arg, uint64_t done);
    void *tell_arg;
};

/* What one pass has found. */
struct replay_figures {
    bool has_heap; /* false: the region is too small for any heap; all allocations failed */
    struct hmm_stats stats;
    uint64_t failed;
    uint64_t first_failed; /* the index of the first operation that failed, where one did */
    uint64_t live_peak;    /* most bytes requested of live blocks, failed requests left out */
    uint64_t
        free_blocks_max; /* most free blocks after any operation; with a cache, that were seen */
    size_t cache_bytes;  /* what the cache has of the region's high end */
};

void replay_open(struct replay *replay, struct hmm_trace_tape *tape, bool cache);
void replay_close(struct replay *replay);

/*
 * Each returns false iff there is no address space for a region of `capacity` bytes. If the tape
 * has an error after it, what it has found is void.
 */

/* All figures. */
bool replay_observe(const struct replay *replay, const struct hmm_strategy *strategy,
                    size_t capacity, struct replay_figures *figures);

/* Nanoseconds of this thread's processor time, the heap's creation left out, in a region whose
 * first `warm` bytes and last figures->cache_bytes have been touched; and the heap's statistics and
 * failures. */
bool replay_time(const struct replay *replay, const struct hmm_strategy *strategy, size_t capacity,
                 size_t warm, double *nanoseconds, struct replay_figures *figures);

/* Whether all operations succeed. Stops at the first that does not. */
bool replay_completes(const struct replay *replay, const struct hmm_strategy *strategy,
                      size_t capacity, bool *completes);

/* The time of the loop alone, which the result of replay_time includes. */
double replay_time_harness(const struct replay *replay);

/* ---- verify.c ---- */

/* Fills every block with a pattern of its own and looks whether it is still there when the block
 * is resized or freed, and whether it is aligned; at the end hmm_heap_check. In a process of its
 * own, so that a crash or an endless loop is a fault, too. Writes what is wrong
 * to `fault`, "" iff nothing is. Returns as above. */
bool replay_verify(const struct replay *replay, const struct hmm_strategy *strategy,
                   size_t capacity, char *fault, size_t fault_room);

bool replay_reserve(struct replay_region *region, size_t size);
void replay_release(struct replay_region *region);

/* A heap in all of the region, with its cache if there is to be one; NULL: it is too small.
 * *control: bytes of the control structures without those of the cache. */
struct hmm_heap *replay_heap(const struct replay *replay, const struct replay_region *region,
                             const struct hmm_strategy *strategy, size_t *control);

/* One operation; false iff it failed. */
static inline bool replay_step(struct hmm_heap *heap, const struct hmm_trace_op *op, void **blocks)
{
    void **block = &blocks[op->id];
    const size_t size = (size_t)op->size;
    switch (op->kind) {
    case HMM_TRACE_ALLOC:
        *block = hmm_heap_malloc(heap, size);
        return *block != NULL;
    case HMM_TRACE_ALIGNED:
        *block = hmm_heap_aligned_alloc(heap, (size_t)1 << op->align_log2, size);
        return *block != NULL;
    case HMM_TRACE_RESIZE:
        if (*block != NULL) {
            void *moved = hmm_heap_realloc(heap, *block, size != 0 ? size : 1);
            if (moved == NULL)
                return false;
            *block = moved;
        }
        return true;
    default:
        if (*block != NULL)
            hmm_heap_free(heap, *block);
        return true;
    }
}

/* ---- measure.c: from passes to what is reported ---- */

struct replay_options {
    size_t heap;   /* the region's size; 0: as large as it need be */
    unsigned runs; /* timed passes, of which the fastest counts */
    bool check;    /* a checked pass as well */
    bool smallest; /* look for the smallest region */
    bool cache;    /* before the heaps */
    bool json;
};

struct replay_result {
    const char *trace, *strategy;
    struct replay_figures figures; /* break: of a region of the right size */
    uint64_t ops, allocations;
    double ns_per_op;  /* net of the loop; negative: not known, nothing ran */
    uint64_t smallest; /* bytes; 0: not looked for, or none completes the trace */
    size_t capacity;   /* bytes of the region */
    bool faulty;       /* the checked pass found something, and said so */
};

/* Told how far a measurement is, 0 to 1. */
struct replay_tick {
    void (*tell)(void *arg, double done);
    void *arg;
};

/* About how many passes that is. */
unsigned replay_passes(const struct replay_options *options);

/* Measures one strategy. harness: of replay_time_harness. False, said on stderr, iff there is no
 * address space. */
bool replay_measure(const struct replay *replay, const struct hmm_strategy *strategy,
                    const struct replay_options *options, double harness,
                    const struct replay_tick *tick, struct replay_result *result);

/* The highest break, and what the cache has above it. */
uint64_t replay_peak_break(const struct replay_result *result);

/* peak break over peak live, and smallest region over peak live; negative: there is none. */
double replay_footprint(const struct replay_result *result);
double replay_smallest_ratio(const struct replay_result *result);

/* ---- results.c ---- */

void replay_print_json(const struct replay_result *result, const struct replay_options *options);

/* A trace's results, one a strategy. */
void replay_print_table(const struct replay_result *results, size_t count,
                        const struct hmm_trace_summary *sum, const struct replay_options *options);

/* Geometric means over the traces; results are by trace, then by strategy. */
void replay_print_means(const struct replay_result *results, size_t traces, size_t strategies,
                        const struct replay_options *options);

#endif
