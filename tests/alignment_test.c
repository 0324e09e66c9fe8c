/* SPDX-License-Identifier: MIT */
/*
 * What a block from aligned_alloc keeps: the alignment that was asked for, and not the larger one
 * at which it happens to lie; all of its usable size beside the record of it; and the record,
 * which is never believed when it was overwritten. On heaps of one's own, bare and with a cache,
 * and on the process heap, which is set up here with 1 MiB.
 */
#include "dies.h"
#include "harness.h"
#include "heap/place.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define REGION ((size_t)256 << 10)
#define OVERWRITTEN                                                                                \
    "not a block, or its header or its end was overwritten: it does not tell the alignment that "  \
    "was asked for"

static struct hmm_heap *h;
static bool of_process;

static void begin_process(void)
{
    of_process = true;
}

static void begin(int strategy)
{
    if (!of_process) {
        h = heap_of(REGION, strategy_of(strategy));
        return;
    }
    setenv("HMM_HEAP_SIZE", "1M", 1);
    ck_assert_int_eq(hmm_init(strategy_of(strategy)), 0);
    h = hmm_process_heap();
}

/* ---- The entry points of the heap that is under test ---- */

static void *alloc_at(size_t align, size_t size)
{
    return of_process ? hmm_aligned_alloc(align, size) : hmm_heap_aligned_alloc(h, align, size);
}

static void *resize(void *p, size_t size)
{
    return of_process ? hmm_realloc(p, size) : hmm_heap_realloc(h, p, size);
}

static void release(void *p)
{
    if (of_process)
        hmm_free(p);
    else
        hmm_heap_free(h, p);
}

static size_t usable(const void *p)
{
    return of_process ? hmm_usable_size(p) : hmm_heap_usable_size(h, p);
}

static bool is_at(const void *p, size_t align)
{
    return p != NULL && (uintptr_t)p % align == 0;
}

/* The process heap keeps empty runs and medium blocks. */
static void assert_all_released(void)
{
    struct hmm_stats s;
    if (!of_process) {
        assert_empty(h);
        return;
    }
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.live_blocks, 0);
    ck_assert_uint_eq(s.live_bytes, 0);
    assert_sound(h);
}

/* ---- Where it may go ---- */

/* Blocks at `align` until one lies at `chance` as well, or, `chance` being 0, at no more. */
static char *lucky(size_t align, size_t chance, size_t size)
{
    static uint64_t rng = 5;
    for (;;) {
        char *p = keep(alloc_at(align, size));
        if (chance ? is_at(p, chance) : !is_at(p, 2 * align))
            return p;
        if (chance == 0)
            keep(alloc_at(align, rng_below(&rng, 2000)));
    }
}

/* A hole between two blocks that stay, in a heap that is full but for it. The hole begins at
 * `align`, and at no more. */
static char *only_hole_at(size_t align, size_t size)
{
    char *hole = lucky(align, 0, size);
    keep(alloc_at(align, size)); /* on top of it */
    fill_up(h);
    release(hole);
    return hole;
}

/* The larger alignment has been asked for, of another block. */
START_TEST(moves_to_where_there_is_only_the_alignment_asked_for)
{
    static const size_t aligns[][2] = {{64, 4096}, {32, 1024}, {128, 2048}, {512, 2048}};
    for (size_t i = 0; i < sizeof aligns / sizeof aligns[0]; i++) {
        if (of_process && i != 0)
            break;
        begin(_i);
        const size_t align = aligns[i][0], chance = aligns[i][1];
        keep(alloc_at(chance, 100));
        char *p = lucky(align, chance, 1300);
        fill(p, 1300, 5);
        keep(alloc_at(align, 1300));
        char *hole = only_hole_at(align, 6000);
        char *q = resize(p, 5990);
        ck_assert_msg(q == hole, "at %p, asked at %zu, is %p, and not in the hole at %p", (void *)p,
                      align, (void *)q, (void *)hole);
        ck_assert(holds(q, 1300, 5));
        assert_sound(h);
        if (!of_process)
            heap_end(h);
    }
}
END_TEST

/* And what it was moved to tells no more than what was asked for, either. */
START_TEST(keeps_the_alignment_asked_for_through_many_moves)
{
    begin(_i);
    uint64_t rng = 11;
    for (size_t align = 32; align <= 4096; align *= 2) {
        char *p = alloc_at(align, 40);
        size_t size = 40;
        ck_assert(is_at(p, align));
        fill(p, size, align);
        for (unsigned long i = scaled(300); i != 0; i--) {
            size_t to = 1 + rng_below(&rng, 7000), kept = to < size ? to : size;
            void *other = alloc_at((size_t)32 << rng_below(&rng, 6), rng_below(&rng, 900));
            p = resize(p, to);
            require(is_at(p, align) && holds(p, kept, align), "%zu bytes at %zu", to, align);
            require(usable(p) >= to, "%zu bytes have %zu", to, usable(p));
            size = usable(p);
            fill(p, size, align);
            release(other);
        }
        assert_sound(h);
        release(p);
    }
    assert_all_released();
}
END_TEST

/* An ordinary block that ends where one at 512 may begin, and begins where none may. The heap has
 * no hole so large: it is at the top. */
static char *ends_at_512(void)
{
    for (size_t more = 0;; more = (more + 64) % 512) {
        char *below = keep(alloc_at(64, 1500 + more));
        char *top = below + usable(below) + HMM_HEADER_BYTES + HMM__RECORD_BYTES;
        size_t off = (size_t)((uintptr_t)top % 512);
        if (off != 0 && off <= 512 - 32) {
            char *p = keep(alloc_at(HMM_GRANULE, 2048 - off - HMM_HEADER_BYTES));
            ck_assert_ptr_eq(p, top);
            return p;
        }
    }
}

/* Of the free block below it takes what is above the lowest place that is aligned. */
START_TEST(slides_down_into_a_part_of_the_free_block_below)
{
    begin(_i);
    unwatched(h); /* memcheck takes what was asked for as usable */
    char *low = ends_at_512(), *p = alloc_at(512, 600), *end = p + usable(p);
    char *at = (char *)(((uintptr_t)low + 511) & ~(uintptr_t)511);
    size_t size = (size_t)(end - at);
    ck_assert_ptr_eq(p, low + usable(low) + HMM_HEADER_BYTES);
    fill(p, 600, 3);
    keep(alloc_at(32, 600));
    fill_up(h);
    release(low);
    ck_assert_ptr_null(resize(p, size + 20));
    ck_assert(holds(p, 600, 3));
    ck_assert_ptr_eq(resize(p, size), at);
    ck_assert(holds(at, 600, 3));
    ck_assert_uint_eq(usable(at), size);
    assert_sound(h);
    ck_assert_ptr_eq(alloc_at(HMM_GRANULE, (size_t)(at - low) - HMM_HEADER_BYTES), low);
}
END_TEST

/* ---- What it has ---- */

START_TEST(all_of_the_usable_size_may_be_written)
{
    begin(_i);
    void *blocks[64];
    uint64_t rng = 23;
    for (unsigned long round = scaled(60); round != 0; round--) {
        for (size_t i = 0; i < 64; i++) {
            size_t align = (size_t)1 << rng_below(&rng, 11), size = rng_below(&rng, 1200);
            blocks[i] = alloc_at(align, size);
            require(is_at(blocks[i], align) && usable(blocks[i]) >= size, "%zu at %zu", size,
                    align);
            fill(blocks[i], usable(blocks[i]), i);
        }
        for (size_t i = 0; i < 64; i += 3) {
            blocks[i] = resize(blocks[i], 1 + rng_below(&rng, 2000));
            ck_assert_ptr_nonnull(blocks[i]);
            fill(blocks[i], usable(blocks[i]), i);
        }
        assert_sound(h);
        for (size_t i = 0; i < 64; i++) {
            require(holds(blocks[i], usable(blocks[i]), i), "block %zu", i);
            release(blocks[i]);
        }
    }
    assert_all_released();
}
END_TEST

START_TEST(what_any_block_has_costs_nothing)
{
    begin(_i);
    unwatched(h); /* memcheck takes what was asked for as usable */
    for (size_t size = 2000; size < 2100; size++) {
        void *p = alloc_at(HMM_GRANULE, size), *q = alloc_at(1, size);
        size_t has = block_usable(hmm__granules_for(size));
        ck_assert_uint_eq(usable(p), has);
        ck_assert_uint_eq(usable(q), has);
        release(p);
        release(q);
    }
    assert_all_released();
}
END_TEST

START_TEST(none_is_so_large_that_its_size_wraps)
{
    begin(_i);
    const size_t most[] = {HMM_MAX_REQUEST, HMM_MAX_REQUEST - 3, HMM_MAX_REQUEST - 4, PTRDIFF_MAX,
                           SIZE_MAX,        SIZE_MAX - 3,        SIZE_MAX - 4,        SIZE_MAX - 8};
    void *p = alloc_at(256, 100);
    fill(p, 100, 1);
    for (size_t i = 0; i < sizeof most / sizeof most[0]; i++) {
        errno = 0;
        ck_assert_ptr_null(alloc_at(256, most[i]));
        ck_assert_int_eq(errno, ENOMEM);
        errno = 0;
        ck_assert_ptr_null(resize(p, most[i]));
        ck_assert_int_eq(errno, ENOMEM);
    }
    ck_assert(holds(p, 100, 1));
    release(p);
    assert_all_released();
}
END_TEST

/* ---- What is counted ---- */

struct sums {
    size_t used, usable, free_bytes, all;
};

static int sum(void *arg, const struct hmm_block_info *b)
{
    struct sums *s = arg;
    s->all += b->size;
    s->used += b->used != 0;
    s->usable += b->used ? b->usable : 0;
    s->free_bytes += b->used ? 0 : b->size;
    return 0;
}

/* The walk sees what the statistics say. Where there is a cache they count what is free in its
 * runs by another measure. */
static void assert_counted(void)
{
    struct hmm_stats stats;
    struct sums s = {0};
    hmm_heap_stats(h, &stats);
    hmm_heap_walk(h, sum, &s);
    ck_assert_uint_eq(stats.live_blocks, s.used);
    ck_assert_uint_eq(stats.live_bytes, s.usable);
    if (h->cache == NULL)
        ck_assert_uint_eq(stats.free_bytes, s.free_bytes);
    assert_sound(h);
}

/* The strategy is another one each time round. */
START_TEST(is_counted_exactly_and_stays_when_the_strategy_is_switched)
{
    begin(_i);
    void *blocks[48] = {NULL};
    size_t sizes[48] = {0}, aligns[48] = {0};
    uint64_t rng = 77;
    for (unsigned long round = scaled(400); round != 0; round--) {
        size_t i = rng_below(&rng, 48);
        if (blocks[i] == NULL) {
            aligns[i] = (size_t)16 << rng_below(&rng, 7);
            sizes[i] = rng_below(&rng, 1500);
            blocks[i] = alloc_at(aligns[i], sizes[i]);
            ck_assert_ptr_nonnull(blocks[i]);
        } else if (rng_below(&rng, 2) == 0) {
            size_t to = 1 + rng_below(&rng, 2500), kept = to < sizes[i] ? to : sizes[i];
            blocks[i] = resize(blocks[i], to);
            require(is_at(blocks[i], aligns[i]) && holds(blocks[i], kept, i), "block %zu", i);
            sizes[i] = to;
        } else {
            release(blocks[i]);
            blocks[i] = NULL;
            continue;
        }
        fill(blocks[i], sizes[i], i);
        if (round % 8 == 0)
            ck_assert_int_eq(
                hmm_heap_set_strategy(h, strategy_of((int)(round / 8) % strategy_count())), 0);
        if (round % 5 == 0)
            assert_counted();
    }
    for (size_t i = 0; i < 48; i++)
        release(blocks[i]);
    assert_all_released();
}
END_TEST

START_TEST(the_most_that_was_live_is_exact)
{
    struct hmm_stats s;
    begin(_i);
    hmm_heap_stats(h, &s);
    size_t peak = s.live_peak, before = s.live_bytes;
    void *p = alloc_at(64, 3000), *q = alloc_at(1024, 5000);
    size_t most = before + usable(p) + usable(q);
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.live_bytes, most);
    release(p);
    release(q);
    q = alloc_at(1024, 5000);
    release(q);
    hmm_heap_stats(h, &s);
    ck_assert_uint_eq(s.live_bytes, before);
    ck_assert_uint_eq(s.live_peak, peak > most ? peak : most);
}
END_TEST

/* ---- A record that was overwritten ---- */

static char *victim;

/* What a program may write over the end: how far, and with what. */
static const struct {
    size_t bytes;
    unsigned char with;
} tramples[] = {{1, 0}, {1, 'x'}, {2, 0}, {4, 0}, {4, 0xff}, {4, ' '}, {3, 1}};
#define TRAMPLES (int)(sizeof tramples / sizeof tramples[0])

/* False: the byte was there already. */
static bool trample(int i)
{
    unsigned char *end = (unsigned char *)victim + usable(victim), was[4];
    memcpy(was, end, sizeof was);
    memset(end, tramples[i].with, tramples[i].bytes);
    return memcmp(end, was, sizeof was) != 0;
}

static void act_free(void *unused)
{
    (void)unused;
    release(victim);
}

static void act_resize(void *to)
{
    keep(resize(victim, *(size_t *)to));
}

static void assert_reported(const char *verb, void (*act)(void *), void *arg)
{
    char line[256];
    snprintf(line, sizeof line, "hmm: %s 0x%zx: " OVERWRITTEN, verb, (size_t)victim);
    assert_aborts_saying(act, arg, line);
}

static void assert_is_reported(void)
{
    static size_t sizes[] = {10, 1000, 100000};
    const char *broken = hmm_heap_check(h);
    ck_assert_ptr_nonnull(broken);
    ck_assert_int_eq(strncmp(broken, "B8: ", 4), 0);
    assert_reported("free", act_free, NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_reported("realloc", act_resize, &sizes[i]);
}

START_TEST(a_record_that_was_overwritten_is_reported)
{
    begin(_i / TRAMPLES);
    unwatched(h);
    keep(alloc_at(128, 10));
    victim = alloc_at(128, 1300);
    char *above = alloc_at(4096, 10);
    if (trample(_i % TRAMPLES))
        assert_is_reported();
    release(above);
}
END_TEST

/* The record is at the end that the block has now, and nowhere else. */
START_TEST(the_record_goes_with_the_end)
{
    begin(_i);
    unwatched(h);
    victim = alloc_at(64, 1300);
    for (size_t size = 3000; size > 700; size -= 700) {
        victim = resize(victim, size);
        fill(victim, usable(victim), size);
        assert_sound(h);
    }
    ck_assert(trample(3));
    assert_is_reported();
}
END_TEST

/* The header alone says that there is a record. */
START_TEST(a_header_that_came_to_say_aligned_is_reported)
{
    begin(_i);
    unwatched(h);
    victim = alloc_at(HMM_GRANULE, 2000);
    memset(victim, 0, usable(victim));
    keep(alloc_at(HMM_GRANULE, 2000));
    word_store(victim, word_load(victim) | HMM__ALIGNED);
    assert_is_reported();
}
END_TEST

/* No word that is written there is taken for the record of what was not asked for: of all that
 * differ in one byte, none. */
START_TEST(no_byte_makes_it_another_alignment_s)
{
    begin(_i);
    unwatched(h);
    for (size_t align = 32; align <= 4096; align *= 2) {
        victim = alloc_at(align, 200);
        unsigned char *end = (unsigned char *)victim + usable(victim);
        hmm_ref r = block_of(h, victim);
        ck_assert_uint_eq(block_alignment(h, r), align / HMM_GRANULE);
        for (unsigned i = 0; i < 4; i++) {
            for (unsigned with = 1; with < 256; with++) {
                end[i] = (unsigned char)(end[i] ^ with);
                require(block_alignment(h, r) == 0, "byte %u of %zu", i, align);
                end[i] = (unsigned char)(end[i] ^ with);
            }
        }
        release(victim);
    }
    assert_sound(h);
}
END_TEST

/* ---- Twice freed ---- */

START_TEST(a_double_free_is_one)
{
    char line[256];
    begin(_i);
    unwatched(h);
    keep(alloc_at(64, 3000));
    victim = alloc_at(64, 3000);
    keep(alloc_at(64, 3000));
    release(victim);
    snprintf(line, sizeof line, "hmm: free 0x%zx: double free, or not a block: it is not in use",
             (size_t)victim);
    assert_aborts_saying(act_free, NULL, line);
}
END_TEST

static void add_all(struct cases c)
{
    on_each_strategy(c, moves_to_where_there_is_only_the_alignment_asked_for, 1);
    on_each_strategy(c, keeps_the_alignment_asked_for_through_many_moves, 1);
    on_each_strategy(c, slides_down_into_a_part_of_the_free_block_below, 1);
    on_each_strategy(c, all_of_the_usable_size_may_be_written, 1);
    on_each_strategy(c, what_any_block_has_costs_nothing, 1);
    on_each_strategy(c, none_is_so_large_that_its_size_wraps, 1);
    on_each_strategy(c, is_counted_exactly_and_stays_when_the_strategy_is_switched, 1);
    on_each_strategy(c, the_most_that_was_live_is_exact, 1);
    on_each_strategy(c, a_record_that_was_overwritten_is_reported, TRAMPLES);
    on_each_strategy(c, the_record_goes_with_the_end, 1);
    on_each_strategy(c, a_header_that_came_to_say_aligned_is_reported, 1);
    on_each_strategy(c, no_byte_makes_it_another_alignment_s, 1);
    on_each_strategy(c, a_double_free_is_one, 1);
}

int main(void)
{
    Suite *s = suite_create("alignment");
    add_all(add_cases(s, "alignment"));
    add_all(add_cached_cases(s, "alignment, with a cache"));
    struct cases process = add_cases(s, "alignment, in the process heap");
    for (int i = 0; i < strategy_count(); i++)
        tcase_add_checked_fixture(process.on[i], begin_process, NULL);
    add_all(process);
    return run_suite(s);
}
