/* SPDX-License-Identifier: MIT */
/*
 * A replay's results, for people and for programs.
 */
#include "replay.h"

#include <math.h>

/* A number that is not known is negative: null, or a dash. */
static void print_json_number(const char *key, int digits, double value)
{
    if (value < 0)
        printf(",\"%s\":null", key);
    else
        printf(",\"%s\":%.*f", key, digits, value);
}

static void print_json_count(const char *key, uint64_t value)
{
    printf(",\"%s\":%llu", key, (unsigned long long)value);
}

void replay_print_json(const struct replay_result *r, const struct replay_options *options)
{
    const struct replay_figures *f = &r->figures;
    fputs("{\"trace\":", stdout);
    cli_print_json_string(stdout, r->trace);
    fputs(",\"strategy\":", stdout);
    cli_print_json_string(stdout, r->strategy);
    print_json_count("ops", r->ops);
    print_json_number("ns_per_op", 2, r->ns_per_op);
    print_json_count("peak_live", f->live_peak);
    print_json_count("peak_break", replay_peak_break(r));
    print_json_number("footprint", 4, replay_footprint(r));
    print_json_count("failed", f->failed);
    print_json_count("free_blocks_max", f->free_blocks_max);
    print_json_count("visited", f->stats.visited);
    print_json_count("splits", f->stats.splits);
    print_json_count("merges", f->stats.merges);
    printf(",\"cache\":%s", options->cache ? "true" : "false");
    if (options->smallest && r->smallest != 0)
        print_json_count("smallest", r->smallest);
    else if (options->smallest)
        print_json_number("smallest", 0, -1);
    puts("}");
    fflush(stdout);
}

static void add_number(struct cli_table *table, int digits, double value)
{
    if (value < 0)
        cli_table_add(table, "-");
    else
        cli_table_add(table, "%.*f", digits, value);
}

static void add_all(struct cli_table *table, const char *const *cells)
{
    for (; *cells != NULL; cells++)
        cli_table_add(table, "%s", *cells);
}

static void add_row(struct cli_table *table, const struct replay_result *r, bool smallest)
{
    cli_table_add(table, "%s", r->strategy);
    add_number(table, 1, r->ns_per_op);
    cli_table_add(table, "%s", cli_bytes(r->figures.live_peak).chars);
    cli_table_add(table, "%s", cli_bytes(replay_peak_break(r)).chars);
    add_number(table, 3, replay_footprint(r));
    cli_table_add(table, "%s", cli_count(r->figures.free_blocks_max).chars);
    cli_table_add(table, "%s", cli_count(r->figures.failed).chars);
    if (smallest) {
        cli_table_add(table, "%s", r->smallest != 0 ? cli_count(r->smallest).chars : "-");
        add_number(table, 3, replay_smallest_ratio(r));
    }
}

static const char *with_cache(const struct replay_options *options)
{
    return options->cache ? ", with a cache" : "";
}

static bool any_failed(const struct replay_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (results[i].figures.failed != 0)
            return true;
    return false;
}

void replay_print_table(const struct replay_result *results, size_t count,
                        const struct hmm_trace_summary *sum, const struct replay_options *options)
{
    static const char *const heading[] = {"strategy",  "ns/op",           "peak live", "peak break",
                                          "footprint", "max free blocks", "failed",    NULL};
    static const char *const more[] = {"smallest", "of live", NULL};
    struct cli_table table = {.columns = options->smallest ? 9 : 7, .left_columns = 1};
    printf("%s: %s operations, peak live %s in %s blocks", cli_visible(results->trace),
           cli_count(sum->op_count).chars, cli_bytes(sum->peak_bytes).chars,
           cli_count(sum->peak_blocks).chars);
    if (any_failed(results, count))
        printf(", with what was not served");
    if (options->heap != 0)
        printf(", heap limited to %s", cli_bytes(options->heap).chars);
    puts(with_cache(options));
    add_all(&table, heading);
    if (options->smallest)
        add_all(&table, more);
    for (size_t i = 0; i < count; i++)
        add_row(&table, &results[i], options->smallest);
    cli_table_print(&table, stdout);
    puts("");
    fflush(stdout);
}

static double ns_per_op(const struct replay_result *r)
{
    return r->ns_per_op;
}

/* The geometric mean over the traces that have a figure above 0; negative: none has. */
static double mean(const struct replay_result *first, size_t traces, size_t stride,
                   double (*figure)(const struct replay_result *))
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < traces; i++) {
        double value = figure(&first[i * stride]);
        if (value > 0) {
            sum += log(value);
            n++;
        }
    }
    return n != 0 ? exp(sum / (double)n) : -1;
}

void replay_print_means(const struct replay_result *results, size_t traces, size_t strategies,
                        const struct replay_options *options)
{
    static const char *const heading[] = {"strategy", "ns/op", "footprint", NULL};
    struct cli_table table = {.columns = options->smallest ? 4 : 3, .left_columns = 1};
    printf("Geometric means over %zu traces%s\n", traces, with_cache(options));
    add_all(&table, heading);
    if (options->smallest)
        cli_table_add(&table, "smallest of live");
    for (size_t s = 0; s < strategies; s++) {
        cli_table_add(&table, "%s", results[s].strategy);
        add_number(&table, 1, mean(&results[s], traces, strategies, ns_per_op));
        add_number(&table, 3, mean(&results[s], traces, strategies, replay_footprint));
        if (options->smallest)
            add_number(&table, 3, mean(&results[s], traces, strategies, replay_smallest_ratio));
    }
    cli_table_print(&table, stdout);
}
