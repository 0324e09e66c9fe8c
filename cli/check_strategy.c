/* SPDX-License-Identifier: MIT */
/*
 * hmm check-strategy: whether a plug-in does what a strategy must.
 */
#include "checker.h"
#include "cli.h"
#include "trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_OUTPUT, OPT_OPERATIONS };

/* Limits for one call of a function of the plug-in. They are generous, since on a busy machine the
 * process may not run for a while. */
static const struct checker_limits first_limits = {2000, 10000}, shrink_limits = {200, 1000};

#define SHRINK_RUNS 3000
#define SHRINK_SECONDS 20.0

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_OUTPUT] = {"output", "FILE", "where the trace goes that breaks the rule"},
    [OPT_OPERATIONS] = {"operations", "N", "how many, of each of ten mixes of sizes (4000)"},
    {NULL, NULL, NULL}};

const struct cli_command cli_check_strategy = {
    .name = "check-strategy",
    .usage = "[OPTION]... FILE.so",
    .summary = "check whether a plug-in does what a strategy must",
    .description =
        "Loads the plug-in in a process of its own, gives it random operations, and holds each\n"
        "answer against the blocks. Where it exports hmm_plugin_scan, its choices are held\n"
        "against that too. What breaks a rule is made as short as it can be, and written as a\n"
        "trace to FILE, else to stdout.\n\n"
        "Exit status: 0 if it is sound, 1 if it breaks a rule, which is said on stderr with the\n"
        "operation, 2 if it cannot be loaded.\n",
    .options = options,
    .letters = "o",
    .run = run,
};

struct request {
    const char *plugin, *output;
    unsigned operations;
};

/* ---- The command line ---- */

static int parse(struct request *q, int argc, char **argv)
{
    struct cli_args args = {.command = &cli_check_strategy, .argc = argc, .argv = argv, .next = 1};
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD || arg == CLI_ARG_HELP)
            return arg;
        if (arg == OPT_OUTPUT) {
            q->output = args.value;
        } else if (arg == OPT_OPERATIONS) {
            if (!cli_parse_number("check-strategy", "operations", args.value, 10000000,
                                  &q->operations))
                return CLI_ARG_BAD;
        } else if (q->plugin != NULL) {
            cli_complain("check-strategy", "takes one plug-in: '%s'", args.value);
            return CLI_ARG_BAD;
        } else {
            q->plugin = args.value;
        }
    }
    if (q->plugin == NULL)
        cli_complain("check-strategy", "no plug-in given: hmm check-strategy %s",
                     cli_check_strategy.usage);
    return q->plugin != NULL ? CLI_ARG_END : CLI_ARG_BAD;
}

/* Unlike elsewhere a file in the current folder needs no slash: a built-in strategy cannot be
 * meant. */
static char *path_of(const char *plugin)
{
    size_t room = strlen(plugin) + 3;
    char *path = cli_alloc(room, 1);
    snprintf(path, room, "%s%s", strchr(plugin, '/') != NULL ? "" : "./", plugin);
    return path;
}

/* ---- What came of it ---- */

static bool write_trace(const char *file, const struct checker_plan *plan)
{
    bool to_stdout = file == NULL || strcmp(file, "-") == 0;
    FILE *to = to_stdout ? stdout : fopen(file, "w");
    bool good = to != NULL;
    if (good) {
        checker_plan_print(to, plan);
        good = fflush(to) == 0 && !ferror(to);
    }
    if (to != NULL && !to_stdout)
        good = fclose(to) == 0 && good;
    if (!good)
        cli_complain("check-strategy", "cannot write '%s': %s", to_stdout ? "-" : file,
                     strerror(errno));
    return good;
}

static void say_unsound(const struct request *q, const struct checker_plan *plan,
                        const struct checker_verdict *v)
{
    fprintf(stderr, "hmm check-strategy: %s: %s: %s (operation %u of %zu: ", cli_visible(q->plugin),
            v->rule, cli_visible(v->text), v->op + 1, plan->count);
    checker_op_print(stderr, &plan->ops[v->op]);
    fputs(")\n", stderr);
}

static int conclude(const struct request *q, const char *path, struct checker_plan *plan,
                    struct checker_verdict *v)
{
    switch (v->outcome) {
    case CHECKER_SOUND:
        return CLI_OK;
    case CHECKER_NOT_LOADABLE:
        cli_complain("check-strategy", "'%s' cannot be loaded: %s", q->plugin, v->text);
        return CLI_USAGE;
    case CHECKER_UNSOUND:
        checker_shrink(path, plan, &shrink_limits, v, SHRINK_RUNS, SHRINK_SECONDS);
        say_unsound(q, plan, v);
        write_trace(q->output, plan);
        return CLI_FAILED;
    default:
        cli_complain("check-strategy", "%s", v->text);
        return CLI_USAGE;
    }
}

static int check(const struct request *q)
{
    struct checker_plan plan;
    struct checker_verdict verdict;
    struct hmm_trace_error error;
    uint64_t operations = 0, calls = 0;
    int code = CLI_OK;
    if (q->output != NULL && strcmp(q->output, "-") != 0 &&
        !hmm_trace_may_replace(q->output, &error)) {
        cli_trace_error(q->output, &error);
        return CLI_USAGE;
    }
    char *path = path_of(q->plugin);
    for (unsigned n = 0; code == CLI_OK && checker_plan(&plan, n, q->operations); n++) {
        checker_run(path, &plan, &first_limits, &verdict);
        code = conclude(q, path, &plan, &verdict);
        operations += plan.count;
        calls += verdict.calls;
        checker_plan_free(&plan);
    }
    if (code == CLI_OK)
        printf("%s: sound: %s operations, %s calls%s\n", cli_visible(verdict.name),
               cli_count(operations).chars, cli_count(calls).chars,
               verdict.has_scan ? ", each choice that of hmm_plugin_scan" : "");
    free(path);
    return code;
}

static int run(int argc, char **argv)
{
    struct request q = {.operations = 4000};
    switch (parse(&q, argc, argv)) {
    case CLI_ARG_END:
        return check(&q);
    case CLI_ARG_HELP:
        cli_command_help(&cli_check_strategy);
        return CLI_OK;
    default:
        return CLI_USAGE;
    }
}
