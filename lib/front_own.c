/* SPDX-License-Identifier: MIT */
/*
 * The front of a heap of one's own: one keeper, no lock. Its doors stand before the heap's.
 */
#include "front_hit.h"
#include "front_kept.h"

#if HMM__FRONT

/* The heap itself, with what watches it. */
static void *malloc_behind(struct hmm_heap *h, size_t size)
{
    return h->watch ? hmm__watched_malloc(h, size) : hmm__malloc(h, size);
}

static __attribute__((noinline)) void *own_missed(struct hmm_heap *h, size_t size)
{
    struct keeper *k = h->front->keeper;
    void *p = size <= FRONT_MOST ? hmm__front_refill(k, size) : kept_take(h->front, size);
    if (p == NULL)
        p = malloc_behind(h, size);
    if (hmm__unlikely(p == NULL) && size <= HMM_MAX_REQUEST && hmm__front_try_again(h->front, k))
        p = malloc_behind(h, size);
    return p;
}

static void *own_malloc(struct hmm_heap *h, size_t size)
{
    void *p = front_malloc_hit(h->front->keeper, size);
    return hmm__likely(p != NULL) ? p : own_missed(h, size);
}

static void own_free(struct hmm_heap *h, void *block)
{
    struct front *f = h->front;
    if (hmm__likely(front_free_hit(f, f->keeper, block)) || (f->open && kept_put(f, block)))
        return;
    if (h->watch)
        hmm__watched_free(h, block);
    else
        hmm__free(h, block);
}

void hmm__front_doors(struct hmm_heap *h)
{
    if (h->front != NULL && h->front->lock == NULL) {
        h->malloc_door = own_malloc;
        h->free_door = own_free;
    }
}

size_t hmm__front_usable(const struct front *f, const void *block, const char *verb)
{
    const struct run *d = front_run_of(f, block);
    if (d == NULL)
        return 0;
    if (!run_has_object(d, block) || object_is_free(f, block))
        hmm__front_unsound(block, d, verb);
    return class_bytes(d->class);
}

void *hmm__front_realloc(struct hmm_heap *h, void *block, size_t usable, size_t size)
{
    struct front *f = h->front;
    void *p = f->keeper ? front_realloc_hit(f, f->keeper, block, size) : NULL;
    if (p != NULL)
        return p;
    if (size != 0) {
        p = hmm_heap_malloc(h, size);
        if (p == NULL && size <= usable) { /* it stays where it is, and nothing has failed */
            h->failed--;
            return block;
        }
        if (p == NULL)
            return NULL;
        memcpy(p, block, size < usable ? size : usable);
    }
    hmm_heap_free(h, block);
    return p;
}

/* The front itself lies where its keepers do. Where there is no room the high end is the heap's
 * again. */
static struct front *open_own(struct hmm_heap *h)
{
    struct front first, *f = NULL;
    hmm_ref limit = h->limit, high_limit = h->high_limit;
    if (hmm__front_open(&first, h, NULL))
        f = hmm__front_extend(&first, sizeof *f, 64);
    if (f == NULL) {
        hmm__high_raise(h, limit, high_limit);
        return NULL;
    }
    *f = first;
    f->keeper->front = f;
    return f;
}

/* What is kept is not looked at any more when it is freed: it is not to be there. */
static void give_back(struct front *f)
{
    if (f->lock == NULL)
        hmm__front_trim(f->keeper);
    else
        hmm__kept_empty(f);
}

/* Memcheck is to see each block, and would not let the front have the high end. */
int hmm_heap_set_cache(struct hmm_heap *heap, int on)
{
    bool suits = hmm__front_suits(heap) && !(heap->watch & HMM__WATCH_VALGRIND);
    if (heap->front == NULL && on && suits) {
        heap->front = open_own(heap);
        if (heap->front == NULL) {
            hmm__set_errno(ENOMEM);
            return -1;
        }
    }
    if (heap->front != NULL) {
        heap->front->open = on && heap->watch == 0;
        if (!on)
            give_back(heap->front);
        hmm__set_watch(heap, heap->watch);
    }
    return 0;
}

#else

int hmm_heap_set_cache(struct hmm_heap *heap, int on)
{
    (void)heap;
    if (!on)
        return 0;
    hmm__set_errno(ENOTSUP);
    return -1;
}

#endif
