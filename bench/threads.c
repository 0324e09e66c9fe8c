/* SPDX-License-Identifier: MIT */
/*
 * Patterns of programs with several threads.
 *
 *     threads time|memory TARGET PATTERN THREADS
 *
 * TARGET is "malloc" or "nothing". Patterns:
 *
 *     local      each thread replaces blocks of its own, at random
 *     larson     the same; now and then all threads end, and new ones go on with the blocks of
 *                others (as a server does whose sessions outlive its threads)
 *     exchange   each thread allocates a batch, leaves it to its neighbour, and frees the batch
 *                that it finds left for itself
 *     pipeline   half of the threads allocate, and the other half free what those allocated
 *     scratch    each thread has small blocks that were allocated in turn with those of others,
 *                frees one, and writes to one new block after the other: do the blocks of two
 *                threads come to share a cache line?
 *     large      as local, with blocks of 8 to 64 KiB, more than a thread has to itself
 *
 * time prints "cpu" and "wall": nanoseconds for one malloc or free, processor time summed over all
 * threads. What the pattern itself takes is in them, and is what they are on nothing: where threads
 * wait for each other it is not the same with each allocator, and so cannot be subtracted. memory
 * prints "resident".
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "target.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define MOST_THREADS 64u
#define SLOTS 1000u
#define REPLACEMENTS 200000u /* of a thread; two operations each */
#define GENERATIONS 10u      /* of larson */
#define BATCH 64u
#define BATCHES 8u     /* on their way between a producer and its consumer */
#define SCRATCHES 100u /* writes to a block */
#define SCRATCH_SIZE 16u
#define LARGE_SLOTS 100u

struct batch {
    struct batch *next;
    void *blocks[BATCH];
};

/* Each on lines of its own, so that threads meet in the allocator and not here. */
struct worker {
    _Alignas(128) uint64_t random;
    unsigned index;
    double nanoseconds;
    void *slots[SLOTS];
    struct batch *batch;
    char own[64]; /* the block that "nothing" hands out */
    _Alignas(128) _Atomic(struct batch *) mailbox;
};

/* Batches from one thread to another. */
struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t some;
    struct batch *first, *last;
};

struct pattern {
    const char *name;
    unsigned generations;
    void (*work)(struct worker *);
};

static struct worker workers[MOST_THREADS];
static struct batch batches[MOST_THREADS * BATCHES];
static struct queue full[MOST_THREADS], empty[MOST_THREADS];
static const struct pattern *pattern;
static unsigned threads;
static bool really;    /* malloc and free, not nothing */
static bool write_all; /* to all of a block, not only to its first bytes */
static atomic_uint running;

/* ---- One operation ---- */

static void *take_bytes(struct worker *w, size_t size)
{
    void *block = really ? malloc(size) : nothing_realloc(w->own, size);
    if (block == NULL)
        bench_die("%s: out of memory", pattern->name);
    if (write_all && really)
        memset(block, 1, size);
    else
        *(unsigned *)block = w->index;
    return block;
}

static void *take(struct worker *w)
{
    return take_bytes(w, bench_random_size(&w->random, 4, (w->random & 63) == 0 ? 13 : 9));
}

static void give(void *block)
{
    if (really)
        free(block);
    else
        nothing_free(block);
}

/* ---- Patterns ---- */

static void replace(struct worker *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        void **slot = &w->slots[bench_random(&w->random) % SLOTS];
        give(*slot);
        *slot = take(w);
    }
}

static void local(struct worker *w)
{
    replace(w, REPLACEMENTS);
}

/* The slots are another thread's in each generation: see swap_slots. */
static void larson(struct worker *w)
{
    replace(w, REPLACEMENTS / GENERATIONS);
}

static void fill(struct worker *w, struct batch *b)
{
    for (unsigned i = 0; i < BATCH; i++)
        b->blocks[i] = take(w);
}

static void drain(struct batch *b)
{
    for (unsigned i = 0; i < BATCH; i++) {
        give(b->blocks[i]);
        b->blocks[i] = NULL;
    }
}

static void exchange(struct worker *w)
{
    struct worker *neighbour = &workers[(w->index + 1) % threads];
    for (unsigned i = 0; i < REPLACEMENTS / BATCH; i++) {
        fill(w, w->batch);
        w->batch = atomic_exchange(&neighbour->mailbox, w->batch);
        drain(w->batch);
        w->batch = atomic_exchange(&w->mailbox, w->batch);
        drain(w->batch);
    }
}

static void push(struct queue *q, struct batch *b)
{
    b->next = NULL;
    pthread_mutex_lock(&q->mutex);
    if (q->first == NULL)
        q->first = b;
    else
        q->last->next = b;
    q->last = b;
    pthread_cond_signal(&q->some);
    pthread_mutex_unlock(&q->mutex);
}

static struct batch *pop(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    while (q->first == NULL)
        pthread_cond_wait(&q->some, &q->mutex);
    struct batch *b = q->first;
    q->first = b->next;
    pthread_mutex_unlock(&q->mutex);
    return b;
}

static void produce(struct worker *w, unsigned pair)
{
    struct batch *b = pop(&empty[pair]);
    fill(w, b);
    push(&full[pair], b);
}

static void consume(unsigned pair)
{
    struct batch *b = pop(&full[pair]);
    drain(b);
    push(&empty[pair], b);
}

/* In a pair each thread does half of the operations of two. A single thread is both. */
static void pipeline(struct worker *w)
{
    const unsigned count = REPLACEMENTS / BATCH * (threads > 1 ? 2 : 1), pair = w->index / 2;
    for (unsigned i = 0; i < count; i++) {
        if (w->index % 2 == 0)
            produce(w, pair);
        if (w->index % 2 == 1 || threads == 1)
            consume(pair);
    }
}

static void scratch(struct worker *w)
{
    give(w->slots[0]);
    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        volatile unsigned *block = take_bytes(w, SCRATCH_SIZE);
        for (unsigned n = 0; n < SCRATCHES; n++)
            *block = n;
        give((void *)(uintptr_t)block);
    }
    w->slots[0] = NULL;
}

static void large(struct worker *w)
{
    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        void **slot = &w->slots[bench_random(&w->random) % LARGE_SLOTS];
        give(*slot);
        *slot = take_bytes(w, bench_random_size(&w->random, 13, 16));
    }
}

static const struct pattern patterns[] = {
    {"local", 1, local},       {"larson", GENERATIONS, larson}, {"exchange", 1, exchange},
    {"pipeline", 1, pipeline}, {"scratch", 1, scratch},         {"large", 1, large},
};

/* ---- Running one ---- */

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    double start = bench_thread_nanoseconds();
    pattern->work(w);
    w->nanoseconds += bench_thread_nanoseconds() - start;
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void swap_slots(void)
{
    void *first[SLOTS];
    memcpy(first, workers[0].slots, sizeof first);
    for (unsigned i = 0; i + 1 < threads; i++)
        memcpy(workers[i].slots, workers[i + 1].slots, sizeof first);
    memcpy(workers[threads - 1].slots, first, sizeof first);
}

/* The most memory resident while the threads run, or 0 where that is not asked for. */
static uint64_t generation(bool memory)
{
    pthread_t ids[MOST_THREADS];
    uint64_t peak = 0;
    atomic_store(&running, threads);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, thread_main, &workers[i]) != 0)
            bench_die("cannot make a thread");
    while (memory && atomic_load(&running) > 0) {
        uint64_t now = bench_resident();
        peak = now > peak ? now : peak;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    uint64_t now = memory ? bench_resident() : 0;
    return now > peak ? now : peak;
}

static void set_up(void)
{
    memset(workers, 0, sizeof workers);
    for (unsigned i = 0; i < threads; i++) {
        workers[i].index = i;
        workers[i].random = 88172645463325252u + i * 7919u;
        workers[i].batch = &batches[2 * i];
        workers[i].mailbox = &batches[2 * i + 1];
        full[i] = empty[i] =
            (struct queue){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, NULL};
    }
    memset(batches, 0, sizeof batches);
    for (unsigned i = 0; pattern->work == scratch && i < SLOTS * threads; i++)
        workers[i % threads].slots[i / threads] = take_bytes(&workers[0], SCRATCH_SIZE);
    if (pattern->work == pipeline)
        for (unsigned i = 0; i < (threads + 1) / 2 * BATCHES; i++)
            push(&empty[i / BATCHES], &batches[i]);
}

static void tear_down(void)
{
    for (unsigned i = 0; i < threads; i++)
        for (unsigned s = 0; s < SLOTS; s++)
            give(workers[i].slots[s]);
    for (unsigned i = 0; i < MOST_THREADS * BATCHES; i++)
        drain(&batches[i]);
}

/* Nanoseconds of processor time, and of time, and bytes, of all. */
static void run(bool memory, double *cpu, double *wall, uint64_t *resident)
{
    set_up();
    *resident = 0;
    double start = bench_wall_nanoseconds();
    for (unsigned g = 0; g < pattern->generations; g++) {
        uint64_t peak = generation(memory);
        *resident = peak > *resident ? peak : *resident;
        swap_slots();
    }
    *wall = bench_wall_nanoseconds() - start;
    *cpu = 0;
    for (unsigned i = 0; i < threads; i++)
        *cpu += workers[i].nanoseconds;
    tear_down();
}

static void measure(bool memory, bool nothing)
{
    const double operations = 2.0 * REPLACEMENTS * threads;
    double cpu, wall;
    uint64_t resident;
    really = !nothing;
    write_all = memory;
    for (int i = 0; i < (memory ? 1 : 2); i++) {
        run(memory, &cpu, &wall, &resident);
        if (memory)
            bench_say("resident %llu\n", (unsigned long long)resident);
        else
            bench_say("cpu %.4f\nwall %.4f\n", cpu / operations, wall / operations);
    }
}

int main(int argc, char **argv)
{
    struct target target;
    if (argc != 5)
        bench_die("usage: threads time|memory TARGET PATTERN THREADS");
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (strcmp(argv[3], patterns[i].name) == 0)
            pattern = &patterns[i];
    if (pattern == NULL)
        bench_die("no pattern '%s'", argv[3]);
    target_open(&target, argv[2]);
    if (target.via == VIA_ADAPTER)
        bench_die("an adapter has no lock: it is measured on one thread only");
    threads = (unsigned)bench_number("THREADS", argv[4], 1, MOST_THREADS);
    if (threads > 1 && threads % 2 != 0)
        bench_die("THREADS: '%s' is not 1 or an even number", argv[4]);
    measure(strcmp(argv[1], "memory") == 0, target.via == VIA_NOTHING);
    return 0;
}
