/* SPDX-License-Identifier: MIT */
/*
 * Threads that have caches, on a heap that is large enough for them: each other's blocks freed,
 * threads that end before their blocks do, again and again, and forks among them. With -DHMM_DOORS
 * on the library's own names instead.
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
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

#if defined(HMM_DOORS)
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
static int stop;
static pthread_barrier_t resting, going_on;

static uint32_t any(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static struct parcel *pack(uint32_t *state)
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

static struct parcel *looked_at(struct parcel *p)
{
    for (uint32_t i = 0; i < p->size; i++)
        CHECK(p->bytes[i] == p->letter);
    return p;
}

static struct parcel *repacked(struct parcel *p, uint32_t *state)
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

static void end_parcel(struct parcel *p)
{
    if (p != NULL)
        free(looked_at(p));
}

/* Takes what is in the slot, and puts p there. */
static struct parcel *swap(uint32_t slot, struct parcel *p)
{
    return __atomic_exchange_n(&table[slot], p, __ATOMIC_ACQ_REL);
}

static void empty_table(void)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        end_parcel(swap(i * 1237 % SLOTS, NULL));
}

/* So large a heap has runs. */
static void begin(void)
{
    void *p = malloc(4 << 20);
    KEEP(p);
    CHECK(p != NULL);
}

static struct hmm_stats stats(void)
{
    struct hmm_stats s;
    OF_HMM(hmm_heap_stats)(OF_HMM(hmm_process_heap)(), &s);
    return s;
}

/* With all other threads at rest. */
static void check_heap(void)
{
    const char *broken = OF_HMM(hmm_heap_check)(OF_HMM(hmm_process_heap)());
    if (broken != NULL)
        fprintf(stderr, "%s\n", broken);
    CHECK(broken == NULL);
}

static void run_threads(void *(*work)(void *), int count, uintptr_t seed)
{
    pthread_t t[128];
    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&t[i], NULL, work, (void *)(seed + (uintptr_t)i + 1)) == 0);
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

/* ---- Through a table ---- */

static void trade(uint32_t *state, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        struct parcel *p = swap(any(state) % SLOTS, any(state) % 4 ? pack(state) : NULL);
        if (p != NULL && any(state) % 4 == 0)
            p = repacked(p, state);
        end_parcel(p);
    }
}

static void *trading(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 2654435761u + 1;
    trade(&state, ROUNDS);
    return NULL;
}

static void through_a_table(void)
{
    begin();
    for (uintptr_t i = 0; i < 3; i++) {
        run_threads(trading, THREADS, i * 100);
        check_heap();
    }
    empty_table();
    check_heap();
}

static void *trading_and_resting(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 2654435761u + 1;
    for (int i = 0; i < TIMES(50); i++) {
        trade(&state, 300);
        pthread_barrier_wait(&resting);
        pthread_barrier_wait(&going_on);
    }
    return NULL;
}

/* While all threads rest the heap is whole, whatever they have in their hands. */
static void at_rest(void)
{
    pthread_t t[THREADS];
    begin();
    CHECK(pthread_barrier_init(&resting, NULL, THREADS + 1) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, THREADS + 1) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, trading_and_resting, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < TIMES(50); i++) {
        pthread_barrier_wait(&resting);
        check_heap();
        pthread_barrier_wait(&going_on);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    empty_table();
    check_heap();
}

/* ---- Producers and consumers ---- */

/* From 0 up the slots are a row that one end fills, and the other empties. */
static void *producing(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 77777u + 5;
    for (int i = 0; i < ROUNDS * 2; i++) {
        struct parcel *p = pack(&state), *none = NULL;
        uint32_t slot = (uint32_t)i % 512 * 2 + (uint32_t)(uintptr_t)seed % 2;
        while (!__atomic_compare_exchange_n(&table[slot], &none, p, false, __ATOMIC_ACQ_REL,
                                            __ATOMIC_RELAXED)) {
            none = NULL;
            sched_yield();
        }
    }
    return NULL;
}

static void *consuming(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        for (uint32_t i = 0; i < 1024; i++)
            end_parcel(swap(i, NULL));
        sched_yield();
    }
    return unused;
}

/* What is consumed comes back to the producers: the heap stays as it was. */
static void producers(void)
{
    pthread_t t[2];
    begin();
    run_threads(trading, 1, 1);
    size_t brk = stats().brk;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&t[i], NULL, consuming, NULL) == 0);
    run_threads(producing, 2, 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    empty_table();
    check_heap();
    CHECK(stats().brk < brk + (6 << 20));
}

/* ---- Threads that end ---- */

static void *filling(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 40503u + 9;
    for (uint32_t i = 0; i < SLOTS; i++)
        if (any(&state) % 4 == 0)
            end_parcel(swap(i, pack(&state)));
    return NULL;
}

/* Their blocks are freed by the next ones, and in the end by main. */
static void orphans(void)
{
    begin();
    for (uintptr_t i = 0; i < 10; i++) {
        run_threads(filling, 8, i * 50);
        check_heap();
        if (i % 3 == 2) {
            empty_table();
            check_heap();
        }
    }
    empty_table();
    check_heap();
}

/* Becomes itself again with a heap of 24 MiB. */
static void in_a_small_heap(const char *name)
{
    if (getenv("HMM_HEAP_SIZE") == NULL && setenv("HMM_HEAP_SIZE", "24M", 1) == 0)
        execl("/proc/self/exe", "thread_caches", name, NULL);
}

/* ---- Memory that other threads' caches hold ---- */

#define SMALL_HEAP ((size_t)24 << 20)

static void *many[400000];
static size_t many_count;

/* Takes objects of `size` bytes, until there are so many bytes of them. */
static void take_many(size_t size, size_t bytes)
{
    for (size_t n = bytes / size; n != 0; n--)
        CHECK((many[many_count++] = malloc(size)) != NULL);
}

static void free_many(size_t step)
{
    for (size_t first = 0; first < step; first++)
        for (size_t i = first; i < many_count; i += step)
            free(many[i]);
    many_count = 0;
}

/* The thread rests until it is to end. */
static void rest(void)
{
    pthread_barrier_wait(&resting);
    pthread_barrier_wait(&going_on);
}

static void end_resting(pthread_t t)
{
    pthread_barrier_wait(&going_on);
    CHECK(pthread_join(t, NULL) == 0);
}

static void serves(size_t size)
{
    void *p = malloc(size);
    KEEP(p);
    CHECK(p != NULL);
    free(p);
}

static void *taking_many(void *which)
{
    static const size_t sizes[] = {208, 72, 880};
    take_many(sizes[(uintptr_t)which % 3], SMALL_HEAP * 3 / 4);
    rest();
    return NULL;
}

/* A thread sleeps; another frees all that it has, in order or not, and then wants a large block. */
static void freed_for_a_sleeper(void)
{
    in_a_small_heap("freed-for-a-sleeper");
    for (uintptr_t i = 0; i < 6; i++) {
        pthread_t t;
        CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
        CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
        CHECK(pthread_create(&t, NULL, taking_many, (void *)i) == 0);
        pthread_barrier_wait(&resting);
        free_many(i < 3 ? 1 : 97);
        size_t failed = stats().failed;
        serves(SMALL_HEAP * 2 / 3);
        CHECK(stats().failed == failed);
        check_heap();
        end_resting(t);
        serves(SMALL_HEAP * 7 / 8);
        check_heap();
    }
}

/* Frees what another thread took, of a size that it requests itself, and then rests. */
static void *freeing_and_resting(void *size)
{
    free(malloc((uintptr_t)size));
    for (int i = 0; i < 40; i++)
        many[many_count++] = malloc((uintptr_t)size);
    free_many(1);
    rest();
    return NULL;
}

/* What a thread keeps of others' objects is there for all while it sleeps, but for a few. */
static void kept_by_a_sleeper(void)
{
    in_a_small_heap("kept-by-a-sleeper");
    for (uintptr_t size = 72; size < 1000; size = size * 3 / 2) {
        pthread_t t;
        take_many(size, SMALL_HEAP * 3 / 4);
        CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
        CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
        CHECK(pthread_create(&t, NULL, freeing_and_resting, (void *)size) == 0);
        pthread_barrier_wait(&resting);
        serves(SMALL_HEAP * 2 / 3);
        check_heap();
        end_resting(t);
    }
}

static int reused;

static void *freeing_and_requesting(void *unused)
{
    static void *own[64];
    for (int i = 0; i < 64; i++)
        CHECK((own[i] = malloc(100)) != NULL);
    for (int i = 0; i < 32; i++)
        free(many[i]);
    for (int i = 0; i < 300; i++) { /* more than its run has */
        void *p = malloc(100);
        CHECK(p != NULL);
        for (int k = 0; k < 32; k++)
            reused += p == many[k];
    }
    return unused;
}

/* A thread that frees another's objects requests the same size: it gets them. */
static void reused_where_freed(void)
{
    begin();
    take_many(100, 3200);
    run_threads(freeing_and_requesting, 1, 0);
    CHECK(reused > 20); /* the first had no run */
    check_heap();
}

static void *leaving_empty_runs(void *unused)
{
    for (size_t size = 48; size < 1000; size += 176) {
        take_many(size, SMALL_HEAP / 16);
        free_many(1);
    }
    rest();
    return unused;
}

/* What a sleeping thread has empty is there for others, but one run of each class. In a heap that
 * is large when its runs become empty. */
static void empty_for_a_sleeper(void)
{
    pthread_t t;
    in_a_small_heap("empty-for-a-sleeper");
    size_t most = stats().largest_free, got = 0;
    void *large = malloc(SMALL_HEAP * 3 / 4);
    CHECK(large != NULL && pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, leaving_empty_runs, NULL) == 0);
    pthread_barrier_wait(&resting);
    free(large);
    while ((many[got] = malloc(1500)) != NULL)
        got++;
    CHECK(got * 1500 > most - 6 * (32 << 10) - (160 << 10));
    while (got-- > 0)
        free(many[got]);
    check_heap();
    end_resting(t);
}

/* Blocks of 1 to 64 KiB, half of them freed. */
static void *leaving_medium_blocks(void *unused)
{
    uint32_t state = 7;
    for (size_t i = 0; i < 20; i++)
        free(malloc(10000 + i * 2500));
    while (many_count < 1600)
        CHECK((many[many_count++] = malloc(1100 + any(&state) % 9000)) != NULL);
    for (size_t i = 0; i < many_count; i++)
        if (i % 8 != 0)
            free(many[i]);
    rest();
    return unused;
}

/* What a sleeping thread has of freed medium blocks is counted, and is there for others. */
static void medium_for_a_sleeper(void)
{
    pthread_t t;
    in_a_small_heap("medium-for-a-sleeper");
    begin();
    CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, leaving_medium_blocks, NULL) == 0);
    pthread_barrier_wait(&resting);
    size_t cached = stats().cached, blocks = stats().live_blocks, n = 0, got = 0;
    check_heap();
    while ((many[many_count + n] = malloc(3000)) != NULL)
        n++;
    CHECK(stats().cached <= cached / 8); /* 0 without caches */
    for (size_t i = 0; i < n; i++)
        free(many[many_count + i]);
    for (size_t i = 0; i < many_count; i += 8, got++)
        free(many[i]);
    CHECK(stats().live_blocks == blocks - got);
    check_heap();
    end_resting(t);
    serves(SMALL_HEAP * 2 / 3);
    CHECK(!CACHES || cached > 500000);
}

static void *leaving_much_idle(void *unused)
{
    while (many_count < 600)
        CHECK((many[many_count++] = malloc(8000)) != NULL);
    free_many(1);
    rest();
    return unused;
}

/* The break does not rise as long as a sleeping thread has much idle. */
static void idle_for_others(void)
{
    pthread_t t;
    begin();
    serves(100); /* so that this thread has a cache too */
    CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, leaving_much_idle, NULL) == 0);
    pthread_barrier_wait(&resting);
    size_t brk = stats().brk, idle = 600 * 8000, taken = 0;
    CHECK(!CACHES || stats().cached > idle / 4);
    for (; taken < idle / 8 * 7; taken += 3000)
        CHECK((many[many_count++] = malloc(3000)) != NULL);
    CHECK(stats().brk < brk + idle / 8);
    check_heap();
    end_resting(t);
}

static void *trading_to_the_end(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 2654435761u + 1;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        trade(&state, 100);
    return NULL;
}

/* While threads are at work on their runs all that they do not use is taken from them, again and
 * again: the request is for more than there can be. */
static void taken_from_the_busy(void)
{
    pthread_t t[THREADS];
    uint32_t state = 77;
    in_a_small_heap("taken-from-the-busy");
    begin();
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, trading_to_the_end, (void *)i) == 0);
    for (int i = 0; i < TIMES(3000); i++) {
        void *p = malloc(SMALL_HEAP * 5 / 6);
        KEEP(p);
        CHECK(p == NULL);
        if (i % 4 == 0)
            trade(&state, 20);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    check_heap();
    empty_table();
    serves(SMALL_HEAP / 2);
    check_heap();
}

/* A few objects of which two make a run: each run is empty, allocated from, full and queued again
 * every few turns, some of its objects freed by the next thread. */
static void *turning_over(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 2654435761u + 1;
    uint64_t *mine[24] = {NULL};
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        uint32_t i = any(&state) % 24;
        uint64_t *p = mine[i];
        mine[i] = NULL;
        if (p == NULL) {
            CHECK((p = malloc(1000)) != NULL);
            p[0] = p[124] = (uint64_t)(uintptr_t)p + state;
            p[1] = state;
            mine[i] = p;
            continue;
        }
        CHECK(p[0] == (uintptr_t)p + p[1] && p[124] == p[0]);
        if (any(&state) % 4 == 0)
            p = __atomic_exchange_n((uint64_t **)(void *)&table[any(&state) % 8], p,
                                    __ATOMIC_ACQ_REL);
        CHECK(p == NULL || (p[0] == (uintptr_t)p + p[1] && p[124] == p[0]));
        free(p);
    }
    for (int i = 0; i < 24; i++)
        free(mine[i]);
    return NULL;
}

static void taken_while_they_turn_over(void)
{
    pthread_t t[3];
    in_a_small_heap("taken-while-they-turn-over");
    begin();
    for (uintptr_t i = 0; i < 3; i++)
        CHECK(pthread_create(&t[i], NULL, turning_over, (void *)i) == 0);
    for (int i = 0; i < TIMES(6000); i++) {
        void *p = malloc(SMALL_HEAP * 5 / 6);
        KEEP(p);
        CHECK(p == NULL);
        if (i % 64 == 0)
            sched_yield();
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    for (int i = 0; i < 8; i++)
        free(table[i]);
    check_heap();
}

#if defined(HMM_DOORS) /* where the heap is this program's only */

/* Nothing is left of threads that are gone, when their blocks are: a block that fitted before them
 * fits again. */
static void nothing_is_left(void)
{
    in_a_small_heap("nothing-is-left");
    begin();
    run_threads(filling, 1, 3);
    empty_table();
    size_t most = stats().largest_free - (256 << 10);
    for (uintptr_t i = 0; i < TIMES(10); i++) {
        void *p = malloc(most);
        CHECK(p != NULL);
        free(p);
        run_threads(filling, i % 2 ? 3 : 64, i * 100);
        empty_table();
        check_heap();
    }
}

/* Kept blocks give way, whoever it is that wants memory: this thread has had no object. */
static void all_is_kept(void)
{
    static void *blocks[16000];
    in_a_small_heap("all-is-kept");
    size_t most = stats().largest_free, n = 0, failed;
    while ((blocks[n] = malloc(2000 + n % 50 * 100)) != NULL)
        n++;
    for (size_t i = 0; i < n; i++)
        free(blocks[i]);
    CHECK(n > 4000);
    failed = stats().failed;
    void *p = malloc(most);
    CHECK(p != NULL && stats().failed == failed);
    free(p);
    check_heap();
}

#endif

/* In turn, a MiB; then it is free, and the thread rests. */
static void *passing_through(void *unused)
{
    static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
    static void *blocks[16384];
    pthread_mutex_lock(&turn);
    for (size_t i = 0; i < 16384; i++)
        CHECK((blocks[i] = malloc(60)) != NULL);
    for (size_t i = 0; i < 16384; i++)
        free(blocks[i]);
    pthread_mutex_unlock(&turn);
    pthread_barrier_wait(&resting);
    return unused;
}

/* What threads leave idle is a part of the heap, however many they are. */
static void idle_is_shared(void)
{
    enum { MANY = 40 };
    begin();
    CHECK(pthread_barrier_init(&resting, NULL, 1) == 0);
    run_threads(passing_through, 1, 0);
    size_t brk = stats().brk;
    CHECK(pthread_barrier_init(&resting, NULL, MANY) == 0);
    run_threads(passing_through, MANY, 0);
    CHECK(stats().brk_peak - brk < (size_t)4 << 20);
}

/* Again and again: memory does not grow. */
static void again_and_again(void)
{
    size_t most = 0;
    begin();
    for (int i = 0; i < TIMES(300); i++) {
        run_threads(filling, 2, (uintptr_t)i * 3);
        if (i == TIMES(50))
            most = stats().brk;
    }
    check_heap();
    CHECK(stats().brk < most + most / 4);
    empty_table();
    check_heap();
}

#if !UNDER_TSAN

static double now_of_this_thread(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *freeing_many(void *unused)
{
    free_many(61);
    return unused;
}

/* What others have freed is returned to its runs little by little: each of many requests is short,
 * and what was freed is used again. */
static void taken_in_portions(void)
{
    double longest = 0;
    many_count = 0;
    take_many(32, sizeof many / sizeof *many * 32);
    size_t brk = stats().brk;
    run_threads(freeing_many, 1, 0);
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        double from = now_of_this_thread();
        CHECK((many[i] = malloc(32)) != NULL);
        double took = now_of_this_thread() - from;
        longest = took > longest ? took : longest;
        if (i == 200)
            check_heap();
    }
    if (longest > 1.5e6)
        fprintf(stderr, "%.0f ns\n", longest);
    CHECK(longest <= 1.5e6 && stats().brk < brk + (1 << 20));
    check_heap();
}

static void *leaving_a_little(void *unused)
{
    void *p[60];
    for (size_t i = 0; i < 60; i++)
        CHECK((p[i] = malloc(i * 17)) != NULL);
    for (size_t i = 0; i < 60; i++)
        if (i % 20 != 7)
            free(p[i]);
    pthread_barrier_wait(&resting);
    return unused;
}

/* Nanoseconds of a malloc and free, of the processor's time, where many runs come and go. */
static double cost_of_new_runs(void)
{
    static void *p[1500];
    double least = 1e9;
    for (int round = 0; round < 5; round++) {
        double from = now_of_this_thread();
        for (size_t size = 24; size <= 1000; size += 64) {
            for (int i = 0; i < 1500; i++)
                CHECK((p[i] = malloc(size)) != NULL);
            for (int i = 0; i < 1500; i++)
                free(p[i]);
        }
        double ns = (now_of_this_thread() - from) / (16 * 1500);
        least = ns < least ? ns : least;
    }
    return least;
}

/* After many threads that are gone what a thread does costs what it did. */
static void after_a_burst(void)
{
    enum { BURST = 6000 };
    static pthread_t t[BURST];
    pthread_attr_t small;
    double before = cost_of_new_runs();
    CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 32768) == 0);
    CHECK(pthread_barrier_init(&resting, NULL, BURST) == 0);
    for (int i = 0; i < BURST; i++)
        CHECK(pthread_create(&t[i], &small, leaving_a_little, NULL) == 0);
    for (int i = 0; i < BURST; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    double after = cost_of_new_runs();
    if (after > 8 * before + 20)
        fprintf(stderr, "%.1f ns before, %.1f ns after\n", before, after);
    CHECK(after <= 8 * before + 20);
    check_heap();
}

#endif

/* ---- Jobs in turn ---- */

enum { WORKERS = 10, JOBS = 120 };

static pthread_mutex_t job_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t job_is_next = PTHREAD_COND_INITIALIZER;
static int next_job, last_job;

/* Takes 8 MiB, and frees all but one object in 700, in any order. */
static void do_job(uint32_t *state)
{
    size_t n = 0;
    for (size_t bytes = 0; bytes < (size_t)8 << 20; n++) {
        size_t size = 20 + any(state) % 600;
        CHECK((many[n] = malloc(size)) != NULL);
        bytes += size;
    }
    for (size_t i = n - 1; i > 0; i--) {
        size_t k = any(state) % (i + 1);
        void *p = many[i];
        many[i] = many[k];
        many[k] = p;
    }
    for (size_t i = 0; i < n; i++)
        if (i % 700 != 0)
            free(many[i]);
}

static void *working(void *me)
{
    uint32_t state = (uint32_t)(uintptr_t)me * 2654435761u + 1;
    pthread_mutex_lock(&job_lock);
    while (next_job < last_job) {
        if (next_job % WORKERS == (int)(uintptr_t)me - 1) {
            do_job(&state);
            next_job++;
            pthread_cond_broadcast(&job_is_next);
        } else {
            pthread_cond_wait(&job_is_next, &job_lock);
        }
    }
    pthread_mutex_unlock(&job_lock);
    return NULL;
}

/* A worker sleeps after its job: what it has free serves the next. The live bytes are 10 MiB at
 * most; a thread may keep a MiB and a quarter. */
static void jobs_in_turn(void)
{
    pthread_t t[WORKERS];
    last_job = JOBS;
    for (uintptr_t i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&t[i], NULL, working, (void *)(i + 1)) == 0);
    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    check_heap();
    CHECK(stats().brk_peak < (size_t)24 << 20);
}

/* ---- Destructors ---- */

static pthread_key_t keys[3];

/* Takes and gives, some of it after the thread's own cache has gone. */
static void end_of_key(void *p)
{
    static int turn;
    static __thread int turns; /* a race detector is gone in the last */
    uint32_t state = (uint32_t)__atomic_add_fetch(&turn, 1, __ATOMIC_RELAXED) * 2654435761u + 1;
    end_parcel(p);
    trade(&state, 300);
    if (++turns < 4 && any(&state) % 2)
        CHECK(pthread_setspecific(keys[any(&state) % 3], pack(&state)) == 0);
}

static void *with_keys(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 69069u + 1;
    for (int i = 0; i < 3; i++)
        CHECK(pthread_setspecific(keys[i], pack(&state)) == 0);
    trade(&state, 1000);
    return NULL;
}

/* One key before the heap has made its own. */
static void destructors(void)
{
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_key_create(&keys[i], end_of_key) == 0);
        if (i == 0)
            begin();
    }
    for (uintptr_t i = 0; i < TIMES(40); i++) {
        run_threads(with_keys, 6, i * 10);
        check_heap();
    }
    empty_table();
    check_heap();
}

/* ---- Misuse: each is to end the program ---- */

static char *theirs;

static void *allocating(void *unused)
{
    for (int i = 0; i < 1000; i++)
        CHECK((theirs = malloc(64)) != NULL);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE) && unused == (void *)1)
        sched_yield();
    return NULL;
}

/* A medium block that another thread has freed: by this one, or by yet another. */
static void *freeing_medium(void *unused)
{
    CHECK((theirs = malloc(5000)) != NULL);
    free(theirs);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        sched_yield();
    return unused;
}

static void medium_twice(void)
{
    begin();
    char *p = malloc(20000);
    KEEP(p);
    free(p);
    free(p);
}

static void medium_twice_by_others(void)
{
    pthread_t t;
    begin();
    CHECK(pthread_create(&t, NULL, freeing_medium, NULL) == 0);
    usleep(100000);
    free(theirs);
}

/* An object that its owner frees while the thread that freed it first keeps it. */
static void *freeing_theirs_twice(void *unused)
{
    void *mine[40];
    for (int i = 0; i < 40; i++)
        CHECK((mine[i] = malloc(64)) != NULL);
    KEEP(mine[0]);
    free(theirs);
    pthread_barrier_wait(&resting);
    pthread_barrier_wait(&going_on);
    for (int i = 0; i < 1000; i++)
        CHECK(malloc(64) != NULL);
    return unused;
}

static void kept_twice(void)
{
    pthread_t t;
    begin();
    for (int i = 0; i < 1000; i++)
        CHECK((theirs = malloc(64)) != NULL);
    CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
    CHECK(pthread_create(&t, NULL, freeing_theirs_twice, NULL) == 0);
    pthread_barrier_wait(&resting);
    free(theirs);
    end_resting(t);
}

static void *freeing(void *unused)
{
    (void)unused;
    free(theirs);
    return NULL;
}

/* A thread that is still there, or not. */
static void by_another(bool gone)
{
    pthread_t t;
    begin();
    CHECK(pthread_create(&t, NULL, allocating, gone ? NULL : (void *)1) == 0);
    if (gone)
        CHECK(pthread_join(t, NULL) == 0);
    else
        usleep(100000);
}

static void twice_by_others(void)
{
    by_another(false);
    run_threads(freeing, 1, 0);
    run_threads(freeing, 1, 0);
}

static void twice_of_the_gone(void)
{
    by_another(true);
    run_threads(freeing, 1, 0);
    free(theirs);
}

static void inside_of_others(void)
{
    by_another(false);
    free(theirs + 16);
}

/* ---- Forks ---- */

#if !UNDER_TSAN /* after a fork it goes no further */

static void *trading_on(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed * 2654435761u + 1;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        trade(&state, 200);
    return NULL;
}

static void end_child(pid_t pid)
{
    int status = 0;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* In a child: the blocks of all threads are there, to be used and freed; by new threads too; and
 * its children are as it. */
static void be_child(int depth, uint32_t state)
{
    trade(&state, 500);
    if (depth < 2) {
        pid_t pid = fork();
        if (pid == 0) {
            be_child(depth + 1, state + 1);
            _exit(0);
        }
        end_child(pid);
    }
    run_threads(filling, 2, state);
    empty_table();
    for (int i = 0; i < 3; i++) {
        trade(&state, 500);
        empty_table();
    }
    check_heap();
}

/* In a child what threads had that are gone comes back, freed before the fork or after it. */
static void freed_for_the_gone(void)
{
    in_a_small_heap("freed-for-the-gone");
    for (uintptr_t i = 0; i < 6; i++) {
        pthread_t t;
        CHECK(pthread_barrier_init(&resting, NULL, 2) == 0);
        CHECK(pthread_barrier_init(&going_on, NULL, 2) == 0);
        CHECK(pthread_create(&t, NULL, taking_many, (void *)i) == 0);
        pthread_barrier_wait(&resting);
        if (i % 2)
            free_many(31);
        pid_t pid = fork();
        if (pid == 0) {
            free_many(1);
            serves(SMALL_HEAP * 2 / 3);
            run_threads(filling, 2, i);
            empty_table();
            check_heap();
            _exit(0);
        }
        end_child(pid);
        free_many(1);
        end_resting(t);
    }
}

static void forks(void)
{
    pthread_t t[4];
    begin();
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&t[i], NULL, trading_on, (void *)(i + 1)) == 0);
    for (uint32_t i = 0; i < TIMES(20); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            be_child(0, i * 31 + 7);
            _exit(0);
        }
        end_child(pid);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    empty_table();
    check_heap();
}

#endif

/* The cache is had late, where blocks have been: nothing of theirs is taken for its own. With
 * HMM_CACHE=0, in a small heap. */
static void over_used_memory(void)
{
    static char *blocks[4096];
    size_t n = 0;
    while (n < 4096 && (blocks[n] = malloc(500)) != NULL)
        memset(blocks[n++], 'A', 500);
    while (n-- > 0)
        free(blocks[n]);
    CHECK(OF_HMM(hmm_heap_set_cache)(OF_HMM(hmm_process_heap)(), 1) == 0);
    for (n = 0; n < 600; n++)
        CHECK((blocks[n] = malloc(40 + n)) != NULL);
    check_heap();
    while (n-- > 0)
        free(blocks[n]);
    check_heap();
}

/* Nobody else's memory ends where the heap begins. */
static void guarded(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *heap = (char *)OF_HMM(hmm_process_heap)(), *below = heap - page;
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], heap - 1, 1) == -1 && errno == EFAULT);
    CHECK(write(ends[1], below, 1) == -1 && errno == EFAULT);
    CHECK(mmap(below, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != below);
}

static const struct a_case cases[] = {
    {"through-a-table", through_a_table},
    {"at-rest", at_rest},
    {"producers", producers},
    {"orphans", orphans},
#if defined(HMM_DOORS)
    {"nothing-is-left", nothing_is_left},
    {"all-is-kept", all_is_kept},
#endif
    {"idle-is-shared", idle_is_shared},
    {"again-and-again", again_and_again},
    {"freed-for-a-sleeper", freed_for_a_sleeper},
    {"empty-for-a-sleeper", empty_for_a_sleeper},
    {"kept-by-a-sleeper", kept_by_a_sleeper},
    {"reused-where-freed", reused_where_freed},
    {"medium-for-a-sleeper", medium_for_a_sleeper},
    {"idle-for-others", idle_for_others},
    {"taken-from-the-busy", taken_from_the_busy},
    {"jobs-in-turn", jobs_in_turn},
    {"taken-while-they-turn-over", taken_while_they_turn_over},
    {"destructors", destructors},
#if !UNDER_TSAN
    {"forks", forks},
    {"freed-for-the-gone", freed_for_the_gone},
    {"after-a-burst", after_a_burst},
    {"taken-in-portions", taken_in_portions},
#endif
    {NULL, NULL},
};

static const struct a_case not_for_all[] = {
    {"over-used-memory", over_used_memory},
    {"guarded", guarded},
    {"twice-by-others", twice_by_others},
    {"twice-of-the-gone", twice_of_the_gone},
    {"kept-twice", kept_twice},
    {"medium-twice", medium_twice},
    {"medium-twice-by-others", medium_twice_by_others},

    {"inside-of-others", inside_of_others},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    int code = run_case(cases, argc, argv);
    return code == 2 ? run_case(not_for_all, argc, argv) : code;
}
