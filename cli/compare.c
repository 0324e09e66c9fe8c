/* SPDX-License-Identifier: MIT */
/*
 * hmm compare: which strategy, how small a heap, how far from the best possible.
 */
#include "compare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_FOR,
    OPT_HEAP,
    OPT_ALLOCATORS,
    OPT_STRATEGY,
    OPT_FORMAT,
    OPT_JOBS,
    OPT_RUNS,
    OPT_LIMIT,
    OPT_INSTRUCTIONS,
    OPT_LIST,
    OPT_COLLECT,
    OPT_CELL
};

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_FOR] = {"for", "GOAL", "memory, speed, bounded or balanced (default)"},
    [OPT_HEAP] = {"heap", "SIZE", "does it fit into SIZE bytes (K, M, G)?"},
    [OPT_ALLOCATORS] = {"allocators", "LIST", "which ones, with commas (default: all there are)"},
    [OPT_STRATEGY] = {"strategy", "LIST", "these as well: plug-ins and adapters, by path"},
    [OPT_FORMAT] = {"format", "FORMAT", "table (default), json, csv or markdown"},
    [OPT_JOBS] = {"jobs", "N", "find N figures at once; times are always alone (default 1)"},
    [OPT_RUNS] = {"runs", "N", "time N passes and take the fastest (default 3)"},
    [OPT_LIMIT] = {"limit", "SECONDS", "of processor time for a cell"},
    [OPT_INSTRUCTIONS] = {"instructions", NULL, "count the strategies' instructions, by valgrind"},
    [OPT_LIST] = {"list", NULL, "print the cells' commands, and run none"},
    [OPT_COLLECT] = {"collect", NULL, "TRACEs are files of cells' lines: judge what they say"},
    [OPT_CELL] = {"cell", "NAME", "measure one allocator on one trace, and print its line"},
    {NULL, NULL, NULL}};

const struct cli_command cli_compare = {
    .name = "compare",
    .usage = "[OPTION]... TRACE...",
    .summary = "which strategy, how small a heap, how far from the best",
    .description =
        "For each trace and allocator: time, the worst operation, the highest break, the smallest\n"
        "heap in which the trace completes, and where the rest of the break went; bounds on what\n"
        "any allocator could need; and advice, with its reasons and the line that applies it.\n"
        "Allocators are strategies, each bare and with the cache (NAME+cache), plug-ins, "
        "adapters,\n"
        "and the malloc libraries that are installed (libc, jemalloc, mimalloc, tcmalloc).\n\n"
        "Exit status: 0; 1 if with --heap a trace fits with none of the strategies, or an "
        "allocator\n"
        "could not be measured; 2 if an argument or a trace is bad.\n",
    .options = options,
    .run = run,
};

struct request {
    struct cell_options cells;
    const char *goal;
    enum verdict_format format;
    bool list, collect;
    const char *cell;
    char **names; /* of allocators */
    size_t name_count;
    bool names_given;
    const char **paths;
    size_t path_count;
};

/* ---- The command line ---- */

static bool one_of(const char *what, const char *word, const char *const *allowed, size_t *index)
{
    for (*index = 0; allowed[*index] != NULL; ++*index)
        if (strcmp(word, allowed[*index]) == 0)
            return true;
    cli_complain_unknown("compare", what, word, allowed, NULL);
    return false;
}

static void add_name(struct request *q, const char *name, size_t length)
{
    char **grown = cli_alloc(q->name_count + 1, sizeof *grown);
    if (q->name_count != 0)
        memcpy(grown, q->names, q->name_count * sizeof *grown);
    free(q->names);
    q->names = grown;
    q->names[q->name_count] = cli_alloc(length + 1, 1);
    memcpy(q->names[q->name_count++], name, length);
}

static bool add_names(struct request *q, const char *option, const char *list)
{
    if (list[strspn(list, ",")] == '\0') {
        cli_complain("compare", "--%s: '%s' names none", option, list);
        return false;
    }
    for (;;) {
        const size_t length = strcspn(list, ",");
        if (length != 0)
            add_name(q, list, length);
        if (list[length] == '\0')
            return true;
        list += length + 1;
    }
}

static bool take_option(struct request *q, int option, const char *value)
{
    static const char *const formats[] = {"table", "json", "csv", "markdown", NULL};
    size_t index;
    switch (option) {
    case OPT_FOR:
        q->goal = value;
        return one_of("goal", value, advice_goals, &index);
    case OPT_HEAP:
        return cli_parse_size("compare", "heap", value, &q->cells.heap);
    case OPT_ALLOCATORS:
        q->names_given = q->names_given || strcmp(value, "all") != 0;
        return strcmp(value, "all") == 0 || add_names(q, "allocators", value);
    case OPT_STRATEGY:
        return add_names(q, "strategy", value);
    case OPT_FORMAT:
        if (!one_of("format", value, formats, &index))
            return false;
        q->format = (enum verdict_format)index;
        return true;
    case OPT_JOBS:
        return cli_parse_number("compare", "jobs", value, 1024, &q->cells.jobs);
    case OPT_RUNS:
        return cli_parse_number("compare", "runs", value, 1000, &q->cells.runs);
    case OPT_LIMIT:
        return cli_parse_number("compare", "limit", value, 1000000, &q->cells.limit);
    case OPT_INSTRUCTIONS:
        q->cells.instructions = count_is_possible();
        if (!q->cells.instructions)
            cli_complain("compare", "--instructions: valgrind is not installed");
        return q->cells.instructions;
    case OPT_LIST:
        return q->list = true;
    case OPT_COLLECT:
        return q->collect = true;
    default:
        q->cell = value;
        return true;
    }
}

/* What decides under the goal is measured more precisely. */
static void heed_goal(struct request *q)
{
    q->cells.worst = strcmp(q->goal, "bounded") == 0;
    q->cells.contenders = strcmp(q->goal, "speed") == 0 && count_is_possible();
}

/* Returns CLI_ARG_END: go on; CLI_ARG_HELP; or CLI_ARG_BAD, which has been said. */
static int parse(struct request *q, int argc, char **argv)
{
    struct cli_args args = {.command = &cli_compare, .argc = argc, .argv = argv, .next = 1};
    q->paths = cli_alloc((size_t)argc + 1, sizeof *q->paths);
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD || arg == CLI_ARG_HELP)
            return arg;
        if (arg == CLI_ARG_OPERAND)
            q->paths[q->path_count++] = args.value;
        else if (!take_option(q, arg, args.value))
            return CLI_ARG_BAD;
    }
    heed_goal(q);
    if (q->collect && q->path_count == 0)
        q->paths[q->path_count++] = "-";
    if (q->path_count != 0 && (q->cell == NULL || q->path_count == 1))
        return CLI_ARG_END;
    if (q->path_count != 0)
        cli_complain("compare", "--cell: one trace at a time");
    else
        cli_complain("compare", "no trace given: hmm compare %s", cli_compare.usage);
    return CLI_ARG_BAD;
}

/* ---- Which cells a trace has ---- */

struct cells {
    struct cell *list;
    size_t count, room;
    bool bad;
};

static bool is_there(const struct cells *c, const struct cell *cell)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->list[i].name, cell->name) == 0 && c->list[i].cache == cell->cache)
            return true;
    return false;
}

/* None is added twice, however often it is named. */
static void add_cell(struct cells *c, const char *trace, const char *name, const char *suffix)
{
    char *full = cli_alloc(strlen(name) + strlen(suffix) + 1, 1);
    strcat(strcpy(full, name), suffix);
    if (c->count == c->room) {
        const size_t room = c->room == 0 ? 16 : c->room * 2;
        struct cell *grown = cli_alloc(room, sizeof *grown);
        if (c->count != 0)
            memcpy(grown, c->list, c->count * sizeof *grown);
        free(c->list);
        c->list = grown;
        c->room = room;
    }
    struct cell *cell = &c->list[c->count];
    const bool made = cell_make(cell, trace, full);
    if (made && !is_there(c, cell))
        c->count++;
    else
        cell_free(cell);
    c->bad = c->bad || !made;
    free(full);
}

/* Adds a cell and, for a strategy, one with the cache as well, unless the name has "+cache" already
 * or the heap is too small for a cache. */
static void add_both(struct cells *c, const char *trace, const char *name, size_t heap)
{
    const size_t before = c->count;
    add_cell(c, trace, name, "");
    if (c->count > before && c->list[before].strategy != NULL && !c->list[before].cache &&
        (heap == 0 || heap >= 128 * 1024))
        add_cell(c, trace, name, "+cache");
}

/* Those that are not installed are left out. */
static void add_libraries(struct cells *c, const char *trace)
{
    static const char *const names[] = {"libc", "jemalloc", "mimalloc", "tcmalloc", NULL};
    for (size_t i = 0; names[i] != NULL; i++)
        if (i == 0 || cell_is_installed(names[i]))
            add_cell(c, trace, names[i], "");
}

/* False, said on stderr, iff an allocator is not there. */
static bool make_cells(const struct request *q, const char *trace, struct cells *c)
{
    const struct hmm_strategy *s;
    *c = (struct cells){.bad = false};
    if (!q->names_given) {
        for (unsigned i = 0; (s = hmm_strategy_at(i)) != NULL; i++)
            add_both(c, trace, hmm_strategy_name(s), q->cells.heap);
    }
    for (size_t i = 0; !c->bad && i < q->name_count; i++)
        add_both(c, trace, q->names[i], q->cells.heap);
    if (!q->names_given)
        add_libraries(c, trace);
    if (!c->bad)
        add_cell(c, trace, "optimum", "");
    return !c->bad;
}

static void free_cells(struct cells *c)
{
    for (size_t i = 0; i < c->count; i++)
        cell_free(&c->list[i]);
    free(c->list);
}

/* ---- What has been found, by trace ---- */

struct found {
    struct found *next;
    char *trace;
    struct row *rows;
    size_t count, room;
    struct optimum optimum;
    bool has_optimum;
};

/* In the order in which they first come up. */
static struct found *of_trace(struct found **list, const char *trace)
{
    while (*list != NULL && strcmp((*list)->trace, trace) != 0)
        list = &(*list)->next;
    if (*list == NULL) {
        *list = cli_alloc(1, sizeof **list);
        (*list)->trace = cli_copy(trace);
    }
    return *list;
}

static void add_row(struct found *f, const struct row *row)
{
    if (f->count == f->room) {
        const size_t room = f->room == 0 ? 16 : f->room * 2;
        struct row *grown = cli_alloc(room, sizeof *grown);
        if (f->count != 0)
            memcpy(grown, f->rows, f->count * sizeof *grown);
        free(f->rows);
        f->rows = grown;
        f->room = room;
    }
    f->rows[f->count++] = *row;
}

/* False iff it is no line that a cell prints. */
static bool take_line(struct found **list, const char *line)
{
    struct row row;
    struct optimum optimum = {NULL, 0, 0};
    const int kind = row_parse(line, &row, &optimum);
    if (kind == 'r') {
        add_row(of_trace(list, row.trace), &row);
        return true;
    }
    if (kind == 'o') {
        struct found *f = of_trace(list, optimum.trace);
        free(f->optimum.trace);
        f->optimum = optimum;
        f->has_optimum = true;
        return true;
    }
    free(optimum.trace);
    return false;
}

static void take_measured(void *arg, const char *line)
{
    take_line(arg, line);
}

static void free_found(struct found *list)
{
    while (list != NULL) {
        struct found *next = list->next;
        for (size_t i = 0; i < list->count; i++)
            row_free(&list->rows[i]);
        free(list->optimum.trace);
        free(list->rows);
        free(list->trace);
        free(list);
        list = next;
    }
}

/* ---- The verdict ---- */

static void judge(const struct request *q, const struct found *f, bool first)
{
    const struct verdict v = {f->trace, f->rows, f->count, f->has_optimum ? &f->optimum : NULL};
    struct advice advice;
    advice_find(&v, q->goal, &advice);
    if (q->format != VERDICT_JSON) {
        verdict_print(q->format, &v, q->goal, &advice, first);
        return;
    }
    for (size_t i = 0; i < f->count; i++)
        row_print(stdout, &f->rows[i]);
    if (f->has_optimum)
        optimum_print(stdout, &f->optimum);
    advice_print_json(stdout, &v, q->goal, &advice);
    fflush(stdout);
}

/* Whether the trace completes in a heap of this size with one at least; a malloc library has no
 * heap. */
static bool fits(const struct found *f, size_t heap)
{
    for (size_t i = 0; i < f->count; i++)
        if (row_fits(&f->rows[i], heap) && strcmp(f->rows[i].kind, "malloc") != 0)
            return true;
    return false;
}

/* Says why the trace does not fit, on the first strategy that was asked for. */
static void explain(const struct request *q, const struct cells *c, struct hmm_trace_tape *tape)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct cell *cell = &c->list[i];
        if (cell->strategy == NULL || strcmp(cell->kind, "strategy") != 0)
            continue;
        struct replay replay;
        struct postmortem pm;
        replay_open(&replay, tape, cell->cache);
        const struct probe probe = {&replay, cell->strategy, q->cells.heap};
        char prefix[80];
        snprintf(prefix, sizeof prefix, "hmm compare: %.40s%s: ", cell->label,
                 cell->cache ? "+cache" : "");
        if (postmortem_find(&probe, cell->trace, q->cells.heap, &pm))
            postmortem_print(stderr, prefix, &probe, cell->trace, q->cells.heap, &pm);
        replay_close(&replay);
        return;
    }
}

/* *first: nothing has been printed yet. Returns an exit code. */
static int compare_trace(const struct request *q, const char *path, bool *first)
{
    struct cells cells;
    struct found *found = NULL;
    if (!make_cells(q, path, &cells)) {
        free_cells(&cells);
        return CLI_USAGE;
    }
    struct hmm_trace_tape *tape = feed_tape("compare", path);
    if (tape == NULL) {
        free_cells(&cells);
        return CLI_USAGE;
    }
    const struct cells_sink sink = {take_measured, &found};
    cli_progress_start("comparing");
    const size_t bad = cells_run(cells.list, cells.count, tape, &q->cells, &sink);
    int code = bad == 0 ? CLI_OK : CLI_FAILED;
    if (cli_interrupted())
        cli_complain("compare",
                     found != NULL ? "%s: interrupted: what is known so far follows"
                                   : "%s: interrupted: nothing is known yet",
                     path);
    if (found != NULL)
        judge(q, found, *first);
    *first = *first && found == NULL;
    if (cli_interrupted())
        cli_end_interrupted();
    if (q->cells.heap != 0 && (found == NULL || !fits(found, q->cells.heap))) {
        explain(q, &cells, tape);
        code = CLI_FAILED;
    }
    free_found(found);
    hmm_trace_tape_close(tape);
    free_cells(&cells);
    return code;
}

static int compare_all(const struct request *q)
{
    int worst = CLI_OK;
    bool first = true;
    cli_heed_interrupts();
    for (size_t i = 0; i < q->path_count; i++) {
        const int code = compare_trace(q, q->paths[i], &first);
        worst = code > worst ? code : worst;
    }
    return worst;
}

/* ---- For hmm report ---- */

bool compare_goal(const char *word, const char **goal)
{
    for (size_t i = 0; advice_goals[i] != NULL; i++)
        if (strcmp(word, advice_goals[i]) == 0) {
            *goal = advice_goals[i];
            return true;
        }
    cli_complain_unknown("report", "goal", word, advice_goals, NULL);
    return false;
}

static char *as_members(const struct request *q, const struct found *f)
{
    const struct verdict v = {f->trace, f->rows, f->count, f->has_optimum ? &f->optimum : NULL};
    struct advice advice;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    advice_find(&v, q->goal, &advice);
    if (to == NULL)
        return NULL;
    verdict_print_page(to, &v, q->goal, &advice);
    return fclose(to) == 0 ? text : NULL;
}

char *compare_for_page(const char *path, const char *goal)
{
    struct request q = {.goal = goal, .cells = {.runs = 3, .jobs = 1}};
    struct cells cells;
    struct found *found = NULL;
    char *members = NULL;
    heed_goal(&q);
    struct hmm_trace_tape *tape = make_cells(&q, path, &cells) ? feed_tape("report", path) : NULL;
    const struct cells_sink sink = {take_measured, &found};
    cli_progress_start("comparing");
    if (tape != NULL)
        cells_run(cells.list, cells.count, tape, &q.cells, &sink);
    cli_progress_hide();
    if (found != NULL)
        members = as_members(&q, found);
    free_found(found);
    if (tape != NULL)
        hmm_trace_tape_close(tape);
    free_cells(&cells);
    return members;
}

/* ---- --list, --collect, --cell ---- */

static int list_all(const struct request *q)
{
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < q->path_count; i++) {
        struct cells cells;
        if (!make_cells(q, q->paths[i], &cells))
            code = CLI_USAGE;
        for (size_t k = 0; code == CLI_OK && k < cells.count; k++)
            cell_print_command(stdout, &cells.list[k], &q->cells);
        free_cells(&cells);
    }
    return code;
}

/* Passes over lines that no cell has printed, such as advice, and empty ones. */
static bool collect_file(struct found **found, const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    char *line = NULL;
    size_t room = 0, taken = 0;
    if (f == NULL) {
        cli_complain("compare", "cannot open %s: %s", path, strerror(errno));
        return false;
    }
    while (getline(&line, &room, f) > 0)
        taken += take_line(found, line);
    free(line);
    if (f != stdin)
        fclose(f);
    if (taken == 0)
        cli_complain("compare", "%s has no line of a cell", path);
    return taken != 0;
}

static int collect_all(const struct request *q)
{
    struct found *found = NULL;
    int code = CLI_OK;
    for (size_t i = 0; i < q->path_count; i++)
        if (!collect_file(&found, q->paths[i]))
            code = CLI_USAGE;
    if (code == CLI_OK)
        for (const struct found *f = found; f != NULL; f = f->next) {
            judge(q, f, f == found);
            if (q->cells.heap != 0 && !fits(f, q->cells.heap))
                code = CLI_FAILED;
        }
    free_found(found);
    return code;
}

static int one_cell(const struct request *q)
{
    struct cell cell;
    int code = CLI_USAGE;
    if (cell_make(&cell, q->paths[0], q->cell))
        code = cell_here(&cell, &q->cells);
    cell_free(&cell);
    return code;
}

static int run(int argc, char **argv)
{
    struct request q = {.goal = "balanced", .cells = {.runs = 3, .jobs = 1}};
    int code = CLI_USAGE;
    switch (parse(&q, argc, argv)) {
    case CLI_ARG_END:
        code = q.cell != NULL ? one_cell(&q)
               : q.collect    ? collect_all(&q)
               : q.list       ? list_all(&q)
                              : compare_all(&q);
        break;
    case CLI_ARG_HELP:
        cli_command_help(&cli_compare);
        code = CLI_OK;
        break;
    default:
        break;
    }
    for (size_t i = 0; i < q.name_count; i++)
        free(q.names[i]);
    free(q.names);
    free(q.paths);
    return code;
}
