/* SPDX-License-Identifier: MIT */
/*
 * Runs that are split, on each strategy: of a class of which few blocks live on, the memory between
 * these serves any size; the blocks stay what they were; and in the end nothing is lost.
 */
#include "dies.h"
#include "harness.h"

#include "base/annotate.h"
#include "cache/fast_path.h"
#include "cache/inspect.h"

#include <stdlib.h>

#if HMM__CACHE

#define MIB ((size_t)1 << 20)
#define MOST 600000u

static struct hmm_heap *h;
static uint64_t rng;

static struct block_of_test {
    unsigned char *p;
    size_t size;
    unsigned char byte;
} blocks[MOST];
static size_t count;

static void begin(size_t region, int strategy, bool with_cache)
{
    h = heap_of(region, strategy_of(strategy));
    ck_assert_int_eq(hmm_heap_set_cache(h, with_cache), 0);
    rng = 77 + (uint64_t)strategy;
    count = 0;
}

/* False: there is no memory. */
static bool take(size_t size)
{
    struct block_of_test *b = &blocks[count];
    require(count < MOST, "too many blocks");
    *b =
        (struct block_of_test){hmm_heap_malloc(h, size), size, (unsigned char)rng_below(&rng, 255)};
    if (b->p == NULL)
        return false;
    require(hmm_heap_usable_size(h, b->p) >= size, "%zu bytes are not usable", size);
    memset(b->p, b->byte, size);
    count++;
    return true;
}

static void look(const struct block_of_test *b)
{
    for (size_t i = 0; i < b->size; i++)
        require(b->p[i] == b->byte, "byte %zu of %zu is lost", i, b->size);
}

static void give(size_t i)
{
    look(&blocks[i]);
    hmm_heap_free(h, blocks[i].p);
    blocks[i] = blocks[--count];
}

/* Of the blocks from `from` on, one in `in` survives, or all of which the number is a multiple. */
static void thin_out(size_t from, unsigned in, bool evenly)
{
    size_t kept = from;
    for (size_t i = from; i < count; i++) {
        if (evenly ? i % in == 0 : rng_below(&rng, in) == 0) {
            blocks[kept++] = blocks[i];
        } else {
            look(&blocks[i]);
            hmm_heap_free(h, blocks[i].p);
        }
    }
    count = kept;
}

static size_t split_runs(void)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct run *d = h->cache ? cache_run_of(h->cache, blocks[i].p) : NULL;
        n += d != NULL && run_state(d) == RUN_SPLIT && hmm__split_has(h->cache, d, blocks[i].p);
    }
    return n;
}

static int count_used(void *arg, const struct hmm_block_info *info)
{
    if (info->used)
        ++*(size_t *)arg;
    return 0;
}

/* The walk and the statistics know the blocks and no others. */
static void hold(void)
{
    struct hmm_stats s;
    size_t used = 0;
    assert_sound(h);
    hmm_heap_stats(h, &s);
    hmm_heap_walk(h, count_used, &used);
    ck_assert_uint_eq(s.live_blocks, count);
    ck_assert_uint_eq(used, count);
}

static void end(void)
{
    while (count != 0)
        give((size_t)rng_below(&rng, (uint32_t)count));
    hold();
    ck_assert_int_eq(hmm_heap_set_cache(h, 0), 0);
    assert_empty(h);
    heap_end(h);
}

/* ---- In a full heap ---- */

static const size_t sizes[] = {16, 40, 100, 250, 500, 1000};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* Of so many of them a run has no more objects than a descriptor has bits. */
enum { LARGER = sizeof(uintptr_t) == 8 ? 3 : 2 };

/* A heap full of small blocks, of which one in ten stays, serves what fits between them. Of the
 * larger ones: a run of many objects is split where there is room for their bits. */
START_TEST(what_is_between_survivors_serves_other_sizes)
{
    size_t size = sizes[SIZES - 1 - _i % LARGER], gap = 8 * size;
    begin(2 * MIB, _i / LARGER, true);
    while (take(size)) {
    }
    thin_out(0, 10, true);
    size_t survivors = count, served = 0;
    while (take(gap))
        served++;
    require(served >= survivors - survivors / 10, "%zu of %zu gaps served", served, survivors);
    ck_assert(under_valgrind() || split_runs() >= survivors / 2);
    hold();
    end();
}
END_TEST

/* ---- Before the break rises ---- */

/* A large block of which only the first byte is touched. */
static void take_large(size_t size)
{
    struct block_of_test *b = &blocks[count++];
    *b = (struct block_of_test){hmm_heap_malloc(h, size), 1, 1};
    require(b->p != NULL, "no block of %zu bytes", size);
    *b->p = b->byte;
}

/* Phases of other sizes, of which some blocks live on for good, beside a large block. Returns how
 * high the break was above that. */
static size_t phases(int strategy, bool with_cache, unsigned in, size_t large)
{
    begin(48 * MIB + large, strategy, with_cache);
    if (large != 0)
        take_large(large);
    for (unsigned phase = 0; phase < 8; phase++) {
        size_t from = count, base = 24 + rng_below(&rng, 500);
        for (size_t bytes = 0; bytes < 6 * MIB; bytes += blocks[count - 1].size)
            ck_assert(take(base * 3 / 4 + rng_below(&rng, (uint32_t)base / 2)));
        thin_out(from, in, false);
    }
    struct hmm_stats s;
    hmm_heap_stats(h, &s);
    size_t brk = s.brk;
    hold();
    end();
    return brk - large;
}

/* One in so many survives, and the break may be higher by this part of what it is without a cache.
 */
static const struct {
    unsigned in, part;
} survive[] = {{2, 12}, {3, 12}, {4, 12}, {10, 8}, {30, 6}, {100, 6}};
enum { SURVIVE = sizeof survive / sizeof *survive };

START_TEST(phases_take_little_more_than_without_a_cache)
{
    unsigned in = survive[_i % SURVIVE].in, part = survive[_i % SURVIVE].part;
    if (under_valgrind())
        return;
    size_t with = phases(_i / SURVIVE, true, in, 0), without = phases(_i / SURVIVE, false, in, 0);
    require(with <= without + without / part,
            "1 in %u: the break was at %zu, without a cache at %zu", in, with, without);
}
END_TEST

/* What the program has in large blocks, and may never touch, is no reason to be generous. */
START_TEST(phases_beside_a_large_block_take_no_more)
{
    unsigned in = _i % 2 ? 10 : 4;
    if (under_valgrind())
        return;
    size_t with = phases(_i / 2, true, in, 160 * MIB),
           without = phases(_i / 2, false, in, 160 * MIB);
    require(with <= without + without / 4, "the break was at %zu, without a cache at %zu", with,
            without);
}
END_TEST

/* ---- What survivors are ---- */

static void make_survivors(int strategy, size_t size)
{
    begin(MIB, strategy, true);
    while (take(size)) {
    }
    thin_out(0, 7, false);
    while (take(3 * size)) {
    }
    ck_assert(under_valgrind() || split_runs() > 10);
}

START_TEST(survivors_are_resized_and_freed_as_before)
{
    size_t size = sizes[_i % SIZES];
    make_survivors(_i / SIZES, size);
    for (unsigned long n = scaled(20000); n != 0; n--) {
        size_t i = (size_t)rng_below(&rng, (uint32_t)count);
        struct block_of_test *b = &blocks[i];
        size_t to = 1 + rng_below(&rng, (uint32_t)(4 * size));
        look(b);
        switch (rng_below(&rng, 3)) {
        case 0:
            give(i);
            break;
        case 1:
            take(to);
            break;
        default: {
            unsigned char *p = hmm_heap_realloc(h, b->p, to);
            if (p == NULL)
                break;
            b->p = p;
            b->size = to < b->size ? to : b->size;
            look(b);
            memset(p, b->byte, b->size = to);
        }
        }
        if (n % 1024 == 0)
            hold();
    }
    hold();
    end();
}
END_TEST

static void free_twice(void *p)
{
    hmm_heap_free(h, p);
    hmm_heap_free(h, p);
    hmm_heap_free(h, p);
}

/* What lies in the block looks like the headers of a block in it and of the next. */
static void free_inside(void *p)
{
    const uint32_t header = header_make(32 / HMM_GRANULE, 0);
    char *inside = (char *)p + 16;
    memcpy(inside - HMM_HEADER_BYTES, &header, sizeof header);
    memcpy(inside + 32 - HMM_HEADER_BYTES, &header, sizeof header);
    hmm_heap_free(h, inside);
}

/* Whatever the message: the program ends, and says what is freed. */
static void require_death(void (*act)(void *), void *p)
{
    int status;
    char *said = said_by_child(act, p, &status);
    require(strstr(said, "hmm: free 0x") != NULL, "it said: %s", said);
    free(said);
}

START_TEST(a_survivor_freed_twice_or_from_inside_is_reported)
{
    make_survivors(_i, 100);
    if (under_valgrind())
        return;
    for (size_t i = 0, tried = 0; i < count && tried < 5; i++) {
        const struct run *d = cache_run_of(h->cache, blocks[i].p);
        if (d == NULL || !hmm__split_has(h->cache, d, blocks[i].p))
            continue;
        require_death(free_twice, blocks[i].p);
        require_death(free_inside, blocks[i].p);
        tried++;
    }
    end();
}
END_TEST

/* ---- Islands ---- */

static size_t all; /* blocks; those from `count` on are freed */

static void swap(size_t i, size_t j)
{
    struct block_of_test b = blocks[i];
    blocks[i] = blocks[j];
    blocks[j] = b;
}

/* All that lies in the block looks like headers of used blocks of 32 bytes. */
static void forge(const struct block_of_test *b)
{
    const uint32_t header = header_make(32 / HMM_GRANULE, 0);
    for (size_t i = 0; i < hmm_heap_usable_size(h, b->p); i += sizeof header)
        memcpy(b->p + i, &header, sizeof header);
}

/* Of `in` blocks of one size the first `dead` are freed; then a request fails, so that the runs are
 * split. The heap is not full: there is room for the bits. */
static void make_islands(size_t size, size_t dead, size_t in, bool forged)
{
    all = MIB / size;
    while (count < all)
        ck_assert(take(size));
    for (size_t i = 0; i < all && forged; i++)
        forge(&blocks[i]);
    count = 0;
    for (size_t i = 0; i < all; i++)
        if (i % in >= dead)
            swap(i, count++);
    for (size_t i = count; i < all; i++)
        hmm_heap_free(h, blocks[i].p);
    ck_assert_ptr_null(hmm_heap_malloc(h, 3 * MIB));
    ck_assert(under_valgrind() || split_runs() > count / 4);
}

/* In a run that is split, in a page with survivors or not. */
static bool is_of_split(const unsigned char *p)
{
    for (size_t at = 0; at <= CACHE_PAGE; at += CACHE_PAGE) {
        const struct run *d = cache_run_of(h->cache, p - at);
        if (d != NULL && run_state(d) == RUN_SPLIT)
            return true;
    }
    return false;
}

/* One of those that were freed before the runs were split, or since. */
static void free_again(void *trial)
{
    size_t once = count;
    rng += *(uint64_t *)trial;
    for (size_t n = 1 + rng_below(&rng, 300); n != 0; n--) {
        swap((size_t)rng_below(&rng, (uint32_t)count), count - 1);
        hmm_heap_free(h, blocks[--count].p);
    }
    size_t to = rng_below(&rng, 2) ? once : all;
    const unsigned char *p = NULL;
    while (p == NULL || !is_of_split(p))
        p = blocks[count + rng_below(&rng, (uint32_t)(to - count))].p;
    hmm_heap_free(h, (void *)(uintptr_t)p);
    exit(2);
}

/* Whatever lies in front of it. _i: strategy, size. */
START_TEST(what_is_free_in_a_split_run_is_not_freed_again)
{
    if (under_valgrind())
        return;
    begin(4 * MIB, _i / SIZES, true);
    make_islands(sizes[_i % SIZES], 2, 5, true);
    for (uint64_t trial = 0; trial < 30; trial++)
        require_death(free_again, &trial);
    heap_end(h);
}
END_TEST

static int by_address(const void *a, const void *b)
{
    const struct block_of_test *x = a, *y = b;
    return (x->p > y->p) - (x->p < y->p);
}

/* Islands of up to the whole run. _i: strategy, order, length. */
START_TEST(islands_of_any_length_are_freed_in_any_order)
{
    static const size_t lengths[] = {3, 64, 500, 2047};
    begin(4 * MIB, _i / 12, true);
    make_islands(16, 1, lengths[_i % 4] + 1, false);
    hold();
    qsort(blocks, count, sizeof *blocks, by_address);
    for (size_t i = 0; i < count / 2 && _i / 4 % 3 == 0; i++)
        swap(i, count - 1 - i); /* the last is freed first */
    for (size_t i = count; i > 1 && _i / 4 % 3 == 1; i--)
        swap(i - 1, (size_t)rng_below(&rng, (uint32_t)i));
    for (size_t n = count; n != 0; n--) {
        give(count - 1);
        if (n % (under_valgrind() ? 20000 : 4000) == 0)
            hold();
    }
    end();
}
END_TEST

/* ---- A switch of the strategy that fails ---- */

/* The request for the new strategy's state splits runs before it fails: the tables, which grow for
 * the bits, and the heap stay apart. All that the heap has is written to. */
START_TEST(a_switch_that_fails_leaves_the_tables_alone)
{
    begin(3 * MIB, _i / SIZES, true);
    while (take(sizes[_i % SIZES])) {
    }
    thin_out(0, 4, false);
    for (unsigned s = 0; hmm_strategy_at(s) != NULL; s++) {
        hmm_heap_set_strategy(h, hmm_strategy_at(s));
        ck_assert(h->cache == NULL ||
                  h->cache->low >= (char *)h + (size_t)h->high_limit * HMM_GRANULE);
        hmm_heap_set_strategy(h, strategy_of(_i / SIZES));
    }
    assert_sound(h);
    while (take(100)) {
    }
    assert_sound(h);
    while (count != 0)
        give(count - 1);
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* ---- Nothing is lost ---- */

/* The largest request that a new heap serves is served again, though descriptors lay at the high
 * end meanwhile. */
START_TEST(a_heap_that_is_filled_and_emptied_has_as_much_as_before)
{
    struct hmm_stats s;
    begin(2 * MIB, _i, true);
    hmm_heap_stats(h, &s);
    const size_t most = s.largest_free;
    for (unsigned round = 0; round < (under_valgrind() ? 2 : 12); round++) {
        while (take(32 + 16 * (round % 5))) {
        }
        thin_out(0, 9, false);
        while (take(700)) {
        }
        while (count != 0)
            give(count - 1);
        void *p = hmm_heap_malloc(h, most);
        hmm_heap_stats(h, &s);
        require(p != NULL, "round %u: not %zu bytes, but %zu", round, most, s.largest_free);
        assert_sound(h);
        hmm_heap_free(h, p);
    }
    end();
}
END_TEST

/* ---- No room for the bits ---- */

enum { MANY = 100000 };
static void *many[MANY];

static bool no_claim(struct cache *cache, const char *low)
{
    (void)cache, (void)low;
    return false;
}

static const struct cache_place no_place = {.claim = no_claim};

/* The lock is held. All objects are freed but one of a run of many, which is the result; the others
 * of the class are queued, and empty. */
static struct run *run_with_survivor(struct thread_cache *tc)
{
    for (size_t i = 0; i < MANY; i++) {
        many[i] = cache_malloc_hit(tc, 16);
        if (many[i] == NULL)
            many[i] = hmm__cache_refill(tc, 16);
    }
    struct run *d = cache_run_of(tc->cache, many[MANY / 2]);
    ck_assert_uint_gt(run_rest(d)->count, 1000);
    tc->empty_pages_max = UINT32_MAX;
    for (size_t i = 0; i < MANY; i++)
        if (i != MANY / 2 && cache_run_of(tc->cache, many[i]) != NULL)
            ck_assert(cache_free_hit(tc->cache, tc, cache_look_up(tc->cache, many[i]), many[i]));
    hmm__return_free_lists(tc);
    return d;
}

/* A run that cannot be split, since there is no room for its bits, stays queued in front of runs
 * that are gone and whose descriptors are queued yet: each is looked at once. */
START_TEST(where_there_is_no_room_for_bits_runs_stay)
{
    struct cache cache;
    struct lock lock = {0};
    h = heap_of(4 * MIB, strategy_of(_i));
    annotate_enter(); /* the cache's tables lie in memory that is closed to memcheck */
    ck_assert(hmm__cache_open(&cache, h, &lock));
    enum lock_hold hold = lock_acquire(&lock);
    struct thread_cache *tc = cache.thread_cache, *pool = cache.pool;
    struct run *d = run_with_survivor(tc), *other, *gone[3];
    unsigned n = 0, c = d->class;
    while ((other = hmm__run_dequeue(tc, c)) != NULL)
        if (other != d && n < 3)
            gone[n++] = other;
    ck_assert_uint_eq(n, 3);
    hmm__pool_give(tc, d, 1);
    for (unsigned i = 0; i < n; i++)
        hmm__pool_give(tc, gone[i], 0);
    for (unsigned i = 0; i < n; i++)
        hmm__run_return(pool, gone[i]);
    tc->unused = pool->unused = 0;
    cache.place = &no_place;
    ck_assert(!hmm__split_all(&cache, tc));
    ck_assert(run_state(d) == RUN_PARTIAL && run_is_of(d, pool));
    ck_assert_ptr_eq(hmm__run_dequeue(pool, c), d);
    ck_assert_ptr_null(hmm__run_dequeue(pool, c));
    annotate_leave();
    lock_release(&lock, hold);
    heap_end(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("split");
    struct cases c = add_cases(s, "split");
    set_timeout(c, 60);
    on_each_strategy(c, what_is_between_survivors_serves_other_sizes, LARGER);
    on_each_strategy(c, phases_take_little_more_than_without_a_cache, SURVIVE);
    on_each_strategy(c, phases_beside_a_large_block_take_no_more, 2);
    on_each_strategy(c, survivors_are_resized_and_freed_as_before, SIZES);
    on_each_strategy(c, a_survivor_freed_twice_or_from_inside_is_reported, 1);
    on_each_strategy(c, what_is_free_in_a_split_run_is_not_freed_again, SIZES);
    on_each_strategy(c, islands_of_any_length_are_freed_in_any_order, 12);
    on_each_strategy(c, where_there_is_no_room_for_bits_runs_stay, 1);
    on_each_strategy(c, a_switch_that_fails_leaves_the_tables_alone, SIZES);
    on_each_strategy(c, a_heap_that_is_filled_and_emptied_has_as_much_as_before, 1);
    return run_suite(s);
}

#else

int main(void)
{
    return skip_without_cache();
}

#endif
