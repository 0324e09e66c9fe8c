/* SPDX-License-Identifier: MIT */
/*
 * The end of a program that misused its heap: one line, then abort. Allocates nothing. Calls
 * text.c and the operating system.
 */
#include "base/panic.h"

#include "base/annotate.h"
#include "base/lock.h"
#include "base/text.h"
#include "hmm.h"

#if HMM_HOSTED
#include <stdlib.h>
#endif
#if HMM__POSIX
#include <signal.h>
#endif

#if HMM_WITH_CHECKS || !HMM__SMALL || defined(HMM_ASSERTIONS)

#if !HMM_HOSTED && !defined(HMM_PANIC_HANDLED) && defined(__GNUC__)
#pragma message("hmm: no standard error: give hmm_on_panic a handler, and define HMM_PANIC_HANDLED")
#endif

static void (*panic_handler)(const char *line); /* atomic */

void hmm_on_panic(void (*handler)(const char *line))
{
#if defined(HMM__THREADS)
    __atomic_store_n(&panic_handler, handler, __ATOMIC_RELEASE);
#else
    panic_handler = handler;
#endif
}

/* The program's panic handler; NULL: it has none. */
static void (*handler_now(void))(const char *line)
{
#if defined(HMM__THREADS)
    return __atomic_load_n(&panic_handler, __ATOMIC_ACQUIRE);
#else
    return panic_handler;
#endif
}

/* `again`: a handler of SIGABRT must not be called once more either. */
static _Noreturn void stop(bool again)
{
    (void)again;
#if HMM__POSIX
    if (again)
        signal(SIGABRT, SIG_DFL);
#endif
#if HMM_HOSTED
    abort();
#else
    for (;;)
        ;
#endif
}

/* True: this thread panics already; its panic handler, or one of SIGABRT, misused the heap. */
static bool begin_panic(void)
{
#if defined(HMM__THREADS)
    bool again = (hmm__thread_mark & MARK_PANICS) != 0;
    hmm__thread_mark |= MARK_PANICS;
#else
    static bool began;
    bool again = began;
    began = true;
#endif
    return again;
}

#if HMM_WITH_MESSAGES

/* The entry point may have turned memcheck's error reporting off. */
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
    bool again = begin_panic();
    void (*handler)(const char *) = again ? NULL : handler_now();
    if (handler)
        handler(hmm__text_line(&t));
    else
        hmm__text_to_stderr(&t);
    stop(again);
}

#else

void hmm__panic_in_brief(void)
{
    bool again = begin_panic();
    void (*handler)(const char *) = again ? NULL : handler_now();
    annotate_leave();
    if (handler)
        handler("hmm: misuse");
    stop(again);
}

#endif

#endif
