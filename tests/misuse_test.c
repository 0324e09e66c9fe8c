/* SPDX-License-Identifier: MIT */
/*
 * Each misuse that is detected: the exact line on stderr, then abort. On every strategy.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "harness.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 65536 };

static _Alignas(64) unsigned char memory[ROOM];
static struct hmm_heap *heap;
static char *a, *b, *c; /* three blocks of 100 bytes, one above the other */

static void make_heap(int strategy)
{
    heap = hmm_heap_create(memory, sizeof memory, strategy_of(strategy));
    a = hmm_heap_malloc(heap, 100);
    b = hmm_heap_malloc(heap, 100);
    c = hmm_heap_malloc(heap, 100);
    memset(a, 0, 100);
    memset(b, 0, 100);
    memset(c, 0, 100);
}

/* ---- The misdeeds; each returns the pointer that the line must name ---- */

static void *resized;

static void give(void *p)
{
    hmm_heap_free(heap, p);
}

static void *free_twice(void)
{
    give(b);
    give(b);
    return b;
}

static void *free_twice_after_a_merge(void)
{
    give(a);
    give(b);
    give(b);
    return b;
}

static void *free_twice_at_the_top(void)
{
    give(c);
    give(c);
    return c;
}

static void *free_of_a_variable(void)
{
    static _Alignas(16) char variable[64];
    give(variable);
    return variable;
}

static void *free_below_the_heap(void)
{
    give(memory);
    return memory;
}

static void *free_above_the_break(void)
{
    void *p = (char *)hmm_heap_break(heap) + 1600;
    give(p);
    return p;
}

static void *free_in_the_top(void)
{
    void *p = (char *)hmm_heap_break(heap) - HMM_GRANULE;
    memset((char *)p - 4, 0x20, 4);
    give(p);
    return p;
}

static void *free_misaligned(void)
{
    give(b + 1);
    return b + 1;
}

static void *free_inside(void)
{
    give(b + 48);
    return b + 48;
}

static void *free_where_a_header_seems_to_be(void)
{
    memcpy(b + 44, c - 4, 4); /* a header whose end meets nothing */
    hmm_heap_set_check(heap, 2);
    give(b + 48);
    return b + 48;
}

static void *free_after_an_overrun(void)
{
    memset(a + 108, 0xff, 4); /* b's header */
    give(b);
    return b;
}

static void *free_below_a_trampled_header(void)
{
    memset(b + 108, 0x12, 4); /* c's */
    give(b);
    return b;
}

static void *realloc_of_a_free_block(void)
{
    give(b);
    resized = hmm_heap_realloc(heap, b, 10);
    return b;
}

static void *realloc_misaligned(void)
{
    resized = hmm_heap_realloc(heap, b + 2, 10);
    return b + 2;
}

static void *use_after_a_trampled_heap(void)
{
    memset(a + 108, 0xff, 4);
    hmm_heap_set_check(heap, 4);
    give(c);
    return heap;
}

static const struct {
    void *(*commit)(void);
    const char *line;
} misdeeds[] = {
    {free_twice, "hmm: free %p: double free, or not a block: it is not in use"},
    {free_twice_after_a_merge, "hmm: free %p: double free, or not a block: it is not in use"},
    {free_twice_at_the_top, "hmm: free %p: double free, or not a block: it is not in use"},
    {free_of_a_variable, "hmm: free %p: pointer outside the heap"},
    {free_below_the_heap, "hmm: free %p: pointer outside the heap"},
    {free_above_the_break, "hmm: free %p: pointer outside the heap"},
    {free_in_the_top, "hmm: free %p: not a block: the pointer is above the last one"},
    {free_misaligned, "hmm: free %p: not a block: the pointer is misaligned"},
    {free_inside,
     "hmm: free %p: not a block, or its header was overwritten: its size leads outside "
     "the heap"},
    {free_where_a_header_seems_to_be, "hmm: free %p: not a block"},
    {free_after_an_overrun, "hmm: free %p: "},
    {free_below_a_trampled_header,
     "hmm: free %p: not a block, or a header was overwritten: it contradicts its neighbours"},
    {realloc_of_a_free_block, "hmm: realloc %p: double free, or not a block: it is not in use"},
    {realloc_misaligned, "hmm: realloc %p: not a block: the pointer is misaligned"},
    {use_after_a_trampled_heap, "hmm: heap check failed, heap %p: B"},
};

#define MISDEEDS ((int)(sizeof misdeeds / sizeof misdeeds[0]))

/* Runs `commit` in a child; what it writes to stderr comes back in `said`, and with it the pointer
 * that it expects to be named. Returns the child's status. */
static int in_a_child(void *(*commit)(void), int strategy, char *said, size_t room)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(ends[1], 2);
        make_heap(strategy);
        commit();
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], said + n, room - 1 - n)) > 0;)
        n += (size_t)got;
    said[n] = '\0';
    close(ends[0]);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

/* The line with the child's pointer in it: memory lies in the same place in both. */
static void *expected_pointer(int misdeed, int strategy)
{
    make_heap(strategy);
    if (misdeeds[misdeed].commit == free_of_a_variable)
        return NULL;
    static void *(*const names_a[])(void) = {free_twice, free_twice_after_a_merge,
                                             free_after_an_overrun, free_below_a_trampled_header,
                                             realloc_of_a_free_block};
    for (size_t i = 0; i < sizeof names_a / sizeof names_a[0]; i++)
        if (misdeeds[misdeed].commit == names_a[i])
            return b;
    return NULL;
}

START_TEST(misuse_ends_the_program_with_a_line)
{
    int misdeed = _i % MISDEEDS, strategy = _i / MISDEEDS;
    char said[2000], before[200], after[200], *hex;
    int status = in_a_child(misdeeds[misdeed].commit, strategy, said, sizeof said);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %d: %s", status,
                  said);
    const char *line = misdeeds[misdeed].line, *gap = strstr(line, "%p");
    snprintf(before, sizeof before, "%.*s0x", (int)(gap - line), line);
    snprintf(after, sizeof after, "%s", gap + 2);
    hex = strstr(said, before);
    ck_assert_msg(hex != NULL, "%s", said);
    char *end;
    uintptr_t named = (uintptr_t)strtoull(hex + strlen(before), &end, 16);
    ck_assert_msg(strncmp(end, after, strlen(after)) == 0, "%s", said);
    const void *expected = expected_pointer(misdeed, strategy);
    ck_assert(expected == NULL || named == (uintptr_t)expected);
    ck_assert_int_eq(said[strlen(said) - 1], '\n');
}
END_TEST

/* ---- Who is told ---- */

static void tell(const char *line)
{
    char text[300];
    int n = snprintf(text, sizeof text, "told: %s\n", line);
    if (write(2, text, (size_t)n) < 0)
        _exit(3);
}

static void *free_twice_told(void)
{
    hmm_on_panic(tell);
    return free_twice();
}

START_TEST(a_handler_is_told_instead)
{
    char said[2000];
    int status = in_a_child(free_twice_told, 0, said, sizeof said);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_msg(strstr(said, "told: hmm: free 0x") != NULL, "%s", said);
}
END_TEST

static void *free_twice_unchecked(void)
{
    give(b);
    return NULL;
}

START_TEST(what_is_right_is_let_pass)
{
    char said[2000];
    int status = in_a_child(free_twice_unchecked, 0, said, sizeof said);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_msg(strstr(said, "hmm:") == NULL, "%s", said);
}
END_TEST

/* ---- What hmm_heap_check finds ---- */

START_TEST(the_check_names_what_broke)
{
    make_heap(_i);
    ck_assert_ptr_null(hmm_heap_check(heap));
    unsigned char kept[4];
    memcpy(kept, a + 108, 4);
    memset(a + 108, 0xff, 4);
    ck_assert_msg(strncmp(hmm_heap_check(heap), "B1: ", 4) == 0, "%s", hmm_heap_check(heap));
    memcpy(a + 108, kept, 4);
    ck_assert_ptr_null(hmm_heap_check(heap));
    give(b);
    memset(b + 104, 0xff, 4); /* its footer */
    ck_assert_msg(strncmp(hmm_heap_check(heap), "B4: ", 4) == 0, "%s", hmm_heap_check(heap));
}
END_TEST

int main(void)
{
    int n = strategy_count();
    TCase *t = tcase_create("misuse");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, misuse_ends_the_program_with_a_line, 0, MISDEEDS * n);
    tcase_add_test(t, a_handler_is_told_instead);
    tcase_add_test(t, what_is_right_is_let_pass);
    tcase_add_loop_test(t, the_check_names_what_broke, 0, n);
    Suite *s = suite_create("misuse");
    suite_add_tcase(s, t);
    return run_suite(s);
}
