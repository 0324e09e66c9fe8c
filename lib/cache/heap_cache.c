/* SPDX-License-Identifier: MIT */
/*
 * The front of a heap of one's own: one keeper, no lock. Its doors stand before the heap's.
 */
#include "cache/fast_path.h"
#include "cache/medium.h"

#if HMM__CACHE

/* The heap itself, with what watches it. */
static void *malloc_behind(struct hmm_heap *h, size_t size)
{
    return h->check_flags ? hmm__checked_malloc(h, size) : hmm__malloc(h, size);
}

static __attribute__((noinline)) void *own_missed(struct hmm_heap *h, size_t size)
{
    struct thread_cache *tc = h->cache->thread_cache;
    void *p = size <= CACHE_OBJECT_MAX ? hmm__cache_refill(tc, size) : medium_take(h->cache, size);
    if (p == NULL)
        p = malloc_behind(h, size);
    if (hmm__unlikely(p == NULL) && size <= HMM_MAX_REQUEST && hmm__cache_try_again(h->cache, tc))
        p = malloc_behind(h, size);
    return p;
}

static void *own_malloc(struct hmm_heap *h, size_t size)
{
    void *p = cache_malloc_hit(h->cache->thread_cache, size);
    return hmm__likely(p != NULL) ? p : own_missed(h, size);
}

static void own_free(struct hmm_heap *h, void *block)
{
    struct cache *cache = h->cache;
    if (hmm__likely(cache_free_hit(cache, cache->thread_cache, block)) ||
        (cache->open && medium_put(cache, block)))
        return;
    if (h->check_flags)
        hmm__checked_free(h, block);
    else
        hmm__free(h, block);
}

void hmm__cache_set_entries(struct hmm_heap *h)
{
    if (h->cache != NULL && h->cache->lock == NULL) {
        h->malloc_entry = own_malloc;
        h->free_entry = own_free;
    }
}

size_t hmm__cache_usable(const struct cache *cache, const void *block, const char *operation)
{
    const struct run *d = cache_run_of(cache, block);
    if (d == NULL)
        return 0;
    if (!run_has_object(d, block) || object_is_free(cache, block))
        hmm__run_object_invalid(block, d, operation);
    return class_bytes(d->class);
}

void *hmm__cached_realloc(struct hmm_heap *h, void *block, size_t usable, size_t size)
{
    struct cache *cache = h->cache;
    void *p =
        cache->thread_cache ? cache_realloc_hit(cache, cache->thread_cache, block, size) : NULL;
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
static struct cache *open_own(struct hmm_heap *h)
{
    struct cache first, *cache = NULL;
    hmm_ref limit = h->limit, high_limit = h->high_limit;
    if (hmm__cache_open(&first, h, NULL))
        cache = hmm__cache_extend(&first, sizeof *cache, 64);
    if (cache == NULL) {
        hmm__high_raise(h, limit, high_limit);
        return NULL;
    }
    *cache = first;
    cache->thread_cache->cache = cache;
    return cache;
}

/* What is kept is not looked at any more when it is freed: it is not to be there. */
static void give_back(struct cache *cache)
{
    if (cache->lock == NULL)
        hmm__cache_trim(cache->thread_cache);
    else
        hmm__medium_empty(cache);
}

/* Memcheck is to see each block, and would not let the front have the high end. */
int hmm_heap_set_cache(struct hmm_heap *heap, int on)
{
    bool suits = hmm__cache_suits(heap) && !(heap->check_flags & HMM__CHECK_MEMCHECK);
    if (heap->cache == NULL && on && suits) {
        heap->cache = open_own(heap);
        if (heap->cache == NULL) {
            hmm__set_errno(ENOMEM);
            return -1;
        }
    }
    if (heap->cache != NULL) {
        heap->cache->open = on && heap->check_flags == 0;
        if (!on)
            give_back(heap->cache);
        hmm__set_check_flags(heap, heap->check_flags);
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
