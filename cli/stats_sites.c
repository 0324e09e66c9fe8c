/* SPDX-License-Identifier: MIT */
/*
 * Who asks: what is gathered by call stack, and printed by call site, or as collapsed stacks.
 */
#include "stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TOP 10

/* ---- Gathering, by stack ---- */

static struct stats_stack *stack_of(struct stats *s, uint32_t number)
{
    if (number >= s->stack_room) {
        uint32_t room = s->stack_room == 0 ? 1024 : s->stack_room;
        while (room <= number)
            room *= 2;
        struct stats_stack *stacks = cli_alloc(room, sizeof *stacks);
        if (s->stack_room != 0)
            memcpy(stacks, s->stacks, s->stack_room * sizeof *stacks);
        free(s->stacks);
        s->stacks = stacks;
        s->stack_room = room;
    }
    return &s->stacks[number];
}

/* Called before the stack's live bytes change: if there was a new peak since the last change, they
 * are what the stack had at that peak. */
static void note_peak(const struct stats *s, struct stats_stack *stack)
{
    if (stack->peak_seen != s->peaks)
        stack->at_peak = stack->live;
    stack->peak_seen = s->peaks;
}

void stats_stack_requested(struct stats *s, uint32_t number, uint64_t size)
{
    struct stats_stack *stack = stack_of(s, number);
    stack->requested.blocks++;
    stack->requested.bytes += size;
}

void stats_stack_more(struct stats *s, uint32_t number, uint64_t size)
{
    struct stats_stack *stack = stack_of(s, number);
    note_peak(s, stack);
    stack->live.blocks++;
    stack->live.bytes += size;
}

void stats_stack_less(struct stats *s, uint32_t number, uint64_t size)
{
    struct stats_stack *stack = stack_of(s, number);
    note_peak(s, stack);
    stack->live.blocks--;
    stack->live.bytes -= size;
}

void stats_stack_temporary(struct stats *s, uint32_t number, uint64_t size)
{
    struct stats_stack *stack = stack_of(s, number);
    stack->temporary.blocks++;
    stack->temporary.bytes += size;
}

void stats_stacks_conclude(struct stats *s)
{
    for (uint32_t i = 0; i < s->stack_room; i++)
        note_peak(s, &s->stacks[i]);
}

/* ---- By site ---- */

static void add(struct stats_amount *to, const struct stats_amount *from)
{
    to->blocks += from->blocks;
    to->bytes += from->bytes;
}

/* By the site's number. */
static struct stats_stack *by_site(const struct stats *s, const struct cli_sites *sites)
{
    struct stats_stack *sums = cli_alloc(sites->count, sizeof *sums);
    for (uint32_t i = 0; i < s->stack_room; i++) {
        struct stats_stack *sum = &sums[cli_site_of(sites, i)];
        add(&sum->requested, &s->stacks[i].requested);
        add(&sum->live, &s->stacks[i].live);
        add(&sum->at_peak, &s->stacks[i].at_peak);
        add(&sum->temporary, &s->stacks[i].temporary);
    }
    return sums;
}

static const struct stats_amount *amount(const struct stats_stack *s, enum stats_measure measure)
{
    return measure == STATS_PEAK               ? &s->at_peak
           : measure == STATS_TEMPORARY_BLOCKS ? &s->temporary
                                               : &s->requested;
}

static uint64_t value(const struct stats_stack *s, enum stats_measure measure)
{
    const struct stats_amount *a = amount(s, measure);
    return measure == STATS_COUNT || measure == STATS_TEMPORARY_BLOCKS ? a->blocks : a->bytes;
}

/* The sites with the most, at most `room`, the one with the most first. */
static size_t rank(const struct stats_stack *sums, uint32_t count, enum stats_measure measure,
                   uint32_t *best, size_t room)
{
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t mine = value(&sums[i], measure);
        if (mine == 0 || (n == room && mine <= value(&sums[best[n - 1]], measure)))
            continue;
        size_t at = n < room ? n++ : room - 1;
        for (; at > 0 && value(&sums[best[at - 1]], measure) < mine; at--)
            best[at] = best[at - 1];
        best[at] = i;
    }
    return n;
}

static void print_top(const struct stats_stack *sums, const struct cli_sites *sites,
                      enum stats_measure measure, const char *title)
{
    uint32_t best[TOP];
    uint64_t all = 0;
    struct cli_table t = {.columns = 4, .left_columns = 1, .names_first = true};
    const size_t n = rank(sums, sites->count, measure, best, TOP);
    static const char *const titles[] = {"site", "bytes", "blocks", "of all"};
    if (n == 0)
        return;
    for (uint32_t i = 0; i < sites->count; i++)
        all += value(&sums[i], measure);
    for (size_t i = 0; i < 4; i++)
        cli_table_add(&t, "%s", titles[i]);
    for (size_t i = 0; i < n; i++) {
        const struct stats_amount *a = amount(&sums[best[i]], measure);
        cli_table_add(&t, "%s", sites->list[best[i]].name);
        cli_table_add(&t, "%s", cli_bytes(a->bytes).chars);
        cli_table_add(&t, "%s", cli_count(a->blocks).chars);
        cli_table_add(&t, "%.1f %%", (double)value(&sums[best[i]], measure) / (double)all * 100);
    }
    printf("\n%s\n", title);
    cli_table_print(&t, stdout);
}

void stats_print_sites(const struct stats *s, const struct cli_sites *sites)
{
    struct stats_stack *sums = by_site(s, sites);
    print_top(sums, sites, STATS_BYTES, "Who asks for most, requests to resize included");
    print_top(sums, sites, STATS_PEAK, "Whose blocks live when most is live");
    print_top(sums, sites, STATS_TEMPORARY_BLOCKS, "Whose blocks are soon freed");
    free(sums);
}

static void json_text(const char *key, const char *text)
{
    printf(",\"%s\":", key);
    cli_print_json_string(stdout, text);
}

static void json_amount(const char *key, const struct stats_amount *a)
{
    printf(",\"%s\":%" PRIu64 ",\"%s_blocks\":%" PRIu64, key, a->bytes, key, a->blocks);
}

/* The sites, the one that asks for most first. */
void stats_print_json_sites(const struct stats *s, const struct cli_sites *sites, const char *path)
{
    struct stats_stack *sums = by_site(s, sites);
    uint32_t *best = cli_alloc(sites->count, sizeof *best);
    const size_t n = rank(sums, sites->count, STATS_BYTES, best, STATS_MOST_SITES);
    for (size_t i = 0; i < n; i++) {
        const struct cli_site *site = &sites->list[best[i]];
        fputs("{\"trace\":", stdout);
        cli_print_json_string(stdout, path);
        fputs(",\"kind\":\"site\"", stdout);
        json_text("site", site->name);
        if (site->frame != NULL) {
            json_text("function", site->frame->function);
            json_text("file", site->frame->file);
            json_text("module", site->frame->module);
            printf(",\"line\":%" PRIu32 ",\"offset\":%" PRIu64, site->frame->line,
                   site->frame->offset);
        }
        json_amount("requested", &sums[best[i]].requested);
        json_amount("at_peak", &sums[best[i]].at_peak);
        json_amount("temporary", &sums[best[i]].temporary);
        json_amount("never_freed", &sums[best[i]].live);
        puts("}");
    }
    free(best);
    free(sums);
}

/* ---- Collapsed stacks, as flame graphs are made of: a line each, the outermost function first.
 * ---- */

/* A semicolon in a name would separate functions. */
static void print_frame(const struct hmm_trace_frame *f)
{
    if (f->function[0] == '\0') {
        char *name = cli_frame_name(f);
        fputs(name, stdout);
        free(name);
    }
    for (const char *c = f->function; *c != '\0'; c++)
        putchar(*c == ';' ? ':' : *c);
}

void stats_print_collapsed(const struct stats *s, const struct hmm_trace_stacks *stacks,
                           enum stats_measure measure)
{
    struct hmm_trace_stack stack;
    for (uint32_t i = 0; i < s->stack_room; i++) {
        const uint64_t mine = value(&s->stacks[i], measure);
        if (mine == 0)
            continue;
        const bool known = hmm_trace_stack_at(stacks, i, &stack);
        if (!known)
            fputs("(not known)", stdout);
        for (uint32_t f = known ? stack.depth : 0; f-- > 0;) {
            const struct hmm_trace_frame *frame = hmm_trace_frame_at(stacks, stack.frames[f]);
            if (frame != NULL)
                print_frame(frame);
            else
                putchar('?');
            if (f != 0)
                putchar(';');
        }
        printf(" %" PRIu64 "\n", mine);
    }
}
