/* SPDX-License-Identifier: MIT */
/*
 * Call stacks by number: see stack.h.
 *
 * Frame pointers will not do: distributions build without them. libgcc's and libunwind's unwinders
 * take from a hundred nanoseconds to a microsecond a frame, since they interpret the call frame
 * information each time. Here the rule for a return address is found once (cfi.c) and kept in one
 * word; a frame then takes a look-up and two loads.
 *
 * S1  A word of either table is whole: it is read and written at once, and says by itself what it
 *     is about. So a thread that is interrupted, or ends, leaves nothing half done.
 * S2  Whoever puts a stack into the table notes it. Another thread may note that it uses it before.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "stack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

#define KEYS (1u << 18)
#define MOST_STACKS (KEYS / 4 * 3)
#define RULES (1u << 16)
#define MODULES 1024u

/* A stack cannot be larger: a frame beyond this is not one. */
#define LARGEST_FRAME ((uintptr_t)8 << 20)

struct tables {
    _Alignas(RECORD_PAGE) _Atomic uint64_t keys[KEYS]; /* hashes of stacks, by number */
    _Atomic uint64_t rules[RULES];                     /* by the low bits of the return address */
    _Atomic uintptr_t modules[MODULES];                /* where those begin that were noted */
    _Alignas(RECORD_PAGE) _Atomic uint32_t stacks, unloads;
    char rest[RECORD_PAGE - 2 * sizeof(uint32_t)];
};

static struct tables tables;
unsigned record_depth;
static uintptr_t own_start, own_end; /* this library */

bool record_stacks_start(unsigned depth)
{
    struct record_module own;
    if (madvise(&tables, sizeof tables, MADV_WIPEONFORK) != 0)
        return false;
    if (record_find_module((uintptr_t)&record_stacks_start, &own)) {
        own_start = own.start;
        own_end = own.end;
    }
    record_depth = depth < RECORD_DEEPEST ? depth : RECORD_DEEPEST;
    return true;
}

/* ---- Noting ---- */

/* A note of several places: what it is, and how many words follow, two a place. The first of each
 * place has three bits less. */
static void note_words(struct record_process *me, enum record_extra kind, uint32_t number,
                       const uint64_t *words, unsigned count)
{
    const unsigned places = (count + 1) / 2;
    const uint64_t first = record_take_places(me, 1 + places);
    record_write(me, first, RECORD_EXTRA, record_extra(kind, places, number));
    for (unsigned i = 0; i < places; i++)
        record_write(me, first + 1 + i, words[2 * i] << RECORD_PLACE_SHIFT | RECORD_ALLOC,
                     2 * i + 1 < count ? words[2 * i + 1] : 0);
}

/* Six bytes of the name in each first word, eight in each second. */
static unsigned put_name(uint64_t *words, const char *name, size_t length)
{
    unsigned used = 0;
    while (length != 0) {
        const size_t room = used % 2 == 0 ? 6 : 8, n = length < room ? length : room;
        words[used] = 0;
        memcpy(&words[used++], name, n);
        name += n;
        length -= n;
    }
    return used;
}

/* Names that the loader has from a relative path are so as well. */
static size_t whole_name(char *to, size_t room, const char *name)
{
    long used = 0;
    if (name[0] == '\0')
        used = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", to, room);
    else if (name[0] != '/' && (used = syscall(SYS_getcwd, to, room)) > 0)
        to[used - 1] = '/';
    if (used < 0)
        used = 0;
    size_t length = name[0] != '\0' ? strlen(name) : 0;
    if (length > room - (size_t)used)
        length = room - (size_t)used;
    memcpy(to + used, name, length);
    return (size_t)used + length;
}

static void note_module(struct record_process *me, const struct record_module *m)
{
    const int code = errno;
    char name[RECORD_LONGEST_MODULE];
    uint64_t words[4 + RECORD_LONGEST_MODULE / 6] = {m->start, m->end, 0, m->bias};
    const size_t length = whole_name(name, sizeof name, m->name);
    note_words(me, RECORD_EXTRA_MODULE, 0, words, 4 + put_name(words + 4, name, length));
    errno = code;
}

/* Once each, unless there are very many. */
static bool is_noted(uintptr_t start)
{
    for (size_t i = start / 4096;; i++) {
        uintptr_t there = 0;
        _Atomic uintptr_t *at = &tables.modules[i % MODULES];
        if (atomic_load_explicit(at, memory_order_relaxed) == start)
            return true;
        if (i - start / 4096 == MODULES || atomic_compare_exchange_strong(at, &there, start))
            return false;
        if (there == start)
            return true;
    }
}

/* ---- Rules as words: the high bits of the address, the rule, and the lowest bit, by which a place
 * in the table has one of two addresses. The rule is never zero. ---- */

#define TAG_SHIFT 33
#define LOW_BITS 16
#define CFA_BITS 15
#define FP_BITS 13
static bool fits(int32_t value, unsigned bits)
{
    return value >= -(1 << (bits - 1)) && value < 1 << (bits - 1);
}

static uint64_t pack(struct record_rule r)
{
    if (!fits(r.cfa_offset, CFA_BITS) || !fits(r.fp_offset, FP_BITS))
        r = (struct record_rule){.cfa = RECORD_CFA_STOP};
    return (uint64_t)r.cfa << 1 | ((uint64_t)r.saved + 1) << 3 |
           ((uint64_t)(uint32_t)r.cfa_offset & ((1u << CFA_BITS) - 1)) << 5 |
           ((uint64_t)(uint32_t)r.fp_offset & ((1u << FP_BITS) - 1)) << (5 + CFA_BITS);
}

static intptr_t signed_bits(uint64_t word, unsigned shift, unsigned bits)
{
    return (intptr_t)((int64_t)(word << (64 - shift - bits)) >> (64 - bits));
}

/* An address above those that have room for their high bits is looked for each time. */
static uint64_t find_rule(struct record_process *me, uintptr_t address)
{
    struct record_module m;
    const uint64_t tag = (uint64_t)address >> LOW_BITS;
    uint64_t word = pack((struct record_rule){.cfa = RECORD_CFA_STOP});
    if (record_find_module(address - 1, &m)) {
        word = pack(record_find_rule(&m, address));
        if (!is_noted(m.start))
            note_module(me, &m);
    }
    if (tag >> (64 - TAG_SHIFT) != 0)
        return word;
    word |= tag << TAG_SHIFT | (address & 1);
    _Atomic uint64_t *at = &tables.rules[address % RULES],
                     *other = &tables.rules[address % RULES ^ 1];
    if (atomic_load_explicit(at, memory_order_relaxed) != 0 &&
        atomic_load_explicit(other, memory_order_relaxed) == 0)
        at = other;
    atomic_store_explicit(at, word, memory_order_relaxed);
    return word;
}

static inline bool is_of(uint64_t word, uintptr_t address)
{
    return word >> TAG_SHIFT == (uint64_t)address >> LOW_BITS && (word & 1) == (address & 1) &&
           word != 0;
}

static inline uint64_t rule_of(struct record_process *me, uintptr_t address)
{
    uint64_t word = atomic_load_explicit(&tables.rules[address % RULES], memory_order_relaxed);
    if (is_of(word, address))
        return word;
    word = atomic_load_explicit(&tables.rules[address % RULES ^ 1], memory_order_relaxed);
    return is_of(word, address) ? word : find_rule(me, address);
}

/* ---- Walking ---- */

struct registers {
    uintptr_t pc, sp, fp;
};

static inline uintptr_t word_at(uintptr_t address)
{
    return *(const uintptr_t *)address;
}

/* To the caller. False iff there is none. */
static inline bool ascend(struct registers *r, uint64_t rule)
{
    const intptr_t word = sizeof(uintptr_t);
    const enum record_cfa how = (enum record_cfa)(rule >> 1 & 3);
    const enum record_saved_fp saved = (enum record_saved_fp)((rule >> 3 & 3) - 1);
    const uintptr_t offset = (uintptr_t)(signed_bits(rule, 5, CFA_BITS) * word);
    if (how == RECORD_CFA_STOP)
        return false;
    uintptr_t cfa = (how == RECORD_CFA_SP ? r->sp : r->fp) + offset;
    if (how == RECORD_CFA_AT_FP) {
        if (cfa - r->sp > LARGEST_FRAME)
            return false;
        cfa = word_at(cfa);
    }
    if (cfa <= r->sp || cfa - r->sp > LARGEST_FRAME || cfa % sizeof(uintptr_t) != 0)
        return false;
    const uintptr_t at = (uintptr_t)(signed_bits(rule, 5 + CFA_BITS, FP_BITS) * word);
    if (saved == RECORD_FP_AT_CFA)
        r->fp = word_at(cfa + at);
    else if (saved == RECORD_FP_AT_FP)
        r->fp = word_at(r->fp + at);
    r->sp = cfa;
    r->pc = word_at(cfa - sizeof(uintptr_t));
    return r->pc > 4096;
}

static unsigned walk(struct record_process *me, struct registers r, uintptr_t *frames)
{
    unsigned depth = 0;
    for (unsigned own = 0; depth < record_depth && own < RECORD_DEEPEST;) {
        if (depth == 0 && r.pc - own_start < own_end - own_start)
            own++;
        else
            frames[depth++] = r.pc;
        if (!ascend(&r, rule_of(me, r.pc)))
            break;
    }
    return depth;
}

/* ---- Stacks by number ---- */

static uint64_t hash_of(const uintptr_t *frames, unsigned depth)
{
    uint64_t hash =
        (uint64_t)atomic_load_explicit(&tables.unloads, memory_order_relaxed) << 8 | depth;
    for (unsigned i = 0; i < depth; i++) {
        hash = (hash ^ frames[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash != 0 ? hash : 1;
}

static void note_stack(struct record_process *me, uint32_t number, const uintptr_t *frames,
                       unsigned depth)
{
    uint64_t words[RECORD_DEEPEST];
    for (unsigned i = 0; i < depth; i++)
        words[i] = frames[i];
    note_words(me, RECORD_EXTRA_STACK, number, words, depth);
}

/* Its place in the table is its number. */
static uint32_t number_of(struct record_process *me, const uintptr_t *frames, unsigned depth)
{
    const uint64_t hash = hash_of(frames, depth);
    for (uint32_t i = (uint32_t)(hash >> 40) % KEYS;; i = (i + 1) % KEYS) {
        uint64_t there = atomic_load_explicit(&tables.keys[i], memory_order_relaxed);
        if (there == 0 && i != 0) {
            if (atomic_load_explicit(&tables.stacks, memory_order_relaxed) >= MOST_STACKS) {
                atomic_fetch_add(&record_pool->stacks_lost, 1);
                return 0;
            }
            if (atomic_compare_exchange_strong(&tables.keys[i], &there, hash)) {
                atomic_fetch_add(&tables.stacks, 1);
                note_stack(me, i, frames, depth);
                return i;
            }
        }
        if (there == hash)
            return i;
    }
}

uint32_t record_stack(struct record_process *me, const void *frame)
{
    uintptr_t frames[RECORD_DEEPEST];
    const uintptr_t at = (uintptr_t)frame;
    if (!RECORD_HAS_STACKS)
        return 0;
    const struct registers caller = {word_at(at + sizeof at), at + 2 * sizeof at, word_at(at)};
    const unsigned depth = walk(me, caller, frames);
    return depth != 0 ? number_of(me, frames, depth) : 0;
}

/* The stacks that are known are those of the module that was there then; from now on none of them
 * is found. */
void record_stacks_unload(void)
{
    if (record_depth == 0)
        return;
    atomic_fetch_add(&tables.unloads, 1);
    for (size_t i = 0; i < RULES; i++)
        atomic_store_explicit(&tables.rules[i], 0, memory_order_relaxed);
    for (size_t i = 0; i < MODULES; i++)
        atomic_store_explicit(&tables.modules[i], 0, memory_order_relaxed);
}
