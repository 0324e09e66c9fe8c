/* SPDX-License-Identifier: MIT */
/*
 * HMM_ASSERT: a condition that does not hold ends the program with a line that says where; one that
 * holds does nothing, nor does any where assertions are off.
 */
#define HMM_ASSERTIONS 1
#include "base/assert.h"
#include "dies.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

enum { LINE = __LINE__ + 4 }; /* of the assertion */

static void hold(void *truth)
{
    HMM_ASSERT(*(int *)truth == 1);
    exit(7);
}

START_TEST(what_does_not_hold_is_said)
{
    int truth = 0, status;
    char *said = said_by_child(hold, &truth, &status);
    char place[80];
    snprintf(place, sizeof place, "assert_test.c:%d: *(int *)truth == 1\n", LINE);
    ck_assert_msg(strncmp(said, "hmm: assertion 0x0: ", 20) == 0 && strstr(said, place), "said: %s",
                  said);
    ck_assert(!WIFEXITED(status));
    free(said);
}
END_TEST

START_TEST(what_holds_is_nothing)
{
    int truth = 1, status;
    char *said = said_by_child(hold, &truth, &status);
    ck_assert_str_eq(said, "");
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    free(said);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("assert");
    TCase *c = add_case(s, "assert");
    tcase_add_test(c, what_does_not_hold_is_said);
    tcase_add_test(c, what_holds_is_nothing);
    return run_suite(s);
}
