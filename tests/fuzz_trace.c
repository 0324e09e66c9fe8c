/* SPDX-License-Identifier: MIT */
/*
 * Feeds the trace reader with whatever libFuzzer thinks of. Not part of the tests: it has no end.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -DHAVE_ZSTD \
 *         -Itrace tests/fuzz_trace.c trace/[a-z]*.c -lzstd -o fuzz_trace
 *     ./fuzz_trace -max_len=4096 FOLDER
 *
 * The last byte says what is done with those before: whether checksums are corrected, so that the
 * code behind their tests is reached; how IDs are given; where to go. What can be read is written
 * in format 2 and must then be read as the same.
 */
#include "packed.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_OPS 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend_checksums(unsigned char *bytes, size_t size)
{
    struct hmm_packed_header h;
    size_t at = HMM_PACKED_FILE_HEADER;
    if (size >= at && memcmp(bytes, hmm_packed_magic, sizeof hmm_packed_magic) == 0)
        hmm_packed_put_file_header(bytes);
    while (at + HMM_PACKED_BLOCK_HEADER <= size && hmm_packed_get_header(bytes + at, &h) &&
           h.stored <= size - at - HMM_PACKED_BLOCK_HEADER) {
        hmm_packed_put_header(bytes + at, &h);
        at += HMM_PACKED_BLOCK_HEADER + h.stored;
    }
}

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void pass_comment(void *arg, uint64_t op, const char *line, size_t length)
{
    struct hmm_trace_writer *w = arg;
    (void)op;
    require(length != 0 && line[0] == '#');
    if (w != NULL)
        hmm_trace_write_line(w, line, length);
}

/* Reads at most MOST_OPS operations into ops; how many. */
static size_t read_some(struct hmm_trace_reader *r, struct hmm_trace_op *ops)
{
    struct hmm_trace_error error;
    size_t count = 0;
    ptrdiff_t got = 0;
    while (count < MOST_OPS && (got = hmm_trace_read(r, ops + count, MOST_OPS - count, &error)) > 0)
        count += (size_t)got;
    require(got >= 0 || error.reason[0] != '\0');
    return count;
}

static void write_and_compare(const struct hmm_trace_op *ops, size_t count)
{
    static struct hmm_trace_op again[MOST_OPS];
    static char path[64];
    struct hmm_trace_error error;
    snprintf(path, sizeof path, "/dev/shm/hmm-fuzz-%ld.ht2", (long)getpid());
    struct hmm_trace_writer *w = hmm_trace_writer_open(path, &error);
    require(w != NULL);
    for (size_t i = 0; i < count; i++)
        require(hmm_trace_write(w, &ops[i]));
    require(hmm_trace_writer_close(w, &error));
    struct hmm_trace_reader *r = hmm_trace_reader_open(path, 0, &error);
    require(r != NULL && read_some(r, again) == count);
    for (size_t i = 0; i < count; i++)
        require(again[i].id == ops[i].id && again[i].kind == ops[i].kind &&
                again[i].size == ops[i].size && again[i].align_log2 == ops[i].align_log2);
    hmm_trace_reader_close(r);
    unlink(path);
}

static void read_file(const char *path, unsigned how)
{
    static struct hmm_trace_op ops[MOST_OPS];
    struct hmm_trace_error error;
    struct hmm_trace_reader *r =
        hmm_trace_reader_open(path, (how & 2) != 0 ? HMM_TRACE_DENSE : 0, &error);
    if (r == NULL)
        return;
    hmm_trace_reader_comments(r, pass_comment, NULL);
    if ((how & 4) != 0)
        hmm_trace_seek(r, how >> 4, &error);
    const size_t count = read_some(r, ops);
    size_t live;
    free(hmm_trace_reader_live(r, &live));
    if ((how & 8) != 0 && hmm_trace_seek(r, how >> 5, &error))
        read_some(r, ops);
    else if ((how & 6) == 0)
        write_and_compare(ops, count);
    hmm_trace_reader_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    if (size == 0)
        return 0;
    unsigned char *bytes = malloc(size);
    memcpy(bytes, data, size);
    if ((bytes[size - 1] & 1) != 0)
        mend_checksums(bytes, size - 1);
    int fd = memfd_create("trace", 0);
    require(fd >= 0 && write(fd, bytes, size - 1) == (ssize_t)(size - 1));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    read_file(path, bytes[size - 1]);
    close(fd);
    free(bytes);
    return 0;
}
