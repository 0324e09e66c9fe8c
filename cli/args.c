/* SPDX-License-Identifier: MIT */
/*
 * Options and operands. Not getopt_long: its messages are not ours, and it takes abbreviations,
 * which a later version's new option would make ambiguous.
 */
#include "cli.h"
#include "hmm.h"

#include <stdlib.h>
#include <string.h>

/* More than any command's options. */
#define MOST_OPTIONS 30

static int unknown(const struct cli_args *a, const char *word)
{
    char names[MOST_OPTIONS + 1][32];
    const char *allowed[MOST_OPTIONS + 2] = {NULL};
    size_t n = 0;
    for (const struct cli_option *o = a->command->options; o->name != NULL; o++, n++) {
        snprintf(names[n], sizeof names[n], "--%s", o->name);
        allowed[n] = names[n];
    }
    allowed[n] = "--help";
    cli_complain_unknown(a->command->name, "option", word, allowed, NULL);
    return CLI_ARG_BAD;
}

/* One that may be left out: it can only come after a '='. */
static bool is_optional(const char *value)
{
    return value[0] == '[';
}

/* The option's value: after its '=', else the next argument. */
static int take_value(struct cli_args *a, int index, const char *equals)
{
    const struct cli_option *o = &a->command->options[index];
    if (o->value == NULL && equals != NULL) {
        cli_complain(a->command->name, "option '--%s' takes no value", o->name);
        return CLI_ARG_BAD;
    }
    if (o->value == NULL)
        return index;
    if (equals == NULL && is_optional(o->value)) {
        a->value = NULL;
        return index;
    }
    if (equals == NULL && a->next >= a->argc) {
        cli_complain(a->command->name, "option '--%s' needs a value: --%s %s", o->name, o->name,
                     o->value);
        return CLI_ARG_BAD;
    }
    a->value = equals != NULL ? equals + 1 : a->argv[a->next++];
    return index;
}

/* Everywhere the same: there is nothing else to do. */
static void print_version(void)
{
    puts("hmm " HMM_VERSION);
    exit(fflush(stdout) == 0 ? CLI_OK : CLI_FAILED);
}

static int option(struct cli_args *a, const char *word)
{
    char name[64];
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    snprintf(name, sizeof name, "%.*s", length < sizeof name ? (int)length : 63, word);
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)
        return CLI_ARG_HELP;
    if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0)
        print_version();
    for (int i = 0; a->command->options[i].name != NULL; i++)
        if (strncmp(name, "--", 2) == 0 && strcmp(name + 2, a->command->options[i].name) == 0)
            return take_value(a, i, equals);
    return unknown(a, name);
}

/* "-o", "-oVALUE". */
static int letter(struct cli_args *a, const char *word)
{
    const char *letters = a->command->letters;
    const char *found = letters != NULL && word[1] != '-' ? strchr(letters, word[1]) : NULL;
    if (found == NULL)
        return option(a, word);
    int index = (int)(found - letters);
    if (word[2] == '\0')
        return take_value(a, index, NULL);
    if (a->command->options[index].value == NULL)
        return option(a, word);
    a->value = word + 2;
    return index;
}

int cli_args_next(struct cli_args *a)
{
    while (a->next < a->argc) {
        const char *word = a->argv[a->next++];
        a->value = word;
        if (a->only_operands || word[0] != '-' || word[1] == '\0')
            return CLI_ARG_OPERAND;
        if (strcmp(word, "--") != 0)
            return letter(a, word);
        a->only_operands = true;
    }
    return CLI_ARG_END;
}

void cli_command_help(const struct cli_command *c)
{
    printf("Usage: hmm %s %s\n%c%s.\n", c->name, c->usage, c->summary[0] - 'a' + 'A',
           c->summary + 1);
    if (c->description != NULL)
        printf("\n%s", c->description);
    puts("\nOptions:");
    const char *letters = c->letters != NULL ? c->letters : "";
    for (const struct cli_option *o = c->options; o->name != NULL; o++) {
        char left[48], letter[8] = "";
        if (*letters != '\0')
            snprintf(letter, sizeof letter, "-%c, ", *letters++);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name,
                 o->value != NULL && !is_optional(o->value) ? " " : "",
                 o->value != NULL ? o->value : "");
        printf("  %-20s %s\n", left, o->help);
    }
    printf("  %-20s %s\n", "--help", "show this");
}
