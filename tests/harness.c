/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "process/region.h"

#ifdef HAVE_PTHREAD
#include <pthread.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#ifdef HAVE_VALGRIND
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_MAKE_MEM_DEFINED(from, bytes) ((void)(from), (bytes))
#define VALGRIND_MAKE_MEM_NOACCESS(from, bytes) ((void)(from), (bytes))
#endif

#define VALGRIND_SHARE 40
#define MOST_ALIGNED ((size_t)16 << 20)
#define CACHED_MORE ((size_t)132 << 10)

int strategy_count(void)
{
    int n = 0;
    while (hmm_strategy_at((unsigned)n) != NULL)
        n++;
    return n;
}

const struct hmm_strategy *strategy_of(int index)
{
    const struct hmm_strategy *s = hmm_strategy_at((unsigned)index);
    ck_assert_ptr_nonnull(s);
    return s;
}

bool under_valgrind(void)
{
    return RUNNING_ON_VALGRIND != 0;
}

unsigned long scaled(unsigned long n)
{
    if (under_valgrind())
        n /= VALGRIND_SHARE;
    return n ? n : 1;
}

static bool is_cached;

bool cached(void)
{
    return is_cached;
}

size_t region_of(size_t size)
{
    return is_cached ? size + size / 128 + CACHED_MORE : size;
}

struct hmm_heap *heap_of(size_t size, const struct hmm_strategy *strategy)
{
    void *memory;
    size_t align = 4096;
    size = region_of(size);
    while (align < size && align < MOST_ALIGNED)
        align *= 2;
    ck_assert_int_eq(posix_memalign(&memory, align, size), 0);
    struct hmm_heap *h = hmm_heap_create(memory, size, strategy);
    ck_assert_ptr_nonnull(h);
    if (is_cached && hmm_heap_set_cache(h, 1) != 0)
        ck_assert_int_eq(errno, ENOTSUP);
    return h;
}

struct hmm_heap *unwatched(struct hmm_heap *heap)
{
    if (heap->check_flags & HMM__CHECK_MEMCHECK) {
        heap->check_flags &= ~(uint32_t)HMM__CHECK_MEMCHECK;
        hmm__set_entries(heap);
        (void)VALGRIND_MAKE_MEM_DEFINED(heap, (size_t)heap->high_limit * HMM_GRANULE);
    }
    return heap;
}

void heap_end(struct hmm_heap *heap)
{
    char *memory = (char *)heap - heap->skew;
    hmm_heap_destroy(heap);
    free(memory);
}

void assert_sound(const struct hmm_heap *heap)
{
    const char *broken = hmm_heap_check(heap);
    require(broken == NULL, "%s: %s", hmm_strategy_name(hmm_heap_strategy(heap)), broken);
}

void *must_malloc(struct hmm_heap *heap, size_t size)
{
    void *p = hmm_heap_malloc(heap, size);
    require(p != NULL, "no room for %zu bytes", size);
    return p;
}

void *keep(void *block)
{
    static void *volatile kept[1024];
    static size_t count;
    ck_assert_ptr_nonnull(block);
    ck_assert_uint_lt(count, sizeof kept / sizeof kept[0]);
    return kept[count++] = block;
}

size_t exhaust(struct hmm_heap *heap, size_t size, void **blocks, size_t most)
{
    size_t n = 0;
    for (void *p; n < most && (p = hmm_heap_malloc(heap, size)) != NULL; n++)
        blocks[n] = p;
    return n;
}

void fill_up(struct hmm_heap *heap)
{
    struct hmm_stats s;
    for (hmm_heap_stats(heap, &s); s.largest_free != 0; hmm_heap_stats(heap, &s))
        keep(hmm_heap_malloc(heap, s.largest_free));
}

static int count_any(void *arg, const struct hmm_block_info *b)
{
    (void)b;
    ++*(size_t *)arg;
    return 0;
}

static int count_unused(void *arg, const struct hmm_block_info *b)
{
    *(size_t *)arg += !b->used;
    return 0;
}

size_t count_blocks(const struct hmm_heap *heap)
{
    size_t n = 0;
    hmm_heap_walk(heap, count_any, &n);
    return n;
}

size_t count_free(const struct hmm_heap *heap)
{
    size_t n = 0;
    hmm_heap_walk(heap, count_unused, &n);
    return n;
}

static void set_cache(const struct hmm_heap *heap, int on)
{
    if (is_cached && heap->cache != NULL)
        ck_assert_int_eq(hmm_heap_set_cache((struct hmm_heap *)(uintptr_t)heap, on), 0);
}

void assert_empty(const struct hmm_heap *heap)
{
    struct hmm_stats s;
    assert_sound(heap);
    set_cache(heap, 0);
    hmm_heap_stats(heap, &s);
    assert_sound(heap);
    ck_assert_uint_eq(count_blocks(heap), 0);
    ck_assert_uint_eq(s.live_blocks, 0);
    ck_assert_uint_eq(s.live_bytes, 0);
    ck_assert_uint_eq(s.free_blocks, 0);
    ck_assert_uint_eq(s.free_bytes, 0);
    set_cache(heap, 1);
}

static unsigned char pattern(uint64_t seed, size_t i)
{
    return (unsigned char)((seed * 0x9e3779b97f4a7c15u >> 56) + i * 37 + (i >> 8));
}

void fill(void *block, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)block)[i] = pattern(seed, i);
}

bool holds(const void *block, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        if (((const unsigned char *)block)[i] != pattern(seed, i))
            return false;
    return true;
}

/* xorshift64*: the state must not be 0. */
#ifdef HAVE_PTHREAD
static void *free_it(void *block)
{
    hmm_free(block);
    return NULL;
}

void freed_by_another(void *block)
{
    pthread_t other;
    if (pthread_create(&other, NULL, free_it, block) != 0)
        exit(3);
    pthread_join(other, NULL);
}
#else
void freed_by_another(void *block)
{
    (void)block;
    exit(3);
}
#endif

TCase *add_case(Suite *suite, const char *name)
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, under_valgrind() ? 900 : 120);
    suite_add_tcase(suite, c);
    return c;
}

static void begin_cached(void)
{
    is_cached = true;
}

/* NAME/STRATEGY, which lasts as long as Check wants it. */
static const char *name_on(const char *name, int strategy)
{
    static char names[40][64];
    static unsigned count;
    if (strategy >= MOST_STRATEGIES || count == sizeof names / sizeof names[0])
        abort();
    snprintf(names[count], sizeof names[0], "%s/%s", name,
             hmm_strategy_name(hmm_strategy_at((unsigned)strategy)));
    return names[count++];
}

struct cases add_cases(Suite *suite, const char *name)
{
    struct cases cases = {.once = add_case(suite, name)};
    for (int i = 0; i < strategy_count(); i++)
        cases.on[i] = add_case(suite, name_on(name, i));
    return cases;
}

void on_each_strategy(struct cases cases, const TTest *test, int times)
{
    for (int i = 0; i < strategy_count(); i++)
        tcase_add_loop_test(cases.on[i], test, i * times, (i + 1) * times);
}

void set_up(struct cases cases, void (*function)(void))
{
    tcase_add_checked_fixture(cases.once, function, NULL);
    for (int i = 0; i < strategy_count(); i++)
        tcase_add_checked_fixture(cases.on[i], function, NULL);
}

void set_timeout(struct cases cases, int seconds)
{
    tcase_set_timeout(cases.once, seconds);
    for (int i = 0; i < strategy_count(); i++)
        tcase_set_timeout(cases.on[i], seconds);
}

struct cases add_cached_cases(Suite *suite, const char *name)
{
    struct cases cases = add_cases(suite, name);
    set_up(cases, begin_cached);
    return cases;
}

/* Memcheck looks for pointers in all that may be read, at the end of every test's process. The
 * process heap's array is hidden from it, until a heap in it does the same: but for its beginning,
 * which set-up writes before that. */
static void hide_process_region(void)
{
    const size_t written = (size_t)4 << 20;
    size_t size = 0;
    char *region = hmm__region_get(&size);
    if (size > written)
        (void)VALGRIND_MAKE_MEM_NOACCESS(region + written, size - written);
}

int run_suite(Suite *suite)
{
    hide_process_region();
    SRunner *r = srunner_create(suite);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
