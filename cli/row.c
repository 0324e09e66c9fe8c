/* SPDX-License-Identifier: MIT */
/*
 * A row as a line of JSON, and back. What is read back was printed here.
 */
#include "compare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void row_init(struct row *r, const char *trace, const char *allocator, const char *kind, bool cache)
{
    *r = (struct row){.trace = cli_copy(trace),
                      .allocator = cli_copy(allocator),
                      .cache = cache,
                      .ns_per_op = -1,
                      .ops = ROW_UNKNOWN,
                      .peak_live = ROW_UNKNOWN,
                      .peak_break = ROW_UNKNOWN,
                      .peak_resident = ROW_UNKNOWN,
                      .smallest_heap = ROW_UNKNOWN,
                      .worst_ns = ROW_UNKNOWN,
                      .holes = ROW_UNKNOWN,
                      .largest_hole = ROW_UNKNOWN,
                      .headers = ROW_UNKNOWN,
                      .rounding = ROW_UNKNOWN,
                      .fragmentation = ROW_UNKNOWN,
                      .control = ROW_UNKNOWN,
                      .failed = ROW_UNKNOWN,
                      .instructions_per_op = -1,
                      .worst_instructions = ROW_UNKNOWN};
    snprintf(r->kind, sizeof r->kind, "%s", kind);
}

void row_free(struct row *r)
{
    free(r->trace);
    free(r->allocator);
    free(r->path);
    r->trace = r->allocator = r->path = NULL;
}

bool row_fits(const struct row *r, size_t heap)
{
    if (strcmp(r->kind, "adapter") == 0)
        return r->smallest_heap > 0 && (uint64_t)r->smallest_heap <= heap;
    return r->failed == 0;
}

/* ---- Out ---- */

static void print_count(FILE *to, const char *before, const char *key, int64_t value)
{
    if (value < 0)
        fprintf(to, "%s\"%s\":null", before, key);
    else
        fprintf(to, "%s\"%s\":%" PRId64, before, key, value);
}

void row_print(FILE *to, const struct row *r)
{
    const bool is_malloc = strcmp(r->kind, "malloc") == 0;
    fputs("{\"trace\":", to);
    cli_print_json_string(to, r->trace);
    fputs(",\"allocator\":", to);
    cli_print_json_string(to, r->allocator);
    fprintf(to, ",\"kind\":\"%s\",\"cache\":%s", r->kind, r->cache ? "true" : "false");
    print_count(to, ",", "ops", r->ops);
    if (r->ns_per_op < 0)
        fputs(",\"ns_per_op\":null", to);
    else
        fprintf(to, ",\"ns_per_op\":%.2f", r->ns_per_op);
    print_count(to, ",", "peak_live", r->peak_live);
    if (is_malloc)
        print_count(to, ",", "peak_resident", r->peak_resident);
    else
        print_count(to, ",", "peak_break", r->peak_break);
    if (!is_malloc)
        print_count(to, ",", "smallest_heap", r->smallest_heap);
    print_count(to, ",", "worst_ns", r->worst_ns);
    print_count(to, ",", "holes", r->holes);
    print_count(to, ",", "largest_hole", r->largest_hole);
    print_count(to, ",\"waste\":{", "headers", r->headers);
    print_count(to, ",", "rounding", r->rounding);
    print_count(to, ",", "fragmentation", r->fragmentation);
    print_count(to, ",", "control", r->control);
    print_count(to, "},", "failed", r->failed);
    if (r->instructions_per_op >= 0)
        fprintf(to, ",\"instructions_per_op\":%.2f", r->instructions_per_op);
    if (r->worst_instructions >= 0)
        fprintf(to, ",\"worst_instructions\":%" PRId64, r->worst_instructions);
    if (r->path != NULL) {
        fputs(",\"path\":", to);
        cli_print_json_string(to, r->path);
    }
    fputs("}\n", to);
}

void optimum_print(FILE *to, const struct optimum *o)
{
    fputs("{\"trace\":", to);
    cli_print_json_string(to, o->trace);
    print_count(to, ",\"optimum\":{", "lower", o->lower);
    print_count(to, ",", "upper", o->upper);
    fputs("}}\n", to);
}

/* ---- In ---- */

/* What stands behind "key": in the line. Quotes within strings are escaped, so no string can hold
 * such a key. */
static const char *value_of(const char *line, const char *key)
{
    char quoted[40];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(line, quoted);
    return at != NULL ? at + strlen(quoted) : NULL;
}

static int64_t count_of(const char *line, const char *key)
{
    const char *value = value_of(line, key);
    if (value == NULL || *value < '0' || *value > '9')
        return ROW_UNKNOWN;
    return (int64_t)strtoll(value, NULL, 10);
}

static double number_of(const char *line, const char *key)
{
    const char *value = value_of(line, key);
    return value != NULL && *value >= '0' && *value <= '9' ? strtod(value, NULL) : -1;
}

/* Writes the next byte of a JSON string to *to. Returns what is behind it. */
static const char *unescape(const char *s, char *to)
{
    if (*s != '\\') {
        *to = *s;
        return s + 1;
    }
    if (s[1] == 'u' && strlen(s) >= 6) {
        const char digits[5] = {s[2], s[3], s[4], s[5], '\0'};
        const unsigned long code = strtoul(digits, NULL, 16);
        *to = code < 0x80 ? (char)code : '?';
        return s + 6;
    }
    *to = s[1];
    return s[1] != '\0' ? s + 2 : s + 1;
}

/* NULL iff there is no such string. */
static char *string_of(const char *line, const char *key)
{
    const char *s = value_of(line, key);
    if (s == NULL || *s != '"')
        return NULL;
    char *text = cli_alloc(strlen(s), 1);
    size_t n = 0;
    for (s++; *s != '"' && *s != '\0';)
        s = unescape(s, &text[n++]);
    text[n] = '\0';
    return text;
}

static int parse_optimum(const char *line, struct optimum *o)
{
    *o = (struct optimum){string_of(line, "trace"), count_of(line, "lower"),
                          count_of(line, "upper")};
    return o->trace != NULL && o->lower >= 0 ? 'o' : 0;
}

static void parse_figures(const char *line, struct row *r)
{
    r->ns_per_op = number_of(line, "ns_per_op");
    r->instructions_per_op = number_of(line, "instructions_per_op");
    r->ops = count_of(line, "ops");
    r->peak_live = count_of(line, "peak_live");
    r->peak_break = count_of(line, "peak_break");
    r->peak_resident = count_of(line, "peak_resident");
    r->smallest_heap = count_of(line, "smallest_heap");
    r->worst_ns = count_of(line, "worst_ns");
    r->holes = count_of(line, "holes");
    r->largest_hole = count_of(line, "largest_hole");
    r->headers = count_of(line, "headers");
    r->rounding = count_of(line, "rounding");
    r->fragmentation = count_of(line, "fragmentation");
    r->control = count_of(line, "control");
    r->failed = count_of(line, "failed");
    r->worst_instructions = count_of(line, "worst_instructions");
    r->path = string_of(line, "path");
}

int row_parse(const char *line, struct row *r, struct optimum *o)
{
    if (line[0] != '{' || value_of(line, "advice") != NULL)
        return 0;
    if (value_of(line, "optimum") != NULL)
        return parse_optimum(line, o);
    char *trace = string_of(line, "trace"), *allocator = string_of(line, "allocator");
    char *kind = string_of(line, "kind");
    const char *cache = value_of(line, "cache");
    const bool good = trace != NULL && allocator != NULL && kind != NULL && cache != NULL;
    if (good) {
        row_init(r, trace, allocator, kind, strncmp(cache, "true", 4) == 0);
        parse_figures(line, r);
    }
    free(trace);
    free(allocator);
    free(kind);
    return good ? 'r' : 0;
}
