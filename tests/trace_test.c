/* SPDX-License-Identifier: MIT */
/*
 * The trace reader: what it reads, and each thing it refuses, with its exact line.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "trace.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#define HEADER "# hmm-trace 1\n"

static char path[] = "/tmp/hmm-trace-test-XXXXXX";
static struct hmm_trace trace;
static struct hmm_trace_error error;

static void write_file(const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

static bool load_bytes(const void *bytes, size_t size)
{
    write_file(bytes, size);
    return hmm_trace_load(&trace, path, NULL, &error);
}

static bool load(const char *text)
{
    return load_bytes(text, strlen(text));
}

static void make_file(void)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void remove_file(void)
{
    unlink(path);
    hmm_trace_free(&trace);
    strcpy(path + strlen(path) - 6, "XXXXXX");
}

/* ---- What is read ---- */

START_TEST(reads_every_kind_of_operation)
{
    ck_assert(load(HEADER "a 0 10\n# a comment\nm 1 64 7\nr 0 30\nf 1\na 1 0\nf 0\n"));
    ck_assert_uint_eq(trace.op_count, 6);
    ck_assert_uint_eq(trace.counts[HMM_TRACE_ALLOC], 2);
    ck_assert_uint_eq(trace.counts[HMM_TRACE_ALIGNED], 1);
    ck_assert_uint_eq(trace.counts[HMM_TRACE_RESIZE], 1);
    ck_assert_uint_eq(trace.counts[HMM_TRACE_FREE], 2);
    ck_assert_uint_eq(trace.id_limit, 2);
    ck_assert_uint_eq(trace.peak_bytes, 37);
    ck_assert_uint_eq(trace.peak_blocks, 2);
    const struct hmm_trace_op *m = &trace.ops[1];
    ck_assert_int_eq(m->kind, HMM_TRACE_ALIGNED);
    ck_assert_uint_eq(m->id, 1);
    ck_assert_uint_eq(m->align_log2, 6);
    ck_assert_uint_eq(m->size, 7);
}
END_TEST

START_TEST(an_operation_is_sixteen_bytes)
{
    ck_assert_uint_eq(sizeof(struct hmm_trace_op), 16);
}
END_TEST

START_TEST(reads_a_trace_without_operations)
{
    ck_assert(load(HEADER));
    ck_assert_uint_eq(trace.op_count, 0);
    ck_assert_uint_eq(trace.id_limit, 0);
    ck_assert_uint_eq(trace.peak_bytes, 0);
}
END_TEST

START_TEST(lets_carriage_returns_pass)
{
    ck_assert(load("# hmm-trace 1\r\n# note\r\na 0 10\r\nf 0\r\n"));
    ck_assert_uint_eq(trace.op_count, 2);
    ck_assert_uint_eq(trace.ops[0].size, 10);
}
END_TEST

START_TEST(reads_the_largest_numbers)
{
    char text[100];
    snprintf(text, sizeof text, HEADER "m 1048576 %zu %zu\n", (size_t)PTRDIFF_MAX / 2 + 1,
             (size_t)PTRDIFF_MAX);
    ck_assert(load(text));
    ck_assert_uint_eq(trace.ops[0].align_log2, sizeof(size_t) * 8 - 2);
    ck_assert_uint_eq(trace.peak_bytes, PTRDIFF_MAX);
}
END_TEST

/* Lines of 11 bytes: no chunk's end is at a line's end, but for one in eleven. */
static char *many_lines(unsigned count, size_t *size)
{
    const size_t header = sizeof HEADER - 1;
    *size = header + (size_t)count * 11;
    char *text = malloc(*size + 1);
    ck_assert_ptr_nonnull(text);
    strcpy(text, HEADER);
    for (unsigned i = 0; i < count; i++)
        snprintf(text + header + (size_t)i * 11, 12, i % 2 ? "f %08u\n" : "a %06u 1\n", i / 2);
    return text;
}

START_TEST(reads_over_the_ends_of_chunks)
{
    size_t size;
    char *text = many_lines(200000, &size);
    ck_assert(load_bytes(text, size));
    ck_assert_uint_eq(trace.op_count, 200000);
    ck_assert_uint_eq(trace.peak_blocks, 1);
    ck_assert_uint_eq(trace.ops[199999].id, 99999);
    free(text);
}
END_TEST

struct told {
    unsigned times;
    uint64_t done, total;
};

static void tell(void *arg, uint64_t done, uint64_t total)
{
    struct told *t = arg;
    ck_assert_uint_ge(done, t->done);
    *t = (struct told){t->times + 1, done, total};
}

START_TEST(tells_how_far_it_is)
{
    size_t size;
    char *text = many_lines(100000, &size);
    struct told told = {0};
    struct hmm_trace_progress progress = {tell, &told};
    write_file(text, size);
    ck_assert(hmm_trace_load(&trace, path, &progress, &error));
    ck_assert_uint_gt(told.times, 2);
    ck_assert_uint_eq(told.done, size);
    ck_assert_uint_eq(told.total, size);
    free(text);
}
END_TEST

/* ---- What is refused ---- */

static void assert_refused(uint64_t line, const char *reason)
{
    ck_assert_str_eq(error.reason, reason);
    ck_assert_uint_eq(error.line, line);
    ck_assert_ptr_null(trace.ops);
    ck_assert_uint_eq(trace.op_count, 0);
}

static const struct {
    const char *text;
    uint64_t line;
    const char *reason;
} refused[] = {
    {"", 1, "not a trace: the file is empty"},
    {"\n", 1, "not a trace: the first line must be '# hmm-trace 1'"},
    {"hello\n", 1, "not a trace: the first line must be '# hmm-trace 1'"},
    {"hello", 1, "not a trace: the first line must be '# hmm-trace 1'"},
    {"a 0 1\n", 1, "not a trace: the first line must be '# hmm-trace 1'"},
    {"# hmm-trace \n", 1, "not a trace: the first line must be '# hmm-trace 1'"},
    {"# hmm-trace 2\n", 1, "trace format '2' is not known, only 1"},
    {"# hmm-trace 10\n", 1, "trace format '10' is not known, only 1"},
    {"# hmm-trace 1", 1, "truncated: the last line does not end with a newline"},
    {HEADER "a 0 1\nf 0", 3, "truncated: the last line does not end with a newline"},
    {HEADER "a 0 1\n# the end", 3, "truncated: the last line does not end with a newline"},
    {HEADER "\n", 2, "empty line"},
    {HEADER "\r\n", 2, "empty line"},
    {HEADER "x 0 1\n", 2, "unknown operation 'x': it is one of a, m, r, f"},
    {HEADER "A 0 1\n", 2, "unknown operation 'A': it is one of a, m, r, f"},
    {HEADER "free 0\n", 2, "unknown operation 'free': it is one of a, m, r, f"},
    {HEADER " a 0 1\n", 2, "unknown operation '': it is one of a, m, r, f"},
    {HEADER "a\t0 1\n", 2, "unknown operation 'a?0': it is one of a, m, r, f"},
    {HEADER "abcdefghijklmnopqrstuvwxyz\n", 2,
     "unknown operation 'abcdefghijklmnopqrst...': it is one of a, m, r, f"},
    {HEADER "a\n", 2, "ID is missing"},
    {HEADER "a \n", 2, "ID is missing"},
    {HEADER "a 0\n", 2, "SIZE is missing"},
    {HEADER "a 0 \r\n", 2, "SIZE is missing"},
    {HEADER "f\n", 2, "ID is missing"},
    {HEADER "r 0\n", 2, "SIZE is missing"},
    {HEADER "m 0\n", 2, "ALIGN is missing"},
    {HEADER "m 0 16\n", 2, "SIZE is missing"},
    {HEADER "a 0 1 2\n", 2, "more fields than 'a' has: '2'"},
    {HEADER "a 0 1 \n", 2, "more fields than 'a' has: ''"},
    {HEADER "m 0 16 2 3 4\n", 2, "more fields than 'm' has: '3 4'"},
    {HEADER "a 0 1\nf 0 1\n", 3, "more fields than 'f' has: '1'"},
    {HEADER "a zero 1\n", 2, "ID is not a decimal number: 'zero'"},
    {HEADER "a -1 1\n", 2, "ID is not a decimal number: '-1'"},
    {HEADER "a 0 0x10\n", 2, "SIZE is not a decimal number: '0x10'"},
    {HEADER "a 0 1.5\n", 2, "SIZE is not a decimal number: '1.5'"},
    {HEADER "a 0  1\n", 2, "SIZE is not a decimal number: ''"},
    {HEADER "a 4294967295 1\n", 2, "ID is too large: 4294967295"},
    {HEADER "a 0 9223372036854775808\n", 2, "SIZE is too large: 9223372036854775808"},
    {HEADER "a 0 99999999999999999999\n", 2, "SIZE is too large: 99999999999999999999"},
    {HEADER "a 0 18446744073709551617\n", 2, "SIZE is too large: 18446744073709551617"},
    {HEADER "m 0 0 1\n", 2, "ALIGN is not a power of two: 0"},
    {HEADER "m 0 24 1\n", 2, "ALIGN is not a power of two: 24"},
    {HEADER "m 0 9223372036854775808 1\n", 2, "ALIGN is too large: 9223372036854775808"},
    {HEADER "a 0 1\nf 0\nf 0\n", 4, "ID 0 is freed twice"},
    {HEADER "f 0\n", 2, "ID 0 is freed but was never allocated"},
    {HEADER "a 0 1\nf 1\n", 3, "ID 1 is freed but was never allocated"},
    {HEADER "a 0 1\nf 4000000000\n", 3, "ID 4000000000 is freed but was never allocated"},
    {HEADER "a 0 1\nr 1 5\n", 3, "ID 1 is resized but was never allocated"},
    {HEADER "a 0 1\nf 0\nr 0 5\n", 4, "ID 0 is resized after it was freed"},
    {HEADER "a 0 1\na 0 1\n", 3, "ID 0 is allocated while it is live"},
    {HEADER "a 0 1\nm 0 16 1\n", 3, "ID 0 is allocated while it is live"},
    {HEADER "a 0 1\na 1048593 1\n", 3,
     "ID 1048593 is out of proportion: after 1 operations at most 1048592"},
};

START_TEST(refuses)
{
    ck_assert(!load(refused[_i].text));
    assert_refused(refused[_i].line, refused[_i].reason);
}
END_TEST

START_TEST(refuses_more_live_bytes_than_memory_can_have)
{
    char text[100], reason[200];
    snprintf(text, sizeof text, HEADER "a 0 1\na 1 %zu\n", (size_t)PTRDIFF_MAX);
    snprintf(reason, sizeof reason, "SIZE is too large: all live blocks would be above %lld bytes",
             (long long)PTRDIFF_MAX);
    ck_assert(!load(text));
    assert_refused(3, reason);
}
END_TEST

START_TEST(refuses_a_missing_file)
{
    ck_assert(!hmm_trace_load(&trace, "/nonexistent/trace", NULL, &error));
    assert_refused(0, "cannot open: No such file or directory");
}
END_TEST

START_TEST(refuses_a_folder)
{
    ck_assert(!hmm_trace_load(&trace, "/tmp", NULL, &error));
    assert_refused(0, "cannot read: Is a directory");
}
END_TEST

START_TEST(refuses_an_endless_line)
{
    size_t size = 400000;
    char *text = malloc(size);
    ck_assert_ptr_nonnull(text);
    memset(text, '#', size);
    ck_assert(!load_bytes(text, size));
    assert_refused(1, "not a trace: the first line must be '# hmm-trace 1'");
    memcpy(text, HEADER, sizeof HEADER - 1);
    ck_assert(!load_bytes(text, size));
    assert_refused(2, "the line is longer than 262144 bytes");
    free(text);
}
END_TEST

START_TEST(refuses_bytes_of_zero)
{
    ck_assert(!load_bytes(HEADER "a 0\0 1\n", sizeof HEADER - 1 + 7));
    assert_refused(2, "ID is not a decimal number: '0?'");
    ck_assert(!load_bytes("\0\0\0\0\0\0\0", 7));
    assert_refused(1, "not a trace: the first line must be '# hmm-trace 1'");
}
END_TEST

START_TEST(prints_file_line_and_reason)
{
    char text[300] = "";
    FILE *to = fmemopen(text, sizeof text, "w");
    ck_assert_ptr_nonnull(to);
    hmm_trace_print_error(to, "a.trace",
                          &(struct hmm_trace_error){.line = 7, .reason = "empty line"});
    hmm_trace_print_error(to, "b.trace", &(struct hmm_trace_error){.reason = "cannot open: x"});
    fclose(to);
    ck_assert_str_eq(text, "a.trace:7: empty line\nb.trace: cannot open: x\n");
}
END_TEST

/* ---- zstd ---- */

#ifdef HAVE_ZSTD
/* The text as a frame, at `to`; returns its size. */
static size_t compress(const char *text, size_t size, char *to, size_t room)
{
    size_t n = ZSTD_compress(to, room, text, size, 3);
    ck_assert(!ZSTD_isError(n));
    return n;
}

START_TEST(reads_zstd)
{
    static const char text[] = HEADER "a 0 10\nf 0\n";
    char frame[400];
    ck_assert(load_bytes(frame, compress(text, sizeof text - 1, frame, sizeof frame)));
    ck_assert_uint_eq(trace.op_count, 2);
}
END_TEST

START_TEST(reads_several_frames_and_skippable_ones)
{
    char bytes[800] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 'n', 'o', 't', 'e'};
    size_t n = 12;
    n += compress(HEADER "a 0 ", sizeof HEADER + 3, bytes + n, sizeof bytes - n);
    n += compress("10\nf 0\n", 7, bytes + n, sizeof bytes - n);
    ck_assert(load_bytes(bytes, n));
    ck_assert_uint_eq(trace.op_count, 2);
    ck_assert_uint_eq(trace.ops[0].size, 10);
}
END_TEST

START_TEST(says_of_truncated_zstd_that_it_is_wherever_it_is_cut)
{
    static const char text[] = HEADER "a 0 10\nf 0\n";
    char frame[400];
    size_t n = compress(text, sizeof text - 1, frame, sizeof frame);
    for (size_t cut = 4; cut < n; cut++) {
        bool any = load_bytes(frame, cut);
        ck_assert(any == trace.is_cut);
        ck_assert_str_eq(error.reason, "truncated: the zstd data ends in the middle of a frame");
        ck_assert_uint_eq(error.line, any ? trace.op_count + 2 : 1);
        hmm_trace_free(&trace);
    }
}
END_TEST

START_TEST(names_the_line_at_which_zstd_is_truncated)
{
    size_t size;
    char *text = many_lines(200000, &size), *frame = malloc(size);
    ck_assert_ptr_nonnull(frame);
    size_t n = compress(text, size, frame, size);
    ck_assert(load_bytes(frame, n - n / 4) && trace.is_cut);
    ck_assert_uint_eq(trace.op_count, error.line - 2);
    ck_assert_str_eq(error.reason, "truncated: the zstd data ends in the middle of a frame");
    ck_assert_uint_gt(error.line, 10000);
    ck_assert_uint_lt(error.line, 200001);
    free(frame);
    free(text);
}
END_TEST

START_TEST(refuses_damaged_zstd)
{
    static const char text[] = HEADER "a 0 10\nf 0\n";
    char frame[400];
    size_t n = compress(text, sizeof text - 1, frame, sizeof frame);
    frame[n] = 'x';
    strcpy(frame + n, "garbage");
    ck_assert(!load_bytes(frame, n + 7));
    ck_assert_uint_eq(error.line, 4);
    ck_assert_msg(strncmp(error.reason, "damaged zstd data: ", 19) == 0, "%s", error.reason);
}
END_TEST

START_TEST(refuses_bad_lines_in_zstd)
{
    static const char text[] = HEADER "a 0 10\nf 0\nf 0\n";
    char frame[400];
    ck_assert(!load_bytes(frame, compress(text, sizeof text - 1, frame, sizeof frame)));
    assert_refused(4, "ID 0 is freed twice");
}
END_TEST
#else
START_TEST(names_the_package_for_zstd)
{
    ck_assert(!load_bytes("\x28\xb5\x2f\xfd....", 8));
    assert_refused(0, "compressed with zstd, which this build of hmm cannot read: rebuild it with "
                      "libzstd (Debian package libzstd-dev)");
}
END_TEST
#endif

static void add_zstd(TCase *c)
{
#ifdef HAVE_ZSTD
    tcase_add_test(c, reads_zstd);
    tcase_add_test(c, reads_several_frames_and_skippable_ones);
    tcase_add_test(c, says_of_truncated_zstd_that_it_is_wherever_it_is_cut);
    tcase_add_test(c, names_the_line_at_which_zstd_is_truncated);
    tcase_add_test(c, refuses_damaged_zstd);
    tcase_add_test(c, refuses_bad_lines_in_zstd);
#else
    tcase_add_test(c, names_the_package_for_zstd);
#endif
}

static Suite *suite(void)
{
    TCase *c = tcase_create("reader");
    tcase_add_checked_fixture(c, make_file, remove_file);
    tcase_add_test(c, reads_every_kind_of_operation);
    tcase_add_test(c, an_operation_is_sixteen_bytes);
    tcase_add_test(c, reads_a_trace_without_operations);
    tcase_add_test(c, lets_carriage_returns_pass);
    tcase_add_test(c, reads_the_largest_numbers);
    tcase_add_test(c, reads_over_the_ends_of_chunks);
    tcase_add_test(c, tells_how_far_it_is);
    tcase_add_loop_test(c, refuses, 0, (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(c, refuses_more_live_bytes_than_memory_can_have);
    tcase_add_test(c, refuses_a_missing_file);
    tcase_add_test(c, refuses_a_folder);
    tcase_add_test(c, refuses_an_endless_line);
    tcase_add_test(c, refuses_bytes_of_zero);
    tcase_add_test(c, prints_file_line_and_reason);
    add_zstd(c);
    Suite *s = suite_create("trace");
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
