/* SPDX-License-Identifier: MIT */
/*
 * The program that the one-file build makes: it allocates and frees, and shows what the heap and
 * its break do. It is no part of the library; HMM_NO_MAIN leaves it out.
 */
#ifndef HMM_NO_MAIN
#include "heap_memory_manager.h"
#include "hmm.h"

#include <stdio.h>
#include <string.h>

/* One character of a picture stands for this many bytes. */
enum { DEMO_SCALE = 32, DEMO_ARENA = 64 * 1024 };

static unsigned char demo_arena[DEMO_ARENA];

/* A block that is drawn with this letter: its payload is filled with it. */
static void *demo_alloc(struct hmm_heap *heap, char letter, size_t size)
{
    void *block = hmm_heap_malloc(heap, size);
    if (block)
        memset(block, letter, size);
    return block;
}

static int demo_draw_block(void *arg, const struct hmm_block_info *block)
{
    (void)arg;
    char letter = block->used ? *(const char *)block->payload : '.';
    for (size_t drawn = 0; drawn < block->size; drawn += DEMO_SCALE)
        putchar(letter);
    putchar('|');
    return 0;
}

static void demo_draw(const struct hmm_heap *heap)
{
    printf("    |");
    hmm_heap_walk(heap, demo_draw_block, NULL);
    puts("~");
}

static void demo_show(const struct hmm_heap *heap, const char *step)
{
    struct hmm_stats s;
    hmm_heap_stats(heap, &s);
    printf("%s\n", step);
    demo_draw(heap);
    printf("    break at %zu, highest %zu; in use %zu bytes in %zu blocks, "
           "free %zu bytes in %zu blocks\n\n",
           s.brk, s.brk_peak, s.live_bytes, s.live_blocks, s.free_bytes, s.free_blocks);
}

/* Every strategy gets the same four holes and the same request. */
static void demo_compare(const struct hmm_strategy *strategy)
{
    static const size_t sizes[] = {384, 512, 448, 256};
    void *holes[4];
    struct hmm_heap *heap = hmm_heap_create(demo_arena, sizeof demo_arena, strategy);
    for (size_t i = 0; i < 4; i++) {
        holes[i] = demo_alloc(heap, '.', sizes[i]);
        demo_alloc(heap, (char)('A' + i), 40);
    }
    for (size_t i = 0; i < 4; i++)
        hmm_heap_free(heap, holes[i]);
    demo_alloc(heap, 'x', 500); /* fits the second hole alone; next-fit goes on from there */
    demo_alloc(heap, 'N', 200);
    printf("%s: %s\n", hmm_strategy_name(strategy), hmm_strategy_summary(strategy));
    demo_draw(heap);
    hmm_heap_destroy(heap);
}

static int demo_steps(void)
{
    struct hmm_heap *heap = hmm_heap_create(demo_arena, sizeof demo_arena, HMM_BEST_FIT);
    if (!heap) {
        perror("hmm_heap_create");
        return 1;
    }
    printf("A heap of %d bytes in a static array, with best-fit. A letter is %d bytes of a block\n"
           "in use, a dot of a free one; blocks end at '|'; '~' is the free top below the break.\n"
           "The break is in bytes from the array's start; the heap's own records come first.\n\n",
           DEMO_ARENA, DEMO_SCALE);
    demo_show(heap, "1. Nothing is allocated.");

    void *a = demo_alloc(heap, 'A', 100);
    void *b = demo_alloc(heap, 'B', 300);
    void *c = demo_alloc(heap, 'C', 100);
    void *d = demo_alloc(heap, 'D', 200);
    void *e = demo_alloc(heap, 'E', 100);
    demo_show(heap, "2. Five blocks: A 100 bytes, B 300, C 100, D 200, E 100.");

    hmm_heap_free(heap, b);
    hmm_heap_free(heap, d);
    demo_show(heap, "3. B and D are freed: two holes.");

    void *f = demo_alloc(heap, 'F', 150);
    demo_show(heap,
              "4. F, 150 bytes: best-fit takes the smaller hole, though the other comes first.");

    hmm_heap_free(heap, c);
    demo_show(heap, "5. C is freed and merges with the hole below it.");

    void *g = demo_alloc(heap, 'G', 20000);
    struct hmm_stats s;
    hmm_heap_stats(heap, &s);
    printf("6. G, 20000 bytes, fits no hole: the break rises to %zu.\n", s.brk);
    hmm_heap_free(heap, g);
    hmm_heap_stats(heap, &s);
    printf("7. G is freed and melts into the top: the break falls to %zu.\n", s.brk);
    if (hmm_heap_malloc(heap, DEMO_ARENA) == NULL)
        printf("8. %d bytes are more than there is: NULL, and the heap is unharmed.\n\n",
               DEMO_ARENA);

    hmm_heap_free(heap, a);
    hmm_heap_free(heap, e);
    hmm_heap_free(heap, f);
    demo_show(heap, "9. All is freed: no block is left.");
    const char *broken = hmm_heap_check(heap);
    printf("    The check of the whole heap says: %s\n\n", broken ? broken : "sound");
    hmm_heap_destroy(heap);
    return broken != NULL;
}

int main(void)
{
    if (demo_steps() != 0)
        return 1;

    puts("The same holes and the same request N under every strategy:\n");
    const struct hmm_strategy *strategy;
    for (unsigned i = 0; (strategy = hmm_strategy_at(i)) != NULL; i++)
        demo_compare(strategy);

    int *array = (int *)HmmAlloc(10 * sizeof(int));
    if (!array)
        return 1;
    for (int i = 0; i < 10; i++)
        array[i] = i * i;
    printf("\nThe process heap: HmmAlloc gave 10 ints; the last is %d.\n", array[9]);
    HmmFree(array);
    return 0;
}
#endif
