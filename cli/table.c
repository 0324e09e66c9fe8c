/* SPDX-License-Identifier: MIT */
/*
 * Cells of text in columns, below each other where there is no room beside. The first row is the
 * heading.
 */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static char *formatted(const char *format, va_list args)
{
    char text[4096];
    vsnprintf(text, sizeof text, format, args);
    const char *shown = cli_visible(text);
    size_t bytes = strlen(shown) + 1;
    return memcpy(cli_alloc(bytes, 1), shown, bytes);
}

static void grow(struct cli_table *t)
{
    size_t room = t->room == 0 ? 64 : t->room * 2;
    char **cells = cli_alloc(room, sizeof *cells);
    if (t->count != 0)
        memcpy(cells, t->cells, t->count * sizeof *cells);
    free(t->cells);
    t->cells = cells;
    t->room = room;
}

void cli_table_add(struct cli_table *t, const char *format, ...)
{
    va_list args;
    if (t->count == t->room)
        grow(t);
    va_start(args, format);
    t->cells[t->count++] = formatted(format, args);
    va_end(args);
}

static unsigned width_of(const struct cli_table *t, size_t column)
{
    size_t width = 0;
    for (size_t i = column; i < t->count; i += t->columns)
        if (cli_letters(t->cells[i]) > width)
            width = cli_letters(t->cells[i]);
    return (unsigned)width;
}

static void print_blanks(FILE *to, unsigned count)
{
    fprintf(to, "%*s", (int)count, "");
}

/* `last`: the line's, which has no blanks at its end. */
static void print_cell(const struct cli_table *t, size_t row, size_t column, bool last, FILE *to)
{
    const char *cell = t->cells[row * t->columns + column];
    const unsigned blanks = width_of(t, column) - (unsigned)cli_letters(cell);
    if (column >= t->left_columns)
        print_blanks(to, blanks);
    fputs(cell, to);
    if (column < t->left_columns && !last)
        print_blanks(to, blanks);
}

/* All rows of the first column and of those from `from` to before `to_column`. */
static void print_part(const struct cli_table *t, size_t from, size_t to_column, FILE *to)
{
    for (size_t row = 0; row < t->count / t->columns; row++) {
        print_cell(t, row, 0, to_column == 1, to);
        for (size_t c = from; c < to_column; c++) {
            fputs("  ", to);
            print_cell(t, row, c, c == to_column - 1, to);
        }
        putc('\n', to);
    }
}

/* How many of the columns from `from` on fit beside the first; at least one. */
static size_t columns_that_fit(const struct cli_table *t, size_t from, unsigned most)
{
    unsigned width = width_of(t, 0);
    size_t c = from;
    for (; c < t->columns; c++) {
        width += 2 + width_of(t, c);
        if (width > most && c > from)
            break;
    }
    return c - from;
}

/* Where all columns are text, words of the last go on below each other. */
static void print_text(const struct cli_table *t, FILE *to)
{
    for (size_t row = 0; row < t->count / t->columns; row++) {
        unsigned indent = 0;
        for (size_t c = 0; c + 1 < t->columns; c++) {
            print_cell(t, row, c, false, to);
            fputs("  ", to);
            indent += width_of(t, c) + 2;
        }
        cli_fill(to, indent, t->cells[row * t->columns + t->columns - 1]);
    }
}

/* ---- Long names ---- */

#define SHORTEST_NAME 24u

/* The text behind so many characters. */
static char *behind(char *text, size_t letters)
{
    for (; *text != '\0'; text++)
        if (((unsigned char)*text & 0xc0) != 0x80 && letters-- == 0)
            break;
    return text;
}

/* Of a name that is longer, the middle goes: its end says where it is. */
static void shorten(char *text, size_t room)
{
    const size_t letters = cli_letters(text);
    if (letters <= room)
        return;
    const size_t end = (room - 3) / 2, begin = room - 3 - end;
    char *from = behind(text, letters - end), *to = behind(text, begin);
    memcpy(to, "...", 3);
    memmove(to + 3, from, strlen(from) + 1);
}

static void shorten_names(struct cli_table *t, unsigned most)
{
    size_t others = 0;
    for (size_t c = 1; c < t->columns; c++)
        others += 2 + width_of(t, c);
    const size_t room = most > others + SHORTEST_NAME ? most - others : SHORTEST_NAME;
    for (size_t i = t->columns; i < t->count; i += t->columns)
        shorten(t->cells[i], room);
}

static void print_figures(struct cli_table *t, FILE *to)
{
    const unsigned most = cli_width(to);
    if (t->names_first)
        shorten_names(t, most);
    size_t from = 1;
    do {
        const size_t fit = columns_that_fit(t, from, most);
        if (from > 1)
            putc('\n', to);
        print_part(t, from, from + fit, to);
        from += fit;
    } while (from < t->columns);
}

void cli_table_print(struct cli_table *t, FILE *to)
{
    if (t->left_columns == t->columns)
        print_text(t, to);
    else
        print_figures(t, to);
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->count = t->room = 0;
}
