/* SPDX-License-Identifier: MIT */
/*
 * Cells, each in a process of its own: a plug-in that crashes, or does not return, is a line on
 * stderr and no more. What a process finds it writes to a pipe, as the line that `--cell` prints.
 *
 * Figures that are no times are found beside each other, as many at once as --jobs says. Times are
 * measured after that, one cell at a time, in rounds over all of them: whatever else the machine
 * does for a while strikes each alike, and the least of its times counts.
 */
#include "compare.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALL_OF_IT 0 /* what a child is to do: figures and times; or one of them */
#define FIGURES 1
#define TIMES 2
#define TIMES_AND_WORST 3

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

static char *copy_of(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    return memcpy(cli_alloc(bytes, 1), text, bytes);
}

static bool make_malloc(struct cell *c, const char *name)
{
    char path[4096] = "";
    if (strcmp(name, "libc") == 0) {
        c->kind = "malloc";
        c->library = copy_of("");
        c->label = "libc";
        return true;
    }
    for (const struct library *l = libraries; l->name != NULL; l++)
        if (strcmp(l->name, name) == 0) {
            other_library(l->sonames, path, sizeof path);
            c->kind = "malloc";
            c->label = l->name;
            c->library = path[0] != '\0' ? copy_of(path) : NULL;
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
    *c = (struct cell){.trace = copy_of(trace), .name = copy_of(name)};
    if (length > end && strcmp(name + length - end, suffix) == 0) {
        c->cache = true;
        c->name[length - end] = '\0';
    }
    if (strcmp(c->name, "optimum") == 0 || strcmp(c->name, "nothing") == 0) {
        c->kind = c->label = "optimum";
        return true;
    }
    if (!c->cache && make_malloc(c, c->name)) {
        if (c->library == NULL)
            cli_complain("compare", "%s is not installed", c->name);
        return c->library != NULL;
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

static void print_quoted(FILE *to, const char *word)
{
    if (*word != '\0' && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_-+=./,:@%") == strlen(word)) {
        fputs(word, to);
        return;
    }
    fputc('\'', to);
    for (; *word != '\0'; word++)
        if (*word == '\'')
            fputs("'\\''", to);
        else
            fputc(*word, to);
    fputc('\'', to);
}

void cell_print_command(FILE *to, const struct cell *c, const struct cell_options *o)
{
    char name[4200];
    snprintf(name, sizeof name, "%s%s", c->name, c->cache ? "+cache" : "");
    fputs("hmm compare --cell ", to);
    print_quoted(to, name);
    if (o->heap != 0)
        fprintf(to, " --heap %zu", o->heap);
    if (o->runs != 3)
        fprintf(to, " --runs %u", o->runs);
    if (o->instructions)
        fputs(" --instructions", to);
    fputs(" -- ", to);
    print_quoted(to, c->trace);
    fputc('\n', to);
}

/* ---- One cell, in this process ---- */

/* An empty row of the cell's. */
static void begin_row(const struct cell *c, struct row *row)
{
    row_init(row, c->trace, c->label, c->kind, c->cache);
    if (strchr(c->name, '/') != NULL)
        row->path = copy_of(c->name);
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

/* Of the loop alone; negative: cannot be counted. */
static double loop_instructions(int operations)
{
    return count_instructions("nothing", operations, 4096);
}

static void count_in(const struct cell *c, int operations, double loop, struct row *row)
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
    count_in(c, operations, loop_instructions(operations), row);
    close(operations);
}

static bool measure_strategy(const struct cell *c, const struct cell_options *o,
                             struct hmm_trace_tape *tape, int what, struct row *row)
{
    struct replay replay;
    replay_open(&replay, tape, c->cache);
    const struct probe probe = {&replay, c->strategy, o->heap};
    bool good = true;
    if (what == ALL_OF_IT || what == FIGURES)
        good = probe_figures(&probe, row);
    const unsigned rounds = what == ALL_OF_IT ? o->runs : what == FIGURES ? 0 : 1;
    const double harness = rounds != 0 ? least_harness(&replay, 2) : 0;
    for (unsigned i = 0; good && i < rounds; i++)
        good = probe_times(&probe, harness,
                           what == TIMES_AND_WORST || (what == ALL_OF_IT && i == 0), row);
    replay_close(&replay);
    if (good && what == ALL_OF_IT && o->instructions)
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

/* The line to `to`. `row` has what is known already. */
static bool measure(FILE *to, const struct cell *c, const struct cell_options *o,
                    struct hmm_trace_tape *tape, int what, struct row *row)
{
    if (strcmp(c->kind, "optimum") == 0)
        return print_optimum(to, c, tape);
    const bool good = c->strategy != NULL ? measure_strategy(c, o, tape, what, row)
                                          : measure_adapter(c, o, tape, row);
    if (good)
        row_print(to, row);
    return good;
}

/* ---- Malloc libraries: a process that has the library before it ---- */

/* Becomes one, with the operations as a file. Comes back only if that cannot be. */
static void become_preloaded(const struct cell *c, const struct cell_options *o, int operations)
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

/* What such a process does. Returns an exit code. */
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
            become_preloaded(c, o, operations);
        hmm_trace_tape_close(tape);
        return CLI_FAILED;
    }
    begin_row(c, &row);
    const bool good = measure(stdout, c, o, tape, ALL_OF_IT, &row);
    if (!good)
        cli_complain("compare", "%s: %s cannot be measured", c->trace, c->label);
    const bool fits = o->heap == 0 || row.failed == 0 || row.failed == ROW_UNKNOWN;
    row_free(&row);
    hmm_trace_tape_close(tape);
    return good && fits ? CLI_OK : CLI_FAILED;
}

/* ---- Children ---- */

struct child {
    pid_t pid;
    int from;
    size_t cell;
};

struct crew {
    const struct cell *cells;
    struct hmm_trace_tape *tape;
    const struct cell_options *options;
    struct row *rows; /* by cell */
    char **lines;     /* by cell; NULL: none yet, or none at all */
    bool *bad;        /* by cell: could not be measured, which has been said */
    unsigned seconds;
    int operations; /* the file for those that measure malloc; -1: none is needed */
};

/* A strategy's child goes on with the trace that has been read; a malloc's begins anew. */
static void be_child(const struct crew *crew, size_t i, int what, int to)
{
    const struct cell *c = &crew->cells[i];
    const struct rlimit limit = {crew->seconds, crew->seconds + 5};
    setrlimit(RLIMIT_CPU, &limit);
    signal(SIGXCPU, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(crew->seconds * 20);
    if (c->library != NULL) {
        dup2(to, STDOUT_FILENO);
        become_preloaded(c, crew->options, crew->operations);
        _exit(CLI_FAILED);
    }
    FILE *pipe_end = fdopen(to, "w");
    const bool good = pipe_end != NULL &&
                      measure(pipe_end, c, crew->options, crew->tape, what, &crew->rows[i]) &&
                      fclose(pipe_end) == 0;
    _exit(good ? CLI_OK : CLI_FAILED);
}

static bool start(const struct crew *crew, size_t i, int what, struct child *child)
{
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0)
        return false;
    *child = (struct child){fork(), ends[0], i};
    if (child->pid == 0) {
        close(ends[0]);
        be_child(crew, i, what, ends[1]);
    }
    close(ends[1]);
    return child->pid > 0;
}

/* All that comes from it: one line. Ctrl-C ends it. */
static char *read_line(const struct child *child)
{
    const int from = child->from;
    char *line = cli_alloc(65536, 1);
    size_t length = 0;
    for (ssize_t got; length < 65535;) {
        got = read(from, line + length, 65535 - length);
        if (cli_interrupted())
            kill(child->pid, SIGKILL);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    close(from);
    line[length] = '\0';
    return line;
}

static void tell_end(const struct crew *crew, const struct cell *c, int status)
{
    const char *with = c->cache ? " with a cache" : "";
    const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (number == SIGXCPU || number == SIGALRM || number == SIGKILL)
        cli_complain("compare", "%s: %s%s: does not return within %u seconds", c->trace, c->name,
                     with, crew->seconds);
    else if (number != 0)
        cli_complain("compare", "%s: %s%s: crashes: %s", c->trace, c->name, with,
                     strsignal(number));
    else if (WIFEXITED(status) && WEXITSTATUS(status) > CLI_USAGE)
        cli_complain("compare", "%s: %s%s: ends its process with status %d", c->trace, c->name,
                     with, WEXITSTATUS(status));
    else
        cli_complain("compare", "%s: %s%s: cannot be measured", c->trace, c->name, with);
}

/* Waits for a child; what it found takes the place of what was known. */
static void finish(struct crew *crew, const struct child *child)
{
    const size_t i = child->cell;
    char *line = read_line(child);
    struct row row;
    struct optimum optimum = {NULL, 0, 0};
    int status = 0;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    const int kind =
        WIFEXITED(status) && WEXITSTATUS(status) == 0 ? row_parse(line, &row, &optimum) : 0;
    free(optimum.trace);
    if (kind == 0 && cli_interrupted()) {
        free(line);
        return;
    }
    if (kind == 0) {
        tell_end(crew, &crew->cells[i], status);
        crew->bad[i] = true;
        free(line);
        return;
    }
    if (kind == 'r') {
        row_free(&crew->rows[i]);
        crew->rows[i] = row;
    }
    free(crew->lines[i]);
    crew->lines[i] = line;
}

static bool is_alone(const struct cell *c)
{
    return c->strategy == NULL && strcmp(c->kind, "optimum") != 0;
}

/* Figures of strategies and bounds, `jobs` at once. */
static void find_figures(struct crew *crew, size_t count)
{
    struct child *children = cli_alloc(crew->options->jobs, sizeof *children);
    size_t running = 0, done = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_alone(&crew->cells[i]) || cli_interrupted())
            continue;
        if (running == crew->options->jobs) { /* the oldest: cells take about as long */
            finish(crew, &children[0]);
            memmove(children, children + 1, --running * sizeof *children);
            cli_progress(0.5 * (double)++done / (double)count);
        }
        if (start(crew, i, FIGURES, &children[running]))
            running++;
        else
            crew->bad[i] = true;
    }
    for (size_t k = 0; k < running; k++)
        finish(crew, &children[k]);
    free(children);
}

static void find_times(struct crew *crew, size_t count)
{
    struct child child;
    for (unsigned round = 0; round < crew->options->runs; round++)
        for (size_t i = 0; i < count; i++) {
            const struct cell *c = &crew->cells[i];
            if (crew->bad[i] || strcmp(c->kind, "optimum") == 0 || (is_alone(c) && round != 0) ||
                cli_interrupted())
                continue;
            if (start(crew, i, round == 0 ? TIMES_AND_WORST : TIMES, &child))
                finish(crew, &child);
            cli_progress(0.5 +
                         0.5 * (double)(round * count + i) / (double)(crew->options->runs * count));
        }
}

/* What keeps the machine busy for once can only make an operation longer. Where the longest
 * decides, those that could be the least are measured in more rounds, and the least of each counts.
 */
#define WORST_ROUNDS 4
#define COULD_BE_LEAST 1.3

static bool could_be_least(const struct crew *crew, size_t count, size_t i)
{
    const int64_t ns = crew->rows[i].worst_ns;
    for (size_t k = 0; k < count; k++)
        if (crew->cells[k].strategy != NULL && crew->rows[k].worst_ns >= 0 &&
            (double)crew->rows[k].worst_ns * COULD_BE_LEAST < (double)ns)
            return false;
    return ns >= 0;
}

static void find_worst_again(struct crew *crew, size_t count)
{
    struct child child;
    for (unsigned round = 0; round < WORST_ROUNDS; round++)
        for (size_t i = 0; i < count && !cli_interrupted(); i++) {
            if (crew->bad[i] || crew->cells[i].strategy == NULL || !could_be_least(crew, count, i))
                continue;
            if (start(crew, i, TIMES_AND_WORST, &child))
                finish(crew, &child);
            cli_progress((double)(round * count + i) / (double)(WORST_ROUNDS * count));
        }
}

/* A strategy that takes so many times as long as the fastest is no contender. */
#define CONTENDS 1.5

static bool contends(const struct crew *crew, size_t count, size_t i)
{
    const double ns = crew->rows[i].ns_per_op;
    if (crew->options->instructions)
        return true;
    for (size_t k = 0; k < count; k++)
        if (crew->cells[k].strategy != NULL && crew->rows[k].ns_per_op >= 0 &&
            crew->rows[k].ns_per_op * CONTENDS < ns)
            return false;
    return true;
}

/* Prints a row anew. */
static void renew_line(struct crew *crew, size_t i)
{
    char *line = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&line, &length);
    if (to == NULL)
        return;
    row_print(to, &crew->rows[i]);
    fclose(to);
    free(crew->lines[i]);
    crew->lines[i] = line;
}

static void find_instructions(struct crew *crew, size_t count)
{
    const double loop = loop_instructions(crew->operations);
    for (size_t i = 0; i < count; i++) {
        if (crew->bad[i] || crew->cells[i].strategy == NULL || !contends(crew, count, i) ||
            cli_interrupted())
            continue;
        count_in(&crew->cells[i], crew->operations, loop, &crew->rows[i]);
        renew_line(crew, i);
        cli_progress((double)(i + 1) / (double)count);
    }
}

/* Whether what is counted and measured needs the operations as a file. */
static bool wants_operations(const struct cell *c, const struct cell_options *o)
{
    return c->library != NULL || (c->strategy != NULL && (o->instructions || o->contenders));
}

size_t cells_run(const struct cell *cells, size_t count, struct hmm_trace_tape *tape,
                 const struct cell_options *options, const struct cells_sink *sink)
{
    const uint64_t ops = hmm_trace_tape_summary(tape)->op_count;
    struct crew crew = {.cells = cells, .tape = tape, .options = options, .operations = -1};
    size_t bad = 0;
    crew.rows = cli_alloc(count, sizeof *crew.rows);
    crew.lines = cli_alloc(count, sizeof *crew.lines);
    crew.bad = cli_alloc(count, sizeof *crew.bad);
    crew.seconds = options->limit != 0 ? options->limit : 30 + (unsigned)(ops / 20000);
    for (size_t i = 0; i < count; i++)
        begin_row(&cells[i], &crew.rows[i]);
    for (size_t i = 0; i < count && crew.operations < 0; i++)
        if (wants_operations(&cells[i], options))
            crew.operations = feed_save(tape);
    find_figures(&crew, count);
    find_times(&crew, count);
    if (options->worst)
        find_worst_again(&crew, count);
    if ((options->instructions || options->contenders) && crew.operations >= 0)
        find_instructions(&crew, count);
    cli_progress_hide();
    for (size_t i = 0; i < count; i++) {
        if (!crew.bad[i] && crew.lines[i] != NULL)
            sink->take(sink->arg, crew.lines[i]);
        bad += crew.bad[i];
        free(crew.lines[i]);
        row_free(&crew.rows[i]);
    }
    if (crew.operations >= 0)
        close(crew.operations);
    free(crew.rows);
    free(crew.lines);
    free(crew.bad);
    return bad;
}
