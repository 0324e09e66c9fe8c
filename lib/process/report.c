/* SPDX-License-Identifier: MIT */
/*
 * The reports of the process heap: a line at the start, statistics at exit. Without stdio, since
 * this may run inside a program's malloc, and after its exit handlers. Calls lib/base and the
 * public functions that read a heap.
 */
#include "process/report.h"
#include "process/refusal.h"
#include "base/text.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

#if HMM__POSIX
#include <fcntl.h>
#include <unistd.h>
#endif

void hmm__report_start(const char *who, const struct hmm_heap *h, const struct options *o)
{
    struct text t = {0};
    hmm__text_add(&t, "hmm: ");
    hmm__text_add(&t, who);
    hmm__text_add(&t, ": strategy ");
    hmm__text_add(&t, hmm_strategy_name(hmm_heap_strategy(h)));
    hmm__text_add(&t, ", region ");
    hmm__text_hex(&t, (uintptr_t)h);
    hmm__text_add(&t, " of ");
    hmm__text_size(&t, region_bytes(h));
    hmm__text_add(&t, ", check level ");
    hmm__text_decimal(&t, (uint64_t)o->check);
    hmm__text_add(&t, h->cache ? ", with a cache" : ", without a cache");
    if (o->arenas > 1) {
        hmm__text_add(&t, ", one arena for the ");
        hmm__text_decimal(&t, o->arenas);
        hmm__text_add(&t, " that HMM_ARENAS allows");
    }
    if (o->stats) {
        hmm__text_add(&t, ", statistics to ");
        hmm__text_add(&t, o->stats);
    }
    hmm__text_to_stderr(&t);
}

struct field {
    const char *name;
    uint64_t value;
};

#define FIELDS 19

static uint64_t process_number(void);

static void fields_of(const struct hmm_stats *s, struct field *f)
{
    const struct field all[FIELDS] = {
        {"capacity", s->capacity},
        {"reserved", s->reserved},
        {"control", s->control},
        {"brk", s->brk},
        {"brk_peak", s->brk_peak},
        {"live_bytes", s->live_bytes},
        {"live_peak", s->live_peak},
        {"live_blocks", s->live_blocks},
        {"free_bytes", s->free_bytes},
        {"free_blocks", s->free_blocks},
        {"cached", s->cached},
        {"released", s->released},
        {"largest_free", s->largest_free},
        {"top_bytes", s->top_bytes},
        {"splits", s->splits},
        {"merges", s->merges},
        {"visited", s->visited},
        {"failed", s->failed},
        {"pid", process_number()},
    };
    memcpy(f, all, sizeof all);
}

/* Of the first request that was not served; none iff all were. */
#define REFUSAL_FIELDS 6

static unsigned fields_of_refusal(struct field *f)
{
    const struct hmm__refusal *r = hmm__refusal();
    const struct field all[REFUSAL_FIELDS] = {
        {"refused_size", r->size},   {"refused_free", r->free_bytes},
        {"refused_holes", r->holes}, {"refused_hole", r->largest_hole},
        {"refused_below", r->below}, {"refused_above", r->above},
    };
    memcpy(f, all, sizeof all);
    return r->noted ? REFUSAL_FIELDS : 0;
}

static void as_json(struct text *t, const char *strategy, const struct field *f, unsigned count)
{
    hmm__text_add(t, "{\"strategy\":\"");
    while (*strategy != '\0') { /* a plug-in's name may have any characters */
        char escaped[HMM__JSON_ROOM];
        strategy = hmm__text_json(strategy, escaped);
        hmm__text_add(t, escaped);
    }
    hmm__text_add(t, "\"");
    for (unsigned i = 0; i < count; i++) {
        hmm__text_add(t, ",\"");
        hmm__text_add(t, f[i].name);
        hmm__text_add(t, "\":");
        hmm__text_decimal(t, f[i].value);
    }
    hmm__text_add(t, "}");
}

static void as_text(struct text *t, const char *strategy, const struct field *f, unsigned count)
{
    hmm__text_add(t, "hmm: statistics, strategy ");
    hmm__text_add(t, strategy);
    for (unsigned i = 0; i < count; i++) {
        hmm__text_add(t, "\n  ");
        hmm__text_add(t, f[i].name);
        for (size_t n = hmm__text_length(f[i].name); n < 14; n++)
            hmm__text_add(t, " ");
        hmm__text_decimal(t, f[i].value);
    }
}

#if HMM__POSIX
static bool ends_with(const char *s, const char *end)
{
    size_t n = hmm__text_length(s), m = hmm__text_length(end);
    return n >= m && hmm__text_same(s + n - m, end);
}

/* The lowest file descriptor for a copy of stderr: programs use lower ones. */
#define STDERR_COPY 200

/* Bytes of a path with its folder, and each %p as a number; no system has a longer one. */
#define PATH_BYTES_MAX 4096

/* Where the statistics go. */
static struct {
    char path[PATH_BYTES_MAX]; /* absolute, if the working folder is known */
    const char *too_long;      /* HMM_STATS, if the path has no room for it; else NULL */
    int err;
    bool is_file;
} destination = {.err = 2};

static uint64_t process_number(void)
{
    return (uint64_t)getpid();
}

/* Appends `from` to path. False, with a part appended, iff there is no room. */
static bool path_add(char *path, size_t *length, const char *from)
{
    while (*from != '\0' && *length < PATH_BYTES_MAX - 1)
        path[(*length)++] = *from++;
    path[*length] = '\0';
    return *from == '\0';
}

/* Sets the path to the working folder. False: there is none, or it is too long. */
static bool path_begin(void)
{
    return getcwd(destination.path, sizeof destination.path) != NULL;
}

/* Sets the path to `where`, made absolute. False iff it is too long. */
static bool path_set(const char *where)
{
    size_t n = 0;
    if (where[0] == '/')
        return path_add(destination.path, &n, where);
    if (!path_begin())
        return errno != ERANGE && path_add(destination.path, &n, where);
    n = hmm__text_length(destination.path);
    return path_add(destination.path, &n, "/") && path_add(destination.path, &n, where);
}

void hmm__report_place(const char *where)
{
    destination.is_file = !hmm__text_same(where, "stderr") && !hmm__text_same(where, "-");
    destination.path[0] = '\0';
    destination.too_long = NULL;
    int copy = fcntl(2, F_DUPFD_CLOEXEC, STDERR_COPY);
    destination.err = copy >= 0 ? copy : 2;
    if (destination.is_file && !path_set(where))
        destination.too_long = where;
}

/* Copies the path, with each %p replaced by the process's number. False iff it is too long. */
static bool path_of_process(char *path)
{
    struct text number = {0};
    size_t n = 0;
    bool fits = true;
    hmm__text_decimal(&number, process_number());
    for (const char *c = destination.path; *c != '\0' && fits; c++) {
        const char one[2] = {*c, '\0'};
        bool is_number = c[0] == '%' && c[1] == 'p';
        fits = path_add(path, &n, is_number ? hmm__text_line(&number) : one);
        c += is_number;
    }
    return fits;
}

/* A long path is cut, so that the end of the line is not. */
static void complain(const char *path, const char *what)
{
    struct text t = {0};
    const size_t max = sizeof t.chars / 2;
    hmm__text_add(&t, "hmm: HMM_STATS=");
    for (size_t i = 0; path[i] != '\0' && i < max; i++) {
        const char one[2] = {path[i], '\0'};
        hmm__text_add(&t, one);
    }
    hmm__text_add(&t, hmm__text_length(path) > max ? "...: " : ": ");
    hmm__text_add(&t, what);
    hmm__text_add(&t, "; the statistics follow");
    (void)hmm__text_to(&t, destination.err);
}

static const char *why_not_written(int code)
{
    return code == ENOSPC ? "cannot be written: no space left" : "cannot be written";
}

/* NULL, or what went wrong. */
static const char *put_in_file(struct text *t, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return "cannot be opened for writing";
    int code = hmm__text_to(t, fd);
    if (close(fd) != 0 && code == 0) /* some systems report a full disk only here */
        code = errno;
    return code == 0 ? NULL : why_not_written(code);
}

static void put(struct text *t)
{
    static char path[PATH_BYTES_MAX];
    const char *wrong = NULL;
    if (destination.too_long != NULL)
        complain(destination.too_long, "the path is too long: at most 4095 bytes, with its folder");
    else if (destination.is_file && !path_of_process(path))
        complain(destination.path, "the path is too long: at most 4095 bytes, with its folder");
    else if (destination.is_file && (wrong = put_in_file(t, path)) == NULL)
        return;
    if (wrong != NULL)
        complain(path, wrong);
    (void)hmm__text_to(t, destination.err);
}

#else

static uint64_t process_number(void)
{
    return 0;
}

void hmm__report_place(const char *where)
{
    (void)where;
}

static void put(struct text *t)
{
    hmm__text_to_stderr(t);
}

#endif

static bool wants_json(void)
{
#if HMM__POSIX
    return ends_with(destination.path, ".json");
#else
    return false;
#endif
}

void hmm__report_stats(const struct hmm_heap *h)
{
    struct text t = {0};
    struct hmm_stats s;
    struct field f[FIELDS + REFUSAL_FIELDS];
    hmm_heap_stats(h, &s);
    fields_of(&s, f);
    const unsigned count = FIELDS + fields_of_refusal(f + FIELDS);
    const char *strategy = hmm_strategy_name(hmm_heap_strategy(h));
    if (wants_json())
        as_json(&t, strategy, f, count);
    else
        as_text(&t, strategy, f, count);
    put(&t);
}

#endif
