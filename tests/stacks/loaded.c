/* SPDX-License-Identifier: MIT */
/* A library that allocates in one function, whose name is -DNAME's. */
#include <stdlib.h>

void *NAME(void);

void *NAME(void)
{
    void *p = malloc(SIZE);
    __asm__ volatile("" ::"r"(p) : "memory");
    return p;
}
