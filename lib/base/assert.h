/* SPDX-License-Identifier: MIT */
/*
 * HMM_ASSERT(condition): what the code relies on at this place. Built with -DHMM_ASSERTIONS, which
 * ./configure --enable-sanitizers sets, a condition that does not hold ends the program as a misuse
 * does, in a line with the file and the line; else it is compiled, but not evaluated.
 */
#ifndef HMM_ASSERTIONS_H
#define HMM_ASSERTIONS_H

#include "base/panic.h"

#if defined(HMM_ASSERTIONS)
#define HMM__IN_QUOTES(x) #x
#define HMM__QUOTED(x) HMM__IN_QUOTES(x)
#define HMM_ASSERT(condition)                                                                      \
    ((condition)                                                                                   \
         ? (void)0                                                                                 \
         : hmm__panic("assertion", NULL, __FILE__ ":" HMM__QUOTED(__LINE__) ": " #condition))
#else
#define HMM_ASSERT(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

#endif
