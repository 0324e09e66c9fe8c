/* SPDX-License-Identifier: MIT */
/*
 * Segregated lists: by size class, in constant time in the common case.
 *
 * THEORY
 *
 * The classes are those of TLSF: each power of two is cut into SPLIT equal parts. A class is taken
 * of the *payload's* granules, which is the block's less one: a block whose payload is a power of
 * two begins a class instead of lying deep in one. (Classes of the block's size miss freed
 * power-of-two blocks: on one compiler's trace that costs a fifth of the memory.) Up to BINS
 * granules a class so has a single size: these are exact bins (bins.h). Each other class is a list,
 * newest first, without the victim; a bit map tells which lists are not empty, and one word which
 * words of the map are not 0. The floor is the largest size of the lowest class that is not empty.
 *
 * A request looks at the first HEADS blocks of its own class, some of which may be too small; then
 * at the head of the next larger class that is not empty, which always fits. If the free top cannot
 * serve it either, the whole of its own class is searched: no request fails while a block fits.
 *
 * An aligned piece, or one that must not cross a boundary: the first HEADS of its own class and of
 * each class above it are tried, 16 blocks in all; if it fits in none of them, as for
 * a request so large that it fits wherever the block begins. Where it may only lie in a part of the
 * heap no size is enough: the whole of each class is tried.
 *
 * Bound: HEADS blocks and three bit scans; before a request fails, the length of one class; for a
 * piece that may only lie in a part of the heap, each free block of its class and those above.
 * Waste inside: a block is at most 1/SPLIT larger than the smallest in its class.
 *
 * Good for: bounded time, at almost best-fit's memory.
 *
 * Source: Masmano, Ripoll, Crespo, Real 2004, "TLSF: a new dynamic memory allocator for real-time
 * systems".
 *
 * INVARIANTS
 * T2, T3, T4  Those of the bins.
 * T5  A bit of a map is set iff the list, or the word of the map, that it stands for is not empty.
 * T6  Every block in a list is free, of the list's class, and its back link is the one before.
 */
#include "by_size.h"

#if HMM_WITH_SEGREGATED

#define SPLIT_LOG 5u
#define SPLIT (1u << SPLIT_LOG)
#define HEADS 4u
#define SEG_WORDS (768u / BITS) /* of map: for HMM_MAX_GRANULES */

struct seg_state {
    struct bins bins;
    bits_word maps[SEG_WORDS];
    uint32_t words;
    hmm_ref lists[];
};

_Static_assert(BINS == 2u * SPLIT, "where classes have more than one size, bins end");
_Static_assert(SEG_WORDS <= 32 && HMM_MAX_GRANULES < UINT32_C(1) << 29 &&
                   (28 - SPLIT_LOG) * SPLIT + 2 * SPLIT - BINS < SEG_WORDS * BITS,
               "each class has a bit, and each word of the map");

/* The class of a size from BINS on. */
HMM__ALWAYS_INLINE uint32_t seg_class_of(uint32_t size)
{
    HMM_ASSERT(size >= BINS && size <= HMM_MAX_GRANULES);
    uint32_t m = size - 1, shift = bits_highest32(m) - SPLIT_LOG;
    return (shift << SPLIT_LOG) + (m >> shift) - (BINS - 1);
}

static size_t seg_state_size(size_t capacity)
{
    size_t granules = capacity / HMM_GRANULE;
    uint32_t max = granules > HMM_MAX_GRANULES ? HMM_MAX_GRANULES : (uint32_t)granules;
    size_t lists = max < BINS ? 0 : seg_class_of(max) + 1;
    return sizeof(struct seg_state) + lists * sizeof(hmm_ref);
}

#if !HMM__SMALL

static void seg_start(struct hmm_heap *h, void *state)
{
    (void)h;
    ((struct seg_state *)state)->bins.floor = UINT32_MAX;
}

#endif

#if !HMM__SMALL

/* There are more lists, all empty. */
static void seg_grow(struct hmm_heap *h, void *state, size_t old, size_t now)
{
    (void)h, (void)state, (void)old, (void)now;
}

#endif

/* The largest size of the class that this one is of. */
HMM__ALWAYS_INLINE uint32_t seg_class_max(uint32_t size)
{
    uint32_t m = size - 1, shift = bits_highest32(m) - SPLIT_LOG;
    return ((m >> shift) + 1) << shift;
}

/* ---- Lists ---- */

/* As in the bins, the head of a list has no valid back link. */
static void seg_index_push(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size)
{
    struct seg_state *s = state;
    uint32_t c = seg_class_of(size);
    HMM_ASSERT(r >= h->first && r < h->top && size <= hmm_heap_capacity(h) / HMM_GRANULE);
    HMM_ASSERT(!s->lists[c] == !(s->maps[c / BITS] >> c % BITS & 1));
#if !HMM__SMALL
    if (size < s->bins.floor)
        s->bins.floor = seg_class_max(size);
#endif
    hmm_ref head = s->lists[c];
    s->lists[c] = r;
    block_links(h, r)[BIN_NEXT] = head;
    if (head != 0) {
        block_links(h, head)[BIN_PREV] = r;
        return;
    }
    s->maps[c / BITS] |= BIT(c % BITS);
    s->words |= UINT32_C(1) << c / BITS;
}

static void seg_index_drop(struct hmm_heap *h, void *state, hmm_ref r, uint32_t size)
{
    struct seg_state *s = state;
    uint32_t c = seg_class_of(size);
    HMM_ASSERT(s->lists[c] != 0);
    hmm_ref next = block_links(h, r)[BIN_NEXT];
    if (s->lists[c] != r) {
        hmm_ref prev = block_links(h, r)[BIN_PREV];
        block_links(h, prev)[BIN_NEXT] = next;
        if (next != 0)
            block_links(h, next)[BIN_PREV] = prev;
        return;
    }
    s->lists[c] = next;
    if (next == 0 && (s->maps[c / BITS] &= ~BIT(c % BITS)) == 0 &&
        (s->words &= ~(UINT32_C(1) << c / BITS)) == 0)
        floor_to_top(&s->bins);
}

/* Of the first `heads` blocks of this list, the first that fits; 0: none. */
static hmm_ref list_scan(struct hmm_heap *h, hmm_ref r, uint32_t size, uint32_t heads)
{
    for (; r != 0 && heads != 0; heads--) {
        COUNT(h->visited++);
        if (block_size(h, r) >= size)
            return r;
        r = block_links(h, r)[BIN_NEXT];
    }
    return 0;
}

/* The head of the lowest list from class c on that is not empty; 0: there is none. */
static hmm_ref lists_from(const struct seg_state *s, uint32_t c)
{
    uint32_t word = c / BITS;
    if (word >= SEG_WORDS)
        return 0;
    bits_word map = s->maps[word] >> c % BITS;
    if (map != 0)
        return s->lists[c + bits_lowest(map)];
    uint32_t words = s->words >> word >> 1;
    if (words == 0)
        return 0;
    word += 1 + bits_lowest32(words);
    return s->lists[word * BITS + bits_lowest(s->maps[word])];
}

#if HMM__SMALL

static hmm_ref seg_large_find(struct hmm_heap *h, const void *state, uint32_t n)
{
    const struct seg_state *s = state;
    if (n > end_of(h) || n > HMM_MAX_GRANULES)
        return 0;
    uint32_t c = n < BINS ? 0 : seg_class_of(n);
    hmm_ref r = n < BINS ? 0 : list_scan(h, s->lists[c], n, HEADS);
    return r ? r : lists_from(s, n < BINS ? 0 : c + 1);
}

#else

/* In the victim and the lists, as if the victim were the head of its list. */
static hmm_ref seg_large_find(struct hmm_heap *h, const void *state, uint32_t n)
{
    const struct seg_state *s = state;
    uint32_t c = 0, heads = HEADS, size = s->bins.victim_size;
    if (n > end_of(h) || n > HMM_MAX_GRANULES)
        return 0;
    if (n >= BINS) {
        c = seg_class_of(n);
        if (size >= BINS && seg_class_of(size) == c) {
            COUNT(h->visited++);
            if (size >= n)
                return s->bins.victim;
            heads--;
        }
        hmm_ref r = list_scan(h, s->lists[c], n, heads);
        if (r != 0)
            return r;
        c++;
    }
    hmm_ref next = lists_from(s, c);
    if (size < BINS || seg_class_of(size) < c)
        return next;
    return next == 0 || size <= seg_class_max(block_size(h, next)) ? s->bins.victim : next;
}

#endif

#if !HMM__SMALL

HMM__ALWAYS_INLINE bool seg_index_empty(const void *state)
{
    return ((const struct seg_state *)state)->words == 0;
}

static void *seg_index_malloc(struct hmm_heap *h, uint32_t n);

#endif

/* It defines seg_large_drop, seg_put, seg_drop, seg_find, seg_insert, seg_remove, seg_large_move,
 * seg_enlarge, seg_take, seg_resize, seg_malloc_else, seg_malloc_large, seg_malloc,
 * seg_large_above, seg_large_below, seg_large_both_indexed, seg_large_both, seg_merge_above,
 * seg_merge_below, seg_merge_both and seg_free. */
BY_SIZE(seg)

#if !HMM__SMALL

/* For a request of a bin's size. The floor may be lower than necessary: it is corrected, and the
 * victim may serve the request after all. */
static __attribute__((noinline)) void *seg_lists_malloc(struct hmm_heap *h, uint32_t n)
{
    struct seg_state *s = h->state;
    hmm_ref r = lists_from(s, 0);
    s->bins.floor = seg_class_max(block_size(h, r));
    return victim_is_next(&s->bins, n) ? hmm__victim_serve(h, n)
                                       : large_serve(h, r, n, seg_large_drop, seg_put);
}

static __attribute__((noinline)) void *seg_large_malloc(struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = seg_large_find(h, h->state, n);
    return r ? large_serve(h, r, n, seg_large_drop, seg_put) : hmm__malloc_else(h, n);
}

static void *seg_index_malloc(struct hmm_heap *h, uint32_t n)
{
    return n < BINS ? seg_lists_malloc(h, n) : seg_large_malloc(h, n);
}

#endif

static hmm_ref seg_find_last(struct hmm_heap *h, void *state, uint32_t n)
{
    const struct seg_state *s = state;
    if (n < BINS || n > end_of(h))
        return 0;
    return list_scan(h, s->lists[seg_class_of(n)], n, UINT32_MAX);
}

#if HMM__PIECES

/* ---- Aligned pieces ---- */

/* How many blocks may still be tried for this piece. */
struct piece_search {
    const struct hmm_piece *piece;
    uint32_t tries;
};

typedef int seg_fits_verb(const struct hmm_piece *piece, hmm_ref block, uint32_t granules);

/* Of the first `heads` blocks of the list of r, the first that the piece fits in; 0: none. */
HMM__ALWAYS_INLINE hmm_ref list_piece_by(struct hmm_heap *h, hmm_ref r, struct piece_search *q,
                                         uint32_t heads, seg_fits_verb *fits)
{
    for (; r != 0 && heads != 0 && q->tries != 0; heads--, q->tries--) {
        COUNT(h->visited++);
        if (fits(q->piece, r, block_size(h, r)))
            return r;
        r = block_links(h, r)[BIN_NEXT];
    }
    return 0;
}

static __attribute__((noinline)) hmm_ref list_bounded_piece(struct hmm_heap *h, hmm_ref r,
                                                            struct piece_search *q)
{
    uint32_t heads = hmm_piece_is_limited(q->piece) ? UINT32_MAX : HEADS;
    return list_piece_by(h, r, q, heads, hmm_piece_fits_bounded);
}

static hmm_ref list_piece(struct hmm_heap *h, hmm_ref r, struct piece_search *q)
{
    return hmm_piece_is_bounded(q->piece) ? list_bounded_piece(h, r, q)
                                          : list_piece_by(h, r, q, HEADS, hmm_piece_fits_plain);
}

static hmm_ref seg_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    struct seg_state *s = state;
    struct piece_search q = {piece, hmm_piece_is_limited(piece) ? UINT32_MAX : 16u};
    uint32_t n = piece->granules;
    if (n > end_of(h))
        return 0;
#if !HMM__SMALL
    large_put(h, s, 0, 0, seg_index_push); /* the victim goes into its list */
#endif
    for (uint32_t size = n; q.tries != 0 && (size = bins_least(&s->bins, size)) != 0; size++) {
        hmm_ref r = list_piece(h, s->bins.heads[size], &q);
        if (r != 0)
            return r;
    }
    uint32_t c = n < BINS ? 0 : seg_class_of(n);
    while (q.tries != 0) {
        hmm_ref head = lists_from(s, c), r = list_piece(h, head, &q);
        if (r != 0 || head == 0)
            return r;
        c = seg_class_of(block_size(h, head)) + 1;
    }
    return seg_find(h, state, hmm_piece_surely(piece));
}

#endif

#if HMM_WITH_STATS

/* The longest search of this strategy: the highest class that is not empty. */
static uint32_t seg_largest(struct hmm_heap *h, void *state)
{
    const struct seg_state *s = state;
    uint32_t max = bins_largest(&s->bins);
    if (s->words == 0)
        return max;
    uint32_t word = bits_highest32(s->words);
    hmm_ref r = s->lists[word * BITS + bits_highest(s->maps[word])], before = r;
    uint32_t blocks = 0;
    for (; r != 0; before = r, r = block_links(h, r)[BIN_NEXT]) {
        if (hmm__unlikely(!block_seems_free(h, r) || ++blocks > free_blocks(h)))
            hmm__links_broken(h, before);
        if (block_size(h, r) > max)
            max = block_size(h, r);
    }
    return max;
}

#endif

#if HMM_WITH_CHECKS

/* ---- Checking ---- */

static const char *check_list(struct hmm_heap *h, hmm_ref r, uint32_t c, uint32_t floor,
                              uint32_t *count)
{
    for (hmm_ref before = 0; r != 0; before = r, r = block_links(h, r)[BIN_NEXT]) {
        if (++*count > free_blocks(h))
            return "T1: segregated: more blocks in the lists than are free";
        if (!block_seems_free(h, r) || block_size(h, r) < BINS ||
            seg_class_of(block_size(h, r)) != c ||
            (before && block_links(h, r)[BIN_PREV] != before))
            return "T6: segregated: a block in a list is in use, of another class or ill linked";
        if (seg_class_max(block_size(h, r)) < floor)
            return "T4: segregated: a block in a list is below the floor";
    }
    return NULL;
}

static const char *seg_check(struct hmm_heap *h, void *state, uint32_t *indexed)
{
    const struct seg_state *s = state;
    size_t lists = (seg_state_size(hmm_heap_capacity(h)) - sizeof *s) / sizeof(hmm_ref);
    *indexed = 0;
    const char *broken = hmm__bins_check(h, &s->bins, indexed);
    for (uint32_t c = 0; broken == NULL && c < lists; c++) {
        if (!(s->maps[c / BITS] >> c % BITS & 1) != (s->lists[c] == 0))
            return "T5: segregated: a list's bit contradicts the list";
        broken = check_list(h, s->lists[c], c, floor_of(&s->bins), indexed);
    }
    for (uint32_t word = 0; broken == NULL && word < SEG_WORDS; word++)
        if (!(s->words >> word & 1) != (s->maps[word] == 0))
            return "T5: segregated: a word's bit contradicts the word";
    return broken;
}

#endif

static const struct hmm_strategy segregated = {
    .abi = HMM_STRATEGY_ABI,
    .flags = HMM_STRATEGY_BY_SIZE,
    .name = "segregated",
    .summary = "two-level size classes with bit maps (TLSF): constant time",
    .state_size = seg_state_size,
    .find = seg_find,
    .insert = seg_insert,
    .remove = seg_remove,
    .find_last = seg_find_last,
#if HMM__PIECES
    .find_piece = seg_find_piece,
#endif
#if HMM_WITH_STATS
    .largest = seg_largest,
#endif
#if HMM_WITH_CHECKS
    .check = seg_check,
#endif
#if !HMM__SMALL
    .start = seg_start,
    .grow = seg_grow,
    .resize = seg_resize,
    .take = seg_take,
    .malloc_whole = seg_malloc,
    .free_whole = seg_free,
#endif
};

const struct hmm_strategy *const HMM_SEGREGATED = HMM__STRATEGY_NAMED(segregated);

#endif
