/* SPDX-License-Identifier: MIT */
/*
 * Strategies by name, and from plug-ins.
 */
#include "dies.h"
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- The registry ---- */

START_TEST(built_ins_are_found_by_name)
{
    const struct hmm_strategy *s = strategy_of(_i);
    ck_assert_ptr_eq(hmm_strategy_find(hmm_strategy_name(s)), s);
    ck_assert_uint_eq(s->abi, HMM_STRATEGY_ABI);
    ck_assert_uint_gt(strlen(hmm_strategy_summary(s)), 0);
    for (int i = 0; i < _i; i++)
        ck_assert_str_ne(hmm_strategy_name(strategy_of(i)), hmm_strategy_name(s));
}
END_TEST

START_TEST(the_registry_lists_the_four_of_hmm_h)
{
    const struct hmm_strategy *const all[] = {HMM_FIRST_FIT, HMM_NEXT_FIT, HMM_BEST_FIT,
                                              HMM_SEGREGATED};
    static const char *const names[] = {"first-fit", "next-fit", "best-fit", "segregated"};
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_ptr_eq(hmm_strategy_at(i), all[i]);
        ck_assert_str_eq(hmm_strategy_name(all[i]), names[i]);
    }
    ck_assert_ptr_null(hmm_strategy_at((unsigned)strategy_count()));
    ck_assert_ptr_null(hmm_strategy_at(UINT32_MAX));
}
END_TEST

START_TEST(other_names_are_not_found)
{
    static const char *const names[] = {"",          "best",      "best-fit ",
                                        "best-fits", "BEST-FIT",  "worst-fit",
                                        "best_fit",  " best-fit", "first-fi"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        errno = 0;
        ck_assert_ptr_null(hmm_strategy_find(names[i]));
        ck_assert_int_eq(errno, ENOENT);
    }
    errno = 0;
    ck_assert_ptr_null(hmm_strategy_find(NULL));
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

/* ---- Plug-ins ---- */

#ifdef HAVE_DLOPEN

static char path[4096];

/* The plug-in of this name, where libtool leaves it. */
static const char *plugin(const char *name)
{
    const char *top = getenv("top_builddir");
    snprintf(path, sizeof path, "%s/tests/.libs/plugin_%s.so", top ? top : ".", name);
    return path;
}

static bool have_plugins(void)
{
    return access(plugin("worst_fit"), R_OK) == 0;
}

START_TEST(a_plug_in_is_loaded_once)
{
    const struct hmm_strategy *s = hmm_strategy_find(plugin("worst_fit"));
    ck_assert_ptr_nonnull(s);
    ck_assert_str_eq(hmm_strategy_name(s), "worst-fit");
    ck_assert_ptr_eq(hmm_strategy_find(plugin("worst_fit")), s);
}
END_TEST

START_TEST(a_plug_in_serves_a_heap)
{
    static struct workload w;
    const struct mix *mix = &mixes[_i];
    workload_start(&w, heap_of(mix->region, hmm_strategy_find(plugin("worst_fit"))), mix, 51);
    for (unsigned long n = scaled(3000); n != 0; n--)
        workload_step(&w);
    assert_sound(w.heap);
    workload_free_all(&w);
    assert_empty(w.heap);
    heap_end(w.heap);
}
END_TEST

START_TEST(a_plug_in_places_as_it_says)
{
    struct hmm_heap *h = heap_of(16 << 10, hmm_strategy_find(plugin("worst_fit")));
    void *small = must_malloc(h, 200), *guard = must_malloc(h, 1);
    void *large = must_malloc(h, 2000), *last = must_malloc(h, 1);
    ck_assert(guard != NULL && last != NULL);
    hmm_heap_free(h, small);
    hmm_heap_free(h, large);
    ck_assert_ptr_eq(must_malloc(h, 200), large);
    ck_assert_int_eq(hmm_heap_set_strategy(h, HMM_BEST_FIT), 0);
    ck_assert_ptr_eq(must_malloc(h, 200), small);
    assert_sound(h);
    heap_end(h);
}
END_TEST

static void use_environment(void *arg)
{
    const char *name =
        keep(hmm_malloc(10)) ? hmm_strategy_name(hmm_heap_strategy(hmm_process_heap())) : "none";
    exit(strcmp(name, arg) == 0 ? 0 : 6);
}

START_TEST(the_environment_may_name_a_plug_in)
{
    setenv("HMM_STRATEGY", plugin("worst_fit"), 1);
    assert_says(use_environment, (void *)(uintptr_t) "worst-fit", "");
}
END_TEST

/* _i: which of those that cannot be used. */
static const struct {
    const char *name;
    int code;
    const char *said;
} unusable[] = {
    {"older", EINVAL,
     "its strategy older is of strategy ABI 1, this hmm takes ABI 2; allowed are "},
    {"granule", EINVAL,
     "its strategy coarse is for granules of 4 bytes, this hmm has granules of "},
    {"malformed", EINVAL, "the field insert of its hmm_plugin_strategy is NULL; allowed are "},
    {"other", EINVAL, "it exports no hmm_plugin_strategy; allowed are "},
    {"missing", ENOENT, "no such strategy; allowed are "},
};

START_TEST(a_plug_in_that_cannot_be_used)
{
    errno = 0;
    ck_assert_ptr_null(hmm_strategy_find(plugin(unusable[_i].name)));
    ck_assert_int_eq(errno, unusable[_i].code);
}
END_TEST

START_TEST(a_plug_in_in_the_environment_that_cannot_be_used)
{
    int status;
    char want[4500];
    setenv("HMM_STRATEGY", plugin(unusable[_i].name), 1);
    char *said = said_by_child(use_environment, (void *)(uintptr_t) "best-fit", &status);
    snprintf(want, sizeof want, "hmm: HMM_STRATEGY=%s: %s", path, unusable[_i].said);
    ck_assert_msg(strncmp(said, want, strlen(want)) == 0, "said: %s", said);
    ck_assert_int_eq(status, 0);
    free(said);
}
END_TEST

static void add_plugins(Suite *s)
{
    TCase *c = add_case(s, "plug-ins");
    if (!have_plugins())
        return; /* a build without shared objects */
    tcase_add_test(c, a_plug_in_is_loaded_once);
    tcase_add_loop_test(c, a_plug_in_serves_a_heap, 0, mix_count());
    tcase_add_test(c, a_plug_in_places_as_it_says);
    tcase_add_test(c, the_environment_may_name_a_plug_in);
    tcase_add_loop_test(c, a_plug_in_that_cannot_be_used, 0, 4);
    tcase_add_loop_test(c, a_plug_in_in_the_environment_that_cannot_be_used, 0, 4);
}

#else

START_TEST(there_are_no_plug_ins)
{
    errno = 0;
    ck_assert_ptr_null(hmm_strategy_find("./plugin.so"));
    ck_assert_int_eq(errno, ENOTSUP);
}
END_TEST

static void add_plugins(Suite *s)
{
    TCase *c = add_case(s, "plug-ins");
    tcase_add_test(c, there_are_no_plug_ins);
}

#endif

int main(void)
{
    Suite *s = suite_create("strategies");
    struct cases c = add_cases(s, "registry");
    on_each_strategy(c, built_ins_are_found_by_name, 1);
    tcase_add_test(c.once, the_registry_lists_the_four_of_hmm_h);
    tcase_add_test(c.once, other_names_are_not_found);
    add_plugins(s);
    return run_suite(s);
}
