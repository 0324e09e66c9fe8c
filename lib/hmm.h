/* SPDX-License-Identifier: MIT */
/*
 * hmm: a heap memory manager. One heap, any placement strategy.
 *
 * The core owns a region of memory: a simulated program break inside it, and the headers of the
 * blocks below the break. A strategy owns one decision: which free block serves a request. It is
 * chosen at run time, and may be changed while blocks are in use.
 *
 *     hmm_init(HMM_BEST_FIT);                        // the process heap, in a static array
 *     int *v = hmm_malloc(10 * sizeof *v);
 *     hmm_free(v);
 *
 *     static char arena[8192];                       // a heap of one's own, anywhere
 *     struct hmm_heap *h = hmm_heap_create(arena, sizeof arena, HMM_FIRST_FIT);
 *     void *p = hmm_heap_malloc(h, 100);
 *
 * All sizes are in bytes. Every payload is aligned to HMM_GRANULE, the strictest fundamental
 * alignment.
 *
 * Misuse that is detected (a block freed twice, a pointer that is not a block's, a header that
 * contradicts its neighbours) prints one line that begins "hmm: " on stderr and aborts; see
 * hmm_on_panic to do something else.
 */
#ifndef HMM_H
#define HMM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HMM_VERSION "0.1.0"

#if defined(__GNUC__)
#define HMM_MALLOC_LIKE __attribute__((malloc, warn_unused_result))
#define HMM_USE_RESULT __attribute__((warn_unused_result))
#else
#define HMM_MALLOC_LIKE
#define HMM_USE_RESULT
#endif

struct hmm_heap;
struct hmm_strategy;

/* ---- The built-in strategies. A program that names one links that one only. ---- */

/* The lowest-addressed that is large enough. */
extern const struct hmm_strategy *const HMM_FIRST_FIT;
/* The first at or after the last placement. */
extern const struct hmm_strategy *const HMM_NEXT_FIT;
/* The smallest; of equals, the newest. */
extern const struct hmm_strategy *const HMM_BEST_FIT;
/* By size class, in constant time (TLSF). */
extern const struct hmm_strategy *const HMM_SEGREGATED;

/* ---- The process heap: in a static array, thread-safe. ---- */

/*
 * Sets the strategy of the process heap. NULL takes the one that HMM_STRATEGY names in the
 * environment, or best-fit if it is not set. A later call switches; all blocks stay in place. A
 * program that never calls it gets hmm_init(NULL) at its first allocation, except that a bad value
 * in the environment is then reported on stderr and the default is used.
 * Returns 0; or -1 and errno iff HMM_STRATEGY or another HMM_ variable has a value that cannot be
 * used (EINVAL, and one line on stderr), the strategy is malformed (EINVAL), its index does not fit
 * into the heap (ENOMEM), or a signal handler calls it that interrupted work on the heap (EBUSY).
 */
int hmm_init(const struct hmm_strategy *strategy);

/*
 * As in C's standard library. hmm_malloc(0) is a unique block. hmm_realloc(p, 0) frees p and
 * returns NULL. Return NULL, with errno ENOMEM and the heap unharmed, iff no free block and not
 * the rest of the region is large enough, or the size (for calloc: the product) is above
 * PTRDIFF_MAX. Under the preload library blocks of more than 8 GiB, and large ones for which the
 * region has no room, come from the system, each by itself. hmm_aligned_alloc also returns NULL,
 * with EINVAL, iff align is not a power of two; hmm_realloc keeps the align that was asked for.
 */
void *hmm_malloc(size_t size) HMM_MALLOC_LIKE;
void *hmm_calloc(size_t count, size_t size) HMM_MALLOC_LIKE;
void *hmm_realloc(void *block, size_t size) HMM_USE_RESULT;
void *hmm_aligned_alloc(size_t align, size_t size) HMM_MALLOC_LIKE;
void hmm_free(void *block);

/* Bytes that may be used at block: at least what was asked for. 0 for NULL. hmm_calloc makes all of
 * them zero. */
size_t hmm_usable_size(const void *block);

/* The process heap itself, to look into. Set up first if need be; never NULL. It is not locked. */
struct hmm_heap *hmm_process_heap(void);

/* ---- Heaps of one's own, in the caller's memory. Not locked. ---- */

/*
 * Makes a heap in memory[0 .. size). The region may be odd and misaligned; its control structures
 * go to its low end. At most 64 GiB of it are used, and a block has at most 8 GiB: a larger request
 * fails. Bytes above the break are not touched, but for the high end by hmm_heap_set_cache and
 * hmm_heap_set_strategy.
 * Returns NULL iff memory is NULL, or the region too small for the control structures and one
 * block, or said to end beyond the last address (errno ENOMEM), or the strategy NULL or malformed
 * (EINVAL).
 */
struct hmm_heap *hmm_heap_create(void *memory, size_t size, const struct hmm_strategy *strategy);

/*
 * The heap that lies in memory[0 .. size) already, to be used on: in another process, or read from
 * a file, at this address or another. The blocks have moved with it, as far as it has; those from
 * aligned_alloc must still be aligned, so a multiple of their alignments. memory has the same
 * address modulo HMM_GRANULE as it had, and size is what it was. The heap looks as if it had been
 * made here: its check level is 1, and what was set by hmm_on_panic and the like is this process's.
 *
 * It must not be in use elsewhere at the time. Processes that share a heap attach it anew whenever
 * another one has used it since, each time with the same address for themselves.
 *
 * Checks all that hmm_heap_check does, and that nothing leads outside the memory: it may hold
 * anything. Returns NULL, and the heap is not to be used, iff the version of the image or the build
 * that made it differ (EPROTO); no built-in strategy has the name that it says (ENOENT); or it is
 * no image, or one of another byte order, granule or word size, or of another size of memory, or it
 * is damaged, or it has a cache or had one (EINVAL).
 */
struct hmm_heap *hmm_heap_attach(void *memory, size_t size);

/* Ends the heap and all its blocks; the memory is the caller's again. NULL is ignored. */
void hmm_heap_destroy(struct hmm_heap *heap);

/* As those of the process heap. */
void *hmm_heap_malloc(struct hmm_heap *heap, size_t size) HMM_MALLOC_LIKE;
void *hmm_heap_calloc(struct hmm_heap *heap, size_t count, size_t size) HMM_MALLOC_LIKE;
void *hmm_heap_realloc(struct hmm_heap *heap, void *block, size_t size) HMM_USE_RESULT;
void *hmm_heap_aligned_alloc(struct hmm_heap *heap, size_t align, size_t size) HMM_MALLOC_LIKE;
void hmm_heap_free(struct hmm_heap *heap, void *block);
size_t hmm_heap_usable_size(const struct hmm_heap *heap, const void *block);

/*
 * Where a block may lie. Its address is `phase` above a multiple of `align`; the `size` bytes that
 * are asked for, and for 0 bytes one, lie in [low, high) and do not cross a multiple of `boundary`.
 * align and boundary are powers of two. 0 and NULL: no constraint.
 */
struct hmm_constraint {
    size_t align, phase, boundary;
    const void *low, *high;
};

/*
 * As hmm_heap_malloc, of a block that meets the constraint: the strategy's choice of the free
 * blocks in which such a block fits, else from above the last block. It is freed as any other;
 * realloc does not know of the constraint. It is never of a cache's run, unless constraint is NULL:
 * then this is hmm_heap_malloc. Takes time in proportion to the number of free blocks at worst.
 * Returns NULL iff no address at all meets the constraint: align or boundary is not a power of two,
 * phase is not less than align or not a multiple of HMM_GRANULE, or the bytes do not fit between
 * two boundaries, at that phase, or between low and high (EINVAL); or nothing that is free has room
 * for such a block, or size is above PTRDIFF_MAX (ENOMEM).
 */
void *hmm_heap_malloc_within(struct hmm_heap *heap, size_t size,
                             const struct hmm_constraint *constraint) HMM_MALLOC_LIKE;

/*
 * Switches the strategy, live: no block moves, the new index is built from the blocks. Takes time
 * in proportion to the number of blocks. The index of the new strategy, where it is larger than
 * the room at the region's low end, goes to its high end, else into a block of the heap.
 * Returns 0; or -1 with the heap as it was iff the strategy is NULL or malformed (EINVAL) or there
 * is no room for its index (ENOMEM).
 */
int hmm_heap_set_strategy(struct hmm_heap *heap, const struct hmm_strategy *strategy);
const struct hmm_strategy *hmm_heap_strategy(const struct hmm_heap *heap);

/* The simulated break: the first byte above all that the heap uses. */
void *hmm_heap_break(const struct hmm_heap *heap);

/*
 * Sets what is checked: 0 what costs nothing; 1 (the default) on free and realloc the pointer and
 * the headers beside it; 2 also that a pointer is the start of a block, by a walk; 3 the whole heap
 * every 1,024 operations; 4 the whole heap at every operation. Returns 0, or -1 and EINVAL iff
 * level is not one of these.
 */
int hmm_heap_set_check(struct hmm_heap *heap, int level);

/*
 * Puts a cache in front of the heap: small blocks then come from runs of their size, each run being
 * a block of the heap, which is several times faster. The strategy then places the runs, and no
 * longer the small blocks. hmm_realloc then has slack, so that what grows little by little seldom
 * moves: a block that grows by a 16th or less may have up to an eighth more than was requested, and
 * one that shrinks keeps no more than that; from a run, a block of more than 128 bytes that grows
 * by a quarter or less may have a quarter more. hmm_usable_size tells; it counts as in use, and
 * what rounding adds comes on top. The process heap has the cache unless HMM_CACHE is 0 in the
 * environment. A region below 128 KiB is left without, and under memcheck every heap; a check level
 * above 1 turns it off. It takes a 256th of the region, at its high end. on 0: no more runs are
 * made; blocks that are in use stay as they are. Not locked, as hmm_heap_set_check is not: of the
 * process heap it is to be called while no other thread is at it. Returns 0; or -1 iff there is no
 * room for it (ENOMEM) or it was left out of the build (ENOTSUP).
 */
int hmm_heap_set_cache(struct hmm_heap *heap, int on);

/* ---- Several regions, with capabilities. Not locked. ---- */

/*
 * Memories of a system that are not alike: fast, external, of a DMA, retained. Each region is a
 * heap of its own with a set of capabilities, a bit each, whose meaning is the program's. This
 * struct is the caller's and as large as a pointer. One that is zero has no regions; regions are
 * added at any time, as many as there are. Each needs 5 words at its low end besides its heap.
 *
 *     enum { FAST = 1, DMA = 2, RETAINED = 4 };
 *     static struct hmm_regions regions;
 *     hmm_regions_add(&regions, sram, sizeof sram, FAST | DMA, HMM_BEST_FIT);
 *     hmm_regions_add(&regions, sdram, sizeof sdram, DMA, HMM_BEST_FIT);
 *     void *p = hmm_regions_malloc(&regions, 512, DMA, FAST);
 */
struct hmm_regions {
    struct hmm_region *first;
};

/* All capabilities that there can be. */
#define HMM_CAPABILITIES 0xffffu

/*
 * Adds memory[0 .. size), whose blocks the strategy places. Returns 0; or -1 iff a capability is
 * none of HMM_CAPABILITIES, the memory is part of a region already, or the strategy NULL or
 * malformed (EINVAL), or hmm_heap_create fails for lack of memory (ENOMEM).
 */
int hmm_regions_add(struct hmm_regions *regions, void *memory, size_t size, unsigned capabilities,
                    const struct hmm_strategy *strategy);

/*
 * A block in a region that has all of the required capabilities. Of these regions those with most
 * of the preferred ones are tried first, and of equals the one that was added first: at most one
 * request to the heap of each region, and one look at each region for each bit of `preferred`, and
 * one more. The block has its needs in the 4 bytes above the `size` that were asked for: these are
 * not to be written.
 * Returns NULL iff no region has all required capabilities (EINVAL), or none that has them has
 * room, or size is above PTRDIFF_MAX (ENOMEM).
 */
void *hmm_regions_malloc(struct hmm_regions *regions, size_t size, unsigned required,
                         unsigned preferred) HMM_MALLOC_LIKE;

/*
 * As hmm_heap_realloc. The block stays in its region if that has room for it, in place or not; else
 * it moves to another by the rule of hmm_regions_malloc, with the capabilities that it was asked
 * for with. Of NULL it is hmm_regions_malloc(regions, size, 0, 0). Returns NULL iff size is 0, or
 * no region that has what is required has room (ENOMEM); then the block stays as it is.
 */
void *hmm_regions_realloc(struct hmm_regions *regions, void *block, size_t size) HMM_USE_RESULT;

/* Finds the region by a look at each, in the order of adding. A pointer that is in none is misuse.
 * NULL is ignored. */
void hmm_regions_free(struct hmm_regions *regions, void *block);

/* The heap of the region that address is in, to look into; it is to have no cache. NULL: in none.
 */
struct hmm_heap *hmm_regions_heap(const struct hmm_regions *regions, const void *address);

/* ---- A lock and a trace of the program's own ---- */

/*
 * enter(arg) is called before and leave(arg) after each operation on any heap, the process heap and
 * those of one's own: a mutex of an RTOS, or interrupts off and on. Never one within the other; so
 * the mutex need not be recursive. Locked are malloc, calloc, realloc, aligned_alloc, malloc_within
 * and free, hmm_heap_set_strategy, and what looks in; not creating, and of regions the requests to
 * their heaps. The process heap's own lock, where there are threads, stays: these are called within
 * it. NULL, NULL: none.
 *
 * At compile time: the macros HMM_LOCK_ENTER and HMM_LOCK_LEAVE, a statement each without its
 * semicolon, are evaluated besides, and HMM_LOCK_HEADER is included first.
 *
 * To be called before the heaps are used, or while nobody uses them. The process heap has no cache
 * from then on, and threads that have one already keep what is in it for themselves.
 *
 * From an interrupt a heap may be used if `enter` keeps that interrupt out: what it then waits for
 * is one operation. With best-fit or segregated, without a cache and at check level 1 or 0, that is
 * a fixed number of steps for malloc and free, whatever the number of blocks: bit scans, and with
 * best-fit at most 29 nodes of its index. The exception is a malloc with segregated that would
 * fail: before it does it looks at each free block of its size class. realloc and calloc take
 * besides what copying or clearing their bytes takes; malloc_within, aligned_alloc and first-fit's
 * and next-fit's searches may look at more.
 */
void hmm_set_lock(void (*enter)(void *arg), void (*leave)(void *arg), void *arg);

/*
 * event(arg, bytes, n) is called after each malloc, calloc, realloc, aligned_alloc, malloc_within
 * and before each free, of any heap, with what was done: n bytes, 8 or 12, aligned to 4, in the
 * format of events that hmm-trace(5) has and `hmm import --from ring` reads. The first event is
 * given at once and says how to read the others. The lock is held; event must not use a heap. NULL:
 * none.
 *
 * To be called as hmm_set_lock. What threads do in a cache that they have already is not seen, nor
 * what a handler of a signal does with the emergency pool.
 */
void hmm_set_trace(void (*event)(void *arg, const void *bytes, unsigned n), void *arg);

/* ---- Looking in ---- */

/*
 * Checks every numbered invariant of the heap (heap/heap.h), of the cache (cache/cache.h) and of
 * the strategy's index against the blocks. Returns NULL, or a line that names the invariant that
 * broke.
 */
const char *hmm_heap_check(const struct hmm_heap *heap);

struct hmm_stats {
    size_t capacity;     /* bytes of the region that can be used, the control structures in it */
    size_t reserved;     /* bytes of address space: of the region, or what is mapped */
    size_t control;      /* bytes of the control structures, those at the high end too */
    size_t brk;          /* bytes from the region's first byte to the break: blocks and control */
    size_t brk_peak;     /* the most they have been */
    size_t live_bytes;   /* usable bytes of the blocks in use */
    size_t live_peak;    /* the most there have been */
    size_t live_blocks;  /* blocks in use */
    size_t free_bytes;   /* bytes of the free blocks, headers and all; the free top is not in it */
    size_t free_blocks;  /* free blocks; the free top is none */
    size_t cached;       /* bytes that a cache holds and that are free to the user; in free_bytes */
    uint64_t released;   /* bytes given back to the system so far; see below */
    size_t largest_free; /* the largest request that would be served now, the free top counted */
    size_t top_bytes;    /* between the last block and the break */
    uint64_t splits;     /* free blocks cut in two */
    uint64_t merges;     /* blocks merged with a free neighbour */
    uint64_t visited;    /* nodes the strategy's searches looked at */
    uint64_t failed;     /* requests that were not served */
};

/*
 * `released` is the process heap's under the preload library; other heaps have their region whole.
 * It counts the bytes of large free blocks and of the free top that were handed to the system
 * because they had not been needed for a while, or malloc_trim was called: each time anew that they
 * were used in between, and whether or not all of their pages were resident. It only rises.
 *
 * In constant time but for largest_free, which may take the strategy a logarithm; of a plug-in
 * without `largest` it is what the free top would serve. With a cache what lives, what is free and
 * what is cached is counted block by block, in time in proportion to them; live_peak, splits and
 * merges count runs whole.
 *
 * In a heap of one's own the control structures count whole, in `control`, and in `brk` those at
 * the low end, so that `brk` is where hmm_heap_break is. The process heap's are laid out for all
 * that it may have, and memory comes to them as they are touched: there `control` counts what the
 * blocks up to the highest break need of them (of the strategy's state what state_size says of so
 * much, of the cache's map its part), and `brk` what the blocks below the break need. So
 * `brk` is not the distance of hmm_heap_break from the region's first byte there.
 */
void hmm_heap_stats(const struct hmm_heap *heap, struct hmm_stats *stats);

struct hmm_block_info {
    void *payload;
    size_t size; /* whole block, its header in it: the next payload lies this far on */
    size_t usable;
    int used;
};

/*
 * Visits all blocks, in address order, from the first to the free top (which is no block). Ends
 * early when visit returns non-zero. Returns what the last visit returned, 0 where there was none.
 * visit must not allocate from or free to the heap.
 */
int hmm_heap_walk(const struct hmm_heap *heap,
                  int (*visit)(void *arg, const struct hmm_block_info *), void *arg);

/*
 * Makes `handler` receive the line (without a newline) that describes a detected misuse, instead
 * of stderr. If it returns, the program aborts all the same. NULL restores the default. The heap
 * is what was misused, and may be locked for good: in the handler, and in one of SIGABRT, a request
 * to the process heap may be refused (NULL, ENOMEM, and a line on stderr once), but it does not
 * hang, and what is freed there may stay. A misuse within the handler ends the program, and no
 * handler is called for it. Another signal's handler that allocates, as none may by any standard,
 * is refused likewise where it interrupted a request, in a program with threads: with a single
 * thread no lock tells that there was one, and the heap is damaged.
 */
void hmm_on_panic(void (*handler)(const char *line));

/* ---- Strategies by name ---- */

/*
 * A built-in by its name ("best-fit"); a name with a '/' in it is the path of a plug-in, a shared
 * object that exports `const struct hmm_strategy hmm_plugin_strategy`. Returns NULL and errno:
 * ENOENT iff there is none of that name or path, EINVAL iff what is there cannot be loaded or its
 * strategy is malformed, ENOTSUP iff plug-ins cannot be loaded here.
 */
const struct hmm_strategy *hmm_strategy_find(const char *name);

/* The built-ins in order, then NULL. */
const struct hmm_strategy *hmm_strategy_at(unsigned index);

const char *hmm_strategy_name(const struct hmm_strategy *strategy);
const char *hmm_strategy_summary(const struct hmm_strategy *strategy);

#ifdef __cplusplus
}
#endif
#endif
