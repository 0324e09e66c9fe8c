/* SPDX-License-Identifier: MIT */
/*
 * Address-ordered best-fit: the smallest free block that is large enough, of equal ones the lowest.
 * A treap in the free blocks' links, ordered by size and then by address: its root is the state, a
 * block's priority is a hash of its ref, so that the shape depends on which blocks are free and on
 * nothing else. Expected logarithmic time; no recursion.
 *
 * cc -shared -fPIC -o address_best_fit.so address_best_fit.c $(pkg-config --cflags hmm)
 * hmm check-strategy address_best_fit.so
 */
#include <hmm-strategy.h>

struct tree {
    hmm_ref root;
};

enum { LEFT, RIGHT };

static hmm_ref *links(struct hmm_heap *heap, hmm_ref block)
{
    return hmm_block_payload(heap, block);
}

static uint32_t priority(hmm_ref block)
{
    uint32_t x = block * UINT32_C(0x9e3779b1);
    return (x ^ x >> 15) * UINT32_C(0x85ebca6b);
}

/* Whether (size, block) comes before node b. */
static int is_before(struct hmm_heap *heap, uint32_t size, hmm_ref block, hmm_ref b)
{
    uint32_t other = hmm_block_granules(heap, b);
    return size < other || (size == other && block < b);
}

static size_t state_size(size_t capacity)
{
    (void)capacity;
    return sizeof(struct tree);
}

static hmm_ref find(struct hmm_heap *heap, void *state, uint32_t granules)
{
    hmm_ref best = 0, b = ((struct tree *)state)->root;
    unsigned visited = 0;
    for (; b != 0; visited++) {
        if (hmm_block_granules(heap, b) >= granules) {
            best = b;
            b = links(heap, b)[LEFT];
        } else {
            b = links(heap, b)[RIGHT];
        }
    }
    hmm_visited(heap, visited);
    return best;
}

/* The tree at `from` in two: what comes before block, and what comes after. */
static void split(struct hmm_heap *heap, hmm_ref from, hmm_ref block, hmm_ref *before,
                  hmm_ref *after)
{
    uint32_t size = hmm_block_granules(heap, block);
    while (from != 0) {
        if (is_before(heap, size, block, from)) {
            *after = from;
            after = &links(heap, from)[LEFT];
            from = *after;
        } else {
            *before = from;
            before = &links(heap, from)[RIGHT];
            from = *before;
        }
    }
    *before = *after = 0;
}

static void insert(struct hmm_heap *heap, void *state, hmm_ref block)
{
    uint32_t size = hmm_block_granules(heap, block);
    hmm_ref *at = &((struct tree *)state)->root;
    while (*at != 0 && priority(*at) >= priority(block))
        at = &links(heap, *at)[is_before(heap, size, block, *at) ? LEFT : RIGHT];
    hmm_ref below = *at;
    *at = block;
    split(heap, below, block, &links(heap, block)[LEFT], &links(heap, block)[RIGHT]);
}

static void take_out(struct hmm_heap *heap, void *state, hmm_ref block)
{
    uint32_t size = hmm_block_granules(heap, block);
    hmm_ref *at = &((struct tree *)state)->root;
    while (*at != block)
        at = &links(heap, *at)[is_before(heap, size, block, *at) ? LEFT : RIGHT];
    hmm_ref left = links(heap, block)[LEFT], right = links(heap, block)[RIGHT];
    while (left != 0 && right != 0) {
        if (priority(left) >= priority(right)) {
            *at = left;
            at = &links(heap, left)[RIGHT];
            left = *at;
        } else {
            *at = right;
            at = &links(heap, right)[LEFT];
            right = *at;
        }
    }
    *at = left != 0 ? left : right;
}

/* Links are refs, and the state is of one size for all heaps: nothing is to do. */
static void grow(struct hmm_heap *heap, void *state, size_t old, size_t now)
{
    (void)heap, (void)state, (void)old, (void)now;
}

static uint32_t largest(struct hmm_heap *heap, void *state)
{
    hmm_ref b = ((struct tree *)state)->root;
    while (b != 0 && links(heap, b)[RIGHT] != 0)
        b = links(heap, b)[RIGHT];
    return b != 0 ? hmm_block_granules(heap, b) : 0;
}

/* The rule, for hmm check-strategy. */
hmm_ref hmm_plugin_scan(struct hmm_heap *heap, const struct hmm_scan *scan)
{
    hmm_ref best = 0;
    for (hmm_ref b = hmm_block_first(heap); b != 0; b = hmm_block_next(heap, b))
        if (hmm_block_is_free(heap, b) && hmm_block_granules(heap, b) >= scan->granules &&
            (best == 0 || hmm_block_granules(heap, b) < hmm_block_granules(heap, best)))
            best = b;
    return best;
}

extern const struct hmm_strategy hmm_plugin_strategy;
const struct hmm_strategy hmm_plugin_strategy = {
    .abi = HMM_STRATEGY_ABI,
    .name = "address-best-fit",
    .summary = "the smallest free block that fits, of equals the lowest; a treap",
    .state_size = state_size,
    .find = find,
    .insert = insert,
    .remove = take_out,
    .grow = grow,
    .largest = largest,
};
