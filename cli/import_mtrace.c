/* SPDX-License-Identifier: MIT */
/*
 * The logs of glibc's mtrace(): `@ CALLER + ADDRESS SIZE` allocates, `- ADDRESS` frees, `< ADDRESS`
 * and then `> ADDRESS SIZE` is one resize, `! ADDRESS SIZE` one that failed. A caller may have
 * blanks in it, so lines are read from their end. They do not tell alignments.
 */
#include "import.h"

#include <string.h>

struct mtrace {
    bool resizing; /* `was` has been read, its other half not yet */
    uint64_t was;
};

static bool begins(const char *line)
{
    return strncmp(line, "= Start", 7) == 0 || strncmp(line, "@ ", 2) == 0;
}

/* Cuts the last word off; NULL where there is none. */
static char *last_word(char *line)
{
    char *blank = strrchr(line, ' ');
    if (blank == NULL)
        return NULL;
    *blank = '\0';
    return blank + 1;
}

/* A pointer as printf writes it. */
static bool pointer(const char *text, uint64_t *address)
{
    if (text != NULL && strcmp(text, "(nil)") == 0) {
        *address = 0;
        return true;
    }
    return text != NULL && strncmp(text, "0x", 2) == 0 && import_number(text, 16, address);
}

static bool is_kind(const char *word, const char *kinds)
{
    return word != NULL && word[0] != '\0' && strchr(kinds, word[0]) != NULL && word[1] == '\0';
}

/* Where a line's kind stands, which is its first word where no caller is told. */
static const char *kind_word(char *line)
{
    const char *word = last_word(line);
    return word != NULL ? word : line;
}

struct entry {
    char kind;
    uint64_t address, size;
};

static bool parse(char *line, struct entry *e)
{
    char *last = last_word(line), *before = line;
    if (last == NULL)
        return false;
    const char *word = kind_word(before);
    if (is_kind(word, "-<")) {
        e->kind = word[0];
        return pointer(last, &e->address);
    }
    /* The word was the address, and the last one the size. */
    const char *address = word;
    const char *kind = address != line ? kind_word(line) : NULL;
    if (!is_kind(kind, "+>!") || !pointer(address, &e->address))
        return false;
    e->kind = kind[0];
    return import_number(last, 16, &e->size);
}

static bool resize(struct import *m, struct mtrace *s, const struct entry *e)
{
    if (!s->resizing)
        return import_fail(m, "the end of a resize that has not begun");
    s->resizing = false;
    return import_resize(m, s->was, e->address, e->size);
}

static bool take(struct import *m, char *line)
{
    struct mtrace *s = m->state;
    struct entry e = {'\0', 0, 0};
    if (line[0] == '=' || line[0] == '\0')
        return true;
    if (!parse(line, &e))
        return import_fail(m, "not a line of mtrace()");
    if (s->resizing && e.kind != '>')
        return import_fail(m, "a resize has begun and does not end");
    switch (e.kind) {
    case '+':
        if (e.address != 0)
            return import_allocate(m, e.address, e.size);
        m->left_out.failed++;
        return true;
    case '-':
        if (e.address != 0)
            return import_free(m, e.address);
        m->left_out.nulls++;
        return true;
    case '<':
        s->resizing = true;
        s->was = e.address;
        return true;
    case '>':
        return resize(m, s, &e);
    default:
        m->left_out.failed++;
        return true;
    }
}

static bool end(struct import *m)
{
    const struct mtrace *s = m->state;
    return !s->resizing || import_fail(m, "cut short: a resize has begun and does not end");
}

const struct import_format import_mtrace = {
    .name = "mtrace",
    .of = "glibc's mtrace()",
    .begins = begins,
    .state_size = sizeof(struct mtrace),
    .take = take,
    .end = end,
};
