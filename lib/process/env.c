/* SPDX-License-Identifier: MIT */
/*
 * Reading the environment's variables, and the messages for bad values. Calls lib/base and the
 * registry of strategies.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* secure_getenv */
#endif
#include "process/env.h"
#include "registry.h"

#if HMM_WITH_PROCESS && !HMM__SMALL

#if HMM_HOSTED
#include <stdlib.h>
#include <unistd.h>
#endif

static const char *env_value(const char *name)
{
#if HMM_HOSTED && defined(__GLIBC__)
    const char *value = secure_getenv(name);
#elif HMM_HOSTED
    const char *value = getenv(name);
#else
    const char *value = NULL;
    (void)name;
#endif
    return value && *value ? value : NULL;
}

/* False before the C library has set up the environment. */
static bool env_exists(void)
{
#if HMM_HOSTED && defined(__GLIBC__)
    return environ != NULL;
#else
    return true;
#endif
}

/* Begins a message: "hmm: NAME=VALUE: ". */
static void bad_value(struct text *t, const char *name, const char *value)
{
    hmm__text_add(t, "hmm: ");
    hmm__text_add(t, name);
    hmm__text_add(t, "=");
    hmm__text_add(t, value);
    hmm__text_add(t, ": ");
}

static int refuse_value(const char *name, const char *value, const char *allowed)
{
    struct text t = {0};
    bad_value(&t, name, value);
    hmm__text_add(&t, allowed);
    hmm__text_to_stderr(&t);
    return 1;
}

size_t hmm__parse_size(const char *s)
{
#if HMM_HOSTED
    uint64_t bytes;
    return hmm__text_parse_size(s, &bytes) && bytes <= SIZE_MAX ? (size_t)bytes : 0;
#else
    (void)s; /* there is no environment that a size could be in */
    return 0;
#endif
}

/* ---- Names that are misspelt ---- */

#if HMM_HOSTED && defined(__GLIBC__)
/* HMM_RECORD is the recorder's. */
static const char *const variables[] = {
    "HMM_STRATEGY", "HMM_HEAP_SIZE", "HMM_CACHE",  "HMM_CHECK",   "HMM_FOREIGN",
    "HMM_STATS",    "HMM_RELEASE",   "HMM_ARENAS", "HMM_VERBOSE", "HMM_RECORD"};

#define VARIABLES (sizeof variables / sizeof variables[0])

/* What begins every name, and how many letters after it make an abbreviation or a misspelt name;
 * how many letters of a misspelt name are wrong. */
#define PREFIX "HMM_"
#define PREFIX_LENGTH (sizeof PREFIX - 1)
#define MIN_LETTERS 3
#define MAX_EDITS 2

static bool begins_with(const char *s, const char *beginning)
{
    while (*beginning != '\0' && *s == *beginning)
        s++, beginning++;
    return *beginning == '\0';
}

/* A variable that `name`, which begins with PREFIX and is none, was probably meant to be. Programs
 * may have variables of their own that begin so; the answer for those is NULL. */
static const char *probably_meant(const char *name)
{
    const char *meant = NULL;
    unsigned fewest = MAX_EDITS + 1;
    if (hmm__text_length(name) < PREFIX_LENGTH + MIN_LETTERS)
        return NULL;
    for (size_t i = 0; i < VARIABLES; i++) {
        unsigned edits = hmm__text_edits(name, variables[i]);
        if (edits == 0)
            return NULL;
        if (begins_with(variables[i], name))
            edits = 1;
        if (edits < fewest) {
            fewest = edits;
            meant = variables[i];
        }
    }
    return meant;
}

static void say_misspelt(const char *entry)
{
    struct text t = {0};
    char name[HMM__TEXT_WORD + 2];
    size_t n = 0;
    for (; n < sizeof name - 1 && entry[n] != '\0' && entry[n] != '='; n++)
        name[n] = (char)(entry[n] >= ' ' && entry[n] <= '~' ? entry[n] : '?');
    name[n] = '\0';
    const char *meant = probably_meant(name);
    if (meant == NULL)
        return;
    hmm__text_add(&t, "hmm: ");
    hmm__text_add(&t, name);
    hmm__text_add(&t, " is no variable of hmm's; did you mean ");
    hmm__text_add(&t, meant);
    hmm__text_add(&t, "?");
    hmm__text_to_stderr(&t);
}
#endif

void hmm__options_misspelt(void)
{
#if HMM_HOSTED && defined(__GLIBC__)
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++)
        if (begins_with(*entry, PREFIX))
            say_misspelt(*entry);
#endif
}

/* ---- Values ---- */

static int read_digit(const char *name, int max, int *to)
{
    const char *value = env_value(name);
    if (value == NULL)
        return 0;
    if (value[0] < '0' || value[0] > '0' + max || value[1] != '\0')
        return refuse_value(name, value, max == 1 ? "allowed are 0 and 1" : "allowed are 0 to 4");
    *to = value[0] - '0';
    return 0;
}

static int find_strategy(struct options *o, const char *value)
{
    struct text why = {0};
    const struct hmm_strategy *s = hmm__strategy_find(value, &why);
    if (s != NULL) {
        o->strategy = s;
        return 0;
    }
    struct text t = {0};
    bad_value(&t, "HMM_STRATEGY", value);
    hmm__text_add(&t, hmm__text_line(&why));
    hmm__text_add(&t, "; allowed are ");
    hmm__strategy_names(&t);
    hmm__text_to_stderr(&t);
    return 1;
}

static int read_strategy(struct options *o)
{
    const char *value = env_value("HMM_STRATEGY");
    if (value == NULL)
        return 0;
    if (hmm__strategy_is_path(value)) {
        o->plugin = value;
        return 0;
    }
    return find_strategy(o, value);
}

/* The smallest number of bytes that a heap needs besides the index. */
#define BESIDE_INDEX 4096

static int refuse_index(const char *path, size_t index, size_t capacity)
{
    struct text t = {0};
    bad_value(&t, "HMM_STRATEGY", path);
    hmm__text_add(&t, "its index of ");
    hmm__text_decimal(&t, index);
    hmm__text_add(&t, " bytes does not fit into a heap of ");
    hmm__text_decimal(&t, capacity);
    hmm__text_to_stderr(&t);
    return 1;
}

int hmm__options_plugin(struct options *o, size_t capacity)
{
    const char *path = o->plugin;
    const struct hmm_strategy *before = o->strategy;
    o->plugin = NULL;
    if (path == NULL)
        return 0;
    if (find_strategy(o, path) != 0)
        return 1;
    size_t index = o->strategy->state_size(capacity);
    if (index < capacity && capacity - index >= BESIDE_INDEX)
        return 0;
    o->strategy = before;
    return refuse_index(path, index, capacity);
}

static int read_foreign(struct options *o)
{
    const char *value = env_value("HMM_FOREIGN");
    o->foreign = value != NULL && hmm__text_same(value, "ignore");
    if (value == NULL || o->foreign || hmm__text_same(value, "abort"))
        return 0;
    return refuse_value("HMM_FOREIGN", value, "allowed are abort and ignore");
}

#define RELEASE_MAX 3600000u

static int read_release(struct options *o)
{
    const char *value = env_value("HMM_RELEASE");
    uint32_t ms = 0;
    size_t i = 0;
    o->release = HMM__RELEASE_AFTER;
    if (value == NULL)
        return 0;
    if (hmm__text_same(value, "-1")) {
        o->release = HMM__RELEASE_NEVER;
        return 0;
    }
    for (; value[i] >= '0' && value[i] <= '9' && ms <= RELEASE_MAX; i++)
        ms = ms * 10 + (uint32_t)(value[i] - '0');
    if (value[i] != '\0' || ms > RELEASE_MAX)
        return refuse_value("HMM_RELEASE", value, "allowed are -1 and 0 to 3600000 (milliseconds)");
    o->release = ms;
    return 0;
}

/* The most that there may be: there is one (doc/decisions/0005). */
#define ARENAS_MAX 64u

static int read_arenas(struct options *o)
{
    const char *value = env_value("HMM_ARENAS");
    uint32_t n = 0;
    size_t i = 0;
    o->arenas = 1;
    if (value == NULL)
        return 0;
    for (; value[i] >= '0' && value[i] <= '9' && n <= ARENAS_MAX; i++)
        n = n * 10 + (uint32_t)(value[i] - '0');
    if (value[i] != '\0' || n == 0 || n > ARENAS_MAX)
        return refuse_value("HMM_ARENAS", value, "allowed are 1 to 64");
    o->arenas = n;
    return 0;
}

static int read_heap_size(struct options *o, size_t largest)
{
    const char *value = env_value("HMM_HEAP_SIZE");
    size_t size = value ? hmm__parse_size(value) : 0;
    if (value == NULL)
        return 0;
    if (size >= 4096 && size <= largest) {
        o->heap_size = size;
        return 0;
    }
    struct text t = {0};
    bad_value(&t, "HMM_HEAP_SIZE", value);
    hmm__text_add(&t, "allowed are 4K to ");
    hmm__text_size(&t, largest);
    hmm__text_add(&t, ", a number of bytes with or without K, M or G");
    hmm__text_to_stderr(&t);
    return 1;
}

int hmm__options_read(struct options *o, const struct hmm_strategy *fallback, size_t largest_heap,
                      bool with_strategy)
{
    int cache = 1, verbose = 0;
    *o = (struct options){.strategy = fallback, .check = 1, .stats = env_value("HMM_STATS")};
    o->had_environment = env_exists();
    int bad = with_strategy ? read_strategy(o) : 0;
    bad += read_heap_size(o, largest_heap);
    bad += read_foreign(o);
    bad += read_release(o);
    bad += read_arenas(o);
    bad += read_digit("HMM_CHECK", 4, &o->check);
    bad += read_digit("HMM_CACHE", 1, &cache);
    bad += read_digit("HMM_VERBOSE", 1, &verbose);
    o->cache = cache != 0;
    o->verbose = verbose != 0;
    return bad;
}

#endif
