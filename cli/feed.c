/* SPDX-License-Identifier: MIT */
/*
 * Operations, from a tape or from a file that holds them as they are.
 */
#include "compare.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void tell(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    if (cli_interrupted())
        cli_end_interrupted();
    if (total != 0)
        cli_progress((double)done / (double)total);
}

struct hmm_trace_tape *feed_tape(const char *command, const char *path)
{
    struct hmm_trace_error error;
    const struct hmm_trace_progress progress = {tell, NULL};
    cli_progress_start("reading");
    struct hmm_trace_tape *tape = hmm_trace_tape_open(path, &progress, &error);
    cli_progress_hide();
    const struct hmm_trace_error *cut = tape != NULL ? hmm_trace_tape_cut(tape) : &error;
    if (cut != NULL) {
        cli_trace_error(path, cut);
        hmm_trace_tape_close(tape);
        return NULL;
    }
    if (hmm_trace_tape_unended(tape))
        cli_warn_unended(command, path, hmm_trace_tape_summary(tape)->op_count);
    return tape;
}

static bool write_all(int fd, const void *from, size_t size)
{
    const char *at = from;
    while (size != 0) {
        const ssize_t wrote = write(fd, at, size);
        if (wrote < 0 && errno != EINTR)
            return false;
        at += wrote > 0 ? wrote : 0;
        size -= wrote > 0 ? (size_t)wrote : 0;
    }
    return true;
}

int feed_save(struct hmm_trace_tape *tape)
{
    const char *folder = getenv("TMPDIR");
    const struct hmm_trace_op *ops;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/hmm-compare-XXXXXX", folder != NULL ? folder : "/tmp");
    const int fd = mkstemp(path);
    if (fd < 0) {
        cli_complain("compare", "cannot create %s: %s", path, strerror(errno));
        return -1;
    }
    unlink(path);
    bool good = write_all(fd, hmm_trace_tape_summary(tape), sizeof(struct hmm_trace_summary));
    hmm_trace_tape_rewind(tape);
    for (size_t count; good && (count = hmm_trace_tape_next(tape, &ops)) != 0;)
        good = write_all(fd, ops, count * sizeof *ops);
    if (good && hmm_trace_tape_error(tape) == NULL)
        return fd;
    cli_complain("compare", "cannot write %s: %s", path, strerror(errno));
    close(fd);
    return -1;
}

/* Zeroed, and resident from now on; not from malloc. */
static void *table(size_t count, size_t size)
{
    const size_t bytes = count * size + 1;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        cli_complain("compare", "out of memory");
        exit(CLI_FAILED);
    }
    return memset(memory, 0, bytes);
}

void feed_rewind(const struct feed *f)
{
    if (f->tape != NULL)
        hmm_trace_tape_rewind(f->tape);
    else
        lseek(f->fd, sizeof f->sum, SEEK_SET);
}

/* A whole number of operations. */
static size_t read_stretch(const struct feed *f)
{
    size_t bytes = 0;
    const size_t room = HMM_TRACE_STRETCH * sizeof *f->ops;
    while (bytes < room) {
        const ssize_t got = read(f->fd, (char *)f->ops + bytes, room - bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        bytes += (size_t)got;
    }
    return bytes / sizeof *f->ops;
}

size_t feed_next(const struct feed *f, const struct hmm_trace_op **ops)
{
    if (f->tape != NULL)
        return hmm_trace_tape_next(f->tape, ops);
    *ops = f->ops;
    return read_stretch(f);
}

void feed_clear(const struct feed *f)
{
    memset(f->blocks, 0, f->sum.peak_blocks * sizeof *f->blocks);
}

bool feed_open_file(struct feed *f, int fd)
{
    *f = (struct feed){.fd = fd};
    if (lseek(fd, 0, SEEK_SET) != 0 || read(fd, &f->sum, sizeof f->sum) != sizeof f->sum)
        return false;
    f->ops = table(HMM_TRACE_STRETCH, sizeof *f->ops);
    f->blocks = table(f->sum.peak_blocks, sizeof *f->blocks);
    f->sizes = table(f->sum.peak_blocks, sizeof *f->sizes);
    return true;
}

struct feed feed_of(const struct replay *r)
{
    return (struct feed){
        .tape = r->tape, .fd = -1, .sum = *r->sum, .blocks = r->blocks, .sizes = r->sizes};
}
