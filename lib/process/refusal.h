/* SPDX-License-Identifier: MIT */
/*
 * The first request that the process heap did not serve: how the heap lay then.
 */
#ifndef HMM_REFUSAL_H
#define HMM_REFUSAL_H

#include "heap/heap.h"

struct hmm__refusal {
    bool noted;
    uint64_t size;        /* usable bytes of the block that was wanted */
    uint64_t live_blocks; /* of the heap, runs as one */
    uint64_t free_bytes, holes;
    uint64_t largest_hole; /* what it would have served */
    uint64_t below, above; /* usable bytes of the blocks beside it; 0: none */
};

/* Notes it, if it is the first. With the lock of the process heap. */
HMM__HIDDEN void hmm__refusal_note(const struct hmm_heap *h, size_t size);

/* Says on stderr, the first time, that a heap with a limit did not serve this request; of one that
 * no heap could serve, nothing. Likewise. */
HMM__HIDDEN void hmm__refusal_say(size_t size, size_t limit);

/* What was noted. */
HMM__HIDDEN const struct hmm__refusal *hmm__refusal(void);

#endif
