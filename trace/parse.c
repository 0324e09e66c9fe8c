/* SPDX-License-Identifier: MIT */
/*
 * One line of a trace. Strict on purpose: a line that is nearly right is a damaged file.
 */
#include "internal.h"

#include <stdarg.h>
#include <string.h>

/* Every number of so many digits fits into 64 bits. */
#define MOST_DIGITS 19

/* What is left of the line, and where a complaint goes. */
struct cursor {
    const char *at, *end;
    struct hmm_trace_error *error;
};

/* A piece of the file, fit to be shown. */
struct excerpt {
    char text[24];
};

bool hmm_trace_fail(struct hmm_trace_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->reason, sizeof error->reason, format, args);
    va_end(args);
    return false;
}

static struct excerpt excerpt(const char *from, const char *end)
{
    struct excerpt e;
    size_t n = 0;
    for (; from + n < end && n < sizeof e.text - 4; n++)
        e.text[n] = (char)(from[n] >= ' ' && from[n] <= '~' ? from[n] : '?');
    memcpy(e.text + n, from + n < end ? "..." : "", from + n < end ? 4 : 1);
    return e;
}

static const char *word_end(const char *at, const char *end)
{
    while (at < end && *at != ' ')
        at++;
    return at;
}

static bool bad_number(struct cursor *c, const char *name, const char *start)
{
    struct excerpt e = excerpt(start, word_end(start, c->end));
    return hmm_trace_fail(c->error, "%s is not a decimal number: '%s'", name, e.text);
}

static bool too_large(struct cursor *c, const char *name, const char *start)
{
    struct excerpt e = excerpt(start, word_end(start, c->end));
    return hmm_trace_fail(c->error, "%s is too large: %s", name, e.text);
}

/* A space and a number of at most `most`. */
static bool field(struct cursor *c, const char *name, uint64_t most, uint64_t *value)
{
    if (c->at == c->end)
        return hmm_trace_fail(c->error, "%s is missing", name);
    const char *start = ++c->at,
               *p = start; /* what was there is a space: see below, and letter() */
    uint64_t v = 0;
    for (unsigned digit; (digit = (unsigned)*p - '0') <= 9; p++)
        v = v * 10 + digit;
    if (p == c->end && p == start)
        return hmm_trace_fail(c->error, "%s is missing", name);
    if (p == start || (p != c->end && *p != ' '))
        return bad_number(c, name, start);
    if (p - start > MOST_DIGITS || v > most)
        return too_large(c, name, start);
    *value = v;
    c->at = p;
    return true;
}

static bool id_field(struct cursor *c, struct hmm_trace_op *op)
{
    uint64_t id = 0;
    bool good = field(c, "ID", UINT32_MAX - 1, &id);
    op->id = (uint32_t)id;
    return good;
}

static bool size_field(struct cursor *c, struct hmm_trace_op *op)
{
    return field(c, "SIZE", PTRDIFF_MAX, &op->size);
}

static bool align_field(struct cursor *c, struct hmm_trace_op *op)
{
    uint64_t align = 0;
    if (!field(c, "ALIGN", PTRDIFF_MAX, &align))
        return false;
    if (align == 0 || (align & (align - 1)) != 0)
        return hmm_trace_fail(c->error, "ALIGN is not a power of two: %llu",
                              (unsigned long long)align);
    while (align >>= 1)
        op->align_log2++;
    return true;
}

/* The operation's letter, alone in its word. */
static bool letter(struct cursor *c, struct hmm_trace_op *op)
{
    static const char letters[] = "amrf"; /* as in enum hmm_trace_kind */
    const char *start = c->at, *found = memchr(letters, *start, HMM_TRACE_KINDS);
    if (start == c->end)
        return hmm_trace_fail(c->error, "empty line");
    c->at = word_end(start, c->end);
    if (c->at - start != 1 || found == NULL) {
        struct excerpt e = excerpt(start, c->at);
        return hmm_trace_fail(c->error, "unknown operation '%s': it is one of a, m, r, f", e.text);
    }
    op->kind = (uint8_t)(found - letters);
    return true;
}

bool hmm_trace_parse(const char *line, const char *end, struct hmm_trace_op *op,
                     struct hmm_trace_error *error)
{
    struct cursor c = {line, end, error};
    *op = (struct hmm_trace_op){0};
    if (!letter(&c, op) || !id_field(&c, op))
        return false;
    if (op->kind == HMM_TRACE_ALIGNED && !align_field(&c, op))
        return false;
    if (op->kind != HMM_TRACE_FREE && !size_field(&c, op))
        return false;
    if (c.at == end)
        return true;
    struct excerpt e = excerpt(c.at + 1, end);
    return hmm_trace_fail(error, "more fields than '%c' has: '%s'", line[0], e.text);
}

bool hmm_trace_parse_header(const char *line, const char *end, struct hmm_trace_error *error)
{
    static const char magic[] = "# hmm-trace ";
    const size_t length = sizeof magic - 1;
    if ((size_t)(end - line) <= length || memcmp(line, magic, length) != 0)
        return hmm_trace_fail(error, "not a trace: the first line must be '%s%d'", magic,
                              HMM_TRACE_VERSION);
    line += length;
    if (end - line == 1 && *line == '0' + HMM_TRACE_VERSION)
        return true;
    struct excerpt e = excerpt(line, end);
    return hmm_trace_fail(error, "trace format '%s' is not known, only %d", e.text,
                          HMM_TRACE_VERSION);
}
