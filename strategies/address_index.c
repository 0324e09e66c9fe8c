/* SPDX-License-Identifier: MIT */
/*
 * The parts of the index by address that are too large or too rare to stand inline.
 */
#include "address_index.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/*
 * The two steps of every search and update: which of a group's 16 entries are n or more, and which
 * is the largest. n and the entries are at most ADDRESS_MOST, which no signed compare takes for
 * negative.
 */
#if defined(__SSE2__)

static uint32_t at_least(const address_entry *entries, uint32_t n)
{
    const __m128i *v = (const __m128i *)(const void *)entries;
    __m128i bar = _mm_set1_epi16((short)(n - 1));
    __m128i low = _mm_cmpgt_epi16(_mm_loadu_si128(v), bar);
    __m128i high = _mm_cmpgt_epi16(_mm_loadu_si128(v + 1), bar);
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
}

static address_entry group_most(const address_entry *entries)
{
    const __m128i *v = (const __m128i *)(const void *)entries;
    __m128i most = _mm_max_epi16(_mm_loadu_si128(v), _mm_loadu_si128(v + 1));
    most = _mm_max_epi16(most, _mm_shuffle_epi32(most, 0x4e));
    most = _mm_max_epi16(most, _mm_shuffle_epi32(most, 0xb1));
    uint32_t two = (uint32_t)_mm_cvtsi128_si32(most);
    return (address_entry)(two >> 16 > (two & 0xffff) ? two >> 16 : two & 0xffff);
}

#else

static uint32_t at_least(const address_entry *entries, uint32_t n)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        bits |= (uint32_t)(entries[i] >= n) << i;
    return bits;
}

static address_entry group_most(const address_entry *entries)
{
    address_entry most = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        most = entries[i] > most ? entries[i] : most;
    return most;
}

#endif

/* ---- Layout ---- */

static uint32_t round_up(uint32_t entries)
{
    return (entries + ADDRESS_FAN - 1) / ADDRESS_FAN * ADDRESS_FAN;
}

static uint32_t units_of(size_t capacity)
{
    return round_up((uint32_t)((capacity / HMM_GRANULE >> ADDRESS_UNIT_LOG) + 1));
}

/* Entries of the next level up, a whole number of groups. */
static uint32_t level_above(uint32_t entries)
{
    return round_up(entries / ADDRESS_FAN);
}

size_t hmm__address_size(size_t capacity)
{
    uint32_t entries = units_of(capacity);
    size_t bytes = sizeof(struct address_index) + (size_t)entries * sizeof(uint64_t) +
                   ADDRESS_FAN * sizeof(address_entry);
    do {
        bytes += (size_t)entries * sizeof(address_entry);
        entries = level_above(entries);
    } while (entries > ADDRESS_FAN);
    return bytes + ADDRESS_FAN * sizeof(address_entry);
}

/* The first group alone, empty, and one level above it. */
void hmm__address_start(struct address_index *x, size_t capacity)
{
    uint32_t entries = units_of(capacity);
    uint32_t at = (uint32_t)((sizeof *x + entries * sizeof x->maps[0]) / sizeof(address_entry));
    x->units = entries;
    x->covered = ADDRESS_FAN;
    x->height = 2;
    x->most = 0;
    for (uint32_t k = 0; k < ADDRESS_LEVELS; k++) {
        x->level[k] = at;
        at += entries + (k == 0 ? ADDRESS_FAN : 0);
        entries = level_above(entries);
    }
    memset(x->maps, 0, ADDRESS_FAN * sizeof x->maps[0]);
    for (uint32_t k = 0; k < x->height; k++)
        memset(address_level(x, k), 0, ADDRESS_FAN * sizeof(address_entry));
    memset(address_level(x, 0) + x->units, 0, ADDRESS_FAN * sizeof(address_entry));
}

/* Covers this unit and some more: an eighth of what there was, so that it happens seldom. */
static void cover(struct address_index *x, uint32_t unit)
{
    uint32_t was = x->covered, now = round_up(unit + 1 + was / 8);
    if (now > x->units)
        now = x->units;
    x->covered = now;
    memset(x->maps + was, 0, (size_t)(now - was) * sizeof x->maps[0]);
    for (uint32_t k = 0; k < x->height || now > ADDRESS_FAN; k++) {
        if (k > 0) {
            was = level_above(was);
            now = level_above(now);
        }
        address_entry *level = address_level(x, k);
        if (k < x->height) {
            memset(level + was, 0, (size_t)(now - was) * sizeof *level);
        } else { /* a new root: all there was is below its first entry */
            memset(level, 0, (size_t)now * sizeof *level);
            level[0] = group_most(address_level(x, k - 1));
            x->height = k + 1;
        }
    }
}

void hmm__address_cover(struct address_index *x, hmm_ref r, uint32_t size)
{
    cover(x, address_unit(r));
    address_add(x, r, size);
}

void hmm__address_raise(struct address_index *x, uint32_t unit, uint32_t bound)
{
    if (bound > x->most)
        x->most = bound;
    for (uint32_t k = 1; k < x->height; k++) {
        address_entry *entry = address_level(x, k) + (unit >>= ADDRESS_FAN_LOG);
        if (*entry >= bound)
            return;
        *entry = (address_entry)bound;
    }
}

/* ---- Search ---- */

/* Of all blocks that begin in `unit`, the lowest of at least n granules; 0: none, and the bound is
 * made true. */
HMM__ALWAYS_INLINE hmm_ref scan_unit(const struct hmm_heap *h, struct address_index *x,
                                     uint32_t unit, uint32_t n)
{
    uint32_t most = 0;
    for (uint64_t map = x->maps[unit]; map != 0; map &= map - 1) {
        hmm_ref r = unit << ADDRESS_UNIT_LOG | (uint32_t)__builtin_ctzll(map);
        uint32_t size = block_size(h, r);
        if (size >= n)
            return r;
        most = size > most ? size : most;
    }
    address_level(x, 0)[unit] = (address_entry)address_clip(most);
    return 0;
}

/* A search from `unit` on came to nothing: one from the lowest has made all true. */
static hmm_ref none_from(struct address_index *x, uint32_t unit, uint32_t n)
{
    if (unit == 0 && n <= x->most)
        x->most = n - 1;
    return 0;
}

/*
 * Goes from entry i of level k up, until some entry in its group and not before it will do, down to
 * it, and on from there, should the way down or the unit itself lead astray. From then on each
 * group that is left behind has its entry made true.
 */
hmm_ref hmm__address_search(struct hmm_heap *h, struct address_index *x, uint32_t unit, uint32_t n)
{
    uint32_t bar = address_clip(n), k = unit == 0 ? x->height - 1 : 0, i = unit;
    bool astray = false;
    if (unit >= x->covered || !address_may_have(x, n))
        return 0;
    for (;;) {
        uint32_t column = i % ADDRESS_FAN;
        uint32_t fits = at_least(address_level(x, k) + (i - column), bar) >> column;
        h->visited++;
        if (fits != 0) {
            i += (uint32_t)__builtin_ctz(fits);
            if (k > 0) {
                k--;
                i <<= ADDRESS_FAN_LOG;
                continue;
            }
            hmm_ref r = scan_unit(h, x, i, n);
            if (r != 0)
                return r;
            astray = true;
            i++;
        } else {
            astray |= column == 0;
            i += ADDRESS_FAN - column;
        }
        for (; i % ADDRESS_FAN == 0; i >>= ADDRESS_FAN_LOG) {
            const address_entry *group = address_level(x, k) + i - ADDRESS_FAN;
            if (++k == x->height)
                return none_from(x, unit, n);
            if (astray)
                address_level(x, k)[(i >> ADDRESS_FAN_LOG) - 1] = group_most(group);
        }
    }
}

/* The same from r on. */
static hmm_ref search_from(struct hmm_heap *h, struct address_index *x, hmm_ref r, uint32_t n)
{
    if (address_unit(r) >= x->covered)
        return 0;
    hmm_ref here = address_in_unit(h, x, r, n);
    return here ? here : hmm__address_search(h, x, address_unit(r) + 1, n);
}

hmm_ref hmm__address_piece(struct hmm_heap *h, struct address_index *x, hmm_ref from,
                           const struct hmm_piece *piece)
{
    hmm_ref r = search_from(h, x, from, piece->granules);
    while (r != 0 && !hmm_piece_fits(piece, r, block_size(h, r)))
        r = search_from(h, x, r + 1, piece->granules);
    return r;
}

/* A search for the highest bound makes it true, or finds a block. */
uint32_t hmm__address_largest(struct hmm_heap *h, struct address_index *x)
{
    for (;;) {
        uint32_t bound = group_most(address_level(x, x->height - 1)), most = 0;
        if (bound == 0)
            return 0;
        hmm_ref r = hmm__address_search(h, x, 0, bound);
        for (; r != 0; r = search_from(h, x, r + 1, most + 1))
            most = block_size(h, r);
        if (most != 0)
            return most;
    }
}

/* ---- Checking ---- */

static const char *check_unit(struct hmm_heap *h, const struct address_index *x, uint32_t unit,
                              uint32_t *indexed)
{
    for (uint64_t map = x->maps[unit]; map != 0; map &= map - 1) {
        hmm_ref r = unit << ADDRESS_UNIT_LOG | (uint32_t)__builtin_ctzll(map);
        if (r < h->first || r >= h->top || !(block_header(h, r) & HMM__FREE))
            return "T2: address index: a bit stands for a block that is not free";
        if (address_bound(x, unit) < address_clip(block_size(h, r)))
            return "T3: address index: a block is larger than its unit's bound";
        ++*indexed;
    }
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
            if (address_level(x, k)[i] < group_most(address_level(x, k - 1) + i * ADDRESS_FAN))
                return "T4: address index: an entry is less than one below it";
        entries = round_up(entries);
    }
    if (entries > ADDRESS_FAN || group_most(address_level(x, x->height - 1)) > x->most)
        return "T4: address index: the tree is too low, or an entry larger than all may be";
    return NULL;
}
