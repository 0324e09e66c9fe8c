/* SPDX-License-Identifier: MIT */
/*
 * What a program asks for, as tables and as JSON.
 */
#include "stats.h"

#include <inttypes.h>

#define FREQUENT 10

static uint64_t allocations(const struct stats *s)
{
    return s->counts[HMM_TRACE_ALLOC] + s->counts[HMM_TRACE_ALIGNED];
}

static uint64_t resized_blocks(const struct stats *s)
{
    uint64_t blocks = 0;
    for (unsigned b = 0; b < STATS_BUCKETS; b++)
        blocks += s->chains[b].blocks;
    return blocks;
}

/* ---- Tables ---- */

struct percent {
    char text[16];
};

static struct percent percent(uint64_t part, uint64_t whole)
{
    struct percent p = {"-"};
    if (whole != 0)
        snprintf(p.text, sizeof p.text, "%.1f %%", (double)part / (double)whole * 100);
    return p;
}

static void add_count(struct cli_table *t, uint64_t count)
{
    cli_table_add(t, "%s", count != 0 ? cli_count(count).chars : "-");
}

static void add_bytes(struct cli_table *t, const struct stats_amount *a)
{
    cli_table_add(t, "%s", a->blocks != 0 ? cli_bytes(a->bytes).chars : "-");
}

static void add_range(struct cli_table *t, unsigned bucket)
{
    const uint64_t from = stats_bucket_from(bucket), to = stats_bucket_to(bucket);
    if (from == to)
        cli_table_add(t, "%" PRIu64, from);
    else
        cli_table_add(t, "%" PRIu64 " to %" PRIu64, from, to);
}

static void add_heading(struct cli_table *t, const char *const *titles)
{
    for (; *titles != NULL; titles++)
        cli_table_add(t, "%s", *titles);
}

static void print_overview(const struct stats *s, const char *path)
{
    printf("%s: %s operations", cli_visible(path), cli_count(s->ops).chars);
    if (s->from != 1)
        printf(", from number %s on", cli_count(s->from).chars);
    printf("\n%s allocations of %s in all, %s aligned\n%s resizes, %s frees\n",
           cli_count(allocations(s)).chars, cli_bytes(s->requested.bytes).chars,
           cli_count(s->counts[HMM_TRACE_ALIGNED]).chars,
           cli_count(s->counts[HMM_TRACE_RESIZE]).chars,
           cli_count(s->counts[HMM_TRACE_FREE]).chars);
    if (s->before.blocks != 0)
        printf("lived before     %s in %s blocks\n", cli_bytes(s->before.bytes).chars,
               cli_count(s->before.blocks).chars);
    printf("most live bytes  %s in %s blocks, after operation %s\n",
           cli_bytes(s->bytes.bytes).chars, cli_count(s->bytes.blocks).chars,
           cli_count(s->bytes.op).chars);
    printf("most live blocks %s with %s, after operation %s\n", cli_count(s->blocks.blocks).chars,
           cli_bytes(s->blocks.bytes).chars, cli_count(s->blocks.op).chars);
    printf("never freed      %s in %s blocks, %s of all\n", cli_bytes(s->live.bytes).chars,
           cli_count(s->live.blocks).chars,
           percent(s->live.blocks, allocations(s) + s->before.blocks).text);
    printf("temporary        %s blocks, %s of all, are freed within %d operations\n",
           cli_count(s->temporary.blocks).chars, percent(s->temporary.blocks, allocations(s)).text,
           STATS_TEMPORARY);
}

static void print_sizes(const struct stats *s)
{
    static const char *const titles[] = {"size from", "allocations", "of all",      "bytes",
                                         "at peak",   "bytes",       "never freed", NULL};
    struct cli_table t = {.columns = 7};
    add_heading(&t, titles);
    for (unsigned b = 0; b < STATS_BUCKETS; b++) {
        const struct stats_amount *a = &s->sizes[b], *peak = &s->peak_sizes[b];
        if (a->blocks == 0 && peak->blocks == 0 && s->live_sizes[b].blocks == 0)
            continue;
        cli_table_add(&t, "%" PRIu64, stats_bucket_from(b));
        add_count(&t, a->blocks);
        cli_table_add(&t, "%s", percent(a->blocks, allocations(s)).text);
        add_bytes(&t, a);
        add_count(&t, peak->blocks);
        add_bytes(&t, peak);
        add_count(&t, s->live_sizes[b].blocks);
    }
    puts("\nSizes, in bytes, by doubling");
    cli_table_print(&t, stdout);
}

static void print_frequent(const struct stats *s)
{
    static const char *const titles[] = {"size", "allocations", "of all", NULL};
    struct cli_table t = {.columns = 3};
    struct stats_size sizes[FREQUENT];
    const size_t count = stats_most_frequent(s, sizes, FREQUENT);
    add_heading(&t, titles);
    for (size_t i = 0; i < count; i++) {
        cli_table_add(&t, "%" PRIu64, sizes[i].size);
        add_count(&t, sizes[i].blocks);
        cli_table_add(&t, "%s", percent(sizes[i].blocks, allocations(s)).text);
    }
    puts("\nMost frequent sizes");
    cli_table_print(&t, stdout);
}

static void print_lifetimes(const struct stats *s)
{
    static const char *const titles[] = {"lifetime", "blocks", "of all", "bytes", NULL};
    struct cli_table t = {.columns = 4, .left_columns = 1};
    const uint64_t all = s->counts[HMM_TRACE_FREE] + s->live.blocks;
    add_heading(&t, titles);
    for (unsigned b = 0; b < STATS_BUCKETS; b++) {
        if (s->lifetimes[b].blocks == 0)
            continue;
        add_range(&t, b);
        add_count(&t, s->lifetimes[b].blocks);
        cli_table_add(&t, "%s", percent(s->lifetimes[b].blocks, all).text);
        add_bytes(&t, &s->lifetimes[b]);
    }
    cli_table_add(&t, "never freed");
    add_count(&t, s->live.blocks);
    cli_table_add(&t, "%s", percent(s->live.blocks, all).text);
    add_bytes(&t, &s->live);
    puts("\nLifetimes, in operations");
    cli_table_print(&t, stdout);
}

static void print_alignments(const struct stats *s)
{
    static const char *const titles[] = {"alignment", "allocations", "of all", "bytes", NULL};
    struct cli_table t = {.columns = 4};
    if (s->counts[HMM_TRACE_ALIGNED] == 0)
        return;
    add_heading(&t, titles);
    for (unsigned log2 = 0; log2 < 64; log2++) {
        if (s->alignments[log2].blocks == 0)
            continue;
        cli_table_add(&t, "%" PRIu64, UINT64_C(1) << log2);
        add_count(&t, s->alignments[log2].blocks);
        cli_table_add(&t, "%s", percent(s->alignments[log2].blocks, allocations(s)).text);
        add_bytes(&t, &s->alignments[log2]);
    }
    puts("\nAlignments that were asked for");
    cli_table_print(&t, stdout);
}

static void print_chains(const struct stats *s)
{
    static const char *const titles[] = {"resizes",    "blocks", "first bytes",
                                         "last bytes", "growth", NULL};
    struct cli_table t = {.columns = 5, .left_columns = 1};
    if (s->counts[HMM_TRACE_RESIZE] == 0)
        return;
    add_heading(&t, titles);
    for (unsigned b = 1; b < STATS_BUCKETS; b++) {
        const struct stats_amount *first = &s->chain_firsts[b], *last = &s->chains[b];
        if (last->blocks == 0)
            continue;
        add_range(&t, b);
        add_count(&t, last->blocks);
        add_bytes(&t, first);
        add_bytes(&t, last);
        if (first->bytes != 0)
            cli_table_add(&t, "%.2f", (double)last->bytes / (double)first->bytes);
        else
            cli_table_add(&t, "-");
    }
    printf("\nResizes: %s larger, %s smaller, %s as it was; of %s blocks\n",
           cli_count(s->grown).chars, cli_count(s->shrunk).chars, cli_count(s->same).chars,
           cli_count(resized_blocks(s)).chars);
    cli_table_print(&t, stdout);
    printf("The longest chain is %s resizes, from %s to %s bytes,\n"
           "of the block allocated by operation %s.\n",
           cli_count(s->longest_chain).chars, cli_count(s->longest_chain_first).chars,
           cli_count(s->longest_chain_last).chars, cli_count(s->longest_chain_born).chars);
}

void stats_print_table(const struct stats *s, const char *path)
{
    print_overview(s, path);
    if (s->ops == 0)
        return;
    print_sizes(s);
    print_frequent(s);
    print_lifetimes(s);
    print_alignments(s);
    print_chains(s);
}

/* ---- JSON ---- */

static void begin(const char *path, const char *kind)
{
    fputs("{\"trace\":", stdout);
    cli_print_json_string(stdout, path);
    printf(",\"kind\":\"%s\"", kind);
}

static void field(const char *key, uint64_t value)
{
    printf(",\"%s\":%" PRIu64, key, value);
}

static void range(unsigned bucket)
{
    field("from", stats_bucket_from(bucket));
    field("to", stats_bucket_to(bucket));
}

static void print_json_summary(const struct stats *s, const char *path)
{
    begin(path, "summary");
    field("from", s->from);
    field("ops", s->ops);
    field("allocations", allocations(s));
    field("aligned", s->counts[HMM_TRACE_ALIGNED]);
    field("resizes", s->counts[HMM_TRACE_RESIZE]);
    field("frees", s->counts[HMM_TRACE_FREE]);
    field("requested", s->requested.bytes);
    field("size_zero", s->sizes[0].blocks);
    field("live_before", s->before.bytes);
    field("live_before_blocks", s->before.blocks);
    field("peak_live", s->bytes.bytes);
    field("peak_live_blocks", s->bytes.blocks);
    field("peak_live_op", s->bytes.op);
    field("peak_blocks", s->blocks.blocks);
    field("peak_blocks_live", s->blocks.bytes);
    field("peak_blocks_op", s->blocks.op);
    field("never_freed", s->live.bytes);
    field("never_freed_blocks", s->live.blocks);
    field("temporary", s->temporary.bytes);
    field("temporary_blocks", s->temporary.blocks);
    field("temporary_within", STATS_TEMPORARY);
    puts("}");
}

static void print_json_sizes(const struct stats *s, const char *path)
{
    for (unsigned b = 0; b < STATS_BUCKETS; b++) {
        if (s->sizes[b].blocks == 0 && s->peak_sizes[b].blocks == 0 && s->live_sizes[b].blocks == 0)
            continue;
        begin(path, "size");
        range(b);
        field("allocations", s->sizes[b].blocks);
        field("bytes", s->sizes[b].bytes);
        field("at_peak", s->peak_sizes[b].blocks);
        field("at_peak_bytes", s->peak_sizes[b].bytes);
        field("never_freed", s->live_sizes[b].blocks);
        field("never_freed_bytes", s->live_sizes[b].bytes);
        puts("}");
    }
    struct stats_size sizes[FREQUENT];
    const size_t count = stats_most_frequent(s, sizes, FREQUENT);
    for (size_t i = 0; i < count; i++) {
        begin(path, "frequent");
        field("size", sizes[i].size);
        field("allocations", sizes[i].blocks);
        puts("}");
    }
}

static void print_json_amounts(const struct stats *s, const char *path)
{
    for (unsigned b = 0; b < STATS_BUCKETS; b++)
        if (s->lifetimes[b].blocks != 0) {
            begin(path, "lifetime");
            range(b);
            field("blocks", s->lifetimes[b].blocks);
            field("bytes", s->lifetimes[b].bytes);
            puts("}");
        }
    for (unsigned log2 = 0; log2 < 64; log2++)
        if (s->alignments[log2].blocks != 0) {
            begin(path, "alignment");
            field("align", UINT64_C(1) << log2);
            field("allocations", s->alignments[log2].blocks);
            field("bytes", s->alignments[log2].bytes);
            puts("}");
        }
}

static void print_json_chains(const struct stats *s, const char *path)
{
    begin(path, "resizes");
    field("larger", s->grown);
    field("smaller", s->shrunk);
    field("same", s->same);
    field("blocks", resized_blocks(s));
    field("longest", s->longest_chain);
    field("longest_op", s->longest_chain_born);
    field("longest_first", s->longest_chain_first);
    field("longest_last", s->longest_chain_last);
    puts("}");
    for (unsigned b = 1; b < STATS_BUCKETS; b++)
        if (s->chains[b].blocks != 0) {
            begin(path, "chain");
            range(b);
            field("blocks", s->chains[b].blocks);
            field("first_bytes", s->chain_firsts[b].bytes);
            field("last_bytes", s->chains[b].bytes);
            puts("}");
        }
}

void stats_print_json(const struct stats *s, const char *path)
{
    print_json_summary(s, path);
    print_json_sizes(s, path);
    print_json_amounts(s, path);
    print_json_chains(s, path);
}
