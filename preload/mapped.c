/* SPDX-License-Identifier: MIT */
/*
 * Mapping in place: mapped.h says what. Calls the system and lib/base.
 *
 * The kernel gives a mapping without a wish an address below the stack, and puts programs and their
 * break where they are linked or far above. Between lies a part where only what is asked for by
 * address is mapped. There the range is picked at random, and may grow in place. Programs that
 * scatter mappings by address (node, sanitizers) may have one there; it is never replaced.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* MAP_ANONYMOUS */
#endif
#include "mapped.h"

#include "base/secret.h"

#include <sys/mman.h>
#include <sys/personality.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* an older kernel takes the address as a wish */
#endif

/* What is mapped, in pieces that do not touch each other. There are few: blocks, descriptors with
 * page map, table of large blocks, states, and one more for each mapping in the way. */
#define SPANS 24u

static struct span {
    char *from, *to;
} spans[SPANS];
static unsigned span_count;
static size_t page_size, mapped_bytes;
static bool blocked;

/* ---- One mapping ---- */

/* 0, or errno: EEXIST iff another mapping is in the way. */
static int map_at(char *from, size_t size, int protection, int flags)
{
    char *p = mmap(from, size, protection,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | flags, -1, 0);
    if (p == from)
        return 0;
    if (p == MAP_FAILED)
        return errno;
    munmap(p, size);
    return EEXIST;
}

/* ---- Where ---- */

/* Addresses as the kernels of the processors lay them out: with 47 and 48 bits, with 47 bits and
 * little of it (Valgrind), with 39 bits. The last in the list is tried last. */
#if UINTPTR_MAX > UINT32_MAX
static const struct window {
    uint64_t from, to;
} windows[] = {
    {UINT64_C(0x110000000000), UINT64_C(0x290000000000)},
    {UINT64_C(0x020000000000), UINT64_C(0x0f0000000000)},
    {UINT64_C(0x001000000000), UINT64_C(0x003000000000)},
};

#define TRIES 4
#define FIND_ALIGN ((uint64_t)2 << 20)

/* Where the addresses of the process are not to be random, this is not either. */
static uint64_t random_word(void)
{
#if HMM__CACHE
    int persona = personality(0xffffffff);
    if (persona == -1 || !(persona & ADDR_NO_RANDOMIZE))
        return hmm__secret_next();
#endif
    return 0;
}

static bool is_vacant_at(char *at)
{
    bool vacant = map_at(at, page_size, PROT_NONE, MAP_NORESERVE) == 0;
    if (vacant)
        munmap(at, page_size);
    return vacant;
}

/* Tried at some addresses: to map all of it and unmap it again would count as the most that the
 * process has ever had. */
static bool is_vacant(char *base, size_t size)
{
    size_t part = (size / 8) & ~(page_size - 1);
    for (size_t at = 0; at < size; at += part)
        if (!is_vacant_at(base + at))
            return false;
    return true;
}

char *hmm__map_find(size_t size, size_t page)
{
    page_size = page;
    for (size_t w = 0; w < sizeof windows / sizeof windows[0]; w++) {
        uint64_t room = windows[w].to - windows[w].from;
        for (int i = 0; room > size && i < TRIES; i++) {
            uint64_t at = random_word() % ((room - size) / FIND_ALIGN + 1) * FIND_ALIGN;
            char *base = (char *)(uintptr_t)(windows[w].from + at);
            if (is_vacant(base, size))
                return base;
        }
    }
    return NULL;
}
#else
char *hmm__map_find(size_t size, size_t page)
{
    (void)size;
    page_size = page;
    return NULL;
}
#endif

void hmm__map_guard(char *base)
{
    (void)map_at(base - page_size, page_size, PROT_NONE, MAP_NORESERVE);
}

/* ---- What is mapped ---- */

/* The span that has this address, or the next one above it; NULL: there is none. */
static struct span *span_from(const char *at)
{
    struct span *best = NULL;
    for (struct span *s = spans; s < spans + span_count; s++)
        if (s->to > at && (best == NULL || s->from < best->from))
            best = s;
    return best;
}

static void remove_span(struct span *s)
{
    *s = spans[--span_count];
}

/* Adds [from, to), which is in no span, and joins it with those that it touches. */
static void add_span(char *from, char *to)
{
    mapped_bytes += (size_t)(to - from);
    for (struct span *s = spans; s < spans + span_count;) {
        if (s->to == from || s->from == to) {
            from = s->from < from ? s->from : from;
            to = s->to > to ? s->to : to;
            remove_span(s);
        } else {
            s++;
        }
    }
    spans[span_count++] = (struct span){from, to};
}

static char *page_down(char *p)
{
    return (char *)((uintptr_t)p & ~(uintptr_t)(page_size - 1));
}

static char *page_up(char *p)
{
    return page_down(p + page_size - 1);
}

static bool map_piece(char *from, char *to, bool huge_pages)
{
    if (span_count == SPANS) /* less one that may be split */
        return false;
    int code = map_at(from, (size_t)(to - from), PROT_READ | PROT_WRITE, 0);
    blocked = code == EEXIST;
    if (code != 0)
        return false;
    if (!huge_pages)
        madvise(from, (size_t)(to - from), MADV_NOHUGEPAGE);
    add_span(from, to);
    return true;
}

bool hmm__map(char *from, char *to, bool huge_pages)
{
    from = page_down(from);
    to = page_up(to);
    while (from < to) {
        const struct span *s = span_from(from);
        if (s != NULL && s->from <= from) {
            from = s->to;
            continue;
        }
        char *end = s != NULL && s->from < to ? s->from : to;
        if (!map_piece(from, end, huge_pages))
            return false;
        from = end;
    }
    return true;
}

bool hmm__map_is_blocked(void)
{
    return blocked;
}

void hmm__map_remove(char *from, char *to)
{
    from = page_up(from);
    to = page_down(to);
    while (from < to) {
        struct span *s = span_from(from);
        if (s == NULL || s->from >= to)
            return;
        struct span was = *s;
        char *low = was.from > from ? was.from : from, *high = was.to < to ? was.to : to;
        bool splits = low > was.from && high < was.to;
        if ((splits && span_count == SPANS) || munmap(low, (size_t)(high - low)) != 0)
            return;
        remove_span(s);
        mapped_bytes -= (size_t)(was.to - was.from);
        if (low > was.from)
            add_span(was.from, low);
        if (high < was.to)
            add_span(high, was.to);
        from = high;
    }
}

/* ---- What is vacated: it stays in its span ---- */

bool hmm__map_vacate(char *from, char *to)
{
    if (munmap(from, (size_t)(to - from)) != 0)
        return false;
    mapped_bytes -= (size_t)(to - from);
    return true;
}

enum hmm__occupied hmm__map_occupy(char *from, char *to)
{
    int code = map_at(from, (size_t)(to - from), PROT_READ | PROT_WRITE, 0);
    if (code == 0)
        mapped_bytes += (size_t)(to - from);
    return code == 0 ? HMM__OCCUPIED : code == EEXIST ? HMM__OCCUPY_BLOCKED : HMM__OCCUPY_REFUSED;
}

bool hmm__map_forget(char *from, char *to, char *end)
{
    struct span *s = span_from(from);
    if (s == NULL || s->from >= from)
        return false;
    struct span rest = {page_down(end), s->to};
    rest.from = rest.from > to ? rest.from : to;
    if (rest.from < rest.to && span_count == SPANS)
        return false;
    if (rest.from > rest.to)
        rest.from = rest.to;
    if (rest.from > to && munmap(to, (size_t)(rest.from - to)) != 0)
        return false;
    mapped_bytes -= (size_t)(rest.from - to);
    s->to = from;
    if (rest.from < rest.to)
        spans[span_count++] = rest;
    return true;
}

size_t hmm__map_bytes(void)
{
    return mapped_bytes;
}

/* ---- The pool ---- */

/* The smallest piece. */
#define POOL_STEP ((size_t)64 << 10)

/* Who maps the piece at `mapped` moves it on. If another was faster, `mapped` has moved. It has
 * not, if this handler interrupts who is just about to move it: then there is no memory. */
bool hmm__map_pool(char *base, char *to)
{
    static size_t mapped; /* atomic */
    size_t wanted = (size_t)(to - base), done = __atomic_load_n(&mapped, __ATOMIC_ACQUIRE);
    while (done < wanted) {
        size_t step = (wanted - done + POOL_STEP - 1) & ~(POOL_STEP - 1);
        if (map_at(base + done, step, PROT_READ | PROT_WRITE, 0) == 0) {
            __atomic_store_n(&mapped, done += step, __ATOMIC_RELEASE);
            continue;
        }
        size_t now = __atomic_load_n(&mapped, __ATOMIC_ACQUIRE);
        if (now == done)
            return false;
        done = now;
    }
    return true;
}
