/* SPDX-License-Identifier: MIT */
#include "by_size.h"

#if HMM_WITH_BEST_FIT || HMM_WITH_SEGREGATED

#if !HMM__SMALL

HMM__ALWAYS_INLINE void *victim_serve(struct hmm_heap *h, size_t n)
{
    struct bins *s = h->state;
    hmm_ref r = s->victim;
    char *p = block_payload(h, r);
    size_t rest = s->victim_size - n;
    if (rest >= BINS) {
        set_victim(s, r + (hmm_ref)n, rest);
    } else {
        set_victim(s, 0, 0);
        if (rest < HMM_MIN_GRANULES) {
            carve_whole(p, header_make((uint32_t)(n + rest), 0));
            COUNT(h->bin_whole++);
            live_add(h, (n + rest) * HMM_GRANULE - HMM_HEADER_BYTES);
            return p;
        }
        bin_push(h, s, r + (hmm_ref)n, p + n * HMM_GRANULE, rest);
    }
    hmm__forget(n);
    size_t bytes = n * HMM_GRANULE;
    carve_low(p, p + bytes, rest << HMM__SIZE_SHIFT);
    COUNT(h->bin_splits++);
    live_add(h, bytes - HMM_HEADER_BYTES);
    return p;
}

/* A block that large.c knows of. */
static __attribute__((noinline)) void *victim_serve_large(struct hmm_heap *h, size_t n)
{
    const struct bins *s = h->state;
    large_taken(h, block_payload(h, s->victim), s->victim_size, s->victim_size - n);
    return victim_serve(h, n);
}

void *hmm__victim_serve(struct hmm_heap *h, size_t n)
{
    const struct bins *s = h->state;
    if (hmm__unlikely(large_knows(h, header_make(s->victim_size, 0))))
        return victim_serve_large(h, n);
    return victim_serve(h, n);
}

void hmm__bins_join_both(struct hmm_heap *h, char *p, hmm_ref r, size_t scaled, struct neighbours n)
{
    join_both(h, (struct block){p, r}, (struct sizes){scaled, n.next, n.prev}, bins_drop,
              bins_move);
}

#endif

#if HMM_WITH_CHECKS

static const char *check_bin(struct hmm_heap *h, const struct bins *s, uint32_t size,
                             uint32_t *count)
{
    hmm_ref before = 0;
    if (!bits64_has(&s->map, size) != (s->heads[size] == 0))
        return "T2: bins: a bin's bit contradicts the bin";
    for (hmm_ref r = s->heads[size]; r != 0; r = block_links(h, r)[BIN_NEXT]) {
        if (++*count > free_blocks(h))
            return "T1: bins: more blocks in the bins than are free";
        if (!block_seems_free(h, r) || block_size(h, r) != size ||
            (before && block_links(h, r)[BIN_PREV] != before))
            return "T3: bins: a block in a bin is in use, of another size or ill linked";
        before = r;
    }
    return NULL;
}

#if !HMM__SMALL

static bool victim_is_valid(const struct hmm_heap *h, const struct bins *s)
{
    return block_seems_free(h, s->victim) && s->victim_size >= BINS &&
           block_size(h, s->victim) == s->victim_size;
}

#endif

/* Adds the blocks to *count. */
const char *hmm__bins_check(struct hmm_heap *h, const struct bins *s, uint32_t *count)
{
#if !HMM__SMALL
    if (!s->victim != !s->victim_size || (s->victim && !victim_is_valid(h, s)))
        return "T4: bins: the victim is in use, or not of the size that is kept";
    *count += s->victim != 0;
#endif
    for (uint32_t size = 0; size < BINS; size++) {
        const char *broken = check_bin(h, s, size, count);
        if (broken != NULL)
            return broken;
    }
    return NULL;
}

#endif

#endif
