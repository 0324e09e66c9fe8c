/* SPDX-License-Identifier: MIT */
/*
 * One cell: what cells there are, the command that measures one, and the measurement: in this
 * process or, for a malloc library, in a process that starts with the library preloaded.
 */
#include "compare.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Which there are ---- */

struct library {
    const char *name;
    const char *sonames[5];
};

static const struct library libraries[] = {
    {"jemalloc", {"libjemalloc.so.2", "libjemalloc.so", NULL}},
    {"mimalloc", {"libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0", NULL}},
    {"tcmalloc", {"libtcmalloc_minimal.so.4", "libtcmalloc.so.4", NULL}},
    {NULL, {NULL}}};

static bool make_malloc(struct cell *c, const char *name)
{
    char path[4096] = "";
    if (strcmp(name, "libc") == 0) {
        c->kind = "malloc";
        c->library = cli_copy("");
        c->label = "libc";
        return true;
    }
    for (const struct library *l = libraries; l->name != NULL; l++)
        if (strcmp(l->name, name) == 0) {
            other_library(l->sonames, path, sizeof path);
            c->kind = "malloc";
            c->label = l->name;
            c->library = path[0] != '\0' ? cli_copy(path) : NULL;
            return true;
        }
    return false;
}

bool cell_is_installed(const char *name)
{
    struct cell c = {.trace = NULL};
    const bool is = make_malloc(&c, name) && c.library != NULL;
    free(c.library);
    return is;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool make_strategy(struct cell *c)
{
    c->strategy = cli_find_strategy("compare", c->name, "libc, jemalloc, mimalloc, tcmalloc");
    if (c->strategy == NULL)
        return false;
    c->kind = strchr(c->name, '/') != NULL ? "plugin" : "strategy";
    c->label = hmm_strategy_name(c->strategy);
    return true;
}

bool cell_make(struct cell *c, const char *trace, const char *name)
{
    static const char suffix[] = "+cache";
    const size_t length = strlen(name), end = sizeof suffix - 1;
    *c = (struct cell){.trace = cli_copy(trace), .name = cli_copy(name)};
    if (length > end && strcmp(name + length - end, suffix) == 0) {
        c->cache = true;
        c->name[length - end] = '\0';
    }
    if (strcmp(c->name, "optimum") == 0 || strcmp(c->name, "nothing") == 0) {
        c->kind = c->label = "optimum";
        return true;
    }
    if (make_malloc(c, c->name)) {
        if (c->cache)
            cli_complain("compare", "%s+cache: only a strategy has the cache", c->name);
        else if (c->library == NULL)
            cli_complain("compare", "%s is not installed", c->name);
        return !c->cache && c->library != NULL;
    }
    if (!c->cache && other_is_adapter(c->name)) {
        c->kind = "adapter";
        c->label = base_of(c->name);
        return true;
    }
    return make_strategy(c);
}

void cell_free(struct cell *c)
{
    free(c->trace);
    free(c->name);
    free(c->library);
}

void cell_print_command(FILE *to, const struct cell *c, const struct cell_options *o)
{
    char name[4200];
    snprintf(name, sizeof name, "%s%s", c->name, c->cache ? "+cache" : "");
    fputs("hmm compare --cell ", to);
    cli_print_shell_word(to, name);
    if (o->heap != 0)
        fprintf(to, " --heap %zu", o->heap);
    if (o->runs != 3)
        fprintf(to, " --runs %u", o->runs);
    if (o->instructions || (o->contenders && c->strategy != NULL))
        fputs(" --instructions", to);
    if (o->worst && c->strategy != NULL)
        fputs(" --for bounded", to);
    fputs(" -- ", to);
    cli_print_shell_word(to, c->trace);
    fputc('\n', to);
}

/* ---- One cell, in this process ---- */

void cell_begin_row(const struct cell *c, struct row *row)
{
    row_init(row, c->trace, c->label, c->kind, c->cache);
    if (strchr(c->name, '/') != NULL)
        row->path = cli_copy(c->name);
}

static double least_harness(const struct replay *r, unsigned runs)
{
    double best = -1;
    for (unsigned i = 0; i < runs; i++) {
        const double ns = replay_time_harness(r);
        best = best < 0 || ns < best ? ns : best;
    }
    return best;
}

double cell_loop_instructions(int operations)
{
    return count_instructions("nothing", operations, 4096);
}

void cell_count_in(const struct cell *c, int operations, double loop, struct row *row)
{
    char name[4200];
    if (row->peak_break < 0 || loop < 0)
        return;
    const size_t capacity = (size_t)(row->peak_break + row->peak_break / 8) + 65536;
    snprintf(name, sizeof name, "%s%s", c->name, c->cache ? "+cache" : "");
    const double gross = count_instructions(name, operations, capacity);
    row->instructions_per_op = gross < 0 ? -1 : gross > loop ? gross - loop : 0;
}

static void count_one(const struct cell *c, struct hmm_trace_tape *tape, struct row *row)
{
    const int operations = feed_save(tape);
    if (operations < 0)
        return;
    cell_count_in(c, operations, cell_loop_instructions(operations), row);
    close(operations);
}

static bool measure_times(const struct probe *p, unsigned rounds, bool counted, struct worst *worst,
                          struct row *row)
{
    const double harness = least_harness(p->replay, 2);
    for (unsigned i = 0; i < rounds; i++)
        if (!probe_times(p, harness, row))
            return false;
    if (row->peak_break < 0)
        return true;
    const struct contestant alone = contestant_of(p, row, worst);
    const unsigned passes = WORST_PASSES * rounds + (counted ? CONTEST_PASSES : 0);
    if (!contest(&alone, 1, passes, counted))
        return false;
    contest_result(worst, row);
    return true;
}

static bool measure_strategy(const struct cell *c, const struct cell_options *o,
                             struct hmm_trace_tape *tape, enum cell_task what, struct worst *worst,
                             struct row *row)
{
    struct replay replay;
    replay_open(&replay, tape, c->cache);
    const struct probe probe = {&replay, c->strategy, o->heap};
    const bool all = what == CELL_ALL;
    bool good = what == CELL_TIMES || probe_figures(&probe, row);
    if (good && what != CELL_FIGURES)
        good = measure_times(&probe, all ? o->runs : 1, all && o->worst, worst, row);
    replay_close(&replay);
    if (good && all && o->instructions)
        count_one(c, tape, row);
    return good && hmm_trace_tape_error(tape) == NULL;
}

static bool measure_adapter(const struct cell *c, const struct cell_options *o,
                            struct hmm_trace_tape *tape, struct row *row)
{
    struct replay replay;
    replay_open(&replay, tape, false);
    const bool good = other_adapter(&replay, c->name, o->runs, row);
    replay_close(&replay);
    return good;
}

static bool print_optimum(FILE *to, const struct cell *c, struct hmm_trace_tape *tape)
{
    struct optimum found = {c->trace, 0, 0};
    const bool good = optimum_find(tape, &found);
    if (good)
        optimum_print(to, &found);
    return good;
}

bool cell_measure(FILE *to, const struct cell *c, const struct cell_options *o,
                  struct hmm_trace_tape *tape, enum cell_task what, struct worst *worst,
                  struct row *row)
{
    if (strcmp(c->kind, "optimum") == 0)
        return print_optimum(to, c, tape);
    const bool good = c->strategy != NULL ? measure_strategy(c, o, tape, what, worst, row)
                                          : measure_adapter(c, o, tape, row);
    if (good)
        row_print(to, row);
    return good;
}

/* ---- Malloc libraries: a process that has the library before it ---- */

void cell_become_preloaded(const struct cell *c, const struct cell_options *o, int operations)
{
    char runs[16], number[16];
    char *argv[] = {"hmm", "compare", "--cell", c->name, "--runs", runs, "--", c->trace, NULL};
    snprintf(runs, sizeof runs, "%u", o->runs);
    snprintf(number, sizeof number, "%d", operations);
    if (c->library[0] != '\0')
        setenv("LD_PRELOAD", c->library, 1);
    else
        unsetenv("LD_PRELOAD");
    setenv(OTHER_VARIABLE, number, 1);
    execv("/proc/self/exe", argv);
}

/* What a process with a preloaded malloc library does. Returns an exit code. */
static int measure_malloc(const struct cell *c, const struct cell_options *o, const char *what)
{
    char path[4096];
    struct row row;
    if (strcmp(what, OTHER_PROBE) == 0) {
        if (other_malloc_path(path, sizeof path))
            fputs(path, stdout);
        return CLI_OK;
    }
    if (c->library[0] != '\0' && !other_malloc_is(c->library)) {
        cli_complain("compare", "%s cannot be preloaded: %s", c->label, c->library);
        return CLI_FAILED;
    }
    row_init(&row, c->trace, c->label, c->kind, false);
    const bool good = other_malloc(atoi(what), o->runs, &row);
    if (good)
        row_print(stdout, &row);
    row_free(&row);
    return good ? CLI_OK : CLI_FAILED;
}

/* ---- --cell ---- */

int cell_here(const struct cell *c, const struct cell_options *o)
{
    struct row row;
    const char *what = getenv(OTHER_VARIABLE);
    if (what != NULL && c->library == NULL)
        return count_here(c->strategy, c->cache, o->heap, atoi(what));
    if (what != NULL)
        return measure_malloc(c, o, what);
    struct hmm_trace_tape *tape = feed_tape("compare", c->trace);
    if (tape == NULL)
        return CLI_USAGE;
    if (c->library != NULL) {
        const int operations = feed_save(tape);
        if (operations >= 0)
            cell_become_preloaded(c, o, operations);
        hmm_trace_tape_close(tape);
        return CLI_FAILED;
    }
    struct worst *worst = c->strategy != NULL ? worst_open() : NULL;
    cell_begin_row(c, &row);
    const bool good = cell_measure(stdout, c, o, tape, CELL_ALL, worst, &row);
    worst_close(worst);
    if (!good)
        cli_complain("compare", "%s: %s cannot be measured", c->trace, c->label);
    const bool fits = o->heap == 0 || strcmp(c->kind, "optimum") == 0 || row_fits(&row, o->heap);
    row_free(&row);
    hmm_trace_tape_close(tape);
    return good && fits ? CLI_OK : CLI_FAILED;
}
