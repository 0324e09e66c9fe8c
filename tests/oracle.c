/* SPDX-License-Identifier: MIT */
#include "oracle.h"

#include <stdlib.h>

static struct oracle oracle;
static struct hmm_strategy wrapped;

/* ---- The rules, by the textbook ---- */

static hmm_ref scan_from(const struct hmm_heap *h, hmm_ref from, uint32_t n)
{
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if (r >= from && (block_header(h, r) & HMM__FREE) && block_size(h, r) >= n)
            return r;
    return 0;
}

static hmm_ref scan_best(const struct hmm_heap *h, uint32_t n)
{
    hmm_ref best = 0;
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r)) {
        if (!(block_header(h, r) & HMM__FREE) || block_size(h, r) < n)
            continue;
        if (best == 0 || block_size(h, r) < block_size(h, best) ||
            (block_size(h, r) == block_size(h, best) && oracle.freed_at[r] > oracle.freed_at[best]))
            best = r;
    }
    return best;
}

/* Two-level classes of the payload's granules, 32 to a doubling, as the theory says: the lower
 * end of a class. */
static uint32_t class_floor(uint32_t granules)
{
    uint32_t m = granules - 1, step = 1;
    while (m / step >= 64)
        step *= 2;
    return m / step * step;
}

/* Up to four of the newest of the request's own class; then the newest of the lowest class above.
 */
static hmm_ref scan_segregated(const struct hmm_heap *h, uint32_t n)
{
    uint64_t before = UINT64_MAX;
    for (int heads = 0; heads < 4; heads++) {
        hmm_ref newest = 0;
        for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
            if ((block_header(h, r) & HMM__FREE) && oracle.freed_at[r] < before &&
                class_floor(block_size(h, r)) == class_floor(n) &&
                (newest == 0 || oracle.freed_at[r] > oracle.freed_at[newest]))
                newest = r;
        if (newest == 0)
            break;
        if (block_size(h, newest) >= n)
            return newest;
        before = oracle.freed_at[newest];
    }
    hmm_ref best = 0;
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r)) {
        if (!(block_header(h, r) & HMM__FREE) || class_floor(block_size(h, r)) <= class_floor(n))
            continue;
        uint32_t floor = class_floor(block_size(h, r));
        if (best == 0 || floor < class_floor(block_size(h, best)) ||
            (floor == class_floor(block_size(h, best)) &&
             oracle.freed_at[r] > oracle.freed_at[best]))
            best = r;
    }
    return best;
}

static hmm_ref scan(const struct hmm_heap *h, uint32_t n)
{
    if (oracle.rule == HMM_FIRST_FIT)
        return scan_from(h, 0, n);
    if (oracle.rule == HMM_BEST_FIT)
        return scan_best(h, n);
    if (oracle.rule == HMM_SEGREGATED)
        return scan_segregated(h, n);
    hmm_ref r = scan_from(h, oracle.cursor, n);
    return r ? r : scan_from(h, 0, n);
}

/* ---- The wrapped strategy ---- */

static void hold_against(const struct hmm_heap *h, uint32_t n, hmm_ref expected, hmm_ref got)
{
    (void)h, (void)n;
    oracle.asked++;
    if (expected != got) {
        oracle.wrong++;
        if (oracle.first_wrong == NULL)
            oracle.first_wrong = oracle.rule->name;
    }
}

static void note_free(hmm_ref r, uint32_t granules)
{
    oracle.freed_at[r] = ++oracle.clock;
    if (r < oracle.cursor && oracle.cursor < r + granules)
        oracle.cursor = r;
}

static hmm_ref wrap_find(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref expected = scan(h, n), got = oracle.rule->find(h, state, n);
    hold_against(h, n, expected, got);
    return got;
}

static hmm_ref wrap_take(struct hmm_heap *h, void *state, uint32_t n)
{
    hmm_ref expected = scan(h, n), found = oracle.rule->find(h, state, n);
    hmm_ref got = oracle.rule->take(h, state, n);
    hold_against(h, n, expected, got);
    hold_against(h, n, expected, found);
    if (got == 0)
        return 0;
    uint32_t rest = block_size(h, got) - n;
    if (rest >= HMM_MIN_GRANULES)
        note_free(got + n, rest);
    oracle.cursor = got + n + (rest >= HMM_MIN_GRANULES ? 0 : rest);
    return got;
}

static void wrap_insert(struct hmm_heap *h, void *state, hmm_ref r)
{
    oracle.rule->insert(h, state, r);
    note_free(r, block_size(h, r));
}

static void wrap_resize(struct hmm_heap *h, void *state, hmm_ref was, uint32_t was_granules,
                        hmm_ref now)
{
    oracle.rule->resize(h, state, was, was_granules, now);
    note_free(now, block_size(h, now));
}

static void wrap_placed(struct hmm_heap *h, void *state, hmm_ref r, uint32_t granules)
{
    if (oracle.rule->placed)
        oracle.rule->placed(h, state, r, granules);
    oracle.cursor = r + granules;
}

/* Whatever was taken, from the strategy, from the top or by its last search. */
static void *wrap_malloc(struct hmm_heap *h, size_t size)
{
    uint32_t n = hmm__granules_for(size);
    hmm_ref expected = scan(h, n), top = h->top;
    uint32_t whole = expected ? block_size(h, expected) : 0;
    void *payload = oracle.rule->malloc_whole(h, size);
    hmm_ref got = payload ? block_of(h, payload) : 0;
    if (expected == 0 && (got == 0 || got >= top || oracle.rule->find_last))
        return payload; /* placed has been told */
    hold_against(h, n, expected, got);
    if (whole - n >= HMM_MIN_GRANULES)
        note_free(expected + n, whole - n);
    oracle.cursor = expected + (whole - n >= HMM_MIN_GRANULES ? n : whole);
    return payload;
}

static void wrap_free(struct hmm_heap *h, void *payload)
{
    hmm_ref r = payload ? block_of(h, payload) : 0;
    if (r != 0 && (block_header(h, r) & HMM__PREV_FREE))
        r -= block_footer_below(h, r);
    oracle.rule->free_whole(h, payload);
    if (r != 0 && r < h->top)
        note_free(r, block_size(h, r));
}

const struct hmm_strategy *oracle_wrap(const struct hmm_strategy *rule, uint32_t granules)
{
    oracle = (struct oracle){.rule = rule, .freed_at = calloc(granules, sizeof(uint64_t))};
    wrapped = *rule;
    wrapped.find = wrap_find;
    wrapped.insert = wrap_insert;
    wrapped.placed = wrap_placed;
    if (rule->take)
        wrapped.take = wrap_take;
    if (rule->resize)
        wrapped.resize = wrap_resize;
    if (rule->malloc_whole)
        wrapped.malloc_whole = wrap_malloc;
    if (rule->free_whole)
        wrapped.free_whole = wrap_free;
    return oracle.freed_at ? &wrapped : NULL;
}

struct oracle *oracle_current(void)
{
    return &oracle;
}

void oracle_end(void)
{
    free(oracle.freed_at);
    oracle.freed_at = NULL;
}
