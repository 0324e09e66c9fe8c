/* SPDX-License-Identifier: MIT */
/*
 * Block verbs: all that reads or writes a header or a footer. Inline, because they are the heap's
 * inner loop. Header words are relaxed atomics: other threads may look at one while it changes.
 */
#ifndef HMM_BLOCK_H
#define HMM_BLOCK_H

#include "heap.h"

enum { HMM__FREE = 1, HMM__PREV_FREE = 2, HMM__ALIGNED = 4, HMM__SIZE_SHIFT = 3 };

_Static_assert(HMM__ALIGNED == HMM__RECORD_BYTES, "header_usable subtracts the bit itself");

HMM__ALWAYS_INLINE void *block_payload(const struct hmm_heap *h, hmm_ref r)
{
    return (char *)(uintptr_t)h + (size_t)r * HMM_GRANULE;
}

HMM__ALWAYS_INLINE hmm_ref block_of(const struct hmm_heap *h, const void *payload)
{
    return (hmm_ref)((size_t)((const char *)payload - (const char *)h) / HMM_GRANULE);
}

HMM__ALWAYS_INLINE hmm__word *block_header_at(const struct hmm_heap *h, hmm_ref r)
{
    return (hmm__word *)block_payload(h, r) - 1;
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

/* The size as it stands in a header, and as it stands alone in a footer. */
HMM__ALWAYS_INLINE uint32_t header_span(uint32_t word)
{
    return word & ~(uint32_t)(HMM__FREE | HMM__PREV_FREE | HMM__ALIGNED);
}

/* Bytes and granules of a span. */
HMM__ALWAYS_INLINE size_t span_bytes(size_t span)
{
    return span * (HMM_GRANULE >> HMM__SIZE_SHIFT);
}

HMM__ALWAYS_INLINE size_t span_granules(size_t span)
{
    return span >> HMM__SIZE_SHIFT;
}

HMM__ALWAYS_INLINE hmm_ref block_next(const struct hmm_heap *h, hmm_ref r)
{
    return r + block_size(h, r);
}

/* The footer of the block that ends where r begins. Has a meaning iff r's PREV_FREE is set. */
HMM__ALWAYS_INLINE uint32_t block_footer_span(const struct hmm_heap *h, hmm_ref r)
{
    return *((hmm__word *)block_payload(h, r) - 2);
}

/* Its size in granules. */
HMM__ALWAYS_INLINE uint32_t block_footer_below(const struct hmm_heap *h, hmm_ref r)
{
    return block_footer_span(h, r) >> HMM__SIZE_SHIFT;
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
    return block_payload(h, r);
}

/* r is free, of n granules; prev_bit is HMM__PREV_FREE or 0. The block above is the caller's. */
HMM__ALWAYS_INLINE void block_make_free(const struct hmm_heap *h, hmm_ref r, uint32_t n,
                                        uint32_t prev_bit)
{
    block_set_header(h, r, header_make(n, HMM__FREE | prev_bit));
    *((hmm__word *)block_payload(h, r + n) - 2) = header_make(n, 0);
}

HMM__ALWAYS_INLINE void block_clear_prev_free(const struct hmm_heap *h, hmm_ref r)
{
    block_set_header(h, r, block_header(h, r) & ~(uint32_t)HMM__PREV_FREE);
}

/* The top is now at r. Marks it (B5). */
HMM__ALWAYS_INLINE void block_make_top(struct hmm_heap *h, hmm_ref r)
{
    h->top = r;
    h->extent = r - h->first;
    block_set_header(h, r, HMM__FREE);
}

/*
 * The same by pointers, for the inner loop: a payload's header, the footer below it, and the
 * payload that a span further on begins.
 */
HMM__ALWAYS_INLINE uint32_t word_load(const char *payload)
{
#if defined(__GNUC__)
    return __atomic_load_n((const hmm__word *)(const void *)payload - 1, __ATOMIC_RELAXED);
#else
    return *((const hmm__word *)(const void *)payload - 1);
#endif
}

HMM__ALWAYS_INLINE void word_store(char *payload, uint32_t word)
{
#if defined(__GNUC__)
    __atomic_store_n((hmm__word *)(void *)payload - 1, word, __ATOMIC_RELAXED);
#else
    *((hmm__word *)(void *)payload - 1) = word;
#endif
}

/* A reader in another thread sees the word as it was or as it will be. In one instruction where
 * there is one; ThreadSanitizer must be told. */
HMM__ALWAYS_INLINE void word_clear(char *payload, uint32_t bits)
{
#if HMM__TSAN
    word_store(payload, word_load(payload) & ~bits);
#else
    *((hmm__word *)(void *)payload - 1) &= ~bits;
#endif
}

HMM__ALWAYS_INLINE void word_set(char *payload, uint32_t bits)
{
#if HMM__TSAN
    word_store(payload, word_load(payload) | bits);
#else
    *((hmm__word *)(void *)payload - 1) |= bits;
#endif
}

/* Of a free block, whose header nobody reads who has no business with it. */
HMM__ALWAYS_INLINE void word_add(char *payload, uint32_t more)
{
    *((hmm__word *)(void *)payload - 1) += more;
}

HMM__ALWAYS_INLINE void word_lessen(char *payload, uint32_t less)
{
    *((hmm__word *)(void *)payload - 1) -= less;
}

HMM__ALWAYS_INLINE uint32_t footer_load(const char *above)
{
    return *((const hmm__word *)(const void *)above - 2);
}

HMM__ALWAYS_INLINE void footer_store(char *above, uint32_t span)
{
    *((hmm__word *)(void *)above - 2) = span;
}

/*
 * The record of an ALIGNED block lies where a free one has its footer. It is the sum of the block's
 * ref and of the alignment in granules, multiplied by an odd number, so that the records of two
 * alignments below 2^24 granules differ in more than one byte. What a program writes over one is
 * taken for a record by chance only: at most 28 words of 2^32 are one at a given place.
 */
HMM__ALWAYS_INLINE uint32_t record_make(hmm_ref r, uint32_t align)
{
    return (r + align) * UINT32_C(0x9e3779b1);
}

HMM__ALWAYS_INLINE void block_set_record(const struct hmm_heap *h, hmm_ref r, uint32_t align)
{
    footer_store(block_payload(h, block_next(h, r)), record_make(r, align));
}

/* The alignment in granules, which the block lies at; 0: the record tells none. */
HMM__ALWAYS_INLINE uint32_t block_alignment(const struct hmm_heap *h, hmm_ref r)
{
    uint32_t record = footer_load(block_payload(h, block_next(h, r)));
    uintptr_t at = (uintptr_t)block_payload(h, r) / HMM_GRANULE;
    for (uint32_t align = 2; align <= HMM_MAX_GRANULES && (at & (align - 1)) == 0; align *= 2)
        if (record == record_make(r, align))
            return align;
    return 0;
}

/* Whether what lies at r, any number, has the header of a free block: only then may its links be
 * read. */
HMM__ALWAYS_INLINE bool block_seems_free(const struct hmm_heap *h, hmm_ref r)
{
    if (r < h->first || r >= h->top)
        return false;
    uint32_t word = block_header(h, r), n = header_size(word);
    return (word & HMM__FREE) && n >= HMM_MIN_GRANULES && n <= h->top - r;
}

/* Whether the header of block r, below the top, agrees with the next one's, and with the footer. */
HMM__ALWAYS_INLINE bool block_is_sound(const struct hmm_heap *h, hmm_ref r, uint32_t word)
{
    uint32_t n = header_size(word);
    if (n < HMM_MIN_GRANULES || n > h->top - r)
        return false;
    bool below_is_free = block_header(h, r + n) & HMM__PREV_FREE;
    if (!(word & HMM__FREE))
        return !below_is_free;
    return below_is_free && block_footer_span(h, r + n) == header_span(word);
}

/* check.c: each says that this block was overwritten, and ends the program. */
HMM__HIDDEN HMM__COLD _Noreturn void hmm__block_broken(const struct hmm_heap *h, hmm_ref r);
HMM__HIDDEN HMM__COLD _Noreturn void hmm__links_broken(const struct hmm_heap *h, hmm_ref r);

/* The block above r, of header `word`, for walks: a header that was overwritten must neither stop
 * them nor lead them astray. */
HMM__ALWAYS_INLINE hmm_ref block_step(const struct hmm_heap *h, hmm_ref r, uint32_t word)
{
    if (hmm__unlikely(!block_is_sound(h, r, word)))
        hmm__block_broken(h, r);
    return r + header_size(word);
}

/* The ref of payload, if it is aligned and not below the heap; else a number above all refs. */
HMM__ALWAYS_INLINE size_t ref_or_more(const struct hmm_heap *h, const void *payload)
{
    size_t d = (size_t)((uintptr_t)payload - (uintptr_t)h);
    enum { LOG = HMM_GRANULE == 16 ? 4 : 3 };
    return d >> LOG | d << (sizeof d * 8 - LOG);
}

/*
 * Whether payload is, as far as its own header and those beside it tell, a block in use. Constant
 * time. What it lets pass: a pointer into a block at which the user's bytes look like a header
 * whose end meets a header that agrees (hmm_heap_set_check, level 2, finds those too).
 */
HMM__HIDDEN bool hmm__seems_sound(const struct hmm_heap *h, const void *payload);

#endif
