/* SPDX-License-Identifier: MIT */
/*
 * The strategies that a command is to work on, as --strategy names them.
 */
#ifndef HMM_CHOICE_H
#define HMM_CHOICE_H

#include "cli.h"
#include "hmm.h"

/* Zeroed memory is an empty choice. */
struct cli_choice {
    const struct hmm_strategy **strategies;
    size_t count;
};

/* Adds what is not there yet: built-ins, plug-ins' paths and "all", with commas between them.
 * False, said on stderr, iff one cannot be found. */
bool cli_choose(struct cli_choice *choice, const char *command, const char *list);

void cli_choose_all(struct cli_choice *choice);
void cli_choice_free(struct cli_choice *choice);

#endif
