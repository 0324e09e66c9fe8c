/* SPDX-License-Identifier: MIT */
/*
 * An adapter: an allocator that the benchmark can measure without being linked with it.
 *
 * It is a shared object that exports one object, `bench_adapter`: a name and six functions. Each
 * takes a request straight to the allocator and does nothing else, since what it does is measured
 * as well. bench/adapter_hmm.c is one. To build another and to measure it:
 *
 *     cc -O2 -shared -fPIC -I bench -o tlsf.so my_adapter.c tlsf.c
 *     make bench BENCH_ARGS="--adapter ./tlsf.so"
 *
 * The benchmark calls from one thread. Options for the allocator may come from the environment.
 */
#ifndef HMM_BENCH_ADAPTER_H
#define HMM_BENCH_ADAPTER_H

#include <stddef.h>

#define BENCH_ADAPTER_ABI 1u

struct bench_adapter {
    unsigned abi;     /* BENCH_ADAPTER_ABI */
    const char *name; /* as it is to stand in the table: letters, digits, '.', '_', '-' and '+' */

    /*
     * Makes a heap in region[0 .. size), which is aligned to 2 MiB and may hold what an earlier
     * heap left behind. Returns what the other functions are given as `heap`; NULL iff it cannot,
     * for one because the region is too small. An allocator that gets its memory elsewhere may
     * leave the region alone; its footprint then says nothing.
     */
    void *(*create)(void *region, size_t size);

    /* Ends the heap, whatever is still in it. The region is the caller's again. */
    void (*destroy)(void *heap);

    /*
     * As in C's standard library, but that `heap` is given. size is never 0 in a realloc, and block
     * never NULL. NULL iff there is no room: the region is then too small, which is no error.
     * Where the allocator has no realloc, this is the place to write it. aligned_alloc may be NULL:
     * malloc is then asked for as much, and the block is not aligned.
     */
    void *(*malloc)(void *heap, size_t size);
    void (*free)(void *heap, void *block);
    void *(*realloc)(void *heap, void *block, size_t size);
    void *(*aligned_alloc)(void *heap, size_t align, size_t size);
};

extern const struct bench_adapter bench_adapter;

#endif
