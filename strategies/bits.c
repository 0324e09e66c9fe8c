/* SPDX-License-Identifier: MIT */
/*
 * Bit scans for processors that have no instruction for them, by halves.
 */
#include "bits.h"

uint32_t hmm__bits_highest(uint32_t word)
{
    uint32_t i = 0, rest = word;
    if ((rest >> 16) != 0) {
        i += 16;
        rest >>= 16;
    }
    if ((rest >> 8) != 0) {
        i += 8;
        rest >>= 8;
    }
    if ((rest >> 4) != 0) {
        i += 4;
        rest >>= 4;
    }
    if ((rest >> 2) != 0) {
        i += 2;
        rest >>= 2;
    }
    return i + (rest >> 1);
}

uint32_t hmm__bits_lowest(uint32_t word)
{
    return hmm__bits_highest(word & -word);
}
