/* SPDX-License-Identifier: MIT */
/*
 * The parts of the index by address that are too large or too rare to stand inline.
 */
#include "address_index.h"

#if HMM__ADDRESS_INDEX

/*
 * The two steps of every search and update: which of a group's entries are n or more, and which is
 * the largest; for bytes, and for entries, which no signed compare takes for negative.
 */
#if defined(__SSE2__) && HMM_HOSTED

HMM__ALWAYS_INLINE uint32_t bytes_max(const uint8_t *bytes)
{
    const __m128i *v = (const __m128i *)(const void *)bytes;
    __m128i max = _mm_max_epu8(_mm_loadu_si128(v), _mm_loadu_si128(v + 1));
    max = _mm_max_epu8(max, _mm_srli_si128(max, 8));
    max = _mm_max_epu8(max, _mm_srli_si128(max, 4));
    max = _mm_max_epu8(max, _mm_srli_si128(max, 2));
    max = _mm_max_epu8(max, _mm_srli_si128(max, 1));
    return (uint32_t)_mm_cvtsi128_si32(max) & 0xff;
}

HMM__ALWAYS_INLINE uint32_t entries_max(const address_entry *entries)
{
    const __m128i *v = (const __m128i *)(const void *)entries;
    __m128i max = _mm_max_epi16(_mm_max_epi16(_mm_loadu_si128(v), _mm_loadu_si128(v + 1)),
                                _mm_max_epi16(_mm_loadu_si128(v + 2), _mm_loadu_si128(v + 3)));
    max = _mm_max_epi16(max, _mm_srli_si128(max, 8));
    max = _mm_max_epi16(max, _mm_srli_si128(max, 4));
    max = _mm_max_epi16(max, _mm_srli_si128(max, 2));
    return (uint32_t)_mm_cvtsi128_si32(max) & 0xffff;
}

#else

HMM__ALWAYS_INLINE uint32_t bytes_max(const uint8_t *bytes)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        max = bytes[i] > max ? bytes[i] : max;
    return max;
}

HMM__ALWAYS_INLINE uint32_t entries_max(const address_entry *entries)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        max = entries[i] > max ? entries[i] : max;
    return max;
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
    x->bounds = sizeof *x + ADDRESS_OWN + (size_t)units * sizeof(bits_word);
    x->level[0] = 0;
    x->level[1] = x->bounds + units + ADDRESS_FAN;
    for (uint32_t k = 1;; k++) {
        count = level_above(count);
        size_t end = x->level[k] + count * sizeof(address_entry);
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

/* An eighth of what there was, so that it happens seldom. A level that is new is the root: all
 * there was is below its first entry. */
void hmm__address_cover(struct address_index *x, uint32_t unit)
{
    uint32_t was = x->covered, now = round_up(unit + 1 + (was - x->floor) / 8);
    if (now > x->units)
        now = x->units;
    HMM_ASSERT(unit >= was && unit < now);
    x->covered = now;
    memset(address_maps(x) + was, 0, (size_t)(now - was) * sizeof(bits_word));
    memset(address_bounds(x) + was, 0, now - was + ADDRESS_FAN);
    for (uint32_t k = 1; k < x->height || now > ADDRESS_FAN; k++) {
        was = level_above(was);
        now = level_above(now);
        address_entry *level = address_level(x, k);
        if (k < x->height) {
            memset(level + was, 0, (size_t)(now - was) * sizeof *level);
        } else {
            memset(level, 0, (size_t)now * sizeof *level);
            level[0] = (address_entry)entries_max(address_level(x, k - 1));
            x->height = k + 1;
        }
    }
}

/* One group of units, the one in which the heap's first block begins, and what is above it. */
static void cover_first(struct address_index *x)
{
    uint32_t from = x->floor, to = x->covered = from + ADDRESS_FAN;
    memset(address_maps(x) + from, 0, ADDRESS_FAN * sizeof(bits_word));
    memset(address_bounds(x) + from, 0, (size_t)2 * ADDRESS_FAN);
    for (x->height = 1; x->height == 1 || to > ADDRESS_FAN; x->height++) {
        from = from / ADDRESS_FAN / ADDRESS_FAN * ADDRESS_FAN;
        to = level_above(to);
        memset(address_level(x, x->height) + from, 0, (to - from) * sizeof(address_entry));
    }
}

void hmm__address_start(struct hmm_heap *h, struct address_index *x)
{
    (void)lay_out(x, units_of(hmm_heap_capacity(h)));
    x->floor = address_unit(h->first) & ~(ADDRESS_FAN - 1);
    x->max = 0;
    cover_first(x);
    memset(address_bounds(x) + x->units, 0, ADDRESS_FAN);
    x->hints[0] = 0;
    for (uint32_t n = 1; n < ADDRESS_HINTS; n++)
        x->hints[n] = x->units;
    x->hints[ADDRESS_HINTS] = UINT32_MAX;
}

/* What is covered moves up, the highest part first: each begins where it did, or above. */
#if !HMM__SMALL

void hmm__address_widen(struct address_index *x, size_t capacity)
{
    struct address_index was = *x;
    uint32_t entries[ADDRESS_LEVELS] = {x->covered + ADDRESS_FAN};
    (void)lay_out(x, units_of(capacity));
    HMM_ASSERT(x->units >= was.units && was.covered <= was.units);
    for (uint32_t k = 1; k < x->height; k++)
        entries[k] = level_above(k == 1 ? x->covered : entries[k - 1]);
    for (uint32_t k = x->height - 1; k > 0; k--)
        memmove(address_level(x, k), (char *)x + was.level[k], entries[k] * sizeof(address_entry));
    memmove(address_bounds(x), (char *)x + was.bounds, entries[0]);
    memset(address_bounds(x) + x->units, 0, ADDRESS_FAN);
    for (uint32_t n = 1; n < ADDRESS_HINTS; n++)
        if (x->hints[n] == was.units)
            x->hints[n] = x->units;
}

#endif

void hmm__address_raise(struct address_index *x, uint32_t unit, uint32_t size)
{
    uint32_t now = address_clip(size);
    if (now > x->max)
        x->max = now;
    for (uint32_t k = 1; k < x->height; k++) {
        address_entry *entry = address_level(x, k) + (unit >>= ADDRESS_FAN_LOG);
        if (*entry >= now)
            return;
        *entry = (address_entry)now;
    }
}

/* ---- Search ---- */

/* The lowest block of at least n granules in the group of `unit`, from that unit on. 0: there is
 * none; bounds that were too large have been corrected, and *seen is the size of the largest block
 * that was looked at. */
HMM__ALWAYS_INLINE hmm_ref search_group(struct hmm_heap *h, struct address_index *x, uint32_t unit,
                                        uint32_t n, uint32_t *largest_seen)
{
    uint32_t first = unit & ~(ADDRESS_FAN - 1), max = 0;
    uint32_t fits = address_bytes(address_bounds(x) + first, address_byte(n));
    COUNT(h->visited++);
    for (fits &= UINT32_MAX << unit % ADDRESS_FAN; fits != 0; fits &= fits - 1) {
        unit = first + bits_lowest32(fits);
        hmm_ref r = address_scan(h, address_maps(x)[unit], unit, n, &max);
        if (r != 0)
            return r;
        address_bounds(x)[unit] = address_byte(max);
        *largest_seen = max > *largest_seen ? max : *largest_seen;
    }
    return 0;
}

/* Corrects entry i of level 1. All blocks that are too large for a byte have been looked at. */
HMM__ALWAYS_INLINE void settle_group(struct address_index *x, uint32_t i, uint32_t largest_seen)
{
    uint32_t max = bytes_max(address_bounds(x) + (size_t)i * ADDRESS_FAN);
    max = max == ADDRESS_BYTE ? address_clip(largest_seen) : max;
    address_level(x, 1)[i] = (address_entry)max;
}

/*
 * Goes up from entry i of level k until an entry of the same group, not before it, is large enough,
 * then down to a unit. If an entry or a bound on the way down was too large, the search continues
 * behind it; from then on the entry of each group that it leaves is corrected.
 */
hmm_ref hmm__address_resume(struct hmm_heap *h, uint32_t n, uint32_t k, uint32_t i)
{
    struct address_index *x = state_of(h);
    uint32_t bar = address_clip(n);
    bool astray = false;
    for (;;) {
        if (k == 0) {
            uint32_t largest_seen = 0;
            hmm_ref r = search_group(h, x, i, n, &largest_seen);
            if (r != 0)
                return r;
            if (i % ADDRESS_FAN == 0) {
                settle_group(x, i >> ADDRESS_FAN_LOG, largest_seen);
                astray = true;
            }
            i = (i >> ADDRESS_FAN_LOG) + 1;
            k = 1;
        } else {
            uint32_t column = i % ADDRESS_FAN;
            uint32_t fits = address_entries(address_level(x, k) + (i - column), bar) >> column;
            COUNT(h->visited++);
            if (fits != 0) {
                i = (i + bits_lowest32(fits)) << ADDRESS_FAN_LOG;
                k--;
                continue;
            }
            astray |= column == 0;
            i += ADDRESS_FAN - column;
        }
        for (; i % ADDRESS_FAN == 0; i >>= ADDRESS_FAN_LOG) {
            if (++k == x->height)
                return 0;
            if (astray)
                address_level(x, k)[(i >> ADDRESS_FAN_LOG) - 1] =
                    (address_entry)entries_max(address_level(x, k - 1) + i - ADDRESS_FAN);
        }
    }
}

hmm_ref hmm__address_search(struct hmm_heap *h, struct address_index *x, uint32_t unit, uint32_t n)
{
    if (unit >= x->covered || !address_may_have(x, n))
        return 0;
    if (unit % ADDRESS_FAN != 0)
        return hmm__address_resume(h, n, 0, unit);
    if (unit > x->floor)
        return hmm__address_resume(h, n, 1, unit >> ADDRESS_FAN_LOG);
    hmm_ref r = hmm__address_resume(h, n, x->height - 1, 0);
    if (r == 0 && n <= x->max)
        x->max = n - 1;
    return r;
}

hmm_ref hmm__address_lowest(struct hmm_heap *h, struct address_index *x, uint32_t n)
{
    hmm_ref r = hmm__address_search(h, x, address_hint(x, n), n);
    address_settle(x, r, n);
    return r;
}

#if HMM__PIECES || HMM_WITH_STATS

/* The same from r on. */
static hmm_ref search_from(struct hmm_heap *h, struct address_index *x, hmm_ref r, uint32_t n)
{
    if (address_unit(r) >= x->covered)
        return 0;
    hmm_ref here = address_in_unit(h, x, r, n);
    return here ? here : hmm__address_search(h, x, address_unit(r) + 1, n);
}

#endif

#if HMM__PIECES

/* ---- Search downward ---- */

#define NO_UNIT UINT32_MAX

/* The highest unit below this one whose bound is not 0, or NO_UNIT. Goes up while there is nothing
 * lower in the group, and down. The entry of a group without a block is corrected. */
static uint32_t unit_below(struct address_index *x, uint32_t i)
{
    for (uint32_t k = 0;;) {
        for (; i % ADDRESS_FAN == 0; i >>= ADDRESS_FAN_LOG)
            if (++k >= x->height)
                return NO_UNIT;
        for (i--;; k--) { /* i or lower in its group */
            uint32_t column = i % ADDRESS_FAN;
            uint32_t has = k == 0 ? address_bytes(address_bounds(x) + (i - column), 1)
                                  : address_entries(address_level(x, k) + (i - column), 1);
            if (has == 0 && k + 1 < x->height)
                address_level(x, k + 1)[i >> ADDRESS_FAN_LOG] = 0;
            has &= UINT32_MAX >> (ADDRESS_FAN - 1 - column);
            i -= column;
            if (has == 0)
                break;
            i += bits_highest32(has);
            if (k == 0)
                return i;
            i = (i << ADDRESS_FAN_LOG) + ADDRESS_FAN - 1;
        }
    }
}

/* The highest free block that begins at r or below; 0: there is none. */
static hmm_ref block_at_or_below(struct address_index *x, hmm_ref r)
{
    uint32_t unit = address_unit(r);
    bits_word map = 0;
    if (unit < x->floor)
        return 0;
    if (unit >= x->covered)
        unit = x->covered;
    else
        map = address_maps(x)[unit] & ((bits_word)-1 >> (BITS - 1 - r % BITS));
    while (map == 0) {
        unit = unit_below(x, unit);
        if (unit == NO_UNIT)
            return 0;
        map = address_maps(x)[unit];
        if (map == 0)
            address_bounds(x)[unit] = 0;
    }
    return unit << ADDRESS_UNIT_LOG | bits_highest(map);
}

/* As hmm__address_piece, of a piece that is bounded. */
static __attribute__((noinline)) hmm_ref bounded_piece(struct hmm_heap *h, struct address_index *x,
                                                       hmm_ref from, const struct hmm_piece *piece)
{
    uint32_t n = piece->granules;
    hmm_ref last = piece->high == 0 ? UINT32_MAX : piece->high - n;
    if (piece->high != 0 && piece->high < n)
        return 0;
    hmm_ref below = piece->low > from ? block_at_or_below(x, piece->low) : 0;
    hmm_ref r = search_from(h, x, below > from ? below : from, n);
    while (r != 0 && !hmm_piece_fits_bounded(piece, r, block_size(h, r)))
        r = r < last ? search_from(h, x, r + 1, n) : 0;
    return r;
}

hmm_ref hmm__address_piece(struct hmm_heap *h, struct address_index *x, hmm_ref from,
                           const struct hmm_piece *piece)
{
    if (hmm_piece_is_bounded(piece))
        return bounded_piece(h, x, from, piece);
    hmm_ref r = search_from(h, x, from, piece->granules);
    while (r != 0 && !hmm_piece_fits_plain(piece, r, block_size(h, r)))
        r = search_from(h, x, r + 1, piece->granules);
    return r;
}

#endif

#if HMM_WITH_STATS

/* Of the highest entry, and should it not be true, of the next. */
uint32_t hmm__address_largest(struct hmm_heap *h, struct address_index *x)
{
    for (;;) {
        uint32_t bound = entries_max(address_level(x, x->height - 1)), max = 0;
        if (bound == 0)
            return 0;
        hmm_ref r = hmm__address_search(h, x, x->floor, bound);
        for (; r != 0; r = search_from(h, x, r + 1, max + 1))
            max = block_size(h, r);
        if (max != 0)
            return max;
    }
}

#endif

#if HMM_WITH_CHECKS

/* ---- Checking ---- */

static uint32_t height_of(uint32_t covered)
{
    uint32_t height = 1;
    for (; height == 1 || covered > ADDRESS_FAN; height++)
        covered = level_above(covered);
    return height;
}

/* Before anything else: where this is so the other checks read nothing outside the state. */
static const char *check_layout(const struct hmm_heap *h, const struct address_index *x)
{
    struct address_index right = {0};
    lay_out(&right, units_of(hmm_heap_capacity(h)));
    bool same = x->units == right.units && x->bounds == right.bounds &&
                x->floor == (address_unit(h->first) & ~(ADDRESS_FAN - 1)) &&
                x->covered % ADDRESS_FAN == 0 && x->covered > x->floor && x->covered <= x->units &&
                x->height == height_of(x->covered) && x->hints[0] == 0 &&
                x->hints[ADDRESS_HINTS] == UINT32_MAX;
    for (uint32_t k = 1; same && k < x->height; k++)
        same = x->level[k] == right.level[k];
    return same ? NULL : "T8: address index: it is not laid out for the heap";
}

static const char *check_unit(struct hmm_heap *h, const struct address_index *x, uint32_t unit,
                              uint32_t *indexed)
{
    for (bits_word map = address_maps(x)[unit]; map != 0; map &= map - 1) {
        hmm_ref r = unit << ADDRESS_UNIT_LOG | bits_lowest(map);
        if (r < h->first || r >= h->top || !(block_header(h, r) & HMM__FREE))
            return "T2: address index: a bit stands for a block that is not free";
        uint32_t size = block_size(h, r);
        if (address_bounds(x)[unit] < address_byte(size) ||
            address_level(x, 1)[unit / ADDRESS_FAN] < address_clip(size))
            return "T3: address index: a block is larger than its unit's bound, or its group's";
        ++*indexed;
    }
    return NULL;
}

static const char *check_hints(const struct address_index *x)
{
    for (uint32_t n = 1; n < ADDRESS_HINTS; n++) {
        if (x->hints[n] < x->hints[n - 1])
            return "T5: address index: a hint is lower than the one before";
        for (uint32_t unit = x->floor; unit < x->hints[n] && unit < x->covered; unit++)
            if (address_bounds(x)[unit] >= n)
                return "T5: address index: a bound below a hint is as large";
    }
    return NULL;
}

static const char *check_levels(const struct address_index *x)
{
    uint32_t entries = x->covered / ADDRESS_FAN;
    uint32_t first = x->floor / ADDRESS_FAN;
    for (uint32_t i = first; i < entries; i++)
        if (address_level(x, 1)[i] < bytes_max(address_bounds(x) + i * ADDRESS_FAN))
            return "T4: address index: an entry is less than a bound below it";
    for (uint32_t k = 2; k < x->height; k++) {
        entries = round_up(entries) / ADDRESS_FAN;
        first /= ADDRESS_FAN;
        for (uint32_t i = first; i < entries; i++)
            if (address_level(x, k)[i] < entries_max(address_level(x, k - 1) + i * ADDRESS_FAN))
                return "T4: address index: an entry is less than one below it";
    }
    if (entries > ADDRESS_FAN || entries_max(address_level(x, x->height - 1)) > x->max)
        return "T4: address index: the tree is too low, or an entry larger than all may be";
    return NULL;
}

const char *hmm__address_check(struct hmm_heap *h, const struct address_index *x, uint32_t *indexed)
{
    *indexed = 0;
    const char *broken = check_layout(h, x);
    if (broken != NULL)
        return broken;
    for (uint32_t unit = x->floor; unit < x->covered; unit++) {
        broken = check_unit(h, x, unit, indexed);
        if (broken != NULL)
            return broken;
    }
    broken = check_hints(x);
    return broken ? broken : check_levels(x);
}

#endif

#endif
