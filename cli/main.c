/* SPDX-License-Identifier: MIT */
/*
 * The hmm command: finds the subcommand and lets it run.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cli.h"
#include "hmm.h"

#include <errno.h>
#include <string.h>

static int run_help(int argc, char **argv);

static const struct cli_option no_options[] = {{NULL, NULL, NULL}};

static const struct cli_command help = {.name = "help",
                                        .usage = "[COMMAND]",
                                        .summary = "show what hmm or one of its commands does",
                                        .options = no_options,
                                        .run = run_help};

static const struct cli_command *const commands[] = {
    &cli_check,  &cli_check_strategy, &cli_compare, &cli_convert,
    &cli_cut,    &cli_diff,           &cli_import,  &cli_map,
    &cli_record, &cli_replay,         &cli_report,  &cli_run,
    &cli_stats,  &cli_strategies,     &help};

#define COMMANDS (sizeof commands / sizeof commands[0])

static const struct cli_command *find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int unknown(const char *word)
{
    const char *allowed[COMMANDS + 3] = {NULL};
    for (size_t i = 0; i < COMMANDS; i++)
        allowed[i] = commands[i]->name;
    allowed[COMMANDS] = "--help";
    allowed[COMMANDS + 1] = "--version";
    cli_complain_unknown(NULL, word[0] == '-' ? "option" : "command", word, allowed, NULL);
    return CLI_USAGE;
}

static void overview(FILE *to)
{
    fputs("Usage: hmm COMMAND [OPTION]... [ARGUMENT]...\n"
          "The heap memory manager: one heap, any placement strategy.\n\nCommands:\n",
          to);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-14s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\nOptions:\n"
          "  -h, --help       show this; `hmm COMMAND --help` shows a command's options\n"
          "  -V, --version    show the version\n",
          to);
}

static int run_help(int argc, char **argv)
{
    struct cli_args args = {.command = &help, .argc = argc, .argv = argv, .next = 1};
    const struct cli_command *about = NULL;
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD)
            return CLI_USAGE;
        const char *name = arg == CLI_ARG_HELP ? help.name : args.value;
        if ((about = find(name)) == NULL)
            return unknown(name);
    }
    if (about != NULL)
        cli_command_help(about);
    else
        overview(stdout);
    return CLI_OK;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        overview(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        overview(stdout);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("hmm " HMM_VERSION);
        return CLI_OK;
    }
    const struct cli_command *command = find(argv[1]);
    return command != NULL ? command->run(argc - 1, argv + 1) : unknown(argv[1]);
}

int main(int argc, char **argv)
{
    int code = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_complain(NULL, "cannot write the output: %s", strerror(errno));
        return CLI_FAILED;
    }
    return code;
}
