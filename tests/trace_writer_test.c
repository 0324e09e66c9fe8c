/* SPDX-License-Identifier: MIT */
/*
 * The trace writer: what it writes can be read, byte for byte and operation for operation, and what
 * a full disk leaves is a whole trace.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "harness.h"
#include "trace.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANY scaled(1000000)

static char folder[64], path[100];
static struct hmm_trace_error error;

static void make_folder(void)
{
    strcpy(folder, "/tmp/hmm-writer-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

static struct hmm_trace_writer *open_writer(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    struct hmm_trace_writer *w = hmm_trace_writer_open(path, &error);
    ck_assert_msg(w != NULL, "%s", error.reason);
    return w;
}

static struct hmm_trace load(void)
{
    struct hmm_trace trace;
    ck_assert_msg(hmm_trace_load(&trace, path, NULL, &error), "line %llu: %s",
                  (unsigned long long)error.line, error.reason);
    return trace;
}

/* The n-th of a long trace that holds at most a thousand blocks. */
static struct hmm_trace_op nth(size_t n)
{
    struct hmm_trace_op op = {.id = (uint32_t)(n / 3 % 1000), .kind = HMM_TRACE_FREE};
    if (n % 3 == 0)
        op.kind = n % 2 == 0 ? HMM_TRACE_ALLOC : HMM_TRACE_ALIGNED;
    else if (n % 3 == 1)
        op.kind = HMM_TRACE_RESIZE;
    if (op.kind == HMM_TRACE_ALIGNED)
        op.align_log2 = n % 20 & 63u;
    if (op.kind != HMM_TRACE_FREE)
        op.size = n * n % 1000003;
    return op;
}

static void check_first(const struct hmm_trace *trace)
{
    for (size_t i = 0; i < trace->op_count; i++) {
        const struct hmm_trace_op want = nth(i), *got = &trace->ops[i];
        require(want.kind == got->kind && want.id == got->id && want.size == got->size &&
                    want.align_log2 == got->align_log2,
                "operation %zu", i);
    }
}

START_TEST(writes_the_format)
{
    static const char want[] = "# hmm-trace 1\n# a ?comment\na 0 0\nm 12 64 99\nr 12 100\n"
                               "a 4294967294 9223372036854775807\nf 0\n";
    struct hmm_trace_writer *w = open_writer("t.trace");
    struct hmm_trace_op ops[] = {
        {.kind = HMM_TRACE_ALLOC, .id = 0, .size = 0},
        {.kind = HMM_TRACE_ALIGNED, .id = 12, .size = 99, .align_log2 = 6},
        {.kind = HMM_TRACE_RESIZE, .id = 12, .size = 100},
        {.kind = HMM_TRACE_ALLOC, .id = UINT32_MAX - 1, .size = INT64_MAX},
        {.kind = HMM_TRACE_FREE, .id = 0},
    };
    ck_assert(hmm_trace_write_comment(w, "a \ncomment"));
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        ck_assert(hmm_trace_write(w, &ops[i]));
    ck_assert(hmm_trace_writer_close(w, &error));
    char got[sizeof want + 10] = "";
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(got, 1, sizeof got, f), sizeof want - 1);
    fclose(f);
    ck_assert_str_eq(got, want);
}
END_TEST

START_TEST(writes_every_number)
{
    struct hmm_trace_writer *w = open_writer("t.trace");
    struct hmm_trace_op op = {.kind = HMM_TRACE_ALLOC};
    const uint64_t most = PTRDIFF_MAX / 8192; /* what lives at a time is no more than memory has */
    for (uint64_t size = 1; size < most; size *= 10, op.id += 3)
        for (uint32_t i = 0; i < 3; i++) {
            struct hmm_trace_op o = {
                .kind = HMM_TRACE_ALLOC, .id = op.id + i, .size = size - 1 + i};
            ck_assert(hmm_trace_write(w, &o));
        }
    ck_assert(hmm_trace_writer_close(w, &error));
    struct hmm_trace trace = load();
    uint64_t size = 1;
    for (size_t n = 0; n < trace.op_count; size *= n % 3 == 2 ? 10 : 1, n++)
        ck_assert(trace.ops[n].size == size - 1 + n % 3 && trace.ops[n].id == n);
    hmm_trace_free(&trace);
}
END_TEST

static const char *const names[] = {"t.trace", "t.ht2",
#ifdef HAVE_ZSTD
                                    "t.trace.zst"
#endif
};

static void write_many(const char *name, bool hurry)
{
    struct hmm_trace_writer *w = open_writer(name);
    for (size_t i = 0; i < MANY; i++) {
        struct hmm_trace_op op = nth(i);
        require(hmm_trace_write(w, &op), "operation %zu", i);
        if (hurry && i % (MANY / 10) == 0)
            hmm_trace_writer_hurry(w, i % (MANY / 5) == 0);
    }
    ck_assert_msg(hmm_trace_writer_close(w, &error), "%s", error.reason);
}

START_TEST(what_is_written_is_read)
{
    write_many(names[_i], false);
    struct hmm_trace trace = load();
    ck_assert_uint_eq(trace.op_count, MANY);
    check_first(&trace);
    hmm_trace_free(&trace);
}
END_TEST

START_TEST(what_is_written_in_a_hurry_is_read)
{
    write_many(names[_i], true);
    struct hmm_trace trace = load();
    ck_assert_uint_eq(trace.op_count, MANY);
    check_first(&trace);
    hmm_trace_free(&trace);
}
END_TEST

START_TEST(a_full_disk_leaves_a_trace)
{
    const struct rlimit limit = {scaled(3000000), RLIM_INFINITY};
    unsigned long long kept;
    bool good = true;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct hmm_trace_writer *w = open_writer(names[_i]);
    for (size_t i = 0; good && i < 4 * MANY; i++) {
        struct hmm_trace_op op = nth(i);
        good = hmm_trace_write(w, &op);
    }
    ck_assert(!good);
    ck_assert(!hmm_trace_writer_close(w, &error));
    const char *has = strstr(error.reason, "; the file has the first ");
    ck_assert_msg(strncmp(error.reason, "cannot write: File too large", 28) == 0 && has != NULL,
                  "%s", error.reason);
    kept = strtoull(has + strlen("; the file has the first "), NULL, 10);
    struct hmm_trace trace = load();
    ck_assert_uint_eq(trace.op_count, kept);
    ck_assert(kept > 0 || MANY < 1000000); /* a frame is all or nothing */
    check_first(&trace);
    hmm_trace_free(&trace);
}
END_TEST

START_TEST(refuses_what_it_cannot_write)
{
    ck_assert_ptr_null(hmm_trace_writer_open("/nowhere/t.trace", &error));
    ck_assert_str_eq(error.reason, "cannot write: No such file or directory");
    ck_assert(!hmm_trace_writer_check("/nowhere/t.trace", &error));
    ck_assert(!hmm_trace_writer_check(folder, &error));
    ck_assert_str_eq(error.reason, "cannot write: it is there and is not a regular file");
#ifndef HAVE_ZSTD
    ck_assert_ptr_null(hmm_trace_writer_open("/tmp/t.zst", &error));
    ck_assert_ptr_nonnull(strstr(error.reason, "cannot compress"));
#endif
}
END_TEST

START_TEST(checking_leaves_a_file_as_it_is)
{
    write_many("t.trace", false);
    struct stat before, after;
    ck_assert_int_eq(stat(path, &before), 0);
    ck_assert(hmm_trace_writer_check(path, &error));
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert(before.st_size == after.st_size);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trace writer");
    TCase *cases = tcase_create("trace writer");
    const int kinds = (int)(sizeof names / sizeof names[0]);
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_add_test(cases, writes_the_format);
    tcase_add_test(cases, writes_every_number);
    tcase_add_loop_test(cases, what_is_written_is_read, 0, kinds);
    tcase_add_loop_test(cases, what_is_written_in_a_hurry_is_read, 0, kinds);
    tcase_add_loop_test(cases, a_full_disk_leaves_a_trace, 0, kinds);
    tcase_add_test(cases, refuses_what_it_cannot_write);
    tcase_add_test(cases, checking_leaves_a_file_as_it_is);
    tcase_set_timeout(cases, 60);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
