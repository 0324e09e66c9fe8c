/* SPDX-License-Identifier: MIT */
/*
 * The verdict for people, as a table, and for spreadsheets and documents, as CSV and Markdown.
 */
#include "compare.h"
#include "hmm-strategy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 14

static const char *const heading[COLUMNS] = {
    "allocator", "cache",   "ns/op",   "worst ns", "peak",      "smallest heap", "of live",
    "holes",     "largest", "headers", "rounding", "fragments", "control",       "failed"};

/* ---- The cells of a row, as text ---- */

struct shown {
    char text[48];
};

static struct shown count(int64_t value, bool plain)
{
    struct shown s;
    if (value < 0)
        snprintf(s.text, sizeof s.text, "%s", plain ? "" : "-");
    else if (plain)
        snprintf(s.text, sizeof s.text, "%" PRId64, value);
    else
        snprintf(s.text, sizeof s.text, "%s", cli_count((uint64_t)value).chars);
    return s;
}

static struct shown bytes(int64_t value, bool plain)
{
    if (value < 0 || plain)
        return count(value, plain);
    struct shown s;
    snprintf(s.text, sizeof s.text, "%s", cli_bytes((uint64_t)value).chars);
    return s;
}

static struct shown number(double value, int digits, bool plain)
{
    struct shown s;
    if (value < 0)
        snprintf(s.text, sizeof s.text, "%s", plain ? "" : "-");
    else
        snprintf(s.text, sizeof s.text, "%.*f", digits, value);
    return s;
}

/* Unknown where requests were not served: the live bytes are then not those of the whole trace. */
static double of_live(const struct row *r)
{
    if (r->failed > 0)
        return -1;
    const int64_t size = r->smallest_heap >= 0 ? r->smallest_heap : r->peak_resident;
    return size >= 0 && r->peak_live > 0 ? (double)size / (double)r->peak_live : -1;
}

/* plain: numbers without units, for programs. */
static void show(const struct row *r, bool plain, struct shown cells[COLUMNS])
{
    snprintf(cells[0].text, sizeof cells[0].text, "%.47s", r->allocator);
    snprintf(cells[1].text, sizeof cells[1].text, "%s", r->cache ? "yes" : "no");
    cells[2] = number(r->ns_per_op, plain ? 2 : 1, plain);
    cells[3] = count(r->worst_ns, plain);
    cells[4] = bytes(r->peak_break >= 0 ? r->peak_break : r->peak_resident, plain);
    cells[5] = count(r->smallest_heap, plain);
    cells[6] = number(of_live(r), 3, plain);
    cells[7] = count(r->holes, plain);
    cells[8] = bytes(r->largest_hole, plain);
    cells[9] = bytes(r->headers, plain);
    cells[10] = bytes(r->rounding, plain);
    cells[11] = bytes(r->fragmentation, plain);
    cells[12] = bytes(r->control, plain);
    cells[13] = count(r->failed, plain);
}

/* ---- CSV ---- */

static void print_csv_text(const char *text)
{
    if (strpbrk(text, "\",\r\n") == NULL) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static void print_csv(const struct verdict *v, bool first)
{
    if (first)
        puts("trace,allocator,kind,cache,ops,ns_per_op,worst_ns,peak_live,peak_break,peak_resident,"
             "smallest_heap,holes,largest_hole,headers,rounding,fragmentation,control,failed,lower,"
             "upper");
    for (size_t i = 0; i < v->count; i++) {
        const struct row *r = &v->rows[i];
        const int64_t figures[] = {r->worst_ns,
                                   r->peak_live,
                                   r->peak_break,
                                   r->peak_resident,
                                   r->smallest_heap,
                                   r->holes,
                                   r->largest_hole,
                                   r->headers,
                                   r->rounding,
                                   r->fragmentation,
                                   r->control,
                                   r->failed,
                                   v->optimum != NULL ? v->optimum->lower : -1,
                                   v->optimum != NULL ? v->optimum->upper : -1};
        print_csv_text(cli_visible(r->trace));
        putchar(',');
        print_csv_text(cli_visible(r->allocator));
        printf(",%s,%s,%s,%s", r->kind, r->cache ? "true" : "false", count(r->ops, true).text,
               number(r->ns_per_op, 2, true).text);
        for (size_t k = 0; k < sizeof figures / sizeof figures[0]; k++)
            printf(",%s", count(figures[k], true).text);
        putchar('\n');
    }
}

/* ---- Table and Markdown ---- */

static void print_rows_markdown(const struct verdict *v)
{
    for (size_t c = 0; c < COLUMNS; c++)
        printf("| %s ", heading[c]);
    puts("|");
    for (size_t c = 0; c < COLUMNS; c++)
        fputs(c < 2 ? "| --- " : "| ---: ", stdout);
    puts("|");
    for (size_t i = 0; i < v->count; i++) {
        struct shown cells[COLUMNS];
        show(&v->rows[i], false, cells);
        for (size_t c = 0; c < COLUMNS; c++)
            printf("| %s ", cli_visible(cells[c].text));
        puts("|");
    }
}

/* Fits 80 columns: one table has the figures that decide, another where the rest of the break went.
 */
static void print_columns(const struct verdict *v, const unsigned char *columns, size_t how_many)
{
    struct cli_table table = {.columns = how_many, .left_columns = 1};
    for (size_t c = 0; c < how_many; c++)
        cli_table_add(&table, "%s", heading[columns[c]]);
    for (size_t i = 0; i < v->count; i++) {
        struct shown cells[COLUMNS];
        show(&v->rows[i], false, cells);
        if (v->rows[i].cache)
            strncat(cells[0].text, " +cache", sizeof cells[0].text - strlen(cells[0].text) - 1);
        for (size_t c = 0; c < how_many; c++)
            cli_table_add(&table, "%s", cells[columns[c]].text);
    }
    cli_table_print(&table, stdout);
}

static void print_rows_table(const struct verdict *v)
{
    static const unsigned char decided[] = {0, 2, 3, 4, 5, 6, 13};
    static const unsigned char wasted[] = {0, 9, 10, 11, 12, 7, 8};
    print_columns(v, decided, sizeof decided);
    puts("\nWaste: peak break less peak live, and the holes when most lives");
    print_columns(v, wasted, sizeof wasted);
}

/* Where requests were not served, less lived than the trace asks for. */
static int64_t peak_live_of(const struct verdict *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->rows[i].failed == 0)
            return v->rows[i].peak_live;
    return ROW_UNKNOWN;
}

/* Of a trace that is too long the lifetimes are not known (optimum.c). */
static void print_optimum_line(FILE *to, const struct optimum *o, int64_t ops)
{
    const char *layout = ops > (int64_t)HMM_TRACE_KEPT
                             ? "placed as they come, without headers, its blocks take"
                             : "a layout that knows all lifetimes takes";
    char text[320];
    int n = snprintf(text, sizeof text,
                     "optimum: with blocks aligned to %u no allocator needs less than %s bytes",
                     (unsigned)HMM_GRANULE, cli_count((uint64_t)o->lower).chars);
    if (o->upper >= 0)
        snprintf(text + n, sizeof text - (size_t)n, "; %s %s (+%.2f %%)", layout,
                 cli_count((uint64_t)o->upper).chars,
                 o->lower > 0 ? ((double)o->upper / (double)o->lower - 1) * 100 : 0);
    cli_fill(to, 0, text);
}

/* See advice.c: what completes it all the same has a cache, and so small a heap has none. */
static void print_no_advice(FILE *to, const struct verdict *v)
{
    bool completes = false;
    for (size_t i = 0; i < v->count; i++)
        completes = completes || (v->rows[i].cache && v->rows[i].smallest_heap > 0);
    cli_fill(to, 0,
             completes ? "advice: none, since so small a heap has no cache, and no strategy was "
                         "measured without one"
                       : "advice: none, since no strategy was measured that completes it");
}

static void print_advice(FILE *to, const struct verdict *v, const char *goal,
                         const struct advice *a)
{
    if (a->row == NULL) {
        print_no_advice(to, v);
        return;
    }
    char text[1024];
    snprintf(text, sizeof text, "advice for %s: %s%s: %s.", goal, a->row->allocator,
             a->row->cache ? " with the cache" : "", a->reason);
    cli_fill(to, 0, cli_visible(text));
    fprintf(to, "  for a program:   %s\n", cli_visible(a->command));
    fprintf(to, "                   (%d %% above the smallest heap, for threads and environment)\n",
            ADVICE_HEADROOM);
    fprintf(to, "  for a heap:      %s\n", cli_visible(a->c));
    if (a->row->failed == 0) /* else it is the break of a heap that was too small */
        fprintf(to, "  to confirm:      hmm run --stats: brk_peak beside %s, failed beside 0\n",
                cli_count((uint64_t)a->row->peak_break).chars);
}

/* ---- JSON for the page of hmm report ---- */

/* Each line of a text, a string. */
static void print_json_lines(FILE *to, char *text)
{
    const char *comma = "";
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        fputs(comma, to);
        cli_print_json_string(to, line);
        comma = ",";
    }
}

static void print_json_rows(FILE *to, const struct verdict *v)
{
    for (size_t i = 0; i < v->count; i++) {
        struct shown cells[COLUMNS];
        show(&v->rows[i], false, cells);
        for (size_t c = 0; c < COLUMNS; c++) {
            fputs(c == 0 ? (i == 0 ? "[" : ",[") : ",", to);
            cli_print_json_string(to, cells[c].text);
        }
        fputc(']', to);
    }
}

void verdict_print_page(FILE *to, const struct verdict *v, const char *goal,
                        const struct advice *advice)
{
    char *text = NULL;
    size_t size = 0;
    FILE *lines = open_memstream(&text, &size);
    fputs("\"compared\":{\"heads\":[", to);
    for (size_t c = 0; c < COLUMNS; c++) {
        fputs(c == 0 ? "" : ",", to);
        cli_print_json_string(to, heading[c]);
    }
    fputs("],\"rows\":[", to);
    print_json_rows(to, v);
    fputs("]},\"advice\":[", to);
    if (lines != NULL) {
        if (v->optimum != NULL)
            print_optimum_line(lines, v->optimum, v->count != 0 ? v->rows[0].ops : -1);
        print_advice(lines, v, goal, advice);
        if (fclose(lines) == 0)
            print_json_lines(to, text);
    }
    free(text);
    fputs("],", to);
}

void verdict_print(enum verdict_format format, const struct verdict *v, const char *goal,
                   const struct advice *advice, bool first)
{
    if (format == VERDICT_CSV) {
        print_csv(v, first);
        return;
    }
    if (!first)
        putchar('\n');
    const bool markdown = format == VERDICT_MARKDOWN;
    const int64_t ops = v->count != 0 ? v->rows[0].ops : -1;
    const int64_t live = peak_live_of(v);
    printf("%s%s%s: %s operations", markdown ? "`" : "", cli_visible(v->trace), markdown ? "`" : "",
           count(ops, false).text);
    if (live >= 0)
        printf(", peak live %s", bytes(live, false).text);
    puts(markdown ? "\n" : "");
    if (markdown)
        print_rows_markdown(v);
    else
        print_rows_table(v);
    putchar('\n');
    if (v->optimum != NULL)
        print_optimum_line(stdout, v->optimum, ops);
    if (markdown)
        puts("\n```");
    print_advice(stdout, v, goal, advice);
    if (markdown)
        puts("```");
    fflush(stdout);
}
