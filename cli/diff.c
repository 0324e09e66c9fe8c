/* SPDX-License-Identifier: MIT */
/*
 * hmm diff: what grew from one trace to another.
 */
#include "compare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_FORMAT };

#define DOUBLINGS 48 /* of sizes: the d-th has those above 2^(d-1) up to 2^d */

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_FORMAT] = {"format", "table|json", "how to print it; json: an object a line"},
    {NULL, NULL, NULL}};

const struct cli_command cli_diff = {
    .name = "diff",
    .usage = "[--format table|json] OLD NEW",
    .summary = "what grew from one trace to another",
    .description =
        "Peak live bytes, operations, the smallest heap by best-fit, and for each\n"
        "doubling of sizes the blocks that live at the peak; in both, with the change.\n\n"
        "Exit status: 0; 2 if an argument is bad or a trace cannot be read.\n",
    .options = options,
    .run = run,
};

struct side {
    const char *path;
    int64_t peak_live, operations, smallest_heap;
    int64_t blocks[DOUBLINGS];
};

static unsigned doubling_of(uint64_t size)
{
    unsigned d = 0;
    while (d < DOUBLINGS - 1 && (UINT64_C(1) << d) < size)
        d++;
    return d;
}

/* The blocks that live at the first moment when the most bytes do. */
static void count_at_peak(struct hmm_trace_tape *tape, struct side *side)
{
    const struct hmm_trace_summary *sum = hmm_trace_tape_summary(tape);
    uint64_t *sizes = cli_alloc(sum->peak_blocks, sizeof *sizes), live = 0;
    const struct hmm_trace_op *ops;
    bool peak = sum->peak_bytes == 0;
    hmm_trace_tape_rewind(tape);
    for (size_t count; !peak && (count = hmm_trace_tape_next(tape, &ops)) != 0;)
        for (size_t i = 0; !peak && i < count; i++) {
            const struct hmm_trace_op *op = &ops[i];
            if (op->kind == HMM_TRACE_FREE || op->kind == HMM_TRACE_RESIZE) {
                live -= sizes[op->id];
                side->blocks[doubling_of(sizes[op->id])]--;
            }
            if (op->kind != HMM_TRACE_FREE) {
                live += sizes[op->id] = op->size;
                side->blocks[doubling_of(op->size)]++;
            }
            peak = live == sum->peak_bytes;
        }
    free(sizes);
}

static bool measure(const char *path, struct side *side)
{
    struct replay replay;
    uint64_t smallest = 0;
    *side = (struct side){.path = path};
    struct hmm_trace_tape *tape = feed_tape("diff", path);
    if (tape == NULL)
        return false;
    const struct hmm_trace_summary *sum = hmm_trace_tape_summary(tape);
    side->peak_live = (int64_t)sum->peak_bytes;
    side->operations = (int64_t)sum->op_count;
    count_at_peak(tape, side);
    replay_open(&replay, tape, false);
    const struct probe probe = {&replay, HMM_BEST_FIT, 0};
    const bool good = probe_smallest(&probe, 0, &smallest);
    replay_close(&replay);
    side->smallest_heap = smallest != 0 ? (int64_t)smallest : ROW_UNKNOWN;
    const struct hmm_trace_error *late = hmm_trace_tape_error(tape);
    if (late != NULL)
        cli_trace_error(path, late);
    else if (!good)
        cli_complain("diff", "%s: there is no address space for its heap", path);
    const bool whole = late == NULL && good;
    hmm_trace_tape_close(tape);
    return whole;
}

/* ---- Printing ---- */

struct line {
    char what[64];
    int64_t was, is;
};

static void print_number(const char *key, int64_t value, bool known)
{
    if (known)
        printf(",\"%s\":%" PRId64, key, value);
    else
        printf(",\"%s\":null", key);
}

static void print_json(const struct line *l)
{
    printf("{\"what\":\"%s\"", l->what);
    print_number("old", l->was, l->was >= 0);
    print_number("new", l->is, l->is >= 0);
    print_number("change", l->is - l->was, l->was >= 0 && l->is >= 0);
    puts("}");
}

static void add_count(struct cli_table *table, int64_t value)
{
    cli_table_add(table, "%s", value >= 0 ? cli_count((uint64_t)value).chars : "-");
}

static void add_line(struct cli_table *table, const struct line *l)
{
    cli_table_add(table, "%s", l->what);
    add_count(table, l->was);
    add_count(table, l->is);
    if (l->was < 0 || l->is < 0) {
        cli_table_add(table, "-");
        cli_table_add(table, "-");
        return;
    }
    const int64_t change = l->is - l->was;
    cli_table_add(table, "%s%s",
                  change < 0   ? "-"
                  : change > 0 ? "+"
                               : "",
                  cli_count((uint64_t)(change < 0 ? -change : change)).chars);
    if (l->was != 0)
        cli_table_add(table, "%+.1f %%", (double)change / (double)l->was * 100);
    else
        cli_table_add(table, "%s", change != 0 ? "new" : "");
}

/* What the d-th doubling holds, as a range of bytes. */
static void name_doubling(char *to, size_t room, unsigned d)
{
    if (d == 0)
        snprintf(to, room, "blocks of 0 to 1");
    else if (d == 1)
        snprintf(to, room, "blocks of 2");
    else
        snprintf(to, room, "blocks of %" PRIu64 " to %" PRIu64, (UINT64_C(1) << (d - 1)) + 1,
                 UINT64_C(1) << d);
}

static size_t make_lines(const struct side *was, const struct side *is, struct line *lines)
{
    size_t n = 0;
    lines[n++] = (struct line){"peak_live", was->peak_live, is->peak_live};
    lines[n++] = (struct line){"operations", was->operations, is->operations};
    lines[n++] = (struct line){"smallest_heap", was->smallest_heap, is->smallest_heap};
    for (unsigned d = 0; d < DOUBLINGS; d++)
        if (was->blocks[d] != 0 || is->blocks[d] != 0) {
            lines[n] = (struct line){"", was->blocks[d], is->blocks[d]};
            name_doubling(lines[n].what, sizeof lines[n].what, d);
            n++;
        }
    return n;
}

static void print(const struct side *was, const struct side *is, bool json)
{
    struct line lines[DOUBLINGS + 3];
    const size_t count = make_lines(was, is, lines);
    struct cli_table table = {.columns = 5, .left_columns = 1};
    static const char *const heading[] = {"", "old", "new", "change", ""};
    if (json) {
        for (size_t i = 0; i < count; i++)
            print_json(&lines[i]);
        return;
    }
    printf("old: %s\nnew: %s\n", cli_visible(was->path), cli_visible(is->path));
    for (size_t i = 0; i < 5; i++)
        cli_table_add(&table, "%s", heading[i]);
    for (size_t i = 0; i < count; i++)
        add_line(&table, &lines[i]);
    cli_table_print(&table, stdout);
}

static int run(int argc, char **argv)
{
    struct cli_args args = {.command = &cli_diff, .argc = argc, .argv = argv, .next = 1};
    const char *paths[2] = {NULL, NULL};
    struct side was, is;
    size_t count = 0;
    bool json = false;
    for (int arg; (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_HELP) {
            cli_command_help(&cli_diff);
            return CLI_OK;
        }
        if (arg == CLI_ARG_BAD ||
            (arg == OPT_FORMAT && !cli_parse_format("diff", args.value, &json)))
            return CLI_USAGE;
        if (arg == CLI_ARG_OPERAND && count < 2)
            paths[count] = args.value;
        count += arg == CLI_ARG_OPERAND;
    }
    if (count != 2) {
        cli_complain("diff", "two traces are needed: hmm diff %s", cli_diff.usage);
        return CLI_USAGE;
    }
    const bool first = measure(paths[0], &was), second = measure(paths[1], &is);
    if (!first || !second)
        return CLI_USAGE;
    print(&was, &is, json);
    return CLI_OK;
}
