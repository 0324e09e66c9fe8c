/* SPDX-License-Identifier: MIT */
/*
 * malloc as a whole with the index by address, for both strategies.
 *
 * THEORY
 *
 * Each step is a function that goes over into the next by its last call, with all it knows in
 * registers: the lowest block of the unit where the search begins; the others of that unit; the
 * other units of its group; up the tree and down. So what is common saves no registers and returns
 * once. What has led astray is left to hmm__address_resume, which makes it true: it goes on from
 * there, since all below has been seen to have none.
 */
#ifndef HMM_ADDRESS_SERVE_H
#define HMM_ADDRESS_SERVE_H

#include "address_index.h"

#if !HMM__SMALL && (HMM_WITH_FIRST_FIT || HMM_WITH_NEXT_FIT)

/* Of the free block at p, of header `word`, makes the answer to a request for n granules. */
typedef void *address_hand_callback(struct hmm_heap *h, char *p, uint32_t word, uint32_t n);

/* Of the block at p the low end has been taken. Adds the rest, r, which begins in another unit, and
 * returns p. */
typedef void *address_rest_callback(struct hmm_heap *h, char *p, hmm_ref r, uint32_t size);

/* Answers a request for n granules some other way. */
typedef void *address_else_callback(struct hmm_heap *h, uint32_t n);

/* The same where entry i of level k has led astray, or unit i of level 0, or one in its group. */
typedef void *address_far_callback(struct hmm_heap *h, uint32_t n, uint32_t k, uint32_t i);

/* The block is the answer whole. */
HMM__ALWAYS_INLINE void *address_serve_whole(struct hmm_heap *h, char *p, uint32_t word)
{
    carve_whole(p, header_scaled(word));
    COUNT(h->free_unbinned--);
    address_drop(h->state, block_of(h, p));
    live_add(h, scaled_bytes(header_scaled(word)) - HMM_HEADER_BYTES);
    return p;
}

/* The low end of a block, up to here, is an answer. NULL: nobody wants to know. */
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

/* What a search comes to. */
struct address_way {
    address_hand_callback *hand;   /* a block has been found */
    address_else_callback *beyond; /* there is none in the group of units */
    address_else_callback *none;   /* there is none */
    address_far_callback *far;     /* something has led astray */
    bool lowest; /* it is for the lowest block of all, and n is small: hints rise */
};

/* Serves n of the lowest block of that size in `unit`; else it is to go on from unit `from`. */
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

/* Serves n of the lowest block in the group of unit `from`: in all of it, where a search for the
 * lowest of all has come to it, or from there on. */
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

/* Serves n of the lowest block in the groups from i on. Goes up from entry i of level 1, until some
 * entry in its group and not before it will do, and down to it. */
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
