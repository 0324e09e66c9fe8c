/* SPDX-License-Identifier: MIT */
/*
 * Blame: see blame.h.
 */
#include "blame.h"

#include <stdlib.h>

/* The sentence names the fewest sites that together hold this share of the waste, in percent. */
#define MOST_OF_IT 60u

struct finder {
    const struct view *view;
    const struct cli_sites *sites;
    struct blame_part *parts; /* by site */
    struct blame *blame;
    bool any;                /* a block lies below */
    struct view_piece below; /* the last block */
    uint64_t hole;           /* bytes of the hole behind it; 0: none */
    bool counted;            /* the block below is beside a hole, and has been counted */
};

static struct blame_part *part_of(const struct finder *f, const struct view_piece *block)
{
    return &f->parts[cli_site_of(f->sites, f->view->known[block->id].stack)];
}

static void bear(const struct finder *f, const struct view_piece *block, uint64_t bytes,
                 bool counted)
{
    struct blame_part *part = part_of(f, block);
    part->bytes += bytes;
    if (counted)
        return;
    part->blocks++;
    part->holding += block->size;
}

/* Divides the hole between `below` and the block above it among their sites. above == NULL: the
 * heap ends behind the hole. */
static void settle(struct finder *f, const struct view_piece *above)
{
    const uint64_t half = f->any && above != NULL ? f->hole / 2 : f->hole;
    if (f->hole == 0)
        return;
    if (f->any)
        bear(f, &f->below, half, f->counted);
    if (above != NULL)
        bear(f, above, f->any ? f->hole - half : f->hole, false);
    f->counted = true; /* of the block above */
    f->hole = 0;
}

static void meet(void *arg, const struct view_piece *piece)
{
    struct finder *f = arg;
    if (piece->kind == VIEW_HOLE) {
        f->hole += piece->size;
        return;
    }
    const bool beside = f->hole != 0;
    settle(f, piece);
    f->counted = beside;
    f->below = *piece;
    f->any = true;
}

static int by_bytes(const void *a, const void *b)
{
    const struct blame_part *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->site < y->site ? -1 : x->site > y->site;
}

void blame_find(struct blame *blame, const struct view *view, const struct cli_sites *sites)
{
    struct finder f = {.view = view, .sites = sites, .blame = blame};
    *blame = (struct blame){0};
    f.parts = cli_alloc(sites->count, sizeof *f.parts);
    const struct view_holes holes = view_walk(view, meet, &f);
    settle(&f, NULL);
    blame->waste = holes.bytes;
    blame->holes = holes.count;
    for (uint32_t i = 0; i < sites->count; i++)
        if (f.parts[i].bytes != 0) {
            f.parts[i].site = i;
            f.parts[blame->count++] = f.parts[i];
        }
    blame->parts = f.parts;
    if (blame->count != 0)
        qsort(blame->parts, blame->count, sizeof *blame->parts, by_bytes);
}

void blame_free(struct blame *blame)
{
    free(blame->parts);
    *blame = (struct blame){0};
}

size_t blame_few(const struct blame *b, size_t most, uint64_t *bytes)
{
    const uint64_t enough =
        b->waste / 100 * MOST_OF_IT + (b->waste % 100 * MOST_OF_IT + 99) / 100; /* rounded up */
    size_t n = 0;
    *bytes = 0;
    while (n < b->count && n < most && *bytes < enough)
        *bytes += b->parts[n++].bytes;
    return n;
}

void blame_print(FILE *to, const struct blame *b, const struct cli_sites *sites, size_t most)
{
    uint64_t bytes;
    const size_t few = blame_few(b, most, &bytes);
    struct cli_table t = {.columns = 4, .left_columns = 1, .names_first = true};
    static const char *const titles[] = {"site", "waste", "of all", "blocks beside holes"};
    if (b->count == 0)
        return;
    if (few == 1)
        fputs("this call site holds", to);
    else
        fprintf(to, "these %zu call sites hold", few);
    fprintf(to, " %.0f %% of the waste, %s in %s hole%s:\n", (double)bytes / (double)b->waste * 100,
            cli_bytes(b->waste).chars, cli_count(b->holes).chars, b->holes == 1 ? "" : "s");
    for (size_t i = 0; i < 4; i++)
        cli_table_add(&t, "%s", titles[i]);
    for (size_t i = 0; i < few; i++) {
        const struct blame_part *p = &b->parts[i];
        cli_table_add(&t, "%s", sites->list[p->site].name);
        cli_table_add(&t, "%s", cli_bytes(p->bytes).chars);
        cli_table_add(&t, "%.1f %%", (double)p->bytes / (double)b->waste * 100);
        cli_table_add(&t, "%s", cli_count(p->blocks).chars);
    }
    cli_table_print(&t, to);
}
