/* SPDX-License-Identifier: MIT */
/*
 * heaptrack's files, raw or interpreted. Numbers are in base 16. The raw ones have addresses:
 *
 *     + SIZE TRACE ADDRESS     - ADDRESS
 *
 * The interpreted ones have numbered kinds of allocations, of a size and from a place, and tell of
 * what kind a block is, not which one: of those that live the youngest is taken to be freed.
 *
 *     a SIZE TRACE             + KIND             - KIND
 *
 * A resize is a free and an allocation there. All other lines are about something else.
 */
#include "import.h"

#include <stdlib.h>
#include <string.h>

struct kind {
    uint64_t size;
    uint32_t youngest; /* ID of the block that was allocated last; IMPORT_NO_ID: none lives */
};

struct heaptrack {
    struct kind *kinds; /* of an interpreted file */
    size_t count, room;
    uint32_t *older; /* by ID: the one of its kind that was allocated before; or IMPORT_NO_ID */
    size_t older_room;
    bool has_version;
};

static bool begins(const char *line)
{
    char text[64];
    char *words[3];
    uint64_t number;
    if (strlen(line) >= sizeof text || line[0] != 'v')
        return false;
    strcpy(text, line);
    return import_words(text, ' ', words, 3) >= 2 && strcmp(words[0], "v") == 0 &&
           import_number(words[1], 16, &number);
}

static bool wrong(struct import *m)
{
    return import_fail(m, "not a line of heaptrack's");
}

static bool take_kind(struct import *m, struct heaptrack *h, const char *size)
{
    struct kind kind = {0, IMPORT_NO_ID};
    if (!import_number(size, 16, &kind.size))
        return wrong(m);
    h->kinds = import_grown(h->kinds, &h->room, h->count + 1, sizeof *h->kinds);
    h->kinds[h->count++] = kind;
    return true;
}

static bool allocate_kind(struct import *m, struct heaptrack *h, struct kind *kind)
{
    uint32_t id;
    if (!import_new_block(m, kind->size, &id))
        return false;
    h->older = import_grown(h->older, &h->older_room, (size_t)id + 1, sizeof *h->older);
    h->older[id] = kind->youngest;
    kind->youngest = id;
    return true;
}

static bool free_kind(struct import *m, struct heaptrack *h, struct kind *kind)
{
    const uint32_t id = kind->youngest;
    if (id == IMPORT_NO_ID) {
        m->left_out.unknown++;
        return true;
    }
    kind->youngest = h->older[id];
    return import_drop_block(m, id);
}

static bool take_interpreted(struct import *m, struct heaptrack *h, char sign, const char *word)
{
    uint64_t number;
    if (!import_number(word, 16, &number) || number >= h->count)
        return wrong(m);
    struct kind *kind = &h->kinds[number];
    return sign == '+' ? allocate_kind(m, h, kind) : free_kind(m, h, kind);
}

static bool take_raw(struct import *m, char **words, size_t count)
{
    uint64_t size, address;
    if (words[0][0] == '-')
        return count == 2 && import_number(words[1], 16, &address) ? import_free(m, address)
                                                                   : wrong(m);
    if (count != 4 || !import_number(words[1], 16, &size) || !import_number(words[3], 16, &address))
        return wrong(m);
    return import_allocate(m, address, size);
}

static bool take(struct import *m, char *line)
{
    struct heaptrack *h = m->state;
    char *words[5];
    const char sign = line[0];
    h->has_version = h->has_version || begins(line);
    if (sign == '\0' || strchr("+-a", sign) == NULL || line[1] != ' ')
        return true;
    const size_t count = import_words(line, ' ', words, 5);
    if (sign == 'a')
        return count == 3 ? take_kind(m, h, words[1]) : wrong(m);
    if (h->count != 0)
        return count == 2 ? take_interpreted(m, h, sign, words[1]) : wrong(m);
    return take_raw(m, words, count);
}

/* Lines about something else are let pass, so any file of text comes to its end: whether it is
 * heaptrack's is told here. */
static bool end(struct import *m)
{
    const struct heaptrack *h = m->state;
    return h->has_version || m->ops != 0 || import_fail(m, "no line of heaptrack's in it");
}

static void free_state(void *state)
{
    struct heaptrack *h = state;
    free(h->kinds);
    free(h->older);
}

const struct import_format import_heaptrack = {
    .name = "heaptrack",
    .of = "heaptrack, raw or interpreted",
    .begins = begins,
    .state_size = sizeof(struct heaptrack),
    .take = take,
    .end = end,
    .free_state = free_state,
};
