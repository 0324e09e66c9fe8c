/* SPDX-License-Identifier: MIT */
/*
 * The parts of the index by address that are too large or too rare to stand inline.
 */
#include "address_index.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Bit i of the result is set iff entries[i] >= n. All are below 2^31. */
static inline uint32_t at_least(const uint32_t *entries, uint32_t n)
{
#if defined(__SSE2__)
    __m128i bar = _mm_set1_epi32((int)n - 1);
    __m128i fits = _mm_cmpgt_epi32(_mm_loadu_si128((const __m128i *)(const void *)entries), bar);
    return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(fits));
#else
    return (uint32_t)(entries[0] >= n) | (uint32_t)(entries[1] >= n) << 1 |
           (uint32_t)(entries[2] >= n) << 2 | (uint32_t)(entries[3] >= n) << 3;
#endif
}

/* The largest of a group, without doubt. */
static inline uint32_t group_most(const uint32_t *entries)
{
    uint32_t a = entries[0] > entries[1] ? entries[0] : entries[1];
    uint32_t b = entries[2] > entries[3] ? entries[2] : entries[3];
    return (a > b ? a : b) & ~UINT32_C(1);
}

static uint32_t units_of(size_t capacity)
{
    return (uint32_t)((capacity / HMM_GRANULE + 63) >> ADDRESS_UNIT_LOG);
}

static uint32_t round_up(uint32_t entries)
{
    return (entries + ADDRESS_FAN - 1) / ADDRESS_FAN * ADDRESS_FAN;
}

/* Entries of the next level up, a whole number of groups. */
static uint32_t level_above(uint32_t entries)
{
    return round_up(entries / ADDRESS_FAN);
}

size_t hmm__address_size(size_t capacity)
{
    uint32_t entries = round_up(units_of(capacity));
    size_t bytes = sizeof(struct address_index) + (size_t)entries * sizeof(uint64_t);
    for (;; entries = level_above(entries)) {
        bytes += (size_t)entries * sizeof(uint32_t);
        if (entries <= ADDRESS_FAN)
            return bytes;
    }
}

/* The first group alone, empty. */
void hmm__address_start(struct address_index *x, size_t capacity)
{
    uint32_t entries = round_up(units_of(capacity));
    uint32_t at = (uint32_t)(sizeof *x / sizeof(uint32_t)) + entries * 2;
    x->units = entries;
    x->covered = ADDRESS_FAN;
    x->height = 1;
    x->turn = 0;
    memset(x->doubts, 0, sizeof x->doubts);
    for (uint32_t k = 0; k < ADDRESS_LEVELS; k++) {
        x->level[k] = at;
        at += entries;
        entries = level_above(entries);
    }
    memset(x->maps, 0, ADDRESS_FAN * sizeof x->maps[0]);
    memset(address_level(x, 0), 0, ADDRESS_FAN * sizeof(uint32_t));
}

/* Covers this unit and some more: an eighth of what there was, so that it happens seldom. */
void hmm__address_cover(struct address_index *x, uint32_t unit)
{
    uint32_t was = x->covered, now = round_up(unit + 1 + was / 8);
    if (now > x->units)
        now = x->units;
    x->covered = now;
    memset(x->maps + was, 0, (size_t)(now - was) * sizeof x->maps[0]);
    for (uint32_t k = 0;; k++) {
        uint32_t *level = address_level(x, k);
        if (k < x->height) {
            memset(level + was, 0, (size_t)(now - was) * sizeof *level);
        } else { /* a new root: all there was is below its first entry */
            memset(level, 0, (size_t)now * sizeof *level);
            level[0] = group_most(address_level(x, k - 1));
            x->height = k + 1;
        }
        if (now <= ADDRESS_FAN)
            return;
        was = level_above(was);
        now = level_above(now);
    }
}

void hmm__address_raise(struct address_index *x, uint32_t unit, uint32_t entry)
{
    for (uint32_t k = 1; k < x->height; k++) {
        uint32_t *above = address_level(x, k) + (unit >>= ADDRESS_FAN_LOG);
        if (*above >= entry)
            return;
        *above = entry;
    }
}

void hmm__address_settle(struct address_index *x, uint32_t unit, uint32_t most)
{
    uint32_t *level = address_level(x, 0), was = level[unit] & ~UINT32_C(1), now = most << 1;
    level[unit] = now;
    for (uint32_t k = 1; now != was && k < x->height; k++) {
        uint32_t *above = address_level(x, k);
        uint32_t group = unit >> ADDRESS_FAN_LOG;
        if (above[group] != was)
            return;
        now = group_most(level + (group << ADDRESS_FAN_LOG));
        above[group] = now;
        level = above;
        unit = group;
    }
}

/* The lowest unit from `unit` on whose entry is n or more; covered: there is none. */
static uint32_t next_unit(struct hmm_heap *h, const struct address_index *x, uint32_t unit,
                          uint32_t n)
{
    uint32_t k = 0, i = unit, steps = 0;
    for (;;) { /* up, until some entry from i on in its group will do */
        uint32_t column = i % ADDRESS_FAN;
        steps++;
        uint32_t fits = at_least(address_level(x, k) + (i - column), n) >> column;
        if (fits) {
            i += (uint32_t)__builtin_ctz(fits);
            break;
        }
        i = (i >> ADDRESS_FAN_LOG) + 1;
        if (++k == x->height || (k + 1 == x->height && i >= ADDRESS_FAN)) {
            h->visited += steps;
            return x->covered;
        }
    }
    while (k-- > 0) {
        i <<= ADDRESS_FAN_LOG;
        i += (uint32_t)__builtin_ctz(at_least(address_level(x, k) + i, n));
        steps++;
    }
    h->visited += steps;
    return i;
}

hmm_ref hmm__address_search(struct hmm_heap *h, struct address_index *x, uint32_t unit, uint32_t n)
{
    while (unit < x->covered && (unit = next_unit(h, x, unit, n << 1)) < x->covered) {
        uint32_t most = 0;
        for (uint64_t map = x->maps[unit]; map != 0; map &= map - 1) {
            hmm_ref r = unit << ADDRESS_UNIT_LOG | (uint32_t)__builtin_ctzll(map);
            uint32_t size = block_size(h, r);
            h->visited++;
            if (size >= n)
                return r;
            most = size > most ? size : most;
        }
        hmm__address_settle(x, unit++, most);
    }
    return 0;
}

uint32_t hmm__address_largest(struct hmm_heap *h, struct address_index *x)
{
    for (uint32_t i = 0; i < ADDRESS_DOUBTS; i++) {
        uint32_t unit = x->doubts[i];
        if (address_units(x)[unit] & 1)
            hmm__address_settle(x, unit, address_most(h, unit, x->maps[unit]));
    }
    return group_most(address_level(x, x->height - 1)) >> 1;
}

/* ---- Checking ---- */

static const char *check_unit(struct hmm_heap *h, const struct address_index *x, uint32_t unit,
                              uint32_t *indexed)
{
    uint32_t most = 0;
    for (uint64_t map = x->maps[unit]; map != 0; map &= map - 1) {
        hmm_ref r = unit << ADDRESS_UNIT_LOG | (uint32_t)__builtin_ctzll(map);
        if (r < h->first || r >= h->top || !(block_header(h, r) & HMM__FREE))
            return "T2: address index: a bit stands for a block that is not free";
        if (block_size(h, r) > most)
            most = block_size(h, r);
        ++*indexed;
    }
    uint32_t bound = address_units(x)[unit];
    bool doubted = !(bound & 1);
    for (uint32_t i = 0; i < ADDRESS_DOUBTS; i++)
        doubted |= x->doubts[i] == unit;
    if (bound >> 1 < most || (!(bound & 1) && bound >> 1 != most) || !doubted)
        return "T3: address index: a unit's bound is not that of its blocks";
    return NULL;
}

const char *hmm__address_check(struct hmm_heap *h, const struct address_index *x, uint32_t *indexed)
{
    uint32_t entries = x->covered;
    *indexed = 0;
    for (uint32_t unit = 0; unit < entries; unit++) {
        const char *broken = check_unit(h, x, unit, indexed);
        if (broken != NULL)
            return broken;
    }
    for (uint32_t k = 1; k < x->height; k++) {
        entries /= ADDRESS_FAN;
        for (uint32_t i = 0; i < entries; i++)
            if (address_level(x, k)[i] != group_most(address_level(x, k - 1) + i * ADDRESS_FAN))
                return "T4: address index: an entry is not the largest of those below";
        entries = round_up(entries);
    }
    return entries <= ADDRESS_FAN ? NULL : "T4: address index: the tree is too low";
}
