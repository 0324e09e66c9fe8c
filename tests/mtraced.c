/* SPDX-License-Identifier: MIT */
/*
 * Allocates, resizes and frees while glibc's mtrace() looks on, or heaptrack. Prints what it asked
 * for, an operation a line: a SIZE, r SIZE, f.
 */
#include <mcheck.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 100

/* The compiler must not know that nothing is done with them. */
static void *volatile blocks[BLOCKS];
static void *volatile older;

static char said[1 << 16];
static size_t length;

static void say(const char *what, size_t size)
{
    length += (size_t)snprintf(said + length, sizeof said - length, what, size);
}

/* Nothing is printed before the end: stdio allocates. */
static void churn(void)
{
    for (size_t i = 0; i < 1000; i++) {
        const size_t k = i * 7 % BLOCKS, size = 1 + i * 13 % 500;
        if (blocks[k] != NULL && i % 3 == 0) {
            free(blocks[k]);
            blocks[k] = NULL;
            say("f\n", 0);
        } else if (blocks[k] != NULL) {
            blocks[k] = realloc(blocks[k], size);
            say("r %zu\n", size);
        } else {
            blocks[k] = i % 2 ? malloc(size) : calloc(size, 1);
            say("a %zu\n", size);
        }
    }
}

int main(int argc, char **argv)
{
    older = malloc(77);
    if (argc > 1 && strcmp(argv[1], "mtrace") == 0)
        mtrace();
    churn();
    void *volatile aligned = NULL;
    if (posix_memalign((void **)&aligned, 64, 128) == 0)
        say("a %zu\n", 128);
    free(aligned);
    say("f\n", 0);
    free(older); /* its log has not seen it allocated */
    free(NULL);
    muntrace();
    fwrite(said, 1, length, stdout);
    return 0;
}
