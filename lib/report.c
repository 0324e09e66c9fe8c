/* SPDX-License-Identifier: MIT */
/*
 * What a heap tells of itself: on start, and its statistics at exit. Without stdio, since it may
 * run inside a program's malloc and after its exit handlers.
 */
#include "report.h"
#include "text.h"

#if HMM_HOSTED
#include <fcntl.h>
#include <unistd.h>
#endif

void hmm__report_start(const char *who, const struct hmm_heap *h, const struct options *o)
{
    struct text t = {0};
    struct hmm_stats s;
    hmm_heap_stats(h, &s);
    hmm__text_add(&t, "hmm: ");
    hmm__text_add(&t, who);
    hmm__text_add(&t, ": strategy ");
    hmm__text_add(&t, hmm_strategy_name(hmm_heap_strategy(h)));
    hmm__text_add(&t, ", region ");
    hmm__text_hex(&t, (uintptr_t)h);
    hmm__text_add(&t, " of ");
    hmm__text_size(&t, s.capacity);
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

static void as_json(struct text *t, const char *strategy, const struct field *f)
{
    hmm__text_add(t, "{\"strategy\":\"");
    for (const char *c = strategy; *c != '\0'; c++) { /* a plug-in may be called anything */
        const char one[2] = {*c, '\0'};
        hmm__text_add(t, *c == '"' || *c == '\\' ? "\\" : "");
        hmm__text_add(t, (unsigned char)*c < ' ' ? "?" : one);
    }
    hmm__text_add(t, "\"");
    for (unsigned i = 0; i < FIELDS; i++) {
        hmm__text_add(t, ",\"");
        hmm__text_add(t, f[i].name);
        hmm__text_add(t, "\":");
        hmm__text_decimal(t, f[i].value);
    }
    hmm__text_add(t, "}");
}

static void as_text(struct text *t, const char *strategy, const struct field *f)
{
    hmm__text_add(t, "hmm: statistics, strategy ");
    hmm__text_add(t, strategy);
    for (unsigned i = 0; i < FIELDS; i++) {
        hmm__text_add(t, "\n  ");
        hmm__text_add(t, f[i].name);
        for (size_t n = hmm__text_length(f[i].name); n < 14; n++)
            hmm__text_add(t, " ");
        hmm__text_decimal(t, f[i].value);
    }
}

#if HMM_HOSTED
static bool ends_with(const char *s, const char *end)
{
    size_t n = hmm__text_length(s), m = hmm__text_length(end);
    return n >= m && hmm__text_same(s + n - m, end);
}

/* Above what programs use for themselves. */
#define STDERR_COPY 200

/* Only the process heap has one. */
static struct {
    char path[1024]; /* begins with '/' if that can be */
    int err;
    bool is_file;
} place = {.err = 2};

static uint64_t process_number(void)
{
    return (uint64_t)getpid();
}

/* Adds `from` to the path, as far as there is room. */
static void path_add(const char *from)
{
    size_t n = hmm__text_length(place.path);
    while (*from != '\0' && n < sizeof place.path - 1)
        place.path[n++] = *from++;
    place.path[n] = '\0';
}

void hmm__report_place(const char *where)
{
    place.is_file = !hmm__text_same(where, "stderr") && !hmm__text_same(where, "-");
    place.path[0] = '\0';
    int copy = fcntl(2, F_DUPFD_CLOEXEC, STDERR_COPY);
    place.err = copy >= 0 ? copy : 2;
    if (!place.is_file)
        return;
    if (where[0] != '/' && getcwd(place.path, sizeof place.path) != NULL)
        path_add("/");
    path_add(where);
}

/* The name, each %p as the process's number. */
static void path_of_process(struct text *t)
{
    for (const char *c = place.path; *c != '\0'; c++) {
        const char one[2] = {*c, '\0'};
        if (c[0] == '%' && c[1] == 'p') {
            hmm__text_decimal(t, process_number());
            c++;
        } else {
            hmm__text_add(t, one);
        }
    }
}

static void cannot_write(const char *path)
{
    struct text t = {0};
    hmm__text_add(&t, "hmm: HMM_STATS=");
    hmm__text_add(&t, path);
    hmm__text_add(&t, ": cannot be opened for writing; the statistics follow");
    hmm__text_to(&t, place.err);
}

static void put(struct text *t)
{
    int fd = place.err;
    if (place.is_file) {
        struct text name = {0};
        path_of_process(&name);
        const char *path = hmm__text_line(&name);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (fd < 0)
            cannot_write(path);
    }
    hmm__text_to(t, fd < 0 ? place.err : fd);
    if (place.is_file && fd >= 0)
        close(fd);
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
#if HMM_HOSTED
    return ends_with(place.path, ".json");
#else
    return false;
#endif
}

void hmm__report_stats(const struct hmm_heap *h)
{
    struct text t = {0};
    struct hmm_stats s;
    struct field f[FIELDS];
    hmm_heap_stats(h, &s);
    fields_of(&s, f);
    const char *strategy = hmm_strategy_name(hmm_heap_strategy(h));
    if (wants_json())
        as_json(&t, strategy, f);
    else
        as_text(&t, strategy, f);
    put(&t);
}
