/* SPDX-License-Identifier: MIT */
#include "oracle.h"

#include <limits.h>

#define MOST_RULES 16

/* What wraps a rule: the heap's strategy points at the first member. */
struct wrapped {
    struct hmm_strategy strategy;
    const struct hmm_strategy *rule;
};

static struct wrapped wrapped[MOST_RULES];
static bool in_steps;
static uint64_t clock_now, asked;
static uint64_t
    freed_at[ORACLE_GRANULES]; /* by ref: when the block that begins there became free */
static hmm_ref cursor;

static const struct hmm_strategy *rule_of(const struct hmm_heap *h)
{
    return ((const struct wrapped *)(const void *)h->strategy)->rule;
}

/* ---- The rules, by the textbook ---- */

static bool fits(const struct hmm_heap *h, hmm_ref r, uint32_t n)
{
    return (block_header(h, r) & HMM__FREE) && block_size(h, r) >= n;
}

static hmm_ref scan_from(const struct hmm_heap *h, hmm_ref from, uint32_t n)
{
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if (r >= from && fits(h, r, n))
            return r;
    return 0;
}

static hmm_ref scan_first(const struct hmm_heap *h, uint32_t n)
{
    return scan_from(h, 0, n);
}

static hmm_ref scan_next(const struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = scan_from(h, cursor, n);
    return r ? r : scan_from(h, 0, n);
}

static hmm_ref scan_best(const struct hmm_heap *h, uint32_t n)
{
    hmm_ref best = 0;
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r)) {
        if (!fits(h, r, n))
            continue;
        uint32_t size = block_size(h, r), least = best ? block_size(h, best) : UINT32_MAX;
        if (size < least || (size == least && freed_at[r] > freed_at[best]))
            best = r;
    }
    return best;
}

/* Two-level classes of the payload's granules, 32 to a doubling, as the theory says: the lower
 * end of a class. */
static uint32_t class_floor(uint32_t granules)
{
    uint32_t m = granules - 1;
    unsigned lost = 0;
    while (m >> lost >= 64)
        lost++;
    return m >> lost << lost;
}

/* The lowest class of a free block that is `least` or above; UINT32_MAX: there is none. */
static uint32_t lowest_class(const struct hmm_heap *h, uint32_t least, uint32_t (*class)(uint32_t))
{
    uint32_t lowest = UINT32_MAX;
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r)) {
        uint32_t own = class(block_size(h, r));
        if ((block_header(h, r) & HMM__FREE) && own >= least && own < lowest)
            lowest = own;
    }
    return lowest;
}

/* The newest of this class that became free before `before`. */
static hmm_ref newest_of(const struct hmm_heap *h, uint32_t own, uint32_t (*class)(uint32_t),
                         uint64_t before)
{
    hmm_ref newest = 0;
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if ((block_header(h, r) & HMM__FREE) && class(block_size(h, r)) == own &&
            freed_at[r] < before && (newest == 0 || freed_at[r] > freed_at[newest]))
            newest = r;
    return newest;
}

/* Of the newest `heads` of the request's own class, the newest that fits. */
static hmm_ref scan_class(const struct hmm_heap *h, uint32_t n, unsigned heads)
{
    uint64_t before = UINT64_MAX;
    for (; heads != 0; heads--) {
        hmm_ref r = newest_of(h, class_floor(n), class_floor, before);
        if (r == 0 || block_size(h, r) >= n)
            return r;
        before = freed_at[r];
    }
    return 0;
}

/* Then the newest of the lowest class above. */
static hmm_ref scan_segregated(const struct hmm_heap *h, uint32_t n)
{
    hmm_ref r = scan_class(h, n, 4);
    if (r != 0)
        return r;
    uint32_t lowest = lowest_class(h, class_floor(n) + 1, class_floor);
    return lowest == UINT32_MAX ? 0 : newest_of(h, lowest, class_floor, UINT64_MAX);
}

/* ---- Aligned pieces: the same rules, of blocks in which the piece fits ---- */

static bool holds_piece(const struct hmm_heap *h, hmm_ref r, const struct hmm_piece *piece)
{
    return (block_header(h, r) & HMM__FREE) && hmm_piece_fits(piece, r, block_size(h, r));
}

static hmm_ref piece_from(const struct hmm_heap *h, hmm_ref from, const struct hmm_piece *piece)
{
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if (r >= from && holds_piece(h, r, piece))
            return r;
    return 0;
}

static uint32_t same_size(uint32_t granules)
{
    return granules;
}

/* The 16 best blocks for the piece's size, no more than `heads` of a class; then a block so large
 * that it cannot but fit. Of a limited piece all blocks, in the same order. */
static hmm_ref scan_piece(const struct hmm_heap *h, const struct hmm_piece *piece,
                          uint32_t (*class)(uint32_t), unsigned heads)
{
    unsigned tries = hmm_piece_is_limited(piece) ? UINT_MAX : 16;
    uint32_t own = lowest_class(h, class(piece->granules), class);
    for (; own != UINT32_MAX && tries != 0; own = lowest_class(h, own + 1, class)) {
        uint64_t before = UINT64_MAX;
        for (unsigned i = 0; i < heads && tries != 0; i++, tries--) {
            hmm_ref r = newest_of(h, own, class, before);
            if (r == 0)
                break;
            if (holds_piece(h, r, piece))
                return r;
            before = freed_at[r];
        }
    }
    uint32_t surely = hmm_piece_surely(piece);
    return tries == 0 && surely <= HMM_MAX_GRANULES ? oracle_choose(h, surely) : 0;
}

static hmm_ref choose_piece(const struct hmm_heap *h, const struct hmm_piece *piece)
{
    const struct hmm_strategy *rule = rule_of(h);
    if (rule == HMM_FIRST_FIT)
        return piece_from(h, 0, piece);
    if (rule == HMM_NEXT_FIT) {
        hmm_ref r = piece_from(h, cursor, piece);
        return r ? r : piece_from(h, 0, piece);
    }
    if (rule == HMM_BEST_FIT)
        return scan_piece(h, piece, same_size, UINT32_MAX);
    return scan_piece(h, piece, class_floor, hmm_piece_is_limited(piece) ? UINT_MAX : 4);
}

hmm_ref oracle_choose(const struct hmm_heap *h, uint32_t n)
{
    const struct hmm_strategy *rule = rule_of(h);
    if (rule == HMM_FIRST_FIT)
        return scan_first(h, n);
    if (rule == HMM_NEXT_FIT)
        return scan_next(h, n);
    if (rule == HMM_BEST_FIT)
        return scan_best(h, n);
    require(rule == HMM_SEGREGATED, "tests/oracle.c has no plain scan for %s", rule->name);
    return scan_segregated(h, n);
}

hmm_ref oracle_choose_last(const struct hmm_heap *h, uint32_t n)
{
    return rule_of(h) == HMM_SEGREGATED ? scan_class(h, n, UINT32_MAX) : 0;
}

void *oracle_place(const struct hmm_heap *h, size_t size)
{
    if (size > HMM_MAX_REQUEST)
        return NULL;
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = oracle_choose(h, n);
    if (r == 0 && h->limit - h->top >= n)
        r = h->top;
    if (r == 0)
        r = oracle_choose_last(h, n);
    return r ? block_payload(h, r) : NULL;
}

static void *in_block(const struct hmm_heap *h, const struct hmm_piece *piece, hmm_ref r)
{
    return block_payload(h, r + hmm_piece_gap(piece, r));
}

/* Above the granule's alignment a block has a record besides. */
uint32_t oracle_granules(size_t align, size_t size)
{
    return hmm__granules_for(align > HMM_GRANULE ? size + 4 : size);
}

void *oracle_place_aligned(const struct hmm_heap *h, size_t align, size_t size)
{
    if (align <= HMM_GRANULE)
        return oracle_place(h, size);
    uint32_t step = (uint32_t)(align / HMM_GRANULE);
    uint32_t base = (uint32_t)((uintptr_t)h / HMM_GRANULE);
    const struct hmm_piece piece = {
        .granules = oracle_granules(align, size), .align = step, .phase = -base & (step - 1)};
    hmm_ref r = choose_piece(h, &piece);
    if (r == 0 && hmm_piece_fits(&piece, h->top, h->limit - h->top))
        r = h->top;
    if (r == 0)
        r = piece_from(h, 0, &piece);
    return r ? in_block(h, &piece, r) : NULL;
}

/* Whether a block of n granules aligned like this fits between r and r + size, and what is left
 * before it is nothing or a block. */
static bool has_room(const struct hmm_heap *h, hmm_ref r, uint32_t size, uint32_t n, size_t align)
{
    for (hmm_ref at = r; at - r + (uint64_t)n <= size; at++)
        if ((uintptr_t)block_payload(h, at) % align == 0 && (at == r || at - r >= HMM_MIN_GRANULES))
            return true;
    return false;
}

bool oracle_fits(const struct hmm_heap *h, uint32_t n, size_t align)
{
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if (fits(h, r, n) && has_room(h, r, block_size(h, r), n, align))
            return true;
    return has_room(h, h->top, h->limit - h->top, n, align);
}

/* ---- The wrapped strategy ---- */

static void hold_against(const struct hmm_heap *h, uint32_t n, hmm_ref expected, hmm_ref got)
{
    asked++;
    require(expected == got, "%s: for %u granules the plain scan finds %u, the index %u",
            rule_of(h)->name, n, expected, got);
}

static void note_free(hmm_ref r, uint32_t granules)
{
    freed_at[r] = ++clock_now;
    if (r < cursor && cursor < r + granules)
        cursor = r;
}

static void wrap_start(struct hmm_heap *h, void *state)
{
    cursor = 0;
    ck_assert_uint_le(h->high_limit, ORACLE_GRANULES);
    if (rule_of(h)->start)
        rule_of(h)->start(h, state);
}

static hmm_ref wrap_find(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref got = rule_of(h)->find(h, state, n);
    hold_against(h, n, oracle_choose(h, n), got);
    return got;
}

static hmm_ref wrap_take(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref expected = oracle_choose(h, n), got;
    hold_against(h, n, expected, rule_of(h)->find(h, state, n));
    got = rule_of(h)->take(h, state, n);
    hold_against(h, n, expected, got);
    if (got == 0)
        return 0;
    uint32_t rest = block_size(h, got) - n;
    if (rest >= HMM_MIN_GRANULES)
        note_free(got + n, rest);
    cursor = got + n + (rest >= HMM_MIN_GRANULES ? 0 : rest);
    return got;
}

static hmm_ref wrap_find_piece(struct hmm_heap *h, void *state, const struct hmm_piece *piece)
{
    hmm_ref got = rule_of(h)->find_piece(h, state, piece);
    hold_against(h, piece->granules, choose_piece(h, piece), got);
    return got;
}

static hmm_ref wrap_find_last(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref got = rule_of(h)->find_last(h, state, n);
    hold_against(h, n, oracle_choose_last(h, n), got);
    return got;
}

static void wrap_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    rule_of(h)->insert(h, state, r);
    note_free(r, block_size(h, r));
}

static void wrap_remove(struct hmm_heap *h, void *state, hmm_ref r)
{
    require(block_header(h, r) & HMM__FREE, "%s: remove of %u, which is not free", rule_of(h)->name,
            r);
    rule_of(h)->remove(h, state, r);
}

static void wrap_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                        hmm_ref now)
{
    rule_of(h)->resize(h, state, was, was_granules, now);
    note_free(now, block_size(h, now));
}

static void wrap_placed(struct hmm_heap *h, void *state, hmm_ref r, uint32_t granules)
{
    if (rule_of(h)->placed)
        rule_of(h)->placed(h, state, r, granules);
    cursor = r + granules;
}

static uint32_t wrap_largest(struct hmm_heap *h, void *state)
{
    uint32_t most = 0, got = rule_of(h)->largest(h, state);
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if (fits(h, r, most + 1))
            most = block_size(h, r);
    require(got == most, "%s: largest says %u, a walk %u", rule_of(h)->name, got, most);
    return got;
}

/* Whatever was taken, from the strategy, from the top or by its last search. */
static void *wrap_malloc(struct hmm_heap *h, size_t size)
{
    if (size > HMM_MAX_REQUEST)
        return rule_of(h)->malloc_whole(h, size);
    uint32_t n = hmm__granules_for(size);
    hmm_ref expected = oracle_choose(h, n), top = h->top;
    uint32_t whole = expected ? block_size(h, expected) : 0;
    uint64_t before = asked;
    void *payload = rule_of(h)->malloc_whole(h, size);
    if (before != asked) /* the cache has given back what it could, and `take` was asked again */
        return payload;
    hmm_ref got = payload ? block_of(h, payload) : 0;
    asked++;
    if (expected == 0 && (got == 0 || got >= top || rule_of(h)->find_last)) {
        cursor = got ? got + block_size(h, got) : cursor;
        return payload;
    }
    require(expected == got, "%s: for %u granules the plain scan finds %u, malloc %u",
            rule_of(h)->name, n, expected, got);
    if (whole - n >= HMM_MIN_GRANULES)
        note_free(expected + n, whole - n);
    cursor = expected + (whole - n >= HMM_MIN_GRANULES ? n : whole);
    return payload;
}

static void wrap_free(struct hmm_heap *h, void *payload)
{
    hmm_ref r = payload ? block_of(h, payload) : 0;
    if (r != 0 && (block_header(h, r) & HMM__PREV_FREE))
        r -= block_footer_below(h, r);
    rule_of(h)->free_whole(h, payload);
    if (r != 0 && r < h->top)
        note_free(r, block_size(h, r));
}

static void wrap_grow(struct hmm_heap *h, void *state, size_t old, size_t now)
{
    ck_assert_uint_le(h->high_limit, ORACLE_GRANULES);
    rule_of(h)->grow(h, state, old, now);
}

static void wrap_hooks(struct hmm_strategy *s)
{
    s->grow = s->grow ? wrap_grow : NULL;
    s->start = wrap_start;
    s->find = wrap_find;
    s->insert = wrap_insert;
    s->remove = wrap_remove;
    s->placed = wrap_placed;
    s->take = s->take ? wrap_take : NULL;
    s->find_piece = s->find_piece ? wrap_find_piece : NULL;
    s->find_last = s->find_last ? wrap_find_last : NULL;
    s->resize = s->resize ? wrap_resize : NULL;
    s->largest = s->largest ? wrap_largest : NULL;
    s->malloc_whole = s->malloc_whole && !in_steps ? wrap_malloc : NULL;
    s->free_whole = s->free_whole && !in_steps ? wrap_free : NULL;
}

const struct hmm_strategy *oracle_wrap(const struct hmm_strategy *rule)
{
    struct wrapped *w = wrapped;
    while (w->rule != NULL && w->rule != rule)
        w++;
    ck_assert(w < wrapped + MOST_RULES);
    w->rule = rule;
    w->strategy = *rule;
    wrap_hooks(&w->strategy);
    return &w->strategy;
}

void oracle_in_steps(void)
{
    in_steps = true;
}

uint64_t oracle_asked(void)
{
    return asked;
}
