/* SPDX-License-Identifier: MIT */
/*
 * The allocator that the program would have without the recording: the next one in the order in
 * which the loader looks names up, for all of the family.
 */
#ifndef HMM_RECORD_NEXT_H
#define HMM_RECORD_NEXT_H

#include "emit.h"

struct record_next {
    void *(*malloc)(size_t);
    void (*free)(void *);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*memalign)(size_t, size_t);
    size_t (*usable_size)(void *); /* NULL: there is none */
    const void *object;            /* where the library with all of these is loaded */
    /*
     * Calls take the slow path: not looked up yet; or the allocator is another than libc's, which
     * may implement one function of the family by another, by its public name; or there are blocks
     * from before the look-up; or call stacks are noted.
     */
    bool special;
};

extern RECORD_HIDDEN struct record_next record_next;

/*
 * The slow path. enter is false iff the calling thread is inside already: the call is then the
 * allocator's or the loader's own, and no event. Threads may look up at the same time, and find
 * the same.
 */
RECORD_HIDDEN bool record_next_enter(void);
RECORD_HIDDEN void record_next_leave(void);

/* record_next's functions, where the caller may be the look-up itself. */
RECORD_HIDDEN void *record_next_malloc(size_t size);
RECORD_HIDDEN void *record_next_calloc(size_t count, size_t size);
RECORD_HIDDEN void *record_next_realloc(void *block, size_t size);
RECORD_HIDDEN void *record_next_memalign(size_t align, size_t size);
RECORD_HIDDEN void record_next_free(void *block);
RECORD_HIDDEN size_t record_next_usable_size(void *block);

/* Where the object that this address belongs to is loaded, or NULL. */
RECORD_HIDDEN const void *record_object_of(const void *address);

/* True iff the program calls another malloc than this library's: its own, or that of a library
 * which is loaded before. */
RECORD_HIDDEN bool record_is_bypassed(void);

#endif
