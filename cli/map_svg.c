/* SPDX-License-Identifier: MIT */
/*
 * The map as SVG: a heap is a band in several rows, a cell a pixel wide. Neighbours of one shade
 * are one rectangle, and all rectangles of a shade one path.
 */
#include "map.h"

#define WIDTH 960u
#define ROWS 12u
#define ROW 11u /* pixels from one row to the next */
#define ROW_INK 10u
#define MARGIN 20u
#define TITLE 64u   /* above the first heap */
#define CAPTION 26u /* above a heap's first row */
#define GAP 16u     /* below its last */
#define LEGEND 28u

static const char *const classes[MAP_SHADES] = {"beyond", "control", "free", "little",
                                                "half",   "most",    "full"};

static const char style[] =
    "<style>\n"
    "svg{background:#fff;color:#1c2733;font:13px system-ui,sans-serif}\n"
    "text{fill:#1c2733}.dim{fill:#5b6b7b}.title{font-size:17px;font-weight:600}"
    ".name{font-weight:600}\n"
    ".control{fill:#a879c9}.free{fill:#f0b27a}.little{fill:#c9dcec}.half{fill:#8fb8da}"
    ".most{fill:#4f8fc4}.full{fill:#1f5f99}\n"
    "@media(prefers-color-scheme:dark){svg{background:#12181f}text{fill:#e4ebf2}"
    ".dim{fill:#93a4b5}.control{fill:#b78ad6}.free{fill:#c9772b}.little{fill:#22384c}"
    ".half{fill:#2f5d85}.most{fill:#4a90c8}.full{fill:#8cc4f0}}\n"
    "</style>\n";

/* Text in an element. */
static void print_escaped(FILE *to, const char *text)
{
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '<')
            fputs("&lt;", to);
        else if (c == '&')
            fputs("&amp;", to);
        else
            fputc(c >= ' ' && c < 0x7f ? c : '?', to);
    }
}

static unsigned rows_of(const struct map *map, const struct map_heap *h)
{
    const uint64_t brk = view_break(h->view), row = map->cell_bytes * WIDTH;
    const uint64_t rows = (brk + row - 1) / row;
    return rows == 0 ? 1 : (unsigned)rows;
}

/* The rectangles of one shade. */
static void print_shade(const struct map *map, const struct map_heap *h, enum map_shade shade,
                        unsigned top, FILE *to)
{
    bool any = false;
    for (size_t i = 0, end; i < map->cells; i = end) {
        const enum map_shade here = map_shade(&h->cells[i]);
        for (end = i + 1; end < map->cells && end % WIDTH != 0; end++)
            if (map_shade(&h->cells[end]) != here)
                break;
        if (here != shade)
            continue;
        if (!any)
            fprintf(to, "<path class=\"%s\" d=\"", classes[shade]);
        fprintf(to, "M%zu %zuh%zuv%uh-%zuz", MARGIN + i % WIDTH, top + i / WIDTH * ROW, end - i,
                ROW_INK, end - i);
        any = true;
    }
    if (any)
        fputs("\"/>\n", to);
}

static unsigned print_heap(const struct map *map, const struct map_heap *h, unsigned top, FILE *to)
{
    const struct view *v = h->view;
    fprintf(to, "<text x=\"%u\" y=\"%u\"><tspan class=\"name\">", MARGIN, top + 16);
    print_escaped(to, hmm_strategy_name(v->strategy));
    fprintf(to,
            "</tspan><tspan class=\"dim\" dx=\"10\">break %s, %s times live; %s hole%s of %s, "
            "the largest %s",
            cli_bytes(view_break(v)).chars, map_footprint(h).chars, cli_count(h->holes.count).chars,
            h->holes.count == 1 ? "" : "s", cli_bytes(h->holes.bytes).chars,
            cli_bytes(h->holes.largest).chars);
    if (v->failed != 0)
        fprintf(to, "; not served: %s", cli_count(v->failed).chars);
    fputs("</tspan></text>\n", to);
    for (int shade = MAP_CONTROL; shade < MAP_SHADES; shade++)
        print_shade(map, h, (enum map_shade)shade, top + CAPTION, to);
    return top + CAPTION + rows_of(map, h) * ROW + GAP;
}

static void print_legend(unsigned top, FILE *to)
{
    static const struct {
        enum map_shade shade;
        const char *meaning;
    } legend[] = {{MAP_FULL, "in use"},   {MAP_MOST, "over 2/3"},
                  {MAP_HALF, "over 1/3"}, {MAP_LITTLE, "less"},
                  {MAP_FREE, "free"},     {MAP_CONTROL, "control structures"}};
    for (unsigned i = 0; i < sizeof legend / sizeof legend[0]; i++)
        fprintf(to,
                "<rect class=\"%s\" x=\"%u\" y=\"%u\" width=\"12\" height=\"12\"/>"
                "<text class=\"dim\" x=\"%u\" y=\"%u\">%s</text>\n",
                classes[legend[i].shade], MARGIN + i * 100, top, MARGIN + i * 100 + 17, top + 11,
                legend[i].meaning);
}

static void print_title(const struct map *map, FILE *to)
{
    const struct view *any = map->heaps[0].view;
    fprintf(to, "<text class=\"title\" x=\"%u\" y=\"28\">", MARGIN);
    print_escaped(to, map->playback->path);
    fprintf(to,
            "</text>\n<text class=\"dim\" x=\"%u\" y=\"48\">after operation %s of %s%s: %s live in "
            "%s blocks; a pixel is %s bytes, a row %s</text>\n",
            MARGIN, cli_count(map->op).chars, cli_count(map->playback->ops).chars,
            map->op == map->playback->peak_op ? ", when most is live" : "",
            cli_bytes(any->live).chars, cli_count(any->live_blocks).chars,
            cli_count(map->cell_bytes).chars, cli_bytes(map->cell_bytes * WIDTH).chars);
}

void map_print_svg(struct map *map, FILE *to)
{
    map_cut(map, (size_t)WIDTH * ROWS);
    unsigned height = TITLE + LEGEND, top = TITLE;
    for (size_t i = 0; i < map->count; i++)
        height += CAPTION + rows_of(map, &map->heaps[i]) * ROW + GAP;
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
            "viewBox=\"0 0 %u %u\" role=\"img\">\n<title>The heap of ",
            WIDTH + 2 * MARGIN, height, WIDTH + 2 * MARGIN, height);
    print_escaped(to, map->playback->path);
    fprintf(to, " after operation %llu</title>\n%s", (unsigned long long)map->op, style);
    print_title(map, to);
    for (size_t i = 0; i < map->count; i++)
        top = print_heap(map, &map->heaps[i], top, to);
    print_legend(top, to);
    fputs("</svg>\n", to);
}
