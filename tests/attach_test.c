/* SPDX-License-Identifier: MIT */
/*
 * hmm_heap_attach: a heap goes on at another address, from a file, and between processes; what is
 * no heap of this build is refused, each with the errno of its reason; an attempt on memory with
 * arbitrary contents does no harm.
 */
#include "heap/heap.h"
#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define REGION ((size_t)256 << 10)

enum { BLOCKS = 200, STEPS = 4000, ALIGN = 64, AWAY = 3 * ALIGN };

static _Alignas(4096) char region[REGION], other[REGION + AWAY + 4096];
static char *blocks[BLOCKS];

static struct hmm_heap *made(const struct hmm_strategy *s)
{
    memset(region, 0xa5, sizeof region);
    struct hmm_heap *h = hmm_heap_create(region, REGION, s);
    ck_assert_ptr_nonnull(h);
    memset(blocks, 0, sizeof blocks);
    return unwatched(h);
}

static void *resized(struct hmm_heap *h, char *was, size_t size)
{
    if (was == NULL)
        return size % 5 ? hmm_heap_malloc(h, size) : hmm_heap_aligned_alloc(h, ALIGN, size);
    return hmm_heap_realloc(h, was, size % 3 ? 0 : size + 1);
}

/* A random operation on the heap, and on its copy, if there is one. */
static void step(struct hmm_heap *h, struct hmm_heap *copy, uint64_t *rng)
{
    size_t i = rng_below(rng, BLOCKS), size = rng_below(rng, (size_t)1 << rng_below(rng, 13));
    ptrdiff_t apart = copy ? (char *)copy - (char *)h : 0;
    char *was = blocks[i], *now = resized(h, was, size);
    bool failed = was != NULL && now == NULL && size % 3 == 0;
    blocks[i] = failed ? was : now;
    if (copy == NULL)
        return;
    char *same = resized(copy, was ? was + apart : NULL, size);
    require((same == NULL) == (now == NULL) && (same == NULL || same - apart == now),
            "%zu bytes are elsewhere in the copy", size);
}

static void use(struct hmm_heap *h, uint64_t seed)
{
    for (unsigned i = 0; i < STEPS; i++)
        step(h, NULL, &seed);
}

/* ---- In memory that is shared ---- */

static unsigned times_attached;

/* As another process leaves the handle: with its own pointers. */
static void leave_to_another(void *arg)
{
    struct hmm_heap *h = arg;
    memset(&h->strategy, 0xa5,
           offsetof(struct hmm_heap, large_above) - offsetof(struct hmm_heap, strategy));
    memset(&h->uncached_malloc, 0xa5,
           offsetof(struct hmm_heap, check_level) - offsetof(struct hmm_heap, uncached_malloc));
}

static void attach_anew(void *arg)
{
    ck_assert_ptr_eq(hmm_heap_attach(region, REGION), arg);
    unwatched(arg);
    times_attached++;
}

static int count_one(void *arg, const struct hmm_block_info *info)
{
    (void)info;
    ++*(unsigned *)arg;
    return 0;
}

/* _i: strategy. Each operation holds the lock before it reads a pointer of the handle. */
START_TEST(the_handle_is_read_with_the_lock_only)
{
    struct hmm_heap *h = made(strategy_of(_i));
    struct hmm_constraint c = {.align = 256};
    struct hmm_stats stats;
    unsigned blocks_seen = 0;
    times_attached = 0;
    hmm_set_lock(attach_anew, leave_to_another, h);
    leave_to_another(h);
    for (size_t size = 1; size < 20000; size = size * 3 / 2 + 1) {
        char *p = hmm_heap_malloc(h, size), *q = hmm_heap_calloc(h, 1, size);
        char *a = hmm_heap_aligned_alloc(h, 64, size), *w = hmm_heap_malloc_within(h, size, &c);
        ck_assert(p != NULL && q != NULL && a != NULL && w != NULL);
        ck_assert_uint_ge(hmm_heap_usable_size(h, p), size);
        p = hmm_heap_realloc(h, p, 2 * size);
        ck_assert_ptr_nonnull(p);
        q = hmm_heap_realloc(h, q, size / 2 + 1);
        hmm_heap_free(h, a);
        hmm_heap_free(h, p);
        hmm_heap_free(h, w);
        hmm_heap_free(h, q);
        ck_assert_uint_eq(times_attached, 10);
        times_attached = 0;
    }
    ck_assert_int_eq(hmm_heap_set_strategy(h, strategy_of(_i)), 0);
    ck_assert_int_eq(hmm_heap_set_strategy(h, strategy_of((_i + 1) % strategy_count())), 0);
    hmm_heap_stats(h, &stats);
    ck_assert_uint_eq(stats.live_blocks, 0);
    ck_assert_ptr_null(hmm_heap_check(h));
    ck_assert_int_eq(hmm_heap_walk(h, count_one, &blocks_seen), 0);
    ck_assert_uint_eq(times_attached, 5);
    hmm_set_lock(NULL, NULL, NULL);
}
END_TEST

/* ---- At another address ---- */

static void goes_on(struct hmm_heap *h)
{
    uint64_t rng = 7;
    memcpy(other + AWAY, region, REGION);
    struct hmm_heap *copy = hmm_heap_attach(other + AWAY, REGION);
    ck_assert_ptr_nonnull(copy);
    assert_sound(copy);
    ck_assert_ptr_eq(hmm_heap_strategy(copy), hmm_heap_strategy(h));
    for (unsigned i = 0; i < scaled(STEPS); i++) {
        step(h, copy, &rng);
        if (i % 500 == 0)
            assert_sound(copy);
    }
    assert_sound(h);
    assert_sound(copy);
}

/* _i: strategy */
START_TEST(goes_on_elsewhere)
{
    struct hmm_heap *h = made(strategy_of(_i));
    use(h, 3);
    goes_on(h);
}
END_TEST

/* _i: strategy. After a switch the state may lie at the high end, or in a block. */
START_TEST(goes_on_after_a_switch)
{
    for (int from = 0; from < strategy_count(); from++) {
        struct hmm_heap *h = made(strategy_of(from));
        use(h, 4);
        ck_assert_int_eq(hmm_heap_set_strategy(h, strategy_of(_i)), 0);
        use(h, 5);
        goes_on(h);
    }
}
END_TEST

START_TEST(goes_on_with_its_state_in_a_block)
{
    struct hmm_heap *h = made(HMM_SEGREGATED);
    void *room = must_malloc(h, 2 * HMM_FIRST_FIT->state_size(hmm_heap_capacity(h)));
    fill_up(h);
    hmm_heap_free(h, room);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_FIRST_FIT), 0);
    ck_assert_int_eq(h->state_place, HMM__STATE_BLOCK);
    goes_on(h);
}
END_TEST

/* _i: strategy. Odd regions, and such that the heap does not use whole. */
START_TEST(odd_regions)
{
    unsigned attached = 0;
    for (size_t size = 300; size < 9000; size += 37) {
        size_t at = size % 50;
        struct hmm_heap *h = hmm_heap_create(region + at, size, strategy_of(_i));
        if (h == NULL)
            continue;
        unwatched(h);
        void *p = hmm_heap_malloc(h, 20);
        memcpy(other + at, region + at, size);
        struct hmm_heap *copy = hmm_heap_attach(other + at, size);
        ck_assert_ptr_nonnull(copy);
        assert_sound(copy);
        if (p != NULL)
            hmm_heap_free(copy, (char *)p + ((char *)copy - (char *)h));
        assert_empty(copy);
        errno = 0;
        ck_assert_ptr_null(hmm_heap_attach(other + at, size / 2));
        ck_assert_int_eq(errno, EINVAL);
        attached++;
    }
    ck_assert_uint_gt(attached, 50);
}
END_TEST

/* ---- From a file, in another process ---- */

static void write_image(FILE *file)
{
    ck_assert_uint_eq(fwrite(region, 1, REGION, file), REGION);
    ck_assert_int_eq(fflush(file), 0);
    rewind(file);
}

/* _i: strategy. The region is overwritten before it is read back elsewhere. */
START_TEST(from_a_file)
{
    int status;
    FILE *file = tmpfile();
    struct hmm_heap *h = made(strategy_of(_i));
    use(h, 9);
    char *p = must_malloc(h, 1000);
    size_t at = (size_t)(p - region);
    fill(p, 1000, 8);
    write_image(file);
    memset(region, 0xff, sizeof region);
    pid_t child = fork();
    if (child == 0) {
        char *memory = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(file), 0);
        if (memory == MAP_FAILED || (h = hmm_heap_attach(memory, REGION)) == NULL)
            _exit(1);
        if (!holds(memory + at, 1000, 8) || hmm_heap_check(h) != NULL)
            _exit(2);
        hmm_heap_free(h, memory + at);
        _exit(hmm_heap_malloc(h, 1000) == NULL || hmm_heap_check(h) != NULL ? 3 : 0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    fclose(file);
}
END_TEST

/* ---- Two processes at two addresses ---- */

enum { TURNS = 40 };

/* A turn of one process: it frees what the other has made, and makes more. The number of a block's
 * page is its place, in both. */
static bool take_turn(char *memory, size_t *places, unsigned turn)
{
    struct hmm_heap *h = hmm_heap_attach(memory, REGION);
    if (h == NULL)
        return false;
    for (unsigned i = 0; i < 20; i++) {
        size_t size = 10 + (turn * 31 + i * 97) % 700;
        if (places[i] != 0 && !holds(memory + places[i], 10, i))
            return false;
        if (places[i] != 0)
            hmm_heap_free(h, memory + places[i]);
        char *p = hmm_heap_malloc(h, size);
        if (p == NULL)
            return false;
        fill(p, size, i);
        places[i] = (size_t)(p - memory);
    }
    return hmm_heap_check(h) == NULL;
}

static int be_other(int fd, int in, int out, const char *not_here)
{
    char *memory = mmap(NULL, REGION + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), token;
    if (memory == MAP_FAILED || memory == not_here)
        return 1;
    while (read(in, &token, 1) == 1) {
        if (!take_turn(memory, (size_t *)(void *)(memory + REGION), (unsigned char)token))
            return 2;
        if (write(out, &token, 1) != 1)
            return 3;
    }
    return 0;
}

/* _i: strategy */
START_TEST(two_processes_at_two_addresses)
{
    int to[2], from[2], status;
    FILE *file = tmpfile();
    ck_assert_int_eq(ftruncate(fileno(file), (off_t)REGION + 4096), 0);
    char *memory = mmap(NULL, REGION + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    ck_assert(memory != MAP_FAILED);
    ck_assert(pipe(to) == 0 && pipe(from) == 0);
    ck_assert_ptr_nonnull(unwatched(hmm_heap_create(memory, REGION, strategy_of(_i))));
    pid_t child = fork();
    if (child == 0) {
        close(to[1]);
        _exit(be_other(fileno(file), to[0], from[1], memory));
    }
    close(to[0]);
    close(from[1]);
    for (char turn = 0; turn < TURNS; turn++) {
        char answer;
        ck_assert(take_turn(memory, (size_t *)(void *)(memory + REGION), (unsigned char)turn));
        ck_assert_int_eq(write(to[1], &turn, 1), 1);
        ck_assert_int_eq(read(from[0], &answer, 1), 1);
    }
    close(to[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    fclose(file);
}
END_TEST

/* ---- What is refused ---- */

static struct hmm_heap *fresh_copy(void)
{
    memcpy(other, region, REGION);
    return (struct hmm_heap *)(void *)other;
}

static int refusal(size_t size)
{
    errno = 0;
    ck_assert_ptr_null(hmm_heap_attach(other, size));
    return errno;
}

/* _i: strategy */
START_TEST(wrong_images)
{
    struct hmm_heap *h = made(strategy_of(_i)), *copy = fresh_copy();
    use(h, 3);
    ck_assert_ptr_eq(hmm_heap_attach(other, REGION), copy);
    copy = fresh_copy();
    copy->id.version++;
    ck_assert_int_eq(refusal(REGION), EPROTO);
    copy = fresh_copy();
    copy->id.heap_bytes++;
    ck_assert_int_eq(refusal(REGION), EPROTO);
    copy = fresh_copy();
    copy->id.magic = __builtin_bswap32(copy->id.magic);
    ck_assert_int_eq(refusal(REGION), EINVAL);
    uint8_t *const fields[] = {&copy->id.granule, &copy->id.header_bytes, &copy->id.word_bytes};
    for (int i = 0; i < 3; i++) {
        fresh_copy();
        *fields[i] = (uint8_t)(*fields[i] / 2);
        ck_assert_int_eq(refusal(REGION), EINVAL);
    }
    copy = fresh_copy();
    copy->id.strategy[0]++;
    ck_assert_int_eq(refusal(REGION), ENOENT);
    copy = fresh_copy();
    memset(copy->id.strategy, 'x', sizeof copy->id.strategy);
    ck_assert_int_eq(refusal(REGION), ENOENT);
    fresh_copy();
    ck_assert_int_eq(refusal(REGION - HMM_GRANULE), EINVAL);
    ck_assert_int_eq(refusal(REGION + HMM_GRANULE), EINVAL);
    ck_assert_int_eq(refusal(sizeof *h), EINVAL);
    ck_assert_int_eq(refusal(10), EINVAL);
    ck_assert_int_eq(refusal(0), EINVAL);
    ck_assert_ptr_null(hmm_heap_attach(NULL, REGION));
    ck_assert_int_eq(errno, EINVAL);
    memcpy(other + 8, region, REGION);
    ck_assert_ptr_null(hmm_heap_attach(other + 8, REGION));
}
END_TEST

/* The alignment of a block does not hold here. */
START_TEST(an_alignment_that_does_not_hold)
{
    struct hmm_heap *h = made(HMM_BEST_FIT);
    ck_assert_ptr_nonnull(keep(hmm_heap_aligned_alloc(h, 1024, 100)));
    memcpy(other + 512, region, REGION);
    ck_assert_ptr_null(hmm_heap_attach(other + 512, REGION));
    memcpy(other + 1024, region, REGION);
    ck_assert_ptr_nonnull(hmm_heap_attach(other + 1024, REGION));
}
END_TEST

START_TEST(a_cache_and_a_plugin)
{
    struct hmm_strategy plugin = *HMM_BEST_FIT;
    plugin.malloc_whole = NULL;
    plugin.free_whole = NULL;
    made(&plugin);
    fresh_copy();
    ck_assert_int_eq(refusal(REGION), ENOENT);
    struct hmm_heap *h = made(HMM_BEST_FIT);
    if (hmm_heap_set_cache(h, 1) == 0 && h->cache != NULL) {
        fresh_copy();
        ck_assert_int_eq(refusal(REGION), EINVAL);
    }
}
END_TEST

/* ---- Memory that holds anything ---- */

/* A heap that is accepted is whole. */
static bool attach_other(void)
{
    struct hmm_heap *h = hmm_heap_attach(other, REGION);
    if (h != NULL)
        assert_sound(h);
    return h != NULL;
}

START_TEST(random_bytes)
{
    uint64_t rng = 21;
    struct hmm_heap *h = made(HMM_FIRST_FIT);
    for (unsigned long n = scaled(200); n != 0; n--) {
        for (size_t i = 0; i < 8192; i++)
            other[i] = (char)rng_next(&rng);
        ck_assert(!attach_other());
        memcpy(other, region, offsetof(struct hmm_heap, id) + sizeof h->id);
        ck_assert(!attach_other());
    }
}
END_TEST

/* Changes a few bytes: of the numbers, of the state, of the blocks, or anywhere. */
static void damage(uint64_t *rng, size_t state_end, size_t top)
{
    size_t from = offsetof(struct hmm_heap, aligned_blocks), bytes = HMM__IMAGE_BYTES - from;
    switch (rng_below(rng, 4)) {
    case 0:
        break;
    case 1:
        from = sizeof(struct hmm_heap);
        bytes = state_end - from;
        break;
    case 2:
        from = state_end;
        bytes = top - from;
        break;
    default:
        bytes = top - from;
    }
    for (size_t n = 1 + rng_below(rng, 3); n != 0; n--) {
        char *at = other + from + rng_below(rng, bytes);
        static const unsigned char odd[] = {0, 1, 0x7f, 0x80, 0xff};
        *at = rng_below(rng, 2) ? (char)rng_next(rng) : (char)odd[rng_below(rng, 5)];
    }
}

/* _i: strategy and seed. */
START_TEST(damaged_images)
{
    uint64_t rng = (uint64_t)_i + 1000;
    struct hmm_heap *h = made(strategy_of(_i / 8));
    use(h, (uint64_t)_i + 5);
    size_t state_end = (size_t)h->first * HMM_GRANULE, top = (size_t)h->top * HMM_GRANULE;
    unsigned refused = 0;
    for (unsigned long n = scaled(3000); n != 0; n--) {
        fresh_copy();
        damage(&rng, state_end, top);
        refused += !attach_other();
    }
    ck_assert_uint_gt(refused, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("attach");
    struct cases c = add_cases(s, "attach");
    on_each_strategy(c, the_handle_is_read_with_the_lock_only, 1);
    on_each_strategy(c, goes_on_elsewhere, 1);
    on_each_strategy(c, goes_on_after_a_switch, 1);
    tcase_add_test(c.once, goes_on_with_its_state_in_a_block);
    on_each_strategy(c, odd_regions, 1);
    on_each_strategy(c, from_a_file, 1);
    on_each_strategy(c, two_processes_at_two_addresses, 1);
    on_each_strategy(c, wrong_images, 1);
    tcase_add_test(c.once, an_alignment_that_does_not_hold);
    tcase_add_test(c.once, a_cache_and_a_plugin);
    tcase_add_test(c.once, random_bytes);
    on_each_strategy(c, damaged_images, 8);
    return run_suite(s);
}
