/* SPDX-License-Identifier: MIT */
/*
 * What a heap's image is of: hmm_heap_create writes it into the heap, and hmm_heap_attach compares
 * it (api/image.c). For heap.h only.
 */
#ifndef HMM_HEAP_IMAGE_H
#define HMM_HEAP_IMAGE_H

/* An image is used on by a build for which all of this is the same. To be counted up with each
 * change of the image's part of struct hmm_heap, of blocks, or of a strategy's state. */
#define HMM__IMAGE_MAGIC UINT32_C(0x686d6d69)
#define HMM__IMAGE_VERSION 1u

struct hmm__image_id {
    uint32_t magic;
    uint16_t version;
    uint16_t heap_bytes; /* of struct hmm_heap */
    uint8_t granule, header_bytes, word_bytes, unused;
    uint32_t granules; /* of the region that the heap was given */
    char strategy[16]; /* a built-in's name; else empty */
};

HMM__ALWAYS_INLINE void image_identify(struct hmm__image_id *id, size_t heap_bytes,
                                       uint32_t granules)
{
    *id = (struct hmm__image_id){.magic = HMM__IMAGE_MAGIC,
                                 .version = HMM__IMAGE_VERSION,
                                 .heap_bytes = (uint16_t)heap_bytes,
                                 .granule = HMM_GRANULE,
                                 .header_bytes = HMM_HEADER_BYTES,
                                 .word_bytes = sizeof(size_t),
                                 .granules = granules};
}

/* NULL: that of a strategy which is not built in. Only what is built in is found again by its name.
 */
HMM__ALWAYS_INLINE void image_name(struct hmm__image_id *id, const char *name)
{
    size_t n = 0;
    memset(id->strategy, 0, sizeof id->strategy);
    if (name != NULL)
        for (; n < sizeof id->strategy - 1 && name[n] != '\0'; n++)
            id->strategy[n] = name[n];
}

#endif
