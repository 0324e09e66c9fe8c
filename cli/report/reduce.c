/* SPDX-License-Identifier: MIT */
/*
 * Carrying a trace out on all strategies at once, and keeping what a page can hold.
 */
#include "reduce.h"

#include <stdlib.h>
#include <string.h>

#define TICK 65536u

/* Walks are kept to about so many blocks, all columns of a strategy together. */
#define WALKED_MOST UINT64_C(120000000)
#define COLUMNS_LEAST 256u

/* What a column adds up before it is written down. */
struct rows {
    uint64_t *used; /* bytes, by row */
    double *born;   /* bytes by the operation that allocated them, by row */
    uint64_t *who;  /* bytes, by row, then colour; NULL: there are no call stacks */
    const struct report_trace *trace;
    const struct view *view;
    uint64_t row_bytes;
    size_t count;
    size_t row; /* where the walk is, and where that row ends */
    uint64_t row_end;
    struct report_sample *sample;
};

struct reducer {
    struct report_trace *trace;
    struct views *views;
    struct rows rows;
};

uint64_t report_column_end(uint64_t ops, size_t columns, size_t column)
{
    /* In two parts, so that no product overflows. */
    const uint64_t whole = ops / columns, rest = ops % columns, n = column + 1;
    return whole * n + rest * n / columns;
}

static unsigned log2_of(uint64_t n)
{
    return n == 0 ? 0 : 63u - (unsigned)__builtin_clzll(n);
}

/* 0 to 3 have classes of their own; above, four a doubling. */
static unsigned size_class(uint64_t size)
{
    if (size < 4)
        return (unsigned)size;
    const unsigned log = log2_of(size);
    return log * 4 - 4 + (unsigned)(size >> (log - 2) & 3);
}

uint64_t report_size_class_start(unsigned c)
{
    return c < 4 ? c : (UINT64_C(4) + (c & 3)) << ((c + 4) / 4 - 2);
}

/* ---- What the program asks for, which no strategy changes ---- */

static void count_request(struct report_trace *t, const struct hmm_trace_op *op)
{
    const unsigned c = size_class(op->size);
    t->counts[op->kind]++;
    if (op->kind == HMM_TRACE_FREE || c >= REPORT_SIZE_CLASSES)
        return;
    t->size_counts[c]++;
    t->size_bytes[c] += op->size;
}

/* ---- Who asks ---- */

static bool has_sites(const struct report_trace *t)
{
    return t->sites.count > 1;
}

static uint32_t site_of(const struct report_trace *t, const struct view *view, uint32_t id)
{
    return cli_site_of(&t->sites, view->known[id].stack);
}

/* ---- A column's end ---- */

static void add_piece(void *arg, const struct view_piece *p)
{
    struct rows *r = arg;
    if (p->kind == VIEW_HOLE) {
        r->sample->holes[log2_of(p->size) < REPORT_HOLE_CLASSES ? log2_of(p->size)
                                                                : REPORT_HOLE_CLASSES - 1]++;
        return;
    }
    const uint64_t end = p->address + p->size;
    const uint8_t colour =
        r->who != NULL ? r->trace->colours[site_of(r->trace, r->view, p->id)] : 0;
    for (uint64_t from = p->address; from < end;) {
        while (from >= r->row_end) {
            r->row++;
            r->row_end += r->row_bytes;
        }
        if (r->row >= r->count)
            return;
        const uint64_t until = end < r->row_end ? end : r->row_end;
        r->used[r->row] += until - from;
        if (r->who != NULL)
            r->who[r->row * REPORT_COLOURS + colour] += until - from;
        r->born[r->row] += (double)(until - from) * (double)p->born;
        from = until;
    }
}

/* Partly used rows are neither 0 nor 255. */
static uint8_t fill_of(uint64_t used, uint64_t row_bytes)
{
    if (used == 0 || used >= row_bytes)
        return used == 0 ? 0 : 255;
    const uint64_t fill = (used * 255 + row_bytes / 2) / row_bytes;
    return (uint8_t)(fill < 1 ? 1 : fill > 254 ? 254 : fill);
}

static uint8_t most_of(const uint64_t *bytes)
{
    uint8_t most = 0;
    for (uint8_t i = 1; i < REPORT_COLOURS; i++)
        if (bytes[i] > bytes[most])
            most = i;
    return most;
}

static void write_rows(const struct reducer *d, struct report_strategy *s, size_t column)
{
    const struct rows *r = &d->rows;
    uint8_t *fill = s->fill + column * r->count, *born = s->born + column * r->count;
    for (size_t i = 0; i < r->count; i++) {
        fill[i] = fill_of(r->used[i], r->row_bytes);
        if (r->who != NULL)
            s->who[column * r->count + i] = most_of(&r->who[i * REPORT_COLOURS]);
        if (r->used[i] != 0)
            born[i] = (uint8_t)(r->born[i] / (double)r->used[i] * 255 / (double)d->trace->ops);
    }
}

static void sample(struct reducer *d, size_t strategy, size_t column)
{
    struct report_strategy *s = &d->trace->strategies[strategy];
    const struct view *view = &d->views->view[strategy];
    struct rows *r = &d->rows;
    r->sample = &s->samples[column];
    r->row = 0;
    r->row_end = r->row_bytes;
    memset(r->used, 0, r->count * sizeof *r->used);
    memset(r->born, 0, r->count * sizeof *r->born);
    if (r->who != NULL)
        memset(r->who, 0, r->count * REPORT_COLOURS * sizeof *r->who);
    r->view = view;
    const struct view_holes holes = view_walk(view, add_piece, r);
    r->sample->brk = view_break(view);
    r->sample->hole_bytes = holes.bytes;
    r->sample->hole_count = holes.count;
    r->sample->hole_largest = holes.largest;
    write_rows(d, s, column);
}

static void end_column(struct reducer *d, size_t column)
{
    struct report_trace *t = d->trace;
    for (size_t i = 0; i < t->strategy_count; i++)
        sample(d, i, column);
}

/* ---- An operation ---- */

static void end_block(const struct report_trace *t, struct report_strategy *s,
                      const struct view *view, uint32_t id, enum report_end end)
{
    const struct view_block *known = &view->known[id];
    const struct report_block block = {view_address(view, id), known->size, known->born,
                                       known->since,           view->op,    end,
                                       site_of(t, view, id)};
    report_keep_block(t, s, &block);
}

/* The block that the operation ends, as it was before it; false iff it ends none. */
static bool ends_block(const struct report_trace *t, const struct view *view,
                       const struct hmm_trace_op *op, struct report_block *was)
{
    const struct view_block *known = &view->known[op->id];
    if ((op->kind != HMM_TRACE_FREE && op->kind != HMM_TRACE_RESIZE) || known->born == 0)
        return false;
    *was = (struct report_block){view_address(view, op->id),
                                 known->size,
                                 known->born,
                                 known->since,
                                 view->op + 1,
                                 REPORT_RESIZED,
                                 site_of(t, view, op->id)};
    if (op->kind == HMM_TRACE_FREE)
        was->end = REPORT_FREED;
    return true;
}

static void step(const struct report_trace *t, struct report_strategy *s, struct view *view,
                 const struct hmm_trace_op *op, struct report_sample *into)
{
    struct report_block was;
    const bool ends = ends_block(t, view, op, &was);
    if (view_step(view, op) && ends)
        report_keep_block(t, s, &was);
    const uint64_t brk = view_break(view);
    if (brk > into->brk_most)
        into->brk_most = brk;
}

/* Lifetimes are the same on all strategies but for what fails; the first one's are taken. */
static void count_life(struct report_trace *t, const struct view *view,
                       const struct hmm_trace_op *op)
{
    const struct view_block *known = &view->known[op->id];
    if (op->kind == HMM_TRACE_FREE && known->born != 0)
        t->life_counts[log2_of(view->op + 1 - known->born)]++;
}

/* Live bytes as asked for, whatever was served. */
struct asked {
    uint64_t *sizes, live, most, blocks; /* sizes: by ID */
};

static void ask(struct asked *a, const struct hmm_trace_op *op)
{
    if (op->kind == HMM_TRACE_RESIZE || op->kind == HMM_TRACE_FREE)
        a->live -= a->sizes[op->id];
    a->live += a->sizes[op->id] = op->size;
    if (op->kind == HMM_TRACE_FREE)
        a->blocks--;
    else if (op->kind != HMM_TRACE_RESIZE)
        a->blocks++;
    if (a->live > a->most)
        a->most = a->live;
}

static void note_asked(struct report_trace *t, struct asked *a, size_t column)
{
    t->live[column] = a->live;
    t->live_most[column] = a->most;
    t->live_blocks[column] = a->blocks;
    a->most = a->live;
}

/* ---- Ctrl-C: what has been seen is the trace ---- */

/* `born` is in 255ths of the trace, which is shorter now: scales it. */
static void stretch_born(const struct report_trace *t, struct report_strategy *s, double factor)
{
    for (size_t i = 0; i < t->columns * t->rows; i++) {
        const double born = s->born[i] * factor;
        s->born[i] = born < 255 ? (uint8_t)born : 255;
    }
}

/* After operation n, the end of a column. Columns are of equal length anew, which moves their ends
 * by an operation at most. */
static void cut_short(struct reducer *d, uint64_t n, size_t columns)
{
    struct report_trace *t = d->trace;
    const double factor = n != 0 ? (double)t->ops / (double)n : 0;
    t->cut_from = t->ops;
    t->ops = n;
    t->columns = columns;
    t->peak_bytes = t->peak_blocks = t->peak_op = 0;
    for (size_t c = 0; c < columns; c++) {
        if (t->live_most[c] > t->peak_bytes) {
            t->peak_bytes = t->live_most[c];
            t->peak_op = report_column_end(n, columns, c);
        }
        if (t->live_blocks[c] > t->peak_blocks)
            t->peak_blocks = t->live_blocks[c];
    }
    for (size_t i = 0; i < t->strategy_count; i++) {
        stretch_born(t, &t->strategies[i], factor);
        if (has_sites(t) && t->strategies[i].blame_op == 0) {
            blame_find(&t->strategies[i].blame, &d->views->view[i], &t->sites);
            t->strategies[i].blame_op = n;
        }
    }
}

/* ---- The pass ---- */

static void observe(struct reducer *d)
{
    struct report_trace *t = d->trace;
    struct view *views = d->views->view;
    struct asked asked = {.sizes = cli_alloc(d->views->playback->ids, sizeof *asked.sizes)};
    const struct hmm_trace_op *op;
    size_t column = 0;
    cli_heed_interrupts();
    cli_progress_start("replaying");
    for (uint64_t n = 1; (op = playback_next(d->views->playback)) != NULL; n++) {
        count_request(t, op);
        count_life(t, &views[0], op);
        ask(&asked, op);
        for (size_t i = 0; i < t->strategy_count; i++)
            step(t, &t->strategies[i], &views[i], op, &t->strategies[i].samples[column]);
        for (size_t i = 0; i < t->strategy_count && has_sites(t); i++)
            if (n == views[i].highest) {
                blame_free(&t->strategies[i].blame);
                blame_find(&t->strategies[i].blame, &views[i], &t->sites);
                t->strategies[i].blame_op = n;
            }
        if (n == report_column_end(t->ops, t->columns, column)) {
            note_asked(t, &asked, column);
            end_column(d, column++);
            if (cli_interrupted() && n < t->ops) {
                cut_short(d, n, column);
                break;
            }
        }
        if (n % TICK == 0)
            cli_progress((double)n / (double)t->ops);
    }
    free(asked.sizes);
}

static void conclude(struct reducer *d)
{
    struct report_trace *t = d->trace;
    const uint32_t ids = d->views->playback->ids;
    for (size_t i = 0; i < t->strategy_count; i++) {
        struct report_strategy *s = &t->strategies[i];
        const struct view *view = &d->views->view[i];
        s->control = view->control;
        s->failed = view->failed;
        for (uint32_t id = 0; id < ids; id++)
            if (view->known[id].born != 0)
                end_block(t, s, view, id, REPORT_LASTS);
        for (size_t c = 0; c < t->columns; c++)
            if (s->samples[c].brk_most > s->brk_peak)
                s->brk_peak = s->samples[c].brk_most;
        report_sort_blocks(s);
    }
    t->never_freed =
        t->counts[HMM_TRACE_ALLOC] + t->counts[HMM_TRACE_ALIGNED] - t->counts[HMM_TRACE_FREE];
    cli_progress_hide();
}

/* ---- Room ---- */

static size_t columns_for(const struct playback *f)
{
    const uint64_t affordable = WALKED_MOST / (f->peak_blocks + 1);
    const uint64_t columns = affordable > REPORT_COLUMNS  ? REPORT_COLUMNS
                             : affordable < COLUMNS_LEAST ? COLUMNS_LEAST
                                                          : affordable;
    return (size_t)(f->ops < columns ? f->ops : columns);
}

/* Chooses the height of the rows so that the highest of all breaks lies in the last one. Their
 * number can be halved. */
static void lay_rows(struct report_trace *t, const struct views *views)
{
    uint64_t most = 1;
    for (size_t i = 0; i < views->count; i++)
        if (views->view[i].capacity > most)
            most = views->view[i].capacity;
    t->row_bytes = ((most + REPORT_ROWS - 1) / REPORT_ROWS + 15) / 16 * 16;
    t->rows = (size_t)((most + t->row_bytes - 1) / t->row_bytes + 15) / 16 * 16;
}

static void make_room(struct reducer *d)
{
    struct report_trace *t = d->trace;
    lay_rows(t, d->views);
    t->live = cli_alloc(t->columns, sizeof *t->live);
    t->live_most = cli_alloc(t->columns, sizeof *t->live_most);
    t->live_blocks = cli_alloc(t->columns, sizeof *t->live_blocks);
    t->strategy_count = d->views->count;
    t->strategies = cli_alloc(t->strategy_count, sizeof *t->strategies);
    for (size_t i = 0; i < t->strategy_count; i++) {
        struct report_strategy *s = &t->strategies[i];
        s->strategy = d->views->view[i].strategy;
        s->samples = cli_alloc(t->columns, sizeof *s->samples);
        s->fill = cli_alloc(t->columns * t->rows, 1);
        s->born = cli_alloc(t->columns * t->rows, 1);
        if (has_sites(t))
            s->who = cli_alloc(t->columns * t->rows, 1);
        s->blocks = cli_alloc(REPORT_BLOCKS + REPORT_TILES * REPORT_TILES, sizeof *s->blocks);
        s->examples = cli_alloc(REPORT_TILES * REPORT_TILES, sizeof *s->examples);
        s->all_blocks = true;
    }
    d->rows = (struct rows){.row_bytes = t->row_bytes, .count = t->rows, .trace = t};
    if (has_sites(t))
        d->rows.who = cli_alloc(t->rows * REPORT_COLOURS, sizeof *d->rows.who);
    d->rows.used = cli_alloc(t->rows, sizeof *d->rows.used);
    d->rows.born = cli_alloc(t->rows, sizeof *d->rows.born);
}

static void drop(struct report_trace *t)
{
    for (size_t i = 0; i < t->strategy_count; i++) {
        free(t->strategies[i].samples);
        free(t->strategies[i].fill);
        free(t->strategies[i].born);
        free(t->strategies[i].who);
        blame_free(&t->strategies[i].blame);
        free(t->strategies[i].blocks);
        free(t->strategies[i].examples);
    }
    free(t->strategies);
    free(t->live);
    free(t->live_most);
    free(t->live_blocks);
}

void report_trace_free(struct report_trace *t)
{
    drop(t);
    cli_sites_close(&t->sites);
    free(t->colours);
    free(t->compared);
    *t = (struct report_trace){.path = t->path};
}

/* ---- All of it ---- */

static struct report_trace of_playback(const struct playback *f)
{
    return (struct report_trace){.path = f->path,
                                 .ops = f->ops,
                                 .columns = columns_for(f),
                                 .peak_bytes = f->peak_bytes,
                                 .peak_op = f->peak_op,
                                 .peak_blocks = f->peak_blocks};
}

/* Gives colours to the sites with the most of `amount`, which are then left out. */
static void give_colours(struct report_trace *t, uint64_t *amount, unsigned from, unsigned to)
{
    for (unsigned colour = from; colour < to; colour++) {
        uint32_t most = 0;
        for (uint32_t i = 1; i < t->sites.count; i++)
            if (t->colours[i] == 0 && amount[i] > amount[most])
                most = i;
        if (most == 0)
            return;
        t->colours[most] = (uint8_t)colour;
        t->coloured[colour] = most;
    }
}

struct owner {
    uint64_t size;
    uint32_t stack;
    bool lives;
};

/* What lives at the peak, by site. */
static void choose_colours(struct report_trace *t, struct playback *f)
{
    struct owner *owners = cli_alloc(f->ids, sizeof *owners);
    uint64_t *bytes = cli_alloc(t->sites.count, sizeof *bytes),
             *blocks = cli_alloc(t->sites.count, sizeof *blocks);
    const struct hmm_trace_op *op;
    t->colours = cli_alloc(t->sites.count, 1);
    if (!playback_rewind(f))
        return;
    for (uint64_t n = 0; n < f->peak_op && (op = playback_next(f)) != NULL; n++)
        owners[op->id] = (struct owner){op->size, op->stack, op->kind != HMM_TRACE_FREE};
    for (uint32_t id = 0; id < f->ids; id++)
        if (owners[id].lives) {
            const uint32_t site = cli_site_of(&t->sites, owners[id].stack);
            bytes[site] += owners[id].size;
            blocks[site]++;
        }
    bytes[0] = blocks[0] = 0;
    give_colours(t, bytes, 1, REPORT_COLOURS / 2 + 1);
    give_colours(t, blocks, REPORT_COLOURS / 2 + 1, REPORT_COLOURS);
    free(owners);
    free(bytes);
    free(blocks);
}

static void open_sites(struct report_trace *t, struct playback *f)
{
    const struct hmm_trace_stacks *stacks = hmm_trace_tape_stacks(f->tape);
    if (!stacks->any)
        return;
    cli_sites_open(&t->sites, stacks);
    choose_colours(t, f);
}

/* Forgets all but the call sites and their colours. */
static void begin_again(struct report_trace *t, const struct playback *f)
{
    struct report_trace fresh = of_playback(f);
    fresh.sites = t->sites;
    fresh.colours = t->colours;
    memcpy(fresh.coloured, t->coloured, sizeof fresh.coloured);
    drop(t);
    *t = fresh;
}

static bool reduce_views(struct report_trace *t, struct views *views)
{
    struct reducer d = {.trace = t, .views = views};
    bool good, again = true;
    for (good = views_fit(views, views->playback->ops); good && again;
         again = t->cut_from == 0 && views_outgrown(views)) {
        views_close(views);
        begin_again(t, views->playback);
        make_room(&d);
        good = views_open(views);
        if (good)
            observe(&d);
        good = good && playback_was_read(views->playback);
        if (good)
            conclude(&d);
        free(d.rows.used);
        free(d.rows.born);
        free(d.rows.who);
    }
    return good;
}

bool report_reduce(struct report_trace *t, const char *path,
                   const struct hmm_strategy *const *strategies, size_t count, int *code)
{
    struct playback playback;
    struct views views;
    *t = (struct report_trace){.path = path};
    if (!playback_open(&playback, "report", path, code))
        return false;
    open_sites(t, &playback);
    views_choose(&views, &playback, strategies, count);
    const bool good = reduce_views(t, &views);
    views_free(&views);
    playback_close(&playback);
    *code = good ? CLI_OK : CLI_FAILED;
    return good;
}
