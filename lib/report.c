/* SPDX-License-Identifier: MIT */
/*
 * What a heap tells of itself: on start, and its statistics at exit. Without stdio, since it may
 * run inside a program's malloc and after its exit handlers.
 */
#include "report.h"
#include "refusal.h"
#include "text.h"

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
    hmm__text_size(&t, hmm_heap_capacity(h));
    hmm__text_add(&t, ", check level ");
    hmm__text_decimal(&t, (uint64_t)o->check);
    hmm__text_add(&t, h->front ? ", with a cache" : ", without a cache");
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

#define FIELDS 16

static uint64_t process_number(void);

static void fields_of(const struct hmm_stats *s, struct field *f)
{
    const struct field all[FIELDS] = {
        {"capacity", s->capacity},
        {"control", s->control},
        {"brk", s->brk},
        {"brk_peak", s->brk_peak},
        {"live_bytes", s->live_bytes},
        {"live_peak", s->live_peak},
        {"live_blocks", s->live_blocks},
        {"free_bytes", s->free_bytes},
        {"free_blocks", s->free_blocks},
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
        {"refused_size", r->size},          {"refused_free", r->free_bytes},
        {"refused_holes", r->holes},        {"refused_hole", r->largest_hole},
        {"refused_below", r->below},        {"refused_above", r->above},
    };
    memcpy(f, all, sizeof all);
    return r->noted ? REFUSAL_FIELDS : 0;
}

static void as_json(struct text *t, const char *strategy, const struct field *f, unsigned count)
{
    hmm__text_add(t, "{\"strategy\":\"");
    for (const char *c = strategy; *c != '\0'; c++) { /* a plug-in may be called anything */
        const char one[2] = {*c, '\0'};
        hmm__text_add(t, *c == '"' || *c == '\\' ? "\\" : "");
        hmm__text_add(t, (unsigned char)*c < ' ' ? "?" : one);
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

/* Above what programs use for themselves. */
#define STDERR_COPY 200

/* With a folder before it, and each %p as a number; a system has none longer. */
#define LONGEST_PATH 4096

/* Only the process heap has one. */
static struct {
    char path[LONGEST_PATH]; /* begins with '/' if that can be */
    const char *asked;       /* the value itself; NULL iff the path holds it */
    int err;
    bool is_file;
} place = {.err = 2};

static uint64_t process_number(void)
{
    return (uint64_t)getpid();
}

/* Adds `from` to what is in path. False, some of it added, iff there is no room. */
static bool path_add(char *path, size_t *length, const char *from)
{
    while (*from != '\0' && *length < LONGEST_PATH - 1)
        path[(*length)++] = *from++;
    path[*length] = '\0';
    return *from == '\0';
}

/* The current folder becomes the path, where there is one. */
static bool has_folder(void)
{
    return getcwd(place.path, sizeof place.path) != NULL;
}

/* False iff it is too long. */
static bool place_path(const char *where)
{
    size_t n = 0;
    if (where[0] == '/')
        return path_add(place.path, &n, where);
    if (!has_folder())
        return errno != ERANGE && path_add(place.path, &n, where);
    n = hmm__text_length(place.path);
    return path_add(place.path, &n, "/") && path_add(place.path, &n, where);
}

void hmm__report_place(const char *where)
{
    place.is_file = !hmm__text_same(where, "stderr") && !hmm__text_same(where, "-");
    place.path[0] = '\0';
    place.asked = NULL;
    int copy = fcntl(2, F_DUPFD_CLOEXEC, STDERR_COPY);
    place.err = copy >= 0 ? copy : 2;
    if (place.is_file && !place_path(where))
        place.asked = where;
}

/* The name, each %p as the process's number. False iff it is too long. */
static bool path_of_process(char *path)
{
    struct text number = {0};
    size_t n = 0;
    bool fits = true;
    hmm__text_decimal(&number, process_number());
    for (const char *c = place.path; *c != '\0' && fits; c++) {
        const char one[2] = {*c, '\0'};
        bool is_number = c[0] == '%' && c[1] == 'p';
        fits = path_add(path, &n, is_number ? hmm__text_line(&number) : one);
        c += is_number;
    }
    return fits;
}

/* The end of the line is kept, whatever the path's length. */
static void complain(const char *path, const char *what)
{
    struct text t = {0};
    const size_t most = sizeof t.chars / 2;
    hmm__text_add(&t, "hmm: HMM_STATS=");
    for (size_t i = 0; path[i] != '\0' && i < most; i++) {
        const char one[2] = {path[i], '\0'};
        hmm__text_add(&t, one);
    }
    hmm__text_add(&t, hmm__text_length(path) > most ? "...: " : ": ");
    hmm__text_add(&t, what);
    hmm__text_add(&t, "; the statistics follow");
    (void)hmm__text_to(&t, place.err);
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
    if (close(fd) != 0 && code == 0) /* some say only now that the disk is full */
        code = errno;
    return code == 0 ? NULL : why_not_written(code);
}

static void put(struct text *t)
{
    static char path[LONGEST_PATH];
    const char *wrong = NULL;
    if (place.asked != NULL)
        complain(place.asked, "the path is too long: at most 4095 bytes, with its folder");
    else if (place.is_file && !path_of_process(path))
        complain(place.path, "the path is too long: at most 4095 bytes, with its folder");
    else if (place.is_file && (wrong = put_in_file(t, path)) == NULL)
        return;
    if (wrong != NULL)
        complain(path, wrong);
    (void)hmm__text_to(t, place.err);
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
    return ends_with(place.path, ".json");
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
