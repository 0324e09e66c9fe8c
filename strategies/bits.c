/* SPDX-License-Identifier: MIT */
/*
 * Bit scans for processors that have no instruction for them, by halves.
 */
#include "bits.h"

uint32_t hmm__bits_highest(uint32_t word)
{
    uint32_t i = 0;
    if (word >> 16)
        i += 16, word >>= 16;
    if (word >> 8)
        i += 8, word >>= 8;
    if (word >> 4)
        i += 4, word >>= 4;
    if (word >> 2)
        i += 2, word >>= 2;
    return i + (word >> 1);
}

uint32_t hmm__bits_lowest(uint32_t word)
{
    return hmm__bits_highest(word & -word);
}
