/* SPDX-License-Identifier: MIT */
/*
 * Call stacks in the comments of a trace: what is read is what was written, in both formats, and no
 * comment makes a trace unreadable.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "harness.h"
#include "trace.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], path[100];
static struct hmm_trace_error error;

static void make_folder(void)
{
    strcpy(folder, "/tmp/hmm-stacks-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

static void write_text(const char *text)
{
    snprintf(path, sizeof path, "%s/t.trace", folder);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static size_t read_all(struct hmm_trace_reader *r, struct hmm_trace_op *ops, size_t room)
{
    const ptrdiff_t got = hmm_trace_read(r, ops, room, &error);
    ck_assert_int_ge(got, 0);
    struct hmm_trace_op more;
    ck_assert_int_eq(hmm_trace_read(r, &more, 1, &error), 0);
    return (size_t)got;
}

static const char *const names[] = {"t.trace", "t.ht2"};

/* Every stack is that of the operation that follows, and frees have none. */
START_TEST(what_is_written_is_read)
{
    uint32_t numbers[HMM_TRACE_DEEPEST];
    struct hmm_trace_op ops[4000];
    char module[] = "/a b/m\tn", function[] = "f(int, char)", file[] = "x.c";
    snprintf(path, sizeof path, "%s/%s", folder, names[_i]);
    struct hmm_trace_writer *w = hmm_trace_writer_open(path, &error);
    ck_assert_ptr_nonnull(w);
    for (uint32_t i = 0; i < 2000; i++) {
        const struct hmm_trace_op get = {
            .size = i, .id = 0, .kind = HMM_TRACE_ALLOC, .stack = i * 131 & HMM_TRACE_MOST_STACKS};
        const struct hmm_trace_op put = {.id = 0, .kind = HMM_TRACE_FREE};
        ck_assert(hmm_trace_write(w, &get) && hmm_trace_write(w, &put));
    }
    for (uint32_t i = 0; i < HMM_TRACE_DEEPEST; i++)
        numbers[i] = i * 1000;
    const struct hmm_trace_stack stack = {numbers, HMM_TRACE_DEEPEST};
    const struct hmm_trace_frame frame = {module, function, file, 0xfedcba98765, 4000000000};
    ck_assert(hmm_trace_write_stack(w, HMM_TRACE_MOST_STACKS, &stack));
    ck_assert(hmm_trace_write_frame(w, 63000, &frame));
    ck_assert(hmm_trace_writer_close(w, &error));

    struct hmm_trace_reader *r = hmm_trace_reader_open(path, 0, &error);
    ck_assert_ptr_nonnull(r);
    ck_assert_uint_eq(read_all(r, ops, 4000), 4000);
    for (uint32_t i = 0; i < 2000; i++) {
        ck_assert_uint_eq(ops[2 * i].stack, i * 131 & HMM_TRACE_MOST_STACKS);
        ck_assert_uint_eq(ops[2 * i + 1].stack, 0);
    }
    const struct hmm_trace_stacks *stacks = hmm_trace_reader_stacks(r);
    struct hmm_trace_stack found;
    ck_assert(stacks->any && hmm_trace_stack_at(stacks, HMM_TRACE_MOST_STACKS, &found));
    ck_assert_uint_eq(found.depth, HMM_TRACE_DEEPEST);
    ck_assert_mem_eq(found.frames, numbers, sizeof numbers);
    const struct hmm_trace_frame *f = hmm_trace_frame_at(stacks, 63000);
    ck_assert_ptr_nonnull(f);
    ck_assert_str_eq(f->module, "/a b/m?n");
    ck_assert_str_eq(f->function, function);
    ck_assert_str_eq(f->file, file);
    ck_assert(f->offset == 0xfedcba98765 && f->line == 4000000000);
    ck_assert_ptr_null(hmm_trace_frame_at(stacks, 62999));
    ck_assert(!hmm_trace_stack_at(stacks, 1, &found));
    hmm_trace_reader_close(r);
}
END_TEST

/* Each is a comment and nothing more. */
START_TEST(what_is_malformed_is_a_comment)
{
    static const char *const lines[] = {"#@",
                                        "#@x",
                                        "#@ ",
                                        "#@1x",
                                        "#@ 1",
                                        "#@262144",
                                        "#@99999999999999999999999",
                                        "#@ stack",
                                        "#@ stack 0 1",
                                        "#@ stack 1",
                                        "#@ stack 1 x",
                                        "#@ stack 262144 1",
                                        "#@ stack 1 99999999",
                                        "#@ stack 1 1 ",
                                        "#@ frame 1",
                                        "#@ frame 1\tm\t1\tf\tx.c",
                                        "#@ frame 1\tm\tzz\tf\tx.c\t1",
                                        "#@ frame 1\tm\t1\tf\tx.c\t1\t2",
                                        "#@ frame 1\tm\t1\tf\tx.c\t99999999999",
                                        "#@ frame 99999999\tm\t1\tf\tx.c\t1"};
    char text[200];
    struct hmm_trace_op op;
    struct hmm_trace_stack found;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        snprintf(text, sizeof text, "# hmm-trace 1\n%s\na 0 10\n", lines[i]);
        write_text(text);
        struct hmm_trace_reader *r = hmm_trace_reader_open(path, 0, &error);
        ck_assert_ptr_nonnull(r);
        ck_assert_msg(read_all(r, &op, 1) == 1 && op.stack == 0, "%s", lines[i]);
        ck_assert_msg(!hmm_trace_stack_at(hmm_trace_reader_stacks(r), 1, &found), "%s", lines[i]);
        ck_assert_msg(hmm_trace_frame_at(hmm_trace_reader_stacks(r), 1) == NULL, "%s", lines[i]);
        hmm_trace_reader_close(r);
    }
}
END_TEST

/* The last mark counts, only for the next operation, and of two definitions the first. */
START_TEST(a_mark_is_for_one_operation)
{
    struct hmm_trace_op ops[8];
    struct hmm_trace_stack found;
    write_text("# hmm-trace 1\n#@1\n# between\n#@2\na 0 10\na 1 10\n#@3\nf 1\n#@4\r\nr 0 20\n"
               "#@ stack 2 5 6\n#@ stack 2 7\n");
    struct hmm_trace_reader *r = hmm_trace_reader_open(path, 0, &error);
    ck_assert_ptr_nonnull(r);
    ck_assert_uint_eq(read_all(r, ops, 8), 4);
    ck_assert_uint_eq(ops[0].stack, 2);
    ck_assert_uint_eq(ops[1].stack, 0);
    ck_assert_uint_eq(ops[2].stack, 0);
    ck_assert_uint_eq(ops[3].stack, 4);
    ck_assert(hmm_trace_stack_at(hmm_trace_reader_stacks(r), 2, &found));
    ck_assert(found.depth == 2 && found.frames[0] == 5 && found.frames[1] == 6);
    size_t count;
    struct hmm_trace_block *live = hmm_trace_reader_live(r, &count);
    ck_assert(live != NULL && count == 1 && live[0].stack == 4);
    free(live);
    hmm_trace_reader_close(r);
}
END_TEST

/* What is read again is not read twice. */
START_TEST(a_tape_has_them_too)
{
    const struct hmm_trace_op *ops;
    write_text("# hmm-trace 1\n#@1\na 0 10\n#@ stack 1 5\n#@ frame 5\tm\tff\tf\tx.c\t12\n");
    struct hmm_trace_tape *tape = hmm_trace_tape_open(path, NULL, &error);
    ck_assert_ptr_nonnull(tape);
    for (int pass = 0; pass < 3; pass++) {
        ck_assert(hmm_trace_tape_rewind(tape));
        ck_assert_uint_eq(hmm_trace_tape_next(tape, &ops), 1);
        ck_assert_uint_eq(ops[0].stack, 1);
        ck_assert_str_eq(hmm_trace_frame_at(hmm_trace_tape_stacks(tape), 5)->function, "f");
        hmm_trace_tape_rest(tape);
    }
    hmm_trace_tape_close(tape);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trace stacks");
    TCase *cases = tcase_create("trace stacks");
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_add_loop_test(cases, what_is_written_is_read, 0, 2);
    tcase_add_test(cases, what_is_malformed_is_a_comment);
    tcase_add_test(cases, a_mark_is_for_one_operation);
    tcase_add_test(cases, a_tape_has_them_too);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
