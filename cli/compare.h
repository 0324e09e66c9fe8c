/* SPDX-License-Identifier: MIT */
/*
 * Between the files of `hmm compare`, `hmm check` and `hmm diff`.
 *
 * A cell is one allocator on one trace. What is found about it is a row, which is printed as one
 * line of JSON and can be read back. The files stand in layers; each calls only those above it:
 *
 *     steps.c          instructions of a single operation
 *     worst.c          the longest single operation
 *     probe.c          figures of one strategy: its smallest heap, its waste, its worst operation
 *     contest.c        whose longest operation is the shortest
 *     postmortem.c     the first operation that a heap cannot serve, and what would have helped
 *     optimum.c        bounds on the least heap that any allocator could need
 *     other.c          figures of malloc libraries and adapters
 *     feed.c           operations from a file, for processes that must not read a trace
 *     count.c          instructions
 *     row.c            a row as JSON, and back
 *     cell.c           one cell
 *     cells.c          cells in processes of their own
 *     advice.c         which row to take, and why
 *     verdict_print.c  rows, bounds and advice as table, CSV and Markdown
 *     compare.c verify.c diff.c    the commands; and replay.c, which explains why a heap fails
 */
#ifndef HMM_COMPARE_H
#define HMM_COMPARE_H

#include "replay.h"

/* ---- row.c ---- */

#define ROW_UNKNOWN INT64_C(-1) /* of a figure: null */

/* A figure that a kind of allocator does not have is left out of its row. */
struct row {
    char *trace, *allocator; /* to be given to free */
    char *path;              /* of a plug-in or an adapter; likewise, or NULL */
    char kind[12];           /* "strategy", "plugin", "malloc" or "adapter" */
    bool cache;
    double ns_per_op; /* negative: not known */
    int64_t ops, peak_live, peak_break, peak_resident, smallest_heap, worst_ns, holes, largest_hole;
    int64_t headers, rounding, fragmentation, control;
    int64_t failed;
    double instructions_per_op; /* negative: not counted, and not printed; likewise: */
    int64_t worst_instructions;
};

struct optimum {
    char *trace;
    int64_t lower, upper; /* bytes; upper negative: not known */
};

void row_init(struct row *row, const char *trace, const char *allocator, const char *kind,
              bool cache);
void row_free(struct row *row);

/* Whether nothing failed in a heap of this size. An adapter is measured in its smallest region. */
bool row_fits(const struct row *row, size_t heap);

void row_print(FILE *to, const struct row *row);
void optimum_print(FILE *to, const struct optimum *optimum);

/* What a line is: 'r', a row; 'o', an optimum; 0: neither. */
int row_parse(const char *line, struct row *row, struct optimum *optimum);

/* ---- worst.c: the longest single operation ---- */

/* The operations that take longest in a first pass are candidates, which are timed again in later
 * passes, in one process or in several. Of each candidate the shortest time counts, which leaves
 * interrupts out; the result is the longest of these. The instructions of the longest ones can be
 * counted as well. */
#define WORST_CANDIDATES 4096
#define WORST_PASSES 5

/* Instructions are counted of so many operations at most; of WORST_STEPPED_LONG if the longest
 * takes WORST_IS_LONG nanoseconds or more, since to count an instruction takes about a microsecond.
 */
#define WORST_STEPPED 1024
#define WORST_STEPPED_LONG 64
#define WORST_IS_LONG 1000

struct worst {
    struct worst_op {
        uint64_t index;
        uint64_t ns;
    } ops[WORST_CANDIDATES]; /* in the first pass a binary heap, the shortest on top; then sorted by
                                index */
    size_t count;
    size_t next; /* in a later pass: the candidate that comes next */
    unsigned pass;
    uint64_t index; /* of the operation that comes next */
    uint64_t steps; /* the most instructions; 0: not counted */
};

/* Shared with the processes that are forked later. Like cli_alloc. */
struct worst *worst_open(void);
void worst_close(struct worst *worst); /* or NULL */
void worst_begin_pass(struct worst *worst);
bool worst_wants(const struct worst *worst);       /* is the next operation to be timed? */
void worst_take(struct worst *worst, uint64_t ns); /* the next operation, timed */
static inline void worst_skip(struct worst *worst)
{
    worst->index++;
}
uint64_t worst_longest(const struct worst *worst); /* nanoseconds, the clock's own taken off */

/* Which operations take longest: their indices, rising. Returns how many. */
size_t worst_slowest(const struct worst *worst, uint64_t indices[WORST_STEPPED]);

/* ---- steps.c: instructions of what lies between, counted one by one ---- */

/* Whether the processor and the system allow it. */
bool steps_are_possible(void);
void steps_begin(void);
uint64_t steps_end(void);

/* ---- probe.c: no figure here is a time of the machine beside it, but those of probe_times ---- */

struct probe {
    const struct replay *replay;
    const struct hmm_strategy *strategy;
    size_t heap; /* the size that was asked about; 0: as large as it need be */
};

/* Whether the trace completes in a heap of this size. False iff there is no address space. */
bool probe_completes(const struct probe *probe, uint64_t size, bool *completes);

/*
 * The least multiple of PROBE_STEP that a search by halves finds: the trace completes in it, and
 * does not in PROBE_STEP bytes less. Both have been tried. 0 iff no heap completes it. Whether
 * some size further below completes is not claimed: completion need not be monotone, since a resize
 * that finds the end of the region near takes another way. `hint`: about where it is, or 0.
 */
#define PROBE_STEP 16u
bool probe_smallest(const struct probe *probe, uint64_t hint, uint64_t *smallest);

/* Break, waste, holes and failures, in a region of the right size or of probe->heap; and the
 * smallest heap. */
bool probe_figures(const struct probe *probe, struct row *row);

/* A timed pass, net of the loop, to row->ns_per_op if less than what is there. row must have its
 * figures, here and below. */
bool probe_times(const struct probe *probe, double harness, struct row *row);

/* The size of the region in which a strategy is timed. row must have its highest break. */
size_t probe_region(const struct probe *probe, const struct row *row);

/* How many of its first bytes, and of its last, are used. Only these are touched before: a heap
 * that was asked about may be larger than memory is. */
void probe_used(const struct probe *probe, const struct row *row, size_t *first, size_t *last);

/* ---- contest.c: whose longest operation is the shortest ---- */

struct contestant {
    struct probe probe;
    size_t region;      /* of probe_region */
    size_t first, last; /* of probe_used */
    struct worst *worst;
};

/* row must have its highest break. */
struct contestant contestant_of(const struct probe *probe, const struct row *row,
                                struct worst *worst);

/*
 * Times the contestants in turn in the same memory, so that other load on the machine affects all
 * of them alike. `tell_apart`: then counts the instructions of those whose longest operation is
 * within CONTEST_ALIKE times the shortest; often times do not tell them apart, since the longest
 * operation is the same copy for all. The one with the fewest instructions gets more passes than
 * the others, until its time is the shortest or the passes are used up. False iff there is no
 * address space.
 */
#define CONTEST_ALIKE 1.15
#define CONTEST_NOISE_NS 300
#define CONTEST_PASSES 40
#define CLOCK_STEPS_NS 20 /* a clock may have steps of 10 */
bool contest(const struct contestant *list, size_t count, unsigned passes, bool tell_apart);

/* Writes to a row what it found. */
void contest_result(const struct worst *worst, struct row *row);

/* ---- postmortem.c ---- */

struct postmortem {
    bool has_heap, failed;
    bool has_ids;         /* of the file, which can be read again; what is piped cannot */
    uint64_t index, line; /* of the operation, from 0; 0: no line */
    struct hmm_trace_op op;
    uint64_t free_bytes, largest_hole, holes;
    struct postmortem_end {
        bool is_block; /* false: the heap's own end */
        uint64_t id, size, born;
    } below, above; /* of the largest hole */
};

/* What the first operation was that a heap of this size cannot serve, and how the heap lay then. */
bool postmortem_find(const struct probe *probe, const char *path, uint64_t size,
                     struct postmortem *found);

/* Says it on `to`, in lines that begin with `prefix`; and what would have helped. */
void postmortem_print(FILE *to, const char *prefix, const struct probe *probe, const char *path,
                      uint64_t size, const struct postmortem *found);

/* Without the operation itself, where that has been said. */
void postmortem_print_rest(FILE *to, const char *prefix, const struct probe *probe, uint64_t size,
                           const struct postmortem *found);

/* ---- optimum.c ---- */

/*
 * lower: the most bytes of payload that live at once, each request rounded up to the granule, and
 * to at least one. upper: the size of a layout that was made knowing all lifetimes, and verified:
 * no two blocks that live at the same time overlap. A block that is resized to another number of
 * granules is freed and placed anew at that operation; its two places may overlap, since what is in
 * it is moved. False iff the trace cannot be read.
 */
bool optimum_find(struct hmm_trace_tape *tape, struct optimum *optimum);

/* ---- feed.c ----
 *
 * A process that measures a malloc library must not have read a trace with that malloc: what the
 * reader allocated and freed would stay with the library, and serve the trace's blocks.
 */

struct feed {
    struct hmm_trace_tape *tape; /* NULL: the file */
    int fd;
    struct hmm_trace_op *ops; /* a stretch of the file's */
    struct hmm_trace_summary sum;
    void **blocks;   /* by ID; NULL: dead */
    uint64_t *sizes; /* by ID */
};

/* Opens a trace. NULL, said on stderr, iff it cannot be read to its end: a verdict needs the whole
 * trace. */
struct hmm_trace_tape *feed_tape(const char *command, const char *path);

/* A file, already without a name, that holds the summary and the operations; -1, said on stderr,
 * iff it cannot be written. */
int feed_save(struct hmm_trace_tape *tape);

/* False iff it is not such a file. Nothing of it comes from malloc. */
bool feed_open_file(struct feed *feed, int fd);
struct feed feed_of(const struct replay *replay);

/* As hmm_trace_tape_rewind and hmm_trace_tape_next. */
void feed_rewind(const struct feed *feed);
size_t feed_next(const struct feed *feed, const struct hmm_trace_op **ops);

void feed_clear(const struct feed *feed); /* no block is live */

/* ---- count.c: instructions, by callgrind ---- */

/* So many operations of a trace are counted at most. */
#define COUNT_MOST (UINT64_C(1) << 22)

bool count_is_possible(void);

/* Instructions per operation, without those of the loop, of the strategy that --cell calls `name`,
 * in a region of `capacity` bytes, on the operations of a file; the loop's own iff name is
 * "nothing". Negative iff they cannot be counted. */
double count_instructions(const char *name, int operations, size_t capacity);

/* What the counted process does. strategy NULL: nothing. */
int count_here(const struct hmm_strategy *strategy, bool cache, size_t capacity, int operations);

/* ---- other.c ---- */

/* Measures this process's malloc on the operations of a file that feed_save has made. */
bool other_malloc(int fd, unsigned runs, struct row *row);

/* A variable in the environment of a process that is to measure its malloc or whose instructions
 * are counted. Its value is the number of the open file; or OTHER_PROBE, if the process is only to
 * say where its malloc is from. */
#define OTHER_VARIABLE "hmm_compare_operations"
#define OTHER_PROBE "where"

/* Whether a shared object is an adapter (bench/adapter.h). */
bool other_is_adapter(const char *path);
bool other_adapter(const struct replay *replay, const char *path, unsigned runs, struct row *row);

/* The path of a malloc library, by the names that it may have; "" iff there is none. */
void other_library(const char *const *sonames, char *path, size_t room);
bool other_malloc_is(const char *path); /* whether this process has its malloc from there */
bool other_malloc_path(char *path, size_t room);

/* ---- cell.c ---- */

struct cell {
    char *trace, *name; /* name: as --allocators and --cell have it, without "+cache" */
    const char *kind;   /* as in rows; "optimum" for the bounds */
    const char *label;  /* as rows name it */
    char *library;      /* of a malloc: its path; "" is the C library's */
    const struct hmm_strategy *strategy;
    bool cache;
};

struct cell_options {
    size_t heap;
    unsigned runs, jobs;
    unsigned limit; /* seconds of processor time for a cell; 0: as the trace's length says */
    bool instructions, contenders; /* counted of all strategies; of the fastest, if possible */
    bool worst;                    /* the longest operation decides: it is looked at again */
};

/* "NAME", "NAME+cache" or "optimum" on a trace. False, said on stderr, iff there is no such. */
bool cell_make(struct cell *cell, const char *trace, const char *name);
void cell_free(struct cell *cell);

/* Whether there is a malloc library of this name. */
bool cell_is_installed(const char *name);

/* The command that prints the cell's row. */
void cell_print_command(FILE *to, const struct cell *cell, const struct cell_options *options);

/* Measures one cell here and prints its row. Returns an exit code. */
int cell_here(const struct cell *cell, const struct cell_options *options);

enum cell_task { CELL_ALL, CELL_FIGURES, CELL_TIMES };

/* An empty row of the cell's. */
void cell_begin_row(const struct cell *cell, struct row *row);

/* Of a cell that is no malloc library: the line to `to`. `row` and, of a strategy, `worst` have
 * what is known already. */
bool cell_measure(FILE *to, const struct cell *cell, const struct cell_options *options,
                  struct hmm_trace_tape *tape, enum cell_task what, struct worst *worst,
                  struct row *row);

/* Becomes the process that measures a malloc library, with the operations as a file. Comes back
 * only if that cannot be. */
void cell_become_preloaded(const struct cell *cell, const struct cell_options *options,
                           int operations);

/* Instructions of the loop alone; negative: cannot be counted. And a strategy's, without them. */
double cell_loop_instructions(int operations);
void cell_count_in(const struct cell *cell, int operations, double loop, struct row *row);

/* ---- cells.c ---- */

/* Measures all cells of one trace, each in a process of its own, times alone; gives each line to
 * `take`. Returns how many could not be measured, which has been said. */
struct cells_sink {
    void (*take)(void *arg, const char *line);
    void *arg;
};
size_t cells_run(const struct cell *cells, size_t count, struct hmm_trace_tape *tape,
                 const struct cell_options *options, const struct cells_sink *sink);

/* ---- advice.c ---- */

struct verdict {
    const char *trace;
    struct row *rows;
    size_t count;
    const struct optimum *optimum; /* NULL: not known */
};

struct advice {
    const struct row *row;                    /* NULL: there is none */
    char reason[640], command[5120], c[5120]; /* with a plug-in's path */
};

extern const char *const advice_goals[]; /* ends with NULL */

void advice_find(const struct verdict *verdict, const char *goal, struct advice *advice);
void advice_print_json(FILE *to, const struct verdict *verdict, const char *goal,
                       const struct advice *advice);

/* Head-room for `hmm run --heap`, in percent of the smallest heap. */
#define ADVICE_HEADROOM 8

uint64_t advice_run_heap(uint64_t smallest);

/* ---- verdict_print.c ---- */

enum verdict_format { VERDICT_TABLE, VERDICT_JSON, VERDICT_CSV, VERDICT_MARKDOWN };

/* All but JSON. first: of all traces. */
void verdict_print(enum verdict_format format, const struct verdict *verdict, const char *goal,
                   const struct advice *advice, bool first);

/* As members of a JSON object, each with a comma behind it: "compared", the table, and "advice",
 * lines of text. */
void verdict_print_page(FILE *to, const struct verdict *verdict, const char *goal,
                        const struct advice *advice);

/* ---- compare.c ---- */

/* The members that verdict_print_page writes, of all allocators on a trace; to be freed. NULL, said
 * on stderr, iff nothing could be measured. */
char *compare_for_page(const char *path, const char *goal);

/* Whether there is such a goal; said on stderr iff not. */
bool compare_goal(const char *word, const char **goal);

#endif
