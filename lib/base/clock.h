/* SPDX-License-Identifier: MIT */
/*
 * The system's clocks, as one number. For the programs: the core has no clock but that of its page
 * source, and does not include this.
 */
#ifndef HMM_CLOCK_H
#define HMM_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Processor time of the calling thread. */
static inline double clock_thread_ns(void)
{
    return (double)clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Since some fixed time; it is never set. */
static inline double clock_seconds(void)
{
    return (double)clock_ns(CLOCK_MONOTONIC) * 1e-9;
}

#endif
