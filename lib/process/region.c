/* SPDX-License-Identifier: MIT */
/*
 * The process heap's region as a static array: the library's version. preload/region.c is the
 * other.
 */
#include "process/env.h"
#include "process/region.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

#ifndef HMM_PROCESS_HEAP_SIZE
#define HMM_PROCESS_HEAP_SIZE (64u << 20)
#endif

static _Alignas(64) unsigned char process_region[HMM_PROCESS_HEAP_SIZE];

const char hmm__region_user[] = "process heap";

const struct hmm__page_source *const hmm__region_page_source = NULL;
const struct hmm__page_source *const hmm__region_pool_source = NULL;
const struct hmm__mapper *const hmm__region_mapper = NULL;
const bool hmm__region_in_two_steps = false;

char *hmm__region_emergency(size_t *size)
{
    *size = 0;
    return NULL;
}

size_t hmm__region_max(void)
{
    return sizeof process_region;
}

void *hmm__region_get(size_t *size)
{
    if (*size == 0)
        *size = sizeof process_region;
    return process_region;
}

#endif
