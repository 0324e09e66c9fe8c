/* SPDX-License-Identifier: MIT */
/*
 * Call stacks, as the process has noted them, become definitions in the trace. Addresses become
 * distances in a module as soon as all is known, at the end: the process need not be there any
 * more.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sites.h"

#include "symbols.h"

#include <stdlib.h>
#include <string.h>

/* ---- What comes from the process ---- */

static void *grow(void *array, uint32_t *room, size_t item, uint32_t last)
{
    size_t want = *room == 0 ? 64 : *room;
    while (want <= last)
        want *= 2;
    char *grown = realloc(array, want * item);
    if (grown == NULL)
        return NULL;
    memset(grown + *room * item, 0, (want - *room) * item);
    *room = (uint32_t)want;
    return grown;
}

static struct record_sites_stack *stack_at(struct record_sites *s, uint32_t stack)
{
    if (stack >= s->room) {
        void *grown = stack <= HMM_TRACE_MOST_STACKS
                          ? grow(s->stacks, &s->room, sizeof *s->stacks, stack)
                          : NULL;
        if (grown == NULL)
            return NULL;
        s->stacks = grown;
    }
    return &s->stacks[stack];
}

static void add_stack(struct record_sites *s)
{
    struct record_sites_stack *stack = stack_at(s, s->stack);
    uint32_t depth = s->count;
    while (depth > 0 && s->words[depth - 1] == 0)
        depth--;
    if (stack == NULL || stack->frames != NULL || depth == 0)
        return;
    stack->frames = malloc(depth * sizeof *stack->frames);
    if (stack->frames == NULL)
        return;
    memcpy(stack->frames, s->words, depth * sizeof *stack->frames);
    stack->depth = depth;
    stack->modules = s->module_count;
}

/* Its name is in the words from the fifth on: six bytes, eight, and so on. */
static char *name_of(const struct record_sites *s)
{
    char *name = calloc(8 * (size_t)s->count + 1, 1), *to = name;
    for (uint32_t i = 4; name != NULL && i < s->count; i++) {
        const size_t bytes = i % 2 == 0 ? 6 : 8;
        memcpy(to, &s->words[i], bytes);
        to += bytes;
    }
    return name;
}

static void add_module(struct record_sites *s)
{
    if (s->module_count == s->module_room) {
        void *grown = grow(s->modules, &s->module_room, sizeof *s->modules, s->module_count);
        if (grown == NULL)
            return;
        s->modules = grown;
    }
    char *name = s->count >= 4 ? name_of(s) : NULL;
    if (name != NULL)
        s->modules[s->module_count++] =
            (struct record_sites_module){s->words[0], s->words[1], s->words[3], name};
}

static void begin(struct record_sites *s, uint64_t place, uint64_t size)
{
    s->kind = (enum record_extra)(size & 255);
    s->stack = (uint32_t)(size >> 32);
    s->left = (uint32_t)(size >> 8) & 0xffff;
    s->count = 0;
    s->next = place + 1;
    if (s->kind == RECORD_EXTRA_USE) {
        s->left = 0;
        s->use_at = place + 1;
        s->use_stack = s->stack;
    }
}

bool record_sites_more(struct record_sites *s, uint64_t place, uint64_t what, uint64_t size)
{
    if (s->left == 0) {
        begin(s, place, size);
        return true;
    }
    const bool whole = place == s->next, within = place < s->next + s->left;
    if (!within) { /* the rest of it was never written */
        s->left = 0;
        return record_sites_take(s, place, what, size);
    }
    s->left -= (uint32_t)(place - s->next) + 1;
    s->next = place + 1;
    if (!whole)
        s->kind = RECORD_EXTRA_USE; /* there is a hole in it: nobody's */
    if (s->count + 2 <= RECORD_MOST_WORDS) {
        s->words[s->count++] = what >> RECORD_PLACE_SHIFT;
        s->words[s->count++] = size;
    }
    if (s->left == 0 && s->kind == RECORD_EXTRA_STACK)
        add_stack(s);
    else if (s->left == 0 && s->kind == RECORD_EXTRA_MODULE)
        add_module(s);
    return true;
}

uint32_t record_sites_number(struct record_sites *s, uint32_t stack)
{
    struct record_sites_stack *found = stack != 0 ? stack_at(s, stack) : NULL;
    if (found == NULL)
        return 0;
    if (found->number == 0 && s->used < HMM_TRACE_MOST_STACKS)
        found->number = ++s->used;
    return found->number;
}

void record_sites_free(struct record_sites *s)
{
    for (uint32_t i = 0; i < s->room; i++)
        free(s->stacks[i].frames);
    for (uint32_t i = 0; i < s->module_count; i++)
        free(s->modules[i].name);
    free(s->stacks);
    free(s->modules);
    *s = (struct record_sites){.strip = s->strip};
}

/* ---- Names ---- */

/* The distinct frames: a hash table of those of all stacks. */
struct frames {
    struct symbol *symbols; /* in the order of their numbers, from 0 */
    uint32_t count, room;
    uint32_t *slots; /* number and 1; 0: empty */
    uint32_t mask;
};

/* The last module that lay there when the stack was seen; else the first that did later. */
static uint32_t module_of(const struct record_sites *s, uint64_t address, uint32_t known)
{
    for (uint32_t i = known; i-- > 0;)
        if (address - 1 - s->modules[i].start < s->modules[i].end - s->modules[i].start)
            return i;
    for (uint32_t i = known; i < s->module_count; i++)
        if (address - 1 - s->modules[i].start < s->modules[i].end - s->modules[i].start)
            return i;
    return SYMBOL_NO_MODULE;
}

static uint32_t slot_of(const struct frames *f, uint32_t module, uint64_t offset)
{
    uint32_t i = (uint32_t)((offset * 31 + module) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & f->mask;
    while (f->slots[i] != 0 && (f->symbols[f->slots[i] - 1].module != module ||
                                f->symbols[f->slots[i] - 1].offset != offset))
        i = (i + 1) & f->mask;
    return i;
}

static bool rehash(struct frames *f)
{
    const uint32_t room = f->mask == 0 ? 1024 : 2 * (f->mask + 1);
    uint32_t *slots = calloc(room, sizeof *slots);
    if (slots == NULL)
        return false;
    free(f->slots);
    f->slots = slots;
    f->mask = room - 1;
    for (uint32_t i = 0; i < f->count; i++)
        f->slots[slot_of(f, f->symbols[i].module, f->symbols[i].offset)] = i + 1;
    return true;
}

/* The frame's number; UINT32_MAX iff there is no memory. */
static uint32_t number_of(struct frames *f, uint32_t module, uint64_t offset)
{
    if (2 * (f->count + 1) > f->mask && !rehash(f))
        return UINT32_MAX;
    const uint32_t slot = slot_of(f, module, offset);
    if (f->slots[slot] != 0)
        return f->slots[slot] - 1;
    if (f->count == f->room) {
        void *grown = grow(f->symbols, &f->room, sizeof *f->symbols, f->count);
        if (grown == NULL)
            return UINT32_MAX;
        f->symbols = grown;
    }
    f->symbols[f->count] = (struct symbol){.module = module, .offset = offset};
    f->slots[slot] = ++f->count;
    return f->count - 1;
}

static void write_stack(const struct record_sites *s, const struct record_sites_stack *stack,
                        struct frames *f, struct hmm_trace_writer *w)
{
    uint32_t numbers[HMM_TRACE_DEEPEST];
    struct hmm_trace_stack line = {numbers, 0};
    for (uint32_t i = 0; i < stack->depth && i < HMM_TRACE_DEEPEST; i++) {
        const uint32_t module = module_of(s, stack->frames[i], stack->modules);
        const uint64_t bias = module != SYMBOL_NO_MODULE ? s->modules[module].bias : 0;
        const uint32_t number = number_of(f, module, stack->frames[i] - bias);
        if (number == UINT32_MAX)
            return;
        numbers[line.depth++] = number;
    }
    hmm_trace_write_stack(w, stack->number, &line);
}

static char *stripped(char *path, bool strip)
{
    char *slash = strip ? strrchr(path, '/') : NULL;
    return slash != NULL ? slash + 1 : path;
}

static void write_frames(const struct record_sites *s, const struct frames *f,
                         struct hmm_trace_writer *w)
{
    static char nothing[] = "";
    for (uint32_t i = 0; i < f->count; i++) {
        const struct symbol *symbol = &f->symbols[i];
        struct hmm_trace_frame frame = {nothing, nothing, nothing, symbol->offset, symbol->line};
        if (symbol->module != SYMBOL_NO_MODULE)
            frame.module = stripped(s->modules[symbol->module].name, s->strip);
        if (symbol->function != NULL)
            frame.function = symbol->function;
        if (symbol->file != NULL)
            frame.file = stripped(symbol->file, s->strip);
        hmm_trace_write_frame(w, i, &frame);
    }
}

void record_sites_write(const struct record_sites *s, struct hmm_trace_writer *w)
{
    struct frames frames = {0};
    for (uint32_t i = 0; i < s->room; i++)
        if (s->stacks[i].number != 0 && s->stacks[i].frames != NULL)
            write_stack(s, &s->stacks[i], &frames, w);
    for (uint32_t i = 0; i < s->module_count; i++)
        symbols_find(s->modules[i].name, i, frames.symbols, frames.count);
    symbols_demangle(frames.symbols, frames.count);
    write_frames(s, &frames, w);
    for (uint32_t i = 0; i < frames.count; i++) {
        free(frames.symbols[i].function);
        free(frames.symbols[i].file);
    }
    free(frames.symbols);
    free(frames.slots);
}
