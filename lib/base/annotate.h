/* SPDX-License-Identifier: MIT */
/*
 * Requests to Valgrind's memcheck, so that it treats an hmm block as it treats one of malloc's.
 * They are empty without Valgrind's headers. Includes compiler.h only.
 *
 * Memcheck has all bytes of the region as NOACCESS, except the payloads in use: headers, links and
 * the top too. The heap and the strategies access them with error reporting off (annotate_enter).
 */
#ifndef HMM_ANNOTATE_H
#define HMM_ANNOTATE_H

#include "base/compiler.h"

#ifdef HAVE_VALGRIND
#include <valgrind/memcheck.h>

/* Whether memcheck runs, and not another of Valgrind's tools. */
static inline bool annotate_active(void)
{
    char probe = 0;
    return RUNNING_ON_VALGRIND && (int)VALGRIND_MAKE_MEM_DEFINED(&probe, sizeof probe) == -1;
}

static inline void annotate_enter(void)
{
    VALGRIND_DISABLE_ERROR_REPORTING;
}

static inline void annotate_leave(void)
{
    VALGRIND_ENABLE_ERROR_REPORTING;
}

static inline void annotate_region(const void *from, size_t bytes)
{
    (void)VALGRIND_MAKE_MEM_NOACCESS(from, bytes);
}

static inline void annotate_region_end(const void *from, size_t bytes)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(from, bytes);
}

/* Makes memory of a user's block accessible before the heap writes to it: memcheck takes a word
 * that is only half accessible for undefined. */
static inline void annotate_open(const void *from, size_t bytes)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(from, bytes);
}

static inline void annotate_malloc(void *p, size_t size, bool zeroed)
{
    VALGRIND_MALLOCLIKE_BLOCK(p, size, 0, zeroed);
}

static inline void annotate_free(void *p)
{
    VALGRIND_FREELIKE_BLOCK(p, 0);
}

/* The number of bytes that the user requested, of the `usable` at p. */
static inline size_t annotate_requested(const void *p, size_t usable)
{
    uintptr_t bad = usable ? (uintptr_t)VALGRIND_CHECK_MEM_IS_ADDRESSABLE(p, usable) : 0;
    return bad ? (size_t)(bad - (uintptr_t)p) : usable;
}

/* A realloc from `from` to `to`. What was copied counts as initialised. */
static inline void annotate_realloc(void *from, size_t was, void *to, size_t size)
{
    if (from == to) {
        VALGRIND_RESIZEINPLACE_BLOCK(from, was, size, 0);
        return;
    }
    VALGRIND_FREELIKE_BLOCK(from, 0);
    VALGRIND_MALLOCLIKE_BLOCK(to, size, 0, 0);
    (void)VALGRIND_MAKE_MEM_DEFINED(to, was < size ? was : size);
}

#else

static inline bool annotate_active(void)
{
    return false;
}

static inline void annotate_enter(void)
{
}

static inline void annotate_leave(void)
{
}

static inline void annotate_region(const void *from, size_t bytes)
{
    (void)from, (void)bytes;
}

static inline void annotate_region_end(const void *from, size_t bytes)
{
    (void)from, (void)bytes;
}

static inline void annotate_open(const void *from, size_t bytes)
{
    (void)from, (void)bytes;
}

static inline void annotate_malloc(void *p, size_t size, bool zeroed)
{
    (void)p, (void)size, (void)zeroed;
}

static inline void annotate_free(void *p)
{
    (void)p;
}

static inline size_t annotate_requested(const void *p, size_t usable)
{
    (void)p;
    return usable;
}

static inline void annotate_realloc(void *from, size_t was, void *to, size_t size)
{
    (void)from, (void)was, (void)to, (void)size;
}

#endif
#endif
