/* SPDX-License-Identifier: MIT */
/*
 * The traces of CS:APP's malloc lab. They begin with numbers, a line each: a heap size, how many
 * IDs and operations there are, and a weight. Then `a ID SIZE`, `r ID SIZE` and `f ID`; the ID -1
 * is no block.
 */
#include "import.h"

#include <string.h>

#define HEADER_OPS 2 /* which of the numbers is that of the operations */
#define HEADER_LINES 4

struct rep {
    unsigned numbers; /* read so far */
    uint64_t ops, expected;
};

static bool begins(const char *line)
{
    uint64_t number;
    return import_number(line, 10, &number);
}

static bool take_header(struct import *m, struct rep *rep, const char *line)
{
    uint64_t number;
    if (rep->ops != 0 || rep->numbers == HEADER_LINES || !import_number(line, 10, &number))
        return import_fail(m, "'%.80s' is no operation: a ID SIZE, r ID SIZE or f ID", line);
    if (rep->numbers++ == HEADER_OPS)
        rep->expected = number;
    return true;
}

static bool take(struct import *m, char *line)
{
    struct rep *rep = m->state;
    char *words[4];
    uint64_t id, size = 0;
    if (line[0] == '\0')
        return true;
    if (strchr("arf", line[0]) == NULL || line[1] != ' ')
        return take_header(m, rep, line);
    const char kind = line[0];
    const size_t count = import_words(line, ' ', words, 4);
    rep->ops++;
    if (kind == 'f' && count == 2 && strcmp(words[1], "-1") == 0) {
        m->left_out.nulls++;
        return true;
    }
    if (count != (kind == 'f' ? 2 : 3) || !import_number(words[1], 10, &id) ||
        (kind != 'f' && !import_number(words[2], 10, &size)))
        return import_fail(m, "not an operation: a ID SIZE, r ID SIZE or f ID");
    if (kind == 'f')
        return import_free(m, id);
    return kind == 'a' ? import_allocate(m, id, size) : import_resize(m, id, id, size);
}

static bool end(struct import *m)
{
    const struct rep *rep = m->state;
    if (rep->numbers > HEADER_OPS && rep->ops != rep->expected)
        return import_fail(m, "cut short: it announces %llu operations and has %llu",
                           (unsigned long long)rep->expected, (unsigned long long)rep->ops);
    return true;
}

const struct import_format import_rep = {
    .name = "rep",
    .of = "CS:APP's malloc lab",
    .begins = begins,
    .state_size = sizeof(struct rep),
    .take = take,
    .end = end,
};
