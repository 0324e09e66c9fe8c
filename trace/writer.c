/* SPDX-License-Identifier: MIT */
/*
 * Writes a trace: text, plain or as zstd, or format 2.
 *
 * What is in the file is a whole trace at every boundary: the end of a write of whole lines, or the
 * end of a zstd frame. After an error the file is cut back to the last of them, so that a full disk
 * leaves a trace that can be replayed. The first frame holds the header alone.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "packed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#define BUFFER_BYTES 65536
#define LONGEST_LINE 96 /* a mark; a letter, three numbers of up to 20 digits, spaces, newline */
#define LONGEST_COMMENT 4096

/* Bytes of text in a zstd frame. Each frame has twice as many as the one before, up to
 * LARGEST_FRAME, at which the ends of frames cost nothing: an error or a kill loses at most one
 * frame. From THREAD_FRAME on another thread compresses. */
#define FIRST_FRAME BUFFER_BYTES
#define LARGEST_FRAME (32 * FIRST_FRAME)
#define THREAD_FRAME (16 * FIRST_FRAME)

struct hmm_trace_writer {
    int fd;
    int code;                      /* errno of the first error; 0: none */
    size_t used;                   /* buffer[0 .. used) is whole lines, not yet handed on */
    uint64_t ops, written;         /* written: bytes in the file */
    uint64_t good_ops, good_bytes; /* at the last boundary */
    struct hmm_packer *packer;     /* NULL: text */
    bool inside_line;              /* a boundary cannot be here */
#ifdef HAVE_ZSTD
    ZSTD_CCtx *zstd; /* NULL: plain */
    uint64_t frame_text, frame_limit;
    bool hurry, frame_hurry; /* as asked for; as the frame is */
    char *compressed;        /* BUFFER_BYTES */
#endif
    char buffer[BUFFER_BYTES];
};

/* ---- Bytes into the file ---- */

static void fail(struct hmm_trace_writer *w, int code)
{
    if (w->code != 0)
        return;
    w->code = code;
    /* What cannot be truncated, such as a pipe, keeps half a line. */
    while (ftruncate(w->fd, (off_t)w->good_bytes) != 0 && errno == EINTR)
        ;
}

static void put_bytes(struct hmm_trace_writer *w, const char *bytes, size_t size)
{
    while (size != 0 && w->code == 0) {
        ssize_t put = write(w->fd, bytes, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            fail(w, put < 0 ? errno : EIO);
            return;
        }
        bytes += put;
        size -= (size_t)put;
        w->written += (uint64_t)put;
    }
}

static void mark_boundary(struct hmm_trace_writer *w)
{
    if (w->code != 0 || w->inside_line)
        return;
    w->good_ops = w->ops;
    w->good_bytes = w->written;
}

/* ---- Format 2: a boundary is the end of a block ---- */

static void put_block(void *arg, const void *bytes, size_t size, uint64_t ops)
{
    struct hmm_trace_writer *w = arg;
    put_bytes(w, bytes, size);
    w->ops = ops;
    mark_boundary(w);
}

static bool pack(struct hmm_trace_writer *w, bool good)
{
    if (!good)
        fail(w, ENOMEM);
    return w->code == 0;
}

/* ---- zstd ---- */

#ifdef HAVE_ZSTD
static bool start_zstd(struct hmm_trace_writer *w)
{
    w->zstd = ZSTD_createCCtx();
    w->compressed = malloc(BUFFER_BYTES);
    if (w->zstd == NULL || w->compressed == NULL)
        return false;
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    return true;
}

static void compress(struct hmm_trace_writer *w, ZSTD_EndDirective end)
{
    ZSTD_inBuffer in = {w->buffer, w->used, 0};
    size_t left = 1;
    while (w->code == 0 && (in.pos < in.size || (end == ZSTD_e_end && left != 0))) {
        ZSTD_outBuffer out = {w->compressed, BUFFER_BYTES, 0};
        left = ZSTD_compressStream2(w->zstd, &out, &in, end);
        if (ZSTD_isError(left))
            fail(w, ENOMEM);
        else
            put_bytes(w, w->compressed, out.pos);
    }
    w->frame_text += w->used;
}

/*
 * In a hurry zstd does not search for repetitions and only entropy-codes the text: half the size at
 * a gigabyte a second, where level 1 makes a quarter of it at a third of that speed.
 * ZSTD_c_experimentalParam5 asks for that; a zstd that does not know it leaves the text as it is.
 * One that was built without threads refuses the worker, and goes on without.
 */
static void next_frame(struct hmm_trace_writer *w)
{
    mark_boundary(w);
    w->frame_text = 0;
    w->frame_limit = w->frame_limit == 0              ? FIRST_FRAME
                     : w->frame_limit < LARGEST_FRAME ? 2 * w->frame_limit
                                                      : LARGEST_FRAME;
    w->frame_hurry = w->hurry;
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, w->hurry ? -1000 : 1);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_experimentalParam5, w->hurry ? 1 : 0);
    bool worker = w->frame_limit >= THREAD_FRAME && sysconf(_SC_NPROCESSORS_ONLN) > 2;
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_nbWorkers, worker);
}

static void flush_zstd(struct hmm_trace_writer *w, bool end)
{
    const uint64_t text = w->frame_text + w->used;
    end = end || text >= w->frame_limit || (w->hurry != w->frame_hurry && text >= FIRST_FRAME);
    if (end && text == 0)
        return;
    compress(w, end ? ZSTD_e_end : ZSTD_e_continue);
    if (end)
        next_frame(w);
}

static void stop_zstd(struct hmm_trace_writer *w)
{
    ZSTD_freeCCtx(w->zstd);
    free(w->compressed);
}
#endif

/* ---- The buffer ---- */

static void flush(struct hmm_trace_writer *w, bool end)
{
    if (w->packer != NULL)
        return;
#ifdef HAVE_ZSTD
    if (w->zstd != NULL) {
        flush_zstd(w, end);
        w->used = 0;
        return;
    }
#endif
    (void)end;
    put_bytes(w, w->buffer, w->used);
    mark_boundary(w);
    w->used = 0;
}

/* Numbers below 1000: as they are, with their lengths, and with leading zeros. A table, since the
 * length of the next number cannot be predicted, and a mispredicted branch would cost more than all
 * the rest. */
static struct {
    char text[3], length;
} numbers[1000];
static char triples[1000][4];

static void fill_numbers(void)
{
    for (int i = 0; i < 1000; i++) {
        char digits[12];
        snprintf(digits, sizeof digits, "%03d", i);
        int zeros = i < 10 ? 2 : i < 100 ? 1 : 0;
        memcpy(triples[i], digits, 3);
        memcpy(numbers[i].text, digits + zeros, (size_t)(3 - zeros));
        numbers[i].length = (char)(3 - zeros);
    }
}

/* Writes up to 4 bytes more than it says. */
static char *put_number(char *to, uint64_t value)
{
    if (value >= 1000) {
        to = put_number(to, value / 1000);
        memcpy(to, triples[value % 1000], 4);
        return to + 3;
    }
    memcpy(to, &numbers[value], 4);
    return to + numbers[value].length;
}

/* The line that names the stack of the operation below it. */
static char *put_mark(char *to, uint32_t stack)
{
    *to++ = '#';
    *to++ = '@';
    return put_number(to, stack);
}

static bool pack_op(struct hmm_trace_writer *w, const struct hmm_trace_op *op)
{
    char mark[LONGEST_LINE];
    if (op->stack != 0 &&
        !pack(w, hmm_packer_comment(w->packer, mark, (size_t)(put_mark(mark, op->stack) - mark))))
        return false;
    return pack(w, hmm_packer_add(w->packer, op));
}

bool hmm_trace_write(struct hmm_trace_writer *w, const struct hmm_trace_op *op)
{
    static const char letters[] = "amrf"; /* as in enum hmm_trace_kind */
    if (w->packer != NULL)
        return pack_op(w, op);
    if (w->used > sizeof w->buffer - LONGEST_LINE)
        flush(w, false);
    char *to = w->buffer + w->used;
    if (op->stack != 0) {
        to = put_mark(to, op->stack);
        *to++ = '\n';
    }
    *to++ = letters[op->kind];
    *to++ = ' ';
    to = put_number(to, op->id);
    if (op->kind == HMM_TRACE_ALIGNED) {
        *to++ = ' ';
        to = put_number(to, UINT64_C(1) << op->align_log2);
    }
    if (op->kind != HMM_TRACE_FREE) {
        *to++ = ' ';
        to = put_number(to, op->size);
    }
    *to++ = '\n';
    w->used = (size_t)(to - w->buffer);
    w->ops++;
    return w->code == 0;
}

uint64_t hmm_trace_writer_held(const struct hmm_trace_writer *w)
{
    return w->good_ops;
}

void hmm_trace_writer_hurry(struct hmm_trace_writer *w, bool hurry)
{
    if (w->packer != NULL)
        hmm_packer_hurry(w->packer, hurry);
#ifdef HAVE_ZSTD
    w->hurry = hurry;
#else
    (void)w, (void)hurry;
#endif
}

bool hmm_trace_write_line(struct hmm_trace_writer *w, const char *line, size_t length)
{
    if (w->packer != NULL)
        return pack(w, hmm_packer_comment(w->packer, line, length));
    if (sizeof w->buffer - w->used <= length)
        flush(w, false);
    w->inside_line = true;
    while (length != 0 && w->code == 0) {
        const size_t room = sizeof w->buffer - w->used, n = length < room ? length : room;
        memcpy(w->buffer + w->used, line, n);
        w->used += n;
        line += n;
        length -= n;
        if (w->used == sizeof w->buffer)
            flush(w, false);
    }
    w->inside_line = false;
    w->buffer[w->used++] = '\n';
    return w->code == 0;
}

bool hmm_trace_write_comment(struct hmm_trace_writer *w, const char *text)
{
    char line[LONGEST_COMMENT];
    snprintf(line, sizeof line, "# %s", text);
    for (char *c = line; *c != '\0'; c++)
        if ((unsigned char)*c < ' ')
            *c = '?';
    return hmm_trace_write_line(w, line, strlen(line));
}

/* ---- Opening and closing ---- */

static bool ends_in(const char *path, const char *ending)
{
    const size_t length = strlen(path), n = strlen(ending);
    return length > n && strcmp(path + length - n, ending) == 0;
}

static bool wants_zstd(const char *path)
{
    return ends_in(path, ".zst");
}

static bool can_compress(const char *path, struct hmm_trace_error *error)
{
#ifdef HAVE_ZSTD
    (void)path, (void)error;
    return true;
#else
    return !wants_zstd(path) ||
           hmm_trace_fail(error, "this build of hmm cannot compress: give a name that does not end "
                                 "in .zst, or rebuild it with libzstd (Debian package "
                                 "libzstd-dev)");
#endif
}

void hmm_trace_writer_plain(struct hmm_trace_writer *w)
{
    if (w->packer != NULL)
        hmm_packer_plain(w->packer);
}

static bool is_file_of(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool hmm_trace_writer_check(const char *path, struct hmm_trace_error *error)
{
    struct stat status;
    *error = (struct hmm_trace_error){0};
    if (!can_compress(path, error))
        return false;
    if (strcmp(path, "-") == 0)
        return hmm_trace_fail(error, "cannot write: standard output is the command's own");
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return hmm_trace_fail(error, "cannot write: it is there and is not a regular file");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return hmm_trace_fail(error, "cannot write: %s", strerror(errno));
    const bool is_output = is_file_of(fd, STDOUT_FILENO) || is_file_of(fd, STDERR_FILENO);
    close(fd);
    return !is_output || hmm_trace_fail(error, "cannot write: what the command prints goes there");
}

static bool start(struct hmm_trace_writer *w, const char *path, struct hmm_trace_error *error)
{
    w->fd = -1;
    fill_numbers();
    if (!can_compress(path, error))
        return false;
#ifdef HAVE_ZSTD
    if (wants_zstd(path) && !start_zstd(w))
        return hmm_trace_fail(error, "out of memory");
#endif
    w->fd = strcmp(path, "-") == 0 ? dup(STDOUT_FILENO)
                                   : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return hmm_trace_fail(error, "cannot write: %s", strerror(errno));
    if (ends_in(path, ".ht2")) {
        w->packer = hmm_packer_open(put_block, w);
        if (w->packer == NULL)
            return hmm_trace_fail(error, "out of memory");
        return w->code == 0 || hmm_trace_fail(error, "cannot write: %s", strerror(w->code));
    }
    w->used = (size_t)snprintf(w->buffer, sizeof w->buffer, "# hmm-trace %d\n", HMM_TRACE_VERSION);
    flush(w, true);
    return w->code == 0 || hmm_trace_fail(error, "cannot write: %s", strerror(w->code));
}

static void release(struct hmm_trace_writer *w)
{
    if (w->packer != NULL)
        hmm_packer_close(w->packer);
#ifdef HAVE_ZSTD
    stop_zstd(w);
#endif
    if (w->fd >= 0)
        close(w->fd);
    free(w);
}

struct hmm_trace_writer *hmm_trace_writer_open(const char *path, struct hmm_trace_error *error)
{
    struct hmm_trace_writer *w = calloc(1, sizeof *w);
    *error = (struct hmm_trace_error){0};
    if (w == NULL) {
        hmm_trace_fail(error, "out of memory");
        return NULL;
    }
    if (start(w, path, error))
        return w;
    /* A file without even a header is no trace. */
    struct stat status;
    if (w->fd >= 0 && fstat(w->fd, &status) == 0 && S_ISREG(status.st_mode))
        unlink(path);
    release(w);
    return NULL;
}

bool hmm_trace_writer_close(struct hmm_trace_writer *w, struct hmm_trace_error *error)
{
    *error = (struct hmm_trace_error){0};
    if (w->packer != NULL && w->code == 0)
        pack(w, hmm_packer_end(w->packer));
    flush(w, true);
    if (w->code == 0 && close(w->fd) != 0)
        w->code = errno;
    else if (w->code != 0)
        close(w->fd);
    w->fd = -1;
    bool good = w->code == 0;
    error->held = w->good_ops;
    if (!good)
        hmm_trace_fail(error, "cannot write: %s; the file has the first %llu operations",
                       strerror(w->code), (unsigned long long)w->good_ops);
    release(w);
    return good;
}
