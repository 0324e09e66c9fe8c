/* SPDX-License-Identifier: MIT */
/*
 * The recorded process's side: which call stack asks for a block. Each stack has a number, and is
 * noted once, when it is first seen, with the modules that its frames lie in; names are found by
 * the recorder when the process has ended.
 *
 * What is here runs in every allocation of somebody else's program, on any thread: no lock, no
 * allocation, no system call. Tables are of atomic words, which the kernel clears in a child by
 * fork, whose stacks the recorder does not know yet.
 */
#ifndef HMM_RECORD_STACK_H
#define HMM_RECORD_STACK_H

#include "emit.h"

/* How many frames are noted; 0: none. Set when the process joins. */
extern RECORD_HIDDEN unsigned record_depth;

/* To be called when the process joins, before any stack is asked for. False iff the system cannot
 * clear the tables in children. */
RECORD_HIDDEN bool record_stacks_start(unsigned depth);

/* The number of the stack above the function with this frame; 0: it is not known, or there are too
 * many. errno keeps. */
RECORD_HIDDEN uint32_t record_stack(struct record_process *me, const void *frame);

/* Modules may come to lie where others were: forgets what is known of addresses. */
RECORD_HIDDEN void record_stacks_unload(void);

/* The same, for this process, if stacks are noted. */
static inline uint32_t record_stack_of(const void *frame)
{
    struct record_process *me = record_self();
    return me != NULL && record_depth != 0 ? record_stack(me, frame) : 0;
}

/*
 * How the caller's registers follow from a function's: the call frame address (CFA) is the stack
 * pointer before the call. Offsets are in words.
 */
enum record_cfa { RECORD_CFA_STOP, RECORD_CFA_SP, RECORD_CFA_FP, RECORD_CFA_AT_FP };
enum record_saved_fp { RECORD_FP_SAME, RECORD_FP_AT_CFA, RECORD_FP_AT_FP };

struct record_rule {
    enum record_cfa cfa;        /* stack pointer, or frame pointer, plus offset; or what is there */
    enum record_saved_fp saved; /* where the caller's frame pointer is: from the CFA, or from fp */
    int32_t cfa_offset, fp_offset;
};

struct record_module { /* where an address lies */
    uintptr_t start, end, bias;
    const char *name;   /* "": the program's own file */
    const void *eh_hdr; /* its .eh_frame_hdr; NULL: none */
};

/* cfi.c: false iff there is no module there. */
RECORD_HIDDEN bool record_find_module(uintptr_t address, struct record_module *module);

/* The rule for a return address in the module. */
RECORD_HIDDEN struct record_rule record_find_rule(const struct record_module *module,
                                                  uintptr_t address);

#endif
