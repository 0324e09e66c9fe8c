/* SPDX-License-Identifier: MIT */
/*
 * Memory wanted at odd times: before any constructor, by whatever name comes first, in a library
 * that is loaded and unloaded, and at exit.
 *
 *     odd NAME [LIBRARY]       NAME is that of the function that is called first
 *     odd say WORD...          prints the words and exits 7
 *     odd elsewhere COMMAND... becomes the command, in another folder
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

#include "case.h"

static void first_call(const char *name)
{
    void *p = NULL;
    if (strcmp(name, "malloc") == 0)
        p = malloc(10);
    else if (strcmp(name, "calloc") == 0)
        p = calloc(10, 10);
    else if (strcmp(name, "realloc") == 0)
        p = realloc(NULL, 10);
    else if (strcmp(name, "reallocarray") == 0)
        p = reallocarray(NULL, 10, 10);
    else if (strcmp(name, "memalign") == 0)
        p = memalign(64, 10);
    else if (strcmp(name, "aligned_alloc") == 0)
        p = aligned_alloc(64, 64);
    else if (strcmp(name, "posix_memalign") == 0)
        CHECK(posix_memalign(&p, 64, 10) == 0);
    else if (strcmp(name, "valloc") == 0)
        p = valloc(10);
    else if (strcmp(name, "pvalloc") == 0)
        p = pvalloc(10);
    else {
        if (strcmp(name, "free") == 0)
            free(p);
        else if (strcmp(name, "malloc_usable_size") == 0)
            CHECK(malloc_usable_size(p) == 0);
        else if (strcmp(name, "malloc_trim") == 0)
            malloc_trim(0);
        else if (strcmp(name, "mallopt") == 0)
            CHECK(mallopt(M_TRIM_THRESHOLD, 0) == 1);
        else if (strcmp(name, "mallinfo2") == 0)
            CHECK(mallinfo2().uordblks < 1 << 20);
        else
            _exit(2);
        p = malloc(1);
    }
    CHECK(p != NULL);
    free(p);
}

/* The loader calls it before all constructors, those of libraries too. */
static void before_all(int argc, char **argv, char **environment)
{
    (void)environment;
    if (argc > 1 && strcmp(argv[1], "say") != 0 && strcmp(argv[1], "elsewhere") != 0)
        first_call(argv[1]);
}

static __attribute__((section(".preinit_array"), used)) void (*const early)(int, char **,
                                                                            char **) = before_all;

static void *kept;

static void at_exit(void)
{
    kept = realloc(kept, 100000);
    CHECK(kept != NULL);
    memset(kept, 1, 100000);
    free(kept);
    free(malloc(100));
}

/* The library's constructor and destructor allocate, and it gives and takes blocks. */
static void with_library(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    CHECK(library != NULL);
    void *(*give)(size_t) = (void *(*)(size_t))dlsym(library, "give");
    void (*take)(void *) = (void (*)(void *))dlsym(library, "take");
    CHECK(give && take);
    void *p = give(1000);
    CHECK(p != NULL);
    free(p);
    take(malloc(1000));
    kept = give(10);
    CHECK(dlclose(library) == 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "say") == 0) {
        for (int i = 2; i < argc; i++)
            printf("%s\n", argv[i]);
        return 7;
    }
    if (argc > 2 && strcmp(argv[1], "elsewhere") == 0) {
        CHECK(chdir("/") == 0);
        execvp(argv[2], argv + 2);
        return 1;
    }
    CHECK(atexit(at_exit) == 0);
    if (argc > 2)
        with_library(argv[2]);
    return 0;
}
