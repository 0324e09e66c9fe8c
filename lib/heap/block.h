/* SPDX-License-Identifier: MIT */
/*
 * The encoding of headers, footers and records: only these functions read or write one. Inline,
 * because they are the heap's inner loop. Includes heap.h only.
 *
 * A thread may read the header of its own block in use without the lock (the usable size), while
 * another thread changes the header's PREV_FREE with the lock. So headers are read and written as
 * relaxed atomics, except where a comment says why not. Footers, records and links are accessed
 * with the lock only.
 */
#ifndef HMM_BLOCK_H
#define HMM_BLOCK_H

#include "heap/heap.h"

#define HMM__FREE 1u
#define HMM__PREV_FREE 2u
#define HMM__ALIGNED 4u
#define HMM__SIZE_SHIFT 3u

_Static_assert(HMM__ALIGNED == HMM__RECORD_BYTES, "header_usable subtracts the bit itself");
_Static_assert((HMM__FREE | HMM__PREV_FREE | HMM__ALIGNED) < 1u << HMM__SIZE_SHIFT,
               "a header's size lies above its bits");
_Static_assert(HMM_MAX_GRANULES <= UINT32_MAX >> HMM__SIZE_SHIFT, "a header has room for any size");
_Static_assert(HMM_GRANULE % (1u << HMM__SIZE_SHIFT) == 0u, "scaled_bytes is exact");

HMM__ALWAYS_INLINE void *block_payload(const struct hmm_heap *h, hmm_ref r)
{
    return (char *)(uintptr_t)h + (size_t)r * HMM_GRANULE;
}

HMM__ALWAYS_INLINE hmm_ref block_of(const struct hmm_heap *h, const void *payload)
{
    ptrdiff_t bytes = (const char *)payload - (const char *)h;
    return (hmm_ref)((size_t)bytes / HMM_GRANULE);
}

/* The words at a payload. The two below it are its block's header, and the footer of the block
 * below if that is free. */
HMM__ALWAYS_INLINE hmm__word *words_at(const void *payload)
{
    return (hmm__word *)(uintptr_t)payload;
}

HMM__ALWAYS_INLINE hmm__word *block_header_at(const struct hmm_heap *h, hmm_ref r)
{
    return &words_at(block_payload(h, r))[-1];
}

HMM__ALWAYS_INLINE uint32_t block_header(const struct hmm_heap *h, hmm_ref r)
{
#if defined(__GNUC__)
    return __atomic_load_n(block_header_at(h, r), __ATOMIC_RELAXED);
#else
    return *block_header_at(h, r);
#endif
}

HMM__ALWAYS_INLINE void block_set_header(const struct hmm_heap *h, hmm_ref r, uint32_t word)
{
#if defined(__GNUC__)
    __atomic_store_n(block_header_at(h, r), word, __ATOMIC_RELAXED);
#else
    *block_header_at(h, r) = word;
#endif
}

HMM__ALWAYS_INLINE uint32_t header_size(uint32_t word)
{
    return word >> HMM__SIZE_SHIFT;
}

HMM__ALWAYS_INLINE uint32_t header_make(uint32_t granules, uint32_t bits)
{
    return granules << HMM__SIZE_SHIFT | bits;
}

HMM__ALWAYS_INLINE uint32_t block_size(const struct hmm_heap *h, hmm_ref r)
{
    return header_size(block_header(h, r));
}

/* The scaled size: the size in granules shifted as in a header, which alone is a footer. */
HMM__ALWAYS_INLINE uint32_t header_scaled(uint32_t word)
{
    return word & ~(HMM__FREE | HMM__PREV_FREE | HMM__ALIGNED);
}

/* Bytes and granules of a scaled size. */
HMM__ALWAYS_INLINE size_t scaled_bytes(size_t scaled)
{
    return scaled * (HMM_GRANULE >> HMM__SIZE_SHIFT);
}

HMM__ALWAYS_INLINE size_t scaled_granules(size_t scaled)
{
    return scaled >> HMM__SIZE_SHIFT;
}

HMM__ALWAYS_INLINE hmm_ref block_next(const struct hmm_heap *h, hmm_ref r)
{
    return r + block_size(h, r);
}

/* The footer of the block below r. Valid iff r's PREV_FREE is set. */
HMM__ALWAYS_INLINE uint32_t block_footer_scaled(const struct hmm_heap *h, hmm_ref r)
{
    return words_at(block_payload(h, r))[-2];
}

/* The size of the block below r, in granules. Valid iff r's PREV_FREE is set. */
HMM__ALWAYS_INLINE uint32_t block_footer_below(const struct hmm_heap *h, hmm_ref r)
{
    return block_footer_scaled(h, r) >> HMM__SIZE_SHIFT;
}

HMM__ALWAYS_INLINE size_t block_usable(uint32_t granules)
{
    return (size_t)granules * HMM_GRANULE - HMM_HEADER_BYTES;
}

/* Usable bytes of a used block with this header. */
HMM__ALWAYS_INLINE size_t header_usable(uint32_t word)
{
    return block_usable(header_size(word)) - (word & HMM__ALIGNED);
}

HMM__ALWAYS_INLINE hmm__word *block_links(const struct hmm_heap *h, hmm_ref r)
{
    return words_at(block_payload(h, r));
}

/* Makes r a free block of n granules; prev_bit is HMM__PREV_FREE or 0. The caller sets PREV_FREE in
 * the header above. */
HMM__ALWAYS_INLINE void block_make_free(const struct hmm_heap *h, hmm_ref r, uint32_t n,
                                        uint32_t prev_bit)
{
    HMM_ASSERT(r >= h->first && n >= HMM_MIN_GRANULES && r + n <= h->top);
    block_set_header(h, r, header_make(n, HMM__FREE | prev_bit));
    words_at(block_payload(h, r + n))[-2] = header_make(n, 0);
}

HMM__ALWAYS_INLINE void block_clear_prev_free(const struct hmm_heap *h, hmm_ref r)
{
    block_set_header(h, r, block_header(h, r) & ~(uint32_t)HMM__PREV_FREE);
}

/* The top is read without the lock by who frees a block of its own, below it. */
HMM__ALWAYS_INLINE void heap_set_top(struct hmm_heap *h, hmm_ref r)
{
#if HMM__TSAN
    __atomic_store_n(&h->top, r, __ATOMIC_RELAXED);
#else
    h->top = r;
#endif
}

HMM__ALWAYS_INLINE hmm_ref heap_top(const struct hmm_heap *h)
{
#if HMM__TSAN
    return __atomic_load_n(&h->top, __ATOMIC_RELAXED);
#else
    return h->top;
#endif
}

/* Moves the top to r and writes its header (B5). */
HMM__ALWAYS_INLINE void block_make_top(struct hmm_heap *h, hmm_ref r)
{
    HMM_ASSERT(r >= h->first && r <= heap_brk(h));
    heap_set_top(h, r);
#if !HMM__SMALL
    h->extent = r - h->first;
#elif HMM__COUNTS
    h->top_peak = r > h->top_peak ? r : h->top_peak;
#endif
    block_set_header(h, r, HMM__FREE);
}

#if HMM__EXTRAS

/*
 * The same by pointers, for the inner loop: the header of a payload, and the footer of the block
 * below a payload.
 */
HMM__ALWAYS_INLINE uint32_t word_load(const char *payload)
{
#if defined(__GNUC__)
    return __atomic_load_n(&words_at(payload)[-1], __ATOMIC_RELAXED);
#else
    return words_at(payload)[-1];
#endif
}

HMM__ALWAYS_INLINE void word_store(char *payload, uint32_t word)
{
#if defined(__GNUC__)
    __atomic_store_n(&words_at(payload)[-1], word, __ATOMIC_RELAXED);
#else
    words_at(payload)[-1] = word;
#endif
}

/* Not atomic, so that the compiler makes one instruction of it where the processor has one. Only
 * the thread with the lock writes headers, and the store of an aligned word is one access: a reader
 * sees the old word or the new one. ThreadSanitizer needs the atomic form. */
HMM__ALWAYS_INLINE void word_clear(char *payload, uint32_t bits)
{
#if HMM__TSAN
    word_store(payload, word_load(payload) & ~bits);
#else
    words_at(payload)[-1] &= ~bits;
#endif
}

HMM__ALWAYS_INLINE void word_set(char *payload, uint32_t bits)
{
#if HMM__TSAN
    word_store(payload, word_load(payload) | bits);
#else
    words_at(payload)[-1] |= bits;
#endif
}

/* The same of a free block. Who frees the block below it may read the PREV_FREE, which stays. */
HMM__ALWAYS_INLINE void word_add(char *payload, uint32_t more)
{
#if HMM__TSAN
    word_store(payload, word_load(payload) + more);
#else
    words_at(payload)[-1] += more;
#endif
}

HMM__ALWAYS_INLINE void word_lessen(char *payload, uint32_t less)
{
#if HMM__TSAN
    word_store(payload, word_load(payload) - less);
#else
    words_at(payload)[-1] -= less;
#endif
}

HMM__ALWAYS_INLINE uint32_t footer_load(const char *above)
{
    return words_at(above)[-2];
}

HMM__ALWAYS_INLINE void footer_store(char *above, uint32_t scaled)
{
    words_at(above)[-2] = scaled;
}

/*
 * The record of an ALIGNED block lies where a free block has its footer. It is the sum of the
 * block's ref and of the alignment in granules, multiplied by an odd number, so that the records of
 * two alignments below 2^24 granules differ in more than one byte. Other data that a program writes
 * there equal a record by chance only: for each block at most 28 words of the 2^32 are records.
 */
HMM__ALWAYS_INLINE uint32_t record_make(hmm_ref r, uint32_t align)
{
    return (r + align) * UINT32_C(0x9e3779b1);
}

HMM__ALWAYS_INLINE void block_set_record(const struct hmm_heap *h, hmm_ref r, uint32_t align)
{
    HMM_ASSERT((block_header(h, r) & (HMM__FREE | HMM__ALIGNED)) == HMM__ALIGNED);
    footer_store(block_payload(h, block_next(h, r)), record_make(r, align));
}

/* The alignment in granules that the record of block r has; 0: it is no record. */
HMM__ALWAYS_INLINE uint32_t block_alignment(const struct hmm_heap *h, hmm_ref r)
{
    uint32_t record = footer_load(block_payload(h, block_next(h, r)));
    uintptr_t at = (uintptr_t)block_payload(h, r) / HMM_GRANULE;
    for (uint32_t align = 2; align <= HMM_MAX_GRANULES && (at & (align - 1)) == 0; align *= 2)
        if (record == record_make(r, align))
            return align;
    return 0;
}

/* A gap (gap.c) has a record that is no alignment above the granule's. It ends at `end`. */
HMM__ALWAYS_INLINE void block_set_gap_record(const struct hmm_heap *h, hmm_ref r, hmm_ref end)
{
    footer_store(block_payload(h, end), record_make(r, 1));
}

HMM__ALWAYS_INLINE bool block_is_gap(const struct hmm_heap *h, hmm_ref r, uint32_t word)
{
    return hmm__unlikely(gap_granules(h) != 0) && (word & HMM__ALIGNED) &&
           footer_load(block_payload(h, r + header_size(word))) == record_make(r, 1);
}

/* Whether r, any number, has the header of a free block. Only then may its links be read. */
HMM__ALWAYS_INLINE bool block_seems_free(const struct hmm_heap *h, hmm_ref r)
{
    if (r < h->first || r >= h->top)
        return false;
    uint32_t word = block_header(h, r), n = header_size(word);
    return (word & HMM__FREE) && n >= HMM_MIN_GRANULES && n <= h->top - r;
}

/* Whether the header of block r, below the top, agrees with the next one's, and with the footer. */
HMM__ALWAYS_INLINE bool block_is_valid(const struct hmm_heap *h, hmm_ref r, uint32_t word)
{
    uint32_t n = header_size(word);
    if (n < HMM_MIN_GRANULES || n > h->top - r)
        return false;
    bool below_is_free = block_header(h, r + n) & HMM__PREV_FREE;
    if (!(word & HMM__FREE))
        return !below_is_free;
    return below_is_free && block_footer_scaled(h, r + n) == header_scaled(word);
}

#endif

/* verify.c: each ends the program with the message that this block was overwritten. */
#if HMM_WITH_CHECKS || !HMM__SMALL
HMM__HIDDEN HMM__COLD _Noreturn void hmm__block_broken(const struct hmm_heap *h, hmm_ref r);
HMM__HIDDEN HMM__COLD _Noreturn void hmm__links_broken(const struct hmm_heap *h, hmm_ref r);
#else
HMM__ALWAYS_INLINE void hmm__block_broken(const struct hmm_heap *h, hmm_ref r)
{
    (void)h, (void)r;
}

HMM__ALWAYS_INLINE void hmm__links_broken(const struct hmm_heap *h, hmm_ref r)
{
    (void)h, (void)r;
}
#endif

#if HMM__EXTRAS

/* The block above r, whose header is `word`, for walks. A header that was overwritten ends the
 * program: else the walk would not end, or would leave the blocks. */
HMM__ALWAYS_INLINE hmm_ref block_step(const struct hmm_heap *h, hmm_ref r, uint32_t word)
{
    if (hmm__unlikely(!block_is_valid(h, r, word)))
        hmm__block_broken(h, r);
    return r + header_size(word);
}

/* The ref of payload, if it is aligned and not below the heap; else a number above all refs. */
HMM__ALWAYS_INLINE size_t ref_or_more(const struct hmm_heap *h, const void *payload)
{
    size_t d = (size_t)((uintptr_t)payload - (uintptr_t)h);
    const uint32_t log = HMM_GRANULE == 16 ? 4 : 3;
    return d >> log | d << (sizeof d * 8 - log);
}

/*
 * Whether payload is a block in use, by its header and those of its neighbours. Constant time. It
 * accepts a pointer into a block where the user's bytes look like a header that agrees with the
 * header at its end; check level 2 (hmm_heap_set_check) does not.
 */
HMM__HIDDEN bool hmm__seems_valid(const struct hmm_heap *h, const void *payload);

#endif
#endif
