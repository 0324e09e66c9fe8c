/* SPDX-License-Identifier: MIT */
/*
 * Complaints: one line each, with what is wrong, what is allowed and what was probably meant.
 */
#include "cli.h"
#include "base/text.h"
#include "trace.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void say_who(const char *command)
{
    cli_progress_hide();
    fprintf(stderr, "hmm%s%s: ", command != NULL ? " " : "", command != NULL ? command : "");
}

void cli_complain(const char *command, const char *format, ...)
{
    va_list args;
    char text[8192];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say_who(command);
    fprintf(stderr, "%s\n", cli_visible(text));
}

void cli_trace_error(const char *path, const struct hmm_trace_error *error)
{
    cli_progress_hide();
    hmm_trace_print_error(stderr, cli_visible(path), error);
}

void cli_warn_unended(const char *command, const char *path, uint64_t ops)
{
    cli_complain(command,
                 "%s: its end is missing: it was cut, or its writing was; it has %llu operations",
                 path, (unsigned long long)ops);
}

/* How different the two are. 0: the word is the beginning of the allowed one, since people
 * abbreviate; a number above any limit: they are not alike. */
static unsigned unlikeness(const char *word, const char *allowed)
{
    size_t length = strlen(word);
    if (length > 1 && strcmp(word, "--") != 0 && strncmp(word, allowed, length) == 0)
        return 0;
    return hmm__text_edits(word, allowed);
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
    fprintf(stderr, "unknown %s '%s'", what, cli_visible(word));
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

char *cli_copy(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    return memcpy(cli_alloc(bytes, 1), text, bytes);
}
