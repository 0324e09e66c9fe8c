/* SPDX-License-Identifier: MIT */
/*
 * The libraries that the command loads into other programs: where they are, and LD_PRELOAD.
 */
#ifndef HMM_CLI_MODULE_H
#define HMM_CLI_MODULE_H

#include <stdbool.h>

/*
 * The absolute path of the module of this file name ("libhmm-record.so"), to be given to free.
 * Looked for beside the command in its build tree, then where `make install` puts modules. NULL,
 * said on stderr with all places that were tried, iff it is in none or its path is one that
 * LD_PRELOAD cannot hold.
 */
char *cli_module_find(const char *command, const char *file);

/* Puts path first in this process's LD_PRELOAD, for the program that it is about to become or to
 * start; what stood there stays behind it. False, said on stderr, iff there is no memory. */
bool cli_module_preload(const char *command, const char *path);

/* program.c: why a command that execvp finds does not load, or not use, what is preloaded, as its
 * file tells: a sentence to be put behind "since". NULL: nothing is known that would keep it. */
const char *cli_module_refused(const char *command);

#endif
