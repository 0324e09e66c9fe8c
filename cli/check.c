/* SPDX-License-Identifier: MIT */
/*
 * hmm check: does a trace complete in a heap of a size? For a build server.
 */
#include "compare.h"

#include <inttypes.h>
#include <string.h>

enum { OPT_MAX_HEAP, OPT_STRATEGY, OPT_CACHE, OPT_FORMAT };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_MAX_HEAP] = {"max-heap", "SIZE", "the most that the heap may have (K, M, G)"},
    [OPT_STRATEGY] = {"strategy", "NAME", "which one, or a plug-in's path (default best-fit)"},
    [OPT_CACHE] = {"cache", NULL, "with a cache before the heap, as programs have it"},
    [OPT_FORMAT] = {"format", "table|json", "a line in words (default), or a JSON object"},
    {NULL, NULL, NULL}};

const struct cli_command cli_check = {
    .name = "check",
    .usage = "--max-heap SIZE [OPTION]... TRACE",
    .summary = "does a trace fit into a heap of a size?",
    .description =
        "Prints a line that says whether the trace completes in a heap of SIZE bytes, and how "
        "much\n"
        "the smallest heap leaves or lacks. Where it does not, stderr has why: the operation that\n"
        "is not served, what was free, who sits beside the largest hole, what would have "
        "helped.\n\n"
        "Exit status: 0 if it fits; 1 if not; 2 if an argument is bad or TRACE cannot be read.\n",
    .options = options,
    .run = run,
};

struct request {
    size_t max_heap;
    const struct hmm_strategy *strategy;
    const char *trace;
    bool cache, json;
};

static void print_json(const struct request *q, bool fits, uint64_t smallest)
{
    fputs("{\"trace\":", stdout);
    cli_print_json_string(stdout, q->trace);
    fputs(",\"allocator\":", stdout);
    cli_print_json_string(stdout, hmm_strategy_name(q->strategy));
    printf(",\"cache\":%s,\"max_heap\":%zu,\"fits\":%s,\"smallest_heap\":",
           q->cache ? "true" : "false", q->max_heap, fits ? "true" : "false");
    if (smallest != 0)
        printf("%" PRIu64 "}\n", smallest);
    else
        puts("null}");
}

static void print_line(const struct request *q, bool fits, uint64_t smallest)
{
    const char *name = cli_visible(hmm_strategy_name(q->strategy)),
               *with = q->cache ? " with a cache" : "";
    printf("%s: %s into %s bytes with %s%s", cli_visible(q->trace), fits ? "fits" : "does not fit",
           cli_count(q->max_heap).chars, name, with);
    if (smallest == 0)
        puts(": no heap is large enough");
    else if (smallest <= q->max_heap && !fits) /* see probe_smallest */
        printf(", but into %s\n", cli_count(smallest).chars);
    else if (smallest <= q->max_heap)
        printf(": the smallest heap is %s, which leaves %s\n", cli_count(smallest).chars,
               cli_count(q->max_heap - smallest).chars);
    else
        printf(": the smallest heap is %s, %s more\n", cli_count(smallest).chars,
               cli_count(smallest - q->max_heap).chars);
}

static int check(const struct request *q, struct hmm_trace_tape *tape)
{
    struct replay replay;
    struct postmortem found;
    uint64_t smallest = 0;
    bool fits = false;
    replay_open(&replay, tape, q->cache);
    const struct probe probe = {&replay, q->strategy, q->max_heap};
    bool done = probe_completes(&probe, q->max_heap, &fits) &&
                probe_smallest(&probe, fits ? q->max_heap / PROBE_STEP * PROBE_STEP : 0, &smallest);
    if (done && q->json)
        print_json(q, fits, smallest);
    else if (done)
        print_line(q, fits, smallest);
    fflush(stdout);
    if (done && !fits && postmortem_find(&probe, q->trace, q->max_heap, &found))
        postmortem_print(stderr, "hmm check: ", &probe, q->trace, q->max_heap, &found);
    replay_close(&replay);
    const struct hmm_trace_error *error = hmm_trace_tape_error(tape);
    if (error != NULL) {
        cli_trace_error(q->trace, error);
        return CLI_USAGE;
    }
    if (!done)
        cli_complain("check", "there is no address space for a heap of %zu bytes", q->max_heap);
    return done && fits ? CLI_OK : CLI_FAILED;
}

static bool take(struct request *q, int arg, const char *value)
{
    switch (arg) {
    case OPT_MAX_HEAP:
        return cli_parse_size("check", "max-heap", value, &q->max_heap);
    case OPT_STRATEGY:
        return (q->strategy = cli_find_strategy("check", value, NULL)) != NULL;
    case OPT_CACHE:
        return q->cache = true;
    case OPT_FORMAT:
        return cli_parse_format("check", value, &q->json);
    default:
        if (q->trace != NULL)
            cli_complain("check", "one trace at a time: '%s' is another", value);
        else
            q->trace = value;
        return q->trace == value;
    }
}

static int load_and_check(const struct request *q)
{
    struct hmm_trace_tape *tape = feed_tape("check", q->trace);
    if (tape == NULL)
        return CLI_USAGE;
    const int code = check(q, tape);
    hmm_trace_tape_close(tape);
    return code;
}

static int run(int argc, char **argv)
{
    struct cli_args args = {.command = &cli_check, .argc = argc, .argv = argv, .next = 1};
    struct request q = {.strategy = HMM_BEST_FIT};
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_HELP) {
            cli_command_help(&cli_check);
            return CLI_OK;
        }
        if (arg == CLI_ARG_BAD || !take(&q, arg, args.value))
            return CLI_USAGE;
    }
    if (q.trace != NULL && q.max_heap != 0)
        return load_and_check(&q);
    cli_complain("check", "no %s given: hmm check %s", q.trace == NULL ? "trace" : "--max-heap",
                 cli_check.usage);
    return CLI_USAGE;
}
