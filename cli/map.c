/* SPDX-License-Identifier: MIT */
/*
 * hmm map: the heap at one moment of a trace, on each strategy.
 */
#include "map.h"

#include "choice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_OUTPUT, OPT_AT, OPT_FORMAT, OPT_STRATEGY };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_OUTPUT] = {"output", "FILE", "where to write it (default: standard output)"},
    [OPT_AT] = {"at", "OP|peak|break", "after this operation, or when most is live (the default)"},
    [OPT_FORMAT] = {"format", "text|svg", "how to draw it"},
    [OPT_STRATEGY] = {"strategy", "NAME", "a built-in, a plug-in's path, a comma list, or all"},
    {NULL, NULL, NULL}};

const struct cli_command cli_map = {
    .name = "map",
    .usage = "[OPTION]... TRACE",
    .summary = "draw the heap at one moment of a trace, on each strategy",
    .description =
        "Replays the trace up to an operation and draws the heap from its first address to its\n"
        "break, all strategies to the same scale. In a terminal with the shades of Unicode and in\n"
        "colour, unless NO_COLOR is set; in plain letters where the output is no terminal or not\n"
        "in UTF-8. Of a trace with call stacks (hmm record --stacks) it also says who holds the\n"
        "holes open. --at break is the operation at which the first strategy's break is "
        "highest.\n\n"
        "Exit status: 0 if it is drawn; 1 if memory runs out or the file cannot be written; 2 if\n"
        "an argument or the trace is bad.\n",
    .options = options,
    .letters = "o",
    .run = run,
};

struct request {
    const char *path, *output;
    struct cli_choice choice;
    uint64_t at; /* 0: the peak */
    bool svg, at_break;
};

/* ---- The command line ---- */

static bool parse_at(struct request *q, const char *text)
{
    q->at_break = strcmp(text, "break") == 0;
    if (!q->at_break && cli_is_number(text, UINT64_MAX, &q->at))
        return true;
    q->at = 0;
    if (q->at_break || strcmp(text, "peak") == 0)
        return true;
    cli_complain("map",
                 "--at: '%s' is neither the number of an operation, from 1, nor 'peak' or 'break'",
                 text);
    return false;
}

static bool parse_picture(struct request *q, const char *text)
{
    static const char *const formats[] = {"text", "svg", NULL};
    q->svg = strcmp(text, "svg") == 0;
    if (q->svg || strcmp(text, "text") == 0)
        return true;
    cli_complain_unknown("map", "format", text, formats, NULL);
    return false;
}

static bool take(struct request *q, int arg, const char *value)
{
    switch (arg) {
    case OPT_AT:
        return parse_at(q, value);
    case OPT_FORMAT:
        return parse_picture(q, value);
    case OPT_OUTPUT:
        q->output = value;
        return true;
    case OPT_STRATEGY:
        return cli_choose(&q->choice, "map", value);
    default:
        if (q->path != NULL)
            cli_complain("map", "one trace at a time: '%s'", value);
        else
            q->path = value;
        return q->path == value;
    }
}

/* Returns CLI_ARG_END: go on; CLI_ARG_HELP; or CLI_ARG_BAD, which has been said. */
static int parse(struct request *q, int argc, char **argv)
{
    struct cli_args args = {.command = &cli_map, .argc = argc, .argv = argv, .next = 1};
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD || arg == CLI_ARG_HELP)
            return arg;
        if (!take(q, arg, args.value))
            return CLI_ARG_BAD;
    }
    if (q->path == NULL) {
        cli_complain("map", "no trace given: hmm map %s", cli_map.usage);
        return CLI_ARG_BAD;
    }
    if (q->output != NULL && cli_is_same_file(q->path, q->output)) {
        cli_complain("map", "--output: %s is the trace that is read", q->output);
        return CLI_ARG_BAD;
    }
    if (q->choice.count == 0)
        cli_choose_all(&q->choice);
    return CLI_ARG_END;
}

/* ---- Drawing ---- */

static bool draw(const struct request *q, struct map *map)
{
    const bool is_file = q->output != NULL && strcmp(q->output, "-") != 0;
    FILE *to = is_file ? fopen(q->output, "w") : stdout;
    int code = to != NULL ? 0 : errno;
    if (to != NULL) {
        (q->svg ? map_print_svg : map_print_text)(map, to);
        code = fflush(to) == 0 && !ferror(to) ? 0 : errno;
    }
    if (is_file && to != NULL && fclose(to) != 0 && code == 0)
        code = errno;
    if (is_file && code != 0) {
        cli_complain("map", "%s: cannot write: %s", q->output, strerror(code));
        if (to != NULL)
            cli_discard(q->output);
    }
    return code == 0;
}

/* Returns the operation after which the heaps are: an earlier one iff Ctrl-C came. */
static uint64_t replay_to(struct views *views, uint64_t op)
{
    const struct hmm_trace_op *next;
    uint64_t i = 0;
    for (; i < op && !cli_interrupted() && (next = playback_next(views->playback)) != NULL; i++)
        for (size_t h = 0; h < views->count; h++)
            view_step(&views->view[h], next);
    return i;
}

/* The heaps as after operation `*op`, or an earlier one if Ctrl-C comes. */
static bool prepare(struct views *views, uint64_t *op)
{
    const uint64_t at = *op;
    if (!views_fit(views, at))
        return false;
    cli_heed_interrupts(); /* before this nothing can be drawn */
    do {
        views_close(views);
        if (!views_open(views))
            return false;
        *op = replay_to(views, at);
        if (!cli_interrupted() && !playback_was_read(views->playback))
            return false;
    } while (views_outgrown(views));
    if (*op < at && cli_interrupted())
        cli_complain("map", "%s: interrupted: this is the heap after operation %s",
                     views->playback->path, cli_count(*op).chars);
    return true;
}

static int map_views(const struct request *q, struct views *views, uint64_t at)
{
    struct map map = {.playback = views->playback, .op = at, .count = views->count};
    map.heaps = cli_alloc(map.count, sizeof *map.heaps);
    for (size_t i = 0; i < map.count; i++)
        map.heaps[i].view = &views->view[i];
    struct cli_sites sites = {0};
    if (hmm_trace_tape_stacks(views->playback->tape)->any) {
        cli_sites_open(&sites, hmm_trace_tape_stacks(views->playback->tape));
        map.sites = &sites;
    }
    bool good = true;
    if (q->at_break) {
        good = views_fit(views, views->playback->ops);
        map.op = views->view[0].highest != 0 ? views->view[0].highest : at;
    }
    good = good && prepare(views, &map.op) && draw(q, &map);
    cli_sites_close(&sites);
    for (size_t i = 0; i < map.count; i++)
        free(map.heaps[i].cells);
    free(map.heaps);
    return good ? CLI_OK : CLI_FAILED;
}

static int map_trace(const struct request *q)
{
    struct playback playback;
    struct views views;
    int code;
    if (!playback_open(&playback, "map", q->path, &code))
        return code;
    if (q->at > playback.ops) {
        cli_complain("map", "--at: the trace has %s operations", cli_count(playback.ops).chars);
        playback_close(&playback);
        return CLI_USAGE;
    }
    views_choose(&views, &playback, q->choice.strategies, q->choice.count);
    code = map_views(q, &views, q->at != 0 ? q->at : playback.peak_op);
    if (cli_interrupted())
        cli_end_interrupted();
    views_free(&views);
    playback_close(&playback);
    return code;
}

static int run(int argc, char **argv)
{
    struct request q = {.path = NULL};
    int code = CLI_USAGE;
    switch (parse(&q, argc, argv)) {
    case CLI_ARG_END:
        code = map_trace(&q);
        break;
    case CLI_ARG_HELP:
        cli_command_help(&cli_map);
        code = CLI_OK;
        break;
    default:
        break;
    }
    cli_choice_free(&q.choice);
    return code;
}
