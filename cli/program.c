/* SPDX-License-Identifier: MIT */
/*
 * Whether a program loads what LD_PRELOAD names, as its file tells. In the cases that are
 * distinguished here the loader ignores the variable without a message.
 */
#define _GNU_SOURCE 1 /* memmem */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cli.h"
#include "module.h"

#if defined(__linux__)

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPTS 4 /* interpreters of interpreters */

struct image {
    const char *bytes;
    size_t size;
};

/* The file that execvp would run. False: there is none. */
static bool find_program(const char *name, char path[PATH_MAX])
{
    const char *folders = getenv("PATH");
    if (strchr(name, '/') != NULL || folders == NULL) {
        snprintf(path, PATH_MAX, "%s", name);
        return access(path, X_OK) == 0;
    }
    for (const char *from = folders; *from != '\0';) {
        size_t length = strcspn(from, ":");
        struct stat file;
        snprintf(path, PATH_MAX, "%.*s/%s", (int)length, length ? from : ".", name);
        if (access(path, X_OK) == 0 && stat(path, &file) == 0 && S_ISREG(file.st_mode))
            return true;
        from += length + (from[length] == ':');
    }
    return false;
}

static struct image map_file(const char *path)
{
    struct image file = {NULL, 0};
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED)
            file = (struct image){bytes, (size_t)status.st_size};
    }
    if (fd >= 0)
        close(fd);
    return file;
}

/* `size` bytes of the file from `at` on; NULL: it is shorter. */
static const void *part(const struct image *file, uint64_t at, uint64_t size)
{
    return at <= file->size && size <= file->size - at ? file->bytes + at : NULL;
}

/* The interpreter of a script; false: it is none. */
static bool interpreter(const struct image *file, char path[PATH_MAX])
{
    size_t at = 2, length = 0;
    if (file->size < 3 || memcmp(file->bytes, "#!", 2) != 0)
        return false;
    while (at < file->size && (file->bytes[at] == ' ' || file->bytes[at] == '\t'))
        at++;
    while (at + length < file->size && length < PATH_MAX - 1 &&
           strchr(" \t\r\n", file->bytes[at + length]) == NULL)
        length++;
    memcpy(path, file->bytes + at, length);
    path[length] = '\0';
    return length != 0;
}

static const ElfW(Phdr) * segment(const struct image *file, const ElfW(Ehdr) * head, uint32_t type)
{
    for (unsigned i = 0; i < head->e_phnum; i++) {
        const ElfW(Phdr) *s =
            part(file, head->e_phoff + (uint64_t)i * head->e_phentsize, sizeof *s);
        if (s != NULL && s->p_type == type)
            return s;
    }
    return NULL;
}

/* Where in the file this address of the program is. */
static uint64_t offset_of(const struct image *file, const ElfW(Ehdr) * head, uint64_t address)
{
    for (unsigned i = 0; i < head->e_phnum; i++) {
        const ElfW(Phdr) *s =
            part(file, head->e_phoff + (uint64_t)i * head->e_phentsize, sizeof *s);
        if (s != NULL && s->p_type == PT_LOAD && address - s->p_vaddr < s->p_filesz)
            return s->p_offset + (address - s->p_vaddr);
    }
    return UINT64_MAX;
}

/* Whether a name is among those of the program's dynamic symbols. */
static bool has_symbol(const struct image *file, const ElfW(Ehdr) * head, const char *name)
{
    const ElfW(Phdr) *dynamic = segment(file, head, PT_DYNAMIC);
    uint64_t names = 0, size = 0;
    for (uint64_t i = 0; dynamic != NULL && i < dynamic->p_filesz / sizeof(ElfW(Dyn)); i++) {
        const ElfW(Dyn) *d = part(file, dynamic->p_offset + i * sizeof *d, sizeof *d);
        if (d == NULL)
            break; /* a damaged file says that it has more than it has */
        if (d->d_tag == DT_STRTAB)
            names = d->d_un.d_ptr;
        else if (d->d_tag == DT_STRSZ)
            size = d->d_un.d_val;
    }
    const char *text = part(file, offset_of(file, head, names), size);
    return text != NULL && memmem(text, (size_t)size, name, strlen(name) + 1) != NULL;
}

/* Whether the program defines this function, for all libraries that it loads. */
static bool defines(const struct image *file, const ElfW(Ehdr) * head, const char *name)
{
    for (unsigned i = 0; i < head->e_shnum; i++) {
        const ElfW(Shdr) *s =
            part(file, head->e_shoff + (uint64_t)i * head->e_shentsize, sizeof *s);
        if (s == NULL || s->sh_type != SHT_DYNSYM)
            continue;
        const ElfW(Shdr) *names =
            part(file, head->e_shoff + (uint64_t)s->sh_link * head->e_shentsize, sizeof *names);
        for (uint64_t at = 0; names != NULL && at + sizeof(ElfW(Sym)) <= s->sh_size;
             at += sizeof(ElfW(Sym))) {
            const ElfW(Sym) *symbol = part(file, s->sh_offset + at, sizeof *symbol);
            if (symbol == NULL)
                break;
            const char *text =
                symbol->st_shndx != SHN_UNDEF
                    ? part(file, names->sh_offset + symbol->st_name, strlen(name) + 1)
                    : NULL;
            if (text != NULL && memcmp(text, name, strlen(name) + 1) == 0)
                return true;
        }
    }
    return false;
}

/* A sanitizer that is linked in statically shows in its messages only. */
static const char *why_own_malloc(const struct image *file, const ElfW(Ehdr) * head)
{
    static const char sanitizer[] = "AddressSanitizer: ";
    if (!defines(file, head, "malloc"))
        return NULL;
    if (memmem(file->bytes, file->size, sanitizer, sizeof sanitizer - 1) != NULL)
        return "it is built with AddressSanitizer, which has a malloc of its own";
    return "it has a malloc of its own, which comes before any library's";
}

/* Programs of this command's own kind are the ones that can load what it was built with. */
static const char *why_no_elf(const struct image *file)
{
    struct image self = map_file("/proc/self/exe");
    const ElfW(Ehdr) *head = part(file, 0, sizeof *head), *mine = part(&self, 0, sizeof *mine);
    const char *why = NULL;
    if (head == NULL || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0)
        why = NULL; /* execvp will fail and tell why */
    else if (mine != NULL && (head->e_ident[EI_CLASS] != mine->e_ident[EI_CLASS] ||
                              head->e_machine != mine->e_machine))
        why = "it is for another architecture than this hmm";
    else if (segment(file, head, PT_INTERP) == NULL)
        why = "it is a static program, which loads no libraries";
    else if (has_symbol(file, head, "__asan_init"))
        why = "it is built with AddressSanitizer, which has a malloc of its own";
    else if (has_symbol(file, head, "__tsan_init") || has_symbol(file, head, "__msan_init"))
        why = "it is built with a sanitizer that has a malloc of its own";
    else
        why = why_own_malloc(file, head);
    if (self.bytes != NULL)
        munmap((void *)(uintptr_t)self.bytes, self.size);
    return why;
}

/* Whether the program runs with more rights than its caller (set-user-ID and the like): the loader
 * then ignores the variable. */
static bool raises_rights(const char *path)
{
    struct stat file;
    if (stat(path, &file) != 0)
        return false;
    return ((file.st_mode & S_ISUID) && file.st_uid != getuid()) ||
           ((file.st_mode & S_ISGID) && file.st_gid != getgid()) ||
           (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0);
}

const char *cli_module_refused(const char *command)
{
    char path[PATH_MAX];
    const char *why = NULL;
    if (!find_program(command, path))
        return NULL;
    for (int i = 0; i < SCRIPTS && why == NULL; i++) {
        struct image file = map_file(path);
        bool raises = raises_rights(path); /* the system ignores these bits of a script */
        bool script = file.bytes != NULL && interpreter(&file, path);
        if (raises && !script)
            why = "it runs with other rights than yours (setuid, setgid or capabilities)";
        else if (file.bytes != NULL && !script)
            why = why_no_elf(&file);
        if (file.bytes != NULL)
            munmap((void *)(uintptr_t)file.bytes, file.size);
        if (!script)
            break;
    }
    return why;
}

#else

const char *cli_module_refused(const char *command)
{
    (void)command;
    return NULL;
}

#endif
