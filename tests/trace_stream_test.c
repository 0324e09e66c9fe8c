/* SPDX-License-Identifier: MIT */
/*
 * The reader as a stream: going to a place, what lives there, memory that follows the live blocks,
 * and tapes.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "harness.h"
#include "live.h"
#include "trace_made.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], path[100];
static struct hmm_trace_error error;

static const char *const names[] = {"t.trace", "t.ht2",
#ifdef HAVE_ZSTD
                                    "t.zst",
#endif
                                    NULL};
#define FORMS ((int)(sizeof names / sizeof names[0]) - 1)

static void make_folder(void)
{
    strcpy(folder, "/tmp/hmm-stream-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/%s", folder, names[0]);
}

static void use(int form)
{
    snprintf(path, sizeof path, "%s/%s", folder, names[form]);
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

static struct hmm_trace_reader *open_reader(unsigned flags)
{
    struct hmm_trace_reader *r = hmm_trace_reader_open(path, flags, &error);
    ck_assert_msg(r != NULL, "%s", error.reason);
    return r;
}

/* ---- Going to a place ---- */

/* What lives before operation `count`, by the plainest of means; to be given to free(). */
static struct hmm_trace_block *living(const struct hmm_trace_op *ops, size_t count, size_t *lives)
{
    struct hmm_trace_block *list = calloc(count + 1, sizeof *list);
    uint32_t *at = calloc(HMM_TRACE_ID_BASE, sizeof *at); /* by ID: where in the list, and 1 */
    ck_assert(list != NULL && at != NULL);
    for (size_t i = 0; i < count; i++) {
        struct hmm_trace_block *b = &list[i];
        if (ops[i].kind == HMM_TRACE_ALLOC || ops[i].kind == HMM_TRACE_ALIGNED) {
            *b = (struct hmm_trace_block){ops[i].size, i, ops[i].id, ops[i].align_log2, 0};
            at[ops[i].id] = (uint32_t)i + 1;
            continue;
        }
        b = &list[at[ops[i].id] - 1];
        b->size = ops[i].size;
        b->align_log2 = 0;
        if (ops[i].kind == HMM_TRACE_FREE)
            at[ops[i].id] = 0;
    }
    *lives = 0;
    for (size_t i = 0; i < count; i++)
        if ((ops[i].kind == HMM_TRACE_ALLOC || ops[i].kind == HMM_TRACE_ALIGNED) &&
            at[ops[i].id] == i + 1)
            list[(*lives)++] = list[i];
    free(at);
    return list;
}

static void assert_at(struct hmm_trace_reader *r, const struct hmm_trace_op *ops, size_t count,
                      size_t place)
{
    struct hmm_trace_op op;
    size_t want_count, count_now;
    struct hmm_trace_block *want = living(ops, place, &want_count),
                           *now = hmm_trace_reader_live(r, &count_now);
    ck_assert_uint_eq(hmm_trace_reader_summary(r)->op_count, place);
    ck_assert_uint_eq(count_now, want_count);
    for (size_t i = 0; i < count_now; i++)
        require(now[i].id == want[i].id && now[i].size == want[i].size &&
                    now[i].born == want[i].born && now[i].align_log2 == want[i].align_log2,
                "at %zu: block %zu", place, i);
    free(want);
    free(now);
    for (size_t i = place; i < place + 10 && i < count; i++)
        require(hmm_trace_read(r, &op, 1, &error) == 1 && made_same(&op, &ops[i]),
                "at %zu: operation %zu", place, i);
}

static void assert_goes(const struct hmm_trace_op *ops, size_t count)
{
    const size_t places[] = {count / 2, count / 2 + 3, count - 1, 5, count, 0, count / 3};
    struct hmm_trace_reader *r = open_reader(0);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        ck_assert_msg(hmm_trace_seek(r, places[i], &error), "%s", error.reason);
        assert_at(r, ops, count, places[i]);
    }
    ck_assert(hmm_trace_seek(r, UINT64_MAX, &error));
    struct hmm_trace_op op;
    ck_assert_int_eq(hmm_trace_read(r, &op, 1, &error), 0);
    ck_assert_uint_eq(hmm_trace_reader_summary(r)->op_count, count);
    hmm_trace_reader_close(r);
}

START_TEST(goes_to_any_place)
{
    const size_t count = scaled(300000);
    struct hmm_trace_op *ops = made_trace(count, 500, MADE_ANY, 7);
    use(_i);
    made_file(path, ops, count, 100);
    assert_goes(ops, count);
    free(ops);
}
END_TEST

/* So long that there are checkpoints. */
#define LONG (under_valgrind() ? 100000u : 9000000u)

START_TEST(goes_to_any_place_of_a_long_trace)
{
    const size_t count = LONG;
    struct hmm_trace_op *ops = made_trace(count, 100000, MADE_LAST_FREED, 8);
    use(1);
    made_file(path, ops, count, 0);
    assert_goes(ops, count);
    /* The summary is that of a reader that has come all the way. */
    struct hmm_trace_op op;
    struct hmm_trace_reader *far = open_reader(0), *jumped = open_reader(0);
    ck_assert(hmm_trace_seek(jumped, count - 100, &error));
    while (hmm_trace_read(far, &op, 1, &error) > 0)
        ;
    while (hmm_trace_read(jumped, &op, 1, &error) > 0)
        ;
    const struct hmm_trace_summary *a = hmm_trace_reader_summary(far),
                                   *b = hmm_trace_reader_summary(jumped);
    ck_assert(a->op_count == b->op_count && a->peak_bytes == b->peak_bytes &&
              a->peak_blocks == b->peak_blocks && a->id_limit == b->id_limit &&
              a->live_bytes == b->live_bytes && a->counts[0] == b->counts[0]);
    hmm_trace_reader_close(far);
    hmm_trace_reader_close(jumped);
    /* Without an index the checkpoints are found from header to header. */
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(truncate(path, status.st_size - 17), 0);
    struct hmm_trace_reader *r = open_reader(0);
    ck_assert(hmm_trace_seek(r, count - 1000, &error));
    assert_at(r, ops, count, count - 1000);
    hmm_trace_reader_close(r);
    free(ops);
}
END_TEST

/* Damage before the checkpoint is not met; damage behind a place does not matter for it. */
START_TEST(a_window_beside_damage_is_read)
{
    const size_t count = LONG;
    if (under_valgrind())
        return; /* too short for a checkpoint */
    struct hmm_trace_op *ops = made_trace(count, 1000, MADE_SEQUENTIAL, 9);
    use(1);
    made_file(path, ops, count, 0);
    int fd = open(path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, "?", 1, 10000), 1);
    close(fd);
    struct hmm_trace_reader *r = open_reader(0);
    ck_assert(!hmm_trace_seek(r, 1000000, &error));
    ck_assert_ptr_nonnull(strstr(error.reason, "damaged at byte "));
    ck_assert(hmm_trace_seek(r, 8500000, &error));
    struct hmm_trace_op op;
    ck_assert(hmm_trace_read(r, &op, 1, &error) == 1 && made_same(&op, &ops[8500000]));
    ck_assert(!hmm_trace_seek(r, 3000000, &error));
    ck_assert(hmm_trace_seek(r, 8000000, &error));
    hmm_trace_reader_close(r);
    free(ops);
}
END_TEST

START_TEST(a_pipe_is_read_once)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    static const char text[] = "# hmm-trace 1\na 0 1\na 1 2\nf 0\n";
    ck_assert_int_eq(write(ends[1], text, sizeof text - 1), sizeof text - 1);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    struct hmm_trace_reader *r = hmm_trace_reader_open("-", 0, &error);
    ck_assert_ptr_nonnull(r);
    ck_assert(hmm_trace_seek(r, 2, &error));
    struct hmm_trace_op op;
    ck_assert(hmm_trace_read(r, &op, 1, &error) == 1 && op.kind == HMM_TRACE_FREE);
    ck_assert_uint_eq(hmm_trace_reader_line(r), 4);
    ck_assert(!hmm_trace_seek(r, 1, &error));
    ck_assert_str_eq(error.reason, "is no file and can be read only once");
    hmm_trace_reader_close(r);
}
END_TEST

/* ---- IDs ---- */

/* Dense IDs are below the peak, and lead to the blocks that the file's do. */
START_TEST(dense_ids_are_those_of_the_same_blocks)
{
    const size_t count = scaled(200000);
    struct hmm_trace_op *ops = made_trace(count, 3000, (enum made_ids)_i, 10), op;
    uint32_t *number = calloc(count, sizeof *number);
    made_file(path, ops, count, 0);
    struct hmm_trace_reader *r = open_reader(HMM_TRACE_DENSE);
    for (size_t i = 0; i < count; i++) {
        require(hmm_trace_read(r, &op, 1, &error) == 1, "operation %zu", i);
        require(op.id < hmm_trace_reader_summary(r)->peak_blocks, "operation %zu", i);
        const bool is_new = op.kind == HMM_TRACE_ALLOC || op.kind == HMM_TRACE_ALIGNED;
        require(is_new || number[ops[i].id] == op.id, "operation %zu", i);
        number[ops[i].id] = op.id;
    }
    ck_assert_uint_eq(hmm_trace_reader_summary(r)->id_limit,
                      _i == MADE_SEQUENTIAL ? hmm_trace_reader_summary(r)->counts[0] +
                                                  hmm_trace_reader_summary(r)->counts[1]
                                            : hmm_trace_reader_summary(r)->id_limit);
    hmm_trace_reader_close(r);
    free(number);
    free(ops);
}
END_TEST

/* What is known of the past does not grow with the IDs either. */
START_TEST(memory_follows_the_live_blocks)
{
    struct hmm_trace_live live = {0};
    uint32_t number;
    const uint32_t count = (uint32_t)scaled(3000000);
    for (uint32_t i = 0; i < count; i++) {
        struct hmm_trace_op op = {.id = i, .size = 10};
        require(hmm_trace_live_apply(&live, &op, &number, &error), "%s", error.reason);
        op = (struct hmm_trace_op){.id = i - (i >= 100 ? 100 : 0), .kind = HMM_TRACE_FREE};
        require(i < 100 || hmm_trace_live_apply(&live, &op, &number, &error), "%s", error.reason);
    }
    ck_assert_uint_le(live.room, 1024);
    ck_assert_uint_le(live.mask, 4096);
    ck_assert_uint_le(live.past.held, 2);
    struct hmm_trace_op op = {.id = 5, .kind = HMM_TRACE_FREE};
    ck_assert(!hmm_trace_live_apply(&live, &op, &number, &error));
    ck_assert_str_eq(error.reason, "ID 5 is freed twice");
    op.id = count + 5;
    ck_assert(!hmm_trace_live_apply(&live, &op, &number, &error));
    ck_assert_ptr_nonnull(strstr(error.reason, "is freed but was never allocated"));
    op = (struct hmm_trace_op){.id = count - 1, .size = 10};
    ck_assert(!hmm_trace_live_apply(&live, &op, &number, &error));
    ck_assert_ptr_nonnull(strstr(error.reason, "is allocated while it is live"));
    ck_assert_uint_eq(live.sum.live_blocks, 100);
    hmm_trace_live_clear(&live);
}
END_TEST

/* ---- Tapes ---- */

static uint64_t pass_over(struct hmm_trace_tape *tape, uint64_t *digest)
{
    const struct hmm_trace_op *ops;
    uint64_t count = 0;
    *digest = 0;
    ck_assert(hmm_trace_tape_rewind(tape));
    for (size_t n; (n = hmm_trace_tape_next(tape, &ops)) != 0; count += n)
        for (size_t i = 0; i < n; i++) {
            require(ops[i].id < hmm_trace_tape_summary(tape)->peak_blocks, "operation %zu", i);
            *digest = (*digest + ops[i].id + ops[i].kind + ops[i].size) * 0x9e3779b97f4a7c15u;
        }
    return count;
}

/* Every pass gives the same, whether the trace is kept, was put away, or is too long for it. */
START_TEST(every_pass_of_a_tape_is_the_same)
{
    const size_t count = _i % 2 == 0 ? scaled(100000) : scaled(HMM_TRACE_KEPT + 100000);
    struct hmm_trace_op *ops = made_trace(count, 5000, MADE_SEQUENTIAL, 11), op;
    uint64_t first, later, line = 0;
    use(_i / 2);
    made_file(path, ops, count, 0);
    struct hmm_trace_tape *tape = hmm_trace_tape_open(path, NULL, &error);
    ck_assert_msg(tape != NULL, "%s", error.reason);
    ck_assert_uint_eq(hmm_trace_tape_summary(tape)->op_count, count);
    ck_assert_uint_eq(pass_over(tape, &first), count);
    ck_assert_uint_eq(pass_over(tape, &later), count);
    ck_assert_uint_eq(first, later);
    hmm_trace_tape_rest(tape);
    ck_assert_uint_eq(pass_over(tape, &later), count);
    ck_assert_uint_eq(first, later);
    ck_assert(hmm_trace_tape_find(tape, count / 2, &op, &line));
    ck_assert(op.kind == ops[count / 2].kind && op.size == ops[count / 2].size);
    ck_assert_uint_eq(line, _i / 2 == 1 ? 0 : count / 2 + 2);
    ck_assert(!hmm_trace_tape_find(tape, count, &op, &line));
    ck_assert_uint_eq(pass_over(tape, &later), count);
    ck_assert_uint_eq(first, later);
    ck_assert_ptr_null(hmm_trace_tape_error(tape));
    hmm_trace_tape_close(tape);
    free(ops);
}
END_TEST

/* Both sides of a fork read the same file at the same time. */
START_TEST(a_tape_survives_a_fork)
{
    const size_t count = scaled(HMM_TRACE_KEPT + 200000);
    struct hmm_trace_op *ops = made_trace(count, 5000, MADE_LAST_FREED, 12);
    uint64_t first, here;
    int status;
    use(1);
    made_file(path, ops, count, 0);
    free(ops);
    struct hmm_trace_tape *tape = hmm_trace_tape_open(path, NULL, &error);
    ck_assert_ptr_nonnull(tape);
    pass_over(tape, &first);
    pid_t child = fork();
    pass_over(tape, &here);
    if (child == 0)
        _exit(here == first ? 0 : 1);
    ck_assert_uint_eq(here, first);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    hmm_trace_tape_close(tape);
}
END_TEST

START_TEST(a_file_that_changes_is_noticed)
{
    struct hmm_trace_op *ops = made_trace(5000, 100, MADE_ANY, 13), *others;
    const struct hmm_trace_op *read;
    made_file(path, ops, 5000, 0);
    struct hmm_trace_tape *tape = hmm_trace_tape_open(path, NULL, &error);
    ck_assert_ptr_nonnull(tape);
    hmm_trace_tape_rest(tape);
    others = made_trace(6000, 1000, MADE_ANY, 14);
    made_file(path, others, 6000, 0);
    ck_assert(!hmm_trace_tape_rewind(tape));
    ck_assert_uint_eq(hmm_trace_tape_next(tape, &read), 0);
    ck_assert_ptr_nonnull(hmm_trace_tape_error(tape));
    ck_assert_str_eq(hmm_trace_tape_error(tape)->reason, "the file has changed while it was read");
    hmm_trace_tape_close(tape);
    free(ops);
    free(others);
}
END_TEST

START_TEST(only_traces_are_written_over)
{
    struct hmm_trace_op *ops = made_trace(100, 10, MADE_ANY, 15);
    use(_i);
    ck_assert(hmm_trace_may_replace(path, &error));
    made_file(path, ops, 100, 0);
    ck_assert(hmm_trace_may_replace(path, &error));
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    ck_assert(hmm_trace_may_replace(path, &error));
    f = fopen(path, "w");
    fputs("import sys\n", f);
    fclose(f);
    ck_assert(!hmm_trace_may_replace(path, &error));
    ck_assert_str_eq(error.reason, "is there and is no trace: it is not written over");
    ck_assert(hmm_trace_may_replace("/dev/null", &error));
    free(ops);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trace stream");
    TCase *cases = add_case(suite, "trace stream");
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_add_loop_test(cases, goes_to_any_place, 0, FORMS);
    tcase_add_test(cases, goes_to_any_place_of_a_long_trace);
    tcase_add_test(cases, a_window_beside_damage_is_read);
    tcase_add_test(cases, a_pipe_is_read_once);
    tcase_add_loop_test(cases, dense_ids_are_those_of_the_same_blocks, 0, MADE_POLICIES);
    tcase_add_test(cases, memory_follows_the_live_blocks);
    tcase_add_loop_test(cases, every_pass_of_a_tape_is_the_same, 0, 2 * FORMS);
    tcase_add_test(cases, a_tape_survives_a_fork);
    tcase_add_test(cases, a_file_that_changes_is_noticed);
    tcase_add_loop_test(cases, only_traces_are_written_over, 0, FORMS);
    return run_suite(suite);
}
