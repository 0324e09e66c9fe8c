/* SPDX-License-Identifier: MIT */
/*
 * What memcheck is told, so that it sees an hmm block as it sees malloc's. Nothing when built
 * without Valgrind's headers.
 *
 * All bytes of the region that are no payload in use are NOACCESS: headers, links, the top. The
 * core and the strategies go on touching them, with error reporting off (annotate_enter).
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

/* Memory of a block that the core will write to while a part of it is the user's: a word that is
 * half accessible would be read back as undefined. */
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

/* Bytes of the `usable` at p that the user asked for. */
static inline size_t annotate_requested(const void *p, size_t usable)
{
    uintptr_t bad = usable ? (uintptr_t)VALGRIND_CHECK_MEM_IS_ADDRESSABLE(p, usable) : 0;
    return bad ? (size_t)(bad - (uintptr_t)p) : usable;
}

/* Block `from` is now block `to`. What was copied counts as initialised. */
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
