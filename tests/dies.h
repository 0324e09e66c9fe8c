/* SPDX-License-Identifier: MIT */
/*
 * Processes that are to say something on stderr, or to die of it.
 */
#ifndef HMM_TEST_DIES_H
#define HMM_TEST_DIES_H

/* Does act(arg) in a child. Returns what it said on stderr, to be freed, without what Valgrind said
 * besides; and in *status how it ended: as waitpid. A child that returns from act exits with 0. */
char *said_by_child(void (*act)(void *), void *arg, int *status);

/* Both fail the test unless the child says exactly this line, and then aborts; or exits with 0. */
void assert_aborts_saying(void (*act)(void *), void *arg, const char *line);
void assert_says(void (*act)(void *), void *arg, const char *text);

#endif
