/* SPDX-License-Identifier: MIT */
/*
 * hmm run: becomes a command whose heap is hmm's, by the preload library.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cli.h"
#include "process/env.h"
#include "module.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The exit codes of commands that run another one, such as env. */
enum { RUN_FAILED = 125, RUN_NOT_RUN = 126, RUN_NOT_FOUND = 127 };

enum { OPT_STRATEGY, OPT_HEAP, OPT_STATS };

/* As HMM_HEAP_SIZE has it. */
#define LEAST_HEAP 4096u

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_STRATEGY] = {"strategy", "NAME", "which one; or a plug-in's path, with a '/'"},
    [OPT_HEAP] = {"heap", "SIZE", "the most that the heap may have (8M, 2G)"},
    [OPT_STATS] = {"stats", NULL, "print the heap's statistics at the end, on stderr"},
    {NULL, NULL, NULL}};

const struct cli_command cli_run = {
    .name = "run",
    .usage = "[OPTION]... [--] COMMAND [ARGUMENT]...",
    .summary = "run a program on a strategy, unmodified",
    .description = "The program's malloc and free are hmm's; it needs no change. Its exit status\n"
                   "is its own. It is 127 if there is no such program, 126 if it cannot be run,\n"
                   "125 if hmm could not begin.\n",
    .options = options,
    .run = run,
};

/* ---- The environment ---- */

static bool put(const char *name, const char *value)
{
    if (setenv(name, value, 1) == 0)
        return true;
    cli_complain("run", "cannot set %s: %s", name, strerror(errno));
    return false;
}

/* A plug-in is loaded here to see that it can be; the program may look from another folder. */
static bool put_strategy(const char *name)
{
    char path[PATH_MAX];
    if (cli_find_strategy("run", name, NULL) == NULL)
        return false;
    if (strchr(name, '/') == NULL)
        return put("HMM_STRATEGY", name);
    if (realpath(name, path) == NULL) {
        cli_complain("run", "strategy '%s': %s", name, strerror(errno));
        return false;
    }
    return put("HMM_STRATEGY", path);
}

static bool put_heap(const char *text)
{
    size_t size;
    char digits[24];
    if (!cli_parse_size("run", "heap", text, &size))
        return false;
    if (size < LEAST_HEAP) {
        cli_complain("run", "--heap: '%s' is too small: at least 4K", text);
        return false;
    }
    snprintf(digits, sizeof digits, "%zu", size);
    return put("HMM_HEAP_SIZE", digits);
}

static bool take_option(int option, const char *value)
{
    switch (option) {
    case OPT_STRATEGY:
        return put_strategy(value);
    case OPT_HEAP:
        return put_heap(value);
    default:
        return put("HMM_STATS", "stderr");
    }
}

/* Whether the variables have good values. The library would report a bad one too, but go on with
 * the default. */
static bool environment_is_sound(void)
{
    struct options o;
    int bad = hmm__options_read(&o, HMM_BEST_FIT, HMM__LARGEST_HEAP, true);
    size_t capacity = o.heap_size != 0 ? o.heap_size : HMM__LARGEST_HEAP;
    if (!o.verbose) /* then the library says it */
        hmm__options_misspelt();
    return bad + hmm__options_plugin(&o, capacity) == 0;
}

/* Comes back only if it cannot be. */
static int become(char **command)
{
    if (!environment_is_sound())
        return RUN_FAILED;
    char *library = cli_module_find("run", "libhmm-preload.so");
    bool ready = library != NULL && cli_module_preload("run", library);
    free(library);
    if (!ready)
        return RUN_FAILED;
    const char *why = cli_module_refused(command[0]);
    if (why != NULL)
        cli_complain("run", "'%s' does not use hmm's heap, since %s", command[0], why);
    execvp(command[0], command);
    int code = errno;
    cli_complain("run", "cannot run '%s': %s", command[0], strerror(code));
    return code == ENOENT || code == ENOTDIR ? RUN_NOT_FOUND : RUN_NOT_RUN;
}

static int run(int argc, char **argv)
{
    struct cli_args args = {.command = &cli_run, .argc = argc, .argv = argv, .next = 1};
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_HELP) {
            cli_command_help(&cli_run);
            return CLI_OK;
        }
        if (arg == CLI_ARG_OPERAND)
            return become(argv + args.next - 1);
        if (arg == CLI_ARG_BAD || !take_option(arg, args.value))
            return CLI_USAGE;
    }
    cli_complain("run", "no command given: hmm run %s", cli_run.usage);
    return CLI_USAGE;
}
