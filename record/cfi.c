/* SPDX-License-Identifier: MIT */
/*
 * Call frame information (.eh_frame): from a return address to the rule by which its function's
 * caller is found. The format is DWARF's, section 6.4, with what the Linux Standard Base adds.
 *
 * Only what compilers make of ordinary functions is understood; anything else, as signal frames
 * and hand-written assembly have it, ends the stack there.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#define _GNU_SOURCE 1 /* _dl_find_object, dl_iterate_phdr */

#include "stack.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#if defined(__x86_64__)
enum { REG_FP = 6, REG_SP = 7, REG_RA = 16 };
#elif defined(__i386__)
enum { REG_FP = 5, REG_SP = 4, REG_RA = 8 };
#else
enum { REG_FP = 1000, REG_SP = 1001, REG_RA = 1002 };
#endif

#define WORD ((int64_t)sizeof(void *))
#define DEEPEST_STATE 8

/* ---- Modules ---- */

#ifdef HAVE__DL_FIND_OBJECT
bool record_find_module(uintptr_t address, struct record_module *m)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)address, &found) != 0)
        return false;
    *m = (struct record_module){(uintptr_t)found.dlfo_map_start, (uintptr_t)found.dlfo_map_end,
                                found.dlfo_link_map->l_addr, found.dlfo_link_map->l_name,
                                found.dlfo_eh_frame};
    return true;
}
#else
struct search {
    uintptr_t address;
    struct record_module *module;
};

static int look_into(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *s = arg;
    struct record_module m = {UINTPTR_MAX, 0, info->dlpi_addr, info->dlpi_name, NULL};
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        const uintptr_t at = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_GNU_EH_FRAME)
            m.eh_hdr = (const void *)at;
        if (p->p_type != PT_LOAD)
            continue;
        m.start = at < m.start ? at : m.start;
        m.end = at + p->p_memsz > m.end ? at + p->p_memsz : m.end;
    }
    if (s->address < m.start || s->address >= m.end)
        return 0;
    *s->module = m;
    return 1;
}

bool record_find_module(uintptr_t address, struct record_module *m)
{
    struct search s = {address, m};
    return dl_iterate_phdr(look_into, &s) != 0;
}
#endif

/* ---- Reading ---- */

struct bytes {
    const unsigned char *at, *end;
};

static uint64_t get(struct bytes *b, unsigned size)
{
    uint64_t value = 0;
    if ((size_t)(b->end - b->at) < size) {
        b->at = b->end;
        return 0;
    }
    memcpy(&value, b->at, size); /* the processors that are known are little-endian */
    b->at += size;
    return value;
}

static uint64_t get_uleb(struct bytes *b)
{
    uint64_t value = 0;
    for (unsigned shift = 0; b->at < b->end; shift += 7) {
        const unsigned char byte = *b->at++;
        if (shift < 64)
            value |= (uint64_t)(byte & 127) << shift;
        if ((byte & 128) == 0)
            break;
    }
    return value;
}

static int64_t get_sleb(struct bytes *b)
{
    uint64_t value = 0;
    unsigned shift = 0;
    unsigned char byte = 0;
    do {
        if (b->at >= b->end)
            break;
        byte = *b->at++;
        if (shift < 64)
            value |= (uint64_t)(byte & 127) << shift;
        shift += 7;
    } while ((byte & 128) != 0);
    if (shift < 64 && (byte & 64) != 0)
        value |= ~UINT64_C(0) << shift;
    return (int64_t)value;
}

enum {
    ENC_ABSOLUTE = 0,
    ENC_ULEB = 1,
    ENC_U2,
    ENC_U4,
    ENC_U8,
    ENC_SLEB = 9,
    ENC_S2,
    ENC_S4,
    ENC_S8
};
enum { ENC_PCREL = 0x10, ENC_DATAREL = 0x30, ENC_OMIT = 0xff };

/* 0: of no fixed size. */
static unsigned size_of(unsigned encoding)
{
    switch (encoding & 15) {
    case ENC_ABSOLUTE:
        return sizeof(void *);
    case ENC_U2:
    case ENC_S2:
        return 2;
    case ENC_U4:
    case ENC_S4:
        return 4;
    case ENC_U8:
    case ENC_S8:
        return 8;
    default:
        return 0;
    }
}

/* An encoded pointer, relative to nothing or to its own place. */
static uintptr_t get_pointer(struct bytes *b, unsigned encoding)
{
    const uintptr_t here = (uintptr_t)b->at;
    const unsigned size = size_of(encoding);
    uint64_t value = get(b, size);
    if ((encoding & 8) != 0 && size == 4)
        value = (uint64_t)(int64_t)(int32_t)value;
    if ((encoding & 0x70) == ENC_PCREL)
        value += here;
    return (uintptr_t)value;
}

/* ---- The description of a function ---- */

struct description {
    uint64_t code_align;
    int64_t data_align;
    uintptr_t begin, size;
    struct bytes initial, body; /* instructions */
};

/* False iff it is of no ordinary function. */
static bool read_augmentation(struct bytes *cie, const char *letters, unsigned *encoding)
{
    *encoding = ENC_ABSOLUTE;
    if (*letters != 'z')
        return *letters == '\0';
    struct bytes data = *cie;
    const uint64_t length = get_uleb(&data);
    if ((uint64_t)(data.end - data.at) < length)
        return false;
    cie->at = data.at + length;
    while (*++letters != '\0') {
        const unsigned byte = (unsigned)get(&data, 1);
        if (*letters == 'R')
            *encoding = byte;
        else if (*letters == 'P' && size_of(byte) != 0)
            get(&data, size_of(byte));
        else if (*letters != 'L')
            return false;
    }
    return true;
}

static bool read_common(const unsigned char *at, struct description *d, unsigned *encoding,
                        bool *has_data)
{
    uint32_t length;
    memcpy(&length, at, 4);
    struct bytes cie = {at + 4, at + 4 + length};
    if (length >= 0xfffffff0u || get(&cie, 4) != 0)
        return false;
    const unsigned version = (unsigned)get(&cie, 1);
    const char *letters = (const char *)cie.at;
    if (version != 1 && version != 3)
        return false;
    while (get(&cie, 1) != 0)
        ;
    d->code_align = get_uleb(&cie);
    d->data_align = get_sleb(&cie);
    if ((version == 1 ? get(&cie, 1) : get_uleb(&cie)) != REG_RA)
        return false;
    *has_data = *letters == 'z';
    if (!read_augmentation(&cie, letters, encoding))
        return false;
    d->initial = cie;
    return true;
}

static bool read_description(const unsigned char *at, struct description *d)
{
    uint32_t length, distance;
    unsigned encoding;
    bool has_data;
    memcpy(&length, at, 4);
    struct bytes fde = {at + 8, at + 4 + length};
    memcpy(&distance, at + 4, 4);
    if (length >= 0xfffffff0u || distance == 0 ||
        !read_common(at + 4 - distance, d, &encoding, &has_data) || size_of(encoding) == 0)
        return false;
    d->begin = get_pointer(&fde, encoding);
    d->size = get_pointer(&fde, encoding & 15);
    if (has_data) {
        const uint64_t skip = get_uleb(&fde);
        if ((uint64_t)(fde.end - fde.at) < skip)
            return false;
        fde.at += skip;
    }
    d->body = fde;
    return true;
}

/* The table of .eh_frame_hdr: pairs of a function's first address and its description's, sorted, as
 * distances from the header. */
static bool find_description(const unsigned char *header, uintptr_t address, struct description *d)
{
    struct bytes b = {header, header + 32};
    if (header == NULL || get(&b, 1) != 1)
        return false;
    const unsigned frame = (unsigned)get(&b, 1), count = (unsigned)get(&b, 1),
                   table = (unsigned)get(&b, 1);
    if (size_of(frame) == 0 || count != ENC_U4 || table != (ENC_DATAREL | ENC_S4))
        return false;
    get(&b, size_of(frame));
    uint32_t high = (uint32_t)get(&b, 4), low = 0;
    const unsigned char *pairs = b.at;
    const int64_t wanted = (intptr_t)(address - (uintptr_t)header);
    int32_t pair[2];
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        memcpy(pair, pairs + (size_t)middle * 8, 8);
        if (pair[0] <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    memcpy(pair, pairs + (size_t)(low - 1) * 8, 8);
    return read_description(header + pair[1], d) && address - d->begin < d->size;
}

/* ---- Instructions ---- */

struct state {
    enum record_cfa cfa;
    int64_t cfa_offset; /* bytes */
    enum record_saved_fp saved;
    int64_t fp_offset;
    bool ended; /* there is no caller, or it cannot be found this way */
};

struct machine {
    const struct description *d;
    struct state now, initial, kept[DEEPEST_STATE];
    unsigned kept_count;
    uintptr_t at;
};

static void set_base(struct state *s, uint64_t reg)
{
    if (reg == REG_SP)
        s->cfa = RECORD_CFA_SP;
    else if (reg == REG_FP)
        s->cfa = RECORD_CFA_FP;
    else
        s->cfa = RECORD_CFA_STOP;
}

static void save(struct state *s, uint64_t reg, int64_t offset)
{
    if (reg == REG_FP) {
        s->saved = RECORD_FP_AT_CFA;
        s->fp_offset = offset;
    } else if (reg == REG_RA) {
        s->ended = s->ended || offset != -WORD;
    }
}

static void lose(struct state *s, uint64_t reg)
{
    if (reg == REG_FP || reg == REG_RA)
        s->ended = true;
}

static void restore(struct machine *m, uint64_t reg)
{
    if (reg != REG_FP)
        return;
    m->now.saved = m->initial.saved;
    m->now.fp_offset = m->initial.fp_offset;
}

enum { OP_BREG0 = 0x70, OP_DEREF = 0x06 };

/* The expression "the frame pointer plus an offset", and whether what is there is meant. */
static bool is_at_fp(struct bytes *b, int64_t *offset, bool *deref)
{
    const uint64_t length = get_uleb(b);
    if ((uint64_t)(b->end - b->at) < length) {
        b->at = b->end;
        return false;
    }
    struct bytes e = {b->at, b->at + length};
    b->at += length;
    if (REG_FP > 31 || get(&e, 1) != OP_BREG0 + (unsigned)REG_FP)
        return false;
    *offset = get_sleb(&e);
    *deref = e.at < e.end;
    return !*deref || (get(&e, 1) == OP_DEREF && e.at == e.end);
}

/* Functions that align their stack find their CFA so. */
static void cfa_expression(struct machine *m, struct bytes *b)
{
    bool deref = false;
    const bool known = is_at_fp(b, &m->now.cfa_offset, &deref) && deref;
    m->now.cfa = known ? RECORD_CFA_AT_FP : RECORD_CFA_STOP;
}

static void save_by_expression(struct machine *m, struct bytes *b)
{
    const uint64_t reg = get_uleb(b);
    int64_t offset = 0;
    bool deref = false;
    const bool known = is_at_fp(b, &offset, &deref) && !deref;
    if (reg == REG_FP && known) {
        m->now.saved = RECORD_FP_AT_FP;
        m->now.fp_offset = offset;
    } else {
        lose(&m->now, reg);
    }
}

static void skip_expression(struct bytes *b)
{
    const uint64_t length = get_uleb(b);
    b->at = (uint64_t)(b->end - b->at) < length ? b->end : b->at + length;
}

static void remember(struct machine *m)
{
    if (m->kept_count < DEEPEST_STATE)
        m->kept[m->kept_count] = m->now;
    m->kept_count++;
}

static void recall(struct machine *m)
{
    if (m->kept_count == 0 || --m->kept_count >= DEEPEST_STATE)
        m->now.ended = true;
    else
        m->now = m->kept[m->kept_count];
}

/* The instructions without an operand in their first byte. False iff one is not known. */
static bool step_extended(struct machine *m, unsigned code, struct bytes *b)
{
    const int64_t align = m->d->data_align;
    struct state *s = &m->now;
    uint64_t reg;
    switch (code) {
    case 0x00: /* nop */
        return true;
    case 0x02:
    case 0x03:
    case 0x04: /* advance_loc1, 2, 4 */
        m->at += (uintptr_t)(get(b, 1u << (code - 2)) * m->d->code_align);
        return true;
    case 0x05: /* offset_extended */
        reg = get_uleb(b);
        save(s, reg, (int64_t)get_uleb(b) * align);
        return true;
    case 0x06: /* restore_extended */
        restore(m, get_uleb(b));
        return true;
    case 0x07: /* undefined */
        lose(s, get_uleb(b));
        return true;
    case 0x08: /* same_value */
        reg = get_uleb(b);
        if (reg == REG_FP)
            s->saved = RECORD_FP_SAME;
        return true;
    case 0x09: /* register */
        lose(s, get_uleb(b));
        get_uleb(b);
        return true;
    case 0x0a:
        remember(m);
        return true;
    case 0x0b:
        recall(m);
        return true;
    case 0x0c: /* def_cfa */
        set_base(s, get_uleb(b));
        s->cfa_offset = (int64_t)get_uleb(b);
        return true;
    case 0x0d: /* def_cfa_register */
        set_base(s, get_uleb(b));
        return true;
    case 0x0e: /* def_cfa_offset */
        s->cfa_offset = (int64_t)get_uleb(b);
        return true;
    case 0x0f:
        cfa_expression(m, b);
        return true;
    case 0x10:
        save_by_expression(m, b);
        return true;
    case 0x11: /* offset_extended_sf */
        reg = get_uleb(b);
        save(s, reg, get_sleb(b) * align);
        return true;
    case 0x12: /* def_cfa_sf */
        set_base(s, get_uleb(b));
        s->cfa_offset = get_sleb(b) * align;
        return true;
    case 0x13: /* def_cfa_offset_sf */
        s->cfa_offset = get_sleb(b) * align;
        return true;
    case 0x16: /* val_expression */
        lose(s, get_uleb(b));
        skip_expression(b);
        return true;
    case 0x2e: /* GNU_args_size */
        get_uleb(b);
        return true;
    default:
        return false;
    }
}

/* Up to the address. False iff an instruction is not known. */
static bool run(struct machine *m, struct bytes b, uintptr_t address)
{
    while (b.at < b.end && m->at <= address) {
        const unsigned byte = (unsigned)get(&b, 1), low = byte & 63;
        if (byte >> 6 == 1)
            m->at += (uintptr_t)(low * m->d->code_align);
        else if (byte >> 6 == 2)
            save(&m->now, low, (int64_t)get_uleb(&b) * m->d->data_align);
        else if (byte >> 6 == 3)
            restore(m, low);
        else if (!step_extended(m, low, &b))
            return false;
    }
    return true;
}

struct record_rule record_find_rule(const struct record_module *module, uintptr_t address)
{
    struct description d;
    struct record_rule rule = {.cfa = RECORD_CFA_STOP};
    const uintptr_t call = address - 1; /* what it returns to may be another function */
    if (!find_description(module->eh_hdr, call, &d))
        return rule;
    struct machine m = {.d = &d, .at = d.begin};
    if (!run(&m, d.initial, UINTPTR_MAX))
        return rule;
    m.initial = m.now;
    m.at = d.begin;
    if (!run(&m, d.body, call) || m.now.ended || m.now.cfa_offset % WORD != 0 ||
        m.now.fp_offset % WORD != 0)
        return rule;
    rule.cfa = m.now.cfa;
    rule.saved = m.now.saved;
    rule.cfa_offset = (int32_t)(m.now.cfa_offset / WORD);
    rule.fp_offset = (int32_t)(m.now.fp_offset / WORD);
    return rule;
}
