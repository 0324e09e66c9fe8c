/* SPDX-License-Identifier: MIT */
/*
 * Names for addresses in modules, when the program has ended: with elfutils' libdwfl if it was
 * there when this was built, else by the command addr2line, else there are none.
 */
#ifndef HMM_RECORD_SYMBOLS_H
#define HMM_RECORD_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#define SYMBOL_NO_MODULE UINT32_MAX

struct symbol {
    uint32_t module;
    uint64_t offset;       /* of a return address in the module, as its own headers count */
    char *function, *file; /* to be freed; NULL: not known */
    uint32_t line;
};

/* Fills in what the file says of the symbols that are in module number `module`. */
void symbols_find(const char *path, uint32_t module, struct symbol *symbols, size_t count);

/* Frees what was kept for the next call. */
void symbols_close(void);

/* C++'s names as people write them, if there is a command that can (c++filt). */
void symbols_demangle(struct symbol *symbols, size_t count);

#endif
