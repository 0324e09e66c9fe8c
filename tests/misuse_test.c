/* SPDX-License-Identifier: MIT */
/*
 * Misuse: each kind ends the program with its exact line on stderr. On each strategy.
 */
#include "dies.h"
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTSIDE "pointer outside the heap"
#define MISALIGNED "not a block: the pointer is misaligned"
#define NOT_IN_USE "double free, or not a block: it is not in use"
#define ABOVE "not a block: the pointer is above the last one"
#define BAD_SIZE "not a block, or its header was overwritten: its size leads outside the heap"
#define CONTRADICTS "not a block, or a header was overwritten: it contradicts its neighbours"
#define INSIDE "not a block: the pointer is inside one"

static _Alignas(4096) char region[64 << 10];
static int elsewhere[64];
static struct hmm_heap *h;
static char *row[5];

static uint32_t *header(void *block)
{
    return (uint32_t *)block - 1;
}

/* ---- Each prepares a misuse, and returns the pointer to be freed ---- */

static void *not_of_the_heap(void)
{
    return elsewhere;
}

static void *control_structures(void)
{
    return h;
}

static void *the_break(void)
{
    return hmm_heap_break(h);
}

static void *region_s_end(void)
{
    return region + sizeof region;
}

static void *one_byte_on(void)
{
    return row[2] + 1;
}

static void *half_a_granule_on(void)
{
    return row[2] + HMM_GRANULE / 2;
}

static void *freed_before(void)
{
    hmm_heap_free(h, row[2]);
    return row[2];
}

static void *freed_and_merged_down(void)
{
    hmm_heap_free(h, row[1]);
    hmm_heap_free(h, row[2]);
    return row[2];
}

static void *freed_and_merged_up(void)
{
    hmm_heap_free(h, row[2]);
    hmm_heap_free(h, row[1]);
    return row[2];
}

static void *freed_between(void)
{
    hmm_heap_free(h, row[1]);
    hmm_heap_free(h, row[3]);
    hmm_heap_free(h, row[2]);
    return row[2];
}

static void *freed_into_the_top(void)
{
    hmm_heap_free(h, row[4]);
    return row[4];
}

static void *freed_into_the_top_with_others(void)
{
    hmm_heap_free(h, row[3]);
    hmm_heap_free(h, row[4]);
    return row[4];
}

static void *freed_as_the_last(void)
{
    for (int i = 0; i < 5; i++)
        hmm_heap_free(h, row[i]);
    return row[0];
}

static void *moved_by_realloc(void)
{
    void *p = hmm_heap_realloc(h, row[2], 5000);
    if (p == NULL || p == row[2])
        exit(3);
    return row[2];
}

static void *cut_off_by_realloc(void)
{
    if (hmm_heap_realloc(h, row[2], 40) != row[2])
        exit(3);
    return row[2] + 48;
}

static void *never_used(void)
{
    return (char *)block_payload(h, h->top) + HMM_GRANULE;
}

static void *the_top(void)
{
    return block_payload(h, h->top);
}

static void *size_of_nothing(void)
{
    *header(row[2]) = 0;
    return row[2];
}

static void *size_beyond_the_top(void)
{
    *header(row[2]) += header_make(5000, 0);
    return row[2];
}

static void *inside_among_zeroes(void)
{
    memset(row[2], 0, 200);
    return row[2] + 3 * HMM_GRANULE;
}

static void *smaller_than_it_was(void)
{
    memset(row[2], 0xff, hmm_heap_usable_size(h, row[2]));
    *header(row[2]) -= header_make(2, 0);
    return row[2];
}

/* The block written past its end: into the next one's header. */
static void *after_an_overrun(void)
{
    memset(row[2] + 200, 'A', hmm_heap_usable_size(h, row[2]) - 200 + HMM_HEADER_BYTES);
    return row[2];
}

static void *overrun_from_below(void)
{
    after_an_overrun();
    return row[3];
}

static void *below_one_that_was_written_after_its_free(void)
{
    hmm_heap_free(h, row[3]);
    memset(row[3], 'A', hmm_heap_usable_size(h, row[2]));
    return row[2];
}

static void *above_one_that_was_written_after_its_free(void)
{
    size_t size = hmm_heap_usable_size(h, row[1]);
    hmm_heap_free(h, row[1]);
    memset(row[1], 'A', size);
    return row[2];
}

static void *above_one_whose_header_was_overwritten(void)
{
    hmm_heap_free(h, row[1]);
    *header(row[1]) = 0;
    return row[2];
}

static void *says_free_below_and_is_not(void)
{
    *header(row[2]) |= HMM__PREV_FREE;
    memset(row[1], 0, hmm_heap_usable_size(h, row[1]));
    return row[2];
}

/* An array of zeros, and 1 written behind its end: the header that was there is one of size 0. */
static void *below_one_that_is_free_and_of_no_size(void)
{
    memset(row[2], 0, hmm_heap_usable_size(h, row[2]));
    *header(row[3]) = HMM__FREE;
    return row[2];
}

/* The user's bytes look like the header of a block that ends where this one does. */
static void *inside_at_what_looks_like_a_header(void)
{
    char *p = row[2] + 4 * HMM_GRANULE;
    memset(row[2], 0, 200);
    *header(p) = *header(row[2]) - header_make(4, 0);
    return p;
}

static const struct misuse {
    void *(*prepare)(void);
    int level; /* the lowest that finds it */
    const char *why;
} misuses[] = {
    {not_of_the_heap, 1, OUTSIDE},
    {control_structures, 1, OUTSIDE},
    {the_break, 1, OUTSIDE},
    {region_s_end, 1, OUTSIDE},
    {one_byte_on, 1, MISALIGNED},
    {half_a_granule_on, 1, MISALIGNED},
    {freed_before, 1, NOT_IN_USE},
    {freed_and_merged_down, 1, NOT_IN_USE},
    {freed_and_merged_up, 1, NOT_IN_USE},
    {freed_between, 1, NOT_IN_USE},
    {freed_into_the_top, 1, NOT_IN_USE},
    {freed_into_the_top_with_others, 1, NOT_IN_USE},
    {freed_as_the_last, 1, NOT_IN_USE},
    {moved_by_realloc, 1, NOT_IN_USE},
    {cut_off_by_realloc, 1, NOT_IN_USE},
    {never_used, 1, ABOVE},
    {the_top, 1, NOT_IN_USE},
    {size_of_nothing, 1, BAD_SIZE},
    {size_beyond_the_top, 1, BAD_SIZE},
    {inside_among_zeroes, 1, BAD_SIZE},
    {smaller_than_it_was, 1, CONTRADICTS},
    {after_an_overrun, 1, CONTRADICTS},
    {overrun_from_below, 1, NOT_IN_USE},
    {below_one_that_was_written_after_its_free, 1, CONTRADICTS},
    {above_one_that_was_written_after_its_free, 1, CONTRADICTS},
    {above_one_whose_header_was_overwritten, 1, CONTRADICTS},
    {below_one_that_is_free_and_of_no_size, 1, CONTRADICTS},
    {says_free_below_and_is_not, 1, CONTRADICTS},
    {inside_at_what_looks_like_a_header, 2, INSIDE},
};

#define MISUSES ((int)(sizeof misuses / sizeof misuses[0]))

/* ---- The children ---- */

struct deed {
    const struct misuse *misuse;
    bool by_realloc;
};

static void make_heap(const struct hmm_strategy *strategy, int level)
{
    h = unwatched(hmm_heap_create(region, sizeof region, strategy));
    ck_assert_int_eq(hmm_heap_set_check(h, level), 0);
    for (int i = 0; i < 5; i++)
        row[i] = must_malloc(h, 236);
}

static void say(const char *prefix, const void *p)
{
    char line[64];
    snprintf(line, sizeof line, "%s 0x%lx\n", prefix, (unsigned long)(uintptr_t)p);
    if (write(2, line, strlen(line)) < 0)
        exit(4);
}

static void misuse(void *arg)
{
    const struct deed *deed = arg;
    void *p = deed->misuse->prepare();
    say("at", p);
    if (deed->by_realloc)
        p = hmm_heap_realloc(h, p, 300);
    else
        hmm_heap_free(h, p);
    exit(2);
}

static void assert_found(const struct deed *deed)
{
    int status;
    unsigned long at = 0;
    char *said = said_by_child(misuse, (void *)(uintptr_t)deed, &status), want[300];
    ck_assert_msg(sscanf(said, "at %lx", &at) == 1, "nothing happened: %s", said);
    snprintf(want, sizeof want, "at 0x%lx\nhmm: %s 0x%lx: %s\n", at,
             deed->by_realloc ? "realloc" : "free", at, deed->misuse->why);
    ck_assert_str_eq(said, want);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    free(said);
}

/* _i: strategy and misuse. At the level that must find it, and at the highest that does not look at
 * the whole heap. */
START_TEST(free_of)
{
    const struct deed deed = {&misuses[_i % MISUSES], false};
    for (int level = deed.misuse->level; level <= 2; level++) {
        make_heap(strategy_of(_i / MISUSES), level);
        assert_found(&deed);
    }
}
END_TEST

START_TEST(realloc_of)
{
    const struct deed deed = {&misuses[_i % MISUSES], true};
    for (int level = deed.misuse->level; level <= 2; level++) {
        make_heap(strategy_of(_i / MISUSES), level);
        assert_found(&deed);
    }
}
END_TEST

/* ---- The levels that look at the whole heap ---- */

static void trample_and_work(void *arg)
{
    const int *operations = arg;
    hmm_heap_free(h, row[2]);
    footer_store(row[3], header_make(3, 0));
    for (int i = 0; i < *operations; i++)
        hmm_heap_free(h, hmm_heap_malloc(h, 2000));
}

static void assert_check_finds(int operations)
{
    char line[200];
    snprintf(line, sizeof line,
             "hmm: heap check failed, heap 0x%lx: B4: a free block's footer differs from its size",
             (unsigned long)(uintptr_t)h);
    assert_aborts_saying(trample_and_work, &operations, line);
}

START_TEST(level_4_looks_at_every_operation)
{
    make_heap(strategy_of(_i), 4);
    assert_check_finds(1);
}
END_TEST

START_TEST(level_3_looks_every_1024_operations)
{
    int few = 500;
    make_heap(strategy_of(_i), 3);
    assert_check_finds(512);
    assert_says(trample_and_work, &few, "");
}
END_TEST

START_TEST(level_2_does_not_look)
{
    int many = 600;
    make_heap(strategy_of(_i), 2);
    assert_says(trample_and_work, &many, "");
}
END_TEST

/* ---- hmm_on_panic ---- */

static void note_line(const char *line)
{
    char text[300];
    snprintf(text, sizeof text, "told: %s\n", line);
    if (write(2, text, strlen(text)) < 0)
        exit(4);
}

static void exit_with_5(const char *line)
{
    (void)line;
    _exit(5);
}

static void free_with_handler(void *arg)
{
    hmm_on_panic(*(void (**)(const char *))arg);
    hmm_heap_free(h, elsewhere);
}

static void line_for(char *line, size_t room, const char *prefix)
{
    snprintf(line, room, "%shmm: free 0x%lx: %s", prefix, (unsigned long)(uintptr_t)elsewhere,
             OUTSIDE);
}

START_TEST(a_handler_gets_the_line_and_the_program_aborts)
{
    void (*handler)(const char *) = note_line;
    char line[200];
    make_heap(strategy_of(_i), 1);
    line_for(line, sizeof line, "told: ");
    assert_aborts_saying(free_with_handler, &handler, line);
}
END_TEST

START_TEST(no_handler_restores_the_default)
{
    void (*handler)(const char *) = NULL;
    char line[200];
    make_heap(strategy_of(_i), 1);
    line_for(line, sizeof line, "");
    hmm_on_panic(note_line);
    assert_aborts_saying(free_with_handler, &handler, line);
}
END_TEST

START_TEST(a_handler_may_end_the_program_otherwise)
{
    int status;
    void (*handler)(const char *) = exit_with_5;
    make_heap(strategy_of(_i), 1);
    char *said = said_by_child(free_with_handler, &handler, &status);
    ck_assert_str_eq(said, "");
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    free(said);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("misuse");
    struct cases c = add_cases(s, "misuse");
    on_each_strategy(c, free_of, MISUSES);
    on_each_strategy(c, realloc_of, MISUSES);
    on_each_strategy(c, level_4_looks_at_every_operation, 1);
    on_each_strategy(c, level_3_looks_every_1024_operations, 1);
    on_each_strategy(c, level_2_does_not_look, 1);
    on_each_strategy(c, a_handler_gets_the_line_and_the_program_aborts, 1);
    on_each_strategy(c, no_handler_restores_the_default, 1);
    on_each_strategy(c, a_handler_may_end_the_program_otherwise, 1);
    return run_suite(s);
}
