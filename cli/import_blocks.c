/* SPDX-License-Identifier: MIT */
/*
 * The blocks of an imported log: from addresses to IDs, and from what happens to them to
 * operations.
 */
#include "import.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Words ---- */

bool import_fail(struct import *m, const char *format, ...)
{
    char reason[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    cli_progress_hide();
    fprintf(stderr, "%s:", cli_visible(m->path));
    if (m->line != 0)
        fprintf(stderr, "%llu:", (unsigned long long)m->line);
    if (m->byte != 0)
        fprintf(stderr, " byte %llu:", (unsigned long long)m->byte);
    fprintf(stderr, " %s\n", cli_visible(reason));
    m->failed = true;
    return false;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

bool import_number(const char *text, int base, uint64_t *number)
{
    if (base == 16 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        text += 2;
    if (*text == '\0')
        return false;
    for (*number = 0; *text != '\0'; text++) {
        const int d = digit(*text);
        if (d >= base || *number > (UINT64_MAX - (unsigned)d) / (unsigned)base)
            return false;
        *number = *number * (unsigned)base + (unsigned)d;
    }
    return true;
}

size_t import_words(char *line, char separator, char **words, size_t most)
{
    size_t count = 0;
    for (char *next = line; next != NULL && count < most; count++) {
        words[count] = next;
        next = strchr(next, separator);
        if (next != NULL && count + 1 < most)
            *next++ = '\0';
    }
    return count;
}

/* ---- Arrays ---- */

void *import_grown(void *array, size_t *room, size_t needed, size_t item)
{
    size_t more = *room == 0 ? 1024 : *room;
    while (more < needed)
        more *= 2;
    if (more == *room)
        return array;
    void *grown = cli_alloc(more, item);
    if (*room != 0)
        memcpy(grown, array, *room * item);
    free(array);
    *room = more;
    return grown;
}

/* ---- Keys: linear probing ---- */

/* The high bits of a product (Dietzfelbinger and others, 1997). The factor is random, so that no
 * file can be made whose keys all have the same home. */
static size_t home(const struct import *m, uint64_t key)
{
    return (size_t)(key * m->factor >> m->home_shift);
}

static void choose_factor(struct import *m)
{
    if (getentropy(&m->factor, sizeof m->factor) != 0)
        m->factor = UINT64_C(0x9e3779b97f4a7c15);
    m->factor |= 1;
}

/* Where the key is, or the empty place where it would be. */
static struct import_slot *slot_of(const struct import *m, uint64_t key)
{
    size_t i = home(m, key);
    while (m->slots[i].id != IMPORT_NO_ID && m->slots[i].key != key)
        i = (i + 1) & (m->slot_room - 1);
    return &m->slots[i];
}

static void grow_slots(struct import *m)
{
    struct import_slot *old = m->slots;
    const size_t room = m->slot_room;
    if (room == 0)
        choose_factor(m);
    m->slot_room = room == 0 ? 1024 : room * 2;
    m->home_shift = room == 0 ? 64 - 10 : m->home_shift - 1;
    m->slots = cli_alloc(m->slot_room, sizeof *m->slots);
    for (size_t i = 0; i < m->slot_room; i++)
        m->slots[i].id = IMPORT_NO_ID;
    for (size_t i = 0; i < room; i++)
        if (old[i].id != IMPORT_NO_ID)
            *slot_of(m, old[i].key) = old[i];
    free(old);
}

static uint32_t find(const struct import *m, uint64_t key)
{
    return m->slot_room != 0 ? slot_of(m, key)->id : IMPORT_NO_ID;
}

static void remember(struct import *m, uint64_t key, uint32_t id)
{
    if (m->slot_count * 2 >= m->slot_room)
        grow_slots(m);
    *slot_of(m, key) = (struct import_slot){key, id};
    m->slot_count++;
}

/* Removes the key. Entries behind it that would no longer be found move up. */
static void forget(struct import *m, uint64_t key)
{
    const size_t mask = m->slot_room - 1;
    size_t hole = (size_t)(slot_of(m, key) - m->slots);
    for (size_t i = (hole + 1) & mask; m->slots[i].id != IMPORT_NO_ID; i = (i + 1) & mask) {
        if (((i - home(m, m->slots[i].key)) & mask) < ((i - hole) & mask))
            continue;
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole].id = IMPORT_NO_ID;
    m->slot_count--;
}

/* ---- IDs ---- */

static uint32_t take_id(struct import *m)
{
    return m->unused_count != 0 ? m->unused[--m->unused_count] : m->ids++;
}

static void give_id(struct import *m, uint32_t id)
{
    m->unused = import_grown(m->unused, &m->unused_room, m->unused_count + 1, sizeof *m->unused);
    m->unused[m->unused_count++] = id;
}

/* ---- Operations ---- */

/* A trace cannot have more bytes live than a program's address space. False, said, iff it would. */
static bool hold(struct import *m, uint32_t id, uint64_t size)
{
    m->sizes = import_grown(m->sizes, &m->size_room, (size_t)id + 1, sizeof *m->sizes);
    m->live -= m->sizes[id];
    m->sizes[id] = 0;
    if (size > PTRDIFF_MAX)
        return import_fail(m, "a block of %llu bytes, which no heap can have",
                           (unsigned long long)size);
    if (size > PTRDIFF_MAX - m->live)
        return import_fail(m, "a block of %llu bytes: all live blocks would be above %lld bytes",
                           (unsigned long long)size, (long long)PTRDIFF_MAX);
    m->sizes[id] = size;
    m->live += size;
    return true;
}

/* If it fails, the writer keeps the reason and reports it when it is closed. */
static bool write_aligned(struct import *m, enum hmm_trace_kind kind, uint32_t id, uint64_t size,
                          unsigned align_log2)
{
    const struct hmm_trace_op op = {
        .size = size, .id = id, .kind = (uint8_t)kind, .align_log2 = align_log2 & 63u};
    if (!hold(m, id, size))
        return false;
    m->ops++;
    return hmm_trace_write(m->writer, &op);
}

static bool write_op(struct import *m, enum hmm_trace_kind kind, uint32_t id, uint64_t size)
{
    return write_aligned(m, kind, id, size, 0);
}

bool import_new_block(struct import *m, uint64_t size, uint32_t *id)
{
    *id = take_id(m);
    return write_op(m, HMM_TRACE_ALLOC, *id, size);
}

bool import_drop_block(struct import *m, uint32_t id)
{
    give_id(m, id);
    return write_op(m, HMM_TRACE_FREE, id, 0);
}

/* Frees the block that has the key: its own free is missing from the log. */
static bool vacate(struct import *m, uint64_t key)
{
    const uint32_t id = find(m, key);
    if (id == IMPORT_NO_ID)
        return true;
    m->unseen++;
    forget(m, key);
    return import_drop_block(m, id);
}

bool import_allocate(struct import *m, uint64_t key, uint64_t size)
{
    uint32_t id;
    if (!vacate(m, key) || !import_new_block(m, size, &id))
        return false;
    remember(m, key, id);
    return true;
}

bool import_allocate_aligned(struct import *m, uint64_t key, uint64_t size, unsigned log2)
{
    if (!vacate(m, key))
        return false;
    const uint32_t id = take_id(m);
    if (!write_aligned(m, HMM_TRACE_ALIGNED, id, size, log2))
        return false;
    remember(m, key, id);
    return true;
}

static int by_id(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

bool import_free_all(struct import *m)
{
    uint32_t *ids = cli_alloc(m->slot_count + 1, sizeof *ids);
    size_t count = 0;
    for (size_t i = 0; i < m->slot_room; i++) {
        if (m->slots[i].id != IMPORT_NO_ID)
            ids[count++] = m->slots[i].id;
        m->slots[i].id = IMPORT_NO_ID;
    }
    m->slot_count = 0;
    qsort(ids, count, sizeof *ids, by_id);
    bool good = true;
    for (size_t i = 0; i < count && good; i++)
        good = import_drop_block(m, ids[i]);
    free(ids);
    return good;
}

bool import_free(struct import *m, uint64_t key)
{
    const uint32_t id = find(m, key);
    if (id == IMPORT_NO_ID) {
        m->left_out.unknown++;
        return true;
    }
    forget(m, key);
    return import_drop_block(m, id);
}

bool import_resize(struct import *m, uint64_t was, uint64_t now, uint64_t size)
{
    const uint32_t id = find(m, was);
    if (id == IMPORT_NO_ID)
        return import_allocate(m, now, size);
    if (was != now) {
        if (!vacate(m, now))
            return false;
        forget(m, was);
        remember(m, now, id);
    }
    return write_op(m, HMM_TRACE_RESIZE, id, size);
}

void import_blocks_free(struct import *m)
{
    free(m->slots);
    free(m->unused);
    free(m->sizes);
}
