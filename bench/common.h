/* SPDX-License-Identifier: MIT */
/*
 * What the programs of the benchmark share.
 *
 * They run with the allocator that is measured in the place of malloc, so nothing here allocates
 * from it, directly or by way of stdio: memory comes from mmap, and what is printed goes through a
 * buffer of our own.
 */
#ifndef HMM_BENCH_COMMON_H
#define HMM_BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A function that callgrind is told about by name. */
#if defined(__clang__)
#define BENCH_MEASURED __attribute__((noinline))
#else
#define BENCH_MEASURED __attribute__((noinline, noclone))
#endif
#define BENCH_ALWAYS_INLINE inline __attribute__((always_inline))

/* "bench: ..." on stderr, and exit code 2. */
_Noreturn __attribute__((format(printf, 1, 2))) void bench_die(const char *format, ...);

/* On stdout, at once. */
__attribute__((format(printf, 1, 2))) void bench_say(const char *format, ...);

/* The number that text is; ends the program iff it is none from `least` to `most`. */
uint64_t bench_number(const char *what, const char *text, uint64_t least, uint64_t most);

/* Zeroed memory whose pages are there already, so that it does not count as what an allocator
 * took. Ends the program iff there is none. */
void *bench_table(size_t count, size_t size);

/* Address space that begins at a multiple of 2 MiB. */
void *bench_reserve(size_t size);
void bench_unreserve(void *region, size_t size);

/* Random numbers, the same in every run: xorshift64*. */
uint64_t bench_random(uint64_t *state);

/* A size of which small ones are as frequent as in programs: each doubling as likely as another. */
size_t bench_random_size(uint64_t *state, unsigned least_log2, unsigned most_log2);

/* Processor time of this thread, system calls in it. */
double bench_thread_nanoseconds(void);
double bench_wall_nanoseconds(void);

/* Bytes of memory that this process has to itself: anonymous, private or shared, and resident. */
uint64_t bench_resident(void);

#endif
