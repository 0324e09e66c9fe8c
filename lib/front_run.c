/* SPDX-License-Identifier: MIT */
/*
 * Runs come and go: how large one is made, where it is placed, its descriptor, the queue.
 */
#include "front.h"

#if HMM__FRONT

/* A run is at most an 8th of what its class holds, 32 KiB, and a 128th of the heap. */
#define HELD_SHIFT 3
#define HEAP_SHIFT 7
#define RUN_MOST_UNITS 32u

/* What may be idle of the heap, in all: a keeper's share is one part of as many as are busy. Were
 * it the whole, what each leaves idle would let the next leave more. */
#define IDLE_SHIFT 5

/* Of a run that is small no more than one part in so many is to be lost at its end. */
#define REST_PART 8u

/* A class must have been wanted for so many bytes before it gets a run. */
#define TRIAL_BYTES 512u

#define ALIGN_UP(n, to) (((n) + (to)-1) & ~((size_t)(to)-1))

/* ---- The high end ---- */

/* The region's high end, from `low` on, is the front's. An entry of the map, and the low half of a
 * keeper's address, reach so far from the table. */
static bool claim(struct front *f, const char *low)
{
    if ((uintptr_t)low < f->base || f->table - low > INT32_MAX)
        return false;
    size_t at = ((uintptr_t)low - f->base) / HMM_GRANULE;
    return at >= f->heap->high_limit || hmm__high_lower(f->heap, (hmm_ref)at);
}

/* Makes [low, low_ready) writable, in steps that grow. */
static bool make_ready(struct front *f, char *low)
{
    const struct hmm__pages *pages = f->heap->pages;
    if (pages == NULL || low >= f->low_ready)
        return true;
    size_t step = ALIGN_UP((size_t)(f->low_ready - low), 4096);
    if (!pages->need(f->low_ready - step, f->low_ready))
        return false;
    f->low_ready -= step;
    return true;
}

void *hmm__front_extend(struct front *f, size_t bytes, size_t align)
{
    char *low = f->low - bytes;
    low -= (uintptr_t)low & (align - 1);
    if (!claim(f, low) || !make_ready(f, low))
        return NULL;
    f->low = low;
    return memset(low, 0, bytes);
}

/* What lies below it may soon be a strategy's state, and not to be had: a 32nd of the room that
 * there is, which is a descriptor for each unit, is set aside. */
void hmm__front_reserve(struct front *f)
{
    struct hmm_heap *h = f->heap;
    uint32_t wanted = (h->high_limit - h->top) / 32;
    uint32_t have = (uint32_t)(((uintptr_t)f->low - f->base) / HMM_GRANULE) - h->high_limit;
    if (have < wanted)
        hmm__high_lower(h, h->high_limit - (wanted - have));
}

/* So that the map can be read below `unit`. */
static bool map_to(struct front *f, size_t unit)
{
    size_t most = (size_t)f->heap->high_limit * HMM_GRANULE >> FRONT_UNIT_LOG;
    const struct hmm__pages *pages = f->heap->pages;
    int32_t *map = front_map(f);
    if (unit > f->map_ready) {
        size_t to = pages ? ALIGN_UP(unit, 1024) : ALIGN_UP(unit, 16);
        to = to < most ? to : most;
        if (pages && !pages->need((char *)(map + f->map_ready), (char *)(map + to)))
            return false;
        hmm__pages_clear(f->heap, (char *)(map + f->map_ready), (to - f->map_ready) * sizeof *map);
        f->map_ready = to;
    }
    if (unit > f->units)
        __atomic_store_n(&f->units, unit, __ATOMIC_RELEASE);
    return true;
}

/* ---- Descriptors ---- */

static void discard(struct keeper *k, struct run *d)
{
    d->state = RUN_GONE;
    run_rest(d)->link = k->unused;
    k->unused = front_place(k->front, d);
}

static struct run *descriptor(struct keeper *k)
{
    if (k->unused == 0) {
        struct run *batch = hmm__front_extend(k->front, RUN_BATCH_BYTES, RUN_BATCH_BYTES);
        for (unsigned i = 0; batch != NULL && i < RUN_BATCH; i++)
            discard(k, &batch[i]);
    }
    struct run *d = k->unused ? run_at(k->front, k->unused) : NULL;
    if (d != NULL)
        k->unused = run_rest(d)->link;
    return d;
}

/* ---- The queue ---- */

void hmm__run_enqueue(struct keeper *k, struct run *d)
{
    struct size_class *s = &k->classes[d->class];
    int32_t entry = front_place(k->front, d);
    d->state = RUN_QUEUED;
    run_rest(d)->link = 0;
    *(s->newest ? &run_rest(run_at(k->front, s->newest))->link : &s->oldest) = entry;
    s->newest = entry;
}

static struct run *unlink_oldest(struct front *f, struct size_class *s)
{
    struct run *d = run_at(f, s->oldest);
    s->oldest = run_rest(d)->link;
    if (s->oldest == 0)
        s->newest = 0;
    return d;
}

/* Descriptors at its old end whose runs have gone go as well: the oldest run is there. */
static void shorten(struct keeper *k, struct size_class *s)
{
    while (s->oldest != 0 && run_at(k->front, s->oldest)->state == RUN_GONE)
        discard(k, unlink_oldest(k->front, s));
}

struct run *hmm__run_next(const struct front *f, struct run *d)
{
    int32_t next = run_rest(d)->link;
    return next ? run_at(f, next) : NULL;
}

struct run *hmm__run_dequeue(struct keeper *k, unsigned c)
{
    struct size_class *s = &k->classes[c];
    if (s->oldest == 0)
        return NULL;
    struct run *d = unlink_oldest(k->front, s);
    if (hmm__unlikely(d->left == 0))
        k->idle -= hmm__run_units(k->front, d);
    shorten(k, s);
    return d;
}

/* ---- How large ---- */

static bool loses_little(uint32_t units, size_t size)
{
    size_t bytes = units * FRONT_UNIT - HMM_HEADER_BYTES;
    return bytes % size * REST_PART <= bytes;
}

static size_t heap_bytes(const struct hmm_heap *h)
{
    return (size_t)(h->brk - h->first) * HMM_GRANULE;
}

/* Units; 0: none. */
static uint32_t most_units(const struct front *f, const struct size_class *s)
{
    size_t heap = heap_bytes(f->heap) >> HEAP_SHIFT >> FRONT_UNIT_LOG;
    uint32_t held = s->units >> HELD_SHIFT;
    uint32_t most = held < RUN_MOST_UNITS ? held : RUN_MOST_UNITS;
    return most < heap ? most : (uint32_t)heap;
}

static uint32_t least_units(size_t size)
{
    return (uint32_t)((2 * size + HMM_HEADER_BYTES + FRONT_UNIT - 1) >> FRONT_UNIT_LOG);
}

static uint32_t wanted_units(const struct front *f, const struct size_class *s, size_t size)
{
    uint32_t least = least_units(size), units = most_units(f, s);
    units = units > least ? units : least;
    while (units < RUN_MOST_UNITS && !loses_little(units, size))
        units++;
    return units;
}

/* ---- Where ---- */

static void *take_units(struct front *f, uint32_t units, enum hmm__piece_from from)
{
    struct hmm_piece piece = {.granules = units * (uint32_t)(FRONT_UNIT / HMM_GRANULE),
                              .align = FRONT_UNIT / HMM_GRANULE,
                              .phase = 0};
    return hmm__take_piece(f->heap, &piece, from);
}

/* In a hole; if there is none so large, in a smaller one. */
static void *place_in_hole(struct front *f, uint32_t *units, size_t size)
{
    uint32_t wanted = *units, least = least_units(size);
    void *p = take_units(f, wanted, HMM__PIECE_OF_HOLE);
    for (uint32_t m = wanted / 2; p == NULL && m >= least; m /= 2) {
        p = take_units(f, m, HMM__PIECE_OF_HOLE);
        *units = m;
    }
    if (p == NULL)
        *units = wanted;
    return p;
}

/* Before the break moves what is idle is given back. */
static void *place_run(struct front *f, uint32_t *units, size_t size)
{
    const struct hmm_heap *h = f->heap;
    void *p = place_in_hole(f, units, size);
    if (p == NULL && h->brk - h->top < (*units + 1) * (FRONT_UNIT / HMM_GRANULE) &&
        hmm__front_spare(f))
        p = place_in_hole(f, units, size);
    return p ? p : take_units(f, *units, HMM__PIECE_OF_TOP);
}

/* ---- A run ---- */

static void set_map(struct front *f, const struct run *d, uint32_t units, int32_t entry)
{
    int32_t *map = front_map(f) + front_unit(f, run_start(f, d));
    for (uint32_t i = 0; i < units; i++)
        map[i] = entry;
}

HMM__UNSEEN uint32_t hmm__run_units(const struct front *f, const struct run *d)
{
    const char *start = run_start(f, d);
    return block_size(f->heap, block_of(f->heap, start)) / (FRONT_UNIT / HMM_GRANULE);
}

static uint32_t objects_in(uint32_t units, size_t size)
{
    return (uint32_t)((units * FRONT_UNIT - HMM_HEADER_BYTES) / size);
}

HMM__UNSEEN bool hmm__run_is_whole(const struct front *f, const struct run *d)
{
    const struct hmm_heap *h = f->heap;
    hmm_ref r = block_of(h, run_start(f, d));
    uint32_t word = block_header(h, r), units = hmm__run_units(f, d);
    return !(word & HMM__FREE) && header_size(word) <= h->top - r && units != 0 &&
           objects_in(units, class_bytes(d->class)) == run_rest(d)->count;
}

static void describe(struct front *f, struct run *d, unsigned c, const char *start, uint32_t units)
{
    size_t size = class_bytes(c);
    d->free = NULL;
    d->left = run_rest(d)->carved = 0;
    run_rest(d)->count = (uint16_t)objects_in(units, size);
    d->class = (uint8_t)c;
    d->state = RUN_CURRENT;
    d->list = &d->free;
    d->high = (uint8_t)(((uint64_t)((uintptr_t)start - f->base) >> 32) & 15);
    d->start = low_half(start);
    d->inverse = UINT32_MAX / (uint32_t)size + 1;
}

/* Is one wanted, after so few requests? */
static bool is_worth_it(struct size_class *s, size_t size)
{
    return s->units != 0 || ++s->tries * size >= TRIAL_BYTES;
}

struct run *hmm__run_new(struct keeper *k, unsigned c)
{
    struct front *f = k->front;
    struct size_class *s = &k->classes[c];
    size_t size = class_bytes(c);
    uint32_t units = is_worth_it(s, size) ? wanted_units(f, s, size) : 0;
    struct run *d = units ? descriptor(k) : NULL;
    char *start = d ? place_run(f, &units, size) : NULL;
    if (start == NULL || !map_to(f, front_unit(f, start) + units)) {
        if (start != NULL)
            hmm__free(f->heap, start);
        if (d != NULL)
            discard(k, d);
        return NULL;
    }
    describe(f, d, c, start, units);
    __atomic_store_n(&d->owner, low_half(k), __ATOMIC_RELAXED);
    set_map(f, d, units, front_place(f, d));
    s->units += units;
    k->idle_most = (uint32_t)(heap_bytes(f->heap) >> IDLE_SHIFT >> FRONT_UNIT_LOG) / f->busy;
    return d;
}

static void wipe_tag(char *p)
{
    ((struct object *)(void *)p)->tag = 0;
}

/* What the run's bytes become next, a program may leave unwritten: no tag is to be in them. */
static void wipe_tags(const struct front *f, const struct run *d)
{
    size_t size = class_bytes(d->class), n = run_rest(d)->carved;
    char *p = run_start(f, d);
    for (; n >= 4; n -= 4, p += 4 * size) {
        wipe_tag(p);
        wipe_tag(p + size);
        wipe_tag(p + 2 * size);
        wipe_tag(p + 3 * size);
    }
    for (; n != 0; n--, p += size)
        wipe_tag(p);
}

/* It is in the queue. */
void hmm__run_return(struct keeper *k, struct run *d)
{
    struct front *f = k->front;
    struct size_class *s = &k->classes[d->class];
    void *start = run_start(f, d);
    uint32_t units = hmm__run_units(f, d);
    if (hmm__unlikely(!hmm__run_is_whole(f, d)))
        hmm__block_broken(f->heap, block_of(f->heap, start));
    set_map(f, d, units, 0);
    s->units -= units;
    d->state = RUN_GONE;
    wipe_tags(f, d);
    hmm__free(f->heap, start);
    shorten(k, s);
}

#endif
