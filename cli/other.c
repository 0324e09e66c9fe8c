/* SPDX-License-Identifier: MIT */
/*
 * Allocators that are not hmm's: the malloc that the dynamic linker has found, and adapters.
 *
 * A malloc library has no region. What it takes is seen from the pages of the process that become
 * resident, with every block written to as a program does: all of a small one, of a large one each
 * page. Its times are those of later passes, in memory that it has already.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* dladdr */
#endif

#include "compare.h"
#include "base/clock.h"

#include "../bench/adapter.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u

/* ---- One way to call them all ---- */

struct target {
    const struct bench_adapter *adapter; /* NULL: malloc */
    void *heap;
};

static void *resize(const struct target *t, void *block, size_t size)
{
    size = size != 0 ? size : 1;
    return t->adapter != NULL ? t->adapter->realloc(t->heap, block, size) : realloc(block, size);
}

static void *aligned(const struct target *t, size_t align, size_t size)
{
    void *block;
    if (t->adapter != NULL && t->adapter->aligned_alloc == NULL)
        return t->adapter->malloc(t->heap, size);
    if (t->adapter != NULL)
        return t->adapter->aligned_alloc(t->heap, align, size);
    align = align < sizeof(void *) ? sizeof(void *) : align;
    return posix_memalign(&block, align, size) == 0 ? block : NULL;
}

static void release(const struct target *t, void *block)
{
    if (t->adapter != NULL)
        t->adapter->free(t->heap, block);
    else
        free(block);
}

/* As replay_step. */
static inline bool step(const struct target *t, const struct hmm_trace_op *op, void **blocks)
{
    void **block = &blocks[op->id], *moved;
    const size_t size = (size_t)op->size;
    switch (op->kind) {
    case HMM_TRACE_ALLOC:
        *block = t->adapter != NULL ? t->adapter->malloc(t->heap, size) : malloc(size);
        return *block != NULL;
    case HMM_TRACE_ALIGNED:
        *block = aligned(t, (size_t)1 << op->align_log2, size);
        return *block != NULL;
    case HMM_TRACE_RESIZE:
        if (*block == NULL)
            return true;
        moved = resize(t, *block, size);
        *block = moved != NULL ? moved : *block;
        return moved != NULL;
    default:
        if (*block != NULL)
            release(t, *block);
        *block = NULL;
        return true;
    }
}

/* Frees what a pass has left. */
static void clean_up(const struct feed *r, const struct target *t)
{
    for (size_t i = 0; i < r->sum.peak_blocks; i++) {
        if (r->blocks[i] != NULL)
            release(t, r->blocks[i]);
        r->blocks[i] = NULL;
    }
}

/* ---- Times ---- */

/* As step, without the call. The assembler statement keeps the compiler from removing the rest. */
static inline void step_nowhere(const struct hmm_trace_op *op, void **blocks)
{
    void **block = &blocks[op->id];
    size_t size = (size_t)op->size + op->align_log2;
    __asm__ volatile("" : "+r"(size) : : "memory");
    if (op->kind == HMM_TRACE_ALLOC || op->kind == HMM_TRACE_ALIGNED)
        *block = blocks;
    else if (*block != NULL)
        *block = op->kind == HMM_TRACE_RESIZE ? (void *)block : NULL;
}

static double time_loop(const struct feed *r)
{
    const struct hmm_trace_op *ops;
    double ns = 0;
    feed_rewind(r);
    for (size_t count; (count = feed_next(r, &ops)) != 0;) {
        const double start = clock_thread_ns();
        for (size_t i = 0; i < count; i++)
            step_nowhere(&ops[i], r->blocks);
        ns += clock_thread_ns() - start;
    }
    return ns;
}

static double time_pass(const struct feed *r, const struct target *t, uint64_t *failed)
{
    const struct hmm_trace_op *ops;
    double ns = 0;
    *failed = 0;
    feed_rewind(r);
    for (size_t count; (count = feed_next(r, &ops)) != 0;) {
        const double start = clock_thread_ns();
        for (size_t i = 0; i < count; i++)
            *failed += !step(t, &ops[i], r->blocks);
        ns += clock_thread_ns() - start;
    }
    return ns;
}

static void worst_pass(const struct feed *r, const struct target *t, struct worst *w)
{
    const struct hmm_trace_op *ops;
    worst_begin_pass(w);
    feed_rewind(r);
    for (size_t count; (count = feed_next(r, &ops)) != 0;)
        for (size_t i = 0; i < count; i++) {
            if (!worst_wants(w)) {
                step(t, &ops[i], r->blocks);
                worst_skip(w);
                continue;
            }
            const uint64_t start = clock_ns(CLOCK_MONOTONIC);
            step(t, &ops[i], r->blocks);
            worst_take(w, clock_ns(CLOCK_MONOTONIC) - start);
        }
}

/* An empty heap before each pass; an adapter's is made anew. */
static bool begin(struct target *t, const struct replay_region *region)
{
    if (t->adapter == NULL)
        return true;
    t->heap = t->adapter->create(region->memory, region->size);
    return t->heap != NULL;
}

static void end(const struct feed *r, struct target *t)
{
    if (t->adapter == NULL)
        clean_up(r, t);
    else
        t->adapter->destroy(t->heap);
    feed_clear(r);
}

static void measure_times(const struct feed *r, struct target *t,
                          const struct replay_region *region, unsigned runs, struct row *row)
{
    const double ops = (double)(row->ops != 0 ? row->ops : 1);
    double best = -1, harness = -1;
    uint64_t failed = 0;
    for (unsigned i = 0; i < runs; i++) {
        const double loop = time_loop(r);
        harness = harness < 0 || loop < harness ? loop : harness;
        feed_clear(r);
        if (!begin(t, region))
            return;
        const double ns = time_pass(r, t, &failed);
        best = best < 0 || ns < best ? ns : best;
        end(r, t);
    }
    row->ns_per_op = best > harness ? (best - harness) / ops : 0;
    row->failed = (int64_t)failed;
    struct worst *w = worst_open();
    for (unsigned pass = 0; pass < WORST_PASSES * runs; pass++) {
        if (!begin(t, region))
            break;
        worst_pass(r, t, w);
        end(r, t);
    }
    row->worst_ns = (int64_t)worst_longest(w);
    worst_close(w);
}

/* ---- Resident memory ---- */

/* Bytes; 0 iff the system does not tell. */
static uint64_t resident(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_to(char *block, size_t size)
{
    if (size <= PAGE) {
        memset(block, 1, size);
        return;
    }
    for (size_t i = 0; i < size; i += PAGE)
        block[i] = 1;
    block[size - 1] = 1;
}

/* The resident size is read when the live bytes have grown by a 64th of their peak since it was
 * read last, and every `often` operations. */
struct looks {
    uint64_t live, live_then, peak, most_live;
    uint64_t since, often;
};

static void look(struct looks *l, uint64_t peak_bytes)
{
    const bool higher = l->live > l->live_then + peak_bytes / 64;
    l->most_live = l->live > l->most_live ? l->live : l->most_live;
    if (!higher && ++l->since < l->often)
        return;
    const uint64_t now = resident();
    l->peak = now > l->peak ? now : l->peak;
    l->live_then = higher ? l->live : l->live_then;
    l->since = 0;
}

static void use(const struct feed *r, const struct target *t, struct looks *l)
{
    const struct hmm_trace_op *ops;
    feed_rewind(r);
    for (size_t count; (count = feed_next(r, &ops)) != 0;)
        for (size_t i = 0; i < count; i++) {
            const struct hmm_trace_op *op = &ops[i];
            const bool done = step(t, op, r->blocks);
            if (!done)
                continue;
            if (op->kind == HMM_TRACE_FREE || op->kind == HMM_TRACE_RESIZE)
                l->live -= r->sizes[op->id];
            if (op->kind != HMM_TRACE_FREE) {
                l->live += r->sizes[op->id] = op->size;
                write_to(r->blocks[op->id], (size_t)op->size);
            }
            look(l, r->sum.peak_bytes);
        }
}

bool other_malloc(int fd, unsigned runs, struct row *row)
{
    struct target t = {NULL, NULL};
    struct feed f;
    if (!feed_open_file(&f, fd))
        return false;
    struct looks l = {.often = f.sum.op_count / 200 + 1};
    row->ops = (int64_t)f.sum.op_count;
    const uint64_t before = resident();
    use(&f, &t, &l);
    row->peak_live = (int64_t)l.most_live;
    row->peak_resident = before != 0 && l.peak > before ? (int64_t)(l.peak - before) : ROW_UNKNOWN;
    clean_up(&f, &t);
    measure_times(&f, &t, NULL, runs, row);
    return true;
}

/* ---- Adapters ---- */

static const struct bench_adapter *load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    const struct bench_adapter *a = library != NULL ? dlsym(library, "bench_adapter") : NULL;
    return a != NULL && a->abi == BENCH_ADAPTER_ABI ? a : NULL;
}

bool other_is_adapter(const char *path)
{
    void *library = strchr(path, '/') != NULL ? dlopen(path, RTLD_LAZY | RTLD_LOCAL) : NULL;
    const bool is = library != NULL && dlsym(library, "bench_adapter") != NULL;
    if (library != NULL)
        dlclose(library);
    return is;
}

/* Whether the trace completes in the region, and how high its blocks reach. */
static bool completes(const struct feed *r, struct target *t, struct replay_region *region,
                      size_t size, uint64_t *reached)
{
    const struct hmm_trace_op *ops;
    bool good = true;
    region->size = size;
    feed_clear(r);
    if (!begin(t, region))
        return false;
    *reached = 0;
    feed_rewind(r);
    for (size_t count; good && (count = feed_next(r, &ops)) != 0;)
        for (size_t i = 0; good && i < count; i++) {
            good = step(t, &ops[i], r->blocks);
            if (!good || ops[i].kind == HMM_TRACE_FREE)
                continue;
            const uint64_t at = (uintptr_t)r->blocks[ops[i].id] - (uintptr_t)region->memory;
            if (at < size && at + ops[i].size > *reached)
                *reached = at + ops[i].size;
        }
    t->adapter->destroy(t->heap);
    return good;
}

/* As probe_smallest: both ends are tried. `most` is reserved. */
static uint64_t smallest_region(const struct feed *r, struct target *t,
                                struct replay_region *region, uint64_t most, uint64_t *reached)
{
    uint64_t high = 0, low = 0, seen = 0;
    for (uint64_t size = (r->sum.peak_bytes + PAGE) / 16 * 16; size <= most; size *= 2)
        if (completes(r, t, region, (size_t)size, reached)) {
            high = size;
            break;
        } else {
            low = size;
        }
    while (high != 0 && high - low > PROBE_STEP) {
        const uint64_t middle = low + (high - low) / 2 / PROBE_STEP * PROBE_STEP;
        const bool good = completes(r, t, region, (size_t)middle, &seen);
        *(good ? &high : &low) = middle;
        *reached = good ? seen : *reached;
    }
    return high;
}

bool other_adapter(const struct replay *replay, const char *path, unsigned runs, struct row *row)
{
    struct target t = {load(path), NULL};
    const struct feed f = feed_of(replay), *r = &f;
    struct replay_region region;
    uint64_t reached = 0;
    const uint64_t most = r->sum.peak_bytes * 16 + ((uint64_t)16 << 20);
    if (t.adapter == NULL || !replay_reserve(&region, (size_t)most))
        return false;
    row->ops = (int64_t)r->sum.op_count;
    row->peak_live = (int64_t)r->sum.peak_bytes;
    const uint64_t smallest = smallest_region(r, &t, &region, most, &reached);
    if (smallest != 0) {
        row->smallest_heap = (int64_t)smallest;
        row->peak_break = (int64_t)reached;
        region.size = (size_t)(smallest + smallest / 8 < most ? smallest + smallest / 8 : most);
        memset(region.memory, 0, region.size);
        measure_times(r, &t, &region, runs, row);
    }
    region.size = (size_t)most;
    replay_release(&region);
    return true;
}

/* ---- Finding malloc libraries ---- */

bool other_malloc_path(char *path, size_t room)
{
    Dl_info info;
    void *found = dlsym(RTLD_DEFAULT, "malloc");
    if (found == NULL || dladdr(found, &info) == 0)
        return false;
    snprintf(path, room, "%s", info.dli_fname);
    return true;
}

bool other_malloc_is(const char *path)
{
    char found[PATH_MAX], real[PATH_MAX], wanted[PATH_MAX];
    return other_malloc_path(found, sizeof found) && realpath(path, wanted) != NULL &&
           realpath(found, real) != NULL && strcmp(real, wanted) == 0;
}

/* Runs a program with the library preloaded, which says where its malloc is from: if the dynamic
 * linker cannot load a library, it only complains and goes on. */
static void ask(const char *soname, int to)
{
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(to, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    setenv("LD_PRELOAD", soname, 1);
    setenv(OTHER_VARIABLE, OTHER_PROBE, 1);
    execl("/proc/self/exe", "hmm", "compare", "--cell", "libc", "-", (char *)NULL);
    _exit(1);
}

static bool find_one(const char *soname, char *path, size_t room)
{
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        ask(soname, ends[1]);
    close(ends[1]);
    const ssize_t got = child > 0 ? read(ends[0], path, room - 1) : 0;
    path[got > 0 ? got : 0] = '\0';
    close(ends[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    if (strstr(path, soname) == NULL)
        path[0] = '\0';
    return path[0] != '\0';
}

void other_library(const char *const *sonames, char *path, size_t room)
{
    path[0] = '\0';
    for (; *sonames != NULL; sonames++)
        if (find_one(*sonames, path, room))
            return;
}
