/* SPDX-License-Identifier: MIT */
/*
 * Which blocks are live: see live.h.
 *
 * The hash table has linear probing and at most every second slot is taken. IDs that follow each
 * other share a cache line: of an ID's home the last bits are the ID's own.
 */
#include "live.h"

#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define LINE_IDS 8u /* slots in a cache line */
#define FIRST_SLOTS 4096u
#define FIRST_BLOCKS 1024u
#define NO_SLOT SIZE_MAX

/* ---- The IDs that were allocated ---- */

#define PAGE_IDS 4096u
#define MOST_PAGES 32768u /* 16 MiB; dense IDs never have more than a few */

struct hmm_trace_page {
    uint64_t bits[PAGE_IDS / 64];
    uint32_t count;
};

/* Stands for a page whose IDs have all been allocated. */
static struct hmm_trace_page full_page = {.count = PAGE_IDS};

static void forget_past(struct hmm_trace_past *past)
{
    for (size_t i = 0; i < past->room; i++)
        if (past->pages[i] != &full_page)
            free(past->pages[i]);
    free(past->pages);
    *past = (struct hmm_trace_past){.unknown = true};
}

static struct hmm_trace_page **page_of(struct hmm_trace_past *past, uint32_t id)
{
    size_t index = id / PAGE_IDS, room = past->room == 0 ? 256 : past->room;
    while (room <= index)
        room *= 2;
    if (room != past->room) {
        struct hmm_trace_page **pages = realloc(past->pages, room * sizeof *pages);
        if (pages == NULL)
            return NULL;
        memset(pages + past->room, 0, (room - past->room) * sizeof *pages);
        past->pages = pages;
        past->room = room;
    }
    return &past->pages[index];
}

static void remember(struct hmm_trace_past *past, uint32_t id)
{
    if (past->unknown)
        return;
    struct hmm_trace_page **page = page_of(past, id);
    if (page != NULL && *page == &full_page)
        return;
    if (page != NULL && *page == NULL && past->held < MOST_PAGES) {
        *page = calloc(1, sizeof **page);
        past->held++;
    }
    if (page == NULL || *page == NULL) {
        forget_past(past);
        return;
    }
    uint64_t *word = &(*page)->bits[id % PAGE_IDS / 64], bit = UINT64_C(1) << id % 64;
    (*page)->count += (*word & bit) == 0;
    *word |= bit;
    if ((*page)->count == PAGE_IDS) {
        free(*page);
        past->held--;
        *page = &full_page;
    }
}

static bool was_allocated(const struct hmm_trace_past *past, uint32_t id)
{
    size_t index = id / PAGE_IDS;
    const struct hmm_trace_page *page = index < past->room ? past->pages[index] : NULL;
    return page == &full_page ||
           (page != NULL && (page->bits[id % PAGE_IDS / 64] >> id % 64 & 1) != 0);
}

static bool not_live(const struct hmm_trace_live *l, const struct hmm_trace_op *op,
                     struct hmm_trace_error *error)
{
    const unsigned long id = op->id;
    const char *verb = op->kind == HMM_TRACE_FREE ? "freed" : "resized";
    if (l->past.unknown)
        return hmm_trace_fail(error, "ID %lu is %s but is not live", id, verb);
    if (!was_allocated(&l->past, op->id))
        return hmm_trace_fail(error, "ID %lu is %s but was never allocated", id, verb);
    if (op->kind == HMM_TRACE_FREE)
        return hmm_trace_fail(error, "ID %lu is freed twice", id);
    return hmm_trace_fail(error, "ID %lu is resized after it was freed", id);
}

/* ---- The table ---- */

static size_t home(const struct hmm_trace_live *l, uint32_t tag)
{
    uint64_t line = (tag / LINE_IDS) * UINT64_C(0x9e3779b97f4a7c15) >> 20;
    return (size_t)(line * LINE_IDS + tag % LINE_IDS) & l->mask;
}

/* Where the ID is, or would be. */
static size_t seek(const struct hmm_trace_live *l, uint32_t id)
{
    const uint32_t tag = id + 1;
    size_t i = home(l, tag);
    while (l->slots[i].tag != tag && l->slots[i].tag != 0)
        i = (i + 1) & l->mask;
    return i;
}

static size_t find(const struct hmm_trace_live *l, uint32_t id)
{
    if (l->mask == 0)
        return NO_SLOT;
    size_t i = seek(l, id);
    return l->slots[i].tag != 0 ? i : NO_SLOT;
}

static bool grow_slots(struct hmm_trace_live *l)
{
    const size_t had = l->mask == 0 ? 0 : l->mask + 1, want = had == 0 ? FIRST_SLOTS : had * 2;
    struct hmm_trace_slot *old = l->slots, *slots = calloc(want, sizeof *slots);
    if (slots == NULL)
        return false;
    l->slots = slots;
    l->mask = want - 1;
    for (size_t i = 0; i < had; i++)
        if (old[i].tag != 0)
            slots[seek(l, old[i].tag - 1)] = old[i];
    free(old);
    return true;
}

/* Empties slot i, and moves up the entries behind it that would no longer be found. */
static void take_out(struct hmm_trace_live *l, size_t i)
{
    for (size_t j = (i + 1) & l->mask; l->slots[j].tag != 0; j = (j + 1) & l->mask) {
        size_t way = (j - home(l, l->slots[j].tag)) & l->mask;
        if (way < ((j - i) & l->mask))
            continue;
        l->slots[i] = l->slots[j];
        i = j;
    }
    l->slots[i].tag = 0;
}

static bool grow_blocks(struct hmm_trace_live *l)
{
    size_t room = l->room == 0 ? FIRST_BLOCKS : (size_t)l->room * 2;
    room = room < UINT32_MAX ? room : UINT32_MAX;
    struct hmm_trace_block *blocks = realloc(l->blocks, room * sizeof *blocks);
    if (blocks != NULL)
        l->blocks = blocks;
    uint32_t *freed = blocks != NULL ? realloc(l->freed, room * sizeof *freed) : NULL;
    if (freed == NULL)
        return false;
    l->freed = freed;
    l->room = (uint32_t)room;
    return true;
}

/* A number for an ID that is not live. */
static bool put_in(struct hmm_trace_live *l, uint32_t id, uint32_t *number,
                   struct hmm_trace_error *error)
{
    const size_t blocks = (size_t)l->sum.live_blocks + 1;
    if ((l->mask == 0 || blocks > l->mask / 2) && !grow_slots(l))
        return hmm_trace_fail(error, "out of memory");
    if (l->freed_count == 0 && l->used == l->room && !grow_blocks(l))
        return hmm_trace_fail(error, "out of memory");
    *number = l->freed_count != 0 ? l->freed[--l->freed_count] : l->used++;
    l->slots[seek(l, id)] = (struct hmm_trace_slot){id + 1, *number};
    if (++l->sum.live_blocks > l->sum.peak_blocks)
        l->sum.peak_blocks = l->sum.live_blocks;
    return true;
}

/* ---- Operations ---- */

/* Whether a block of `size` bytes may live beside `others` bytes: a program has at most PTRDIFF_MAX
 * together. */
static bool possible(uint64_t others, uint64_t size, struct hmm_trace_error *error)
{
    return size <= PTRDIFF_MAX - others ||
           hmm_trace_fail(error, "SIZE is too large: all live blocks would be above %lld bytes",
                          (long long)PTRDIFF_MAX);
}

static void hold(struct hmm_trace_live *l, struct hmm_trace_block *block, uint64_t size)
{
    block->size = size;
    l->sum.live_bytes += size;
    if (l->sum.live_bytes > l->sum.peak_bytes)
        l->sum.peak_bytes = l->sum.live_bytes;
}

static bool in_proportion(const struct hmm_trace_live *l, uint32_t id,
                          struct hmm_trace_error *error)
{
    const uint64_t ops = l->sum.op_count, most = HMM_TRACE_ID_BASE + HMM_TRACE_ID_STEP * ops;
    return id <= most ||
           hmm_trace_fail(error, "ID %lu is out of proportion: after %llu operations at most %llu",
                          (unsigned long)id, (unsigned long long)ops, (unsigned long long)most);
}

static bool allocate(struct hmm_trace_live *l, const struct hmm_trace_op *op, uint32_t *number,
                     struct hmm_trace_error *error)
{
    if (find(l, op->id) != NO_SLOT)
        return hmm_trace_fail(error, "ID %lu is allocated while it is live", (unsigned long)op->id);
    if (!in_proportion(l, op->id, error) || !possible(l->sum.live_bytes, op->size, error) ||
        !put_in(l, op->id, number, error))
        return false;
    remember(&l->past, op->id);
    if (op->id >= l->sum.id_limit)
        l->sum.id_limit = op->id + 1;
    struct hmm_trace_block *block = &l->blocks[*number];
    *block = (struct hmm_trace_block){
        .born = l->sum.op_count, .id = op->id, .align_log2 = op->align_log2, .stack = op->stack};
    hold(l, block, op->size);
    return true;
}

static bool change(struct hmm_trace_live *l, const struct hmm_trace_op *op, uint32_t *number,
                   struct hmm_trace_error *error)
{
    const size_t slot = find(l, op->id);
    if (slot == NO_SLOT)
        return not_live(l, op, error);
    *number = l->slots[slot].number;
    struct hmm_trace_block *block = &l->blocks[*number];
    const uint64_t others = l->sum.live_bytes - block->size;
    if (op->kind == HMM_TRACE_RESIZE && !possible(others, op->size, error))
        return false;
    l->sum.live_bytes = others;
    block->align_log2 = 0;
    if (op->kind == HMM_TRACE_RESIZE) {
        hold(l, block, op->size);
        block->stack = op->stack;
        return true;
    }
    l->sum.live_blocks--;
    take_out(l, slot);
    l->freed[l->freed_count++] = *number;
    return true;
}

bool hmm_trace_live_apply(struct hmm_trace_live *l, const struct hmm_trace_op *op, uint32_t *number,
                          struct hmm_trace_error *error)
{
    bool allocates = op->kind == HMM_TRACE_ALLOC || op->kind == HMM_TRACE_ALIGNED;
    if (!(allocates ? allocate : change)(l, op, number, error))
        return false;
    l->sum.op_count++;
    l->sum.counts[op->kind]++;
    return true;
}

bool hmm_trace_live_add(struct hmm_trace_live *l, const struct hmm_trace_block *block,
                        struct hmm_trace_error *error)
{
    uint32_t number;
    if (find(l, block->id) != NO_SLOT)
        return hmm_trace_fail(error, "ID %lu is live twice", (unsigned long)block->id);
    if (!possible(l->sum.live_bytes, block->size, error) || !put_in(l, block->id, &number, error))
        return false;
    l->blocks[number] = *block;
    hold(l, &l->blocks[number], block->size);
    return true;
}

/* ---- All of them ---- */

static int by_birth(const void *a, const void *b)
{
    const struct hmm_trace_block *x = a, *y = b;
    return (x->born > y->born) - (x->born < y->born);
}

struct hmm_trace_block *hmm_trace_live_list(const struct hmm_trace_live *l, bool dense)
{
    struct hmm_trace_block *list = malloc(((size_t)l->sum.live_blocks + 1) * sizeof *list);
    size_t count = 0;
    for (size_t i = 0; list != NULL && l->mask != 0 && i <= l->mask; i++) {
        const struct hmm_trace_slot *slot = &l->slots[i];
        if (slot->tag == 0)
            continue;
        list[count] = l->blocks[slot->number];
        if (dense)
            list[count].id = slot->number;
        count++;
    }
    if (list != NULL)
        qsort(list, count, sizeof *list, by_birth);
    return list;
}

void hmm_trace_live_clear(struct hmm_trace_live *l)
{
    forget_past(&l->past);
    free(l->slots);
    free(l->blocks);
    free(l->freed);
    *l = (struct hmm_trace_live){0};
}
