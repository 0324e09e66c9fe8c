/* SPDX-License-Identifier: MIT */
/*
 * What the process heap says of itself: HMM_VERBOSE, its statistics and where they go.
 */
#include "dies.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void clear_environment(void)
{
    static const char *const names[] = {"HMM_STRATEGY", "HMM_HEAP_SIZE", "HMM_CHECK", "HMM_CACHE",
                                        "HMM_STATS",    "HMM_VERBOSE",   "HMM_ARENAS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
}

static void use_a_little(void *arg)
{
    (void)arg;
    hmm_free(hmm_malloc(100));
    exit(keep(hmm_malloc(1000)) != NULL ? 0 : 6);
}

START_TEST(verbose_says_one_line)
{
    int status;
    setenv("HMM_VERBOSE", "1", 1);
    setenv("HMM_STRATEGY", "first-fit", 1);
    char *said = said_by_child(use_a_little, NULL, &status);
    ck_assert_int_eq(status, 0);
    ck_assert_ptr_eq(strstr(said, "hmm: "), said);
    ck_assert_ptr_nonnull(strstr(said, "strategy first-fit"));
    ck_assert_ptr_eq(strchr(said, '\n') + 1, said + strlen(said));
    free(said);
}
END_TEST

/* What it would come to if all were counted that is reserved: 300 KiB at least. */
#define FEW ((size_t)64 << 10)

static struct hmm_stats figures_now(void)
{
    struct hmm_stats s;
    hmm_heap_stats(hmm_process_heap(), &s);
    return s;
}

/* _i: the strategy. */
START_TEST(statistics_count_what_is_used)
{
    /* An index of an entry for so many granules takes twice as much of a heap of small ones. */
    enum { BYTES = 20 << 20, INDEX = BYTES / 50 * 16 / HMM_GRANULE };
    ck_assert_int_eq(hmm_init(strategy_of(_i)), 0);
    struct hmm_stats s = figures_now();
    size_t whole = s.capacity;
    ck_assert_uint_lt(s.brk, FEW);
    ck_assert_uint_lt(s.control, FEW);
    ck_assert_uint_eq(s.reserved, whole);
    void *p = hmm_malloc(BYTES);
    s = figures_now();
    ck_assert_uint_ge(s.brk, BYTES);
    ck_assert_uint_lt(s.brk, BYTES + INDEX);
    ck_assert_uint_lt(s.control, INDEX);
    hmm_free(p);
    struct hmm_stats after = figures_now();
    ck_assert_uint_lt(after.brk, INDEX);
    ck_assert_uint_eq(after.brk_peak, s.brk_peak);
    ck_assert_uint_eq(after.control, s.control); /* what was touched */
    ck_assert_uint_eq(after.reserved, whole);
}
END_TEST

/* _i: the first strategy. What others have used at most is not forgotten, nor is it counted for
 * them all that there is room for. */
START_TEST(statistics_are_true_after_a_switch)
{
    size_t peak = 0, reserved = figures_now().reserved;
    for (int turn = 0; turn < 2 * strategy_count(); turn++) {
        ck_assert_int_eq(hmm_init(strategy_of((_i + turn) % strategy_count())), 0);
        void *p = hmm_malloc(turn % 3 == 0 ? 9000000 : 100000);
        struct hmm_stats s = figures_now();
        ck_assert_uint_le(s.brk, s.brk_peak);
        ck_assert_uint_ge(s.brk_peak, peak);
        ck_assert_uint_lt(s.brk_peak, 9000000 * 21 / 20);
        ck_assert_uint_lt(s.control, 300000);
        ck_assert_uint_ge(s.control, sizeof(struct hmm_heap));
        ck_assert_uint_eq(s.reserved, reserved);
        peak = s.brk_peak;
        hmm_free(p);
    }
}
END_TEST

static void assert_has_figures(const char *text)
{
    static const char *const names[] = {
        "capacity",  "brk",       "brk_peak",    "live_bytes", "reserved",    "control",
        "cached",    "live_peak", "live_blocks", "free_bytes", "free_blocks", "largest_free",
        "top_bytes", "splits",    "merges",      "visited",    "failed"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_msg(strstr(text, names[i]) != NULL, "%s is not in: %s", names[i], text);
}

START_TEST(statistics_go_to_stderr)
{
    int status;
    setenv("HMM_STATS", "stderr", 1);
    char *said = said_by_child(use_a_little, NULL, &status);
    ck_assert_int_eq(status, 0);
    ck_assert_ptr_eq(strstr(said, "hmm: statistics, strategy best-fit\n"), said);
    assert_has_figures(said);
    ck_assert_ptr_nonnull(strstr(said, "live_blocks   1\n"));
    free(said);
}
END_TEST

/* What a child that does this leaves in a file that HMM_STATS names, which ends in `ending`. */
static char *file_of(void (*of)(void *arg), const char *ending)
{
    static char text[2000];
    int status;
    char folder[] = "/tmp/hmm-process-test-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/stats%s", folder, ending);
    setenv("HMM_STATS", path, 1);
    char *said = said_by_child(of, NULL, &status);
    ck_assert_str_eq(said, "");
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    unlink(path);
    rmdir(folder);
    free(said);
    return text;
}

/* _i: as text, as JSON. */
START_TEST(statistics_go_to_a_file)
{
    const char *text = file_of(use_a_little, _i == 0 ? "" : ".json");
    size_t n = strlen(text);
    assert_has_figures(text);
    if (_i == 1)
        ck_assert(strncmp(text, "{\"strategy\":\"best-fit\",\"", 24) == 0 && text[n - 1] == '\n' &&
                  text[n - 2] == '}' && strstr(text, "\"live_blocks\":1,") != NULL);
}
END_TEST

static void use_a_strategy_with_an_odd_name(void *arg)
{
    static struct hmm_strategy odd;
    odd = *HMM_FIRST_FIT;
    odd.name = "\"a\\b\n\xc3\xa9\xff";
    exit(hmm_init(&odd) == 0 ? (use_a_little(arg), 0) : 7);
}

START_TEST(names_in_json_are_escaped)
{
    const char *text = file_of(use_a_strategy_with_an_odd_name, ".json");
    ck_assert_msg(strstr(text, "{\"strategy\":\"\\\"a\\\\b\\u000a\xc3\xa9\\ufffd\",\"") == text,
                  "%s", text);
}
END_TEST

/* As programs do that look whether all was written. */
static void use_a_little_and_close_stderr(void *arg)
{
    hmm_free(hmm_malloc(100));
    close(2);
    use_a_little(arg);
}

/* _i: whether stderr is still open at the end. */
START_TEST(statistics_that_cannot_be_written_are_said)
{
    int status;
    setenv("HMM_STATS", "/nowhere/at-all", 1);
    char *said = said_by_child(_i ? use_a_little_and_close_stderr : use_a_little, NULL, &status);
    ck_assert_ptr_eq(strstr(said, "hmm: HMM_STATS=/nowhere/at-all: cannot be opened for writing; "
                                  "the statistics follow\n"),
                     said);
    assert_has_figures(said);
    free(said);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("process heap's reports");
    struct cases c = add_cases(s, "process heap");
    set_up(c, clear_environment);
    tcase_add_test(c.once, verbose_says_one_line);
    on_each_strategy(c, statistics_count_what_is_used, 1);
    on_each_strategy(c, statistics_are_true_after_a_switch, 1);
    tcase_add_test(c.once, statistics_go_to_stderr);
    tcase_add_loop_test(c.once, statistics_go_to_a_file, 0, 2);
    tcase_add_test(c.once, names_in_json_are_escaped);
    tcase_add_loop_test(c.once, statistics_that_cannot_be_written_are_said, 0, 2);
    return run_suite(s);
}
