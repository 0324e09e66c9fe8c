/* SPDX-License-Identifier: MIT */
/*
 * Newest-fit: of the free blocks that are large enough, the one that was freed last. A list of them
 * in their links, the newest first; its head is the state. Inserting and removing take constant
 * time, finding is a walk.
 *
 * cc -shared -fPIC -o newest_fit.so newest_fit.c $(pkg-config --cflags hmm)
 * hmm check-strategy newest_fit.so
 */
#include <hmm-strategy.h>

struct newest {
    hmm_ref head;
};

enum { OLDER, NEWER };

static hmm_ref *links(struct hmm_heap *heap, hmm_ref block)
{
    return hmm_block_payload(heap, block);
}

static size_t state_size(size_t capacity)
{
    (void)capacity;
    return sizeof(struct newest);
}

static hmm_ref find(struct hmm_heap *heap, void *state, uint32_t granules)
{
    hmm_ref block = ((struct newest *)state)->head;
    unsigned visited = 1;
    for (; block != 0 && hmm_block_granules(heap, block) < granules; visited++)
        block = links(heap, block)[OLDER];
    hmm_visited(heap, visited);
    return block;
}

static void insert(struct hmm_heap *heap, void *state, hmm_ref block)
{
    struct newest *s = state;
    links(heap, block)[OLDER] = s->head;
    links(heap, block)[NEWER] = 0;
    if (s->head != 0)
        links(heap, s->head)[NEWER] = block;
    s->head = block;
}

static void take_out(struct hmm_heap *heap, void *state, hmm_ref block)
{
    struct newest *s = state;
    hmm_ref older = links(heap, block)[OLDER], newer = links(heap, block)[NEWER];
    if (newer != 0)
        links(heap, newer)[OLDER] = older;
    else
        s->head = older;
    if (older != 0)
        links(heap, older)[NEWER] = newer;
}

/* Links are refs, and the state is of one size for all heaps: nothing is to do. */
static void grow(struct hmm_heap *heap, void *state, size_t old, size_t now)
{
    (void)heap, (void)state, (void)old, (void)now;
}

static const char *check(struct hmm_heap *heap, void *state, uint32_t *indexed)
{
    hmm_ref newer = 0, block = ((struct newest *)state)->head;
    for (*indexed = 0; block != 0; block = links(heap, block)[OLDER], ++*indexed) {
        if (!hmm_block_is_free(heap, block))
            return "a block in the list is in use";
        if (links(heap, block)[NEWER] != newer)
            return "a block in the list does not lead back";
        newer = block;
    }
    return NULL;
}

/* The rule, for hmm check-strategy. */
hmm_ref hmm_plugin_scan(struct hmm_heap *heap, const struct hmm_scan *scan)
{
    hmm_ref newest = 0;
    for (hmm_ref b = hmm_block_first(heap); b != 0; b = hmm_block_next(heap, b))
        if (hmm_block_is_free(heap, b) && hmm_block_granules(heap, b) >= scan->granules &&
            (newest == 0 || scan->freed_at(scan, b) > scan->freed_at(scan, newest)))
            newest = b;
    return newest;
}

extern const struct hmm_strategy hmm_plugin_strategy;
const struct hmm_strategy hmm_plugin_strategy = {
    .abi = HMM_STRATEGY_ABI,
    .name = "newest-fit",
    .summary = "the free block that was freed last; walks the list",
    .state_size = state_size,
    .find = find,
    .insert = insert,
    .remove = take_out,
    .grow = grow,
    .check = check,
};
