/* SPDX-License-Identifier: MIT */
/*
 * Call stacks in the comments of a trace. A line that is not as it should be is a comment like any
 * other, so that no comment makes a trace unreadable; of two definitions the first counts.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_FIELD 1024u

/* ---- What lines say ---- */

struct cursor {
    const char *at, *end;
};

static bool take_number(struct cursor *c, unsigned base, uint64_t most, uint64_t *value)
{
    const char *start = c->at;
    *value = 0;
    for (; c->at < c->end; c->at++) {
        const char digit = *c->at;
        const unsigned d = digit >= '0' && digit <= '9'   ? (unsigned)(digit - '0')
                           : digit >= 'a' && digit <= 'f' ? (unsigned)(digit - 'a') + 10
                                                          : 16;
        if (d >= base)
            break;
        if (*value > (UINT64_MAX >> 4) / base)
            return false;
        *value = *value * base + d;
    }
    return c->at != start && *value <= most;
}

static bool take_text(struct cursor *c, const char *text)
{
    const size_t length = strlen(text);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, text, length) != 0)
        return false;
    c->at += length;
    return true;
}

/* A tab and what follows it, up to the next. */
static bool take_field(struct cursor *c, struct cursor *field)
{
    if (!take_text(c, "\t"))
        return false;
    field->at = c->at;
    while (c->at < c->end && *c->at != '\t')
        c->at++;
    field->end = c->at;
    return field->end - field->at < (ptrdiff_t)LONGEST_FIELD;
}

bool hmm_trace_is_mark(const char *line, size_t length)
{
    return length > 2 && line[0] == '#' && line[1] == '@' && line[2] >= '0' && line[2] <= '9';
}

/* ---- Tables by number ---- */

static bool reach(void **table, uint32_t *room, uint32_t number, size_t item)
{
    if (number < *room)
        return true;
    size_t want = *room == 0 ? 256 : *room;
    while (want <= number)
        want *= 2;
    char *grown = realloc(*table, want * item);
    if (grown == NULL)
        return false;
    memset(grown + *room * item, 0, (want - *room) * item);
    *table = grown;
    *room = (uint32_t)want;
    return true;
}

static void add_stack(struct hmm_trace_stacks *s, struct cursor c)
{
    uint32_t frames[HMM_TRACE_DEEPEST], depth = 0;
    uint64_t number, frame;
    if (!take_number(&c, 10, HMM_TRACE_MOST_STACKS, &number) || number == 0)
        return;
    while (depth < HMM_TRACE_DEEPEST && take_text(&c, " ")) {
        if (!take_number(&c, 10, HMM_TRACE_MOST_FRAMES, &frame))
            return;
        frames[depth++] = (uint32_t)frame;
    }
    void *table = s->stacks;
    if (c.at != c.end || depth == 0 ||
        !reach(&table, &s->stack_room, (uint32_t)number, sizeof *s->stacks))
        return;
    s->stacks = table;
    struct hmm_trace_stack *stack = &s->stacks[number];
    if (stack->frames != NULL || (stack->frames = malloc(depth * sizeof *frames)) == NULL)
        return;
    memcpy(stack->frames, frames, depth * sizeof *frames);
    stack->depth = depth;
}

static void add_frame(struct hmm_trace_stacks *s, struct cursor c)
{
    struct cursor field[5];
    uint64_t number, offset, line = 0;
    if (!take_number(&c, 10, HMM_TRACE_MOST_FRAMES, &number))
        return;
    for (int i = 0; i < 5; i++)
        if (!take_field(&c, &field[i]))
            return;
    void *table = s->frames;
    if (c.at != c.end || !take_number(&field[1], 16, UINT64_MAX, &offset) ||
        (field[4].at != field[4].end && !take_number(&field[4], 10, UINT32_MAX, &line)) ||
        !reach(&table, &s->frame_room, (uint32_t)number, sizeof *s->frames))
        return;
    s->frames = table;
    struct hmm_trace_frame *f = &s->frames[number];
    const size_t sizes[3] = {(size_t)(field[0].end - field[0].at),
                             (size_t)(field[2].end - field[2].at),
                             (size_t)(field[3].end - field[3].at)};
    char *text = f->module == NULL ? calloc(sizes[0] + sizes[1] + sizes[2] + 3, 1) : NULL;
    if (text == NULL)
        return;
    f->module = memcpy(text, field[0].at, sizes[0]);
    f->function = memcpy(text + sizes[0] + 1, field[2].at, sizes[1]);
    f->file = memcpy(text + sizes[0] + sizes[1] + 2, field[3].at, sizes[2]);
    f->offset = offset;
    f->line = (uint32_t)line;
}

void hmm_trace_comment(struct hmm_trace_comments *comments, const char *line, size_t length)
{
    struct cursor c = {line, line + length};
    uint64_t number;
    if (take_text(&c, "#@")) {
        comments->stacks.any = true;
        if (take_number(&c, 10, HMM_TRACE_MOST_STACKS, &number) && c.at == c.end)
            comments->stack = (uint32_t)number;
        else if (take_text(&c, " stack "))
            add_stack(&comments->stacks, c);
        else if (take_text(&c, " frame "))
            add_frame(&comments->stacks, c);
    }
    if (comments->take != NULL)
        comments->take(comments->arg, comments->op, line, length);
}

void hmm_trace_stacks_free(struct hmm_trace_stacks *s)
{
    for (uint32_t i = 0; i < s->stack_room; i++)
        free(s->stacks[i].frames);
    for (uint32_t i = 0; i < s->frame_room; i++)
        free(s->frames[i].module); /* the other strings are in the same memory */
    free(s->stacks);
    free(s->frames);
    *s = (struct hmm_trace_stacks){0};
}

bool hmm_trace_stack_at(const struct hmm_trace_stacks *s, uint32_t number,
                        struct hmm_trace_stack *stack)
{
    if (number >= s->stack_room || s->stacks[number].frames == NULL)
        return false;
    *stack = s->stacks[number];
    return true;
}

const struct hmm_trace_frame *hmm_trace_frame_at(const struct hmm_trace_stacks *s, uint32_t number)
{
    return number < s->frame_room && s->frames[number].module != NULL ? &s->frames[number] : NULL;
}

/* ---- Writing ---- */

bool hmm_trace_write_stack(struct hmm_trace_writer *w, uint32_t number,
                           const struct hmm_trace_stack *stack)
{
    char line[32 + 12 * HMM_TRACE_DEEPEST];
    int used = snprintf(line, sizeof line, "#@ stack %" PRIu32, number);
    for (uint32_t i = 0; i < stack->depth && i < HMM_TRACE_DEEPEST; i++)
        used += snprintf(line + used, sizeof line - (size_t)used, " %" PRIu32, stack->frames[i]);
    return hmm_trace_write_line(w, line, (size_t)used);
}

/* Leaves out bytes that would end the field or the line. */
static char *put_field(char *to, const char *text)
{
    *to++ = '\t';
    for (size_t i = 0; text[i] != '\0' && i < LONGEST_FIELD - 1; i++)
        *to++ = (unsigned char)text[i] < ' ' ? '?' : text[i];
    return to;
}

bool hmm_trace_write_frame(struct hmm_trace_writer *w, uint32_t number,
                           const struct hmm_trace_frame *f)
{
    char line[3 * LONGEST_FIELD + 96], *to = line;
    to += snprintf(to, 32, "#@ frame %" PRIu32, number);
    to = put_field(to, f->module);
    to += snprintf(to, 32, "\t%" PRIx64, f->offset);
    to = put_field(to, f->function);
    to = put_field(to, f->file);
    *to++ = '\t';
    if (f->line != 0)
        to += snprintf(to, 16, "%" PRIu32, f->line);
    return hmm_trace_write_line(w, line, (size_t)(to - line));
}

bool hmm_trace_write_stacks(struct hmm_trace_writer *w, const struct hmm_trace_stacks *s)
{
    bool good = true;
    for (uint32_t i = 0; good && i < s->frame_room; i++)
        if (s->frames[i].module != NULL)
            good = hmm_trace_write_frame(w, i, &s->frames[i]);
    for (uint32_t i = 0; good && i < s->stack_room; i++)
        if (s->stacks[i].frames != NULL)
            good = hmm_trace_write_stack(w, i, &s->stacks[i]);
    return good;
}
