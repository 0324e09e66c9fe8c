/* SPDX-License-Identifier: MIT */
/*
 * Where each block must be: a heap without memory and without an index, that follows the textbook's
 * rules by a look at every block. Sizes and places are in granules of 8 bytes. It knows nothing of
 * hmm's structures, but where its first block begins and where its memory ends. It has no aligned
 * blocks.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stddef.h>
#include <stdint.h>

enum model_rule { MODEL_FIRST_FIT, MODEL_NEXT_FIT, MODEL_BEST_FIT, MODEL_SEGREGATED };

/* 0 is no place. */
void model_start(enum model_rule rule, uint32_t first, uint32_t limit);

/* The place of the block; 0: there is no room. */
uint32_t model_malloc(size_t size);
uint32_t model_realloc(uint32_t place, size_t size);
void model_free(uint32_t place);

#endif
