/* SPDX-License-Identifier: MIT */
/*
 * The parts of the index by address that are too large or too rare to stand inline.
 */
#include "address_index.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/*
 * The two steps of every search and update: which of a group's entries are n or more, and which is
 * the largest; for bytes, and for entries, which no signed compare takes for negative.
 */
#if defined(__SSE2__)

HMM__ALWAYS_INLINE uint32_t bytes_at_least(const uint8_t *bytes, uint32_t n)
{
    const __m128i *v = (const __m128i *)(const void *)bytes;
    __m128i bar = _mm_set1_epi8((char)n), low = _mm_loadu_si128(v), high = _mm_loadu_si128(v + 1);
    uint32_t bits = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(low, bar), low));
    return bits | (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(high, bar), high)) << 16;
}

HMM__ALWAYS_INLINE uint32_t bytes_most(const uint8_t *bytes)
{
    const __m128i *v = (const __m128i *)(const void *)bytes;
    __m128i most = _mm_max_epu8(_mm_loadu_si128(v), _mm_loadu_si128(v + 1));
    most = _mm_max_epu8(most, _mm_srli_si128(most, 8));
    most = _mm_max_epu8(most, _mm_srli_si128(most, 4));
    most = _mm_max_epu8(most, _mm_srli_si128(most, 2));
    most = _mm_max_epu8(most, _mm_srli_si128(most, 1));
    return (uint32_t)_mm_cvtsi128_si32(most) & 0xff;
}

/* Of two vectors, the lower first. */
HMM__ALWAYS_INLINE uint32_t two_at_least(const __m128i *v, __m128i bar)
{
    __m128i low = _mm_cmpgt_epi16(_mm_loadu_si128(v), bar);
    __m128i high = _mm_cmpgt_epi16(_mm_loadu_si128(v + 1), bar);
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
}

HMM__ALWAYS_INLINE uint32_t entries_at_least(const address_entry *entries, uint32_t n)
{
    const __m128i *v = (const __m128i *)(const void *)entries;
    __m128i bar = _mm_set1_epi16((short)(n - 1));
    return two_at_least(v, bar) | two_at_least(v + 2, bar) << 16;
}

HMM__ALWAYS_INLINE uint32_t entries_most(const address_entry *entries)
{
    const __m128i *v = (const __m128i *)(const void *)entries;
    __m128i most = _mm_max_epi16(_mm_max_epi16(_mm_loadu_si128(v), _mm_loadu_si128(v + 1)),
                                 _mm_max_epi16(_mm_loadu_si128(v + 2), _mm_loadu_si128(v + 3)));
    most = _mm_max_epi16(most, _mm_srli_si128(most, 8));
    most = _mm_max_epi16(most, _mm_srli_si128(most, 4));
    most = _mm_max_epi16(most, _mm_srli_si128(most, 2));
    return (uint32_t)_mm_cvtsi128_si32(most) & 0xffff;
}

#else

HMM__ALWAYS_INLINE uint32_t bytes_at_least(const uint8_t *bytes, uint32_t n)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        bits |= (uint32_t)(bytes[i] >= n) << i;
    return bits;
}

HMM__ALWAYS_INLINE uint32_t bytes_most(const uint8_t *bytes)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        most = bytes[i] > most ? bytes[i] : most;
    return most;
}

HMM__ALWAYS_INLINE uint32_t entries_at_least(const address_entry *entries, uint32_t n)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        bits |= (uint32_t)(entries[i] >= n) << i;
    return bits;
}

HMM__ALWAYS_INLINE uint32_t entries_most(const address_entry *entries)
{
    uint32_t most = 0;
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

/* Says where each part begins. Returns the bytes of all. */
static size_t lay_out(struct address_index *x, uint32_t units)
{
    uint32_t count = units;
    x->units = units;
    x->bounds = sizeof *x + (size_t)units * sizeof(uint64_t);
    x->level[0] = 0;
    x->level[1] = x->bounds + units + ADDRESS_FAN;
    for (uint32_t k = 1;; k++) {
        count = level_above(count);
        size_t end = (size_t)x->level[k] + count * sizeof(address_entry);
        if (count == ADDRESS_FAN)
            return end;
        x->level[k + 1] = end;
    }
}

size_t hmm__address_size(size_t capacity)
{
    struct address_index x;
    return lay_out(&x, units_of(capacity));
}

/* Covers this unit and some more: an eighth of what there was, so that it happens seldom. A level
 * that is new is the root: all there was is below its first entry. */
static void cover(struct address_index *x, uint32_t unit)
{
    uint32_t was = x->covered, now = round_up(unit + 1 + was / 8);
    if (now > x->units)
        now = x->units;
    x->covered = now;
    memset(address_maps(x) + was, 0, (size_t)(now - was) * sizeof(uint64_t));
    memset(address_bounds(x) + was, 0, now - was);
    for (uint32_t k = 1; k < x->height || now > ADDRESS_FAN; k++) {
        was = level_above(was);
        now = level_above(now);
        address_entry *level = address_level(x, k);
        if (k < x->height) {
            memset(level + was, 0, (size_t)(now - was) * sizeof *level);
        } else {
            memset(level, 0, (size_t)now * sizeof *level);
            level[0] = (address_entry)entries_most(address_level(x, k - 1));
            x->height = k + 1;
        }
    }
}

void hmm__address_start(struct address_index *x, size_t capacity)
{
    lay_out(x, units_of(capacity));
    x->covered = x->most = 0;
    x->height = 2;
    memset(address_level(x, 1), 0, ADDRESS_FAN * sizeof(address_entry));
    memset(address_bounds(x) + x->units, 0, ADDRESS_FAN);
    x->nowhere = x->units << ADDRESS_UNIT_LOG;
    x->hints[0] = 0;
    for (uint32_t n = 1; n < ADDRESS_HINTS; n++)
        x->hints[n] = x->nowhere;
    cover(x, 0);
}

void hmm__address_cover(struct address_index *x, hmm_ref r, uint32_t size)
{
    cover(x, address_unit(r));
    address_add(x, r, size);
}

void *hmm__address_cut_across(struct address_index *x, hmm_ref r, uint32_t size, uint32_t n,
                              void *p)
{
    address_drop(x, r);
    address_add(x, r + n, size - n);
    return p;
}

void hmm__address_raise(struct address_index *x, uint32_t unit, uint32_t size)
{
    uint32_t now = address_clip(size);
    if (now > x->most)
        x->most = now;
    for (uint32_t k = 1; k < x->height; k++) {
        address_entry *entry = address_level(x, k) + (unit >>= ADDRESS_FAN_LOG);
        if (*entry >= now)
            return;
        *entry = (address_entry)now;
    }
}

/* ---- Search ---- */

/* The lowest block of at least n granules in the group of `unit`, from there on; 0: there is none,
 * what bounds led astray are true, and *seen is the size of the largest that was looked at. */
HMM__ALWAYS_INLINE hmm_ref search_group(struct hmm_heap *h, struct address_index *x, uint32_t unit,
                                        uint32_t n, uint32_t *seen)
{
    uint32_t first = unit & ~(ADDRESS_FAN - 1), most = 0;
    uint32_t fits = bytes_at_least(address_bounds(x) + first, address_byte(n));
    h->visited++;
    for (fits &= UINT32_MAX << unit % ADDRESS_FAN; fits != 0; fits &= fits - 1) {
        unit = first + (uint32_t)__builtin_ctz(fits);
        hmm_ref r = address_scan(h, address_maps(x)[unit], unit, n, &most);
        if (r != 0)
            return r;
        address_bounds(x)[unit] = address_byte(most);
        *seen = most > *seen ? most : *seen;
    }
    return 0;
}

/* Entry i of level 1 is made true. All blocks that count for more than a byte have been seen. */
HMM__ALWAYS_INLINE void settle_group(struct address_index *x, uint32_t i, uint32_t seen)
{
    uint32_t most = bytes_most(address_bounds(x) + (size_t)i * ADDRESS_FAN);
    most = most == ADDRESS_BYTE ? address_clip(seen) : most;
    address_level(x, 1)[i] = (address_entry)most;
}

/* A search from `unit` on came to nothing: one from the lowest has made all true. */
static hmm_ref none_from(struct address_index *x, uint32_t unit, uint32_t n)
{
    if (unit == 0 && n <= x->most)
        x->most = n - 1;
    return 0;
}

/*
 * From `unit`, the first of a group, on. Goes from entry i of level k up, until some entry in its
 * group and not before it will do, down to it, and on from there, should the way down or the group
 * of units lead astray. From then on each group that is left behind has its entry made true.
 */
static __attribute__((noinline)) hmm_ref search_up(struct hmm_heap *h, struct address_index *x,
                                                   uint32_t unit, uint32_t n)
{
    uint32_t bar = address_clip(n), k = unit == 0 ? x->height - 1 : 1, i = unit / ADDRESS_FAN;
    bool astray = false;
    for (; i != 0 && i % ADDRESS_FAN == 0; i >>= ADDRESS_FAN_LOG)
        if (++k == x->height)
            return 0;
    for (;;) {
        uint32_t column = i % ADDRESS_FAN, seen = 0;
        uint32_t fits = entries_at_least(address_level(x, k) + (i - column), bar) >> column;
        h->visited++;
        if (fits != 0) {
            i = (i + (uint32_t)__builtin_ctz(fits)) << ADDRESS_FAN_LOG;
            if (--k > 0)
                continue;
            hmm_ref r = search_group(h, x, i, n, &seen);
            if (r != 0)
                return r;
            i >>= ADDRESS_FAN_LOG;
            settle_group(x, i, seen);
            astray = true;
            k = 1;
            i++;
        } else {
            astray |= column == 0;
            i += ADDRESS_FAN - column;
        }
        for (; i % ADDRESS_FAN == 0; i >>= ADDRESS_FAN_LOG) {
            if (++k == x->height)
                return none_from(x, unit, n);
            if (astray)
                address_level(x, k)[(i >> ADDRESS_FAN_LOG) - 1] =
                    (address_entry)entries_most(address_level(x, k - 1) + i - ADDRESS_FAN);
        }
    }
}

hmm_ref hmm__address_search(struct hmm_heap *h, struct address_index *x, uint32_t unit, uint32_t n)
{
    uint32_t seen = 0;
    if (unit >= x->covered)
        return 0;
    if (unit % ADDRESS_FAN != 0) {
        hmm_ref r = search_group(h, x, unit, n, &seen);
        if (r != 0)
            return r;
        unit = (unit | (ADDRESS_FAN - 1)) + 1;
    }
    return address_may_have(x, n) ? search_up(h, x, unit, n) : 0;
}

hmm_ref hmm__address_lowest(struct hmm_heap *h, struct address_index *x, uint32_t n)
{
    hmm_ref from = address_hint(x, n);
    if (from == x->nowhere)
        return 0;
    hmm_ref r = hmm__address_search(h, x, address_unit(from) + 1, n), hint = r ? r : x->nowhere;
    for (; n < ADDRESS_HINTS && x->hints[n] < hint; n++)
        x->hints[n] = hint;
    return r;
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

/* Of the highest entry, and should it not be true, of the next. */
uint32_t hmm__address_largest(struct hmm_heap *h, struct address_index *x)
{
    for (;;) {
        uint32_t bound = entries_most(address_level(x, x->height - 1)), most = 0;
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
    for (uint64_t map = address_maps(x)[unit]; map != 0; map &= map - 1) {
        hmm_ref r = unit << ADDRESS_UNIT_LOG | (uint32_t)__builtin_ctzll(map);
        if (r < h->first || r >= h->top || !(block_header(h, r) & HMM__FREE))
            return "T2: address index: a bit stands for a block that is not free";
        uint32_t size = block_size(h, r);
        if (r < address_hint(x, size))
            return "T5: address index: a block lies below the hint for its size";
        if (address_bounds(x)[unit] < address_byte(size) ||
            address_level(x, 1)[unit / ADDRESS_FAN] < address_clip(size))
            return "T3: address index: a block is larger than its unit's bound, or its group's";
        ++*indexed;
    }
    return NULL;
}

static const char *check_levels(const struct address_index *x)
{
    uint32_t entries = x->covered / ADDRESS_FAN;
    for (uint32_t i = 0; i < entries; i++)
        if (address_level(x, 1)[i] < bytes_most(address_bounds(x) + i * ADDRESS_FAN))
            return "T4: address index: an entry is less than a bound below it";
    for (uint32_t k = 2; k < x->height; k++) {
        entries = round_up(entries) / ADDRESS_FAN;
        for (uint32_t i = 0; i < entries; i++)
            if (address_level(x, k)[i] < entries_most(address_level(x, k - 1) + i * ADDRESS_FAN))
                return "T4: address index: an entry is less than one below it";
    }
    if (entries > ADDRESS_FAN || entries_most(address_level(x, x->height - 1)) > x->most)
        return "T4: address index: the tree is too low, or an entry larger than all may be";
    return NULL;
}

const char *hmm__address_check(struct hmm_heap *h, const struct address_index *x, uint32_t *indexed)
{
    *indexed = 0;
    for (uint32_t unit = 0; unit < x->covered; unit++) {
        const char *broken = check_unit(h, x, unit, indexed);
        if (broken != NULL)
            return broken;
    }
    for (uint32_t n = 1; n < ADDRESS_HINTS; n++)
        if (x->hints[n] < x->hints[n - 1])
            return "T5: address index: a hint is lower than the one before";
    return check_levels(x);
}
