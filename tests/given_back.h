/* SPDX-License-Identifier: MIT */
/*
 * How a page source of the tests gives pages back: they are not resident any more, and read as
 * zero, as far as they are whole; the bytes beside them are zeroed. Under memcheck, where they
 * would come back as undefined, all are zeroed in place.
 */
#ifndef HMM_TEST_GIVEN_BACK_H
#define HMM_TEST_GIVEN_BACK_H

#include "harness.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static inline void give_pages_back(char *from, char *to)
{
    const uintptr_t page = 4096;
    char *low = (char *)(((uintptr_t)from + page - 1) & ~(page - 1));
    char *high = (char *)((uintptr_t)to & ~(page - 1));
    if (under_valgrind() || low >= high) {
        memset(from, 0, (size_t)(to - from));
        return;
    }
    madvise(low, (size_t)(high - low), MADV_DONTNEED);
    memset(from, 0, (size_t)(low - from));
    memset(high, 0, (size_t)(to - high));
}

#endif
