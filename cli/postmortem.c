/* SPDX-License-Identifier: MIT */
/*
 * Why a trace does not fit: the first operation that is not served, the largest hole at that time
 * with who sits at both of its ends, and what would have helped.
 */
#include "compare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- The largest hole ---- */

struct hole {
    char *begin, *end; /* with its header */
    uint64_t size, holes, free_bytes;
    char *last_end; /* of the last block that the walk saw */
};

static int see(void *arg, const struct hmm_block_info *b)
{
    struct hole *h = arg;
    char *begin = b->payload;
    h->last_end = begin + b->size;
    if (b->used)
        return 0;
    h->holes++;
    h->free_bytes += b->size;
    if (b->size > h->size) {
        h->size = b->size;
        h->begin = begin;
        h->end = begin + b->size;
    }
    return 0;
}

/* What the heap has not yet used, at its end, counts as a hole. */
static void see_top(struct hole *h, struct hmm_heap *heap, const struct replay_region *region)
{
    struct hmm_stats stats;
    hmm_heap_stats(heap, &stats);
    if (h->last_end == NULL)
        return;
    char *end = (char *)region->memory + stats.capacity;
    const uint64_t top = end > h->last_end ? (uint64_t)(end - h->last_end) : 0;
    h->free_bytes += top;
    h->holes += top != 0;
    if (top > h->size) {
        h->size = top;
        h->begin = h->last_end;
        h->end = end;
    }
}

/* ---- Its neighbours ---- */

/* The block that lies nearest below the hole's begin, and the one nearest above its end. A block
 * of a cache's run lies in the run, so the nearest is looked for and not the one that touches. */
static void find_ends(const struct replay *r, const uint64_t *born, const struct hole *h,
                      struct postmortem *found)
{
    const char *below = NULL, *above = NULL;
    for (size_t i = 0; i < r->sum->peak_blocks; i++) {
        const char *at = r->blocks[i];
        if (at == NULL)
            continue;
        if (at < h->begin && at > below) {
            below = at;
            found->below = (struct postmortem_end){true, 0, r->sizes[i], born[i]};
        }
        if (at >= h->end && (above == NULL || at < above)) {
            above = at;
            found->above = (struct postmortem_end){true, 0, r->sizes[i], born[i]};
        }
    }
}

/* Opening a FIFO again would wait for a writer. */
static bool can_be_read_again(const char *path)
{
    struct stat status;
    return strcmp(path, "-") != 0 && stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* The ID in the file, which the tape has renumbered; and the line. False iff it cannot be read. */
static bool name_op(const char *path, uint64_t index, uint64_t *id, uint64_t *line)
{
    struct hmm_trace_error error;
    struct hmm_trace_op op;
    struct hmm_trace_reader *reader =
        can_be_read_again(path) ? hmm_trace_reader_open(path, 0, &error) : NULL;
    if (reader == NULL)
        return false;
    const bool good =
        hmm_trace_seek(reader, index, &error) && hmm_trace_read(reader, &op, 1, &error) == 1;
    if (good) {
        *id = op.id;
        *line = hmm_trace_reader_line(reader);
    }
    hmm_trace_reader_close(reader);
    return good;
}

/* ---- The pass ---- */

static bool run_to_failure(const struct replay *r, struct hmm_heap *heap, uint64_t *born,
                           struct postmortem *found)
{
    const struct hmm_trace_op *ops;
    uint64_t index = 0;
    hmm_trace_tape_rewind(r->tape);
    for (size_t count; (count = hmm_trace_tape_next(r->tape, &ops)) != 0;)
        for (size_t i = 0; i < count; i++, index++) {
            const struct hmm_trace_op *op = &ops[i];
            if (!replay_step(heap, op, r->blocks)) {
                found->failed = true;
                found->index = index;
                found->op = *op;
                return true;
            }
            if (op->kind == HMM_TRACE_FREE)
                r->blocks[op->id] = NULL;
            else
                r->sizes[op->id] = op->size;
            if (op->kind == HMM_TRACE_ALLOC || op->kind == HMM_TRACE_ALIGNED)
                born[op->id] = index;
        }
    return false;
}

static void look_around(const struct replay *r, struct hmm_heap *heap,
                        const struct replay_region *region, const uint64_t *born,
                        struct postmortem *found)
{
    struct hole hole = {NULL, NULL, 0, 0, 0, NULL};
    hmm_heap_walk(heap, see, &hole);
    see_top(&hole, heap, region);
    found->free_bytes = hole.free_bytes;
    found->largest_hole = hole.size;
    found->holes = hole.holes;
    if (hole.size != 0)
        find_ends(r, born, &hole, found);
}

bool postmortem_find(const struct probe *p, const char *path, uint64_t size,
                     struct postmortem *found)
{
    const struct replay *r = p->replay;
    struct replay_region region;
    size_t control;
    *found = (struct postmortem){.has_heap = false};
    if (!replay_reserve(&region, (size_t)size))
        return false;
    memset(r->blocks, 0, r->sum->peak_blocks * sizeof *r->blocks);
    uint64_t *born = cli_alloc(r->sum->peak_blocks, sizeof *born);
    struct hmm_heap *heap = replay_heap(r, &region, p->strategy, &control);
    found->has_heap = heap != NULL;
    if (heap != NULL && run_to_failure(r, heap, born, found)) {
        uint64_t id = 0, line = 0;
        look_around(r, heap, &region, born, found);
        found->has_ids = name_op(path, found->index, &id, &found->line) &&
                         name_op(path, found->below.born, &found->below.id, &line) &&
                         name_op(path, found->above.born, &found->above.id, &line);
        found->op.id = (uint32_t)id;
    }
    hmm_heap_destroy(heap);
    free(born);
    replay_release(&region);
    return true;
}

/* ---- In words ---- */

static void print_end(FILE *to, const char *prefix, const char *where, bool has_id,
                      const struct postmortem_end *e)
{
    char id[24] = "";
    if (!e->is_block) {
        fprintf(to, "%s  %s it: no block, the heap %s there\n", prefix, where,
                strcmp(where, "below") == 0 ? "begins" : "ends");
        return;
    }
    if (has_id)
        snprintf(id, sizeof id, " %" PRIu64, e->id);
    fprintf(to, "%s  %s it: block%s of %" PRIu64 " bytes, born at operation %" PRIu64 "\n", prefix,
            where, id, e->size, e->born + 1);
}

static void print_around(FILE *to, const char *prefix, const struct postmortem *f)
{
    fprintf(to, "%s  free then: %" PRIu64 " bytes in %" PRIu64 " hole%s, the largest %" PRIu64 "\n",
            prefix, f->free_bytes, f->holes, f->holes == 1 ? "" : "s", f->largest_hole);
    if (f->largest_hole != 0) {
        print_end(to, prefix, "below", f->has_ids, &f->below);
        print_end(to, prefix, "above", f->has_ids, &f->above);
    }
}

static void print_failure(FILE *to, const char *prefix, const char *path, uint64_t size,
                          const struct postmortem *f)
{
    static const char *const verbs[] = {"a", "m", "r", "f"};
    fprintf(to, "%soperation %" PRIu64, prefix, f->index + 1);
    if (f->line != 0)
        fprintf(to, " (%s:%" PRIu64 ")", cli_visible(path), f->line);
    fprintf(to, ": '%s", verbs[f->op.kind < 4 ? f->op.kind : 0]);
    if (f->has_ids)
        fprintf(to, " %" PRIu32, f->op.id);
    fprintf(to, "' of %" PRIu64 " bytes is not served in %" PRIu64 " bytes\n", f->op.size, size);
    print_around(to, prefix, f);
}

static void print_help(FILE *to, const char *prefix, const struct probe *p, uint64_t size)
{
    const struct hmm_strategy *s;
    uint64_t smallest;
    bool good;
    for (unsigned i = 0; (s = hmm_strategy_at(i)) != NULL; i++) {
        const struct probe other = {p->replay, s, 0};
        if (s != p->strategy && probe_completes(&other, size, &good) && good)
            fprintf(to, "%s  would help: --strategy %s, which completes in %" PRIu64 " bytes\n",
                    prefix, cli_visible(hmm_strategy_name(s)), size);
    }
    if (probe_smallest(p, 0, &smallest) && smallest > size)
        fprintf(to, "%s  would help: %" PRIu64 " bytes more: %s completes in %" PRIu64 "\n", prefix,
                smallest - size, cli_visible(hmm_strategy_name(p->strategy)), smallest);
}

void postmortem_print(FILE *to, const char *prefix, const struct probe *p, const char *path,
                      uint64_t size, const struct postmortem *f)
{
    if (!f->has_heap)
        fprintf(to, "%sno heap can be made in %" PRIu64 " bytes\n", prefix, size);
    else if (f->failed)
        print_failure(to, prefix, path, size, f);
    else
        return;
    print_help(to, prefix, p, size);
}

void postmortem_print_rest(FILE *to, const char *prefix, const struct probe *p, uint64_t size,
                           const struct postmortem *f)
{
    if (f->failed)
        print_around(to, prefix, f);
    print_help(to, prefix, p, size);
}
