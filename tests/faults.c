/* SPDX-License-Identifier: MIT */
/*
 * Commits one fault on a block of hmm's, for memcheck to find: faults OWN|PROCESS FAULT STRATEGY.
 * Prints nothing. Run by tests/memcheck.sh.
 */
#include "hmm.h"

#include <stdio.h>
#include <string.h>

static _Alignas(64) unsigned char memory[1 << 20];
static struct hmm_heap *own;
static volatile char sink;

static char *get(size_t size)
{
    return own ? hmm_heap_malloc(own, size) : hmm_malloc(size);
}

static void give(void *p)
{
    if (own)
        hmm_heap_free(own, p);
    else
        hmm_free(p);
}

static void none(void)
{
    char *p = get(100), *q = get(10);
    memset(p, 1, 100);
    sink = p[99];
    give(p);
    give(q);
}

static void overrun(void)
{
    char *p = get(100);
    p[100] = 1;
    give(p);
}

static void underrun(void)
{
    char *p = get(100);
    sink = p[-1];
    give(p);
}

static void use_after_free(void)
{
    char *p = get(100), *q = get(10);
    memset(p, 1, 100);
    give(p);
    sink = p[50];
    give(q);
}

static void double_free(void)
{
    char *p = get(100), *q = get(10);
    give(p);
    give(p);
    give(q);
}

static void leak(void)
{
    char *volatile p = get(123);
    p[0] = 1;
    p = NULL;
}

static void uninitialised(void)
{
    char *p = get(100), *q = get(10);
    if (p[7] == 3)
        sink = 1;
    give(p);
    give(q);
}

static const struct {
    const char *name;
    void (*commit)(void);
} faults[] = {{"none", none},
              {"overrun", overrun},
              {"underrun", underrun},
              {"use-after-free", use_after_free},
              {"double-free", double_free},
              {"leak", leak},
              {"uninitialised", uninitialised}};

int main(int argc, char **argv)
{
    const struct hmm_strategy *s = argc == 4 ? hmm_strategy_find(argv[3]) : NULL;
    if (s == NULL)
        return 2;
    if (strcmp(argv[1], "own") == 0)
        own = hmm_heap_create(memory, sizeof memory, s);
    else
        hmm_init(s);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (strcmp(faults[i].name, argv[2]) == 0) {
            faults[i].commit();
            return 0;
        }
    }
    return 2;
}
