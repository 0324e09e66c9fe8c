/* SPDX-License-Identifier: MIT */
/*
 * Segregated lists: by size class, in constant time in the common case.
 *
 * THEORY
 *
 * The classes are in two levels (TLSF): a power of two, and within it SPLIT equal parts; below
 * SPLIT granules there is one class for each size. A class is taken of the *payload's*
 * granules, which is the block's less one: a block whose payload is a power of two begins a class
 * instead of lying deep in one. (Classes of the block's size miss freed power-of-two blocks: on
 * one compiler's trace that costs a fifth of the memory.) Each class is a list, newest first; two
 * levels of bit maps tell which are not empty.
 *
 * A request looks at the first HEADS blocks of its own class, some of which may be too small; then
 * at the head of the next larger class that is not empty, which always fits. If the free top cannot
 * serve it either, the whole of its own class is searched: no request fails while a block fits.
 *
 * An aligned piece: the first HEADS of its own class and of each class above it are tried,
 * SEG_PIECE_TRIES blocks in all; if it fits in none of them, as for a request so large that it fits
 * wherever the block begins.
 *
 * Bound: HEADS blocks and two bit scans; before a request fails, the length of one class. Waste
 * inside: a block is at most 1/SPLIT larger than the smallest in its class.
 *
 * Good for: bounded time, at almost best-fit's memory.
 *
 * Source: Masmano, Ripoll, Crespo, Real 2004, "TLSF: a new dynamic memory allocator for real-time
 * systems".
 *
 * INVARIANTS
 * T2  A bit of a map is set iff the list, or the row of lists, that it stands for is not empty.
 * T3  Every block in a list is free, of the list's class, and its back link is the one before.
 */
#include "block.h"

#define SPLIT_LOG 5u
#define SPLIT (1u << SPLIT_LOG)
#define HEADS 4u
#define SEG_PIECE_TRIES 16u

struct seg_row {
    uint32_t map;
    hmm_ref lists[SPLIT];
};

struct seg_state {
    uint32_t map;
    struct seg_row rows[];
};

struct seg_class {
    unsigned row, column;
};

enum { SEG_NEXT, SEG_PREV };

HMM__ALWAYS_INLINE struct seg_class seg_class_of(uint32_t size)
{
    uint32_t m = size - 1;
    if (m < SPLIT)
        return (struct seg_class){0, m};
    unsigned log = 31u - (unsigned)__builtin_clz(m);
    return (struct seg_class){log - SPLIT_LOG + 1, (m >> (log - SPLIT_LOG)) - SPLIT};
}

static size_t seg_state_size(size_t capacity)
{
    size_t granules = capacity / HMM_GRANULE;
    uint32_t most = granules > HMM_MAX_GRANULES ? HMM_MAX_GRANULES : (uint32_t)granules;
    size_t rows = most == 0 ? 1 : seg_class_of(most).row + 1;
    return sizeof(struct seg_state) + rows * sizeof(struct seg_row);
}

/* The back link of a list's head is not kept: that it is the head, the list tells. */
HMM__ALWAYS_INLINE void seg_push(struct hmm_heap *h, struct seg_state *s, hmm_ref r, uint32_t size)
{
    struct seg_class c = seg_class_of(size);
    struct seg_row *row = &s->rows[c.row];
    hmm_ref head = row->lists[c.column];
    row->lists[c.column] = r;
    block_links(h, r)[SEG_NEXT] = head;
    if (head) {
        block_links(h, head)[SEG_PREV] = r;
        return;
    }
    row->map |= UINT32_C(1) << c.column;
    s->map |= UINT32_C(1) << c.row;
}

HMM__ALWAYS_INLINE void seg_unlink(struct hmm_heap *h, struct seg_state *s, hmm_ref r,
                                   struct seg_class c)
{
    struct seg_row *row = &s->rows[c.row];
    hmm_ref next = block_links(h, r)[SEG_NEXT];
    if (row->lists[c.column] != r) {
        hmm_ref prev = block_links(h, r)[SEG_PREV];
        block_links(h, prev)[SEG_NEXT] = next;
        if (next)
            block_links(h, next)[SEG_PREV] = prev;
        return;
    }
    row->lists[c.column] = next;
    if (next == 0 && (row->map &= ~(UINT32_C(1) << c.column)) == 0)
        s->map &= ~(UINT32_C(1) << c.row);
}

/* Of the first `heads` blocks of this list, the first that fits; 0: none. */
HMM__ALWAYS_INLINE hmm_ref seg_scan(struct hmm_heap *h, hmm_ref r, uint32_t size, uint32_t heads)
{
    for (; r != 0 && heads != 0; r = block_links(h, r)[SEG_NEXT], heads--) {
        h->visited++;
        if (block_size(h, r) >= size)
            return r;
    }
    return 0;
}

/* Finds a block and says in *c in which class. */
HMM__ALWAYS_INLINE hmm_ref seg_search(struct hmm_heap *h, const struct seg_state *s, uint32_t size,
                                      struct seg_class *c)
{
    if (hmm__unlikely(size > h->high_limit))
        return 0;
    *c = seg_class_of(size);
    const struct seg_row *row = &s->rows[c->row];
    uint32_t here = row->map >> c->column;
    if (here & 1) {
        hmm_ref r = seg_scan(h, row->lists[c->column], size, HEADS);
        if (r != 0)
            return r;
    }
    here >>= 1;
    if (here != 0) {
        c->column += 1 + (unsigned)__builtin_ctz(here);
        return row->lists[c->column];
    }
    uint32_t above = (s->map >> c->row) >> 1;
    if (above == 0)
        return 0;
    c->row += 1 + (unsigned)__builtin_ctz(above);
    row = &s->rows[c->row];
    c->column = (unsigned)__builtin_ctz(row->map);
    return row->lists[c->column];
}

static hmm_ref seg_find(struct hmm_heap *h, void *state, uint32_t granules)
{
    struct seg_class c;
    return seg_search(h, state, granules, &c);
}

static hmm_ref seg_find_last(struct hmm_heap *h, void *state, uint32_t granules)
{
    const struct seg_state *s = state;
    struct seg_class c = seg_class_of(granules);
    if (granules > h->high_limit)
        return 0;
    return seg_scan(h, s->rows[c.row].lists[c.column], granules, UINT32_MAX);
}

static void seg_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    seg_push(h, state, r, block_size(h, r));
}

static void seg_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    seg_unlink(h, state, r, seg_class_of(block_size(h, r)));
}

static void seg_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                       hmm_ref now)
{
    seg_unlink(h, state, was, seg_class_of(was_granules));
    seg_push(h, state, now, block_size(h, now));
}

static hmm_ref seg_take(struct hmm_heap *h, void *state, uint32_t granules)
{
    struct seg_class c;
    hmm_ref r = seg_search(h, state, granules, &c);
    if (hmm__unlikely(r == 0))
        return 0;
    uint32_t rest = block_size(h, r) - granules;
    seg_unlink(h, state, r, c);
    if (rest >= HMM_MIN_GRANULES)
        seg_push(h, state, r + granules, rest);
    return r;
}

/* The lowest class that is not empty, from *c on; false: there is none. c->column may be SPLIT. */
static bool seg_class_from(const struct seg_state *s, struct seg_class *c)
{
    uint64_t here = (uint64_t)s->rows[c->row].map >> c->column;
    if (here != 0) {
        c->column += (unsigned)__builtin_ctzll(here);
        return true;
    }
    uint32_t above = (s->map >> c->row) >> 1;
    if (above == 0)
        return false;
    c->row += 1 + (unsigned)__builtin_ctz(above);
    c->column = (unsigned)__builtin_ctz(s->rows[c->row].map);
    return true;
}

static hmm_ref seg_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    const struct seg_state *s = state;
    uint32_t surely = hmm_piece_surely(piece), tries = SEG_PIECE_TRIES;
    if (piece->granules > h->high_limit)
        return 0;
    struct seg_class c = seg_class_of(piece->granules);
    while (seg_class_from(s, &c)) {
        hmm_ref r = s->rows[c.row].lists[c.column];
        for (uint32_t heads = HEADS; r != 0 && heads != 0; heads--) {
            if (tries-- == 0)
                return seg_find(h, state, surely);
            h->visited++;
            if (hmm_piece_fits(piece, r, block_size(h, r)))
                return r;
            r = block_links(h, r)[SEG_NEXT];
        }
        c.column++;
    }
    return 0;
}

/* The longest search of this strategy: the highest class that is not empty. */
static uint32_t seg_largest(struct hmm_heap *h, void *state)
{
    const struct seg_state *s = state;
    uint32_t most = 0;
    if (s->map == 0)
        return 0;
    const struct seg_row *row = &s->rows[31 - __builtin_clz(s->map)];
    hmm_ref r = row->lists[31 - __builtin_clz(row->map)];
    for (; r != 0; r = block_links(h, r)[SEG_NEXT])
        if (block_size(h, r) > most)
            most = block_size(h, r);
    return most;
}

static const char *check_list(struct hmm_heap *h, hmm_ref r, struct seg_class c, uint32_t *count)
{
    for (hmm_ref before = 0; r != 0; before = r, r = block_links(h, r)[SEG_NEXT]) {
        struct seg_class own = seg_class_of(block_size(h, r));
        if (++*count > h->free_blocks)
            return "T1: segregated: more blocks in the lists than are free";
        if (!(block_header(h, r) & HMM__FREE) || own.row != c.row || own.column != c.column ||
            (before && block_links(h, r)[SEG_PREV] != before))
            return "T3: segregated: a block in a list is in use, of another class or ill linked";
    }
    return NULL;
}

static const char *seg_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct seg_state *s = state;
    size_t rows = (seg_state_size(hmm_heap_capacity(h)) - sizeof *s) / sizeof(struct seg_row);
    *indexed = 0;
    for (unsigned i = 0; i < rows; i++) {
        const struct seg_row *row = &s->rows[i];
        if (!(s->map >> i & 1) != (row->map == 0))
            return "T2: segregated: a row's bit contradicts the row";
        for (unsigned j = 0; j < SPLIT; j++) {
            if (!(row->map >> j & 1) != (row->lists[j] == 0))
                return "T2: segregated: a list's bit contradicts the list";
            const char *broken = check_list(h, row->lists[j], (struct seg_class){i, j}, indexed);
            if (broken != NULL)
                return broken;
        }
    }
    return NULL;
}

static const struct hmm_strategy segregated = {
    .abi = HMM_STRATEGY_ABI,
    .name = "segregated",
    .summary = "two-level size classes with bit maps (TLSF): constant time",
    .state_size = seg_state_size,
    .find = seg_find,
    .insert = seg_insert,
    .remove = seg_remove,
    .resize = seg_resize,
    .take = seg_take,
    .find_last = seg_find_last,
    .find_piece = seg_find_piece,
    .largest = seg_largest,
    .check = seg_check,
};

const struct hmm_strategy *const HMM_SEGREGATED = &segregated;
