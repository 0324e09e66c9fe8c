/* SPDX-License-Identifier: MIT */
/*
 * malloc with the index by address, for first-fit and next-fit: the steps of a search, which each
 * strategy instantiates with its own functions.
 *
 * THEORY
 *
 * A search has these steps: the lowest block of the unit where it begins; the other blocks of that
 * unit; the other units of its group; up the tree and down. Each step is a function that ends with
 * a tail call of the next one and passes what it has found out in registers. So the common steps
 * save no registers and return once. A bound or an entry may be larger than what is below it, so
 * that a search finds nothing there. hmm__address_resume then corrects it and continues the search
 * from that place, since everything before it has been searched.
 */
#ifndef HMM_ADDRESS_SERVE_H
#define HMM_ADDRESS_SERVE_H

#include "address_index.h"

#if !HMM__SMALL && (HMM_WITH_FIRST_FIT || HMM_WITH_NEXT_FIT)

/* Serves a request for n granules from the free block at p, whose header is `word`. */
typedef void *address_hand_callback(struct hmm_heap *h, char *p, uint32_t word, uint32_t n);

/* The low end of the block at p has been allocated. Adds the remainder r, which begins in another
 * unit, to the index. Returns p. */
typedef void *address_rest_callback(struct hmm_heap *h, char *p, hmm_ref r, uint32_t size);

/* Serves a request for n granules in another way. */
typedef void *address_else_callback(struct hmm_heap *h, uint32_t n);

/* The same where entry i of level k was too large, or the bound of unit i (k is 0) or of a unit in
 * its group. */
typedef void *address_far_callback(struct hmm_heap *h, uint32_t n, uint32_t k, uint32_t i);

/* Allocates the whole block. */
HMM__ALWAYS_INLINE void *address_serve_whole(struct hmm_heap *h, char *p, uint32_t word)
{
    carve_whole(p, header_scaled(word));
    COUNT(h->free_unbinned--);
    address_drop(h->state, block_of(h, p));
    live_add(h, scaled_bytes(header_scaled(word)) - HMM_HEADER_BYTES);
    return p;
}

/* Told where the low end that was allocated ends. NULL: not called. */
typedef void address_end_verb(struct address_index *x, hmm_ref end);

/* The arguments of an address_hand_callback. */
struct address_found {
    char *p;
    uint32_t word, n;
};

/* An address_hand_callback, made of three other parts. */
HMM__ALWAYS_INLINE void *address_serve(struct hmm_heap *h, struct address_found found,
                                       address_end_verb *ended, address_hand_callback *whole,
                                       address_rest_callback *put_rest)
{
    char *p = found.p;
    uint32_t word = found.word, n = found.n;
    uint32_t scaled = header_make(n, 0), above = (word - scaled) & ~(uint32_t)HMM__PREV_FREE;
    if (above < header_make(HMM_MIN_GRANULES, 0))
        return whole(h, p, word, n);
    char *end = p + scaled_bytes(scaled);
    word_store(p, word - above);
    word_store(end, above);
    above -= HMM__FREE;
    footer_store(end + scaled_bytes(above), above);
    COUNT(h->splits++);
    live_add(h, scaled_bytes(scaled) - HMM_HEADER_BYTES);
    hmm_ref r = block_of(h, p), rest = r + n;
    struct address_index *x = h->state;
    if (ended)
        ended(x, rest);
    if (hmm__unlikely((rest ^ r) >> ADDRESS_UNIT_LOG))
        return put_rest(h, p, rest, header_size(above));
    address_maps(x)[address_unit(r)] ^= (1 | BIT(n)) << r % BITS;
    return p;
}

HMM__ALWAYS_INLINE void *address_hand_ref(struct hmm_heap *h, hmm_ref r, uint32_t n,
                                          address_hand_callback *hand)
{
    char *p = block_payload(h, r);
    return hand(h, p, word_load(p), n);
}

/* Granules for a small request. */
HMM__ALWAYS_INLINE uint32_t address_small(size_t size)
{
    uint32_t n = ((uint32_t)size + HMM_HEADER_BYTES + HMM_GRANULE - 1) / HMM_GRANULE;
    return HMM_MIN_GRANULES > 1 && n < HMM_MIN_GRANULES ? HMM_MIN_GRANULES : n;
}

/* The lowest block in this map of `unit`. */
HMM__ALWAYS_INLINE char *address_first(const struct hmm_heap *h, bits_word map, uint32_t unit)
{
    return block_payload(h, (unit << ADDRESS_UNIT_LOG) + bits_lowest(map));
}

/* Serves a small n from the block at p, the lowest of its unit, if it is large enough; else `next`
 * serves it. */
HMM__ALWAYS_INLINE void *address_serve_lowest(struct hmm_heap *h, char *p, uint32_t n,
                                              address_hand_callback *hand,
                                              address_hand_callback *next)
{
    uint32_t word = word_load(p);
    COUNT(h->visited++);
    return hmm__likely(word >= header_make(n, 0)) ? hand(h, p, word, n) : next(h, p, word, n);
}

/* What a search calls at its end. */
struct address_way {
    address_hand_callback *hand;   /* a block has been found */
    address_else_callback *beyond; /* there is none in the group of units */
    address_else_callback *none;   /* there is none */
    address_far_callback *far;     /* an entry or a bound was too large */
    bool lowest; /* the search is for the lowest block of the heap, and n is small: hints rise */
};

/* Serves n granules from the lowest block of that size in `unit`. If there is none, the search
 * continues from unit `from`. */
HMM__ALWAYS_INLINE void *address_serve_unit(struct hmm_heap *h, uint32_t from, uint32_t unit,
                                            uint32_t n, struct address_way way)
{
    struct address_index *x = h->state;
    bits_word map = address_maps(x)[unit];
    if (map == 0)
        address_bounds(x)[unit] = 0;
    for (; map != 0; map &= map - 1) {
        char *p = address_first(h, map, unit);
        uint32_t word = word_load(p);
        COUNT(h->visited++);
        if (hmm__likely(word >= header_make(n, 0))) {
            if (way.lowest)
                address_raise_hints(x, n, unit);
            return way.hand(h, p, word, n);
        }
    }
    return way.far(h, n, 0, from);
}

/* Serves n granules from the lowest block in the group of unit `from`: in all of the group if the
 * search is for the lowest block of the heap, else from that unit on. */
HMM__ALWAYS_INLINE void *address_serve_near(struct hmm_heap *h, uint32_t from, uint32_t n,
                                            struct address_way way)
{
    const struct address_index *x = h->state;
    uint32_t unit = from & ~(ADDRESS_FAN - 1);
    uint32_t fits = address_bytes(address_bounds(x) + unit, way.lowest ? n : address_byte(n));
    if (!way.lowest)
        fits &= UINT32_MAX << from % ADDRESS_FAN;
    COUNT(h->visited++);
    if (fits == 0)
        return way.beyond(h, n);
    return address_serve_unit(h, way.lowest ? unit : from, unit + bits_lowest32(fits), n, way);
}

/* Serves n granules from the lowest block in the groups from i on. Goes up from entry i of level 1
 * until an entry of the same group, not before it, is large enough, and down from there. */
HMM__ALWAYS_INLINE void *address_serve_up(struct hmm_heap *h, uint32_t i, uint32_t n,
                                          struct address_way way)
{
    const struct address_index *x = h->state;
    uint32_t bar = way.lowest ? n : address_clip(n), k = 1, fits;
    if (i >= x->covered >> ADDRESS_FAN_LOG || bar > x->max)
        return way.none(h, n);
    for (;;) {
        uint32_t column = i % ADDRESS_FAN;
        fits = address_entries(address_level(x, k) + (i - column), bar) >> column;
        COUNT(h->visited++);
        if (fits != 0)
            break;
        i = i - column + ADDRESS_FAN;
        for (; i % ADDRESS_FAN == 0; i >>= ADDRESS_FAN_LOG)
            if (++k == x->height)
                return way.none(h, n);
    }
    for (i += bits_lowest32(fits); --k > 0; i += bits_lowest32(fits)) {
        i <<= ADDRESS_FAN_LOG;
        fits = address_entries(address_level(x, k) + i, bar);
        COUNT(h->visited++);
        if (hmm__unlikely(fits == 0))
            return way.far(h, n, k, i);
    }
    i <<= ADDRESS_FAN_LOG;
    fits = address_bytes(address_bounds(x) + i, way.lowest ? n : address_byte(n));
    if (hmm__unlikely(fits == 0))
        return way.far(h, n, 0, i);
    return address_serve_unit(h, i, i + bits_lowest32(fits), n, way);
}

#endif
#endif
