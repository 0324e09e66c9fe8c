/* SPDX-License-Identifier: MIT */
/*
 * Words that cannot be known outside the allocator, for tags that a program's own data must not
 * equal.
 */
#ifndef HMM_SECRET_H
#define HMM_SECRET_H

#include "base/compiler.h"

/*
 * A different word at each call, which cannot be computed from the other words or from a program's
 * data. It is SipHash of the number of the call. The key is the 16 random bytes of Linux's
 * auxiliary vector, for which no system call is needed; elsewhere the addresses at which the system
 * has placed the program's code, data and stack. Never allocates. Any thread may call it.
 */
HMM__HIDDEN HMM__COLD uint64_t hmm__secret_next(void);

#endif
