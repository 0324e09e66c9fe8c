/* SPDX-License-Identifier: MIT */
/*
 * hmm__text_edits: the least number of edits from one word to another.
 */
#include "harness.h"
#include "base/text.h"

static void edits(const char *a, const char *b, unsigned expected)
{
    require(hmm__text_edits(a, b) == expected, "%s to %s: %u", a, b, hmm__text_edits(a, b));
    require(hmm__text_edits(b, a) == expected, "%s to %s: %u", b, a, hmm__text_edits(b, a));
}

START_TEST(edits_are_the_fewest)
{
    edits("", "", 0);
    edits("", "abc", 3);
    edits("stats", "stats", 0);
    edits("stats", "stat", 1);
    edits("stats", "sttas", 1);
    edits("stats", "tests", 3);
    edits("strategy", "startegy", 1);
    edits("strategy", "trategyx", 2);
    edits("kitten", "sitting", 3);
    edits("ca", "abc", 3);
    edits("abcdefghijklmnop", "qrstuvwxyz", 16);
}
END_TEST

START_TEST(long_words_are_not_compared)
{
    const char longest[] = "abcdefghijklmnopqrstuvwxyzabcde",
               longer[] = "abcdefghijklmnopqrstuvwxyzabcdef";
    edits(longest, longest, 0);
    edits(longest, "", HMM__TEXT_WORD);
    edits(longer, longer, HMM__TEXT_UNLIKE);
    edits(longer, "", HMM__TEXT_UNLIKE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *words = add_cases(suite, "words").once;
    tcase_add_test(words, edits_are_the_fewest);
    tcase_add_test(words, long_words_are_not_compared);
    return run_suite(suite);
}
