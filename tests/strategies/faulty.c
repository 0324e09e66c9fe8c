/* SPDX-License-Identifier: MIT */
/*
 * Newest-fit with a fault of the kind that authors of strategies make: FAULT says which; 0: none.
 * With SCAN it exports its rule as a plain scan, too.
 */
#include <hmm-strategy.h>

#include <stdlib.h>
#include <unistd.h>

enum fault {
    SOUND,
    TOO_SMALL,
    ONE_OFF,
    ALWAYS_NONE,
    NOT_UNLINKED,
    LINKS_OUT_OF_RANGE,
    CRASHES,
    ENDLESS,
    STATE_TOO_LARGE,
    WRITES_BEHIND_STATE,
    RESIZE_LOSES,
    GROW_FORGETS,
    WRITES_HEADER,
    WRITES_LIVE_BLOCK,
    HOLDS_POINTER,
    TAKE_DIFFERS,
    TAKE_FORGETS,
    NOT_THE_RULE,
    PIECE_DOES_NOT_FIT,
    LARGEST_IS_WRONG,
    FIND_CHANGES,
    STATE_FALLS,
    SLEEPS,
    EXITS,
    FAR_LINK
};

struct newest {
    hmm_ref head;
    uint32_t calls;
    struct newest *self;
};

enum { OLDER, NEWER };

static hmm_ref *links(struct hmm_heap *heap, hmm_ref block)
{
    return hmm_block_payload(heap, block);
}

static size_t state_size(size_t capacity)
{
    if (FAULT == STATE_TOO_LARGE)
        return capacity * 2;
    if (FAULT == STATE_FALLS)
        return capacity < 100000 ? 64 : sizeof(struct newest);
    return sizeof(struct newest);
}

static hmm_ref find(struct hmm_heap *heap, void *state, uint32_t granules)
{
    struct newest *s = state;
    hmm_ref b = s->head;
    if (FAULT == ALWAYS_NONE)
        return 0;
    if (FAULT == FIND_CHANGES && s->calls++ % 2 == 1 && b != 0)
        b = links(heap, b)[OLDER];
    if (FAULT == CRASHES && b != 0 && links(heap, b)[OLDER] != 0)
        abort();
    if (FAULT == EXITS && b != 0)
        _exit(0);
    if (FAULT == SLEEPS && b != 0)
        sleep(1000);
    while (b != 0 && hmm_block_granules(heap, b) < granules - (FAULT == TOO_SMALL)) {
        if (FAULT == ENDLESS && links(heap, b)[OLDER] == 0)
            continue;
        b = links(heap, b)[OLDER];
    }
    if (FAULT == ONE_OFF && b != 0)
        return b + 1;
    return b;
}

static void insert(struct hmm_heap *heap, void *state, hmm_ref block)
{
    struct newest *s = state;
    if (FAULT == HOLDS_POINTER) {
        if (s->self == NULL)
            s->self = s;
        s = s->self;
    }
    links(heap, block)[OLDER] = s->head;
    links(heap, block)[NEWER] = 0;
    if (s->head != 0)
        links(heap, s->head)[NEWER] = block;
    s->head = block;
    if (FAULT == LINKS_OUT_OF_RANGE)
        links(heap, block)[hmm_block_granules(heap, block) * HMM_GRANULE / 4] = block;
    if (FAULT == FAR_LINK) /* beyond what is mapped, and on 32 bits not once around */
        links(heap, block)[OLDER] += UINT32_C(1) << (sizeof(void *) == 4 ? 27 : 30);
    if (FAULT == WRITES_BEHIND_STATE)
        ((hmm_ref *)(s + 1))[0] = block;
    if (FAULT == WRITES_HEADER)
        links(heap, block)[-1] |= 4;
    if (FAULT == WRITES_LIVE_BLOCK && hmm_block_first(heap) != block)
        links(heap, hmm_block_first(heap))[0] = 0;
}

static void take_out(struct hmm_heap *heap, void *state, hmm_ref block)
{
    struct newest *s = state;
    hmm_ref older = links(heap, block)[OLDER], newer = links(heap, block)[NEWER];
    if (FAULT == NOT_UNLINKED)
        return;
    if (newer != 0)
        links(heap, newer)[OLDER] = older;
    else
        s->head = older;
    if (older != 0)
        links(heap, older)[NEWER] = newer;
}

static void lose(struct hmm_heap *heap, void *state, hmm_ref was, uint32_t was_granules,
                 hmm_ref now)
{
    (void)was_granules;
    take_out(heap, state, was);
    if (was == now)
        insert(heap, state, now);
}

static void forget(struct hmm_heap *heap, void *state, size_t old, size_t now)
{
    (void)heap, (void)old, (void)now;
    if (FAULT == GROW_FORGETS)
        ((struct newest *)state)->head = 0;
}

static hmm_ref take(struct hmm_heap *heap, void *state, uint32_t granules)
{
    hmm_ref b = ((struct newest *)state)->head, fits = 0;
    for (; b != 0 && (fits == 0 || FAULT == TAKE_DIFFERS); b = links(heap, b)[OLDER])
        if (hmm_block_granules(heap, b) >= granules)
            fits = b; /* TAKE_DIFFERS: the oldest */
    if (fits == 0)
        return 0;
    take_out(heap, state, fits);
    if (FAULT != TAKE_FORGETS && hmm_block_granules(heap, fits) - granules >= HMM_MIN_GRANULES)
        insert(heap, state, fits + granules);
    return fits;
}

static hmm_ref find_piece(struct hmm_heap *heap, void *state, const struct hmm_piece *piece)
{
    return find(heap, state, piece->granules);
}

static uint32_t largest(struct hmm_heap *heap, void *state)
{
    hmm_ref b = ((struct newest *)state)->head;
    return b != 0 ? hmm_block_granules(heap, b) : 0;
}

#ifdef SCAN
hmm_ref hmm_plugin_scan(struct hmm_heap *heap, const struct hmm_scan *scan)
{
    hmm_ref best = 0;
    for (hmm_ref b = hmm_block_first(heap); b != 0; b = hmm_block_next(heap, b))
        if (hmm_block_is_free(heap, b) && hmm_block_granules(heap, b) >= scan->granules &&
            (best == 0 ||
             (FAULT == NOT_THE_RULE ? b < best
                                    : scan->freed_at(scan, b) > scan->freed_at(scan, best))))
            best = b;
    return best;
}
#endif

extern const struct hmm_strategy hmm_plugin_strategy;
const struct hmm_strategy hmm_plugin_strategy = {
    .abi = HMM_STRATEGY_ABI,
    .name = "faulty",
    .state_size = state_size,
    .find = find,
    .insert = insert,
    .remove = take_out,
    .grow = FAULT == GROW_FORGETS || FAULT == HOLDS_POINTER ? forget : NULL,
    .resize = FAULT == RESIZE_LOSES ? lose : NULL,
    .take = FAULT == TAKE_DIFFERS || FAULT == TAKE_FORGETS || FAULT == SOUND ? take : NULL,
    .find_piece = FAULT == PIECE_DOES_NOT_FIT ? find_piece : NULL,
    .largest = FAULT == LARGEST_IS_WRONG ? largest : NULL,
};
