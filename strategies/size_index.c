/* SPDX-License-Identifier: MIT */
#include "size_index.h"

#if HMM_WITH_BEST_FIT

#define IS_ROOT UINT32_MAX

/* Link words of a free block. The first two are in every one, the others in those of a trie. */
#define TRIE_NEXT BIN_NEXT
#define TRIE_PREV BIN_PREV
#define TRIE_CHILD 2u
#define TRIE_CHILD1 3u
#define TRIE_PARENT 4u

_Static_assert((TRIE_PARENT + 1u) * sizeof(hmm__word) <= BINS * HMM_GRANULE - 8 &&
                   (TRIE_PARENT + 1u) * sizeof(hmm__word) <= HMM_LINKS_KEPT,
               "the smallest large block has these links");

static unsigned trie_of(uint32_t size)
{
    HMM_ASSERT(size >= BINS && size <= HMM_MAX_GRANULES);
    unsigned log = bits_highest32(size);
    return (log - BINS_LOG) * 2 + (size >> (log - 1) & 1);
}

/* The size's bits that tell the paths in its trie apart, moved to the word's top. */
static uint32_t trie_path(uint32_t size)
{
    unsigned log = bits_highest32(size);
    return size << (32 - (log - 1));
}

#if HMM_WITH_STATS || HMM_WITH_CHECKS

/* Whether what lies at r, any number, can be a block of trie t: only then may it be followed. */
static bool trie_may_have(const struct hmm_heap *h, hmm_ref r, unsigned t)
{
    return block_seems_free(h, r) && block_size(h, r) >= BINS && trie_of(block_size(h, r)) == t;
}

#endif

static unsigned tries_for(size_t capacity)
{
    size_t granules = capacity / HMM_GRANULE;
    uint32_t max = granules > HMM_MAX_GRANULES ? HMM_MAX_GRANULES : (uint32_t)granules;
    return max < BINS ? 0 : trie_of(max) + 1;
}

/* Rounded up for the middle bins, which follow. */
static size_t tries_bytes(size_t capacity)
{
    return sizeof(struct size_index) + ((tries_for(capacity) + 1u) & ~1u) * sizeof(hmm_ref);
}

size_t hmm__size_bytes(size_t capacity)
{
#if HMM__SMALL
    return tries_bytes(capacity);
#else
    return tries_bytes(capacity) + (capacity < MIDDLE_CAPACITY ? 0 : sizeof(struct size_middle));
#endif
}

void hmm__size_start(struct size_index *x, size_t capacity)
{
#if HMM__SMALL
    (void)x, (void)capacity;
#else
    x->middle = (uint32_t)tries_bytes(capacity);
    x->middle_to = capacity < MIDDLE_CAPACITY ? 0 : MIDDLE;
#endif
}

/* ---- Tries ---- */

/* No path has more nodes than a size has bits: one that does has been overwritten. Where a path is
 * shifted out as it is followed, a bit behind its last ends it. */
#define TRIE_DEPTH 32u
#define TRIE_END 1u

static void trie_push(struct hmm_heap *h, struct size_index *x, hmm_ref r, uint32_t size)
{
    hmm__word *links = block_links(h, r);
    unsigned t = trie_of(size);
    uint32_t path = trie_path(size) | TRIE_END;
    hmm__word *slot = &size_tries(x)[t], parent = IS_ROOT;
    bits64_add(&x->groups, t + MIDDLE_GROUPS);
    while (*slot != 0) {
        hmm_ref node = *slot;
        hmm__word *at = block_links(h, node);
        if (block_size(h, node) == size) { /* newest: next to the node */
            links[TRIE_PARENT] = 0;
            links[TRIE_NEXT] = at[TRIE_NEXT];
            links[TRIE_PREV] = node;
            block_links(h, at[TRIE_NEXT])[TRIE_PREV] = r;
            at[TRIE_NEXT] = r;
            return;
        }
        parent = node;
        slot = &at[TRIE_CHILD + (path >> 31)];
        path <<= 1;
        if (hmm__unlikely(path == 0))
            hmm__links_broken(h, node);
    }
    *slot = r;
    links[TRIE_NEXT] = r;
    links[TRIE_PREV] = r;
    links[TRIE_CHILD] = 0;
    links[TRIE_CHILD1] = 0;
    links[TRIE_PARENT] = parent;
}

/* Any leaf below a node can take its place: it shares the bits that lead there. */
static hmm_ref trie_take_leaf(struct hmm_heap *h, hmm_ref node)
{
    hmm__word *at = block_links(h, node);
    hmm__word *slot = at[TRIE_CHILD1] ? &at[TRIE_CHILD1] : &at[TRIE_CHILD];
    if (*slot == 0)
        return 0;
    for (uint32_t left = TRIE_DEPTH;; left--) {
        if (hmm__unlikely(left == 0))
            hmm__links_broken(h, node);
        at = block_links(h, *slot);
        hmm__word *down = at[TRIE_CHILD1] ? &at[TRIE_CHILD1] : &at[TRIE_CHILD];
        if (*down == 0)
            break;
        slot = down;
    }
    hmm_ref leaf = *slot;
    *slot = 0;
    return leaf;
}

/* Puts `heir` (0: nothing) where `node` of this trie stands. */
static void trie_replace(struct hmm_heap *h, struct size_index *x, hmm_ref node, hmm_ref heir,
                         unsigned t)
{
    const hmm__word *was = block_links(h, node);
    if (was[TRIE_PARENT] == IS_ROOT) {
        size_tries(x)[t] = heir;
        if (heir == 0)
            (void)bits64_drop(&x->groups, t + MIDDLE_GROUPS);
    } else {
        hmm__word *parent = block_links(h, was[TRIE_PARENT]);
        parent[parent[TRIE_CHILD] == node ? TRIE_CHILD : TRIE_CHILD1] = heir;
    }
    if (heir == 0)
        return;
    hmm__word *now = block_links(h, heir);
    now[TRIE_PARENT] = was[TRIE_PARENT];
    now[TRIE_CHILD] = was[TRIE_CHILD];
    now[TRIE_CHILD1] = was[TRIE_CHILD1];
    if (now[TRIE_CHILD] != 0)
        block_links(h, now[TRIE_CHILD])[TRIE_PARENT] = heir;
    if (now[TRIE_CHILD1] != 0)
        block_links(h, now[TRIE_CHILD1])[TRIE_PARENT] = heir;
}

static void trie_unlink(struct hmm_heap *h, struct size_index *x, hmm_ref r, uint32_t size)
{
    const hmm__word *links = block_links(h, r);
    hmm_ref next = links[TRIE_NEXT], prev = links[TRIE_PREV];
    if (next != r) {
        block_links(h, next)[TRIE_PREV] = prev;
        block_links(h, prev)[TRIE_NEXT] = next;
        if (links[TRIE_PARENT] != 0) /* the node: the second oldest takes over */
            trie_replace(h, x, r, prev, trie_of(size));
    } else {
        trie_replace(h, x, r, trie_take_leaf(h, r), trie_of(size));
    }
}

/* The smallest in the subtree below and at `node`. */
static hmm_ref trie_min(struct hmm_heap *h, hmm_ref node, uint32_t *steps)
{
    hmm_ref best = node;
    uint32_t min = UINT32_MAX, left = TRIE_DEPTH;
    while (node != 0) {
        const hmm__word *at = block_links(h, node);
        uint32_t size = block_size(h, node);
        if (size < min) {
            min = size;
            best = node;
        }
        if (hmm__unlikely(--left == 0))
            hmm__links_broken(h, node);
        node = at[TRIE_CHILD] ? at[TRIE_CHILD] : at[TRIE_CHILD1];
        ++*steps;
    }
    return best;
}

/* The smallest of at least `size` in the trie that sizes like it belong to; 0: none. */
static hmm_ref trie_best(struct hmm_heap *h, const struct size_index *x, uint32_t size,
                         uint32_t *steps)
{
    uint32_t path = trie_path(size) | TRIE_END, min = UINT32_MAX;
    hmm_ref best = 0, larger = 0;
    hmm_ref node = size_tries(x)[trie_of(size)];
    while (node != 0) {
        const hmm__word *at = block_links(h, node);
        uint32_t here = block_size(h, node);
        ++*steps;
        if (here >= size && here < min) {
            min = here;
            best = node;
            if (here == size)
                return best;
        }
        hmm_ref child = at[TRIE_CHILD + (path >> 31)];
        if (!(path >> 31) && at[TRIE_CHILD1])
            larger = at[TRIE_CHILD1];
        path <<= 1;
        if (hmm__unlikely(path == 0))
            hmm__links_broken(h, node);
        node = child;
    }
    if (larger != 0) {
        hmm_ref other = trie_min(h, larger, steps);
        if (block_size(h, other) < min)
            best = other;
    }
    return best;
}

/* ---- Middle bins ---- */

#if HMM__SMALL

HMM__ALWAYS_INLINE bool is_middle(const struct size_index *x, uint32_t size)
{
    (void)x, (void)size;
    return false;
}

HMM__ALWAYS_INLINE void middle_push(struct hmm_heap *h, struct size_index *x, hmm_ref r,
                                    uint32_t size)
{
    (void)h, (void)x, (void)r, (void)size;
}

HMM__ALWAYS_INLINE void middle_unlink(struct hmm_heap *h, struct size_index *x, hmm_ref r,
                                      uint32_t size)
{
    (void)h, (void)x, (void)r, (void)size;
}

#else

HMM__ALWAYS_INLINE bool is_middle(const struct size_index *x, uint32_t size)
{
    return size < x->middle_to;
}

HMM__ALWAYS_INLINE struct size_middle *middle_of(const struct size_index *x)
{
    return (struct size_middle *)(void *)((char *)(uintptr_t)x + x->middle);
}

/* As in the small bins: the back link of a head is not kept. */
HMM__ALWAYS_INLINE void middle_push(struct hmm_heap *h, struct size_index *x, hmm_ref r,
                                    uint32_t size)
{
    struct size_middle *m = middle_of(x);
    hmm_ref head = m->heads[size];
    m->heads[size] = r;
    block_links(h, r)[BIN_NEXT] = head;
    if (head) {
        block_links(h, head)[BIN_PREV] = r;
        return;
    }
    bits64_add(&m->maps[size / 64], size % 64);
    bits64_add(&x->groups, size / 64);
}

HMM__ALWAYS_INLINE void middle_unlink(struct hmm_heap *h, struct size_index *x, hmm_ref r,
                                      uint32_t size)
{
    struct size_middle *m = middle_of(x);
    hmm_ref next = block_links(h, r)[BIN_NEXT];
    if (m->heads[size] != r) {
        hmm_ref prev = block_links(h, r)[BIN_PREV];
        block_links(h, prev)[BIN_NEXT] = next;
        if (next)
            block_links(h, next)[BIN_PREV] = prev;
        return;
    }
    m->heads[size] = next;
    if (next == 0 && bits64_drop(&m->maps[size / 64], size % 64))
        bits64_drop(&x->groups, size / 64);
}

#endif

/* ---- All together ---- */

void hmm__size_push(struct hmm_heap *h, struct size_index *x, hmm_ref r, uint32_t size)
{
    HMM_ASSERT(r >= h->first && r < h->top && size >= BINS);
    if (is_middle(x, size))
        middle_push(h, x, r, size);
    else
        trie_push(h, x, r, size);
}

void hmm__size_unlink(struct hmm_heap *h, struct size_index *x, hmm_ref r, uint32_t size)
{
    HMM_ASSERT(size >= BINS && !hmm__size_is_empty(x));
    if (is_middle(x, size))
        middle_unlink(h, x, r, size);
    else
        trie_unlink(h, x, r, size);
}

#if !HMM__SMALL

/* Each trie's blocks that have a middle bin now; of equals the oldest first, which is the node. */
static void tries_to_middle(struct hmm_heap *h, struct size_index *x)
{
    for (unsigned t = 0; t <= trie_of(MIDDLE - 1); t++)
        for (hmm_ref r; (r = size_tries(x)[t]) != 0;) {
            uint32_t size = block_size(h, r);
            trie_unlink(h, x, r, size);
            middle_push(h, x, r, size);
        }
}

/* The roots are more, and the middle bins behind them move, or there are some now. */
void hmm__size_widen(struct hmm_heap *h, struct size_index *x, size_t capacity)
{
    char *base = (char *)x;
    size_t was = x->middle, now = tries_bytes(capacity);
    HMM_ASSERT(now >= was);
    if (x->middle_to != 0)
        memmove(base + now, base + was, sizeof(struct size_middle));
    memset(base + was, 0, now - was);
    x->middle = (uint32_t)now;
    if (x->middle_to == 0 && capacity >= MIDDLE_CAPACITY) {
        x->middle_to = MIDDLE;
        tries_to_middle(h, x);
    }
}

#endif

static __attribute__((noinline)) hmm_ref min_of_trie(struct hmm_heap *h, const struct size_index *x,
                                                     unsigned t)
{
    uint32_t steps = 0;
    hmm_ref node = trie_min(h, size_tries(x)[t], &steps);
    COUNT(h->visited += steps);
    return block_links(h, node)[TRIE_NEXT];
}

#if !HMM__SMALL
/* The smallest in a middle group that is not empty. */
HMM__ALWAYS_INLINE uint32_t middle_least(const struct size_middle *m, uint32_t g)
{
    uint32_t min = 0;
    bits64_next(&m->maps[g], 0, &min);
    return g * 64 + min;
}
#endif

/* The best of the groups from this one on, all of which are large enough; 0: they are empty. */
HMM__ALWAYS_INLINE hmm_ref groups_min(struct hmm_heap *h, const struct size_index *x, uint32_t from)
{
    uint32_t g;
    if (!bits64_next(&x->groups, from, &g))
        return 0;
    g += from;
#if HMM__SMALL
    return min_of_trie(h, x, g);
#else
    if (g >= MIDDLE_GROUPS)
        return min_of_trie(h, x, g - MIDDLE_GROUPS);
    const struct size_middle *m = middle_of(x);
    COUNT(h->visited++);
    return m->heads[middle_least(m, g)];
#endif
}

static __attribute__((noinline)) hmm_ref tries_find(struct hmm_heap *h, const struct size_index *x,
                                                    uint32_t size)
{
    unsigned t = trie_of(size);
    if (bits64_has(&x->groups, t + MIDDLE_GROUPS)) {
        uint32_t steps = 0;
        hmm_ref node = trie_best(h, x, size, &steps);
        COUNT(h->visited += steps);
        if (node != 0)
            return block_links(h, node)[TRIE_NEXT];
    }
    return groups_min(h, x, t + MIDDLE_GROUPS + 1);
}

hmm_ref hmm__size_find(struct hmm_heap *h, const struct size_index *x, uint32_t size)
{
    if (size < BINS)
        return groups_min(h, x, 0);
    if (!is_middle(x, size))
        return tries_find(h, x, size);
#if HMM__SMALL
    return 0;
#else
    uint32_t g = size / 64;
    const struct size_middle *m = middle_of(x);
    uint32_t more;
    if (!bits64_next(&m->maps[g], size % 64, &more))
        return groups_min(h, x, g + 1);
    COUNT(h->visited++);
    return m->heads[size + more];
#endif
}

#if HMM__PIECES

hmm_ref hmm__size_older(struct hmm_heap *h, const struct size_index *x, hmm_ref r, uint32_t size)
{
    const hmm__word *at = block_links(h, r);
    return is_middle(x, size) || at[TRIE_PARENT] == 0 ? at[TRIE_NEXT] : 0;
}

#endif

#if HMM_WITH_STATS

uint32_t hmm__size_largest(struct hmm_heap *h, const struct size_index *x)
{
    if (hmm__size_is_empty(x))
        return 0;
    unsigned g = bits64_greatest(&x->groups);
#if !HMM__SMALL
    if (g < MIDDLE_GROUPS)
        return g * 64 + bits64_greatest(&middle_of(x)->maps[g]);
#endif
    uint32_t max = 0, steps = 0;
    hmm_ref node = size_tries(x)[g - MIDDLE_GROUPS], parent = node;
    while (node != 0) {
        if (hmm__unlikely(!trie_may_have(h, node, g - MIDDLE_GROUPS) || ++steps > 32))
            hmm__links_broken(h, parent);
        const hmm__word *at = block_links(h, node);
        parent = node;
        if (block_size(h, node) > max)
            max = block_size(h, node);
        node = at[TRIE_CHILD1] ? at[TRIE_CHILD1] : at[TRIE_CHILD];
    }
    return max;
}

#endif

#if HMM_WITH_CHECKS

/* ---- Checking ---- */

/* The size of the smallest; there is one. */
static uint32_t min_of(struct hmm_heap *h, const struct size_index *x)
{
    uint32_t g = 0, steps = 0;
    bits64_next(&x->groups, 0, &g);
#if !HMM__SMALL
    if (g < MIDDLE_GROUPS)
        return middle_least(middle_of(x), g);
#endif
    return block_size(h, trie_min(h, size_tries(x)[g - MIDDLE_GROUPS], &steps));
}

static const char *check_ring(struct hmm_heap *h, hmm_ref node, uint32_t *count)
{
    hmm_ref r = node;
    do {
        const hmm__word *at = block_links(h, r);
        hmm_ref next = at[TRIE_NEXT];
        if (++*count > free_blocks(h))
            return "T1: sizes: more blocks in the tries than are free";
        if (!block_seems_free(h, next) || block_size(h, next) != block_size(h, node) ||
            block_links(h, next)[TRIE_PREV] != r || (r != node && at[TRIE_PARENT] != 0))
            return "T8: sizes: a ring of equals is ill linked";
        r = next;
    } while (r != node);
    return NULL;
}

/* What a node of trie t has below it is 0, or a block of the trie whose parent it is. */
static bool child_is_valid(struct hmm_heap *h, hmm_ref node, hmm_ref child, unsigned t)
{
    return child == 0 || (trie_may_have(h, child, t) && block_links(h, child)[TRIE_PARENT] == node);
}

/* Depth-first without recursion: back up by the parents. A block is only followed when it is known
 * to be the trie's and to lead back to where it was reached from. */
static const char *check_trie(struct hmm_heap *h, const struct size_index *x, unsigned t,
                              uint32_t *count)
{
    hmm_ref from = IS_ROOT, node = size_tries(x)[t];
    if (!bits64_has(&x->groups, t + MIDDLE_GROUPS) != (node == 0))
        return "T5: sizes: a trie's bit contradicts the trie";
    if (!child_is_valid(h, IS_ROOT, node, t))
        return "T7: sizes: a node is in the wrong trie or ill linked";
    while (node != 0 && node != IS_ROOT) {
        const hmm__word *at = block_links(h, node);
        hmm_ref next = at[TRIE_PARENT];
        if (from == at[TRIE_PARENT]) { /* from above: look at it */
            const char *broken = check_ring(h, node, count);
            if (broken != NULL)
                return broken;
            if (!child_is_valid(h, node, at[TRIE_CHILD], t) ||
                !child_is_valid(h, node, at[TRIE_CHILD1], t) ||
                (at[TRIE_CHILD] && at[TRIE_CHILD] == at[TRIE_CHILD1]))
                return "T7: sizes: a node is in the wrong trie or ill linked";
        }
        if (from == at[TRIE_PARENT] && at[TRIE_CHILD])
            next = at[TRIE_CHILD];
        else if ((from == at[TRIE_PARENT] || (from == at[TRIE_CHILD] && from)) && at[TRIE_CHILD1])
            next = at[TRIE_CHILD1];
        from = node;
        node = next;
    }
    return NULL;
}

#if !HMM__SMALL
/* The middle bins are where the capacity puts them: they may be followed. */
static bool middle_is_placed(const struct size_index *x, size_t capacity)
{
    return x->middle == tries_bytes(capacity) &&
           x->middle_to == (capacity < MIDDLE_CAPACITY ? 0 : MIDDLE);
}

static const char *check_middle(struct hmm_heap *h, const struct size_index *x, uint32_t size,
                                uint32_t *count)
{
    const struct size_middle *m = middle_of(x);
    hmm_ref before = 0;
    if (!bits64_has(&m->maps[size / 64], size % 64) != (m->heads[size] == 0) ||
        !bits64_has(&x->groups, size / 64) != bits64_is_empty(&m->maps[size / 64]))
        return "T5: sizes: a middle bin's bits contradict the bin";
    for (hmm_ref r = m->heads[size]; r != 0; before = r, r = block_links(h, r)[BIN_NEXT]) {
        if (++*count > free_blocks(h))
            return "T1: sizes: more blocks in the middle bins than are free";
        if (!block_seems_free(h, r) || block_size(h, r) != size ||
            (before && block_links(h, r)[BIN_PREV] != before))
            return "T6: sizes: a block in a middle bin is in use, of another size or ill linked";
    }
    return NULL;
}
#endif

const char *hmm__size_check(struct hmm_heap *h, const struct size_index *x, uint32_t floor,
                            uint32_t *count)
{
    const char *broken = NULL;
    uint32_t before = *count;
#if !HMM__SMALL
    if (!middle_is_placed(x, hmm_heap_capacity(h)))
        return "T9: sizes: the middle bins are not where the capacity puts them";
    for (uint32_t size = BINS; broken == NULL && size < x->middle_to; size++)
        broken = check_middle(h, x, size, count);
#endif
    for (unsigned t = 0; broken == NULL && t < tries_for(hmm_heap_capacity(h)); t++)
        broken = check_trie(h, x, t, count);
    if (broken == NULL && *count != before && min_of(h, x) < floor)
        return "T4: sizes: a block is below the floor";
    return broken;
}

#endif

#endif
