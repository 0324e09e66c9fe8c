/* SPDX-License-Identifier: MIT */
/*
 * A program of cases to be run under the preload library, each in a process of its own:
 * `program CASE` says what broke and exits 1, or says nothing and exits 0; `program` alone lists
 * the cases.
 */
#ifndef HMM_TEST_CASE_H
#define HMM_TEST_CASE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct a_case {
    const char *name;
    void (*run)(void);
};

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: failed: %s (errno %d)\n", __FILE__, __LINE__, #x, errno);      \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static inline int run_case(const struct a_case *cases, int argc, char **argv)
{
    for (; cases->name != NULL; cases++) {
        if (argc < 2)
            puts(cases->name);
        else if (strcmp(argv[1], cases->name) == 0) {
            cases->run();
            return 0;
        }
    }
    return argc < 2 ? 0 : 2;
}

/* Keeps the compiler from leaving an allocation out, or from knowing what it gives. */
#define KEEP(p) __asm__ volatile("" : "+r"(p) : : "memory")

#endif
