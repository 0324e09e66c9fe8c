/* SPDX-License-Identifier: MIT */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* MAP_NORESERVE */
#endif
#include "space.h"

#include "given_back.h"

#include <sys/mman.h>

#define REGION (PAGES * PAGE)
#define PATTERN 0x5a

enum page { UNMAPPED, MAPPED, VACATED };

struct space space;
static char *region;
static unsigned char page_is[PAGES];

size_t page_of(const char *p)
{
    require(p >= region && p < region + REGION + PAGE, "outside the region");
    return (size_t)(p - region) / PAGE;
}

/* Pages [from, to) become accessible, or empty and inaccessible. */
static void protect(size_t from, size_t to, bool accessible)
{
    char *p = region + from * PAGE;
    size_t bytes = (to - from) * PAGE;
    if (!accessible)
        madvise(p, bytes, MADV_DONTNEED);
    ck_assert_int_eq(mprotect(p, bytes, accessible ? PROT_READ | PROT_WRITE : PROT_NONE), 0);
}

static void set_pages(size_t from, size_t to, enum page is)
{
    for (size_t i = from; i < to; i++) {
        space.mapped_pages += is == MAPPED;
        space.mapped_pages -= page_is[i] == MAPPED;
        page_is[i] = (unsigned char)is;
    }
    if (from < to)
        protect(from, to, is == MAPPED);
}

/* The same of those that are `was`. */
static void change_pages(size_t from, size_t to, enum page was, enum page is)
{
    for (size_t i = from, end; i < to; i = end) {
        for (end = i; end < to && page_is[end] == was;)
            end++;
        set_pages(i, end, is);
        end += end == i;
    }
}

static bool any_foreign(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (space.foreign[i])
            return true;
    return false;
}

static bool is_too_much(size_t more)
{
    bool too_much = space.mapped_pages + more > space.max_pages;
    space.refused += too_much;
    return too_much;
}

static bool source_commit(char *from, char *to)
{
    size_t low = page_of(from), high = page_of(to + PAGE - 1), more = 0;
    for (size_t i = low; i < high; i++) {
        require(page_is[i] != VACATED, "committed what was vacated");
        more += page_is[i] == UNMAPPED;
    }
    if (any_foreign(low, high) || is_too_much(more))
        return false;
    change_pages(low, high, UNMAPPED, MAPPED);
    return true;
}

static void source_unmap(char *from, char *to)
{
    size_t low = page_of(from + PAGE - 1), high = page_of(to);
    for (size_t i = low; i < high; i++) {
        require(page_is[i] != VACATED, "unmapped what was vacated");
        require(!space.foreign[i] || page_is[i] == UNMAPPED, "unmapped another's");
    }
    change_pages(low, high, MAPPED, UNMAPPED);
}

static bool source_limited(void)
{
    return space.is_limited;
}

static void assert_all(char *from, char *to, enum page is)
{
    require(((uintptr_t)from & (PAGE - 1)) == 0 && ((uintptr_t)to & (PAGE - 1)) == 0 && from < to,
            "not whole pages");
    for (size_t i = page_of(from); i < page_of(to); i++)
        require(page_is[i] == is, "page %zu is %d, not %d", i, page_is[i], is);
}

static bool source_vacate(char *from, char *to)
{
    assert_all(from, to, MAPPED);
    if (space.vacated % 17 == 16) {
        space.vacated++;
        return false;
    }
    space.vacated++;
    set_pages(page_of(from), page_of(to), VACATED);
    return true;
}

static enum hmm__occupied source_occupy(char *from, char *to)
{
    assert_all(from, to, VACATED);
    if (is_too_much(page_of(to) - page_of(from)))
        return HMM__OCCUPY_REFUSED;
    if (any_foreign(page_of(from), page_of(to)))
        return HMM__OCCUPY_BLOCKED;
    space.occupied++;
    set_pages(page_of(from), page_of(to), MAPPED);
    return HMM__OCCUPIED;
}

static bool source_forget(char *from, char *to, char *end)
{
    assert_all(from, to, VACATED);
    if (space.max_pages != PAGES && space.forgotten++ % 5 == 4)
        return false;
    source_unmap(to, end);
    for (size_t i = page_of(from); i < page_of(to); i++)
        page_is[i] = UNMAPPED;
    return true;
}

static uint64_t source_clock(void)
{
    return space.now;
}

static size_t source_mapped(void)
{
    return space.mapped_pages * PAGE;
}

static const struct hmm__page_source source = {.commit = source_commit,
                                               .decommit = give_pages_back,
                                               .clock = source_clock,
                                               .unmap = source_unmap,
                                               .mapped = source_mapped,
                                               .limited = source_limited,
                                               .vacate = source_vacate,
                                               .occupy = source_occupy,
                                               .forget = source_forget};

struct hmm_heap *limited_heap(const struct hmm_strategy *s)
{
    char *p =
        mmap(NULL, REGION + 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    region = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(uintptr_t)(2 * MIB - 1));
    memset(page_is, UNMAPPED, sizeof page_is);
    space = (struct space){.max_pages = PAGES, .now = 1000000, .is_limited = true};
    struct hmm_heap *h = unwatched(hmm__heap_create(region, REGION, s, true, &source));
    ck_assert_ptr_nonnull(h);
    return h;
}

size_t pages_vacated(void)
{
    size_t n = 0;
    for (size_t i = 0; i < PAGES; i++)
        n += page_is[i] == VACATED;
    return n;
}

void map_foreign(size_t at, size_t n)
{
    for (size_t i = at; i < at + n && i < PAGES; i++)
        if (page_is[i] == VACATED && !space.foreign[i]) {
            space.foreign[i] = 1;
            protect(i, i + 1, true);
            memset(region + i * PAGE, PATTERN, PAGE);
        }
}

void verify_foreign(bool gone)
{
    for (size_t i = 0; i < PAGES; i++) {
        if (!space.foreign[i])
            continue;
        require(page_is[i] != MAPPED, "page %zu is another's", i);
        for (size_t k = 0; k < PAGE; k += 64)
            require(region[i * PAGE + k] == PATTERN, "another's page %zu has changed", i);
        if (gone) {
            space.foreign[i] = 0;
            protect(i, i + 1, false);
        }
    }
}
