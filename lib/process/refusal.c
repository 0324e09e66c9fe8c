/* SPDX-License-Identifier: MIT */
/*
 * A walk over the heap's own blocks, once in the life of a process. Runs count as one block each:
 * what is in them may change without the lock. And a line for people, once too.
 */
#include "process/refusal.h"

#include "base/text.h"
#include "heap/block.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

static struct hmm__refusal first_refusal;

/* The hole [at, end) is the largest so far; `below` is the block before it. */
static void note_hole(const struct hmm_heap *h, struct hmm__refusal *f, hmm_ref at, hmm_ref end,
                      uint64_t below)
{
    const uint32_t granules = end - at;
    const uint64_t serves = granules >= HMM_MIN_GRANULES ? block_usable(granules) : 0;
    f->holes++;
    f->free_bytes += (uint64_t)granules * HMM_GRANULE;
    if (serves <= f->largest_hole)
        return;
    f->largest_hole = serves;
    f->below = below;
    f->above = end < h->top ? block_usable(header_size(block_header(h, end))) : 0;
}

void hmm__refusal_note(const struct hmm_heap *h, size_t size)
{
    struct hmm__refusal *f = &first_refusal;
    uint64_t below = 0;
    if (f->noted)
        return;
    *f = (struct hmm__refusal){.noted = true, .size = size};
    for (hmm_ref r = h->first, next; r != h->top; r = next) {
        const uint32_t word = block_header(h, r);
        next = block_step(h, r, word);
        if (word & HMM__FREE) {
            note_hole(h, f, r, next, below);
        } else {
            f->live_blocks++;
            below = block_usable(header_size(word));
        }
    }
    if (h->limit > h->top)
        note_hole(h, f, h->top, h->limit, below);
}

void hmm__refusal_say(size_t size, size_t limit)
{
    static bool said;
    struct text t = {0};
    if (said || size > HMM_MAX_REQUEST || size > PTRDIFF_MAX)
        return;
    said = true;
    hmm__text_add(&t, "hmm: the heap's limit of ");
    hmm__text_size(&t, limit);
    hmm__text_add(&t, " is reached: a request of ");
    hmm__text_decimal(&t, size);
    hmm__text_add(&t, " bytes is refused; for a larger one: "
                      "hmm run --heap SIZE, or HMM_HEAP_SIZE");
    hmm__text_to_stderr(&t);
}

const struct hmm__refusal *hmm__refusal(void)
{
    return &first_refusal;
}

#endif
