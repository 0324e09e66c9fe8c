/* SPDX-License-Identifier: MIT */
/*
 * hmm report: a page that shows what each strategy makes of recorded programs.
 */
#include "choice.h"
#include "compare.h"
#include "page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_OUTPUT, OPT_STRATEGY, OPT_COMPARE };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_OUTPUT] = {"output", "FILE", "the page, in HTML; - is standard output"},
    [OPT_STRATEGY] = {"strategy", "NAME", "a built-in, a plug-in's path, a comma list, or all"},
    [OPT_COMPARE] = {"compare", "[=GOAL]", "measure as hmm compare does, and show its advice"},
    {NULL, NULL, NULL}};

const struct cli_command cli_report = {
    .name = "report",
    .usage = "[OPTION]... -o FILE.html TRACE...",
    .summary = "make a page of what each strategy makes of recorded programs",
    .description =
        "Replays each trace on all strategies and writes one page, for a web browser, which needs\n"
        "no network: break, fragmentation and holes over time, the heap by address and time, the\n"
        "heap at any moment, what the program asks for. The page has at most 1 MiB, whatever the\n"
        "length of the traces: long ones are shown in less detail. With --compare it also has the\n"
        "table and the advice of hmm compare, for memory, speed, bounded or balanced (the "
        "default),\n"
        "which takes as long as that command. Ctrl-C ends the replay, and the page has what was\n"
        "seen up to there.\n\n"
        "Exit status: 0 if the page is written; 1 if that fails or memory runs out; 2 if an\n"
        "argument or a trace is bad, and then nothing has been written.\n",
    .options = options,
    .letters = "o",
    .run = run,
};

struct request {
    const char *output, *goal; /* goal: of the comparison; NULL: there is none */
    struct cli_choice choice;
    const char **paths;
    size_t path_count;
};

/* Returns CLI_ARG_END: go on; CLI_ARG_HELP; or CLI_ARG_BAD, which has been said. */
static int parse(struct request *q, int argc, char **argv)
{
    struct cli_args args = {.command = &cli_report, .argc = argc, .argv = argv, .next = 1};
    q->paths = cli_alloc((size_t)argc, sizeof *q->paths);
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD || arg == CLI_ARG_HELP)
            return arg;
        if (arg == CLI_ARG_OPERAND)
            q->paths[q->path_count++] = args.value;
        else if (arg == OPT_OUTPUT)
            q->output = args.value;
        else if (arg == OPT_COMPARE) {
            if (!compare_goal(args.value != NULL ? args.value : "balanced", &q->goal))
                return CLI_ARG_BAD;
        } else if (!cli_choose(&q->choice, "report", args.value))
            return CLI_ARG_BAD;
    }
    if (q->path_count == 0)
        cli_complain("report", "no trace given: hmm report %s", cli_report.usage);
    else if (q->output == NULL)
        cli_complain("report", "no file given for the page: -o FILE.html");
    if (q->choice.count == 0)
        cli_choose_all(&q->choice);
    if (q->path_count == 0 || q->output == NULL)
        return CLI_ARG_BAD;
    for (size_t i = 0; i < q->path_count; i++)
        if (cli_is_same_file(q->paths[i], q->output)) {
            cli_complain("report", "--output: %s is a trace that is read", q->output);
            return CLI_ARG_BAD;
        }
    return CLI_ARG_END;
}

/* Returns 0 or errno; a page that is not whole is removed. */
static int write_bytes(const char *path, const struct report_buffer *page)
{
    FILE *to = fopen(path, "wb");
    if (to == NULL)
        return errno;
    int code = fwrite(page->bytes, 1, page->count, to) == page->count ? 0 : errno;
    if (fclose(to) != 0 && code == 0)
        code = errno;
    if (code != 0)
        cli_discard(path);
    return code;
}

static int write_page(const struct request *q, const struct report_trace *traces, size_t count)
{
    struct report_buffer page = {NULL, 0, 0};
    if (!report_page(traces, count, &page)) {
        cli_complain("report", "too many traces for one page: %zu", count);
        report_buffer_free(&page);
        return CLI_USAGE;
    }
    int code = 0;
    if (strcmp(q->output, "-") == 0)
        fwrite(page.bytes, 1, page.count, stdout); /* main.c says if that fails */
    else
        code = write_bytes(q->output, &page);
    if (code != 0)
        cli_complain("report", "%s: cannot write: %s", q->output, strerror(code));
    report_buffer_free(&page);
    return code == 0 ? CLI_OK : CLI_FAILED;
}

/* What an interrupt has left out. */
static void tell_cut(const struct request *q, const struct report_trace *traces, size_t count)
{
    const struct report_trace *last = &traces[count - 1];
    if (last->cut_from != 0)
        cli_complain("report", "%s: interrupted: the page has the first %s operations of %s",
                     last->path, cli_count(last->ops).chars, cli_count(last->cut_from).chars);
    if (count < q->path_count)
        cli_complain("report", "interrupted: the page has %zu of %zu traces", count, q->path_count);
}

static int report(const struct request *q)
{
    struct report_trace *traces = cli_alloc(q->path_count, sizeof *traces);
    int code = CLI_OK;
    size_t count = 0;
    for (; count < q->path_count && code == CLI_OK && !cli_interrupted(); count++)
        report_reduce(&traces[count], q->paths[count], q->choice.strategies, q->choice.count,
                      &code);
    for (size_t i = 0; i < count && code == CLI_OK && q->goal != NULL && !cli_interrupted(); i++)
        traces[i].compared = compare_for_page(q->paths[i], q->goal);
    if (code == CLI_OK)
        code = write_page(q, traces, count);
    if (code == CLI_OK && cli_interrupted()) {
        tell_cut(q, traces, count);
        cli_end_interrupted();
    }
    for (size_t i = 0; i < q->path_count; i++)
        report_trace_free(&traces[i]);
    free(traces);
    return code;
}

static int run(int argc, char **argv)
{
    struct request q = {.output = NULL};
    int code = CLI_USAGE;
    switch (parse(&q, argc, argv)) {
    case CLI_ARG_END:
        code = report(&q);
        break;
    case CLI_ARG_HELP:
        cli_command_help(&cli_report);
        code = CLI_OK;
        break;
    default:
        break;
    }
    cli_choice_free(&q.choice);
    free(q.paths);
    return code;
}
