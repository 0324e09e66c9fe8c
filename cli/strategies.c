/* SPDX-License-Identifier: MIT */
/*
 * hmm strategies: what there is to choose from.
 */
#include "cli.h"
#include "hmm.h"
#include "registry.h"

#include <errno.h>
#include <string.h>

enum { OPT_FORMAT };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_FORMAT] = {"format", "table|json", "how to print them; json: an object a line"},
    {NULL, NULL, NULL}};

const struct cli_command cli_strategies = {
    .name = "strategies",
    .usage = "[--format table|json]",
    .summary = "list the built-in placement strategies",
    .options = options,
    .run = run,
};

static void unknown_strategy(const char *command, const char *name, const char *also)
{
    const char *allowed[64] = {NULL};
    char words[128];
    const struct hmm_strategy *s;
    size_t n = 0;
    snprintf(words, sizeof words, "%s", also != NULL ? also : "");
    for (char *word = strtok(words, ", "); word != NULL && n < 30; word = strtok(NULL, ", "))
        allowed[n++] = word;
    for (unsigned i = 0; n < 63 && (s = hmm_strategy_at(i)) != NULL; i++)
        allowed[n++] = hmm_strategy_name(s);
    cli_complain_unknown(command, "strategy", name, allowed, "or a plug-in's path, with a '/'");
}

const struct hmm_strategy *cli_find_strategy(const char *command, const char *name,
                                             const char *also)
{
    struct text why = {0};
    errno = 0;
    const struct hmm_strategy *s = hmm__strategy_find(name, &why);
    if (s == NULL && strchr(name, '/') == NULL)
        unknown_strategy(command, name, also);
    else if (s == NULL)
        cli_complain(command, "strategy '%s' cannot be loaded: %s", name,
                     errno == ENOENT ? "there is no such plug-in" : hmm__text_line(&why));
    return s;
}

static void print_table(void)
{
    const struct hmm_strategy *s;
    struct cli_table table = {.columns = 3, .left_columns = 3};
    for (unsigned i = 0; (s = hmm_strategy_at(i)) != NULL; i++) {
        cli_table_add(&table, "%s", hmm_strategy_name(s));
        cli_table_add(&table, "%s", s == HMM_BEST_FIT ? "(default)" : "");
        cli_table_add(&table, "%s", hmm_strategy_summary(s));
    }
    cli_table_print(&table, stdout);
}

static void print_json(void)
{
    const struct hmm_strategy *s;
    for (unsigned i = 0; (s = hmm_strategy_at(i)) != NULL; i++) {
        fputs("{\"name\":", stdout);
        cli_print_json_string(stdout, hmm_strategy_name(s));
        fputs(",\"summary\":", stdout);
        cli_print_json_string(stdout, hmm_strategy_summary(s));
        printf(",\"default\":%s}\n", s == HMM_BEST_FIT ? "true" : "false");
    }
}

static int run(int argc, char **argv)
{
    struct cli_args args = {.command = &cli_strategies, .argc = argc, .argv = argv, .next = 1};
    bool json = false;
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_HELP) {
            cli_command_help(&cli_strategies);
            return CLI_OK;
        }
        if (arg == CLI_ARG_BAD)
            return CLI_USAGE;
        if (arg == CLI_ARG_OPERAND) {
            cli_complain(argv[0], "takes no argument: '%s'", args.value);
            return CLI_USAGE;
        }
        if (!cli_parse_format(argv[0], args.value, &json))
            return CLI_USAGE;
    }
    if (json)
        print_json();
    else
        print_table();
    return CLI_OK;
}
