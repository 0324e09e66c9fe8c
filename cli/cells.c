/* SPDX-License-Identifier: MIT */
/*
 * Cells, each in a process of its own: a plug-in that crashes, or does not return, is a line on
 * stderr and no more. Each process writes what it finds to a pipe, as the line that `--cell`
 * prints.
 *
 * Figures other than times are found in parallel, in --jobs processes. Times are measured after
 * that, one cell at a time, in rounds over all cells, so that other load on the machine affects all
 * of them alike; of each the shortest time counts.
 */
#include "compare.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    pid_t pid;
    int from;
    size_t cell;
};

struct crew {
    const struct cell *cells;
    struct hmm_trace_tape *tape;
    const struct cell_options *options;
    struct row *rows;      /* by cell */
    struct worst **worsts; /* by cell; NULL: not a strategy */
    char **lines;          /* by cell; NULL: none yet, or none at all */
    bool *bad;             /* by cell: could not be measured, which has been said */
    unsigned seconds;
    int operations; /* the file for those that measure malloc; -1: none is needed */
};

static void limit_child(unsigned seconds)
{
    const struct rlimit limit = {seconds, seconds + 5}, no_core = {0, 0};
    setrlimit(RLIMIT_CPU, &limit);
    setrlimit(RLIMIT_CORE, &no_core);
    struct sigaction now;
    signal(SIGXCPU, SIG_DFL);
    if (sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
        signal(SIGINT, SIG_DFL); /* what ignores it goes on ignoring it */
    alarm(seconds * 20);
}

/* The child of a strategy uses the trace that its parent has read; that of a malloc library becomes
 * a new program, with the library preloaded. */
static void be_child(const struct crew *crew, size_t i, enum cell_task what, int to)
{
    const struct cell *c = &crew->cells[i];
    limit_child(crew->seconds);
    if (c->library != NULL) {
        dup2(to, STDOUT_FILENO);
        cell_become_preloaded(c, crew->options, crew->operations);
        _exit(CLI_FAILED);
    }
    FILE *pipe_end = fdopen(to, "w");
    const bool good = pipe_end != NULL &&
                      cell_measure(pipe_end, c, crew->options, crew->tape, what, crew->worsts[i],
                                   &crew->rows[i]) &&
                      fclose(pipe_end) == 0;
    _exit(good ? CLI_OK : CLI_FAILED);
}

static bool cannot_start(struct crew *crew, size_t i)
{
    cli_complain("compare", "%s: %s: no process can be started: %s", crew->cells[i].trace,
                 crew->cells[i].name, strerror(errno));
    crew->bad[i] = true;
    return false;
}

/* False, said on stderr, iff there is no process or pipe to be had. */
static bool start(struct crew *crew, size_t i, enum cell_task what, struct child *child)
{
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0)
        return cannot_start(crew, i);
    *child = (struct child){fork(), ends[0], i};
    if (child->pid == 0) {
        close(ends[0]);
        be_child(crew, i, what, ends[1]);
    }
    const int why = errno;
    close(ends[1]);
    if (child->pid > 0)
        return true;
    close(ends[0]);
    errno = why;
    return cannot_start(crew, i);
}

/* Reads all that the child writes, one line. Ctrl-C ends the child. */
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
    if (number == SIGKILL)
        cli_complain("compare",
                     "%s: %s%s: is killed: by the system, which lacks memory, or after %u seconds",
                     c->trace, c->name, with, crew->seconds);
    else if (number == SIGXCPU || number == SIGALRM)
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

/* Waits for a child; its figures replace those that were known. */
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
        if (running == crew->options->jobs) { /* the oldest: all cells take about the same time */
            finish(crew, &children[0]);
            memmove(children, children + 1, --running * sizeof *children);
            cli_progress(0.5 * (double)++done / (double)count);
        }
        if (start(crew, i, CELL_FIGURES, &children[running]))
            running++;
    }
    for (size_t k = 0; k < running; k++)
        finish(crew, &children[k]);
    free(children);
}

/* Runs one child while no other runs. */
static void measure_alone(struct crew *crew, size_t i, enum cell_task what)
{
    struct child child;
    if (start(crew, i, what, &child))
        finish(crew, &child);
}

static void find_times(struct crew *crew, size_t count)
{
    for (unsigned round = 0; round < crew->options->runs; round++)
        for (size_t i = 0; i < count; i++) {
            const struct cell *c = &crew->cells[i];
            if (crew->bad[i] || strcmp(c->kind, "optimum") == 0 || (is_alone(c) && round != 0) ||
                cli_interrupted())
                continue;
            measure_alone(crew, i, CELL_TIMES);
            cli_progress(0.5 +
                         0.5 * (double)(round * count + i) / (double)(crew->options->runs * count));
        }
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

/* ---- The worst operation ---- */

/* A strategy whose longest operation takes more than COULD_BE_LEAST times as long as that of
 * another, and COULD_BE_LEAST_NS more, cannot be the one whose longest operation is the shortest.
 */
#define COULD_BE_LEAST 1.5
#define COULD_BE_LEAST_NS 1000

static bool could_be_least(const struct crew *crew, size_t count, size_t i)
{
    const int64_t ns = crew->rows[i].worst_ns;
    for (size_t k = 0; k < count; k++)
        if (crew->worsts[k] != NULL && !crew->bad[k] && crew->rows[k].worst_ns >= 0 &&
            (double)crew->rows[k].worst_ns * COULD_BE_LEAST + COULD_BE_LEAST_NS < (double)ns)
            return false;
    return crew->worsts[i] != NULL && !crew->bad[i] && ns >= 0;
}

/* What the child does. Its results lie in memory that it shares with its parent. */
static void be_contest(const struct crew *crew, size_t count)
{
    struct contestant *list = cli_alloc(count, sizeof *list);
    struct replay *replays = cli_alloc(count, sizeof *replays);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (!could_be_least(crew, count, i))
            continue;
        replay_open(&replays[n], crew->tape, crew->cells[i].cache);
        const struct probe probe = {&replays[n], crew->cells[i].strategy, crew->options->heap};
        list[n++] = contestant_of(&probe, &crew->rows[i], crew->worsts[i]);
    }
    limit_child(crew->seconds * (unsigned)count);
    _exit(contest(list, n, CONTEST_PASSES, true) ? CLI_OK : CLI_FAILED);
}

/* Measures the longest operations again, in one process for all strategies that could be the best.
 * If that process fails, what it has measured until then counts. */
static void find_worst_again(struct crew *crew, size_t count)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0)
        be_contest(crew, count);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        if (cli_interrupted())
            kill(pid, SIGKILL);
    for (size_t i = 0; i < count; i++)
        if (crew->lines[i] != NULL && crew->worsts[i] != NULL && !crew->bad[i] &&
            crew->rows[i].worst_ns >= 0) {
            contest_result(crew->worsts[i], &crew->rows[i]);
            renew_line(crew, i);
        }
}

/* Instructions are counted of the contenders: strategies that take at most CONTENDS times as long
 * as the fastest. With fewer than SHORT_TRACE operations all are contenders: the times of a short
 * trace say little, and counting is quick. */
#define SHORT_TRACE 200000
#define CONTENDS 2

static bool contends(const struct crew *crew, size_t count, size_t i)
{
    const double ns = crew->rows[i].ns_per_op;
    if (crew->options->instructions || crew->rows[i].ops < SHORT_TRACE)
        return true;
    for (size_t k = 0; k < count; k++)
        if (crew->cells[k].strategy != NULL && crew->rows[k].ns_per_op >= 0 &&
            crew->rows[k].ns_per_op * CONTENDS < ns)
            return false;
    return true;
}

static void find_instructions(struct crew *crew, size_t count)
{
    const double loop = cell_loop_instructions(crew->operations);
    for (size_t i = 0; i < count; i++) {
        if (crew->bad[i] || crew->cells[i].strategy == NULL || !contends(crew, count, i) ||
            cli_interrupted())
            continue;
        cell_count_in(&crew->cells[i], crew->operations, loop, &crew->rows[i]);
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
    crew.worsts = cli_alloc(count, sizeof(struct worst *));
    crew.seconds = options->limit != 0 ? options->limit : 30 + (unsigned)(ops / 20000);
    for (size_t i = 0; i < count; i++) {
        cell_begin_row(&cells[i], &crew.rows[i]);
        crew.worsts[i] = cells[i].strategy != NULL ? worst_open() : NULL;
    }
    for (size_t i = 0; i < count && crew.operations < 0; i++)
        if (wants_operations(&cells[i], options))
            crew.operations = feed_save(tape);
    find_figures(&crew, count);
    find_times(&crew, count);
    if (options->worst && !cli_interrupted())
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
        worst_close(crew.worsts[i]);
    }
    if (crew.operations >= 0)
        close(crew.operations);
    free(crew.rows);
    free(crew.lines);
    free(crew.worsts);
    free(crew.bad);
    return bad;
}
