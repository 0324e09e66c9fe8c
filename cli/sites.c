/* SPDX-License-Identifier: MIT */
/*
 * Call sites: see sites.h.
 */
#include "sites.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

char *cli_frame_name(const struct hmm_trace_frame *f)
{
    const char *module = f->module[0] != '\0' ? base_name(f->module) : "?";
    const size_t room = strlen(f->function) + strlen(f->file) + strlen(module) + 64;
    char *name = cli_alloc(room, 1);
    if (f->function[0] == '\0')
        snprintf(name, room, "%s+0x%" PRIx64, module, f->offset);
    else if (f->file[0] == '\0')
        snprintf(name, room, "%s [%s]", f->function, module);
    else
        snprintf(name, room, "%s (%s:%" PRIu32 ")", f->function, base_name(f->file), f->line);
    return name;
}

/* ---- Which frame it is ---- */

static bool contains(const char *text, const char *part)
{
    const size_t length = strlen(part);
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)text[i]) == part[i])
            i++;
        if (i == length)
            return true;
    }
    return false;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* By its name, with which people say what it is for. */
static bool is_allocation(const char *function)
{
    static const char *const parts[] = {"malloc",   "calloc", "realloc",
                                        "memalign", "strdup", "strndup"};
    static const char *const heads[] = {"operator new", "_Zn",
                                        "std::", "void* std::", "__gnu_cxx::"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (contains(function, parts[i]))
            return true;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        if (begins(function, heads[i]))
            return true;
    return false;
}

/* The frame's number; false iff no frame is defined. Where all are allocation functions, it is the
 * innermost. */
static bool site_frame(const struct hmm_trace_stacks *s, const struct hmm_trace_stack *stack,
                       uint32_t *number)
{
    bool found = false;
    for (uint32_t i = 0; i < stack->depth; i++) {
        const struct hmm_trace_frame *f = hmm_trace_frame_at(s, stack->frames[i]);
        if (f == NULL)
            continue;
        if (!found)
            *number = stack->frames[i];
        found = true;
        if (!is_allocation(f->function)) {
            *number = stack->frames[i];
            return true;
        }
    }
    return found;
}

/* ---- All of them ---- */

static uint32_t add(struct cli_sites *s, char *name, const struct hmm_trace_frame *frame)
{
    if (s->count == s->room) {
        const uint32_t room = s->room == 0 ? 64 : 2 * s->room;
        struct cli_site *list = cli_alloc(room, sizeof *list);
        if (s->count != 0)
            memcpy(list, s->list, s->count * sizeof *list);
        free(s->list);
        s->list = list;
        s->room = room;
    }
    s->list[s->count] = (struct cli_site){name, frame};
    return s->count++;
}

struct names { /* a hash table of names, by site and 1 */
    uint32_t *slots;
    uint32_t mask;
};

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

/* The site of this name. Addresses of one line are one site. */
static uint32_t by_name(struct cli_sites *s, struct names *n, const struct hmm_trace_frame *frame)
{
    char *name = cli_frame_name(frame);
    uint32_t i = hash_of(name) & n->mask;
    for (; n->slots[i] != 0; i = (i + 1) & n->mask)
        if (strcmp(s->list[n->slots[i] - 1].name, name) == 0) {
            free(name);
            return n->slots[i] - 1;
        }
    const uint32_t site = add(s, name, frame);
    n->slots[i] = site + 1;
    return site;
}

void cli_sites_open(struct cli_sites *s, const struct hmm_trace_stacks *stacks)
{
    struct names names = {NULL, 1023};
    struct hmm_trace_stack stack;
    uint32_t frame;
    *s = (struct cli_sites){.stacks = stacks, .stack_room = stacks->stack_room};
    while (names.mask < 2 * stacks->stack_room)
        names.mask = 2 * names.mask + 1;
    names.slots = cli_alloc((size_t)names.mask + 1, sizeof *names.slots);
    s->of_stack = cli_alloc((size_t)s->stack_room + 1, sizeof *s->of_stack);
    add(s, strcpy(cli_alloc(16, 1), "(not known)"), NULL);
    for (uint32_t i = 0; i < s->stack_room; i++)
        if (hmm_trace_stack_at(stacks, i, &stack) && site_frame(stacks, &stack, &frame))
            s->of_stack[i] = by_name(s, &names, hmm_trace_frame_at(stacks, frame));
    free(names.slots);
}

void cli_sites_close(struct cli_sites *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        free(s->list[i].name);
    free(s->list);
    free(s->of_stack);
    *s = (struct cli_sites){0};
}
