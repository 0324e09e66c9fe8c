/* SPDX-License-Identifier: MIT */
/*
 * A trace as the programs of the benchmark read it: mapped from a file, so that loading it takes
 * nothing from the allocator that is measured. bench/pack writes it; it is good for this build on
 * this machine only. IDs are renumbered (HMM_TRACE_DENSE).
 */
#ifndef HMM_BENCH_PACKED_H
#define HMM_BENCH_PACKED_H

#include "trace.h"

#define PACKED_MAGIC UINT64_C(0x316b636170206d68)

/* Followed by the operations. */
struct packed_trace {
    uint64_t magic;
    size_t op_count;
    size_t id_limit;
    uint64_t peak_bytes;
    struct hmm_trace_op ops[];
};

/* Maps the file at path; ends the program iff it is none of ours. */
const struct packed_trace *packed_open(const char *path);

#endif
