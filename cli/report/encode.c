/* SPDX-License-Identifier: MIT */
/*
 * Encodes reduced traces.
 */
#include "encode.h"

#include <stdlib.h>
#include <string.h>

struct encoder {
    struct report_buffer json, sections;
    const struct report_quality *quality;
    size_t started;  /* the section's begin */
    uint32_t *names; /* by site of the trace: which of the page's names, and 1; 0: none yet */
    uint32_t *named; /* the sites that have one */
    uint32_t name_count;
};

static void start(struct encoder *e)
{
    e->started = e->sections.count;
}

static void end(struct encoder *e, const char *name)
{
    report_print(&e->json, "\"%s\":[%zu,%zu],", name, e->started, e->sections.count - e->started);
}

static size_t fewer(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Where `all` columns are reduced to `some`: the last of those that reduced column `column` stands
 * for. */
static size_t stands_for(size_t all, size_t some, size_t column)
{
    return (size_t)report_column_end(all, some, column) - 1;
}

/* ---- JSON ---- */

static void put_name(struct encoder *e, const char *key, const char *text)
{
    report_print(&e->json, "\"%s\":", key);
    report_put_json(&e->json, text);
    report_put_byte(&e->json, ',');
}

static void put_figure(struct encoder *e, const char *key, uint64_t figure)
{
    report_print(&e->json, "\"%s\":%llu,", key, (unsigned long long)figure);
}

/* In place of the comma after the last member. */
static void close_with(struct encoder *e, char bracket)
{
    unsigned char *last = &e->json.bytes[e->json.count - 1];
    if (*last == ',')
        *last = (unsigned char)bracket;
    else
        report_put_byte(&e->json, (unsigned char)bracket);
}

/* ---- Lines ---- */

/* The most in the columns that this one stands for. */
static uint64_t most_live(const struct report_trace *t, size_t some, size_t column)
{
    uint64_t most = 0;
    const size_t from = column == 0 ? 0 : stands_for(t->columns, some, column - 1) + 1;
    for (size_t c = from; c <= stands_for(t->columns, some, column); c++)
        if (t->live_most[c] > most)
            most = t->live_most[c];
    return most;
}

static uint64_t most_break(const struct report_trace *t, const struct report_strategy *s,
                           size_t some, size_t column)
{
    uint64_t most = 0;
    const size_t from = column == 0 ? 0 : stands_for(t->columns, some, column - 1) + 1;
    for (size_t c = from; c <= stands_for(t->columns, some, column); c++)
        if (s->samples[c].brk_most > most)
            most = s->samples[c].brk_most;
    return most;
}

static void put_live(struct encoder *e, const struct report_trace *t)
{
    const size_t columns = fewer(t->columns, e->quality->line_columns);
    uint64_t live = 0, most = 0, blocks = 0;
    start(e);
    for (size_t i = 0; i < columns; i++) {
        const size_t c = stands_for(t->columns, columns, i);
        report_put_change(&e->sections, &live, t->live[c]);
        report_put_change(&e->sections, &most, most_live(t, columns, i));
        report_put_change(&e->sections, &blocks, t->live_blocks[c]);
    }
    end(e, "live");
}

static void put_lines(struct encoder *e, const struct report_trace *t,
                      const struct report_strategy *s)
{
    const size_t columns = fewer(t->columns, e->quality->line_columns);
    uint64_t brk = 0, most = 0, bytes = 0, count = 0, largest = 0;
    start(e);
    for (size_t i = 0; i < columns; i++) {
        const struct report_sample *c = &s->samples[stands_for(t->columns, columns, i)];
        report_put_change(&e->sections, &brk, c->brk);
        report_put_change(&e->sections, &most, most_break(t, s, columns, i));
        report_put_change(&e->sections, &bytes, c->hole_bytes);
        report_put_change(&e->sections, &count, c->hole_count);
        report_put_change(&e->sections, &largest, c->hole_largest);
    }
    end(e, "lines");
}

static void put_holes(struct encoder *e, const struct report_trace *t,
                      const struct report_strategy *s)
{
    const size_t columns = fewer(t->columns, e->quality->hole_columns);
    uint64_t was[REPORT_HOLE_CLASSES] = {0};
    start(e);
    for (size_t i = 0; i < columns; i++) {
        const struct report_sample *c = &s->samples[stands_for(t->columns, columns, i)];
        for (size_t k = 0; k < REPORT_HOLE_CLASSES; k++)
            report_put_change(&e->sections, &was[k], c->holes[k]);
    }
    end(e, "holes");
}

/* ---- Maps ---- */

/* How many neighbouring rows become one. */
static size_t rows_together(const struct report_trace *t, const struct report_quality *q)
{
    size_t together = 1;
    while (t->rows / together > q->rows && t->rows / together % 2 == 0)
        together *= 2;
    return together;
}

/* Rounds a value of 0 to 255 to fewer levels. Only 0 becomes 0 and only 255 becomes 255; the others
 * are spread evenly between. */
static unsigned rounded(unsigned value, unsigned bits)
{
    if (bits >= 8 || value == 0 || value == 255)
        return value;
    const unsigned steps = (1u << bits) - 1;
    const unsigned step = (value * steps + 127) / 255;
    const unsigned level = (step < 1 ? 1 : step > steps - 1 ? steps - 1 : step) * 255 / steps;
    return level;
}

struct cell {
    unsigned fill, born;
};

static struct cell merge(const uint8_t *fill, const uint8_t *born, size_t together)
{
    unsigned filled = 0, aged = 0;
    for (size_t i = 0; i < together; i++) {
        filled += fill[i];
        aged += (unsigned)fill[i] * born[i];
    }
    struct cell c = {filled / (unsigned)together, filled != 0 ? aged / filled : 0};
    if (filled != 0 && c.fill == 0)
        c.fill = 1;
    return c;
}

static void put_map(struct encoder *e, const struct report_trace *t,
                    const struct report_strategy *s, bool born)
{
    const size_t columns = fewer(t->columns, e->quality->columns);
    const size_t together = rows_together(t, e->quality);
    const size_t rows = t->rows / together;
    uint8_t *was = cli_alloc(rows, 1);
    start(e);
    for (size_t i = 0; i < columns; i++) {
        const size_t at = stands_for(t->columns, columns, i) * t->rows;
        for (size_t row = 0; row < rows; row++) {
            const struct cell c =
                merge(s->fill + at + row * together, s->born + at + row * together, together);
            const unsigned now = rounded(born ? c.born : c.fill, e->quality->bits);
            report_put_byte(&e->sections, (now - was[row]) & 0xff);
            was[row] = (uint8_t)now;
        }
    }
    end(e, born ? "born" : "fill");
    free(was);
}

/* Which site has most of a row; of several rows, of the fullest. */
static void put_who(struct encoder *e, const struct report_trace *t,
                    const struct report_strategy *s)
{
    const size_t columns = fewer(t->columns, e->quality->columns);
    const size_t together = rows_together(t, e->quality), rows = t->rows / together;
    uint8_t *was = cli_alloc(rows, 1);
    start(e);
    for (size_t i = 0; i < columns; i++) {
        const size_t at = stands_for(t->columns, columns, i) * t->rows;
        for (size_t row = 0; row < rows; row++) {
            size_t fullest = at + row * together;
            for (size_t k = 1; k < together; k++)
                if (s->fill[at + row * together + k] > s->fill[fullest])
                    fullest = at + row * together + k;
            report_put_byte(&e->sections, (unsigned)(s->who[fullest] - was[row]) & 0xff);
            was[row] = s->who[fullest];
        }
    }
    end(e, "who");
    free(was);
}

/* ---- Names of sites: those that something refers to ---- */

#define MOST_NAMES 2000u

/* Its number and 1; 0 iff it has none. */
static uint32_t name_of(struct encoder *e, uint32_t site)
{
    if (site == 0)
        return 0;
    if (e->names[site] == 0 && e->name_count < MOST_NAMES) {
        e->named[e->name_count] = site;
        e->names[site] = ++e->name_count;
    }
    return e->names[site];
}

static void put_site_names(struct encoder *e, const struct report_trace *t)
{
    report_put_text(&e->json, "\"coloured\":[");
    for (unsigned c = 1; c < REPORT_COLOURS; c++)
        report_print(&e->json, "%u,", name_of(e, t->coloured[c]));
    close_with(e, ']');
    report_put_text(&e->json, ",\"names\":[");
    for (uint32_t i = 0; i < e->name_count; i++) {
        report_put_json(&e->json, t->sites.list[e->named[i]].name);
        report_put_byte(&e->json, ',');
    }
    close_with(e, ']');
    report_put_byte(&e->json, ',');
}

/* ---- Blame ---- */

#define BLAMED 24u

static void put_blame(struct encoder *e, const struct report_strategy *s)
{
    uint64_t held;
    const size_t few = blame_few(&s->blame, 10, &held);
    put_figure(e, "blameOp", s->blame_op);
    put_figure(e, "waste", s->blame.waste);
    put_figure(e, "wasteHoles", s->blame.holes);
    put_figure(e, "few", few);
    put_figure(e, "held", held);
    report_put_text(&e->json, "\"blame\":[");
    for (size_t i = 0; i < s->blame.count && i < BLAMED; i++) {
        const struct blame_part *p = &s->blame.parts[i];
        report_print(&e->json, "[%u,%llu,%llu,%llu],", name_of(e, p->site),
                     (unsigned long long)p->bytes, (unsigned long long)p->blocks,
                     (unsigned long long)p->holding);
    }
    close_with(e, ']');
    report_put_byte(&e->json, ',');
}

/* ---- Blocks ---- */

static void put_block_runs(struct encoder *e, const struct report_block *b, size_t count)
{
    uint64_t since = 0, address = 0, size = 0;
    for (size_t i = 0; i < count; since = b[i++].since)
        report_put_varint(&e->sections, b[i].since - since);
    for (size_t i = 0; i < count; i++)
        report_put_change(&e->sections, &address, b[i].address);
    for (size_t i = 0; i < count; i++)
        report_put_change(&e->sections, &size, b[i].size);
    for (size_t i = 0; i < count; i++)
        report_put_varint(&e->sections, b[i].since - b[i].born);
    for (size_t i = 0; i < count; i++)
        report_put_varint(&e->sections, (b[i].until - b[i].since) << 2 | (uint64_t)b[i].end);
    for (size_t i = 0; i < count && e->names != NULL; i++)
        report_put_varint(&e->sections, name_of(e, b[i].site));
}

static void put_blocks(struct encoder *e, const struct report_strategy *s)
{
    const size_t count = fewer(s->block_count, e->quality->blocks);
    struct report_block *kept = cli_alloc(count, sizeof *kept);
    report_thin_blocks(s, count, kept);
    start(e);
    put_block_runs(e, kept, count);
    end(e, "blocks");
    report_print(&e->json, "\"blockCount\":%zu,\"allBlocks\":%s,", count,
                 s->all_blocks && count == s->block_count ? "true" : "false");
    free(kept);
}

/* ---- Figures ---- */

static void put_size_classes(struct encoder *e, const struct report_trace *t)
{
    report_put_text(&e->json, "\"requests\":[");
    for (unsigned c = 0; c < REPORT_SIZE_CLASSES; c++)
        if (t->size_counts[c] != 0)
            report_print(
                &e->json, "[%llu,%llu,%llu,%llu],", (unsigned long long)report_size_class_start(c),
                (unsigned long long)report_size_class_start(c + 1) - 1,
                (unsigned long long)t->size_counts[c], (unsigned long long)t->size_bytes[c]);
    close_with(e, ']');
    report_put_text(&e->json, ",\"lifetimes\":[");
    for (unsigned c = 0; c < REPORT_LIFE_CLASSES; c++)
        if (t->life_counts[c] != 0)
            report_print(&e->json, "[%u,%llu],", c, (unsigned long long)t->life_counts[c]);
    close_with(e, ']');
    report_put_byte(&e->json, ',');
}

static void put_strategy(struct encoder *e, const struct report_trace *t,
                         const struct report_strategy *s)
{
    report_put_byte(&e->json, '{');
    put_name(e, "name", hmm_strategy_name(s->strategy));
    put_name(e, "summary", hmm_strategy_summary(s->strategy));
    put_figure(e, "control", s->control);
    put_figure(e, "peakBreak", s->brk_peak);
    put_figure(e, "failed", s->failed);
    put_lines(e, t, s);
    put_holes(e, t, s);
    put_map(e, t, s, false);
    put_map(e, t, s, true);
    put_blocks(e, s);
    if (s->who != NULL) {
        put_who(e, t, s);
        put_blame(e, s);
    }
    close_with(e, '}');
}

static void put_trace(struct encoder *e, const struct report_trace *t)
{
    const struct report_quality *q = e->quality;
    const size_t together = rows_together(t, q);
    report_put_byte(&e->json, '{');
    put_name(e, "path", t->path);
    put_figure(e, "ops", t->ops);
    put_figure(e, "allocations", t->counts[HMM_TRACE_ALLOC]);
    put_figure(e, "aligned", t->counts[HMM_TRACE_ALIGNED]);
    put_figure(e, "resizes", t->counts[HMM_TRACE_RESIZE]);
    put_figure(e, "frees", t->counts[HMM_TRACE_FREE]);
    put_figure(e, "neverFreed", t->never_freed);
    put_figure(e, "peakLive", t->peak_bytes);
    put_figure(e, "peakOp", t->peak_op);
    put_figure(e, "peakBlocks", t->peak_blocks);
    put_figure(e, "columns", t->columns);
    put_figure(e, "lineColumns", fewer(t->columns, q->line_columns));
    put_figure(e, "mapColumns", fewer(t->columns, q->columns));
    put_figure(e, "holeColumns", fewer(t->columns, q->hole_columns));
    put_figure(e, "holeClasses", REPORT_HOLE_CLASSES);
    put_figure(e, "rows", t->rows / together);
    put_figure(e, "rowBytes", t->row_bytes * together);
    put_size_classes(e, t);
    put_live(e, t);
    e->name_count = 0;
    if (t->sites.count > 1) {
        e->names = cli_alloc(t->sites.count, sizeof *e->names);
        e->named = cli_alloc(MOST_NAMES, sizeof *e->named);
    }
    report_put_text(&e->json, "\"strategies\":[");
    for (size_t i = 0; i < t->strategy_count; i++) {
        put_strategy(e, t, &t->strategies[i]);
        report_put_byte(&e->json, ',');
    }
    close_with(e, ']');
    report_put_byte(&e->json, ',');
    if (e->names != NULL)
        put_site_names(e, t);
    if (t->compared != NULL)
        report_put_text(&e->json, t->compared);
    close_with(e, '}');
    free(e->names);
    free(e->named);
    e->names = e->named = NULL;
}

void report_encode(const struct report_trace *traces, size_t count,
                   const struct report_quality *quality, struct report_buffer *to)
{
    struct encoder e = {.quality = quality};
    report_print(&e.json, "{\"hmm\":\"%s\",\"traces\":[", HMM_VERSION);
    for (size_t i = 0; i < count; i++) {
        put_trace(&e, &traces[i]);
        report_put_byte(&e.json, ',');
    }
    close_with(&e, ']');
    report_put_byte(&e.json, '}');
    report_put_text(to, "hmm1");
    for (unsigned i = 0; i < 4; i++)
        report_put_byte(to, (unsigned)(e.json.count >> (8 * i)) & 0xff);
    report_put(to, e.json.bytes, e.json.count);
    report_put(to, e.sections.bytes, e.sections.count);
    report_buffer_free(&e.json);
    report_buffer_free(&e.sections);
}
