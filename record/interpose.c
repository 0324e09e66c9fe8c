/* SPDX-License-Identifier: MIT */
/*
 * Interposes the malloc family: each function records an event and calls the next allocator
 * (next.h). All functions of the family are here, even those that record nothing, so that one
 * allocator serves all of them. Functions like mallinfo, which take no block, are not interposed.
 *
 * A call that fails records no event, nor does free(NULL). Alignments are recorded as the powers of
 * two to which libc rounds them.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "next.h"
#include "stack.h"

#include <errno.h>
#include <sys/auxv.h>

#define EXPORT __attribute__((visibility("default")))

/* Not from libc's headers: their attributes belong to callers. */
EXPORT void *malloc(size_t);
EXPORT void free(void *);
EXPORT void *calloc(size_t, size_t);
EXPORT void *realloc(void *, size_t);
EXPORT void *reallocarray(void *, size_t, size_t);
EXPORT void *memalign(size_t, size_t);
EXPORT void *aligned_alloc(size_t, size_t);
EXPORT int posix_memalign(void **, size_t, size_t);
EXPORT void *valloc(size_t);
EXPORT void *pvalloc(size_t);
EXPORT void cfree(void *);
EXPORT void free_sized(void *, size_t);
EXPORT size_t malloc_usable_size(void *);
EXPORT void free_aligned_sized(void *, size_t, size_t);

/* A block that the function with this frame has got for its caller. Call stacks are looked for on
 * the slow path only: the fast one has no room for the question. */
static void note_got(enum record_kind kind, const void *p, uint64_t size, const void *frame)
{
    const uint32_t stack = record_stack_of(frame);
    if (stack != 0)
        record_emit_by(kind, p, size, stack);
    else
        record_emit(kind, p, size);
}

/* ---- Getting ---- */

static void *special_malloc(size_t size)
{
    bool ours = record_next_enter();
    void *p = record_next_malloc(size);
    if (ours)
        record_next_leave();
    if (ours && p != NULL)
        note_got(RECORD_ALLOC, p, size, __builtin_frame_address(0));
    return p;
}

void *malloc(size_t size)
{
    if (RECORD_SELDOM(record_next.special))
        return special_malloc(size);
    void *p = record_next.malloc(size);
    if (p != NULL)
        record_emit(RECORD_ALLOC, p, size);
    return p;
}

static void *special_calloc(size_t count, size_t size)
{
    bool ours = record_next_enter();
    void *p = record_next_calloc(count, size);
    if (ours)
        record_next_leave();
    if (ours && p != NULL)
        note_got(RECORD_ALLOC, p, (uint64_t)count * size, __builtin_frame_address(0));
    return p;
}

void *calloc(size_t count, size_t size)
{
    if (RECORD_SELDOM(record_next.special))
        return special_calloc(count, size);
    void *p = record_next.calloc(count, size);
    if (p != NULL)
        record_emit(RECORD_ALLOC, p, (uint64_t)count * size);
    return p;
}

static unsigned log2_up(size_t align)
{
    return align <= 1 ? 0 : (unsigned)(sizeof align * 8) - (unsigned)__builtin_clzl(align - 1);
}

/* Not every allocator takes what is no power of two. */
void *memalign(size_t align, size_t size)
{
    const unsigned log2 = log2_up(align);
    if (log2 >= sizeof align * 8) {
        errno = EINVAL;
        return NULL;
    }
    bool ours = record_next_enter();
    void *p = record_next_memalign((size_t)1 << log2, size);
    if (ours)
        record_next_leave();
    if (ours && p != NULL)
        note_got(RECORD_ALIGNED, p, (uint64_t)log2 << RECORD_SIZE_BITS | size,
                 __builtin_frame_address(0));
    return p;
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **to, size_t align, size_t size)
{
    if (align % sizeof(void *) != 0 || align == 0 || (align & (align - 1)) != 0)
        return EINVAL;
    int code = errno;
    void *p = memalign(align, size);
    errno = code;
    if (p == NULL)
        return ENOMEM;
    *to = p;
    return 0;
}

static size_t page_size(void)
{
    return (size_t)getauxval(AT_PAGESZ);
}

void *valloc(size_t size)
{
    return memalign(page_size(), size);
}

/* Whole pages, and noted so. */
void *pvalloc(size_t size)
{
    size_t page = page_size(), whole;
    if (__builtin_add_overflow(size, page - 1, &whole)) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(page, whole & ~(page - 1));
}

/* ---- Asking ---- */

/* 0 if the allocator does not tell it: 0 bytes are certainly usable. */
size_t malloc_usable_size(void *p)
{
    if (p == NULL)
        return 0;
    bool ours = record_next_enter();
    size_t size = record_next_usable_size(p);
    if (ours)
        record_next_leave();
    return size;
}

/* ---- Giving back: noted before anybody else can get it. ---- */

static void special_free(void *p)
{
    bool ours = record_next_enter();
    if (ours)
        record_emit(RECORD_FREE, p, 0);
    record_next_free(p);
    if (ours)
        record_next_leave();
}

void free(void *p)
{
    if (p == NULL)
        return;
    if (RECORD_SELDOM(record_next.special)) {
        special_free(p);
        return;
    }
    record_emit(RECORD_FREE, p, 0);
    record_next.free(p);
}

void cfree(void *p)
{
    free(p);
}

void free_sized(void *p, size_t size)
{
    (void)size;
    free(p);
}

void free_aligned_sized(void *p, size_t align, size_t size)
{
    (void)align, (void)size;
    free(p);
}

/* ---- Resizing ---- */

/* realloc(p, 0): libc frees the block, other allocators return one of the smallest size. */
static void *resize_to_nothing(void *p)
{
    record_emit(RECORD_FREE, p, 0);
    void *q = record_next_realloc(p, 0);
    if (q != NULL)
        record_emit(RECORD_ALLOC, q, 0);
    return q;
}

static inline void *resize(void *p, size_t size, const void *frame)
{
    if (size == 0)
        return resize_to_nothing(p);
    uint64_t place = record_emit(RECORD_RESIZE, p, 0);
    void *q = record_next_realloc(p, size);
    if (q != NULL)
        record_emit_resized(place, q, size, frame != NULL ? record_stack_of(frame) : 0);
    else
        record_emit_unresized(place);
    return q;
}

static void *special_realloc(void *p, size_t size)
{
    if (!record_next_enter())
        return record_next_realloc(p, size);
    void *q = resize(p, size, __builtin_frame_address(0));
    record_next_leave();
    return q;
}

void *realloc(void *p, size_t size)
{
    if (p == NULL)
        return malloc(size);
    return RECORD_SELDOM(record_next.special) ? special_realloc(p, size) : resize(p, size, NULL);
}

void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, bytes);
}
