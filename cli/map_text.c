/* SPDX-License-Identifier: MIT */
/*
 * The map for a terminal: a cell is a letter.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "map.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINES_ELSEWHERE 6
#define FEWEST_LINES 2
#define MOST_LINES 12
#define BLAMED 10 /* sites, at most */

static const char *const unicode[MAP_SHADES] = {" ", "≡", "·", "░", "▒", "▓", "█"};
static const char *const ascii[MAP_SHADES] = {" ", "=", ".", ":", "+", "*", "#"};

/* Of the terminal's own sixteen colours, which suit its background. */
static const char *const colours[MAP_SHADES] = {"0", "35", "33", "36", "36", "36", "36"};

struct style {
    const char *const *letters;
    bool colour;
    unsigned width, lines; /* of letters; of a heap */
};

static bool is_utf8(void)
{
    setlocale(LC_CTYPE, "");
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static bool wants_colour(void)
{
    const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return (no == NULL || no[0] == '\0') && (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

/* Lines so that all heaps are seen at once. */
static unsigned lines_for(unsigned rows, size_t heaps)
{
    const unsigned each = rows > 3 ? (rows - 3) / (unsigned)heaps : 0;
    const unsigned lines = each > 2 ? each - 2 : 0;
    return lines < FEWEST_LINES ? FEWEST_LINES : lines > MOST_LINES ? MOST_LINES : lines;
}

static struct style style_for(FILE *to, size_t heaps)
{
    struct style s = {ascii, false, cli_width(to), LINES_ELSEWHERE};
    struct winsize size = {0};
    if (isatty(fileno(to))) {
        s.letters = is_utf8() ? unicode : ascii;
        s.colour = wants_colour();
        if (ioctl(fileno(to), TIOCGWINSZ, &size) == 0 && size.ws_row != 0)
            s.lines = lines_for(size.ws_row, heaps);
    }
    return s;
}

static void start_colour(const struct style *s, enum map_shade shade, FILE *to)
{
    if (s->colour)
        fprintf(to, "\033[%sm", colours[shade]);
}

static void end_colour(const struct style *s, FILE *to)
{
    if (s->colour)
        fputs("\033[0m", to);
}

/* Cells [from, to) of a heap, without the ones above its break. */
static void print_line(const struct style *s, const struct map_cell *from,
                       const struct map_cell *end, FILE *to)
{
    const char *colour = NULL;
    while (end > from && map_shade(end - 1) == MAP_BEYOND)
        end--;
    for (; from < end; from++) {
        const enum map_shade shade = map_shade(from);
        if (colours[shade] != colour)
            start_colour(s, shade, to);
        colour = colours[shade];
        fputs(s->letters[shade], to);
    }
    if (colour != NULL)
        end_colour(s, to);
    fputc('\n', to);
}

static void print_heap(const struct map *map, const struct map_heap *h, const struct style *s,
                       FILE *to)
{
    const struct view *v = h->view;
    fprintf(to, "\n%s: break %s, %s times live; %s hole%s of %s, the largest %s",
            cli_visible(hmm_strategy_name(v->strategy)), cli_bytes(view_break(v)).chars,
            map_footprint(h).chars, cli_count(h->holes.count).chars, h->holes.count == 1 ? "" : "s",
            cli_bytes(h->holes.bytes).chars, cli_bytes(h->holes.largest).chars);
    if (v->failed != 0)
        fprintf(to, "; not served: %s", cli_count(v->failed).chars);
    fputc('\n', to);
    for (size_t i = 0; i < map->cells && map_shade(&h->cells[i]) != MAP_BEYOND; i += s->width)
        print_line(s, &h->cells[i],
                   &h->cells[i + s->width < map->cells ? i + s->width : map->cells], to);
}

static void print_blame(const struct map *map, FILE *to)
{
    for (size_t i = 0; map->sites != NULL && i < map->count; i++) {
        struct blame blame;
        blame_find(&blame, map->heaps[i].view, map->sites);
        if (blame.count != 0)
            fprintf(to, "\n%s: ", cli_visible(hmm_strategy_name(map->heaps[i].view->strategy)));
        blame_print(to, &blame, map->sites, BLAMED);
        blame_free(&blame);
    }
}

static void print_legend(const struct style *s, FILE *to)
{
    static const struct {
        enum map_shade shade;
        const char *meaning;
    } legend[] = {{MAP_FULL, "in use"},   {MAP_MOST, "over 2/3"},
                  {MAP_HALF, "over 1/3"}, {MAP_LITTLE, "less"},
                  {MAP_FREE, "free"},     {MAP_CONTROL, "control structures"}};
    fputc('\n', to);
    for (size_t i = 0; i < sizeof legend / sizeof legend[0]; i++) {
        fputs(i == 0 ? "" : "  ", to);
        start_colour(s, legend[i].shade, to);
        fputs(s->letters[legend[i].shade], to);
        end_colour(s, to);
        fprintf(to, " %s", legend[i].meaning);
    }
    fputc('\n', to);
}

void map_print_text(struct map *map, FILE *to)
{
    const struct style style = style_for(to, map->count);
    const struct view *any = map->heaps[0].view;
    map_cut(map, (size_t)style.width * style.lines);
    char text[8400];
    snprintf(text, sizeof text,
             "%s after operation %s of %s%s: %s live in %s blocks; a letter is %s bytes",
             cli_visible(map->playback->path), cli_count(map->op).chars,
             cli_count(map->playback->ops).chars,
             map->op == map->playback->peak_op ? ", when most is live" : "",
             cli_bytes(any->live).chars, cli_count(any->live_blocks).chars,
             cli_count(map->cell_bytes).chars);
    cli_fill(to, 0, text);
    for (size_t i = 0; i < map->count; i++)
        print_heap(map, &map->heaps[i], &style, to);
    print_legend(&style, to);
    print_blame(map, to);
}
