/* SPDX-License-Identifier: MIT */
/*
 * Runs of which few objects are in use are split: the memory between these objects goes back to the
 * heap. Called by sparse.c, which says when, remote_free.c and the entry points; calls run.c and
 * the heap.
 *
 * THEORY
 *
 * A run serves one class. Where a program is done with a class, and one object in ten lives on,
 * nine tenths of its runs could serve no other request. So before the break rises, a step of the
 * runs that have been queued for longest and of which at most half is in use are split, and when
 * there are none such, those of which a quarter is free:
 *
 *     run:   |  free  | object | object | free | object |      free       |
 *     heap:  |  free  |      used         |free|  used    |    free       |
 *
 * Each sequence of objects in use that abut becomes a used block of the heap, an island, and what
 * is between two islands becomes a free block, for requests of any size. An island's header lies in
 * the last bytes of the free object below it, and the header of the block above it in the first
 * granule of the free object above.
 *
 * The objects stay objects of the run, which is SPLIT, until they are freed. It has a bit for each
 * object in use, in its descriptor, or, where these are too many, in other descriptors that hang on
 * it. When an object is freed, its island becomes smaller, or two, or goes. The page map leads to
 * the descriptor from the pages in which an object in use begins or ends, and from no others: in
 * those there may be other runs. In the pages that it leads from there may be blocks of the heap
 * besides.
 *
 * Who frees an object a second time frees what may look like a block. Directly behind an object in
 * use, where the header is that object's data, there is none: its island ends a granule later at
 * the earliest. Elsewhere no data of the objects are left that could be taken for the header: it
 * was cleared when they became the heap's.
 *
 * A run is split by its owner, or if it is the pool's, by any thread, with the lock. No thread
 * frees to it or allocates from it by the fast path from then on: its owner is the pool, or, in the
 * heap without threads, nobody. Another thread that frees an object may have looked the run up
 * before; it finds the same descriptor, tags the object as sent, and the pool frees it.
 *
 * So an entry of the page map may be cleared while blocks of the heap are in use in the page, and
 * another thread has read it before. Such a thread reads the entry again after it has found out
 * what it wants to know of the descriptor: what it read was true if the entry is what it was. For
 * an object the entry cannot have changed.
 *
 * INVARIANT
 * F6  An object of a SPLIT run is in use iff its bit is set. Each longest sequence of them is a
 *     used block of the heap, which begins with the first, and ends at least a granule behind the
 *     last and before the next sequence. The page map leads to the run exactly from the pages in
 *     which one begins, or has its end: the first byte behind it.
 */
#include "cache/run.h"

#if HMM__CACHE

#define SPLIT_WORD_BITS (8u * (unsigned)sizeof(uintptr_t))
#define SPLIT_BITS (2u * SPLIT_WORD_BITS) /* in a descriptor */

/* ---- Which objects are in use ---- */

/* The descriptor behind d that has bits of the same run; NULL: there is none, since the run is not
 * SPLIT any more. */
HMM__ALWAYS_INLINE struct run *bits_behind(const struct cache *cache, const struct run *d)
{
    int32_t link = CACHE_PEEK(run_rest(d)->link);
    return link ? run_at(cache, link) : NULL;
}

/* The word with the bit of object i: the first are in d, others in the descriptors that hang on it.
 * NULL: there is none. */
HMM__ALWAYS_INLINE uintptr_t *split_word(const struct cache *cache, struct run *d, uint32_t i)
{
    for (; i >= SPLIT_BITS && d != NULL; i -= SPLIT_BITS)
        d = bits_behind(cache, d);
    return d ? &d->in_use[i / SPLIT_WORD_BITS] : NULL;
}

HMM__ALWAYS_INLINE uintptr_t bit_of(uint32_t i)
{
    return (uintptr_t)1 << (i % SPLIT_WORD_BITS);
}

HMM__ALWAYS_INLINE bool split_bit(const struct cache *cache, const struct run *d, uint32_t i)
{
    const uintptr_t *word = split_word(cache, (struct run *)(uintptr_t)d, i);
    return word != NULL && (CACHE_PEEK(*word) & bit_of(i)) != 0;
}

static void clear_bit(const struct cache *cache, struct run *d, uint32_t i)
{
    uintptr_t *word = split_word(cache, d, i);
    HMM_ASSERT(word != NULL && (*word & bit_of(i)));
    CACHE_WRITE(*word, *word & ~bit_of(i));
}

/* The number of the object that p, in one of d's pages, is or points into: see run_has_object for
 * the inverse. */
HMM__ALWAYS_INLINE uint32_t object_index(const struct cache *cache, const struct run *d,
                                         const void *p)
{
    uint32_t at = low_half(p) - low_half(run_start(cache, d));
    return (uint32_t)((uint64_t)at * CACHE_READ(d->inverse) >> 32);
}

HMM__ALWAYS_INLINE char *object_of(const struct cache *cache, const struct run *d, uint32_t i)
{
    return (char *)run_start(cache, d) + i * class_bytes(d->class);
}

/* Whether object i, which is not in use, or the rest of the run, is directly behind one that is,
 * and p in its first granule. */
HMM__ALWAYS_INLINE bool is_behind_island(const struct cache *cache, const struct run *d, uint32_t i,
                                         const void *p)
{
    return (size_t)((const char *)p - object_of(cache, d, i)) < HMM_GRANULE && i != 0 &&
           split_bit(cache, d, i - 1);
}

/* The descriptor may describe another run by now, of which its owner changes it: then what this
 * returns is not believed (run.h). */
HMM__UNSEEN enum run_holds hmm__split_holds(const struct cache *cache, const struct run *d,
                                            const void *p)
{
    const uint32_t i = object_index(cache, d, p), count = CACHE_READ(run_rest(d)->count);
    if (i > count)
        return HOLDS_NOT;
    if (i == count || !split_bit(cache, d, i))
        return is_behind_island(cache, d, i, p) ? HOLDS_INVALID : HOLDS_NOT;
    return run_has_object(d, p) ? HOLDS_OBJECT : HOLDS_INVALID;
}

bool hmm__split_has(const struct cache *cache, const struct run *d, const void *p)
{
    return hmm__split_holds(cache, d, p) == HOLDS_OBJECT;
}

/* Goes through the words with the bits, from one on. */
struct word_cursor {
    struct run *d; /* which has the next word; NULL: there is none */
    unsigned word;
};

/* In front of the word with the bit of object i. */
HMM__ALWAYS_INLINE struct word_cursor cursor_at(const struct cache *cache, const struct run *d,
                                                uint32_t i)
{
    struct run *at = (struct run *)(uintptr_t)d;
    for (; i >= SPLIT_BITS && at != NULL; i -= SPLIT_BITS)
        at = bits_behind(cache, at);
    return (struct word_cursor){at, i / SPLIT_WORD_BITS};
}

HMM__ALWAYS_INLINE uintptr_t *next_word(const struct cache *cache, struct word_cursor *at)
{
    HMM_ASSERT(at->d != NULL);
    uintptr_t *word = &at->d->in_use[at->word++];
    if (at->word == SPLIT_BITS / SPLIT_WORD_BITS)
        *at = (struct word_cursor){bits_behind(cache, at->d), 0};
    return word;
}

/* The first object from i on that is in use, or is not; or `count`. */
static uint32_t next_that_is(const struct cache *cache, const struct run *d, bool in_use,
                             uint32_t i)
{
    const uint32_t count = run_rest(d)->count;
    struct word_cursor at = cursor_at(cache, d, i);
    uintptr_t wanted = ~(uintptr_t)0 << (i % SPLIT_WORD_BITS);
    for (i -= i % SPLIT_WORD_BITS; i < count; i += SPLIT_WORD_BITS, wanted = ~(uintptr_t)0) {
        uintptr_t word = *next_word(cache, &at);
        word = (in_use ? word : ~word) & wanted;
        if (word != 0) {
            i += (uint32_t)__builtin_ctzll((unsigned long long)word);
            return i < count ? i : count;
        }
    }
    return count;
}

static uint32_t next_in_use(const struct cache *cache, const struct run *d, uint32_t i)
{
    return next_that_is(cache, d, true, i);
}

/* The number behind the highest of the objects that a word says are not in use, of which n is the
 * first; none: `or_else`. */
HMM__ALWAYS_INLINE uint32_t behind_free(uintptr_t free, uint32_t n, uint32_t or_else)
{
    return free ? n + 64 - (uint32_t)__builtin_clzll((unsigned long long)free) : or_else;
}

/* The first of the objects in use that abut below object i; i if there is none. Most are near:
 * else one pass over the words finds it. */
static uint32_t island_start(const struct cache *cache, const struct run *d, uint32_t i)
{
    const uint32_t own = i - i % SPLIT_WORD_BITS;
    uintptr_t free = ~*split_word(cache, (struct run *)(uintptr_t)d, i) & (bit_of(i) - 1);
    if (free != 0)
        return behind_free(free, own, 0);
    struct word_cursor at = cursor_at(cache, d, 0);
    uint32_t first = 0;
    for (uint32_t n = 0; n < own; n += SPLIT_WORD_BITS)
        first = behind_free(~*next_word(cache, &at), n, first);
    return first;
}

uint32_t hmm__split_island(const struct cache *cache, const struct run *d, uint32_t *i)
{
    *i = next_in_use(cache, d, *i);
    return next_that_is(cache, d, false, *i) - *i;
}

bool hmm__split_is_in(const struct cache *cache, const struct run *d, size_t page)
{
    uintptr_t start = (uintptr_t)run_start(cache, d), from = cache->base + (page << CACHE_PAGE_LOG);
    /* the first whose end is not below the page */
    uint32_t i = from > start ? (uint32_t)((from - start - 1) / class_bytes(d->class)) : 0;
    i = next_in_use(cache, d, i);
    return i < run_rest(d)->count && (uintptr_t)object_of(cache, d, i) < from + CACHE_PAGE;
}

/* ---- Splitting ---- */

/* Whose descriptors a SPLIT run's are: the pool's; or without threads, the only thread cache's. */
static struct thread_cache *keeper_of_split(const struct cache *cache)
{
    return cache->pool ? cache->pool : cache->thread_cache;
}

/* Hangs descriptors for the bits on d. False: there is no room. */
static bool hang_bits(struct thread_cache *tc, struct run *d)
{
    run_rest(d)->link = 0;
    for (uint32_t n = SPLIT_BITS; n < run_rest(d)->count; n += SPLIT_BITS) {
        struct run *bits = hmm__descriptor_new(tc);
        if (bits == NULL) {
            hmm__descriptors_retire(tc, run_rest(d)->link);
            return false;
        }
        run_rest(bits)->link = run_rest(d)->link;
        run_rest(d)->link = cache_offset(tc->cache, bits);
    }
    return true;
}

/* What lies in front of object i, in the one below, which is not in use, is no header: who frees
 * object i a second time is not to find one. */
static void wipe_header(const struct cache *cache, const struct run *d, uint32_t i)
{
    word_store(object_of(cache, d, i), 0);
}

/* Sets the bits of the carved objects. */
static void set_bits(const struct cache *cache, struct run *d)
{
    const uint32_t carved = run_carved(cache, d), count = run_rest(d)->count;
    struct word_cursor at = cursor_at(cache, d, 0);
    for (uint32_t i = 0; i < count; i += SPLIT_WORD_BITS) {
        uintptr_t word = i < carved ? ~(uintptr_t)0 : 0;
        if (i < carved && carved - i < SPLIT_WORD_BITS)
            word = bit_of(carved) - 1;
        CACHE_WRITE(*next_word(cache, &at), word);
    }
}

/* Clears those of the objects in the run's free list, o, and their tags and links: half of a link
 * may look like a header. */
static void clear_bits(const struct cache *cache, struct run *d, struct object *o)
{
    struct object *next;
    uint32_t used = run_carved(cache, d), expected = run_used(d);
    for (; o != NO_OBJECT; o = next, used--) {
        if (hmm__unlikely(!run_may_list(cache, d, o)))
            hmm__links_broken(cache->heap, block_of(cache->heap, run_start(cache, d)));
        const uint32_t i = object_index(cache, d, o);
        next = o->next;
        o->next = NULL;
        o->tag = 0;
        clear_bit(cache, d, i);
        wipe_header(cache, d, i + 1);
    }
    if (hmm__unlikely(used != expected))
        hmm__freed_object_broken(run_start(cache, d));
    run_set_used(d, used, used);
}

static void clear_map(struct cache *cache, const struct run *d, size_t page)
{
    if (!hmm__split_is_in(cache, d, page))
        CACHE_WRITE(cache_page_map(cache)[page], 0);
}

static void map_pages(struct cache *cache, const struct run *d, uint32_t pages)
{
    size_t page = cache_page_of(cache, run_start(cache, d));
    for (uint32_t i = 0; i < pages; i++)
        clear_map(cache, d, page + i);
}

/* Where the block of an island ends at the earliest whose last object ends at `end`. */
static char *island_end(char *end)
{
    return end + HMM_GRANULE;
}

static bool is_room_for_block(const char *from, const char *to)
{
    return to >= from + (size_t)HMM_MIN_GRANULES * HMM_GRANULE;
}

/* Cuts the block at d's start, which ends at `end`, into islands and free blocks. */
static void cut_islands(struct cache *cache, const struct run *d, char *end)
{
    struct hmm_heap *h = cache->heap;
    char *at = run_start(cache, d); /* what is not cut yet, a used block, begins here */
    bool hole = true;               /* and with no island */
    for (uint32_t i = 0, n; (n = hmm__split_island(cache, d, &i)) != 0; i += n) {
        char *first = object_of(cache, d, i), *last = island_end(object_of(cache, d, i + n));
        uint32_t next = next_in_use(cache, d, i + n);
        char *to = next < run_rest(d)->count ? object_of(cache, d, next) : end;
        if (hole && first != at) {
            hmm__cut_used(h, at, first);
            hmm__free(h, at);
        }
        hole = is_room_for_block(last, to);
        at = hole ? last : to;
        if (at != end)
            hmm__cut_used(h, first, at);
    }
    if (at != end)
        hmm__free(h, at);
}

bool hmm__split_run(struct thread_cache *tc, struct run *d)
{
    struct cache *cache = tc->cache;
    struct hmm_heap *h = cache->heap;
    char *start = run_start(cache, d);
    struct object *list = d->free;
    const uint32_t pages = run_pages(d);
    const size_t used = run_used(d) * class_bytes(d->class);
    HMM_ASSERT(cache_is_locked(cache) && run_is_of(d, tc) && run_state(d) == RUN_ACTIVE);
    if (hmm__unlikely(!hmm__run_is_whole(cache, d)))
        hmm__block_broken(h, block_of(h, start));
    if (!hang_bits(tc, d))
        return false;
    char *end = start + (size_t)block_size(h, block_of(h, start)) * HMM_GRANULE;
    set_bits(cache, d);
    clear_bits(cache, d, list);
    hmm__run_forget_pages(tc, d);
    __atomic_store_n(&d->owner, cache->pool ? low_half(cache->pool) : 1u, __ATOMIC_RELEASE);
    run_set_state(d, RUN_SPLIT);
    cache->was_split = true;
    cache->run_bytes -= pages * CACHE_PAGE - used;
    map_pages(cache, d, pages);
    cut_islands(cache, d, end);
    return true;
}

/* ---- An object is freed ---- */

/* What of the island is free now that its last object, at p, is not in use, to be freed; NULL:
 * nothing. */
static char *cut_end(struct hmm_heap *h, char *island, char *p, char *next, bool is_cut_at_next)
{
    if (is_cut_at_next && !is_room_for_block(island_end(p), next))
        return NULL;
    hmm__cut_used(h, island, island_end(p));
    return island_end(p);
}

static void retire_split(struct cache *cache, struct run *d)
{
    struct thread_cache *keeper = keeper_of_split(cache);
    int32_t bits = run_rest(d)->link;
    cache_fence_release(); /* first of all the page map's entry was cleared */
    hmm__descriptors_retire(keeper, bits);
    run_rest(d)->link = 0;
    hmm__descriptors_retire(keeper, cache_offset(cache, d));
}

void hmm__split_free(struct cache *cache, struct run *d, void *object)
{
    struct hmm_heap *h = cache->heap;
    char *p = object;
    const uint32_t i = object_index(cache, d, p), first = island_start(cache, d, i);
    char *island = object_of(cache, d, first), *next = object_of(cache, d, i + 1);
    HMM_ASSERT(cache_is_locked(cache) && run_state(d) == RUN_SPLIT);
    ((struct object *)object)->tag = 0;
    clear_bit(cache, d, i);
    cache->run_bytes -= class_bytes(d->class);
    const size_t page = cache_page_of(cache, p), end = cache_page_of(cache, next);
    clear_map(cache, d, page);
    if (end != page)
        clear_map(cache, d, end);
    bool more = split_bit(cache, d, i + 1);
    if (more)
        hmm__cut_used(h, island, next);
    else
        wipe_header(cache, d, i + 1);
    if (first != i)
        p = cut_end(h, island, p, next, more);
    if (--run_rest(d)->below == 0)
        retire_split(cache, d);
    if (p != NULL)
        hmm__free(h, p);
}

#endif
