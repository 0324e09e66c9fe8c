/* SPDX-License-Identifier: MIT */
/*
 * The end of a program that misused its heap: one line, then abort. Nothing here allocates.
 */
#include "annotate.h"
#include "lock.h"
#include "text.h"

#if HMM_HOSTED
#include <stdlib.h>
#endif

uintptr_t hmm__panicking;

static void (*panic_handler)(const char *line);

void hmm_on_panic(void (*handler)(const char *line))
{
    panic_handler = handler;
}

static _Noreturn void stop(void)
{
#if HMM_HOSTED
    abort();
#else
    for (;;)
        ;
#endif
}

/* True: this thread is here already, by an allocation of its panic handler's. */
static bool begin_panic(void)
{
#if defined(HMM__THREADS)
    uintptr_t self = lock_self();
#else
    uintptr_t self = 1;
#endif
    bool again = __atomic_load_n(&hmm__panicking, __ATOMIC_RELAXED) == self;
    __atomic_store_n(&hmm__panicking, self, __ATOMIC_RELAXED);
    return again;
}

/* "hmm: WHAT 0xWHERE: WHY". The heap's door may have silenced memcheck. */
void hmm__panic(const char *what, const void *where, const char *why)
{
    struct text t = {0};
    annotate_leave();
    hmm__text_add(&t, "hmm: ");
    hmm__text_add(&t, what);
    hmm__text_add(&t, " ");
    hmm__text_hex(&t, (uintptr_t)where);
    hmm__text_add(&t, ": ");
    hmm__text_add(&t, why);
    if (!begin_panic() && panic_handler)
        panic_handler(hmm__text_line(&t));
    else
        hmm__text_to_stderr(&t);
    stop();
}
