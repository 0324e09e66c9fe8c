/* SPDX-License-Identifier: MIT */
/*
 * The doors while something watches the heap: memcheck, or a check level above 1. Each does
 * what the plain door does, with the checks before and the annotations after.
 */
#include "annotate.h"
#include "front.h"

/* Operations between two checks of the whole heap. */
static uint32_t check_interval(const struct hmm_heap *h)
{
    return h->check_level >= 4 ? 1 : 1024;
}

static void enter(struct hmm_heap *h)
{
    if (h->watch & HMM__WATCH_VALGRIND)
        annotate_enter();
    if (h->check_level < 3 || ++h->check_count < check_interval(h))
        return;
    h->check_count = 0;
    const char *broken = hmm_heap_check(h);
    if (broken != NULL)
        hmm__panic("heap check failed, heap", h, broken);
}

static void leave(struct hmm_heap *h)
{
    if (h->watch & HMM__WATCH_VALGRIND)
        annotate_leave();
}

/* Level 2 and up: a pointer into a block passes for one to the constant-time check where the
 * user's bytes look like headers, but not to a walk. */
static void verify(const struct hmm_heap *h, const void *payload, const char *verb)
{
    if (payload != NULL && (h->watch & HMM__WATCH_CHECK) && !hmm__is_block(h, payload))
        hmm__misuse(h, payload, verb);
}

void *hmm__watched_malloc(struct hmm_heap *h, size_t size)
{
    enter(h);
    void *p = hmm__malloc(h, size);
    leave(h);
    if (p != NULL && (h->watch & HMM__WATCH_VALGRIND))
        annotate_malloc(p, size, false);
    return p;
}

void *hmm__watched_calloc(struct hmm_heap *h, size_t count, size_t size)
{
    enter(h);
    void *p = hmm__malloc(h, count * size);
    if (p != NULL)
        memset(p, 0, block_usable(block_size(h, block_of(h, p))));
    leave(h);
    if (p != NULL && (h->watch & HMM__WATCH_VALGRIND))
        annotate_malloc(p, count * size, true);
    return p;
}

void *hmm__watched_aligned_alloc(struct hmm_heap *h, size_t align, size_t size)
{
    enter(h);
    void *p = hmm__aligned_alloc(h, align, size);
    leave(h);
    if (p != NULL && (h->watch & HMM__WATCH_VALGRIND))
        annotate_malloc(p, size, false);
    return p;
}

/* Under memcheck: what lies behind the requested bytes is the core's while it resizes. */
static void *realloc_seen_by_memcheck(struct hmm_heap *h, char *payload, size_t size)
{
    size_t usable = 0, was = 0;
    if (hmm__seems_sound(h, payload)) {
        usable = header_usable(block_header(h, block_of(h, payload)));
        was = annotate_requested(payload, usable);
    }
    annotate_open(payload + was, usable - was);
    void *p = hmm__realloc(h, payload, size);
    annotate_region(payload + was, usable - was);
    if (p != NULL)
        annotate_realloc(payload, was, p, size);
    return p;
}

void *hmm__watched_realloc(struct hmm_heap *h, void *payload, size_t size)
{
    if (payload == NULL)
        return hmm__watched_malloc(h, size);
    if (size == 0) {
        hmm__watched_free(h, payload);
        return NULL;
    }
    enter(h);
    verify(h, payload, "realloc");
    void *p = h->watch & HMM__WATCH_VALGRIND ? realloc_seen_by_memcheck(h, payload, size)
                                             : hmm__realloc(h, payload, size);
    leave(h);
    return p;
}

/* Memcheck first: it reports a double free as it would free's, before the core ends the program. */
void hmm__watched_free(struct hmm_heap *h, void *payload)
{
    if (payload == NULL || (h->stray && h->stray(h, payload, "free")))
        return;
    if (h->watch & HMM__WATCH_VALGRIND)
        annotate_free(payload);
    enter(h);
    verify(h, payload, "free");
    hmm__free(h, payload);
    leave(h);
}

/* Under memcheck what was asked for: it would report a use of the rest. */
size_t hmm__watched_usable_size(const struct hmm_heap *h, const void *payload)
{
    bool quiet = (h->watch & HMM__WATCH_VALGRIND) != 0;
    if (quiet)
        annotate_enter();
    size_t usable = header_usable(block_header(h, block_of(h, payload)));
    if (quiet) {
        usable = annotate_requested(payload, usable);
        annotate_leave();
    }
    return usable;
}

void hmm__set_watch(struct hmm_heap *h, uint32_t watch)
{
    if (h->watch != watch) /* usable_size reads it without the lock */
        h->watch = watch;
    h->malloc_door = watch ? hmm__watched_malloc : h->malloc_bare;
    h->free_door = watch ? hmm__watched_free : h->free_bare;
#if HMM__FRONT
    hmm__front_doors(h);
#endif
}

int hmm_heap_set_check(struct hmm_heap *heap, int level)
{
    if (level < 0 || level > 4) {
        hmm__set_errno(EINVAL);
        return -1;
    }
    heap->check_level = (uint32_t)level;
    heap->check_count = 0;
    uint32_t watch = heap->watch & (uint32_t)HMM__WATCH_VALGRIND;
    if (level >= 2)
        watch |= HMM__WATCH_CHECK;
    if (level >= 2 && heap->front != NULL)
        hmm_heap_set_cache(heap, 0);
    hmm__set_watch(heap, watch);
    return 0;
}
