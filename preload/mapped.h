/* SPDX-License-Identifier: MIT */
/*
 * Address space that is mapped in place, piece by piece: which addresses of the preload library's
 * range are mapped. With the heap's lock, but for hmm__map_pool. Calls the system and lib/base.
 */
#ifndef HMM_MAPPED_H
#define HMM_MAPPED_H

#include "heap/heap.h"

/* Finds `size` addresses in a part of the address space where the kernel puts nothing by itself.
 * Nothing is mapped. NULL: there is no such part. */
HMM__HIDDEN char *hmm__map_find(size_t size, size_t page);

/* Lets no other mapping end at `base`: an overrun of one would reach the control structures. */
HMM__HIDDEN void hmm__map_guard(char *base);

/* Maps of [from, to) what is not mapped yet, whole pages. False: the system has no memory for it,
 * or another mapping is in the way. */
HMM__HIDDEN bool hmm__map(char *from, char *to, bool huge_pages);

/* Whether what failed last did because of another mapping. */
HMM__HIDDEN bool hmm__map_is_blocked(void);

/* Unmaps the whole pages of [from, to). */
HMM__HIDDEN void hmm__map_remove(char *from, char *to);

/* Unmaps whole pages of [from, to), and maps them again; meanwhile nothing else is done there. */
HMM__HIDDEN bool hmm__map_vacate(char *from, char *to);
HMM__HIDDEN enum hmm__occupied hmm__map_occupy(char *from, char *to);

/* What has been vacated is not mapped again so; what lies above it is unmapped, as far as whole
 * pages lie below `end`. False: the system does not, and nothing was done. */
HMM__HIDDEN bool hmm__map_forget(char *from, char *to, char *end);

/* The bytes that are mapped. */
HMM__HIDDEN size_t hmm__map_bytes(void);

/* Maps a pool that is used from its low end up, as far as `to`; without a lock, and in handlers. */
HMM__HIDDEN bool hmm__map_pool(char *base, char *to);

#endif
