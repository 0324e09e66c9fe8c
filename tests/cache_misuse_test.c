/* SPDX-License-Identifier: MIT */
/*
 * Misuse of blocks from the cache: each kind ends the program with its exact line; and there is no
 * line for correct programs that only look like it. On each strategy.
 */
#include "books.h"
#include "dies.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#if HMM__CACHE

#define MISALIGNED "not a block: the pointer is misaligned"
#define NOT_IN_USE "double free, or not a block: it is not in use"
#define FREED_TWICE "double free, or it was written to after it was freed"
#define INSIDE "not a block: the pointer is inside one"

#define OBJECTS 200

static struct hmm_heap *h;
static char *row[OBJECTS], *medium[4];
static int seed;

static int seeds(void)
{
    return under_valgrind() ? 1 : 5;
}

static size_t object_size(void)
{
    static const size_t sizes[] = {16, 48, 96, 320, 1024};
    return sizes[(size_t)seed % (sizeof sizes / sizeof sizes[0])];
}

/* Objects of one size from runs, and medium blocks, which are kept when they are freed. */
static void make_heap(const struct hmm_strategy *strategy)
{
    h = unwatched(heap_of(4 << 20, strategy));
    ck_assert_int_eq(hmm_heap_set_cache(h, 1), 0);
    must_malloc(h, 1 << 20);
    for (int i = 0; i < OBJECTS; i++)
        row[i] = must_malloc(h, object_size());
    for (int i = 0; i < 40; i++) /* the first of a size are no run's */
        hmm_heap_free(h, row[i]);
    for (int i = 0; i < 40; i++)
        row[i] = must_malloc(h, object_size());
    for (int i = 0; i < 4; i++)
        medium[i] = must_malloc(h, 3000);
    ck_assert_uint_gt(runs_of(h), 0);
}

/* Row i that surely is an object of a run. */
static char *object(int i)
{
    return row[OBJECTS - 1 - i];
}

/* ---- Each prepares a misuse, and returns the pointer to be freed ---- */

static void *freed_before(void)
{
    hmm_heap_free(h, object(5));
    return object(5);
}

static void *freed_before_others(void)
{
    for (int i = 5; i < 60; i++)
        hmm_heap_free(h, object(i));
    return object(20);
}

static void *freed_and_others_taken(void)
{
    for (int i = 5; i < 60; i++)
        hmm_heap_free(h, object(i));
    for (int i = 0; i < 20; i++)
        keep(hmm_heap_malloc(h, object_size()));
    char *p = object(5);
    while (!(((struct object *)(void *)p)->tag)) /* one that has not been taken again */
        p = object(++seed % 55 + 5);
    return p;
}

/* The run goes back, or stays as the last of its class. */
static void *freed_with_all_the_run(void)
{
    for (int i = 0; i < OBJECTS; i++)
        hmm_heap_free(h, row[i]);
    return object(30);
}

static void *freed_and_the_cache_emptied(void)
{
    freed_with_all_the_run();
    if (hmm_heap_set_cache(h, 0) != 0 || runs_of(h) != 0)
        exit(3);
    return object(30);
}

static void *one_byte_on(void)
{
    return object(3) + 1;
}

static void *half_a_granule_on(void)
{
    return object(3) + HMM_GRANULE / 2;
}

static void *the_second_half(void)
{
    return object(3) + object_size() / 2;
}

static void *moved_by_realloc(void)
{
    if (hmm_heap_realloc(h, object(7), 5000) == object(7))
        exit(3);
    return object(7);
}

static void *freed_by_realloc(void)
{
    if (hmm_heap_realloc(h, object(7), 0) != NULL)
        exit(3);
    return object(7);
}

static void *kept(void)
{
    hmm_heap_free(h, medium[1]);
    return medium[1];
}

static void *kept_below_another(void)
{
    hmm_heap_free(h, medium[1]);
    hmm_heap_free(h, medium[2]);
    return medium[1];
}

static void *kept_no_longer(void)
{
    for (int i = 0; i < 4; i++)
        hmm_heap_free(h, medium[i]);
    for (size_t size = 2000; size < 6000; size += 64) /* others of their place */
        hmm_heap_free(h, must_malloc(h, size));
    return medium[1];
}

static void *inside_a_kept_one(void)
{
    memset(medium[1], 0, 3000);
    hmm_heap_free(h, medium[1]);
    return medium[1] + 64 + HMM_GRANULE / 2;
}

static const struct misuse {
    void *(*prepare)(void);
    const char *why;   /* where its memory is not a run's any more: any */
    const char *later; /* what malloc says, to which free may leave it; NULL: free says why */
} misuses[] = {
    {freed_before, NOT_IN_USE, NULL},
    {freed_before_others, NOT_IN_USE, FREED_TWICE},
    {freed_and_others_taken, NOT_IN_USE, FREED_TWICE},
    {freed_with_all_the_run, NOT_IN_USE, FREED_TWICE},
    {freed_and_the_cache_emptied, NOT_IN_USE, NULL},
    {one_byte_on, INSIDE, NULL},
    {half_a_granule_on, INSIDE, NULL},
    {the_second_half, INSIDE, NULL},
    {moved_by_realloc, NOT_IN_USE, NULL},
    {freed_by_realloc, NOT_IN_USE, NULL},
    {kept, NOT_IN_USE, NULL},
    {kept_below_another, NOT_IN_USE, NULL},
    {kept_no_longer, NOT_IN_USE, NULL},
    {inside_a_kept_one, MISALIGNED, NULL},
};

#define MISUSES ((int)(sizeof misuses / sizeof misuses[0]))

/* ---- The children ---- */

enum verb { BY_FREE, BY_REALLOC, BY_SMALL_REALLOC, VERBS };

struct deed {
    const struct misuse *misuse;
    enum verb verb;
};

static void say(const char *prefix, const void *p)
{
    char line[64];
    snprintf(line, sizeof line, "%s 0x%lx\n", prefix, (unsigned long)(uintptr_t)p);
    if (write(2, line, strlen(line)) < 0)
        exit(4);
}

static bool is_in_medium(const char *p)
{
    for (int i = 0; i < 4; i++)
        if (p >= medium[i] && p < medium[i] + 3000)
            return true;
    return false;
}

/* What was freed twice may be handed out once. */
static void take_all(const void *freed)
{
    for (int i = 0, taken = 0; i < 4 * OBJECTS; i++)
        if (hmm_heap_malloc(h, object_size()) == freed && ++taken == 2)
            exit(5);
}

static void misuse(void *arg)
{
    const struct deed *deed = arg;
    void *p = deed->misuse->prepare();
    say(is_in_medium(p) || cache_run_of(h->cache, p) ? "at" : "gone", p);
    if (deed->verb == BY_FREE) {
        hmm_heap_free(h, p);
        if (deed->misuse->later)
            take_all(p);
    } else
        p = hmm_heap_realloc(h, p, deed->verb == BY_REALLOC ? 5000 : 10);
    exit(2);
}

/* _i: strategy, misuse, verb; the sizes of the objects go round. */
START_TEST(is_found)
{
    const struct deed deed = {&misuses[_i / VERBS % MISUSES], (enum verb)(_i % VERBS)};
    const char *verb = deed.verb == BY_FREE ? "free" : "realloc";
    for (seed = 0; seed < seeds(); seed++) {
        int status;
        unsigned long at = 0;
        make_heap(strategy_of(_i / VERBS / MISUSES));
        char *said = said_by_child(misuse, (void *)(uintptr_t)&deed, &status), want[300], where[8];
        ck_assert_msg(sscanf(said, "%7s %lx", where, &at) == 2, "nothing happened: %s", said);
        snprintf(want, sizeof want, "%s 0x%lx\nhmm: %s 0x%lx: %s\n", where, at, verb, at,
                 deed.misuse->why);
        if (strcmp(where, "at") == 0 && deed.verb == BY_FREE && deed.misuse->later &&
            strcmp(said, want) != 0)
            snprintf(want, sizeof want, "%s 0x%lx\nhmm: free 0x%lx: %s\n", where, at, at,
                     deed.misuse->later);
        if (strcmp(where, "at") == 0)
            ck_assert_str_eq(said, want);
        else
            ck_assert_msg(strncmp(said, want, strlen(want) - strlen(deed.misuse->why) - 1) == 0,
                          "said: %s", said);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        free(said);
        heap_end(h);
    }
}
END_TEST

/* All pointers into a run but those to objects in use, each in a child: seed is the size. */
static void free_at(void *p)
{
    hmm_heap_free(h, p);
}

START_TEST(no_pointer_into_an_object_is_freed)
{
    for (seed = 0; seed < seeds(); seed++) {
        make_heap(strategy_of(_i));
        for (size_t at = 1; at < object_size(); at += at < 20 ? 1 : 37) {
            char line[200];
            snprintf(line, sizeof line, "hmm: free 0x%lx: %s",
                     (unsigned long)(uintptr_t)(object(9) + at), INSIDE);
            assert_aborts_saying(free_at, object(9) + at, line);
        }
        heap_end(h);
    }
}
END_TEST

static void ask_size(void *p)
{
    exit(hmm_heap_usable_size(h, p) != 0 ? 2 : 3);
}

START_TEST(the_size_of_what_was_freed_is_not_told)
{
    char line[200];
    seed = 1;
    make_heap(strategy_of(_i));
    hmm_heap_free(h, object(4));
    snprintf(line, sizeof line, "hmm: usable size of 0x%lx: %s",
             (unsigned long)(uintptr_t)object(4), NOT_IN_USE);
    assert_aborts_saying(ask_size, object(4), line);
    heap_end(h);
}
END_TEST

/* ---- What a free leaves to others to find ---- */

/* Two bytes of a freed object's link are written over: malloc returns nothing that the program has
 * chosen. */
static void forge_a_link(void *unused)
{
    static char *target;
    (void)unused;
    target = object(20); /* in use, and so is what its first words lead to */
    memset(target, 0, 16);
    hmm_heap_free(h, object(6));
    hmm_heap_free(h, object(5));
    uint16_t low = (uint16_t)(uintptr_t)target;
    memcpy(object(5), &low, sizeof low); /* wherever the low byte of the address lies */
    for (int i = 0; i < 4 * OBJECTS; i++)
        if (hmm_heap_malloc(h, object_size()) == target)
            exit(6);
    exit(2);
}

START_TEST(a_forged_link_is_not_followed)
{
    for (seed = 0; seed < seeds(); seed++) {
        int status;
        make_heap(strategy_of(_i));
        char *said = said_by_child(forge_a_link, NULL, &status);
        bool crossed = (uintptr_t)object(6) >> 16 != (uintptr_t)object(20) >> 16;
        ck_assert_msg(strncmp(said, "hmm: ", 5) == 0 && (crossed || strstr(said, FREED_TWICE)),
                      "status %x, said: %s", (unsigned)status, said);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        free(said);
        heap_end(h);
    }
}
END_TEST

/* Of the objects of one run one is in use, and another was freed so often that the run counts as
 * empty. It is not the heap's while the one is in use. */
static void count_down_too_far(void *trim)
{
    char *in_use = object(100);
    const struct run *d = cache_run_of(h->cache, in_use);
    char *twice = NULL, *other = NULL;
    for (int i = 0; i < OBJECTS; i++)
        if (row[i] != in_use && cache_run_of(h->cache, row[i]) == d) {
            other = twice;
            twice = row[i];
        }
    if (other == NULL)
        exit(7);
    for (int i = 0; i < OBJECTS; i++)
        if (row[i] != in_use && row[i] != twice && row[i] != other)
            hmm_heap_free(h, row[i]);
    hmm_heap_free(h, twice);
    hmm_heap_free(h, other);
    hmm_heap_free(h, twice);
    memset(in_use, 0x5a, object_size());
    if (trim)
        hmm_heap_set_cache(h, 0);
    else
        while (hmm_heap_malloc(h, 9000) != NULL) { /* more than there is without the run */
        }
    exit(2);
}

START_TEST(no_run_goes_while_an_object_is_in_use)
{
    for (seed = 1; seed < seeds(); seed++)
        for (int trim = 0; trim < 2; trim++) {
            int status;
            make_heap(strategy_of(_i));
            char *said = said_by_child(count_down_too_far, trim ? &seed : NULL, &status);
            ck_assert_msg(strncmp(said, "hmm: free", 9) == 0, "seed %d, status %x, said: %s", seed,
                          (unsigned)status, said);
            ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
            free(said);
            heap_end(h);
        }
}
END_TEST

/* ---- Freed by another thread, and by its owner ---- */

/* The second free is reported at once, or when the object arrives: before it is handed out again
 * twice. */
static void free_both_ways(void *owner_first)
{
    enum { BLOCKS = 3000 };
    static void *block[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        block[i] = hmm_malloc(64);
    void *p = block[BLOCKS / 2 + 7 * seed];
    if (owner_first)
        hmm_free(p);
    freed_by_another(p);
    if (!owner_first)
        hmm_free(p);
    for (int i = 0, taken = 0; i < 2 * BLOCKS; i++)
        if (hmm_malloc(64) == p && ++taken == 2)
            exit(4);
}

/* _i: which strategy, and who is first. */
START_TEST(freed_by_two_threads)
{
    ck_assert_int_eq(hmm_init(strategy_of(_i / 2)), 0);
    for (seed = 0; seed < 50; seed += 50 / seeds()) {
        int status;
        char *said = said_by_child(free_both_ways, _i % 2 ? &seed : NULL, &status);
        ck_assert_msg(strncmp(said, "hmm: free 0x", 12) == 0 && strstr(said, ": double free, or "),
                      "seed %d: %s", seed, said);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        free(said);
    }
}
END_TEST

/* ---- What is no misuse ---- */

/* Each object holds what was the tag of another one. */
START_TEST(data_that_looks_like_a_tag_of_others)
{
    static unsigned char former[OBJECTS][16];
    seed = 1;
    make_heap(strategy_of(_i));
    for (int i = 0; i < OBJECTS; i++)
        hmm_heap_free(h, row[i]);
    for (int i = 0; i < OBJECTS; i++)
        memcpy(former[i], row[i], sizeof former[i]);
    for (int shift = 1; shift < 5; shift++) {
        for (int i = 0; i < OBJECTS; i++)
            row[i] = must_malloc(h, object_size());
        for (int i = 0; i < OBJECTS; i++) {
            const struct run *d = cache_run_of(h->cache, row[i]);
            memcpy(row[i], former[(i + shift * 7) % OBJECTS], sizeof former[i]);
            if (d != NULL && object_is_free(h->cache, row[i])) /* its own, by chance */
                memset(row[i], 0, sizeof former[i]);
        }
        for (int i = 0; i < OBJECTS; i++)
            hmm_heap_free(h, row[i]);
    }
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* The tags of all objects that are free, one after the other, in blocks that are kept when freed:
 * a block that moves takes along what lay in it before, to any distance. */
START_TEST(tags_that_have_moved)
{
    static uint64_t tags[OBJECTS];
    enum { BLOCKS = 12 };
    struct object *block[BLOCKS];
    seed = 1;
    make_heap(strategy_of(_i));
    for (int i = 0; i < OBJECTS; i++)
        hmm_heap_free(h, row[i]);
    for (int i = 0; i < OBJECTS; i++)
        tags[i] = ((struct object *)(void *)row[i])->tag;
    for (int i = 0; i < OBJECTS; i++) {
        for (int j = 0; j < BLOCKS; j++) {
            block[j] = must_malloc(h, 1100 + 48 * (size_t)j);
            block[j]->tag = tags[i];
        }
        for (int j = 0; j < BLOCKS; j++)
            hmm_heap_free(h, block[j]);
    }
    assert_sound(h);
    heap_end(h);
}
END_TEST

/* What an object holds after malloc, where nobody has written, is no tag: a program may copy it
 * around, and back. */
START_TEST(contents_after_malloc_copied_back)
{
    static unsigned char held[OBJECTS][1024];
    for (seed = 0; seed < seeds(); seed++) {
        make_heap(strategy_of(_i));
        for (int again = 0; again < 3; again++) {
            for (int i = 0; i < OBJECTS; i++)
                hmm_heap_free(h, row[i * 37 % OBJECTS]);
            for (int i = 0; i < OBJECTS; i++)
                memcpy(held[i], row[i] = must_malloc(h, object_size()), object_size());
            for (int i = 0; i < OBJECTS; i++)
                memset(row[i], 0xa5, object_size());
            for (int i = 0; i < OBJECTS; i++)
                memcpy(row[i], held[i], object_size());
        }
        for (int i = 0; i < 4; i++)
            hmm_heap_free(h, medium[i]);
        for (int i = 0; i < 4; i++) {
            memcpy(held[i], medium[i] = must_malloc(h, 3000), 1024);
            memset(medium[i], 0xa5, 3000);
            memcpy(medium[i], held[i], 1024);
        }
        for (int i = 0; i < OBJECTS; i++)
            hmm_heap_free(h, row[i]);
        for (int i = 0; i < 4; i++)
            hmm_heap_free(h, medium[i]);
        assert_sound(h);
        heap_end(h);
    }
}
END_TEST

/* The same place again and again: freed, taken, freed. */
START_TEST(freed_and_taken_and_freed)
{
    for (seed = 0; seed < seeds(); seed++) {
        make_heap(strategy_of(_i));
        char *p = object(2);
        for (int i = 0; i < 1000; i++) {
            hmm_heap_free(h, p);
            p = i % 3 ? must_malloc(h, object_size()) : hmm_heap_calloc(h, 1, object_size());
            char *q = medium[0];
            hmm_heap_free(h, q);
            medium[0] = must_malloc(h, 3000);
        }
        assert_sound(h);
        heap_end(h);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("misuse of the cache");
    struct cases c = add_cases(s, "misuse of the cache");
    on_each_strategy(c, is_found, MISUSES * VERBS);
    on_each_strategy(c, no_pointer_into_an_object_is_freed, 1);
    on_each_strategy(c, the_size_of_what_was_freed_is_not_told, 1);
    on_each_strategy(c, a_forged_link_is_not_followed, 1);
    on_each_strategy(c, no_run_goes_while_an_object_is_in_use, 1);
    on_each_strategy(c, freed_by_two_threads, 2);
    on_each_strategy(c, data_that_looks_like_a_tag_of_others, 1);
    on_each_strategy(c, tags_that_have_moved, 1);
    on_each_strategy(c, contents_after_malloc_copied_back, 1);
    on_each_strategy(c, freed_and_taken_and_freed, 1);
    return run_suite(s);
}

#else

int main(void)
{
    return skip_without_cache();
}

#endif
