/* SPDX-License-Identifier: MIT */
/*
 * What an operation costs in a heap with so many free blocks, and in one so large.
 *
 *     growth TARGET PATTERN FREE-BLOCKS [CAPACITY]
 *
 * 2 * FREE-BLOCKS blocks are allocated, and every second one freed: between two free blocks lies a
 * live one, so that none merges. Where a capacity is given, the live ones are so large that all
 * lie spread over the whole heap; they are not touched. Patterns, by the sizes of the free blocks:
 *
 *     scattered    at random; then a malloc and a free, again and again, of random sizes
 *     rising       each larger than the one before it
 *     comb         all small, as are the live ones
 *     same         all of one size
 *     alternating  a small one, a large one, ...
 *     burst        all small; then, again and again, many neighbours are freed at once
 *
 * All but the first are to find the worst operation. So what is measured in them is: a request that
 * is just met, one that just is not, one that no free block can serve, frees between two free
 * blocks, and frees in random order; at random places. In bursts it is a request that no free block
 * can serve after each, and its free: what an allocator has put off is then done.
 *
 * Each operation is a call of a function whose name begins with "measured_", which callgrind is
 * made to dump after each call. So the n-th line that is printed belongs to the n-th dump; it is
 * "malloc" or "free", or, for what calling it costs with an empty function, "nothing-malloc" or
 * "nothing-free". The last line is "blocks" and how many free blocks there were.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "target.h"

#include <string.h>

#ifdef HAVE_VALGRIND
#include <valgrind/callgrind.h>
#define COUNT_FROM_HERE CALLGRIND_START_INSTRUMENTATION
#else
#define COUNT_FROM_HERE ((void)0) /* slower */
#endif

#define PAIRS 500u
#define RING 16u
#define PLACES 100u /* of a request of each kind, in patterns */
#define BURSTS 20u
#define BURST_PART 64u /* of the blocks in one */
#define SPACER 16u
#define LARGEST 4096u

struct heap {
    struct target target;
    const char *pattern;
    size_t count;  /* of free blocks */
    size_t spacer; /* size of the live ones between them */
    void **blocks; /* free where the index is even, live where it is odd */
    uint64_t random;
};

/* ---- What is measured ---- */

static BENCH_MEASURED void *measured_malloc(const struct target *t, size_t size)
{
    return t->via == VIA_ADAPTER ? do_malloc(VIA_ADAPTER, t, size) : do_malloc(VIA_MALLOC, t, size);
}

static BENCH_MEASURED void measured_free(const struct target *t, void *block)
{
    if (t->via == VIA_ADAPTER)
        do_free(VIA_ADAPTER, t, block);
    else
        do_free(VIA_MALLOC, t, block);
}

static void *count_malloc(struct heap *h, size_t size)
{
    void *block = measured_malloc(&h->target, size);
    bench_say("malloc\n");
    return block;
}

static void count_free(struct heap *h, void *block)
{
    if (block == NULL)
        return;
    measured_free(&h->target, block);
    bench_say("free\n");
}

static void count_nothing(void)
{
    static char heap;
    const struct target none = {VIA_ADAPTER, &nothing_adapter, &heap, NULL, 0};
    void *block = measured_malloc(&none, 16);
    bench_say("nothing-malloc\n");
    measured_free(&none, block);
    bench_say("nothing-free\n");
}

/* ---- A heap with many free blocks ---- */

static size_t hole_size(struct heap *h, size_t index)
{
    if (strcmp(h->pattern, "scattered") == 0)
        return bench_random_size(&h->random, 4, 10);
    if (strcmp(h->pattern, "rising") == 0)
        return 32 + (size_t)((double)index / (double)h->count * (LARGEST - 32));
    if (strcmp(h->pattern, "same") == 0)
        return 512;
    if (strcmp(h->pattern, "alternating") == 0)
        return index % 2 == 0 ? 48 : 1000;
    return 48;
}

static bool build(struct heap *h)
{
    h->random = 88172645463325252u;
    for (size_t i = 0; i < h->count; i++) {
        void **pair = &h->blocks[2 * i];
        pair[0] = do_malloc(h->target.via, &h->target, hole_size(h, i));
        pair[1] = do_malloc(h->target.via, &h->target, h->spacer);
        if (pair[0] == NULL || pair[1] == NULL)
            return false;
    }
    for (size_t i = 0; i < h->count; i++)
        do_free(h->target.via, &h->target, h->blocks[2 * i]);
    return true;
}

/* So much room for each that even the largest sizes fit. */
static size_t capacity_for(size_t count)
{
    return count * (LARGEST + 256) + ((size_t)1 << 20);
}

/* With fewer free blocks where a small heap has no room for so many. */
static void build_some(struct heap *h, size_t capacity)
{
    const bool spread = capacity != 0;
    for (; h->count > 0; h->count--) {
        h->spacer = spread ? capacity / 8 * 7 / h->count : SPACER;
        h->spacer = h->spacer > 640 ? h->spacer - 512 : SPACER;
        if (target_create(&h->target, spread ? capacity : capacity_for(h->count)) && build(h))
            return;
    }
    bench_say("blocks 0\n");
    exit(0);
}

/* ---- Sequences ---- */

/* A free of a block at once would only undo the malloc, to which some indexes are kind. */
static void churn(struct heap *h)
{
    void *ring[RING] = {NULL};
    for (size_t i = 0; i < PAIRS; i++) {
        void **block = &ring[i % RING];
        count_free(h, *block);
        *block = count_malloc(h, bench_random_size(&h->random, 4, 10));
    }
}

/* Requests of `more` bytes above the size of free blocks at random, then their blocks freed. */
static void request(struct heap *h, size_t more)
{
    void *got[PLACES];
    for (size_t i = 0; i < PLACES; i++)
        got[i] =
            count_malloc(h, hole_size(h, (size_t)(bench_random(&h->random) % h->count)) + more);
    for (size_t i = 0; i < PLACES; i++)
        count_free(h, got[(i * 37) % PLACES]);
}

/* Frees live blocks, each between two free ones. */
static void merge(struct heap *h)
{
    for (size_t i = 0; i < PLACES; i++) {
        void **live = &h->blocks[2 * (bench_random(&h->random) % h->count) + 1];
        count_free(h, *live);
        *live = NULL;
    }
}

/* Those of neighbouring pairs, not counted. Returns how many pairs there are. */
static size_t free_neighbours(struct heap *h, size_t from)
{
    const size_t most = h->count / BURST_PART + 1;
    size_t n = 0;
    for (; n < most && from + n < h->count; n++) {
        void **live = &h->blocks[2 * (from + n) + 1];
        if (*live != NULL)
            do_free(h->target.via, &h->target, *live);
        *live = NULL;
    }
    return n;
}

static void burst(struct heap *h)
{
    void *got[BURSTS];
    for (size_t i = 0; i < BURSTS; i++) {
        size_t pairs = free_neighbours(h, h->count / BURSTS * i);
        got[i] = count_malloc(h, pairs * 128 + 4 * LARGEST);
    }
    for (size_t i = 0; i < BURSTS; i++)
        count_free(h, got[(i * 7) % BURSTS]);
}

static void find_worst(struct heap *h)
{
    request(h, 0);
    request(h, 16);
    request(h, LARGEST);
    merge(h);
    request(h, 64);
}

int main(int argc, char **argv)
{
    struct heap h = {.spacer = SPACER};
    if (argc != 4 && argc != 5)
        bench_die("usage: growth TARGET PATTERN FREE-BLOCKS [CAPACITY]");
    target_open(&h.target, argv[1]);
    h.pattern = argv[2];
    h.count = (size_t)bench_number("FREE-BLOCKS", argv[3], 1, 100000000);
    h.blocks = bench_table(2 * h.count, sizeof *h.blocks);
    build_some(&h, argc > 4 ? (size_t)bench_number("CAPACITY", argv[4], 1, SIZE_MAX / 2) : 0);
    COUNT_FROM_HERE;
    count_nothing();
    if (strcmp(h.pattern, "scattered") == 0)
        churn(&h);
    else if (strcmp(h.pattern, "burst") == 0)
        burst(&h);
    else
        find_worst(&h);
    bench_say("blocks %zu\n", h.count);
    return 0;
}
