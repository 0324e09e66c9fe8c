/* SPDX-License-Identifier: MIT */
/*
 * A correct program is never reported for misuse, whatever memory it leaves unwritten: structs of
 * all sizes are allocated and freed in phases, partly initialised, with small values and pointers,
 * in memory where before there were objects of other sizes, medium blocks and runs, freed by their
 * own thread or by another. On each strategy, on the process heap and on a heap of one's own; 10^8
 * operations together.
 */
#include "books.h"
#include "dies.h"

#include <pthread.h>
#include <stdlib.h>

#if HMM__CACHE

#define ALL_OPERATIONS 100000000ul
#define MOST_STRUCTS 40000u
#define PHASE_BYTES ((size_t)6 << 20)
#define SURVIVORS 400u

enum ways { WAYS = 9 };

static struct hmm_heap *own; /* NULL: the process heap */
static char *now[MOST_STRUCTS], *survivor[SURVIVORS];
static uint64_t rng;

static void *take(size_t size)
{
    void *p = own ? hmm_heap_malloc(own, size) : hmm_malloc(size);
    require(p != NULL, "no room for %zu bytes", size);
    return p;
}

static void *resize(void *p, size_t size)
{
    p = own ? hmm_heap_realloc(own, p, size) : hmm_realloc(p, size);
    require(p != NULL, "no room to resize to %zu bytes", size);
    return p;
}

static void give(void *p)
{
    if (own)
        hmm_heap_free(own, p);
    else
        hmm_free(p);
}

static size_t size_of_phase(void)
{
    switch (rng_below(&rng, 4)) {
    case 0:
        return 16 + rng_below(&rng, 112);
    case 1:
        return 16 + rng_below(&rng, 1008);
    case 2:
        return 1025 + rng_below(&rng, 3000);
    default:
        return 1025 + rng_below(&rng, 8000);
    }
}

/* The number of bytes from `at` that are written with a small value, in a struct that is mostly
 * left as it is: as a compiler does it for char, short, int and long. */
static void write_small(char *p, size_t at, size_t bytes, uint64_t value)
{
    memcpy(p + at, &value, bytes);
}

static void write_some(char *p, size_t size, unsigned way, const char *last, uint64_t i)
{
    static const unsigned char bytes[] = {1, 2, 4, 8};
    uint64_t small = way % 2 ? i % 256 : rng_below(&rng, 4);
    const char *next = way < 3 ? NULL : last;
    if (way == 0)
        return;
    if (way != 5)
        memcpy(p, &next, sizeof next);
    if (way < 5)
        write_small(p, sizeof(void *), bytes[(way + i / 64) % 4], small);
    else if (way < 8)
        write_small(p, 4 + rng_below(&rng, 12), 1, small);
    else
        for (size_t at = 0; at + 64 < size; at += 48)
            write_small(p, at, 4, small);
}

static size_t live;

static void *free_all(void *order)
{
    size_t step = *(size_t *)order;
    for (size_t i = 0, at = 0; i < live; i++, at = (at + step) % live)
        give(now[at]);
    return NULL;
}

/* With which steps all of [0, n) are met. */
static size_t any_order(size_t n)
{
    size_t step = rng_below(&rng, 3);
    return step == 0 ? 1 : step == 1 ? n - 1 : n % 7919 ? 7919 : 1;
}

static void free_phase(bool by_another)
{
    size_t step = any_order(live);
    pthread_t other;
    if (by_another && pthread_create(&other, NULL, free_all, &step) == 0)
        pthread_join(other, NULL);
    else
        free_all(&step);
}

/* Returns the number of operations. */
static unsigned long phase(void)
{
    size_t size = size_of_phase(), most = PHASE_BYTES / (size + 16);
    unsigned way = (unsigned)rng_below(&rng, WAYS);
    bool grow = rng_below(&rng, 8) == 0, remote = own == NULL && rng_below(&rng, 4) == 0;
    live = 100 + rng_below(&rng, (most < MOST_STRUCTS ? most : MOST_STRUCTS) - 100);
    for (size_t i = 0; i < live; i++) {
        now[i] = take(size);
        write_some(now[i], size, way, now[i ? i - 1 : 0], i);
        if (grow && i % 4 == 0)
            now[i] = resize(now[i], 16 + rng_below(&rng, 2 * size));
    }
    for (size_t i = 0; i < live; i += 1 + rng_below(&rng, 2000)) {
        char **s = &survivor[rng_below(&rng, SURVIVORS)], *was = *s;
        *s = now[i];
        now[i] = was ? was : take(size);
    }
    free_phase(remote);
    return 2 * (unsigned long)live;
}

static void phases(unsigned long operations)
{
    for (unsigned long done = 0; done < operations; done += phase())
        ;
    for (unsigned i = 0; i < SURVIVORS; i++)
        if (survivor[i] != NULL)
            give(survivor[i]);
}

static unsigned long share(void)
{
    return scaled(ALL_OPERATIONS / (2 * (unsigned long)strategy_count()));
}

START_TEST(heap_of_its_own)
{
    rng = 11 + (uint64_t)_i;
    own = unwatched(heap_of((size_t)48 << 20, strategy_of(_i)));
    ck_assert_int_eq(hmm_heap_set_cache(own, 1), 0);
    phases(share());
    assert_sound(own);
    heap_end(own);
}
END_TEST

START_TEST(process_heap)
{
    rng = 77 + (uint64_t)_i;
    ck_assert_int_eq(hmm_init(strategy_of(_i)), 0);
    phases(share());
    ck_assert_ptr_null(hmm_heap_check(hmm_process_heap()));
}
END_TEST

/* A stale tag of each kind, that a program makes another of by one byte: there is none to be found
 * in any memory that is handed out. */
START_TEST(no_tag_is_handed_out)
{
    rng = 5;
    own = unwatched(heap_of((size_t)16 << 20, strategy_of(_i)));
    ck_assert_int_eq(hmm_heap_set_cache(own, 1), 0);
    for (int again = 0; again < 60; again++) {
        const struct tag_keys keys = own->cache->keys;
        size_t size = size_of_phase(), n = ((size_t)1 << 19) / size;
        for (size_t i = 0; i < n; i++) {
            now[i] = take(size);
            for (size_t at = 0; at + sizeof(struct object) <= size; at += 16) {
                const char *p = now[i] + at;
                require(!object_has_tag(keys.free, p) && !object_has_tag(keys.sent, p) &&
                            !object_has_tag(keys.medium, p),
                        "%s: a tag at byte %zu of %zu", strategy_of(_i)->name, at, size);
            }
        }
        for (size_t i = 0; i < n; i++)
            give(now[i]);
    }
    heap_end(own);
}
END_TEST

/* Those of one cache tell nothing of those of another, in the same memory too. */
START_TEST(keys_are_unrelated)
{
    static _Alignas(64) char memory[1 << 20];
    enum { HEAPS = 50, KEYS = 3 * HEAPS };
    uint64_t key[KEYS];
    for (int i = 0; i < HEAPS; i++) {
        struct hmm_heap *h = unwatched(hmm_heap_create(memory, sizeof memory, strategy_of(_i)));
        ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
        key[3 * i] = h->cache->keys.free;
        key[3 * i + 1] = h->cache->keys.sent;
        key[3 * i + 2] = h->cache->keys.medium;
    }
    for (int i = 0; i < KEYS; i++) {
        ck_assert_uint_eq(key[i] % 2, 1);
        for (int j = 0; j < i; j++) {
            int differing = __builtin_popcountll(key[i] ^ key[j]);
            ck_assert_msg(differing > 8 && differing < 56, "keys %d and %d: %d bits", i, j,
                          differing);
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("partly written");
    struct cases c = add_cases(s, "partly written");
    set_timeout(c, 600);
    on_each_strategy(c, keys_are_unrelated, 1);
    on_each_strategy(c, no_tag_is_handed_out, 1);
    on_each_strategy(c, heap_of_its_own, 1);
    on_each_strategy(c, process_heap, 1);
    return run_suite(s);
}

#else

int main(void)
{
    return skip_without_cache();
}

#endif
