/* SPDX-License-Identifier: MIT */
/*
 * A program with faults: planted HEAP FAULT. HEAP is malloc (the C library's), process (hmm's),
 * array or block (a heap of one's own in a static array, or in a block of malloc's). memcheck must
 * report the same of all.
 */
#include "hmm.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct allocator {
    const char *name;
    void *(*alloc)(size_t);
    void *(*zeroed)(size_t, size_t);
    void *(*resize)(void *, size_t);
    void *(*aligned)(size_t, size_t);
    void (*give)(void *);
    size_t (*usable)(void *);
};

static _Alignas(64) char array[1 << 20];
static void *memory = array;
static struct hmm_heap *own; /* never destroyed: that would free what is left */

static void *own_alloc(size_t size)
{
    return hmm_heap_malloc(own, size);
}

static void *own_zeroed(size_t count, size_t size)
{
    return hmm_heap_calloc(own, count, size);
}

static void *own_resize(void *p, size_t size)
{
    return hmm_heap_realloc(own, p, size);
}

static void *own_aligned(size_t align, size_t size)
{
    return hmm_heap_aligned_alloc(own, align, size);
}

static void own_give(void *p)
{
    hmm_heap_free(own, p);
}

static size_t own_usable(void *p)
{
    return hmm_heap_usable_size(own, p);
}

static size_t process_usable(void *p)
{
    return hmm_usable_size(p);
}

static const struct allocator allocators[] = {
    {"malloc", malloc, calloc, realloc, aligned_alloc, free, malloc_usable_size},
    {"process", hmm_malloc, hmm_calloc, hmm_realloc, hmm_aligned_alloc, hmm_free, process_usable},
    {"array", own_alloc, own_zeroed, own_resize, own_aligned, own_give, own_usable},
    {"block", own_alloc, own_zeroed, own_resize, own_aligned, own_give, own_usable},
};

static const struct allocator *a;
static volatile char sink;
static volatile size_t hundred = 100; /* hides from the compiler how large the blocks are */

static char *block(void)
{
    char *p = a->alloc(hundred);
    if (p == NULL)
        exit(3);
    memset(p, 1, 100);
    return p;
}

/* ---- The faults. Each leaves nothing live, unless that is the fault. ---- */

static void none(void)
{
    char *p = block(), *z = a->zeroed(hundred, 3), *q = a->aligned(64, 640), *s;
    for (size_t i = 0; i < 300; i++)
        if (z[i] != 0)
            exit(4);
    p = a->resize(p, 5000);
    s = block();
    memset(s, 1, a->usable(s));
    memset(p, 2, 5000);
    p = a->resize(p, 20);
    p = a->resize(p, 9000);
    sink = p[19];
    a->give(p);
    a->give(z);
    a->give(q);
    a->give(s);
    a->give(NULL);
}

static void overrun_by_read(void)
{
    char *p = block();
    sink = p[hundred];
    a->give(p);
}

static void overrun_by_write(void)
{
    char *p = block();
    p[hundred] = 1;
    a->give(p);
}

static void underrun_by_read(void)
{
    char *p = block();
    sink = p[-(ptrdiff_t)(hundred / 100)];
    a->give(p);
}

static void use_after_free(void)
{
    char *p = block();
    char *volatile hidden = p;
    a->give(p);
    sink = hidden[50];
}

static void write_after_free(void)
{
    char *p = block();
    char *volatile hidden = p;
    a->give(p);
    hidden[0] = 1;
}

static void use_of_what_was_cut_off(void)
{
    char *p = a->resize(block(), 40);
    sink = p[hundred / 2];
    a->give(p);
}

static void use_after_moving(void)
{
    char *p = block(), *guard = block();
    char *volatile hidden = p;
    p = a->resize(p, 20000);
    sink = hidden[3];
    a->give(p);
    a->give(guard);
}

static void uninitialised(void)
{
    char *p = a->alloc(hundred);
    if (p[30] != 0)
        sink = 1;
    a->give(p);
}

static void uninitialised_where_it_grew(void)
{
    char *p = a->resize(block(), 200);
    if (p[150] != 0)
        sink = 1;
    a->give(p);
}

static void overrun_of_an_aligned_block(void)
{
    char *p = a->aligned(64, hundred);
    memset(p, 1, hundred);
    sink = p[hundred];
    a->give(p);
}

static void uninitialised_after_calloc(void)
{
    char *p = a->zeroed(1, hundred);
    if (p[30] != 0)
        sink = 1;
    a->give(p);
    p = a->alloc(hundred); /* the same bytes, perhaps */
    if (p[30] != 0)
        sink = 1;
    a->give(p);
}

static void leak(void)
{
    char *volatile p = block();
    p = NULL;
    sink = p == NULL;
}

static void double_free(void)
{
    char *p = block();
    char *volatile hidden = p;
    a->give(p);
    a->give(hidden);
}

static void free_inside(void)
{
    char *p = block();
    char *volatile hidden = p + 48;
    a->give(hidden);
    a->give(p);
}

static const struct fault {
    const char *name;
    void (*commit)(void);
} faults[] = {
    {"none", none},
    {"overrun-by-read", overrun_by_read},
    {"overrun-by-write", overrun_by_write},
    {"underrun-by-read", underrun_by_read},
    {"use-after-free", use_after_free},
    {"write-after-free", write_after_free},
    {"use-of-what-was-cut-off", use_of_what_was_cut_off},
    {"use-after-moving", use_after_moving},
    {"uninitialised", uninitialised},
    {"uninitialised-where-it-grew", uninitialised_where_it_grew},
    {"uninitialised-after-calloc", uninitialised_after_calloc},
    {"overrun-of-an-aligned-block", overrun_of_an_aligned_block},
    {"leak", leak},
    {"double-free", double_free},
    {"free-inside", free_inside},
};

/* All faults after which hmm goes on, one after the other; those that end it are asked for alone.
 */
static void commit(const char *name)
{
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        bool ends = faults[i].commit == double_free || faults[i].commit == free_inside;
        if (strcmp(name, faults[i].name) == 0 || (strcmp(name, "all") == 0 && !ends))
            faults[i].commit();
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    for (size_t i = 0; i < sizeof allocators / sizeof allocators[0]; i++)
        if (strcmp(argv[1], allocators[i].name) == 0)
            a = &allocators[i];
    if (a == NULL)
        return 2;
    if (strcmp(a->name, "block") == 0)
        memory = malloc(sizeof array);
    own = hmm_heap_create(memory, sizeof array, HMM_BEST_FIT);
    commit(argv[2]);
    return 0;
}
