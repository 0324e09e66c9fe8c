/* SPDX-License-Identifier: MIT */
/*
 * A shared object for the tests that is no plug-in: it exports no strategy.
 */
extern const int hmm_plugin_of_something_else;
const int hmm_plugin_of_something_else = 1;
