/* SPDX-License-Identifier: MIT */
/*
 * The end of a program that misuses a heap. May be called anywhere.
 */
#ifndef HMM_PANIC_H
#define HMM_PANIC_H

#include "base/compiler.h"

/* Prints "hmm: WHAT 0xWHERE: WHY", or calls the program's handler (hmm_on_panic) with that line,
 * and aborts. */
#if HMM_WITH_MESSAGES
HMM__HIDDEN HMM__COLD _Noreturn void hmm__panic(const char *what, const void *where,
                                                const char *why);
#else
/* The line is "hmm: misuse". */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__panic_in_brief(void);
#define hmm__panic(what, where, why) ((void)(what), (void)(where), hmm__panic_in_brief())
#endif

#endif
