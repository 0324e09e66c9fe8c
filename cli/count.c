/* SPDX-License-Identifier: MIT */
/*
 * Instructions of a pass, counted by callgrind (valgrind's), which is told to count in one function
 * only. They do not vary from run to run, and a machine that is busy does not change them.
 */
#include "compare.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNTED "hmm__counted_pass"

/* Callgrind is told its name, so it is not static. */
void hmm__counted_pass(const struct hmm_trace_op *ops, size_t count, struct hmm_heap *heap,
                       void **blocks);

__attribute__((noinline)) void hmm__counted_pass(const struct hmm_trace_op *ops, size_t count,
                                                 struct hmm_heap *heap, void **blocks)
{
    if (heap != NULL) {
        for (size_t i = 0; i < count; i++)
            replay_step(heap, &ops[i], blocks);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)ops[i].size;
        __asm__ volatile("" : "+r"(size) : "r"(&blocks[ops[i].id]) : "memory");
    }
}

int count_here(const struct hmm_strategy *strategy, bool cache, size_t capacity, int operations)
{
    struct feed f;
    struct replay_region region;
    struct replay replay = {.cache = cache};
    const struct hmm_trace_op *ops;
    size_t control;
    struct hmm_heap *heap = NULL;
    if (!feed_open_file(&f, operations) || !replay_reserve(&region, capacity))
        return CLI_FAILED;
    if (strategy != NULL && (heap = replay_heap(&replay, &region, strategy, &control)) == NULL)
        return CLI_FAILED;
    feed_rewind(&f);
    uint64_t done = 0;
    for (size_t count; done < COUNT_MOST && (count = feed_next(&f, &ops)) != 0; done += count)
        hmm__counted_pass(ops, count, heap, f.blocks);
    return printf("%llu\n", (unsigned long long)done) > 0 ? CLI_OK : CLI_FAILED;
}

bool count_is_possible(void)
{
    const char *path = getenv("PATH");
    for (const char *at = path; at != NULL && *at != '\0';) {
        char file[PATH_MAX];
        const size_t length = strcspn(at, ":");
        snprintf(file, sizeof file, "%.*s/valgrind", (int)length, at);
        if (access(file, X_OK) == 0)
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

static void become_counted(const char *name, int operations, size_t capacity, const char *file,
                           int to)
{
    char self[32], number[16], heap[32], out[PATH_MAX + 32];
    snprintf(self, sizeof self, "/proc/%ld/exe", (long)getppid());
    snprintf(number, sizeof number, "%d", operations);
    snprintf(heap, sizeof heap, "%zu", capacity);
    snprintf(out, sizeof out, "--callgrind-out-file=%s", file);
    setenv(OTHER_VARIABLE, number, 1);
    dup2(to, STDOUT_FILENO);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    execlp("valgrind", "valgrind", "--tool=callgrind", "--toggle-collect=" COUNTED, out, self,
           "compare", "--cell", name, "--heap", heap, "--", "-", (char *)NULL);
    _exit(1);
}

/* How many operations were done: what the process printed. */
static double read_number(int from)
{
    char text[64];
    const ssize_t got = read(from, text, sizeof text - 1);
    text[got > 0 ? got : 0] = '\0';
    return strtod(text, NULL);
}

/* Instructions, of which callgrind's file has the sum. */
static double read_totals(const char *file)
{
    FILE *f = fopen(file, "r");
    char line[256];
    double totals = -1;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "totals: ", 8) == 0)
            totals = strtod(line + 8, NULL);
    if (f != NULL)
        fclose(f);
    return totals;
}

double count_instructions(const char *name, int operations, size_t capacity)
{
    const char *folder = getenv("TMPDIR");
    char file[PATH_MAX];
    int ends[2], status = 1;
    snprintf(file, sizeof file, "%s/hmm-count-XXXXXX", folder != NULL ? folder : "/tmp");
    const int made = mkstemp(file);
    if (made < 0)
        return -1;
    close(made);
    if (pipe(ends) != 0) {
        unlink(file);
        return -1;
    }
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        become_counted(name, operations, capacity, file, ends[1]);
    close(ends[1]);
    const double done = read_number(ends[0]);
    close(ends[0]);
    if (child > 0)
        waitpid(child, &status, 0);
    const double totals = read_totals(file);
    unlink(file);
    return status == 0 && done > 0 && totals >= 0 ? totals / done : -1;
}
