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
 * is the largest. Written three times: for any machine, for SSE2, which every x86-64 has, and for
 * AVX2, which is asked for at run time, where there is an operating system. n and the entries are
 * below 2^31.
 */
typedef uint32_t at_least_fn(const uint32_t *entries, uint32_t n);
typedef uint32_t most_fn(const uint32_t *entries);

#if defined(__SSE2__)

HMM__ALWAYS_INLINE uint32_t at_least(const uint32_t *entries, uint32_t n)
{
    const __m128i *v = (const __m128i *)(const void *)entries;
    __m128i bar = _mm_set1_epi32((int)n - 1);
    __m128i a = _mm_cmpgt_epi32(_mm_loadu_si128(v), bar);
    __m128i b = _mm_cmpgt_epi32(_mm_loadu_si128(v + 1), bar);
    __m128i c = _mm_cmpgt_epi32(_mm_loadu_si128(v + 2), bar);
    __m128i d = _mm_cmpgt_epi32(_mm_loadu_si128(v + 3), bar);
    __m128i all = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    return (uint32_t)_mm_movemask_epi8(all);
}

HMM__ALWAYS_INLINE __m128i larger(__m128i a, __m128i b)
{
    __m128i more = _mm_cmpgt_epi32(a, b);
    return _mm_or_si128(_mm_and_si128(more, a), _mm_andnot_si128(more, b));
}

/* Without the mark of doubt. */
HMM__ALWAYS_INLINE uint32_t group_most(const uint32_t *entries)
{
    const __m128i *v = (const __m128i *)(const void *)entries;
    __m128i most = larger(larger(_mm_loadu_si128(v), _mm_loadu_si128(v + 1)),
                          larger(_mm_loadu_si128(v + 2), _mm_loadu_si128(v + 3)));
    most = larger(most, _mm_shuffle_epi32(most, 0x4e));
    most = larger(most, _mm_shuffle_epi32(most, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(most) & ~UINT32_C(1);
}

#else

HMM__ALWAYS_INLINE uint32_t at_least(const uint32_t *entries, uint32_t n)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        bits |= (uint32_t)(entries[i] >= n) << i;
    return bits;
}

HMM__ALWAYS_INLINE uint32_t group_most(const uint32_t *entries)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        most = entries[i] > most ? entries[i] : most;
    return most & ~UINT32_C(1);
}

#endif

#if HMM_HOSTED && defined(__x86_64__) && defined(__GNUC__)
#define ADDRESS_WIDE 1
#include <immintrin.h>
#define WIDE_INLINE static inline __attribute__((always_inline, target("avx2,bmi")))
#define WIDE static __attribute__((noinline, target("avx2,bmi")))

WIDE_INLINE uint32_t at_least_wide(const uint32_t *entries, uint32_t n)
{
    const __m256i *v = (const __m256i *)(const void *)entries;
    __m256i bar = _mm256_set1_epi32((int)n - 1);
    __m256i a = _mm256_cmpgt_epi32(_mm256_loadu_si256(v), bar);
    __m256i b = _mm256_cmpgt_epi32(_mm256_loadu_si256(v + 1), bar);
    uint32_t low = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(a));
    return low | (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(b)) << 8;
}

WIDE_INLINE uint32_t group_most_wide(const uint32_t *entries)
{
    const __m256i *v = (const __m256i *)(const void *)entries;
    __m256i two = _mm256_max_epi32(_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1));
    __m128i most = _mm_max_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
    most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
    most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(most) & ~UINT32_C(1);
}
#endif

static uint32_t units_of(size_t capacity)
{
    return (uint32_t)((capacity / HMM_GRANULE + (1u << ADDRESS_UNIT_LOG) - 1) >> ADDRESS_UNIT_LOG);
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
    size_t bytes =
        sizeof(struct address_index) + (size_t)entries * ADDRESS_WORDS * sizeof(uint64_t);
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
    uint32_t at = (uint32_t)(sizeof *x / sizeof(uint32_t)) + entries * ADDRESS_WORDS * 2;
    x->units = entries;
    x->covered = ADDRESS_FAN;
    x->height = 1;
    x->turn = 0;
    x->wide = 0;
#if defined(ADDRESS_WIDE)
    __builtin_cpu_init();
    x->wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi");
#endif
    memset(x->doubts, 0, sizeof x->doubts);
    for (uint32_t k = 0; k < ADDRESS_LEVELS; k++) {
        x->level[k] = at;
        at += entries;
        entries = level_above(entries);
    }
    memset(x->maps, 0, ADDRESS_FAN * ADDRESS_WORDS * sizeof x->maps[0]);
    memset(address_level(x, 0), 0, ADDRESS_FAN * sizeof(uint32_t));
}

/* Covers this unit and some more: an eighth of what there was, so that it happens seldom. */
void hmm__address_cover(struct address_index *x, uint32_t unit)
{
    uint32_t was = x->covered, now = round_up(unit + 1 + was / 8);
    if (now > x->units)
        now = x->units;
    x->covered = now;
    memset(x->maps + (size_t)was * ADDRESS_WORDS, 0,
           (size_t)(now - was) * ADDRESS_WORDS * sizeof x->maps[0]);
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

uint32_t hmm__address_most(const struct hmm_heap *h, const struct address_index *x, uint32_t unit)
{
    uint32_t most = 0;
    for (uint32_t word = unit * ADDRESS_WORDS; word < (unit + 1) * ADDRESS_WORDS; word++) {
        for (uint64_t map = x->maps[word]; map != 0; map &= map - 1) {
            uint32_t size = block_size(h, word << 6 | (uint32_t)__builtin_ctzll(map));
            most = size > most ? size : most;
        }
    }
    return most;
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

HMM__ALWAYS_INLINE void settle_by(struct address_index *x, uint32_t unit, uint32_t bound,
                                  most_fn *most_of)
{
    uint32_t *level = address_level(x, 0), was = level[unit] & ~UINT32_C(1), now = bound << 1;
    level[unit] = now;
    for (uint32_t k = 1; now != was && k < x->height; k++) {
        uint32_t *above = address_level(x, k);
        uint32_t group = unit >> ADDRESS_FAN_LOG;
        if (above[group] != was)
            return;
        now = most_of(level + (group << ADDRESS_FAN_LOG));
        above[group] = now;
        level = above;
        unit = group;
    }
}

/* Entry i of level k is n or more: the lowest unit below it of which that is so. */
HMM__ALWAYS_INLINE uint32_t descend_by(const struct address_index *x, uint32_t k, uint32_t i,
                                       uint32_t n, at_least_fn *at_least_of)
{
    while (k-- > 0) {
        i <<= ADDRESS_FAN_LOG;
        i += (uint32_t)__builtin_ctz(at_least_of(address_level(x, k) + i, n));
    }
    return i;
}

/* The lowest unit whose entry is n or more; covered: there is none. */
HMM__ALWAYS_INLINE uint32_t lowest_unit_by(struct hmm_heap *h, const struct address_index *x,
                                           uint32_t n, at_least_fn *at_least_of)
{
    uint32_t k = x->height - 1;
    uint32_t fits = at_least_of(address_level(x, k), n);
    h->visited += x->height;
    if (fits == 0)
        return x->covered;
    return descend_by(x, k, (uint32_t)__builtin_ctz(fits), n, at_least_of);
}

/* The same from `unit` on: up, until some entry in the group and not before will do, and down. */
HMM__ALWAYS_INLINE uint32_t next_unit_by(struct hmm_heap *h, const struct address_index *x,
                                         uint32_t unit, uint32_t n, at_least_fn *at_least_of)
{
    uint32_t i = unit;
    for (uint32_t k = 0; k < x->height; k++, i = (i >> ADDRESS_FAN_LOG) + 1) {
        uint32_t column = i % ADDRESS_FAN;
        if (k + 1 == x->height && i >= ADDRESS_FAN)
            break;
        h->visited++;
        uint32_t fits = at_least_of(address_level(x, k) + (i - column), n) >> column;
        if (fits)
            return descend_by(x, k, i + (uint32_t)__builtin_ctz(fits), n, at_least_of);
    }
    return x->covered;
}

HMM__ALWAYS_INLINE hmm_ref lowest_by(struct hmm_heap *h, struct address_index *x, uint32_t n,
                                     at_least_fn *at_least_of, most_fn *most_of)
{
    for (;;) {
        uint32_t unit = lowest_unit_by(h, x, n << 1, at_least_of);
        if (unit == x->covered)
            return 0;
        hmm_ref r = address_in_unit(h, x, unit, unit << ADDRESS_UNIT_LOG, n);
        if (hmm__likely(r != 0))
            return r;
        settle_by(x, unit, hmm__address_most(h, x, unit), most_of);
    }
}

HMM__ALWAYS_INLINE hmm_ref search_by(struct hmm_heap *h, struct address_index *x, uint32_t unit,
                                     uint32_t n, at_least_fn *at_least_of, most_fn *most_of)
{
    while (unit < x->covered) {
        unit = next_unit_by(h, x, unit, n << 1, at_least_of);
        if (unit == x->covered)
            return 0;
        hmm_ref r = address_in_unit(h, x, unit, unit << ADDRESS_UNIT_LOG, n);
        if (r != 0)
            return r;
        settle_by(x, unit, hmm__address_most(h, x, unit), most_of);
        unit++;
    }
    return 0;
}

#if defined(ADDRESS_WIDE)
WIDE void settle_wide(struct address_index *x, uint32_t unit, uint32_t bound)
{
    settle_by(x, unit, bound, group_most_wide);
}

WIDE hmm_ref lowest_wide(struct hmm_heap *h, struct address_index *x, uint32_t n)
{
    return lowest_by(h, x, n, at_least_wide, group_most_wide);
}

WIDE hmm_ref search_wide(struct hmm_heap *h, struct address_index *x, uint32_t unit, uint32_t n)
{
    return search_by(h, x, unit, n, at_least_wide, group_most_wide);
}
#endif

void hmm__address_settle(struct address_index *x, uint32_t unit, uint32_t most)
{
#if defined(ADDRESS_WIDE)
    if (hmm__likely(x->wide)) {
        settle_wide(x, unit, most);
        return;
    }
#endif
    settle_by(x, unit, most, group_most);
}

hmm_ref hmm__address_lowest(struct hmm_heap *h, struct address_index *x, uint32_t n)
{
#if defined(ADDRESS_WIDE)
    if (hmm__likely(x->wide))
        return lowest_wide(h, x, n);
#endif
    return lowest_by(h, x, n, at_least, group_most);
}

hmm_ref hmm__address_search(struct hmm_heap *h, struct address_index *x, uint32_t unit, uint32_t n)
{
#if defined(ADDRESS_WIDE)
    if (hmm__likely(x->wide))
        return search_wide(h, x, unit, n);
#endif
    return search_by(h, x, unit, n, at_least, group_most);
}

/* The lowest free block of at least n granules that begins at `from` or above; 0: none. */
static hmm_ref search_from(struct hmm_heap *h, struct address_index *x, hmm_ref from, uint32_t n)
{
    uint32_t unit = from >> ADDRESS_UNIT_LOG;
    if (unit >= x->covered)
        return 0;
    hmm_ref r = address_units(x)[unit] >= n << 1 ? address_in_unit(h, x, unit, from, n) : 0;
    return r ? r : hmm__address_search(h, x, unit + 1, n);
}

hmm_ref hmm__address_piece(struct hmm_heap *h, struct address_index *x, hmm_ref from,
                           const struct hmm_piece *piece)
{
    hmm_ref r = search_from(h, x, from, piece->granules);
    while (r != 0 && !hmm_piece_fits(piece, r, block_size(h, r)))
        r = search_from(h, x, r + 1, piece->granules);
    return r;
}

uint32_t hmm__address_largest(struct hmm_heap *h, struct address_index *x)
{
    for (uint32_t i = 0; i < ADDRESS_DOUBTS; i++) {
        uint32_t unit = x->doubts[i];
        if (address_units(x)[unit] & 1)
            hmm__address_settle(x, unit, hmm__address_most(h, x, unit));
    }
    return group_most(address_level(x, x->height - 1)) >> 1;
}

/* ---- Checking ---- */

static const char *check_unit(struct hmm_heap *h, const struct address_index *x, uint32_t unit,
                              uint32_t *indexed)
{
    uint32_t most = hmm__address_most(h, x, unit);
    for (uint32_t word = unit * ADDRESS_WORDS; word < (unit + 1) * ADDRESS_WORDS; word++) {
        for (uint64_t map = x->maps[word]; map != 0; map &= map - 1) {
            hmm_ref r = word << 6 | (uint32_t)__builtin_ctzll(map);
            if (r < h->first || r >= h->top || !(block_header(h, r) & HMM__FREE))
                return "T2: address index: a bit stands for a block that is not free";
            ++*indexed;
        }
    }
    uint32_t bound = address_units(x)[unit];
    bool doubted = !(bound & 1);
    for (uint32_t i = 0; i < ADDRESS_DOUBTS && !doubted; i++)
        doubted = x->doubts[i] == unit;
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
