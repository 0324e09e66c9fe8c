/* SPDX-License-Identifier: MIT */
/*
 * What a program wants called around each operation of a heap in few bytes: hmm_set_lock. Without
 * HMM_WITH_LOCKS it is nothing. Includes compiler.h only.
 */
#ifndef HMM_HOOKS_H
#define HMM_HOOKS_H

#include "base/compiler.h"

#if HMM__SMALL && HMM_WITH_LOCKS

/* hooks.c */
HMM__HIDDEN void hmm__enter(void);
HMM__HIDDEN void hmm__leave(void);

#else

HMM__ALWAYS_INLINE void hmm__enter(void)
{
}

HMM__ALWAYS_INLINE void hmm__leave(void)
{
}

#endif
#endif
