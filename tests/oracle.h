/* SPDX-License-Identifier: MIT */
/*
 * The plain scan: what each strategy must choose, found by looking at every block. It knows nothing
 * of any index. It reads headers, and keeps for itself what headers do not tell: in what order
 * blocks became free, and where next-fit's cursor stands.
 */
#ifndef HMM_TEST_ORACLE_H
#define HMM_TEST_ORACLE_H

#include "block.h"

struct oracle {
    const struct hmm_strategy *rule; /* whose choices are foretold; under test it is wrapped */
    uint64_t clock;
    uint64_t *freed_at; /* by ref: when the block that begins there became free */
    hmm_ref cursor;
    uint64_t asked, wrong;
    const char *first_wrong;
};

/* A strategy that does what `rule` does, and holds each answer against the plain scan. There is one
 * at a time. */
const struct hmm_strategy *oracle_wrap(const struct hmm_strategy *rule, uint32_t granules);
struct oracle *oracle_current(void);
void oracle_end(void);

#endif
