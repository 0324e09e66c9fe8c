/* SPDX-License-Identifier: MIT */
/*
 * Mappings of their own, for huge blocks: the mapper of process/region.h. Calls the system only.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* mremap */
#endif
#include "process/region.h"

#include <sys/mman.h>

/* Larger alignments than the step of sizes need more than the system's own. */
#define MAPPER_ALIGN ((size_t)4096)

static char *map_with(size_t bytes, int protection, int flags)
{
    char *p = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* What lies around the aligned part is unmapped again. */
static char *map_aligned(size_t bytes, size_t align, int protection, int flags)
{
    if (align <= MAPPER_ALIGN)
        return map_with(bytes, protection, flags);
    if (align > (size_t)PTRDIFF_MAX - bytes)
        return NULL;
    char *p = map_with(bytes + align, protection, flags);
    if (p == NULL)
        return NULL;
    size_t below = (size_t)(-(uintptr_t)p & (align - 1)), above = align - below;
    if (below != 0)
        munmap(p, below);
    munmap(p + below + bytes, above);
    return p + below;
}

static char *mapper_map(size_t bytes, size_t align)
{
    int code = errno;
    char *p = map_aligned(bytes, align, PROT_READ | PROT_WRITE, 0);
    errno = code;
    return p;
}

static void mapper_unmap(char *p, size_t bytes)
{
    int code = errno;
    munmap(p, bytes);
    errno = code;
}

/* In place, or to where there is room at the alignment. */
static char *move_aligned(char *p, size_t was, size_t now, size_t align)
{
    char *q = mremap(p, was, now, 0);
    if (q != MAP_FAILED)
        return q;
    char *room = map_aligned(now, align, PROT_NONE, MAP_NORESERVE);
    if (room == NULL)
        return NULL;
    q = mremap(p, was, now, MREMAP_MAYMOVE | MREMAP_FIXED, room);
    if (q == MAP_FAILED)
        munmap(room, now);
    return q == MAP_FAILED ? NULL : q;
}

static char *mapper_remap(char *p, size_t was, size_t now, size_t align)
{
    int code = errno;
    char *q;
    if (align > MAPPER_ALIGN) {
        q = move_aligned(p, was, now, align);
    } else {
        q = mremap(p, was, now, MREMAP_MAYMOVE);
        q = q == MAP_FAILED ? NULL : q;
    }
    errno = code;
    return q;
}

static const struct hmm__mapper mapper = {
    .map = mapper_map, .unmap = mapper_unmap, .remap = mapper_remap};
const struct hmm__mapper *const hmm__region_mapper = &mapper;
