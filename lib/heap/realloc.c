/* SPDX-License-Identifier: MIT */
/*
 * realloc. A block grows in place if it can: into the free block above or the top, else down into
 * the free block below, together with what is free above. Else it moves to a new block. A block
 * from aligned_alloc keeps the alignment that was requested, and not a larger one at which it
 * happens to lie. Calls allocate.c, aligned.c, brk.c and the strategy's hooks.
 *
 * Behind a cache, where placement need not be exact, a block that grows by little has slack: it
 * gets up to an eighth more, if the free block above, a free block that it moves to, or the top
 * below the break has it. So a buffer that grows byte by byte is resized a number of times that is
 * logarithmic in its size, and moved at most as often. By little is by at most half of the slack,
 * a 16th: what grows by a factor of its own needs none. A block that shrinks keeps what is no more
 * than its slack, and half of it where it has a little more: so one that shrinks and grows by
 * little is not resized each time.
 */
#include "heap/place.h"

#if HMM_WITH_REALLOC

/* Used block r now has s granules and needs n. The rest is freed if it is large enough for a block.
 * Returns what the block keeps, which is not counted as live yet. */
static uint32_t settle(struct hmm_heap *h, hmm_ref r, uint32_t s, uint32_t n, uint32_t bits)
{
    HMM_ASSERT(s >= n && r + s <= h->top && !(bits & HMM__FREE));
    block_set_header(h, r, header_make(s, bits));
    if (s - n >= HMM_MIN_GRANULES) {
        block_set_header(h, r, header_make(n, bits));
        block_set_header(h, r + n, header_make(s - n, 0));
        hmm__release(h, r + n);
        COUNT(h->splits++);
        s = n;
    }
    return s;
}

/* Cuts used block r down to n granules. */
static __attribute__((noinline)) void shrink(struct hmm_heap *h, hmm_ref r, uint32_t word,
                                             uint32_t n)
{
    uint32_t s = header_size(word);
    HMM_ASSERT(s >= n + HMM_MIN_GRANULES);
    block_set_header(h, r, header_make(n, word & (HMM__PREV_FREE | HMM__ALIGNED)));
    block_set_header(h, r + n, header_make(s - n, 0));
    live_sub(h, (size_t)(s - n) * HMM_GRANULE);
    COUNT(h->top_blocks++);
    hmm__release(h, r + n);
}

#if HMM__PAGES

/* Raises the break to `to`, if it can. No pages go back for it, and no block becomes absent: who
 * calls this knows the block that grows and what is free below it. */
static void raise_quietly(struct hmm_heap *h, hmm_ref to)
{
    h->keeps_pages = true;
    hmm__brk_raise(h, to);
    h->keeps_pages = false;
}

/* What lies above it may not be resident. */
static hmm_ref resident_end(const struct hmm_heap *h)
{
    return h->brk > h->zero_top ? h->brk : h->zero_top;
}

/* Pages go back for what lies above `was`, now that the block has grown. */
static void grown_above(struct hmm_heap *h, hmm_ref was)
{
    if (hmm__unlikely(h->brk > was && h->brk - was >= HMM__LARGE_GRANULES))
        hmm__decommit_instead(h, h->brk - was);
}

#else

static void raise_quietly(struct hmm_heap *h, hmm_ref to)
{
    hmm__brk_raise(h, to);
}

HMM__ALWAYS_INLINE hmm_ref resident_end(const struct hmm_heap *h)
{
    (void)h;
    return 0;
}

HMM__ALWAYS_INLINE void grown_above(struct hmm_heap *h, hmm_ref was)
{
    (void)h, (void)was;
}

#endif

/* The free granules directly above `end`: of a free block, or of the top. Raises the break for
 * `wants` granules of the top, if it can. */
static uint32_t room_next(struct hmm_heap *h, hmm_ref end, uint32_t wants)
{
    if (end == h->top) {
        if (heap_brk(h) - end < wants && h->limit - end >= wants)
            raise_quietly(h, end + wants);
        return heap_brk(h) - end < wants ? heap_brk(h) - end : h->limit - end;
    }
    uint32_t word = block_header(h, end);
    return word & HMM__FREE ? header_size(word) : 0;
}

/* Adds all of the free block above to block r of s granules, or as much of the top as makes n. The
 * caller has tested that it is enough. Returns the new size. */
static uint32_t absorb_next(struct hmm_heap *h, hmm_ref r, uint32_t s, uint32_t n)
{
    hmm_ref end = r + s;
    if (end == h->top) {
        if (n <= s)
            return s;
        block_make_top(h, r + n);
        return n;
    }
    uint32_t word = block_header(h, end);
    if (!(word & HMM__FREE))
        return s;
    hooks_of(h)->remove(h, state_of(h), end);
    if (large_knows(h, header_scaled(word)))
        hmm__large_drop(h, end + header_size(word));
    COUNT(h->free_unbinned--);
    COUNT(h->merges++);
    block_clear_prev_free(h, end + header_size(word));
    return s + header_size(word);
}

static bool grow_up(struct hmm_heap *h, hmm_ref r, uint32_t word, uint32_t n)
{
    const hmm_ref resident = resident_end(h);
    uint32_t s = header_size(word), room = room_next(h, r + s, n - s);
    if (n - s > room || n > HMM_MAX_GRANULES || s + (uint64_t)room > UINT32_MAX)
        return false;
    if (r + s != h->top && s + room > HMM_MAX_GRANULES)
        return false;
    uint32_t got = absorb_next(h, r, s, n);
    got = settle(h, r, got, n, word & (HMM__PREV_FREE | HMM__ALIGNED));
    live_add(h, (size_t)(got - s) * HMM_GRANULE);
    grown_above(h, resident);
    return true;
}

/* Into what is absent above. */
static bool grow_into_absent(struct hmm_heap *h, hmm_ref r, uint32_t word, uint32_t n)
{
    uint32_t s = header_size(word);
    return absent_returns_at(h, r + s, n - s) && grow_up(h, r, word, n);
}

/* Takes free block low from the index, except its first `gap` granules, which stay a free block.
 * Returns the PREV_FREE of the header above those. */
static uint32_t absorb_below(struct hmm_heap *h, hmm_ref low, uint32_t gap)
{
    uint32_t prev_bit = block_header(h, low) & HMM__PREV_FREE;
    uint32_t size = block_size(h, low);
    hooks_of(h)->remove(h, state_of(h), low);
    if (large_knows(h, header_make(size, 0)))
        hmm__large_cut(h, low, size, gap, 0);
    if (gap == 0) {
        COUNT(h->free_unbinned--);
        COUNT(h->merges++);
        return prev_bit;
    }
    block_make_free(h, low, gap, prev_bit);
    /* Insert may look at the blocks above: the used one has grown down to here. */
    block_set_header(h, low + gap,
                     header_make(size - gap + block_size(h, low + size), HMM__PREV_FREE));
    hooks_of(h)->insert(h, state_of(h), low);
    return HMM__PREV_FREE;
}

/* Moves block r down into the free block below it, to `gap` granules above that one's start.
 * Returns its new ref; 0 iff there is not enough room. */
static hmm_ref grow_down(struct hmm_heap *h, hmm_ref r, uint32_t word, uint32_t n, uint32_t gap)
{
    const hmm_ref resident = resident_end(h);
    uint32_t s = header_size(word), whole = block_footer_below(h, r), below = whole - gap;
    if (gap >= whole)
        return 0;
    uint64_t room = room_next(h, r + s, n - s > below ? n - s - below : 0);
    if (below + s + room < n || below + s + (r + s == h->top ? 0 : room) > HMM_MAX_GRANULES)
        return 0;
    hmm_ref to = r - below;
    uint32_t prev_bit = absorb_below(h, r - whole, gap), got = below + s;
    if (got < n)
        got = absorb_next(h, to, got, n);
    memmove(block_payload(h, to), block_payload(h, r), header_usable(word));
    got = settle(h, to, got, n, prev_bit | (word & HMM__ALIGNED));
    live_add(h, (size_t)(got - s) * HMM_GRANULE);
    grown_above(h, resident);
    return to;
}

/* Copies few granules one by one, without a call. */
HMM__ALWAYS_INLINE void copy_payload(char *to, const char *from, uint32_t granules)
{
    size_t bytes = block_usable(granules);
    if (granules > 4) {
        memcpy(to, from, bytes);
        return;
    }
    for (; bytes >= HMM_GRANULE; bytes -= HMM_GRANULE, to += HMM_GRANULE, from += HMM_GRANULE)
        memcpy(to, from, HMM_GRANULE);
    memcpy(to, from, HMM_GRANULE - HMM_HEADER_BYTES);
}

/* Whether hmm__malloc may have returned memory to the heap before it failed. */
static bool has_cache(const struct hmm_heap *h)
{
#if HMM__CACHE
    return h->reclaim != NULL;
#else
    (void)h;
    return false;
#endif
}

/* Whether a failure of hmm__malloc is not the request's: it is counted by fail_at_last. Where there
 * is no cache there is nothing else to try, and it counts. Returns what was set before. */
HMM__ALWAYS_INLINE bool set_trying(struct hmm_heap *h, bool trying)
{
#if HMM__SMALL
    (void)h, (void)trying;
    return false;
#else
    const bool was = h->trying;
    h->trying = trying;
    return was;
#endif
}

HMM__ALWAYS_INLINE void *fail_at_last(struct hmm_heap *h, size_t size)
{
#if HMM__SMALL
    (void)h, (void)size;
    return NULL;
#else
    return hmm__fail(h, size);
#endif
}

/* No new block could be had, although the cache returned all that it could. A block that it
 * returned may be a neighbour of this one: so growing in place is tried once more. */
static HMM__COLD void *grow_at_last(struct hmm_heap *h, char *p, size_t size)
{
    uint32_t word = word_load(p), n = hmm__granules_for(size);
    hmm_ref r = block_of(h, p), low = 0;
    bool grown = has_cache(h) && grow_up(h, r, word, n);
    if (has_cache(h) && !grown && (word & HMM__PREV_FREE))
        low = grow_down(h, r, word, n, 0);
    if (!grown && low == 0)
        return fail_at_last(h, block_usable(n));
    return grown ? p : block_payload(h, low);
}

/* To block `to`, which is in use and not smaller. */
HMM__ALWAYS_INLINE void *move_to(struct hmm_heap *h, char *from, char *to)
{
    copy_payload(to, from, header_size(word_load(from)));
    hmm__free(h, from);
    return to;
}

static __attribute__((noinline)) void *move_block(struct hmm_heap *h, char *from, size_t size)
{
    if (grow_into_absent(h, block_of(h, from), word_load(from), hmm__granules_for(size)))
        return from;
    const bool was = set_trying(h, true);
    void *to = hmm__malloc(h, size);
    set_trying(h, was);
    if (hmm__unlikely(to == NULL))
        return grow_at_last(h, from, size);
    return move_to(h, from, to);
}

#if HMM__SMALL

/* NULL: there is no room. */
static __attribute__((noinline)) void *grow_in_place(struct hmm_heap *h, char *p, size_t size)
{
    uint32_t word = word_load(p), n = hmm__granules_for(size);
    hmm_ref r = block_of(h, p);
    if (grow_up(h, r, word, n))
        return p;
    hmm_ref low = (word & HMM__PREV_FREE) != 0 ? grow_down(h, r, word, n, 0) : 0;
    return low != 0 ? block_payload(h, low) : NULL;
}

/* One after the other, so that the stack is that of the deeper only. */
static void *grow(struct hmm_heap *h, char *p, size_t size)
{
    void *grown = grow_in_place(h, p, size);
    return grown != NULL ? grown : move_block(h, p, size);
}

#else

/* Whether the free neighbours of r, at p, agree with its header and the next. */
static bool neighbours_agree(const struct hmm_heap *h, hmm_ref r, char *p,
                             const struct block_view *b)
{
    hmm_ref low;
    size_t remaining = b->to_top - b->scaled;
    if ((b->word & HMM__PREV_FREE) && !prev_agrees(h, r, p, footer_load(p), &low))
        return false;
    return !(b->next_header & HMM__FREE) || remaining == 0 ||
           next_agrees(p + scaled_bytes(b->scaled), header_scaled(b->next_header), remaining);
}

/* The common cases of grow_up: from the top below the break, or from a free block above of which a
 * free block is left. */
static bool grow_up_fast(struct hmm_heap *h, hmm_ref r, char *p, const struct block_view *b,
                         uint32_t n)
{
    size_t more = header_make(n, 0) - b->scaled, next_size = header_scaled(b->next_header);
    if (b->to_top == b->scaled) {
        if (heap_brk(h) - r < n)
            return false;
        block_make_top(h, r + n);
    } else {
        if (!(b->next_header & HMM__FREE) || next_size < more + header_make(HMM_MIN_GRANULES, 0))
            return false;
        hooks_of(h)->remove(h, state_of(h), r + (hmm_ref)scaled_granules(b->scaled));
        large_taken(h, p + scaled_bytes(b->scaled), scaled_granules(next_size),
                    scaled_granules(next_size - more));
        block_make_free(h, r + n, (uint32_t)scaled_granules(next_size - more), 0);
        hooks_of(h)->insert(h, state_of(h), r + n);
        COUNT(h->merges++);
        COUNT(h->splits++);
    }
    word_store(p, b->word + (uint32_t)more);
    live_add(h, scaled_bytes(more));
    return true;
}

/* Grows block p, which has a free neighbour or the top above it. */
static __attribute__((noinline)) void *grow(struct hmm_heap *h, char *p, size_t size,
                                            struct block_view b)
{
    uint32_t n = hmm__granules_for(size);
    hmm_ref r = (hmm_ref)b.at;
    if (hmm__unlikely(!neighbours_agree(h, r, p, &b)))
        hmm__misuse(h, p, "realloc");
    if (grow_up_fast(h, r, p, &b, n))
        return p;
    if ((b.next_header & HMM__FREE) && grow_up(h, r, b.word, n))
        return p;
    hmm_ref low = b.word & HMM__PREV_FREE ? grow_down(h, r, b.word, n, 0) : 0;
    return low ? block_payload(h, low) : move_block(h, p, size);
}

/* ---- Slack ---- */

/* The slack of a block of `has` granules that grows to n. */
HMM__ALWAYS_INLINE uint32_t slack_to(uint32_t has, uint32_t n)
{
    const uint32_t slack = n >> HMM__SLACK_SHIFT;
    return n - has <= slack / 2 && n <= HMM_MAX_GRANULES - slack ? slack : 0;
}

/* That of a block which shrinks to n granules and has too many `more`: half, so that it can shrink
 * and grow by little; none if it shrinks by much. */
HMM__ALWAYS_INLINE uint32_t slack_left(uint32_t n, uint32_t more)
{
    return more <= n >> (HMM__SLACK_SHIFT - 1) ? n >> (HMM__SLACK_SHIFT + 1) : 0;
}

/* Without slack if that would raise the break, or reclaim anything. */
static void *move_with_slack(struct hmm_heap *h, char *from, uint32_t n, uint32_t slack)
{
    void *to = hmm__try_malloc(h, block_usable(n + slack));
    return to != NULL ? move_to(h, from, to) : move_block(h, from, block_usable(n));
}

/* Grows block p to n granules, and by slack as far as it costs nothing. */
static __attribute__((noinline)) void *grow_with_slack(struct hmm_heap *h, char *p, uint32_t n,
                                                       struct block_view b, uint32_t slack)
{
    const bool is_last = b.to_top == b.scaled;
    size_t has = scaled_granules(b.scaled);
    if (is_last)
        has = heap_brk(h) - b.at;
    else if (b.next_header & HMM__FREE)
        has += header_size(b.next_header);
    if (has > n)
        n += has - n < slack ? (uint32_t)(has - n) : slack;
    else if (b.word & HMM__PREV_FREE)
        has += scaled_granules(footer_load(p));
    return has >= n || is_last ? grow(h, p, block_usable(n), b) : move_with_slack(h, p, n, slack);
}

#endif

/* ---- ALIGNED blocks ---- */

#if HMM_WITH_ALIGNED

/* Resizes block r to n granules where it is, or further down at its alignment. Returns its ref; 0:
 * there is no room. */
static hmm_ref resize_aligned(struct hmm_heap *h, hmm_ref r, uint32_t n, size_t align)
{
    uint32_t word = block_header(h, r), has = header_size(word);
    if (n <= has) {
        if (has - n >= HMM_MIN_GRANULES)
            shrink(h, r, word, n);
        return r;
    }
    if (grow_up(h, r, word, n) || grow_into_absent(h, r, word, n))
        return r;
    if (!(word & HMM__PREV_FREE))
        return 0;
    struct hmm_piece piece = hmm__piece_at(h, align, n);
    return grow_down(h, r, word, n, hmm_piece_gap(&piece, r - block_footer_below(h, r)));
}

/* NULL: there is no room, even after the cache returned all that it could. */
static void *move_aligned(struct hmm_heap *h, char *from, size_t size, size_t align)
{
    const bool was = set_trying(h, true);
    void *to = hmm__aligned_alloc(h, align, size);
    set_trying(h, was);
    if (to == NULL)
        return NULL;
    memcpy(to, from, header_usable(word_load(from)));
    hmm__free(h, from);
    return to;
}

/* The record lies at the block's end, and is written again at the new one. */
static void *realloc_aligned(struct hmm_heap *h, void *payload, size_t size)
{
    hmm_ref r = block_of(h, payload);
    uint32_t align = hmm__alignment_of(h, r, "realloc");
    size_t align_bytes = (size_t)align * HMM_GRANULE;
    if (!hmm__aligned_can_be(align_bytes, size))
        return hmm__fail(h, size);
    uint32_t n = hmm__granules_for(size + HMM__RECORD_BYTES);
    hmm_ref now = resize_aligned(h, r, n, align_bytes);
    if (now == 0) {
        void *moved = move_aligned(h, payload, size, align_bytes);
        if (moved != NULL)
            return moved;
        now = has_cache(h) ? resize_aligned(h, r, n, align_bytes) : 0;
        if (now == 0)
            return fail_at_last(h, size);
    }
    r = now;
    block_set_record(h, r, align);
    return block_payload(h, r);
}

#endif

/* ---- All blocks ---- */

static __attribute__((noinline)) void *realloc_else(struct hmm_heap *h, void *payload, size_t size)
{
    if (payload == NULL)
        return hmm__malloc(h, size);
#if HMM_WITH_CHECKS || !HMM__SMALL
    if (!hmm__seems_valid(h, payload))
        hmm__misuse(h, payload, "realloc");
#endif
    if (size == 0) {
        hmm__free(h, payload);
        return NULL;
    }
#if HMM_WITH_ALIGNED
    return word_load(payload) & HMM__ALIGNED ? realloc_aligned(h, payload, size)
                                             : hmm__fail(h, size);
#else
    return hmm__fail(h, size);
#endif
}

#if HMM__SMALL

/* Whether realloc_else is to see to it. */
static bool is_uncommon(const struct hmm_heap *h, const char *p, size_t size)
{
    if (p == NULL || size - 1 >= HMM_MAX_REQUEST)
        return true;
#if HMM_WITH_CHECKS
    if (!hmm__seems_valid(h, p))
        return true;
#endif
    (void)h;
    return HMM_WITH_ALIGNED && (word_load(p) & HMM__ALIGNED);
}

void *hmm__realloc(struct hmm_heap *h, void *payload, size_t size)
{
    if (is_uncommon(h, payload, size))
        return realloc_else(h, payload, size);
    hmm_ref r = block_of(h, payload);
    uint32_t word = block_header(h, r), n = hmm__granules_for(size), has = header_size(word);
    if (n > has)
        return grow(h, payload, size);
    if (has - n >= HMM_MIN_GRANULES)
        shrink(h, r, word, n);
    return payload;
}

#else

/* As move_block, where there is no cache. */
static __attribute__((noinline)) void *move_plainly(struct hmm_heap *h, char *from, size_t size)
{
    if (grow_into_absent(h, block_of(h, from), word_load(from), hmm__granules_for(size)))
        return from;
    void *to = h->uncached_malloc(h, size);
    if (hmm__likely(to != NULL)) {
        copy_payload(to, from, header_size(word_load(from)));
        h->uncached_free(h, from);
    }
    return to;
}

/* PLAINLY: where there is no cache, and so no slack. */
enum realloc_as { REALLOC_PLAINLY, REALLOC_EXACTLY, REALLOC_WITH_SLACK };

/* Of a block that is_placed. */
HMM__ALWAYS_INLINE void *realloc_placed(struct hmm_heap *h, char *p, size_t size,
                                        const struct block_view *b, enum realloc_as as)
{
    const bool plain = as == REALLOC_PLAINLY, slack = as == REALLOC_WITH_SLACK;
    if (hmm__unlikely(size > HMM_MAX_REQUEST || !is_used_plainly(b)))
        return realloc_else(h, p, size);
    uint32_t n = hmm__granules_for(size), has = header_size(b->word);
    if (n > has) {
        if (slack && slack_to(has, n) != 0)
            return grow_with_slack(h, p, n, *b, slack_to(has, n));
        if (((b->word | b->next_header) & HMM__NEIGHBOUR_FLAGS) != 0)
            return grow(h, p, size, *b);
        return plain ? move_plainly(h, p, size) : move_block(h, p, size);
    }
    if (hmm__unlikely(size == 0))
        return realloc_else(h, p, size);
    if (slack ? !keeps_slack(n, has - n) : has - n >= HMM_MIN_GRANULES)
        shrink(h, (hmm_ref)b->at, b->word, slack ? n + slack_left(n, has - n) : n);
    return p;
}

void *hmm__realloc(struct hmm_heap *h, void *payload, size_t size)
{
    struct block_view b;
    return hmm__likely(is_placed(h, payload, &b))
               ? realloc_placed(h, payload, size, &b, REALLOC_PLAINLY)
               : realloc_else(h, payload, size);
}

void *hmm__realloc_exactly(struct hmm_heap *h, void *payload, size_t size)
{
    struct block_view b;
    return is_placed(h, payload, &b) ? realloc_placed(h, payload, size, &b, REALLOC_EXACTLY)
                                     : realloc_else(h, payload, size);
}

#if HMM__CACHE

void *hmm__realloc_with_slack(struct hmm_heap *h, void *payload, size_t size, struct block_view b)
{
    return realloc_placed(h, payload, size, &b, REALLOC_WITH_SLACK);
}

#endif

#endif
#endif
