/* SPDX-License-Identifier: MIT */
/*
 * What depends on the compiler and on whether there is an operating system: attributes, branch
 * hints, errno. Includes with.h, which says what is built, and calls nothing.
 */
#ifndef HMM_COMPILER_H
#define HMM_COMPILER_H

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "base/with.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__STDC_HOSTED__) && __STDC_HOSTED__ && !defined(HMM_FREESTANDING)
#define HMM_HOSTED 1
#else
#define HMM_HOSTED 0
#endif

/* Firmware has a C library, but no files and processes. */
#if HMM_HOSTED && (defined(__unix__) || defined(__APPLE__))
#define HMM__POSIX 1
#else
#define HMM__POSIX 0
#endif

#if HMM_HOSTED
#include <errno.h>
#include <string.h>
#else
/* These three are all that a freestanding build needs. Compilers call them by themselves too. */
void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
#endif

#if defined(__GNUC__)
#define hmm__likely(x) (__builtin_expect(!!(x), 1) != 0)
#define hmm__unlikely(x) (__builtin_expect(!!(x), 0) != 0)
#define HMM__COLD __attribute__((cold, noinline))
#define HMM__ALWAYS_INLINE static inline __attribute__((always_inline))
/* In one file and in few bytes what is not called is left out. */
#if defined(HMM_SINGLE_FILE) && HMM__SMALL
#define HMM__HIDDEN static __attribute__((unused))
#else
#define HMM__HIDDEN __attribute__((visibility("hidden")))
#endif
/* For types in memory that at other times is the program's, which stores any type there. */
#define HMM__MAY_ALIAS __attribute__((may_alias))
/* The compiler does not know the value of x afterwards. Where it would otherwise keep in a
 * register, which has to be saved, what one instruction computes again, or would split an operation
 * on memory into load and store. */
#define hmm__forget(x) __asm__("" : "+r"(x))
#if !HMM__SMALL
#define hmm__forget_memory(x) __asm__("" : "+m"(x))
#endif
#else
#define hmm__likely(x) (x)
#define hmm__unlikely(x) (x)
#define HMM__COLD
#define HMM__ALWAYS_INLINE static inline
#if defined(HMM_SINGLE_FILE) && HMM__SMALL
#define HMM__HIDDEN static
#else
#define HMM__HIDDEN
#endif
#define HMM__MAY_ALIAS
#define hmm__forget(x) ((void)0)
#if !HMM__SMALL
#define hmm__forget_memory(x) ((void)0)
#endif
#endif

/* A build for ThreadSanitizer, by either compiler. */
#if defined(__SANITIZE_THREAD__)
#define HMM__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HMM__TSAN 1
#endif
#endif
#if !defined(HMM__TSAN)
#define HMM__TSAN 0
#endif

#if !HMM__SMALL
/* For a function that reads what other threads may be writing, and for which any value will do:
 * ThreadSanitizer does not look at it. */
#if HMM__TSAN
#define HMM__UNSEEN __attribute__((no_sanitize_thread, noinline))
#else
#define HMM__UNSEEN
#endif
#endif

/* The cache needs an atomic compare-and-swap. */
#if HMM_HOSTED && defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_4) && !defined(HMM_NO_CACHE) &&         \
    HMM_WITH_CACHE && HMM_WITH_SPEED
#define HMM__CACHE 1
#else
#define HMM__CACHE 0
#endif

/* Sets errno where there is one. */
HMM__ALWAYS_INLINE void hmm__set_errno(int code)
{
#if HMM_HOSTED
    errno = code;
#else
    (void)code;
#endif
}

#if !HMM_HOSTED
enum { ENOMEM = 12, EINVAL = 22, ENOENT = 2, EBUSY = 16, ENOTSUP = 95, EPROTO = 71 };
#endif

#endif
