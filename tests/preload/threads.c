/* SPDX-License-Identifier: MIT */
/*
 * Threads on one heap: blocks go from hand to hand with their contents looked at, threads come and
 * go, and memory is wanted at odd times. With -DHMM_OWN_NAMES on the library's own names instead.
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "case.h"

#if defined(HMM_OWN_NAMES)
#include "heap_memory_manager.h"
#define malloc hmm_malloc
#define calloc hmm_calloc
#define realloc hmm_realloc
#define aligned_alloc hmm_aligned_alloc
#define free hmm_free
#define malloc_usable_size hmm_usable_size
#endif

#ifndef ROUNDS
#define ROUNDS 40000
#endif
#define THREADS 4
#define SLOTS 64

/* What is handed over: filled with a letter that stands in it. */
struct parcel {
    uint32_t size;
    unsigned char letter, bytes[];
};

static struct parcel *slots[SLOTS];

static uint32_t any(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static struct parcel *pack(uint32_t *state)
{
    uint32_t size = any(state) % (any(state) % 50 == 0 ? 100000u : 400u);
    size_t whole = sizeof(struct parcel) + size;
    struct parcel *p = any(state) % 8 == 0   ? aligned_alloc(64, whole)
                       : any(state) % 8 == 0 ? calloc(1, whole)
                                             : malloc(whole);
    CHECK(p != NULL && malloc_usable_size(p) >= whole);
    p->size = size;
    p->letter = (unsigned char)any(state);
    memset(p->bytes, p->letter, size);
    return p;
}

static struct parcel *looked_at(struct parcel *p)
{
    for (uint32_t i = 0; i < p->size; i++)
        CHECK(p->bytes[i] == p->letter);
    return p;
}

/* Larger or smaller; what both have must stay. */
static struct parcel *repacked(struct parcel *p, uint32_t *state)
{
    uint32_t was = p->size, now = any(state) % 1000;
    p = realloc(p, sizeof *p + now);
    CHECK(p != NULL);
    p->size = was < now ? was : now;
    looked_at(p);
    p->size = now;
    memset(p->bytes, p->letter, now);
    return p;
}

static void *hand_over(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 2654435761u + 1;
    for (int i = 0; i < ROUNDS; i++) {
        struct parcel *mine = pack(&state), *theirs;
        theirs = __atomic_exchange_n(&slots[any(&state) % SLOTS], mine, __ATOMIC_ACQ_REL);
        if (theirs != NULL) {
            looked_at(theirs);
            free(any(&state) % 4 == 0 ? repacked(theirs, &state) : theirs);
        }
    }
    return NULL;
}

static void run_threads(void *(*work)(void *), int count)
{
    pthread_t t[64];
    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&t[i], NULL, work, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

static void hands(void)
{
    run_threads(hand_over, THREADS);
    for (int i = 0; i < SLOTS; i++)
        free(slots[i] ? looked_at(slots[i]) : NULL);
#if defined(HMM_OWN_NAMES)
    CHECK(hmm_heap_check(hmm_process_heap()) == NULL);
#endif
}

/* Its block outlives it; it frees that of the thread before. */
static void *short_life(void *seed)
{
    static void *before;
    void *mine = malloc(100 + (uintptr_t)seed);
    CHECK(mine);
    memset(mine, 1, 100);
    free(__atomic_exchange_n(&before, mine, __ATOMIC_ACQ_REL));
    return NULL;
}

static void come_and_go(void)
{
    for (int i = 0; i < 50; i++)
        run_threads(short_life, 8);
}

/* From one thread to many and back again: the lock is not always used. */
static void one_and_many(void)
{
    uint32_t state = 1;
    for (int i = 0; i < 100; i++) {
        free(repacked(pack(&state), &state));
        run_threads(short_life, 2);
        free(repacked(pack(&state), &state));
    }
}

static pthread_key_t key;

/* Memory is taken and given when the thread is all but gone. */
static void end_of_thread(void *block)
{
    static int left = 1000;
    looked_at(block);
    free(block);
    uint32_t state = 99;
    void *p = pack(&state);
    if (__atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) % 2)
        free(p);
    else
        CHECK(pthread_setspecific(key, p) == 0);
}

static void *with_a_key(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed;
    CHECK(pthread_setspecific(key, pack(&state)) == 0);
    return NULL;
}

static void destructors(void)
{
    CHECK(pthread_key_create(&key, end_of_thread) == 0);
    for (int i = 0; i < 20; i++)
        run_threads(with_a_key, 8);
}

/* ---- Buffers that grow by little, beside others' blocks ---- */

static void *growing(void *number)
{
    uint32_t state = 99991u * (uint32_t)(1 + (uintptr_t)number);
    unsigned char letter = (unsigned char)('a' + (uintptr_t)number), *p = malloc(1);
    size_t size = 0, end = 0;
    void *other = NULL;
    for (int i = 0; i < ROUNDS / 4; i++) {
        end = size < 1100 || any(&state) % 4 != 0 ? size + 1 + any(&state) % 16
                                                  : size - any(&state) % 64;
        CHECK((p = realloc(p, end)) != NULL && malloc_usable_size(p) >= end);
        if (end > size)
            memset(p + size, letter, end - size);
        size = end;
        if (i % 8 == 0) {
            free(other);
            CHECK((other = malloc(any(&state) % 5000)) != NULL);
        }
    }
    for (size_t i = 0; i < size; i++)
        CHECK(p[i] == letter);
    free(other);
    free(p);
    return NULL;
}

static void little_by_little(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, growing, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static const struct a_case cases[] = {
    {"hands", hands},
    {"come-and-go", come_and_go},
    {"one-and-many", one_and_many},
    {"destructors", destructors},
    {"little-by-little", little_by_little},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return run_case(cases, argc, argv);
}
