/* SPDX-License-Identifier: MIT */
/*
 * hmm stats: what a program asks of its heap, whatever heap that is.
 */
#include "stats.h"
#include "stream.h"

#include <stdlib.h>
#include <string.h>

enum { OPT_FORMAT, OPT_FROM, OPT_TO, OPT_COLLAPSED };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_FORMAT] = {"format", "table|json", "how to print; json: an object a line"},
    [OPT_FROM] = {"from", "OP", "the first operation, counted from 1 (default: the first)"},
    [OPT_TO] = {"to", "OP", "the last operation (default: the last)"},
    [OPT_COLLAPSED] = {"collapsed", "[=WHAT]", "stacks for flame graphs, by bytes, count or peak"},
    {NULL, NULL, NULL}};

const struct cli_command cli_stats = {
    .name = "stats",
    .usage = "[OPTION]... TRACE...",
    .summary = "show what a program asks of its heap",
    .description =
        "Of each TRACE, - for standard input: sizes, lifetimes, the most that was live and when,\n"
        "blocks that are soon or never freed, alignments, and how blocks grow by resizing; and "
        "who\n"
        "asks, if the trace has call stacks (hmm record --stacks). Ctrl-C prints what is known so\n"
        "far.\n\n"
        "--collapsed prints the call stacks instead, a line each: functions with ; between them,\n"
        "the outermost first, and bytes requested, requests, or bytes live at the peak.\n\n"
        "Exit status: 0; 2 if an argument or a trace is bad. Of a damaged trace what comes before\n"
        "the damage is shown.\n",
    .options = options,
    .run = run,
};

struct request {
    const char **paths;
    size_t path_count;
    uint64_t from, to;
    bool json, collapsed;
    enum stats_measure measure; /* of collapsed stacks */
};

static bool add_living(struct stats *stats, const struct cli_stream *s)
{
    size_t count;
    struct hmm_trace_block *blocks = hmm_trace_reader_live(s->reader, &count);
    for (size_t i = 0; blocks != NULL && i < count; i++)
        stats_add_living(stats, &blocks[i]);
    free(blocks);
    return blocks != NULL;
}

static bool conclude(struct stats *stats, const struct cli_stream *s)
{
    size_t count;
    struct hmm_trace_block *blocks = hmm_trace_reader_live(s->reader, &count);
    if (blocks != NULL)
        stats_conclude(stats, blocks, count);
    free(blocks);
    return blocks != NULL;
}

static bool gather(struct stats *stats, struct cli_stream *s)
{
    if (!add_living(stats, s))
        return false;
    while (cli_stream_next(s))
        for (size_t i = 0; i < s->count; i++)
            stats_add(stats, &s->ops[i]);
    return conclude(stats, s);
}

static void print_sites(const struct request *q, const struct stats *stats,
                        const struct hmm_trace_stacks *stacks, const char *path)
{
    struct cli_sites sites;
    if (!stacks->any)
        return;
    cli_sites_open(&sites, stacks);
    if (q->json)
        stats_print_json_sites(stats, &sites, path);
    else
        stats_print_sites(stats, &sites);
    cli_sites_close(&sites);
}

static void print(const struct request *q, const struct stats *stats, const struct cli_stream *s)
{
    if (s->failed && stats->ops == 0)
        return;
    if (s->failed || s->interrupted)
        cli_complain("stats", "%s: what follows is of the first %llu operations", s->path,
                     (unsigned long long)(stats->from - 1 + stats->ops));
    const struct hmm_trace_stacks *stacks = hmm_trace_reader_stacks(s->reader);
    if (q->collapsed) {
        if (!stacks->any)
            cli_complain("stats", "%s: has no call stacks: record it with --stacks", s->path);
        else
            stats_print_collapsed(stats, stacks, q->measure);
    } else {
        (q->json ? stats_print_json : stats_print_table)(stats, s->path);
        print_sites(q, stats, stacks, s->path);
    }
    fflush(stdout);
}

static int show(const struct request *q, const char *path)
{
    struct cli_stream s;
    struct stats *stats = cli_alloc(1, sizeof *stats);
    int code = CLI_USAGE;
    if (cli_stream_open(&s, "stats", path, HMM_TRACE_DENSE, q->from, q->to)) {
        stats_open(stats, q->from);
        const bool good = gather(stats, &s);
        cli_stream_read_stacks(&s);
        cli_progress_hide();
        if (good)
            print(q, stats, &s);
        else
            cli_complain("stats", "out of memory");
        stats_close(stats);
        cli_stream_close(&s);
        code = good ? cli_stream_status(&s) : CLI_FAILED;
    }
    free(stats);
    return code;
}

static int show_all(const struct request *q)
{
    int worst = CLI_OK;
    for (size_t i = 0; i < q->path_count; i++) {
        if (i != 0 && !q->json && !q->collapsed)
            puts("");
        const int code = show(q, q->paths[i]);
        worst = code > worst ? code : worst;
    }
    return worst;
}

static bool take_measure(struct request *q, const char *text)
{
    static const char *const words[] = {"bytes", "count", "peak", NULL};
    q->collapsed = true;
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(text != NULL ? text : "bytes", words[i]) == 0) {
            q->measure = (enum stats_measure)i;
            return true;
        }
    cli_complain_unknown("stats", "measure", text, words, NULL);
    return false;
}

static bool take(struct request *q, int arg, const char *value)
{
    switch (arg) {
    case OPT_FORMAT:
        return cli_parse_format("stats", value, &q->json);
    case OPT_FROM:
        return cli_parse_op("stats", "from", value, &q->from);
    case OPT_TO:
        return cli_parse_op("stats", "to", value, &q->to);
    case OPT_COLLAPSED:
        return take_measure(q, value);
    default:
        q->paths[q->path_count++] = value;
        return true;
    }
}

/* Returns CLI_ARG_END: go on; CLI_ARG_HELP; or CLI_ARG_BAD, which has been said. */
static int parse(struct request *q, int argc, char **argv)
{
    struct cli_args args = {.command = &cli_stats, .argc = argc, .argv = argv, .next = 1};
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD || arg == CLI_ARG_HELP)
            return arg;
        if (!take(q, arg, args.value))
            return CLI_ARG_BAD;
    }
    if (q->path_count == 0)
        cli_complain("stats", "no trace given: hmm stats %s", cli_stats.usage);
    else if (q->to < q->from)
        cli_complain("stats", "--to %llu lies before --from %llu", (unsigned long long)q->to,
                     (unsigned long long)q->from);
    else
        return CLI_ARG_END;
    return CLI_ARG_BAD;
}

static int run(int argc, char **argv)
{
    struct request q = {.from = 1, .to = UINT64_MAX};
    int code = CLI_USAGE;
    q.paths = cli_alloc((size_t)argc, sizeof *q.paths);
    switch (parse(&q, argc, argv)) {
    case CLI_ARG_END:
        code = show_all(&q);
        break;
    case CLI_ARG_HELP:
        cli_command_help(&cli_stats);
        code = CLI_OK;
        break;
    default:
        break;
    }
    free(q.paths);
    return code;
}
