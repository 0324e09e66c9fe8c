/* SPDX-License-Identifier: MIT */
/*
 * An index of free blocks by address: what first-fit and next-fit share.
 *
 * THEORY
 *
 * The heap is cut into units of as many granules as a word of the machine has bits, 64 or 32. For
 * each unit there is a map of the granules at which a free block begins, one word, and a bound, one
 * byte: no block that begins there is larger, or the bound is ADDRESS_BYTE, which stands for all
 * sizes from there on. Over the bounds stands a tree: an entry of level 1 is no less than the
 * blocks of 32 units, one of level k + 1 no less than 32 entries of level k. The lowest free block
 * of at least n granules from some unit on begins in the lowest unit from there whose bound is n or
 * more, if the bound is true: up from that unit until an entry says so, down to it, then the blocks
 * of that one unit in order.
 *
 * A larger block raises the bound of its unit and the entries above it. They are not lowered when
 * the block is removed, unless it was the last one of the unit, since most often a block as large
 * becomes free there again. So a bound or an entry may be too large. A search that finds nothing
 * below it sets it to the true value, and goes on.
 *
 * A search for the lowest block of the heap need not begin at the bottom: for each small n there is
 * a hint, a unit below which all bounds are less than n. A search that ends in a higher unit raises
 * the hint; a bound that is raised in a lower unit lowers it. A block that becomes free where the
 * bound is no less already changes the map only.
 *
 * Entries count to ADDRESS_MAX granules, which stands for all larger sizes: a search for more
 * looks at each free block of that size on its way.
 *
 * Bound: the height of the tree twice, at most 12 groups for 64 GiB and 8 for 64 MiB, and 64
 * blocks; the same again for each entry that was not true, of which there are no more than those
 * that blocks have raised: taken over all operations, one height for each. Nothing depends on the
 * number of free blocks. For a piece the search is repeated for each block below the right one that
 * is as large as the piece but ill placed. Where the piece has a low end, the search begins with
 * the block that reaches over it, which is found by going down from there as searches go up: the
 * highest unit below in which a block begins.
 *
 * Memory: 9.1 bytes a unit of 64, 0.89 % of a heap with granules of 16 bytes. Only what lies
 * between the heap's first block, in unit `floor` or a little above, and the highest free block yet
 * seen is written, up to `covered` units: the heap's control structures, this index the largest,
 * are units too, of which nothing is ever read.
 *
 * Source: the tree of maxima over segments is Brent's (1989, "Efficient implementation of the
 * first-fit strategy for dynamic storage allocation").
 *
 * INVARIANTS
 * T2  Bit i of word u of the maps is set iff a free block begins at granule BITS u + i.
 * T3  A unit's bound is not less than the size of any free block that begins in it, or is
 *     ADDRESS_BYTE; an entry of level 1 likewise for 32 units and ADDRESS_MAX.
 * T4  An entry of a higher level is not less than any of the 32 below it; one of level 1 neither.
 *     No entry of the highest is more than `most`.
 * T5  No bound of a unit below hint n is n or more, and no hint is lower than that before it.
 * T8  The parts lie where the heap's capacity says. What is covered is whole groups from the floor,
 *     the group of the heap's first block, and the tree is as high as that takes.
 */
#ifndef HMM_ADDRESS_INDEX_H
#define HMM_ADDRESS_INDEX_H

#include "bits.h"
#include "heap/place.h"

#if defined(__SSE2__) && HMM_HOSTED
#include <emmintrin.h>
#endif

#if HMM__ADDRESS_INDEX

#define ADDRESS_LEVELS 6u
#define ADDRESS_FAN 32u
#define ADDRESS_FAN_LOG 5u
#define ADDRESS_UNIT_LOG BITS_LOG /* a unit's map is one word */
#define ADDRESS_BYTE 255u
#define ADDRESS_MAX 32767u
#define ADDRESS_HINTS 16u
#define ADDRESS_OWN 16u

/* Bytes of the largest request that has a hint. */
#define ADDRESS_HINTS_MAX ((ADDRESS_HINTS - 1) * HMM_GRANULE - HMM_HEADER_BYTES)

#define BITS_FROM(i) ((bits_word)-1 << (i)) /* of a unit's map */

typedef uint16_t address_entry;

/*
 * Behind it stand ADDRESS_OWN bytes that are the strategy's own, then the maps. The bounds and the
 * levels are named by their offset from the index in bytes: a heap's image moves as a whole. Behind
 * the bounds that are covered there is always a group of zeros, and one more behind the last, so
 * that the bound of the unit behind the end may be read.
 */
struct address_index {
    uint32_t units;   /* that the heap can have, a multiple of ADDRESS_FAN. As a hint: none */
    uint32_t covered; /* that the tree counts, likewise */
    uint32_t height;  /* levels in use, the bounds among them; the highest is one group */
    uint32_t max;     /* no entry is larger */
    uint32_t floor;   /* the lowest unit that is looked at, likewise */
    uint32_t hints[ADDRESS_HINTS + 1]; /* the first is 0 always, the last no unit: they end loops */
    size_t bounds;
    size_t level[ADDRESS_LEVELS]; /* the first is none */
};

_Static_assert((sizeof(struct address_index) + ADDRESS_OWN) % sizeof(bits_word) == 0 &&
                   ADDRESS_OWN % sizeof(bits_word) == 0,
               "the maps are aligned");
_Static_assert(ADDRESS_FAN == 1u << ADDRESS_FAN_LOG && ADDRESS_FAN == 32,
               "a group's entries are one word of bits");
_Static_assert(ADDRESS_LEVELS *ADDRESS_FAN_LOG + ADDRESS_UNIT_LOG >= 32u, "levels for all refs");
_Static_assert(ADDRESS_HINTS <= ADDRESS_BYTE && ADDRESS_HINTS <= BITS &&
                   ADDRESS_MAX <= (uint32_t)INT16_MAX,
               "a hint's size is a bound, and a shift in a map; entries are not negative");

HMM__HIDDEN size_t hmm__address_size(size_t capacity);
HMM__HIDDEN void hmm__address_start(struct hmm_heap *h, struct address_index *x);

/* For a larger capacity, of which there is room. */
HMM__HIDDEN void hmm__address_widen(struct address_index *x, size_t capacity);

/* Covers this unit, and some more. */
HMM__HIDDEN void hmm__address_cover(struct address_index *x, uint32_t unit);

/* A block that begins in `unit` is larger than the entry of level 1, or than an entry can be. */
HMM__HIDDEN void hmm__address_raise(struct address_index *x, uint32_t unit, uint32_t size);

/* The lowest free block of at least n granules that begins in `unit` or above; 0: none. */
HMM__HIDDEN hmm_ref hmm__address_search(struct hmm_heap *h, struct address_index *x, uint32_t unit,
                                        uint32_t n);

/* The lowest that begins in entry i of level k or above; of level 0: in unit i. A search that found
 * an entry to be too large continues here. */
HMM__HIDDEN hmm_ref hmm__address_resume(struct hmm_heap *h, uint32_t n, uint32_t k, uint32_t i);

/* The lowest of all. */
HMM__HIDDEN hmm_ref hmm__address_lowest(struct hmm_heap *h, struct address_index *x, uint32_t n);

/* The lowest free block, of those that begin at `from` or above, in which the piece fits; 0: none.
 * Looks at those only that are as large as the piece, begin below its `high`, and do not end below
 * its `low`. */
HMM__HIDDEN hmm_ref hmm__address_piece(struct hmm_heap *h, struct address_index *x, hmm_ref from,
                                       const struct hmm_piece *piece);
HMM__HIDDEN uint32_t hmm__address_largest(struct hmm_heap *h, struct address_index *x);
HMM__HIDDEN const char *hmm__address_check(struct hmm_heap *h, const struct address_index *x,
                                           uint32_t *indexed);

HMM__ALWAYS_INLINE bits_word *address_maps(const struct address_index *x)
{
    return (bits_word *)((uintptr_t)(x + 1) + ADDRESS_OWN);
}

HMM__ALWAYS_INLINE uint8_t *address_bounds(const struct address_index *x)
{
    return (uint8_t *)(uintptr_t)x + x->bounds;
}

HMM__ALWAYS_INLINE address_entry *address_level(const struct address_index *x, uint32_t k)
{
    return (address_entry *)(void *)((char *)(uintptr_t)x + x->level[k]);
}

HMM__ALWAYS_INLINE uint32_t address_unit(hmm_ref r)
{
    return r >> ADDRESS_UNIT_LOG;
}

HMM__ALWAYS_INLINE bits_word address_bit(hmm_ref r)
{
    return BIT(r % BITS);
}

/* As it counts in an entry, and in a bound. */
HMM__ALWAYS_INLINE uint32_t address_clip(uint32_t size)
{
    return size < ADDRESS_MAX ? size : ADDRESS_MAX;
}

HMM__ALWAYS_INLINE uint8_t address_byte(uint32_t size)
{
    return (uint8_t)(size < ADDRESS_BYTE ? size : ADDRESS_BYTE);
}

/* Whether there may be a block of n granules at all. */
HMM__ALWAYS_INLINE bool address_may_have(const struct address_index *x, uint32_t n)
{
    return address_clip(n) <= x->max;
}

HMM__ALWAYS_INLINE uint32_t address_hint(const struct address_index *x, uint32_t n)
{
    return x->hints[n < ADDRESS_HINTS ? n : ADDRESS_HINTS - 1];
}

/* Which of a group's 32 bytes are n or more: the first step of every search. */
#if defined(__SSE2__) && HMM_HOSTED
HMM__ALWAYS_INLINE uint32_t address_bytes(const uint8_t *bytes, uint32_t n)
{
    const __m128i *v = (const __m128i *)(const void *)bytes;
    __m128i bar = _mm_set1_epi8((char)n), low = _mm_loadu_si128(v), high = _mm_loadu_si128(v + 1);
    uint32_t bits = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(low, bar), low));
    return bits | (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(high, bar), high)) << 16;
}

/* Of two vectors, the lower first. */
HMM__ALWAYS_INLINE uint32_t address_two(const __m128i *v, __m128i bar)
{
    __m128i low = _mm_cmpgt_epi16(_mm_loadu_si128(v), bar);
    __m128i high = _mm_cmpgt_epi16(_mm_loadu_si128(v + 1), bar);
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
}

HMM__ALWAYS_INLINE uint32_t address_entries(const address_entry *entries, uint32_t n)
{
    const __m128i *v = (const __m128i *)(const void *)entries;
    __m128i bar = _mm_set1_epi16((short)(n - 1));
    return address_two(v, bar) | address_two(v + 2, bar) << 16;
}

#else
HMM__ALWAYS_INLINE uint32_t address_bytes(const uint8_t *bytes, uint32_t n)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        bits |= (uint32_t)(bytes[i] >= n) << i;
    return bits;
}

HMM__ALWAYS_INLINE uint32_t address_entries(const address_entry *entries, uint32_t n)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < ADDRESS_FAN; i++)
        bits |= (uint32_t)(entries[i] >= n) << i;
    return bits;
}

#endif

/* Called where a block is larger than its unit's bound. Each strategy has a function for it that is
 * not inlined, so that the common path needs few registers. */
typedef void address_raise_callback(struct address_index *x, uint32_t unit, uint32_t size,
                                    uint8_t *bound);

HMM__ALWAYS_INLINE void address_raise(struct address_index *x, uint32_t unit, uint32_t size,
                                      uint8_t *bound)
{
    uint32_t n = size;
    *bound = (uint8_t)size;
    if (size >= ADDRESS_HINTS) {
        *bound = address_byte(size);
        n = ADDRESS_HINTS - 1;
    }
    for (uint32_t *hint = x->hints + n; *hint > unit; hint--)
        *hint = unit;
    if (hmm__unlikely(address_level(x, 1)[unit >> ADDRESS_FAN_LOG] < size))
        hmm__address_raise(x, unit, size);
}

/* A block that begins in `unit` has become larger. */
HMM__ALWAYS_INLINE void address_grow(struct address_index *x, uint32_t unit, uint32_t size,
                                     address_raise_callback *raise)
{
    uint8_t *bound = address_bounds(x) + unit;
    if (*bound < size)
        raise(x, unit, size, bound);
}

/* For assertions. */
HMM__ALWAYS_INLINE bool address_has(const struct address_index *x, hmm_ref r)
{
    return address_unit(r) >= x->floor && address_unit(r) < x->covered &&
           (address_maps(x)[address_unit(r)] & address_bit(r)) != 0;
}

/* The unit must be covered. */
HMM__ALWAYS_INLINE void address_add(struct address_index *x, hmm_ref r, uint32_t size,
                                    address_raise_callback *raise)
{
    HMM_ASSERT(address_unit(r) >= x->floor && address_unit(r) < x->covered);
    address_maps(x)[address_unit(r)] |= address_bit(r);
    address_grow(x, address_unit(r), size, raise);
}

/* A search for n has found `unit` to be the lowest. */
HMM__ALWAYS_INLINE void address_raise_hints(struct address_index *x, uint32_t n, uint32_t unit)
{
    for (uint32_t *hint = x->hints + n; *hint < unit; hint++)
        *hint = unit;
}

/* A search for the lowest of all has come to an end. */
HMM__ALWAYS_INLINE void address_settle(struct address_index *x, hmm_ref r, uint32_t n)
{
    if (n < ADDRESS_HINTS)
        address_raise_hints(x, n, r ? address_unit(r) : x->units);
}

HMM__ALWAYS_INLINE bool address_covers(const struct address_index *x, hmm_ref r)
{
    return hmm__likely(address_unit(r) < x->covered);
}

/* Does not lower the bound: a block as large will probably come back. */
HMM__ALWAYS_INLINE void address_clear(struct address_index *x, hmm_ref r)
{
    HMM_ASSERT(address_has(x, r));
    address_maps(x)[address_unit(r)] &= ~address_bit(r);
}

/* Lowers the bound where that takes no search. */
HMM__ALWAYS_INLINE void address_drop(struct address_index *x, hmm_ref r)
{
    HMM_ASSERT(address_has(x, r));
    if ((address_maps(x)[address_unit(r)] &= ~address_bit(r)) == 0)
        address_bounds(x)[address_unit(r)] = 0;
}

/* The lowest of the blocks in this map of `unit` that has at least n granules. 0: there is none,
 * and *most is the size of the largest. */
HMM__ALWAYS_INLINE hmm_ref address_scan(struct hmm_heap *h, bits_word map, uint32_t unit,
                                        uint32_t n, uint32_t *max)
{
    uint32_t largest = 0;
    for (; map != 0; map &= map - 1) {
        hmm_ref r = unit << ADDRESS_UNIT_LOG | bits_lowest(map);
        uint32_t word = block_header(h, r);
        COUNT(h->visited++);
        if (word >= header_make(n, 0))
            return r;
        largest = word > largest ? word : largest;
    }
    *max = header_size(largest);
    return 0;
}

/* The lowest block of at least n granules that begins at `from` or above in the same unit: most
 * searches end with it. 0: there is none. */
HMM__ALWAYS_INLINE hmm_ref address_in_unit(struct hmm_heap *h, const struct address_index *x,
                                           hmm_ref from, uint32_t n)
{
    uint32_t unit = address_unit(from), max;
    if (address_bounds(x)[unit] < address_byte(n))
        return 0;
    return address_scan(h, address_maps(x)[unit] & BITS_FROM(from % BITS), unit, n, &max);
}

/* Takes the low n of block r's `size` granules out of the index; the remainder, whose header need
 * not be written yet, stays in. False: it begins in another unit, and is still to be added. */
HMM__ALWAYS_INLINE bool address_cut(struct address_index *x, hmm_ref r, uint32_t size, uint32_t n)
{
    HMM_ASSERT(address_has(x, r) && size >= n);
    uint32_t column = r % BITS;
    bool whole = size - n < HMM_MIN_GRANULES, here = whole || column + n < BITS;
    bits_word bits = whole || !here ? 1 : 1 | BIT(n);
    address_maps(x)[address_unit(r)] ^= bits << column;
    return here;
}

/* Block `was` has been merged into `now`, at or below it, which has `size` granules. */
HMM__ALWAYS_INLINE void address_move(struct address_index *x, hmm_ref was, hmm_ref now,
                                     uint32_t size, address_raise_callback *raise)
{
    if (was != now)
        address_clear(x, was);
    address_add(x, now, size, raise);
}

#endif
#endif
