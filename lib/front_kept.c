/* SPDX-License-Identifier: MIT */
#include "front_kept.h"

#if HMM__FRONT

#define KEPT_SHIFT 7
#define KEPT_LEAST_BYTES ((size_t)4096)

void hmm__kept_twice(const void *p, const char *verb)
{
    hmm__panic(verb, p, "double free, or not a block: it is not in use");
}

static void give_back_one(struct front *f, struct object **place)
{
    struct object *o = *place;
    if (o->next != NULL && hmm__unlikely(!hmm__kept_has(f, o->next)))
        hmm__links_broken(f->heap, block_of(f->heap, o));
    *place = o->next;
    f->kept_bytes -= (size_t)kept_granules(o) * HMM_GRANULE;
    o->tag = 0;
    if (*place == NULL)
        f->kept_map &= ~(UINT64_C(1) << (place - f->kept));
    hmm__free(f->heap, o);
}

static void displace(struct front *f, struct object **place)
{
    while (*place != NULL)
        give_back_one(f, place);
}

/* The next place, from the hand on, that is not empty; there is one. */
static struct object **next_place(struct front *f)
{
    uint64_t above = f->kept_map & UINT64_MAX << f->kept_hand;
    unsigned i = (unsigned)__builtin_ctzll(above ? above : f->kept_map);
    f->kept_hand = (i + 1) % FRONT_KEPT;
    return &f->kept[i];
}

/* One block of each place in turn, until an eighth of what may be kept is free. */
static void kept_shrink(struct front *f)
{
    const struct hmm_heap *h = f->heap;
    size_t most = ((size_t)(h->brk - h->first) * HMM_GRANULE) >> KEPT_SHIFT;
    f->kept_most = most > KEPT_LEAST_BYTES ? most : KEPT_LEAST_BYTES;
    while (f->kept_bytes > f->kept_most - f->kept_most / 8)
        give_back_one(f, next_place(f));
}

bool hmm__kept_put(struct front *f, void *p, uint32_t granules)
{
    struct object **place = kept_place(f, granules);
    if (*place != NULL && kept_granules(*place) != granules)
        displace(f, place);
    kept_add(f, place, p, granules);
    if (f->kept_bytes > f->kept_most)
        kept_shrink(f);
    return true;
}

bool hmm__kept_empty(struct front *f)
{
    if (f->kept_map == 0)
        return false;
    while (f->kept_map != 0)
        displace(f, next_place(f));
    return true;
}

bool hmm__kept_has(const struct front *f, const void *p)
{
    struct seen b;
    return is_placed(f->heap, p, &b) && is_used(&b) && kept_size(header_size(b.word)) &&
           object_has_tag(f->keys.kept, p);
}

const char *hmm__kept_check(const struct front *f)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < FRONT_KEPT; i++) {
        for (const struct object *o = f->kept[i]; o != NULL; o = o->next) {
            if (!hmm__kept_has(f, o)) /* any pointer may stand here */
                return "F5: a kept block is not tagged, or free";
            uint32_t n = kept_granules(o);
            if (n % FRONT_KEPT != i || n != kept_granules(f->kept[i]))
                return "F5: a kept block is in the wrong place";
            bytes += (size_t)n * HMM_GRANULE;
            if (bytes > f->kept_bytes)
                break;
        }
    }
    for (unsigned i = 0; i < FRONT_KEPT; i++)
        if ((f->kept[i] != NULL) != (f->kept_map >> i & 1))
            return "F5: kept_map does not tell the places that are not empty";
    return bytes == f->kept_bytes ? NULL : "F5: kept_bytes is not the sum of the kept blocks";
}

#endif
