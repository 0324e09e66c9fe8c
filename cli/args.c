/* SPDX-License-Identifier: MIT */
/*
 * Options and operands. Not getopt_long: its messages are not ours, and it takes abbreviations,
 * which a later version's new option would make ambiguous.
 */
#include "cli.h"
#include "hmm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Whether the value may be left out: such a value can only follow a '='. */
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

/* --version, of every command: prints it and exits. */
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

void cli_discard(const char *path)
{
    struct stat status;
    if (stat(path, &status) == 0 && S_ISREG(status.st_mode))
        unlink(path);
}

bool cli_is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

/* Paragraphs, which blank lines part; lines that begin with blanks stay as they are. */
static void print_description(const char *text)
{
    char paragraph[2048];
    size_t n = 0;
    for (const char *line = text; *line != '\0'; line += *line != '\0') {
        const size_t length = strcspn(line, "\n");
        if (n != 0 && (length == 0 || line[0] == ' ')) {
            paragraph[n] = '\0';
            cli_fill(stdout, 0, paragraph);
            n = 0;
        }
        if (length == 0 || line[0] == ' ') {
            printf("%.*s\n", (int)length, line);
        } else if (n + length + 2 < sizeof paragraph) {
            if (n != 0)
                paragraph[n++] = ' ';
            memcpy(paragraph + n, line, length);
            n += length;
        }
        line += length;
    }
    paragraph[n] = '\0';
    if (n != 0)
        cli_fill(stdout, 0, paragraph);
}

#define HELP_COLUMN 23

static void print_option(const char *left, const char *text)
{
    if (strlen(left) > HELP_COLUMN - 3)
        printf("  %s\n%*s", left, HELP_COLUMN, "");
    else
        printf("  %-20s ", left);
    cli_fill(stdout, HELP_COLUMN, text);
}

void cli_command_help(const struct cli_command *c)
{
    char usage[256];
    snprintf(usage, sizeof usage, "hmm %s %s", c->name, c->usage);
    fputs("Usage: ", stdout);
    cli_fill(stdout, 7, usage);
    const bool asks = c->summary[strlen(c->summary) - 1] == '?';
    printf("%c%s%s\n", c->summary[0] - 'a' + 'A', c->summary + 1, asks ? "" : ".");
    if (c->description != NULL) {
        putchar('\n');
        print_description(c->description);
    }
    puts("\nOptions:");
    const char *letters = c->letters != NULL ? c->letters : "";
    for (const struct cli_option *o = c->options; o->name != NULL; o++) {
        char left[48], letter[8] = "";
        if (*letters != '\0')
            snprintf(letter, sizeof letter, "-%c, ", *letters++);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name,
                 o->value != NULL && !is_optional(o->value) ? " " : "",
                 o->value != NULL ? o->value : "");
        print_option(left, o->help);
    }
    print_option("-h, --help", "show this");
    print_option("-V, --version", "show the version");
}
