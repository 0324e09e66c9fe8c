/* SPDX-License-Identifier: MIT */
/*
 * hmm_set_lock of a heap in few bytes. Calls what the program has given it.
 */
#include "base/hooks.h"

#if HMM__SMALL && HMM_WITH_LOCKS

void hmm_set_lock(void (*enter)(void *arg), void (*leave)(void *arg), void *arg);

static struct {
    void (*enter)(void *arg);
    void (*leave)(void *arg);
    void *arg;
} lock_hooks;

void hmm_set_lock(void (*enter)(void *arg), void (*leave)(void *arg), void *arg)
{
    lock_hooks.enter = enter;
    lock_hooks.leave = leave;
    lock_hooks.arg = arg;
}

void hmm__enter(void)
{
    if (lock_hooks.enter)
        lock_hooks.enter(lock_hooks.arg);
}

void hmm__leave(void)
{
    if (lock_hooks.leave)
        lock_hooks.leave(lock_hooks.arg);
}

#endif
