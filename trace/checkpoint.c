/* SPDX-License-Identifier: MIT */
/*
 * Format 2: checkpoints, which are the blocks that live at a place in the trace, so that what
 * follows can be read without what comes before. In several blocks where there are many.
 *
 * A payload is a summary, the index of its first live block among all, and of each the operation
 * that allocated it, as a difference to the one before, the difference of the IDs, the size and the
 * alignment.
 */
#include "packed.h"

#define ENTRIES_AT (HMM_PACKED_SUMMARY + 8u)

bool hmm_packed_put_live(struct hmm_packed_column *to, const struct hmm_trace_summary *sum,
                         const struct hmm_trace_block *list, uint32_t first, uint32_t count)
{
    unsigned char *at = hmm_packed_extend(to, ENTRIES_AT);
    uint64_t born = 0;
    int64_t id = 0;
    if (at == NULL)
        return false;
    hmm_packed_put_summary(at, sum);
    hmm_packed_put64(at + HMM_PACKED_SUMMARY, first);
    for (const struct hmm_trace_block *b = list + first, *end = b + count; b < end; b++) {
        hmm_packed_put_varint(to, b->born - born);
        hmm_packed_put_varint(to, hmm_packed_zigzag((int64_t)b->id - id));
        hmm_packed_put_varint(to, b->size);
        hmm_packed_put_varint(to, b->align_log2);
        born = b->born;
        id = (int64_t)b->id;
    }
    return !to->failed;
}

/* The next entry; false iff it is malformed. *block is the one before. */
static bool get_entry(const unsigned char **at, const unsigned char *end, uint64_t ops,
                      struct hmm_trace_block *block)
{
    uint64_t born, difference, size, align;
    if (!hmm_packed_get_varint(at, end, &born) || !hmm_packed_get_varint(at, end, &difference) ||
        !hmm_packed_get_varint(at, end, &size) || !hmm_packed_get_varint(at, end, &align))
        return false;
    const uint64_t id = block->id + (uint64_t)hmm_packed_unzigzag(difference);
    if (born >= ops - block->born || id >= UINT32_MAX || size > PTRDIFF_MAX ||
        align > sizeof(size_t) * 8 - 2)
        return false;
    *block = (struct hmm_trace_block){
        .size = size, .born = block->born + born, .id = (uint32_t)id, .align_log2 = (uint8_t)align};
    return true;
}

static bool get_entries(struct hmm_trace_live *live, const struct hmm_packed_header *h,
                        const unsigned char *at, const unsigned char *end,
                        struct hmm_trace_error *error)
{
    struct hmm_trace_block block = {0};
    for (uint32_t i = 0; i < h->count; i++)
        if (!get_entry(&at, end, h->first, &block))
            return hmm_trace_fail(error, "a live block of the checkpoint is malformed");
        else if (!hmm_trace_live_add(live, &block, error))
            return false;
    return at == end || hmm_trace_fail(error, "the checkpoint has bytes left over");
}

bool hmm_packed_get_live(struct hmm_trace_live *live, const struct hmm_packed_header *h,
                         const unsigned char *payload, bool *complete,
                         struct hmm_trace_error *error)
{
    struct hmm_trace_summary sum;
    if (h->plain < ENTRIES_AT || !hmm_packed_get_summary(payload, &sum) ||
        sum.op_count != h->first ||
        hmm_packed_get64(payload + HMM_PACKED_SUMMARY) != live->sum.live_blocks ||
        h->count > sum.live_blocks - live->sum.live_blocks)
        return hmm_trace_fail(error, "the checkpoint's figures contradict each other");
    if (!get_entries(live, h, payload + ENTRIES_AT, payload + h->plain, error))
        return false;
    *complete = live->sum.live_blocks == sum.live_blocks;
    if (!*complete)
        return true;
    if (live->sum.live_bytes != sum.live_bytes)
        return hmm_trace_fail(error, "the checkpoint's figures contradict each other");
    live->sum = sum;
    live->past.unknown = true;
    return true;
}

bool hmm_packed_live_agrees(const struct hmm_trace_summary *sum, const unsigned char *payload,
                            size_t size)
{
    struct hmm_trace_summary said;
    if (size < HMM_PACKED_SUMMARY || !hmm_packed_get_summary(payload, &said))
        return false;
    for (int i = 0; i < HMM_TRACE_KINDS; i++)
        if (said.counts[i] != sum->counts[i])
            return false;
    return said.op_count == sum->op_count && said.live_bytes == sum->live_bytes &&
           said.live_blocks == sum->live_blocks && said.peak_bytes == sum->peak_bytes &&
           said.peak_blocks == sum->peak_blocks && said.id_limit == sum->id_limit;
}
