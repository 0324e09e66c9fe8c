/* SPDX-License-Identifier: MIT */
/*
 * The gates of the strategies' malloc (heap/gate.h): the first size that its common path does not
 * serve. Calls nothing.
 */
#include "address_index.h"
#include "bins.h"
#include "registry.h"

#if HMM__GATES

#if HMM_WITH_BEST_FIT || HMM_WITH_SEGREGATED
size_t hmm__bins_gate = BINS_MAX + 1;
#endif
#if HMM__ADDRESS_INDEX
size_t hmm__hints_gate = ADDRESS_HINTS_MAX + 1;
#endif

void hmm__strategy_gates(bool open)
{
#if HMM_WITH_BEST_FIT || HMM_WITH_SEGREGATED
    hmm__gate_set(&hmm__bins_gate, open ? BINS_MAX + 1 : 0);
#endif
#if HMM__ADDRESS_INDEX
    hmm__gate_set(&hmm__hints_gate, open ? ADDRESS_HINTS_MAX + 1 : 0);
#endif
    (void)open;
}

#endif
