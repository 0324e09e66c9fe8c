/* SPDX-License-Identifier: MIT */
/*
 * Carries out a trace on an allocator, in a process of its own.
 *
 *     replay probe TARGET                 which allocator it is
 *     replay time TARGET PACKED PASSES    nanoseconds of the first pass and of the later ones
 *     replay once TARGET PACKED           one pass, for callgrind
 *     replay memory TARGET PACKED         resident memory, payloads written to
 *     replay fits TARGET PACKED           the smallest region that does, of an adapter
 *
 * TARGET is "malloc", "nothing" or an adapter's path. Prints lines of a word and a figure; "failed"
 * and the number of the operation where a request was not served, and then nothing more.
 *
 * A pass begins with an empty heap. An adapter's is made anew in the same region; malloc's is that
 * of the pass before, with all blocks freed. So in later passes the pages are there already, and
 * only the first pays the kernel for them.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "packed.h"
#include "target.h"

#include <dlfcn.h>
#include <string.h>

#define PAGE 4096u

static const struct packed_trace *trace;
static void **blocks; /* by ID */

/* ---- The loop ---- */

/* Returns how many operations were done: all, or those before the first request not served. */
static BENCH_ALWAYS_INLINE size_t replay(enum via via, const struct target *t)
{
    const struct hmm_trace_op *op = trace->ops, *const end = op + trace->op_count;
    for (; op < end; op++) {
        void **const block = &blocks[op->id], *result;
        const size_t size = (size_t)op->size;
        switch (op->kind) {
        case HMM_TRACE_ALLOC:
            result = do_malloc(via, t, size);
            break;
        case HMM_TRACE_ALIGNED:
            result = do_aligned(via, t, (size_t)1 << op->align_log2, size);
            break;
        case HMM_TRACE_RESIZE: /* its ID stays live, so never to nothing */
            result = do_realloc(via, t, *block, size + (size == 0));
            break;
        default:
            do_free(via, t, *block);
            continue;
        }
        if (__builtin_expect(result == NULL, 0))
            break;
        *block = result;
    }
    return (size_t)(op - trace->ops);
}

/* callgrind is told to count in what begins with "measured_". */
static BENCH_MEASURED size_t measured_nothing(const struct target *t)
{
    return replay(VIA_NOTHING, t);
}

static BENCH_MEASURED size_t measured_nothing_adapted(const struct target *t)
{
    return replay(VIA_ADAPTER, t);
}

static BENCH_MEASURED size_t measured_malloc(const struct target *t)
{
    return replay(VIA_MALLOC, t);
}

static BENCH_MEASURED size_t measured_adapter(const struct target *t)
{
    return replay(VIA_ADAPTER, t);
}

/* The same loop, by the same way of calling, on nothing. */
static size_t run_nothing(const struct target *t)
{
    static char heap;
    const struct target none = {VIA_ADAPTER, &nothing_adapter, &heap, NULL, 0};
    return t->via == VIA_ADAPTER ? measured_nothing_adapted(&none) : measured_nothing(&none);
}

static size_t run(const struct target *t)
{
    return t->via == VIA_ADAPTER  ? measured_adapter(t)
           : t->via == VIA_MALLOC ? measured_malloc(t)
                                  : measured_nothing(t);
}

/* ---- Passes ---- */

/* Frees what the first `done` operations have left. */
static void clean_up(const struct target *t, size_t done)
{
    unsigned char *live = bench_table(trace->id_limit, 1);
    for (size_t i = 0; i < done; i++)
        live[trace->ops[i].id] = trace->ops[i].kind != HMM_TRACE_FREE;
    for (size_t id = 0; id < trace->id_limit; id++)
        if (live[id])
            do_free(t->via, t, blocks[id]);
    bench_unreserve(live, trace->id_limit);
}

static size_t first_capacity(void)
{
    return (size_t)trace->peak_bytes * 2 + ((size_t)8 << 20);
}

/* A region in which the trace completes; not the smallest. */
static size_t capacity_that_does(struct target *t)
{
    size_t capacity = first_capacity();
    if (t->via != VIA_ADAPTER)
        return capacity;
    for (int i = 0; i < 8; i++, capacity *= 2)
        if (target_create(t, capacity) && run(t) == trace->op_count)
            return capacity;
    bench_die("%s: does not complete the trace in %zu bytes", t->adapter->name, capacity / 2);
}

static void begin(struct target *t, size_t capacity)
{
    if (!target_create(t, capacity))
        bench_die("%s: makes no heap in %zu bytes", t->adapter->name, capacity);
}

static bool complete(size_t done)
{
    if (done < trace->op_count)
        bench_say("failed %zu\n", done);
    return done == trace->op_count;
}

static void measure_time(struct target *t, size_t passes)
{
    const double count = (double)trace->op_count;
    const size_t capacity = capacity_that_does(t);
    double loop[64], cost[64], least_loop = 1e300;
    target_destroy(t);
    for (size_t i = 0; i <= passes; i++) {
        double start = bench_thread_nanoseconds();
        run_nothing(t);
        loop[i] = bench_thread_nanoseconds() - start;
        least_loop = loop[i] < least_loop ? loop[i] : least_loop;
        begin(t, capacity);
        start = bench_thread_nanoseconds();
        size_t done = run(t);
        cost[i] = bench_thread_nanoseconds() - start;
        if (!complete(done))
            return;
        clean_up(t, done);
    }
    for (size_t i = 0; i <= passes; i++)
        bench_say("%s %.4f\n", i == 0 ? "first" : "warm", (cost[i] - least_loop) / count);
    bench_say("loop %.4f\n", least_loop / count);
}

static void measure_once(struct target *t)
{
    const size_t capacity = first_capacity() * 4;
    run_nothing(t);
    begin(t, capacity);
    if (complete(run(t)))
        bench_say("operations %zu\n", trace->op_count);
}

/* ---- Resident memory ---- */

/* As a program does that uses what it asked for: all of a small block, of a large one each page. */
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

static void *step(const struct target *t, const struct hmm_trace_op *op, void *block)
{
    const size_t size = (size_t)op->size;
    switch (op->kind) {
    case HMM_TRACE_ALLOC:
        return do_malloc(t->via, t, size);
    case HMM_TRACE_ALIGNED:
        return do_aligned(t->via, t, (size_t)1 << op->align_log2, size);
    case HMM_TRACE_RESIZE:
        return do_realloc(t->via, t, block, size + (size == 0));
    default:
        do_free(t->via, t, block);
        return NULL;
    }
}

/* Looks when so much more is live than at the last look, and now and then besides. */
struct looks {
    uint64_t live, live_then, peak;
    size_t since, often;
};

static void look(struct looks *l)
{
    bool higher = l->live > l->live_then + trace->peak_bytes / 64;
    if (!higher && ++l->since < l->often)
        return;
    uint64_t resident = bench_resident();
    l->peak = resident > l->peak ? resident : l->peak;
    l->live_then = higher ? l->live : l->live_then;
    l->since = 0;
}

static size_t use(const struct target *t, struct looks *l)
{
    size_t *sizes = bench_table(trace->id_limit, sizeof *sizes);
    for (size_t i = 0; i < trace->op_count; i++) {
        const struct hmm_trace_op *op = &trace->ops[i];
        void *block = step(t, op, blocks[op->id]);
        if (op->kind == HMM_TRACE_FREE || op->kind == HMM_TRACE_RESIZE)
            l->live -= sizes[op->id];
        if (op->kind != HMM_TRACE_FREE) {
            if (block == NULL)
                return i;
            blocks[op->id] = block;
            l->live += sizes[op->id] = (size_t)op->size;
            if (t->via != VIA_NOTHING)
                write_to(block, sizes[op->id]);
        }
        look(l);
    }
    return trace->op_count;
}

static void measure_memory(struct target *t)
{
    struct looks l = {.often = trace->op_count / 200 + 1};
    const size_t capacity = capacity_that_does(t);
    target_destroy(t);
    uint64_t before =
        t->via == VIA_ADAPTER ? bench_resident() + trace->id_limit * sizeof(size_t) : 0;
    begin(t, capacity);
    if (complete(use(t, &l)))
        bench_say("resident %lld\n", (long long)(l.peak - before));
}

/* ---- The smallest region ---- */

static bool fits(struct target *t, size_t capacity)
{
    return target_create(t, capacity) && run(t) == trace->op_count;
}

/* To a thousandth. */
static void measure_fits(struct target *t)
{
    if (t->via != VIA_ADAPTER)
        bench_die("fits: only an adapter has a region");
    size_t high = capacity_that_does(t), low = 0;
    while (high - low > high / 1024 + 64) {
        size_t middle = low + (high - low) / 2;
        *(fits(t, middle) ? &high : &low) = middle;
    }
    bench_say("smallest %zu\n", high);
}

/* ---- Which one it is ---- */

static void probe(const struct target *t)
{
    Dl_info info;
    if (t->via == VIA_ADAPTER)
        bench_say("adapter %s\n", t->adapter->name);
    else if (dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) != 0)
        bench_say("malloc %s\n", info.dli_fname);
}

int main(int argc, char **argv)
{
    struct target target;
    if (argc < 3 || (argc < 4 && strcmp(argv[1], "probe") != 0))
        bench_die("usage: replay probe|time|once|memory|fits TARGET [PACKED [PASSES]]");
    target_open(&target, argv[2]);
    if (argc > 3) {
        trace = packed_open(argv[3]);
        blocks = bench_table(trace->id_limit, sizeof *blocks);
    }
    if (strcmp(argv[1], "probe") == 0)
        probe(&target);
    else if (strcmp(argv[1], "time") == 0 && argc > 4)
        measure_time(&target, (size_t)bench_number("PASSES", argv[4], 1, 63));
    else if (strcmp(argv[1], "once") == 0)
        measure_once(&target);
    else if (strcmp(argv[1], "memory") == 0)
        measure_memory(&target);
    else if (strcmp(argv[1], "fits") == 0)
        measure_fits(&target);
    else
        bench_die("'%s' is nothing that replay does", argv[1]);
    return 0;
}
