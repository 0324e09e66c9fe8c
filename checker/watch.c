/* SPDX-License-Identifier: MIT */
/*
 * The strategy that stands before another, and what it holds each answer against: the free blocks
 * that the strategy has been told of, and nothing of its index.
 */
#include "watch.h"

#include "heap/block.h"
#include "mix.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct watch watch;

void watch_broken(const char *rule, const char *format, ...)
{
    struct checker_verdict *v = watch.verdict;
    va_list args;
    va_start(args, format);
    vsnprintf(v->text, sizeof v->text, format, args);
    va_end(args);
    snprintf(v->rule, sizeof v->rule, "%s", rule);
    v->outcome = CHECKER_UNSOUND;
    _exit(1);
}

/* ---- What it has been told ---- */

static void tell(hmm_ref r, uint32_t granules)
{
    watch.told[r] = granules;
    watch.since[r] = ++watch.clock;
    watch.count++;
}

static void forget(hmm_ref r)
{
    watch.count -= watch.told[r] != 0;
    watch.told[r] = 0;
}

uint32_t watch_largest(void)
{
    uint32_t most = 0;
    for (hmm_ref r = 1; r < watch.refs; r++)
        most = watch.told[r] > most ? watch.told[r] : most;
    return most;
}

/* ---- What an answer must be ---- */

static const char *what_is(hmm_ref r)
{
    if (r >= hmm_block_end(watch.heap))
        return "which is above the last block";
    for (hmm_ref b = hmm_block_first(watch.heap); b != 0; b = hmm_block_next(watch.heap, b))
        if (b == r)
            return "which is in use";
    return "where no block begins";
}

static void hold_block(const char *hook, uint32_t n, hmm_ref r)
{
    if (r >= watch.refs || watch.told[r] == 0) {
        const char *why = what_is(r);
        watch_broken(strcmp(why, "which is in use") == 0 ? "find-in-use" : "find-no-block",
                     "for %u granules %s names block %u, %s", n, hook, r, why);
    }
}

static void hold_choice(const char *hook, uint32_t n, hmm_ref r, bool may_miss)
{
    if (r != 0) {
        hold_block(hook, n, r);
        if (watch.told[r] < n)
            watch_broken("find-too-small", "for %u granules %s names block %u, which has %u", n,
                         hook, r, watch.told[r]);
        return;
    }
    for (r = 1; r < watch.refs && !may_miss; r++)
        if (watch.told[r] >= n)
            watch_broken("find-none", "for %u granules %s names none, though free block %u has %u",
                         n, hook, r, watch.told[r]);
}

static uint64_t freed_at(const struct hmm_scan *scan, hmm_ref block)
{
    (void)scan;
    return block < watch.refs ? watch.since[block] : 0;
}

static void hold_scan(const char *hook, uint32_t n, hmm_ref r)
{
    if (watch.scan == NULL)
        return;
    const struct hmm_scan scan = {n, watch.last_end, freed_at};
    watch_enter("hmm_plugin_scan", 0);
    hmm_ref expected = watch.scan(watch.heap, &scan);
    watch_leave(0, 0);
    if (expected != r)
        watch_broken("scan", "for %u granules %s names block %u, hmm_plugin_scan block %u", n, hook,
                     r, expected);
}

/* ---- The functions ---- */

static hmm_ref face_find(struct hmm_heap *h, void *state, uint32_t n)
{
    (void)state;
    watch_enter("find", 0);
    hmm_ref r = watch.rule->find(h, watch.state, n);
    watch_leave(0, 0);
    hold_choice("find", n, r, watch.rule->find_last != NULL);
    watch_enter("find", 0);
    hmm_ref again = watch.rule->find(h, watch.state, n);
    watch_leave(0, 0);
    if (again != r)
        watch_broken("find-changes",
                     "for %u granules find names block %u, and asked again block %u", n, r, again);
    hold_scan("find", n, r);
    return r;
}

static hmm_ref face_find_last(struct hmm_heap *h, void *state, uint32_t n)
{
    (void)state;
    watch_enter("find_last", 0);
    hmm_ref r = watch.rule->find_last(h, watch.state, n);
    watch_leave(0, 0);
    hold_choice("find_last", n, r, false);
    return r;
}

static hmm_ref face_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    struct hmm_piece given = *piece;
    (void)state;
    watch_enter("find_piece", 0);
    hmm_ref r = watch.rule->find_piece(h, watch.state, &given);
    watch_leave(0, 0);
    if (r == 0)
        return 0;
    hold_block("find_piece", piece->granules, r);
    if (!hmm_piece_fits(piece, r, watch.told[r]))
        watch_broken("piece-does-not-fit",
                     "find_piece names block %u of %u granules for a piece of %u, align %u, phase "
                     "%u, boundary %u, low %u, high %u",
                     r, watch.told[r], piece->granules, piece->align, piece->phase, piece->boundary,
                     piece->low, piece->high);
    return r;
}

/* Where the strategy can say it. */
static void hold_check(const char *hook)
{
    uint32_t indexed = 0;
    if (watch.rule->check == NULL)
        return;
    watch_enter("check", 0);
    const char *why = watch.rule->check(watch.heap, watch.state, &indexed);
    watch_leave(0, 0);
    if (why != NULL)
        watch_broken("check", "after %s its own check says: %.100s", hook, why);
    if (indexed != watch.count)
        watch_broken("check",
                     "after %s its own check counts %u blocks in the index, and %u are free", hook,
                     indexed, watch.count);
}

static void face_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    (void)state;
    tell(r, block_size(h, r));
    watch_enter("insert", r);
    watch.rule->insert(h, watch.state, r);
    watch_leave(0, 0);
}

static void face_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    uint32_t n = watch.told[r];
    (void)state;
    watch_enter("remove", r);
    watch.rule->remove(h, watch.state, r);
    watch_leave(r, n);
    forget(r);
}

static void face_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                        hmm_ref now)
{
    (void)state;
    forget(was);
    tell(now, block_size(h, now));
    watch_enter("resize", was);
    watch.rule->resize(h, watch.state, was, was_granules, now);
    watch_leave(was, was_granules);
}

static hmm_ref face_take(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref expected = face_find(h, state, n);
    watch_enter("take", expected);
    hmm_ref r = watch.rule->take(h, watch.state, n);
    uint32_t had = r < watch.refs ? watch.told[r] : 0;
    if (r == expected && r != 0) {
        watch.last_end = r + n;
        forget(r);
        if (had - n >= HMM_MIN_GRANULES)
            tell(r + n, had - n);
        else
            watch.last_end = r + had;
    }
    watch_leave(expected, r == expected ? had : 0);
    if (r != expected)
        watch_broken("take-is-not-find",
                     "for %u granules take names block %u, and find before it block %u", n, r,
                     expected);
    return r;
}

static void face_placed(struct hmm_heap *h, void *state, hmm_ref r, uint32_t granules)
{
    (void)state;
    watch.last_end = r + granules;
    if (watch.rule->placed == NULL)
        return;
    watch_enter("placed", r);
    watch.rule->placed(h, watch.state, r, granules);
    watch_leave(0, 0);
}

static uint32_t face_largest(struct hmm_heap *h, void *state)
{
    (void)state;
    watch_enter("largest", 0);
    uint32_t got = watch.rule->largest(h, watch.state), most = watch_largest();
    watch_leave(0, 0);
    if (got != most)
        watch_broken("largest", "largest says %u granules, the largest free block has %u", got,
                     most);
    return got;
}

static const char *face_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    (void)h, (void)state;
    hold_check("the operation");
    *indexed = watch.count;
    return NULL;
}

static size_t size_for(size_t capacity)
{
    watch.verdict->hook = "state_size";
    size_t bytes = watch.rule->state_size(capacity);
    watch.verdict->hook = NULL;
    return bytes;
}

static void face_start(struct hmm_heap *h, void *state)
{
    (void)state;
    memset(watch.told, 0, watch.refs * sizeof *watch.told);
    watch.count = 0;
    watch.last_end = 0;
    watch.heap = h;
    watch_new_state(size_for(hmm_heap_capacity(h)), NULL, 0,
                    (watch.rule->flags & HMM_STRATEGY_CLEARS) == 0);
    if (watch.rule->start == NULL)
        return;
    watch_enter("start", 0);
    watch.rule->start(h, watch.state);
    watch_leave(0, 0);
}

static void face_grow(struct hmm_heap *h, void *state, size_t old, size_t now)
{
    (void)state;
    watch_new_state(size_for(now), watch.state, size_for(old),
                    (watch.rule->flags & HMM_STRATEGY_CLEARS) == 0);
    watch_enter("grow", 0);
    watch.rule->grow(h, watch.state, old, now);
    watch_leave(0, 0);
    hold_check("grow");
}

/* ---- What is asked beside the heap ---- */

/* From where a heap has room for more than its first block. */
#define LEAST_CAPACITY ((size_t)64 << 10)

void watch_state_size(void)
{
    size_t last = 0;
    unsigned most = sizeof(size_t) > 4 ? 36 : 30;
    for (unsigned shift = 12; shift <= most; shift++)
        for (unsigned part = 0; part < 4; part++) {
            size_t capacity = ((size_t)1 << shift) + ((size_t)part << shift) / 4;
            size_t bytes = size_for(capacity);
            if (bytes < last)
                watch_broken("state-falls",
                             "state_size falls from %zu to %zu bytes at a capacity "
                             "of %zu",
                             last, bytes, capacity);
            if (capacity >= LEAST_CAPACITY && bytes > capacity / 2)
                watch_broken("state-too-large",
                             "state_size of a heap of %zu bytes is %zu: more "
                             "than half of it",
                             capacity, bytes);
            last = bytes;
        }
}

void watch_ask_piece(uint64_t seed)
{
    uint64_t rng = seed * 2 + 1;
    hmm_ref end = hmm_block_end(watch.heap);
    if (watch.rule->find_piece == NULL)
        return;
    for (int i = 0; i < 8; i++) {
        struct hmm_piece piece = {.align = 1u << rng_below(&rng, 7)};
        piece.granules = HMM_MIN_GRANULES + (uint32_t)rng_below(&rng, watch_largest() + 1);
        piece.phase = (uint32_t)rng_below(&rng, 1000);
        if (rng_below(&rng, 2) == 0)
            piece.boundary = piece.align << rng_below(&rng, 6);
        if (rng_below(&rng, 3) == 0)
            piece.low = (hmm_ref)rng_below(&rng, end);
        if (rng_below(&rng, 3) == 0)
            piece.high = piece.low + (hmm_ref)rng_below(&rng, end);
        face_find_piece(watch.heap, NULL, &piece);
    }
}

/* ---- Beginning ---- */

static void *table(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (p == NULL)
        abort();
    return p;
}

void watch_begin(const struct hmm_strategy *rule, char *region, size_t room,
                 struct checker_verdict *verdict)
{
    struct hmm_strategy *s = &watch.face;
    watch = (struct watch){.rule = rule, .verdict = verdict, .region = region, .room = room};
    watch.refs = (hmm_ref)(room / HMM_GRANULE);
    watch.told = table(watch.refs, sizeof *watch.told);
    watch.since = table(watch.refs, sizeof *watch.since);
    watch.copy = table(room, 1);
    watch.heap = (struct hmm_heap *)(void *)region;
    *s = *rule;
    s->start = face_start;
    s->find = face_find;
    s->insert = face_insert;
    s->remove = face_remove;
    s->placed = face_placed;
    s->check = face_check;
    s->grow = s->grow ? face_grow : NULL;
    s->take = s->take ? face_take : NULL;
    s->resize = s->resize ? face_resize : NULL;
    s->largest = s->largest ? face_largest : NULL;
    s->find_last = s->find_last ? face_find_last : NULL;
    s->find_piece = s->find_piece ? face_find_piece : NULL;
    s->malloc_whole = NULL;
    s->free_whole = NULL;
}
