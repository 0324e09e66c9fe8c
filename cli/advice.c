/* SPDX-License-Identifier: MIT */
/*
 * Which strategy to take under a goal, with the reason in figures and the line that applies it.
 */
#include "compare.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

const char *const advice_goals[] = {"memory", "speed", "bounded", "balanced", NULL};

/* Under "balanced" a heap that is at most this many percent larger than the smallest counts as
 * equally small. */
#define AS_SMALL 5

/* A smaller region has no cache (hmm_heap_set_cache). */
#define CACHE_LEAST (128 * 1024)

static bool is_ours(const struct row *r)
{
    return strcmp(r->kind, "strategy") == 0 || strcmp(r->kind, "plugin") == 0;
}

static bool is_candidate(const struct row *r)
{
    return is_ours(r) && r->smallest_heap > 0 && !(r->cache && r->smallest_heap < CACHE_LEAST);
}

/* The figures of a row: less is better; negative: not known. */
static double memory_of(const struct row *r)
{
    return (double)r->smallest_heap;
}

static double time_of(const struct row *r)
{
    return r->ns_per_op;
}

static double instructions_of(const struct row *r)
{
    return r->instructions_per_op;
}

static double worst_of(const struct row *r)
{
    return (double)r->worst_ns;
}

typedef double figure_of(const struct row *);

/* Whether the figure can be compared: a time means nothing where requests failed. */
static bool has_figure(const struct row *r, figure_of *figure)
{
    return figure(r) >= 0 && (figure == memory_of || r->failed <= 0);
}

/* ---- Worst operations that times do not tell apart ---- */

/* The noise that remains in the shortest time of an operation: a few percent of a long time, the
 * clock's resolution in a short one. */
static bool is_as_short(int64_t ns, int64_t least)
{
    return (double)ns <= (double)least * 1.05 + CLOCK_STEPS_NS;
}

static int64_t least_worst(const struct verdict *v)
{
    int64_t least = ROW_UNKNOWN;
    for (size_t i = 0; i < v->count; i++)
        if (is_candidate(&v->rows[i]) && has_figure(&v->rows[i], worst_of) &&
            (least < 0 || v->rows[i].worst_ns < least))
            least = v->rows[i].worst_ns;
    return least;
}

static bool has_fewer(const struct row *r, const struct row *other)
{
    if (r->worst_instructions != other->worst_instructions)
        return r->worst_instructions < other->worst_instructions;
    return r->smallest_heap < other->smallest_heap;
}

/* Among the rows whose longest operation is as short as the shortest, but for noise: the one with
 * the fewest instructions; NULL: none was counted. */
static const struct row *fewest_of_shortest(const struct verdict *v)
{
    const int64_t shortest = least_worst(v);
    const struct row *fewest = NULL;
    for (size_t i = 0; i < v->count; i++) {
        const struct row *r = &v->rows[i];
        if (is_candidate(r) && r->worst_instructions >= 0 && has_figure(r, worst_of) &&
            is_as_short(r->worst_ns, shortest) && (fewest == NULL || has_fewer(r, fewest)))
            fewest = r;
    }
    return fewest;
}

/* ---- The choice ---- */

/* The candidate with the lowest figure, of those whose heap is at most `limit`; 0: of any size. */
static const struct row *least(const struct verdict *v, figure_of *figure, double limit)
{
    const struct row *best = NULL;
    for (size_t i = 0; i < v->count; i++) {
        const struct row *r = &v->rows[i];
        if (!is_candidate(r) || !has_figure(r, figure) || (limit > 0 && memory_of(r) > limit))
            continue;
        if (best == NULL || figure(r) < figure(best) ||
            (!(figure(r) > figure(best)) && memory_of(r) < memory_of(best)))
            best = r;
    }
    return best;
}

/* Instructions do not vary from run to run; where they were counted they decide. */
static figure_of *speed_of(const struct verdict *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (is_candidate(&v->rows[i]) && v->rows[i].instructions_per_op >= 0)
            return instructions_of;
    return time_of;
}

static const struct row *choose(const struct verdict *v, const char *goal)
{
    const struct row *small = least(v, memory_of, 0), *chosen = NULL;
    if (small == NULL)
        return NULL;
    if (strcmp(goal, "speed") == 0)
        chosen = least(v, speed_of(v), 0);
    else if (strcmp(goal, "bounded") == 0 && (chosen = fewest_of_shortest(v)) == NULL)
        chosen = least(v, worst_of, 0);
    else if (strcmp(goal, "balanced") == 0)
        chosen = least(v, speed_of(v), memory_of(small) * (100 + AS_SMALL) / 100);
    return chosen != NULL ? chosen : small;
}

/* ---- Words ---- */

static double percent_above(double value, double base)
{
    return base > 0 ? (value / base - 1) * 100 : 0;
}

static const char *with_cache(const struct row *r)
{
    return r->cache ? " with the cache" : "";
}

static void __attribute__((format(printf, 3, 4)))
add(char *to, size_t room, const char *format, ...)
{
    va_list args;
    const size_t used = strlen(to);
    va_start(args, format);
    vsnprintf(to + used, room - used, format, args);
    va_end(args);
}

/* The second best, by the figure that decided. */
static const struct row *next_best(const struct verdict *v, const struct row *chosen,
                                   figure_of *figure)
{
    const struct row *best = NULL;
    for (size_t i = 0; i < v->count; i++) {
        const struct row *r = &v->rows[i];
        if (r != chosen && is_candidate(r) && has_figure(r, figure) &&
            (best == NULL || figure(r) < figure(best)))
            best = r;
    }
    return best;
}

static void tell_next(const struct verdict *v, const struct advice *a, figure_of *figure, char *to,
                      size_t room)
{
    const struct row *next = next_best(v, a->row, figure);
    if (next != NULL && figure(a->row) > 0)
        add(to, room, "; next is %s%s, %+.1f %%", next->allocator, with_cache(next),
            percent_above(figure(next), figure(a->row)));
}

static void tell_next_worst(const struct verdict *v, const struct advice *a, char *to, size_t room)
{
    const struct row *next = next_best(v, a->row, worst_of);
    if (next == NULL || next->worst_instructions < 0 ||
        !is_as_short(next->worst_ns, least_worst(v)))
        tell_next(v, a, worst_of, to, room);
    else
        add(to, room,
            "; %s%s, %" PRId64 " ns and %" PRId64 " instructions, is not told apart by time",
            next->allocator, with_cache(next), next->worst_ns, next->worst_instructions);
}

static void tell_speed(const struct verdict *v, const struct row *r, char *to, size_t room)
{
    if (speed_of(v) == instructions_of)
        add(to, room, "fewest instructions, %.1f an operation", r->instructions_per_op);
    else
        add(to, room, "fastest, at %.1f ns an operation", r->ns_per_op);
}

/* How far the strategies are from the least that any allocator could need. */
static void tell_distance(const struct verdict *v, const struct advice *a, char *to, size_t room)
{
    double nearest = -1, farthest = -1;
    if (v->optimum == NULL || v->optimum->lower <= 0)
        return;
    const double base = (double)v->optimum->lower;
    for (size_t i = 0; i < v->count; i++) {
        if (!is_candidate(&v->rows[i]))
            continue;
        const double above = percent_above(memory_of(&v->rows[i]), base);
        nearest = nearest < 0 || above < nearest ? above : nearest;
        farthest = above > farthest ? above : farthest;
    }
    add(to, room, "; the heap advised is %.1f %% above the least that any allocator could need",
        percent_above(memory_of(a->row), base));
    if (farthest > nearest)
        add(to, room, ", and the strategies stand %.1f to %.1f %% above it", nearest, farthest);
}

/* The best malloc library, where one was measured and does better by time. */
static void tell_others(const struct verdict *v, const struct advice *a, char *to, size_t room)
{
    const struct row *best = NULL;
    for (size_t i = 0; has_figure(a->row, time_of) && i < v->count; i++) {
        const struct row *r = &v->rows[i];
        if (!is_ours(r) && has_figure(r, time_of) && r->ns_per_op < a->row->ns_per_op &&
            (best == NULL || r->ns_per_op < best->ns_per_op))
            best = r;
    }
    if (best != NULL)
        add(to, room, "; %s is faster, %.1f ns an operation against %.1f", best->allocator,
            best->ns_per_op, a->row->ns_per_op);
}

static void give_reason(const struct verdict *v, const char *goal, struct advice *a)
{
    const struct row *r = a->row;
    char *to = a->reason;
    const size_t room = sizeof a->reason;
    to[0] = '\0';
    /* A figure that was not measured cannot have decided. */
    if (!has_figure(r, strcmp(goal, "bounded") == 0 ? worst_of : speed_of(v)))
        goal = "memory";
    if (strcmp(goal, "speed") == 0) {
        tell_speed(v, r, to, room);
        tell_next(v, a, speed_of(v), to, room);
    } else if (strcmp(goal, "bounded") == 0) {
        add(to, room, "least worst operation, %" PRId64 " ns", r->worst_ns);
        if (r->worst_instructions >= 0)
            add(to, room, " and %" PRId64 " instructions", r->worst_instructions);
        tell_next_worst(v, a, to, room);
    } else if (strcmp(goal, "balanced") == 0) {
        const struct row *small = least(v, memory_of, 0);
        tell_speed(v, r, to, room);
        add(to, room,
            ", of those whose heap is within %d %% of the smallest: %" PRId64 " bytes, %+.1f %%",
            AS_SMALL, r->smallest_heap, percent_above(memory_of(r), memory_of(small)));
    } else {
        add(to, room, "smallest heap, %" PRId64 " bytes", r->smallest_heap);
        tell_next(v, a, memory_of, to, room);
    }
    tell_distance(v, a, to, room);
    tell_others(v, a, to, room);
}

/* ---- What applies it ---- */

/*
 * The size for `hmm run --heap`: with head-room, since the program has threads, an environment and
 * addresses that the trace does not have. Rounded up to a KiB, and at least the smallest heap that
 * `hmm run` accepts.
 */
uint64_t advice_run_heap(uint64_t smallest)
{
    const uint64_t most = smallest + smallest / 100 * ADVICE_HEADROOM;
    return most < 4096 ? 4096 : (most + 1023) / 1024 * 1024;
}

/* What is larger than its place is cut; the last byte stays 0. */
static void give_command(struct advice *a)
{
    const struct row *r = a->row;
    const uint64_t heap = advice_run_heap((uint64_t)r->smallest_heap);
    const bool cache_is_off = !r->cache && heap >= CACHE_LEAST;
    FILE *to = fmemopen(a->command, sizeof a->command - 1, "w");
    if (to == NULL)
        return;
    fprintf(to, "%shmm run --strategy ", cache_is_off ? "HMM_CACHE=0 " : "");
    cli_print_shell_word(to, r->path != NULL ? r->path : r->allocator);
    fprintf(to, " --heap %" PRIu64 "K -- COMMAND", heap / 1024);
    fclose(to);
}

/* The name in C: of "best-fit" HMM_BEST_FIT. */
static void print_constant(FILE *to, const char *name)
{
    fputs("HMM_", to);
    for (; *name != '\0'; name++)
        fputc(*name == '-' ? '_' : toupper((unsigned char)*name), to);
}

static void print_c_string(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', to);
        fputc(*text, to);
    }
    fputc('"', to);
}

/* The same in C. A plug-in is found by its path. */
static void give_c(struct advice *a)
{
    const struct row *r = a->row;
    FILE *to = fmemopen(a->c, sizeof a->c - 1, "w");
    if (to == NULL)
        return;
    fprintf(to, "%shmm_heap_create(arena, %" PRId64 ", ", r->cache ? "heap = " : "",
            r->smallest_heap);
    if (strcmp(r->kind, "plugin") == 0) {
        fputs("hmm_strategy_find(", to);
        print_c_string(to, r->path != NULL ? r->path : r->allocator);
        fputc(')', to);
    } else {
        print_constant(to, r->allocator);
    }
    fprintf(to, ")%s", r->cache ? "; hmm_heap_set_cache(heap, 1)" : "");
    fclose(to);
}

void advice_find(const struct verdict *v, const char *goal, struct advice *a)
{
    *a = (struct advice){.row = choose(v, goal)};
    if (a->row == NULL)
        return;
    give_reason(v, goal, a);
    give_command(a);
    give_c(a);
}

void advice_print_json(FILE *to, const struct verdict *v, const char *goal, const struct advice *a)
{
    if (a->row == NULL)
        return;
    fputs("{\"trace\":", to);
    cli_print_json_string(to, v->trace);
    fprintf(to, ",\"advice\":{\"for\":\"%s\",\"allocator\":", goal);
    cli_print_json_string(to, a->row->allocator);
    fprintf(to, ",\"cache\":%s,\"heap\":%" PRId64 ",\"reason\":", a->row->cache ? "true" : "false",
            a->row->smallest_heap);
    cli_print_json_string(to, a->reason);
    fputs(",\"command\":", to);
    cli_print_json_string(to, a->command);
    fputs(",\"c\":", to);
    cli_print_json_string(to, a->c);
    fputs("}}\n", to);
}
