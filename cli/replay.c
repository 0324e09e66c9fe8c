/* SPDX-License-Identifier: MIT */
/*
 * hmm replay: what each strategy makes of a recorded program.
 */
#include "choice.h"
#include "compare.h"
#include "heap/heap.h"

#include <stdlib.h>
#include <string.h>

#define MOST_RUNS 1000
#define CACHE_LEAST ((size_t)128 << 10) /* hmm_heap_set_cache: a smaller heap has none */

enum { OPT_STRATEGY, OPT_FORMAT, OPT_HEAP, OPT_RUNS, OPT_SMALLEST, OPT_CACHE, OPT_CHECK };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_STRATEGY] = {"strategy", "NAME", "a built-in, a plug-in's path, a comma list, or all"},
    [OPT_FORMAT] = {"format", "table|json", "how to print results; json: an object a line"},
    [OPT_HEAP] = {"heap", "SIZE", "replay in a region of SIZE bytes (K, M, G)"},
    [OPT_RUNS] = {"runs", "N", "time N passes and take the fastest (default 3)"},
    [OPT_SMALLEST] = {"smallest", NULL, "also find the smallest region that will do"},
    [OPT_CACHE] = {"cache", NULL, "with a cache before the heap, as programs have it"},
    [OPT_CHECK] = {"check", NULL, "also verify every block's contents, and the heap"},
    {NULL, NULL, NULL}};

const struct cli_command cli_replay = {
    .name = "replay",
    .usage = "[OPTION]... TRACE...",
    .summary = "replay recorded traces on the placement strategies",
    .description =
        "For each trace (text, zstd or format 2) and strategy: nanoseconds per operation,\n"
        "net of the replay loop; the most bytes that were live and the highest break, in bytes;\n"
        "footprint, the second over the first; the largest number of free blocks; and how many\n"
        "requests could not be served; the first is named on stderr with its line.\n"
        "Every block is placed by the strategy; with --cache runs of small blocks are.\n\n"
        "Exit status: 0 if all requests were served; 1 if one was not, on any strategy, if "
        "--check\n"
        "finds a fault, a file is cut short, or memory runs out; 2 if an argument or a trace\n"
        "is bad, and then nothing has been replayed.\n",
    .options = options,
    .run = run,
};

/* What the command line asks for. */
struct request {
    struct replay_options options;
    struct cli_choice choice;
    const char **paths;
    size_t path_count;
};

/* ---- The command line ---- */

static bool take_option(struct request *q, int option, const char *value)
{
    switch (option) {
    case OPT_STRATEGY:
        return cli_choose(&q->choice, "replay", value);
    case OPT_FORMAT:
        return cli_parse_format("replay", value, &q->options.json);
    case OPT_HEAP:
        return cli_parse_size("replay", "heap", value, &q->options.heap);
    case OPT_RUNS:
        return cli_parse_number("replay", "runs", value, MOST_RUNS, &q->options.runs);
    case OPT_SMALLEST:
        return q->options.smallest = true;
    case OPT_CACHE:
        return q->options.cache = true;
    default:
        return q->options.check = true;
    }
}

/* A heap that is too small for a cache tells whether this build has any. */
static bool has_cache(void)
{
    static char memory[4096];
    struct hmm_heap *heap = hmm_heap_create(memory, sizeof memory, HMM_FIRST_FIT);
    bool has = heap != NULL && hmm_heap_set_cache(heap, 1) == 0;
    hmm_heap_destroy(heap);
    return has;
}

static bool cache_is_possible(const struct replay_options *o)
{
    if (!has_cache()) {
        cli_complain("replay", "--cache: this build has no cache");
        return false;
    }
    if (o->heap != 0 && o->heap < CACHE_LEAST) {
        cli_complain("replay", "--cache: a heap of %s has none: at least %zuK",
                     cli_bytes(o->heap).chars, CACHE_LEAST >> 10);
        return false;
    }
    return true;
}

static bool is_complete(struct request *q)
{
    if (q->path_count == 0) {
        cli_complain("replay", "no trace given: hmm replay %s", cli_replay.usage);
        return false;
    }
    if (q->options.smallest && q->options.heap != 0) {
        cli_complain("replay", "--heap and --smallest cannot be combined");
        return false;
    }
    if (q->options.cache && !cache_is_possible(&q->options))
        return false;
    if (q->choice.count == 0)
        cli_choose_all(&q->choice);
    return true;
}

/* Returns CLI_ARG_END: go on; CLI_ARG_HELP; or CLI_ARG_BAD, which has been said. */
static int parse(struct request *q, int argc, char **argv)
{
    struct cli_args args = {.command = &cli_replay, .argc = argc, .argv = argv, .next = 1};
    q->paths = cli_alloc((size_t)argc, sizeof *q->paths);
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD || arg == CLI_ARG_HELP)
            return arg;
        if (arg == CLI_ARG_OPERAND)
            q->paths[q->path_count++] = args.value;
        else if (!take_option(q, arg, args.value))
            return CLI_ARG_BAD;
    }
    return is_complete(q) ? CLI_ARG_END : CLI_ARG_BAD;
}

/* ---- Loading ---- */

/* A part of the whole work, for the progress bar. */
struct share {
    double begin, length;
};

static void tell_loaded(void *arg, uint64_t done, uint64_t total)
{
    const struct share *s = arg;
    cli_progress(s->begin + (total != 0 ? s->length * (double)done / (double)total : 0));
}

static void tell_cut(const struct hmm_trace_tape *tape, const char *path)
{
    cli_trace_error(path, hmm_trace_tape_cut(tape));
    cli_complain("replay", "%s: of this trace only the first %s operations are replayed", path,
                 cli_count(hmm_trace_tape_summary(tape)->op_count).chars);
}

static struct hmm_trace_tape *load(const char *path, struct share *share)
{
    struct hmm_trace_error error;
    struct hmm_trace_progress progress = {tell_loaded, share};
    struct hmm_trace_tape *tape = hmm_trace_tape_open(path, &progress, &error);
    cli_progress_hide();
    if (tape == NULL)
        cli_trace_error(path, &error);
    else if (hmm_trace_tape_cut(tape) != NULL)
        tell_cut(tape, path);
    else if (hmm_trace_tape_unended(tape))
        cli_warn_unended("replay", path, hmm_trace_tape_summary(tape)->op_count);
    return tape;
}

/* Reads all traces, so that every bad one is reported. Only one at a time is kept in memory. */
static bool load_all(const struct request *q, struct hmm_trace_tape **tapes)
{
    bool good = true;
    cli_progress_start("reading");
    for (size_t i = 0; i < q->path_count; i++) {
        struct share share = {(double)i / (double)q->path_count, 1 / (double)q->path_count};
        tapes[i] = load(q->paths[i], &share);
        good = good && tapes[i] != NULL;
        if (tapes[i] != NULL && q->path_count > 1)
            hmm_trace_tape_rest(tapes[i]);
    }
    cli_progress_hide();
    return good;
}

/* ---- Replaying ---- */

/* What the bar shows while a strategy is measured: `passes` passes of a share each. */
struct work {
    struct share share;
    double done; /* of the share, in whole passes */
    unsigned passes;
    uint64_t ops_a_pass;
    uint64_t ops; /* in all passes before this one, of all strategies and traces */
    /* What Ctrl-C prints: of the trace that is replayed, the strategies that are done. */
    const struct replay_options *options;
    const struct hmm_trace_summary *sum;
    const struct replay_result *results;
    size_t known;
};

/* A trace's table is printed when all of it is known; a line of JSON at once. */
static void heed_interrupt(const struct work *w)
{
    if (!cli_interrupted())
        return;
    cli_progress_hide();
    cli_complain("replay",
                 w->known != 0 ? "%s: interrupted: what is known so far follows"
                               : "%s: interrupted: nothing is known yet",
                 w->results->trace);
    if (w->known != 0 && !w->options->json)
        replay_print_table(w->results, w->known, w->sum, w->options);
    cli_end_interrupted();
}

static void tell_pass(void *arg, double done)
{
    struct work *w = arg;
    w->done = done;
    w->ops += w->ops_a_pass;
    heed_interrupt(w);
    cli_progress_ops(w->share.begin + w->share.length * done, w->ops);
}

static void tell_stretch(void *arg, uint64_t done)
{
    const struct work *w = arg;
    const double pass = (double)done / (double)w->ops_a_pass / w->passes;
    heed_interrupt(w);
    cli_progress_ops(w->share.begin + w->share.length * (w->done + pass), w->ops + done);
}

static double time_harness(const struct replay *replay, unsigned runs, struct work *w)
{
    double best = 0;
    for (unsigned i = 0; i <= runs; i++) {
        double ns = replay_time_harness(replay);
        best = i == 0 || ns < best ? ns : best;
        tell_pass(w, (double)(i + 1) / (runs + 1));
    }
    return best;
}

/* Names the first request that was not served: "PATH:LINE" or "PATH: operation N". */
static void name_place(char *to, size_t room, const struct replay_result *r, uint64_t line)
{
    if (line != 0)
        snprintf(to, room, "%s:%llu", r->trace, (unsigned long long)line);
    else
        snprintf(to, room, "%s: operation %llu", r->trace,
                 (unsigned long long)r->figures.first_failed + 1);
}

/* Why it was not: the heap's size, or the limit of any heap. */
static void tell_unserved(struct hmm_trace_tape *tape, const struct replay_result *r)
{
    struct hmm_trace_op op = {0};
    uint64_t line = 0;
    hmm_trace_tape_find(tape, r->figures.first_failed, &op, &line);
    const size_t room = strlen(r->trace) + 40;
    const unsigned long long size = op.size;
    char *place = cli_alloc(room, 1);
    name_place(place, room, r, line);
    if (op.size > HMM_MAX_REQUEST)
        cli_complain("replay",
                     "%s: %s: a block of %llu bytes; hmm's limit for one is %s (%zu bytes)", place,
                     r->strategy, size, cli_bytes(HMM_MAX_REQUEST).chars, HMM_MAX_REQUEST);
    else
        cli_complain("replay",
                     "%s: %s: no room for %llu bytes in a heap of %zu; not served: %llu in all",
                     place, r->strategy, size, r->capacity, (unsigned long long)r->figures.failed);
    free(place);
}

static void tell_failure(struct hmm_trace_tape *tape, const struct hmm_strategy *s,
                         const struct replay_result *r)
{
    if (!r->figures.has_heap)
        cli_complain("replay",
                     "%s: %s: no heap can be made in %zu bytes: the index alone takes %zu of them",
                     r->trace, r->strategy, r->capacity, s->state_size(r->capacity));
    else if (r->figures.failed != 0)
        tell_unserved(tape, r);
}

/* Whether all of the trace could be read in every pass. */
static bool was_read(const struct hmm_trace_tape *tape, const char *path)
{
    const struct hmm_trace_error *error = hmm_trace_tape_error(tape);
    if (error != NULL)
        cli_trace_error(path, error);
    return error == NULL;
}

/* The index-th trace's step-th measurement, of which the loop's is the first. */
static void begin_work(struct work *w, const struct request *q, size_t index, size_t step)
{
    const size_t steps = q->choice.count + 1;
    const double all = (double)(q->path_count * steps);
    w->share = (struct share){(double)(index * steps + step) / all, 1 / all};
    w->done = 0;
    w->passes = step == 0 ? q->options.runs + 1 : replay_passes(&q->options);
}

/* How the heap lay when the first request failed, in the heap that was given. */
static void explain(const struct replay *replay, const struct request *q, size_t i,
                    const struct replay_result *r)
{
    const struct probe probe = {replay, q->choice.strategies[i], q->options.heap};
    struct postmortem found;
    char prefix[80];
    snprintf(prefix, sizeof prefix, "hmm replay: %.50s: ", r->strategy);
    if (q->options.heap != 0 && r->figures.has_heap && r->figures.failed != 0 && !r->faulty &&
        postmortem_find(&probe, r->trace, q->options.heap, &found))
        postmortem_print_rest(stderr, prefix, &probe, q->options.heap, &found);
}

/* Prints the result. False iff there is none. */
static bool tell_result(const struct replay *replay, const struct request *q, size_t i,
                        const struct replay_result *result)
{
    struct hmm_trace_tape *tape = replay->tape;
    cli_progress_hide();
    if (!was_read(tape, result->trace))
        return false;
    if (q->options.json)
        replay_print_json(result, &q->options);
    tell_failure(tape, q->choice.strategies[i], result);
    explain(replay, q, i, result);
    return true;
}

/* One trace on all strategies: results[0 .. strategy_count). False iff it could not be done. */
static bool replay_trace(const struct request *q, size_t index, struct hmm_trace_tape *tape,
                         struct replay_result *results, struct work *work)
{
    struct replay replay;
    const struct replay_tick tick = {tell_pass, work};
    bool good = true;
    replay_open(&replay, tape, q->options.cache);
    replay.tell = tell_stretch;
    replay.tell_arg = work;
    work->ops_a_pass = replay.sum->op_count;
    work->options = &q->options;
    work->sum = replay.sum;
    work->results = results;
    work->known = 0;
    results[0].trace = q->paths[index];
    begin_work(work, q, index, 0);
    const double harness = time_harness(&replay, q->options.runs, work);
    for (size_t i = 0; good && i < q->choice.count; i++) {
        begin_work(work, q, index, i + 1);
        results[i].trace = q->paths[index];
        good = replay_measure(&replay, q->choice.strategies[i], &q->options, harness, &tick,
                              &results[i]) &&
               tell_result(&replay, q, i, &results[i]);
        work->known = i + 1;
    }
    if (good && !q->options.json)
        replay_print_table(results, q->choice.count, replay.sum, &q->options);
    replay_close(&replay);
    return good;
}

static bool all_good(const struct replay_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (results[i].faulty || results[i].figures.failed != 0 || !results[i].figures.has_heap)
            return false;
    return true;
}

static int replay_all(const struct request *q, struct hmm_trace_tape **tapes)
{
    const size_t count = q->path_count * q->choice.count;
    struct replay_result *results = cli_alloc(count, sizeof *results);
    struct work work = {.ops = 0};
    bool good = true;
    cli_heed_interrupts();
    cli_progress_start("replaying");
    for (size_t i = 0; good && i < q->path_count; i++) {
        good = replay_trace(q, i, tapes[i], results + i * q->choice.count, &work);
        if (q->path_count > 1)
            hmm_trace_tape_rest(tapes[i]);
    }
    if (good && !q->options.json && q->path_count > 1)
        replay_print_means(results, q->path_count, q->choice.count, &q->options);
    good = good && all_good(results, count);
    free(results);
    return good ? CLI_OK : CLI_FAILED;
}

static int load_and_replay(const struct request *q)
{
    struct hmm_trace_tape **tapes = cli_alloc(q->path_count, sizeof *tapes);
    int code = load_all(q, tapes) ? replay_all(q, tapes) : CLI_USAGE;
    for (size_t i = 0; i < q->path_count; i++) {
        if (code == CLI_OK && hmm_trace_tape_cut(tapes[i]) != NULL)
            code = CLI_FAILED;
        hmm_trace_tape_close(tapes[i]);
    }
    free(tapes);
    return code;
}

static int run(int argc, char **argv)
{
    struct request q = {.options = {.runs = 3}};
    int code = CLI_USAGE;
    switch (parse(&q, argc, argv)) {
    case CLI_ARG_END:
        code = load_and_replay(&q);
        break;
    case CLI_ARG_HELP:
        cli_command_help(&cli_replay);
        code = CLI_OK;
        break;
    default:
        break;
    }
    cli_choice_free(&q.choice);
    free(q.paths);
    return code;
}
