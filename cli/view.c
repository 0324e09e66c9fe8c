/* SPDX-License-Identifier: MIT */
/*
 * Heaps to look into.
 */
#include "view.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 4096u
#define LARGEST_REGION (sizeof(size_t) > 4 ? UINT64_C(64) << 30 : UINT64_C(1) << 30)
#define TICK 65536u /* operations between two updates of the progress bar */

static uint64_t at_most(uint64_t size, uint64_t most)
{
    return size < most ? size : most;
}

/* A guess that is nearly always enough. */
static uint64_t generous_size(const struct playback *f)
{
    uint64_t size = at_most(f->peak_bytes, LARGEST_REGION) * 2 + f->peak_blocks * 128;
    return at_most(size + 256 * PAGE, LARGEST_REGION);
}

void views_choose(struct views *v, struct playback *playback,
                  const struct hmm_strategy *const *strategies, size_t count)
{
    *v = (struct views){playback, cli_alloc(count, sizeof *v->view), count};
    for (size_t i = 0; i < count; i++) {
        v->view[i].strategy = strategies[i];
        v->view[i].capacity = (size_t)generous_size(playback);
    }
}

static void close_view(struct view *v)
{
    hmm_heap_destroy(v->heap);
    if (v->region.mapping != NULL)
        replay_release(&v->region);
    free(v->blocks);
    free(v->known);
    *v = (struct view){.strategy = v->strategy,
                       .capacity = v->capacity,
                       .failing = v->failing,
                       .highest = v->highest};
}

void views_close(struct views *v)
{
    for (size_t i = 0; i < v->count; i++)
        close_view(&v->view[i]);
}

void views_free(struct views *v)
{
    views_close(v);
    free(v->view);
}

static bool open_view(struct view *v, const struct playback *playback)
{
    if (!replay_reserve(&v->region, v->capacity)) {
        v->region.mapping = NULL;
        cli_complain(playback->command, "cannot reserve %s of address space for %s",
                     cli_bytes(v->capacity).chars, hmm_strategy_name(v->strategy));
        return false;
    }
    v->heap = hmm_heap_create(v->region.memory, v->region.size, v->strategy);
    v->blocks = cli_alloc(playback->ids, sizeof *v->blocks);
    v->known = cli_alloc(playback->ids, sizeof *v->known);
    if (v->heap != NULL) {
        struct hmm_stats stats;
        hmm_heap_stats(v->heap, &stats);
        v->control = stats.control;
    }
    return true;
}

bool views_open(struct views *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (!open_view(&v->view[i], v->playback))
            return false;
    return playback_rewind(v->playback);
}

/* ---- Carrying out ---- */

/* A payload begins with the ID. There is room for no more in the smallest aligned block, which is
 * of two words: its end has the record of the alignment. */
static void put_tag(struct view *v, uint32_t id)
{
    memcpy(v->blocks[id], &id, sizeof id);
}

static void forget(struct view *v, struct view_block *known)
{
    v->live -= known->size;
    v->live_blocks--;
    known->born = 0;
}

static void place(struct view *v, const struct hmm_trace_op *op)
{
    struct view_block *known = &v->known[op->id];
    put_tag(v, op->id);
    *known = (struct view_block){op->size, v->op, v->op, op->stack};
    v->live += op->size;
    v->live_blocks++;
}

static void resize(struct view *v, const struct hmm_trace_op *op)
{
    struct view_block *known = &v->known[op->id];
    put_tag(v, op->id);
    v->live += op->size - known->size;
    known->size = op->size;
    known->since = v->op;
    known->stack = op->stack;
}

static void note_break(struct view *v)
{
    const uint64_t brk = view_break(v);
    if (brk <= v->brk_peak)
        return;
    v->brk_peak = brk;
    v->brk_peak_op = v->op;
}

bool view_step(struct view *v, const struct hmm_trace_op *op)
{
    const bool is_new = op->kind == HMM_TRACE_ALLOC || op->kind == HMM_TRACE_ALIGNED;
    v->op++;
    if (v->heap == NULL || (!is_new && v->known[op->id].born == 0)) {
        v->failed += is_new;
        return false;
    }
    if (!replay_step(v->heap, op, v->blocks)) {
        v->failed++;
        return false;
    }
    if (is_new)
        place(v, op);
    else if (op->kind == HMM_TRACE_RESIZE)
        resize(v, op);
    else
        forget(v, &v->known[op->id]);
    note_break(v);
    return true;
}

/* ---- Looking ---- */

struct walk {
    const struct view *view;
    struct view_holes holes;
    void (*visit)(void *, const struct view_piece *);
    void *arg;
};

static int meet(void *arg, const struct hmm_block_info *info)
{
    struct walk *w = arg;
    const char *start = (const char *)info->payload - (info->size - info->usable);
    struct view_piece piece = {.kind = info->used ? VIEW_USED : VIEW_HOLE, .size = info->size};
    piece.address = (uint64_t)(start - (const char *)w->view->region.memory);
    if (info->used) {
        memcpy(&piece.id, info->payload, sizeof piece.id);
        piece.born = w->view->known[piece.id].born;
    } else {
        w->holes.bytes += info->size;
        w->holes.count++;
        if (info->size > w->holes.largest)
            w->holes.largest = info->size;
    }
    if (w->visit != NULL)
        w->visit(w->arg, &piece);
    return 0;
}

struct view_holes view_walk(const struct view *v,
                            void (*visit)(void *arg, const struct view_piece *piece), void *arg)
{
    struct walk walk = {.view = v, .visit = visit, .arg = arg};
    if (v->heap != NULL)
        hmm_heap_walk(v->heap, meet, &walk);
    return walk.holes;
}

/* ---- Regions of the right size ---- */

static void run(struct views *v, uint64_t ops)
{
    const struct hmm_trace_op *op;
    for (uint64_t n = 0; n < ops && (op = playback_next(v->playback)) != NULL; n++) {
        for (size_t i = 0; i < v->count; i++)
            view_step(&v->view[i], op);
        if (n % TICK == 0)
            cli_progress((double)n / (double)ops);
    }
}

/* Makes the region larger, iff it was too small. */
static bool is_too_small(struct view *v)
{
    if (v->failed == 0 || v->capacity == LARGEST_REGION)
        return false;
    v->capacity = (size_t)at_most((uint64_t)v->capacity * 4, LARGEST_REGION);
    return true;
}

static void settle(struct view *v)
{
    struct hmm_stats stats = {.brk_peak = v->capacity};
    if (v->heap != NULL)
        hmm_heap_stats(v->heap, &stats);
    v->failing = v->failed;
    v->highest = v->brk_peak_op;
    v->capacity = (size_t)at_most(stats.brk_peak + (uint64_t)PAGE, LARGEST_REGION);
}

bool views_fit(struct views *v, uint64_t ops)
{
    for (bool fits = false; !fits; views_close(v)) {
        cli_progress_start("measuring");
        if (!views_open(v))
            return false;
        run(v, ops);
        cli_progress_hide();
        if (!playback_was_read(v->playback))
            return false;
        fits = true;
        for (size_t i = 0; i < v->count; i++)
            fits = !is_too_small(&v->view[i]) && fits;
        for (size_t i = 0; fits && i < v->count; i++)
            settle(&v->view[i]);
    }
    return true;
}

bool views_outgrown(struct views *v)
{
    bool outgrown = false;
    for (size_t i = 0; i < v->count; i++) {
        struct view *one = &v->view[i];
        if (one->failed <= one->failing || one->capacity >= LARGEST_REGION)
            continue;
        one->capacity += one->capacity / 64 + PAGE;
        outgrown = true;
    }
    return outgrown;
}
