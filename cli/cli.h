/* SPDX-License-Identifier: MIT */
/*
 * What the subcommands of `hmm` share: how they are named, take options, complain and print. In all
 * of cli/ "false, said on stderr, iff" means: the function returns false if and only if that is so,
 * and has then printed why on stderr; "which has been said" likewise.
 */
#ifndef HMM_CLI_H
#define HMM_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 /* also bad input */ };

/* ---- Commands: one file each, named in main.c's table. ---- */

struct cli_option {
    const char *name;  /* without the two hyphens; NULL ends a table */
    const char *value; /* what it takes, in capitals; NULL: nothing; "[=VALUE]": may be left out */
    const char *help;
};

struct cli_command {
    const char *name, *usage, *summary;
    const char *description; /* lines for --help, before the options; may be NULL */
    const struct cli_option *options;
    const char *letters; /* of the options, by index: "o" makes -o of the first; may be NULL */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

extern const struct cli_command cli_check, cli_check_strategy, cli_compare, cli_convert, cli_cut,
    cli_diff, cli_import, cli_map, cli_record, cli_replay, cli_report, cli_run, cli_stats,
    cli_strategies;

void cli_command_help(const struct cli_command *command);

/* ---- args.c: options and operands, in any order; `--` ends the options. A letter's value may be
 * joined to it: -oFILE. ---- */

enum { CLI_ARG_END = -1, CLI_ARG_OPERAND = -2, CLI_ARG_BAD = -3, CLI_ARG_HELP = -4 };

struct cli_args {
    const struct cli_command *command;
    int argc;
    char **argv;
    int next; /* starts at 1 */
    bool only_operands;
    const char *value; /* of the option, or the operand */
};

/*
 * The next argument: an index into the command's options, CLI_ARG_OPERAND, CLI_ARG_HELP (--help or
 * -h), CLI_ARG_END, or CLI_ARG_BAD, which has been said on stderr.
 */
int cli_args_next(struct cli_args *args);

/* Removes an output file that could not be written completely, unless it is a device. */
void cli_discard(const char *path);

/* Whether two paths name one regular file, which cannot be read and written at the same time. */
bool cli_is_same_file(const char *a, const char *b);

/* ---- say.c: complaints, always one line on stderr. ---- */

/* "hmm COMMAND: ..."; without a command where it is NULL. */
__attribute__((format(printf, 2, 3))) void cli_complain(const char *command, const char *format,
                                                        ...);

struct hmm_trace_error;

/* Prints what is wrong with a trace file. */
void cli_trace_error(const char *path, const struct hmm_trace_error *error);

/* Warns that the end of a trace in format 2 is missing; the operations before it are used. */
void cli_warn_unended(const char *command, const char *path, uint64_t ops);

/* Complains of a word that is none of the allowed ones (NULL ends their list), and names the one
 * that is probably meant. `also` is what else is allowed, in words, or NULL. */
void cli_complain_unknown(const char *command, const char *what, const char *word,
                          const char *const *allowed, const char *also);

/* The allowed word that is most like this one; NULL iff none is alike. */
const char *cli_nearest(const char *word, const char *const *allowed);

/* Ends the program iff there is no memory. */
void *cli_alloc(size_t count, size_t size);
char *cli_copy(const char *text); /* from cli_alloc */

/* ---- strategies.c ---- */

struct hmm_strategy;

/* Finds a strategy by its name or a plug-in's path. NULL, said on stderr with what is allowed, iff
 * there is none; `also` is what else the command allows, with commas between,
 * or NULL. */
const struct hmm_strategy *cli_find_strategy(const char *command, const char *name,
                                             const char *also);

/* ---- text.c: numbers and names in and out. ---- */

/* Parses a size such as "64K": digits, then perhaps K, M or G. False, said on stderr, iff it is not
 * that, 0, or above what a heap can use. */
bool cli_parse_size(const char *command, const char *option, const char *text, size_t *size);

/* Whether text is a whole number from 1 to max. */
bool cli_is_number(const char *text, uint64_t max, uint64_t *number);

/* The same. False, said on stderr, iff it is none. */
bool cli_parse_number(const char *command, const char *option, const char *text, unsigned max,
                      unsigned *number);

/* The number of an operation, from 1. False, said on stderr, iff it is none. */
bool cli_parse_op(const char *command, const char *option, const char *text, uint64_t *op);

/* "table" or "json". False, said on stderr, iff neither. */
bool cli_parse_format(const char *command, const char *text, bool *json);

struct cli_text {
    char chars[32];
};

struct cli_text cli_bytes(uint64_t bytes);  /* "12.3 MiB" */
struct cli_text cli_count(uint64_t number); /* "1,234,567" */

/* As a JSON string, quotes and all. Bytes that are not UTF-8 become U+FFFD. */
void cli_print_json_string(FILE *to, const char *text);

/* As a word for a shell, in quotes where it must be. */
void cli_print_shell_word(FILE *to, const char *word);

/* ---- terminal.c ---- */

/* The width in columns: of the terminal if `to` is one, else the variable COLUMNS, else 80. */
unsigned cli_width(FILE *to);

size_t cli_letters(const char *text);

/* Prints the words of text on lines that are no wider than that. The cursor stands at column
 * `indent`, at which the other lines begin, too. */
void cli_fill(FILE *to, unsigned indent, const char *text);

/* The text with control characters, and what is not UTF-8, as C's escapes. It may be in a buffer
 * that a later call uses again: four can be in use at a time. */
const char *cli_visible(const char *text);

/* ---- table.c: cells as text, columns as wide as they need be. ---- */

struct cli_table {
    size_t columns;
    size_t left_columns; /* the first ones, aligned left; the others right */
    bool names_first;    /* the first column is shortened where the others need the room */
    size_t count, room;
    char **cells;
};

__attribute__((format(printf, 2, 3))) void cli_table_add(struct cli_table *table,
                                                         const char *format, ...);

/* Prints all rows and empties the table. Columns that do not fit in cli_width are printed as
 * another table below, with the first column repeated. */
void cli_table_print(struct cli_table *table, FILE *to);

/* ---- interrupt.c: the first Ctrl-C, from when it is heeded, is only told. ---- */

void cli_heed_interrupts(void);
bool cli_interrupted(void);
_Noreturn void cli_end_interrupted(void); /* flushes stdout, and ends the process as by SIGINT */

/* ---- progress.c: a bar on stderr, if that is a terminal and it takes long. ---- */

void cli_progress_start(const char *what);
void cli_progress(double done);                   /* 0 to 1 */
void cli_progress_ops(double done, uint64_t ops); /* also how many operations that were */
void cli_progress_hide(void); /* before anything else is printed; a later cli_progress shows it */

#endif
