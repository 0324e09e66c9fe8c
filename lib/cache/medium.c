/* SPDX-License-Identifier: MIT */
/*
 * Medium blocks: their return to the heap, and checking. medium.h has the theory. Calls the heap.
 */
#include "cache/medium.h"

#if HMM__CACHE

/* All threads together may have half of the heap, each an equal share. A single thread has no lock
 * to avoid: it may have a 16th, of MEDIUM_SINGLE_CLASSES. More costs memory, since what is not
 * merged fits less: with a half, and with blocks of up to 64 KiB, the footprint of ten traces rises
 * from 1.118 to 1.127. */
#define SHARED_SHIFT 1
#define SINGLE_SHIFT 4

/* Of a thread that is not the only one a 32nd of the heap stays when the break rises: else a few
 * sizes in turn would each find that the blocks of the others had to go back. */
#define IDLE_PART 32u

#define MEDIUM_BYTES_MIN ((size_t)4096)

/* What goes back in one call where it can wait, a few tenths of a millisecond: blocks, and bytes.
 * So many threads are looked at for it. */
#define MEDIUM_STEP ((size_t)256)
#define MEDIUM_STEP_BYTES ((size_t)1 << 20)
#define MEDIUM_THREADS 64u

void hmm__medium_freed_twice(const void *p, const char *operation)
{
    hmm__panic(operation, p, "double free, or not a block: it is not in use");
}

/* ---- Back to the heap: with the heap's lock ---- */

static bool is_orphan(const struct thread_cache *tc)
{
    return __atomic_load_n(&tc->state, __ATOMIC_RELAXED) == THREAD_CACHE_ORPHANED;
}

/* Takes the first block of class k off. Its link must lead to a block. */
static struct object *take_medium_off_one(struct thread_cache *tc, unsigned k)
{
    struct hmm_heap *h = tc->cache->heap;
    struct medium_cache *m = &tc->medium;
    struct object *o = m->list[k];
    if (o->next != NULL && hmm__unlikely(!hmm__medium_has(tc->cache, o->next)))
        hmm__links_broken(h, block_of(h, o));
    CACHE_WRITE(m->list[k], o->next);
    m->count[k]--;
    CACHE_WRITE(m->bytes, m->bytes - (size_t)medium_granules(o) * HMM_GRANULE);
    return o;
}

/* Of an orphan a part may have been copied before another was written: its lists are believed as
 * far as their blocks have tags. */
static void believe_orphan(struct thread_cache *tc)
{
    struct medium_cache *m = &tc->medium;
    m->bytes = 0;
    m->listed = (UINT64_C(1) << MEDIUM_CLASSES) - 1;
    for (unsigned k = 0; k < MEDIUM_CLASSES; k++) {
        struct object **link = &m->list[k];
        for (m->count[k] = 0; *link != NULL && hmm__medium_has(tc->cache, *link); m->count[k]++) {
            m->bytes += (size_t)medium_granules(*link) * HMM_GRANULE;
            link = &(*link)->next;
        }
        *link = NULL;
    }
}

/* A program wrote over a link: blocks are in no list, and no block of this heap any more. */
static void forget_lost(struct medium_cache *m)
{
    CACHE_WRITE(m->bytes, 0);
    memset(m->count, 0, sizeof m->count);
}

/* The next class from the hand on that may have blocks; MEDIUM_CLASSES: none. */
static unsigned next_listed(const struct medium_cache *m)
{
    uint64_t listed = m->listed >> m->clock_hand;
    return listed == 0 ? MEDIUM_CLASSES : m->clock_hand + (unsigned)__builtin_ctzll(listed);
}

/* Takes so many blocks of class k off, in front of *all. Returns the number. */
static size_t take_medium_off_some(struct thread_cache *tc, unsigned k, size_t n,
                                   struct object **all)
{
    size_t taken = 0;
    for (; taken < n && tc->medium.list[k] != NULL; taken++) {
        struct object *o = take_medium_off_one(tc, k);
        o->next = *all;
        *all = o;
    }
    if (tc->medium.list[k] == NULL)
        tc->medium.listed &= ~(UINT64_C(1) << k);
    return taken;
}

/* Takes blocks off until the rest have `keep` bytes at most, or `max` are taken, which are a step
 * unless it is SIZE_MAX: half of each
 * class, from clock_hand on, and the last one of a class only if that was not enough. Returns them
 * as a list; NULL: none. The caller has tc's lock. */
static struct object *take_medium_off(struct thread_cache *tc, size_t keep, size_t max)
{
    struct medium_cache *m = &tc->medium;
    struct object *all = NULL;
    if (hmm__unlikely(is_orphan(tc)))
        believe_orphan(tc);
    if (max != SIZE_MAX && m->bytes > keep + MEDIUM_STEP_BYTES)
        keep = m->bytes - MEDIUM_STEP_BYTES;
    const unsigned first = m->clock_hand;
    for (unsigned rounds = 0; m->bytes > keep && max != 0;) {
        unsigned k = next_listed(m);
        if (k == MEDIUM_CLASSES) {
            if (hmm__unlikely(m->listed == 0))
                forget_lost(m);
            m->clock_hand = 0;
            rounds++;
            continue;
        }
        size_t last = rounds > 1 || (rounds == 1 && k >= first);
        size_t n = (m->count[k] + last) / 2;
        max -= take_medium_off_some(tc, k, n < max ? n : max, &all);
        m->clock_hand = k + 1;
    }
    return all;
}

static bool free_all(struct cache *cache, struct object *o)
{
    struct hmm_heap *h = cache->heap;
    bool any = o != NULL, many = h->frees_many;
    HMM_ASSERT(cache_is_locked(cache));
    h->frees_many = true;
    for (struct object *next; o != NULL; o = next) {
        next = o->next;
        o->tag = 0;
        hmm__free(h, o);
    }
    h->frees_many = many;
    return any;
}

/* Lets the statistics know what tc has. */
static void count_medium(struct thread_cache *tc)
{
    tc->cache->medium_bytes += tc->medium.bytes - tc->medium.counted;
    tc->medium.counted = tc->medium.bytes;
}

/* Of any thread cache. */
static bool shrink_to(struct thread_cache *tc, size_t keep, size_t max)
{
    if (CACHE_READ(tc->medium.bytes) == 0 || !own_lock_any(tc))
        return false;
    struct object *all = take_medium_off(tc, keep, max);
    tc->medium.bytes_min = tc->medium.bytes;
    count_medium(tc);
    own_unlock(tc);
    return free_all(tc->cache, all);
}

bool hmm__medium_halve(struct thread_cache *tc)
{
    const struct hmm_heap *h = tc->cache->heap;
    size_t bytes = CACHE_READ(tc->medium.bytes);
    if (tc->cache->in_use > 1 && bytes <= (size_t)(h->brk - h->first) * HMM_GRANULE / IDLE_PART)
        return false;
    return shrink_to(tc, bytes > MEDIUM_BYTES_MIN ? bytes / 2 : 0, MEDIUM_STEP);
}

bool hmm__medium_empty(struct thread_cache *tc)
{
    return shrink_to(tc, 0, SIZE_MAX);
}

bool hmm__medium_empty_others(struct cache *cache, const struct thread_cache *tc)
{
    for (unsigned i = 0; i < MEDIUM_THREADS && cache->idle_thread != NULL; i++) {
        struct thread_cache *t = cache->idle_thread;
        if (t != tc && shrink_to(t, 0, MEDIUM_STEP))
            return true;
        cache->idle_thread = t->next;
    }
    return false;
}

bool hmm__medium_empty_all(struct cache *cache)
{
    bool any = false;
    for (struct thread_cache *tc = cache->thread_caches; tc != NULL; tc = tc->next)
        any |= hmm__medium_empty(tc);
    return any;
}

void hmm__medium_age(struct cache *cache)
{
    for (struct thread_cache *tc = cache->thread_caches; tc != NULL; tc = tc->next) {
        struct medium_cache *m = &tc->medium;
        if (CACHE_READ(m->bytes) == 0 || !own_lock_any(tc))
            continue;
        CACHE_WRITE(m->unused, m->bytes_min);
        m->bytes_min = m->bytes;
        cache->has_unused |= m->unused != 0;
        own_unlock(tc);
    }
}

/* Takes the first of m->unused off. The caller has tc's lock. */
static struct object *take_unused_off(struct thread_cache *tc)
{
    struct medium_cache *m = &tc->medium;
    size_t before = m->bytes;
    size_t unused = m->unused < before ? m->unused : before;
    struct object *all = take_medium_off(tc, before - unused, MEDIUM_STEP);
    size_t taken = before - m->bytes;
    CACHE_WRITE(m->unused, taken < unused ? unused - taken : 0);
    if (m->bytes_min > m->bytes)
        m->bytes_min = m->bytes;
    return all;
}

bool hmm__medium_return_unused(struct cache *cache)
{
    struct thread_cache *tc = cache->has_unused ? cache->thread_caches : NULL;
    struct object *all = NULL;
    for (; tc != NULL && all == NULL; tc = tc->next) {
        if (CACHE_READ(tc->medium.unused) == 0 || !own_lock_any(tc))
            continue;
        all = take_unused_off(tc);
        count_medium(tc);
        own_unlock(tc);
    }
    return cache->has_unused = free_all(cache, all);
}

size_t hmm__medium_bytes(struct cache *cache, struct thread_cache *tc)
{
    if (tc != NULL)
        count_medium(tc);
    return cache->medium_bytes;
}

/* ---- Too much ---- */

/* What tc may have. */
static void set_medium_limits(struct thread_cache *tc)
{
    const struct cache *cache = tc->cache;
    const struct hmm_heap *h = cache->heap;
    bool single = cache->in_use == 1;
    size_t heap = (size_t)(h->brk - h->first) * HMM_GRANULE;
    size_t max = (heap >> (single ? SINGLE_SHIFT : SHARED_SHIFT)) / cache->in_use;
    tc->medium.bytes_max = max > MEDIUM_BYTES_MIN ? max : MEDIUM_BYTES_MIN;
    tc->medium.classes = single ? MEDIUM_SINGLE_CLASSES : MEDIUM_CLASSES;
}

static bool put_beyond(struct thread_cache *tc, void *p, uint32_t n)
{
    struct medium_cache *m = &tc->medium;
    size_t bytes = (size_t)n * HMM_GRANULE;
    enum lock_hold hold = cache_lock(tc->cache);
    if (hold == LOCK_UNAVAILABLE)
        return false;
    set_medium_limits(tc);
    bool may = bytes <= m->bytes_max && medium_class(n) < m->classes;
    if (may && m->bytes + bytes > m->bytes_max) {
        size_t keep = m->bytes_max - m->bytes_max / 4;
        shrink_to(tc, keep > bytes ? keep - bytes : 0, MEDIUM_STEP);
    }
    if (may && (may = own_lock(tc))) {
        medium_push(tc, p, n);
        count_medium(tc);
        own_unlock(tc);
    }
    cache_unlock(tc->cache, hold);
    return may;
}

bool hmm__medium_put(struct cache *cache, struct thread_cache *tc, void *p)
{
    uint32_t n;
    if (!is_medium(cache, p, &n))
        return false;
    if (hmm__unlikely(object_has_tag(cache->keys.medium, p)))
        hmm__medium_freed_twice(p, "free");
    if (tc->cache == NULL || !cache->open)
        return false;
    if (!medium_fits(&tc->medium, n))
        return put_beyond(tc, p, n);
    if (!own_lock(tc))
        return false;
    medium_push(tc, p, n);
    own_unlock(tc);
    return true;
}

/* ---- Too little ---- */

static size_t largest_of(unsigned k)
{
    size_t next = (size_t)(8 + (k + 1) % 8) << ((k + 1) / 8 + MEDIUM_LOG - 3);
    return (next - 1) * HMM_GRANULE - HMM_HEADER_BYTES;
}

/* What is in the heap below the break, for a thread that shares it and requests varied sizes. One
 * block: with two or four at once others go back to the heap instead, and the pattern `large` of
 * bench/threads takes 10 to 50 % longer. */
void *hmm__medium_refill(struct thread_cache *tc, size_t size)
{
    unsigned k = medium_class(hmm__granules_for(size));
    struct hmm_heap *h = tc->cache->heap;
    if (!(tc->medium.varied >> k & 1))
        return NULL;
    enum lock_hold hold = cache_lock(tc->cache);
    if (hold == LOCK_UNAVAILABLE)
        return NULL;
    void *p = hmm__try_malloc(h, largest_of(k));
    count_medium(tc);
    cache_unlock(tc->cache, hold);
    return p;
}

/* ---- Checking ---- */

bool hmm__medium_has(const struct cache *cache, const void *p)
{
    struct block_view b;
    return is_placed(cache->heap, p, &b) && medium_is_at(cache, p, &b);
}

static size_t count_list(const struct cache *cache, const struct object *o, size_t *bytes)
{
    size_t n = 0, max = *bytes;
    *bytes = 0;
    for (const struct object *before = o; o != NULL; before = o, o = o->next) {
        if (hmm__unlikely(!hmm__medium_has(cache, o) || *bytes > max))
            hmm__links_broken(cache->heap, block_of(cache->heap, before));
        *bytes += (size_t)medium_granules(o) * HMM_GRANULE;
        n++;
    }
    return n;
}

size_t hmm__medium_count(const struct thread_cache *tc, size_t *bytes)
{
    struct thread_cache *t = (struct thread_cache *)(uintptr_t)tc; /* for its lock */
    size_t n = 0;
    *bytes = 0;
    if (is_orphan(tc) || !own_lock_any(t))
        return 0;
    for (unsigned k = 0; k < MEDIUM_CLASSES; k++) {
        size_t some = tc->medium.bytes;
        n += count_list(tc->cache, tc->medium.list[k], &some);
        *bytes += some;
    }
    own_unlock(t);
    return n;
}

static const char *verify_lists(const struct thread_cache *tc)
{
    const struct medium_cache *m = &tc->medium;
    size_t bytes = 0;
    for (unsigned k = 0; k < MEDIUM_CLASSES; k++) {
        unsigned n = 0;
        if (m->list[k] != NULL && !(m->listed >> k & 1))
            return "F5: a list that has medium blocks is not listed";
        for (const struct object *o = m->list[k]; o != NULL; o = o->next) {
            if (!hmm__medium_has(tc->cache, o)) /* o may be any pointer */
                return "F5: a medium block is not tagged, or free";
            if (medium_class(medium_granules(o)) != k)
                return "F5: a medium block is in the wrong list";
            bytes += (size_t)medium_granules(o) * HMM_GRANULE;
            if (n++ == m->count[k] || bytes > m->bytes)
                break;
        }
        if (n != m->count[k])
            return "F5: a list of medium blocks is not as long as its count";
    }
    return bytes == m->bytes ? NULL : "F5: the sum of the medium blocks is not that of their sizes";
}

const char *hmm__medium_verify(const struct thread_cache *tc)
{
    struct thread_cache *t = (struct thread_cache *)(uintptr_t)tc; /* for its lock */
    if (!own_lock_any(t))
        return NULL;
    const char *broken = verify_lists(tc);
    own_unlock(t);
    return broken;
}

#endif
