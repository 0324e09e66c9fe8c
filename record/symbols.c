/* SPDX-License-Identifier: MIT */
/*
 * Names for addresses. A return address belongs to the call before it.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#define _GNU_SOURCE 1

#include "symbols.h"

#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_LIBDW
#include <elfutils/libdwfl.h>
#endif

static bool is_in(const struct symbol *s, uint32_t module)
{
    return s->module == module;
}

/* ---- Commands that take a line and print some ---- */

struct filter {
    pid_t pid;
    FILE *out; /* what it prints; NULL: it could not be started */
};

/* The command reads what has been written to `in`. */
static struct filter start_filter(char *const argv[], FILE *in)
{
    struct filter f = {0};
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (fflush(in) != 0 || pipe2(ends, 0) != 0)
        return f;
    rewind(in);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(in), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0);
    const int code = posix_spawnp(&f.pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    f.out = code == 0 ? fdopen(ends[0], "r") : NULL;
    if (f.out == NULL)
        close(ends[0]);
    return f;
}

static void end_filter(struct filter *f)
{
    if (f->out != NULL)
        fclose(f->out);
    while (f->pid > 0 && waitpid(f->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* The next line, without its newline, or NULL; in *line, which grows. */
static char *next_line(struct filter *f, char **line, size_t *room)
{
    const ssize_t length = f->out != NULL ? getline(line, room, f->out) : -1;
    if (length <= 0)
        return NULL;
    if ((*line)[length - 1] == '\n')
        (*line)[length - 1] = '\0';
    return *line;
}

/* ---- Functions and lines ---- */

#ifdef HAVE_LIBDW
/* Files stay open: the next process has the same libraries, and reading their tables takes longer
 * than all look-ups. */
#define OPEN_FILES 64u

struct function {
    GElf_Addr start, end;
    const char *name;
    unsigned rank; /* of names for the same function the one with the highest is taken */
};

static struct open_file {
    char *path;
    Dwfl *dwfl;
    Dwfl_Module *module; /* NULL: it cannot be read */
    GElf_Addr bias;
    struct function *functions; /* sorted; libdwfl itself would look through all for each address */
    size_t function_count;
} open_files[OPEN_FILES];

static void close_file(struct open_file *f)
{
    if (f->dwfl != NULL)
        dwfl_end(f->dwfl);
    free(f->functions);
    free(f->path);
    *f = (struct open_file){0};
}

static int compare_functions(const void *a, const void *b)
{
    const struct function *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static unsigned rank_of(const GElf_Sym *symbol)
{
    const unsigned binding = GELF_ST_BIND(symbol->st_info);
    return (symbol->st_size != 0 ? 4u : 0u) + (binding == STB_GLOBAL ? 2u
                                               : binding == STB_WEAK ? 1u
                                                                     : 0u);
}

static void read_functions(struct open_file *f)
{
    const int count = dwfl_module_getsymtab(f->module);
    f->functions = count > 0 ? malloc((size_t)count * sizeof *f->functions) : NULL;
    for (int i = 1; f->functions != NULL && i < count; i++) {
        GElf_Sym symbol;
        GElf_Addr address;
        const char *name =
            dwfl_module_getsym_info(f->module, i, &symbol, &address, NULL, NULL, NULL);
        const unsigned type = GELF_ST_TYPE(symbol.st_info);
        if (name == NULL || name[0] == '\0' || symbol.st_shndx == SHN_UNDEF ||
            (type != STT_FUNC && type != STT_NOTYPE && type != STT_GNU_IFUNC))
            continue;
        f->functions[f->function_count++] =
            (struct function){address, address + symbol.st_size, name, rank_of(&symbol)};
    }
    if (f->function_count != 0)
        qsort(f->functions, f->function_count, sizeof *f->functions, compare_functions);
}

/* The last that begins at the address or before it; one that has a size must reach beyond it. */
static const char *function_at(const struct open_file *f, GElf_Addr address)
{
    size_t low = 0, high = f->function_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (f->functions[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    const struct function *found = low != 0 ? &f->functions[low - 1] : NULL;
    if (found == NULL || (found->end > found->start && found->end <= address))
        return NULL;
    return found->name;
}

/* Clang writes no table of which unit has an address: each unit is asked. */
static const char *source_by_units(const struct open_file *f, GElf_Addr address, int *line)
{
    Dwarf_Addr bias;
    for (Dwarf_Die *unit = NULL; (unit = dwfl_module_nextcu(f->module, unit, &bias)) != NULL;)
        if (dwarf_haspc(unit, address - bias) == 1) {
            Dwarf_Line *where = dwarf_getsrc_die(unit, address - bias);
            return where != NULL && dwarf_lineno(where, line) == 0
                       ? dwarf_linesrc(where, NULL, NULL)
                       : NULL;
        }
    return NULL;
}

static const char *source_at(const struct open_file *f, GElf_Addr address, int *line)
{
    Dwfl_Line *where = dwfl_module_getsrc(f->module, address);
    return where != NULL ? dwfl_lineinfo(where, NULL, line, NULL, NULL, NULL)
                         : source_by_units(f, address, line);
}

static void look_up(const struct open_file *f, GElf_Addr address, struct symbol *s)
{
    int line = 0;
    const char *name = function_at(f, address);
    const char *file = source_at(f, address, &line);
    /* Without the version that a library gives it. */
    s->function = name != NULL ? strndup(name, strcspn(name, "@")) : NULL;
    s->file = file != NULL ? strdup(file) : NULL;
    s->line = file != NULL && line > 0 ? (uint32_t)line : 0;
}

static void open_file(struct open_file *f, const char *path)
{
    static char *no_path;
    static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                             .find_debuginfo = dwfl_standard_find_debuginfo,
                                             .section_address = dwfl_offline_section_address,
                                             .debuginfo_path = &no_path};
    unsetenv("DEBUGINFOD_URLS"); /* libdwfl would ask the network */
    f->path = strdup(path);
    f->dwfl = dwfl_begin(&callbacks);
    Dwfl_Module *found = f->dwfl != NULL ? dwfl_report_offline(f->dwfl, "", path, -1) : NULL;
    if (found != NULL && dwfl_report_end(f->dwfl, NULL, NULL) == 0 &&
        dwfl_module_getelf(found, &f->bias) != NULL)
        f->module = found;
    if (f->module != NULL)
        read_functions(f);
}

static struct open_file *file_of(const char *path)
{
    static unsigned next;
    for (unsigned i = 0; i < OPEN_FILES; i++)
        if (open_files[i].path != NULL && strcmp(open_files[i].path, path) == 0)
            return &open_files[i];
    struct open_file *f = &open_files[next++ % OPEN_FILES];
    close_file(f);
    open_file(f, path);
    return f;
}

void symbols_close(void)
{
    for (unsigned i = 0; i < OPEN_FILES; i++)
        close_file(&open_files[i]);
}

static void find_in_file(const char *path, uint32_t module, struct symbol *symbols, size_t count)
{
    const struct open_file *f = file_of(path);
    for (size_t i = 0; f->module != NULL && i < count; i++)
        if (is_in(&symbols[i], module))
            look_up(f, symbols[i].offset - 1 + f->bias, &symbols[i]);
}
#else
void symbols_close(void)
{
}

/* "FILE:LINE", "FILE:?" or "??:0", with a remark behind it perhaps. */
static void take_place(struct symbol *s, const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || strncmp(text, "??", 2) == 0)
        return;
    s->file = strndup(text, (size_t)(colon - text));
    s->line = (uint32_t)strtoul(colon + 1, NULL, 10);
}

/* Two lines each, function and place, of what is inlined at an address, outwards, up to the line
 * with the next address. The outermost function is the one that the program has; the innermost
 * place is where it is. False at the end. */
static bool take_frames(struct filter *f, struct symbol *s, char **line, size_t *room)
{
    while (next_line(f, line, room) != NULL) {
        if (strncmp(*line, "0x", 2) == 0)
            return true;
        free(s->function);
        s->function = strcmp(*line, "??") != 0 ? strdup(*line) : NULL;
        if (next_line(f, line, room) == NULL)
            break;
        if (s->file == NULL)
            take_place(s, *line);
    }
    return false;
}

static void find_in_file(const char *path, uint32_t module, struct symbol *symbols, size_t count)
{
    char *const argv[] = {(char *)(uintptr_t) "addr2line", (char *)(uintptr_t) "-afi",
                          (char *)(uintptr_t) "-e", (char *)(uintptr_t)path, NULL};
    char *line = NULL;
    size_t room = 0;
    FILE *in = tmpfile();
    if (in == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        if (is_in(&symbols[i], module))
            fprintf(in, "0x%" PRIx64 "\n", symbols[i].offset - 1);
    struct filter f = start_filter(argv, in);
    bool more = next_line(&f, &line, &room) != NULL; /* the first address */
    for (size_t i = 0; more && i < count; i++)
        if (is_in(&symbols[i], module))
            more = take_frames(&f, &symbols[i], &line, &room);
    end_filter(&f);
    fclose(in);
    free(line);
}
#endif

void symbols_find(const char *path, uint32_t module, struct symbol *symbols, size_t count)
{
    for (size_t i = 0; path[0] == '/' && i < count; i++)
        if (is_in(&symbols[i], module)) {
            find_in_file(path, module, symbols, count);
            return;
        }
}

/* ---- C++ ---- */

static bool is_mangled(const struct symbol *s)
{
    return s->function != NULL && strncmp(s->function, "_Z", 2) == 0;
}

void symbols_demangle(struct symbol *symbols, size_t count)
{
    char *const argv[] = {(char *)(uintptr_t) "c++filt", NULL};
    char *line = NULL;
    size_t room = 0, mangled = 0;
    FILE *in = tmpfile();
    if (in == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        if (is_mangled(&symbols[i])) {
            fprintf(in, "%s\n", symbols[i].function);
            mangled++;
        }
    struct filter f = {0};
    if (mangled != 0)
        f = start_filter(argv, in);
    for (size_t i = 0; i < count && mangled != 0; i++) {
        if (!is_mangled(&symbols[i]))
            continue;
        char *name = next_line(&f, &line, &room) != NULL ? strdup(line) : NULL;
        if (name == NULL)
            break;
        free(symbols[i].function);
        symbols[i].function = name;
    }
    end_filter(&f);
    fclose(in);
    free(line);
}
