/* SPDX-License-Identifier: MIT */
/*
 * What the programs about threads with caches share: the heap that they run on, parcels, which are
 * blocks with a pattern in them; a table of parcels by which threads exchange them; and threads
 * that sleep. With -DHMM_OWN_NAMES they are on the library's own names, else on the preload
 * library.
 */
#ifndef HMM_TEST_PARCELS_H
#define HMM_TEST_PARCELS_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "case.h"

#ifdef HMM_NO_CACHE
#define CACHES 0
#else
#define CACHES 1
#endif

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if !defined(UNDER_TSAN)
#define UNDER_TSAN 0
#endif

#if defined(HMM_OWN_NAMES)
#include "heap_memory_manager.h"
#define malloc hmm_malloc
#define calloc hmm_calloc
#define realloc hmm_realloc
#define aligned_alloc hmm_aligned_alloc
#define free hmm_free
#define OF_HMM(name) name
#else /* of the preload library */
#include "hmm.h"
#define OF_HMM(name) ((__typeof__(&name))dlsym(RTLD_DEFAULT, #name))
#endif

#ifndef ROUNDS
#define ROUNDS 40000
#endif
#define TIMES(n) (ROUNDS < 10000 ? (n) / 5 : (n))
#define THREADS 5
#define SLOTS 4096

/* Filled with a letter that stands in it. */
struct parcel {
    uint32_t size;
    unsigned char letter, bytes[];
};

static struct parcel *table[SLOTS];
static int stop __attribute__((unused));
static pthread_barrier_t resting __attribute__((unused)), going_on __attribute__((unused));

static inline uint32_t any(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static inline struct parcel *pack(uint32_t *state)
{
    static const uint32_t few[] = {16, 24, 40, 64, 100, 300, 1000, 3000};
    uint32_t way = any(state) % 16;
    uint32_t size = way == 0 ? any(state) % 9000 : way < 8 ? few[way] : any(state) % 200;
    size_t whole = sizeof(struct parcel) + size;
    struct parcel *p = any(state) % 16 == 0 ? calloc(1, whole) : malloc(whole);
    CHECK(p != NULL);
    p->size = size;
    p->letter = (unsigned char)any(state);
    memset(p->bytes, p->letter, size);
    return p;
}

static inline struct parcel *looked_at(struct parcel *p)
{
    for (uint32_t i = 0; i < p->size; i++)
        CHECK(p->bytes[i] == p->letter);
    return p;
}

static inline struct parcel *repacked(struct parcel *p, uint32_t *state)
{
    uint32_t was = p->size, now = any(state) % (any(state) % 8 ? 300 : 5000);
    p = realloc(p, sizeof *p + now);
    CHECK(p != NULL);
    p->size = was < now ? was : now;
    looked_at(p);
    p->size = now;
    memset(p->bytes, p->letter, now);
    return p;
}

static inline void end_parcel(struct parcel *p)
{
    if (p != NULL)
        free(looked_at(p));
}

/* Takes what is in the slot, and puts p there. */
static inline struct parcel *swap(uint32_t slot, struct parcel *p)
{
    return __atomic_exchange_n(&table[slot], p, __ATOMIC_ACQ_REL);
}

static inline void empty_table(void)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        end_parcel(swap(i * 1237 % SLOTS, NULL));
}

/* So large a heap has runs. */
static inline void begin(void)
{
    void *p = malloc(4 << 20);
    KEEP(p);
    CHECK(p != NULL);
}

static inline struct hmm_stats stats(void)
{
    struct hmm_stats s;
    OF_HMM(hmm_heap_stats)(OF_HMM(hmm_process_heap)(), &s);
    return s;
}

/* With all other threads at rest. */
static inline void check_heap(void)
{
    const char *broken = OF_HMM(hmm_heap_check)(OF_HMM(hmm_process_heap)());
    if (broken != NULL)
        fprintf(stderr, "%s\n", broken);
    CHECK(broken == NULL);
}

static inline void run_threads(void *(*work)(void *), int count, uintptr_t seed)
{
    pthread_t t[128];
    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&t[i], NULL, work, (void *)(seed + (uintptr_t)i + 1)) == 0);
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

static inline void trade(uint32_t *state, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        struct parcel *p = swap(any(state) % SLOTS, any(state) % 4 ? pack(state) : NULL);
        if (p != NULL && any(state) % 4 == 0)
            p = repacked(p, state);
        end_parcel(p);
    }
}

/* A thread that leaves blocks in the table. */
static inline void *filling(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 40503u + 9;
    for (uint32_t i = 0; i < SLOTS; i++)
        if (any(&state) % 4 == 0)
            end_parcel(swap(i, pack(&state)));
    return NULL;
}

/* Becomes itself again with a heap of 24 MiB. */
static inline void in_a_small_heap(const char *name)
{
    if (getenv("HMM_HEAP_SIZE") == NULL && setenv("HMM_HEAP_SIZE", "24M", 1) == 0)
        execl("/proc/self/exe", "itself", name, NULL);
}

/* ---- Memory that other threads' caches hold ---- */

#define SMALL_HEAP ((size_t)24 << 20)

static void *many[400000];
static size_t many_count;

/* Takes objects of `size` bytes, until there are so many bytes of them. */
static inline void take_many(size_t size, size_t bytes)
{
    for (size_t n = bytes / size; n != 0; n--)
        CHECK((many[many_count++] = malloc(size)) != NULL);
}

static inline void free_many(size_t step)
{
    for (size_t first = 0; first < step; first++)
        for (size_t i = first; i < many_count; i += step)
            free(many[i]);
    many_count = 0;
}

/* The thread rests until it is to end. */
static inline void rest(void)
{
    pthread_barrier_wait(&resting);
    pthread_barrier_wait(&going_on);
}

static inline void end_resting(pthread_t t)
{
    pthread_barrier_wait(&going_on);
    CHECK(pthread_join(t, NULL) == 0);
}

static inline void serves(size_t size)
{
    void *p = malloc(size);
    KEEP(p);
    CHECK(p != NULL);
    free(p);
}

#endif
