/* SPDX-License-Identifier: MIT */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION_ALIGN ((size_t)2 << 20)

static void write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, text, length);
        if (n < 0 && errno != EINTR)
            _exit(2);
        text += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
}

/* vsnprintf does not allocate for what is formatted here. */
static void say(int fd, const char *before, const char *format, va_list args, const char *after)
{
    char line[1024];
    int n = snprintf(line, sizeof line - 2, "%s", before);
    n += vsnprintf(line + n, sizeof line - 2 - (size_t)n, format, args);
    if ((size_t)n > sizeof line - 3)
        n = (int)sizeof line - 3;
    strcpy(line + n, after);
    write_all(fd, line, strlen(line));
}

void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(STDERR_FILENO, "bench: ", format, args, "\n");
    va_end(args);
    _exit(2);
}

void bench_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(STDOUT_FILENO, "", format, args, "");
    va_end(args);
}

uint64_t bench_number(const char *what, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n < least || n > most)
        bench_die("%s: '%s' is not a number from %llu to %llu", what, text,
                  (unsigned long long)least, (unsigned long long)most);
    return n;
}

void *bench_table(size_t count, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (count ? count : 1) * size;
    char *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED)
        bench_die("out of memory");
    for (size_t i = 0; i < bytes; i += page)
        ((volatile char *)table)[i] = 0;
    return table;
}

/* Trimmed to what was asked for, so that it can be given back by its address and size. */
void *bench_reserve(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size = (size + page - 1) & ~(page - 1);
    char *p = mmap(NULL, size + REGION_ALIGN, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        bench_die("cannot reserve %zu bytes of address space", size);
    size_t below = (size_t)(-(uintptr_t)p & (REGION_ALIGN - 1));
    if (below > 0)
        munmap(p, below);
    if (below < REGION_ALIGN)
        munmap(p + below + size, REGION_ALIGN - below);
    return p + below;
}

void bench_unreserve(void *region, size_t size)
{
    munmap(region, size);
}

uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

size_t bench_random_size(uint64_t *state, unsigned least_log2, unsigned most_log2)
{
    uint64_t x = bench_random(state);
    unsigned log2 = least_log2 + (unsigned)((x >> 40) % (most_log2 - least_log2));
    return ((size_t)1 << log2) + (size_t)(x & (((uint64_t)1 << log2) - 1));
}

double bench_thread_nanoseconds(void)
{
    return clock_thread_ns();
}

double bench_wall_nanoseconds(void)
{
    return (double)clock_ns(CLOCK_MONOTONIC);
}

static size_t read_file(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    for (ssize_t n = 1; fd >= 0 && n > 0 && length<room - 1; length += n> 0 ? (size_t)n : 0)
        n = read(fd, text + length, room - 1 - length);
    if (fd >= 0)
        close(fd);
    text[length] = '\0';
    return length;
}

static uint64_t kib_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

/* The kernel counts smaps_rollup page by page; the counters in /proc/self/status may be off by 64
 * pages a thread. */
uint64_t bench_resident(void)
{
    char text[4096];
    if (read_file("/proc/self/smaps_rollup", text, sizeof text) == 0)
        bench_die("cannot read /proc/self/smaps_rollup, which tells resident memory");
    return kib_after(text, "\nAnonymous:") + kib_after(text, "\nPss_Shmem:");
}
