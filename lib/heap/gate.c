/* SPDX-License-Identifier: MIT */
/*
 * The gates of the heap, open, and where a call goes that they stop. Calls nothing.
 */
#include "heap/place.h"

#if HMM__HOOKS
uint32_t hmm__hooks;
#endif

#if HMM__GATES
struct hmm__diverted hmm__diverted;
size_t hmm__request_gate = HMM_MAX_REQUEST + 1;
struct hmm__free_gate hmm__free_gate = {HMM__FREE_ANY, HMM__FREE_SELF};
#endif
