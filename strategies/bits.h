/* SPDX-License-Identifier: MIT */
/*
 * Bit maps in the machine's word: the lowest and the highest bit of a word, and sets of the numbers
 * below 64. No shift or scan here takes more than one word, so that a 32-bit compiler makes
 * instructions of them, not calls of its run-time library.
 */
#ifndef HMM_BITS_H
#define HMM_BITS_H

#include "base/assert.h"

#if UINTPTR_MAX > UINT32_MAX
typedef uint64_t bits_word;
#define BITS_LOG 6u
#else
typedef uint32_t bits_word;
#define BITS_LOG 5u
#endif

#define BITS (1u << BITS_LOG)
#define BIT(i) ((bits_word)1 << (i))

/* Processors without an instruction that counts zeros: bits.c does it. */
#if !defined(__GNUC__) || (defined(__arm__) && !defined(__ARM_FEATURE_CLZ)) ||                     \
    (defined(__riscv) && !defined(__riscv_zbb))
#define BITS_COUNTED 1
#else
#define BITS_COUNTED 0
#endif

/* bits.c: of 32 bits, not all 0. */
HMM__HIDDEN uint32_t hmm__bits_lowest(uint32_t word);
HMM__HIDDEN uint32_t hmm__bits_highest(uint32_t word);

/* The number of the lowest bit, and of the highest; word is not 0. */
HMM__ALWAYS_INLINE uint32_t bits_lowest32(uint32_t word)
{
    HMM_ASSERT(word != 0);
#if BITS_COUNTED
    return hmm__bits_lowest(word);
#else
    return (uint32_t)__builtin_ctz(word);
#endif
}

HMM__ALWAYS_INLINE uint32_t bits_highest32(uint32_t word)
{
    HMM_ASSERT(word != 0);
#if BITS_COUNTED
    return hmm__bits_highest(word);
#else
    return 31u - (uint32_t)__builtin_clz(word);
#endif
}

#if BITS_LOG == 5
HMM__ALWAYS_INLINE uint32_t bits_lowest(bits_word word)
{
    return bits_lowest32(word);
}

HMM__ALWAYS_INLINE uint32_t bits_highest(bits_word word)
{
    return bits_highest32(word);
}
#elif BITS_COUNTED
HMM__ALWAYS_INLINE uint32_t bits_lowest(bits_word word)
{
    uint32_t low = (uint32_t)word;
    return low ? hmm__bits_lowest(low) : 32 + hmm__bits_lowest((uint32_t)(word >> 32));
}

HMM__ALWAYS_INLINE uint32_t bits_highest(bits_word word)
{
    uint32_t high = (uint32_t)(word >> 32);
    return high ? 32 + hmm__bits_highest(high) : hmm__bits_highest((uint32_t)word);
}
#else
HMM__ALWAYS_INLINE uint32_t bits_lowest(bits_word word)
{
    HMM_ASSERT(word != 0);
    return (uint32_t)__builtin_ctzll(word);
}

HMM__ALWAYS_INLINE uint32_t bits_highest(bits_word word)
{
    HMM_ASSERT(word != 0);
    return 63u - (uint32_t)__builtin_clzll(word);
}
#endif

/* ---- Sets of the numbers below 64 ---- */

struct bits64 {
    bits_word words[64 / BITS];
};

_Static_assert(sizeof(bits_word) * 8u == BITS && sizeof(struct bits64) == 8u, "as many bits");

HMM__ALWAYS_INLINE size_t bits64_word(size_t i)
{
    return BITS == 64 ? 0 : i / BITS;
}

HMM__ALWAYS_INLINE bool bits64_has(const struct bits64 *s, size_t i)
{
    return s->words[bits64_word(i)] >> i % BITS & 1;
}

HMM__ALWAYS_INLINE void bits64_add(struct bits64 *s, size_t i)
{
    s->words[bits64_word(i)] |= BIT(i % BITS);
}

HMM__ALWAYS_INLINE bool bits64_is_empty(const struct bits64 *s)
{
    return (s->words[0] | s->words[64 / BITS - 1]) == 0;
}

/* Whether the set is empty now. */
HMM__ALWAYS_INLINE bool bits64_drop(struct bits64 *s, size_t i)
{
    s->words[bits64_word(i)] &= ~BIT(i % BITS);
    return bits64_is_empty(s);
}

/* Whether there is a member that is `from` or more; *further is by how much the least of them is.
 * from < 64. */
HMM__ALWAYS_INLINE bool bits64_next(const struct bits64 *s, size_t from, uint32_t *further)
{
    HMM_ASSERT(from < 64);
    bits_word word = s->words[bits64_word(from)] >> from % BITS;
    uint32_t skipped = 0;
    if (BITS < 64 && word == 0 && from < BITS) {
        word = s->words[64 / BITS - 1];
        skipped = BITS - (uint32_t)from;
    }
    if (word == 0)
        return false;
    *further = skipped + bits_lowest(word);
    return true;
}

/* The greatest member; the set is not empty. */
HMM__ALWAYS_INLINE uint32_t bits64_greatest(const struct bits64 *s)
{
    uint32_t last = 64 / BITS - 1;
    return BITS < 64 && s->words[last] == 0 ? bits_highest(s->words[0])
                                            : last * BITS + bits_highest(s->words[last]);
}

#endif
