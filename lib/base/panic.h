/* SPDX-License-Identifier: MIT */
/*
 * The end of a program that misuses a heap. May be called anywhere.
 */
#ifndef HMM_PANIC_H
#define HMM_PANIC_H

#include "base/compiler.h"

#if HMM_WITH_CHECKS || !HMM__SMALL || defined(HMM_ASSERTIONS)

/* Prints "hmm: WHAT 0xWHERE: WHY", or calls the program's handler (hmm_on_panic) with that line,
 * and aborts. */
#if HMM_WITH_MESSAGES
HMM__HIDDEN HMM__COLD _Noreturn void hmm__panic(const char *what, const void *where,
                                                const char *why);
#else
/* The line is "hmm: misuse". */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__panic_in_brief(void);

HMM__ALWAYS_INLINE _Noreturn void hmm__panic(const char *what, const void *where, const char *why)
{
    (void)what, (void)where, (void)why;
    hmm__panic_in_brief();
}
#endif

#endif

#endif
