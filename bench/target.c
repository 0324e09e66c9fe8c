/* SPDX-License-Identifier: MIT */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "target.h"

#include <dlfcn.h>
#include <string.h>

/* ---- Nothing ---- */

/* Something that can be written to, for loops that touch what they got. */
static _Alignas(64) char anything[64];

BENCH_MEASURED void *nothing_malloc(size_t size)
{
    __asm__ volatile("" : : "r"(size));
    return anything;
}

BENCH_MEASURED void *nothing_realloc(void *block, size_t size)
{
    __asm__ volatile("" : "+r"(block) : "r"(size));
    return block;
}

BENCH_MEASURED void *nothing_aligned(size_t align, size_t size)
{
    __asm__ volatile("" : : "r"(align), "r"(size));
    return anything;
}

BENCH_MEASURED void nothing_free(void *block)
{
    __asm__ volatile("" : : "r"(block));
}

static void *none_create(void *region, size_t size)
{
    return size != 0 ? region : NULL;
}

static void none_destroy(void *heap)
{
    (void)heap;
}

static void *none_malloc(void *heap, size_t size)
{
    __asm__ volatile("" : "+r"(heap) : "r"(size));
    return heap;
}

static void none_free(void *heap, void *block)
{
    __asm__ volatile("" : : "r"(heap), "r"(block));
}

static void *none_realloc(void *heap, void *block, size_t size)
{
    __asm__ volatile("" : "+r"(block) : "r"(heap), "r"(size));
    return block;
}

static void *none_aligned(void *heap, size_t align, size_t size)
{
    __asm__ volatile("" : "+r"(heap) : "r"(align), "r"(size));
    return heap;
}

const struct bench_adapter nothing_adapter = {
    .abi = BENCH_ADAPTER_ABI,
    .name = "nothing",
    .create = none_create,
    .destroy = none_destroy,
    .malloc = none_malloc,
    .free = none_free,
    .realloc = none_realloc,
    .aligned_alloc = none_aligned,
};

/* ---- Adapters ---- */

static const char *missing(const struct bench_adapter *a)
{
    return a->create == NULL    ? "create"
           : a->destroy == NULL ? "destroy"
           : a->malloc == NULL  ? "malloc"
           : a->free == NULL    ? "free"
           : a->realloc == NULL ? "realloc"
                                : NULL;
}

static const struct bench_adapter *load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL)
        bench_die("adapter %s: cannot be loaded: %s", path, dlerror());
    const struct bench_adapter *a = dlsym(library, "bench_adapter");
    if (a == NULL)
        bench_die("adapter %s: exports no bench_adapter", path);
    if (a->abi != BENCH_ADAPTER_ABI)
        bench_die("adapter %s: is of version %u of the interface, not %u", path, a->abi,
                  BENCH_ADAPTER_ABI);
    if (a->name == NULL || a->name[0] == '\0' ||
        a->name[strspn(a->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "._-+")] != '\0')
        bench_die("adapter %s: has no name that can stand in a table", path);
    if (missing(a) != NULL)
        bench_die("adapter %s: has no function %s", path, missing(a));
    return a;
}

/* For an adapter that cannot align. */
static struct bench_adapter not_aligning;

static void *not_aligned(void *heap, size_t align, size_t size)
{
    (void)align;
    return not_aligning.malloc(heap, size);
}

/* The mistakes that are easily made, found before they end as a crash or a figure. */
static void try_out(struct target *t, const char *path)
{
    const char written[] = "what was written";
    if (!target_create(t, (size_t)16 << 20))
        bench_die("adapter %s: create makes no heap in 16 MiB", path);
    char *block = t->adapter->malloc(t->heap, 40);
    if (block == NULL || (uintptr_t)block % sizeof(void *) != 0)
        bench_die("adapter %s: malloc(40) returns %p", path, (void *)block);
    memcpy(block, written, sizeof written);
    block = t->adapter->realloc(t->heap, block, 4000);
    if (block == NULL || memcmp(block, written, sizeof written) != 0)
        bench_die("adapter %s: realloc loses what is in the block", path);
    char *aligned = t->adapter->aligned_alloc(t->heap, 256, 40);
    if (aligned == NULL || (t->adapter != &not_aligning && (uintptr_t)aligned % 256 != 0))
        bench_die("adapter %s: aligned_alloc(256, 40) returns %p", path, (void *)aligned);
    t->adapter->free(t->heap, aligned);
    t->adapter->free(t->heap, block);
    target_destroy(t);
}

void target_open(struct target *t, const char *what)
{
    *t = (struct target){.via = VIA_MALLOC};
    if (strcmp(what, "nothing") == 0)
        t->via = VIA_NOTHING;
    if (strchr(what, '/') == NULL)
        return;
    t->via = VIA_ADAPTER;
    t->adapter = load(what);
    if (t->adapter->aligned_alloc == NULL) {
        not_aligning = *t->adapter;
        not_aligning.aligned_alloc = not_aligned;
        t->adapter = &not_aligning;
    }
    try_out(t, what);
}

static void end_heap(struct target *t)
{
    if (t->heap != NULL)
        t->adapter->destroy(t->heap);
    t->heap = NULL;
}

bool target_create(struct target *t, size_t capacity)
{
    if (t->via != VIA_ADAPTER)
        return true;
    end_heap(t);
    if (t->capacity != capacity) {
        target_destroy(t);
        t->region = bench_reserve(capacity);
        t->capacity = capacity;
    }
    t->heap = t->adapter->create(t->region, capacity);
    return t->heap != NULL;
}

void target_destroy(struct target *t)
{
    end_heap(t);
    if (t->region != NULL)
        bench_unreserve(t->region, t->capacity);
    t->region = NULL;
    t->capacity = 0;
}
