/* SPDX-License-Identifier: MIT */
/*
 * Words that nobody outside can know, for tags that are to be told from a program's own data.
 */
#ifndef HMM_SECRET_H
#define HMM_SECRET_H

#include "base/compiler.h"

/*
 * A word that differs for each call, unrelated to all others, and that neither a program's data nor
 * what is seen of the other words tells. Where the system gives a process random bytes (the
 * auxiliary vector of Linux has 16 of them, so that no system call is made), it is SipHash of the
 * number of the call under them; elsewhere under where the system has put the program's code, data
 * and stack. Never allocates. Any thread may call it.
 */
HMM__HIDDEN HMM__COLD uint64_t hmm__secret_next(void);

#endif
