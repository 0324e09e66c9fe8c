/* SPDX-License-Identifier: MIT */
/*
 * Pointers outside the process heap's region: blocks of the emergency pool, and foreign pointers,
 * which end the program or are ignored (HMM_FOREIGN). Calls emergency.c and lib/base.
 */
#include "process/process.h"

#include "base/text.h"
#include "process/emergency.h"
#include "process/huge.h"
#include "process/region.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

static bool foreign_is_ignored; /* atomic */

/* Under the preload library. */
#define OF_ANOTHER                                                                                 \
    "pointer outside the heap: another allocator's, as that of a library opened with "             \
    "RTLD_DEEPBIND; HMM_FOREIGN=ignore lets it pass"

void hmm__foreign_set_ignored(bool ignored)
{
    __atomic_store_n(&foreign_is_ignored, ignored, __ATOMIC_RELAXED);
}

/* Ends the program, unless foreign pointers are ignored. */
void hmm__foreign_report(struct hmm_heap *h, const void *p, const char *operation)
{
    if (!__atomic_load_n(&foreign_is_ignored, __ATOMIC_RELAXED) && hmm__region_in_two_steps)
        hmm__panic(operation, p, OF_ANOTHER);
    if (!__atomic_load_n(&foreign_is_ignored, __ATOMIC_RELAXED))
        hmm__misuse(h, p, operation);
    struct text t = {0};
    hmm__text_add(&t, "hmm: ");
    hmm__text_add(&t, operation);
    hmm__text_add(&t, " ");
    hmm__text_hex(&t, (uintptr_t)p);
    hmm__text_add(&t, ": pointer outside the heap, ignored");
    hmm__text_to_stderr(&t);
}

bool hmm__foreign_free(struct hmm_heap *h, void *p, const char *operation)
{
    if (in_region(h, p))
        return false;
    if (hmm__emergency_has(p))
        hmm__emergency_free(p);
    else if (!hmm__huge_free(h, p, operation))
        hmm__foreign_report(h, p, operation);
    return true;
}

#endif
