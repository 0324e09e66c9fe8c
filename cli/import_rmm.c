/* SPDX-License-Identifier: MIT */
/*
 * The CSV logs of RMM, the RAPIDS Memory Manager, which its logging_resource_adaptor writes. The
 * first line names the columns; of these Action, Pointer and Size are used. Actions are "allocate",
 * "free" or, in later versions, "deallocate", and "allocate failure".
 */
#include "import.h"

#include <stdlib.h>
#include <string.h>

#define MOST_COLUMNS 32

struct rmm {
    bool begun; /* the heading has been read */
    size_t columns, action, pointer, size;
};

static bool begins(const char *line)
{
    return strstr(line, "Action,") != NULL && strstr(line, "Pointer,") != NULL &&
           strstr(line, "Size") != NULL;
}

static size_t column(char **words, size_t count, const char *name)
{
    size_t i = 0;
    while (i < count && strcmp(words[i], name) != 0)
        i++;
    return i;
}

static bool take_heading(struct import *m, struct rmm *r, char **words, size_t count)
{
    r->begun = true;
    r->columns = count;
    r->action = column(words, count, "Action");
    r->pointer = column(words, count, "Pointer");
    r->size = column(words, count, "Size");
    if (r->action < count && r->pointer < count && r->size < count)
        return true;
    return import_fail(m, "no heading with the columns Action, Pointer and Size");
}

static bool is_free(const char *action)
{
    return strcmp(action, "free") == 0 || strcmp(action, "deallocate") == 0;
}

/* A request for no bytes may get no block: as many as the program likes, and none to be freed. */
static bool allocate(struct import *m, uint64_t pointer, uint64_t size)
{
    if (pointer != 0 || size != 0)
        return import_allocate(m, pointer, size);
    m->left_out.empty++;
    return true;
}

static bool take_row(struct import *m, const struct rmm *r, char **words)
{
    const char *action = words[r->action];
    uint64_t pointer, size;
    if (strcmp(action, "allocate failure") == 0) {
        m->left_out.failed++;
        return true;
    }
    const char *text = words[r->pointer];
    if (strcmp(text, "(nil)") == 0)
        text = "0x0";
    if (!import_number(text, 16, &pointer) || !import_number(words[r->size], 10, &size))
        return import_fail(m, "'%.80s' and '%.80s' are no address and size", words[r->pointer],
                           words[r->size]);
    if (strcmp(action, "allocate") == 0)
        return allocate(m, pointer, size);
    if (!is_free(action))
        return import_fail(m,
                           "unknown action '%.80s'; allowed: allocate, allocate failure, free, "
                           "deallocate",
                           action);
    if (pointer != 0)
        return import_free(m, pointer);
    m->left_out.nulls++;
    return true;
}

static bool take(struct import *m, char *line)
{
    struct rmm *r = m->state;
    char *words[MOST_COLUMNS];
    if (line[0] == '\0')
        return true;
    const size_t count = import_words(line, ',', words, MOST_COLUMNS);
    if (!r->begun)
        return take_heading(m, r, words, count);
    if (count != r->columns)
        return import_fail(m, "%zu columns, where the heading has %zu", count, r->columns);
    return take_row(m, r, words);
}

const struct import_format import_rmm = {
    .name = "rmm",
    .of = "RMM, the RAPIDS Memory Manager",
    .begins = begins,
    .state_size = sizeof(struct rmm),
    .take = take,
};
