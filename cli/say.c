/* SPDX-License-Identifier: MIT */
/*
 * Complaints: one line each, with what is wrong, what is allowed and what was probably meant.
 */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Longer words are not compared: they are no typing errors. */
#define LONGEST_WORD 31

static void say_who(const char *command)
{
    cli_progress_hide();
    fprintf(stderr, "hmm%s%s: ", command != NULL ? " " : "", command != NULL ? command : "");
}

void cli_complain(const char *command, const char *format, ...)
{
    va_list args;
    say_who(command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void cli_warn_unended(const char *command, const char *path, uint64_t ops)
{
    cli_complain(command,
                 "%s: its end is missing: it was cut, or its writing was; it has %llu operations",
                 path, (unsigned long long)ops);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/*
 * How many letters must be put in, left out, changed or swapped with their neighbour to make b of
 * a. distance[i][j] is that for the first i of a and the first j of b.
 */
static unsigned edits(const char *a, const char *b)
{
    unsigned d[LONGEST_WORD + 1][LONGEST_WORD + 1];
    size_t m = strlen(a), n = strlen(b);
    for (size_t i = 0; i <= m; i++) {
        for (size_t j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            d[i][j] = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = least(d[i][j], least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[m][n];
}

/* 0 for a beginning of it, since people abbreviate; more than any limit if it is not alike. */
static unsigned unlikeness(const char *word, const char *allowed)
{
    size_t length = strlen(word);
    if (length > LONGEST_WORD || strlen(allowed) > LONGEST_WORD)
        return 1000;
    if (length > 1 && strcmp(word, "--") != 0 && strncmp(word, allowed, length) == 0)
        return 0;
    return edits(word, allowed);
}

const char *cli_nearest(const char *word, const char *const *allowed)
{
    const char *nearest = NULL;
    size_t letters = strspn(word, "-") <= 2 ? strlen(word) - strspn(word, "-") : 0;
    unsigned limit = 1 + (unsigned)letters / 3, best = limit + 1;
    for (; letters != 0 && *allowed != NULL; allowed++) {
        unsigned u = unlikeness(word, *allowed);
        if (u < best) {
            best = u;
            nearest = *allowed;
        }
    }
    return nearest;
}

void cli_complain_unknown(const char *command, const char *what, const char *word,
                          const char *const *allowed, const char *also)
{
    const char *nearest = cli_nearest(word, allowed);
    say_who(command);
    fprintf(stderr, "unknown %s '%s'", what, word);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean '%s'?", nearest);
    fputs(nearest != NULL ? " Allowed: " : "; allowed: ", stderr);
    for (size_t i = 0; allowed[i] != NULL; i++)
        fprintf(stderr, "%s%s", i == 0 ? "" : ", ", allowed[i]);
    if (also != NULL)
        fprintf(stderr, ", %s", also);
    fputc('\n', stderr);
}

void *cli_alloc(size_t count, size_t size)
{
    void *p = calloc(count != 0 ? count : 1, size);
    if (p == NULL) {
        cli_complain(NULL, "out of memory");
        exit(CLI_FAILED);
    }
    return p;
}
