/* SPDX-License-Identifier: MIT */
/* For a compiler without a C library: what target/start.c defines. */
#ifndef KIT_STRING_H
#define KIT_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);

#endif
