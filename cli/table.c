/* SPDX-License-Identifier: MIT */
/*
 * Cells of text in columns. The first row is the heading.
 */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static char *formatted(const char *format, va_list args)
{
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    size_t bytes = strlen(text) + 1;
    return memcpy(cli_alloc(bytes, 1), text, bytes);
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

static int width_of(const struct cli_table *t, size_t column)
{
    size_t width = 0;
    for (size_t i = column; i < t->count; i += t->columns)
        if (strlen(t->cells[i]) > width)
            width = strlen(t->cells[i]);
    return (int)width;
}

void cli_table_print(struct cli_table *t, FILE *to)
{
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % t->columns;
        bool last = column == t->columns - 1;
        int width = width_of(t, column);
        if (column < t->left_columns || (last && t->last_left))
            width = last ? 0 : -width; /* no blanks at the end of the line */
        fprintf(to, "%*s%s", width, t->cells[i], last ? "\n" : "  ");
    }
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->count = t->room = 0;
}
