/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a trace file, plain or zstd, in a stream: neither form is ever in memory whole.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#define INPUT_BYTES 131072

struct hmm_trace_source {
    int fd;
    bool compressed;
    bool seekable;     /* a file, read from its beginning */
    bool inside_frame; /* a zstd frame has begun and not ended */
    bool at_end;       /* of the file; input may still hold bytes */
    uint64_t consumed, total;
    size_t next, filled; /* input[next .. filled) is not yet handed on */
#ifdef HAVE_ZSTD
    ZSTD_DStream *zstd;
#endif
    char input[INPUT_BYTES];
};

/* As much as there is room for, so that the first bytes are there to be looked at. */
static bool fill(struct hmm_trace_source *s, struct hmm_trace_error *error)
{
    s->next = s->filled = 0;
    while (!s->at_end && s->filled < sizeof s->input) {
        char *to = s->input + s->filled;
        const size_t room = sizeof s->input - s->filled;
        ssize_t got =
            s->seekable ? pread(s->fd, to, room, (off_t)s->consumed) : read(s->fd, to, room);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hmm_trace_fail(error, "cannot read: %s", strerror(errno));
        s->at_end = got == 0;
        s->filled += (size_t)got;
        s->consumed += (uint64_t)got;
    }
    return true;
}

/* A zstd frame, or a skippable one, which some compressors put first. */
static bool looks_compressed(const struct hmm_trace_source *s)
{
    const unsigned char *b = (const unsigned char *)s->input;
    if (s->filled < 4)
        return false;
    if (b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd)
        return true;
    return (b[0] & 0xf0) == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18;
}

#ifdef HAVE_ZSTD
static bool start_zstd(struct hmm_trace_source *s, struct hmm_trace_error *error)
{
    s->zstd = ZSTD_createDStream();
    return s->zstd != NULL || hmm_trace_fail(error, "out of memory");
}

static ptrdiff_t read_zstd(struct hmm_trace_source *s, char *to, size_t room,
                           struct hmm_trace_error *error)
{
    ZSTD_outBuffer out = {to, room, 0};
    while (out.pos == 0) {
        if (s->next == s->filled && !fill(s, error))
            return -1;
        if (s->next == s->filled && !s->inside_frame)
            return 0;
        bool starved = s->next == s->filled;
        ZSTD_inBuffer in = {s->input, s->filled, s->next};
        size_t hint = ZSTD_decompressStream(s->zstd, &out, &in);
        if (ZSTD_isError(hint)) {
            hmm_trace_fail(error, "damaged zstd data: %s", ZSTD_getErrorName(hint));
            return -1;
        }
        s->next = in.pos;
        s->inside_frame = hint != 0;
        if (starved && s->inside_frame && out.pos == 0) {
            error->is_cut = true;
            hmm_trace_fail(error, "truncated: the zstd data ends in the middle of a frame");
            return -1;
        }
    }
    return (ptrdiff_t)out.pos;
}

static void restart_zstd(struct hmm_trace_source *s)
{
    ZSTD_initDStream(s->zstd);
    s->inside_frame = false;
}

static void stop_zstd(struct hmm_trace_source *s)
{
    ZSTD_freeDStream(s->zstd);
}
#else
static bool start_zstd(struct hmm_trace_source *s, struct hmm_trace_error *error)
{
    (void)s;
    return hmm_trace_fail(error, "compressed with zstd, which this build of hmm cannot read: "
                                 "rebuild it with libzstd (Debian package libzstd-dev)");
}

static ptrdiff_t read_zstd(struct hmm_trace_source *s, char *to, size_t room,
                           struct hmm_trace_error *error)
{
    (void)s, (void)to, (void)room, (void)error;
    return -1;
}

static void restart_zstd(struct hmm_trace_source *s)
{
    (void)s;
}

static void stop_zstd(struct hmm_trace_source *s)
{
    (void)s;
}
#endif

static ptrdiff_t read_plain(struct hmm_trace_source *s, char *to, size_t room,
                            struct hmm_trace_error *error)
{
    if (s->next == s->filled && !fill(s, error))
        return -1;
    size_t n = s->filled - s->next < room ? s->filled - s->next : room;
    memcpy(to, s->input + s->next, n);
    s->next += n;
    return (ptrdiff_t)n;
}

static bool start(struct hmm_trace_source *s, const char *path, struct hmm_trace_error *error)
{
    struct stat status;
    s->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0)
        return hmm_trace_fail(error, "cannot open: %s", strerror(errno));
    if (fstat(s->fd, &status) == 0 && S_ISREG(status.st_mode)) {
        s->total = (uint64_t)status.st_size;
        s->seekable = lseek(s->fd, 0, SEEK_CUR) == 0;
    }
    if (!fill(s, error))
        return false;
    s->compressed = looks_compressed(s);
    return !s->compressed || start_zstd(s, error);
}

struct hmm_trace_source *hmm_trace_source_open(const char *path, struct hmm_trace_error *error)
{
    struct hmm_trace_source *s = calloc(1, sizeof *s);
    if (s == NULL) {
        hmm_trace_fail(error, "out of memory");
        return NULL;
    }
    if (start(s, path, error))
        return s;
    hmm_trace_source_close(s);
    return NULL;
}

ptrdiff_t hmm_trace_source_read(struct hmm_trace_source *s, char *to, size_t room,
                                struct hmm_trace_error *error)
{
    return s->compressed ? read_zstd(s, to, room, error) : read_plain(s, to, room, error);
}

bool hmm_trace_source_seek(struct hmm_trace_source *s, uint64_t offset,
                           struct hmm_trace_error *error)
{
    if (!s->seekable)
        return hmm_trace_fail(error, "is no file and can be read only once");
    s->consumed = offset;
    s->next = s->filled = 0;
    s->at_end = false;
    if (s->compressed)
        restart_zstd(s);
    return true;
}

bool hmm_trace_source_seekable(const struct hmm_trace_source *s)
{
    return s->seekable;
}

uint64_t hmm_trace_source_length(const struct hmm_trace_source *s)
{
    return s->seekable && !s->compressed ? s->total : 0;
}

void hmm_trace_source_tell(const struct hmm_trace_source *s, uint64_t *done, uint64_t *total)
{
    *done = s->consumed - (s->filled - s->next);
    *total = s->total;
}

void hmm_trace_source_close(struct hmm_trace_source *s)
{
    if (s->compressed)
        stop_zstd(s);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}
