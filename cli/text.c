/* SPDX-License-Identifier: MIT */
/*
 * Numbers and names, in and out.
 */
#include "cli.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A heap uses no more (hmm.h). */
#define LARGEST_HEAP (UINT64_C(64) << 30)

bool cli_parse_size(const char *command, const char *option, const char *text, size_t *size)
{
    uint64_t bytes;
    const char *wrong = NULL;
    if (!hmm__text_parse_size(text, &bytes))
        wrong = "is not a size: a whole number of bytes, or with K, M or G (64K, 8M)";
    else if (bytes == 0)
        wrong = "is too small: at least 1";
    else if (bytes > LARGEST_HEAP || bytes > PTRDIFF_MAX)
        wrong = sizeof(size_t) > 4 ? "is too large: at most 64G" : "is too large: below 2G";
    if (wrong != NULL) {
        cli_complain(command, "--%s: '%s' %s", option, text, wrong);
        return false;
    }
    *size = (size_t)bytes;
    return true;
}

bool cli_is_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *number >= 1 &&
           *number <= max;
}

bool cli_parse_number(const char *command, const char *option, const char *text, unsigned max,
                      unsigned *number)
{
    uint64_t value;
    if (!cli_is_number(text, max, &value)) {
        cli_complain(command, "--%s: '%s' is not a number from 1 to %u", option, text, max);
        return false;
    }
    *number = (unsigned)value;
    return true;
}

bool cli_parse_op(const char *command, const char *option, const char *text, uint64_t *op)
{
    if (cli_is_number(text, UINT64_MAX, op))
        return true;
    cli_complain(command, "--%s: '%s' is not an operation: they are counted from 1", option, text);
    return false;
}

bool cli_parse_format(const char *command, const char *text, bool *json)
{
    static const char *const formats[] = {"table", "json", NULL};
    *json = strcmp(text, "json") == 0;
    if (*json || strcmp(text, "table") == 0)
        return true;
    cli_complain_unknown(command, "format", text, formats, NULL);
    return false;
}

/* Four digits or so, whatever the size. */
struct cli_text cli_bytes(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct cli_text t;
    unsigned unit = 0;
    double value = (double)bytes;
    for (; value >= 1024; unit++)
        value /= 1024;
    snprintf(t.chars, sizeof t.chars, "%.*f %s",
             unit == 0     ? 0
             : value < 100 ? 2
                           : 1,
             value, units[unit]);
    return t;
}

struct cli_text cli_count(uint64_t number)
{
    struct cli_text t;
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t to = 0;
    for (int i = 0; i < n; i++) {
        if (i != 0 && (n - i) % 3 == 0)
            t.chars[to++] = ',';
        t.chars[to++] = digits[i];
    }
    t.chars[to] = '\0';
    return t;
}

void cli_print_json_string(FILE *to, const char *text)
{
    char escaped[HMM__JSON_ROOM];
    fputc('"', to);
    while (*text != '\0') {
        text = hmm__text_json(text, escaped);
        fputs(escaped, to);
    }
    fputc('"', to);
}

void cli_print_shell_word(FILE *to, const char *word)
{
    if (*word != '\0' && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_-+=./,:@%") == strlen(word)) {
        fputs(word, to);
        return;
    }
    fputc('\'', to);
    for (; *word != '\0'; word++)
        if (*word == '\'')
            fputs("'\\''", to);
        else
            fputc(*word, to);
    fputc('\'', to);
}
