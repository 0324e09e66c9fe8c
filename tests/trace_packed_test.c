/* SPDX-License-Identifier: MIT */
/*
 * Format 2: its bytes, that what is written is read back, and the messages for files that are
 * truncated, damaged or malicious.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "harness.h"
#include "packed.h"
#include "trace_made.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], path[100];
static struct hmm_trace_error error;

static void make_folder(void)
{
    const char *const quick = "/dev/shm";
    snprintf(folder, sizeof folder, "%s/hmm-packed-test-XXXXXX",
             access(quick, W_OK) == 0 ? quick : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/t.ht2", folder);
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

struct bytes {
    unsigned char *at;
    size_t size;
};

static struct bytes read_file(void)
{
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    struct bytes b = {.size = (size_t)ftell(f)};
    b.at = malloc(b.size + 1);
    rewind(f);
    ck_assert_uint_eq(fread(b.at, 1, b.size, f), b.size);
    fclose(f);
    return b;
}

static void write_file(const unsigned char *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

/* Reads the file, whose operations must be the first of ops; how many. *good: it was whole;
 * *unended: but for its end. */
static size_t read_prefix(const struct hmm_trace_op *ops, size_t count, bool *good, bool *unended)
{
    struct hmm_trace_op op;
    ptrdiff_t got = -1;
    size_t n = 0;
    *unended = false;
    struct hmm_trace_reader *r = hmm_trace_reader_open(path, 0, &error);
    while (r != NULL && (got = hmm_trace_read(r, &op, 1, &error)) > 0) {
        require(n < count && made_same(&op, &ops[n]), "operation %zu", n);
        n++;
    }
    *good = got == 0;
    if (r != NULL)
        *unended = hmm_trace_reader_unended(r);
    hmm_trace_reader_close(r);
    return n;
}

/* ---- The bytes ---- */

/* As hmm-trace(5) has it, by hand; the checksums are zlib's. */
START_TEST(the_bytes_are_those_of_the_manual)
{
    static const unsigned char want[] = {0x89, 'H',  'M',  'T',  '\r', '\n', 0x1a, '\n', 2,   0,
                                         0,    0,    0x96, 0x4c, 0x4b, 0xd3, /* file */
                                         'O',  'P',  'S',  ' ',  49,   0,    0,    0,    49,  0,
                                         0,    0,    6,    0,    0,    0, /* block */
                                         0,    0,    0,    0,    0,    0,    0,    0,    0,   0,
                                         0,    0,    0xc0, 0xc3, 0x94, 0xda, 6,    0,    0,   0,
                                         6,    0,    0,    0,    5,    0,    0,    0,    1,   0,
                                         0,    0,    11,   0,    0,    0, /* columns */
                                         4,    1,    2,    3,    8,    3, /* kinds */
                                         0xfe, 1,    0,    0,    0xfd, 1, /* IDs */
                                         100,  0x80, 2,    7,    5,       /* sizes */
                                         6,                               /* alignments */
                                         1,    9,    '#',  ' ',  'c',  'o',  'm',  'm',  'e', 'n',
                                         't'};
    const struct hmm_trace_op ops[] = {
        {.kind = HMM_TRACE_ALLOC, .id = 0, .size = 100},
        {.kind = HMM_TRACE_ALIGNED, .id = 127, .size = 256, .align_log2 = 6},
        {.kind = HMM_TRACE_RESIZE, .id = 127, .size = 7},
        {.kind = HMM_TRACE_FREE, .id = 127},
        {.kind = HMM_TRACE_ALLOC, .id = 127, .size = 5},
        {.kind = HMM_TRACE_FREE, .id = 0},
    };
    struct hmm_trace_writer *w = hmm_trace_writer_open(path, &error);
    ck_assert_ptr_nonnull(w);
    hmm_trace_writer_plain(w);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (i == 1)
            ck_assert(hmm_trace_write_comment(w, "comment"));
        ck_assert(hmm_trace_write(w, &ops[i]));
    }
    ck_assert(hmm_trace_writer_close(w, &error));
    struct bytes b = read_file();
    ck_assert_uint_gt(b.size, sizeof want);
    for (size_t i = 0; i < sizeof want; i++)
        ck_assert_msg(b.at[i] == want[i], "byte %zu: %d", i, b.at[i]);
    free(b.at);
}
END_TEST

START_TEST(checksums_are_those_of_zip)
{
    ck_assert_uint_eq(hmm_packed_crc(0, "123456789", 9), 0xcbf43926u);
    ck_assert_uint_eq(hmm_packed_crc(hmm_packed_crc(0, "1234", 4), "56789", 5), 0xcbf43926u);
    ck_assert_uint_eq(hmm_packed_crc(0, "", 0), 0);
}
END_TEST

START_TEST(varints_are_read_as_they_are_written)
{
    struct hmm_packed_column c = {0};
    const unsigned char *at;
    uint64_t value = 0;
    for (unsigned bit = 0; bit < 64; bit++)
        for (int near = -1; near <= 1; near++) {
            const uint64_t want = (UINT64_C(1) << bit) + (uint64_t)(int64_t)near;
            c.used = 0;
            hmm_packed_put_varint(&c, want);
            at = c.bytes;
            ck_assert(hmm_packed_get_varint(&at, c.bytes + c.used, &value) && value == want);
            ck_assert_ptr_eq(at, c.bytes + c.used);
            at = c.bytes;
            ck_assert(!hmm_packed_get_varint(&at, c.bytes + c.used - 1, &value));
            ck_assert(hmm_packed_unzigzag(hmm_packed_zigzag((int64_t)want)) == (int64_t)want);
        }
    static const unsigned char long_one[] = {128, 128, 128, 128, 128, 128, 128, 128, 128, 2},
                               longer[] = {128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 0};
    at = long_one;
    ck_assert(!hmm_packed_get_varint(&at, at + sizeof long_one, &value));
    at = longer;
    ck_assert(!hmm_packed_get_varint(&at, at + sizeof longer, &value));
    free(c.bytes);
}
END_TEST

/* ---- Round trips ---- */

#define MANY scaled(400000)

START_TEST(what_is_written_is_read)
{
    const size_t most = _i % 2 == 0 ? 20 : 30000;
    struct hmm_trace_op *ops = made_trace(MANY, most, (enum made_ids)(_i / 2), (uint64_t)_i);
    bool good, unended;
    made_file(path, ops, MANY, 1000);
    ck_assert_uint_eq(read_prefix(ops, MANY, &good, &unended), MANY);
    ck_assert_msg(good && !unended, "%s", error.reason);
    free(ops);
}
END_TEST

START_TEST(ids_may_be_far_apart)
{
    const size_t count = scaled(30000);
    struct hmm_trace_op *ops = calloc(count, sizeof *ops);
    bool good, unended;
    for (size_t i = 0; i < count; i++)
        ops[i] = (struct hmm_trace_op){
            .id = (uint32_t)(i % 2 == 0 ? HMM_TRACE_ID_BASE + 16 * i : i), .size = i};
    made_file(path, ops, count, 0);
    ck_assert_uint_eq(read_prefix(ops, count, &good, &unended), count);
    ck_assert_msg(good && !unended, "%s", error.reason);
    free(ops);
}
END_TEST

START_TEST(a_trace_without_operations)
{
    bool good, unended;
    made_file(path, NULL, 0, 0);
    ck_assert_uint_eq(read_prefix(NULL, 0, &good, &unended), 0);
    ck_assert(good && !unended);
}
END_TEST

/* Comments are given with the operation below them, the last ones too, in either form. */
struct seen {
    size_t count;
    uint64_t ops[8];
    char lines[8][40];
};

static void see(void *arg, uint64_t op, const char *line, size_t length)
{
    struct seen *s = arg;
    ck_assert(s->count < 8 && length < sizeof s->lines[0]);
    s->ops[s->count] = op;
    memcpy(s->lines[s->count], line, length);
    s->lines[s->count++][length] = '\0';
}

START_TEST(comments_keep_their_places)
{
    static const struct hmm_trace_op a = {.id = 0, .size = 1}, f = {.kind = HMM_TRACE_FREE};
    struct seen seen = {0};
    struct hmm_trace_op ops[8];
    snprintf(path, sizeof path, "%s/%s", folder, _i == 0 ? "t.ht2" : "t.trace");
    struct hmm_trace_writer *w = hmm_trace_writer_open(path, &error);
    ck_assert_ptr_nonnull(w);
    ck_assert(hmm_trace_write_line(w, "#first", 6) && hmm_trace_write_line(w, "#", 1));
    ck_assert(hmm_trace_write(w, &a) && hmm_trace_write_line(w, "# two words", 11));
    ck_assert(hmm_trace_write(w, &f) && hmm_trace_write_line(w, "#last", 5));
    ck_assert(hmm_trace_writer_close(w, &error));
    struct hmm_trace_reader *r = hmm_trace_reader_open(path, 0, &error);
    hmm_trace_reader_comments(r, see, &seen);
    ck_assert_int_eq(hmm_trace_read(r, ops, 8, &error), 2);
    ck_assert_uint_eq(seen.count, 4);
    static const uint64_t places[] = {0, 0, 1, 2};
    static const char *const lines[] = {"#first", "#", "# two words", "#last"};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(seen.ops[i], places[i]);
        ck_assert_str_eq(seen.lines[i], lines[i]);
    }
    hmm_trace_reader_close(r);
}
END_TEST

/* ---- Cut and damaged files ---- */

#define FEW 400

/* Where blocks begin, so where a cut is no damage. */
static bool is_boundary(const struct bytes *b, size_t cut)
{
    size_t at = HMM_PACKED_FILE_HEADER;
    struct hmm_packed_header h;
    while (at < cut && at + HMM_PACKED_BLOCK_HEADER <= b->size &&
           hmm_packed_get_header(b->at + at, &h) && !hmm_packed_is(&h, "INDX"))
        at += HMM_PACKED_BLOCK_HEADER + h.stored;
    return at == cut;
}

START_TEST(a_cut_is_found_wherever_it_is)
{
    struct hmm_trace_op *ops = made_trace(FEW, 40, MADE_LAST_FREED, 1);
    bool good, unended;
    made_file(path, ops, FEW, 7);
    struct bytes b = read_file();
    for (size_t cut = 8; cut < b.size; cut++) {
        write_file(b.at, cut);
        const size_t n = read_prefix(ops, FEW, &good, &unended);
        require(good == is_boundary(&b, cut) && unended == good, "cut at %zu", cut);
        require(good || strstr(error.reason, "truncated") == error.reason, "cut at %zu: %s", cut,
                error.reason);
        require(n == 0 || n == FEW, "cut at %zu: %zu", cut, n);
    }
    free(b.at);
    free(ops);
}
END_TEST

START_TEST(a_bit_that_is_wrong_is_found_wherever_it_is)
{
    struct hmm_trace_op *ops = made_trace(FEW, 40, MADE_ANY, 2);
    bool good, unended;
    made_file(path, ops, FEW, 50);
    struct bytes b = read_file();
    for (size_t i = 0; i < b.size * 8; i += under_valgrind() ? 37 : 1) {
        b.at[i / 8] ^= (unsigned char)(1 << i % 8);
        write_file(b.at, b.size);
        const size_t n = read_prefix(ops, FEW, &good, &unended);
        require(!good && (n == 0 || n == FEW), "bit %zu of byte %zu", i % 8, i / 8);
        b.at[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    free(b.at);
    free(ops);
}
END_TEST

START_TEST(damage_says_where_and_what_is_whole)
{
    const size_t count = 2 * HMM_PACKED_OPS + 10;
    struct hmm_trace_op *ops = made_trace(count, 50, MADE_SEQUENTIAL, 3);
    struct hmm_packed_header h;
    bool good, unended;
    char want[200];
    made_file(path, ops, count, 0);
    struct bytes b = read_file();
    ck_assert(hmm_packed_get_header(b.at + HMM_PACKED_FILE_HEADER, &h));
    const size_t second = HMM_PACKED_FILE_HEADER + HMM_PACKED_BLOCK_HEADER + h.stored;
    b.at[second + 100] ^= 1;
    write_file(b.at, b.size);
    ck_assert_uint_eq(read_prefix(ops, count, &good, &unended), HMM_PACKED_OPS);
    ck_assert(!good);
    snprintf(want, sizeof want,
             "damaged at byte %zu: the checksum of the block is not right; "
             "the first 65536 operations are whole",
             second);
    ck_assert_str_eq(error.reason, want);
    write_file(b.at, second + 100);
    ck_assert_uint_eq(read_prefix(ops, count, &good, &unended), HMM_PACKED_OPS);
    snprintf(want, sizeof want,
             "truncated in the block at byte %zu; the first 65536 operations are whole", second);
    ck_assert_str_eq(error.reason, want);
    write_file(b.at, second);
    ck_assert_uint_eq(read_prefix(ops, count, &good, &unended), HMM_PACKED_OPS);
    ck_assert(good && unended);
    free(b.at);
    free(ops);
}
END_TEST

START_TEST(a_block_left_out_is_missed)
{
    const size_t count = 2 * HMM_PACKED_OPS;
    struct hmm_trace_op *ops = made_trace(count, 50, MADE_SEQUENTIAL, 4);
    struct hmm_packed_header h;
    bool good, unended;
    made_file(path, ops, count, 0);
    struct bytes b = read_file();
    ck_assert(hmm_packed_get_header(b.at + HMM_PACKED_FILE_HEADER, &h));
    const size_t first = HMM_PACKED_BLOCK_HEADER + h.stored, left = b.size - first;
    memmove(b.at + HMM_PACKED_FILE_HEADER, b.at + HMM_PACKED_FILE_HEADER + first,
            left - HMM_PACKED_FILE_HEADER);
    write_file(b.at, left);
    ck_assert_uint_eq(read_prefix(ops, count, &good, &unended), 0);
    ck_assert_ptr_nonnull(strstr(error.reason, "operations are missing before this block"));
    free(b.at);
    free(ops);
}
END_TEST

static void assert_refused(const char *reason)
{
    bool good, unended;
    read_prefix(NULL, 0, &good, &unended);
    ck_assert(!good);
    ck_assert_str_eq(error.reason, reason);
    ck_assert_uint_eq(error.line, 0);
}

START_TEST(refuses_other_versions_and_what_follows_the_end)
{
    made_file(path, NULL, 0, 0);
    struct bytes b = read_file();
    b.at = realloc(b.at, b.size + 1);
    b.at[b.size] = 0;
    write_file(b.at, b.size + 1);
    char want[200];
    snprintf(want, sizeof want,
             "damaged at byte %zu: the file goes on after its end mark; "
             "the first 0 operations are whole",
             b.size - HMM_PACKED_TRAILER);
    assert_refused(want);
    hmm_packed_put32(b.at + 8, 3);
    hmm_packed_put32(b.at + 12, hmm_packed_crc(0, b.at, 12));
    write_file(b.at, b.size);
    assert_refused("binary trace format 3 is not known, only 2");
    free(b.at);
}
END_TEST

/* ---- Files whose checksums are right, whatever is in them ---- */

/* A file of one block of operations with this payload. */
static void write_block(const char *tag, const unsigned char *payload, size_t size, uint32_t ops)
{
    unsigned char file[1000];
    struct hmm_packed_header h = {
        .stored = (uint32_t)size, .plain = (uint32_t)size, .count = ops, .codec = 0};
    memcpy(h.tag, tag, 4);
    hmm_packed_put_file_header(file);
    memcpy(file + 48, payload, size);
    hmm_packed_put_header(file + 16, &h);
    write_file(file, 48 + size);
}

/* Columns of these lengths, and their bytes. */
static void write_columns(const unsigned char *lengths, const char *bytes, size_t size,
                          uint32_t ops)
{
    unsigned char payload[200] = {0};
    for (int i = 0; i < HMM_COLUMNS; i++)
        payload[4 * i] = lengths[i];
    memcpy(payload + 20, bytes, size);
    write_block("OPS ", payload, 20 + size, ops);
}

#define WRONG(what) "damaged at byte 16: " what "; the first %d operations are whole"
#define COLUMNS WRONG("the block's columns are malformed")
#define OPERATION WRONG("an operation in the block is malformed")

static const struct {
    unsigned char lengths[HMM_COLUMNS];
    const char *bytes;
    size_t size;
    uint32_t ops;
    int whole; /* operations before the fault */
    const char *reason;
} deceits[] = {
    {{1, 0, 1, 0, 0}, "\x04\x05", 2, 2, 0, COLUMNS},              /* a kind is missing */
    {{2, 0, 1, 0, 0}, "\x04\x05\x05", 3, 1, 0, COLUMNS},          /* one too many */
    {{1, 0, 1, 0, 0}, "\x04\x05\x05", 3, 1, 0, COLUMNS},          /* bytes after the columns */
    {{1, 0, 9, 0, 0}, "\x04\x05", 2, 1, 0, COLUMNS},              /* a column beyond the block */
    {{1, 0, 1, 0, 2}, "\x04\x05\x02\x01", 4, 1, 0, COLUMNS},      /* a comment beyond it */
    {{1, 0, 2, 0, 0}, "\x04\x05\x05", 3, 1, 1, OPERATION},        /* a size too many */
    {{1, 0, 0, 0, 0}, "\x04", 1, 1, 0, OPERATION},                /* no size */
    {{1, 0, 1, 0, 0}, "\x04\x80", 2, 1, 0, OPERATION},            /* half a size */
    {{1, 0, 1, 0, 0}, "\x00\x05", 2, 1, 0, OPERATION},            /* no ID */
    {{1, 1, 1, 0, 0}, "\x00\x01\x05", 3, 1, 0, OPERATION},        /* an ID below 0 */
    {{1, 0, 1, 0, 0}, "\x08\x05", 2, 1, 0, OPERATION},            /* an empty stack */
    {{1, 0, 1, 0, 0}, "\x0c\x05", 2, 1, 0, OPERATION},            /* how? */
    {{2, 0, 1, 0, 0}, "\x04\x07\x05", 3, 2, 1, OPERATION},        /* a free of the next ID */
    {{1, 0, 1, 0, 0}, "\x05\x05", 2, 1, 0, OPERATION},            /* no alignment */
    {{1, 0, 1, 1, 0}, "\x05\x05\x3f", 3, 1, 0, OPERATION},        /* 2^63 */
    {{1, 0, 1, 0, 3}, "\x04\x05\x00\x01x", 5, 1, 0, OPERATION},   /* a comment without # */
    {{1, 0, 1, 0, 4}, "\x04\x05\x00\x02#\n", 6, 1, 0, OPERATION}, /* of two lines */
    {{1, 0, 1, 0, 3}, "\x04\x05\x00\x02#", 5, 1, 0, OPERATION},   /* that is cut */
    {{1, 0, 1, 0, 2}, "\x04\x05\x00\x00", 4, 1, 0, OPERATION},    /* that is empty */
    {{1, 1, 0, 0, 0}, "\x03\x00", 2, 1, 0, "operation 1: ID 0 is freed but was never allocated"},
    {{3, 2, 1, 0, 0}, "\x04\x03\x03\x00\x00\x05", 6, 3, 2, "operation 3: ID 0 is freed twice"},
};

START_TEST(refuses_a_block_that_deceives)
{
    struct hmm_trace_op op;
    char want[200];
    write_columns(deceits[_i].lengths, deceits[_i].bytes, deceits[_i].size, deceits[_i].ops);
    struct hmm_trace_reader *r = hmm_trace_reader_open(path, 0, &error);
    ck_assert_ptr_nonnull(r);
    for (int i = 0; i < deceits[_i].whole; i++)
        ck_assert_int_eq(hmm_trace_read(r, &op, 1, &error), 1);
    ck_assert_int_eq(hmm_trace_read(r, &op, 1, &error), -1);
    const char *format = deceits[_i].reason, *number = strstr(format, "%d");
    if (number != NULL)
        snprintf(want, sizeof want, "%.*s%d%s", (int)(number - format), format, deceits[_i].whole,
                 number + 2);
    else
        snprintf(want, sizeof want, "%s", format);
    ck_assert_str_eq(error.reason, want);
    ck_assert_int_eq(hmm_trace_read(r, &op, 1, &error), -1);
    ck_assert_str_eq(error.reason, want);
    hmm_trace_reader_close(r);
}
END_TEST

START_TEST(passes_over_blocks_that_may_be_left_out)
{
    bool good, unended;
    write_block("site", (const unsigned char *)"anything", 8, 3);
    read_prefix(NULL, 0, &good, &unended);
    ck_assert(good && unended);
    write_block("SITE", (const unsigned char *)"anything", 8, 3);
    assert_refused("damaged at byte 16: no block begins here; the first 0 operations are whole");
}
END_TEST

/* Makes the checksums of all blocks right that can be found. */
static void mend_checksums(struct bytes *b)
{
    size_t at = HMM_PACKED_FILE_HEADER;
    struct hmm_packed_header h;
    while (at + HMM_PACKED_BLOCK_HEADER <= b->size && hmm_packed_get_header(b->at + at, &h) &&
           h.stored <= b->size - at - HMM_PACKED_BLOCK_HEADER) {
        hmm_packed_put_header(b->at + at, &h);
        at += HMM_PACKED_BLOCK_HEADER + h.stored;
    }
}

/* What is read, whatever it is, is what a program can have done; the sanitizers see to the rest. */
static void read_whatever(void)
{
    struct hmm_trace_op op;
    size_t count = 0;
    struct hmm_trace_reader *r = hmm_trace_reader_open(path, HMM_TRACE_DENSE, &error);
    while (r != NULL && hmm_trace_read(r, &op, 1, &error) > 0) {
        require(op.id < hmm_trace_reader_summary(r)->peak_blocks && op.kind < HMM_TRACE_KINDS,
                "operation %zu", count);
        count++;
    }
    if (r != NULL) {
        hmm_trace_seek(r, count / 2, &error);
        free(hmm_trace_reader_live(r, &count));
    }
    hmm_trace_reader_close(r);
}

START_TEST(survives_what_is_changed_at_random)
{
    uint64_t rng = (uint64_t)_i + 1;
    struct hmm_trace_op *ops = made_trace(300, 30, (enum made_ids)(_i % MADE_POLICIES), rng);
    struct hmm_trace_writer *w = hmm_trace_writer_open(path, &error);
    ck_assert_ptr_nonnull(w);
    if (_i % 2 == 0)
        hmm_trace_writer_plain(w);
    for (size_t i = 0; i < 300; i++)
        ck_assert(hmm_trace_write(w, &ops[i]));
    ck_assert(hmm_trace_writer_close(w, &error));
    struct bytes b = read_file();
    unsigned char *changed = malloc(b.size);
    for (unsigned long n = scaled(3000); n != 0; n--) {
        struct bytes c = {changed, b.size};
        memcpy(changed, b.at, b.size);
        for (size_t k = 1 + rng_below(&rng, 4); k != 0; k--)
            changed[rng_below(&rng, b.size)] = (unsigned char)rng_next(&rng);
        mend_checksums(&c);
        write_file(changed, b.size);
        read_whatever();
    }
    free(changed);
    free(b.at);
    free(ops);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trace format 2");
    TCase *cases = add_case(suite, "trace format 2");
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_add_test(cases, the_bytes_are_those_of_the_manual);
    tcase_add_test(cases, checksums_are_those_of_zip);
    tcase_add_test(cases, varints_are_read_as_they_are_written);
    tcase_add_loop_test(cases, what_is_written_is_read, 0, 2 * MADE_POLICIES);
    tcase_add_test(cases, ids_may_be_far_apart);
    tcase_add_test(cases, a_trace_without_operations);
    tcase_add_loop_test(cases, comments_keep_their_places, 0, 2);
    tcase_add_test(cases, a_cut_is_found_wherever_it_is);
    tcase_add_test(cases, a_bit_that_is_wrong_is_found_wherever_it_is);
    tcase_add_test(cases, damage_says_where_and_what_is_whole);
    tcase_add_test(cases, a_block_left_out_is_missed);
    tcase_add_test(cases, refuses_other_versions_and_what_follows_the_end);
    tcase_add_loop_test(cases, refuses_a_block_that_deceives, 0,
                        (int)(sizeof deceits / sizeof deceits[0]));
    tcase_add_test(cases, passes_over_blocks_that_may_be_left_out);
    tcase_add_loop_test(cases, survives_what_is_changed_at_random, 0, 6);
    return run_suite(suite);
}
