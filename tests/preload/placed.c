/* SPDX-License-Identifier: MIT */
/*
 * Under the preload library with HMM_CACHE=0: everything that the program allocates is placed as in
 * a heap of one's own of the same strategy.
 *
 *     placed COUNT      random operations on so many blocks; exits 3 at the first that differs
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "case.h"
#include "hmm.h"

#define OF_HMM(name) ((__typeof__(&name))dlsym(RTLD_DEFAULT, #name))
#define REGION ((size_t)64 << 20)
#define MOST 4000u
#define OPERATIONS 60000u

static struct hmm_heap *process, *own;
static char *blocks[MOST], *others[MOST], *block_base, *other_base;

static uint32_t any(void)
{
    static uint32_t state = 12345;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static size_t any_size(void)
{
    uint32_t way = any() % 16;
    return any() % (way == 0 ? 20000u : way < 4 ? 3000u : way < 8 ? 500u : 100u);
}

/* Two heaps are alike while their blocks are as far apart. */
static void compare(const char *block, const char *other)
{
    CHECK(block != NULL && other != NULL);
    if (block - block_base != other - other_base)
        _exit(3);
}

static int first_free(void *size, const struct hmm_block_info *info)
{
    *(size_t *)size = info->usable;
    return !info->used;
}

/* What was free when the program began is taken. */
static void take_holes(void)
{
    size_t size;
    while (OF_HMM(hmm_heap_walk)(process, first_free, &size)) {
        void *p = malloc(size);
        KEEP(p);
    }
}

static void begin(void)
{
    void *region = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(region != MAP_FAILED);
    process = OF_HMM(hmm_process_heap)();
    own = OF_HMM(hmm_heap_create)(region, REGION, OF_HMM(hmm_heap_strategy)(process));
    CHECK(own != NULL);
    take_holes();
    block_base = malloc(100);
    other_base = OF_HMM(hmm_heap_malloc)(own, 100);
}

static void allocate(uint32_t i, size_t size)
{
    if (size % 5 == 0) {
        blocks[i] = calloc(1, size);
        others[i] = OF_HMM(hmm_heap_calloc)(own, 1, size);
    } else {
        blocks[i] = malloc(size);
        others[i] = OF_HMM(hmm_heap_malloc)(own, size);
    }
}

static void operate(uint32_t i)
{
    size_t size = any_size() + 1;
    if (blocks[i] == NULL) {
        allocate(i, size);
    } else if (any() % 4 == 0) {
        blocks[i] = realloc(blocks[i], size);
        others[i] = OF_HMM(hmm_heap_realloc)(own, others[i], size);
    } else {
        free(blocks[i]);
        OF_HMM(hmm_heap_free)(own, others[i]);
        blocks[i] = others[i] = NULL;
        return;
    }
    compare(blocks[i], others[i]);
}

int main(int argc, char **argv)
{
    uint32_t count = argc > 1 ? (uint32_t)atoi(argv[1]) : MOST;
    CHECK(count != 0 && count <= MOST);
    begin();
    for (uint32_t i = 0; i < OPERATIONS; i++)
        operate(any() % count);
    CHECK(OF_HMM(hmm_heap_check)(process) == NULL);
    return 0;
}
